/* blend_partition.c - a linear blend on the partition that all members know: the ids that all of them list (a dense
 * member knows every id), each an outcome of its own, and everything else as one. What is said of those outcomes is
 * exact. */
#include <math.h>
#include <stdlib.h>

#include "teacher/blend_rows.h"
#include "teacher/blend_sparse.h"

static const di_blend *blend_of(const di_session *s) { return s->teacher->state; }

typedef struct listing { /* a member's row */
    const int32_t *ids;
    const float *log_p, *tail;
    int64_t k;
} listing;

static listing row_of(const di_sparse_work *w, int64_t member, int64_t r)
{
    const distill_target *target = w->given[member];
    const int64_t k = target->values->shape[1], row = w->at + r;
    return (listing){(const int32_t *)target->ids->data + row * k, (const float *)target->values->data + row * k,
                     target->tail ? (const float *)target->tail->data + row : NULL, k};
}

/* Ascending entries of a row, behind those that are there. */
static int64_t list_row(const listing *row, int64_t member, di_entry *out)
{
    int64_t count = 0;
    for (int64_t j = 0; j < row->k; j++)
        if (row->ids[j] >= 0) out[count++] = (di_entry){row->ids[j], (int32_t)member, (double)row->log_p[j]};
    qsort(out, (size_t)count, sizeof *out, di_entries_ascending);
    return count;
}

/* An id that a dense member does not have is part of the rest. */
static int64_t below(const di_entry *entries, int64_t count, int64_t width)
{
    while (count && entries[count - 1].id >= width) count--;
    return count;
}

/* Ids of `common` that are in `other`, too. */
static int64_t intersect(di_entry *common, int64_t count, const di_entry *other, int64_t other_count)
{
    int64_t kept = 0, j = 0;
    for (int64_t i = 0; i < count; i++) {
        while (j < other_count && other[j].id < common[i].id) j++;
        if (j < other_count && other[j].id == common[i].id) common[kept++] = common[i];
    }
    return kept;
}

/* log p of what the ids leave, where the member does not say: what rounding alone may leave is nothing. */
static double left_by(const listing *row)
{
    double listed = 0, rounding = 0;
    for (int64_t j = 0; j < row->k; j++) {
        const double log_p = (double)row->log_p[j], p = exp(log_p);
        if (row->ids[j] < 0) continue;
        listed += p;
        if (p > 0) rounding -= p * log_p;
    }
    return 1 - listed > rounding * 0x1p-24 ? 1 - listed : 0;
}

/* What a member gives to the common ids goes to sums, all else to the rest. */
static void share_out(const di_entry *common, int64_t count, const di_entry *own, int64_t own_count, double weight,
                      double left, double *sums, double *rest)
{
    int64_t j = 0;
    for (int64_t i = 0; i < own_count; i++) {
        const double p = exp(own[i].value);
        if (j < count && common[j].id == own[i].id) sums[j++] += weight * p;
        else left += p;
    }
    *rest += weight * left;
}

/* Entries of a row: the common ids, then those of the member under work. */
static void begin(const di_session *s, int64_t r)
{
    const di_sparse_work *w = s->state;
    di_entry *common = w->entries + r * w->capacity, *own = common + blend_of(s)->sparse_most;
    double *sums = w->sums + r * w->capacity;
    int64_t count = -1;
    for (int64_t i = 0; i < blend_of(s)->count; i++) {
        if (!w->given[i]) continue;
        const listing row = row_of(w, i, r);
        if (count < 0) count = below(common, list_row(&row, i, common), blend_of(s)->width);
        else count = intersect(common, count, own, list_row(&row, i, own));
    }
    for (int64_t j = 0; j < count; j++) sums[j] = 0;
    w->rest[r] = 0;
    w->used[r] = count;
    for (int64_t i = 0; i < blend_of(s)->count; i++) {
        if (!w->given[i]) continue;
        const listing row = row_of(w, i, r);
        share_out(common, count, own, list_row(&row, i, own), w->weights[i],
                  row.tail ? exp((double)*row.tail) : left_by(&row), sums, &w->rest[r]);
    }
}

/* The rest is summed over itself: 1 - the others' mass would cancel. */
static void join(const di_session *s, int64_t r, float *log_p)
{
    const di_sparse_work *w = s->state;
    const di_entry *common = w->entries + r * w->capacity;
    const double weight = w->weights[w->index];
    double *sums = w->sums + r * w->capacity;
    for (int64_t j = 0; j < w->used[r]; j++) {
        sums[j] += weight * exp((double)log_p[common[j].id]);
        log_p[common[j].id] = -INFINITY;
    }
    w->rest[r] += weight * di_blend_rows_for(s->teacher->backend->isa)->mass(log_p, w->dense_width);
}

static void finish(const di_session *s, int64_t r)
{
    const di_sparse_work *w = s->state;
    const di_entry *common = w->entries + r * w->capacity;
    int32_t *ids = w->ids + (w->at + r) * w->width;
    float *values = w->values + (w->at + r) * w->width;
    for (int64_t j = 0; j < w->width; j++) {
        ids[j] = j < w->used[r] ? common[j].id : -1;
        values[j] = j < w->used[r] ? (float)log(w->sums[r * w->capacity + j]) : 0;
    }
    w->tail[w->at + r] = (float)log(w->rest[r]);
}

const di_sparse_steps di_partition_steps = {begin, join, finish};
