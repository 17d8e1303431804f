/* simd.h - a vector of floats, as wide as the instruction set that this file is compiled for.
 *
 * Kernels and losses are written once with these functions and compiled once per instruction set (dk_kernel_variants in
 * sources.cmake; DK_VARIANT(name) gives each copy its own name). Here live loads, stores, tails, masks, exp, log, tanh,
 * erf and sums with a fixed order; no kernel lives here. `+ - * /` work on dk_vf itself. DK_VF lanes; everything is
 * correct for any DK_VF, so a copy for one lane is plain C.
 *
 * exp, log, tanh, erf are within about 2 ulp, keep NaN, and are right at the ends: exp(-inf) = 0, log(0) = -inf. */
#ifndef DK_COMPUTE_SIMD_H
#define DK_COMPUTE_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "compute/half.h"

#ifdef DK_ISA_SUFFIX
#define DK_PASTE_(name, suffix) name##_##suffix
#define DK_PASTE(name, suffix) DK_PASTE_(name, suffix)
#define DK_VARIANT(name) DK_PASTE(name, DK_ISA_SUFFIX)
#endif

#if defined(__GNUC__) && defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define DK_SIMD_AVX512 1
#elif defined(__GNUC__) && defined(__AVX2__) && defined(__FMA__)
#define DK_SIMD_AVX2 1
#endif
#if defined(__GNUC__) && (defined(__AVX2__) || defined(__SSE2__))
#include <immintrin.h>
#endif

#if defined(DK_SIMD_AVX512)
#define DK_VF 16
#elif defined(DK_SIMD_AVX2)
#define DK_VF 8
#elif defined(__GNUC__)
#define DK_VF 4
#else
#define DK_VF 1
#endif

#if DK_VF > 1
typedef float dk_vf __attribute__((vector_size(4 * DK_VF)));
typedef int32_t dk_vi __attribute__((vector_size(4 * DK_VF)));
#define DK_LANE(v, i) ((v)[i])
#else
typedef float dk_vf;
typedef int32_t dk_vi;
#define DK_LANE(v, i) (v)
#endif
#if defined(DK_SIMD_AVX512)
typedef __mmask16 dk_vm; /* one truth per lane */
#else
typedef dk_vi dk_vm; /* -1 or 0 per lane */
#endif

/* ---- constants, loads, stores ---- */
static inline dk_vf dk_vf_set(float value)
{
#if defined(DK_SIMD_AVX512)
    return (dk_vf)_mm512_set1_ps(value);
#elif defined(DK_SIMD_AVX2)
    return (dk_vf)_mm256_set1_ps(value);
#elif DK_VF > 1
    return (dk_vf){value, value, value, value};
#else
    return value;
#endif
}

static inline dk_vi dk_vi_set(int32_t value)
{
#if DK_VF > 1
    return (dk_vi){0} + value; /* exact for integers, so it folds into a broadcast */
#else
    return value;
#endif
}

static inline dk_vi dk_vi_iota(void) /* 0, 1, 2, ... */
{
    dk_vi v = dk_vi_set(0);
    for (int i = 1; i < DK_VF; i++) DK_LANE(v, i) = i;
    return v;
}

static inline dk_vf dk_vf_load(const float *x)
{
    dk_vf v;
    memcpy(&v, x, sizeof v);
    return v;
}

static inline void dk_vf_store(float *y, dk_vf v) { memcpy(y, &v, sizeof v); }

/* n in [0, DK_VF): the lanes behind n hold `rest`; memory there is not touched. */
static inline dk_vf dk_vf_load_n(const float *x, int64_t n, float rest)
{
#if defined(DK_SIMD_AVX512)
    return (dk_vf)_mm512_mask_loadu_ps((__m512)dk_vf_set(rest), (__mmask16)((1u << n) - 1u), x);
#else
    float lanes[DK_VF];
    for (int i = 0; i < DK_VF; i++) lanes[i] = i < n ? x[i] : rest;
    return dk_vf_load(lanes);
#endif
}

static inline void dk_vf_store_n(float *y, dk_vf v, int64_t n)
{
#if defined(DK_SIMD_AVX512)
    _mm512_mask_storeu_ps(y, (__mmask16)((1u << n) - 1u), (__m512)v);
#else
    float lanes[DK_VF];
    dk_vf_store(lanes, v);
    for (int64_t i = 0; i < n; i++) y[i] = lanes[i];
#endif
}

/* For loops that step by DK_VF: `left` elements remain, the last round may be short. */
static inline dk_vf dk_vf_take(const float *x, int64_t left, float rest)
{
    return left >= DK_VF ? dk_vf_load(x) : dk_vf_load_n(x, left, rest);
}

static inline void dk_vf_give(float *y, dk_vf v, int64_t left)
{
    if (left >= DK_VF) {
        dk_vf_store(y, v);
    } else {
        dk_vf_store_n(y, v, left);
    }
}

static inline dk_vi dk_vi_load(const int32_t *x)
{
    dk_vi v;
    memcpy(&v, x, sizeof v);
    return v;
}

/* BF16 and F16 bits, widened. */
static inline dk_vf dk_vf_load_bf16(const uint16_t *x)
{
#if defined(DK_SIMD_AVX512)
    return (dk_vf)_mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)x)), 16));
#elif defined(DK_SIMD_AVX2)
    return (dk_vf)_mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)x)), 16));
#else
    float lanes[DK_VF];
    for (int i = 0; i < DK_VF; i++) lanes[i] = dk_widen_bf16(x[i]);
    return dk_vf_load(lanes);
#endif
}

static inline dk_vf dk_vf_load_f16(const uint16_t *x)
{
#if defined(DK_SIMD_AVX512)
    return (dk_vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)x));
#elif defined(DK_SIMD_AVX2) && defined(__F16C__)
    return (dk_vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)x));
#else
    float lanes[DK_VF];
    for (int i = 0; i < DK_VF; i++) lanes[i] = dk_widen_f16(x[i]);
    return dk_vf_load(lanes);
#endif
}

/* ---- bits and integers ---- */
static inline dk_vi dk_vf_bits(dk_vf v)
{
    dk_vi bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static inline dk_vf dk_vi_bits(dk_vi v)
{
    dk_vf value;
    memcpy(&value, &v, sizeof value);
    return value;
}

static inline dk_vf dk_vi_float(dk_vi v)
{
#if DK_VF > 1
    return __builtin_convertvector(v, dk_vf);
#else
    return (float)v;
#endif
}

/* ---- arithmetic ---- */
static inline dk_vf dk_vf_fma(dk_vf a, dk_vf b, dk_vf c) /* a*b + c, rounded once where the machine can */
{
#if defined(DK_SIMD_AVX512)
    return (dk_vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(DK_SIMD_AVX2)
    return (dk_vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}

static inline dk_vm dk_vf_less(dk_vf a, dk_vf b)
{
#if defined(DK_SIMD_AVX512)
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ);
#elif DK_VF > 1
    return a < b;
#else
    return -(a < b);
#endif
}

static inline dk_vm dk_vi_less(dk_vi a, dk_vi b)
{
#if defined(DK_SIMD_AVX512)
    return _mm512_cmplt_epi32_mask((__m512i)a, (__m512i)b);
#elif DK_VF > 1
    return a < b;
#else
    return -(a < b);
#endif
}

static inline dk_vm dk_vm_and(dk_vm a, dk_vm b) { return (dk_vm)(a & b); }

static inline dk_vf dk_vf_select(dk_vm mask, dk_vf yes, dk_vf no)
{
#if defined(DK_SIMD_AVX512)
    return (dk_vf)_mm512_mask_blend_ps(mask, (__m512)no, (__m512)yes);
#else
    return dk_vi_bits((mask & dk_vf_bits(yes)) | (~mask & dk_vf_bits(no)));
#endif
}

/* Both give b when either is NaN. */
static inline dk_vf dk_vf_min(dk_vf a, dk_vf b)
{
#if defined(DK_SIMD_AVX512)
    return (dk_vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(DK_SIMD_AVX2)
    return (dk_vf)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return dk_vf_select(dk_vf_less(a, b), a, b);
#endif
}

static inline dk_vf dk_vf_max(dk_vf a, dk_vf b)
{
#if defined(DK_SIMD_AVX512)
    return (dk_vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(DK_SIMD_AVX2)
    return (dk_vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return dk_vf_select(dk_vf_less(b, a), a, b);
#endif
}

static inline dk_vf dk_vf_abs(dk_vf v) { return dk_vi_bits(dk_vf_bits(v) & dk_vi_set(0x7fffffff)); }

static inline dk_vf dk_vf_sign_of(dk_vf magnitude, dk_vf sign) /* copysign */
{
    dk_vi bit = dk_vi_set(INT32_MIN);
    return dk_vi_bits((dk_vf_bits(sign) & bit) | (dk_vf_bits(magnitude) & ~bit));
}

static inline dk_vf dk_vf_sqrt(dk_vf v)
{
#if defined(DK_SIMD_AVX512)
    return (dk_vf)_mm512_sqrt_ps((__m512)v);
#elif defined(DK_SIMD_AVX2)
    return (dk_vf)_mm256_sqrt_ps((__m256)v);
#elif defined(__SSE2__) && DK_VF == 4
    return (dk_vf)_mm_sqrt_ps((__m128)v);
#else
    for (int i = 0; i < DK_VF; i++) DK_LANE(v, i) = sqrtf(DK_LANE(v, i));
    return v;
#endif
}

/* ---- over the lanes, always in the same order: halves are folded together ---- */
static inline float dk_vf_sum(dk_vf v)
{
#if defined(DK_SIMD_AVX512) || defined(DK_SIMD_AVX2)
#if defined(DK_SIMD_AVX512)
    __m256 eight = _mm512_castps512_ps256((__m512)v) + _mm512_extractf32x8_ps((__m512)v, 1);
#else
    __m256 eight = (__m256)v;
#endif
    __m128 four = _mm256_castps256_ps128(eight) + _mm256_extractf128_ps(eight, 1);
    __m128 two = four + _mm_movehl_ps(four, four);
    return _mm_cvtss_f32(two + _mm_movehdup_ps(two));
#else
    float lanes[DK_VF];
    dk_vf_store(lanes, v);
    for (int width = DK_VF / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++) lanes[i] += lanes[i + width];
    return lanes[0];
#endif
}

static inline float dk_vf_highest(dk_vf v) /* NaN counts only if it comes first: test sums for NaN instead */
{
    float lanes[DK_VF];
    dk_vf_store(lanes, v);
    for (int width = DK_VF / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++) lanes[i] = lanes[i] < lanes[i + width] ? lanes[i + width] : lanes[i];
    return lanes[0];
}

/* ---- functions: minimax polynomials on the reduced argument ---- */
static inline dk_vf dk_vf_exp(dk_vf x)
{
    const dk_vf shift = dk_vf_set(12582912.0f); /* 1.5*2^23: adding it rounds to an integer */
    x = dk_vf_max(dk_vf_set(-105.0f), dk_vf_min(dk_vf_set(89.0f), x));
    dk_vf scaled = dk_vf_fma(x, dk_vf_set(1.44269504f), shift), n = scaled - shift;
    dk_vf r = dk_vf_fma(n, dk_vf_set(-0.693359375f), x);
    r = dk_vf_fma(n, dk_vf_set(2.12194440e-4f), r);
    dk_vf p = dk_vf_set(1.381461e-3f);
    p = dk_vf_fma(p, r, dk_vf_set(8.368711e-3f));
    p = dk_vf_fma(p, r, dk_vf_set(4.166839e-2f));
    p = dk_vf_fma(p, r, dk_vf_set(1.6666521e-1f));
    p = dk_vf_fma(p, r, dk_vf_set(4.9999994e-1f));
    p = dk_vf_fma(p, r * r, r) + dk_vf_set(1.0f);
#if defined(DK_SIMD_AVX512)
    return (dk_vf)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    dk_vi whole = dk_vf_bits(scaled) - dk_vf_bits(shift), half = whole >> 1; /* two steps reach the denormals */
    return p * dk_vi_bits((half + 127) << 23) * dk_vi_bits((whole - half + 127) << 23);
#endif
}

static inline dk_vf dk_vf_log(dk_vf x)
{
    const dk_vf zero = dk_vf_set(0.0f), infinite = dk_vf_set(INFINITY);
    dk_vm tiny = dk_vf_less(x, dk_vf_set(0x1p-126f));
    dk_vf scaled = dk_vf_select(tiny, x * dk_vf_set(0x1p23f), x);
    dk_vi bits = dk_vf_bits(scaled) - 0x3f3504f3; /* from sqrt(1/2): the mantissa lands in [sqrt(1/2), sqrt(2)) */
    dk_vf n = dk_vi_float(bits >> 23) - dk_vf_select(tiny, dk_vf_set(23.0f), zero);
    dk_vf f = dk_vi_bits((bits & 0x7fffff) + 0x3f3504f3) - dk_vf_set(1.0f);
    dk_vf p = dk_vf_set(6.7466386e-2f);
    p = dk_vf_fma(p, f, dk_vf_set(-1.1675651e-1f));
    p = dk_vf_fma(p, f, dk_vf_set(1.1888163e-1f));
    p = dk_vf_fma(p, f, dk_vf_set(-1.2405589e-1f));
    p = dk_vf_fma(p, f, dk_vf_set(1.4219552e-1f));
    p = dk_vf_fma(p, f, dk_vf_set(-1.6667996e-1f));
    p = dk_vf_fma(p, f, dk_vf_set(2.0002119e-1f));
    p = dk_vf_fma(p, f, dk_vf_set(-2.500001e-1f));
    p = dk_vf_fma(p, f, dk_vf_set(3.3333313e-1f));
    dk_vf square = f * f;
    dk_vf low = dk_vf_fma(p * f, square, n * dk_vf_set(-2.12194440e-4f));
    dk_vf y = dk_vf_fma(n, dk_vf_set(0.693359375f), f + dk_vf_fma(square, dk_vf_set(-0.5f), low));
    y = dk_vf_select(dk_vf_less(x, infinite), y, x); /* infinity and NaN */
    y = dk_vf_select(dk_vf_less(zero, x), y, dk_vf_select(dk_vf_less(x, zero), dk_vf_set(NAN), x - infinite));
    return y;
}

static inline dk_vf dk_vf_tanh(dk_vf x)
{
    dk_vf size = dk_vf_abs(x), s = x * x;
    dk_vf p = dk_vf_set(-5.7049864e-3f);
    p = dk_vf_fma(p, s, dk_vf_set(2.0639086e-2f));
    p = dk_vf_fma(p, s, dk_vf_set(-5.3739715e-2f));
    p = dk_vf_fma(p, s, dk_vf_set(1.3331442e-1f));
    p = dk_vf_fma(p, s, dk_vf_set(-3.333328e-1f));
    dk_vf small = dk_vf_fma(p, s * x, x);
    dk_vf large = dk_vf_set(1.0f) - dk_vf_set(2.0f) / (dk_vf_exp(size + size) + dk_vf_set(1.0f));
    return dk_vf_select(dk_vf_less(size, dk_vf_set(0.625f)), small, dk_vf_sign_of(large, x));
}

static inline dk_vf dk_vf_erf(dk_vf x)
{
    dk_vf size = dk_vf_abs(x), s = x * x, t = dk_vf_min(dk_vf_set(4.0f), size);
    dk_vf p = dk_vf_set(7.853861e-5f);
    p = dk_vf_fma(p, s, dk_vf_set(-8.0101937e-4f));
    p = dk_vf_fma(p, s, dk_vf_set(5.1883277e-3f));
    p = dk_vf_fma(p, s, dk_vf_set(-2.6853813e-2f));
    p = dk_vf_fma(p, s, dk_vf_set(1.12835854e-1f));
    p = dk_vf_fma(p, s, dk_vf_set(-3.7612626e-1f));
    p = dk_vf_fma(p, s, dk_vf_set(1.2837917e-1f));
    dk_vf small = dk_vf_fma(p, x, x);
    dk_vf e = dk_vf_set(-2.169759e-5f); /* log(erfc(t)) on [1, 4] */
    e = dk_vf_fma(e, t, dk_vf_set(4.4147234e-4f));
    e = dk_vf_fma(e, t, dk_vf_set(-4.205283e-3f));
    e = dk_vf_fma(e, t, dk_vf_set(2.5210334e-2f));
    e = dk_vf_fma(e, t, dk_vf_set(-1.0842209e-1f));
    e = dk_vf_fma(e, t, dk_vf_set(-6.332164e-1f));
    e = dk_vf_fma(e, t, dk_vf_set(-1.1295803e+0f));
    e = dk_vf_fma(e, t, dk_vf_set(1.884666e-4f));
    dk_vf large = dk_vf_set(1.0f) - dk_vf_exp(e);
    return dk_vf_select(dk_vf_less(size, dk_vf_set(1.0f)), small, dk_vf_sign_of(large, x));
}

static inline dk_vf dk_vf_sigmoid(dk_vf x)
{
    return dk_vf_set(1.0f) / (dk_vf_set(1.0f) + dk_vf_exp(dk_vf_set(0.0f) - x));
}

#endif
