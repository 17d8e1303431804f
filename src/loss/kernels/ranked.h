/* ranked.h - losses over pairs of ids that the teacher ranks: its likeliest ids, or those that a target lists. */
#ifndef DI_LOSS_KERNELS_RANKED_H
#define DI_LOSS_KERNELS_RANKED_H

#include "loss/kernels/pair.h"

enum { DI_RANKED = 256 }; /* ids at most */

typedef struct di_ranking { /* from the likeliest down; of one probability the lowest id first */
    int32_t id[DI_RANKED];
    double log_p[DI_RANKED], log_q[DI_RANKED];
    double slope[DI_RANKED]; /* out: by log q */
    int64_t count;
} di_ranking;

/* Value of a pair (better, worse) and its slope by log q of the better one and of the worse one. */
typedef double (*di_ranked_pair)(const di_ranking *r, int64_t better, int64_t worse, const double *o, double slopes[2]);

void DK_VARIANT(di_rank)(const di_pair *pair, int64_t most, di_ranking *out);
/* h = (slope - q*sum)*scale, sum that of the slopes, so that h adds up to 0: where the student is sure of one id, its
 * slope is cancelled in doubles. */
void DK_VARIANT(di_rank_slopes)(const di_pair *pair, const di_ranking *ranking, double sum, double scale, float *h);

/* The mean over the pairs of different probability; 0 where there are none. */
static inline int32_t di_ranked_loss(di_builtin_call *call, const distill_loss_rows *rows, int64_t most,
                                     di_ranked_pair value_of)
{
    for (int64_t r = 0; r < rows->rows; r++) {
        di_ranking ranking;
        di_pair pair;
        double sum = 0, tilt = 0, slopes[2];
        int64_t pairs = 0;
        DK_VARIANT(di_pair_of)(call, rows, r, &pair);
        DK_VARIANT(di_rank)(&pair, most, &ranking);
        for (int64_t i = 0; i < ranking.count; i++)
            for (int64_t j = i + 1; j < ranking.count; j++) {
                if (!(ranking.log_p[i] > ranking.log_p[j])) continue;
                sum += value_of(&ranking, i, j, call->options, slopes);
                ranking.slope[i] += slopes[0];
                ranking.slope[j] += slopes[1];
                tilt += slopes[0] + slopes[1];
                pairs++;
            }
        rows->value[r] = pairs ? sum / (double)pairs : 0;
        if (isnan(pair.q->log_sum) || (pair.p && isnan(pair.p->log_sum)))
            rows->value[r] = NAN; /* at an id that is not ranked */
        if (rows->gradient) DK_VARIANT(di_rank_slopes)
        (&pair, &ranking, tilt, pairs ? 1 / (double)pairs : 0, rows->gradient + r * rows->vocab);
        if (call->sums) call->sums[r] = 0;
        if (DK_VARIANT(di_pair_excludes)(&pair, NULL) > 0) rows->value[r] = INFINITY;
    }
    return DISTILL_CB_OK;
}

#endif
