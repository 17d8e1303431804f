/* Mean of max(0, margin - (q_i - q_j)) over the pairs of ids that the teacher ranks i before j; the margin is p_i - p_j
 * where none is given. Subgradient 0 at the hinge. As in DistillKit. */
#include "loss/kernels/ranked.h"

enum { TOP_K, MARGIN };

static double pair_value(const di_ranking *r, int64_t i, int64_t j, const double *o, double slopes[2])
{
    const double qi = exp(r->log_q[i]), qj = exp(r->log_q[j]);
    const double margin = o[MARGIN] >= 0 ? o[MARGIN] : exp(r->log_p[i]) - exp(r->log_p[j]);
    const double value = margin - (qi - qj);
    slopes[0] = value > 0 ? -qi : 0;
    slopes[1] = value > 0 ? qj : 0;
    return value > 0 ? value : 0;
}

DI_LOSS_EVAL(rank_hinge)
{
    di_builtin_call *call = user;
    return di_ranked_loss(call, rows, (int64_t)call->options[TOP_K], pair_value);
}
