/* window.c - one optimiser step: batch k of the data, in micro-batches, one exact division, one update. */
#include <string.h>

#include "trainer/trainer_state.h"

double di_window_learning_rate(const di_trainer *t)
{
    return t->set.update.learning_rate * dk_schedule_at(&t->set.schedule, t->step);
}

int32_t di_window_begin(di_trainer *t, dk_error *err)
{
    int32_t rc;
    if (t->step >= t->set.steps) return dk_fail(err, DK_E_END, "all %lld steps are done", (long long)t->set.steps);
    DK_TRY(di_dataset_batch(t->train, t->set.seed, t->step, t->set.batch_size, t->batch, err));
    if (t->optimizer) dk_optimizer_zero(t->optimizer, &t->queue);
    memset(&t->sums, 0, sizeof t->sums);
    t->micro_index = 0;
    t->micro_count = (t->batch->windows + t->set.micro_batch_size - 1) / t->set.micro_batch_size;
    t->stage = DI_STAGE_MICRO;
    DK_TRY(dk_queue_wait(&t->queue, err));
out:
    return rc;
}

void di_window_discard(di_trainer *t)
{
    const distill_student_callbacks *callbacks = di_student_callbacks(t->student);
    if (t->stage != DI_STAGE_IDLE && callbacks && callbacks->discard) callbacks->discard(callbacks->user);
    t->stage = DI_STAGE_IDLE;
    t->strips_begun = 0;
    t->strip_count = 0;
    dk_queue_wait(&t->queue, NULL);
}

/* The micro-batch that is due, as a batch of its own: offsets and rows begin at 0. */
static void cut_micro_batch(di_trainer *t)
{
    const di_batch *batch = t->batch;
    int64_t first = t->micro_index * t->set.micro_batch_size, last = first + t->set.micro_batch_size;
    if (last > batch->windows) last = batch->windows;
    int64_t sequence = batch->window_first[first], row = batch->window_row[first], token = batch->offsets[sequence];
    DISTILL_INIT(&t->micro);
    t->micro.ids = batch->ids + token;
    t->micro.offsets = t->micro_offsets;
    t->micro.rows = t->micro_rows;
    t->micro.weights = batch->weights + row;
    t->micro.sequences = batch->window_first[last] - sequence;
    t->micro.row_count = batch->window_row[last] - row;
    t->micro_labels = batch->labels + row;
    t->micro_weights = batch->weights + row;
    for (int64_t s = 0; s <= t->micro.sequences; s++) t->micro_offsets[s] = batch->offsets[sequence + s] - token;
    for (int64_t r = 0; r < t->micro.row_count; r++) {
        t->micro_rows[r] = batch->row[row + r] - token;
        t->micro_sequences[r] = batch->row_sequence[row + r] - sequence;
    }
}

int32_t di_window_forward(di_trainer *t, int32_t with_teacher, dk_error *err)
{
    int32_t rc;
    cut_micro_batch(t);
    t->with_teacher = with_teacher && t->session != NULL;
    t->strips_begun = 0;
    t->strip_count = 0;
    if (t->with_teacher) DK_TRY(di_session_forward(t->session, &t->micro, err));
    DK_TRY(di_trainee_forward(t->trainee, &t->micro, err));
    t->stage = DI_STAGE_FORWARDED;
out:
    return rc;
}

int32_t di_window_own_loss(di_trainer *t, dk_error *err)
{
    di_loss_batch rows = {.student = di_trainee_source(t->trainee),
                          .teacher = t->with_teacher ? di_session_source(t->session) : NULL,
                          .rows = t->micro.row_count,
                          .labels = t->micro_labels,
                          .weights = t->micro_weights,
                          .sequences = t->micro_sequences,
                          .step = t->step,
                          .want_gradient = 1,
                          .grad_scale = 1};
    return di_loss_run(t->loss, t->workspace, &rows, NULL, &t->sums, err);
}

int32_t di_window_backward(di_trainer *t, const distill_tensor *gradient, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_trainee_backward(t->trainee, gradient, err));
    t->micro_index++;
    t->stage = t->micro_index < t->micro_count ? DI_STAGE_MICRO : DI_STAGE_COMPLETE;
out:
    return rc;
}

static int32_t apply_callbacks(di_trainer *t, const distill_student_callbacks *callbacks, double learning_rate,
                               dk_error *err)
{
    int32_t code = callbacks->apply(callbacks->user, t->step, learning_rate, 1 / t->batch->weight_sum);
    if (code == DISTILL_CB_OK) return DK_OK;
    if (code == DISTILL_CB_CANCEL)
        return dk_fail(err, DK_E_CANCELLED, "the student's apply stopped the run at step %lld", (long long)t->step);
    dk_fail(err, DK_E_CALLBACK, "the student's apply returned %d at step %lld", (int)code, (long long)t->step);
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}

static int32_t apply_model(di_trainer *t, double learning_rate, dk_error *err)
{
    dk_update update = t->set.update;
    int32_t rc;
    update.learning_rate = learning_rate;
    update.divisor = t->batch->weight_sum;
    rc = dk_optimizer_norm(t->optimizer, &t->queue, &update, &t->grad_norm, err);
    if (rc == DK_E_NUMERIC) {
        dk_error_context(err,
                         "step %lld, nothing was changed; a lower train.learning_rate or a train.clip_norm may help",
                         (long long)t->step + 1);
        return rc;
    }
    if (rc != DK_OK) return rc;
    return t->set.own_optimizer ? dk_optimizer_apply(t->optimizer, &t->queue, &update, err)
                                : dk_optimizer_average(t->optimizer, &t->queue, err);
}

int32_t di_window_apply(di_trainer *t, dk_error *err)
{
    const distill_student_callbacks *callbacks = di_student_callbacks(t->student);
    dk_model *model = di_student_model(t->student);
    double learning_rate = di_window_learning_rate(t);
    int32_t rc;
    if (callbacks) DK_TRY(apply_callbacks(t, callbacks, learning_rate, err));
    else DK_TRY(apply_model(t, learning_rate, err));
    int64_t tokens = t->batch->offsets[t->batch->sequences];
    int64_t length = t->batch->sequences ? tokens / t->batch->sequences : 0;
    if (model) t->flops += dk_model_flops(model, tokens, length, 1);
    if (t->uses_teacher && di_teacher_model(t->teacher))
        t->flops += dk_model_flops(di_teacher_model(t->teacher), tokens, length, 0);
    t->tokens += tokens;
    t->last_loss = t->batch->weight_sum > 0 ? t->sums.sum / t->batch->weight_sum : 0;
    t->step++;
    t->stage = DI_STAGE_IDLE;
out:
    return rc;
}

int32_t di_window_step(di_trainer *t, const volatile int32_t *cancel, dk_error *err)
{
    double begin = dk_seconds();
    int32_t rc;
    DK_TRY(di_window_begin(t, err));
    while (t->stage != DI_STAGE_COMPLETE) {
        if ((cancel && *cancel) || dk_host_cancelled(t->host)) {
            rc = dk_fail(err, DK_E_CANCELLED, "cancelled in step %lld, which is undone", (long long)t->step + 1);
            goto out;
        }
        DK_TRY(di_window_forward(t, 1, err));
        DK_TRY(di_window_own_loss(t, err));
        DK_TRY(di_window_backward(t, NULL, err));
    }
    DK_TRY(di_window_apply(t, err));
    double seconds = dk_seconds() - begin;
    t->seconds += seconds;
    t->step_seconds = t->step_seconds > 0 ? 0.9 * t->step_seconds + 0.1 * seconds : seconds;
    return DK_OK;
out:
    di_window_discard(t);
    return rc;
}

int32_t di_trainer_step(di_trainer *t, distill_progress *out, dk_error *err)
{
    if (t->stage != DI_STAGE_IDLE)
        return dk_fail(err, DK_E_STAGE, "a window is open: step goes between windows, after apply");
    int32_t rc = di_window_step(t, &t->cancel, err);
    if (rc == DK_OK && out) di_progress_fill(t, DISTILL_PHASE_TRAINING, out);
    return rc;
}
