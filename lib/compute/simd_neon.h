/* simd_neon.h - four lanes of NEON, which every aarch64 has. What each function means stands in simd_portable.h. */
#ifndef DK_COMPUTE_SIMD_NEON_H
#define DK_COMPUTE_SIMD_NEON_H

#include <arm_neon.h>

#define DK_VF 4
#include "compute/simd_types.h"

typedef dk_vi dk_vm; /* -1 or 0 per lane */

static inline void dk_vf_store_past(float *y, dk_vf v) { dk_vf_store(y, v); }
static inline void dk_store_fence(void) {}

static inline dk_vf dk_vf_set(float value) { return (dk_vf)vdupq_n_f32(value); }

static inline dk_vf dk_vf_load_bf16(const uint16_t *x)
{
    return (dk_vf)vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(x), 16));
}

static inline dk_vf dk_vf_load_f16(const uint16_t *x) { return (dk_vf)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(x))); }

static inline dk_vf dk_vf_fma(dk_vf a, dk_vf b, dk_vf c)
{
    return (dk_vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}

static inline dk_vd dk_vd_fma(dk_vd a, dk_vd b, dk_vd c)
{
    return (dk_vd)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}

static inline dk_vm dk_vf_less(dk_vf a, dk_vf b) { return a < b; }

static inline dk_vm dk_vi_less(dk_vi a, dk_vi b) { return a < b; }

static inline dk_vm dk_vm_not(dk_vm mask) { return ~mask; }

static inline int64_t dk_vf_store_where(float *y, dk_vf v, dk_vm mask)
{
    int64_t count = 0;
    for (int i = 0; i < DK_VF; i++) {
        y[count] = v[i];
        count += mask[i] != 0;
    }
    return count;
}

static inline dk_vf dk_vf_inverse(dk_vf v) { return dk_vf_set(1) / v; }

static inline int dk_vm_any(dk_vm mask) { return vmaxvq_u32((uint32x4_t)mask) != 0; }

static inline dk_vf dk_vf_select(dk_vm mask, dk_vf yes, dk_vf no)
{
    return (dk_vf)vbslq_f32((uint32x4_t)mask, (float32x4_t)yes, (float32x4_t)no);
}

/* FMIN and FMAX give NaN for either one. */
static inline dk_vf dk_vf_min(dk_vf a, dk_vf b) { return dk_vf_select(dk_vf_less(a, b), a, b); }

static inline dk_vf dk_vf_max(dk_vf a, dk_vf b) { return dk_vf_select(dk_vf_less(b, a), a, b); }

static inline dk_vf dk_vf_sqrt(dk_vf v) { return (dk_vf)vsqrtq_f32((float32x4_t)v); }

static inline float dk_vf_sum(dk_vf v)
{
    float32x2_t two = vadd_f32(vget_low_f32((float32x4_t)v), vget_high_f32((float32x4_t)v));
    return vget_lane_f32(vpadd_f32(two, two), 0);
}

static inline dk_vf dk_vf_power(dk_vf p, dk_vf n, dk_vi whole)
{
    dk_vi half = whole >> 1; /* two steps reach the denormals */
    p = dk_vf_select(dk_vf_less(n, dk_vf_set(-150)), dk_vf_set(0), p);
    return p * dk_vi_bits((half + 127) << 23) * dk_vi_bits((whole - half + 127) << 23);
}

#endif
