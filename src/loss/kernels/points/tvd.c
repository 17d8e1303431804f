/* Total variation distance, sum |p - q| / 2. Wen et al. 2023. h = q sign(q - p) / 2, and 0 where p = q: the middle of
 * the subgradients. */
#include "loss/kernels/divergence.h"

DI_POINT di_mark point(const di_outcomes *x, const double *o)
{
    const di_v zero = di_v_set(0), half = di_v_set(0.5), gap = di_excess(x);
    const di_v slope = di_v_select(di_v_less(gap, zero), half * x->q, zero - half * x->q);
    (void)o;
    return (di_mark){half * di_v_abs(gap), di_v_select(di_v_less(zero, di_v_abs(gap)), slope, zero)};
}

DI_DIVERGENCE(tvd, .point = point, .firm = 1)
