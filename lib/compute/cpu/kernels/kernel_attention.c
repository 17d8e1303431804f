#include "compute/cpu/kernel_variant.h"
#include "compute/cpu/product/micro/transpose.h"
#include "compute/cpu/tile.h"

/* Attention by blocks with a running maximum (Milakov & Gimelshein 2018; Dao et al. 2022).
 *
 * The queries of all heads of a group lie in the lanes: scores are S^T [keys, queries], so that maxima, sums and masks
 * need no step across lanes, and keys and values are read in place. */
#define KEYS DK_PAGE
#define QUERIES 64
#if defined(__GNUC__)
#define FETCH(at) __builtin_prefetch(at, 0, 2) /* into L2: not needed soon */
#else
#define FETCH(at) (void)(at)
#endif
#define LOWEST -1e30f /* the running maximum before the first key: finite, so that -inf - it is no NaN */

typedef struct lanes {
    int64_t used, count;               /* queries of all heads; rounded up to whole vectors */
    int64_t width;                     /* dim, rounded up */
    float *transposed;                 /* [dim, count]: scale*q */
    float *scores;                     /* [KEYS, count] */
    float *sum;                        /* [count, width]: values so far */
    float *highest, *partition, *fade; /* [count] */
    float *values;     /* [KEYS, width], where dim is no multiple of DK_VF, or keys and values are BF16 */
    int32_t *position; /* [count] */
} lanes;

static int64_t kernel_attention_rows(int64_t group) { return group < QUERIES ? QUERIES / group : 1; }

static int64_t kernel_attention_scratch(int64_t group, int64_t dim)
{
    int64_t count = dk_lanes_up(group < QUERIES ? QUERIES : group), width = dk_lanes_up(dim);
    return count * (dim + KEYS + width + 4) + KEYS * width;
}

static lanes lay_out(const dk_attention_block *b)
{
    lanes l = {.used = b->group * b->rows, .width = dk_lanes_up(b->dim)};
    l.count = dk_lanes_up(l.used);
    l.transposed = b->scratch;
    l.scores = l.transposed + b->dim * l.count;
    l.sum = l.scores + KEYS * l.count;
    l.highest = l.sum + l.count * l.width;
    l.partition = l.highest + l.count;
    l.fade = l.partition + l.count;
    l.position = (int32_t *)(void *)(l.fade + l.count);
    l.values = l.fade + 2 * l.count;
    return l;
}

static void begin(const dk_attention_block *b, const lanes *l)
{
    for (int64_t i = 0; i < l->count; i++) {
        int64_t head = i / b->rows, row = i % b->rows;
        const float *q = b->q + row * b->q_row + head * b->q_head;
        for (int64_t d = 0; d < b->dim; d++) l->transposed[d * l->count + i] = i < l->used ? b->scale * q[d] : 0;
        l->position[i] = (int32_t)row;
        l->highest[i] = LOWEST;
        l->partition[i] = 0;
    }
    memset(l->sum, 0, (size_t)(l->count * l->width) * sizeof *l->sum);
}

/* Key `key` (relative to the block's first query) is seen by the lanes at `position`. */
static inline dk_vm seen(dk_vi position, int64_t key, int64_t window)
{
    dk_vm past = dk_vi_less(dk_vi_set((int32_t)key), position + 1);
    return window > 0 ? dk_vm_and(past, dk_vi_less(position - (int32_t)window, dk_vi_set((int32_t)key))) : past;
}

/* Scores of one vector of queries become weights; the running maximum and partition move on. */
static void weigh(const dk_attention_block *b, const lanes *l, int64_t at, int64_t first, int64_t keys, int32_t masked)
{
    dk_vf old = dk_vf_load(l->highest + at), top = old, total = dk_vf_set(0), cap = dk_vf_set(b->softcap);
    dk_vi position = dk_vi_load(l->position + at);
    float *s = l->scores + at;
    int32_t direct = !masked && !(b->softcap > 0);
    for (int64_t j = 0; j < keys; j++) {
        dk_vf v = dk_vf_load(s + j * l->count);
        if (!direct) {
            if (b->softcap > 0) v = cap * dk_vf_tanh(v / cap);
            if (masked) v = dk_vf_select(seen(position, first + j, b->window), v, dk_vf_set(-INFINITY));
            dk_vf_store(s + j * l->count, v);
        }
        top = dk_vf_max(top, v);
    }
    for (int64_t j = 0; j < keys; j++) {
        dk_vf p = dk_vf_exp(dk_vf_load(s + j * l->count) - top);
        dk_vf_store(s + j * l->count, p);
        total = total + p;
    }
    dk_vf fade = dk_vf_exp(old - top);
    dk_vf_store(l->highest + at, top);
    dk_vf_store(l->fade + at, fade);
    dk_vf_store(l->partition + at, dk_vf_fma(dk_vf_load(l->partition + at), fade, total));
}

/* Keys [key, key + keys) of a block of keys, which is one page where there are pages. BF16 is widened, and so becomes
 * rows of whole vectors. */
static const float *block_rows(const dk_attention_block *b, const float *x, int64_t *step, int64_t key, int64_t keys,
                               float *scratch)
{
    int64_t row = b->pages ? b->pages[key / KEYS] * (int64_t)KEYS + key % KEYS : key, width = dk_lanes_up(b->dim);
    if (!b->halves) return x + row * *step;
    const uint16_t *half = (const uint16_t *)(const void *)x + row * *step;
    for (int64_t r = 0; r < keys; r++, half += *step) {
        float *to = scratch + r * width;
        int64_t d = 0;
        for (; d + DK_VF <= b->dim; d += DK_VF) dk_vf_store(to + d, dk_vf_load_bf16(half + d));
        for (; d < width; d++) to[d] = d < b->dim ? dk_widen_bf16(half[d]) : 0;
    }
    *step = width;
    return scratch;
}

/* ---- few queries, as decoding has them: keys in the lanes ----
 * Most lanes of queries would lie idle. Scores, weights and sums are made of the same operations in the same order, and
 * so have the same bits. */
static int32_t is_few(const lanes *l) { return 2 * l->used <= DK_VF; }

/* scores [queries, KEYS]; queries is a constant where this is inlined, and those behind l->used are zeros. */
DK_INLINE void few_scores(const int queries, const dk_attention_block *b, const lanes *l, const float *k, int64_t step,
                          int64_t keys)
{
    for (int64_t j = 0; j < keys; j += DK_VF) {
        dk_vf sum[8], square[DK_VF];
        for (int q = 0; q < queries; q++) sum[q] = dk_vf_set(0);
        for (int64_t d = 0; d < b->dim; d += DK_VF) {
            const float *by = l->transposed + d * l->count;
            int64_t left = b->dim - d;
#pragma GCC unroll 16
            for (int i = 0; i < DK_VF; i++)
                square[i] = j + i < keys ? dk_vf_take(k + (j + i) * step + d, left, 0) : dk_vf_set(0);
            dk_transpose(square);
#pragma GCC unroll 16
            for (int i = 0; i < DK_VF; i++) {
                if (i >= left) break;
#pragma GCC unroll 8
                for (int q = 0; q < queries; q++)
                    sum[q] = dk_vf_fma(square[i], dk_vf_set(by[i * l->count + q]), sum[q]);
            }
        }
        for (int q = 0; q < queries; q++) dk_vf_store(l->scores + q * KEYS + j, sum[q]);
    }
}

static void few_weigh(const dk_attention_block *b, const lanes *l, int64_t q, int64_t first, int64_t keys)
{
    float *s = l->scores + q * KEYS;
    dk_vf top = dk_vf_set(l->highest[q]), cap = dk_vf_set(b->softcap);
    dk_vi position = dk_vi_set(l->position[q]), key = dk_vi_iota() + dk_vi_set((int32_t)first);
    for (int64_t j = 0; j < keys; j += DK_VF, key = key + dk_vi_set(DK_VF)) {
        dk_vf v = dk_vf_load(s + j);
        dk_vm in = dk_vi_less(key, position + 1);
        if (b->window > 0) in = dk_vm_and(in, dk_vi_less(position - (int32_t)b->window, key));
        if (b->softcap > 0) v = cap * dk_vf_tanh(v / cap);
        v = dk_vf_select(dk_vm_and(in, dk_vi_less(key, dk_vi_set((int32_t)(first + keys)))), v, dk_vf_set(-INFINITY));
        dk_vf_store(s + j, v);
        top = dk_vf_max(top, v);
    }
    top = dk_vf_set(dk_vf_highest(top));
    for (int64_t j = 0; j < keys; j += DK_VF) dk_vf_store(s + j, dk_vf_exp(dk_vf_load(s + j) - top));
    l->fade[q] = DK_LANE(dk_vf_exp(dk_vf_set(l->highest[q]) - top), 0);
    l->highest[q] = DK_LANE(top, 0);
}

/* In order of the keys, the sums of all queries side by side. */
DK_INLINE void few_totals(const int queries, const lanes *l, int64_t keys)
{
    float total[8] = {0};
    for (int64_t j = 0; j < keys; j++)
#pragma GCC unroll 8
        for (int q = 0; q < queries; q++) total[q] += l->scores[q * KEYS + j];
    for (int64_t q = 0; q < l->used; q++)
        l->partition[q] = DK_LANE(dk_vf_fma(dk_vf_set(l->partition[q]), dk_vf_set(l->fade[q]), dk_vf_set(total[q])), 0);
}

DK_INLINE void few_of(const int queries, const dk_attention_block *b, const lanes *l, const float *k, int64_t step,
                      int64_t first, int64_t keys)
{
    few_scores(queries, b, l, k, step, keys);
    for (int64_t q = 0; q < l->used; q++) few_weigh(b, l, q, first, keys);
    few_totals(queries, l, keys);
}

static void few_queries(const dk_attention_block *b, const lanes *l, const float *k, int64_t step, int64_t first,
                        int64_t keys)
{
    if (l->used == 1) few_of(1, b, l, k, step, first, keys);
    else if (l->used == 2) few_of(2, b, l, k, step, first, keys);
    else if (l->used <= 4) few_of(4, b, l, k, step, first, keys);
    else few_of(8, b, l, k, step, first, keys);
}

static void many_queries(const dk_attention_block *b, const lanes *l, const float *k, int64_t step, int64_t first,
                         int64_t keys)
{
    int32_t masked = first + keys > 1 || (b->window > 0 && first <= b->rows - 1 - b->window);
    dk_tile scores = {.a = k,
                      .a_row = step,
                      .a_column = 1,
                      .b = l->transposed,
                      .b_row = l->count,
                      .c = l->scores,
                      .c_row = l->count,
                      .m = keys,
                      .n = l->count,
                      .k = b->dim};
    dk_tile_run(&scores);
    for (int64_t at = 0; at < l->count; at += DK_VF) weigh(b, l, at, first, keys, masked);
}

/* Rows of the block that comes next, which lie apart: too far for the machine to see what is read. */
static void fetch(const dk_attention_block *b, const float *x, int64_t step, int64_t key, int64_t keys)
{
    int64_t size = b->halves ? 2 : 4, row = b->pages ? b->pages[key / KEYS] * (int64_t)KEYS + key % KEYS : key;
    const uint8_t *at = (const uint8_t *)x + row * step * size;
    for (int64_t r = 0; r < keys; r++, at += step * size)
        for (int64_t i = 0; i < b->dim * size; i += 64) FETCH(at + i);
}

static void add_keys(const dk_attention_block *b, const lanes *l, int64_t key, int64_t keys)
{
    const int32_t few = is_few(l);
    int64_t first = key - b->position, k_step = b->k_row, v_step = b->v_row, left = b->position + b->rows - key - keys;
    const float *k = block_rows(b, b->k, &k_step, key, keys, l->values);
    if (few && left > 0) {
        fetch(b, b->k, b->k_row, key + KEYS, left < KEYS ? left : KEYS);
        fetch(b, b->v, b->v_row, key + KEYS, left < KEYS ? left : KEYS);
    }
    (few ? few_queries : many_queries)(b, l, k, k_step, first, keys);
    for (int64_t i = 0; i < l->used; i++) {
        dk_vf fade = dk_vf_set(l->fade[i]);
        float *sum = l->sum + i * l->width;
        for (int64_t d = 0; d < l->width; d += DK_VF) dk_vf_store(sum + d, dk_vf_load(sum + d) * fade);
    }
    const float *v = block_rows(b, b->v, &v_step, key, keys, l->values);
    if (!b->halves) v = dk_whole_rows(v, &v_step, keys, b->dim, l->values);
    dk_tile values = {.a = l->scores,
                      .a_row = few ? KEYS : 1,
                      .a_column = few ? 1 : l->count,
                      .b = v,
                      .b_row = v_step,
                      .c = l->sum,
                      .c_row = l->width,
                      .m = l->used,
                      .n = l->width,
                      .k = keys,
                      .add = 1};
    dk_tile_run(&values);
}

static void finish(const dk_attention_block *b, const lanes *l)
{
    for (int64_t i = 0; i < l->used; i++) {
        int64_t head = i / b->rows, row = i % b->rows;
        float *y = b->y + row * b->y_row + head * b->y_head, inverse = 1 / l->partition[i];
        for (int64_t d = 0; d < b->dim; d++) y[d] = l->sum[i * l->width + d] * inverse;
        if (b->lse) b->lse[row * b->lse_row + head * b->lse_head] = l->highest[i] + logf(l->partition[i]);
    }
}

static void kernel_attention(const dk_attention_block *b)
{
    lanes l = lay_out(b);
    int64_t last = b->position + b->rows - 1;
    int64_t key = b->window > 0 && b->position >= b->window ? b->position - b->window + 1 : 0;
    key -= key % KEYS; /* the rows contract: keys in front of the window weigh 0 and change no bit */
    begin(b, &l);
    for (; key <= last; key += KEYS) add_keys(b, &l, key, last - key + 1 < KEYS ? last - key + 1 : KEYS);
    finish(b, &l);
}

void DK_VARIANT(dk_kernels_fill_attention)(dk_kernels *kernels)
{
    kernels->attention_rows = kernel_attention_rows;
    kernels->attention_scratch = kernel_attention_scratch;
    kernels->attention = kernel_attention;
}
