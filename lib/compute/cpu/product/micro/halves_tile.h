/* halves_tile.h - the tile of fma_tile.h from a panel of B that stays BF16: [k / 2][vectors * DK_VF] pairs, as
 * pack_pairs.h makes them. A pair becomes two floats where it is multiplied, by a shift and by a mask, so the panel
 * takes half the room, and packing it turns half as many squares. That pays where B is read for few rows of A; for
 * many, the two instructions a pair would cost more than they save.
 *
 * Widening is exact and sums are in the order of fma_tile.h, so the bits are its own. */
#ifndef DK_COMPUTE_HALVES_TILE_H
#define DK_COMPUTE_HALVES_TILE_H

#include "compute/cpu/product/micro/fma_tile.h"
#include "compute/cpu/product/micro/pack_pairs.h"

DK_ALWAYS_INLINE dk_vf dk_half_of(const uint32_t *pairs, const int second)
{
    dk_vi v = dk_vi_load((const int32_t *)(const void *)pairs);
    return dk_vi_bits(second ? v & dk_vi_set((int32_t)0xffff0000) : v << 16);
}

/* rows and vectors are constants where this is inlined. */
DK_ALWAYS_INLINE void dk_halves_tile(const int rows, const int vectors, int64_t k, const float *a, const uint32_t *b,
                                     float *c, int64_t c_step, int32_t add)
{
    dk_vf sum[DK_FMA_ROWS][2];
#pragma GCC unroll 14
    for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] = dk_vf_set(0);
    for (; k > 0; k -= 2, b += vectors * DK_VF) {
#pragma GCC unroll 2
        for (int second = 0; second < 2; second++, a += rows) {
            dk_vf line[2];
            if (second && k == 1) break;
#pragma GCC unroll 2
            for (int s = 0; s < vectors; s++) line[s] = dk_half_of(b + s * DK_VF, second);
#pragma GCC unroll 14
            for (int r = 0; r < rows; r++) {
                dk_vf by = dk_vf_set(a[r]);
#pragma GCC unroll 2
                for (int s = 0; s < vectors; s++) sum[r][s] = dk_vf_fma(by, line[s], sum[r][s]);
            }
        }
    }
#pragma GCC unroll 14
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
        for (int s = 0; s < vectors; s++) {
            float *to = c + r * c_step + s * DK_VF;
            dk_vf_store(to, add ? dk_vf_load(to) + sum[r][s] : sum[r][s]);
        }
    }
}

/* The `pack_halves` of a micro-kernel. */
static void dk_pack_halves(const dk_operand *from, int64_t line, int64_t lines, int64_t height, int64_t k,
                           int64_t count, void *to)
{
    dk_pack_pairs(from, line, lines, height, k, count, 2, to);
}

#endif
