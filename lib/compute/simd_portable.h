/* simd_portable.h - four lanes of the compiler's vectors, or one lane of plain C. The functions that every
 * instruction set defines for itself are explained here. */
#ifndef DK_COMPUTE_SIMD_PORTABLE_H
#define DK_COMPUTE_SIMD_PORTABLE_H

#if defined(__GNUC__)
#define DK_VF 4
#else
#define DK_VF 1
#endif
#include "compute/simd_types.h"
#if DK_VF == 4 && defined(__SSE2__)
#include <immintrin.h>
#endif

typedef dk_vi dk_vm; /* -1 or 0 per lane */

/* Past the caches, where y is a multiple of a vector and others may only read it behind dk_store_fence. */
static inline void dk_vf_store_past(float *y, dk_vf v) { dk_vf_store(y, v); }
static inline void dk_store_fence(void) {}

static inline dk_vf dk_vf_set(float value)
{
#if DK_VF > 1
    return (dk_vf){value, value, value, value};
#else
    return value;
#endif
}

/* BF16 and F16 bits, widened. */
static inline dk_vf dk_vf_load_bf16(const uint16_t *x)
{
    float lanes[DK_VF];
    for (int i = 0; i < DK_VF; i++) lanes[i] = dk_widen_bf16(x[i]);
    return dk_vf_load(lanes);
}

static inline dk_vf dk_vf_load_f16(const uint16_t *x)
{
    float lanes[DK_VF];
    for (int i = 0; i < DK_VF; i++) lanes[i] = dk_widen_f16(x[i]);
    return dk_vf_load(lanes);
}

/* a*b + c, rounded once where the machine can */
static inline dk_vf dk_vf_fma(dk_vf a, dk_vf b, dk_vf c) { return a * b + c; }

static inline dk_vd dk_vd_fma(dk_vd a, dk_vd b, dk_vd c) { return a * b + c; }

#if DK_VF > 1
static inline dk_vm dk_vf_less(dk_vf a, dk_vf b) { return a < b; }
static inline dk_vm dk_vi_less(dk_vi a, dk_vi b) { return a < b; }
#else
static inline dk_vm dk_vf_less(dk_vf a, dk_vf b) { return -(a < b); }
static inline dk_vm dk_vi_less(dk_vi a, dk_vi b) { return -(a < b); }
#endif

static inline int dk_vm_any(dk_vm mask) /* is one lane true? */
{
    int32_t any = 0;
    for (int i = 0; i < DK_VF; i++) any |= DK_LANE(mask, i);
    return any != 0;
}

static inline dk_vm dk_vm_not(dk_vm mask) { return ~mask; }

/* The lanes that are true, one behind the other; y has room for all. How many they are. */
static inline int64_t dk_vf_store_where(float *y, dk_vf v, dk_vm mask)
{
    int64_t count = 0;
    for (int i = 0; i < DK_VF; i++) {
        y[count] = DK_LANE(v, i);
        count += DK_LANE(mask, i) != 0;
    }
    return count;
}

static inline dk_vf dk_vf_select(dk_vm mask, dk_vf yes, dk_vf no)
{
    return dk_vi_bits((mask & dk_vf_bits(yes)) | (~mask & dk_vf_bits(no)));
}

/* Both give b when either is NaN. */
static inline dk_vf dk_vf_min(dk_vf a, dk_vf b) { return dk_vf_select(dk_vf_less(a, b), a, b); }

static inline dk_vf dk_vf_max(dk_vf a, dk_vf b) { return dk_vf_select(dk_vf_less(b, a), a, b); }

static inline dk_vf dk_vf_sqrt(dk_vf v)
{
#if defined(__SSE2__) && DK_VF == 4
    return (dk_vf)_mm_sqrt_ps((__m128)v);
#else
    for (int i = 0; i < DK_VF; i++) DK_LANE(v, i) = sqrtf(DK_LANE(v, i));
    return v;
#endif
}

/* 1/v to a float's rounding, for normal v whose inverse is normal. */
static inline dk_vf dk_vf_inverse(dk_vf v) { return dk_vf_set(1) / v; }

/* Over the lanes, always in the same order: halves are folded together. */
static inline float dk_vf_sum(dk_vf v)
{
    float lanes[DK_VF];
    dk_vf_store(lanes, v);
    for (int width = DK_VF / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++) lanes[i] += lanes[i + width];
    return lanes[0];
}

/* p * 2^n for a whole n, which `whole` holds as an integer; denormals included. What would be rounded to 0 is 0 from
 * the beginning: rounding it away takes a processor a hundred cycles and more. */
static inline dk_vf dk_vf_power(dk_vf p, dk_vf n, dk_vi whole)
{
    dk_vi half = whole >> 1; /* two steps reach the denormals */
    p = dk_vf_select(dk_vf_less(n, dk_vf_set(-150)), dk_vf_set(0), p);
    return p * dk_vi_bits((half + 127) << 23) * dk_vi_bits((whole - half + 127) << 23);
}

#endif
