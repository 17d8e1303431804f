/* simd.h - a vector of floats, as wide as the instruction set that this file is compiled for.
 *
 * Kernels and losses are written once with these functions and compiled once per instruction set (dk_kernel_variants in
 * sources.cmake; DK_VARIANT(name) gives each copy its own name). What differs between instruction sets lives in
 * simd_avx512.h, simd_avx2.h, simd_neon.h and simd_portable.h, which define the same names; exp, log and their like in
 * simd_math.h, once; tails, masks and the order of lanes here; no kernel lives in any of them. `+ - * /` work on dk_vf
 * itself. DK_VF lanes; everything is correct for any DK_VF, so a copy for one lane is plain C. */
#ifndef DK_COMPUTE_SIMD_H
#define DK_COMPUTE_SIMD_H

#ifdef DK_ISA_SUFFIX
#define DK_PASTE_(name, suffix) name##_##suffix
#define DK_PASTE(name, suffix) DK_PASTE_(name, suffix)
#define DK_VARIANT(name) DK_PASTE(name, DK_ISA_SUFFIX)
#endif

#if defined(__GNUC__) && defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include "compute/simd_avx512.h"
#elif defined(__GNUC__) && defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "compute/simd_avx2.h"
#elif defined(__GNUC__) && defined(__aarch64__) && defined(__ARM_NEON)
#include "compute/simd_neon.h"
#else
#include "compute/simd_portable.h"
#endif

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

static inline dk_vm dk_vm_and(dk_vm a, dk_vm b) { return (dk_vm)(a & b); }

static inline dk_vf dk_vf_abs(dk_vf v) { return dk_vi_bits(dk_vf_bits(v) & dk_vi_set(0x7fffffff)); }

static inline dk_vf dk_vf_sign_of(dk_vf magnitude, dk_vf sign) /* copysign */
{
    dk_vi bit = dk_vi_set(INT32_MIN);
    return dk_vi_bits((dk_vf_bits(sign) & bit) | (dk_vf_bits(magnitude) & ~bit));
}

/* A float as BF16 holds it, still in 32 bits; dk_narrow_bf16 on vectors. */
static inline dk_vi dk_vf_round_bf16(dk_vf v)
{
    dk_vi bits = dk_vf_bits(v), odd = (bits >> 16) & dk_vi_set(1);
    dk_vi rounded = (dk_vi)((dk_vu)bits + (dk_vu)(dk_vi_set(0x7fff) + odd)); /* bits of a NaN may be the largest */
    dk_vm finite = dk_vi_less(bits & dk_vi_set(0x7fffffff), dk_vi_set(0x7f800001));
    dk_vf chosen = dk_vf_select(finite, dk_vi_bits(rounded), dk_vi_bits(bits | dk_vi_set(0x400000)));
    return dk_vf_bits(chosen) & dk_vi_set((int32_t)0xffff0000);
}

static inline float dk_vf_highest(dk_vf v) /* NaN counts only if it comes first: test sums for NaN instead */
{
    float lanes[DK_VF];
    dk_vf_store(lanes, v);
    for (int width = DK_VF / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++) lanes[i] = lanes[i] < lanes[i + width] ? lanes[i + width] : lanes[i];
    return lanes[0];
}

#include "compute/simd_math.h"

#endif
