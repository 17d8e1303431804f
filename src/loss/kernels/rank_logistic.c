/* Mean of log(1 + exp(-(z_i - z_j)/T)) over the pairs of ids that the teacher ranks i before j: of log q_i - log q_j,
 * which is the same. Burges et al. 2005 (RankNet); as in DistillKit. */
#include "loss/kernels/ranked.h"

enum { TOP_K };

static double pair_value(const di_ranking *r, int64_t i, int64_t j, const double *o, double slopes[2])
{
    const double d = r->log_q[i] - r->log_q[j];
    slopes[1] = d > 0 ? exp(-d) / (1 + exp(-d)) : 1 / (1 + exp(d));
    slopes[0] = -slopes[1];
    (void)o;
    return d > 0 ? log1p(exp(-d)) : log1p(exp(d)) - d;
}

DI_LOSS_EVAL(rank_logistic)
{
    di_builtin_call *call = user;
    return di_ranked_loss(call, rows, (int64_t)call->options[TOP_K], pair_value);
}
