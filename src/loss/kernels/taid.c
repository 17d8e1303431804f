/* Forward KL to a teacher on the way, KL(m || q), m = softmax((1 - t) z_q + t z_p): between the student as it is, which
 * is a constant there, and the teacher. h = q - m. Shing et al. 2025 (TAID). */
#include "loss/kernels/divergence.h"

enum { WAY, LOG_SUM = DI_LOSS_OPTIONS };

/* log of q^(1 - t) p^t */
static dk_vd log_mixed(const di_outcomes *x, const double *o)
{
    const dk_vd log_m = x->log_q + dk_vd_set(o[WAY]) * (x->log_p - x->log_q);
    return o[WAY] > 0 ? dk_vd_select(x->none, dk_vd_set(-1e300), log_m) : log_m;
}

/* q^(1 - t) p^t - q */
static dk_vd moved(const di_outcomes *x, const double *o)
{
    const dk_vd step = dk_vd_set(o[WAY]) * x->d;
    const dk_vl near = dk_vd_less(dk_vd_abs(step), dk_vd_set(0.5));
    const dk_vd far = dk_vd_exp(log_mixed(x, o)) - x->q;
    const dk_vd none = o[WAY] > 0 ? dk_vd_set(0) - x->q : dk_vd_set(0);
    return dk_vd_select(x->none, none, dk_vd_select(near, x->q * dk_vd_expm1_near(step), far));
}

static double prepare(const di_pair *pair, double *o)
{
    const double sum = di_total(pair, moved, o);
    o[LOG_SUM] = sum < -0.9 ? di_log_total(pair, log_mixed, o) : log1p(sum);
    return 0;
}

static di_mark point(const di_outcomes *x, const double *o)
{
    di_outcomes m = *x;
    m.log_p = log_mixed(x, o) - dk_vd_set(o[LOG_SUM]);
    m.p = dk_vd_select(dk_vd_less(m.log_p, dk_vd_set(-708)) | x->out, dk_vd_set(0), dk_vd_exp(m.log_p));
    m.d = dk_vd_set(o[WAY]) * (x->log_p - x->log_q) - dk_vd_set(o[LOG_SUM]);
    if (o[WAY] > 0) m.d = dk_vd_select(x->none, x->d, m.d);
    else m.none = x->out;
    return (di_mark){di_forward(&m), di_forward_slope(&m)};
}

DI_DIVERGENCE(taid, prepare, point)
