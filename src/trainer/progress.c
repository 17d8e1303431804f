/* progress.c - what the host is told about a run, and what it answers. */
#include <string.h>

#include "trainer/trainer_state.h"

static double seconds_left(const di_trainer *t)
{
    int64_t steps = t->steps - t->counters.step;
    double left = (double)steps * t->progress.step_seconds;
    if (t->progress.step_seconds <= 0) return -1;
    if (t->progress.eval_every) left += (double)(steps / t->progress.eval_every) * t->progress.eval_seconds;
    return left;
}

void di_progress_fill(const di_trainer *t, int32_t phase, distill_progress *out)
{
    distill_progress p;
    DISTILL_INIT(&p);
    p.phase = phase;
    p.step = t->counters.step;
    p.steps = t->steps;
    p.tokens = t->counters.tokens;
    p.count = t->objective.sums.count;
    p.loss = t->counters.last_loss;
    p.learning_rate = t->update.adamw.learning_rate *
                      dk_schedule_at(&t->update.schedule, t->counters.step > 0 ? t->counters.step - 1 : 0);
    p.grad_norm = t->update.grad_norm;
    p.tokens_per_second = t->counters.seconds > 0 ? (double)t->counters.tokens / t->counters.seconds : 0;
    p.seconds_left = seconds_left(t);
    p.weight_sum = t->data.batch ? t->data.batch->weight_sum : 0;
    p.stage = t->progress.stage;
    p.stages = t->progress.stages;
    p.stage_name = t->progress.stage_name;
    di_loss_terms(t->objective.loss, &t->objective.sums, t->objective.terms);
    p.term_count = di_loss_count(t->objective.loss);
    p.term_names = t->objective.terms->names;
    p.term_weights = t->objective.terms->weights;
    p.term_values = t->objective.terms->values;
    p.generated = t->on_policy.total.tokens;
    p.on_policy_share = t->on_policy.adaptive.share;
    p.pairs = t->objective.sums.pairs;
    p.pair_accuracy = p.pairs > 0 ? (double)t->objective.sums.preferred / (double)p.pairs : 0;
    p.pair_margin = p.pairs > 0 ? t->objective.sums.margin / (double)p.pairs : 0;
    uint32_t size = out->struct_size < sizeof p ? out->struct_size : (uint32_t)sizeof p;
    p.struct_size = out->struct_size;
    memcpy(out, &p, size ? size : sizeof p.struct_size);
}

int32_t di_progress_part(di_trainer *t, int32_t phase, int64_t done, int64_t total, dk_error *err)
{
    distill_progress progress;
    if (!t->progress.fn) return DK_OK;
    DISTILL_INIT(&progress);
    di_progress_fill(t, phase, &progress);
    progress.done = done;
    progress.total = total;
    int32_t code = t->progress.fn(t->progress.user, &progress);
    if (code == DISTILL_CB_OK) return DK_OK;
    if (code == DISTILL_CB_CANCEL)
        return dk_fail(err, DK_E_CANCELLED, "stopped by the progress callback after step %lld",
                       (long long)t->counters.step);
    dk_fail(err, DK_E_CALLBACK, "the progress callback returned %d after step %lld", (int)code,
            (long long)t->counters.step);
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}

int32_t di_progress_call(di_trainer *t, int32_t phase, dk_error *err) { return di_progress_part(t, phase, 0, 0, err); }
