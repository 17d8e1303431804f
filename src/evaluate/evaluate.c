/* evaluate.c - what a model is worth on held-out data: perplexity over non-overlapping windows (first token unscored),
 * and against a teacher KL(teacher || student) and how often both have the same most likely token. A sparse teacher is
 * compared on what it says: its ids and the rest. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/ranks.h"
#include "evaluate/evaluate.h"
#include "evaluate/evaluation_ranks.h"
#include "loss/loss.h"
#include "loss/measure.h"
#include "target/host_rows.h"

enum { WINDOWS = 8 }; /* per forward: enough for matrix speed, little enough for memory */

typedef struct evaluator {
    const di_evaluate_args *args;
    dk_host *host;
    dk_queue queue;
    di_session *student, *teacher;
    di_batch *batch;
    dk_arena arena;
    dk_view student_strip, teacher_strip;
    di_staging copied[2]; /* of them, where the host does not see them */
    int64_t strip_rows, vocab;
    di_measure strip;        /* the strip under work */
    di_measured *rows;       /* [strip_rows] of it */
    di_sparse_check *sparse; /* NULL = the teacher is dense, or none */
    float *kl;               /* [kl_count], grown */
    double *pair_nats;       /* [2, sequences] of the batch: by student and teacher */
    int64_t kl_count, kl_capacity;
    int64_t windows; /* before this batch */
    int64_t turn;    /* batches so far */
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
    di_session_set_precision(e->student, args->precision);
    if (e->teacher) di_session_set_precision(e->teacher, args->precision);
    if (e->teacher) di_session_set_evaluation(e->teacher, args->step);
    if (e->teacher) di_session_set_learned(e->teacher, args->learned);
    const di_source *student = di_session_source(e->student),
                    *teacher = e->teacher ? di_session_source(e->teacher) : NULL;
    if (student->kind != DISTILL_DENSE) {
        rc = dk_fail(err, DK_E_UNSUPPORTED, "evaluation needs the student's logits, and it gives %s",
                     di_kind_name(student->kind));
        goto out;
    }
    width = student->width;
    e->vocab = student->vocab_valid;
    if (teacher && teacher->kind == DISTILL_DENSE) teacher_width = teacher->width;
    if (teacher && teacher->vocab_valid > 0 && teacher->vocab_valid < e->vocab) e->vocab = teacher->vocab_valid;
    if (teacher && !teacher_width) DK_TRY(di_sparse_check_create(e->host, e->vocab, &e->sparse, err));
    DK_TRY(di_strip_rows(args->memory, (width + teacher_width) * (int64_t)dk_dtype_size(args->backend->real),
                         &e->strip_rows, err));
    if (e->strip_rows > tokens) e->strip_rows = tokens;
    dk_arena_init(&e->arena, args->backend);
    for (int pass = 0; pass < 2; pass++) {
        e->student_strip = dk_arena_2d(&e->arena, args->backend->real, e->strip_rows, width);
        if (teacher_width) e->teacher_strip = dk_arena_2d(&e->arena, args->backend->real, e->strip_rows, teacher_width);
        if (pass == 0) DK_TRY(dk_arena_commit(&e->arena, err));
    }
    DK_TRY(dk_new(e->host, e->strip_rows, &e->rows, err));
    DK_TRY(dk_new(e->host, 2 * sequences, &e->pair_nats, err));
out:
    return rc;
}

static void destroy(evaluator *e)
{
    di_batch_free(e->batch);
    di_session_free(e->student);
    di_session_free(e->teacher);
    dk_arena_free(&e->arena);
    for (int i = 0; i < 2; i++) di_staging_free(e->host, &e->copied[i]);
    dk_queue_close(&e->queue);
    dk_free(e->host, e->rows);
    dk_free(e->host, e->kl);
    dk_free(e->host, e->pair_nats);
    di_sparse_check_free(e->sparse);
}

/* ---- rows of a strip -> numbers ---- */

static void measure_rows(void *context, int64_t begin, int64_t end)
{
    evaluator *e = context;
    for (int64_t r = begin; r < end; r++) {
        di_measure_row(&e->strip, r, &e->rows[r]);
        if (e->teacher) e->kl[e->kl_count + r] = (float)e->rows[r].kl;
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

static int32_t check_number(const evaluator *e, const char *what, double value, int64_t row, dk_error *err)
{
    int64_t window = 0;
    char text[32];
    if (isfinite(value)) return DK_OK;
    while (window + 1 < e->batch->windows && e->batch->window_row[window + 1] <= row) window++;
    dk_format_f64(value, text);
    return dk_fail(err, DK_E_NUMERIC, "window %lld, position %lld: the %s of token %d is %s",
                   (long long)(e->windows + window), (long long)(row - e->batch->window_row[window]), what,
                   (int)e->batch->labels[row], text);
}

static int32_t check_sparse(evaluator *e, int64_t first, int64_t count, dk_error *err)
{
    const di_sparse_rules rules = {e->vocab, first, NULL, di_session_source(e->teacher)->rounding};
    int32_t rc = DK_OK;
    for (int64_t r = 0; r < count && rc == DK_OK; r++)
        rc = di_sparse_check_row(e->sparse, e->strip.target, r, &rules, err);
    return rc;
}

/* Rows [first, first + count) of both, as logits or as the teacher gives them. */
static int32_t fill_strip(evaluator *e, int64_t first, int64_t count, di_evaluation *out, dk_error *err)
{
    const di_source *student = di_session_source(e->student),
                    *teacher = e->teacher ? di_session_source(e->teacher) : NULL;
    const distill_target *none = NULL;
    dk_view q = dk_view_rows(e->student_strip, 0, count), p = dk_view_none();
    di_host_rows rows;
    double begin = dk_seconds();
    int32_t rc;
    e->strip = (di_measure){.isa = e->args->backend->isa,
                            .vocab = e->vocab,
                            .temperature = teacher ? teacher->temperature : 1,
                            .labels = e->batch->labels + first};
    DK_TRY(student->rows(student->self, first, count, q, &none, err));
    DK_TRY(di_host_read(&e->queue, &e->copied[0], q, &rows, err));
    e->strip.student = (const float *)(const void *)rows.data;
    e->strip.student_stride = rows.stride;
    out->student_seconds += dk_seconds() - begin;
    begin = dk_seconds();
    if (!teacher) goto out;
    if (!e->sparse) p = dk_view_rows(e->teacher_strip, 0, count);
    DK_TRY(teacher->rows(teacher->self, first, count, p, e->sparse ? &e->strip.target : &none, err));
    if (!e->sparse) {
        DK_TRY(di_host_read(&e->queue, &e->copied[1], p, &rows, err));
        e->strip.teacher = (const float *)(const void *)rows.data;
        e->strip.teacher_stride = rows.stride;
    }
    out->teacher_seconds += dk_seconds() - begin;
    if (e->sparse) DK_TRY(check_sparse(e, first, count, err));
out:
    return rc;
}

static void note(const evaluator *e, int64_t row, const di_measured *measured, int64_t *window)
{
    const di_batch *batch = e->batch;
    const int64_t begin = batch->offsets[batch->row_sequence[row]];
    while (*window + 1 < batch->windows && batch->window_row[*window + 1] <= row) ++*window;
    const di_detail_row place = {.strip = &e->strip,
                                 .row = measured - e->rows,
                                 .measured = measured,
                                 .ids = batch->ids + begin,
                                 .position = batch->row[row] - begin + 1,
                                 .window = e->windows + *window};
    di_detail_add(e->args->detail, &place);
}

static int32_t strip(evaluator *e, int64_t first, int64_t count, di_evaluation *out, dk_error *err)
{
    int64_t kept = 0, window = 0;
    int32_t rc;
    DK_TRY(fill_strip(e, first, count, out, err));
    DK_TRY(room_for_kl(e, count, err));
    dk_parallel_for(e->host, count, 16, measure_rows, e);
    DK_TRY(dk_parallel_check(e->host, err));
    for (int64_t r = 0; r < count; r++) {
        const di_measured *row = &e->rows[r];
        const int64_t sequence = e->batch->row_sequence[first + r];
        DK_TRY(check_number(e, "student's log-probability", -row->nats, first + r, err));
        DK_TRY(check_number(e, "teacher's distance at the position", row->kl, first + r, err));
        e->pair_nats[sequence] += row->nats;
        e->pair_nats[e->batch->max_sequences + sequence] += row->teacher_nats;
        if (e->batch->sides[sequence] == DISTILL_REJECTED) continue; /* nobody is to say that */
        if (e->teacher) e->kl[e->kl_count + kept] = e->kl[e->kl_count + r];
        if (e->args->detail) note(e, first + r, row, &window);
        kept++;
        out->nats += row->nats;
        out->teacher_nats += row->teacher_nats;
        out->kl_mean += row->kl;
        out->floored += row->floored;
        out->top1_agreement += row->agree > 0;
        out->acceptance += row->accepted;
        di_calibration_count(&out->calibration, row->confidence, row->right);
        if (e->strip.teacher)
            di_calibration_count(&out->teacher_calibration, row->teacher_confidence, row->teacher_right);
    }
    if (e->teacher) e->kl_count += kept;
    out->tokens += kept;
out:
    return rc;
}

static void count_pairs(const evaluator *e, di_pair_tally *out)
{
    const di_batch *batch = e->batch;
    const double *teacher = e->teacher && !e->sparse ? e->pair_nats + batch->max_sequences : NULL;
    for (int64_t s = 0; s < batch->sequences; s++)
        if (batch->sides[s] == DISTILL_CHOSEN)
            di_pair_tally_count(out, e->pair_nats + s, teacher ? teacher + s : NULL,
                                e->args->pair_reference ? e->args->pair_reference + batch->origins[s].number : NULL,
                                e->args->pair_beta);
}

static int32_t forward(evaluator *e, int64_t window, di_evaluation *out, dk_error *err)
{
    distill_batch batch;
    double begin = dk_seconds();
    int32_t rc;
    di_batch_view(e->batch, &batch);
    DK_TRY(di_session_forward(e->student, &batch, err));
    out->student_seconds += dk_seconds() - begin;
    begin = dk_seconds();
    if (e->teacher &&
        !di_teacher_side_recall(e->args->teacher_side, e->args->teacher, e->teacher, window, batch.row_count)) {
        DK_TRY(di_session_forward(e->teacher, &batch, err));
        di_teacher_side_keep(e->args->teacher_side, e->teacher, window, batch.row_count);
        out->teacher_seconds += dk_seconds() - begin;
    }
    memset(e->pair_nats, 0, (size_t)(2 * e->batch->max_sequences) * sizeof *e->pair_nats);
    for (int64_t first = 0; first < e->batch->rows; first += e->strip_rows) {
        int64_t count = e->batch->rows - first < e->strip_rows ? e->batch->rows - first : e->strip_rows;
        DK_TRY(strip(e, first, count, out, err));
    }
    count_pairs(e, &out->pairs);
    di_session_common(e->teacher, &out->common);
out:
    if (rc && di_names_sequence(err, batch.sequences)) di_batch_name_sample(e->batch, err->position, err);
    return rc;
}

/* ---- quantiles ---- */

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Sums become means; kl: of the same positions. */
static void finish(di_evaluation *out, float *kl, int64_t count)
{
    double n = out->tokens > 0 ? (double)out->tokens : 1;
    out->nats /= n;
    out->teacher_nats /= n;
    out->kl_mean /= n;
    out->top1_agreement /= n;
    out->acceptance /= n;
    if (count == 0) return;
    qsort(kl, (size_t)count, sizeof *kl, ascending);
    out->kl_median = (double)kl[(count - 1) / 2];
    out->kl_p99 = (double)kl[(int64_t)ceil(0.99 * (double)count) - 1];
}

/* The sums of a source go into those of the whole. */
static void add_source(di_evaluation *out, const di_evaluation *source)
{
    out->tokens += source->tokens;
    out->nats += source->nats;
    out->teacher_nats += source->teacher_nats;
    out->kl_mean += source->kl_mean;
    out->top1_agreement += source->top1_agreement;
    out->acceptance += source->acceptance;
    out->floored += source->floored;
    di_calibration_add(&out->calibration, &source->calibration);
    di_calibration_add(&out->teacher_calibration, &source->teacher_calibration);
    di_common_add(&out->common, &source->common);
    di_pair_tally_add(&out->pairs, &source->pairs);
    out->student_seconds += source->student_seconds;
    out->teacher_seconds += source->teacher_seconds;
    if (source->text_bytes < 0) out->text_bytes = -1;
    else if (out->text_bytes >= 0) out->text_bytes += source->text_bytes;
}

static void keep_source(di_evaluation *out, const di_evaluation *source, const char *name)
{
    if (out->source_count == DI_SCORED_SOURCES) return;
    out->sources[out->source_count++] =
        (di_source_scores){name,           source->tokens,         source->text_bytes, source->floored,
                           source->nats,   source->teacher_nats,   source->kl_mean,    source->kl_median,
                           source->kl_p99, source->top1_agreement, source->acceptance};
}

int32_t di_evaluate_check(di_dataset *data, const dk_model *student, di_teacher *teacher, dk_error *err)
{
    const dk_model *models[2] = {student, teacher ? di_teacher_model(teacher) : NULL};
    int64_t windows = 0, length = 0;
    int32_t rc;
    DK_TRY(di_dataset_get_i64(data, "windows", &windows, err));
    if (windows < 0)
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "a stream cannot be evaluated on: give a file or a dataset of known count");
    DK_TRY(di_dataset_get_i64(data, "max_length", &length, err));
    for (int i = 0; i < 2; i++)
        if (models[i] && models[i]->config.max_positions && length > models[i]->config.max_positions)
            return dk_fail(err, DK_E_MISMATCH,
                           "a held-out sample has %lld tokens, the %s's context is %lld: lower data.sequence_length",
                           (long long)length, i ? "teacher" : "student", (long long)models[i]->config.max_positions);
out:
    return rc;
}

/* Where nobody watches, the log says now and then how far it is. */
typedef struct teller {
    double begin, last;
} teller;

static void tell(const evaluator *e, teller *t, int64_t done, int64_t total)
{
    double now = dk_seconds();
    if (e->args->progress || done == 0 || now - t->last < 2) return;
    t->last = now;
    dk_log(e->host, DK_LOG_INFO, "evaluate", "evaluating: %d %%, %d s left", (int)(100 * done / total),
           (int)((now - t->begin) * (double)(total - done) / (double)done + 0.5));
}

static int32_t check_cancel(const evaluator *e, int64_t total, dk_error *err)
{
    const di_evaluate_args *args = e->args;
    if (args->meter) di_meter_poll(args->meter);
    if (!(args->cancel && *args->cancel) && !dk_host_cancelled(e->host) &&
        !(args->progress && args->progress(args->user, e->windows, total)))
        return DK_OK;
    return dk_fail(err, DK_E_CANCELLED, "evaluation was cancelled after %lld of %lld windows", (long long)e->windows,
                   (long long)total);
}

/* Several ranks score batches in turn. */
static int32_t is_own(evaluator *e) { return e->turn++ % dk_ranks(e->host) == dk_rank(e->host); }

static int64_t tokens_of_batch(const evaluator *e)
{
    int64_t tokens = 0;
    for (int64_t r = 0; r < e->batch->rows; r++)
        tokens += e->batch->sides[e->batch->row_sequence[r]] != DISTILL_REJECTED;
    return tokens;
}

/* Windows [first, first + count), which are those of a source; limit: of tokens, 0 = none. */
static int32_t score(evaluator *e, int64_t first, int64_t count, int64_t limit, teller *watch, di_evaluation *out,
                     dk_error *err)
{
    int64_t total = 0, tokens = 0;
    int32_t rc;
    DK_TRY(di_dataset_get_i64(e->args->data, "windows", &total, err));
    for (int64_t done = 0; done < count; done += WINDOWS) {
        e->windows = first + done;
        DK_TRY(check_cancel(e, total, err));
        tell(e, watch, e->windows, total);
        DK_TRY(di_dataset_windows(e->args->data, e->windows, count - done < WINDOWS ? count - done : WINDOWS, e->batch,
                                  err));
        if (is_own(e)) DK_TRY(forward(e, e->windows, out, err));
        tokens += tokens_of_batch(e);
        if (limit && tokens >= limit && done + WINDOWS < count) {
            out->text_bytes = -1; /* counted for the whole only */
            break;
        }
    }
out:
    return rc;
}

/* Its share of the tokens that are to be read. */
static int32_t limit_of(const evaluator *e, const di_dataset *source, int64_t *limit, dk_error *err)
{
    int64_t all = 0, own = 0;
    int32_t rc;
    DK_TRY(di_dataset_get_i64(e->args->data, "learnt", &all, err));
    DK_TRY(di_dataset_get_i64(source, "learnt", &own, err));
    *limit = (int64_t)ceil((double)e->args->tokens * ((double)own / (double)all));
out:
    return rc;
}

static int32_t score_sources(evaluator *e, di_evaluation *out, dk_error *err)
{
    const int64_t sources = di_dataset_sources(e->args->data);
    teller watch = {dk_seconds(), dk_seconds()};
    int64_t first = 0, windows = 0, limit = 0;
    int32_t rc = DK_OK;
    for (int64_t s = 0; s < sources; s++, first += windows) {
        const di_dataset *source = di_dataset_source(e->args->data, s);
        const int64_t kl_first = e->kl_count;
        di_distances distances = {&e->kl, &e->kl_count, &e->kl_capacity};
        di_evaluation part = {.has_teacher = e->teacher != NULL};
        DK_TRY(di_dataset_get_i64(source, "windows", &windows, err));
        DK_TRY(di_dataset_text_bytes(source, &part.text_bytes, err));
        DK_TRY(limit_of(e, source, &limit, err));
        rc = score(e, first, windows, limit, &watch, &part, err);
        DK_TRY(di_evaluation_meet(e->host, rc, &part, &distances, kl_first, err));
        add_source(out, &part);
        if (sources == 1) break;
        finish(&part, e->kl ? e->kl + kl_first : NULL, e->kl_count - kl_first);
        keep_source(out, &part, di_dataset_name(source));
    }
out:
    return rc;
}

int32_t di_evaluate(const di_evaluate_args *args, di_evaluation *out, dk_error *err)
{
    evaluator e = {.args = args, .host = args->backend->host};
    di_evaluation result = {.has_teacher = args->teacher != NULL};
    double begin = dk_seconds();
    int32_t rc;
    rc = dk_queue_open(&e.queue, args->backend, err);
    if (rc == DK_OK) rc = di_evaluate_check(args->data, di_teacher_model(args->student), args->teacher, err);
    if (rc == DK_OK) rc = create(&e, err);
    DK_TRY(dk_ranks_agree(e.host, rc, err));
    if (e.teacher) {
        result.teacher_kind = di_session_source(e.teacher)->kind;
        result.without_entropy = result.teacher_kind == DISTILL_SAMPLED && !di_session_source(e.teacher)->has_entropy;
        result.temperature = e.sparse ? di_session_source(e.teacher)->temperature : 1;
    }
    if (args->detail) di_detail_begin(args->detail, result.has_teacher, result.teacher_kind);
    DK_TRY(score_sources(&e, &result, err));
    if (args->detail) DK_TRY(di_detail_meet(args->detail, err));
    if (result.tokens == 0) {
        rc = dk_fail(err, DK_E_INVALID, "the held-out data has no token to score");
        goto out;
    }
    if ((rc = di_common_check(&result.common, err)) != DK_OK) {
        dk_error_context(err, "the held-out data");
        goto out;
    }
    finish(&result, e.kl, e.kl_count);
    result.precision = args->precision;
    result.seconds = dk_seconds() - begin;
    *out = result;
out:
    destroy(&e);
    return rc;
}
