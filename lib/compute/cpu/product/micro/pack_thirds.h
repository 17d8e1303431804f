/* pack_thirds.h - packs lines that are rows of memory as thirds (thirds.h), those of the same DK_TILE_K numbers behind
 * one another.
 *
 * As A: [k / 32][third][height][16] pairs, a row of a tile being 32 k of one line. Turned, for a kernel that takes them
 * as the other side: [k / 32][third][16][height]; of five lines
 * [k / 32][16][16], the thirds of a line side by side. Lines that are missing and k up to a multiple of 32 are zeros.
 * Other dtypes than F32 are widened DK_PACK_K numbers of a line at a time, on the stack. */
#ifndef DK_COMPUTE_PACK_THIRDS_H
#define DK_COMPUTE_PACK_THIRDS_H

#include "compute/cpu/product/micro/pack_pairs.h"
#include "compute/cpu/product/micro/thirds.h"

enum {
    DK_TILE_PAIRS = DK_TILE_K / 2,
    DK_THIRDS_LINES = 32, /* of a panel, at most */
    DK_THIRDS_FIVE = 5    /* lines all thirds of which are one tile */
};

/* DK_VF numbers, `apart` from one third to the next. */
static inline void dk_store_thirds(dk_vf x, uint16_t *to, int64_t apart)
{
    const dk_thirds t = dk_thirds_of(x);
    const dk_vi third[3] = {t.high, t.middle, t.low};
    for (int p = 0; p < 3; p++) {
#if DK_VF > 1
        typedef uint16_t halves __attribute__((vector_size(2 * DK_VF)));
        typedef uint32_t words __attribute__((vector_size(4 * DK_VF)));
        const halves narrow = __builtin_convertvector((words)third[p] >> 16, halves);
        memcpy(to + p * apart, &narrow, sizeof narrow);
#else
        to[p * apart] = (uint16_t)((uint32_t)third[p] >> 16);
#endif
    }
}

#if defined(__AVX512BF16__)
/* What has no thirds. */
static inline __mmask16 dk_thirds_none(__m512 x)
{
    const __m512i size = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff)),
                  above = _mm512_sub_epi32(size, _mm512_set1_epi32(DK_THIRDS_LEAST));
    return _mm512_mask_cmpge_epu32_mask(_mm512_test_epi32_mask(size, size), above,
                                        _mm512_set1_epi32(DK_THIRDS_ABOVE - DK_THIRDS_LEAST));
}

/* The nearest BF16 of two vectors, which become what is left of them. */
static inline __m512i dk_take_third(__m512 *x, __m512 *y)
{
    const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(*y, *x);
    const __m256i low = _mm512_castsi512_si256(both), high = _mm512_extracti64x4_epi64(both, 1);
    *x = _mm512_sub_ps(*x, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(low), 16)));
    *y = _mm512_sub_ps(*y, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16)));
    return both;
}

/* DK_TILE_K numbers of which each has thirds; 0 = one has none: nothing was done. */
static inline int32_t dk_store_plain(const float *from, uint16_t *to, int64_t apart)
{
    __m512 x = _mm512_loadu_ps(from), y = _mm512_loadu_ps(from + DK_VF);
    if (dk_thirds_none(x) | dk_thirds_none(y)) return 0;
    _mm512_storeu_si512(to, dk_take_third(&x, &y));
    _mm512_storeu_si512(to + apart, dk_take_third(&x, &y));
    _mm512_storeu_si512(to + 2 * apart, (__m512i)_mm512_cvtne2ps_pbh(y, x));
    return 1;
}
#else
static inline int32_t dk_store_plain(const float *from, uint16_t *to, int64_t apart)
{
    (void)from, (void)to, (void)apart;
    return 0;
}
#endif

/* DK_TILE_K numbers, of which n are there. */
static inline void dk_thirds_tile(const float *x, int64_t n, uint16_t *to, int64_t apart)
{
    if (n >= DK_TILE_K && dk_store_plain(x, to, apart)) return;
    for (int64_t i = 0; i < DK_TILE_K; i += DK_VF)
        dk_store_thirds(i < n ? dk_vf_take(x + i, n - i, 0) : dk_vf_set(0), to + i, apart);
}

/* At most DK_PACK_K numbers of a line: thirds `apart`, those of the next DK_TILE_K numbers `step` behind these. What
 * the next panel has in the same place is fetched. */
static inline void dk_thirds_line(const dk_operand *from, int64_t line, int64_t k, int64_t count, int64_t ahead,
                                  uint16_t *to, int64_t apart, int64_t step)
{
    float wide[DK_PACK_K];
    const uint8_t *x = dk_operand_at(from, line, k);
    const float *floats = from->dtype == DK_F32 ? (const float *)(const void *)x : wide;
    if (from->dtype != DK_F32) dk_widen_part(from, x, count, ahead, wide);
    for (int64_t at = 0; at < count; at += DK_TILE_K, floats += DK_TILE_K, to += step) {
        if (from->dtype == DK_F32) {
            DK_FETCH_FAR(floats + ahead);
            DK_FETCH_FAR(floats + ahead + DK_TILE_PAIRS);
        }
        dk_thirds_tile(floats, count - at, to, apart);
    }
}

/* Pairs [DK_TILE_PAIRS] of each of `height` lines, turned. */
static inline void dk_turn_pairs(const uint32_t *lines, int64_t height, uint32_t *to)
{
    for (int64_t c = 0; c < height; c += DK_VF)
        for (int64_t p = 0; p < DK_TILE_PAIRS; p += DK_VF) {
            dk_vf square[DK_VF];
#pragma GCC unroll 16
            for (int i = 0; i < DK_VF; i++) memcpy(&square[i], lines + (c + i) * DK_TILE_PAIRS + p, sizeof square[i]);
            dk_transpose(square);
#pragma GCC unroll 16
            for (int i = 0; i < DK_VF; i++) memcpy(to + (p + i) * height + c, &square[i], sizeof square[i]);
        }
}

/* At most DK_PACK_K numbers of each line. */
static inline void dk_thirds_lines(const dk_operand *from, int64_t line, int64_t lines, int64_t height, int64_t k,
                                   int64_t count, int32_t turned, uint32_t *to)
{
    uint32_t rows[DK_PACK_K / DK_TILE_K * 3 * DK_THIRDS_LINES * DK_TILE_PAIRS] __attribute__((aligned(64)));
    const int64_t third = height * DK_TILE_PAIRS, ahead = dk_ahead(from, line, height); /* third: of pairs */
    uint32_t *in = turned ? rows : to;
    for (int64_t i = 0; i < height; i++, in += DK_TILE_PAIRS) {
        if (i < lines) dk_thirds_line(from, line + i, k, count, ahead, (uint16_t *)(void *)in, 2 * third, 6 * third);
        else
            for (int64_t at = 0; at < count; at += DK_TILE_K)
                dk_thirds_tile(NULL, 0, (uint16_t *)(void *)(in + at / DK_TILE_K * 3 * third), 2 * third);
    }
    for (int64_t p = 0; turned && p < (count + DK_TILE_K - 1) / DK_TILE_K * 3; p++)
        dk_turn_pairs(rows + p * third, height, to + p * third);
}

/* height is a multiple of 16 and at most DK_THIRDS_LINES. */
static inline void dk_pack_thirds(const dk_operand *from, int64_t line, int64_t lines, int64_t height, int64_t k,
                                  int64_t count, int32_t turned, uint32_t *to)
{
    for (int64_t i = 0; i < count; i += DK_PACK_K)
        dk_thirds_lines(from, line, lines, height, k + i, count - i < DK_PACK_K ? count - i : DK_PACK_K, turned,
                        to + i / 2 * height * 3);
}

/* Of at most DK_THIRDS_FIVE lines. */
static inline void dk_pack_five(const dk_operand *from, int64_t line, int64_t lines, int64_t k, int64_t count,
                                uint32_t *to)
{
    enum { TILE = 16 * DK_TILE_PAIRS };
    uint32_t rows[DK_PACK_K / DK_TILE_K * TILE] __attribute__((aligned(64)));
    memset(rows, 0, sizeof rows);
    for (int64_t at = 0; at < count; at += DK_PACK_K) {
        const int64_t n = count - at < DK_PACK_K ? count - at : DK_PACK_K;
        for (int64_t i = 0; i < lines; i++)
            dk_thirds_line(from, line + i, k + at, n, 0, (uint16_t *)(void *)(rows + 3 * i * DK_TILE_PAIRS),
                           2 * DK_TILE_PAIRS, 2 * TILE);
        for (int64_t g = 0; g < n; g += DK_TILE_K, to += TILE) dk_turn_pairs(rows + g / DK_TILE_K * TILE, 16, to);
    }
}

#endif
