/* blend_rows.h - arithmetic over one row of logits or log-probabilities, for blends; kernels/blend_kernels.c is
 * compiled once per instruction set.
 *
 * A share is e^x, x = (z - top) inverse, of the highest logit `top`: one number that is either e^x itself, or x where
 * that is below -80 and e^x would lose its digits. The sign tells them apart, so that a sum of shares needs no second
 * exponential, and none of them underflows. */
#ifndef DI_TEACHER_BLEND_ROWS_H
#define DI_TEACHER_BLEND_ROWS_H

#include <stdint.h>

typedef struct di_blend_rows {                     /* over n floats; -inf is legal */
    double (*mass)(const float *log_p, int64_t n); /* sum of e^log_p */
    float (*highest)(const float *z, int64_t n);   /* inf if one is NaN */
    /* sum of e^x; *moment = sum of x e^x */
    double (*sums)(const float *z, int64_t n, float top, float inverse, double *moment);
    double (*rest)(const float *z, int64_t n, float top, float inverse); /* the same sum, but for the highest */
    /* out = shares, which may be z; the same sums; moment NULL = not wanted */
    double (*shares)(const float *z, float *out, int64_t n, float top, float inverse, double *moment);
    /* sum = keep*sum + take*shares; both as shares, keep and take positive */
    void (*mix)(float *sum, const float *shares, int64_t n, double keep, double take);
    void (*mix_last)(float *sum, const float *shares, int64_t n, double keep, double take); /* and the logarithm */
    /* sum = keep*sum + take*(z - top) */
    void (*add)(float *sum, const float *z, int64_t n, float top, float keep, float take);
    void (*scale)(const float *z, float *out, int64_t n, float top, float inverse); /* out = x */
} di_blend_rows;
const di_blend_rows *di_blend_rows_for(int32_t isa); /* DK_ISA_* */

#endif
