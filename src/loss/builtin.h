/* builtin.h - the built-in losses and the row kernels. They lie in kernels/ and are compiled once per instruction set;
 * builtin.c knows the variants. */
#ifndef DI_LOSS_BUILTIN_H
#define DI_LOSS_BUILTIN_H

#include "base/status.h"
#include "distill.h"

/* What the log-probabilities of a row are made of: log p = (z - top)*factor - log_sum. Differences of log-probabilities
 * are taken from here: a float log p near -10 is known to 5e-7, the difference of two logits to far less. */
typedef struct di_logits {
    const float *z; /* [n]; -inf is legal */
    double log_sum; /* log sum exp((z - top)*factor), 1 left out where it is added: right also where it is tiny */
    double factor;  /* 1/divisor */
    float top, low; /* the highest and the lowest logit */
    int64_t top_at; /* an id from which on the first highest is soon found */
    /* Or NULL: [n] exp((z - top)*factor) as floats, top the highest logit up to the end of a block, and what they are
     * multiplied with to be probabilities, for each block. Memory is lent before; log_sum fills it. */
    float *masses, *scales;
    const float *next; /* [n] the row that is read when this one is done; NULL = not known */
    int64_t fetched;   /* logits of `next`, from its first on, that were asked for by log_sum */
    const float *into; /* [n] where its gradient is written in the end; NULL = not known, or past the caches */
} di_logits;

enum { DI_PAST_ALIGNMENT = 64 };
typedef struct di_rows { /* over one row of n floats */
    /* out comes with the last four of its fields */
    void (*log_sum)(const float *z, int64_t n, double divisor, di_logits *out);
    /* the same in doubles, at twice the price: what sparse targets leave is a difference of it */
    void (*log_sum_double)(const float *z, int64_t n, double divisor, di_logits *out);
    void (*log_softmax)(const di_logits *logits, int64_t n, float *out); /* out may be logits->z */
    int64_t (*raise)(float *x, int64_t n, float floor);                  /* to the floor; how many were */
    void (*axpy)(float a, const float *x, float *y, int64_t n);
    double (*sum)(const float *x, int64_t n);
    /* out = a*(h - q*sum) + add, sum what h adds up to; add may be NULL; out may be h, add or q's logits. past: out
     * begins at a multiple of DI_PAST_ALIGNMENT and goes past the caches. What comes back: all of out is finite */
    int32_t (*backward)(const di_logits *q, const float *h, int64_t n, double sum, float a, const float *add,
                        float *out, int32_t past);
    /* sum of (h - q*sum)^2; q NULL: of h^2 */
    double (*squares)(const di_logits *q, const float *h, int64_t n, double sum);
    /* out = a*h + add, and the same comes back; add may be NULL */
    int32_t (*scale_add)(const float *h, int64_t n, float a, const float *add, float *out, int32_t past);
    int32_t (*finite)(const float *x, int64_t n);
    void (*halve)(const float *x, int64_t n, uint16_t *out); /* to BF16, as dk_f32_to_bf16 */
} di_rows;
const di_rows *di_rows_for(int32_t isa); /* DK_ISA_* */

enum { DI_LOSS_OPTIONS = 4 };
/* What a loss on features compares, block by block: */
enum { DI_FEATURE_HIDDEN_MSE = 1, DI_FEATURE_HIDDEN_COSINE, DI_FEATURE_ATTENTION_MSE, DI_FEATURE_RELATION };

/* Sequences of a batch that are pairs: a rejected one is right behind its chosen one. */
typedef struct di_pairs {
    const uint8_t *sides;    /* [sequences] DISTILL_CHOSEN, DISTILL_REJECTED or 0 */
    const double *reference; /* [sequences] log-probabilities by the reference; NULL = 0 */
    const double *teacher;   /* [sequences] by the teacher whose preference is the label; NULL = chosen is better */
    double scale; /* of value and gradient: what the batch is divided by over the sum of its pairs' weights */
} di_pairs;

/* A loss of log p - log q alone as polynomials (kernels/divergence.h), kept from row to row: as long as they are those
 * of `of` at the same options. Zeroed is fine. */
enum { DI_FIT = 10, DI_PIECES = 16, DI_FAR_PIECES = 2 * DI_PIECES, DI_POWERS = 9 };
typedef struct di_fitted {
    void (*of)(const double *options, struct di_fitted *fit);
    double options[DI_LOSS_OPTIONS];
    /* value/d^2 and slope/d as polynomials of d = log p - log q, |d| <= 1, at q = 1 */
    float value[DI_FIT], slope[DI_FIT];
    /* value and slope at q = 1 as polynomials of d - n, |d - n| <= 1/2: n = -8 to 7, at its lowest four bits */
    float values[DI_POWERS][DI_PIECES], slopes[DI_POWERS][DI_PIECES];
    /* the same of n = -16 to 15, at its lowest five bits */
    float far_values[DI_POWERS][DI_FAR_PIECES], far_slopes[DI_POWERS][DI_FAR_PIECES];
} di_fitted;

/* What a built-in loss knows beyond distill_loss_rows; it comes as its user. */
typedef struct di_builtin_call {
    const di_logits *student; /* [rows] */
    const di_logits *teacher; /* [rows] of a dense teacher; else NULL */
    /* log q = -inf and log p = -inf count as these where the loss would be infinite; student_floor -inf = it is */
    double student_floor, teacher_floor;
    double options[DI_LOSS_OPTIONS]; /* as di_builtin names them */
    int32_t by_logits;               /* the gradient is with respect to the logits */
    int32_t floors;                  /* counts what is raised to teacher_floor */
    int64_t floored;                 /* out: how many were raised, or left out */
    double *apart;    /* out [rows] or NULL: sum of |p - q|/2, where forward_kl finds it beside its value; else NaN */
    double *sums;     /* out [rows] or NULL: what a row of the gradient adds up to; NaN = not said, as it is before */
    double *measured; /* out [rows, sums] in the pass that comes first; NULL = this is not it */
    const di_pairs *pairs;
    di_fitted *fit; /* of the term; NULL = none is kept */
} di_builtin_call;

typedef int32_t (*di_eval_fn)(void *user, const distill_loss_rows *rows);
typedef struct di_builtin {
    const char *name;
    int64_t targets;
    uint32_t flags;
    int32_t needs_labels;
    int32_t skips_labels; /* one beyond the vocabulary adds 0, and is counted as floored */
    int32_t plain;        /* knows no temperature: always at T = 1 */
    int32_t t_squared;    /* times the temperature squared, unless the options say otherwise */
    int32_t precise;      /* wants log-sum-exps in doubles */
    int32_t raw;          /* asks for no log-sum-exp: of di_logits z and factor are filled alone */
    int32_t fills;        /* writes all of a dense row's gradient: it need not be 0 before */
    int32_t floors;
    int64_t sums;  /* numbers of a row that it measures first; 0 = none */
    int32_t pairs; /* compares the two sequences of a pair, and nothing else */
    /* Of what is inside the two models, and not of what they say: DI_FEATURE_*, evaluated by features/. 0 = of rows */
    int32_t feature;
    uint32_t taps; /* 1 << DISTILL_TAP_*: what it asks both models for */
    /* Of another tool, with its divisor: whose, what is odd about it, and what to take where numbers need not be that
     * tool's. NULL = it is no such preset. */
    const char *tool, *divisor, *odd, *instead;
    int32_t retempers; /* takes what some ids are given at one temperature to another, as its tool does */
    const char *options[DI_LOSS_OPTIONS];                    /* under "loss."; NULL behind the last */
    const char *fixed[DI_LOSS_OPTIONS];                      /* the same that are no numbers: read once, at create */
    int32_t (*check)(const double *options, dk_error *err);  /* NULL = whatever is in their bounds */
    int32_t (*by_logits)(const double *options);             /* NULL = as the flags say */
    const char *no_topk, *no_draws, *no_one_hot;             /* why */
    const char *formula, *gradient, *paper, *use, *detached; /* for docs/losses.md; detached NULL = nothing */
    di_eval_fn eval[3]; /* by DK_ISA_*; user is a di_builtin_call, rows->teacher is not filled */
} di_builtin;
const di_builtin *di_builtin_at(int64_t index);                          /* NULL behind the last */
const char *di_builtin_refusal(const di_builtin *builtin, int32_t kind); /* why it does not take it; NULL = not said */

#endif
