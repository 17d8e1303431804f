/* blend_draws.c - a linear blend of draws: those of each member count by its weight, so that their expectation is the
 * blend's distribution. A dense member is drawn from as a cache would. */
#include <stdlib.h>

#include "base/hash.h"
#include "base/random.h"
#include "teacher/blend_sparse.h"
#include "teacher/draws.h"

static const di_blend *blend_of(const di_session *s) { return s->teacher->state; }

static void add(const di_session *s, int64_t r, int64_t member, const int32_t *ids, const float *counts, int64_t k)
{
    const di_sparse_work *w = s->state;
    const double weight = w->weights[member] * (double)blend_of(s)->sparse_most;
    di_entry *entries = w->entries + r * w->capacity;
    double total = 0;
    for (int64_t j = 0; j < k; j++)
        if (ids[j] >= 0) total += (double)counts[j];
    for (int64_t j = 0; j < k; j++)
        if (ids[j] >= 0)
            entries[w->used[r]++] = (di_entry){ids[j], (int32_t)member, weight * (double)counts[j] / total};
}

static void begin(const di_session *s, int64_t r)
{
    const di_sparse_work *w = s->state;
    w->used[r] = 0;
    for (int64_t i = 0; i < blend_of(s)->count; i++) {
        const distill_target *target = w->given[i];
        if (!target) continue;
        const int64_t k = target->values->shape[1], row = w->at + r;
        add(s, r, i, (const int32_t *)target->ids->data + row * k, (const float *)target->values->data + row * k, k);
    }
}

/* Of seed, member and what stands in the sequence: a cache with the same seed draws others. */
static di_draws draws_at(const di_session *s, int64_t row)
{
    const di_sparse_work *w = s->state;
    const int64_t place = s->places[row];
    int64_t sequence = 0;
    while (s->batch.offsets[sequence + 1] <= place) sequence++;
    const int64_t begins = s->batch.offsets[sequence], length = s->batch.offsets[sequence + 1] - begins;
    const uint64_t text = dk_hash64(s->batch.ids + begins, (size_t)length * sizeof *s->batch.ids);
    const uint64_t key[3] = {text, DK_STREAM_BLEND, (uint64_t)w->index};
    return (di_draws){blend_of(s)->settings.seed, dk_hash64(key, sizeof key), (uint64_t)(place - begins),
                      blend_of(s)->sparse_most};
}

/* ids and values of the row are not due before it is finished: draws fit there. */
static void join(const di_session *s, int64_t r, float *log_p)
{
    const di_sparse_work *w = s->state;
    const di_draws draws = draws_at(s, w->first + r);
    int32_t *ids = w->ids + (w->at + r) * w->width;
    float *counts = w->values + (w->at + r) * w->width;
    const int64_t count = di_row_draw(log_p, w->dense_width, &draws, w->sums + r * w->capacity, ids, counts);
    add(s, r, w->index, ids, counts, count);
}

/* What belongs to one id is one entry. */
static void finish(const di_session *s, int64_t r)
{
    const di_sparse_work *w = s->state;
    di_entry *entries = w->entries + r * w->capacity;
    int32_t *ids = w->ids + (w->at + r) * w->width;
    float *counts = w->values + (w->at + r) * w->width;
    int64_t count = 0, next = 0;
    qsort(entries, (size_t)w->used[r], sizeof *entries, di_entries_ascending);
    while (next < w->used[r]) {
        const int32_t id = entries[next].id;
        double sum = 0;
        for (; next < w->used[r] && entries[next].id == id; next++) sum += entries[next].value;
        ids[count] = id;
        counts[count++] = (float)sum;
    }
    for (; count < w->width; count++) {
        ids[count] = -1;
        counts[count] = 0;
    }
}

const di_sparse_steps di_draw_steps = {begin, join, finish};
