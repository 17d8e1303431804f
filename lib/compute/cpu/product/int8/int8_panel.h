/* int8_panel.h - the kernel, written once over int8_lanes.h: a panel is DK_VF lines, one to a lane.
 *
 * A block of all lines is turned in registers into eight vectors of four bytes a lane, which all rows are multiplied
 * by: 32 products are eight dots, whose whole sum is exact. It becomes a float, times the weights' scale, and is added
 * to the row's sum times the activations' scale. Sums go from block to block in order, so neither rows nor threads
 * change a bit. Bytes of weights are read once, in the order in which they lie; the panel that follows is fetched
 * meanwhile, piece by piece. */
#ifndef DK_COMPUTE_INT8_PANEL_H
#define DK_COMPUTE_INT8_PANEL_H

#include "compute/cpu/product/int8/int8.h"
#include "compute/cpu/product/int8/int8_lanes.h"
#include "compute/cpu/product/micro/micro.h"

#define DK_INT8_ROWS (DK_VF == 16 ? 16 : 4) /* whose sums fit the registers */

static int32_t int8_quantise(const float *x, const dk_int8_rows *rows, int64_t row)
{
    const int64_t blocks = rows->k / DK_INT8_BLOCK;
    int8_t *q = rows->q + row * rows->k;
    int32_t finite = 1;
    for (int64_t b = 0; b < blocks; b++, x += DK_INT8_BLOCK, q += DK_INT8_BLOCK) {
        int32_t sum = 0;
        float most = 0, all = 0;
        for (int i = 0; i < DK_INT8_BLOCK; i++) {
            most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
            all += x[i] * 0; /* NaN where one is NaN or infinite */
        }
        finite &= all == 0;
        const float scale = most / 127, by = scale > 0 ? scale : 1;
        for (int i = 0; i < DK_INT8_BLOCK; i++) {
            float v = rintf(x[i] / by);
            v = v > 127 ? 127 : v < -127 ? -127 : v; /* a scale that is no normal number may be too small */
            q[i] = (int8_t)(all == 0 ? v : 0);
            sum += q[i];
        }
        rows->scale[row * blocks + b] = scale;
        rows->sum[row * blocks + b] = sum;
    }
    return finite;
}

typedef struct int8_block { /* of DK_VF lines */
    dk_vi weights[8];
    dk_vf scale, least;
} int8_block;

/* dtype is a constant where this is inlined. */
DK_ALWAYS_INLINE int8_block int8_open(const dk_dtype dtype, const uint8_t *at, int64_t step, dk_vi offsets)
{
    int8_block block = {.scale = dk_int8_halves(at, offsets)};
    if (dtype == DK_Q8_0) {
        dk_int8_turn(at + 2, step, block.weights);
        dk_int8_turn(at + 18, step, block.weights + 4);
        for (int i = 0; i < 8; i++) block.weights[i] = dk_int8_signed(block.weights[i]);
        return block;
    }
    if (dtype == DK_Q4_1) block.least = dk_int8_halves(at + 2, offsets);
    dk_int8_turn(at + (dtype == DK_Q4_1 ? 4 : 2), step, block.weights);
    for (int i = 0; i < 4; i++) {
        block.weights[i + 4] = block.weights[i] >> 4 & dk_vi_set(0x0f0f0f0f);
        block.weights[i] = block.weights[i] & dk_vi_set(0x0f0f0f0f);
    }
    return block;
}

/* What is added to each weight of a dtype. */
DK_ALWAYS_INLINE int32_t int8_offset(const dk_dtype dtype)
{
    return dtype == DK_Q8_0 ? DK_INT8_OFFSET : dtype == DK_Q4_0 ? 8 : 0;
}

/* dtype and count are constants where this is inlined. */
DK_ALWAYS_INLINE void int8_tile(const dk_dtype dtype, const int count, const uint8_t *b, int64_t step, dk_vi offsets,
                                const dk_int8_rows *rows, int64_t row, float *c, int64_t c_step)
{
    const int64_t bytes = dtype == DK_Q8_0 ? 34 : dtype == DK_Q4_0 ? 18 : 20, blocks = rows->k / DK_INT8_BLOCK;
    const int8_t *q = rows->q + row * rows->k;
    const float *scale = rows->scale + row * blocks;
    const int32_t *sum = rows->sum + row * blocks;
    const uint8_t *ahead = b + DK_VF * step;
    dk_vf total[16];
#pragma GCC unroll 16
    for (int r = 0; r < count; r++) total[r] = dk_vf_set(0);
    for (int64_t k = 0; k < blocks; k++, b += bytes, ahead += DK_VF * bytes) {
        int8_block block = int8_open(dtype, b, step, offsets);
#pragma GCC unroll 10
        for (int64_t i = 0; i < DK_VF * bytes; i += 64) DK_FETCH_FAR(ahead + i);
#pragma GCC unroll 16
        for (int r = 0; r < count; r++) {
            dk_vi dots = dk_vi_set(-int8_offset(dtype) * sum[r * blocks + k]);
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++) {
                int32_t four;
                memcpy(&four, q + r * rows->k + k * DK_INT8_BLOCK + 4 * i, sizeof four);
                dots = dtype == DK_Q8_0 ? dk_int8_dot_signed(dots, block.weights[i], four)
                                        : dk_int8_dot(dots, block.weights[i], four);
            }
            dk_vf by = dk_vf_set(scale[r * blocks + k]);
            total[r] = dk_vf_fma(dk_vi_float(dots) * block.scale, by, total[r]);
            if (dtype == DK_Q4_1)
                total[r] = dk_vf_fma(dk_vf_set((float)sum[r * blocks + k]) * block.least, by, total[r]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < count; r++) dk_vf_store(c + r * c_step, total[r]);
}

DK_ALWAYS_INLINE void int8_panel_of(const dk_dtype dtype, const uint8_t *b, int64_t step, const dk_int8_rows *rows,
                                    float *c, int64_t c_step)
{
    dk_vi offsets = dk_vi_iota() * dk_vi_set((int32_t)step);
    int64_t r = 0;
    for (; DK_INT8_ROWS == 16 && r + 16 <= rows->count; r += 16)
        int8_tile(dtype, 16, b, step, offsets, rows, r, c + r * c_step, c_step);
    for (; DK_INT8_ROWS == 16 && r + 8 <= rows->count; r += 8)
        int8_tile(dtype, 8, b, step, offsets, rows, r, c + r * c_step, c_step);
    for (; r + 4 <= rows->count; r += 4) int8_tile(dtype, 4, b, step, offsets, rows, r, c + r * c_step, c_step);
    for (; r + 2 <= rows->count; r += 2) int8_tile(dtype, 2, b, step, offsets, rows, r, c + r * c_step, c_step);
    for (; r < rows->count; r++) int8_tile(dtype, 1, b, step, offsets, rows, r, c + r * c_step, c_step);
}

static void int8_panel(dk_dtype dtype, const uint8_t *b, int64_t step, const dk_int8_rows *rows, float *c,
                       int64_t c_step)
{
    if (dtype == DK_Q8_0) int8_panel_of(DK_Q8_0, b, step, rows, c, c_step);
    else if (dtype == DK_Q4_0) int8_panel_of(DK_Q4_0, b, step, rows, c, c_step);
    else int8_panel_of(DK_Q4_1, b, step, rows, c, c_step);
}

#endif
