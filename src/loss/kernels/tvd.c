/* Total variation distance, sum |p - q| / 2. Wen et al. 2023. h = q sign(q - p) / 2, and 0 where p = q: the middle of
 * the subgradients. */
#include "loss/kernels/divergence.h"

static di_mark point(const di_outcomes *x, const double *o)
{
    const dk_vd zero = dk_vd_set(0), half = dk_vd_set(0.5), gap = di_excess(x);
    const dk_vd slope = dk_vd_select(dk_vd_less(gap, zero), half * x->q, zero - half * x->q);
    (void)o;
    return (di_mark){half * dk_vd_abs(gap), dk_vd_select(dk_vd_less(zero, dk_vd_abs(gap)), slope, zero)};
}

DI_DIVERGENCE(tvd, NULL, point)
