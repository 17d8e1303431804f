/* ahead.c - two batches in flight: a teacher that takes its time is told of micro-batch k+1 before the student works on
 * k. Others are asked when a micro-batch is due, and nothing is kept for them. */
#include "trainer/trainer_state.h"

int32_t di_ahead_plan(di_trainer *t, int64_t tokens, int64_t sequences, dk_error *err)
{
    di_window *next = &t->ahead.next;
    int32_t rc = DK_OK;
    t->ahead.batch_step = t->ahead.step = -1;
    if (!t->session || !di_teacher_ahead(t->teacher)) goto out;
    DK_TRY(di_batch_create(t->data.train, t->data.batch_size, &t->ahead.batch, err));
    DK_TRY(dk_new(t->host, sequences + 1, &next->micro_offsets, err));
    DK_TRY(dk_new(t->host, tokens, &next->micro_rows, err));
    DK_TRY(dk_new(t->host, tokens, &next->micro_sequences, err));
    DK_TRY(di_session_create_tapped(t->teacher, tokens, sequences, tokens,
                                    di_features_of_teacher(t->objective.features), &t->ahead.session, err));
    di_session_set_learned(t->ahead.session, t->learned.weights);
    di_session_set_precision(t->ahead.session, t->precision);
out:
    return rc;
}

void di_ahead_free(di_trainer *t)
{
    di_session_free(t->ahead.session);
    di_batch_free(t->ahead.batch);
    dk_free(t->host, t->ahead.next.micro_offsets);
    dk_free(t->host, t->ahead.next.micro_rows);
    dk_free(t->host, t->ahead.next.micro_sequences);
}

static int32_t read_batch(di_trainer *t, int64_t k, di_batch *out, dk_error *err)
{
    const di_trainer_data *data = &t->data;
    if (!data->epochs.total) return di_dataset_batch(data->train, data->seed, k, data->batch_size, out, err);
    return di_dataset_epoch_batch(data->train, data->seed, k, data->batch_size, &data->epochs, out, err);
}

int32_t di_ahead_batch(di_trainer *t, dk_error *err)
{
    di_batch *early = t->ahead.batch;
    if (t->ahead.batch_step != t->counters.step) return read_batch(t, t->counters.step, t->data.batch, err);
    t->ahead.batch = t->data.batch;
    t->data.batch = early;
    t->ahead.batch_step = -1;
    return DK_OK;
}

void di_ahead_drop(di_trainer *t)
{
    di_session_drop(t->session);
    di_session_drop(t->ahead.session);
    t->ahead.step = -1;
}

/* The micro-batch of that number as a batch of its own, in the window's arrays: offsets and rows begin at 0. */
static void cut_micro(const di_trainer *t, const di_batch *batch, int64_t index, di_window *out)
{
    const di_part part = di_ranks_part(t, batch);
    int64_t first = part.first + index * t->data.micro_batch_size, last = first + t->data.micro_batch_size;
    if (last > part.end) last = part.end;
    int64_t sequence = batch->window_first[first], row = batch->window_row[first], token = batch->offsets[sequence];
    DISTILL_INIT(&out->micro);
    out->micro.ids = batch->ids + token;
    out->micro.offsets = out->micro_offsets;
    out->micro.rows = out->micro_rows;
    out->micro.weights = batch->weights + row;
    out->micro.sequences = batch->window_first[last] - sequence;
    out->micro.row_count = batch->window_row[last] - row;
    out->micro.sources = batch->sources + sequence;
    out->micro.tags = batch->tags + sequence;
    out->micro_labels = batch->labels + row;
    out->micro_weights = batch->weights + row;
    for (int64_t s = 0; s <= out->micro.sequences; s++) out->micro_offsets[s] = batch->offsets[sequence + s] - token;
    for (int64_t r = 0; r < out->micro.row_count; r++) {
        out->micro_rows[r] = batch->row[row + r] - token;
        out->micro_sequences[r] = batch->row_sequence[row + r] - sequence;
    }
}

/* What was begun becomes what is due; stage and counts are the window's own. */
static void take_begun(di_trainer *t)
{
    di_session *session = t->session;
    di_window was = t->window;
    t->session = t->ahead.session;
    t->ahead.session = session;
    t->window = t->ahead.next;
    t->window.stage = was.stage;
    t->window.begun = was.begun;
    t->window.micro_index = was.micro_index;
    t->window.micro_count = was.micro_count;
    t->ahead.next = was;
    t->ahead.step = -1;
}

/* Where the next micro-batch stands, or NULL: it is in another window that is not to be read early. */
static int32_t find_next(di_trainer *t, const di_batch **batch, int64_t *step, int64_t *index, dk_error *err)
{
    int64_t windows = 0;
    int32_t rc;
    *batch = NULL;
    *step = t->counters.step;
    *index = t->window.micro_index + 1;
    if (*index < t->window.micro_count) {
        *batch = t->data.batch;
        return DK_OK;
    }
    ++*step;
    *index = 0;
    if (*step >= t->steps || di_learned_is_due(t, *step)) return DK_OK; /* its weights are not known yet */
    if (di_on_policy_may_write(t, *step)) return DK_OK;                 /* nor its text */
    DK_TRY(di_dataset_get_i64(t->data.train, "windows", &windows, err));
    if (windows < 0) return DK_OK; /* a stream is read once, in order: a step that is undone reads its window again */
    t->ahead.batch_step = -1;
    DK_TRY(read_batch(t, *step, t->ahead.batch, err));
    t->ahead.batch_step = *step;
    *batch = t->ahead.batch;
out:
    return rc;
}

static int32_t begin_next(di_trainer *t, dk_error *err)
{
    const di_batch *batch = NULL;
    int64_t step = 0, index = 0;
    int32_t rc;
    DK_TRY(find_next(t, &batch, &step, &index, err));
    if (!batch) goto out;
    cut_micro(t, batch, index, &t->ahead.next);
    di_session_set_step(t->ahead.session, step);
    di_session_set_look(t->ahead.session, batch == t->data.batch && t->on_policy.is_written);
    if ((rc = di_session_begin(t->ahead.session, &t->ahead.next.micro, err)) != DK_OK) {
        if (err) err->position = -1; /* it is not about the window that is due */
        goto out;
    }
    t->ahead.step = step;
    t->ahead.index = index;
out:
    return rc;
}

int32_t di_ahead_begin(di_trainer *t, int32_t with_teacher, dk_error *err)
{
    const int32_t begun = t->ahead.step == t->counters.step && t->ahead.index == t->window.micro_index;
    int32_t rc = DK_OK;
    if (begun) {
        take_begun(t);
    } else {
        di_ahead_drop(t);
        cut_micro(t, t->data.batch, t->window.micro_index, &t->window);
    }
    if (!with_teacher) {
        di_ahead_drop(t);
        goto out;
    }
    if (!begun) {
        di_session_set_step(t->session, t->counters.step);
        di_session_set_look(t->session, t->on_policy.is_written);
        DK_TRY(di_session_begin(t->session, &t->window.micro, err));
    }
    if (t->ahead.session) DK_TRY(begin_next(t, err));
out:
    return rc;
}
