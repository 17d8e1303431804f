/* score.c - what a teacher says of a batch, at once: distill_teacher_score, and the strips that it goes by. */
#include "teacher/score.h"

#include <math.h>

#include "teacher/teacher_parts.h"

struct di_scorer {
    di_teacher *teacher; /* the session's */
    di_session *session;
    dk_queue queue;
    dk_arena arena;
    dk_view strip; /* [DI_STRIP_ROWS, width] */
    float *rows;   /* the same, fp32 on the host */
};

static void name_place(const distill_batch *batch, int64_t place, int64_t *sequence, int64_t *token)
{
    *sequence = 0;
    while (*sequence + 1 < batch->sequences && batch->offsets[*sequence + 1] <= place) ++*sequence;
    *token = place - batch->offsets[*sequence];
}

int32_t di_names_sequence(const dk_error *err, int64_t sequences)
{
    const int32_t of_batch =
        err && (err->code == DK_E_NUMERIC || err->code == DK_E_INVALID || err->code == DK_E_NOT_FOUND);
    return of_batch && err->position >= 0 && err->position < sequences;
}

int32_t di_fail_row(const distill_batch *batch, int64_t row, int64_t place, const char *what, double value,
                    dk_error *err)
{
    int64_t sequence, token;
    char text[32];
    name_place(batch, place, &sequence, &token);
    dk_format_f64(value, text);
    if (batch->sequences == 1)
        return dk_fail_at(err, DK_E_NUMERIC, 0, "row %lld (token %lld): %s is %s", (long long)row, (long long)token,
                          what, text);
    return dk_fail_at(err, DK_E_NUMERIC, sequence, "row %lld (sequence %lld, token %lld): %s is %s", (long long)row,
                      (long long)sequence, (long long)token, what, text);
}

/* A host may say -inf of an id that never comes; NaN, +inf and a row without any number say nothing. */
static int32_t check_rows(const di_scorer *w, int64_t first, int64_t count, dk_error *err)
{
    const di_session *s = w->session;
    for (int64_t r = 0; r < count; r++) {
        const float *row = w->rows + r * s->source.width;
        float peak = -INFINITY;
        for (int64_t v = 0; v < s->source.vocab_valid && !isnan(peak); v++)
            if (!(row[v] <= peak)) peak = row[v];
        if (!isfinite(peak))
            return di_fail_row(&s->batch, first + r, s->places[first + r], "a logit", (double)peak, err);
    }
    return DK_OK;
}

void di_scorer_free(di_scorer *w)
{
    if (!w) return;
    dk_host *host = w->teacher->host;
    dk_free(host, w->rows);
    dk_arena_free(&w->arena);
    dk_queue_close(&w->queue);
    if (w->session) di_session_free(w->session);
    dk_free(host, w);
}

int32_t di_scorer_create(di_teacher *t, int64_t max_tokens, int64_t max_sequences, int64_t max_rows, di_scorer **out,
                         dk_error *err)
{
    const int32_t kind = di_teacher_form(t)->kind;
    di_scorer *w = NULL;
    int64_t size;
    int32_t rc;
    if (kind != DISTILL_DENSE && kind != DISTILL_HIDDEN)
        return dk_fail(err, DK_E_UNSUPPORTED, "this teacher gives %s targets, which have no logits",
                       di_kind_name(kind));
    DK_TRY(dk_new(t->host, 1, &w, err));
    w->teacher = t;
    dk_arena_init(&w->arena, t->backend);
    DK_TRY(dk_queue_open(&w->queue, t->backend, err));
    DK_TRY(di_session_create(t, max_tokens, max_sequences, max_rows, &w->session, err));
    size = DI_STRIP_ROWS * w->session->source.width;
    dk_arena_2d(&w->arena, t->backend->real, DI_STRIP_ROWS, w->session->source.width);
    DK_TRY(dk_arena_commit(&w->arena, err));
    w->strip = dk_arena_2d(&w->arena, t->backend->real, DI_STRIP_ROWS, w->session->source.width);
    if (!(w->rows = dk_alloc(t->host, (uint64_t)size, sizeof *w->rows)))
        DK_TRY(dk_fail_nomem(err, (uint64_t)size * sizeof *w->rows));
out:
    if (rc) di_scorer_free(w);
    else *out = w;
    return rc;
}

di_session *di_scorer_session(const di_scorer *w) { return w->session; }

static int32_t read_strip(di_scorer *w, int64_t first, int64_t count, double temperature, dk_error *err)
{
    const di_source *source = &w->session->source;
    const dk_ops *ops = w->queue.backend->ops;
    const distill_target *target = NULL;
    dk_view strip = dk_view_rows(w->strip, 0, count);
    int32_t rc;
    if (source->rows_at && temperature != 0)
        DK_TRY(source->rows_at(source->self, first, count, 1, &temperature, &strip, err));
    else DK_TRY(source->rows(source->self, first, count, strip, &target, err));
    ops->copy_out(&w->queue, strip, w->rows);
    DK_TRY(dk_queue_wait(&w->queue, err));
    DK_TRY(check_rows(w, first, count, err));
    if (temperature == 0) goto out;
    ops->log_softmax(&w->queue, strip, source->vocab_valid, source->rows_at ? 1 : temperature / source->temperature,
                     strip);
    ops->copy_out(&w->queue, strip, w->rows);
    DK_TRY(dk_queue_wait(&w->queue, err));
out:
    return rc;
}

int32_t di_scorer_run(di_scorer *w, const distill_batch *batch, double temperature, di_strip_fn fn, void *user,
                      dk_error *err)
{
    const int64_t rows = di_batch_rows(batch);
    int32_t rc;
    DK_TRY(di_session_forward(w->session, batch, err));
    for (int64_t first = 0; first < rows; first += DI_STRIP_ROWS) {
        const int64_t count = rows - first < DI_STRIP_ROWS ? rows - first : DI_STRIP_ROWS;
        DK_TRY(dk_host_cancelled(w->teacher->host)
                   ? dk_fail(err, DK_E_CANCELLED, "cancelled at row %lld of %lld", (long long)first, (long long)rows)
                   : DK_OK);
        DK_TRY(read_strip(w, first, count, temperature, err));
        DK_TRY(fn(user, w->session, first, count, w->rows, err));
    }
out:
    di_session_drop(w->session);
    return rc;
}

int32_t di_teacher_strips(di_teacher *t, const distill_batch *batch, double temperature, di_strip_fn fn, void *user,
                          dk_error *err)
{
    di_scorer *w = NULL;
    int32_t rc;
    DK_TRY(di_scorer_create(t, batch->offsets[batch->sequences], batch->sequences, di_batch_rows(batch), &w, err));
    DK_TRY(di_scorer_run(w, batch, temperature, fn, user, err));
out:
    di_scorer_free(w);
    return rc;
}

static int32_t write_rows(void *user, const di_session *s, int64_t first, int64_t count, const float *rows,
                          dk_error *err)
{
    const distill_target *out = user;
    (void)s, (void)err;
    di_tensor_write_rows(out->values, first, count, rows, 0);
    return DK_OK;
}

int32_t di_teacher_score(di_teacher *t, const distill_batch *batch, distill_target *out, dk_error *err)
{
    int64_t shape[2] = {di_batch_rows(batch), di_teacher_vocab(t)};
    const int32_t kind = di_teacher_form(t)->kind;
    int32_t rc;
    if (out->kind != DISTILL_DENSE || !out->values)
        return dk_fail(err, DK_E_UNSUPPORTED, "out->kind %d: score fills DENSE values", (int)out->kind);
    if (kind == DISTILL_DENSE || kind == DISTILL_HIDDEN)
        DK_TRY(di_check_tensor(out->values, "out->values", 2, shape, 1, err));
    DK_TRY(di_teacher_strips(t, batch, 0, write_rows, out, err));
    out->vocab_valid = di_teacher_vocab_valid(t);
out:
    return rc;
}
