/* teachers.c - what each of several teachers is worth on held-out data: by itself, to the student, against the others.
 * Each is asked at temperature 1, without its own; strip by strip, one for each and one for the student, together
 * within the memory for strips. */
#include "evaluate/teachers.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "loss/builtin.h"
#include "loss/loss.h"
#include "loss/measure.h"
#include "target/host_rows.h"

enum { WINDOWS = 8 }; /* per forward, as evaluate.c has them */

typedef struct asked {
    di_session *session; /* NULL = it could not say */
    dk_view strip;       /* of a dense one */
    di_staging copied;
    float *rows; /* of the strip: logits, then log-probabilities */
    int64_t stride;
    di_sparse_check *sparse; /* NULL = dense */
    const distill_target *target;
} asked;

typedef struct said { /* of one row by one teacher */
    di_measured measured;
    double disagreement; /* mean over the other dense ones */
} said;

typedef struct panel {
    const di_evaluate_args *args;
    dk_host *host;
    dk_queue queue;
    di_batch *batch;
    dk_arena arena;
    di_session *student;
    dk_view student_strip;
    di_staging student_copied;
    const float *student_rows;
    int64_t student_stride;
    asked *teachers; /* [count] */
    said *rows;      /* [strip_rows, count] */
    int64_t count, strip_rows, vocab;
    int64_t first; /* row of the strip under work */
    int64_t windows;
    di_teachers_evaluation *out;
} panel;

static int32_t is_dense(const asked *a) { return a->session && !a->sparse; }

/* ---- who is asked ---- */

/* What is not there, or cannot be said by this kind, is this teacher's alone. */
static int32_t excuse(panel *p, int64_t index, int32_t rc, dk_error *err)
{
    if (rc != DK_E_NOT_FOUND && rc != DK_E_UNSUPPORTED) return rc;
    snprintf(p->out->teachers[index].problem, sizeof p->out->teachers[index].problem, "%.190s", err->message);
    di_session_free(p->teachers[index].session);
    p->teachers[index].session = NULL;
    dk_error_clear(err);
    return DK_OK;
}

static int32_t open_one(panel *p, int64_t index, int64_t tokens, int64_t sequences, dk_error *err)
{
    asked *a = &p->teachers[index];
    di_scored_teacher *told = &p->out->teachers[index];
    di_teacher *teacher = NULL;
    const char *name = NULL;
    int32_t rc;
    di_teacher_part(p->args->teacher, index, &teacher, &name);
    snprintf(told->name, sizeof told->name, "%s", name);
    told->kind = di_teacher_form(teacher)->kind;
    told->without_entropy = told->kind == DISTILL_SAMPLED && !di_teacher_form(teacher)->entropy;
    rc = excuse(p, index, di_session_create(teacher, tokens, sequences, tokens, &a->session, err), err);
    if (rc != DK_OK || !a->session) return rc;
    di_session_set_step(a->session, p->args->step);
    di_session_set_precision(a->session, p->args->precision);
    const di_source *source = di_session_source(a->session);
    told->kind = source->kind;
    told->without_entropy = source->kind == DISTILL_SAMPLED && !source->has_entropy;
    told->temperature = source->kind == DISTILL_DENSE ? 1 : source->temperature;
    if (source->vocab_valid > 0 && source->vocab_valid < p->vocab) p->vocab = source->vocab_valid;
    return DK_OK;
}

static int32_t plan_strips(panel *p, int64_t tokens, dk_error *err)
{
    const int64_t width = di_session_source(p->student)->width;
    int64_t all = width;
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < p->count; i++) {
        asked *a = &p->teachers[i];
        if (!a->session) continue;
        if (di_session_source(a->session)->kind == DISTILL_DENSE) all += di_session_source(a->session)->width;
        else DK_TRY(di_sparse_check_create(p->host, p->vocab, &a->sparse, err));
    }
    DK_TRY(di_strip_rows(p->args->memory, all * (int64_t)dk_dtype_size(p->args->backend->real), &p->strip_rows, err));
    if (p->strip_rows > tokens) p->strip_rows = tokens;
    dk_arena_init(&p->arena, p->args->backend);
    for (int pass = 0; pass < 2; pass++) {
        p->student_strip = dk_arena_2d(&p->arena, p->args->backend->real, p->strip_rows, width);
        for (int64_t i = 0; i < p->count; i++)
            if (is_dense(&p->teachers[i]))
                p->teachers[i].strip = dk_arena_2d(&p->arena, p->args->backend->real, p->strip_rows,
                                                   di_session_source(p->teachers[i].session)->width);
        if (pass == 0) DK_TRY(dk_arena_commit(&p->arena, err));
    }
    DK_TRY(dk_new(p->host, p->strip_rows * p->count, &p->rows, err));
out:
    return rc;
}

static int32_t open_panel(panel *p, dk_error *err)
{
    int64_t tokens, sequences;
    int32_t rc;
    DK_TRY(dk_queue_open(&p->queue, p->args->backend, err));
    DK_TRY(di_batch_create(p->args->data, WINDOWS, &p->batch, err));
    tokens = p->batch->max_tokens;
    sequences = p->batch->max_sequences;
    DK_TRY(dk_new(p->host, p->count, &p->teachers, err));
    DK_TRY(di_session_create(p->args->student, tokens, sequences, tokens, &p->student, err));
    di_session_set_precision(p->student, p->args->precision);
    if (di_session_source(p->student)->kind != DISTILL_DENSE)
        DK_TRY(dk_fail(err, DK_E_UNSUPPORTED, "evaluation needs the student's logits, and it gives %s",
                       di_kind_name(di_session_source(p->student)->kind)));
    p->vocab = di_session_source(p->student)->vocab_valid;
    for (int64_t i = 0; i < p->count; i++) DK_TRY(open_one(p, i, tokens, sequences, err));
    DK_TRY(plan_strips(p, tokens, err));
out:
    return rc;
}

static void close_panel(panel *p)
{
    for (int64_t i = 0; p->teachers && i < p->count; i++) {
        di_session_free(p->teachers[i].session);
        di_staging_free(p->host, &p->teachers[i].copied);
        di_sparse_check_free(p->teachers[i].sparse);
    }
    di_session_free(p->student);
    di_staging_free(p->host, &p->student_copied);
    di_batch_free(p->batch);
    dk_arena_free(&p->arena);
    dk_queue_close(&p->queue);
    dk_free(p->host, p->teachers);
    dk_free(p->host, p->rows);
}

/* ---- rows of a strip -> numbers ---- */

/* Jensen-Shannon: half of KL(p||m) and KL(q||m), m their mean; nats. */
static double divergence(const float *log_p, const float *log_q, int64_t n)
{
    double sum = 0;
    for (int64_t v = 0; v < n; v++) {
        const double a = (double)log_p[v], b = (double)log_q[v], p = exp(a), q = exp(b);
        const double log_m = log((p + q) / 2);
        if (p > 0) sum += p * (a - log_m);
        if (q > 0) sum += q * (b - log_m);
    }
    return sum / 2;
}

static void measure_one(const panel *p, int64_t r, int64_t index, said *out)
{
    const di_rows *kernels = di_rows_for(p->args->backend->isa);
    asked *a = &p->teachers[index];
    const di_source *source = di_session_source(a->session);
    const di_measure strip = {.isa = p->args->backend->isa,
                              .vocab = p->vocab,
                              .temperature = source->temperature,
                              .labels = p->batch->labels + p->first,
                              .student = p->student_rows,
                              .student_stride = p->student_stride,
                              .teacher = a->sparse ? NULL : a->rows,
                              .teacher_stride = a->stride,
                              .target = a->target};
    di_logits logits = {0};
    di_measure_row(&strip, r, &out->measured);
    if (a->sparse) return;
    kernels->log_sum(a->rows + r * a->stride, p->vocab, 1 / source->temperature, &logits);
    kernels->log_softmax(&logits, p->vocab, a->rows + r * a->stride);
}

static void measure_rows(void *context, int64_t begin, int64_t end)
{
    panel *p = context;
    for (int64_t r = begin; r < end; r++) {
        said *row = p->rows + r * p->count;
        int64_t dense = 0;
        for (int64_t i = 0; i < p->count; i++) {
            row[i].disagreement = 0;
            if (p->teachers[i].session) measure_one(p, r, i, &row[i]);
            dense += is_dense(&p->teachers[i]);
        }
        for (int64_t i = 0; i < p->count; i++)
            for (int64_t k = 0; k < i && is_dense(&p->teachers[i]); k++) {
                const asked *a = &p->teachers[i], *b = &p->teachers[k];
                if (!is_dense(b)) continue;
                const double js = divergence(a->rows + r * a->stride, b->rows + r * b->stride, p->vocab);
                row[i].disagreement += js / (double)(dense - 1);
                row[k].disagreement += js / (double)(dense - 1);
            }
    }
}

/* ---- strips ---- */

static int32_t fill_one(panel *p, int64_t index, int64_t count, dk_error *err)
{
    asked *a = &p->teachers[index];
    const di_source *source = di_session_source(a->session);
    const distill_target *none = NULL;
    di_host_rows rows;
    int32_t rc = DK_OK;
    if (!a->sparse) {
        const dk_view view = dk_view_rows(a->strip, 0, count);
        DK_TRY(source->rows(source->self, p->first, count, view, &none, err));
        DK_TRY(di_host_read(&p->queue, &a->copied, view, &rows, err));
        a->rows = (float *)(void *)(uintptr_t)rows.data; /* the strip, or a copy: ours either way */
        a->stride = rows.stride;
        goto out;
    }
    DK_TRY(source->rows(source->self, p->first, count, dk_view_none(), &a->target, err));
    const di_sparse_rules rules = {p->vocab, p->first, NULL, source->rounding};
    for (int64_t r = 0; r < count; r++) DK_TRY(di_sparse_check_row(a->sparse, a->target, r, &rules, err));
out:
    return rc;
}

static int32_t fill(panel *p, int64_t count, dk_error *err)
{
    const di_source *student = di_session_source(p->student);
    const dk_view view = dk_view_rows(p->student_strip, 0, count);
    const distill_target *none = NULL;
    di_host_rows rows;
    int32_t rc;
    DK_TRY(student->rows(student->self, p->first, count, view, &none, err));
    DK_TRY(di_host_read(&p->queue, &p->student_copied, view, &rows, err));
    p->student_rows = (const float *)(const void *)rows.data;
    p->student_stride = rows.stride;
    for (int64_t i = 0; i < p->count; i++)
        if (p->teachers[i].session) DK_TRY(excuse(p, i, fill_one(p, i, count, err), err));
out:
    return rc;
}

static int32_t add_row(const panel *p, int64_t row, int64_t index, di_teacher_scores *into, dk_error *err)
{
    const said *s = &p->rows[(row - p->first) * p->count + index];
    if (!isfinite(s->measured.kl) || !isfinite(s->measured.teacher_nats) || !isfinite(s->disagreement))
        return dk_fail(err, DK_E_NUMERIC,
                       "teacher %s: what it says of token %d, row %lld of the window at %lld, is no "
                       "number",
                       p->out->teachers[index].name, (int)p->batch->labels[row], (long long)row, (long long)p->windows);
    into->tokens++;
    into->nats += s->measured.teacher_nats;
    into->kl += s->measured.kl;
    into->agreement += s->measured.agree > 0;
    into->disagreement += s->disagreement;
    return DK_OK;
}

static int32_t forward(panel *p, int64_t source, dk_error *err)
{
    distill_batch batch;
    int32_t rc;
    di_batch_view(p->batch, &batch);
    DK_TRY(di_session_forward(p->student, &batch, err));
    for (int64_t i = 0; i < p->count; i++)
        if (p->teachers[i].session) DK_TRY(excuse(p, i, di_session_forward(p->teachers[i].session, &batch, err), err));
    for (p->first = 0; p->first < p->batch->rows; p->first += p->strip_rows) {
        const int64_t left = p->batch->rows - p->first, count = left < p->strip_rows ? left : p->strip_rows;
        DK_TRY(fill(p, count, err));
        dk_parallel_for(p->host, count, 16, measure_rows, p);
        DK_TRY(dk_parallel_check(p->host, err));
        for (int64_t r = 0; r < count; r++)
            for (int64_t i = 0; i < p->count; i++)
                if (p->teachers[i].session)
                    DK_TRY(add_row(p, p->first + r, i, &p->out->teachers[i].sources[source], err));
    }
out:
    return rc;
}

/* ---- the data ---- */

static int32_t check_cancel(const panel *p, int64_t total, dk_error *err)
{
    const di_evaluate_args *args = p->args;
    if (args->meter) di_meter_poll(args->meter);
    if (!(args->cancel && *args->cancel) && !dk_host_cancelled(p->host) &&
        !(args->progress && args->progress(args->user, p->windows, total)))
        return DK_OK;
    return dk_fail(err, DK_E_CANCELLED, "evaluation was cancelled after %lld of %lld windows", (long long)p->windows,
                   (long long)total);
}

/* Windows [first, first + count) of a source; as many of its tokens as evaluate.c reads. */
static int32_t score(panel *p, int64_t first, int64_t count, int64_t source, int64_t limit, dk_error *err)
{
    int64_t total = 0, tokens = 0;
    int32_t rc;
    DK_TRY(di_dataset_get_i64(p->args->data, "windows", &total, err));
    for (int64_t done = 0; done < count && !(limit && tokens >= limit); done += WINDOWS) {
        p->windows = first + done;
        DK_TRY(check_cancel(p, total, err));
        DK_TRY(di_dataset_windows(p->args->data, p->windows, count - done < WINDOWS ? count - done : WINDOWS, p->batch,
                                  err));
        DK_TRY(forward(p, source, err));
        tokens += p->batch->rows;
    }
out:
    return rc;
}

static int32_t score_sources(panel *p, dk_error *err)
{
    int64_t first = 0, windows = 0, all = 0, own = 0;
    int32_t rc = DK_OK;
    DK_TRY(di_dataset_get_i64(p->args->data, "learnt", &all, err));
    for (int64_t s = 0; s < di_dataset_sources(p->args->data); s++, first += windows) {
        const di_dataset *source = di_dataset_source(p->args->data, s);
        DK_TRY(di_dataset_get_i64(source, "windows", &windows, err));
        DK_TRY(di_dataset_get_i64(source, "learnt", &own, err));
        const int64_t limit = (int64_t)ceil((double)p->args->tokens * ((double)own / (double)all));
        DK_TRY(score(p, first, windows, s, limit, err));
    }
out:
    return rc;
}

static void finish(di_scored_teacher *teacher, int64_t sources)
{
    teacher->whole = (di_teacher_scores){0};
    for (int64_t s = 0; s < sources; s++) {
        di_teacher_scores *at = &teacher->sources[s], *whole = &teacher->whole;
        const double n = at->tokens > 0 ? (double)at->tokens : 1;
        whole->tokens += at->tokens;
        whole->nats += at->nats;
        whole->kl += at->kl;
        whole->agreement += at->agreement;
        whole->disagreement += at->disagreement;
        at->nats /= n, at->kl /= n, at->agreement /= n, at->disagreement /= n;
    }
    const double n = teacher->whole.tokens > 0 ? (double)teacher->whole.tokens : 1;
    teacher->whole.nats /= n, teacher->whole.kl /= n, teacher->whole.agreement /= n, teacher->whole.disagreement /= n;
}

static int64_t count_parts(const di_teacher *teacher)
{
    di_teacher *part;
    const char *name;
    int64_t count = 0;
    while (teacher && di_teacher_part(teacher, count, &part, &name)) count++;
    return count;
}

int32_t di_evaluate_teachers(const di_evaluate_args *args, di_teachers_evaluation *out, dk_error *err)
{
    panel p = {.args = args, .host = args->backend->host, .count = count_parts(args->teacher), .out = out};
    const int64_t sources = di_dataset_sources(args->data);
    dk_error own;
    int32_t rc;
    if (!err) err = &own;
    *out = (di_teachers_evaluation){.host = p.host};
    if (!p.count) return DK_OK;
    DK_TRY(dk_new(p.host, p.count, &out->teachers, err));
    out->count = p.count;
    out->source_count = sources;
    for (int64_t i = 0; i < p.count; i++) DK_TRY(dk_new(p.host, sources, &out->teachers[i].sources, err));
    DK_TRY(dk_new(p.host, sources, &out->source_names, err));
    for (int64_t s = 0; s < sources; s++) out->source_names[s] = di_dataset_name(di_dataset_source(args->data, s));
    DK_TRY(open_panel(&p, err));
    DK_TRY(score_sources(&p, err));
    for (int64_t i = 0; i < p.count; i++) {
        finish(&out->teachers[i], sources);
        if (is_dense(&p.teachers[i])) out->dense++;
    }
out:
    close_panel(&p);
    if (rc != DK_OK) di_teachers_evaluation_free(out);
    return rc;
}

void di_teachers_evaluation_free(di_teachers_evaluation *e)
{
    for (int64_t i = 0; e->teachers && i < e->count; i++) dk_free(e->host, e->teachers[i].sources);
    if (e->host) dk_free(e->host, e->teachers);
    if (e->host) dk_free(e->host, (void *)(uintptr_t)e->source_names);
    *e = (di_teachers_evaluation){0};
}

/* ---- as JSON ---- */

static void number(dk_strbuf *out, const char *name, double value)
{
    dk_strbuf_printf(out, ",\"%s\":", name);
    if (isfinite(value)) dk_strbuf_f64(out, value);
    else dk_strbuf_puts(out, "null");
}

static void put_scores(const di_teachers_evaluation *e, const di_scored_teacher *t, const di_teacher_scores *s,
                       dk_strbuf *out)
{
    dk_strbuf_printf(out, "\"tokens\":%lld", (long long)s->tokens);
    if (t->kind == DISTILL_DENSE) number(out, "perplexity", exp(s->nats));
    if (t->kind == DISTILL_DENSE) number(out, "nats", s->nats);
    number(out, t->without_entropy ? "soft_cross_entropy" : "forward_kl", s->kl);
    if (t->kind != DISTILL_SAMPLED) number(out, "top1_agreement", s->agreement);
    if (t->kind == DISTILL_DENSE && e->dense > 1) number(out, "disagreement", s->disagreement);
}

static void put_teacher(const di_teachers_evaluation *e, const di_scored_teacher *t, dk_strbuf *out)
{
    dk_strbuf_json(out, t->name, strlen(t->name));
    dk_strbuf_printf(out, ":{\"target\":\"%s\"", di_kind_name(t->kind));
    if (*t->problem) {
        dk_strbuf_puts(out, ",\"problem\":");
        dk_strbuf_json(out, t->problem, strlen(t->problem));
        dk_strbuf_puts(out, "}");
        return;
    }
    if (t->kind != DISTILL_DENSE) number(out, "temperature", t->temperature);
    dk_strbuf_puts(out, ",");
    put_scores(e, t, &t->whole, out);
    for (int64_t s = 0; e->source_count > 1 && s < e->source_count; s++) {
        dk_strbuf_puts(out, s ? "," : ",\"sources\":{");
        dk_strbuf_json(out, e->source_names[s], strlen(e->source_names[s]));
        dk_strbuf_puts(out, ":{");
        put_scores(e, t, &t->sources[s], out);
        dk_strbuf_puts(out, s + 1 < e->source_count ? "}" : "}}");
    }
    dk_strbuf_puts(out, "}");
}

void di_teachers_json(const di_teachers_evaluation *e, dk_strbuf *out)
{
    double sum = 0;
    if (!e->count) return;
    dk_strbuf_puts(out, ",\"teachers\":{");
    for (int64_t i = 0; i < e->count; i++) {
        const di_scored_teacher *t = &e->teachers[i];
        if (i) dk_strbuf_puts(out, ",");
        put_teacher(e, t, out);
        if (t->kind == DISTILL_DENSE && !*t->problem) sum += t->whole.disagreement;
    }
    dk_strbuf_puts(out, "}");
    if (e->dense > 1) number(out, "teacher_disagreement", sum / (double)e->dense);
}
