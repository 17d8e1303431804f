/* route_session.c - a route that scores: a batch is cut into one for each member that has samples in it; their rows
 * come back to where they stood in the batch. */
#include <math.h>
#include <string.h>

#include "teacher/route.h"

enum { HEIGHT = 256 }; /* rows at once, where a range holds rows of several members */

typedef struct part { /* of the batch: what one member is asked */
    di_session *session;
    distill_batch batch; /* in the work's arrays */
    int64_t tokens;
    int32_t begun;
    di_tally tally;
} part;

typedef struct work { /* a session's state */
    dk_queue queue;
    part *parts;         /* [count] */
    di_session **asked;  /* [count] of this batch; else NULL */
    di_prompts *prompts; /* by prompt_perplexity; else NULL, as are */
    di_scorer **scorers; /* [count] that the parts' sessions are of */
    int32_t *member_of;  /* [max_sequences]; -1 = nothing is asked of the sequence */
    /* part after part */
    int32_t *ids;                 /* [max_tokens] */
    int64_t *offsets;             /* [max_sequences + count] */
    const char **sources, **tags; /* [max_sequences] */
    int64_t *rows;                /* [max_rows] */
    float *weights;               /* [max_rows] */
    /* rows of the batch */
    int32_t *row_member; /* [max_rows] */
    int64_t *row_number; /* [max_rows] in its part */
    /* logits of a member on their way to the strip */
    dk_buffer *scratch; /* [temperatures, height, widest] */
    int64_t height, widest, temperatures;
    dk_buffer *order;      /* I32 [height] rows of the strip */
    int32_t *order_memory; /* the same on the host */
    /* sparse targets: [max_rows, width] */
    int32_t *target_ids;
    float *values, *beside;
    distill_tensor value_tensor, id_tensor, beside_tensor;
    int64_t value_shape[2], row_shape[1];
    distill_target out;
} work;

static const di_route *route_of(const di_session *s) { return s->teacher->state; }
static size_t real_size(const di_session *s) { return dk_dtype_size(s->teacher->backend->real); }

void di_route_session_free(di_session *s)
{
    work *w = s->state;
    dk_backend *backend = s->teacher->backend;
    dk_host *host = s->teacher->host;
    for (int64_t i = 0; w->parts && i < route_of(s)->count; i++) {
        if (w->scorers) di_scorer_free(w->scorers[i]);
        else di_session_free(w->parts[i].session);
    }
    di_prompts_free(w->prompts);
    if (w->scratch) backend->ops->buffer_free(backend, w->scratch);
    if (w->order) backend->ops->buffer_free(backend, w->order);
    void *blocks[] = {w->asked,  w->parts,      w->member_of,    w->ids,        w->offsets,    w->sources,
                      w->tags,   w->rows,       w->weights,      w->row_member, w->row_number, w->values,
                      w->beside, w->target_ids, w->order_memory, w->scorers};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) dk_free(host, blocks[i]);
    dk_queue_close(&w->queue);
    dk_free(host, w);
    s->state = NULL;
}

/* ---- a batch becomes one for each member ---- */

static void count_parts(const di_session *s, work *w)
{
    const di_route *route = route_of(s);
    const distill_batch *batch = &s->batch;
    int64_t sequence = 0;
    for (int64_t m = 0; m < route->count; m++) {
        DISTILL_INIT(&w->parts[m].batch);
        w->parts[m].tokens = 0;
    }
    for (int64_t i = 0; i < batch->sequences; i++) {
        if (w->member_of[i] < 0) continue;
        part *to = &w->parts[w->member_of[i]];
        to->batch.sequences++;
        to->tokens += batch->offsets[i + 1] - batch->offsets[i];
    }
    for (int64_t r = 0; r < s->row_count; r++) {
        while (batch->offsets[sequence + 1] <= s->places[r]) sequence++;
        w->row_member[r] = w->member_of[sequence];
        w->row_number[r] = w->parts[w->row_member[r]].batch.row_count++;
    }
}

/* Each part has its share of the arrays; sequences, tokens and rows are counted anew as they arrive there. */
static void lay_out(const di_session *s, work *w)
{
    int64_t tokens = 0, sequences = 0, rows = 0;
    for (int64_t m = 0; m < route_of(s)->count; m++) {
        part *to = &w->parts[m];
        to->batch.ids = w->ids + tokens;
        to->batch.offsets = w->offsets + sequences + m;
        to->batch.rows = w->rows + rows;
        to->batch.weights = s->batch.weights ? w->weights + rows : NULL;
        to->batch.sources = s->batch.sources ? w->sources + sequences : NULL;
        to->batch.tags = s->batch.tags ? w->tags + sequences : NULL;
        w->offsets[sequences + m] = 0;
        tokens += to->tokens;
        sequences += to->batch.sequences;
        rows += to->batch.row_count;
        to->tokens = to->batch.sequences = to->batch.row_count = 0;
    }
}

static void put_sequence(const di_session *s, work *w, int64_t sequence)
{
    const int64_t begin = s->batch.offsets[sequence], count = s->batch.offsets[sequence + 1] - begin;
    part *to = &w->parts[w->member_of[sequence]];
    const int64_t at = to->batch.sequences++;
    memcpy(w->ids + (to->batch.ids - w->ids) + to->tokens, s->batch.ids + begin, (size_t)count * sizeof *w->ids);
    to->tokens += count;
    w->offsets[to->batch.offsets - w->offsets + at + 1] = to->tokens;
    if (s->batch.sources)
        w->sources[to->batch.sources - (const char *const *)w->sources + at] = s->batch.sources[sequence];
    if (s->batch.tags) w->tags[to->batch.tags - (const char *const *)w->tags + at] = s->batch.tags[sequence];
}

static void put_row(const di_session *s, work *w, int64_t row, int64_t sequence)
{
    part *to = &w->parts[w->row_member[row]];
    const int64_t at = to->batch.rows - w->rows + to->batch.row_count++;
    const int64_t begin = to->batch.offsets[to->batch.sequences - 1];
    w->rows[at] = begin + s->places[row] - s->batch.offsets[sequence];
    if (s->batch.weights) w->weights[at] = s->batch.weights[row];
}

static void split(di_session *s, work *w)
{
    int64_t row = 0;
    count_parts(s, w);
    lay_out(s, w);
    for (int64_t i = 0; i < s->batch.sequences; i++) {
        if (w->member_of[i] < 0) continue;
        put_sequence(s, w, i);
        for (; row < s->row_count && s->places[row] < s->batch.offsets[i + 1]; row++) put_row(s, w, row, i);
    }
}

static int32_t name_member(const di_session *s, int64_t member, int32_t rc, dk_error *err)
{
    const char *name = route_of(s)->members[member].name;
    const work *w = s->state;
    int64_t sequence = 0, of_part = -1;
    if (!rc) return DK_OK;
    if (!di_names_sequence(err, w->parts[member].batch.sequences)) {
        dk_error_context(err, "teacher %s, of its part of the batch", name);
        return rc;
    }
    while ((of_part += w->member_of[sequence] == member) < err->position) sequence++;
    err->position = sequence;
    dk_error_context(err, "sequence %lld, teacher %s, of its part of the batch", (long long)sequence, name);
    return rc;
}

static int32_t begin_parts(di_session *s, work *w, dk_error *err)
{
    int32_t rc = DK_OK;
    split(s, w);
    for (int64_t m = 0; m < route_of(s)->count; m++) {
        part *at = &w->parts[m];
        if (!at->batch.row_count) continue;
        di_session_follow(at->session, s);
        DK_TRY(name_member(s, m, di_session_begin(at->session, &at->batch, err), err));
        at->begun = 1;
    }
out:
    if (rc) di_route_end(s);
    return rc;
}

int32_t di_route_begin(di_session *s, dk_error *err)
{
    work *w = s->state;
    int32_t rc;
    if (w->prompts) return DK_OK; /* who is asked comes out when the batch is due */
    DK_TRY(di_route_choose(s->teacher->state, &s->batch, s->places, s->row_count, w->member_of, err));
    DK_TRY(begin_parts(s, w, err));
out:
    return rc;
}

void di_route_end(di_session *s)
{
    work *w = s->state;
    for (int64_t m = 0; m < route_of(s)->count; m++) {
        di_session_drop(w->parts[m].session);
        w->parts[m].begun = 0;
        w->parts[m].tally = (di_tally){0};
    }
}

static int32_t choose_by_prompts(di_session *s, work *w, dk_error *err)
{
    int32_t rc;
    for (int64_t m = 0; m < route_of(s)->count; m++) di_session_follow(w->parts[m].session, s);
    DK_TRY(di_prompts_choose(w->prompts, w->scorers, &s->batch, s->places, s->row_count, w->member_of, err));
    DK_TRY(begin_parts(s, w, err));
out:
    return rc;
}

int32_t di_route_forward(di_session *s, dk_error *err)
{
    work *w = s->state;
    int32_t rc = DK_OK;
    int64_t failed = 0;
    if (w->prompts) DK_TRY(choose_by_prompts(s, w, err));
    for (int64_t m = 0; m < route_of(s)->count; m++) w->asked[m] = w->parts[m].begun ? w->parts[m].session : NULL;
    rc = di_members_collect(s, w->asked, route_of(s)->count, &failed, err);
    if (rc) rc = name_member(s, failed, rc, err);
out:
    return rc;
}

/* ---- rows of logits ---- */

/* Rows [first, first + count) that are of a member: how many, and the number of the first in its part. */
static int64_t rows_of(const work *w, int64_t member, int64_t first, int64_t count, int64_t *number)
{
    int64_t found = 0;
    for (int64_t r = first; r < first + count; r++) {
        if (w->row_member[r] != member) continue;
        if (!found++) *number = w->row_number[r];
    }
    return found;
}

/* A batch whose rows are asked for once more is counted once. */
static void count_rows(const di_session *s, work *w, int64_t first, int64_t count)
{
    int64_t number;
    for (int64_t m = 0; m < route_of(s)->count; m++) {
        if (first == 0) w->parts[m].tally = (di_tally){0};
        const int64_t mine = rows_of(w, m, first, count, &number);
        w->parts[m].tally.asked += mine;
        w->parts[m].tally.rows += count;
        w->parts[m].tally.weight += (double)mine;
    }
}

void di_route_tally(di_session *s, int64_t index, di_member_view *out)
{
    const work *w = s->state;
    out->session = w->parts[index].session;
    out->tally = w->parts[index].tally;
    if (w->prompts) out->flops = di_prompts_flops(w->prompts, index);
}

void di_route_common(const di_session *s, di_common *into)
{
    const work *w = s->state;
    for (int64_t m = 0; m < route_of(s)->count; m++)
        if (w->parts[m].begun) di_session_common(w->parts[m].session, into);
}

/* Logits, or log p at each temperature where that is what the route gives. */
static int32_t ask(di_session *s, int64_t member, int64_t number, int64_t count, int64_t n, const double *temperatures,
                   const dk_view *strips, dk_error *err)
{
    const di_route *route = route_of(s);
    work *w = s->state;
    const di_source *source = di_session_source(w->parts[member].session);
    const distill_target *none = NULL;
    int32_t rc;
    if (source->rows_at) return source->rows_at(source->self, number, count, n, temperatures, strips, err);
    DK_TRY(source->rows(source->self, number, count, strips[0], &none, err));
    for (int64_t i = n - 1; i >= 0 && route->formed; i--) /* the first strip holds the logits until its turn comes */
        w->queue.backend->ops->log_softmax(&w->queue, strips[0], s->source.vocab_valid,
                                           temperatures[i] / source->temperature, strips[i]);
out:
    return rc;
}

static int32_t reserve_scratch(di_session *s, int64_t temperatures, dk_error *err)
{
    work *w = s->state;
    dk_backend *backend = s->teacher->backend;
    if (temperatures <= w->temperatures) return DK_OK;
    if (w->scratch) backend->ops->buffer_free(backend, w->scratch);
    w->scratch = NULL;
    w->temperatures = 0;
    const int64_t bytes = temperatures * w->height * w->widest * (int64_t)real_size(s);
    const int32_t rc = backend->ops->buffer_create(backend, bytes, &w->scratch, err);
    if (!rc) w->temperatures = temperatures;
    return rc;
}

/* A member's rows of the range [first, first + count) go by way of the scratch to their places in the strips. */
static int32_t scatter(di_session *s, int64_t member, int64_t first, int64_t count, int64_t n,
                       const double *temperatures, const dk_view *strips, dk_error *err)
{
    work *w = s->state;
    const int64_t width = di_session_source(w->parts[member].session)->width;
    dk_view own[DI_TEMPERATURES];
    int64_t number = 0, found = 0;
    int32_t rc;
    const int64_t mine = rows_of(w, member, first, count, &number);
    for (int64_t i = 0; i < n; i++)
        own[i] = dk_view_2d(w->scratch, i * w->height * w->widest * (int64_t)real_size(s), s->teacher->backend->real,
                            mine, width);
    DK_TRY(ask(s, member, number, mine, n, temperatures, own, err));
    for (int64_t r = 0; r < count; r++)
        if (w->row_member[first + r] == member) w->order_memory[found++] = (int32_t)r;
    const dk_view order = dk_view_1d(w->order, 0, DK_I32, mine);
    w->queue.backend->ops->copy_in(&w->queue, order, w->order_memory);
    for (int64_t i = 0; i < n; i++)
        w->queue.backend->ops->scatter_rows(&w->queue, dk_view_columns(own[i], 0, s->source.width), order, strips[i],
                                            0);
    DK_TRY(dk_queue_wait(&w->queue, err));
out:
    return rc;
}

static int32_t some_rows(di_session *s, int64_t first, int64_t count, int64_t n, const double *temperatures,
                         const dk_view *strips, dk_error *err)
{
    work *w = s->state;
    int64_t number = 0;
    int32_t rc = DK_OK;
    for (int64_t m = 0; m < route_of(s)->count; m++) {
        const int64_t mine = rows_of(w, m, first, count, &number);
        if (!mine) continue;
        if (mine == count && di_session_source(w->parts[m].session)->width == s->source.width) {
            DK_TRY(name_member(s, m, ask(s, m, number, count, n, temperatures, strips, err), err));
            DK_TRY(dk_queue_wait(&w->queue, err));
            continue;
        }
        DK_TRY(reserve_scratch(s, n, err));
        DK_TRY(name_member(s, m, scatter(s, m, first, count, n, temperatures, strips, err), err));
    }
out:
    return rc;
}

static int32_t rows_at(void *self, int64_t first, int64_t count, int64_t n, const double *temperatures,
                       const dk_view *strips, dk_error *err)
{
    di_session *s = self;
    const work *w = s->state;
    dk_view parts[DI_TEMPERATURES];
    int32_t rc = DK_OK;
    if (n > DI_TEMPERATURES)
        return dk_fail(err, DK_E_UNSUPPORTED, "a route of teachers at %lld temperatures at once; %d are the most",
                       (long long)n, DI_TEMPERATURES);
    for (int64_t at = 0; at < count; at += w->height) {
        const int64_t some = count - at < w->height ? count - at : w->height;
        for (int64_t i = 0; i < n; i++) parts[i] = dk_view_rows(strips[i], at, some);
        DK_TRY(some_rows(s, first + at, some, n, temperatures, parts, err));
    }
    count_rows(s, s->state, first, count);
out:
    return rc;
}

static int32_t rows(void *self, int64_t first, int64_t count, dk_view strip, const distill_target **target,
                    dk_error *err)
{
    const di_session *s = self;
    if (target) *target = NULL;
    return rows_at(self, first, count, 1, &s->source.temperature, &strip, err);
}

/* ---- rows of sparse targets ---- */

static double mass_left(const float *log_p, const int32_t *ids, int64_t k)
{
    double sum = 0;
    for (int64_t j = 0; j < k; j++)
        if (ids[j] >= 0) sum += exp((double)log_p[j]);
    return sum < 1 ? log1p(-sum) : -(double)INFINITY;
}

/* Row `from` of a member's target becomes row `to` of the route's, whose unused slots are -1. */
static int32_t take_row(di_session *s, const distill_target *given, int64_t from, int64_t to, dk_error *err)
{
    work *w = s->state;
    const int64_t width = route_of(s)->shape[1], k = given->values ? given->values->shape[1] : 1;
    int32_t *ids = w->target_ids + to * width;
    float *values = w->values + to * width;
    int32_t rc;
    if (k > width)
        return dk_fail(err, DK_E_INVALID, "a target of %lld ids a row; its form says at most %lld", (long long)k,
                       (long long)width);
    DK_TRY(di_tensor_read_ids(given->ids, "ids", from, 1, ids, err));
    if (given->values) di_tensor_read_rows(given->values, from, 1, values);
    for (int64_t j = k; j < width; j++) {
        ids[j] = -1;
        values[j] = 0;
    }
    if (di_target_beside(given)) di_tensor_read_rows(di_target_beside(given), from, 1, &w->beside[to]);
    else if (given->kind == DISTILL_TOPK) w->beside[to] = (float)mass_left(values, ids, k);
out:
    return rc;
}

static int32_t sparse_rows(void *self, int64_t first, int64_t count, dk_view strip, const distill_target **target,
                           dk_error *err)
{
    di_session *s = self;
    work *w = s->state;
    int32_t rc = DK_OK;
    for (int64_t m = 0; m < route_of(s)->count; m++) {
        const di_source *source = di_session_source(w->parts[m].session);
        const distill_target *given = NULL;
        int64_t number = 0, from = 0;
        const int64_t mine = rows_of(w, m, first, count, &number);
        if (!mine) continue;
        DK_TRY(name_member(s, m, source->rows(source->self, number, mine, strip, &given, err), err));
        for (int64_t r = 0; r < count; r++)
            if (w->row_member[first + r] == m) DK_TRY(name_member(s, m, take_row(s, given, from++, r, err), err));
    }
    w->value_shape[0] = w->row_shape[0] = count;
    w->value_shape[1] = route_of(s)->shape[1];
    w->value_tensor = di_tensor_of(w->values, DISTILL_FLOAT, 32, 2, w->value_shape);
    w->id_tensor = di_tensor_of(w->target_ids, DISTILL_INT, 32, w->out.kind == DISTILL_ONE_HOT ? 1 : 2, w->value_shape);
    w->beside_tensor = di_tensor_of(w->beside, DISTILL_FLOAT, 32, 1, w->row_shape);
    if (target) *target = &w->out;
    count_rows(s, w, first, count);
out:
    return rc;
}

/* ---- a session ---- */

static int32_t open_part(di_session *s, work *w, int64_t member, dk_error *err)
{
    di_teacher *teacher = route_of(s)->members[member].teacher;
    const int64_t most = s->max_tokens > s->max_rows ? s->max_tokens : s->max_rows;
    part *at = &w->parts[member];
    int32_t rc = DK_OK;
    if (w->scorers) {
        DK_TRY(di_scorer_create(teacher, s->max_tokens, s->max_sequences, most, &w->scorers[member], err));
        at->session = di_scorer_session(w->scorers[member]);
    } else {
        DK_TRY(di_session_create(teacher, s->max_tokens, s->max_sequences, s->max_rows, &at->session, err));
    }
    if (di_session_source(at->session)->width > w->widest) w->widest = di_session_source(at->session)->width;
out:
    return rc;
}

static int32_t reserve_batch(di_session *s, work *w, dk_error *err)
{
    dk_host *host = s->teacher->host;
    int32_t rc;
    DK_TRY(dk_new(host, s->max_sequences, &w->member_of, err));
    DK_TRY(dk_new(host, s->max_tokens, &w->ids, err));
    DK_TRY(dk_new(host, s->max_sequences + route_of(s)->count, &w->offsets, err));
    DK_TRY(dk_new(host, s->max_sequences, &w->sources, err));
    DK_TRY(dk_new(host, s->max_sequences, &w->tags, err));
    DK_TRY(dk_new(host, s->max_rows, &w->rows, err));
    DK_TRY(dk_new(host, s->max_rows, &w->weights, err));
    DK_TRY(dk_new(host, s->max_rows, &w->row_member, err));
    DK_TRY(dk_new(host, s->max_rows, &w->row_number, err));
out:
    return rc;
}

static int32_t plan_dense(di_session *s, work *w, dk_error *err)
{
    dk_backend *backend = s->teacher->backend;
    int32_t rc;
    w->height = s->max_rows < HEIGHT ? s->max_rows : HEIGHT;
    DK_TRY(dk_new(s->teacher->host, w->height, &w->order_memory, err));
    DK_TRY(backend->ops->buffer_create(backend, w->height * (int64_t)sizeof(int32_t), &w->order, err));
    s->source.width = route_of(s)->shape[1];
    s->source.rows = rows;
    s->source.rows_at = route_of(s)->formed ? rows_at : NULL;
out:
    return rc;
}

static int32_t plan_sparse(di_session *s, work *w, dk_error *err)
{
    const int64_t width = route_of(s)->shape[1];
    dk_host *host = s->teacher->host;
    int32_t rc;
    DK_TRY(dk_new(host, s->max_rows * width, &w->values, err));
    DK_TRY(dk_new(host, s->max_rows * width, &w->target_ids, err));
    DK_TRY(dk_new(host, s->max_rows, &w->beside, err));
    w->out = route_of(s)->form;
    w->out.values = w->out.kind == DISTILL_ONE_HOT ? NULL : &w->value_tensor;
    w->out.ids = &w->id_tensor;
    di_target_set_beside(&w->out, w->out.kind == DISTILL_TOPK || w->out.entropy ? &w->beside_tensor : NULL);
    s->source.has_entropy = w->out.entropy != NULL;
    s->source.rows = sparse_rows;
    for (int64_t m = 0; m < route_of(s)->count; m++) {
        const di_source *source = di_session_source(w->parts[m].session);
        if (source->rounding > s->source.rounding) s->source.rounding = source->rounding;
    }
out:
    return rc;
}

int32_t di_route_session(di_session *s, dk_error *err)
{
    const di_route *route = route_of(s);
    work *w = NULL;
    int32_t rc;
    DK_TRY(dk_new(s->teacher->host, 1, &w, err));
    s->state = w;
    DK_TRY(dk_queue_open(&w->queue, s->teacher->backend, err));
    DK_TRY(dk_new(s->teacher->host, route->count, &w->parts, err));
    DK_TRY(dk_new(s->teacher->host, route->count, &w->asked, err));
    if (route->by == DI_ROUTE_PROMPT_PERPLEXITY) {
        DK_TRY(dk_new(s->teacher->host, route->count, &w->scorers, err));
        DK_TRY(
            di_prompts_create(s->teacher->state, s->teacher->host, s->max_tokens, s->max_sequences, &w->prompts, err));
    }
    for (int64_t m = 0; m < route->count; m++) DK_TRY(open_part(s, w, m, err));
    DK_TRY(reserve_batch(s, w, err));
    s->source = (di_source){.self = s,
                            .kind = route->form.kind,
                            .vocab_valid = di_teacher_vocab_valid(s->teacher),
                            .temperature = route->form.temperature};
    if (route->form.kind == DISTILL_DENSE) DK_TRY(plan_dense(s, w, err));
    else DK_TRY(plan_sparse(s, w, err));
out:
    return rc;
}
