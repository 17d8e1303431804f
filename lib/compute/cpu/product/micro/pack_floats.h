/* pack_floats.h - packs a panel for the kernels that multiply floats: [k][height], k by k the entries of all lines.
 *
 * Lines that are rows of memory are turned in squares of DK_VF by DK_VF; lines that lie across it are copied row by
 * row. The squares of a panel whose height is no multiple of DK_VF reach into the next k, which is written after them:
 * hence DK_PACK_SLACK. Other dtypes than F32 are widened DK_PACK_K numbers of each line at a time, on the stack. With
 * `rounded` the floats are those that BF16 holds: operands of precision bf16 on a machine that multiplies floats. */
#ifndef DK_COMPUTE_PACK_FLOATS_H
#define DK_COMPUTE_PACK_FLOATS_H

#include "compute/cpu/product/micro/micro.h"
#include "compute/cpu/product/micro/transpose.h"

#define DK_PACK_K 256 /* a multiple of the block of every dtype */

static inline dk_vf dk_rounded(dk_vf v, const int rounded) { return rounded ? dk_vi_bits(dk_vf_round_bf16(v)) : v; }

/* From a line to the same one of the next panel, which is read next: a few short pieces of memory, which no machine
 * guesses. 0 = there is none. */
static inline int64_t dk_ahead(const dk_operand *from, int64_t line, int64_t height)
{
    return line + 2 * height <= from->lines ? height * from->step : 0;
}

/* n numbers that lie side by side, in any dtype but F32; whole blocks of those that have them. */
static inline void dk_widen_part(const dk_operand *from, const uint8_t *at, int64_t n, int64_t ahead, float *to)
{
    const uint16_t *x = (const uint16_t *)(const void *)at;
    int64_t i = 0;
    if (from->dtype != DK_BF16 && from->dtype != DK_F16) {
        (void)from->widen(from->dtype, at, to, n);
        return;
    }
    for (int64_t next = 0; ahead && next < n; next += 64 / (int64_t)sizeof *x) DK_FETCH(x + next + ahead);
    if (from->dtype == DK_BF16) {
        for (; i + DK_VF <= n; i += DK_VF) dk_vf_store(to + i, dk_vf_load_bf16(x + i));
        for (; i < n; i++) to[i] = dk_widen_bf16(x[i]);
    } else {
        for (; i + DK_VF <= n; i += DK_VF) dk_vf_store(to + i, dk_vf_load_f16(x + i));
        for (; i < n; i++) to[i] = dk_widen_f16(x[i]);
    }
}

/* Rows of DK_VF lines, `count` numbers each, into [count][height] at `to`. ahead: as dk_ahead says, in numbers. */
static inline void dk_turn_lines(const float *const line[DK_VF], int64_t count, int64_t ahead, int64_t height,
                                 float *to, const int rounded)
{
    dk_vf square[DK_VF];
    int64_t k = 0;
    for (; k + DK_VF <= count; k += DK_VF) {
        if (ahead && k % (64 / (int64_t)sizeof(float)) == 0)
            for (int i = 0; i < DK_VF; i++) DK_FETCH(line[i] + k + ahead);
#pragma GCC unroll 16
        for (int i = 0; i < DK_VF; i++) square[i] = dk_rounded(dk_vf_load(line[i] + k), rounded);
        dk_transpose(square);
        for (int i = 0; i < DK_VF; i++) dk_vf_store(to + (k + i) * height, square[i]);
    }
    if (k == count) return;
    for (int i = 0; i < DK_VF; i++) square[i] = dk_rounded(dk_vf_load_n(line[i] + k, count - k, 0), rounded);
    dk_transpose(square);
    for (int64_t i = 0; k + i < count; i++) dk_vf_store(to + (k + i) * height, square[i]);
}

/* One line is its own panel. */
static inline void dk_copy_line(const float *line, int64_t count, float *to, const int rounded)
{
    int64_t k = 0;
    for (; k + DK_VF <= count; k += DK_VF) dk_vf_store(to + k, dk_rounded(dk_vf_load(line + k), rounded));
    if (k < count) dk_vf_store_n(to + k, dk_rounded(dk_vf_load_n(line + k, count - k, 0), rounded), count - k);
}

/* At most DK_PACK_K numbers of `lines` lines that are rows of memory. */
static inline void dk_pack_lines(const dk_operand *from, int64_t line, int64_t lines, int64_t height, int64_t k,
                                 int64_t count, float *to, const int rounded)
{
    static const float zeros[DK_PACK_K];
    float wide[DK_VF][DK_PACK_K];
    const float *row[DK_VF];
    int64_t ahead = dk_ahead(from, line, height);
    for (int64_t first = 0; first < height; first += DK_VF) {
        for (int64_t i = 0; i < DK_VF; i++) {
            const uint8_t *at = first + i < lines ? dk_operand_at(from, line + first + i, k) : NULL;
            row[i] = zeros;
            if (at && from->dtype == DK_F32) row[i] = (const float *)(const void *)at;
            if (at && from->dtype != DK_F32) {
                dk_widen_part(from, at, count, ahead, wide[i]);
                row[i] = wide[i];
            }
            if (height == 1) break;
        }
        if (height == 1) dk_copy_line(row[0], count, to, rounded);
        else dk_turn_lines(row, count, from->dtype == DK_F32 ? ahead : 0, height, to + first, rounded);
    }
}

/* Numbers [line, line + lines) of a row of memory, which `at` points to or, in blocks, into the block of. */
static inline const float *dk_row_part(const dk_operand *from, const uint8_t *at, int64_t line, int64_t lines,
                                       float wide[2 * DK_PACK_K])
{
    int64_t block = dk_dtype_find(from->dtype)->block, skip = line % block;
    if (from->dtype == DK_F32) return (const float *)(const void *)at;
    dk_widen_part(from, at, (skip + lines + block - 1) / block * block, 0, wide);
    return wide + skip;
}

static inline void dk_pack_across(const dk_operand *from, int64_t line, int64_t lines, int64_t height, int64_t k,
                                  int64_t count, float *to, const int rounded)
{
    float wide[2 * DK_PACK_K];
    const uint8_t *at = dk_operand_at(from, line, k);
    int64_t step = dk_dtype_bytes(from->dtype, from->step), reach = (height + DK_VF - 1) / DK_VF * DK_VF;
    int32_t whole = lines == height && (from->dtype != DK_F32 || line + reach <= from->lines);
    for (int64_t i = 0; i < count; i++, at += step, to += height) {
        const float *row = dk_row_part(from, at, line, lines, wide);
        if (whole && i + 1 < count) { /* reads on in the row and is written over by the next k */
            for (int64_t c = 0; c < height; c += DK_VF) dk_vf_store(to + c, dk_rounded(dk_vf_load(row + c), rounded));
            continue;
        }
        dk_copy_line(row, lines, to, rounded);
        for (int64_t r = lines; r < height; r++) to[r] = 0;
    }
}

static inline void dk_pack_floats(const dk_operand *from, int64_t line, int64_t lines, int64_t height, int64_t k,
                                  int64_t count, float *to, const int rounded)
{
    if (from->across) {
        dk_pack_across(from, line, lines, height, k, count, to, rounded);
        return;
    }
    for (int64_t i = 0; i < count; i += DK_PACK_K)
        dk_pack_lines(from, line, lines, height, k + i, count - i < DK_PACK_K ? count - i : DK_PACK_K, to + i * height,
                      rounded);
}

/* As a micro-kernel has them: floats as they are, or rounded to BF16 first. */
static inline void dk_pack_plain(const dk_operand *from, int64_t line, int64_t lines, int64_t to_height, int64_t k,
                                 int64_t count, void *to)
{
    dk_pack_floats(from, line, lines, to_height, k, count, to, 0);
}

static inline void dk_pack_rounded(const dk_operand *from, int64_t line, int64_t lines, int64_t to_height, int64_t k,
                                   int64_t count, void *to)
{
    dk_pack_floats(from, line, lines, to_height, k, count, to, 1);
}

#endif
