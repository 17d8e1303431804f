/* micro_portable.c - floats in plain C: tiles of 4 rows and 8 columns, in the compiler's vectors of four or one by one.
 *
 * Why 4 x 8: 8 sums of four numbers, two vectors of B and one number of A fit 16 registers and leave room for the
 * products, since multiplication and addition are two instructions here, and each rounds. */
#include "compute/cpu/product/micro/few_rows.h"
#include "compute/cpu/product/micro/fma_tile.h"
#include "compute/cpu/product/micro/halves_tile.h"
#include "compute/cpu/product/micro/micro_list.h"

static int64_t height(int64_t rows) { return rows > 2 ? 4 : rows; }

static void tile(int64_t rows, int64_t k, const void *a, const void *b, float *c, int64_t c_step, int32_t add)
{
    if (rows == 4) dk_fma_tile(4, 2, k, a, b, c, c_step, add);
    else if (rows == 2) dk_fma_tile(2, 2, k, a, b, c, c_step, add);
    else dk_fma_tile(1, 2, k, a, b, c, c_step, add);
}

static void tile_halves(int64_t rows, int64_t k, const void *a, const void *b, float *c, int64_t c_step, int32_t add)
{
    if (rows == 4) dk_halves_tile(4, 2, k, a, b, c, c_step, add);
    else if (rows == 2) dk_halves_tile(2, 2, k, a, b, c, c_step, add);
    else dk_halves_tile(1, 2, k, a, b, c, c_step, add);
}

const dk_micro dk_micro_portable = {.name = "portable",
                                    .rows = 4,
                                    .columns = 2 * DK_VF,
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

const dk_micro dk_micro_portable_rounded = {.name = "portable",
                                            .rows = 4,
                                            .columns = 2 * DK_VF,
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
