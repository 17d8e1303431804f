/* simd_avx512.h - sixteen lanes of AVX-512 (F, DQ, BW, VL). What each function means stands in simd_portable.h. */
#ifndef DK_COMPUTE_SIMD_AVX512_H
#define DK_COMPUTE_SIMD_AVX512_H

#include <immintrin.h>

#define DK_VF 16
#define DK_VF_MASKED
#include "compute/simd_types.h"

typedef __mmask16 dk_vm; /* one truth per lane */

static inline void dk_vf_store_past(float *y, dk_vf v) { _mm512_stream_ps(y, (__m512)v); }
static inline void dk_store_fence(void) { _mm_sfence(); }

static inline dk_vf dk_vf_set(float value) { return (dk_vf)_mm512_set1_ps(value); }

static inline dk_vf dk_vf_load_n(const float *x, int64_t n, float rest)
{
    return (dk_vf)_mm512_mask_loadu_ps((__m512)dk_vf_set(rest), (__mmask16)((1u << n) - 1u), x);
}

static inline void dk_vf_store_n(float *y, dk_vf v, int64_t n)
{
    _mm512_mask_storeu_ps(y, (__mmask16)((1u << n) - 1u), (__m512)v);
}

static inline dk_vf dk_vf_load_bf16(const uint16_t *x)
{
    return (dk_vf)_mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)x)), 16));
}

static inline dk_vf dk_vf_load_f16(const uint16_t *x)
{
    return (dk_vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)x));
}

static inline dk_vf dk_vf_fma(dk_vf a, dk_vf b, dk_vf c)
{
    return (dk_vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}

static inline dk_vd dk_vd_fma(dk_vd a, dk_vd b, dk_vd c)
{
    return (dk_vd)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}

static inline dk_vm dk_vf_less(dk_vf a, dk_vf b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ); }

static inline dk_vm dk_vi_less(dk_vi a, dk_vi b) { return _mm512_cmplt_epi32_mask((__m512i)a, (__m512i)b); }

static inline int dk_vm_any(dk_vm mask) { return mask != 0; }

static inline dk_vf dk_vf_select(dk_vm mask, dk_vf yes, dk_vf no)
{
    return (dk_vf)_mm512_mask_blend_ps(mask, (__m512)no, (__m512)yes);
}

static inline dk_vm dk_vm_not(dk_vm mask) { return (dk_vm)~mask; }

static inline int64_t dk_vf_store_where(float *y, dk_vf v, dk_vm mask)
{
    dk_vf_store(y, (dk_vf)_mm512_maskz_compress_ps(mask, (__m512)v));
    return __builtin_popcount(mask);
}

static inline dk_vf dk_vf_min(dk_vf a, dk_vf b) { return (dk_vf)_mm512_min_ps((__m512)a, (__m512)b); }

static inline dk_vf dk_vf_max(dk_vf a, dk_vf b) { return (dk_vf)_mm512_max_ps((__m512)a, (__m512)b); }

static inline dk_vf dk_vf_sqrt(dk_vf v) { return (dk_vf)_mm512_sqrt_ps((__m512)v); }

static inline dk_vf dk_vf_inverse(dk_vf v)
{
    const dk_vf near = (dk_vf)_mm512_rcp14_ps((__m512)v);
    return dk_vf_fma(near, dk_vf_fma(near, dk_vf_set(0) - v, dk_vf_set(1)), near);
}

/* 2^(k/16), k the lowest four bits of a lane */
#define DK_VF_ROOTS
static inline dk_vf dk_vf_root(dk_vi k)
{
    const __m512 roots = _mm512_setr_ps(1.0f, 1.0442737824f, 1.0905077327f, 1.1387886348f, 1.1892071150f, 1.2418578121f,
                                        1.2968395547f, 1.3542555469f, 1.4142135624f, 1.4768261459f, 1.5422108254f,
                                        1.6104903320f, 1.6817928305f, 1.7562521603f, 1.8340080864f, 1.9152065614f);
    return (dk_vf)_mm512_permutexvar_ps((__m512i)k, roots);
}

/* table[k], of sixteen by the lowest four bits of a lane */
#define DK_VF_TABLES
static inline dk_vf dk_vf_pick(dk_vf table, dk_vi k) { return (dk_vf)_mm512_permutexvar_ps((__m512i)k, (__m512)table); }

/* v*2^n, n rounded down */
static inline dk_vf dk_vf_scale(dk_vf v, dk_vf n) { return (dk_vf)_mm512_scalef_ps((__m512)v, (__m512)n); }

/* The same in doubles; k as it lies in a lane's lowest four bits. */
#define DK_VD_ROOTS
static inline dk_vd dk_vd_root(dk_vl k)
{
    const __m512d low =
        _mm512_setr_pd(1, 0x1.0b5586cf9890fp+0, 0x1.172b83c7d517bp+0, 0x1.2387a6e756238p+0, 0x1.306fe0a31b715p+0,
                       0x1.3dea64c123422p+0, 0x1.4bfdad5362a27p+0, 0x1.5ab07dd485429p+0);
    const __m512d high =
        _mm512_setr_pd(0x1.6a09e667f3bcdp+0, 0x1.7a11473eb0187p+0, 0x1.8ace5422aa0dbp+0, 0x1.9c49182a3f09p+0,
                       0x1.ae89f995ad3adp+0, 0x1.c199bdd85529cp+0, 0x1.d5818dcfba487p+0, 0x1.ea4afa2a490dap+0);
    return (dk_vd)_mm512_permutex2var_pd(low, (__m512i)k, high);
}

static inline dk_vd dk_vd_scale(dk_vd v, dk_vd n) { return (dk_vd)_mm512_scalef_pd((__m512d)v, (__m512d)n); }

static inline float dk_vf_sum(dk_vf v)
{
    __m256 eight = _mm512_castps512_ps256((__m512)v) + _mm512_extractf32x8_ps((__m512)v, 1);
    __m128 four = _mm256_castps256_ps128(eight) + _mm256_extractf128_ps(eight, 1);
    __m128 two = four + _mm_movehl_ps(four, four);
    return _mm_cvtss_f32(two + _mm_movehdup_ps(two));
}

static inline dk_vf dk_vf_power(dk_vf p, dk_vf n, dk_vi whole)
{
    __mmask16 some = _mm512_cmp_ps_mask((__m512)n, _mm512_set1_ps(-150), _CMP_NLT_UQ);
    (void)whole;
    return (dk_vf)_mm512_maskz_scalef_ps(some, (__m512)p, (__m512)n);
}

#endif
