/* Rows of losses whose teacher names some ids.
 *
 * k ids and the rest are compared as a distribution of k + 1 outcomes; the student's last one is its mass outside the
 * ids. Counts of draws stand for their empirical distribution, which has no rest; its gradient is unbiased (Anshumann
 * et al. 2025). Where student and teacher are near each other all that counts is how the rest differs from the
 * teacher's, so masses are doubles; where little is left, the rest is a log-sum-exp with a top of its own. */
#include "loss/kernels/loss_rows.h"

enum { BLOCK = 64 }; /* ids at a time; a multiple of DK_VD */

typedef struct di_listed { /* a row's ids; its log_sum is of doubles */
    const di_logits *q;
    const int32_t *ids;
    const float *values; /* log p, or counts */
    int64_t k, n;
    double drawn;               /* sum of the counts; 0 = values are log p */
    double p, q_mass, rounding; /* out: their masses, and sum of p*|log p| */
} di_listed;

typedef struct di_ids_block {
    double log_p[BLOCK], log_q[BLOCK], slope[BLOCK];
    int32_t id[BLOCK];
    int64_t count;
} di_ids_block;

/* log p of id j; what is 0 in double counts as -800. */
static double log_p_at(const di_listed *row, int64_t j)
{
    const double log_p = row->drawn > 0 ? log((double)row->values[j] / row->drawn) : (double)row->values[j];
    return log_p < -800 ? -800 : log_p;
}

/* The ids from j on that are used; the lanes behind them are outcomes of no mass. Returns where to go on. */
static int64_t gather(const di_listed *row, int64_t j, di_ids_block *block)
{
    int64_t count = 0;
    for (; j < row->k && count < BLOCK; j++) {
        if (row->ids[j] < 0) continue;
        block->id[count] = row->ids[j];
        block->log_p[count] = log_p_at(row, j);
        block->log_q[count++] = di_log_at(row->q, row->ids[j]);
    }
    block->count = count;
    for (; count % DK_VD; count++) block->log_p[count] = block->log_q[count] = -800;
    return j;
}

/* p*(e^d - 1 - d) of every outcome, d = log q - log p, and slopes p*(e^d - 1). */
static double block_terms(di_listed *row, di_ids_block *block)
{
    dk_vd sum = dk_vd_set(0), mass_p = sum, mass_q = sum, rounding = sum;
    for (int64_t i = 0; i < block->count; i += DK_VD) {
        dk_vd log_p = dk_vd_load(block->log_p + i), log_q = dk_vd_load(block->log_q + i), d = log_q - log_p;
        dk_vd p = dk_vd_exp(log_p), q = dk_vd_exp(log_q);
        dk_vd curved = d * d * (0.5 + d * (1.0 / 6 + d * (1.0 / 24 + d * (1.0 / 120 + d * (1.0 / 720)))));
        dk_vl near = dk_vd_less(dk_vd_abs(d), dk_vd_set(0.03));
        dk_vd slope = dk_vd_select(near, p * (d + curved), q - p);
        sum = sum + dk_vd_select(near, p * curved, slope - p * d);
        mass_p = mass_p + p;
        mass_q = mass_q + q;
        rounding = rounding + p * dk_vd_abs(log_p);
        dk_vd_store(block->slope + i, slope);
    }
    row->p += dk_vd_sum(mass_p);
    row->q_mass += dk_vd_sum(mass_q);
    row->rounding += dk_vd_sum(rounding);
    return dk_vd_sum(sum);
}

/* Somewhere q is 0 and p is not, or something is NaN. */
static double floored_ids(const di_listed *row, float *h, di_builtin_call *call)
{
    double sum = 0, slope;
    for (int64_t j = 0; j < row->k; j++) {
        const int32_t id = row->ids[j];
        if (id < 0) continue;
        sum += di_kl_floored(log_p_at(row, j), di_log_at(row->q, id), call, &slope);
        if (h) h[id] = (float)slope;
    }
    return sum;
}

static double listed_ids(di_listed *row, float *h, di_builtin_call *call)
{
    di_ids_block block;
    double sum = 0;
    row->p = row->q_mass = row->rounding = 0;
    for (int64_t j = 0; j < row->k;) {
        j = gather(row, j, &block);
        sum += block_terms(row, &block);
        for (int64_t i = 0; h && i < block.count; i++) h[block.id[i]] = (float)block.slope[i];
    }
    return sum < INFINITY ? sum : floored_ids(row, h, call);
}

/* ---- the rest ---- */

typedef struct di_rest {
    float top;      /* its masses are exp((z - top)*factor) */
    double log_sum; /* of them; -inf where nothing is left */
    double log_q;
} di_rest;

/* The block's logits, -inf at the ids. */
static void copy_rest(const di_listed *row, int64_t begin, int64_t end, float *out)
{
    memcpy(out, row->q->z + begin, (size_t)(end - begin) * sizeof *out);
    for (int64_t j = 0; j < row->k; j++)
        if (row->ids[j] >= begin && row->ids[j] < end) out[row->ids[j] - begin] = -INFINITY;
}

static float top_of_rest(const di_listed *row)
{
    float block[DI_BLOCK];
    dk_vf top = dk_vf_set(-INFINITY);
    for (int64_t begin = 0; begin < row->n; begin += DI_BLOCK) {
        const int64_t end = di_block_end(begin, row->n);
        copy_rest(row, begin, end, block);
        DI_VECTORS(0, end - begin) top = dk_vf_max(top, di_load(block + i, lanes, -INFINITY));
    }
    return dk_vf_highest(top);
}

static void sum_rest(const di_listed *row, di_rest *rest)
{
    float block[DI_BLOCK];
    double below = 0, tops = 0;
    rest->top = top_of_rest(row);
    rest->log_sum = rest->log_q = -INFINITY;
    if (rest->top == -INFINITY) return;
    for (int64_t begin = 0; begin < row->n; begin += DI_BLOCK) {
        const int64_t end = di_block_end(begin, row->n);
        copy_rest(row, begin, end, block);
        below += di_sum_below(block, end - begin, rest->top, row->q->factor, &tops);
    }
    rest->log_sum = log(tops + below);
    rest->log_q = ((double)rest->top - (double)row->q->top) * row->q->factor + rest->log_sum - row->q->log_sum;
}

static void find_rest(const di_listed *row, di_rest *rest)
{
    const double left = 1 - row->q_mass;
    if (!(left > 1e-5)) { /* known to 1e-9 down to here */
        sum_rest(row, rest);
        return;
    }
    rest->top = row->q->top;
    rest->log_q = log(left);
    rest->log_sum = rest->log_q + row->q->log_sum;
}

/* h = slope of the rest, shared out as the student does; the ids' own are written after it. */
static void spread_rest(const di_listed *row, const di_rest *rest, double slope, float *h)
{
    const int32_t none = rest->log_sum == -INFINITY;
    const dk_vf share = dk_vf_set(none ? 0 : (float)(slope / exp(rest->log_sum)));
    const dk_vf top = dk_vf_set(none ? 0 : rest->top), factor = dk_vf_set((float)row->q->factor);
    DI_VECTORS(0, row->n)
    di_store(h + i, dk_vf_exp((di_load(row->q->z + i, lanes, 0) - top) * factor) * share, lanes);
}

/* log p of the rest as the ids leave it; what their rounding to floats alone may leave is nothing. */
static double log_left(const di_listed *row)
{
    const double left = 1 - row->p;
    return left > row->rounding * 0x1p-24 ? log(left) : -INFINITY;
}

static double sparse_row(di_listed *row, const float *tail, int32_t has_rest, float *h, di_builtin_call *call)
{
    di_builtin_call counted = {0};
    di_rest rest;
    double slope, sum = listed_ids(row, NULL, call);
    find_rest(row, &rest);
    sum += di_kl_floored(!has_rest ? -INFINITY : tail ? (double)*tail : log_left(row), rest.log_q, call, &slope);
    if (!h) return sum;
    spread_rest(row, &rest, slope, h);
    listed_ids(row, h, &counted);
    return sum;
}

double DK_VARIANT(di_topk_row)(const di_logits *q, int64_t n, const int32_t *ids, const float *log_p, int64_t k,
                               const float *tail, float *h, di_builtin_call *call)
{
    di_listed row = {q, ids, log_p, k, n, 0, 0, 0, 0};
    int64_t listed = 0;
    for (int64_t j = 0; j < k; j++) listed += ids[j] >= 0;
    return sparse_row(&row, tail, listed < n, h, call);
}

double DK_VARIANT(di_sampled_row)(const di_logits *q, int64_t n, const int32_t *ids, const float *counts, int64_t k,
                                  float *h, di_builtin_call *call)
{
    di_listed row = {q, ids, counts, k, n, 0, 0, 0, 0};
    for (int64_t j = 0; j < k; j++)
        if (ids[j] >= 0) row.drawn += (double)counts[j];
    return sparse_row(&row, NULL, 0, h, call);
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
