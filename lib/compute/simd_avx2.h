/* simd_avx2.h - eight lanes of AVX2 with FMA and F16C. What each function means stands in simd_portable.h. */
#ifndef DK_COMPUTE_SIMD_AVX2_H
#define DK_COMPUTE_SIMD_AVX2_H

#include <immintrin.h>

#define DK_VF 8
#include "compute/simd_types.h"

typedef dk_vi dk_vm; /* -1 or 0 per lane */

static inline void dk_vf_store_past(float *y, dk_vf v) { _mm256_stream_ps(y, (__m256)v); }
static inline void dk_store_fence(void) { _mm_sfence(); }

static inline dk_vf dk_vf_set(float value) { return (dk_vf)_mm256_set1_ps(value); }

static inline dk_vf dk_vf_load_bf16(const uint16_t *x)
{
    return (dk_vf)_mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)x)), 16));
}

static inline dk_vf dk_vf_load_f16(const uint16_t *x)
{
    return (dk_vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)x));
}

static inline dk_vf dk_vf_fma(dk_vf a, dk_vf b, dk_vf c)
{
    return (dk_vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}

static inline dk_vd dk_vd_fma(dk_vd a, dk_vd b, dk_vd c)
{
    return (dk_vd)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}

static inline dk_vm dk_vf_less(dk_vf a, dk_vf b) { return a < b; }

static inline dk_vm dk_vi_less(dk_vi a, dk_vi b) { return a < b; }

static inline int dk_vm_any(dk_vm mask) { return _mm256_movemask_ps((__m256)mask) != 0; }

static inline dk_vm dk_vm_not(dk_vm mask) { return ~mask; }

static inline int64_t dk_vf_store_where(float *y, dk_vf v, dk_vm mask)
{
    float lanes[DK_VF];
    int64_t count = 0;
    dk_vf_store(lanes, v);
    for (unsigned left = (unsigned)_mm256_movemask_ps((__m256)mask); left; left &= left - 1)
        y[count++] = lanes[__builtin_ctz(left)];
    return count;
}

static inline dk_vf dk_vf_select(dk_vm mask, dk_vf yes, dk_vf no)
{
    return dk_vi_bits((mask & dk_vf_bits(yes)) | (~mask & dk_vf_bits(no)));
}

static inline dk_vf dk_vf_min(dk_vf a, dk_vf b) { return (dk_vf)_mm256_min_ps((__m256)a, (__m256)b); }

static inline dk_vf dk_vf_max(dk_vf a, dk_vf b) { return (dk_vf)_mm256_max_ps((__m256)a, (__m256)b); }

static inline dk_vf dk_vf_sqrt(dk_vf v) { return (dk_vf)_mm256_sqrt_ps((__m256)v); }

static inline dk_vf dk_vf_inverse(dk_vf v) { return dk_vf_set(1) / v; }

static inline float dk_vf_sum(dk_vf v)
{
    __m128 four = _mm256_castps256_ps128((__m256)v) + _mm256_extractf128_ps((__m256)v, 1);
    __m128 two = four + _mm_movehl_ps(four, four);
    return _mm_cvtss_f32(two + _mm_movehdup_ps(two));
}

static inline dk_vf dk_vf_power(dk_vf p, dk_vf n, dk_vi whole)
{
    dk_vi half = whole >> 1; /* two steps reach the denormals */
    p = dk_vf_select(dk_vf_less(n, dk_vf_set(-150)), dk_vf_set(0), p);
    return p * dk_vi_bits((half + 127) << 23) * dk_vi_bits((whole - half + 127) << 23);
}

#endif
