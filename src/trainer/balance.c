/* balance.c - two terms of a loss by the norms of their gradients with respect to the logits (train.balance): the
 * second one's weight is multiplied so that, at equal weights, both would move the logits as far.
 *
 * Norms are those of dL/dz of a window, as its division makes them, and are smoothed over the windows before the one
 * that they are used in, so that a window has one factor, and micro-batches change nothing. The ratio is kept between
 * a floor and a ceiling: a term that is almost learnt would be blown up without end. */
#include <math.h>
#include <string.h>

#include "loss/builtin.h"
#include "trainer/trainer_state.h"

void di_balance_read(di_trainer *t)
{
    t->balance.on = di_options_is(t->options, "train.balance.by", "gradient_norm");
    t->balance.smoothing = di_options_f64(t->options, "train.balance.smoothing");
    t->balance.floor = di_options_f64(t->options, "train.balance.floor");
    t->balance.ceiling = di_options_f64(t->options, "train.balance.ceiling");
}

int32_t di_balance_check(const di_trainer *t, const di_loss *loss, dk_error *err)
{
    const int64_t terms = di_loss_count(loss);
    di_feature_term feature;
    if (!t->balance.on) return DK_OK;
    if (terms != 2)
        return dk_fail(err, DK_E_OPTION,
                       "train.balance.by gradient_norm balances two losses, and %lld %s a weight here: give two, or "
                       "leave it out",
                       (long long)terms, terms == 1 ? "has" : "have");
    if (di_loss_apart(loss))
        return dk_fail(
            err, DK_E_OPTION,
            "train.balance.by gradient_norm compares losses over the same windows, and loss.on keeps %s apart: "
            "leave one of them out",
            di_loss_apart(loss));
    if (di_loss_feature(loss, 0, &feature))
        return dk_fail(err, DK_E_OPTION,
                       "train.balance.by gradient_norm compares gradients by the logits, and loss %s has none there: "
                       "leave one of them out",
                       feature.builtin->name);
    return DK_OK;
}

int32_t di_balance_refuse(const di_trainer *t, dk_error *err)
{
    if (!t->balance.on) return DK_OK;
    return dk_fail(
        err, DK_E_STAGE,
        "train.balance.by gradient_norm balances the trainer's own loss, and gradients of the host's own are "
        "not seen by it: leave it out, or call distill_trainer_backward with NULL");
}

static double ratio_of(const di_balance *b)
{
    if (b->share == 0 || b->means[0] == b->means[1]) return 1;
    return fmin(fmax(b->means[0] / b->means[1], b->floor), b->ceiling); /* x/0 is infinite */
}

void di_balance_begin(di_trainer *t)
{
    t->balance.factors[0] = 1;
    t->balance.factors[1] = ratio_of(&t->balance);
}

/* A window in which one of them had no weight says nothing of it. */
void di_balance_end(di_trainer *t)
{
    di_balance *b = &t->balance;
    const di_loss_sums *sums = &t->objective.sums;
    if (!b->on || !(t->data.batch->weight_sum > 0)) return;
    for (int i = 0; i < 2; i++)
        if (di_loss_weight(t->objective.loss, i, sums->step) == 0) return;
    for (int i = 0; i < 2; i++) {
        b->norms[i] = sqrt(sums->squares[i]) / t->data.batch->weight_sum;
        b->means[i] = b->smoothing * b->means[i] + (1 - b->smoothing) * b->norms[i];
    }
    b->share = b->smoothing * b->share + (1 - b->smoothing);
}

void di_balance_json(const di_trainer *t, dk_strbuf *out)
{
    dk_strbuf_puts(out, "{\"factor\":");
    dk_strbuf_f64(out, t->balance.factors[1]);
    dk_strbuf_puts(out, ",\"norms\":[");
    dk_strbuf_f64(out, t->balance.norms[0]);
    dk_strbuf_puts(out, ",");
    dk_strbuf_f64(out, t->balance.norms[1]);
    dk_strbuf_puts(out, "]}");
}
