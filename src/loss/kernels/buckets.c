/* Rows of losses whose teacher names some ids.
 *
 * k ids and the rest are compared as a distribution of k + 1 outcomes; the student's last one is its mass outside the
 * ids. Counts of draws stand for their empirical distribution, which has no rest; its gradient is unbiased (Anshumann
 * et al. 2025). Where student and teacher are near each other all that counts is how the rest differs from the
 * teacher's, so masses are doubles; where little is left, the rest is a log-sum-exp with a top of its own. */
#include "loss/kernels/pair.h"

/* ---- the student's mass outside the ids ---- */

/* The block's logits, -inf at the ids. */
static void copy_rest(const di_pair *pair, int64_t begin, int64_t end, float *out)
{
    memcpy(out, pair->q->z + begin, (size_t)(end - begin) * sizeof *out);
    for (int64_t j = 0; j < pair->k; j++)
        if (pair->ids[j] >= begin && pair->ids[j] < end) out[pair->ids[j] - begin] = -INFINITY;
}

static float top_of_rest(const di_pair *pair)
{
    float block[DI_BLOCK];
    dk_vf top = dk_vf_set(-INFINITY);
    for (int64_t begin = 0; begin < pair->n; begin += DI_BLOCK) {
        const int64_t end = di_block_end(begin, pair->n);
        copy_rest(pair, begin, end, block);
        DI_VECTORS(0, end - begin) top = dk_vf_max(top, di_load(block + i, lanes, -INFINITY));
    }
    return dk_vf_highest(top);
}

static void sum_rest(const di_pair *pair, di_rest *rest)
{
    const di_logits *q = pair->q;
    float block[DI_BLOCK];
    double below = 0, tops = 0;
    rest->top = top_of_rest(pair);
    rest->log_sum = rest->log_q = -INFINITY;
    if (rest->top == -INFINITY) return;
    for (int64_t begin = 0; begin < pair->n; begin += DI_BLOCK) {
        const int64_t end = di_block_end(begin, pair->n);
        copy_rest(pair, begin, end, block);
        below += di_sum_below(block, end - begin, rest->top, q->factor, &tops);
    }
    rest->log_sum = log(tops + below);
    rest->log_q = ((double)rest->top - (double)q->top) * q->factor + rest->log_sum - q->log_sum;
}

static void find_rest(const di_pair *pair, double listed, di_rest *rest)
{
    const double left = 1 - listed;
    if (!(left > 1e-5)) { /* known to 1e-9 down to here */
        sum_rest(pair, rest);
        return;
    }
    rest->top = pair->q->top;
    rest->log_q = log(left);
    rest->log_sum = rest->log_q + pair->q->log_sum;
}

void DK_VARIANT(di_find_rest)(di_pair *pair)
{
    double listed = 0;
    for (int64_t j = 0; j < pair->k; j++)
        if (pair->ids[j] >= 0) listed += exp(di_log_at(pair->q, pair->ids[j]));
    find_rest(pair, listed, &pair->rest);
}

void DK_VARIANT(di_spread_rest)(const di_pair *pair, double slope, float *h)
{
    const di_rest *rest = &pair->rest;
    const int32_t none = rest->log_sum == -INFINITY;
    const dk_vf share = dk_vf_set(none ? 0 : (float)(slope / exp(rest->log_sum)));
    const dk_vf top = dk_vf_set(none ? 0 : rest->top), factor = dk_vf_set((float)pair->q->factor);
    DI_VECTORS(0, pair->n)
    di_store(h + i, dk_vf_exp((di_load(pair->q->z + i, lanes, 0) - top) * factor) * share, lanes);
}

/* ---- the teacher's side ---- */

/* log p of the rest as the ids leave it; what their rounding to floats alone may leave is nothing. */
static double log_left(const di_pair *pair)
{
    double listed = 0, rounding = 0;
    for (int64_t j = 0; j < pair->k; j++) {
        const double log_p = di_listed_log_p(pair, j), p = exp(log_p);
        listed += p;
        if (p > 0) rounding += p * fabs(log_p);
    }
    return 1 - listed > rounding * 0x1p-24 ? log1p(-listed) : -INFINITY;
}

static int64_t used_ids(const di_pair *pair)
{
    int64_t used = 0;
    for (int64_t j = 0; j < pair->k; j++) used += pair->ids[j] >= 0;
    return used;
}

static void take_listed(const distill_target *target, int64_t row, di_pair *pair)
{
    const float *tails = target->tail ? target->tail->data : NULL;
    pair->k = target->ids->ndim == 2 ? target->ids->shape[1] : 1;
    pair->ids = (const int32_t *)target->ids->data + row * pair->k;
    pair->rest = (di_rest){0, -INFINITY, -INFINITY};
    pair->rest_log_p = -INFINITY;
    if (target->kind != DISTILL_ONE_HOT) pair->values = (const float *)target->values->data + row * pair->k;
    if (target->kind == DISTILL_SAMPLED) {
        double drawn = 0;
        for (int64_t j = 0; j < pair->k; j++) drawn += pair->ids[j] >= 0 ? (double)pair->values[j] : 0;
        pair->log_drawn = log(drawn);
        pair->counts = 1;
    }
    if (used_ids(pair) >= pair->n) return;
    if (target->kind == DISTILL_TOPK) pair->rest_log_p = tails ? (double)tails[row] : log_left(pair);
    DK_VARIANT(di_find_rest)(pair);
}

void DK_VARIANT(di_pair_of)(const di_builtin_call *call, const distill_loss_rows *rows, int64_t row, di_pair *pair)
{
    memset(pair, 0, sizeof *pair);
    pair->q = &call->student[row];
    pair->n = rows->vocab;
    pair->floor = call->teacher_floor;
    pair->student_floor = call->student_floor;
    pair->label = rows->labels ? rows->labels[row] : -1;
    if (call->teacher) pair->p = &call->teacher[row];
    else take_listed(rows->target, row, pair);
}

/* ---- what is asked of a pair ---- */

int64_t DK_VARIANT(di_top_of)(const di_pair *pair)
{
    double best = pair->rest.log_q;
    int64_t at = -1;
    if (pair->p) return di_top_id(pair->q, pair->n);
    for (int64_t j = 0; j < pair->k; j++) {
        if (pair->ids[j] < 0 || !(di_log_at(pair->q, pair->ids[j]) > best)) continue;
        best = di_log_at(pair->q, pair->ids[j]);
        at = j;
    }
    return at;
}

int64_t DK_VARIANT(di_pair_excludes)(const di_pair *pair, int64_t *floored)
{
    int64_t excludes = 0;
    if (!pair->p) {
        excludes = pair->rest.log_q == -INFINITY && pair->rest_log_p > -INFINITY;
        for (int64_t j = 0; j < pair->k; j++)
            excludes += di_listed_log_p(pair, j) > -INFINITY && pair->q->z[pair->ids[j]] == -INFINITY;
        if (floored) *floored += pair->rest_log_p == -INFINITY && pair->rest.log_q > -INFINITY;
        return excludes;
    }
    if (pair->q->low > -INFINITY && (!floored || pair->p->low > -INFINITY)) return 0;
    for (int64_t i = 0; i < pair->n; i++) {
        const int32_t out = pair->q->z[i] == -INFINITY, none = pair->p->z[i] == -INFINITY;
        excludes += out && !none;
        if (floored) *floored += none && !out;
    }
    return excludes;
}
