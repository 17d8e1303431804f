/* int8_amx.c - quantised weights times quantised activations on AMX tiles: TDPBSSD.
 *
 * A tile of weights is one block of 16 lines, 32 bytes each, which Q8_0 loads from where they lie: nothing is turned,
 * and the numbers of Q4_0 and Q4_1 are only parted first. A tile of activations is the same block of 16 rows. Half of a
 * tile's K lies idle, since every block has a scale of its own, and products are still the smaller part: sums of a line
 * stand side by side for 16 rows, become floats, times the line's scale, and are added to the line's total times the
 * rows' scales. A Xeon takes 13 ns for the tiles and 10 for the rest, one after the other though they are nobody's
 * operands, and 5 for the scales of the lines; the 544 bytes of such a block of Q8_0 take 17 to 32 to arrive. So 16
 * rows cost as much as 9 do, and 32 about twice as much.
 *
 * A stretch of blocks of a panel passes by all groups of rows while it is in L1. Totals wait meanwhile in a square of
 * lines by rows for each group, which is turned into rows of C at the end. Whole sums are exact and floats are added as
 * in int8_panel.h, in the same order, so the bits are its own. Up to DK_INT8_FEW rows go that way, where each costs its
 * dots and no more. K-quants are in int8_k_tiles.h. */
#include "base/processor.h"
#include "compute/compute.h"
#include "compute/cpu/product/int8/int8_blocks.h"
#include "compute/cpu/product/int8/int8_k_tiles.h"
#include "compute/cpu/product/micro/transpose.h"

#if defined(__AMX_INT8__)
#define FEW dk_int8_avx512_vnni
#else
#define FEW dk_int8_portable
#endif

enum { LINES = 16, GROUP = DK_INT8_GROUP, STRETCH = 8, GROUPS_MOST = 16, VECTORS = GROUP / DK_VF };

typedef struct stretch { /* blocks [first, first + count) of a panel */
    int64_t first, count;
    const uint8_t *weights; /* of the first block's first line; the next block, the next line */
    int64_t block_step, line_step;
    const uint8_t *ahead; /* what comes later, as long as all lines of a block for each, or NULL */
    float scale[STRETCH][LINES], least[STRETCH][LINES];
    uint8_t parted[STRETCH][LINES][DK_INT8_BLOCK];
} stretch;

/* Numbers 0 to 15 of a line's block are the low halves of its bytes, 16 to 31 the high ones. */
static inline void part(const dk_dtype dtype, const uint8_t *from, uint8_t to[DK_INT8_BLOCK])
{
    const int8_t offset = dtype == DK_Q4_0 ? 8 : 0;
    for (int i = 0; i < 16; i++) {
        to[i] = (uint8_t)((from[i] & 15) - offset);
        to[i + 16] = (uint8_t)((from[i] >> 4) - offset);
    }
}

/* dtype is a constant where this is inlined. */
DK_ALWAYS_INLINE void open_stretch(const dk_dtype dtype, const uint8_t *b, int64_t step, const uint8_t *ahead,
                                   stretch *s)
{
    const int64_t bytes = dk_int8_bytes(dtype);
    s->ahead = ahead ? ahead + s->first * LINES * bytes : NULL;
    const dk_vi offsets = dk_vi_iota() * dk_vi_set((int32_t)step);
    s->weights = dtype == DK_Q8_0 ? int8_numbers(dtype, b) : s->parted[0][0];
    s->block_step = dtype == DK_Q8_0 ? bytes : (int64_t)sizeof s->parted[0];
    s->line_step = dtype == DK_Q8_0 ? step : DK_INT8_BLOCK;
    for (int64_t k = 0; k < s->count; k++, b += bytes) {
        for (int64_t l = 0; l < LINES; l += DK_VF) {
            dk_vf_store(&s->scale[k][l], dk_int8_halves(b + l * step, offsets));
            if (dtype == DK_Q4_1) dk_vf_store(&s->least[k][l], dk_int8_halves(b + l * step + 2, offsets));
        }
        for (int64_t l = 0; dtype != DK_Q8_0 && l < LINES; l++)
            part(dtype, int8_numbers(dtype, b + l * step), s->parted[k][l]);
    }
}

/* One block of a group's rows; the three tiles are constants. */
#define SUM_BLOCK(s, q, k, sums, c, a, b)                                        \
    do {                                                                         \
        INT8_TILE_ZERO(c);                                                       \
        INT8_TILE_LOAD(b, (q) + (k)*DK_INT8_BLOCK * GROUP, 4 * GROUP);           \
        INT8_TILE_LOAD(a, (s)->weights + (k) * (s)->block_step, (s)->line_step); \
        INT8_TILE_DOT(c, a, b);                                                  \
        INT8_TILE_STORE(c, (sums)[k], sizeof(sums)[0][0]);                       \
    } while (0)

static inline void sum_blocks(const stretch *s, const int8_t *q, int32_t sums[STRETCH][LINES][GROUP])
{
    int64_t k = 0;
    for (; k + 2 <= s->count; k += 2) {
        SUM_BLOCK(s, q, k, sums, 0, 4, 6);
        SUM_BLOCK(s, q, k + 1, sums, 1, 5, 7);
    }
    if (k < s->count) SUM_BLOCK(s, q, k, sums, 0, 4, 6);
}

/* v: which vector of the group's rows; of blocks share, share + shares, ... what lies ahead is fetched meanwhile: all
 * at once would fill the few places where a core waits for memory. dtype is a constant where this is inlined. */
DK_ALWAYS_INLINE void add_blocks(const dk_dtype dtype, const stretch *s, int32_t sums[STRETCH][LINES][GROUP],
                                 const float *scale, const float *sum, int64_t v, int64_t share, int64_t shares,
                                 float total[LINES][GROUP])
{
    const int64_t at = v * DK_VF;
    dk_vf of[LINES];
#pragma GCC unroll 16
    for (int l = 0; l < LINES; l++) of[l] = s->first ? dk_vf_load(&total[l][at]) : dk_vf_set(0);
    for (int64_t k = 0; k < s->count; k++) {
        const dk_vf by = dk_vf_load(scale + k * GROUP + at),
                    numbers = dtype == DK_Q4_1 ? dk_vf_load(sum + k * GROUP + at) : by;
        const uint8_t *ahead = s->ahead && k % shares == share ? s->ahead + k * LINES * dk_int8_bytes(dtype) : NULL;
#pragma GCC unroll 16
        for (int l = 0; l < LINES; l++) {
            const dk_vf dots = dk_vi_float(dk_vi_load(&sums[k][l][at]));
            if (ahead && 64 * l < LINES * dk_int8_bytes(dtype)) DK_FETCH_FAR(ahead + 64 * l);
            of[l] = dk_vf_fma(dots * dk_vf_set(s->scale[k][l]), by, of[l]);
            if (dtype == DK_Q4_1) of[l] = dk_vf_fma(numbers * dk_vf_set(s->least[k][l]), by, of[l]);
        }
    }
#pragma GCC unroll 16
    for (int l = 0; l < LINES; l++) dk_vf_store(&total[l][at], of[l]);
}

/* All groups pass by a stretch. */
DK_ALWAYS_INLINE void add_stretch(const dk_dtype dtype, const stretch *s, const dk_int8_rows *rows, int64_t row,
                                  int64_t groups, float totals[GROUPS_MOST][LINES][GROUP])
{
    const int64_t shares = groups * VECTORS < STRETCH ? groups * VECTORS : STRETCH;
    _Alignas(64) int32_t sums[STRETCH][LINES][GROUP];
    for (int64_t g = 0; g < groups; g++) {
        const int64_t at = dk_int8_at(rows, row + g * GROUP, s->first);
        sum_blocks(s, rows->q + at * DK_INT8_BLOCK, sums);
        for (int64_t v = 0; v < VECTORS; v++)
            add_blocks(dtype, s, sums, rows->scale + at, rows->sum + at, v, g * VECTORS + v, shares, totals[g]);
    }
}

/* Totals of a group become `count` rows of C. */
static void put(float total[LINES][GROUP], int64_t count, float *c, int64_t c_step)
{
    for (int64_t r = 0; r < count; r += DK_VF)
        for (int64_t l = 0; l < LINES; l += DK_VF) {
            dk_vf square[DK_VF];
            for (int i = 0; i < DK_VF; i++) square[i] = dk_vf_load(&total[l + i][r]);
            dk_transpose(square);
            for (int64_t i = 0; i < DK_VF && r + i < count; i++) dk_vf_store(c + (r + i) * c_step + l, square[i]);
        }
}

DK_ALWAYS_INLINE void panel_of(const dk_dtype dtype, const uint8_t *b, int64_t step, const uint8_t *ahead,
                               const dk_int8_rows *rows, float *c, int64_t c_step)
{
    enum { MOST = GROUPS_MOST * GROUP };
    const int64_t all = rows->k / DK_INT8_BLOCK;
    _Alignas(64) float totals[GROUPS_MOST][LINES][GROUP];
    _Alignas(64) stretch s;
    for (int64_t row = 0; row < rows->count; row += MOST, ahead = NULL) {
        const int64_t count = rows->count - row < MOST ? rows->count - row : MOST, groups = (count + GROUP - 1) / GROUP;
        for (s.first = 0; s.first < all; s.first += STRETCH) {
            s.count = all - s.first < STRETCH ? all - s.first : STRETCH;
            open_stretch(dtype, b + s.first * dk_int8_bytes(dtype), step, ahead, &s);
            add_stretch(dtype, &s, rows, row, groups, totals);
        }
        for (int64_t g = 0; g < groups; g++)
            put(totals[g], count - g * GROUP < GROUP ? count - g * GROUP : GROUP, c + (row + g * GROUP) * c_step,
                c_step);
    }
}

static void panel(dk_dtype dtype, const uint8_t *b, int64_t step, const uint8_t *ahead, const dk_int8_rows *rows,
                  float *c, int64_t c_step)
{
    const int32_t is_k = dk_int8_is_k(dtype);
    if (is_k ? rows->count <= int8_k_few(dtype) : !rows->in_groups)
        for (int64_t l = 0; l < LINES; l += FEW.lanes)
            FEW.panel(dtype, b + l * step, step, ahead ? ahead + l * step : NULL, rows, c + l, c_step);
    else if (is_k) int8_k_tiles(dtype, b, step, ahead, rows, c, c_step);
    else if (dtype == DK_Q8_0) panel_of(DK_Q8_0, b, step, ahead, rows, c, c_step);
    else if (dtype == DK_Q4_0) panel_of(DK_Q4_0, b, step, ahead, rows, c, c_step);
    else panel_of(DK_Q4_1, b, step, ahead, rows, c, c_step);
}

static int32_t has(void) { return dk_processor_has_amx_int8() && dk_processor_has_avx512_vnni(); }

#ifndef DK_INT8_AMX
#define DK_INT8_AMX dk_int8_amx
#endif
const dk_int8 DK_INT8_AMX = {
    .name = "amx",
    .lanes = LINES,
    .isa = DK_ISA_AVX512,
    .has = has,
    .allow = dk_processor_allow_tiles,
    .quantise = int8_quantise,
    .panel = panel,
    .begin = int8_tiles_begin,
    .end = int8_tiles_end,
};
