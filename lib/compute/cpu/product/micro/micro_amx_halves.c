/* micro_amx_halves.c - floats by BF16 in full precision, on AMX: activations by weights as files have them.
 *
 * A float is three numbers of BF16 (thirds.h), so it takes three products on tiles, each of them exact. Why: tiles
 * multiply BF16 sixteen times as fast as AVX-512 multiplies floats, and a weight stays the half of a float that it is
 * in its file. A sum has fewer roundings than one product after the other in floats, since a tile adds 32 products at
 * once. The three thirds of a block of 256 k have sums of their own, which are added at its end, the largest last, and
 * then to what was there: the order that all ways below have.
 *
 * Many rows. One third of a block after the other, each as micro_amx.c does it: what passes by once more lies in L1.
 *
 * Few rows. The weights are the left side: a row of a tile is 32 k of one line as it lies in memory, so nothing of them
 * is packed and memory is read from end to end; A is packed turned. Of up to five rows all thirds stand side by side in
 * one tile, so that 32 lines take two products; of up to 16 rows each third is a tile. What comes out is turned in
 * registers. The weights of one step are loaded while those of another are multiplied, and what lies a panel ahead is
 * fetched between the products.
 *
 * Numbers that have no thirds make NaN of all that they come into, and sums near the least numbers may have lost some
 * to zero; these are computed again as floats one by one, in order of k. So NaN, infinity and denormals of A come out
 * as floats have them, and nothing else depends on them. Rows and columns of zeros need not be, and make most of such
 * sums. A denormal in B would be lost to zero: who chooses this kernel looks for them. */
#include "compute/cpu/product/micro/amx_tiles.h"
#include "compute/cpu/product/micro/micro_list.h"
#include "compute/cpu/product/micro/pack_thirds.h"
#include "compute/cpu/product/micro/tile_part.h"

enum {
    ROW = 64,
    B_STEP = 128, /* bytes of a row of a tile, from one row of a tile of B to the next */
    SIDE = 32,    /* of a tile of sums */
    BLOCK = 256,
    SURE_LEAST = 0x12800000, /* the bits of 2^-90: what sums below it lost to zero may show */
    SURE_ABOVE = 0x7f800000  /* of infinity */
};

static int64_t height(int64_t rows) { return rows > 16 ? 32 : 16; }

/* ---- sums that are not sure ---- */
typedef struct source { /* what a tile was computed from */
    int64_t k;
    const uint16_t *a;
    int64_t group, pair, third, row; /* of A: from one of these to the next, in halves; group = 32 k */
    const uint32_t *panel;           /* B packed, or */
    const dk_operand *weights;       /* as it lies, from this line and number on */
    int64_t line, lines, first;
} source;

static inline dk_vm unsure(dk_vf sum)
{
    const dk_vi size = dk_vf_bits(sum) & dk_vi_set(0x7fffffff);
    return (dk_vm)(dk_vi_less(size, dk_vi_set(SURE_LEAST)) | dk_vi_less(dk_vi_set(SURE_ABOVE - 1), size));
}

/* Whether all of a line of A is zeros, by its high thirds, which lie side by side: lines that fill up a panel are. */
static int32_t row_is_zero(const source *from, int64_t row)
{
    const uint16_t *a = from->a + row * from->row;
    dk_vi any = dk_vi_set(0);
    for (int64_t k = 0; k < from->k; k += DK_TILE_K, a += from->group)
        for (int64_t i = 0; i < DK_TILE_K; i += 2 * DK_VF) any |= dk_vi_load((const int32_t *)(const void *)(a + i));
    return !dk_vm_any(dk_vi_less(dk_vi_set(0), any & dk_vi_set(0x7fff7fff)));
}

/* A line of A as floats. Returns whether one is not zero. */
static int32_t join_row(const source *from, int64_t row, float *to)
{
    int32_t any = 0;
    for (int64_t k = 0; k < from->k; k++) {
        const uint16_t *at =
            from->a + k / DK_TILE_K * from->group + k % DK_TILE_K / 2 * from->pair + row * from->row + k % 2;
        to[k] = dk_thirds_join(at[0], at[from->third], at[2 * from->third]);
        any |= to[k] != 0;
    }
    return any;
}

/* One number of B. */
static float b_at(const source *from, int64_t column, int64_t k)
{
    if (from->panel) {
        const uint32_t pair = from->panel[k / 2 * SIDE + column];
        return dk_widen_bf16((uint16_t)(k % 2 ? pair >> 16 : pair));
    }
    if (column >= from->lines) return 0;
    return dk_widen_bf16(
        *(const uint16_t *)(const void *)dk_operand_at(from->weights, from->line + column, from->first + k));
}

/* Columns [column, column + DK_VF) of B as floats, k by k. Returns whether one is not zero. */
static int32_t join_columns(const source *from, int64_t column, float (*to)[DK_VF])
{
    int32_t any = 0;
    for (int64_t k = 0; k < from->k; k++)
        for (int64_t c = 0; c < DK_VF; c++) {
            to[k][c] = b_at(from, column + c, k);
            any |= to[k][c] != 0;
        }
    return any;
}

/* What is not sure of rows [0, rows) and columns [column, column + DK_VF), one product after the other. */
static void sum_again(const source *from, int64_t rows, int64_t column, float *sums)
{
    float b[BLOCK][DK_VF], a[BLOCK];
    int32_t joined = -1; /* whether one of the columns is not zero; -1 = not looked at */
    for (int64_t r = 0; r < rows; r++) {
        float *at = sums + r * SIDE + column;
        const dk_vf had = dk_vf_load(at);
        const dk_vm again = unsure(had);
        if (!dk_vm_any(again)) continue;
        const int32_t zeros = dk_vm_any(dk_vm_and(again, dk_vm_not(dk_vf_less(dk_vf_abs(had), dk_vf_set(1))))) == 0;
        if (zeros && from->pair == 2 && row_is_zero(from, r)) continue;
        const int32_t row = join_row(from, r, a);
        if (zeros && !row) continue;
        if (joined < 0) joined = join_columns(from, column, b);
        if (zeros && !joined) continue;
        dk_vf sum = dk_vf_set(0);
        for (int64_t k = 0; k < from->k; k++) sum = dk_vf_fma(dk_vf_set(a[k]), dk_vf_load(b[k]), sum);
        dk_vf_store(at, dk_vf_select(again, sum, had));
    }
}

/* Sums of `rows` rows into C. */
DK_ALWAYS_INLINE void finish(const source *from, int64_t rows, float *sums, const float *before, int64_t before_step,
                             float *to, int64_t to_step)
{
    for (int64_t c = 0; c < SIDE; c += DK_VF) {
        int32_t sure = 1;
        for (int64_t r = 0; r < rows; r++) sure &= !dk_vm_any(unsure(dk_vf_load(sums + r * SIDE + c)));
        if (!sure) sum_again(from, rows, c, sums);
        for (int64_t r = 0; r < rows; r++) {
            const dk_vf sum = dk_vf_load(sums + r * SIDE + c);
            dk_vf_store(to + r * to_step + c, before ? dk_vf_load(before + r * before_step + c) + sum : sum);
        }
    }
}

/* Sums of thirds, [3][16][16] from the high one on, of 16 rows by 16 lines. */
static inline void add_thirds(const float *thirds, float *to)
{
    for (int64_t i = 0; i < 16 * 16; i += DK_VF) {
        const dk_vf low = dk_vf_load(thirds + 2 * 256 + i), middle = dk_vf_load(thirds + 256 + i);
        dk_vf_store(to + i / 16 * SIDE + i % 16, low + middle + dk_vf_load(thirds + i));
    }
}

/* ---- many rows ---- */
/* Sums of one third of 16 or 32 rows by 32 lines, 2 x 2 tiles as in micro_amx.c. */
DK_ALWAYS_INLINE void sum_third(const uint8_t *a, const uint8_t *b, int64_t k, const int32_t two, dk_tile_ahead *next,
                                float *sums)
{
    const int64_t group = 3 * (1 + two) * 16 * ROW, step = SIDE * (int64_t)sizeof *sums;
    DK_TILE_ZERO(0);
    DK_TILE_ZERO(1);
    if (two) {
        DK_TILE_ZERO(2);
        DK_TILE_ZERO(3);
    }
    for (; k > 0; k -= DK_TILE_K, a += group, b += 16 * B_STEP) {
        DK_TILE_LOAD(6, b, B_STEP);
        DK_TILE_LOAD(4, a, ROW);
        DK_TILE_DOT(0, 4, 6);
        DK_TILE_LOAD(7, b + ROW, B_STEP);
        DK_TILE_DOT(1, 4, 7);
        dk_tile_fetch(next);
        if (!two) continue;
        DK_TILE_LOAD(5, a + 16 * ROW, ROW);
        DK_TILE_DOT(2, 5, 6);
        DK_TILE_DOT(3, 5, 7);
    }
    DK_TILE_STORE(0, sums, step);
    DK_TILE_STORE(1, sums + 16, step);
    if (!two) return;
    DK_TILE_STORE(2, sums + 16 * SIDE, step);
    DK_TILE_STORE(3, sums + 16 * SIDE + 16, step);
}

static void part(const dk_tile_part *of)
{
    float sums[3][SIDE * SIDE] __attribute__((aligned(64)));
    const int64_t third = of->height * DK_TILE_K;
    const source from = {
        .k = of->k, .a = of->a, .group = 3 * third, .pair = 2, .third = third, .row = DK_TILE_K, .panel = of->b};
    dk_tile_ahead next = dk_tile_ahead_of(of, 3 * of->k / DK_TILE_K);
    next.b_lines = (next.b_lines + 2) / 3; /* steps are three times as many as of other kernels */
    for (int64_t t = 2; t >= 0; t--) {
        const uint8_t *a = (const uint8_t *)of->a + t * third * (int64_t)sizeof(uint16_t);
        if (of->height == 32) sum_third(a, of->b, of->k, 1, &next, sums[t]);
        else sum_third(a, of->b, of->k, 0, &next, sums[t]);
    }
    for (int64_t i = 0; i < of->height * SIDE; i += DK_VF)
        dk_vf_store(sums[0] + i, dk_vf_load(sums[2] + i) + dk_vf_load(sums[1] + i) + dk_vf_load(sums[0] + i));
    finish(&from, of->height, sums[0], of->from, of->from_step, of->to, of->to_step);
}

static void tile(int64_t rows, int64_t k, const void *a, const void *b, float *c, int64_t c_step, int32_t add)
{
    const dk_tile_part all = dk_tile_part_in(rows, k, a, b, c, c_step, add);
    part(&all);
}

/* ---- few rows ---- */
typedef struct walk {         /* through 32 lines of weights */
    const uint8_t *b, *ahead; /* ahead: NULL = there is nothing to fetch */
    int64_t step, left, lines;
    uint8_t edge[SIDE * ROW] __attribute__((aligned(64)));
} walk;

static walk open_walk(const source *from)
{
    return (walk){.b = dk_operand_at(from->weights, from->line, from->first),
                  .ahead = dk_stream_ahead(from->weights, from->line, SIDE, from->first),
                  .step = from->weights->step * (int64_t)sizeof(uint16_t),
                  .left = from->k,
                  .lines = from->lines};
}

/* Where 32 k of all lines are, zeros for what is missing; *step from one line to the next. */
static inline const uint8_t *next_lines(walk *w, int64_t *step)
{
    const uint8_t *at = w->b;
    *step = w->step;
    if (w->lines < SIDE || w->left < DK_TILE_K) {
        const int64_t n = w->left < DK_TILE_K ? w->left : DK_TILE_K;
        memset(w->edge, 0, sizeof w->edge);
        for (int64_t i = 0; i < w->lines && i < SIDE; i++)
            memcpy(w->edge + i * ROW, w->b + i * w->step, (size_t)n * sizeof(uint16_t));
        at = w->edge;
        *step = ROW;
    }
    w->b += ROW;
    w->left -= DK_TILE_K;
    return at;
}

DK_ALWAYS_INLINE void fetch_lines(walk *w)
{
    if (!w->ahead) return;
#pragma GCC unroll 16
    for (int i = 0; i < SIDE / 2; i++) DK_FETCH_FAR(w->ahead + i * ROW);
    w->ahead += SIDE / 2 * ROW;
}

/* [lines][16] becomes [16][lines]: 16 of each. */
static inline void turn_sums(const float *from, float *to)
{
    for (int64_t r = 0; r < 16; r += DK_VF)
        for (int64_t c = 0; c < 16; c += DK_VF) {
            dk_vf square[DK_VF];
#pragma GCC unroll 16
            for (int i = 0; i < DK_VF; i++) square[i] = dk_vf_load(from + (c + i) * 16 + r);
            dk_transpose(square);
#pragma GCC unroll 16
            for (int i = 0; i < DK_VF; i++) dk_vf_store(to + (r + i) * 16 + c, square[i]);
        }
}

/* All thirds of up to FIVE rows in one tile of A. */
static void sum_five(const source *from, int64_t rows, float *sums)
{
    const uint8_t *a = (const uint8_t *)from->a, *at;
    float turned[2][256] __attribute__((aligned(64))), thirds[256] __attribute__((aligned(64)));
    walk w = open_walk(from);
    int64_t step;
    DK_TILE_ZERO(0);
    DK_TILE_ZERO(1);
    for (int64_t k = from->k; k > 0; k -= 2 * DK_TILE_K, a += 2 * 16 * ROW) {
        at = next_lines(&w, &step);
        DK_TILE_LOAD(4, at, step);
        DK_TILE_LOAD(5, at + 16 * step, step);
        DK_TILE_LOAD(6, a, ROW);
        DK_TILE_DOT(0, 4, 6);
        fetch_lines(&w);
        DK_TILE_DOT(1, 5, 6);
        fetch_lines(&w);
        if (k <= DK_TILE_K) break;
        at = next_lines(&w, &step);
        DK_TILE_LOAD(2, at, step);
        DK_TILE_LOAD(3, at + 16 * step, step);
        DK_TILE_LOAD(7, a + 16 * ROW, ROW);
        DK_TILE_DOT(0, 2, 7);
        fetch_lines(&w);
        DK_TILE_DOT(1, 3, 7);
        fetch_lines(&w);
    }
    DK_TILE_STORE(0, turned[0], ROW);
    DK_TILE_STORE(1, turned[1], ROW);
    for (int half = 0; half < 2; half++) {
        turn_sums(turned[half], thirds);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t i = 0; i < 16; i += DK_VF) {
                const float *third = thirds + 3 * r * 16 + i;
                dk_vf_store(sums + r * SIDE + half * 16 + i,
                            dk_vf_load(third + 32) + dk_vf_load(third + 16) + dk_vf_load(third));
            }
    }
}

/* Each third of up to 16 rows is a tile. */
static void sum_few(const source *from, float *sums)
{
    const uint8_t *a = (const uint8_t *)from->a;
    float turned[6][256] __attribute__((aligned(64))), thirds[3 * 256] __attribute__((aligned(64)));
    walk w = open_walk(from);
    DK_TILE_ZERO(0);
    DK_TILE_ZERO(1);
    DK_TILE_ZERO(2);
    DK_TILE_ZERO(3);
    DK_TILE_ZERO(4);
    DK_TILE_ZERO(5);
    for (int64_t k = from->k; k > 0; k -= DK_TILE_K, a += 3 * 16 * ROW) {
        int64_t step;
        const uint8_t *at = next_lines(&w, &step);
        DK_TILE_LOAD(6, at, step);
        DK_TILE_LOAD(7, a, ROW);
        DK_TILE_DOT(0, 6, 7);
        DK_TILE_LOAD(7, a + 16 * ROW, ROW);
        DK_TILE_DOT(1, 6, 7);
        DK_TILE_LOAD(7, a + 2 * 16 * ROW, ROW);
        DK_TILE_DOT(2, 6, 7);
        fetch_lines(&w);
        DK_TILE_LOAD(6, at + 16 * step, step);
        DK_TILE_DOT(5, 6, 7);
        DK_TILE_LOAD(7, a + 16 * ROW, ROW);
        DK_TILE_DOT(4, 6, 7);
        DK_TILE_LOAD(7, a, ROW);
        DK_TILE_DOT(3, 6, 7);
        fetch_lines(&w);
    }
    DK_TILE_STORE(0, turned[0], ROW);
    DK_TILE_STORE(1, turned[1], ROW);
    DK_TILE_STORE(2, turned[2], ROW);
    DK_TILE_STORE(3, turned[3], ROW);
    DK_TILE_STORE(4, turned[4], ROW);
    DK_TILE_STORE(5, turned[5], ROW);
    for (int half = 0; half < 2; half++) {
        for (int t = 0; t < 3; t++) turn_sums(turned[3 * half + t], thirds + t * 256);
        add_thirds(thirds, sums + half * 16);
    }
}

static void few(const dk_operand *b, int64_t line, int64_t rows, int64_t to_height, int64_t k, int64_t count,
                const void *a, float *c, int64_t c_step, int32_t add)
{
    float sums[16 * SIDE] __attribute__((aligned(64)));
    const int32_t five = rows <= DK_THIRDS_FIVE;
    const source from = {.k = count,
                         .a = a,
                         .group = (five ? 1 : 3) * 16 * DK_TILE_K,
                         .pair = 32,
                         .third = five ? 2 : 16 * DK_TILE_K,
                         .row = five ? 6 : 2,
                         .weights = b,
                         .line = line,
                         .lines = b->lines - line < SIDE ? b->lines - line : SIDE,
                         .first = k};
    (void)to_height;
    if (five) sum_five(&from, rows, sums);
    else sum_few(&from, sums);
    finish(&from, rows, sums, add ? c : NULL, c_step, c, c_step);
}

/* ---- packing ---- */
static void pack_a(const dk_operand *from, int64_t line, int64_t lines, int64_t to_height, int64_t k, int64_t count,
                   void *to)
{
    dk_pack_thirds(from, line, lines, to_height, k, count, 0, to);
}

static void pack_few(const dk_operand *from, int64_t line, int64_t lines, int64_t to_height, int64_t k, int64_t count,
                     void *to)
{
    (void)to_height; /* 16 */
    if (lines <= DK_THIRDS_FIVE) dk_pack_five(from, line, lines, k, count, to);
    else dk_pack_thirds(from, line, lines, 16, k, count, 1, to);
}

#ifndef DK_MICRO_AMX_HALVES
#define DK_MICRO_AMX_HALVES dk_micro_amx_halves
#endif
const dk_micro DK_MICRO_AMX_HALVES = {.name = "amx",
                                      .rows = 32,
                                      .columns = 32,
                                      .group = DK_TILE_K,
                                      .k_bytes = 3 * sizeof(uint16_t),
                                      .b_bytes = sizeof(uint16_t),
                                      .block = BLOCK,
                                      .own_blocks = 1,
                                      .a_bytes = 1024 << 10,
                                      .height = height,
                                      .pack_a = pack_a,
                                      .pack_b = dk_pack_tile_pairs,
                                      .tile = tile,
                                      .part = part,
                                      .few = few,
                                      .pack_few = pack_few,
                                      .few_rows = 16,
                                      .few_tails = 1,
                                      .begin = dk_tiles_begin,
                                      .end = dk_tiles_end};
