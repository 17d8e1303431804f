/* int8_k_panel.h - the kernel of int8_panel.h for K-quants: a super-block of all lines is turned into L1, and all rows
 * pass by its eight blocks. Whole sums are exact, and floats are added block by block in order, as they are there. */
#ifndef DK_COMPUTE_INT8_K_PANEL_H
#define DK_COMPUTE_INT8_K_PANEL_H

#include "compute/cpu/product/int8/int8_k_blocks.h"

typedef struct int8_k { /* a super-block of DK_VF lines */
    int8_k_weights weights;
    int8_k_scales of;
    int32_t has_least;    /* beside two scales in a block */
    const uint8_t *ahead; /* what comes later, as long as this, or NULL */
    int64_t bytes;        /* of all lines of a block */
} int8_k;

enum { INT8_K_ROWS = 64 }; /* that pass by a super-block, with their sums in L1 */

/* A row's total with the sums of block b, whose numbers are `weights`; halves is a constant where this is inlined. */
DK_ALWAYS_INLINE dk_vf int8_k_add(const int halves, const int8_k *s, int64_t b, const dk_vi weights[8],
                                  const dk_int8_rows *rows, int64_t at, dk_vf total)
{
    const int8_t *q = rows->q + at * DK_INT8_BLOCK;
    const dk_vf by = dk_vf_set(rows->scale[at]);
    if (!halves) {
        total = dk_vf_fma(dk_vi_float(dk_int8_dots_32(weights, q)) * s->of.scale[b], by, total);
        return dk_vf_fma(dk_vf_set(rows->sum[at]) * s->of.least[b], by, total);
    }
    const dk_vf first = dk_vi_float(dk_int8_dots_16(rows->start[at], weights, q)),
                second = dk_vi_float(dk_int8_dots_16(rows->start_second[at], weights + 4, q + 16));
    total = dk_vf_fma(dk_vf_fma(first, s->of.scale[2 * b], second * s->of.scale[2 * b + 1]) * s->of.by, by, total);
    if (!s->has_least) return total;
    const dk_vf least = dk_vf_fma(dk_vf_set(rows->sum[at]), s->of.least[2 * b],
                                  dk_vf_set(rows->sum_second[at]) * s->of.least[2 * b + 1]);
    return dk_vf_fma(least * s->of.least_by, by, total);
}

/* All of it at once would fill the few places where a core waits for memory. */
static inline void int8_k_fetch(const int8_k *s, int64_t b)
{
    for (int64_t i = b * s->bytes; s->ahead && i < (b + 1) * s->bytes; i += 64) DK_FETCH_FAR(s->ahead + i);
}

/* The eight blocks from `block` on; halves and count are constants where this is inlined. */
DK_ALWAYS_INLINE void int8_k_some(const int halves, const int count, const int8_k *s, const dk_int8_rows *rows,
                                  int64_t block, float total[][DK_VF])
{
    dk_vf of[8];
#pragma GCC unroll 8
    for (int r = 0; r < count; r++) of[r] = dk_vf_load(total[r]);
    for (int64_t b = 0; b < INT8_K_BLOCKS; b++) {
        dk_vi weights[8];
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) weights[i] = s->weights[b][i];
        int8_k_fetch(s, b);
#pragma GCC unroll 8
        for (int r = 0; r < count; r++) of[r] = int8_k_add(halves, s, b, weights, rows, (block + b) * count + r, of[r]);
    }
#pragma GCC unroll 8
    for (int r = 0; r < count; r++) dk_vf_store(total[r], of[r]);
}

/* Rows [row, row + count). */
DK_ALWAYS_INLINE void int8_k_many(const int halves, const int8_k *s, const dk_int8_rows *rows, int64_t block,
                                  int64_t row, int64_t count, float total[][DK_VF])
{
    for (int64_t b = 0; b < INT8_K_BLOCKS; b++) {
        dk_vi weights[8];
        const int64_t at = (block + b) * rows->count + row;
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) weights[i] = s->weights[b][i];
        int8_k_fetch(s, b);
        for (int64_t r = 0; r < count; r++)
            dk_vf_store(total[r], int8_k_add(halves, s, b, weights, rows, at + r, dk_vf_load(total[r])));
    }
}

DK_ALWAYS_INLINE void int8_k_rows(const int halves, const int8_k *s, const dk_int8_rows *rows, int64_t block,
                                  int64_t row, int64_t count, float total[][DK_VF])
{
    switch (rows->count) {
    case 1:
        int8_k_some(halves, 1, s, rows, block, total);
        break;
    case 2:
        int8_k_some(halves, 2, s, rows, block, total);
        break;
#if DK_VF == 16
    case 3:
        int8_k_some(halves, 3, s, rows, block, total);
        break;
    case 4:
        int8_k_some(halves, 4, s, rows, block, total);
        break;
    case 5:
        int8_k_some(halves, 5, s, rows, block, total);
        break;
    case 6:
        int8_k_some(halves, 6, s, rows, block, total);
        break;
    case 7:
        int8_k_some(halves, 7, s, rows, block, total);
        break;
    case 8:
        int8_k_some(halves, 8, s, rows, block, total);
        break;
#endif
    default:
        int8_k_many(halves, s, rows, block, row, count, total);
    }
}

static void int8_k_panel(dk_dtype dtype, const uint8_t *b, int64_t step, const uint8_t *ahead, const dk_int8_rows *rows,
                         float *c, int64_t c_step)
{
    const int64_t all = rows->k / DK_INT8_SUPER, bytes = dk_int8_bytes(dtype);
    _Alignas(64) float total[INT8_K_ROWS][DK_VF];
    _Alignas(64) int8_k s;
    s.has_least = dtype == DK_Q2_K;
    s.bytes = DK_VF * bytes / INT8_K_BLOCKS;
    for (int64_t row = 0; row < rows->count; row += INT8_K_ROWS, ahead = NULL) {
        const int64_t count = rows->count - row < INT8_K_ROWS ? rows->count - row : INT8_K_ROWS;
        memset(total, 0, (size_t)count * sizeof *total);
        for (int64_t k = 0; k < all; k++) {
            int8_k_scales_of(dtype, b + k * bytes, step, &s.of);
            int8_k_turn(dtype, b + k * bytes, step, s.weights);
            s.ahead = ahead ? ahead + k * DK_VF * bytes : NULL;
            if (dk_int8_halves_of(dtype)) int8_k_rows(1, &s, rows, k * INT8_K_BLOCKS, row, count, total);
            else int8_k_rows(0, &s, rows, k * INT8_K_BLOCKS, row, count, total);
        }
        for (int64_t r = 0; r < count; r++) dk_vf_store(c + (row + r) * c_step, dk_vf_load(total[r]));
    }
}

#endif
