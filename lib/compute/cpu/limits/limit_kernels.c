/* limit_kernels.c - loops of one instruction over registers: enough sums side by side to hide its latency, no memory.
 * The empty asm keeps a compiler from working sums out beforehand; values stay finite and normal. */
#include "compute/cpu/limits/limits.h"

#include "base/processor.h"

static volatile float kept_float; /* what a loop made, so that it is made */
static volatile uint64_t kept_word;

static int32_t always(void) { return 1; }

/* Plain C, for the least processor of the architecture. */
static double fp32_plain(int64_t turns)
{
    enum { LANES = 32 };
    float sums[LANES], sum = 0;
    for (int i = 0; i < LANES; i++) sums[i] = (float)i;
    for (int64_t t = 0; t < turns; t++)
        for (int i = 0; i < LANES; i++) sums[i] = sums[i] * 0.999F + 1e-3F;
    for (int i = 0; i < LANES; i++) sum += sums[i];
    kept_float = sum;
    return 2.0 * LANES * (double)turns;
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define DK_EACH_8(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define DK_EACH_12(X) DK_EACH_8(X) X(8) X(9) X(10) X(11)
#define DK_EACH_20(X) DK_EACH_12(X) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19)

static volatile int32_t kept_int;

static int32_t has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
static int32_t has_avx512(void) { return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"); }
static int32_t has_avx512_vnni(void) { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }

__attribute__((target("avx2,fma"))) static double fp32_avx2(int64_t turns)
{
    const __m256 a = _mm256_set1_ps(0.999F), b = _mm256_set1_ps(1e-3F);
#define BEGIN(i) __m256 s##i = _mm256_set1_ps(i);
#define STEP(i)                         \
    s##i = _mm256_fmadd_ps(s##i, a, b); \
    __asm__ volatile("" : "+x"(s##i));
#define ADD(i) s0 = _mm256_add_ps(s0, s##i);
    DK_EACH_12(BEGIN)
    for (int64_t t = 0; t < turns; t++) {
        DK_EACH_12(STEP)
    }
    DK_EACH_12(ADD)
#undef BEGIN
#undef STEP
#undef ADD
    kept_float = _mm256_cvtss_f32(s0);
    return 12.0 * 16 * (double)turns;
}

/* Without VNNI a product of bytes is three instructions: pairs, pairs of pairs, the sum. */
__attribute__((target("avx2"))) static double int8_avx2(int64_t turns)
{
    const __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(2), ones = _mm256_set1_epi16(1);
    __m256i x = a;
#define BEGIN(i) __m256i s##i = _mm256_set1_epi32(i);
#define STEP(i)                                                                         \
    s##i = _mm256_add_epi32(s##i, _mm256_madd_epi16(_mm256_maddubs_epi16(x, b), ones)); \
    __asm__ volatile("" : "+x"(s##i), "+x"(x));
#define ADD(i) s0 = _mm256_add_epi32(s0, s##i);
    DK_EACH_8(BEGIN)
    for (int64_t t = 0; t < turns; t++) {
        DK_EACH_8(STEP)
    }
    DK_EACH_8(ADD)
#undef BEGIN
#undef STEP
#undef ADD
    kept_int = _mm256_extract_epi32(s0, 0);
    return 8.0 * 64 * (double)turns;
}

__attribute__((target("avx512f"))) static double fp32_avx512(int64_t turns)
{
    const __m512 a = _mm512_set1_ps(0.999F), b = _mm512_set1_ps(1e-3F);
#define BEGIN(i) __m512 s##i = _mm512_set1_ps(i);
#define STEP(i)                         \
    s##i = _mm512_fmadd_ps(s##i, a, b); \
    __asm__ volatile("" : "+v"(s##i));
#define ADD(i) s0 = _mm512_add_ps(s0, s##i);
    DK_EACH_20(BEGIN)
    for (int64_t t = 0; t < turns; t++) {
        DK_EACH_20(STEP)
    }
    DK_EACH_20(ADD)
#undef BEGIN
#undef STEP
#undef ADD
    kept_float = _mm512_reduce_add_ps(s0);
    return 20.0 * 32 * (double)turns;
}

__attribute__((target("avx512f,avx512bw,avx512vnni"))) static double int8_avx512_vnni(int64_t turns)
{
    const __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(2);
#define BEGIN(i) __m512i s##i = _mm512_set1_epi32(i);
#define STEP(i)                             \
    s##i = _mm512_dpbusd_epi32(s##i, a, b); \
    __asm__ volatile("" : "+v"(s##i));
#define ADD(i) s0 = _mm512_add_epi32(s0, s##i);
    DK_EACH_20(BEGIN)
    for (int64_t t = 0; t < turns; t++) {
        DK_EACH_20(STEP)
    }
    DK_EACH_20(ADD)
#undef BEGIN
#undef STEP
#undef ADD
    kept_int = _mm512_cvtsi512_si32(s0); /* sums wrap in vectors alone */
    return 20.0 * 128 * (double)turns;
}

#ifdef DK_AVX512_BF16_KERNELS
static int32_t has_avx512_bf16(void) { return has_avx512() && dk_processor_has_avx512_bf16(); }

__attribute__((target("avx512f,avx512bw,avx512bf16"))) static double bf16_avx512(int64_t turns)
{
    const __m512i half = _mm512_set1_epi16(0x3F00), small = _mm512_set1_epi16(0x3C00);
    const __m512bh a = (__m512bh)half, b = (__m512bh)small;
#define BEGIN(i) __m512 s##i = _mm512_set1_ps(i);
#define STEP(i)                          \
    s##i = _mm512_dpbf16_ps(s##i, a, b); \
    __asm__ volatile("" : "+v"(s##i));
#define ADD(i) s0 = _mm512_add_ps(s0, s##i);
    DK_EACH_20(BEGIN)
    for (int64_t t = 0; t < turns; t++) {
        DK_EACH_20(STEP)
    }
    DK_EACH_20(ADD)
#undef BEGIN
#undef STEP
#undef ADD
    kept_float = _mm512_reduce_add_ps(s0);
    return 20.0 * 64 * (double)turns;
}
#endif

#ifdef DK_AMX_KERNELS
typedef struct tile_shapes { /* what LDTILECFG reads */
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} tile_shapes;

/* Six sums of eight tiles: the other two are what is multiplied. */
#define TILES(NAME, TARGET, DOT, OPERATIONS)                                   \
    __attribute__((target(TARGET))) static double NAME(int64_t turns)          \
    {                                                                          \
        tile_shapes shapes = {.palette = 1};                                   \
        for (int i = 0; i < 8; i++) shapes.bytes[i] = 64, shapes.rows[i] = 16; \
        __asm__ volatile("" : : "m"(shapes) : "memory");                       \
        _tile_loadconfig(&shapes);                                             \
        _tile_zero(0);                                                         \
        _tile_zero(1);                                                         \
        _tile_zero(2);                                                         \
        _tile_zero(3);                                                         \
        _tile_zero(4);                                                         \
        _tile_zero(5);                                                         \
        _tile_zero(6);                                                         \
        _tile_zero(7);                                                         \
        for (int64_t t = 0; t < turns; t++) {                                  \
            DOT(0, 6, 7);                                                      \
            DOT(1, 6, 7);                                                      \
            DOT(2, 6, 7);                                                      \
            DOT(3, 6, 7);                                                      \
            DOT(4, 6, 7);                                                      \
            DOT(5, 6, 7);                                                      \
        }                                                                      \
        _tile_release();                                                       \
        return 6.0 * (OPERATIONS) * (double)turns;                             \
    }
TILES(bf16_amx, "amx-tile,amx-bf16", _tile_dpbf16ps, 16 * 16 * 64)
TILES(int8_amx, "amx-tile,amx-int8", _tile_dpbssd, 16 * 16 * 128)

static int32_t may_amx_bf16(void) { return dk_processor_has_amx_bf16() && dk_processor_allow_tiles(); }
static int32_t may_amx_int8(void) { return dk_processor_has_amx_int8() && dk_processor_allow_tiles(); }
#endif
#endif

/* ---- reading ---- */

enum { LINE = 64, AHEAD = 2048 }; /* bytes of a cache line; how far ahead lines are asked for */

static void read_plain(const uint8_t *memory, int64_t bytes)
{
    const uint64_t *at = (const uint64_t *)(const void *)memory;
    uint64_t a = 0, b = 0, c = 0, d = 0;
    for (int64_t i = 0; i < bytes / 8; i += 4) {
        a += at[i];
        b += at[i + 1];
        c += at[i + 2];
        d += at[i + 3];
    }
    kept_word = a + b + c + d;
}

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("avx2"))) static void read_avx2(const uint8_t *memory, int64_t bytes)
{
    __m256i a = _mm256_setzero_si256(), b = a;
    for (const uint8_t *at = memory, *end = memory + bytes; at < end; at += LINE) {
        _mm_prefetch((const char *)at + AHEAD, _MM_HINT_T0);
        a = _mm256_xor_si256(a, _mm256_load_si256((const __m256i *)(const void *)at));
        b = _mm256_xor_si256(b, _mm256_load_si256((const __m256i *)(const void *)(at + LINE / 2)));
    }
    kept_word = (uint64_t)_mm256_extract_epi64(_mm256_xor_si256(a, b), 0);
}
#endif

void dk_limit_read(const uint8_t *memory, int64_t bytes)
{
#if defined(__x86_64__) && defined(__GNUC__)
    if (has_avx2()) {
        read_avx2(memory, bytes);
        return;
    }
#endif
    read_plain(memory, bytes);
}

/* ---- reading and writing ---- */

static void stream_plain(const float *a, const float *b, float *out, int64_t count)
{
    for (int64_t i = 0; i < count; i++) out[i] = a[i] + b[i];
}

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("avx2"))) static void stream_avx2(const float *a, const float *b, float *out, int64_t count)
{
    enum { LANES = 8 };
    for (int64_t i = 0; i < count; i += LANES) {
        _mm_prefetch((const char *)(a + i) + AHEAD, _MM_HINT_T0);
        _mm_prefetch((const char *)(b + i) + AHEAD, _MM_HINT_T0);
        _mm256_store_ps(out + i, _mm256_add_ps(_mm256_load_ps(a + i), _mm256_load_ps(b + i)));
    }
}
#endif

void dk_limit_stream(const uint8_t *a, const uint8_t *b, uint8_t *out, int64_t bytes)
{
    const float *of_a = (const float *)(const void *)a, *of_b = (const float *)(const void *)b;
    float *to = (float *)(void *)out;
#if defined(__x86_64__) && defined(__GNUC__)
    if (has_avx2()) {
        stream_avx2(of_a, of_b, to, bytes / 4);
        return;
    }
#endif
    stream_plain(of_a, of_b, to, bytes / 4);
}

static const dk_limit_kernel kernels[] = {
    {"plain C", DK_LIMIT_FP32, always, fp32_plain},
#if defined(__x86_64__) && defined(__GNUC__)
    {"AVX2 FMA", DK_LIMIT_FP32, has_avx2, fp32_avx2},
    {"AVX-512 FMA", DK_LIMIT_FP32, has_avx512, fp32_avx512},
#ifdef DK_AVX512_BF16_KERNELS
    {"VDPBF16PS", DK_LIMIT_BF16, has_avx512_bf16, bf16_avx512},
#endif
#ifdef DK_AMX_KERNELS
    {"AMX TDPBF16PS", DK_LIMIT_BF16, may_amx_bf16, bf16_amx},
    {"AMX TDPBSSD", DK_LIMIT_INT8, may_amx_int8, int8_amx},
#endif
    {"AVX2 VPMADDUBSW", DK_LIMIT_INT8, has_avx2, int8_avx2},
    {"VPDPBUSD", DK_LIMIT_INT8, has_avx512_vnni, int8_avx512_vnni},
#endif
};

const dk_limit_kernel *dk_limit_kernels(int32_t *count)
{
    *count = (int32_t)(sizeof kernels / sizeof *kernels);
    return kernels;
}
