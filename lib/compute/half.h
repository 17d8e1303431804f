/* half.h - F16 and BF16 bits to and from float, inline so that kernels and tables share one rule. */
#ifndef DK_COMPUTE_HALF_H
#define DK_COMPUTE_HALF_H

#include <stdint.h>
#include <string.h>

static inline float dk_float_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t dk_bits_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float dk_widen_bf16(uint16_t half) { return dk_float_from_bits((uint32_t)half << 16); }

static inline uint16_t dk_narrow_bf16(float value)
{
    uint32_t bits = dk_bits_from_float(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u); /* a quiet NaN */
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static inline float dk_widen_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = half >> 10 & 31u, fraction = half & 1023u;
    if (exponent == 31) return dk_float_from_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent) return dk_float_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    float tiny = (float)fraction * 0x1p-24f;
    return sign ? -tiny : tiny;
}

static inline uint16_t dk_narrow_f16(float value)
{
    uint32_t bits = dk_bits_from_float(value), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x47800000u) return (uint16_t)(sign | 0x7c00u); /* 65536 and more */
    if (magnitude < 0x38800000u) {                                   /* below 2^-14: the sum rounds at 2^-24 */
        float rounded = dk_float_from_bits(magnitude) + 0.5f;
        return (uint16_t)(sign | (dk_bits_from_float(rounded) - 0x3f000000u));
    }
    return (uint16_t)(sign | ((magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13));
}

#endif
