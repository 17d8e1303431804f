/* -log sum min(p, q): what is the matter where a draft's tokens are not accepted (Leviathan et al. 2023; Zhou et al.
 * 2024, DistillSpec). The sum is 1 - tvd. h = -min(p, q)/sum where q < p, 0 where q > p, half of it where they are the
 * same: the middle of the subgradients. */
#include "loss/kernels/divergence.h"

enum { LOG_SUM = DI_LOSS_OPTIONS, OVER_SUM };

#ifdef DK_AS_FLOATS
DI_POINT di_v least(const di_outcomes *x, const double *o)
{
    (void)o;
    return di_v_min(x->p, x->q);
}

static double prepare(di_row *row, double *o)
{
    const double apart = di_distance(row), sum = apart < 0.9 ? 1 - apart : di_total(row, least, o);
    if (isnan(apart) || !(sum > 1e-30)) return NAN; /* floats may have lost some */
    o[LOG_SUM] = apart < 0.9 ? log1p(-apart) : log(sum);
    o[OVER_SUM] = 1 / sum;
    return -o[LOG_SUM];
}

DI_POINT di_v share_of(const di_outcomes *x, const double *o) { return x->q * di_v_set(o[OVER_SUM]); }

DI_POINT di_v nothing(const di_outcomes *x)
{
    (void)x;
    return di_v_set(0);
}
#else
DI_POINT di_v half_gap(const di_outcomes *x, const double *o)
{
    (void)o;
    return di_v_set(0.5) * di_v_abs(di_excess(x));
}

DI_POINT di_v log_least(const di_outcomes *x, const double *o)
{
    (void)o;
    return di_v_select(x->none, di_v_set(DI_NEVER), di_v_min(x->log_p, x->log_q));
}

static double prepare(di_row *row, double *o)
{
    const double apart = di_total(row, half_gap, o);
    o[LOG_SUM] = apart < 0.9 ? log1p(-apart) : di_log_total(row, log_least, o);
    return -o[LOG_SUM];
}

DI_POINT di_v share_of(const di_outcomes *x, const double *o) { return di_v_exp(x->log_q - di_v_set(o[LOG_SUM])); }

DI_POINT di_v nothing(const di_outcomes *x) { return di_v_set(0) * x->p; } /* NaN stays NaN */
#endif

DI_POINT di_mark point(const di_outcomes *x, const double *o)
{
    const di_v zero = di_v_set(0), share = share_of(x, o);
    const di_v tie = di_v_select(di_v_less(x->d, zero), zero, di_v_set(0.5) * share);
    const di_v slope = zero - di_v_select(di_v_less(zero, x->d), share, tie);
    return (di_mark){nothing(x), di_v_select(x->out, zero, slope)};
}

DI_DIVERGENCE(acceptance, .prepare = prepare, .point = point)
