/* Generalised Jensen-Shannon divergence, b KL(p || m) + (1 - b) KL(q || m), m = b p + (1 - b) q; b is the teacher's
 * weight. Agarwal et al. 2023 (GKD). Normalised it is divided by b (1 - b) and goes to forward KL as b goes to 0, to
 * reverse KL as b goes to 1. h = (1 - b) q log(q/m). */
#include "loss/kernels/divergence.h"

enum { TEACHER_WEIGHT, NORMALISED };

static di_mark point(const di_outcomes *x, const double *o)
{
    const double b = o[TEACHER_WEIGHT];
    const dk_vd zero = dk_vd_set(0), mine = dk_vd_set(b), other = dk_vd_set(1 - b);
    if (b == 0) return (di_mark){di_forward(x), di_forward_slope(x)};
    if (b == 1) return (di_mark){di_reverse(x), di_reverse_slope(x)};
    const dk_vd of_q = x->q * dk_vd_log1p(mine * di_growth(x->d)) / mine;          /* q log(m/q) / b */
    const dk_vd of_p = x->p * dk_vd_log1p(other * di_growth(zero - x->d)) / other; /* p log(m/p) / (1 - b) */
    const dk_vd scale = dk_vd_set(o[NORMALISED] != 0 ? -1 : -b * (1 - b));
    return (di_mark){scale * (of_p + of_q), scale * of_q};
}

int32_t DK_VARIANT(di_jsd)(void *user, const distill_loss_rows *rows);

int32_t DK_VARIANT(di_jsd)(void *user, const distill_loss_rows *rows)
{
    di_builtin_call *call = user;
    call->floors = call->options[TEACHER_WEIGHT] == 1;
    return di_divergence(call, rows, NULL, point);
}
