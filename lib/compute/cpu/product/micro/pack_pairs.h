/* pack_pairs.h - packs panels for the kernels that multiply pairs of BF16: two neighbouring k in 32 bits, the first in
 * the low half.
 *
 * dk_pack_pairs: [k / 2][height] pairs, as dk_pack_floats does floats. dk_pack_tiles: [k / 32][height][16] pairs,
 * where a row of a tile is 32 k of one line. Lines that lie the other way are turned in squares of DK_VF by DK_VF
 * pairs. Floats are rounded to the nearest BF16 (ties to even) as they are read, BF16 is copied. K up to a multiple of
 * `group` is zeros. */
#ifndef DK_COMPUTE_PACK_PAIRS_H
#define DK_COMPUTE_PACK_PAIRS_H

#include "compute/cpu/product/micro/pack_floats.h"

#define DK_TILE_K 32

/* ---- lines that are rows of memory ---- */
static inline void dk_narrow_line(const float *x, int64_t n, uint16_t *to)
{
    int64_t i = 0;
#if DK_VF > 1
    typedef uint16_t halves __attribute__((vector_size(2 * DK_VF)));
#if defined(__AVX512BF16__)
    for (; i + 2 * DK_VF <= n; i += 2 * DK_VF) {
        __m512bh both = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + i + DK_VF), _mm512_loadu_ps(x + i));
        memcpy(to + i, &both, sizeof both);
    }
#endif
    for (; i + DK_VF <= n; i += DK_VF) {
        halves narrow = __builtin_convertvector(dk_vf_round_bf16(dk_vf_load(x + i)) >> 16, halves);
        memcpy(to + i, &narrow, sizeof narrow);
    }
#endif
    for (; i < n; i++) to[i] = dk_narrow_bf16(x[i]);
}

/* n numbers of a line as BF16, and zeros behind them up to n_up. */
static inline void dk_halves(const dk_operand *from, int64_t line, int64_t k, int64_t n, int64_t n_up, uint16_t *to)
{
    float wide[DK_PACK_K];
    const uint8_t *at = dk_operand_at(from, line, k);
    if (from->dtype == DK_BF16) memcpy(to, at, (size_t)n * sizeof *to);
    else if (from->dtype == DK_F32) dk_narrow_line((const float *)(const void *)at, n, to);
    else {
        dk_widen_part(from, at, n, 0, wide);
        dk_narrow_line(wide, n, to);
    }
    memset(to + n, 0, (size_t)(n_up - n) * sizeof *to);
}

/* Whole squares of DK_VF lines of BF16, straight from memory; returns how many k they have. What the next panel has
 * there is fetched meanwhile: `ahead` as dk_ahead says. */
static inline int64_t dk_pair_squares(const uint16_t *lines, int64_t step, const uint8_t *ahead, int64_t height,
                                      int64_t count, uint32_t *to)
{
    int64_t k = 0;
    for (; k + 2 * DK_VF <= count; k += 2 * DK_VF, to += DK_VF * height) {
        dk_vf square[DK_VF];
#pragma GCC unroll 16
        for (int i = 0; i < DK_VF; i++) memcpy(&square[i], lines + i * step + k, sizeof square[i]);
        dk_transpose(square);
#pragma GCC unroll 16
        for (int i = 0; i < DK_VF; i++) {
            memcpy(to + i * height, &square[i], sizeof square[i]);
            if (ahead && i % (64 / (4 * DK_VF)) == 0) DK_FETCH_FAR(ahead + 4 * DK_VF * i);
        }
        if (ahead) ahead += 4 * DK_VF * DK_VF;
    }
    return k;
}

static inline void dk_pair_lines(const dk_operand *from, int64_t line, int64_t lines, int64_t height, int64_t k,
                                 int64_t count, int64_t count_up, uint32_t *to)
{
    uint16_t half[DK_VF][DK_PACK_K];
    int64_t wide = (count_up + 2 * DK_VF - 1) / (2 * DK_VF) * (2 * DK_VF), pairs = count_up / 2;
    for (int64_t first = 0; first < height; first += DK_VF) {
        int64_t direct = 0;
        /* only the first square of a row may reach into the next row, which then writes over it */
        size_t bytes = sizeof *to * (size_t)(first && height - first < DK_VF ? height - first : DK_VF);
        if (from->dtype == DK_BF16 && first + DK_VF <= lines) {
            const uint8_t *ahead = dk_stream_ahead(from, line, height, k);
            if (ahead) ahead += first * count * (int64_t)sizeof(uint16_t);
            direct = dk_pair_squares((const uint16_t *)(const void *)dk_operand_at(from, line + first, k), from->step,
                                     ahead, height, count, to + first);
        }
        for (int64_t i = 0; i < DK_VF && direct < count_up; i++) {
            if (first + i < lines)
                dk_halves(from, line + first + i, k + direct, count - direct, wide - direct, half[i] + direct);
            else memset(half[i], 0, (size_t)wide * sizeof half[i][0]);
        }
        for (int64_t p = direct / 2; p < pairs; p += DK_VF) {
            dk_vf square[DK_VF];
#pragma GCC unroll 16
            for (int i = 0; i < DK_VF; i++) memcpy(&square[i], &half[i][2 * p], sizeof square[i]);
            dk_transpose(square);
#pragma GCC unroll 16
            for (int i = 0; i < DK_VF; i++) {
                if (p + i >= pairs) break;
                if (bytes == sizeof square[i]) memcpy(to + (p + i) * height + first, &square[i], sizeof square[i]);
                else memcpy(to + (p + i) * height + first, &square[i], bytes);
            }
        }
    }
}

/* ---- lines that lie across rows of memory ---- */
static inline dk_vi dk_pair(dk_vf first, dk_vf second)
{
#if defined(__AVX512BF16__)
    const __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first),
                  order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return (dk_vi)_mm512_permutexvar_epi16(order, both);
#else
    return ((dk_vf_round_bf16(first) >> 16) & dk_vi_set(0xffff)) | dk_vf_round_bf16(second);
#endif
}

/* Two rows of memory, or NULL for zeros: lines [c, c + DK_VF) of `lines`, as pairs. */
static inline dk_vi dk_pair_rows(const float *first, const float *second, int64_t c, int64_t lines)
{
    dk_vf zero = dk_vf_set(0);
    if (c >= lines) return dk_vf_bits(zero);
    dk_vf low = first ? dk_vf_take(first + c, lines - c, 0) : zero,
          high = second ? dk_vf_take(second + c, lines - c, 0) : zero;
    return dk_pair(low, high);
}

/* The same of two rows of BF16, which lie `step` apart: whole vectors, straight from memory. */
static inline void dk_pair_halves(const uint16_t *first, int64_t step, int64_t height, uint32_t *to)
{
#if DK_VF > 1
    typedef uint16_t halves __attribute__((vector_size(2 * DK_VF)));
    for (int64_t c = 0; c < height; c += DK_VF) {
        halves low, high;
        memcpy(&low, first + c, sizeof low);
        memcpy(&high, first + step + c, sizeof high);
        const dk_vi pair = __builtin_convertvector(low, dk_vi) | __builtin_convertvector(high, dk_vi) << 16;
        memcpy(to + c, &pair, sizeof pair);
    }
#else
    for (int64_t c = 0; c < height; c++) to[c] = first[c] | (uint32_t)first[step + c] << 16;
#endif
}

typedef struct dk_row_pair { /* two neighbouring rows of memory as floats */
    const float *first, *second;
    float wide[2][2 * DK_PACK_K];
} dk_row_pair;

static inline void dk_row_pair_at(dk_row_pair *rows, const dk_operand *from, int64_t line, int64_t lines, int64_t k,
                                  int64_t k_end)
{
    rows->first = k < k_end ? dk_row_part(from, dk_operand_at(from, line, k), line, lines, rows->wide[0]) : NULL;
    rows->second =
        k + 1 < k_end ? dk_row_part(from, dk_operand_at(from, line, k + 1), line, lines, rows->wide[1]) : NULL;
}

/* Whoever packs panels across goes through all of them for DK_TILE_K rows of memory before the next ones: what this
 * panel takes from two of these is fetched. */
static inline void dk_fetch_across(const dk_operand *from, int64_t line, int64_t height, int64_t k)
{
    const int64_t size = from->dtype == DK_F32 ? 4 : 2;
    const uint8_t *first = dk_operand_at(from, line, k), *next = first + DK_TILE_K * from->step * size;
    for (int64_t at = 0; at < height * size; at += 64) {
        DK_FETCH_FAR(next + at);
        DK_FETCH_FAR(next + from->step * size + at);
    }
}

static inline void dk_pair_across(const dk_operand *from, int64_t line, int64_t lines, int64_t height, int64_t k,
                                  int64_t count, int64_t count_up, uint32_t *to)
{
    dk_row_pair rows;
    const int32_t whole = from->dtype == DK_BF16 && lines == height && height % DK_VF == 0;
    for (int64_t p = 0; p < count_up / 2; p++, to += height) {
        if (2 * p + 1 < count && (from->dtype == DK_F32 || from->dtype == DK_BF16))
            dk_fetch_across(from, line, height, k + 2 * p);
        if (whole && 2 * p + 1 < count) {
            dk_pair_halves((const uint16_t *)(const void *)dk_operand_at(from, line, k + 2 * p), from->step, height,
                           to);
            continue;
        }
        dk_row_pair_at(&rows, from, line, lines, k + 2 * p, k + count);
        int64_t c = 0;
        for (; c + DK_VF <= height; c += DK_VF) {
            dk_vi pair = dk_pair_rows(rows.first, rows.second, c, lines);
            memcpy(to + c, &pair, sizeof pair);
        }
        if (c == height) continue;
        dk_vi pair = dk_pair_rows(rows.first, rows.second, c, lines);
        memcpy(to + c, &pair, (size_t)(height - c) * sizeof *to);
    }
}

static inline void dk_pack_pairs(const dk_operand *from, int64_t line, int64_t lines, int64_t height, int64_t k,
                                 int64_t count, int64_t group, uint32_t *to)
{
    int64_t up = (count + group - 1) / group * group;
    if (from->across) {
        dk_pair_across(from, line, lines, height, k, count, up, to);
        return;
    }
    for (int64_t i = 0; i < count; i += DK_PACK_K) {
        int64_t n = count - i < DK_PACK_K ? count - i : DK_PACK_K;
        dk_pair_lines(from, line, lines, height, k + i, n, i + n == count ? up - i : n, to + i / 2 * height);
    }
}

/* ---- tiles ---- */
/* The `pack_b` of kernels on tiles. */
static inline void dk_pack_tile_pairs(const dk_operand *from, int64_t line, int64_t lines, int64_t height, int64_t k,
                                      int64_t count, void *to)
{
    dk_pack_pairs(from, line, lines, height, k, count, DK_TILE_K, to);
}

/* Whole groups of a line of floats, which lie `step` apart in the panel; returns how many numbers they have. */
static inline int64_t dk_tile_floats(const float *x, int64_t count, int64_t ahead, int64_t step, uint16_t *to)
{
    int64_t k = 0;
    for (; k + DK_TILE_K <= count; k += DK_TILE_K, to += step) {
        DK_FETCH_FAR(x + k + ahead);
        DK_FETCH_FAR(x + k + ahead + DK_TILE_K / 2);
        dk_narrow_line(x + k, DK_TILE_K, to);
    }
    return k;
}

/* The same of BF16. */
static inline int64_t dk_tile_halves(const uint16_t *x, int64_t count, int64_t ahead, int64_t step, uint16_t *to)
{
    int64_t k = 0;
    for (; k + DK_TILE_K <= count; k += DK_TILE_K, to += step) {
        DK_FETCH_FAR(x + k + ahead);
        memcpy(to, x + k, DK_TILE_K * sizeof *to);
    }
    return k;
}

static inline void dk_tile_lines(const dk_operand *from, int64_t line, int64_t lines, int64_t height, int64_t k,
                                 int64_t count, uint16_t *to)
{
    for (int64_t i = 0; i < height; i++) {
        int64_t at = 0;
        const void *x = i < lines ? dk_operand_at(from, line + i, k) : NULL;
        if (x && from->dtype == DK_F32)
            at = dk_tile_floats(x, count, 2 * from->step, height * DK_TILE_K, to + i * DK_TILE_K);
        if (x && from->dtype == DK_BF16)
            at = dk_tile_halves(x, count, 2 * from->step, height * DK_TILE_K, to + i * DK_TILE_K);
        for (; at < count; at += DK_TILE_K) {
            uint16_t *row = to + (at * height / DK_TILE_K + i) * DK_TILE_K;
            int64_t n = count - at < DK_TILE_K ? count - at : DK_TILE_K;
            if (i < lines) dk_halves(from, line + i, k + at, n, DK_TILE_K, row);
            else memset(row, 0, DK_TILE_K * sizeof *row);
        }
    }
}

static inline void dk_tile_across(const dk_operand *from, int64_t line, int64_t lines, int64_t height, int64_t k,
                                  int64_t count, uint32_t *to)
{
    enum { PAIRS = DK_TILE_K / 2 };
    uint32_t pairs[PAIRS][64]; /* of one tile's k, all lines */
    for (int64_t at = 0; at < count; at += DK_TILE_K, to += height * PAIRS) {
        int64_t n = count - at < DK_TILE_K ? count - at : DK_TILE_K;
        dk_pair_across(from, line, lines, height, k + at, n, DK_TILE_K, pairs[0]);
        for (int64_t c = 0; c < height; c += DK_VF)
            for (int64_t p = 0; p < PAIRS; p += DK_VF) {
                dk_vf square[DK_VF];
#pragma GCC unroll 16
                for (int i = 0; i < DK_VF; i++) memcpy(&square[i], pairs[0] + (p + i) * height + c, sizeof square[i]);
                dk_transpose(square);
#pragma GCC unroll 16
                for (int i = 0; i < DK_VF; i++) memcpy(to + (c + i) * PAIRS + p, &square[i], sizeof square[i]);
            }
    }
}

/* height is a multiple of DK_VF and at most 64. */
static inline void dk_pack_tiles(const dk_operand *from, int64_t line, int64_t lines, int64_t height, int64_t k,
                                 int64_t count, void *to)
{
    if (from->across) dk_tile_across(from, line, lines, height, k, count, to);
    else dk_tile_lines(from, line, lines, height, k, count, to);
}

#endif
