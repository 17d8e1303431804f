/* micro_avx512.c - floats with AVX-512: tiles of 14 rows and 32 columns.
 *
 * Why 14 x 32: 28 sums, two vectors of B and one number of A take 31 of 32 registers, and a k costs 28 additions for 16
 * loads: both adders are busy every cycle while the loads need about half of what L1 gives. A panel of B of 256 k is
 * 32 KiB, so it stays in L1 under the panels of A, of 14 KiB each, that stream past it out of L2. Lower tiles are for
 * what is left over, and for decoding, which is bound by reading B. */
#include "compute/cpu/product/micro/few_rows.h"
#include "compute/cpu/product/micro/fma_tile.h"
#include "compute/cpu/product/micro/halves_tile.h"
#include "compute/cpu/product/micro/micro_list.h"

static int64_t height(int64_t rows) { return rows > 8 ? 14 : rows > 4 ? 8 : rows > 2 ? 4 : rows; }

static void tile(int64_t rows, int64_t k, const void *a, const void *b, float *c, int64_t c_step, int32_t add)
{
    if (rows == 14) dk_fma_tile(14, 2, k, a, b, c, c_step, add);
    else if (rows == 8) dk_fma_tile(8, 2, k, a, b, c, c_step, add);
    else if (rows == 4) dk_fma_tile(4, 2, k, a, b, c, c_step, add);
    else if (rows == 2) dk_fma_tile(2, 2, k, a, b, c, c_step, add);
    else dk_fma_tile(1, 2, k, a, b, c, c_step, add);
}

static void tile_halves(int64_t rows, int64_t k, const void *a, const void *b, float *c, int64_t c_step, int32_t add)
{
    if (rows == 14) dk_halves_tile(14, 2, k, a, b, c, c_step, add);
    else if (rows == 8) dk_halves_tile(8, 2, k, a, b, c, c_step, add);
    else if (rows == 4) dk_halves_tile(4, 2, k, a, b, c, c_step, add);
    else if (rows == 2) dk_halves_tile(2, 2, k, a, b, c, c_step, add);
    else dk_halves_tile(1, 2, k, a, b, c, c_step, add);
}

const dk_micro dk_micro_avx512 = {.name = "avx512",
                                  .rows = 14,
                                  .columns = 32,
                                  .group = 1,
                                  .k_bytes = sizeof(float),
                                  .block = 256,
                                  .a_bytes = 512 << 10,
                                  .height = height,
                                  .pack_a = dk_pack_plain,
                                  .pack_b = dk_pack_plain,
                                  .tile = tile,
                                  .pack_halves = dk_pack_halves,
                                  .tile_halves = tile_halves,
                                  .few = dk_few_rows,
                                  .few_rows = DK_FEW_ROWS};

const dk_micro dk_micro_avx512_rounded = {.name = "avx512",
                                          .rows = 14,
                                          .columns = 32,
                                          .group = 1,
                                          .k_bytes = sizeof(float),
                                          .block = 256,
                                          .a_bytes = 512 << 10,
                                          .height = height,
                                          .pack_a = dk_pack_rounded,
                                          .pack_b = dk_pack_rounded,
                                          .tile = tile,
                                          .pack_halves = dk_pack_halves,
                                          .tile_halves = tile_halves};
