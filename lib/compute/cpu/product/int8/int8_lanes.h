/* int8_lanes.h - the steps that each instruction set takes its own way: four bytes of every lane times four others,
 * sixteen bytes of DK_VF lines turned into four vectors, and sums across the lanes of a line.
 *
 * VPDPBUSD multiplies unsigned bytes by signed ones, so signed weights go in with 128 added to each, and sums begin at
 * -128 times the sum of the other operand: DK_INT8_OFFSET. VPMADDUBSW adds pairs in 16 bits, which |weight| <= 128 and
 * |activation| <= 127 never overflow, so there a weight's sign moves over to the activation and nothing is added. */
#ifndef DK_COMPUTE_INT8_LANES_H
#define DK_COMPUTE_INT8_LANES_H

#include "compute/cpu/product/micro/micro.h"
#include "compute/simd.h"

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#define DK_INT8_OFFSET 128
static inline dk_vi dk_int8_signed(dk_vi weights) { return weights ^ dk_vi_set((int32_t)0x80808080); }

static inline dk_vi dk_int8_dot(dk_vi sum, dk_vi weights, dk_vi by)
{
#if defined(__AVX512VNNI__)
    return (dk_vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)weights, (__m512i)by);
#else
    return (dk_vi)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)weights, (__m256i)by);
#endif
}
#define dk_int8_dot_signed dk_int8_dot
#else
#define DK_INT8_OFFSET 0
static inline dk_vi dk_int8_signed(dk_vi weights) { return weights; }

#if defined(__AVX2__) && DK_VF == 8
static inline dk_vi dk_int8_dot(dk_vi sum, dk_vi weights, dk_vi by)
{
    __m256i pairs = _mm256_maddubs_epi16((__m256i)weights, (__m256i)by);
    return sum + (dk_vi)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

static inline dk_vi dk_int8_dot_signed(dk_vi sum, dk_vi weights, dk_vi by)
{
    return dk_int8_dot(sum, (dk_vi)_mm256_abs_epi8((__m256i)weights),
                       (dk_vi)_mm256_sign_epi8((__m256i)by, (__m256i)weights));
}
#elif defined(__ARM_FEATURE_DOTPROD) && DK_VF == 4
/* SDOT multiplies signed bytes by signed ones, and nibbles are positive as such. */
static inline dk_vi dk_int8_dot(dk_vi sum, dk_vi weights, dk_vi by)
{
    return (dk_vi)vdotq_s32((int32x4_t)sum, (int8x16_t)weights, (int8x16_t)by);
}
#define dk_int8_dot_signed dk_int8_dot
#else
/* A signed byte of each lane, as (x ^ 128) - 128 has it. */
static inline dk_vi dk_int8_byte(dk_vi four, int at) { return ((four >> 8 * at & 255) ^ 128) - 128; }

static inline dk_vi dk_int8_dot(dk_vi sum, dk_vi weights, dk_vi by)
{
    for (int at = 0; at < 4; at++) sum = sum + (weights >> 8 * at & 255) * dk_int8_byte(by, at);
    return sum;
}

static inline dk_vi dk_int8_dot_signed(dk_vi sum, dk_vi weights, dk_vi by)
{
    for (int at = 0; at < 4; at++) sum = sum + dk_int8_byte(weights, at) * dk_int8_byte(by, at);
    return sum;
}
#endif
#endif

static inline dk_vi dk_int8_four(const int8_t *q)
{
    int32_t four;
    memcpy(&four, q, sizeof four);
    return dk_vi_set(four);
}

/* A block of every lane times 32 numbers, from `start` on. Two sums, since a chain of eight dots takes longer than the
 * machine can look ahead. */
DK_ALWAYS_INLINE dk_vi dk_int8_dots(const int nibbles, int32_t start, const dk_vi weights[8], const int8_t *q)
{
#if defined(__AVX2__) && DK_VF == 8 && DK_INT8_OFFSET == 0
    if (nibbles) { /* |sum| <= 16 * 15 * 127 stays in 16 bits */
        __m256i pairs = _mm256_setzero_si256();
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++)
            pairs =
                _mm256_add_epi16(pairs, _mm256_maddubs_epi16((__m256i)weights[i], (__m256i)dk_int8_four(q + 4 * i)));
        return dk_vi_set(start) + (dk_vi)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    }
#endif
    dk_vi first = dk_vi_set(start), second = dk_vi_set(0);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const dk_vi a = dk_int8_four(q + 4 * i), b = dk_int8_four(q + 4 * i + 16);
        first = nibbles ? dk_int8_dot(first, weights[i], a) : dk_int8_dot_signed(first, weights[i], a);
        second = nibbles ? dk_int8_dot(second, weights[i + 4], b) : dk_int8_dot_signed(second, weights[i + 4], b);
    }
    return first + second;
}

/* Numbers from 0 to 31 of every lane times 32. */
DK_ALWAYS_INLINE dk_vi dk_int8_dots_32(const dk_vi weights[8], const int8_t *q)
{
#if defined(__AVX2__) && DK_VF == 8 && DK_INT8_OFFSET == 0
    const __m256i one = _mm256_set1_epi16(1);
    __m256i first = _mm256_setzero_si256(), second = first; /* |sum| <= 8 * 31 * 127 stays in 16 bits */
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const __m256i a = (__m256i)dk_int8_four(q + 4 * i), b = (__m256i)dk_int8_four(q + 4 * i + 16);
        first = _mm256_add_epi16(first, _mm256_maddubs_epi16((__m256i)weights[i], a));
        second = _mm256_add_epi16(second, _mm256_maddubs_epi16((__m256i)weights[i + 4], b));
    }
    return (dk_vi)_mm256_add_epi32(_mm256_madd_epi16(first, one), _mm256_madd_epi16(second, one));
#else
    return dk_int8_dots(1, 0, weights, q);
#endif
}

/* Numbers from 0 to 63 of every lane times 16, from `start` on. */
DK_ALWAYS_INLINE dk_vi dk_int8_dots_16(int32_t start, const dk_vi weights[4], const int8_t *q)
{
#if defined(__AVX2__) && DK_VF == 8 && DK_INT8_OFFSET == 0
    __m256i pairs[4]; /* |sum of two| <= 4 * 63 * 127 stays in 16 bits */
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) pairs[i] = _mm256_maddubs_epi16((__m256i)weights[i], (__m256i)dk_int8_four(q + 4 * i));
    const __m256i one = _mm256_set1_epi16(1), first = _mm256_add_epi16(pairs[0], pairs[1]),
                  second = _mm256_add_epi16(pairs[2], pairs[3]);
    return dk_vi_set(start) + (dk_vi)_mm256_madd_epi16(first, one) + (dk_vi)_mm256_madd_epi16(second, one);
#else
    dk_vi sum = dk_vi_set(start);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) sum = dk_int8_dot(sum, weights[i], dk_int8_four(q + 4 * i));
    return sum;
#endif
}

/* ---- across the lanes ---- */
#if DK_VF == 16
static inline int32_t dk_int8_total(dk_vi v) { return _mm512_reduce_add_epi32((__m512i)v); }
static inline float dk_int8_highest(dk_vf v) { return _mm512_reduce_max_ps((__m512)v); }
#else
static inline int32_t dk_int8_total(dk_vi v)
{
    int32_t lanes[DK_VF], total = 0;
    memcpy(lanes, &v, sizeof lanes);
    for (int i = 0; i < DK_VF; i++) total += lanes[i];
    return total;
}

static inline float dk_int8_highest(dk_vf v) { return dk_vf_highest(v); }
#endif

#if DK_VF == 16
static inline __m512i dk_int8_four_lines(const uint8_t *at, int64_t step)
{
    __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(const void *)at));
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(const void *)(at + 4 * step)), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(const void *)(at + 8 * step)), 2);
    return _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(const void *)(at + 12 * step)), 3);
}

/* out[i] = bytes [4i, 4i + 4) of each line */
static inline void dk_int8_turn(const uint8_t *at, int64_t step, dk_vi out[4])
{
    __m512i a = dk_int8_four_lines(at, step), b = dk_int8_four_lines(at + step, step),
            c = dk_int8_four_lines(at + 2 * step, step), d = dk_int8_four_lines(at + 3 * step, step);
    __m512i ab = _mm512_unpacklo_epi32(a, b), cd = _mm512_unpacklo_epi32(c, d);
    out[0] = (dk_vi)_mm512_unpacklo_epi64(ab, cd);
    out[1] = (dk_vi)_mm512_unpackhi_epi64(ab, cd);
    ab = _mm512_unpackhi_epi32(a, b);
    cd = _mm512_unpackhi_epi32(c, d);
    out[2] = (dk_vi)_mm512_unpacklo_epi64(ab, cd);
    out[3] = (dk_vi)_mm512_unpackhi_epi64(ab, cd);
}

/* ---- lines as they lie: 32 bytes of two lines in a vector, or 16 bytes of four ---- */
#define DK_INT8_LINES 1
static inline __m256i dk_int8_32(const void *at) { return _mm256_loadu_si256(at); }

/* out[i]: lines i and i + 4, behind the fourth i + 4 and i + 8, so that dk_int8_join finds them in order */
static inline void dk_int8_lines_32(const uint8_t *at, int64_t step, dk_vi out[8])
{
    for (int i = 0; i < 8; i++) {
        const uint8_t *line = at + (i + (i & 4)) * step;
        out[i] = (dk_vi)_mm512_inserti64x4(_mm512_castsi256_si512(dk_int8_32(line)), dk_int8_32(line + 4 * step), 1);
    }
}

/* out[i]: lines i, i + 4, i + 8, i + 12 */
static inline void dk_int8_lines_16(const uint8_t *at, int64_t step, dk_vi out[4])
{
    for (int i = 0; i < 4; i++) out[i] = (dk_vi)dk_int8_four_lines(at + i * step, step);
}

static inline dk_vi dk_int8_repeat_32(const int8_t *q) { return (dk_vi)_mm512_broadcast_i64x4(dk_int8_32(q)); }

static inline dk_vi dk_int8_repeat_16(const int8_t *q)
{
    return (dk_vi)_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)q));
}

/* Four lanes of each line become one: those of in[0..3] side by side. */
static inline dk_vi dk_int8_fold(const dk_vi in[4])
{
    __m512i a = (__m512i)in[0], b = (__m512i)in[1], c = (__m512i)in[2], d = (__m512i)in[3];
    a = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    c = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    return (dk_vi)_mm512_add_epi32(_mm512_unpacklo_epi64(a, c), _mm512_unpackhi_epi64(a, c));
}

/* Both halves of each line. */
static inline dk_vi dk_int8_join(dk_vi low, dk_vi high)
{
    __m512i a = (__m512i)low, b = (__m512i)high;
    return (dk_vi)_mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
}

/* The half precision number in the lower half of each lane. */
static inline dk_vf dk_int8_half(dk_vi words) { return (dk_vf)_mm512_cvtph_ps(_mm512_cvtepi32_epi16((__m512i)words)); }

/* Half precision numbers that stand at `at` of each line, two bytes in front of others. */
static inline dk_vf dk_int8_halves(const uint8_t *at, dk_vi offsets)
{
    return dk_int8_half((dk_vi)_mm512_i32gather_epi32((__m512i)offsets, (const void *)at, 1));
}

/* Those, and the others. */
static inline void dk_int8_two_halves(const uint8_t *at, dk_vi offsets, dk_vf *first, dk_vf *second)
{
    const dk_vi words = (dk_vi)_mm512_i32gather_epi32((__m512i)offsets, (const void *)at, 1);
    *first = dk_int8_half(words);
    *second = dk_int8_half(words >> 16);
}
#elif DK_VF == 8 && defined(__AVX2__)
static inline __m256i dk_int8_two_lines(const uint8_t *at, int64_t step)
{
    __m256i v = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)at));
    return _mm256_inserti128_si256(v, _mm_loadu_si128((const __m128i *)(const void *)(at + 4 * step)), 1);
}

static inline void dk_int8_turn(const uint8_t *at, int64_t step, dk_vi out[4])
{
    __m256i a = dk_int8_two_lines(at, step), b = dk_int8_two_lines(at + step, step),
            c = dk_int8_two_lines(at + 2 * step, step), d = dk_int8_two_lines(at + 3 * step, step);
    __m256i ab = _mm256_unpacklo_epi32(a, b), cd = _mm256_unpacklo_epi32(c, d);
    out[0] = (dk_vi)_mm256_unpacklo_epi64(ab, cd);
    out[1] = (dk_vi)_mm256_unpackhi_epi64(ab, cd);
    ab = _mm256_unpackhi_epi32(a, b);
    cd = _mm256_unpackhi_epi32(c, d);
    out[2] = (dk_vi)_mm256_unpacklo_epi64(ab, cd);
    out[3] = (dk_vi)_mm256_unpackhi_epi64(ab, cd);
}

#define DK_INT8_LINES 1
static inline void dk_int8_lines_32(const uint8_t *at, int64_t step, dk_vi out[8])
{
    for (int i = 0; i < 8; i++) out[i] = (dk_vi)_mm256_loadu_si256((const __m256i *)(const void *)(at + i * step));
}

static inline void dk_int8_lines_16(const uint8_t *at, int64_t step, dk_vi out[4])
{
    for (int i = 0; i < 4; i++) out[i] = (dk_vi)dk_int8_two_lines(at + i * step, step);
}

static inline dk_vi dk_int8_repeat_32(const int8_t *q)
{
    return (dk_vi)_mm256_loadu_si256((const __m256i *)(const void *)q);
}

static inline dk_vi dk_int8_repeat_16(const int8_t *q)
{
    return (dk_vi)_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)q));
}

static inline dk_vi dk_int8_fold(const dk_vi in[4])
{
    __m256i a = (__m256i)in[0], b = (__m256i)in[1], c = (__m256i)in[2], d = (__m256i)in[3];
    a = _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    c = _mm256_add_epi32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
    return (dk_vi)_mm256_add_epi32(_mm256_unpacklo_epi64(a, c), _mm256_unpackhi_epi64(a, c));
}

static inline dk_vi dk_int8_join(dk_vi low, dk_vi high)
{
    __m256i a = (__m256i)low, b = (__m256i)high;
    return (dk_vi)_mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
}

static inline dk_vf dk_int8_half(dk_vi lanes)
{
    __m256i words = _mm256_and_si256((__m256i)lanes, _mm256_set1_epi32(0xffff));
    __m128i halves = _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    return (dk_vf)_mm256_cvtph_ps(halves);
}

static inline dk_vf dk_int8_halves(const uint8_t *at, dk_vi offsets)
{
    return dk_int8_half((dk_vi)_mm256_i32gather_epi32((const int *)(const void *)at, (__m256i)offsets, 1));
}
#else
#if defined(__ARM_FEATURE_DOTPROD) && DK_VF == 4
static inline int32x4_t dk_int8_line(const uint8_t *at) { return vreinterpretq_s32_u8(vld1q_u8(at)); }

static inline void dk_int8_turn(const uint8_t *at, int64_t step, dk_vi out[4])
{
    const int32x4_t a = dk_int8_line(at), b = dk_int8_line(at + step), c = dk_int8_line(at + 2 * step),
                    d = dk_int8_line(at + 3 * step);
    int64x2_t ab = vreinterpretq_s64_s32(vzip1q_s32(a, b)), cd = vreinterpretq_s64_s32(vzip1q_s32(c, d));
    out[0] = (dk_vi)vzip1q_s64(ab, cd);
    out[1] = (dk_vi)vzip2q_s64(ab, cd);
    ab = vreinterpretq_s64_s32(vzip2q_s32(a, b));
    cd = vreinterpretq_s64_s32(vzip2q_s32(c, d));
    out[2] = (dk_vi)vzip1q_s64(ab, cd);
    out[3] = (dk_vi)vzip2q_s64(ab, cd);
}
#else
static inline void dk_int8_turn(const uint8_t *at, int64_t step, dk_vi out[4])
{
    int32_t turned[4][DK_VF];
    for (int l = 0; l < DK_VF; l++)
        for (int i = 0; i < 4; i++) memcpy(&turned[i][l], at + l * step + 4 * i, sizeof turned[i][l]);
    for (int i = 0; i < 4; i++) out[i] = dk_vi_load(turned[i]);
}
#endif

static inline dk_vf dk_int8_half(dk_vi words)
{
    dk_vf v = dk_vf_set(0);
    for (int l = 0; l < DK_VF; l++) DK_LANE(v, l) = dk_widen_f16((uint16_t)(DK_LANE(words, l) & 0xffff));
    return v;
}

static inline dk_vf dk_int8_halves(const uint8_t *at, dk_vi offsets)
{
    dk_vf v = dk_vf_set(0);
    uint16_t half;
    for (int l = 0; l < DK_VF; l++) {
        memcpy(&half, at + DK_LANE(offsets, l), sizeof half);
        DK_LANE(v, l) = dk_widen_f16(half);
    }
    return v;
}
#endif

#if DK_VF != 16
static inline void dk_int8_two_halves(const uint8_t *at, dk_vi offsets, dk_vf *first, dk_vf *second)
{
    *first = dk_int8_halves(at, offsets);
    *second = dk_int8_halves(at + 2, offsets);
}
#endif

#endif
