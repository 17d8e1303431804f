/* strips.c - pull mode: the host owns the loop, and the loss where it likes. */
#include "trainer/trainer_state.h"

static const char *const stage_due[] = {"distill_trainer_forward", "distill_trainer_forward",
                                        "distill_trainer_backward", "distill_trainer_apply"};

static int32_t check_stage(const di_trainer *t, di_stage stage, dk_error *err)
{
    return t->window.stage == stage ? DK_OK : dk_fail(err, DK_E_STAGE, "%s is due now", stage_due[t->window.stage]);
}

static int32_t check_cancel(di_trainer *t, dk_error *err)
{
    if (!t->cancel && !dk_host_cancelled(t->host)) return DK_OK;
    di_window_discard(t);
    return dk_fail(err, DK_E_CANCELLED, "cancelled in step %lld, which is undone", (long long)t->counters.step + 1);
}

static int32_t has_sequences(const distill_forward *out) /* an older caller's has not */
{
    return out->struct_size >= offsetof(distill_forward, sequence_count) + sizeof out->sequence_count;
}

static void fill_forward(di_trainer *t, distill_forward *out)
{
    const int64_t first = t->window.micro_index * t->data.micro_batch_size;
    t->pull.row_shape[0] = t->window.micro.row_count;
    t->pull.label_tensor =
        di_tensor_of((void *)(uintptr_t)t->window.micro_labels, DISTILL_INT, 32, 1, t->pull.row_shape);
    t->pull.weight_tensor =
        di_tensor_of((void *)(uintptr_t)t->window.micro_weights, DISTILL_FLOAT, 32, 1, t->pull.row_shape);
    t->pull.sequence_tensor = di_tensor_of(t->window.micro_sequences, DISTILL_INT, 64, 1, t->pull.row_shape);
    out->batch = &t->window.micro;
    out->student = di_trainee_hidden(t->trainee);
    out->teacher = t->window.with_teacher ? di_session_hidden(t->session) : NULL;
    out->labels = &t->pull.label_tensor;
    out->weights = &t->pull.weight_tensor;
    out->rows = t->window.micro.row_count;
    out->micro_batch = t->window.micro_index;
    out->micro_batches = t->window.micro_count;
    out->weight_sum = 0;
    const uint8_t *sides = t->data.batch->sides + t->data.batch->window_first[first];
    for (int64_t r = 0; r < t->window.micro.row_count; r++)
        if (sides[t->window.micro_sequences[r]] != DISTILL_REJECTED) out->weight_sum += t->window.micro_weights[r];
    if (!has_sequences(out)) return;
    out->sequences = &t->pull.sequence_tensor;
    out->sequence_count = t->window.micro.sequences;
}

int32_t di_trainer_forward(di_trainer *t, int32_t flags, distill_forward *out, dk_error *err)
{
    int32_t rc;
    DK_TRY(check_cancel(t, err));
    if (t->window.stage == DI_STAGE_IDLE) {
        DK_TRY(di_window_begin(t, err));
        if (t->update.optimizer) dk_optimizer_settle(t->update.optimizer, &t->queue); /* the host adds to them, too */
    }
    DK_TRY(check_stage(t, DI_STAGE_MICRO, err));
    if ((rc = di_window_forward(t, !(flags & DISTILL_FORWARD_NO_TEACHER), err)) != DK_OK) {
        di_window_discard(t);
        goto out;
    }
    fill_forward(t, out);
out:
    return rc;
}

/* The logits of the strip's rows, where the host's gradient comes over them and the head needs both. */
static dk_view kept(const di_trainer *t, dk_view rows)
{
    const dk_view room = di_workspace_gradient_strip(t->objective.workspace);
    if (!dk_view_present(room)) return rows;
    return dk_view_columns(dk_view_rows(room, 0, rows.shape[0]), 0, rows.shape[1]);
}

/* What the host wrote over the strip's logits goes back through the head. */
static int32_t take_back(di_trainer *t, const distill_strip *strip, dk_error *err)
{
    const di_source *source = di_trainee_source(t->trainee);
    int32_t rc = DK_OK;
    if (!t->pull.strip_count) goto out;
    dk_view rows = dk_view_rows(di_workspace_student_strip(t->objective.workspace), 0, t->pull.strip_count);
    rows = dk_view_columns(rows, 0, source->width);
    DK_TRY(di_host_write(&t->queue, rows, &t->pull.handed, err));
    if (t->objective.vocab_valid < source->width)
        t->backend->ops->fill(
            &t->queue, dk_view_columns(rows, t->objective.vocab_valid, source->width - t->objective.vocab_valid), 0);
    DK_TRY(source->gradient(source->self, t->pull.strip_first, t->pull.strip_count, kept(t, rows), rows, err));
    t->objective.sums.sum += strip->loss;
    t->objective.sums.count += t->pull.strip_count;
    t->pull.strip_first += t->pull.strip_count;
    t->pull.strip_count = 0;
out:
    return rc;
}

/* Rows of the teacher: logits into its strip, or its own statement. What a blend says it says at a temperature, that of
 * the trainer's loss. */
static int32_t teacher_rows(di_trainer *t, int64_t first, int64_t count, distill_strip *strip, dk_error *err)
{
    const di_source *source = di_session_source(t->session);
    dk_view view = dk_view_rows(di_workspace_teacher_strip(t->objective.workspace), 0, count);
    const distill_target *target = NULL;
    di_host_rows rows = {0};
    int32_t rc;
    if (source->rows_at) {
        double temperatures[DI_TEMPERATURES] = {1};
        di_loss_temperatures(t->objective.loss, t->counters.step, temperatures);
        DK_TRY(source->rows_at(source->self, first, count, 1, temperatures, &view, err));
        DISTILL_INIT(&t->pull.formed); /* its numbers stand in strip->teacher */
        t->pull.formed.kind = DISTILL_DENSE;
        t->pull.formed.temperature = temperatures[0];
        t->pull.formed.vocab_valid = source->vocab_valid;
        strip->target = &t->pull.formed;
    } else {
        DK_TRY(source->rows(source->self, first, count, view, &target, err));
        strip->target = target;
    }
    if (!target) DK_TRY(di_host_read(&t->queue, &t->pull.copied[1], view, &rows, err));
    strip->teacher = (const float *)(void *)rows.data;
    strip->teacher_stride = rows.stride;
out:
    return rc;
}

static int32_t hand_out(di_trainer *t, distill_strip *strip, dk_error *err)
{
    const di_source *source = di_trainee_source(t->trainee);
    const distill_target *target = NULL;
    int64_t count = t->window.micro.row_count - t->pull.strip_first;
    int32_t rc;
    if (count <= 0) return dk_fail(err, DK_E_END, "all rows of the micro-batch were handed out");
    if (count > di_workspace_strip_rows(t->objective.workspace))
        count = di_workspace_strip_rows(t->objective.workspace);
    dk_view view = dk_view_rows(di_workspace_student_strip(t->objective.workspace), 0, count);
    DK_TRY(source->rows(source->self, t->pull.strip_first, count, view, &target, err));
    if (dk_view_present(di_workspace_gradient_strip(t->objective.workspace)))
        t->backend->ops->convert(&t->queue, view, kept(t, view));
    strip->teacher = NULL;
    strip->target = NULL;
    strip->teacher_stride = 0;
    if (t->window.with_teacher) DK_TRY(teacher_rows(t, t->pull.strip_first, count, strip, err));
    DK_TRY(di_host_read(&t->queue, &t->pull.copied[0], view, &t->pull.handed, err));
    strip->student = (float *)(void *)t->pull.handed.data;
    strip->student_stride = t->pull.handed.stride;
    strip->labels = t->window.micro_labels + t->pull.strip_first;
    strip->weights = t->window.micro_weights + t->pull.strip_first;
    strip->first_row = t->pull.strip_first;
    strip->rows = count;
    strip->vocab = t->objective.vocab_valid;
    strip->loss = 0;
    t->pull.strip_count = count;
    t->pull.strips_begun = 1;
out:
    return rc;
}

int32_t di_trainer_next_rows(di_trainer *t, distill_strip *strip, dk_error *err)
{
    int32_t rc;
    DK_TRY(check_cancel(t, err));
    DK_TRY(check_stage(t, DI_STAGE_FORWARDED, err));
    DK_TRY(di_balance_refuse(t, err));
    DK_TRY(di_preference_refuse(t, err));
    DK_TRY(di_workspace_open_strips(t->objective.workspace, err));
    if (!t->pull.strips_begun) t->pull.strip_first = 0;
    if ((rc = take_back(t, strip, err)) != DK_OK || ((rc = hand_out(t, strip, err)) != DK_OK && rc != DK_E_END))
        di_window_discard(t);
out:
    return rc;
}

int32_t di_trainer_backward(di_trainer *t, const distill_tensor *gradient, double loss, dk_error *err)
{
    int32_t rc;
    DK_TRY(check_cancel(t, err));
    DK_TRY(check_stage(t, DI_STAGE_FORWARDED, err));
    if (gradient) DK_TRY(di_balance_refuse(t, err));
    if (gradient) DK_TRY(di_preference_refuse(t, err));
    if (t->pull.strip_count || (t->pull.strips_begun && t->pull.strip_first < t->window.micro.row_count))
        return dk_fail(err, DK_E_STAGE,
                       "distill_trainer_next_rows is due until it returns DISTILL_E_END: rows from %lld on are missing",
                       (long long)t->pull.strip_first);
    if (!gradient && !t->pull.strips_begun && (rc = di_window_own_loss(t, err)) != DK_OK) goto discard;
    if ((gradient || t->pull.strips_begun) && (rc = di_inside_run(t, err)) != DK_OK) goto discard;
    if (gradient) {
        t->objective.sums.sum += loss;
        t->objective.sums.count += t->window.micro.row_count;
    }
    if ((rc = di_window_backward(t, gradient, err)) == DK_OK) return rc;
discard:
    di_window_discard(t);
out:
    return rc;
}

int32_t di_trainer_apply(di_trainer *t, distill_progress *out, dk_error *err)
{
    int32_t rc;
    DK_TRY(check_cancel(t, err));
    DK_TRY(check_stage(t, DI_STAGE_COMPLETE, err));
    if ((rc = di_window_apply(t, err)) != DK_OK) {
        di_window_discard(t);
        goto out;
    }
    if (out) di_progress_fill(t, DISTILL_PHASE_TRAINING, out);
out:
    return rc;
}
