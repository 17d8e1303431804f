/* int8_k_blocks.h - super-blocks of K-quants, as kernels of whole numbers take them: 256 columns of DK_VF lines, turned
 * as int8_blocks.h turns a block, with the scales of all eight blocks in it. Numbers stay above zero: what a type takes
 * away from each is in the sums of the activations, whole in rows->start, or times a least value that the type has.
 *
 * Q4_K and Q5_K have a scale and a least value for each block of 32, d * (6 bits) each, which a float holds exactly.
 * Q2_K, Q3_K and Q6_K have a whole number as scale for 16 columns, and so two in a block: both halves' sums times their
 * whole numbers stay below 2^24 together, so d is all that is ever rounded, as it is with one scale.
 *
 * Bytes beside the numbers come by turning 16 bytes of each line that end where the block does, too, since what lies
 * behind the last block may not be read. */
#ifndef DK_COMPUTE_INT8_K_BLOCKS_H
#define DK_COMPUTE_INT8_K_BLOCKS_H

#include "compute/cpu/product/int8/int8_blocks.h"

enum { INT8_K_BLOCKS = DK_INT8_SUPER / DK_INT8_BLOCK };

/* Of DK_VF lines: one scale and least value of a block; or two, whole numbers, times `by`, and times least_by where the
 * type has least values. */
typedef struct int8_k_scales {
    dk_vf scale[2 * INT8_K_BLOCKS], least[2 * INT8_K_BLOCKS], by, least_by;
} int8_k_scales;

typedef dk_vi int8_k_weights[INT8_K_BLOCKS][8];

/* Byte `at` of each lane. */
static inline dk_vi int8_k_byte(dk_vi word, int at) { return word >> 8 * at & dk_vi_set(255); }

static inline dk_vi int8_k_bits(dk_vi word, int by, uint32_t mask) { return word >> by & dk_vi_set((int32_t)mask); }

/* What stands from bit `from` of each byte on moves to bit `to`; the mask is of where it goes. */
static inline dk_vi int8_k_move(dk_vi word, int from, int to, uint32_t mask)
{
    return (from < to ? word << (to - from) : word >> (from - to)) & dk_vi_set((int32_t)mask);
}

/* Bytes [2 + 4i, 6 + 4i) of the sixteen that in[] holds. */
static inline dk_vi int8_k_between(const dk_vi in[4], int i)
{
    return (in[i] >> 16 & dk_vi_set(0xffff)) | in[i + 1] << 16;
}

/* 32 bytes of each line */
static inline void int8_k_turn_32(const uint8_t *at, int64_t step, dk_vi out[8])
{
    dk_int8_turn(at, step, out);
    dk_int8_turn(at + 16, step, out + 4);
}

/* ---- Q4_K, Q5_K ---- */
/* Eight scales and eight least values of six bits in twelve bytes, as dk_block_scales_k has them, four at a time. */
static inline void int8_k_scales_32(const uint8_t *at, int64_t step, int8_k_scales *out)
{
    dk_vi head[4];
    dk_int8_turn(at, step, head);
    const dk_vf d = dk_int8_half(head[0]), d_least = dk_vf_set(0) - dk_int8_half(head[0] >> 16);
    const dk_vi high = int8_k_bits(head[3], 4, 0x0f0f0f0f),
                scale[2] = {int8_k_bits(head[1], 0, 0x3f3f3f3f),
                            int8_k_bits(head[3], 0, 0x0f0f0f0f) | int8_k_bits(head[1], 2, 0x30303030)},
                least[2] = {int8_k_bits(head[2], 0, 0x3f3f3f3f), high | int8_k_bits(head[2], 2, 0x30303030)};
#pragma GCC unroll 8
    for (int g = 0; g < INT8_K_BLOCKS; g++) {
        out->scale[g] = d * dk_vi_float(int8_k_byte(scale[g / 4], g % 4));
        out->least[g] = d_least * dk_vi_float(int8_k_byte(least[g / 4], g % 4));
    }
}

/* Groups 2 * p and 2 * p + 1 are the low and the high halves of bytes 32 * p.. */
static inline void int8_k_turn_q4(const uint8_t *at, int64_t step, int8_k_weights out)
{
    dk_vi bytes[8];
    for (int p = 0; p < 4; p++) {
        int8_k_turn_32(at + 16 + 32 * p, step, bytes);
        for (int i = 0; i < 8; i++) {
            out[2 * p][i] = int8_k_bits(bytes[i], 0, 0x0f0f0f0f);
            out[2 * p + 1][i] = int8_k_bits(bytes[i], 4, 0x0f0f0f0f);
        }
    }
}

static inline void int8_k_turn_q5(const uint8_t *at, int64_t step, int8_k_weights out)
{
    dk_vi bytes[8], high[8];
    int8_k_turn_32(at + 16, step, high);
#pragma GCC unroll 4
    for (int p = 0; p < 4; p++) {
        int8_k_turn_32(at + 48 + 32 * p, step, bytes);
        for (int i = 0; i < 8; i++) {
            out[2 * p][i] = int8_k_bits(bytes[i], 0, 0x0f0f0f0f) | int8_k_move(high[i], 2 * p, 4, 0x10101010);
            out[2 * p + 1][i] = int8_k_bits(bytes[i], 4, 0x0f0f0f0f) | int8_k_move(high[i], 2 * p + 1, 4, 0x10101010);
        }
    }
}

/* ---- a scale for 16 columns ---- */
static inline void int8_k_scales_q6(const uint8_t *at, int64_t step, int8_k_scales *out)
{
    dk_vi scales[4], end[4];
    dk_int8_turn(at + 192, step, scales);
    dk_int8_turn(at + 194, step, end);
    out->by = dk_int8_half(end[3] >> 16);
#pragma GCC unroll 16
    for (int g = 0; g < 2 * INT8_K_BLOCKS; g++) out->scale[g] = dk_vi_float(scales[g / 4] << 8 * (3 - g % 4) >> 24);
}

static inline void int8_k_turn_q6(const uint8_t *at, int64_t step, int8_k_weights out)
{
    dk_vi low[16], high[8];
    for (int half = 0; half < 2; half++) {
        int8_k_turn_32(at + 64 * half, step, low);
        int8_k_turn_32(at + 64 * half + 32, step, low + 8);
        int8_k_turn_32(at + 128 + 32 * half, step, high);
#pragma GCC unroll 4
        for (int b = 0; b < 4; b++)
            for (int i = 0; i < 8; i++)
                out[4 * half + b][i] = int8_k_bits(low[8 * (b % 2) + i], 4 * (b / 2), 0x0f0f0f0f) |
                                       int8_k_move(high[i], 2 * b, 4, 0x30303030);
    }
}

/* Two bits each: block b lies in bits 2 * (b % 4) of bytes 32 * (b / 4).. */
static inline void int8_k_two_bits(const uint8_t *at, int64_t step, int8_k_weights out)
{
    dk_vi bytes[8];
    for (int half = 0; half < 2; half++) {
        int8_k_turn_32(at + 32 * half, step, bytes);
#pragma GCC unroll 4
        for (int b = 0; b < 4; b++)
            for (int i = 0; i < 8; i++) out[4 * half + b][i] = int8_k_bits(bytes[i], 2 * b, 0x03030303);
    }
}

/* Six bits: the low four of scale j and j + 8 share a byte, the high two of j, j + 4, j + 8 and j + 12. */
static inline void int8_k_scales_q3(const uint8_t *at, int64_t step, int8_k_scales *out)
{
    dk_vi end[4];
    dk_int8_turn(at + 94, step, end);
    out->by = dk_int8_half(end[3] >> 16);
    const dk_vi two = int8_k_between(end, 2);
#pragma GCC unroll 16
    for (int g = 0; g < 2 * INT8_K_BLOCKS; g++) {
        const dk_vi four = int8_k_bits(int8_k_between(end, g / 4 % 2), 4 * (g / 8), 0x0f0f0f0f);
        out->scale[g] = dk_vi_float(int8_k_byte(four | int8_k_bits(two, 2 * (g / 4), 0x03030303) << 4, g % 4) - 32);
    }
}

static inline void int8_k_turn_q3(const uint8_t *at, int64_t step, int8_k_weights out)
{
    dk_vi high[8];
    int8_k_two_bits(at + 32, step, out);
    int8_k_turn_32(at, step, high);
#pragma GCC unroll 8
    for (int b = 0; b < INT8_K_BLOCKS; b++)
        for (int i = 0; i < 8; i++) out[b][i] = out[b][i] | int8_k_move(high[i], b, 2, 0x04040404);
}

static inline void int8_k_scales_q2(const uint8_t *at, int64_t step, int8_k_scales *out)
{
    dk_vi scales[4], end[4];
    dk_int8_turn(at, step, scales);
    dk_int8_turn(at + 68, step, end);
    out->by = dk_int8_half(end[3]);
    out->least_by = dk_vf_set(0) - dk_int8_half(end[3] >> 16);
#pragma GCC unroll 16
    for (int g = 0; g < 2 * INT8_K_BLOCKS; g++) {
        out->scale[g] = dk_vi_float(int8_k_bits(scales[g / 4], 8 * (g % 4), 15));
        out->least[g] = dk_vi_float(int8_k_bits(scales[g / 4], 8 * (g % 4) + 4, 15));
    }
}

/* ---- of a dtype ---- */
static inline void int8_k_scales_of(dk_dtype dtype, const uint8_t *at, int64_t step, int8_k_scales *out)
{
    out->by = out->least_by = dk_vf_set(0); /* where a type has none */
    if (dtype == DK_Q6_K) int8_k_scales_q6(at, step, out);
    else if (dtype == DK_Q3_K) int8_k_scales_q3(at, step, out);
    else if (dtype == DK_Q2_K) int8_k_scales_q2(at, step, out);
    else int8_k_scales_32(at, step, out);
}

static inline void int8_k_turn(dk_dtype dtype, const uint8_t *at, int64_t step, int8_k_weights out)
{
    if (dtype == DK_Q4_K) int8_k_turn_q4(at, step, out);
    else if (dtype == DK_Q5_K) int8_k_turn_q5(at, step, out);
    else if (dtype == DK_Q6_K) int8_k_turn_q6(at, step, out);
    else if (dtype == DK_Q3_K) int8_k_turn_q3(at, step, out);
    else int8_k_two_bits(at + 16, step, out);
}

#endif
