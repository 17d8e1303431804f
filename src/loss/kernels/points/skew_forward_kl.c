/* Skew forward KL, KL(p || l p + (1 - l) q). Lee 1999; Ko et al. 2024 (DistiLLM). h = -(1 - l) p q/m, here with a
 * multiple of q that makes it (1 - l)^2 q (q - p)/m. */
#include "loss/kernels/divergence.h"

enum { LAMBDA };

DI_POINT di_mark point(const di_outcomes *x, const double *o)
{
    if (o[LAMBDA] == 0) return (di_mark){di_forward(x), di_forward_slope(x)};
    const di_v rest = di_v_set(1 - o[LAMBDA]), less = rest * di_far_excess(x); /* p - m */
    const di_mixture m = di_mix(x, o[LAMBDA]);
    return (di_mark){di_v_set(0) - x->p * m.to_p - less, di_v_set(0) - rest * x->q * (less * m.over)};
}

/* m is almost one of the two, and as large as lambda says where the other is far below. */
static int32_t doubles(const double *o) { return o[LAMBDA] > 0.95 || (o[LAMBDA] > 0 && o[LAMBDA] < 0.05); }

DI_DIVERGENCE(skew_forward_kl, .point = point, .fitted = DI_NEAR | DI_FAR, .asks = DI_MIXES, .doubles = doubles)
