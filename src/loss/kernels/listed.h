/* listed.h - rows of presets that know of k ids alone: what other tools make of them, in doubles. */
#ifndef DI_LOSS_KERNELS_LISTED_H
#define DI_LOSS_KERNELS_LISTED_H

#include "loss/kernels/pair.h"

static inline int32_t di_is_listed(const di_pair *pair, int64_t j)
{
    return pair->ids[j] >= 0 && di_listed_log_p(pair, j) > -INFINITY;
}

/* log of the sum of p^power over the ids. */
static inline double di_listed_log_sum(const di_pair *pair, double power)
{
    double top = -INFINITY, sum = 0;
    for (int64_t j = 0; j < pair->k; j++)
        if (di_is_listed(pair, j)) top = fmax(top, power * di_listed_log_p(pair, j));
    for (int64_t j = 0; j < pair->k; j++)
        if (di_is_listed(pair, j)) sum += exp(power * di_listed_log_p(pair, j) - top);
    return top + log(sum);
}

/* log of the student's mass at the ids, over that of all. */
static inline double di_listed_log_q(const di_pair *pair)
{
    double top = -INFINITY, sum = 0;
    for (int64_t j = 0; j < pair->k; j++)
        if (pair->ids[j] >= 0) top = fmax(top, di_log_at(pair->q, pair->ids[j]));
    if (top == -INFINITY) return top;
    for (int64_t j = 0; j < pair->k; j++)
        if (pair->ids[j] >= 0) sum += exp(di_log_at(pair->q, pair->ids[j]) - top);
    return top + log(sum);
}

/* What log p is multiplied with, before it is renormalised, to get from the target's temperature to the loss's. */
static inline double di_listed_power(const distill_loss_rows *rows)
{
    const double made_at = rows->target->temperature;
    return (made_at > 0 ? made_at : 1) / rows->temperature;
}

#endif
