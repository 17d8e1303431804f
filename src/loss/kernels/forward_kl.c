/* Forward KL, KL(p || q) = sum p (log p - log q). Hinton et al. 2015.
 *
 * Summed as p*(log p - log q) - p + q, which is the same over two distributions, and no term is negative: with d =
 * log q - log p it is p*(e^d - 1 - d), a polynomial where d is small, so that nothing cancels where student and teacher
 * are near each other. h = q - p (dL/dlog q is -p; what is q times anything is taken out by the softmax), there as
 * p*(e^d - 1). */
#include "loss/kernels/divergence.h"
#include "loss/kernels/gap.h"

/* (e^d - 1 - d)/d^2 for |d| <= 1 */
static inline dk_vf curvature(dk_vf d)
{
    dk_vf f = dk_vf_set(2.765986e-6f);
    f = dk_vf_fma(f, d, dk_vf_set(2.5353789e-5f));
    f = dk_vf_fma(f, d, dk_vf_set(1.9845115e-4f));
    f = dk_vf_fma(f, d, dk_vf_set(1.3885468e-3f));
    f = dk_vf_fma(f, d, dk_vf_set(8.3333049e-3f));
    f = dk_vf_fma(f, d, dk_vf_set(4.1666735e-2f));
    f = dk_vf_fma(f, d, dk_vf_set(1.6666667e-1f));
    return dk_vf_fma(f, d, dk_vf_set(0.5f));
}

static double dense_row(const di_logits *q, const di_logits *p, int64_t n, float *h, double *excess)
{
    const dk_vf zero = dk_vf_set(0), one = dk_vf_set(1), tiny = dk_vf_set(1e-45f);
    const dk_vf one_q = dk_vf_set((float)exp(-q->log_sum)), one_p = dk_vf_set((float)exp(-p->log_sum));
    const di_gap gap = di_gap_of(q, p);
    double sum = 0, slopes = 0;
    for (int64_t begin = 0; begin < n; begin += DI_BLOCK) {
        dk_vf block = zero, tilt = zero;
        DI_VECTORS(begin, di_block_end(begin, n))
        {
            dk_vf zq = di_load(q->z + i, lanes, -INFINITY), zp = di_load(p->z + i, lanes, -INFINITY);
            dk_vf uq = di_shifted(zq, q), up = di_shifted(zp, p);
            dk_vf vq = dk_vf_exp(uq) * one_q, vp = dk_vf_exp(up) * one_p;
            dk_vf d = zero - di_gap_at(&gap, zq, zp), pd = vp * d;
            dk_vm near = dk_vf_less(dk_vf_abs(d), one), none = dk_vf_less(vp, tiny);
            dk_vf small = pd * d * curvature(d), slope = dk_vf_select(near, pd + small, vq - vp);
            dk_vf term = dk_vf_select(near, small, slope - pd);
            slope = dk_vf_select(none, vq, slope);
            tilt = tilt + slope;
            block = block + dk_vf_select(none, vq, term); /* p = 0: q is what is left; NaN stays NaN */
            if (h) di_store(h + i, slope, lanes);
        }
        sum += (double)dk_vf_sum(block);
        slopes += (double)dk_vf_sum(tilt);
    }
    *excess = slopes;
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
            double excess;
            rows->value[r] = dense_row(q, &call->teacher[r], n, h, &excess);
            if (!(rows->value[r] < INFINITY)) rows->value[r] = floored_row(q, &call->teacher[r], n, h, call);
            else if (call->sums) call->sums[r] = excess;
        } else if (target->kind != DISTILL_ONE_HOT) {
            rows->value[r] = listed_row(call, rows, r, h);
        } else {
            rows->value[r] = DK_VARIANT(di_label_row)(q, n, ids[r], h, call);
        }
    }
    return DISTILL_CB_OK;
}
