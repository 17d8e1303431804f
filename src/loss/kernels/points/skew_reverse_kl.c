/* Skew reverse KL, KL(q || (1 - l) p + l q). Ko et al. 2024 (DistiLLM). h = q (log(q/m) + l (1 - q/m)); with detach, as
 * DistiLLM-2 has it (Ko et al. 2025), m is a constant and the second term is left out. */
#include "loss/kernels/divergence.h"

enum { LAMBDA, DETACH };

DI_POINT di_mark point(const di_outcomes *x, const double *o)
{
    if (o[LAMBDA] == 0) return (di_mark){di_reverse(x), di_reverse_slope(x)};
    const di_v more = di_v_set(1 - o[LAMBDA]) * di_far_excess(x); /* m - q */
    const di_mixture m = di_mix(x, 1 - o[LAMBDA]);
    const di_v own = di_v_set(o[DETACH] != 0 ? 0 : o[LAMBDA]) * (more * m.over);
    return (di_mark){more - x->q * m.to_q, x->q * (own - m.to_q)};
}

static int32_t floors(const double *o) { return o[LAMBDA] == 0; }

/* m is almost one of the two, and as large as lambda says where the other is far below. */
static int32_t doubles(const double *o) { return o[LAMBDA] > 0.95 || (o[LAMBDA] > 0 && o[LAMBDA] < 0.05); }

DI_DIVERGENCE(skew_reverse_kl, .point = point, .fitted = DI_NEAR | DI_FAR, .asks = DI_MIXES, .floors = floors,
              .doubles = doubles)
