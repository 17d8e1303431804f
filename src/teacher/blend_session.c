/* blend_session.c - a blend that scores: members one after another, each added to what stands in the strip, so that
 * there is one strip more and no sum over members anywhere else. Each token's weights need only running sums. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/random.h"
#include "target/host_rows.h"
#include "teacher/blend_rows.h"
#include "teacher/score.h"

#include "teacher/teacher_parts.h"

enum { HEIGHT = 256 }; /* rows at once: heads of members are products of so many */

typedef struct level { /* of one temperature */
    dk_buffer *buffer; /* [height, widest] log p of a member */
    dk_view scratch;   /* of the member under work */
    di_staging read, placed;
    di_host_rows member, out;
    dk_view strip;
    double *best, *mass; /* [height] worth of the best member so far; sum of e^(worth - best) */
    double *worths;      /* [count, height] of each member; of the first level alone */
} level;

typedef struct work { /* a session's state */
    dk_queue queue;
    di_session **members; /* [count] */
    int64_t height, widest;
    level *levels; /* [level_count], as many as temperatures were asked for together */
    int64_t level_count;
    int32_t *labels;   /* [max_rows] the token that follows; -1 = the row ends its sequence */
    double *draws;     /* [max_rows] in [0, 1), stochastic */
    di_tally *tallies; /* [count] of the batch under work */
    double *weights;   /* [count] of this batch; 0 = not asked */
    int64_t alone;     /* the member that is asked alone and as it is; -1 = there are several */
    /* what a task works on */
    level *at;
    const di_blended *member;
    int64_t index, joined, first; /* joined: members before this one that are in the strip */
    double below;                 /* weights of the members before this one */
    atomic_int broken;
} work;

static const di_blend *blend_of(const di_session *s) { return s->teacher->state; }

void di_blend_session_free(di_session *s)
{
    work *w = s->state;
    dk_host *host = s->teacher->host;
    for (int64_t i = 0; w->members && i < blend_of(s)->count; i++) di_session_free(w->members[i]);
    for (int64_t i = 0; i < w->level_count; i++) {
        if (w->levels[i].buffer) s->teacher->backend->ops->buffer_free(s->teacher->backend, w->levels[i].buffer);
        di_staging_free(host, &w->levels[i].read);
        di_staging_free(host, &w->levels[i].placed);
        dk_free(host, w->levels[i].best);
        dk_free(host, w->levels[i].mass);
        dk_free(host, w->levels[i].worths);
    }
    void *blocks[] = {w->members, w->levels, w->labels, w->draws, w->tallies, w->weights};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) dk_free(host, blocks[i]);
    dk_queue_close(&w->queue);
    dk_free(host, w);
    s->state = NULL;
}

static int32_t open_level(di_session *s, level *at, dk_error *err)
{
    dk_backend *backend = s->teacher->backend;
    const work *w = s->state;
    const int64_t bytes = w->height * w->widest * (int64_t)sizeof(float);
    int32_t rc;
    DK_TRY(backend->ops->buffer_create(backend, bytes, &at->buffer, err));
    DK_TRY(dk_new(s->teacher->host, w->height, &at->best, err));
    DK_TRY(dk_new(s->teacher->host, w->height, &at->mass, err));
    if (at == w->levels) DK_TRY(dk_new(s->teacher->host, w->height * blend_of(s)->count, &at->worths, err));
out:
    return rc;
}

/* Planned for one temperature; a loss that has several gets a level each when it first asks. */
static int32_t reserve_levels(di_session *s, int64_t count, dk_error *err)
{
    work *w = s->state;
    level *grown;
    int32_t rc = DK_OK;
    if (count <= w->level_count) return DK_OK;
    if (!(grown = dk_realloc(s->teacher->host, w->levels, (uint64_t)count, sizeof *grown)))
        return dk_fail_nomem(err, (uint64_t)count * sizeof *grown);
    w->levels = grown;
    while (rc == DK_OK && w->level_count < count) {
        level *at = &w->levels[w->level_count++];
        memset(at, 0, sizeof *at);
        rc = open_level(s, at, err);
    }
    return rc;
}

/* ---- a member's rows join the strip ---- */

/* What decides between members at a row: the highest is taken; in mixtures, the logarithm of its weight. */
static double worth(const di_session *s, const float *log_p, int64_t row)
{
    const di_blend *blend = blend_of(s);
    const di_blend_settings *how = &blend->settings;
    const di_blend_rows *kernels = di_blend_rows_for(s->teacher->backend->isa);
    const work *w = s->state;
    switch (how->mode) {
    case DI_BLEND_MAX_CONFIDENCE:
        return (double)kernels->highest(log_p, blend->width);
    case DI_BLEND_MIN_ENTROPY:
        return -kernels->entropy(log_p, blend->width);
    case DI_BLEND_MIN_CROSS_ENTROPY:
        return (double)log_p[w->labels[row]];
    case DI_BLEND_STOCHASTIC:
        return w->draws[row] >= w->below ? (double)w->index : -1;
    default:
        break;
    }
    if (how->weighting == DI_WEIGH_ENTROPY)
        return log(w->weights[w->index]) - kernels->entropy(log_p, blend->width) / how->softness;
    if (how->weighting == DI_WEIGH_LABEL)
        return log(w->weights[w->index]) + exp((double)log_p[w->labels[row]]) / how->softness;
    return log(w->weights[w->index]);
}

static int32_t is_mixture(const di_session *s)
{
    const di_blend_mode mode = blend_of(s)->settings.mode;
    return mode == DI_BLEND_LINEAR || mode == DI_BLEND_LOG_LINEAR;
}

static void choose(const di_session *s, const float *log_p, double score, int64_t r, float *out)
{
    const work *w = s->state;
    if (w->joined && !(score > w->at->best[r])) return; /* ties: by name */
    memcpy(out, log_p, (size_t)blend_of(s)->width * sizeof *out);
    w->at->best[r] = score;
}

/* What stands there is always the blend of the members so far, so that weights need no second look at them. */
static void mix(const di_session *s, const float *log_p, double score, int64_t r, float *out)
{
    const di_blend *blend = blend_of(s);
    const di_blend_rows *kernels = di_blend_rows_for(s->teacher->backend->isa);
    const work *w = s->state;
    const double before = w->joined ? w->at->best[r] : score, top = before > score ? before : score;
    const double kept = w->joined ? w->at->mass[r] * exp(before - top) : 0, taken = exp(score - top),
                 sum = kept + taken;
    if (!w->joined) memcpy(out, log_p, (size_t)blend->width * sizeof *out);
    else if (blend->settings.mode == DI_BLEND_LINEAR)
        kernels->mix(out, log_p, blend->width, (float)log(kept / sum), (float)log(taken / sum));
    else kernels->add(out, log_p, blend->width, (float)(kept / sum), (float)(taken / sum));
    w->at->best[r] = top;
    w->at->mass[r] = sum;
}

static void join_rows(void *context, int64_t begin, int64_t end)
{
    const di_session *s = context;
    const int32_t mixture = is_mixture(s);
    work *w = s->state;
    for (int64_t r = begin; r < end; r++) {
        const float *log_p = (const float *)(const void *)(w->at->member.data + r * w->at->member.step);
        float *out = (float *)(void *)(w->at->out.data + r * w->at->out.step);
        if (isnan(log_p[0])) atomic_store(&w->broken, (int)r + 1); /* one NaN in a row makes all of its softmax NaN */
        const double score = worth(s, log_p, w->first + r);
        if (w->at->worths) w->at->worths[w->index * w->height + r] = score;
        if (mixture) mix(s, log_p, score, r, out);
        else choose(s, log_p, score, r, out);
    }
}

static int32_t join(di_session *s, level *at, int64_t count, dk_error *err)
{
    const int64_t width = blend_of(s)->width;
    work *w = s->state;
    char what[96];
    int32_t rc;
    DK_TRY(di_host_read(&w->queue, &at->read, dk_view_rows(at->scratch, 0, count), &at->member, err));
    w->at = at;
    atomic_store(&w->broken, 0);
    dk_parallel_for(s->teacher->host, count, width < 32768 ? 65536 / (width + 1) + 1 : 1, join_rows, s);
    DK_TRY(dk_parallel_check(s->teacher->host, err));
    const int64_t broken = atomic_load(&w->broken);
    if (!broken) goto out;
    snprintf(what, sizeof what, "a logit of teacher %.60s", w->member->name);
    rc = di_fail_row(&s->batch, w->first + broken - 1, s->places[w->first + broken - 1], what, NAN, err);
out:
    return rc;
}

static int32_t soften(work *w, dk_view logits, int64_t valid, double temperature, dk_view out, dk_error *err)
{
    char text[32];
    if (!(temperature >= DK_TEMPERATURE_MIN && temperature <= DK_TEMPERATURE_MAX)) {
        dk_format_f64(temperature, text);
        return dk_fail(err, DK_E_INVALID, "teacher %s would be at temperature %s in all, outside 0.001..1000",
                       w->member->name, text);
    }
    w->queue.backend->ops->log_softmax(&w->queue, logits, valid, temperature, out);
    return DK_OK;
}

/* log p of a member at each temperature; it is asked once, whatever their number. */
static int32_t ask(di_session *s, const di_source *source, int64_t count, int64_t n, const double *temperatures,
                   dk_error *err)
{
    const di_blend *blend = blend_of(s);
    work *w = s->state;
    double own[DI_TEMPERATURES];
    dk_view strips[DI_TEMPERATURES];
    const distill_target *none = NULL;
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < n; i++) {
        own[i] = temperatures[i] * w->member->temperature;
        w->levels[i].scratch = dk_view_2d(w->levels[i].buffer, 0, DK_F32, w->height, source->width);
        strips[i] = dk_view_rows(w->levels[i].scratch, 0, count);
    }
    if (source->rows_at) DK_TRY(source->rows_at(source->self, w->first, count, n, own, strips, err));
    else DK_TRY(source->rows(source->self, w->first, count, strips[0], &none, err));
    for (int64_t i = n - 1; i >= 0; i--) /* the first strip holds the logits until its turn comes */
        DK_TRY(source->rows_at ? soften(w, strips[i], blend->width, 1, strips[i], err)
                               : soften(w, strips[0], blend->width, own[i] / source->temperature, strips[i], err));
out:
    return rc;
}

/* ---- what each member had to say ---- */

/* Member by member in the order of their names, as choose() goes. */
static int64_t chosen(const work *w, int64_t count, int64_t r)
{
    const double *worths = w->levels->worths;
    int64_t best = -1;
    for (int64_t i = 0; i < count; i++)
        if (w->weights[i] > 0 && (best < 0 || worths[i * w->height + r] > worths[best * w->height + r])) best = i;
    return best;
}

static int32_t is_per_token(const di_blend_settings *how)
{
    return how->weighting == DI_WEIGH_ENTROPY || how->weighting == DI_WEIGH_LABEL;
}

static double weight_in_mixture(const di_session *s, int64_t index, int64_t rows)
{
    const di_blend *blend = blend_of(s);
    const work *w = s->state;
    const level *at = w->levels;
    double sum = 0;
    if (!is_per_token(&blend->settings)) return (double)rows * w->weights[index];
    for (int64_t r = 0; r < rows; r++) sum += exp(at->worths[index * w->height + r] - at->best[r]) / at->mass[r];
    return sum;
}

static void count_rows(const di_session *s, int64_t rows)
{
    const int64_t count = blend_of(s)->count;
    const work *w = s->state;
    for (int64_t i = 0; i < count; i++) {
        w->tallies[i].rows += rows;
        if (w->weights[i] <= 0) continue;
        w->tallies[i].asked += rows;
        if (is_mixture(s)) w->tallies[i].weight += weight_in_mixture(s, i, rows);
    }
    for (int64_t r = 0; !is_mixture(s) && r < rows; r++) w->tallies[chosen(w, count, r)].weight += 1;
}

void di_blend_tally(di_session *s, int64_t index, di_member_view *out)
{
    const work *w = s->state;
    out->session = w->members[index];
    out->tally = w->tallies[index];
}

/* ---- the strip ---- */

static int32_t blend_rows(di_session *s, int64_t first, int64_t count, int64_t n, const double *temperatures,
                          const dk_view *strips, dk_error *err)
{
    const di_blend *blend = blend_of(s);
    work *w = s->state;
    int32_t rc = DK_OK;
    w->first = first;
    w->below = 0;
    w->joined = 0;
    for (int64_t i = 0; i < n; i++)
        DK_TRY(di_host_place(&w->queue, &w->levels[i].placed, strips[i], &w->levels[i].out, err));
    for (w->index = 0; w->index < blend->count; w->index++) {
        w->member = &blend->members[w->index];
        if (w->weights[w->index] <= 0) continue;
        DK_TRY(ask(s, di_session_source(w->members[w->index]), count, n, temperatures, err));
        for (int64_t i = 0; i < n; i++) DK_TRY(join(s, &w->levels[i], count, err));
        w->below += w->weights[w->index];
        w->joined++;
    }
    for (int64_t i = 0; i < n; i++) {
        DK_TRY(di_host_write(&w->queue, strips[i], &w->levels[i].out, err));
        if (blend->settings.mode == DI_BLEND_LOG_LINEAR)
            w->queue.backend->ops->log_softmax(&w->queue, strips[i], blend->width, 1, strips[i]);
        if (blend->columns > blend->width)
            w->queue.backend->ops->fill(
                &w->queue, dk_view_columns(strips[i], blend->width, blend->columns - blend->width), -INFINITY);
    }
    DK_TRY(dk_queue_wait(&w->queue, err));
    count_rows(s, count);
out:
    return rc;
}

static int32_t check_levels(int64_t n, dk_error *err)
{
    if (n <= DI_TEMPERATURES) return DK_OK;
    return dk_fail(err, DK_E_UNSUPPORTED, "a blend of teachers at %lld temperatures at once; %d are the most",
                   (long long)n, DI_TEMPERATURES);
}

static int32_t rows_at(void *self, int64_t first, int64_t count, int64_t n, const double *temperatures,
                       const dk_view *strips, dk_error *err)
{
    di_session *s = self;
    const work *w = s->state;
    dk_view parts[DI_TEMPERATURES];
    int32_t rc;
    DK_TRY(check_levels(n, err));
    DK_TRY(reserve_levels(s, n, err));
    for (int64_t at = 0; at < count; at += w->height) {
        const int64_t part = count - at < w->height ? count - at : w->height;
        for (int64_t i = 0; i < n; i++) parts[i] = dk_view_rows(strips[i], at, part);
        DK_TRY(blend_rows(s, first + at, part, n, temperatures, parts, err));
    }
out:
    return rc;
}

static int32_t rows(void *self, int64_t first, int64_t count, dk_view strip, const distill_target **target,
                    dk_error *err)
{
    const double temperature = 1;
    if (target) *target = NULL;
    return rows_at(self, first, count, 1, &temperature, &strip, err);
}

/* ---- one member alone: its rows as it gives them, bit for bit ---- */

static void count_alone(work *w, int64_t members, int64_t rows)
{
    for (int64_t i = 0; i < members; i++) w->tallies[i].rows += rows;
    w->tallies[w->alone].asked += rows;
    w->tallies[w->alone].weight += (double)rows;
}

static int32_t rows_alone(void *self, int64_t first, int64_t count, dk_view strip, const distill_target **target,
                          dk_error *err)
{
    di_session *s = self;
    work *w = s->state;
    const di_source *source = di_session_source(w->members[w->alone]);
    count_alone(w, blend_of(s)->count, count);
    return source->rows(source->self, first, count, dk_view_columns(strip, 0, source->width), target, err);
}

static int32_t rows_at_alone(void *self, int64_t first, int64_t count, int64_t n, const double *temperatures,
                             const dk_view *strips, dk_error *err)
{
    di_session *s = self;
    work *w = s->state;
    const di_source *source = di_session_source(w->members[w->alone]);
    dk_view columns[DI_TEMPERATURES];
    int32_t rc = check_levels(n, err);
    if (rc) return rc;
    for (int64_t i = 0; i < n; i++) columns[i] = dk_view_columns(strips[i], 0, source->width);
    count_alone(w, blend_of(s)->count, count);
    return source->rows_at(source->self, first, count, n, temperatures, columns, err);
}

static int64_t find_alone(const di_session *s)
{
    const di_blend *blend = blend_of(s);
    const work *w = s->state;
    int64_t found = -1;
    for (int64_t i = 0; i < blend->count; i++) {
        if (w->weights[i] <= 0) continue;
        if (found >= 0 || blend->members[i].temperature != 1) return -1;
        found = i;
    }
    return found;
}

/* After the members began: one in the same case gives its rows in its own way. */
static void choose_source(di_session *s)
{
    work *w = s->state;
    const di_source *source = w->alone >= 0 ? di_session_source(w->members[w->alone]) : NULL;
    s->source.temperature = source ? source->temperature : 1;
    s->source.rows = source ? rows_alone : rows;
    s->source.rows_at = !source ? rows_at : source->rows_at ? rows_at_alone : NULL;
}

/* ---- batches ---- */

/* A draw hangs on the seed, the step and what stands in the sequence up to the token: not on its place in a batch. */
static double draw(const di_session *s, int64_t sequence, int64_t place)
{
    const di_blend_settings *how = &blend_of(s)->settings;
    const int64_t begin = s->batch.offsets[sequence], end = s->batch.offsets[sequence + 1];
    const uint64_t text = dk_hash64(s->batch.ids + begin, (size_t)(end - begin) * sizeof *s->batch.ids);
    const uint64_t key[3] = {text, (uint64_t)s->draw_step, how->per_sequence ? 0 : (uint64_t)(place - begin)};
    return dk_random_uniform(how->seed, DK_STREAM_BLEND, dk_hash64(key, sizeof key));
}

static int32_t needs_labels(const di_blend_settings *how)
{
    return how->mode == DI_BLEND_MIN_CROSS_ENTROPY ||
           (how->weighting == DI_WEIGH_LABEL && (how->mode == DI_BLEND_LINEAR || how->mode == DI_BLEND_LOG_LINEAR));
}

static int32_t prepare_rows(di_session *s, dk_error *err)
{
    const di_blend *blend = blend_of(s);
    work *w = s->state;
    int64_t sequence = 0;
    for (int64_t r = 0; r < s->row_count; r++) {
        const int64_t place = s->places[r];
        while (s->batch.offsets[sequence + 1] <= place) sequence++;
        w->labels[r] = place + 1 < s->batch.offsets[sequence + 1] ? s->batch.ids[place + 1] : -1;
        if (needs_labels(&blend->settings) && (w->labels[r] < 0 || w->labels[r] >= blend->width))
            return dk_fail(err, DK_E_INVALID,
                           "row %lld has no token after it that all teachers know, which this blend goes by",
                           (long long)r);
        if (blend->settings.mode == DI_BLEND_STOCHASTIC) w->draws[r] = draw(s, sequence, place);
    }
    return DK_OK;
}

int32_t di_blend_begin(di_session *s, dk_error *err)
{
    work *w = s->state;
    int32_t rc = prepare_rows(s, err);
    for (int64_t i = 0; i < blend_of(s)->count; i++)
        w->weights[i] = s->learned ? s->learned[i] : di_blended_weight(&blend_of(s)->members[i], s->step);
    w->alone = find_alone(s);
    for (int64_t i = 0; rc == DK_OK && i < blend_of(s)->count; i++) {
        if (w->weights[i] <= 0) continue;
        di_session_follow(w->members[i], s);
        rc = di_session_begin(w->members[i], &s->batch, err);
    }
    choose_source(s);
    if (rc != DK_OK) di_blend_end(s);
    return rc;
}

void di_blend_end(di_session *s)
{
    work *w = s->state;
    for (int64_t i = 0; i < blend_of(s)->count; i++) di_session_drop(w->members[i]);
    memset(w->tallies, 0, (size_t)blend_of(s)->count * sizeof *w->tallies);
}

int32_t di_blend_forward(di_session *s, dk_error *err)
{
    work *w = s->state;
    int32_t rc = DK_OK;
    for (int64_t i = 0; rc == DK_OK && i < blend_of(s)->count; i++)
        if (w->weights[i] > 0) rc = di_session_collect(w->members[i], err);
    return rc;
}

int32_t di_blend_session(di_session *s, dk_error *err)
{
    const di_blend *blend = blend_of(s);
    work *w = NULL;
    int32_t rc;
    DK_TRY(dk_new(s->teacher->host, 1, &w, err));
    s->state = w;
    DK_TRY(dk_queue_open(&w->queue, s->teacher->backend, err));
    DK_TRY(dk_new(s->teacher->host, blend->count, &w->members, err));
    DK_TRY(dk_new(s->teacher->host, s->max_rows, &w->labels, err));
    DK_TRY(dk_new(s->teacher->host, s->max_rows, &w->draws, err));
    DK_TRY(dk_new(s->teacher->host, blend->count, &w->tallies, err));
    DK_TRY(dk_new(s->teacher->host, blend->count, &w->weights, err));
    w->widest = blend->width;
    for (int64_t i = 0; i < blend->count; i++) {
        DK_TRY(di_session_create(blend->members[i].teacher, s->max_tokens, s->max_sequences, s->max_rows,
                                 &w->members[i], err));
        const int64_t width = di_session_source(w->members[i])->width;
        if (width > w->widest) w->widest = width;
    }
    w->height = s->max_rows < HEIGHT ? s->max_rows : HEIGHT;
    DK_TRY(reserve_levels(s, 1, err));
    s->source = (di_source){.self = s,
                            .kind = DISTILL_DENSE,
                            .width = blend->columns,
                            .vocab_valid = blend->width,
                            .temperature = 1,
                            .rows = rows,
                            .rows_at = rows_at};
out:
    return rc;
}
