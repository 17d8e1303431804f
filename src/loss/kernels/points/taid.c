/* Forward KL to a teacher on the way, KL(m || q), m = softmax((1 - t) z_q + t z_p): between the student as it is, which
 * is a constant there, and the teacher. h = q - m. Shing et al. 2025 (TAID). */
#include "loss/kernels/divergence.h"

enum { WAY, LOG_SUM = DI_LOSS_OPTIONS };

/* log of q^(1 - t) p^t */
DI_POINT di_v log_mixed(const di_outcomes *x, const double *o)
{
    const di_v log_m = di_v_set(o[WAY]) * x->log_p + di_v_set(1 - o[WAY]) * x->log_q;
    return o[WAY] > 0 ? di_v_select(x->none, di_v_set(DI_NEVER), log_m) : log_m;
}

/* q^(1 - t) p^t - q */
DI_POINT di_v moved(const di_outcomes *x, const double *o)
{
    const di_v step = di_v_set(o[WAY]) * x->d;
    const di_vm near = di_v_less(di_v_abs(step), di_v_set(0.5));
    const di_v far = di_v_exp_down(log_mixed(x, o)) - x->q;
    const di_v none = o[WAY] > 0 ? di_v_set(0) - x->q : di_v_set(0);
    return di_v_select(x->none, none, di_v_select(near, x->q * di_v_expm1_near(step), far));
}

DI_POINT di_v turn_gap(di_v d, const double *o) { return di_v_set(o[WAY]) * d - di_v_set(o[LOG_SUM]); }

static double prepare(di_row *row, double *o)
{
    o[LOG_SUM] = 0;
    const double sum = -di_total_slope(row, turn_gap, moved, o); /* forward KL's slope is q - m */
    o[LOG_SUM] = sum < -0.9 ? di_log_total(row, log_mixed, o) : log1p(sum);
    return o[LOG_SUM] * 0;
}

DI_POINT di_outcomes turn(const di_outcomes *x, const double *o)
{
    di_outcomes m = *x;
    m.log_p = log_mixed(x, o) - di_v_set(o[LOG_SUM]);
    m.p = di_v_select(di_v_less(m.log_p, di_v_set(DI_LOW)) | x->out, di_v_set(0), di_v_exp_down(m.log_p));
    m.d = di_v_set(o[WAY]) * x->d - di_v_set(o[LOG_SUM]);
    if (o[WAY] > 0) m.d = di_v_select(x->none, x->d, m.d);
    else m.none = x->out;
    return m;
}

DI_POINT di_mark point(const di_outcomes *x, const double *o)
{
    (void)o;
    return (di_mark){di_forward(x), di_forward_slope(x)};
}

DI_DIVERGENCE(taid, .prepare = prepare, .turn = turn, .turn_gap = turn_gap, .point = point, .fitted = DI_FAR,
              .asks = DI_LOGS)
