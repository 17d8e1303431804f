/* micro_avx512_bf16.c - BF16 by VDPBF16PS: tiles of 14 rows and 32 columns, two k at a time.
 *
 * The tile of micro_avx512.c, with pairs of k in the place of floats: a pair of A, broadcast, is multiplied with
 * sixteen pairs of B, so the same registers and loads do twice the work where the instruction is as fast as a fused
 * multiply-add (AMD from Zen 4 on; Intel's takes four times as long, so there it is never chosen). A panel of B of 512
 * k is 32 KiB.
 *
 * Sums begin at what C holds and go on from one block of K to the next. */
#include "compute/cpu/product/micro/bf16_dot.h"
#include "compute/cpu/product/micro/micro_list.h"
#include "compute/cpu/product/micro/pack_pairs.h"

static int64_t height(int64_t rows) { return rows > 8 ? 14 : rows > 4 ? 8 : rows > 2 ? 4 : rows; }

/* rows is a constant where this is inlined. */
DK_ALWAYS_INLINE void dot_tile(const int rows, int64_t k, const uint32_t *a, const uint32_t *b, float *c,
                               int64_t c_step, int32_t add)
{
    dk_dots sum[14][2];
#pragma GCC unroll 14
    for (int r = 0; r < rows; r++) {
        sum[r][0] = add ? dk_dots_load(c + r * c_step) : dk_dots_zero();
        sum[r][1] = add ? dk_dots_load(c + r * c_step + 16) : dk_dots_zero();
    }
    for (; k > 0; k -= 2, a += rows, b += 32) {
#pragma GCC unroll 14
        for (int r = 0; r < rows; r++) {
            sum[r][0] = dk_dots_add(sum[r][0], a[r], b);
            sum[r][1] = dk_dots_add(sum[r][1], a[r], b + 16);
        }
    }
#pragma GCC unroll 14
    for (int r = 0; r < rows; r++) {
        dk_dots_store(c + r * c_step, sum[r][0]);
        dk_dots_store(c + r * c_step + 16, sum[r][1]);
    }
}

static void tile(int64_t rows, int64_t k, const void *a, const void *b, float *c, int64_t c_step, int32_t add)
{
    if (rows == 14) dot_tile(14, k, a, b, c, c_step, add);
    else if (rows == 8) dot_tile(8, k, a, b, c, c_step, add);
    else if (rows == 4) dot_tile(4, k, a, b, c, c_step, add);
    else if (rows == 2) dot_tile(2, k, a, b, c, c_step, add);
    else dot_tile(1, k, a, b, c, c_step, add);
}

static void pack(const dk_operand *from, int64_t line, int64_t lines, int64_t to_height, int64_t k, int64_t count,
                 void *to)
{
    dk_pack_pairs(from, line, lines, to_height, k, count, 2, to);
}

#ifndef DK_MICRO_AVX512_BF16
#define DK_MICRO_AVX512_BF16 dk_micro_avx512_bf16
#endif
const dk_micro DK_MICRO_AVX512_BF16 = {.name = "avx512_bf16",
                                       .rows = 14,
                                       .columns = 32,
                                       .group = 2,
                                       .k_bytes = sizeof(uint16_t),
                                       .block = 512,
                                       .a_bytes = 512 << 10,
                                       .height = height,
                                       .pack_a = pack,
                                       .pack_b = pack,
                                       .tile = tile,
                                       .pairs = 1};
