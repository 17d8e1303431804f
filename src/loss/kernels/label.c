#include "loss/kernels/loss_rows.h"

double DK_VARIANT(di_label_row)(const di_logits *q, int64_t n, int32_t id, float *h, di_builtin_call *call, double *sum)
{
    const double log_q = di_log_at(q, id);
    if (log_q == -INFINITY) {
        call->floored++;
        return -call->student_floor;
    }
    if (!h) return -log_q;
    if (log_q < -0.25) {
        h[id] = -1;
        *sum = -1;
        return -log_q;
    }
    const dk_vf log_sum = dk_vf_set((float)q->log_sum);
    DI_VECTORS(0, n) di_store(h + i, dk_vf_exp_down(di_shifted(di_load(q->z + i, lanes, q->top), q) - log_sum), lanes);
    h[id] = (float)expm1(log_q);
    *sum = 0;
    return -log_q;
}
