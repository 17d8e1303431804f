/* Generalised Jensen-Shannon divergence, b KL(p || m) + (1 - b) KL(q || m), m = b p + (1 - b) q; b is the teacher's
 * weight. Agarwal et al. 2023 (GKD). Normalised it is divided by b (1 - b) and goes to forward KL as b goes to 0, to
 * reverse KL as b goes to 1. h = (1 - b) q log(q/m). */
#include "loss/kernels/divergence.h"

enum { TEACHER_WEIGHT, NORMALISED };

DI_POINT di_mark point(const di_outcomes *x, const double *o)
{
    const double b = o[TEACHER_WEIGHT], scale = o[NORMALISED] != 0 ? 1 / (b * (1 - b)) : 1;
    if (b == 0) return (di_mark){di_forward(x), di_forward_slope(x)};
    if (b == 1) return (di_mark){di_reverse(x), di_reverse_slope(x)};
    const di_mixture m = di_mix(x, b);
    const di_v of_p = di_v_set(-b * scale) * x->p * m.to_p, of_q = di_v_set((b - 1) * scale) * x->q * m.to_q;
    return (di_mark){of_p + of_q, of_q};
}

static int32_t floors(const double *o) { return o[TEACHER_WEIGHT] == 1; }

/* m is almost one of the two. */
static int32_t doubles(const double *o)
{
    const double b = o[TEACHER_WEIGHT];
    return b != 0 && b != 1 && (b < 0.05 || b > 0.95);
}

DI_DIVERGENCE(jsd, .point = point, .fitted = DI_NEAR | DI_FAR, .asks = DI_MIXES, .floors = floors, .doubles = doubles)
