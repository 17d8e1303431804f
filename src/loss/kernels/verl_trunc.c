/* verl's forward_kl_topk: sum over the k ids of p (log p - log q), which ends there, so that it may be negative; such a
 * row is raised to 0 and has no gradient. h = -p at the ids. Log-probabilities below a floor count as the floor, where
 * log q has no slope; a row above a ceiling counts as the ceiling, without a gradient. */
#include "loss/kernels/listed.h"

#define NO_FLOOR -1e4 /* the option's lowest */

enum { LOG_PROB_MIN, LOSS_MAX };

static double row_of(const di_pair *pair, double low, float *h)
{
    double sum = 0;
    for (int64_t j = 0; j < pair->k; j++) {
        if (pair->ids[j] < 0) continue;
        const double own = di_log_at(pair->q, pair->ids[j]);
        const double log_p = fmax(di_listed_log_p(pair, j), low), log_q = fmax(own, low), p = exp(log_p);
        if (p > 0) sum += p * (log_p - log_q);
        if (h) h[pair->ids[j]] = own >= low ? (float)-p : 0;
    }
    return sum;
}

DI_LOSS_EVAL(verl_trunc)
{
    di_builtin_call *call = user;
    const double most = call->options[LOSS_MAX] > 0 ? call->options[LOSS_MAX] : INFINITY;
    const double low = call->options[LOG_PROB_MIN] > NO_FLOOR ? call->options[LOG_PROB_MIN] : -INFINITY;
    for (int64_t r = 0; r < rows->rows; r++) {
        float *h = rows->gradient ? rows->gradient + r * rows->vocab : NULL;
        di_pair pair;
        DK_VARIANT(di_pair_of)(call, rows, r, &pair);
        const double value = row_of(&pair, low, h);
        rows->value[r] = isnan(value) ? value : fmin(fmax(value, 0), most);
        if (h && (value < 0 || value > most)) memset(h, 0, (size_t)rows->vocab * sizeof *h);
    }
    return DISTILL_CB_OK;
}
