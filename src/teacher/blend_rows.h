/* blend_rows.h - arithmetic over one row of log-probabilities, for blends; kernels/blend_kernels.c is compiled once per
 * instruction set. */
#ifndef DI_TEACHER_BLEND_ROWS_H
#define DI_TEACHER_BLEND_ROWS_H

#include <stdint.h>

typedef struct di_blend_rows { /* over n floats; -inf is legal, NaN stays */
    double (*entropy)(const float *log_p, int64_t n);
    double (*mass)(const float *log_p, int64_t n); /* sum of e^log_p */
    float (*highest)(const float *x, int64_t n);
    /* sum = log(e^(keep + sum) + e^(take + log_p)) */
    void (*mix)(float *sum, const float *log_p, int64_t n, float keep, float take);
    void (*add)(float *sum, const float *log_p, int64_t n, float keep, float take); /* sum = keep*sum + take*log_p */
} di_blend_rows;
const di_blend_rows *di_blend_rows_for(int32_t isa); /* DK_ISA_* */

#endif
