/* divergence_floats.h - a loss over outcomes on long dense rows, in vectors of floats.
 *
 * Where |log p - log q| < 1 value and slope are q d^2 and q d times polynomials of d, which were fitted to the loss in
 * doubles: nothing cancels. Beyond, the loss's own function is used; terms of a block are added in floats, blocks in
 * doubles. What floats do not hold goes to doubles, a row at a time: -inf among the logits, few ids, options too near a
 * limit, a value that is not finite. */
#ifndef DI_LOSS_KERNELS_DIVERGENCE_FLOATS_H
#define DI_LOSS_KERNELS_DIVERGENCE_FLOATS_H

#include "loss/kernels/gap.h"

enum { DI_FLOATS_LEAST = 64 }; /* of fewer ids roundings do not average out, and doubles cost little */

struct di_dense {
    const di_logits *q, *p;
    int64_t n;
    di_gap gap;
    float one_q, one_p, log_sum_q, log_sum_p; /* 1/sum, log sum */
};

DI_INLINE di_outcomes di_dense_at(const di_row *row, int64_t i, int64_t lanes)
{
    const dk_vf zero = dk_vf_set(0), zq = di_load(row->q->z + i, lanes, row->q->top),
                zp = di_load(row->p->z + i, lanes, row->p->top);
    const dk_vf uq = di_shifted(zq, row->q), up = di_shifted(zp, row->p);
    di_outcomes x;
    x.d = di_gap_at(&row->gap, zq, zp);
    const dk_vm p_leads = dk_vf_less(zero, x.d);
    const dk_vf ratio = dk_vf_exp(zero - dk_vf_abs(x.d));
    const dk_vf more =
        dk_vf_exp(dk_vf_select(p_leads, up, uq)) * dk_vf_select(p_leads, dk_vf_set(row->one_p), dk_vf_set(row->one_q));
    const dk_vf less = more * ratio;
    x.p = dk_vf_select(p_leads, more, less);
    x.q = dk_vf_select(p_leads, less, more);
    x.fall = ratio - dk_vf_set(1);
    x.log_q = uq - dk_vf_set(row->log_sum_q);
    x.log_p = up - dk_vf_set(row->log_sum_p);
    x.none = x.out = dk_vf_less(zero, zero);
    return x;
}

/* 0 behind the last of `lanes`. */
static inline dk_vf di_keep(dk_vf v, int64_t lanes)
{
    float kept[DK_VF];
    if (lanes == DK_VF) return v;
    dk_vf_store(kept, v);
    for (int64_t i = lanes; i < DK_VF; i++) kept[i] = 0;
    return dk_vf_load(kept);
}

static inline dk_vf di_polynomial(const float *powers, dk_vf d)
{
    dk_vf f = dk_vf_set(powers[DI_FIT - 1]);
    for (int i = DI_FIT - 2; i >= 0; i--) f = dk_vf_fma(f, d, dk_vf_set(powers[i]));
    return f;
}

DI_INLINE di_mark di_dense_mark(const di_row *row, int64_t i, int64_t lanes, const di_form *form,
                                const double *constants, const di_fit *fit, di_outcomes *x)
{
    *x = di_dense_at(row, i, lanes);
    if (form->turn) *x = form->turn(x, constants);
    di_mark mark = form->point(x, constants);
    if (form->kinked) return mark;
    const dk_vm near = dk_vf_less(dk_vf_abs(x->d), dk_vf_set(1));
    const dk_vf mass = form->power ? dk_vf_exp(dk_vf_set((float)form->power(constants)) * x->log_q) : x->q;
    const dk_vf first = mass * x->d;
    mark.value = dk_vf_select(near, first * x->d * di_polynomial(fit->value, x->d), mark.value);
    mark.slope = dk_vf_select(near, first * di_polynomial(fit->slope, x->d), mark.slope);
    return mark;
}

DI_INLINE float di_dense_centre(const di_row *row, const di_form *form, const double *constants, const di_fit *fit)
{
    const int64_t top = di_top_id(row->q, row->n), lane = top % DK_VF, begin = top - lane;
    float slopes[DK_VF], masses[DK_VF];
    di_outcomes x;
    dk_vf_store(
        slopes,
        di_dense_mark(row, begin, row->n - begin < DK_VF ? row->n - begin : DK_VF, form, constants, fit, &x).slope);
    dk_vf_store(masses, x.q);
    return masses[lane] > 0 ? slopes[lane] / masses[lane] : 0;
}

/* Sum of the values; h may be NULL, *slopes is what h adds up to. */
DI_INLINE double di_dense_row(const di_row *row, const di_form *form, const double *constants, const di_fit *fit,
                              float *h, double *slopes)
{
    const dk_vf zero = dk_vf_set(0), centre = dk_vf_set(h ? di_dense_centre(row, form, constants, fit) : 0);
    double sum = 0;
    *slopes = 0;
    for (int64_t begin = 0; begin < row->n; begin += DI_BLOCK) {
        dk_vf values = zero, tilt = zero;
        DI_VECTORS(begin, di_block_end(begin, row->n))
        {
            di_outcomes x;
            const di_mark mark = di_dense_mark(row, i, lanes, form, constants, fit, &x);
            const dk_vf slope = mark.slope - x.q * centre;
            values = values + di_keep(mark.value, lanes);
            tilt = tilt + di_keep(slope, lanes);
            if (h) di_store(h + i, slope, lanes);
        }
        sum += (double)dk_vf_sum(values);
        *slopes += (double)dk_vf_sum(tilt);
    }
    return sum;
}

/* Sum of an amount over all outcomes. */
DI_INLINE double di_total(const di_row *row, di_v (*amount)(const di_outcomes *x, const double *constants),
                          const double *constants)
{
    double sum = 0;
    for (int64_t begin = 0; begin < row->n; begin += DI_BLOCK) {
        dk_vf block = dk_vf_set(0);
        DI_VECTORS(begin, di_block_end(begin, row->n))
        {
            const di_outcomes x = di_dense_at(row, i, lanes);
            block = block + di_keep(amount(&x, constants), lanes);
        }
        sum += (double)dk_vf_sum(block);
    }
    return sum;
}

/* Logarithms far below 0 are for doubles. */
DI_INLINE double di_log_total(const di_row *row, di_v (*amount)(const di_outcomes *x, const double *constants),
                              const double *constants)
{
    (void)row, (void)amount, (void)constants;
    return NAN;
}

static inline void di_dense_of(const di_logits *q, const di_logits *p, int64_t n, di_row *row)
{
    *row = (di_row){q,
                    p,
                    n,
                    di_gap_of(q, p),
                    (float)exp(-q->log_sum),
                    (float)exp(-p->log_sum),
                    (float)q->log_sum,
                    (float)p->log_sum};
}

static inline di_v di_apart(const di_outcomes *x, const double *constants)
{
    (void)constants;
    return di_exact_excess(x);
}

/* p - q sums to 0: what it does sum to is the error of the log-sums' difference. */
static inline void di_make_firm(di_row *row)
{
    const double shift = (double)row->gap.shift + (double)row->gap.shift_low + log1p(di_total(row, di_apart, NULL));
    row->gap.shift = (float)shift;
    row->gap.shift_low = (float)(shift - (double)row->gap.shift);
}

/* One dense row in doubles, with log-sums of their own. */
static inline int32_t di_in_doubles(const di_builtin_call *call, const distill_loss_rows *rows, int64_t r,
                                    di_eval_fn doubles, int64_t *floored)
{
    const di_logits *given[2] = {&call->student[r], &call->teacher[r]};
    distill_loss_rows one = *rows;
    di_builtin_call exact = *call;
    di_logits logits[2];
    for (int i = 0; i < 2; i++)
        DK_VARIANT(di_rows).log_sum_double(given[i]->z, rows->vocab, 1 / given[i]->factor, &logits[i]);
    exact.student = &logits[0];
    exact.teacher = &logits[1];
    exact.floored = 0;
    one.rows = 1;
    one.value += r;
    if (one.labels) one.labels += r;
    if (one.gradient) one.gradient += r * rows->vocab;
    const int32_t rc = doubles(&exact, &one);
    *floored += exact.floored;
    return rc;
}

DI_INLINE int32_t di_divergence(di_builtin_call *call, const distill_loss_rows *rows, const di_form *form,
                                di_eval_fn doubles, void (*fit_of)(const double *options, di_fit *fit))
{
    const int32_t never = rows->vocab < DI_FLOATS_LEAST || (form->doubles && form->doubles(call->options));
    int32_t rc = DISTILL_CB_OK;
    di_fit fit;
    if (!call->teacher) return doubles(call, rows);
    if (!form->kinked && !never) fit_of(call->options, &fit);
    for (int64_t r = 0; r < rows->rows && rc == DISTILL_CB_OK; r++) {
        const di_logits *q = &call->student[r], *p = &call->teacher[r];
        float *h = rows->gradient ? rows->gradient + r * rows->vocab : NULL;
        double constants[DI_CONSTANTS] = {0}, value = NAN, slopes = NAN;
        memcpy(constants, call->options, sizeof call->options);
        if (!never && q->low > -INFINITY && p->low > -INFINITY) {
            di_row row;
            di_dense_of(q, p, rows->vocab, &row);
            if (form->firm) di_make_firm(&row);
            value = form->prepare ? form->prepare(&row, constants) : 0;
            if (!isnan(value)) value += di_dense_row(&row, form, constants, &fit, h, &slopes);
        }
        if (isfinite(value)) rows->value[r] = value < 0 ? 0 : value;
        else rc = di_in_doubles(call, rows, r, doubles, &call->floored);
        if (call->sums) call->sums[r] = isfinite(value) ? slopes : NAN;
    }
    return rc;
}

/* Defines the loss as the table of builtin.c knows it. */
#define DI_DIVERGENCE(name, ...)                                                           \
    static const di_form form_of_##name = {__VA_ARGS__};                                   \
    int32_t DK_VARIANT(di_##name##_doubles)(void *user, const distill_loss_rows *rows);    \
    void DK_VARIANT(di_##name##_fit)(const double *options, di_fit *fit);                  \
    int32_t DK_VARIANT(di_##name)(void *user, const distill_loss_rows *rows);              \
    int32_t DK_VARIANT(di_##name)(void *user, const distill_loss_rows *rows)               \
    {                                                                                      \
        return di_divergence(user, rows, &form_of_##name, DK_VARIANT(di_##name##_doubles), \
                             DK_VARIANT(di_##name##_fit));                                 \
    }

#endif
