/* Rows of losses whose teacher names some ids.
 *
 * k ids and the rest are compared as a distribution of k + 1 outcomes; the student's last one is its mass outside the
 * ids, a log-sum-exp over them with a top of its own, so that it is right where the student is sharp. Counts of draws
 * stand for their empirical distribution, which has no rest; its gradient is unbiased (Anshumann et al. 2025). */
#include "loss/kernels/loss_rows.h"

typedef struct di_rest { /* the row without the ids */
    const di_logits *q;
    const int32_t *ids;
    int64_t k, n;
    float top;
    double sum; /* of exp((z - top)*factor); 0 where nothing is left */
} di_rest;

/* The block's logits, -inf at the ids. */
static void copy_rest(const di_rest *rest, int64_t begin, int64_t end, float *out)
{
    memcpy(out, rest->q->z + begin, (size_t)(end - begin) * sizeof *out);
    for (int64_t j = 0; j < rest->k; j++)
        if (rest->ids[j] >= begin && rest->ids[j] < end) out[rest->ids[j] - begin] = -INFINITY;
}

static void find_rest(di_rest *rest)
{
    float block[DI_BLOCK];
    dk_vf top = dk_vf_set(-INFINITY);
    for (int64_t begin = 0; begin < rest->n; begin += DI_BLOCK) {
        const int64_t end = di_block_end(begin, rest->n);
        copy_rest(rest, begin, end, block);
        DI_VECTORS(0, end - begin) top = dk_vf_max(top, di_load(block + i, lanes, -INFINITY));
    }
    rest->top = dk_vf_highest(top);
    rest->sum = 0;
    if (rest->top == -INFINITY) return;
    for (int64_t begin = 0; begin < rest->n; begin += DI_BLOCK) {
        const int64_t end = di_block_end(begin, rest->n);
        dk_vf sum = dk_vf_set(0);
        copy_rest(rest, begin, end, block);
        DI_VECTORS(0, end - begin)
        sum = sum + dk_vf_exp((di_load(block + i, lanes, -INFINITY) - dk_vf_set(rest->top)) *
                              dk_vf_set((float)rest->q->factor));
        rest->sum += (double)dk_vf_sum(sum);
    }
}

/* h = slope of the rest, shared out as the student does; zero at the ids. */
static void spread_rest(const di_rest *rest, double slope, float *h)
{
    const dk_vf share = dk_vf_set(rest->sum > 0 ? (float)(slope / rest->sum) : 0);
    for (int64_t begin = 0; begin < rest->n; begin += DI_BLOCK) {
        const int64_t end = di_block_end(begin, rest->n);
        copy_rest(rest, begin, end, h + begin);
        DI_VECTORS(begin, end)
        di_store(h + i,
                 share * dk_vf_exp((di_load(h + i, lanes, -INFINITY) - dk_vf_set(rest->sum > 0 ? rest->top : 0)) *
                                   dk_vf_set((float)rest->q->factor)),
                 lanes);
    }
}

typedef double (*di_log_p)(const float *values, int64_t j, double total);

static double of_log(const float *values, int64_t j, double total)
{
    (void)total;
    return (double)values[j];
}

static double of_count(const float *values, int64_t j, double total) { return log((double)values[j] / total); }

/* log p of the rest as the ids leave it; what their rounding to floats alone may leave is nothing. */
static double log_left(const float *log_p, const int32_t *ids, int64_t k)
{
    double left = 1, rounding = 0;
    for (int64_t j = 0; j < k; j++) {
        if (ids[j] < 0 || !(log_p[j] > -INFINITY)) continue;
        const double p = exp((double)log_p[j]);
        left -= p;
        rounding += p * fabs((double)log_p[j]);
    }
    return left > rounding * 0x1p-24 ? log(left) : -INFINITY;
}

/* log of the student's whole mass over the row's top, ids in double. */
static double log_whole(const di_rest *rest)
{
    const di_logits *q = rest->q;
    double sum = rest->sum > 0 ? rest->sum * exp(((double)rest->top - (double)q->top) * q->factor) : 0;
    for (int64_t j = 0; j < rest->k; j++)
        if (rest->ids[j] >= 0) sum += exp(((double)q->z[rest->ids[j]] - (double)q->top) * q->factor);
    return log(sum);
}

static double sparse_row(di_rest *rest, di_log_p of, const float *values, double total, double log_tail, float *h,
                         di_builtin_call *call)
{
    const di_logits *q = rest->q;
    double whole, log_q, slope, sum;
    find_rest(rest);
    whole = log_whole(rest);
    log_q = rest->sum > 0 ? ((double)rest->top - (double)q->top) * q->factor + log(rest->sum) - whole : -INFINITY;
    sum = di_kl_floored(log_tail, log_q, call, &slope);
    if (h) spread_rest(rest, slope, h);
    for (int64_t j = 0; j < rest->k; j++) {
        const int32_t id = rest->ids[j];
        if (id < 0) continue;
        log_q = ((double)q->z[id] - (double)q->top) * q->factor - whole;
        sum += di_kl_floored(of(values, j, total), log_q, call, &slope);
        if (h) h[id] = (float)slope;
    }
    return sum;
}

double DK_VARIANT(di_topk_row)(const di_logits *q, int64_t n, const int32_t *ids, const float *log_p, int64_t k,
                               const float *tail, float *h, di_builtin_call *call)
{
    di_rest rest = {q, ids, k, n, 0, 0};
    int64_t listed = 0;
    for (int64_t j = 0; j < k; j++) listed += ids[j] >= 0;
    return sparse_row(&rest, of_log, log_p, 1,
                      listed == n ? -INFINITY
                      : tail      ? (double)*tail
                                  : log_left(log_p, ids, k),
                      h, call);
}

double DK_VARIANT(di_sampled_row)(const di_logits *q, int64_t n, const int32_t *ids, const float *counts, int64_t k,
                                  float *h, di_builtin_call *call)
{
    di_rest rest = {q, ids, k, n, 0, 0};
    double drawn = 0;
    for (int64_t j = 0; j < k; j++)
        if (ids[j] >= 0) drawn += (double)counts[j];
    return sparse_row(&rest, of_count, counts, drawn, -INFINITY, h, call);
}

double DK_VARIANT(di_label_row)(const di_logits *q, int64_t n, int32_t id, float *h, di_builtin_call *call)
{
    const double log_q = di_log_at(q, id);
    if (log_q == -INFINITY) {
        call->floored++;
        return -call->log_floor;
    }
    if (!h) return -log_q;
    if (log_q < -0.25) {
        h[id] = -1;
        return -log_q;
    }
    const dk_vf log_sum = dk_vf_set((float)q->log_sum);
    DI_VECTORS(0, n) di_store(h + i, dk_vf_exp(di_shifted(di_load(q->z + i, lanes, 0), q) - log_sum), lanes);
    h[id] = (float)expm1(log_q);
    return -log_q;
}
