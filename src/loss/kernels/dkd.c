/* Decoupled KD, t KL of (label, the rest) + n KL among the rest. Zhao et al. 2022. With t = 1 and n = 1 - p[label] it
 * is forward KL. h is q - p of the two outcomes, shared out as the student does, and q - p of the rest renormalised. */
#include "loss/kernels/pair.h"

enum { TARGET_WEIGHT, OTHER_WEIGHT };

/* The student against the label, and log p of the rest: the log-sum-exp of the teacher's logits as if a student's. */
static double split(const di_builtin_call *call, const distill_loss_rows *rows, int64_t r, di_pair *pair)
{
    DK_VARIANT(di_pair_of)(call, rows, r, pair);
    pair->ids = &rows->labels[r];
    pair->k = 1;
    di_pair teacher = *pair;
    teacher.q = pair->p;
    DK_VARIANT(di_find_rest)(pair);
    DK_VARIANT(di_find_rest)(&teacher);
    return teacher.rest.log_q;
}

/* The ids from i on but for the label, renormalised. */
static di_outcomes others_at(const di_pair *pair, double rest_p, int64_t i)
{
    dk_vd log_p, log_q;
    di_logs_of(pair, i, &log_p, &log_q);
    log_p = di_without(log_p - dk_vd_set(rest_p > -INFINITY ? rest_p : 0), pair->label - i);
    log_q = di_without(log_q - dk_vd_set(pair->rest.log_q), pair->label - i);
    return di_outcomes_of(pair, log_p, log_q);
}

static double decoupled_row(const di_pair *pair, double rest_p, const double *o, float *h)
{
    const dk_vd other = dk_vd_set(rest_p > -INFINITY ? o[OTHER_WEIGHT] : 0);
    double of_rest, of_label, value = di_kl_term(rest_p, pair->rest.log_q, &of_rest);
    value += di_kl_term(di_log_at(pair->p, pair->label), di_log_at(pair->q, pair->label), &of_label);
    dk_vd sum = dk_vd_set(0);
    for (int64_t i = 0; i < pair->n && pair->rest.log_q > -INFINITY; i += DK_VD) {
        const di_outcomes x = others_at(pair, rest_p, i);
        sum = sum + di_forward(&x);
        if (h) di_put(pair, i, other * di_forward_slope(&x) + dk_vd_set(o[TARGET_WEIGHT] * of_rest) * x.q, h);
    }
    if (h) h[pair->label] = (float)(o[TARGET_WEIGHT] * of_label);
    return o[TARGET_WEIGHT] * value + dk_vd_sum(sum * other);
}

DI_LOSS_EVAL(dkd)
{
    di_builtin_call *call = user;
    for (int64_t r = 0; r < rows->rows; r++) {
        float *h = rows->gradient ? rows->gradient + r * rows->vocab : NULL;
        di_pair pair;
        if (rows->labels[r] >= rows->vocab) { /* adds 0 */
            if (h) memset(h, 0, (size_t)rows->vocab * sizeof *h);
            call->floored++;
            continue;
        }
        const double rest_p = split(call, rows, r, &pair);
        rows->value[r] = decoupled_row(&pair, rest_p, call->options, h);
        if (DK_VARIANT(di_pair_excludes)(&pair, NULL) > 0) rows->value[r] = INFINITY;
    }
    return DISTILL_CB_OK;
}
