/* -log sum min(p, q): what is the matter where a draft's tokens are not accepted (Leviathan et al. 2023; Zhou et al.
 * 2024, DistillSpec). The sum is 1 - tvd. h = -min(p, q)/sum where q < p, 0 where q > p, half of it where they are the
 * same: the middle of the subgradients. */
#include "loss/kernels/divergence.h"

enum { LOG_SUM = DI_LOSS_OPTIONS };

static di_v half_gap(const di_outcomes *x, const double *o)
{
    (void)o;
    return di_v_set(0.5) * di_v_abs(di_exact_excess(x));
}

static di_v log_least(const di_outcomes *x, const double *o)
{
    (void)o;
    return di_v_select(x->none, di_v_set(DI_NEVER), di_v_min(x->log_p, x->log_q));
}

static double prepare(const di_row *row, double *o)
{
    const double apart = di_total(row, half_gap, o);
    o[LOG_SUM] = apart < 0.9 ? log1p(-apart) : di_log_total(row, log_least, o);
    return -o[LOG_SUM];
}

static di_mark point(const di_outcomes *x, const double *o)
{
    const di_v zero = di_v_set(0), share = di_v_exp(x->log_q - di_v_set(o[LOG_SUM]));
    const di_v tie = di_v_select(di_v_less(x->d, zero), zero, di_v_set(0.5) * share);
    const di_v slope = zero - di_v_select(di_v_less(zero, x->d), share, tie);
    return (di_mark){zero * x->p, di_v_select(x->out, zero, slope)}; /* NaN stays NaN */
}

DI_DIVERGENCE(acceptance, .prepare = prepare, .point = point, .kinked = 1, .firm = 1)
