/* What is left out of a distribution, as the op `sample` leaves it out: top_k cuts first, then top_p of what is left,
 * then min_p, whose measure is the likeliest one. Candidates fall by logit, ties by id. */
#include <math.h>

#include "model/draw.h"

static int32_t before(const float *z, int32_t a, int32_t b) { return z[a] > z[b] || (!(z[a] < z[b]) && a < b); }

static void sink(const float *z, int32_t *heap, int64_t count, int64_t at)
{
    const int32_t id = heap[at];
    for (int64_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && before(z, heap[child + 1], heap[child])) child++;
        if (!before(z, heap[child], id)) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = id;
}

/* The best of the heap goes behind it. */
static int32_t pop(const float *z, int32_t *heap, int64_t *count)
{
    const int32_t top = heap[0];
    heap[0] = heap[--*count];
    heap[*count] = top;
    if (*count > 0) sink(z, heap, *count, 0);
    return top;
}

static double weight(const dk_generate_args *args, const float *z, int32_t id, float highest)
{
    return exp((double)(z[id] - highest) / args->temperature);
}

/* What top_p takes its share of: all, or the top_k likeliest, which are off the heap then. */
static double mass(const dk_generate_args *args, const float *z, int32_t *heap, int64_t *left, int64_t vocab,
                   float highest)
{
    const int64_t keep = args->top_k > 0 && args->top_k < vocab ? args->top_k : vocab;
    double total = 0;
    if (keep == vocab && args->top_p >= 1) return INFINITY;
    for (int64_t i = 0; i < keep; i++)
        total += weight(args, z, keep == vocab ? (int32_t)i : pop(z, heap, left), highest);
    return args->top_p < 1 ? args->top_p * total : INFINITY;
}

void dk_cut_logits(const dk_generate_args *args, float *z, int64_t vocab, int32_t *heap)
{
    const int64_t keep = args->top_k > 0 && args->top_k < vocab ? args->top_k : vocab;
    int64_t left = vocab, cut = 0;
    double kept = 0;
    for (int64_t i = 0; i < vocab; i++) heap[i] = (int32_t)i;
    for (int64_t i = vocab / 2 - 1; i >= 0; i--) sink(z, heap, vocab, i);
    const float highest = z[heap[0]];
    const double limit = mass(args, z, heap, &left, vocab, highest);
    for (; cut < keep && kept < limit; cut++) {
        if (vocab - left <= cut) pop(z, heap, &left);
        const double w = weight(args, z, heap[vocab - 1 - cut], highest);
        if (cut > 0 && w < args->min_p) break;
        kept += w;
    }
    for (int64_t i = 0; i < vocab - cut; i++) z[heap[i]] = -INFINITY;
}
