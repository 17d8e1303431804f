/* session.c - one caller's working memory for scoring, whatever the kind of teacher. */
#include <string.h>

#include "teacher/teacher_parts.h"

static int32_t create(di_teacher *teacher, int64_t max_tokens, int64_t max_sequences, int64_t max_rows,
                      int32_t with_gradient, di_session **out, dk_error *err)
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
    return create(teacher, max_tokens, max_sequences, max_rows, 0, out, err);
}

int32_t di_session_create_trained(di_teacher *teacher, int64_t max_tokens, int64_t max_sequences, int64_t max_rows,
                                  di_session **out, dk_error *err)
{
    return create(teacher, max_tokens, max_sequences, max_rows, 1, out, err);
}

void di_session_free(di_session *s)
{
    if (!s) return;
    di_teacher *teacher = s->teacher;
    if (s->state) teacher->kind->session_free(s);
    dk_free(teacher->host, s->place_memory);
    dk_free(teacher->host, s);
    di_teacher_release(teacher);
}

int32_t di_session_forward(di_session *s, const distill_batch *batch, dk_error *err)
{
    int64_t rows = di_batch_rows(batch);
    if (rows > s->max_rows)
        return dk_fail(err, DK_E_INVALID, "%lld rows do not fit a session of %lld", (long long)rows,
                       (long long)s->max_rows);
    s->batch = *batch;
    s->row_count = rows;
    if (!batch->rows) di_batch_row_places(batch, s->place_memory);
    s->places = batch->rows ? batch->rows : s->place_memory;
    return s->teacher->kind->forward(s, err);
}

const di_source *di_session_source(const di_session *s) { return &s->source; }

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

/* ---- distill_teacher_score ---- */

static int32_t copy_strip(di_session *s, dk_view strip, int64_t first, int64_t count, float *rows, distill_target *out,
                          dk_error *err)
{
    const distill_target *target = NULL;
    const dk_ops *ops = s->teacher->backend->ops;
    dk_queue queue;
    int32_t rc;
    DK_TRY(dk_queue_open(&queue, s->teacher->backend, err));
    DK_TRY(s->source.rows(s->source.self, first, count, strip, &target, err));
    ops->copy_out(&queue, strip, rows);
    DK_TRY(dk_queue_wait(&queue, err));
    di_tensor_write_rows(out->values, first, count, rows, 0);
out:
    dk_queue_close(&queue);
    return rc;
}

static int32_t check_score(const di_teacher *t, const distill_batch *batch, const distill_target *out, dk_error *err)
{
    int64_t shape[2] = {di_batch_rows(batch), di_teacher_vocab(t)};
    if (out->kind != DISTILL_DENSE || !out->values)
        return dk_fail(err, DK_E_UNSUPPORTED, "out->kind %d: score fills DENSE values", (int)out->kind);
    if (!t->model && t->form.kind != DISTILL_DENSE && t->form.kind != DISTILL_HIDDEN)
        return dk_fail(err, DK_E_UNSUPPORTED, "this teacher gives %s targets, which have no logits",
                       di_kind_name(t->form.kind));
    return di_check_tensor(out->values, "out->values", 2, shape, 1, err);
}

int32_t di_teacher_score(di_teacher *t, const distill_batch *batch, distill_target *out, dk_error *err)
{
    enum { STRIP = 64 };
    int64_t rows = di_batch_rows(batch);
    di_session *s = NULL;
    dk_arena arena;
    float *copy = NULL;
    int32_t rc;
    dk_arena_init(&arena, t->backend);
    DK_TRY(check_score(t, batch, out, err));
    DK_TRY(di_session_create(t, batch->offsets[batch->sequences], batch->sequences, rows, &s, err));
    dk_arena_2d(&arena, t->backend->real, STRIP, s->source.width);
    DK_TRY(dk_arena_commit(&arena, err));
    dk_view strip = dk_arena_2d(&arena, t->backend->real, STRIP, s->source.width);
    if (!(copy = dk_alloc(t->host, (uint64_t)(STRIP * s->source.width), sizeof *copy))) {
        rc = dk_fail_nomem(err, (uint64_t)(STRIP * s->source.width) * sizeof *copy);
        goto out;
    }
    DK_TRY(di_session_forward(s, batch, err));
    for (int64_t first = 0; first < rows; first += STRIP) {
        int64_t count = rows - first < STRIP ? rows - first : STRIP;
        DK_TRY(copy_strip(s, dk_view_rows(strip, 0, count), first, count, copy, out, err));
    }
    out->vocab_valid = s->source.vocab_valid;
out:
    dk_free(t->host, copy);
    dk_arena_free(&arena);
    di_session_free(s);
    return rc;
}

int32_t di_teacher_generate(di_teacher *t, const distill_batch *prompts, const di_options *options,
                            const distill_options *user_options, distill_token_fn fn, void *user, dk_error *err)
{
    int32_t rc = di_options_check(options, 1 << DI_GENERATE, err);
    return rc == DK_OK ? t->kind->generate(t, prompts, options, user_options, fn, user, err) : rc;
}
