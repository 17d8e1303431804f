/* evaluate.c - what a model is worth on held-out data: perplexity over non-overlapping windows (first token unscored),
 * and against a teacher KL(teacher || student) and how often both have the same most likely token. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "evaluate/evaluate.h"

enum { WINDOWS = 8 }; /* per forward: enough for matrix speed, little enough for memory */

typedef struct evaluator {
    const di_evaluate_args *args;
    dk_host *host;
    dk_queue queue;
    di_session *student, *teacher;
    di_batch *batch;
    dk_arena arena;
    dk_view student_strip, teacher_strip;
    int64_t strip_rows, vocab;
    double *nats, *teacher_nats; /* [strip_rows] */
    float *kl;                   /* [kl_count], grown */
    uint8_t *agree;              /* [strip_rows] */
    int64_t kl_count, kl_capacity;
    const int32_t *labels; /* of the strip under work */
    int64_t agreed;
} evaluator;

static int32_t create(evaluator *e, dk_error *err)
{
    const di_evaluate_args *args = e->args;
    int64_t tokens, sequences, width, teacher_width = 0;
    int32_t rc;
    DK_TRY(di_batch_create(args->data, WINDOWS, &e->batch, err));
    tokens = e->batch->max_tokens;
    sequences = e->batch->max_sequences;
    DK_TRY(di_session_create(args->student, tokens, sequences, tokens, &e->student, err));
    if (args->teacher) DK_TRY(di_session_create(args->teacher, tokens, sequences, tokens, &e->teacher, err));
    const di_source *student = di_session_source(e->student),
                    *teacher = e->teacher ? di_session_source(e->teacher) : NULL;
    if (student->kind != DISTILL_DENSE || (teacher && teacher->kind != DISTILL_DENSE)) {
        rc = dk_fail(err, DK_E_UNSUPPORTED, "evaluation needs logits, and the %s gives a sparse target",
                     student->kind != DISTILL_DENSE ? "student" : "teacher");
        goto out;
    }
    width = student->width;
    if (teacher) teacher_width = teacher->width;
    e->vocab = student->vocab_valid;
    if (teacher && teacher->vocab_valid < e->vocab) e->vocab = teacher->vocab_valid;
    e->strip_rows = args->memory / ((width + teacher_width) * (int64_t)dk_dtype_size(args->backend->real));
    if (e->strip_rows < 1) e->strip_rows = 1;
    if (e->strip_rows > tokens) e->strip_rows = tokens;
    dk_arena_init(&e->arena, args->backend);
    for (int pass = 0; pass < 2; pass++) {
        e->student_strip = dk_arena_2d(&e->arena, args->backend->real, e->strip_rows, width);
        if (teacher) e->teacher_strip = dk_arena_2d(&e->arena, args->backend->real, e->strip_rows, teacher_width);
        if (pass == 0) DK_TRY(dk_arena_commit(&e->arena, err));
    }
    DK_TRY(dk_new(e->host, e->strip_rows, &e->nats, err));
    DK_TRY(dk_new(e->host, e->strip_rows, &e->teacher_nats, err));
    DK_TRY(dk_new(e->host, e->strip_rows, &e->agree, err));
out:
    return rc;
}

static void destroy(evaluator *e)
{
    di_batch_free(e->batch);
    di_session_free(e->student);
    di_session_free(e->teacher);
    dk_arena_free(&e->arena);
    dk_free(e->host, e->nats);
    dk_free(e->host, e->teacher_nats);
    dk_free(e->host, e->agree);
    dk_free(e->host, e->kl);
}

/* ---- rows: log q and log p of a strip -> numbers ---- */

static double row_kl(const float *log_p, const float *log_q, int64_t vocab)
{
    double kl = 0;
    for (int64_t v = 0; v < vocab; v++) {
        if (log_p[v] < -80) continue; /* p below 1e-34 adds nothing in double either */
        kl += (double)expf(log_p[v]) * ((double)log_p[v] - (double)log_q[v]);
    }
    return kl > 0 ? kl : 0;
}

static int64_t argmax(const float *row, int64_t vocab)
{
    int64_t best = 0;
    for (int64_t v = 1; v < vocab; v++)
        if (row[v] > row[best]) best = v;
    return best;
}

static void measure_rows(void *context, int64_t begin, int64_t end)
{
    evaluator *e = context;
    const dk_ops *ops = e->args->backend->ops;
    const float *q = ops->map(e->student_strip), *p = e->teacher ? ops->map(e->teacher_strip) : NULL;
    for (int64_t r = begin; r < end; r++) {
        const float *log_q = q + r * e->student_strip.stride[0], *log_p = p ? p + r * e->teacher_strip.stride[0] : NULL;
        e->nats[r] = -(double)log_q[e->labels[r]];
        if (!log_p) continue;
        e->teacher_nats[r] = -(double)log_p[e->labels[r]];
        e->kl[e->kl_count + r] = (float)row_kl(log_p, log_q, e->vocab);
        e->agree[r] = argmax(log_q, e->vocab) == argmax(log_p, e->vocab);
    }
}

static int32_t room_for_kl(evaluator *e, int64_t count, dk_error *err)
{
    int64_t capacity = e->kl_capacity ? 2 * e->kl_capacity : 65536;
    if (!e->teacher || e->kl_count + count <= e->kl_capacity) return DK_OK;
    while (capacity < e->kl_count + count) capacity *= 2;
    float *grown = dk_realloc(e->host, e->kl, (uint64_t)capacity, sizeof *grown);
    if (!grown) return dk_fail_nomem(err, (uint64_t)capacity * sizeof *grown);
    e->kl = grown;
    e->kl_capacity = capacity;
    return DK_OK;
}

static int32_t strip(evaluator *e, int64_t first, int64_t count, di_evaluation *out, dk_error *err)
{
    const dk_ops *ops = e->args->backend->ops;
    const di_source *student = di_session_source(e->student),
                    *teacher = e->teacher ? di_session_source(e->teacher) : NULL;
    dk_view q = dk_view_rows(e->student_strip, 0, count), p;
    const distill_target *target = NULL;
    double begin = dk_seconds();
    int32_t rc;
    DK_TRY(student->rows(student->self, first, count, q, &target, err));
    ops->log_softmax(&e->queue, q, e->vocab, 1, q);
    DK_TRY(dk_queue_wait(&e->queue, err));
    out->student_seconds += dk_seconds() - begin;
    begin = dk_seconds();
    if (teacher) {
        p = dk_view_rows(e->teacher_strip, 0, count);
        DK_TRY(teacher->rows(teacher->self, first, count, p, &target, err));
        ops->log_softmax(&e->queue, p, e->vocab, 1, p);
        DK_TRY(dk_queue_wait(&e->queue, err));
        out->teacher_seconds += dk_seconds() - begin;
    }
    DK_TRY(room_for_kl(e, count, err));
    e->labels = e->batch->labels + first;
    dk_parallel_for(e->host, count, 16, measure_rows, e);
    DK_TRY(dk_parallel_check(e->host, err));
    for (int64_t r = 0; r < count; r++) {
        if (!isfinite(e->nats[r])) {
            rc = dk_fail(err, DK_E_NUMERIC, "the student's log-probability of token %d is not finite",
                         (int)e->labels[r]);
            goto out;
        }
        out->nats += e->nats[r];
        if (!teacher) continue;
        out->teacher_nats += e->teacher_nats[r];
        out->kl_mean += (double)e->kl[e->kl_count + r];
        e->agreed += e->agree[r];
    }
    if (teacher) e->kl_count += count;
    out->tokens += count;
out:
    return rc;
}

static int32_t forward(evaluator *e, di_evaluation *out, dk_error *err)
{
    distill_batch batch;
    double begin = dk_seconds();
    int32_t rc;
    DISTILL_INIT(&batch);
    batch.ids = e->batch->ids;
    batch.offsets = e->batch->offsets;
    batch.rows = e->batch->row;
    batch.sequences = e->batch->sequences;
    batch.row_count = e->batch->rows;
    DK_TRY(di_session_forward(e->student, &batch, err));
    out->student_seconds += dk_seconds() - begin;
    begin = dk_seconds();
    if (e->teacher) {
        DK_TRY(di_session_forward(e->teacher, &batch, err));
        out->teacher_seconds += dk_seconds() - begin;
    }
    for (int64_t first = 0; first < e->batch->rows; first += e->strip_rows) {
        int64_t count = e->batch->rows - first < e->strip_rows ? e->batch->rows - first : e->strip_rows;
        DK_TRY(strip(e, first, count, out, err));
    }
out:
    return rc;
}

/* ---- quantiles ---- */

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void finish(evaluator *e, di_evaluation *out)
{
    double n = out->tokens > 0 ? (double)out->tokens : 1;
    out->nats /= n;
    out->teacher_nats /= n;
    out->kl_mean /= n;
    out->top1_agreement = (double)e->agreed / n;
    if (e->kl_count == 0) return;
    qsort(e->kl, (size_t)e->kl_count, sizeof *e->kl, ascending);
    out->kl_median = (double)e->kl[(e->kl_count - 1) / 2];
    out->kl_p99 = (double)e->kl[(int64_t)ceil(0.99 * (double)e->kl_count) - 1];
}

int32_t di_evaluate(const di_evaluate_args *args, di_evaluation *out, dk_error *err)
{
    evaluator e = {.args = args, .host = args->backend->host};
    di_evaluation result = {.has_teacher = args->teacher != NULL};
    double begin = dk_seconds();
    int64_t windows = 0, first;
    int32_t rc;
    dk_queue_init(&e.queue, args->backend);
    DK_TRY(di_dataset_get_i64(args->data, "windows", &windows, err));
    if (windows < 0) {
        rc = dk_fail(err, DK_E_UNSUPPORTED, "a stream cannot be evaluated on: give a file or a dataset of known count");
        goto out;
    }
    DK_TRY(di_dataset_text_bytes(args->data, &result.text_bytes, err));
    DK_TRY(create(&e, err));
    for (first = 0; first < windows; first += WINDOWS) {
        if ((args->cancel && *args->cancel) || dk_host_cancelled(e.host) ||
            (args->progress && args->progress(args->user, first, windows))) {
            rc = dk_fail(err, DK_E_CANCELLED, "evaluation was cancelled after %lld of %lld windows", (long long)first,
                         (long long)windows);
            goto out;
        }
        DK_TRY(di_dataset_windows(args->data, first, WINDOWS, e.batch, err));
        DK_TRY(forward(&e, &result, err));
        if (args->tokens && result.tokens >= args->tokens && first + WINDOWS < windows) {
            result.text_bytes = -1; /* counted for the whole only */
            break;
        }
    }
    if (result.tokens == 0) {
        rc = dk_fail(err, DK_E_INVALID, "the held-out data has no token to score");
        goto out;
    }
    finish(&e, &result);
    result.seconds = dk_seconds() - begin;
    *out = result;
out:
    destroy(&e);
    return rc;
}

static void member(dk_strbuf *out, const char *name, double value)
{
    dk_strbuf_printf(out, ",\"%s\":", name);
    if (isfinite(value)) dk_strbuf_f64(out, value);
    else dk_strbuf_puts(out, "null");
}

static double bits_per_byte(double nats, const di_evaluation *e)
{
    return nats * (double)e->tokens / log(2.0) / (double)e->text_bytes;
}

void di_evaluation_json(const di_evaluation *e, dk_strbuf *out)
{
    dk_strbuf_printf(out, "{\"tokens\":%lld", (long long)e->tokens);
    member(out, "perplexity", exp(e->nats));
    member(out, "nats", e->nats);
    if (e->text_bytes > 0) member(out, "bits_per_byte", bits_per_byte(e->nats, e));
    if (e->has_teacher) {
        member(out, "teacher_perplexity", exp(e->teacher_nats));
        member(out, "teacher_nats", e->teacher_nats);
        if (e->text_bytes > 0) member(out, "teacher_bits_per_byte", bits_per_byte(e->teacher_nats, e));
        member(out, "forward_kl", e->kl_mean);
        member(out, "forward_kl_median", e->kl_median);
        member(out, "forward_kl_p99", e->kl_p99);
        member(out, "top1_agreement", e->top1_agreement);
    }
    member(out, "seconds", e->seconds);
    dk_strbuf_puts(out, "}");
}
