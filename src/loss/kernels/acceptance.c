/* -log sum min(p, q): what is the matter where a draft's tokens are not accepted (Leviathan et al. 2023; Zhou et al.
 * 2024, DistillSpec). The sum is 1 - tvd. h = -min(p, q)/sum where q < p, 0 where q > p, half of it where they are the
 * same: the middle of the subgradients. */
#include "loss/kernels/divergence.h"

enum { LOG_SUM = DI_LOSS_OPTIONS };

static dk_vd half_gap(const di_outcomes *x, const double *o)
{
    (void)o;
    return dk_vd_set(0.5) * dk_vd_abs(di_excess(x));
}

static dk_vd log_least(const di_outcomes *x, const double *o)
{
    (void)o;
    return dk_vd_select(x->none, dk_vd_set(-1e300), dk_vd_min(x->log_p, x->log_q));
}

static double prepare(const di_pair *pair, double *o)
{
    const double apart = di_total(pair, half_gap, o);
    o[LOG_SUM] = apart < 0.9 ? log1p(-apart) : di_log_total(pair, log_least, o);
    return -o[LOG_SUM];
}

static di_mark point(const di_outcomes *x, const double *o)
{
    const dk_vd zero = dk_vd_set(0), share = dk_vd_exp(x->log_q - dk_vd_set(o[LOG_SUM]));
    const dk_vd tie = dk_vd_select(dk_vd_less(x->d, zero), zero, dk_vd_set(0.5) * share);
    const dk_vd slope = zero - dk_vd_select(dk_vd_less(zero, x->d), share, tie);
    return (di_mark){zero * x->p, dk_vd_select(x->out, zero, slope)};
}

DI_DIVERGENCE(acceptance, prepare, point)
