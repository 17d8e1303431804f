/* kernel_attention.c - attention of a few queries over all keys that they see, by blocks with a running maximum
 * (Milakov & Gimelshein 2018; Dao et al. 2022).
 *
 * Blocking. A block is a page of keys by up to 64 queries of the heads of a group, which read the same keys and values
 * once. Keys are cut into pieces of DK_KEYS_PIECE, which begin at multiples of that. Each is summed from nothing, and
 * pieces are joined in order, each with the maximum and the partition that it has: so they may be summed by several
 * threads, and a query has the same bits whether they are.
 *
 * Layout. The queries lie in the lanes: scores are S^T [keys, queries], so that maxima, sums and masks need no step
 * across lanes, and keys and values are read in place (in BF16, or at an odd width, by way of a widened copy of the
 * block). Where queries fill less than half of a vector, as in decoding, keys lie in the lanes instead: squares of keys
 * by numbers are turned in registers. The operations of a query are the same in the same order, and so are its bits. */
#include "compute/cpu/kernel_variant.h"
#include "compute/cpu/product/micro/transpose.h"
#include "compute/cpu/seen_values.h"
#include "compute/cpu/tile.h"

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
    /* [KEYS, width], where dim is no multiple of DK_VF, keys and values are BF16, or values are no numbers */
    float *values;
    float *joined, *part; /* [used, dim + 2] of the pieces so far, of one */
    int32_t *position;    /* [count] */
} lanes;

static int64_t kernel_attention_rows(int64_t group) { return group < QUERIES ? QUERIES / group : 1; }

static int64_t kernel_attention_scratch(int64_t group, int64_t dim)
{
    int64_t count = dk_lanes_up(group < QUERIES ? QUERIES : group), width = dk_lanes_up(dim);
    return count * (dim + KEYS + width + 4 + 2 * DK_ATTENTION_PART(dim)) + KEYS * width;
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
    l.joined = l.values + KEYS * l.width;
    l.part = l.joined + l.used * DK_ATTENTION_PART(b->dim);
    return l;
}

static void begin(const dk_attention_block *b, const lanes *l)
{
    for (int64_t i = 0; i < l->count; i++) {
        int64_t head = i / b->rows, row = i % b->rows;
        const float *q = b->q + row * b->q_row + head * b->q_head;
        for (int64_t d = 0; d < b->dim; d++) l->transposed[d * l->count + i] = i < l->used ? b->scale * q[d] : 0;
        l->position[i] = (int32_t)row;
    }
}

static void begin_piece(const lanes *l)
{
    for (int64_t i = 0; i < l->count; i++) {
        l->highest[i] = LOWEST;
        l->partition[i] = 0;
    }
    memset(l->sum, 0, (size_t)(l->used * l->width) * sizeof *l->sum);
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

/* What is needed next, in rows that lie apart: the machine does not see them coming, and all at once they would fill
 * the few places where a core waits for memory. So each step of scores asks for a piece of a row of both. */
typedef struct upcoming {
    const uint8_t *keys, *values;          /* of the block that follows, or this one's values again; of this one */
    int64_t keys_step, values_step, bytes; /* from row to row; of DK_VF numbers */
} upcoming;

/* A square of keys j and numbers d, less than a whole one at the ends. queries and whole are constants where this is
 * inlined. */
DK_INLINE void few_square(const int queries, const int whole, const lanes *l, const float *k, int64_t step,
                          int64_t keys, int64_t left, const float *by, const upcoming *next, dk_vf *sum)
{
    dk_vf square[DK_VF];
#pragma GCC unroll 16
    for (int i = 0; i < DK_VF; i++) {
        if (whole) square[i] = dk_vf_load(k + i * step);
        else square[i] = i < keys ? dk_vf_take(k + i * step, left, 0) : dk_vf_set(0);
    }
    dk_transpose(square);
#pragma GCC unroll 16
    for (int i = 0; i < DK_VF; i++) {
        if (!whole && i >= left) break;
        if (whole && next) {
            FETCH(next->keys + i * next->keys_step);
            FETCH(next->values + i * next->values_step);
        }
#pragma GCC unroll 8
        for (int q = 0; q < queries; q++) sum[q] = dk_vf_fma(square[i], dk_vf_set(by[i * l->count + q]), sum[q]);
    }
}

/* scores [queries, KEYS]; queries is a constant where this is inlined, and those behind l->used are zeros. */
DK_INLINE void few_scores(const int queries, const dk_attention_block *b, const lanes *l, const float *k, int64_t step,
                          int64_t keys, const upcoming *next)
{
    for (int64_t j = 0; j < keys; j += DK_VF) {
        dk_vf sum[8];
        for (int q = 0; q < queries; q++) sum[q] = dk_vf_set(0);
        for (int64_t d = 0; d < b->dim; d += DK_VF) {
            const int64_t at = d / DK_VF * next->bytes;
            const upcoming row = {.keys = next->keys + j * next->keys_step + at,
                                  .values = next->values + j * next->values_step + at,
                                  .keys_step = next->keys_step,
                                  .values_step = next->values_step};
            const float *from = k + j * step + d, *by = l->transposed + d * l->count;
            if (keys - j < DK_VF || b->dim - d < DK_VF)
                few_square(queries, 0, l, from, step, keys - j, b->dim - d, by, NULL, sum);
            else if (at % 64 < next->bytes) few_square(queries, 1, l, from, step, DK_VF, DK_VF, by, &row, sum);
            else few_square(queries, 1, l, from, step, DK_VF, DK_VF, by, NULL, sum);
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
                      int64_t first, int64_t keys, const upcoming *next)
{
    few_scores(queries, b, l, k, step, keys, next);
    for (int64_t q = 0; q < l->used; q++) few_weigh(b, l, q, first, keys);
    few_totals(queries, l, keys);
}

static void few_queries(const dk_attention_block *b, const lanes *l, const float *k, int64_t step, int64_t first,
                        int64_t keys, const upcoming *next)
{
    if (l->used == 1) few_of(1, b, l, k, step, first, keys, next);
    else if (l->used == 2) few_of(2, b, l, k, step, first, keys, next);
    else if (l->used == 3) few_of(3, b, l, k, step, first, keys, next);
    else if (l->used == 4) few_of(4, b, l, k, step, first, keys, next);
    else few_of(8, b, l, k, step, first, keys, next);
}

/* Sums [queries from q on, numbers from d on] fade, and the block's values are added. queries and vectors are constants
 * where this is inlined. */
DK_INLINE void few_values_of(const int queries, const int vectors, const lanes *l, int64_t q, int64_t d, const float *v,
                             int64_t step, int64_t keys)
{
    const float *weights = l->scores + q * KEYS;
    float *to = l->sum + q * l->width + d;
    dk_vf sum[4][4];
#pragma GCC unroll 4
    for (int i = 0; i < queries; i++)
#pragma GCC unroll 4
        for (int s = 0; s < vectors; s++)
            sum[i][s] = dk_vf_load(to + i * l->width + s * DK_VF) * dk_vf_set(l->fade[q + i]);
    for (int64_t j = 0; j < keys; j++) {
        dk_vf line[4];
#pragma GCC unroll 4
        for (int s = 0; s < vectors; s++) line[s] = dk_vf_load(v + j * step + d + s * DK_VF);
#pragma GCC unroll 4
        for (int i = 0; i < queries; i++) {
            const dk_vf by = dk_vf_set(weights[i * KEYS + j]);
#pragma GCC unroll 4
            for (int s = 0; s < vectors; s++) sum[i][s] = dk_vf_fma(by, line[s], sum[i][s]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < queries; i++)
#pragma GCC unroll 4
        for (int s = 0; s < vectors; s++) dk_vf_store(to + i * l->width + s * DK_VF, sum[i][s]);
}

DK_INLINE void few_values_at(const int vectors, const lanes *l, int64_t d, const float *v, int64_t step, int64_t keys)
{
    int64_t q = 0;
    for (; q + 4 <= l->used; q += 4) few_values_of(4, vectors, l, q, d, v, step, keys);
    if (l->used - q == 3) few_values_of(3, vectors, l, q, d, v, step, keys);
    else if (l->used - q == 2) few_values_of(2, vectors, l, q, d, v, step, keys);
    else if (l->used - q == 1) few_values_of(1, vectors, l, q, d, v, step, keys);
}

static void few_values(const lanes *l, const float *v, int64_t step, int64_t keys)
{
    int64_t d = 0;
    for (; DK_VF == 16 && d + 4 * DK_VF <= l->width; d += 4 * DK_VF) few_values_at(4, l, d, v, step, keys);
    for (; d < l->width; d += DK_VF) few_values_at(1, l, d, v, step, keys);
}

/* A query does not see all of the block's keys. */
static int32_t is_masked(const dk_attention_block *b, int64_t first, int64_t keys)
{
    return first + keys > 1 || (b->window > 0 && first <= b->rows - 1 - b->window);
}

static void many_queries(const dk_attention_block *b, const lanes *l, const float *k, int64_t step, int64_t first,
                         int64_t keys)
{
    const int32_t masked = is_masked(b, first, keys);
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

static const uint8_t *row_at(const dk_attention_block *b, const float *x, int64_t step, int64_t key)
{
    const int64_t row = b->pages ? b->pages[key / KEYS] * (int64_t)KEYS + key % KEYS : key;
    return (const uint8_t *)x + row * step * (b->halves ? 2 : 4);
}

static upcoming next_of(const dk_attention_block *b, int64_t key)
{
    const int64_t size = b->halves ? 2 : 4, left = b->position + b->rows - key - KEYS;
    const uint8_t *values = row_at(b, b->v, b->v_row, key);
    return (upcoming){.keys = left > 0 ? row_at(b, b->k, b->k_row, key + KEYS) : values,
                      .values = values,
                      .keys_step = (left > 0 ? b->k_row : b->v_row) * size,
                      .values_step = b->v_row * size,
                      .bytes = DK_VF * size};
}

static float value_at(const dk_attention_block *b, int64_t key, int64_t d)
{
    const uint8_t *row = row_at(b, b->v, b->v_row, key);
    return b->halves ? dk_widen_bf16(((const uint16_t *)(const void *)row)[d]) : ((const float *)(const void *)row)[d];
}

/* What clean values lack, for the queries that see it. */
static void add_odd(const dk_attention_block *b, const lanes *l, int64_t key, int64_t keys)
{
    const int64_t query_step = is_few(l) ? KEYS : 1, key_step = is_few(l) ? 1 : l->count;
    for (int64_t j = 0; j < keys; j++)
        for (int64_t d = 0; d < b->dim; d++) {
            const float value = value_at(b, key + j, d);
            for (int64_t i = 0; i < l->used && !isfinite(value); i++)
                if (dk_is_seen(b->position + l->position[i], key + j, b->window))
                    l->sum[i * l->width + d] += l->scores[i * query_step + j * key_step] * value;
        }
}

static void add_values(const lanes *l, const float *v, int64_t step, int64_t keys)
{
    if (is_few(l)) {
        few_values(l, v, step, keys);
        return;
    }
    for (int64_t i = 0; i < l->used; i++) {
        dk_vf fade = dk_vf_set(l->fade[i]);
        float *sum = l->sum + i * l->width;
        for (int64_t d = 0; d < l->width; d += DK_VF) dk_vf_store(sum + d, dk_vf_load(sum + d) * fade);
    }
    dk_tile values = {.a = l->scores,
                      .a_row = 1,
                      .a_column = l->count,
                      .b = v,
                      .b_row = step,
                      .c = l->sum,
                      .c_row = l->width,
                      .m = l->used,
                      .n = l->width,
                      .k = keys,
                      .add = 1};
    dk_tile_run(&values);
}

static void add_keys(const dk_attention_block *b, const lanes *l, int64_t key, int64_t keys)
{
    int64_t first = key - b->position, k_step = b->k_row, v_step = b->v_row;
    const float *k = block_rows(b, b->k, &k_step, key, keys, l->values);
    if (is_few(l)) {
        const upcoming next = next_of(b, key);
        few_queries(b, l, k, k_step, first, keys, &next);
    } else many_queries(b, l, k, k_step, first, keys);
    const float *v = block_rows(b, b->v, &v_step, key, keys, l->values);
    if (!b->halves) v = dk_whole_rows(v, &v_step, keys, b->dim, l->values);
    const int32_t odd = is_masked(b, first, keys) && !dk_rows_are_finite(v, v_step, keys, b->dim);
    if (odd) {
        dk_rows_clean(v, v_step, keys, b->dim, l->values, l->width);
        v = l->values;
        v_step = l->width;
    }
    add_values(l, v, v_step, keys);
    if (odd) add_odd(b, l, key, keys);
}

/* ---- pieces of keys ---- */
static int64_t piece_end(const dk_attention_block *b, int64_t key)
{
    const int64_t end = (key / DK_KEYS_PIECE + 1) * DK_KEYS_PIECE, last = b->position + b->rows;
    return end < last ? end : last;
}

static void add_piece(const dk_attention_block *b, const lanes *l, int64_t key)
{
    const int64_t end = piece_end(b, key);
    begin_piece(l);
    for (; key < end; key += KEYS) add_keys(b, l, key, end - key < KEYS ? end - key : KEYS);
}

static void put_part(const dk_attention_block *b, const lanes *l, float *to)
{
    for (int64_t i = 0; i < l->used; i++, to += DK_ATTENTION_PART(b->dim)) {
        to[0] = l->highest[i];
        to[1] = l->partition[i];
        memcpy(to + 2, l->sum + i * l->width, (size_t)b->dim * sizeof *to);
    }
}

/* Lane 0 of exp, whose bits are those of any other. */
static inline float exp_of(float x) { return DK_LANE(dk_vf_exp(dk_vf_set(x)), 0); }

/* What stands in `to` comes before; of a piece whose keys a query does not see, nothing is added to it. */
static void join(const dk_attention_block *b, int64_t used, const float *part, float *to)
{
    for (int64_t i = 0; i < used; i++, part += DK_ATTENTION_PART(b->dim), to += DK_ATTENTION_PART(b->dim)) {
        if (part[1] == 0) continue;
        if (to[1] == 0) {
            memcpy(to, part, (size_t)DK_ATTENTION_PART(b->dim) * sizeof *to);
            continue;
        }
        const float top = part[0] > to[0] ? part[0] : to[0], old = exp_of(to[0] - top), fresh = exp_of(part[0] - top);
        to[0] = top;
        for (int64_t d = 1; d < DK_ATTENTION_PART(b->dim); d += DK_VF) {
            const int64_t left = DK_ATTENTION_PART(b->dim) - d;
            const dk_vf more = dk_vf_take(part + d, left, 0) * dk_vf_set(fresh);
            dk_vf_give(to + d, dk_vf_fma(dk_vf_take(to + d, left, 0), dk_vf_set(old), more), left);
        }
    }
}

/* part [used, dim + 2] */
static void finish(const dk_attention_block *b, const float *part)
{
    for (int64_t i = 0; i < b->group * b->rows; i++, part += DK_ATTENTION_PART(b->dim)) {
        int64_t head = i / b->rows, row = i % b->rows;
        float *y = b->y + row * b->y_row + head * b->y_head, inverse = 1 / part[1];
        for (int64_t d = 0; d < b->dim; d++) y[d] = part[2 + d] * inverse;
        if (b->lse) b->lse[row * b->lse_row + head * b->lse_head] = part[0] + logf(part[1]);
    }
}

/* The rows contract: keys in front of the window weigh 0 and change no bit. */
static int64_t first_key(const dk_attention_block *b)
{
    int64_t key = b->window > 0 && b->position >= b->window ? b->position - b->window + 1 : 0;
    return key - key % KEYS;
}

static void attend_piece(const dk_attention_block *b, const lanes *l)
{
    const int64_t begins = b->piece * DK_KEYS_PIECE, seen = first_key(b), key = begins > seen ? begins : seen;
    if (key >= begins + DK_KEYS_PIECE || key >= b->position + b->rows) begin_piece(l);
    else add_piece(b, l, key);
    put_part(b, l, b->part);
}

static void kernel_attention(const dk_attention_block *b)
{
    const lanes l = lay_out(b);
    const int64_t end = b->position + b->rows;
    begin(b, &l);
    if (b->part) {
        attend_piece(b, &l);
        return;
    }
    int64_t key = first_key(b);
    add_piece(b, &l, key);
    put_part(b, &l, l.joined);
    while ((key = piece_end(b, key)) < end) {
        add_piece(b, &l, key);
        put_part(b, &l, l.part);
        join(b, l.used, l.part, l.joined);
    }
    finish(b, l.joined);
}

static void kernel_attention_join(const dk_attention_block *b, int64_t pieces)
{
    const int64_t used = b->group * b->rows;
    for (int64_t i = 1; i < pieces; i++) join(b, used, b->part + i * used * DK_ATTENTION_PART(b->dim), b->part);
    finish(b, b->part);
}

void DK_VARIANT(dk_kernels_fill_attention)(dk_kernels *kernels)
{
    kernels->attention_rows = kernel_attention_rows;
    kernels->attention_scratch = kernel_attention_scratch;
    kernels->attention = kernel_attention;
    kernels->attention_join = kernel_attention_join;
}
