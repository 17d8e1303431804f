/* Decoupled KD, t KL of (label, the rest) + n KL among the rest. Zhao et al. 2022. With t = 1 and n = 1 - p[label] it
 * is forward KL. h is q - p of the two outcomes, shared out as the student does, and q - p of the rest renormalised. */
#include "loss/kernels/divergence.h"

enum { TARGET_WEIGHT, OTHER_WEIGHT };

typedef struct di_decoupled {
    di_pair pair, teacher; /* teacher: its logits as a student's, for the log-sum-exp of its rest */
    double value;
    double slope; /* of the rest as one outcome */
} di_decoupled;

static void split(const di_builtin_call *call, const distill_loss_rows *rows, int64_t r, di_decoupled *d)
{
    DK_VARIANT(di_pair_of)(call, rows, r, &d->pair);
    d->pair.ids = &rows->labels[r];
    d->pair.k = 1;
    d->teacher = d->pair;
    d->teacher.q = d->pair.p;
    DK_VARIANT(di_find_rest)(&d->pair);
    DK_VARIANT(di_find_rest)(&d->teacher);
}

/* The label against the rest: value, and the label's slope. */
static double target_part(di_decoupled *d)
{
    const int32_t y = d->pair.label;
    double slope;
    d->value = di_kl_term(d->teacher.rest.log_q, d->pair.rest.log_q, &d->slope);
    d->value += di_kl_term(di_log_at(d->pair.p, y), di_log_at(d->pair.q, y), &slope);
    return slope;
}

/* The ids from i on but for the label, renormalised. */
static di_outcomes others_at(const di_decoupled *d, int64_t i)
{
    double lanes[DK_VD];
    dk_vd log_p, log_q;
    di_logs_of(&d->pair, i, &log_p, &log_q);
    log_p = log_p - dk_vd_set(d->teacher.rest.log_q > -INFINITY ? d->teacher.rest.log_q : 0);
    log_q = log_q - dk_vd_set(d->pair.rest.log_q);
    if (d->pair.label >= i && d->pair.label < i + DK_VD) {
        const int64_t lane = d->pair.label - i;
        dk_vd_store(lanes, log_p), lanes[lane] = -INFINITY, log_p = dk_vd_load(lanes);
        dk_vd_store(lanes, log_q), lanes[lane] = -INFINITY, log_q = dk_vd_load(lanes);
    }
    return di_outcomes_of(&d->pair, log_p, log_q);
}

static double decoupled_row(di_decoupled *d, const double *o, float *h)
{
    const dk_vd other = dk_vd_set(d->teacher.rest.log_q > -INFINITY ? o[OTHER_WEIGHT] : 0);
    const double slope = target_part(d);
    const dk_vd shared = dk_vd_set(o[TARGET_WEIGHT] * d->slope);
    dk_vd sum = dk_vd_set(0);
    for (int64_t i = 0; i < d->pair.n && d->pair.rest.log_q > -INFINITY; i += DK_VD) {
        const di_outcomes x = others_at(d, i);
        sum = sum + di_forward(&x);
        if (h) di_put(&d->pair, i, other * di_forward_slope(&x) + shared * x.q, h);
    }
    if (h) h[d->pair.label] = (float)(o[TARGET_WEIGHT] * slope);
    return o[TARGET_WEIGHT] * d->value + dk_vd_sum(sum * other);
}

int32_t DK_VARIANT(di_dkd)(void *user, const distill_loss_rows *rows);

int32_t DK_VARIANT(di_dkd)(void *user, const distill_loss_rows *rows)
{
    di_builtin_call *call = user;
    for (int64_t r = 0; r < rows->rows; r++) {
        di_decoupled d;
        split(call, rows, r, &d);
        rows->value[r] = decoupled_row(&d, call->options, rows->gradient ? rows->gradient + r * rows->vocab : NULL);
        if (DK_VARIANT(di_pair_excludes)(&d.pair, NULL) > 0) rows->value[r] = INFINITY;
    }
    return DISTILL_CB_OK;
}
