/* bf16_dot.h - VDPBF16PS on sixteen numbers: c += a[2i + 1] b[2i + 1], then c += a[2i] b[2i].
 *
 * As Intel documents it (and AMD's processors follow): two fused multiply-adds, each rounded to nearest even, the odd
 * pair first; denormals are zero on the way in and on the way out, and MXCSR has no say. The twin in plain C does just
 * that, where the compiler has not been told of the instruction: its bits are the instruction's. */
#ifndef DK_COMPUTE_BF16_DOT_H
#define DK_COMPUTE_BF16_DOT_H

#include <string.h>

#include "compute/cpu/product/micro/bf16_twin.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>

typedef __m512 dk_dots;

static inline dk_dots dk_dots_zero(void) { return _mm512_setzero_ps(); }
static inline dk_dots dk_dots_load(const float *from) { return _mm512_loadu_ps(from); }
static inline void dk_dots_store(float *to, dk_dots sums) { _mm512_storeu_ps(to, sums); }

/* One pair of A with sixteen pairs of B. */
static inline dk_dots dk_dots_add(dk_dots sums, uint32_t a, const uint32_t *b)
{
    return _mm512_dpbf16_ps(sums, (__m512bh)_mm512_set1_epi32((int)a), (__m512bh)_mm512_loadu_si512(b));
}
#else
typedef struct dk_dots {
    float lane[16];
} dk_dots;

static inline dk_dots dk_dots_zero(void) { return (dk_dots){{0}}; }

static inline dk_dots dk_dots_load(const float *from)
{
    dk_dots sums;
    memcpy(&sums, from, sizeof sums);
    return sums;
}

static inline void dk_dots_store(float *to, dk_dots sums) { memcpy(to, &sums, sizeof sums); }

static inline dk_dots dk_dots_add(dk_dots sums, uint32_t a, const uint32_t *b)
{
    for (int i = 0; i < 16; i++) {
        float odd = dk_twin_fma(dk_twin_high(a), dk_twin_high(b[i]), sums.lane[i]);
        sums.lane[i] = dk_twin_fma(dk_twin_low(a), dk_twin_low(b[i]), odd);
    }
    return sums;
}
#endif

#endif
