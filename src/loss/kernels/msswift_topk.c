/* ms-swift's GKD on top-k targets: both sides are made distributions over the k ids, and those are compared by jsd, or
 * by the KL that beta 0 or 1 names. h = (1 - b) q (log(q/m) - KL(q || m)), which adds up to 0: ids that are not listed
 * have no gradient. */
#include "loss/kernels/listed.h"

enum { BETA };

typedef struct di_renormalised {
    double log_p, log_q; /* what is taken from log p and log q */
    double power, beta;
} di_renormalised;

/* log(b p + (1 - b) q) */
static double log_mixture(double b, double log_p, double log_q)
{
    const double x = log(b) + log_p, y = log1p(-b) + log_q, top = fmax(x, y);
    return top == -INFINITY ? top : top + log(exp(x - top) + exp(y - top));
}

static void logs_at(const di_pair *pair, int64_t j, const di_renormalised *by, double *log_p, double *log_q)
{
    *log_p = by->power * di_listed_log_p(pair, j) - by->log_p;
    *log_q = di_log_at(pair->q, pair->ids[j]) - by->log_q;
}

/* Of an id: the value and, in *slope, what h is before its mean is taken off. */
static double point(const di_renormalised *by, double log_p, double log_q, double floor, double *slope)
{
    const double p = exp(log_p), q = exp(log_q), b = by->beta;
    if (b == 0) {
        *slope = -p;
        return p > 0 ? p * (log_p - log_q) : 0;
    }
    const double log_m = b == 1 ? fmax(log_p, floor) : log_mixture(b, log_p, log_q);
    const double of_q = q > 0 ? (b == 1 ? 1 : 1 - b) * q * (log_q - log_m) : 0;
    *slope = of_q;
    return of_q + (b < 1 && p > 0 ? b * p * (log_p - log_m) : 0);
}

static double row_of(di_builtin_call *call, const di_pair *pair, double power, float *h)
{
    const di_renormalised by = {di_listed_log_sum(pair, power), di_listed_log_q(pair), power, call->options[BETA]};
    double value = 0, slopes = 0, slope, log_p, log_q;
    if (by.log_q == -INFINITY) return INFINITY;
    for (int64_t j = 0; j < pair->k; j++) {
        if (pair->ids[j] < 0) continue;
        logs_at(pair, j, &by, &log_p, &log_q);
        value += point(&by, log_p, log_q, pair->floor, &slope);
        slopes += slope;
        call->floored += by.beta == 1 && log_p == -INFINITY && log_q > -INFINITY;
        if (h) h[pair->ids[j]] = (float)slope;
    }
    for (int64_t j = 0; h && j < pair->k; j++) {
        if (pair->ids[j] < 0) continue;
        logs_at(pair, j, &by, &log_p, &log_q);
        h[pair->ids[j]] -= (float)(exp(log_q) * slopes);
    }
    return value < 0 ? 0 : value; /* by rounding */
}

DI_LOSS_EVAL(msswift_topk)
{
    di_builtin_call *call = user;
    for (int64_t r = 0; r < rows->rows; r++) {
        float *h = rows->gradient ? rows->gradient + r * rows->vocab : NULL;
        di_pair pair;
        DK_VARIANT(di_pair_of)(call, rows, r, &pair);
        rows->value[r] = row_of(call, &pair, di_listed_power(rows), h);
        if (call->sums) call->sums[r] = 0;
    }
    return DISTILL_CB_OK;
}
