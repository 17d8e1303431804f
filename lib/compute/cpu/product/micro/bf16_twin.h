/* bf16_twin.h - the arithmetic of the BF16 instructions in plain C: rounded to nearest even, denormals are zeros. */
#ifndef DK_COMPUTE_BF16_TWIN_H
#define DK_COMPUTE_BF16_TWIN_H

#include <float.h>
#include <math.h>

#include "compute/half.h"

/* The two numbers of a pair. */
static inline float dk_twin_low(uint32_t pair) { return dk_widen_bf16((uint16_t)pair); }
static inline float dk_twin_high(uint32_t pair) { return dk_widen_bf16((uint16_t)(pair >> 16)); }

static inline float dk_twin_flush(float x) { return fabsf(x) < FLT_MIN ? copysignf(0, x) : x; }

static inline float dk_twin_fma(float a, float b, float c)
{
    return dk_twin_flush(fmaf(dk_twin_flush(a), dk_twin_flush(b), dk_twin_flush(c)));
}

static inline float dk_twin_add(float a, float b) { return dk_twin_flush(dk_twin_flush(a) + dk_twin_flush(b)); }

#endif
