/* session.c - one caller's working memory for scoring, whatever the kind of teacher. */
#include <string.h>

#include "teacher/teacher_parts.h"

static int32_t create(di_teacher *teacher, int64_t max_tokens, int64_t max_sequences, int64_t max_rows,
                      int32_t with_gradient, const di_asked *asked, di_session **out, dk_error *err)
{
    di_session *s = NULL;
    int32_t rc;
    DK_TRY(dk_new(teacher->host, 1, &s, err));
    s->teacher = di_teacher_retain(teacher);
    s->max_tokens = max_tokens;
    s->with_gradient = with_gradient;
    s->max_sequences = max_sequences;
    s->max_rows = max_rows > 0 ? max_rows : 1;
    DK_TRY(dk_new(teacher->host, s->max_rows, &s->place_memory, err));
    s->asked_count = asked ? asked->count : 0;
    DK_TRY(dk_new(teacher->host, s->asked_count + 1, &s->asked, err));
    if (s->asked_count) memcpy(s->asked, asked->taps, (size_t)s->asked_count * sizeof *s->asked);
    DK_TRY(teacher->kind->session(s, err));
    *out = s;
    return DK_OK;
out:
    di_session_free(s);
    return rc;
}

int32_t di_session_create(di_teacher *teacher, int64_t max_tokens, int64_t max_sequences, int64_t max_rows,
                          di_session **out, dk_error *err)
{
    return create(teacher, max_tokens, max_sequences, max_rows, 0, NULL, out, err);
}

int32_t di_session_create_trained(di_teacher *teacher, int64_t max_tokens, int64_t max_sequences, int64_t max_rows,
                                  di_session **out, dk_error *err)
{
    return create(teacher, max_tokens, max_sequences, max_rows, 1, NULL, out, err);
}

int32_t di_session_create_tapped(di_teacher *teacher, int64_t max_tokens, int64_t max_sequences, int64_t max_rows,
                                 const di_asked *asked, di_session **out, dk_error *err)
{
    return create(teacher, max_tokens, max_sequences, max_rows, 0, asked, out, err);
}

void di_session_free(di_session *s)
{
    if (!s) return;
    di_teacher *teacher = s->teacher;
    di_session_drop(s);
    if (s->state) teacher->kind->session_free(s);
    dk_free(teacher->host, s->place_memory);
    dk_free(teacher->host, s->asked);
    dk_free(teacher->host, s->member_tasks);
    dk_free(teacher->host, s);
    di_teacher_release(teacher);
}

void di_session_set_step(di_session *s, int64_t step) { s->step = s->draw_step = step; }

void di_session_set_look(di_session *s, int32_t on) { s->look = on; }

void di_session_set_learned(di_session *s, const double *weights) { s->learned = weights; }

void di_session_set_evaluation(di_session *s, int64_t step)
{
    s->step = step;
    s->draw_step = 0;
}

void di_session_set_precision(di_session *s, dk_precision precision) { s->precision = precision; }

void di_session_follow(di_session *s, const di_session *leader)
{
    s->look = leader->look;
    s->precision = leader->precision;
    s->step = leader->step;
    s->draw_step = leader->draw_step;
}

int32_t di_session_begin(di_session *s, const distill_batch *batch, dk_error *err)
{
    int64_t rows = di_batch_rows(batch);
    int32_t rc = DK_OK;
    di_session_drop(s);
    if (rows > s->max_rows)
        return dk_fail(err, DK_E_INVALID, "%lld rows do not fit a session of %lld", (long long)rows,
                       (long long)s->max_rows);
    s->batch = *batch;
    s->row_count = rows;
    if (!batch->rows) di_batch_row_places(batch, s->place_memory);
    s->places = batch->rows ? batch->rows : s->place_memory;
    if (s->teacher->kind->begin) rc = s->teacher->kind->begin(s, err);
    s->begun = rc == DK_OK;
    return rc;
}

int32_t di_session_collect(di_session *s, dk_error *err) { return s->teacher->kind->forward(s, err); }

void di_session_drop(di_session *s)
{
    if (!s || !s->begun) return;
    s->begun = 0;
    if (s->teacher->kind->end) s->teacher->kind->end(s);
}

int32_t di_session_forward(di_session *s, const distill_batch *batch, dk_error *err)
{
    int32_t rc = di_session_begin(s, batch, err);
    return rc == DK_OK ? di_session_collect(s, err) : rc;
}

const di_source *di_session_source(const di_session *s) { return &s->source; }

const distill_batch *di_session_batch(const di_session *s) { return &s->batch; }

const di_taps *di_session_taps(const di_session *s) { return &s->taps; }

int32_t di_teacher_place(const di_teacher *t, const dk_tap_spec *tap, di_place *out, dk_error *err)
{
    const int32_t rc = di_teacher_has_places(t, err);
    return rc ? rc : t->kind->place(t, tap, out, err);
}

int32_t di_teacher_has_places(const di_teacher *t, dk_error *err)
{
    if (t->kind->place) return DK_OK;
    return dk_fail(err, DK_E_UNSUPPORTED, "%s gives nothing of what is inside: %s", t->kind->name, t->kind->no_place);
}

const distill_target *di_session_hidden(di_session *s)
{
    return s->teacher->kind->hidden ? s->teacher->kind->hidden(s) : NULL;
}

int32_t di_session_recall(di_session *s, int64_t rows, const void *values, size_t size)
{
    const distill_target *hidden;
    if (rows > s->max_rows || !s->teacher->kind->hidden) return 0;
    s->row_count = rows;
    hidden = s->teacher->kind->hidden(s);
    if (!hidden || size != (size_t)rows * (size_t)hidden->values->shape[1] * (hidden->values->dtype_bits / 8)) return 0;
    memcpy(hidden->values->data, values, size);
    return 1;
}
