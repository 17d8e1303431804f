/* strips.c - pull mode: the host owns the loop, and the loss where it likes. */
#include "trainer/trainer_state.h"

static const char *const stage_due[] = {"distill_trainer_forward", "distill_trainer_forward",
                                        "distill_trainer_backward", "distill_trainer_apply"};

static int32_t check_stage(const di_trainer *t, di_stage stage, dk_error *err)
{
    return t->stage == stage ? DK_OK : dk_fail(err, DK_E_STAGE, "%s is due now", stage_due[t->stage]);
}

static int32_t check_cancel(di_trainer *t, dk_error *err)
{
    if (!t->cancel && !dk_host_cancelled(t->host)) return DK_OK;
    di_window_discard(t);
    return dk_fail(err, DK_E_CANCELLED, "cancelled in step %lld, which is undone", (long long)t->step + 1);
}

static void fill_forward(di_trainer *t, distill_forward *out)
{
    t->row_shape[0] = t->micro.row_count;
    t->label_tensor = di_tensor_of((void *)(uintptr_t)t->micro_labels, DISTILL_INT, 32, 1, t->row_shape);
    t->weight_tensor = di_tensor_of((void *)(uintptr_t)t->micro_weights, DISTILL_FLOAT, 32, 1, t->row_shape);
    out->batch = &t->micro;
    out->student = di_trainee_hidden(t->trainee);
    out->teacher = t->with_teacher ? di_session_hidden(t->session) : NULL;
    out->labels = &t->label_tensor;
    out->weights = &t->weight_tensor;
    out->rows = t->micro.row_count;
    out->micro_batch = t->micro_index;
    out->micro_batches = t->micro_count;
    out->weight_sum = 0;
    for (int64_t r = 0; r < t->micro.row_count; r++) out->weight_sum += t->micro_weights[r];
}

int32_t di_trainer_forward(di_trainer *t, int32_t flags, distill_forward *out, dk_error *err)
{
    int32_t rc;
    DK_TRY(check_cancel(t, err));
    if (t->stage == DI_STAGE_IDLE) DK_TRY(di_window_begin(t, err));
    DK_TRY(check_stage(t, DI_STAGE_MICRO, err));
    if ((rc = di_window_forward(t, !(flags & DISTILL_FORWARD_NO_TEACHER), err)) != DK_OK) {
        di_window_discard(t);
        goto out;
    }
    fill_forward(t, out);
out:
    return rc;
}

static dk_view kept(const di_trainer *t, dk_view strip)
{
    if (!t->kept_logits) return strip;
    strip.buffer = t->kept_logits;
    strip.offset = 0;
    return strip;
}

/* What the host wrote over the strip's logits goes back through the head. */
static int32_t take_back(di_trainer *t, const distill_strip *strip, dk_error *err)
{
    const di_source *source = di_trainee_source(t->trainee);
    int32_t rc = DK_OK;
    if (!t->strip_count) goto out;
    dk_view rows = dk_view_rows(di_workspace_student_strip(t->workspace), 0, t->strip_count);
    rows = dk_view_columns(rows, 0, source->width);
    if (t->vocab_valid < source->width)
        t->backend->ops->fill(&t->queue, dk_view_columns(rows, t->vocab_valid, source->width - t->vocab_valid), 0);
    DK_TRY(source->gradient(source->self, t->strip_first, t->strip_count, kept(t, rows), rows, err));
    t->sums.sum += strip->loss;
    t->sums.count += t->strip_count;
    t->strip_first += t->strip_count;
    t->strip_count = 0;
out:
    return rc;
}

/* Rows of the teacher: logits into its strip, or its own statement. */
static int32_t teacher_rows(di_trainer *t, int64_t first, int64_t count, distill_strip *strip, dk_error *err)
{
    const di_source *source = di_session_source(t->session);
    dk_view view = dk_view_rows(di_workspace_teacher_strip(t->workspace), 0, count);
    const distill_target *target = NULL;
    int32_t rc;
    DK_TRY(source->rows(source->self, first, count, view, &target, err));
    strip->target = target;
    strip->teacher = target ? NULL : t->backend->ops->map(view);
    strip->teacher_stride = target ? 0 : view.stride[0];
out:
    return rc;
}

static int32_t hand_out(di_trainer *t, distill_strip *strip, dk_error *err)
{
    const di_source *source = di_trainee_source(t->trainee);
    const distill_target *target = NULL;
    int64_t count = t->micro.row_count - t->strip_first;
    int32_t rc;
    if (count <= 0) return dk_fail(err, DK_E_END, "all rows of the micro-batch were handed out");
    if (count > di_workspace_strip_rows(t->workspace)) count = di_workspace_strip_rows(t->workspace);
    dk_view view = dk_view_rows(di_workspace_student_strip(t->workspace), 0, count);
    DK_TRY(source->rows(source->self, t->strip_first, count, view, &target, err));
    if (t->kept_logits) t->backend->ops->convert(&t->queue, view, kept(t, view));
    strip->teacher = NULL;
    strip->target = NULL;
    strip->teacher_stride = 0;
    if (t->with_teacher) DK_TRY(teacher_rows(t, t->strip_first, count, strip, err));
    DK_TRY(dk_queue_wait(&t->queue, err));
    strip->student = t->backend->ops->map(view);
    strip->student_stride = view.stride[0];
    strip->labels = t->micro_labels + t->strip_first;
    strip->weights = t->micro_weights + t->strip_first;
    strip->first_row = t->strip_first;
    strip->rows = count;
    strip->vocab = t->vocab_valid;
    strip->loss = 0;
    t->strip_count = count;
    t->strips_begun = 1;
out:
    return rc;
}

int32_t di_trainer_next_rows(di_trainer *t, distill_strip *strip, dk_error *err)
{
    int32_t rc;
    DK_TRY(check_cancel(t, err));
    DK_TRY(check_stage(t, DI_STAGE_FORWARDED, err));
    if (!t->strips_begun) t->strip_first = 0;
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
    if (t->strip_count || (t->strips_begun && t->strip_first < t->micro.row_count))
        return dk_fail(err, DK_E_STAGE,
                       "distill_trainer_next_rows is due until it returns DISTILL_E_END: rows from %lld on are missing",
                       (long long)t->strip_first);
    if (!gradient && !t->strips_begun && (rc = di_window_own_loss(t, err)) != DK_OK) goto discard;
    if (gradient) {
        t->sums.sum += loss;
        t->sums.count += t->micro.row_count;
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
