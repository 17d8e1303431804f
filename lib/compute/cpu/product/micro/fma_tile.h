/* fma_tile.h - the tile of the kernels that multiply floats. C [rows, vectors * DK_VF] stays in registers while K
 * passes: for each k, `vectors` vectors of B are loaded, and each number of A, broadcast, multiplies them all. So a k
 * costs rows * vectors fused multiply-adds and rows + vectors loads; rows * vectors sums, `vectors` of B and one of A
 * must fit the registers, and be enough to hide the latency of an addition (4 or 5 cycles, two additions each).
 *
 * Each number of C is summed in order of k from 0, and then stored or added to what is there: its bits are the same in
 * a tile of any height. */
#ifndef DK_COMPUTE_FMA_TILE_H
#define DK_COMPUTE_FMA_TILE_H

#include "compute/cpu/product/micro/micro.h"
#include "compute/simd.h"

#define DK_FMA_ROWS 14 /* of the highest tile */

/* rows and vectors are constants where this is inlined. */
DK_ALWAYS_INLINE void dk_fma_tile(const int rows, const int vectors, int64_t k, const float *a, const float *b,
                                  float *c, int64_t c_step, int32_t add)
{
    dk_vf sum[DK_FMA_ROWS][2];
#pragma GCC unroll 14
    for (int r = 0; r < rows; r++) {
        DK_FETCH(c + r * c_step);
        DK_FETCH(c + r * c_step + vectors * DK_VF - 1);
#pragma GCC unroll 2
        for (int s = 0; s < vectors; s++) sum[r][s] = dk_vf_set(0);
    }
    for (; k > 0; k--, a += rows, b += vectors * DK_VF) {
        dk_vf line[2];
#pragma GCC unroll 2
        for (int s = 0; s < vectors; s++) line[s] = dk_vf_load(b + s * DK_VF);
#pragma GCC unroll 14
        for (int r = 0; r < rows; r++) {
            dk_vf by = dk_vf_set(a[r]);
#pragma GCC unroll 2
            for (int s = 0; s < vectors; s++) sum[r][s] = dk_vf_fma(by, line[s], sum[r][s]);
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

#endif
