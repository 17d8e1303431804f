#include "text/bpe.h"

enum { SHORT = 40 }; /* up to here a scan of all pairs beats the queue */

/* A pair that may be merged; stale when one of its symbols changed meanwhile. */
typedef struct candidate {
    uint32_t rank, at;
    int32_t left, right, id;
} candidate;
struct dk_bpe_queue {        /* of a long word: symbols as a linked list in arrays, candidates as a heap */
    int32_t *before, *after; /* [symbols] */
    candidate *heap;         /* [3 * symbols]: every merge takes one out and puts at most two in */
    int64_t count;
};

/* What neighbours of a short word would become; rank UINT32_MAX = they are not merged. */
typedef struct short_pairs {
    uint32_t ranks[SHORT];
    int32_t ids[SHORT];
} short_pairs;

static void look_up(const dk_bpe *bpe, const int32_t *ids, short_pairs *pairs, int64_t at)
{
    const dk_merge *merge = dk_merge_find(&bpe->merges, ids[at], ids[at + 1]);
    pairs->ranks[at] = merge ? merge->rank : UINT32_MAX;
    pairs->ids[at] = merge ? merge->id : -1;
}

/* Fetching first makes the misses of a large table wait together. */
static void merge_short(const dk_bpe *bpe, int32_t *ids, int64_t *count)
{
    short_pairs pairs;
    int64_t n = *count;
    for (int64_t i = 0; i + 1 < n; i++) dk_merge_fetch(&bpe->merges, ids[i], ids[i + 1]);
    for (int64_t i = 0; i + 1 < n; i++) look_up(bpe, ids, &pairs, i);
    while (n > 1) {
        int64_t best = 0;
        for (int64_t i = 1; i + 1 < n; i++)
            if (pairs.ranks[i] < pairs.ranks[best]) best = i;
        if (pairs.ranks[best] == UINT32_MAX) break;
        ids[best] = pairs.ids[best];
        n--;
        if (best > 0) dk_merge_fetch(&bpe->merges, ids[best - 1], ids[best]);
        if (best + 1 < n) dk_merge_fetch(&bpe->merges, ids[best], ids[best + 2]);
        for (int64_t i = best + 1; i < n; i++) ids[i] = ids[i + 1];
        for (int64_t i = best + 1; i + 1 < n; i++) {
            pairs.ranks[i] = pairs.ranks[i + 1];
            pairs.ids[i] = pairs.ids[i + 1];
        }
        if (best > 0) look_up(bpe, ids, &pairs, best - 1);
        if (best + 1 < n) look_up(bpe, ids, &pairs, best);
    }
    *count = n;
}

static int32_t precedes(const candidate *a, const candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void sift_down(candidate *heap, int64_t count, int64_t at)
{
    candidate moved = heap[at];
    for (;;) {
        int64_t child = 2 * at + 1;
        if (child >= count) break;
        if (child + 1 < count && precedes(&heap[child + 1], &heap[child])) child++;
        if (!precedes(&heap[child], &moved)) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

static candidate take_first(struct dk_bpe_queue *queue)
{
    candidate first = queue->heap[0];
    queue->heap[0] = queue->heap[--queue->count];
    if (queue->count) sift_down(queue->heap, queue->count, 0);
    return first;
}

static int32_t offer(const dk_bpe *bpe, struct dk_bpe_queue *queue, const int32_t *ids, int64_t left, int64_t right)
{
    const dk_merge *merge = dk_merge_find(&bpe->merges, ids[left], ids[right]);
    if (!merge) return 0;
    queue->heap[queue->count++] = (candidate){merge->rank, (uint32_t)left, merge->left, merge->right, merge->id};
    return 1;
}

static void offer_sorted(const dk_bpe *bpe, struct dk_bpe_queue *queue, const int32_t *ids, int64_t left, int64_t right)
{
    if (left < 0 || right < 0 || !offer(bpe, queue, ids, left, right)) return;
    candidate *heap = queue->heap, added = heap[queue->count - 1];
    int64_t at = queue->count - 1;
    for (; at > 0 && precedes(&added, &heap[(at - 1) / 2]); at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
    heap[at] = added;
}

static int32_t prepare(dk_bpe_scratch *scratch, int64_t symbols, dk_error *err)
{
    if (symbols > UINT32_MAX / 2)
        return dk_fail(err, DK_E_INVALID, "a word of %lld characters is too long", (long long)symbols);
    if (!scratch->queue && !(scratch->queue = dk_calloc(scratch->host, 1, sizeof *scratch->queue)))
        return dk_fail_nomem(err, sizeof *scratch->queue);
    if (symbols <= scratch->queue_capacity) return DK_OK;
    struct dk_bpe_queue *queue = scratch->queue;
    dk_free(scratch->host, queue->before);
    dk_free(scratch->host, queue->after);
    dk_free(scratch->host, queue->heap);
    scratch->queue_capacity = 0;
    queue->before = dk_alloc(scratch->host, (uint64_t)symbols, sizeof *queue->before);
    queue->after = dk_alloc(scratch->host, (uint64_t)symbols, sizeof *queue->after);
    queue->heap = dk_alloc(scratch->host, (uint64_t)symbols * 3, sizeof *queue->heap);
    if (!queue->before || !queue->after || !queue->heap)
        return dk_fail_nomem(err, (uint64_t)symbols * 3 * sizeof *queue->heap);
    scratch->queue_capacity = symbols;
    return DK_OK;
}

static void merge_all(const dk_bpe *bpe, struct dk_bpe_queue *queue, int32_t *ids)
{
    while (queue->count) {
        candidate best = take_first(queue);
        int64_t at = best.at, next = ids[at] < 0 ? -1 : queue->after[at];
        if (next < 0 || ids[at] != best.left || ids[next] != best.right) continue;
        int32_t behind = queue->after[next];
        ids[at] = best.id;
        ids[next] = -1;
        queue->after[at] = behind;
        if (behind >= 0) queue->before[behind] = (int32_t)at;
        offer_sorted(bpe, queue, ids, queue->before[at], at);
        offer_sorted(bpe, queue, ids, at, behind);
    }
}

int32_t dk_bpe_merge(const dk_bpe *bpe, dk_bpe_scratch *scratch, int32_t *ids, int64_t *count, dk_error *err)
{
    int64_t n = *count, kept = 0;
    if (n <= SHORT) return merge_short(bpe, ids, count), DK_OK;
    int32_t rc = prepare(scratch, n, err);
    if (rc) return rc;
    struct dk_bpe_queue *queue = scratch->queue;
    queue->count = 0;
    for (int64_t i = 0; i < n; i++) {
        queue->before[i] = (int32_t)i - 1;
        queue->after[i] = i + 1 < n ? (int32_t)i + 1 : -1;
        if (i + 1 < n) offer(bpe, queue, ids, i, i + 1);
    }
    for (int64_t i = queue->count / 2; i-- > 0;) sift_down(queue->heap, queue->count, i);
    merge_all(bpe, queue, ids);
    for (int64_t i = 0; i < n; i++)
        if (ids[i] >= 0) ids[kept++] = ids[i];
    *count = kept;
    return DK_OK;
}

void dk_bpe_scratch_free(dk_bpe_scratch *scratch)
{
    if (scratch->queue) {
        dk_free(scratch->host, scratch->queue->before);
        dk_free(scratch->host, scratch->queue->after);
        dk_free(scratch->host, scratch->queue->heap);
        dk_free(scratch->host, scratch->queue);
    }
    dk_free(scratch->host, scratch->cache);
    dk_strbuf_free(&scratch->text);
}
