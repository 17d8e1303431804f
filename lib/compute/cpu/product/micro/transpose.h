/* transpose.h - a square of DK_VF by DK_VF 32-bit numbers, turned in registers: log2(DK_VF) rounds in which pairs of
 * vectors swap ever larger pieces. */
#ifndef DK_COMPUTE_TRANSPOSE_H
#define DK_COMPUTE_TRANSPOSE_H

#include "compute/simd.h"

#if DK_VF == 16
static inline void dk_transpose(dk_vf r[16])
{
    __m512 s[16];
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) { /* s[i + j] = column j of each 4 x 4 block of rows i.. */
        __m512 low = _mm512_unpacklo_ps((__m512)r[i], (__m512)r[i + 1]),
               high = _mm512_unpackhi_ps((__m512)r[i], (__m512)r[i + 1]),
               low2 = _mm512_unpacklo_ps((__m512)r[i + 2], (__m512)r[i + 3]),
               high2 = _mm512_unpackhi_ps((__m512)r[i + 2], (__m512)r[i + 3]);
        s[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(low), _mm512_castps_pd(low2)));
        s[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(low), _mm512_castps_pd(low2)));
        s[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(high), _mm512_castps_pd(high2)));
        s[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(high), _mm512_castps_pd(high2)));
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) { /* blocks of four lanes: those of columns j, j + 4, j + 8, j + 12 */
        __m512 even = _mm512_shuffle_f32x4(s[j], s[j + 4], 0x88), odd = _mm512_shuffle_f32x4(s[j], s[j + 4], 0xdd),
               even2 = _mm512_shuffle_f32x4(s[j + 8], s[j + 12], 0x88),
               odd2 = _mm512_shuffle_f32x4(s[j + 8], s[j + 12], 0xdd);
        r[j] = (dk_vf)_mm512_shuffle_f32x4(even, even2, 0x88);
        r[j + 4] = (dk_vf)_mm512_shuffle_f32x4(odd, odd2, 0x88);
        r[j + 8] = (dk_vf)_mm512_shuffle_f32x4(even, even2, 0xdd);
        r[j + 12] = (dk_vf)_mm512_shuffle_f32x4(odd, odd2, 0xdd);
    }
}
#elif DK_VF == 8
static inline void dk_transpose(dk_vf r[8])
{
    __m256 s[8];
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
        __m256 low = _mm256_unpacklo_ps((__m256)r[i], (__m256)r[i + 1]),
               high = _mm256_unpackhi_ps((__m256)r[i], (__m256)r[i + 1]),
               low2 = _mm256_unpacklo_ps((__m256)r[i + 2], (__m256)r[i + 3]),
               high2 = _mm256_unpackhi_ps((__m256)r[i + 2], (__m256)r[i + 3]);
        s[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(low), _mm256_castps_pd(low2)));
        s[i + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(low), _mm256_castps_pd(low2)));
        s[i + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(high), _mm256_castps_pd(high2)));
        s[i + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(high), _mm256_castps_pd(high2)));
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        r[j] = (dk_vf)_mm256_permute2f128_ps(s[j], s[j + 4], 0x20);
        r[j + 4] = (dk_vf)_mm256_permute2f128_ps(s[j], s[j + 4], 0x31);
    }
}
#else
static inline void dk_transpose(dk_vf r[DK_VF])
{
    float from[DK_VF][DK_VF], to[DK_VF][DK_VF];
    memcpy(from, r, sizeof from);
    for (int i = 0; i < DK_VF; i++)
        for (int j = 0; j < DK_VF; j++) to[j][i] = from[i][j];
    memcpy(r, to, sizeof to);
}
#endif

#endif
