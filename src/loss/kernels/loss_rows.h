/* loss_rows.h - loops over a row that the kernels share. Sums are taken in blocks: floats inside a block, doubles over
 * blocks. */
#ifndef DI_LOSS_KERNELS_ROWS_H
#define DI_LOSS_KERNELS_ROWS_H

#include "compute/simd.h"

#define DI_BLOCK 1024 /* floats; a multiple of every DK_VF */

/* For every vector of [begin, end): body sees i, the lanes that count (DK_VF but for the last) in `lanes`. */
#define DI_VECTORS(begin, end)                                                      \
    for (int64_t i = (begin), lanes = (end)-i < DK_VF ? (end)-i : DK_VF; i < (end); \
         i += DK_VF, lanes = (end)-i < DK_VF ? (end)-i : DK_VF)

static inline dk_vf di_load(const float *x, int64_t lanes, float rest)
{
    return lanes == DK_VF ? dk_vf_load(x) : dk_vf_load_n(x, lanes, rest);
}

static inline void di_store(float *y, dk_vf v, int64_t lanes)
{
    if (lanes == DK_VF) dk_vf_store(y, v);
    else dk_vf_store_n(y, v, lanes);
}

static inline int64_t di_block_end(int64_t begin, int64_t n) { return n - begin < DI_BLOCK ? n : begin + DI_BLOCK; }

#endif
