/* int8_panel.h - the kernel, written once over int8_lanes.h: a panel is DK_VF lines, one to a lane.
 *
 * For one or two rows a block of all lines is multiplied as it lies, and its whole numbers are summed across the lanes
 * afterwards, which costs more for each row than its eight dots. From three rows on a block is turned first, into eight
 * vectors of four bytes a lane: 32 products are eight dots, and their sum has the lines side by side. These vectors
 * stay in registers while all rows pass by, so a further row costs its dots, one conversion and two additions, with the
 * four bytes of each dot read from L1 into all lanes. Totals of up to eight rows are in registers where there are 32 of
 * them; those of more rows, 64 at a time, are in L1.
 *
 * Either way the whole sum is exact, becomes a float, times the weights' scale, and is added to the row's sum times the
 * activations' scale. Sums go from block to block in order, so neither rows nor threads change a bit. Bytes of weights
 * are read once, in the order in which they lie; a panel that comes later is fetched meanwhile, piece by piece. */
#ifndef DK_COMPUTE_INT8_PANEL_H
#define DK_COMPUTE_INT8_PANEL_H

#include "compute/cpu/product/int8/int8_k_panel.h"

#define DK_INT8_ROWS 64 /* that pass by a block, with their sums in L1 */

/* ---- one or two rows: lines as they lie ---- */
#ifdef DK_INT8_LINES
DK_ALWAYS_INLINE void int8_lines(const dk_dtype dtype, const uint8_t *at, int64_t step, dk_vi weights[8])
{
    const uint8_t *numbers = int8_numbers(dtype, at);
    if (dtype != DK_Q8_0) {
        dk_int8_lines_16(numbers, step, weights);
        int8_part(weights);
        return;
    }
    dk_int8_lines_32(numbers, step, weights);
    for (int i = 0; i < 8; i++) weights[i] = dk_int8_signed(weights[i]);
}

DK_ALWAYS_INLINE dk_vi int8_line_dots(const dk_dtype dtype, const dk_vi weights[8], const int8_t *q)
{
    const dk_vi zero = dk_vi_set(0);
    dk_vi sums[8];
    if (dtype == DK_Q8_0) {
        const dk_vi by = dk_int8_repeat_32(q);
        for (int i = 0; i < 8; i++) sums[i] = dk_int8_dot_signed(zero, weights[i], by);
        return dk_int8_join(dk_int8_fold(sums), dk_int8_fold(sums + 4));
    }
    const dk_vi first = dk_int8_repeat_16(q), second = dk_int8_repeat_16(q + 16);
    for (int i = 0; i < 4; i++) sums[i] = dk_int8_dot(dk_int8_dot(zero, weights[i], first), weights[i + 4], second);
    return dk_int8_fold(sums);
}

/* dtype and count are constants where this is inlined. */
DK_ALWAYS_INLINE void int8_few(const dk_dtype dtype, const int count, const uint8_t *b, int64_t step,
                               const uint8_t *ahead, const dk_int8_rows *rows, float *c, int64_t c_step)
{
    const int64_t blocks = rows->k / DK_INT8_BLOCK;
    const dk_vi offsets = dk_vi_iota() * dk_vi_set((int32_t)step);
    dk_vf total[2] = {dk_vf_set(0), dk_vf_set(0)};
    for (int64_t k = 0; k < blocks; k++, b += dk_int8_bytes(dtype)) {
        dk_vf scale, least;
        dk_vi weights[8];
        int8_scales(dtype, b, offsets, &scale, &least);
        int8_lines(dtype, b, step, weights);
        int8_fetch(dtype, ahead, k);
#pragma GCC unroll 2
        for (int r = 0; r < count; r++) {
            const int64_t at = k * count + r;
            const dk_vi dots =
                int8_line_dots(dtype, weights, rows->q + at * DK_INT8_BLOCK) + dk_vi_set(rows->start[at]);
            const dk_vf by = dk_vf_set(rows->scale[at]);
            total[r] = dk_vf_fma(dk_vi_float(dots) * scale, by, total[r]);
            if (dtype == DK_Q4_1) total[r] = dk_vf_fma(dk_vf_set(rows->sum[at]) * least, by, total[r]);
        }
    }
    for (int r = 0; r < count; r++) dk_vf_store(c + r * c_step, total[r]);
}
#endif

/* ---- more rows: a turned block stays in registers ---- */
/* A row's total with a block's sum; dtype is a constant where this is inlined. */
DK_ALWAYS_INLINE dk_vf int8_add(const dk_dtype dtype, const int8_block *block, const dk_int8_rows *rows, int64_t at,
                                dk_vf total)
{
    const dk_vi dots = dk_int8_dots(dtype != DK_Q8_0, rows->start[at], block->weights, rows->q + at * DK_INT8_BLOCK);
    const dk_vf by = dk_vf_set(rows->scale[at]);
    total = dk_vf_fma(dk_vi_float(dots) * block->scale, by, total);
    return dtype == DK_Q4_1 ? dk_vf_fma(dk_vf_set(rows->sum[at]) * block->least, by, total) : total;
}

#if DK_VF == 16
/* So few that their totals fit the registers, too. dtype and count are constants where this is inlined. */
DK_ALWAYS_INLINE void int8_some(const dk_dtype dtype, const int count, const uint8_t *b, int64_t step,
                                const uint8_t *ahead, const dk_int8_rows *rows, float *c, int64_t c_step)
{
    const int64_t blocks = rows->k / DK_INT8_BLOCK;
    const dk_vi offsets = dk_vi_iota() * dk_vi_set((int32_t)step);
    dk_vf total[8];
#pragma GCC unroll 8
    for (int r = 0; r < count; r++) total[r] = dk_vf_set(0);
    for (int64_t k = 0; k < blocks; k++, b += dk_int8_bytes(dtype)) {
        int8_block block;
        int8_turn(dtype, b, step, offsets, &block);
        int8_fetch(dtype, ahead, k);
#pragma GCC unroll 8
        for (int r = 0; r < count; r++) total[r] = int8_add(dtype, &block, rows, k * count + r, total[r]);
    }
#pragma GCC unroll 8
    for (int r = 0; r < count; r++) dk_vf_store(c + r * c_step, total[r]);
}
#endif

/* dtype is a constant where this is inlined. */
DK_ALWAYS_INLINE void int8_many(const dk_dtype dtype, const uint8_t *b, int64_t step, const uint8_t *ahead,
                                const dk_int8_rows *rows, float *c, int64_t c_step)
{
    const int64_t blocks = rows->k / DK_INT8_BLOCK;
    const dk_vi offsets = dk_vi_iota() * dk_vi_set((int32_t)step);
    _Alignas(64) float total[DK_INT8_ROWS][DK_VF];
    for (int64_t row = 0; row < rows->count; row += DK_INT8_ROWS, ahead = NULL) {
        const int64_t count = rows->count - row < DK_INT8_ROWS ? rows->count - row : DK_INT8_ROWS;
        memset(total, 0, (size_t)count * sizeof *total);
        for (int64_t k = 0; k < blocks; k++) {
            int8_block block;
            int8_turn(dtype, b + k * dk_int8_bytes(dtype), step, offsets, &block);
            int8_fetch(dtype, ahead, k);
            for (int64_t r = 0; r < count; r++)
                dk_vf_store(total[r], int8_add(dtype, &block, rows, k * rows->count + row + r, dk_vf_load(total[r])));
        }
        for (int64_t r = 0; r < count; r++) dk_vf_store(c + (row + r) * c_step, dk_vf_load(total[r]));
    }
}

DK_ALWAYS_INLINE void int8_panel_of(const dk_dtype dtype, const uint8_t *b, int64_t step, const uint8_t *ahead,
                                    const dk_int8_rows *rows, float *c, int64_t c_step)
{
    switch (rows->count) {
#ifdef DK_INT8_LINES
    case 1:
        int8_few(dtype, 1, b, step, ahead, rows, c, c_step);
        break;
    case 2:
        int8_few(dtype, 2, b, step, ahead, rows, c, c_step);
        break;
#endif
#if DK_VF == 16
    case 3:
        int8_some(dtype, 3, b, step, ahead, rows, c, c_step);
        break;
    case 4:
        int8_some(dtype, 4, b, step, ahead, rows, c, c_step);
        break;
    case 5:
        int8_some(dtype, 5, b, step, ahead, rows, c, c_step);
        break;
    case 6:
        int8_some(dtype, 6, b, step, ahead, rows, c, c_step);
        break;
    case 7:
        int8_some(dtype, 7, b, step, ahead, rows, c, c_step);
        break;
    case 8:
        int8_some(dtype, 8, b, step, ahead, rows, c, c_step);
        break;
#endif
    default:
        int8_many(dtype, b, step, ahead, rows, c, c_step);
    }
}

static void int8_panel(dk_dtype dtype, const uint8_t *b, int64_t step, const uint8_t *ahead, const dk_int8_rows *rows,
                       float *c, int64_t c_step)
{
    if (dk_int8_is_k(dtype)) int8_k_panel(dtype, b, step, ahead, rows, c, c_step);
    else if (dtype == DK_Q8_0) int8_panel_of(DK_Q8_0, b, step, ahead, rows, c, c_step);
    else if (dtype == DK_Q4_0) int8_panel_of(DK_Q4_0, b, step, ahead, rows, c, c_step);
    else int8_panel_of(DK_Q4_1, b, step, ahead, rows, c, c_step);
}

#endif
