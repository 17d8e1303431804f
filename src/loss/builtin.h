/* builtin.h - the built-in losses and the row kernels. They lie in kernels/ and are compiled once per instruction set;
 * builtin.c knows the variants. */
#ifndef DI_LOSS_BUILTIN_H
#define DI_LOSS_BUILTIN_H

#include "distill.h"

typedef struct di_rows { /* over one row of n floats */
    /* of z/divisor; out may be z; -inf is legal */
    void (*log_softmax)(const float *z, int64_t n, double divisor, float *out);
    int64_t (*raise)(float *x, int64_t n, float floor); /* to the floor; how many were */
    void (*axpy)(float a, const float *x, float *y, int64_t n);
    /* out = a*(h - q*sum(h)) + add, q = exp(log_q); add may be NULL; out may be h or add */
    void (*backward)(const float *log_q, const float *h, int64_t n, float a, const float *add, float *out);
    /* out = a*h + add; add may be NULL */
    void (*scale_add)(const float *h, int64_t n, float a, const float *add, float *out);
    int32_t (*finite)(const float *x, int64_t n);
} di_rows;
const di_rows *di_rows_for(int32_t isa); /* DK_ISA_* */

typedef int32_t (*di_eval_fn)(void *user, const distill_loss_rows *rows);
typedef struct di_builtin {
    const char *name;
    int64_t targets;
    uint32_t flags;
    int32_t needs_labels;
    int32_t plain;      /* knows no temperature: always at T = 1 */
    int32_t exact_zero; /* p = 0 adds exactly 0: log p is not raised to a floor for it */
    di_eval_fn eval[3]; /* by DK_ISA_* */
} di_builtin;
const di_builtin *di_builtin_at(int64_t index); /* NULL behind the last */

#endif
