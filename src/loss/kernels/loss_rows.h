/* loss_rows.h - loops over a row that the kernels share. Sums are taken in blocks: floats inside a block, doubles over
 * blocks. */
#ifndef DI_LOSS_KERNELS_ROWS_H
#define DI_LOSS_KERNELS_ROWS_H

#include "compute/simd_double.h"
#include "loss/builtin.h"

enum { DI_FLOATS_LEAST = 64 }; /* of fewer ids roundings do not average out, and doubles cost little */
#define DI_BLOCK (64 * DK_VF)  /* floats: no lane adds up more than 64 */

/* For every vector of [begin, end): body sees i, the lanes that count (DK_VF but for the last) in `lanes`. */
#define DI_VECTORS(begin, end)                                                      \
    for (int64_t i = (begin), lanes = (end)-i < DK_VF ? (end)-i : DK_VF; i < (end); \
         i += DK_VF, lanes = (end)-i < DK_VF ? (end)-i : DK_VF)

#define DI_FETCH(at, written) __builtin_prefetch(at, written, 2)

/* Into L2, while a processor multiplies: lines of the rows that are read when this one is done. All loops over a row
 * take their share, so that memory is asked as evenly as it answers: the log-sum-exps have asked for the first half. */
typedef struct di_ahead {
    const float *q, *p;
    int64_t slower; /* 1 = half of the lines */
} di_ahead;

static inline const float *di_rest_of(const di_logits *logits)
{
    const float *next = logits->next ? logits->next : logits->z;
    return next + logits->fetched;
}

static inline di_ahead di_ahead_of(const di_logits *q, const di_logits *p)
{
    return (di_ahead){di_rest_of(q), di_rest_of(p), q->fetched > 0};
}

static inline void di_fetch(const di_ahead *ahead, int64_t i)
{
    DI_FETCH(ahead->q + (i >> ahead->slower), 0);
    DI_FETCH(ahead->p + (i >> ahead->slower), 0);
}

static inline dk_vf di_load(const float *x, int64_t lanes, float rest)
{
    return lanes == DK_VF ? dk_vf_load(x) : dk_vf_load_n(x, lanes, rest);
}

static inline void di_store(float *y, dk_vf v, int64_t lanes)
{
    if (lanes == DK_VF) dk_vf_store(y, v);
    else dk_vf_store_n(y, v, lanes);
}

static inline int64_t di_block_end(int64_t begin, int64_t n) { return n - begin < DI_BLOCK ? n : begin + DI_BLOCK; }

typedef struct di_rest { /* the student's mass outside of some ids */
    float top;           /* its masses are exp((z - top)*factor) */
    double log_sum;      /* of them; -inf where nothing is left */
    double log_q;
} di_rest;

/* (z - top)*factor */
static inline dk_vf di_shifted(dk_vf z, const di_logits *logits)
{
    return (z - dk_vf_set(logits->top)) * dk_vf_set((float)logits->factor);
}

/* exp(below*factor) of a logit below the top, not less than e^-103; base2 is factor*log2(e). As dk_vf_exp_mild, of a
 * product that nothing rounds. */
static inline dk_vf di_exp_below(dk_vf below, dk_vf factor, dk_vf base2)
{
#ifdef DK_VF_ROOTS
    (void)factor;
    const dk_vf shift = dk_vf_set(786432.0f); /* 1.5*2^19: adding it rounds to sixteenths, its last four bits */
    const dk_vf scaled = dk_vf_fma(below, base2, shift), n = scaled - shift,
                r = dk_vf_fma(below, base2, dk_vf_set(0) - n);
    dk_vf p = dk_vf_fma(r, dk_vf_set(5.55041087e-2f), dk_vf_set(2.4023429e-1f)), root = dk_vf_root(dk_vf_bits(scaled));
    p = dk_vf_fma(p, r, dk_vf_set(6.9314718e-1f)); /* (2^r - 1)/r, |r| <= 1/32 */
    return dk_vf_scale(dk_vf_fma(root * r, p, root), n);
#else
    (void)base2;
    return dk_vf_exp_mild(below * factor);
#endif
}

/* Probabilities from i on, 0 behind the last; one is 1/sum. */
static inline dk_vf di_mass_at(const di_logits *logits, int64_t i, int64_t lanes, dk_vf one)
{
    if (logits->masses) return di_load(logits->masses + i, lanes, 0) * dk_vf_set(logits->scales[i / DI_BLOCK]);
    return dk_vf_exp_down(di_shifted(di_load(logits->z + i, lanes, -INFINITY), logits)) * one;
}

/* The first highest logit. */
static inline int64_t di_top_id(const di_logits *logits, int64_t n)
{
    int64_t id = logits->top_at;
    while (id + 1 < n && logits->z[id] != logits->top) id++;
    return id;
}

/* Adds up exp((z - top)*factor) of a block in double; those at the top are counted, not added. NaN comes out as NaN. */
static inline double di_sum_below(const float *z, int64_t n, float top, double factor, double *at_top)
{
    const dk_vd zero = dk_vd_set(0), one = dk_vd_set(1);
    dk_vd below = zero, count = zero;
    for (int64_t i = 0; i < n; i += DK_VD) {
        dk_vd u =
            (dk_vd_take(z + i, n - i < DK_VD ? n - i : DK_VD, -INFINITY) - dk_vd_set((double)top)) * dk_vd_set(factor);
        dk_vl is_below = dk_vd_less(u, zero);
        below = below + dk_vd_select(is_below, dk_vd_exp(u), u);
        count = count + dk_vd_select(is_below, zero, one);
    }
    *at_top += dk_vd_sum(count);
    return dk_vd_sum(below);
}

static inline double di_log_at(const di_logits *logits, int64_t i)
{
    return ((double)logits->z[i] - (double)logits->top) * logits->factor - logits->log_sum;
}

static inline void di_give(float *y, dk_vd v, int64_t lanes)
{
    const dk_vh narrow = dk_vd_narrow(v);
    memcpy(y, &narrow, (size_t)lanes * sizeof *y);
}

/* -log q[id]. Gradients with respect to log q may be moved by any multiple of q, which the softmax takes out again: h
 * is q - 1 at the id and q elsewhere where the student is sure of it, because -1 + q loses what is left of q there.
 * *sum is what h adds up to. */
double DK_VARIANT(di_label_row)(const di_logits *q, int64_t n, int32_t id, float *h, di_builtin_call *call,
                                double *sum);
/* For a row whose sum nobody asks for. */
static inline double *di_sum_of(const di_builtin_call *call, int64_t row, double *unused)
{
    return call->sums ? &call->sums[row] : unused;
}

/* p*(log p - log q) - p + q, which is never negative, and its derivative q - p by log q, of one outcome in double. Over
 * two distributions the sums of p and q cancel, and what is left is the divergence, without the cancelling terms. */
static inline double di_kl_term(double log_p, double log_q, double *slope)
{
    const double p = exp(log_p), d = log_q - log_p;
    if (!(log_p >= -745)) { /* p = 0, or NaN */
        *slope = exp(log_q) - p;
        return *slope;
    }
    *slope = d > 1 ? exp(log_q) - p : p * expm1(d);
    if (d > -1e-3 && d < 1e-3) return p * d * d * (0.5 + d * (1.0 / 6 + d * (1.0 / 24)));
    return *slope - p * d;
}

/* The same where q may be 0: log q counts as the floor and has no slope. */
static inline double di_kl_floored(double log_p, double log_q, di_builtin_call *call, double *slope)
{
    if (log_q != -INFINITY || !(log_p >= -745)) return di_kl_term(log_p, log_q, slope);
    *slope = 0;
    call->floored++;
    return fmax(exp(log_p) * (log_p - call->student_floor - 1), 0);
}

extern const di_rows DK_VARIANT(di_rows);

/* The head of a loss as the table of builtin.c knows it: int32_t f(void *user, const distill_loss_rows *rows). */
#define DI_LOSS_EVAL(name)                                                    \
    int32_t DK_VARIANT(di_##name)(void *user, const distill_loss_rows *rows); \
    int32_t DK_VARIANT(di_##name)(void *user, const distill_loss_rows *rows)

#endif
