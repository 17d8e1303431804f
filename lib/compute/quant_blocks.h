/* quant_blocks.h - block-quantised values as floats, a block at a time, inline so that kernels and tables share one
 * rule.
 *
 * The layouts are ggml's. Every product and sum is rounded to float by itself, in the order in which the formats are
 * defined, so values have the same bits wherever they are computed. Lengths are checked by whoever holds the data; how
 * values become blocks does not live here. */
#ifndef DK_COMPUTE_QUANT_BLOCKS_H
#define DK_COMPUTE_QUANT_BLOCKS_H

#include "base/dtype.h"
#include "compute/half.h"

typedef void (*dk_block_fn)(const uint8_t *block, float *y);

static inline float dk_block_f16(const uint8_t *at)
{
    uint16_t half;
    memcpy(&half, at, sizeof half);
    return dk_widen_f16(half);
}

/* ---- 32 values with one scale, for some a least value too: element i and i + 16 share a byte ---- */
static inline void dk_block_q4_0(const uint8_t *block, float *y)
{
    const float d = dk_block_f16(block);
    const uint8_t *q = block + 2;
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)((q[i] & 15) - 8);
        y[i + 16] = d * (float)((q[i] >> 4) - 8);
    }
}

static inline void dk_block_q4_1(const uint8_t *block, float *y)
{
    const float d = dk_block_f16(block), least = dk_block_f16(block + 2);
    const uint8_t *q = block + 4;
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)(q[i] & 15) + least;
        y[i + 16] = d * (float)(q[i] >> 4) + least;
    }
}

/* The fifth bits stand together in 32. */
static inline void dk_block_fifth_bits(const uint8_t *bits, const uint8_t *q, int32_t out[32])
{
    uint32_t high;
    memcpy(&high, bits, sizeof high);
    for (int i = 0; i < 16; i++) {
        out[i] = (int32_t)((q[i] & 15u) | (high >> i & 1u) << 4);
        out[i + 16] = (int32_t)(q[i] >> 4 | (high >> (i + 16) & 1u) << 4);
    }
}

static inline void dk_block_q5_0(const uint8_t *block, float *y)
{
    const float d = dk_block_f16(block);
    int32_t q[32];
    dk_block_fifth_bits(block + 2, block + 6, q);
    for (int i = 0; i < 32; i++) y[i] = d * (float)(q[i] - 16);
}

static inline void dk_block_q5_1(const uint8_t *block, float *y)
{
    const float d = dk_block_f16(block), least = dk_block_f16(block + 2);
    int32_t q[32];
    dk_block_fifth_bits(block + 4, block + 8, q);
    for (int i = 0; i < 32; i++) y[i] = d * (float)q[i] + least;
}

static inline void dk_block_q8_0(const uint8_t *block, float *y)
{
    const float d = dk_block_f16(block);
    for (int i = 0; i < 32; i++) y[i] = (float)(int8_t)block[2 + i] * d;
}

static inline void dk_block_levels(float d, const float levels[16], const uint8_t *q, float *y)
{
    for (int i = 0; i < 16; i++) {
        y[i] = d * levels[q[i] & 15];
        y[i + 16] = d * levels[q[i] >> 4];
    }
}

static inline void dk_block_iq4_nl(const uint8_t *block, float *y)
{
    static const float levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
    dk_block_levels(dk_block_f16(block), levels, block + 2, y);
}

/* The scale is a power of two alone (E8M0); levels are twice the E2M1 values, so it is halved: 2^(e - 128). */
static inline void dk_block_mxfp4(const uint8_t *block, float *y)
{
    static const float levels[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    uint32_t e = block[0];
    float d = dk_float_from_bits(e < 2 ? 0x00200000u << e : (e - 1) << 23);
    dk_block_levels(d, levels, block + 1, y);
}

/* ---- 256 values in groups of 16 or 32, each with a small scale of its own ----
 *
 * First all levels as bytes, which are masked and shifted eight at a time; then floats, 32 at a time, since gcc makes
 * vectors of loops over groups of 16 that are slower than no vectors. */
/* Some bits of each byte, from bit `by` on: `mask` is of eight bytes. */
static inline void dk_block_bits(const uint8_t *restrict q, int bytes, int by, uint64_t mask, uint8_t *restrict levels)
{
    for (int i = 0; i < bytes; i += 8) {
        uint64_t eight;
        memcpy(&eight, q + i, sizeof eight);
        eight = eight >> by & mask;
        memcpy(levels + i, &eight, sizeof eight);
    }
}

/* Bit b of byte i is the bit `at` of level i of group b of 32. */
static inline void dk_block_add_bits(const uint8_t *restrict q, int at, uint8_t *restrict levels)
{
    for (int b = 0; b < 8; b++)
        for (int i = 0; i < 32; i++) levels[32 * b + i] |= (uint8_t)((q[i] >> b & 1) << at);
}

/* Two bits each: group g of 32 lies in bits 2*(g%4) of bytes 32*(g/4).. */
static inline void dk_block_two_bits(const uint8_t *restrict q, uint8_t *restrict levels)
{
    for (int g = 0; g < 8; g++) dk_block_bits(q + 32 * (g / 4), 32, 2 * (g % 4), 0x0303030303030303u, levels + 32 * g);
}

/* Four bits each: of `bytes` bytes the low halves, and behind them the high ones. */
static inline void dk_block_four_bits(const uint8_t *restrict q, int bytes, uint8_t *restrict levels)
{
    dk_block_bits(q, bytes, 0, 0x0f0f0f0f0f0f0f0fu, levels);
    dk_block_bits(q, bytes, 4, 0x0f0f0f0f0f0f0f0fu, levels + bytes);
}

/* Sixteen times the first and sixteen times the second. */
static inline void dk_block_twice_16(float first, float second, float *restrict to)
{
    for (int i = 0; i < 32; i++) to[i] = i < 16 ? first : second;
}

/* Levels that stand `centre` above what they mean, by scales for 16 each. */
static inline void dk_block_centred(const float scale[16], int centre, const uint8_t *restrict levels,
                                    float *restrict y)
{
    for (int b = 0; b < 8; b++) {
        float by[32];
        dk_block_twice_16(scale[2 * b], scale[2 * b + 1], by);
        for (int i = 0; i < 32; i++) y[32 * b + i] = by[i] * (float)(levels[32 * b + i] - centre);
    }
}

static inline void dk_block_q2_k(const uint8_t *block, float *restrict y)
{
    const float d = dk_block_f16(block + 80), d_least = dk_block_f16(block + 82);
    uint8_t levels[256];
    dk_block_two_bits(block + 16, levels);
    for (int b = 0; b < 8; b++) {
        const uint8_t *scales = block + 2 * b;
        float by[32], least[32];
        dk_block_twice_16(d * (float)(scales[0] & 15), d * (float)(scales[1] & 15), by);
        dk_block_twice_16(d_least * (float)(scales[0] >> 4), d_least * (float)(scales[1] >> 4), least);
        for (int i = 0; i < 32; i++) y[32 * b + i] = by[i] * (float)levels[32 * b + i] - least[i];
    }
}

/* Six bits: the low four of scale j and j + 8 share a byte, the high two of j, j + 4, j + 8 and j + 12. */
static inline int32_t dk_block_scale_q3(const uint8_t *scales, int j)
{
    int32_t low = j < 8 ? scales[j] & 15 : scales[j - 8] >> 4;
    return (low | (scales[8 + j % 4] >> 2 * (j / 4) & 3) << 4) - 32;
}

static inline void dk_block_q3_k(const uint8_t *block, float *restrict y)
{
    const float d = dk_block_f16(block + 108);
    uint8_t levels[256];
    float scale[16];
    dk_block_two_bits(block + 32, levels);
    dk_block_add_bits(block, 2, levels);
    for (int g = 0; g < 16; g++) scale[g] = d * (float)dk_block_scale_q3(block + 96, g);
    dk_block_centred(scale, 4, levels, y);
}

/* Eight scales and eight least values of six bits in twelve bytes; the upper four have their high bits above the lower
 * four. */
static inline void dk_block_scales_k(const uint8_t *packed, uint8_t scale[8], uint8_t least[8])
{
    for (int j = 0; j < 4; j++) {
        scale[j] = packed[j] & 63;
        least[j] = packed[j + 4] & 63;
        scale[j + 4] = (uint8_t)((packed[j + 8] & 15) | (packed[j] >> 6) << 4);
        least[j + 4] = (uint8_t)(packed[j + 8] >> 4 | (packed[j + 4] >> 6) << 4);
    }
}

/* What Q4_K and Q5_K begin with, and their levels. */
static inline void dk_block_groups_k(const uint8_t *block, const uint8_t *restrict levels, float *restrict y)
{
    const float d = dk_block_f16(block), d_least = dk_block_f16(block + 2);
    uint8_t scale[8], least[8];
    dk_block_scales_k(block + 4, scale, least);
    for (int g = 0; g < 8; g++) {
        const float by = d * (float)scale[g], from = d_least * (float)least[g];
        for (int i = 0; i < 32; i++) y[32 * g + i] = by * (float)levels[32 * g + i] - from;
    }
}

static inline void dk_block_q4_k(const uint8_t *block, float *restrict y)
{
    uint8_t levels[256];
    for (int p = 0; p < 4; p++) dk_block_four_bits(block + 16 + 32 * p, 32, levels + 64 * p);
    dk_block_groups_k(block, levels, y);
}

static inline void dk_block_q5_k(const uint8_t *block, float *restrict y)
{
    uint8_t levels[256];
    for (int p = 0; p < 4; p++) dk_block_four_bits(block + 48 + 32 * p, 32, levels + 64 * p);
    dk_block_add_bits(block + 16, 4, levels);
    dk_block_groups_k(block, levels, y);
}

/* Groups of 32 in a half: 0 and 1 are the low halves of its 64 bytes, 2 and 3 the high ones. */
static inline void dk_block_q6_k(const uint8_t *block, float *restrict y)
{
    const float d = dk_block_f16(block + 208);
    uint8_t levels[256], high[256];
    float scale[16];
    for (int half = 0; half < 2; half++) dk_block_four_bits(block + 64 * half, 64, levels + 128 * half);
    dk_block_two_bits(block + 128, high);
    for (int i = 0; i < 256; i++) levels[i] |= (uint8_t)(high[i] << 4);
    for (int g = 0; g < 16; g++) scale[g] = d * (float)(int8_t)block[192 + g];
    dk_block_centred(scale, 32, levels, y);
}

/* n values, whole blocks. 0 = not a dtype that has a rule here. */
static inline int32_t dk_blocks_widen(dk_dtype dtype, const void *blocks, float *y, int64_t n)
{
    static const dk_block_fn rules[DK_DTYPE_END] = {
        [DK_Q4_0] = dk_block_q4_0, [DK_Q4_1] = dk_block_q4_1, [DK_Q5_0] = dk_block_q5_0,
        [DK_Q5_1] = dk_block_q5_1, [DK_Q8_0] = dk_block_q8_0, [DK_IQ4_NL] = dk_block_iq4_nl,
        [DK_Q2_K] = dk_block_q2_k, [DK_Q3_K] = dk_block_q3_k, [DK_Q4_K] = dk_block_q4_k,
        [DK_Q5_K] = dk_block_q5_k, [DK_Q6_K] = dk_block_q6_k, [DK_MXFP4] = dk_block_mxfp4};
    const dk_dtype_info *type = dk_dtype_find(dtype);
    if (!type || !rules[dtype]) return 0;
    for (const uint8_t *at = blocks; n > 0; n -= type->block, at += type->bytes, y += type->block) rules[dtype](at, y);
    return 1;
}

#endif
