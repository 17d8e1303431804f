/* window.c - one optimiser step: batch k of the data, in micro-batches, one exact division, one update. */
#include <string.h>

#include "trainer/trainer_state.h"

static double learning_rate_now(const di_trainer *t)
{
    return t->update.adamw.learning_rate * dk_schedule_at(&t->update.schedule, t->counters.step);
}

int64_t di_window_place(const di_trainer_data *data, int64_t step)
{
    return data->epochs.total ? di_epoch_place(&data->epochs, data->batch_size, step) : step * data->batch_size;
}

int32_t di_window_begin(di_trainer *t, dk_error *err)
{
    int32_t rc;
    if (t->counters.step >= t->steps) return dk_fail(err, DK_E_END, "all %lld steps are done", (long long)t->steps);
    t->window.begun = dk_seconds();
    DK_TRY(di_preference_ask(t, err));
    if (di_learned_is_due(t, t->counters.step)) DK_TRY(di_learned_update(t, err));
    di_on_policy_restore(t);
    DK_TRY(di_ahead_batch(t, err));
    DK_TRY(di_on_policy_window(t, err));
    const di_part part = di_ranks_part(t, t->data.batch);
    if (t->update.optimizer) dk_optimizer_zero(t->update.optimizer, &t->queue);
    if (t->update.projections) dk_optimizer_zero(t->update.projections, &t->queue);
    di_balance_begin(t);
    memset(&t->objective.sums, 0, sizeof t->objective.sums);
    memset(t->members.window, 0, (size_t)t->members.count * sizeof *t->members.window);
    memset(&t->objective.common, 0, sizeof t->objective.common);
    t->members.flops = 0;
    t->window.micro_index = 0;
    t->window.micro_count = (part.end - part.first + t->data.micro_batch_size - 1) / t->data.micro_batch_size;
    DK_TRY(dk_queue_wait(&t->queue, err));
    /* not of one that failed: its gradients may not be zeros */
    t->window.stage = t->window.micro_count ? DI_STAGE_MICRO : DI_STAGE_COMPLETE;
out:
    return rc;
}

void di_window_discard(di_trainer *t)
{
    const distill_student_callbacks *callbacks = di_student_callbacks(t->student);
    if (t->window.stage != DI_STAGE_IDLE && callbacks && callbacks->discard) callbacks->discard(callbacks->user);
    t->window.stage = DI_STAGE_IDLE;
    di_ahead_drop(t);
    t->pull.strips_begun = 0;
    t->pull.strip_count = 0;
    dk_queue_wait(&t->queue, NULL);
}

static int32_t ask_teacher(di_trainer *t, int32_t with_teacher, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_ahead_begin(t, with_teacher, err));
    t->window.with_teacher = with_teacher;
    t->pull.strips_begun = 0;
    t->pull.strip_count = 0;
    if (with_teacher) DK_TRY(di_session_collect(t->session, err));
out:
    if (rc) di_origins_name(t, err);
    return rc;
}

int32_t di_window_forward(di_trainer *t, int32_t with_teacher, dk_error *err)
{
    int32_t rc;
    with_teacher = with_teacher && t->objective.uses_teacher;
    DK_TRY(ask_teacher(t, with_teacher, err));
    DK_TRY(di_trainee_forward(t->trainee, &t->window.micro, err));
    DK_TRY(di_importance_weigh(t, err));
    t->window.stage = DI_STAGE_FORWARDED;
out:
    return rc;
}

int32_t di_window_own_loss(di_trainer *t, dk_error *err)
{
    di_loss_batch rows = {.student = di_trainee_source(t->trainee),
                          .teacher = t->window.with_teacher ? di_session_source(t->session) : NULL,
                          .rows = t->window.micro.row_count,
                          .labels = t->window.micro_labels,
                          .weights = t->window.micro_weights,
                          .sequences = t->window.micro_sequences,
                          .sequence_count = t->window.micro.sequences,
                          .step = t->counters.step,
                          .want_gradient = 1,
                          .grad_scale = 1,
                          .of = di_on_policy_of(t),
                          .pairs = di_preference_pairs(t),
                          .factors = t->balance.on ? t->balance.factors : NULL,
                          .want_squares = t->balance.on};
    int32_t rc = di_inside_run(t, err);
    if (rc == DK_OK) rc = di_loss_run(t->objective.loss, t->objective.workspace, &rows, NULL, &t->objective.sums, err);
    if (rc) di_origins_name(t, err);
    return rc;
}

int32_t di_window_backward(di_trainer *t, const distill_tensor *gradient, dk_error *err)
{
    int32_t rc;
    di_ranks_listen(t);
    DK_TRY(di_trainee_backward(t->trainee, gradient, err));
    if (t->members.count) di_session_tally(t->session, t->members.window);
    if (t->window.with_teacher) t->members.flops += di_session_flops(t->session);
    di_session_common(t->session, &t->objective.common);
    di_session_drop(t->session);
    t->window.micro_index++;
    t->window.stage = t->window.micro_index < t->window.micro_count ? DI_STAGE_MICRO : DI_STAGE_COMPLETE;
out:
    return rc;
}

static int32_t apply_callbacks(di_trainer *t, const distill_student_callbacks *callbacks, double learning_rate,
                               dk_error *err)
{
    int32_t code = callbacks->apply(callbacks->user, t->counters.step, learning_rate, 1 / t->data.batch->weight_sum);
    if (code == DISTILL_CB_OK) return DK_OK;
    if (code == DISTILL_CB_CANCEL)
        return dk_fail(err, DK_E_CANCELLED, "the student's apply stopped the run at step %lld",
                       (long long)t->counters.step);
    dk_fail(err, DK_E_CALLBACK, "the student's apply returned %d at step %lld", (int)code, (long long)t->counters.step);
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}

static int32_t apply_model(di_trainer *t, double learning_rate, dk_error *err)
{
    dk_update update = t->update.adamw;
    int32_t rc;
    update.learning_rate = learning_rate;
    update.divisor = t->data.batch->weight_sum;
    if ((rc = di_ranks_squares(t, &update, err)) != DK_OK) return rc;
    rc = dk_optimizer_norm(t->update.optimizer, &t->queue, &update, &t->update.grad_norm, err);
    if (rc == DK_E_NUMERIC) {
        dk_error_context(err,
                         "step %lld, nothing was changed; a lower train.learning_rate or a train.clip_norm may help",
                         (long long)t->counters.step + 1);
        return rc;
    }
    if (rc != DK_OK) return rc;
    if (!t->update.own_optimizer) return dk_optimizer_average(t->update.optimizer, &t->queue, err);
    rc = dk_optimizer_apply(t->update.optimizer, &t->queue, &update, err);
    return rc == DK_OK ? di_ranks_values(t, err) : rc;
}

/* In pull mode the host's own work between the calls is part of it. */
static void count_seconds(di_trainer *t, double seconds)
{
    di_watcher *p = &t->progress;
    t->counters.seconds += seconds;
    p->step_seconds = p->step_seconds > 0 ? 0.9 * p->step_seconds + 0.1 * seconds : seconds;
}

/* Of the members of a sparse blend, over the window: a row alone may be far off. */
static int32_t check_common(const di_trainer *t, dk_error *err)
{
    const di_common *common = &t->objective.common;
    char mass[32];
    const int32_t rc = di_common_check(common, err);
    if (rc) dk_error_context(err, "step %lld, nothing was changed", (long long)t->counters.step + 1);
    if (rc == DK_OK && common->rows && !t->objective.commons.rows) {
        di_common_text(common, mass);
        dk_log(t->host, DK_LOG_INFO, "trainer", "the teachers of the blend know ids of mass %s together (of 1)", mass);
    }
    return rc;
}

int32_t di_window_apply(di_trainer *t, dk_error *err)
{
    const distill_student_callbacks *callbacks = di_student_callbacks(t->student);
    double learning_rate = learning_rate_now(t);
    int32_t rc;
    DK_TRY(di_ranks_meet(t, DK_OK, err));
    DK_TRY(check_common(t, err));
    DK_TRY(di_inside_norm(t, learning_rate, err));
    if (callbacks) DK_TRY(apply_callbacks(t, callbacks, learning_rate, err));
    else DK_TRY(apply_model(t, learning_rate, err));
    DK_TRY(di_inside_apply(t, learning_rate, err));
    di_average_update(t);
    int64_t tokens = t->data.batch->offsets[t->data.batch->sequences];
    int64_t length = t->data.batch->sequences ? tokens / t->data.batch->sequences : 0;
    t->counters.flops += di_student_flops(t->student, tokens, length);
    t->counters.flops += t->members.flops;
    t->counters.flops += di_on_policy_flops(t);
    t->counters.tokens += tokens;
    t->objective.floored += t->objective.sums.floored;
    di_tally_add(t->members.total, t->members.window, t->members.count);
    di_common_add(&t->objective.commons, &t->objective.common);
    t->counters.last_loss = t->data.batch->weight_sum > 0 ? t->objective.sums.sum / t->data.batch->weight_sum : 0;
    di_balance_end(t);
    di_on_policy_end(t);
    t->counters.step++;
    t->window.stage = DI_STAGE_IDLE;
    count_seconds(t, dk_seconds() - t->window.begun);
out:
    return rc;
}

static int32_t gather_gradients(di_trainer *t, const _Atomic int32_t *cancel, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_window_begin(t, err));
    while (t->window.stage != DI_STAGE_COMPLETE) {
        if ((cancel && *cancel) || dk_host_cancelled(t->host)) {
            rc = dk_fail(err, DK_E_CANCELLED, "cancelled in step %lld, which is undone",
                         (long long)t->counters.step + 1);
            goto out;
        }
        DK_TRY(di_window_forward(t, 1, err));
        DK_TRY(di_window_own_loss(t, err));
        DK_TRY(di_window_backward(t, NULL, err));
    }
out:
    return rc;
}

int32_t di_window_step(di_trainer *t, const _Atomic int32_t *cancel, dk_error *err)
{
    int32_t rc = gather_gradients(t, cancel, err);
    rc = rc == DK_OK ? di_window_apply(t, err) : di_ranks_meet(t, rc, err);
    if (rc != DK_OK) di_window_discard(t);
    return rc;
}

int32_t di_trainer_step(di_trainer *t, distill_progress *out, dk_error *err)
{
    if (t->window.stage != DI_STAGE_IDLE)
        return dk_fail(err, DK_E_STAGE, "a window is open: step goes between windows, after apply");
    int32_t rc = di_window_step(t, &t->cancel, err);
    if (rc == DK_OK && out) di_progress_fill(t, DISTILL_PHASE_TRAINING, out);
    return rc;
}
