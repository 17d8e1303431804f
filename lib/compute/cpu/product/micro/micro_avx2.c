/* micro_avx2.c - floats with AVX2 and FMA: tiles of 6 rows and 16 columns.
 *
 * Why 6 x 16: 12 sums, two vectors of B and one number of A take 15 of 16 registers; 12 additions for 8 loads keep
 * both adders busy with one and a third loads a cycle. A panel of B of 256 k is 16 KiB and stays in L1 under the
 * panels of A, of 6 KiB each. */
#include "compute/cpu/product/micro/few_rows.h"
#include "compute/cpu/product/micro/fma_tile.h"
#include "compute/cpu/product/micro/halves_tile.h"
#include "compute/cpu/product/micro/micro_list.h"

static int64_t height(int64_t rows) { return rows > 4 ? 6 : rows > 2 ? 4 : rows; }

static void tile(int64_t rows, int64_t k, const void *a, const void *b, float *c, int64_t c_step, int32_t add)
{
    if (rows == 6) dk_fma_tile(6, 2, k, a, b, c, c_step, add);
    else if (rows == 4) dk_fma_tile(4, 2, k, a, b, c, c_step, add);
    else if (rows == 2) dk_fma_tile(2, 2, k, a, b, c, c_step, add);
    else dk_fma_tile(1, 2, k, a, b, c, c_step, add);
}

static void tile_halves(int64_t rows, int64_t k, const void *a, const void *b, float *c, int64_t c_step, int32_t add)
{
    if (rows == 6) dk_halves_tile(6, 2, k, a, b, c, c_step, add);
    else if (rows == 4) dk_halves_tile(4, 2, k, a, b, c, c_step, add);
    else if (rows == 2) dk_halves_tile(2, 2, k, a, b, c, c_step, add);
    else dk_halves_tile(1, 2, k, a, b, c, c_step, add);
}

const dk_micro dk_micro_avx2 = {.name = "avx2",
                                .rows = 6,
                                .columns = 16,
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

const dk_micro dk_micro_avx2_rounded = {.name = "avx2",
                                        .rows = 6,
                                        .columns = 16,
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
