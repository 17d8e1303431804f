/* Mean over the vocabulary of ((z_q - z_p)/T)^2. Ba and Caruana 2014. Ids that the teacher excludes add 0. The gradient
 * is with respect to the logits, 2 (z_q - z_p)/(T^2 V). */
#include "loss/kernels/loss_rows.h"

static double squared_row(const di_logits *q, const di_logits *p, int64_t n, float *gradient, int64_t *left_out,
                          double *slopes)
{
    const dk_vd zero = dk_vd_set(0), scale = dk_vd_set(2 * q->factor / (double)n);
    const dk_vd one = dk_vd_set(1), never = dk_vd_set(-1e300);
    dk_vd sum = zero, out = zero, tilt = zero;
    const di_ahead ahead = di_ahead_of(q, p);
    for (int64_t i = 0; i < n; i += DK_VD) {
        const int64_t lanes = n - i < DK_VD ? n - i : DK_VD;
        const dk_vd zq = dk_vd_take(q->z + i, lanes, 0), zp = dk_vd_take(p->z + i, lanes, 0);
        const dk_vl none = dk_vd_less(zp, never);
        const dk_vd d = dk_vd_select(none, zero, zq * dk_vd_set(q->factor) - zp * dk_vd_set(p->factor));
        sum = sum + d * d;
        tilt = tilt + d;
        out = out + dk_vd_select(none, one, zero);
        di_fetch(&ahead, i);
        if (gradient) di_give(gradient + i, scale * d, lanes);
    }
    *left_out += (int64_t)dk_vd_sum(out);
    *slopes = 2 * q->factor / (double)n * dk_vd_sum(tilt);
    return dk_vd_sum(sum) / (double)n;
}

DI_LOSS_EVAL(logit_mse)
{
    di_builtin_call *call = user;
    for (int64_t r = 0; r < rows->rows; r++) {
        float *gradient = rows->gradient ? rows->gradient + r * rows->vocab : NULL;
        double unused;
        rows->value[r] = squared_row(&call->student[r], &call->teacher[r], rows->vocab, gradient, &call->floored,
                                     di_sum_of(call, r, &unused));
    }
    return DISTILL_CB_OK;
}
