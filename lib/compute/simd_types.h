/* simd_types.h - the vector types of DK_VF lanes, and what needs no instruction of its own. Included by the header of
 * an instruction set, which says how many lanes there are. */
#ifndef DK_COMPUTE_SIMD_TYPES_H
#define DK_COMPUTE_SIMD_TYPES_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "compute/half.h"

#if DK_VF > 1
typedef float dk_vf __attribute__((vector_size(4 * DK_VF)));
typedef int32_t dk_vi __attribute__((vector_size(4 * DK_VF)));
typedef uint32_t dk_vu __attribute__((vector_size(4 * DK_VF)));
#define DK_LANE(v, i) ((v)[i])
#else
typedef float dk_vf;
typedef int32_t dk_vi;
typedef uint32_t dk_vu; /* for sums that may go round */
#define DK_LANE(v, i) (v)
#endif

/* doubles: half as many lanes (simd_double.h) */
#if DK_VF > 1
#define DK_VD (DK_VF / 2)
typedef double dk_vd __attribute__((vector_size(8 * DK_VD)));
typedef int64_t dk_vl __attribute__((vector_size(8 * DK_VD))); /* bits, and what a comparison gives: -1 or 0 */
typedef float dk_vh __attribute__((vector_size(4 * DK_VD)));
#else
#define DK_VD 1
typedef double dk_vd;
typedef int64_t dk_vl;
typedef float dk_vh;
#endif

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

/* Floats are what it writes, and nothing else: what a loop keeps beside them need not be read again. */
#if DK_VF > 1
typedef float dk_vf_anywhere __attribute__((vector_size(4 * DK_VF), aligned(4)));
static inline void dk_vf_store(float *y, dk_vf v) { *(dk_vf_anywhere *)(void *)y = v; }
#else
static inline void dk_vf_store(float *y, dk_vf v) { *y = v; }
#endif

#ifndef DK_VF_MASKED /* its header has instructions for a part of the lanes */
/* n in [0, DK_VF): the lanes behind n hold `rest`; memory there is not touched. */
static inline dk_vf dk_vf_load_n(const float *x, int64_t n, float rest)
{
    float lanes[DK_VF];
    for (int i = 0; i < DK_VF; i++) lanes[i] = i < n ? x[i] : rest;
    return dk_vf_load(lanes);
}

static inline void dk_vf_store_n(float *y, dk_vf v, int64_t n)
{
    float lanes[DK_VF];
    dk_vf_store(lanes, v);
    for (int64_t i = 0; i < n; i++) y[i] = lanes[i];
}
#endif

static inline dk_vi dk_vi_load(const int32_t *x)
{
    dk_vi v;
    memcpy(&v, x, sizeof v);
    return v;
}

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

#endif
