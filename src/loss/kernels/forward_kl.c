/* Forward KL, KL(p || q) = sum p (log p - log q): h = -p (h = dL/dlog q). Hinton et al. 2015.
 *
 * Sparse teachers: k ids and a tail bucket are compared as a distribution of k + 1 outcomes, where the student's last
 * one is its mass outside the ids: h = -p_tail q / q_tail there. Counts of draws stand for their empirical
 * distribution, whose gradient is unbiased (Anshumann et al. 2025). */
#include "loss/kernels/loss_rows.h"

#include "loss/builtin.h"

static double dense_row(const float *log_p, const float *log_q, int64_t n, float *h)
{
    const dk_vf zero = dk_vf_set(0), tiny = dk_vf_set(1e-45f);
    double sum = 0;
    for (int64_t begin = 0; begin < n; begin += DI_BLOCK) {
        dk_vf block = zero;
        DI_VECTORS(begin, di_block_end(begin, n))
        {
            dk_vf lp = di_load(log_p + i, lanes, -INFINITY), p = dk_vf_exp(lp);
            dk_vf term = p * (lp - di_load(log_q + i, lanes, 0));
            block = block + dk_vf_select(dk_vf_less(p, tiny), zero, term); /* 0 log 0 = 0; NaN stays NaN */
            if (h) di_store(h + i, zero - p, lanes);
        }
        sum += (double)dk_vf_sum(block);
    }
    return sum;
}

/* Mass of the student outside the k ids, and exp(log_q) there into h. */
static double outside_mass(const float *log_q, int64_t n, const int32_t *ids, int64_t k, float *h)
{
    float scratch[DI_BLOCK];
    double sum = 0;
    for (int64_t begin = 0; begin < n; begin += DI_BLOCK) {
        const int64_t end = di_block_end(begin, n);
        float *q = h ? h + begin : scratch;
        dk_vf block = dk_vf_set(0);
        DI_VECTORS(begin, end) di_store(q + i - begin, dk_vf_exp(di_load(log_q + i, lanes, 0)), lanes);
        for (int64_t j = 0; j < k; j++)
            if (ids[j] >= begin && ids[j] < end) q[ids[j] - begin] = 0;
        DI_VECTORS(begin, end) block = block + di_load(q + i - begin, lanes, 0);
        sum += (double)dk_vf_sum(block);
    }
    return sum;
}

static double listed_mass(const float *log_p, const int32_t *ids, int64_t k)
{
    double sum = 0;
    for (int64_t j = 0; j < k; j++)
        if (ids[j] >= 0) sum += exp((double)log_p[j]);
    return sum;
}

static double term_of(double p, double log_p, double log_q) { return p > 0 ? p * (log_p - log_q) : 0; }

static double topk_row(const float *log_p, const float *tail, const int32_t *ids, int64_t k, const float *log_q,
                       int64_t n, float *h)
{
    const double left = 1 - listed_mass(log_p, ids, k), q_tail = outside_mass(log_q, n, ids, k, h);
    /* less is the rounding of fp32 logarithms */
    const double p_tail = tail ? exp((double)*tail) : left > 1e-6 ? left : 0;
    double sum = term_of(p_tail, log(p_tail), log(q_tail));
    if (h) {
        const dk_vf factor = dk_vf_set(p_tail > 0 ? (float)(-p_tail / q_tail) : 0);
        DI_VECTORS(0, n) di_store(h + i, di_load(h + i, lanes, 0) * factor, lanes);
    }
    for (int64_t j = 0; j < k; j++) {
        const double p = ids[j] >= 0 ? exp((double)log_p[j]) : 0;
        if (ids[j] < 0) continue;
        sum += term_of(p, (double)log_p[j], (double)log_q[ids[j]]);
        if (h) h[ids[j]] = (float)-p;
    }
    return sum;
}

static double sampled_row(const float *counts, const int32_t *ids, int64_t k, const float *log_q, float *h)
{
    double drawn = 0, sum = 0;
    for (int64_t j = 0; j < k; j++)
        if (ids[j] >= 0) drawn += (double)counts[j];
    for (int64_t j = 0; j < k; j++) {
        const double p = ids[j] >= 0 && counts[j] > 0 ? (double)counts[j] / drawn : 0;
        if (!(p > 0)) continue;
        sum += p * (log(p) - (double)log_q[ids[j]]);
        if (h) h[ids[j]] -= (float)p;
    }
    return sum;
}

static double one_hot_row(int32_t id, const float *log_q, float *h)
{
    if (h) h[id] = -1;
    return -(double)log_q[id];
}

int32_t DK_VARIANT(di_forward_kl)(void *user, const distill_loss_rows *rows);

int32_t DK_VARIANT(di_forward_kl)(void *user, const distill_loss_rows *rows)
{
    const distill_target *target = rows->target;
    const int64_t n = rows->vocab;
    const int64_t k = target->ids && target->ids->ndim == 2 ? target->ids->shape[1] : 1;
    const float *values = target->values ? target->values->data : NULL,
                *tails = target->tail ? target->tail->data : NULL;
    const int32_t *ids = target->ids ? target->ids->data : NULL;
    (void)user;
    for (int64_t r = 0; r < rows->rows; r++) {
        const float *log_q = rows->student + r * n;
        float *h = rows->gradient ? rows->gradient + r * n : NULL;
        if (rows->teacher) rows->value[r] = dense_row(rows->teacher + r * n, log_q, n, h);
        else if (target->kind == DISTILL_TOPK)
            rows->value[r] = topk_row(values + r * k, tails ? tails + r : NULL, ids + r * k, k, log_q, n, h);
        else if (target->kind == DISTILL_SAMPLED)
            rows->value[r] = sampled_row(values + r * k, ids + r * k, k, log_q, h);
        else rows->value[r] = one_hot_row(ids[r], log_q, h);
    }
    return DISTILL_CB_OK;
}
