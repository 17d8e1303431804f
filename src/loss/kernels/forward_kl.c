/* Forward KL, KL(p || q) = sum p (log p - log q). Hinton et al. 2015.
 *
 * Summed as p*(log p - log q) - p + q, which is the same over two distributions, and no term is negative: with d =
 * log q - log p it is p*(e^d - 1 - d), a polynomial where d is small, so that nothing cancels where student and teacher
 * are near each other. h = q - p (dL/dlog q is -p; what is q times anything is taken out by the softmax), there as
 * p*(e^d - 1). */
#include "loss/kernels/divergence.h"
#include "loss/kernels/gap.h"

typedef struct di_kl { /* a row, and the sums of a block */
    const di_logits *q, *p;
    di_gap gap;
    dk_vf one_q, one_p;
    dk_vf values, tilt, size;
} di_kl;

static inline __attribute__((always_inline)) void step(di_kl *kl, int64_t i, int64_t lanes, float *h)
{
    const dk_vf zero = dk_vf_set(0), one = dk_vf_set(1), tiny = dk_vf_set(1e-45f);
    const dk_vf zq = di_load(kl->q->z + i, lanes, 0), zp = di_load(kl->p->z + i, lanes, 0);
    const dk_vf vq = di_mass_at(kl->q, i, lanes, kl->one_q), vp = di_mass_at(kl->p, i, lanes, kl->one_p);
    const dk_vf d = zero - di_gap_at(&kl->gap, zq, zp), pd = vp * d;
    const dk_vm near = dk_vf_less(dk_vf_abs(d), one), none = dk_vf_less(vp, tiny);
    const dk_vf small = pd * d * di_curvature(d), some = dk_vf_select(near, pd + small, vq - vp);
    const dk_vf term = dk_vf_select(near, small, some - pd), slope = dk_vf_select(none, vq, some);
    kl->tilt = kl->tilt + slope;
    kl->size = kl->size + dk_vf_abs(slope);
    kl->values = kl->values + dk_vf_select(none, vq, term); /* p = 0: q is what is left; NaN stays NaN */
    if (h) di_store(h + i, slope, lanes);
}

/* *excess and *apart: what q - p and |q - p|/2 add up to. */
static double dense_row(const di_logits *q, const di_logits *p, int64_t n, float *h, double *excess, double *apart)
{
    const dk_vf zero = dk_vf_set(0);
    const di_ahead ahead = di_ahead_of(q, p);
    di_kl kl = {.q = q, .p = p, .gap = di_gap_of(q, p)};
    double sum = 0, slopes = 0, sizes = 0;
    kl.one_q = dk_vf_set((float)exp(-q->log_sum));
    kl.one_p = dk_vf_set((float)exp(-p->log_sum));
    for (int64_t begin = 0; begin < n; begin += DI_BLOCK) {
        const int64_t end = di_block_end(begin, n);
        int64_t i = begin;
        kl.values = kl.tilt = kl.size = zero;
        for (; i + DK_VF <= end; i += DK_VF) {
            di_fetch(&ahead, i);
            step(&kl, i, DK_VF, h);
        }
        if (i < end) step(&kl, i, end - i, h);
        sum += (double)dk_vf_sum(kl.values);
        slopes += (double)dk_vf_sum(kl.tilt);
        sizes += (double)dk_vf_sum(kl.size);
    }
    *excess = slopes;
    *apart = sizes / 2;
    sum -= 0.5 * slopes * slopes; /* q - p sums to 0; what it sums to is an error of log_sum, and this is its share */
    return sum < 0 ? 0 : sum;
}

/* Somewhere q is 0 and p is not, or something is NaN. */
static double floored_row(const di_logits *q, const di_logits *p, int64_t n, float *h, di_builtin_call *call)
{
    double sum = 0, slope;
    for (int64_t i = 0; i < n; i++) {
        sum += di_kl_floored(di_log_at(p, i), di_log_at(q, i), call, &slope);
        if (h) h[i] = (float)slope;
    }
    return sum;
}

static di_mark point(const di_outcomes *x, const double *constants)
{
    (void)constants;
    return (di_mark){di_forward(x), di_forward_slope(x)};
}

static const di_form form = {.point = point};

/* In doubles, with log-sums of their own; infinite where the student excludes what the teacher does not. */
static double few_row(const di_builtin_call *call, const distill_loss_rows *rows, int64_t r, float *h)
{
    const di_logits *given[2] = {&call->student[r], &call->teacher[r]};
    di_builtin_call exact = *call;
    di_logits logits[2] = {{0}};
    di_pair pair;
    for (int i = 0; i < 2; i++)
        DK_VARIANT(di_rows).log_sum_double(given[i]->z, rows->vocab, 1 / given[i]->factor, &logits[i]);
    exact.student = &logits[0];
    exact.teacher = &logits[1];
    DK_VARIANT(di_pair_of)(&exact, rows, 0, &pair);
    const double value = di_divergence_row(&pair, &form, NULL, h);
    return DK_VARIANT(di_pair_excludes)(&pair, NULL) ? INFINITY : value < 0 ? 0 : value;
}

/* From the divergence of the frequencies to -sum p log q, which is linear in p, so that its mean over draws is that of
 * the teacher's distribution; less that one's entropy, where it is known. */
static double beyond_draws(const di_pair *pair, const distill_target *target, int64_t r)
{
    double sum = target->entropy ? -(double)((const float *)target->entropy->data)[r] : 0;
    for (int64_t j = 0; j < pair->k; j++) {
        const double log_p = di_listed_log_p(pair, j);
        if (log_p > -INFINITY) sum -= exp(log_p) * log_p;
    }
    return sum;
}

static double listed_row(di_builtin_call *call, const distill_loss_rows *rows, int64_t r, float *h)
{
    di_pair pair;
    DK_VARIANT(di_pair_of)(call, rows, r, &pair);
    const double value = di_divergence_row(&pair, &form, NULL, h);
    const int64_t excluded = DK_VARIANT(di_pair_excludes)(&pair, NULL);
    if (excluded && call->student_floor == -INFINITY) return INFINITY;
    call->floored += excluded;
    return fmax(value, 0) + (rows->target->kind == DISTILL_SAMPLED ? beyond_draws(&pair, rows->target, r) : 0);
}

DI_LOSS_EVAL(forward_kl)
{
    di_builtin_call *call = user;
    const distill_target *target = rows->target;
    const int64_t n = rows->vocab;
    const int32_t *ids = target->ids ? target->ids->data : NULL;
    for (int64_t r = 0; r < rows->rows; r++) {
        const di_logits *q = &call->student[r];
        float *h = rows->gradient ? rows->gradient + r * n : NULL;
        if (call->teacher) {
            double excess = NAN, apart = NAN;
            rows->value[r] = n < DI_FLOATS_LEAST ? few_row(call, rows, r, h)
                                                 : dense_row(q, &call->teacher[r], n, h, &excess, &apart);
            if (!(rows->value[r] < INFINITY)) rows->value[r] = floored_row(q, &call->teacher[r], n, h, call);
            else if (call->sums) call->sums[r] = excess;
            if (call->apart) call->apart[r] = rows->value[r] < INFINITY ? apart : NAN;
        } else if (target->kind != DISTILL_ONE_HOT) {
            rows->value[r] = listed_row(call, rows, r, h);
        } else {
            double unused;
            rows->value[r] = DK_VARIANT(di_label_row)(q, n, ids[r], h, call, di_sum_of(call, r, &unused));
        }
    }
    return DISTILL_CB_OK;
}
