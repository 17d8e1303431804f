/* Cross-entropy with the labels, -log q[label]: h = -1 at the label (h = dL/dlog q). With label_smoothing e the target
 * is (1 - e) at the label and e/V everywhere (Szegedy et al. 2016); with z_loss w it adds w (log sum exp z)^2
 * (Chowdhery et al. 2022). Both have gradients with respect to the logits: no log q knows the log-sum-exp. */
#include "loss/kernels/loss_rows.h"

enum { SMOOTHING, Z_LOSS };

static double smoothed_row(const di_logits *q, int64_t n, int32_t label, const double *o, float *gradient)
{
    const double even = o[SMOOTHING] / (double)n, log_sum = (double)q->top * q->factor + q->log_sum;
    const dk_vd share = dk_vd_set(1 + 2 * o[Z_LOSS] * log_sum);
    dk_vd sum = dk_vd_set(0);
    for (int64_t i = 0; i < n; i += DK_VD) {
        const int64_t lanes = n - i < DK_VD ? n - i : DK_VD;
        const dk_vd z = dk_vd_take(q->z + i, lanes, q->top); /* adds 0 behind the last */
        const dk_vd shifted = (z - dk_vd_set((double)q->top)) * dk_vd_set(q->factor);
        sum = sum + shifted;
        if (gradient)
            di_give(gradient + i, share * dk_vd_exp(shifted - dk_vd_set(q->log_sum)) - dk_vd_set(even), lanes);
    }
    const double log_q = di_log_at(q, label), mean = dk_vd_sum(sum) / (double)n - q->log_sum;
    if (gradient) gradient[label] = (float)(expm1(log_q) + 2 * o[Z_LOSS] * log_sum * exp(log_q) + o[SMOOTHING] - even);
    return -(1 - o[SMOOTHING]) * log_q - (o[SMOOTHING] > 0 ? o[SMOOTHING] * mean : 0) + o[Z_LOSS] * log_sum * log_sum;
}

DI_LOSS_EVAL(cross_entropy)
{
    di_builtin_call *call = user;
    for (int64_t r = 0; r < rows->rows; r++) {
        float *gradient = rows->gradient ? rows->gradient + r * rows->vocab : NULL;
        const di_logits *q = &call->student[r];
        double unused, *sum = di_sum_of(call, r, &unused);
        rows->value[r] = call->by_logits
                             ? smoothed_row(q, rows->vocab, rows->labels[r], call->options, gradient)
                             : DK_VARIANT(di_label_row)(q, rows->vocab, rows->labels[r], gradient, call, sum);
    }
    return DISTILL_CB_OK;
}
