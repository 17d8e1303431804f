/* blend_session.c - a blend that scores: members one after another, each joined to what stands in the strip
 * (blend_join.c), so that there is one strip more and no sum over members anywhere else. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/random.h"
#include "teacher/blend_join.h"
#include "teacher/score.h"

enum { HEIGHT = 256 }; /* rows at once: heads of members are products of so many */

typedef struct level { /* of one temperature */
    dk_buffer *buffer; /* [height, widest] logits of a member, or its log p */
    di_staging read, placed;
    di_joining joining;
} level;

typedef struct work { /* a session's state */
    dk_queue queue;
    di_session **members;   /* [count] */
    di_session **collected; /* [count] of these the ones that are asked; else NULL */
    int64_t height, widest;
    level *levels; /* [level_count], as many as temperatures were asked for together */
    int64_t level_count;
    int32_t *labels;   /* [max_rows] the token that follows; -1 = the row ends its sequence */
    double *draws;     /* [max_rows] in [0, 1), stochastic */
    di_tally *tallies; /* [count] of the batch under work */
    double *weights;   /* [count] of this batch; 0 = not asked */
    int64_t asked;     /* members whose weight is above 0 */
    int64_t alone;     /* the member that is asked alone and as it is; -1 = there are several */
    int64_t first;     /* row under work */
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
        dk_free(host, w->levels[i].joining.best);
        dk_free(host, w->levels[i].joining.mass);
        dk_free(host, w->levels[i].joining.share);
        dk_free(host, w->levels[i].joining.worths);
    }
    void *blocks[] = {w->members, w->collected, w->levels, w->labels, w->draws, w->tallies, w->weights};
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
    di_joining *joining = &at->joining;
    int32_t rc;
    *joining = (di_joining){.blend = blend_of(s), .kernels = di_blend_rows_for(backend->isa), .height = w->height};
    DK_TRY(backend->ops->buffer_create(backend, bytes, &at->buffer, err));
    DK_TRY(dk_new(s->teacher->host, w->height, &joining->best, err));
    DK_TRY(dk_new(s->teacher->host, w->height, &joining->mass, err));
    DK_TRY(dk_new(s->teacher->host, w->height, &joining->share, err));
    if (at == w->levels) DK_TRY(dk_new(s->teacher->host, w->height * blend_of(s)->count, &joining->worths, err));
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

/* ---- members' rows ---- */

static int32_t check_temperature(const di_session *s, const di_joiner *of, dk_error *err)
{
    char text[32];
    if (of->temperature >= DK_TEMPERATURE_MIN && of->temperature <= DK_TEMPERATURE_MAX) return DK_OK;
    dk_format_f64(of->temperature, text);
    return dk_fail(err, DK_E_INVALID, "teacher %s would be at temperature %s in all, outside 0.001..1000",
                   blend_of(s)->members[of->index].name, text);
}

/* Rows of a member into strips: log p at each temperature where it gives that, else its logits into the first. */
static int32_t ask(di_session *s, const di_joiner *who, int64_t count, int64_t n, const double *temperatures,
                   const dk_view *strips, dk_error *err)
{
    const work *w = s->state;
    const di_source *source = di_session_source(w->members[who->index]);
    const distill_target *none = NULL;
    double own[DI_TEMPERATURES];
    dk_view columns[DI_TEMPERATURES];
    for (int64_t i = 0; i < n; i++) {
        own[i] = temperatures[i] * blend_of(s)->members[who->index].temperature;
        columns[i] = dk_view_columns(dk_view_rows(strips[i], 0, count), 0, source->width);
    }
    if (source->rows_at) return source->rows_at(source->self, w->first, count, n, own, columns, err);
    return source->rows(source->self, w->first, count, columns[0], &none, err);
}

/* At what temperature what it gives becomes log p. */
static int32_t set_joiner(const di_session *s, di_joiner *joiner, const di_joiner *who, double temperature,
                          dk_error *err)
{
    const work *w = s->state;
    const di_source *source = di_session_source(w->members[who->index]);
    joiner->index = who->index;
    joiner->weight = who->weight;
    joiner->below = who->below;
    joiner->temperature =
        source->rows_at ? 1 : temperature * blend_of(s)->members[who->index].temperature / source->temperature;
    atomic_store(&joiner->broken, 0);
    return check_temperature(s, joiner, err);
}

static dk_view scratch_of(const work *w, int64_t index, int64_t count)
{
    return dk_view_2d(w->levels[index].buffer, 0, DK_F32, count, w->widest);
}

/* The first member's rows wait in the strips: asked for straight into them where that can be. */
static int32_t hold(di_session *s, const di_joiner *who, int64_t count, int64_t n, const double *temperatures,
                    const dk_view *strips, dk_error *err)
{
    const int64_t width = blend_of(s)->width;
    work *w = s->state;
    const di_source *source = di_session_source(w->members[who->index]);
    const int32_t straight = source->width <= strips[0].shape[1] && (source->rows_at || n == 1);
    dk_view scratch[DI_TEMPERATURES] = {0};
    di_host_rows from;
    int32_t rc;
    for (int64_t i = 0; i < n; i++) {
        scratch[i] = scratch_of(w, i, count);
        DK_TRY(set_joiner(s, &w->levels[i].joining.held, who, temperatures[i], err));
    }
    DK_TRY(ask(s, who, count, n, temperatures, straight ? strips : scratch, err));
    for (int64_t i = 0; i < n; i++) {
        di_host_rows *to = &w->levels[i].joining.strip;
        DK_TRY(di_host_read(&w->queue, &w->levels[i].placed, strips[i], to, err));
        if (straight) continue;
        level *at = &w->levels[source->rows_at ? i : 0];
        DK_TRY(di_host_read(&w->queue, &at->read, scratch_of(w, at - w->levels, count), &from, err));
        for (int64_t r = 0; r < count; r++)
            memcpy(to->data + r * to->step, from.data + r * from.step, (size_t)width * sizeof(float));
    }
out:
    return rc;
}

static int32_t check_joiner(const di_session *s, const di_joiner *joiner, dk_error *err)
{
    const work *w = s->state;
    const int64_t broken = atomic_load(&joiner->broken), row = w->first + broken - 1;
    char what[96];
    if (!broken) return DK_OK;
    snprintf(what, sizeof what, "a logit of teacher %.60s", blend_of(s)->members[joiner->index].name);
    return di_fail_row(&s->batch, row, s->places[row], what, NAN, err);
}

static int32_t join_level(di_session *s, di_joining *joining, int64_t count, dk_error *err)
{
    const work *w = s->state;
    int32_t rc;
    joining->labels = w->labels + w->first;
    joining->draws = w->draws + w->first;
    dk_parallel_for(s->teacher->host, count, DI_JOIN_GRAIN, di_blend_join_rows, joining);
    DK_TRY(dk_parallel_check(s->teacher->host, err));
    DK_TRY(check_joiner(s, &joining->held, err));
    DK_TRY(check_joiner(s, &joining->next, err));
out:
    return rc;
}

/* Logits that serve several temperatures stand in the first level's scratch, whose turn comes last. */
static int32_t join(di_session *s, const di_joiner *who, int64_t joined, int64_t count, int64_t n,
                    const double *temperatures, dk_error *err)
{
    work *w = s->state;
    const int32_t each = di_session_source(w->members[who->index])->rows_at != NULL;
    dk_view scratch[DI_TEMPERATURES] = {0};
    int32_t rc;
    for (int64_t i = 0; i < n; i++) {
        scratch[i] = scratch_of(w, i, count);
        DK_TRY(set_joiner(s, &w->levels[i].joining.next, who, temperatures[i], err));
    }
    DK_TRY(ask(s, who, count, n, temperatures, scratch, err));
    for (int64_t i = 0; i < n; i++)
        DK_TRY((i && !each ? di_host_place : di_host_read)(&w->queue, &w->levels[i].read, scratch[i],
                                                           &w->levels[i].joining.spare, err));
    for (int64_t i = n - 1; i >= 0; i--) {
        di_joining *joining = &w->levels[i].joining;
        joining->given = w->levels[each ? i : 0].joining.spare;
        joining->alone = 0;
        joining->second = joined == 1;
        joining->last = joined + 1 == w->asked;
        DK_TRY(join_level(s, joining, count, err));
    }
out:
    return rc;
}

/* ---- what each member had to say ---- */

/* Member by member in the order of their names, as choose() goes. */
static int64_t chosen(const work *w, int64_t count, int64_t r)
{
    const double *worths = w->levels->joining.worths;
    int64_t best = -1;
    for (int64_t i = 0; i < count; i++)
        if (w->weights[i] > 0 && (best < 0 || worths[i * w->height + r] > worths[best * w->height + r])) best = i;
    return best;
}

static double weight_in_mixture(const di_session *s, int64_t index, int64_t rows)
{
    const di_blend *blend = blend_of(s);
    const work *w = s->state;
    const di_joining *at = &w->levels->joining;
    double sum = 0;
    if (!di_blend_is_weighed(&blend->settings)) return (double)rows * w->weights[index];
    for (int64_t r = 0; r < rows; r++) sum += exp(at->worths[index * w->height + r] - at->best[r]) / at->mass[r];
    return sum;
}

/* A batch whose rows are asked for once more is counted once. */
static void begin_counts(const di_session *s, int64_t first)
{
    const work *w = s->state;
    if (first == 0) memset(w->tallies, 0, (size_t)blend_of(s)->count * sizeof *w->tallies);
}

static void count_rows(const di_session *s, int64_t rows)
{
    const int64_t count = blend_of(s)->count;
    const int32_t mixture = di_blend_is_mixture(&blend_of(s)->settings);
    const work *w = s->state;
    for (int64_t i = 0; i < count; i++) {
        w->tallies[i].rows += rows;
        if (w->weights[i] <= 0) continue;
        w->tallies[i].asked += rows;
        if (mixture) w->tallies[i].weight += weight_in_mixture(s, i, rows);
    }
    for (int64_t r = 0; !mixture && r < rows; r++) w->tallies[chosen(w, count, r)].weight += 1;
}

void di_blend_tally(di_session *s, int64_t index, di_member_view *out)
{
    const work *w = s->state;
    out->session = w->members[index];
    out->tally = w->tallies[index];
}

/* ---- the strip ---- */

static int32_t ask_members(di_session *s, int64_t count, int64_t n, const double *temperatures, const dk_view *strips,
                           dk_error *err)
{
    const di_blend *blend = blend_of(s);
    work *w = s->state;
    di_joiner who = {.below = 0};
    int64_t joined = 0;
    int32_t rc = DK_OK;
    for (who.index = 0; who.index < blend->count; who.index++) {
        if ((who.weight = w->weights[who.index]) <= 0) continue;
        if (joined++ == 0) DK_TRY(hold(s, &who, count, n, temperatures, strips, err));
        else DK_TRY(join(s, &who, joined - 1, count, n, temperatures, err));
        who.below += who.weight;
    }
    for (int64_t i = 0; i < n && joined == 1; i++) {
        w->levels[i].joining.alone = 1;
        DK_TRY(join_level(s, &w->levels[i].joining, count, err));
    }
out:
    return rc;
}

static int32_t blend_rows(di_session *s, int64_t first, int64_t count, int64_t n, const double *temperatures,
                          const dk_view *strips, dk_error *err)
{
    const di_blend *blend = blend_of(s);
    work *w = s->state;
    const dk_ops *ops = w->queue.backend->ops;
    int32_t rc;
    w->first = first;
    DK_TRY(ask_members(s, count, n, temperatures, strips, err));
    for (int64_t i = 0; i < n; i++) {
        const di_joining *joining = &w->levels[i].joining;
        DK_TRY(di_host_write(&w->queue, strips[i], &joining->strip, err));
        if (blend->settings.mode != DI_BLEND_LINEAR || joining->alone)
            ops->log_softmax(&w->queue, strips[i], blend->width, joining->alone ? joining->held.temperature : 1,
                             strips[i]);
        if (blend->columns > blend->width)
            ops->fill(&w->queue, dk_view_columns(strips[i], blend->width, blend->columns - blend->width), -INFINITY);
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
    begin_counts(s, first);
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
    begin_counts(s, first);
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
    begin_counts(s, first);
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

static int32_t prepare_rows(di_session *s, dk_error *err)
{
    const di_blend *blend = blend_of(s);
    work *w = s->state;
    int64_t sequence = 0;
    for (int64_t r = 0; r < s->row_count; r++) {
        const int64_t place = s->places[r];
        while (s->batch.offsets[sequence + 1] <= place) sequence++;
        w->labels[r] = place + 1 < s->batch.offsets[sequence + 1] ? s->batch.ids[place + 1] : -1;
        if (di_blend_goes_by_label(&blend->settings) && (w->labels[r] < 0 || w->labels[r] >= blend->width))
            return dk_fail_at(err, DK_E_INVALID, sequence,
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
    w->asked = 0;
    for (int64_t i = 0; i < blend_of(s)->count; i++) {
        w->weights[i] = s->learned ? s->learned[i] : di_blended_weight(&blend_of(s)->members[i], s->step);
        w->asked += w->weights[i] > 0;
    }
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
    int64_t failed;
    for (int64_t i = 0; i < blend_of(s)->count; i++) w->collected[i] = w->weights[i] > 0 ? w->members[i] : NULL;
    return di_members_collect(s, w->collected, blend_of(s)->count, &failed, err);
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
    DK_TRY(dk_new(s->teacher->host, blend->count, &w->collected, err));
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
