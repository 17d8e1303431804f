/* Skew forward KL, KL(p || l p + (1 - l) q). Lee 1999; Ko et al. 2024 (DistiLLM). h = -(1 - l) p q/m, here with a
 * multiple of q that makes it (1 - l)^2 q (q - p)/m. */
#include "loss/kernels/divergence.h"

enum { LAMBDA };

static di_mark point(const di_outcomes *x, const double *o)
{
    if (o[LAMBDA] == 0) return (di_mark){di_forward(x), di_forward_slope(x)};
    const dk_vd zero = dk_vd_set(0), one = dk_vd_set(1), rest = dk_vd_set(1 - o[LAMBDA]);
    const dk_vd more = rest * di_growth(zero - x->d); /* m/p - 1 */
    return (di_mark){zero - x->p * dk_vd_log1p(more) - rest * di_excess(x), rest * x->q * (more / (one + more))};
}

DI_DIVERGENCE(skew_forward_kl, NULL, point)
