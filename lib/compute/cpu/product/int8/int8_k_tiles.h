/* int8_k_tiles.h - K-quants on AMX tiles. Here weights are the right operand, for which a super-block of 16 lines is
 * turned as int8_k_panel.h does it, and activations the left one, 16 rows by 32 bytes, as they lie without tiles: sums
 * have the lines side by side, as scales have them. A tile's rows behind the last one hold whatever comes next, and
 * nobody looks at their sums. What a type takes away from each number is taken away as it is turned, so no sum begins
 * elsewhere than at 0.
 *
 * Blocks with two scales are two products of 16 columns. Groups of rows pass by a super-block while it is in L1. */
#ifndef DK_COMPUTE_INT8_K_TILES_H
#define DK_COMPUTE_INT8_K_TILES_H

#include "compute/cpu/product/int8/int8_k_blocks.h"
#include "compute/cpu/product/int8/int8_tiles.h"

enum { INT8_K_LINES = 16, INT8_K_VECTORS = INT8_K_LINES / DK_VF, INT8_K_GROUP = DK_INT8_GROUP, INT8_K_GROUPS = 16 };

typedef struct int8_k_super { /* of 16 lines */
    dk_vi weights[INT8_K_BLOCKS][8][INT8_K_VECTORS];
    int8_k_scales of[INT8_K_VECTORS];
    int32_t has_least;    /* beside two scales in a block */
    const uint8_t *ahead; /* what comes later, as long as this, or NULL */
    int64_t bytes;
} int8_k_super;

typedef int32_t int8_k_sums[2 * INT8_K_BLOCKS][INT8_K_GROUP][INT8_K_LINES];
typedef float int8_k_totals[INT8_K_GROUP][INT8_K_LINES];

/* So few rows cost no more without tiles. */
static inline int64_t int8_k_few(dk_dtype dtype) { return (dk_int8_halves_of(dtype) ? 2 : 1) * INT8_K_GROUP; }

/* ---- weights ---- */
static inline dk_vi int8_k_lower(dk_vi four, int32_t by)
{
    typedef int8_t bytes __attribute__((vector_size(sizeof(dk_vi))));
    return (dk_vi)((bytes)four - (int8_t)by);
}

static inline void int8_k_open(dk_dtype dtype, const uint8_t *at, int64_t step, int8_k_super *s)
{
    const int32_t offset = int8_offset(dtype);
    for (int64_t v = 0; v < INT8_K_VECTORS; v++, at += DK_VF * step) {
#if DK_VF == 16
        dk_vi(*turned)[8] = (dk_vi(*)[8])s->weights;
#else
        int8_k_weights turned;
#endif
        int8_k_scales_of(dtype, at, step, &s->of[v]);
        int8_k_turn(dtype, at, step, turned);
        if (DK_VF == 16 && !offset) return;
        for (int b = 0; b < INT8_K_BLOCKS; b++)
            for (int i = 0; i < 8; i++) s->weights[b][i][v] = int8_k_lower(turned[b][i], offset);
    }
}

/* ---- products ---- */
/* q: the group's first row in the super-block's first block; blocks are `apart` bytes apart. */
static inline void int8_k_sum_whole(const int8_k_super *s, const int8_t *q, int64_t apart, int8_k_sums sums)
{
    for (int b = 0; b < INT8_K_BLOCKS; b += 2) {
        INT8_TILE_ZERO(0);
        INT8_TILE_LOAD(4, q + b * apart, DK_INT8_BLOCK);
        INT8_TILE_LOAD(6, s->weights[b], 4 * INT8_K_LINES);
        INT8_TILE_DOT(0, 4, 6);
        INT8_TILE_STORE(0, sums[b], sizeof sums[0][0]);
        INT8_TILE_ZERO(1);
        INT8_TILE_LOAD(5, q + (b + 1) * apart, DK_INT8_BLOCK);
        INT8_TILE_LOAD(7, s->weights[b + 1], 4 * INT8_K_LINES);
        INT8_TILE_DOT(1, 5, 7);
        INT8_TILE_STORE(1, sums[b + 1], sizeof sums[0][0]);
    }
}

static inline void int8_k_sum_halves(const int8_k_super *s, const int8_t *q, int64_t apart, int8_k_sums sums)
{
    for (int b = 0; b < INT8_K_BLOCKS; b++) {
        INT8_TILE_ZERO(0);
        INT8_TILE_LOAD(2, q + b * apart, DK_INT8_BLOCK);
        INT8_TILE_LOAD(3, s->weights[b], 4 * INT8_K_LINES);
        INT8_TILE_DOT(0, 2, 3);
        INT8_TILE_STORE(0, sums[2 * b], sizeof sums[0][0]);
        INT8_TILE_ZERO(1);
        INT8_TILE_LOAD(2, q + b * apart + 16, DK_INT8_BLOCK);
        INT8_TILE_LOAD(3, s->weights[b][4], 4 * INT8_K_LINES);
        INT8_TILE_DOT(1, 2, 3);
        INT8_TILE_STORE(1, sums[2 * b + 1], sizeof sums[0][0]);
    }
}

/* ---- sums ---- */
/* DK_VF lines' totals in a row with its sums in block b; at: of the row's scales. */
DK_ALWAYS_INLINE dk_vf int8_k_add_tile(const int halves, const int8_k_super *s, int8_k_sums sums, int64_t b, int64_t r,
                                       int64_t v, const dk_int8_rows *rows, int64_t at, dk_vf total)
{
    const int8_k_scales *of = &s->of[v];
    const dk_vf by = dk_vf_set(rows->scale[at]);
    if (!halves) {
        total = dk_vf_fma(dk_vi_float(dk_vi_load(&sums[b][r][v * DK_VF])) * of->scale[b], by, total);
        return dk_vf_fma(dk_vf_set(rows->sum[at]) * of->least[b], by, total);
    }
    const dk_vf first = dk_vi_float(dk_vi_load(&sums[2 * b][r][v * DK_VF])),
                second = dk_vi_float(dk_vi_load(&sums[2 * b + 1][r][v * DK_VF]));
    total = dk_vf_fma(dk_vf_fma(first, of->scale[2 * b], second * of->scale[2 * b + 1]) * of->by, by, total);
    if (!s->has_least) return total;
    const dk_vf least =
        dk_vf_fma(dk_vf_set(rows->sum[at]), of->least[2 * b], dk_vf_set(rows->sum_second[at]) * of->least[2 * b + 1]);
    return dk_vf_fma(least * of->least_by, by, total);
}

typedef struct int8_k_group { /* rows [row, row + 16), or fewer, in the eight blocks from `block` on */
    const dk_int8_rows *rows;
    int64_t row, block;
    _Alignas(64) int8_k_sums sums;
} int8_k_group;

/* Rows [first, first + count) of a group; what lies ahead is fetched meanwhile: all at once would fill the few places
 * where a core waits for memory. halves and count are constants where this is inlined. */
DK_ALWAYS_INLINE void int8_k_add_rows(const int halves, const int count, const int8_k_super *s, int8_k_group *g,
                                      int64_t first, int8_k_totals total)
{
    for (int64_t v = 0; v < INT8_K_VECTORS; v++) {
        dk_vf of[INT8_K_GROUP];
#pragma GCC unroll 16
        for (int r = 0; r < count; r++) of[r] = g->block ? dk_vf_load(&total[first + r][v * DK_VF]) : dk_vf_set(0);
        for (int64_t b = 0; b < INT8_K_BLOCKS; b++) {
            const int64_t at = (g->block + b) * g->rows->count + g->row + first;
            for (int64_t i = b * s->bytes; s->ahead && i < (b + 1) * s->bytes; i += 64) DK_FETCH_FAR(s->ahead + i);
#pragma GCC unroll 16
            for (int r = 0; r < count; r++)
                of[r] = int8_k_add_tile(halves, s, g->sums, b, first + r, v, g->rows, at + r, of[r]);
        }
#pragma GCC unroll 16
        for (int r = 0; r < count; r++) dk_vf_store(&total[first + r][v * DK_VF], of[r]);
    }
}

/* `count` rows, at most a group, pass by a super-block. */
DK_ALWAYS_INLINE void int8_k_add_group(const int halves, const int8_k_super *s, int8_k_group *g, int64_t count,
                                       int8_k_totals total)
{
    const int64_t apart = g->rows->count * DK_INT8_BLOCK;
    const int8_t *q = g->rows->q + (g->block * g->rows->count + g->row) * DK_INT8_BLOCK;
    int64_t r = 0;
    if (halves) int8_k_sum_halves(s, q, apart, g->sums);
    else int8_k_sum_whole(s, q, apart, g->sums);
    if (count == INT8_K_GROUP) {
        int8_k_add_rows(halves, INT8_K_GROUP, s, g, 0, total);
        return;
    }
    for (; r + 4 <= count; r += 4) int8_k_add_rows(halves, 4, s, g, r, total);
    for (; r < count; r++) int8_k_add_rows(halves, 1, s, g, r, total);
}

/* Rows [row, row + count), INT8_K_GROUPS groups at most, by all super-blocks of 16 lines. */
DK_ALWAYS_INLINE void int8_k_tiles_of(const int halves, dk_dtype dtype, const uint8_t *b, int64_t step,
                                      const uint8_t *ahead, const dk_int8_rows *rows, int64_t row, int64_t count,
                                      int8_k_totals totals[INT8_K_GROUPS])
{
    const int64_t bytes = dk_int8_bytes(dtype), all = INT8_K_LINES * bytes;
    int8_k_super s = {.has_least = dtype == DK_Q2_K, .bytes = all / INT8_K_BLOCKS};
    int8_k_group g = {.rows = rows};
    for (int64_t k = 0; k < rows->k / DK_INT8_SUPER; k++) {
        int8_k_open(dtype, b + k * bytes, step, &s);
        s.ahead = ahead ? ahead + k * all : NULL;
        g.block = k * INT8_K_BLOCKS;
        for (int64_t r = 0; r < count; r += INT8_K_GROUP, s.ahead = NULL) {
            g.row = row + r;
            int8_k_add_group(halves, &s, &g, count - r < INT8_K_GROUP ? count - r : INT8_K_GROUP,
                             totals[r / INT8_K_GROUP]);
        }
    }
}

/* Rows lie as they do without tiles. */
static void int8_k_tiles(dk_dtype dtype, const uint8_t *b, int64_t step, const uint8_t *ahead, const dk_int8_rows *rows,
                         float *c, int64_t c_step)
{
    enum { MOST = INT8_K_GROUPS * INT8_K_GROUP };
    _Alignas(64) int8_k_totals totals[INT8_K_GROUPS];
    for (int64_t row = 0; row < rows->count; row += MOST, ahead = NULL) {
        const int64_t count = rows->count - row < MOST ? rows->count - row : MOST;
        if (dk_int8_halves_of(dtype)) int8_k_tiles_of(1, dtype, b, step, ahead, rows, row, count, totals);
        else int8_k_tiles_of(0, dtype, b, step, ahead, rows, row, count, totals);
        for (int64_t r = 0; r < count; r++)
            memcpy(c + (row + r) * c_step, totals[r / INT8_K_GROUP][r % INT8_K_GROUP], sizeof totals[0][0]);
    }
}

#endif
