#include "compute/cpu/sample_order.h"

#include <string.h>

static int32_t before(const float *z, int32_t a, int32_t b) { return z[a] > z[b] || (!(z[a] < z[b]) && a < b); }

static void sink(const dk_order *o, int64_t at)
{
    int32_t id = o->heap[at];
    for (int64_t child = 2 * at + 1; child < o->count; child = 2 * at + 1) {
        if (child + 1 < o->count && before(o->z, o->heap[child + 1], o->heap[child])) child++;
        if (!before(o->z, o->heap[child], id)) break;
        o->heap[at] = o->heap[child];
        at = child;
    }
    o->heap[at] = id;
}

static void make_heap(dk_order *o, int32_t *ids, int64_t count)
{
    o->heap = ids;
    o->count = count;
    for (int64_t i = count / 2 - 1; i >= 0; i--) sink(o, i);
}

static inline int32_t is_near(const dk_order *o, int64_t id)
{
    return (o->highest - o->z[id]) * o->scale < (float)DK_ORDER_BUCKETS;
}

static inline int32_t bucket_of(const dk_order *o, int32_t id) { return (int32_t)((o->highest - o->z[id]) * o->scale); }

/* Ids that are near, or those that are not. */
static int64_t collect(const dk_order *o, int32_t near, int32_t *to)
{
    int64_t count = 0;
    for (int64_t i = 0; i < o->vocab; i++) {
        to[count] = (int32_t)i;
        count += is_near(o, i) == near;
        if (count == o->vocab) break;
    }
    return count;
}

void dk_order_open(dk_order *o, const float *z, int64_t vocab, float highest, double temperature, int32_t *sorted,
                   int32_t *ids)
{
    *o = (dk_order){.z = z, .vocab = vocab, .sorted = sorted, .ids = ids, .highest = highest};
    o->scale = (float)((double)DK_ORDER_BUCKETS / DK_ORDER_NATS / temperature);
    int64_t count = collect(o, 1, sorted);
    for (int64_t i = 0; i < count; i++) o->ends[bucket_of(o, sorted[i])]++;
    int32_t begin = 0;
    for (int b = 0; b < DK_ORDER_BUCKETS; b++) { /* first beginnings, which move to the ends as buckets fill */
        const int32_t size = o->ends[b];
        o->ends[b] = begin;
        begin += size;
    }
    for (int64_t i = 0; i < count; i++) ids[o->ends[bucket_of(o, sorted[i])]++] = sorted[i];
}

static void next_heap(dk_order *o)
{
    if (o->bucket < DK_ORDER_BUCKETS) {
        const int32_t begin = o->bucket > 0 ? o->ends[o->bucket - 1] : 0;
        make_heap(o, o->ids + begin, o->ends[o->bucket++] - begin);
    } else make_heap(o, o->ids, collect(o, 0, o->ids));
}

void dk_order_more(dk_order *o)
{
    while (!o->count) next_heap(o);
    o->sorted[o->ready++] = o->heap[0];
    o->heap[0] = o->heap[--o->count];
    if (o->count) sink(o, 0);
}
