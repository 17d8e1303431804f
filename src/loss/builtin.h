/* builtin.h - the built-in losses and the row kernels. They lie in kernels/ and are compiled once per instruction set;
 * builtin.c knows the variants. */
#ifndef DI_LOSS_BUILTIN_H
#define DI_LOSS_BUILTIN_H

#include "distill.h"

/* What the log-probabilities of a row are made of: log p = (z - top)*factor - log_sum. Differences of log-probabilities
 * are taken from here: a float log p near -10 is known to 5e-7, the difference of two logits to far less. */
typedef struct di_logits {
    const float *z; /* [n]; -inf is legal */
    double log_sum; /* log sum exp((z - top)*factor), 1 left out where it is added: right also where it is tiny */
    double factor;  /* 1/divisor */
    float top;
} di_logits;

typedef struct di_rows { /* over one row of n floats */
    void (*log_sum)(const float *z, int64_t n, double divisor, di_logits *out);
    /* the same in doubles, at twice the price: what sparse targets leave is a difference of it */
    void (*log_sum_double)(const float *z, int64_t n, double divisor, di_logits *out);
    void (*log_softmax)(const di_logits *logits, int64_t n, float *out); /* out may be logits->z */
    int64_t (*raise)(float *x, int64_t n, float floor);                  /* to the floor; how many were */
    void (*axpy)(float a, const float *x, float *y, int64_t n);
    /* out = a*(h - q*sum(h)) + add, q = exp(log_q); add may be NULL; out may be h or add */
    void (*backward)(const float *log_q, const float *h, int64_t n, float a, const float *add, float *out);
    /* out = a*h + add; add may be NULL */
    void (*scale_add)(const float *h, int64_t n, float a, const float *add, float *out);
    int32_t (*finite)(const float *x, int64_t n);
} di_rows;
const di_rows *di_rows_for(int32_t isa); /* DK_ISA_* */

/* What a built-in loss knows beyond distill_loss_rows; it comes as its user. */
typedef struct di_builtin_call {
    const di_logits *student; /* [rows] */
    const di_logits *teacher; /* [rows] of a dense teacher; else NULL */
    double log_floor;         /* log q = -inf counts as this where the loss would be infinite, with no gradient */
    int64_t floored;          /* out: how often it did */
} di_builtin_call;

typedef int32_t (*di_eval_fn)(void *user, const distill_loss_rows *rows);
typedef struct di_builtin {
    const char *name;
    int64_t targets;
    uint32_t flags;
    int32_t needs_labels;
    int32_t plain;      /* knows no temperature: always at T = 1 */
    di_eval_fn eval[3]; /* by DK_ISA_*; user is a di_builtin_call, rows->teacher is not filled */
} di_builtin;
const di_builtin *di_builtin_at(int64_t index); /* NULL behind the last */

#endif
