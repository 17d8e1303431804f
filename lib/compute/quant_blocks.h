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

/* ---- 256 values in groups of 16 or 32, each with a small scale of its own ---- */
/* Two bits each: group g of 32 lies in bits 2*(g%4) of bytes 32*(g/4).. */
static inline int32_t dk_block_two_bits(const uint8_t *q, int group, int i)
{
    return q[32 * (group / 4) + i] >> 2 * (group % 4) & 3;
}

static inline void dk_block_q2_k(const uint8_t *block, float *y)
{
    const uint8_t *scales = block, *q = block + 16;
    const float d = dk_block_f16(block + 80), d_least = dk_block_f16(block + 82);
    for (int g = 0; g < 16; g++) {
        const float by = d * (float)(scales[g] & 15), least = d_least * (float)(scales[g] >> 4);
        for (int i = 0; i < 16; i++) y[16 * g + i] = by * (float)dk_block_two_bits(q, g / 2, 16 * (g % 2) + i) - least;
    }
}

/* Six bits: the low four of scale j and j + 8 share a byte, the high two of j, j + 4, j + 8 and j + 12. */
static inline int32_t dk_block_scale_q3(const uint8_t *scales, int j)
{
    int32_t low = j < 8 ? scales[j] & 15 : scales[j - 8] >> 4;
    return (low | (scales[8 + j % 4] >> 2 * (j / 4) & 3) << 4) - 32;
}

static inline void dk_block_q3_k(const uint8_t *block, float *y)
{
    const uint8_t *high = block, *q = block + 32, *scales = block + 96;
    const float d = dk_block_f16(block + 108);
    for (int g = 0; g < 16; g++) {
        const float by = d * (float)dk_block_scale_q3(scales, g);
        for (int i = 0; i < 16; i++) {
            int at = 16 * (g % 2) + i;
            int32_t low = dk_block_two_bits(q, g / 2, at), bit = high[at] >> g / 2 & 1;
            y[16 * g + i] = by * (float)(low - (bit ? 0 : 4));
        }
    }
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

static inline void dk_block_q4_k(const uint8_t *block, float *y)
{
    const float d = dk_block_f16(block), d_least = dk_block_f16(block + 2);
    uint8_t scale[8], least[8];
    dk_block_scales_k(block + 4, scale, least);
    for (int g = 0; g < 8; g++) {
        const float by = d * (float)scale[g], from = d_least * (float)least[g];
        const uint8_t *q = block + 16 + 32 * (g / 2);
        for (int i = 0; i < 32; i++) y[32 * g + i] = by * (float)(q[i] >> 4 * (g % 2) & 15) - from;
    }
}

static inline void dk_block_q5_k(const uint8_t *block, float *y)
{
    const float d = dk_block_f16(block), d_least = dk_block_f16(block + 2);
    uint8_t scale[8], least[8];
    dk_block_scales_k(block + 4, scale, least);
    for (int g = 0; g < 8; g++) {
        const float by = d * (float)scale[g], from = d_least * (float)least[g];
        const uint8_t *high = block + 16, *q = block + 48 + 32 * (g / 2);
        for (int i = 0; i < 32; i++)
            y[32 * g + i] = by * (float)((q[i] >> 4 * (g % 2) & 15) | (high[i] >> g & 1) << 4) - from;
    }
}

static inline void dk_block_q6_k(const uint8_t *block, float *y)
{
    const uint8_t *low = block, *high = block + 128, *scales = block + 192;
    const float d = dk_block_f16(block + 208);
    for (int g = 0; g < 16; g++) {
        const float by = d * (float)(int8_t)scales[g];
        const int half = g / 8, at = 16 * (g % 4);
        for (int i = 0; i < 16; i++) {
            int32_t four = low[64 * half + at + i] >> (g % 8 < 4 ? 0 : 4) & 15;
            int32_t two = dk_block_two_bits(high, g / 2, 16 * (g % 2) + i);
            y[16 * g + i] = by * (float)((four | two << 4) - 32);
        }
    }
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
