/* int8_panel.h - the kernel, written once over int8_lanes.h: a panel is DK_VF lines, one to a lane.
 *
 * For one or two rows a block of all lines is multiplied as it lies, and its whole numbers are summed across the lanes
 * afterwards. For more rows a stretch of blocks is turned in registers first, each into eight vectors of four bytes a
 * lane, which stay in L1 while all rows pass by: 32 products are eight dots there. Either way their whole sum is exact,
 * becomes a float, times the weights' scale, and is added to the row's sum times the activations' scale. Sums go from
 * block to block in order, so neither rows nor threads change a bit. Bytes of weights are read once, in the order in
 * which they lie; a panel that comes later is fetched meanwhile, piece by piece. */
#ifndef DK_COMPUTE_INT8_PANEL_H
#define DK_COMPUTE_INT8_PANEL_H

#include "compute/cpu/product/int8/int8.h"
#include "compute/cpu/product/int8/int8_lanes.h"
#include "compute/cpu/product/micro/micro.h"

#define DK_INT8_ROWS (DK_VF == 16 ? 16 : 4) /* whose sums fit the registers */
#define DK_INT8_STRETCH 8                   /* blocks that are turned at a time */

/* ---- activations ---- */
/* What is added to each weight of a dtype. */
static inline int32_t int8_offset(dk_dtype dtype)
{
    return dtype == DK_Q8_0 ? DK_INT8_OFFSET : dtype == DK_Q4_0 ? 8 : 0;
}

static inline void int8_store(int8_t *to, dk_vi numbers)
{
#if DK_VF > 1
    typedef int8_t bytes __attribute__((vector_size(DK_VF)));
    bytes narrow = __builtin_convertvector(numbers, bytes);
    memcpy(to, &narrow, sizeof narrow);
#else
    *to = (int8_t)numbers;
#endif
}

/* The scale is the largest number's 127th; 0 = there is NaN or infinity. */
static inline int32_t int8_scale(const float *x, float *scale)
{
    dk_vf most = dk_vf_set(0), all = dk_vf_set(0);
    for (int i = 0; i < DK_INT8_BLOCK; i += DK_VF) {
        dk_vf v = dk_vf_load(x + i);
        most = dk_vf_max(dk_vf_abs(v), most);
        all = all + v * dk_vf_set(0); /* NaN where one is NaN or infinite */
    }
    *scale = dk_int8_highest(most) / 127;
    return dk_vf_sum(all) == 0;
}

/* To the nearest whole number, ties to even; a scale that is no normal number may be too small for 127 of it. */
static inline int32_t int8_round(const float *x, float scale, int8_t q[DK_INT8_BLOCK])
{
    const dk_vf by = dk_vf_set(scale > 0 ? scale : 1), most = dk_vf_set(127), least = dk_vf_set(-127),
                whole = dk_vf_set(0x1.8p23f);
    dk_vi sum = dk_vi_set(0);
    for (int i = 0; i < DK_INT8_BLOCK; i += DK_VF) {
        dk_vf v = dk_vf_max(least, dk_vf_min(dk_vf_load(x + i) / by, most));
        dk_vi numbers = dk_vf_bits(v + whole) - dk_vf_bits(whole);
        int8_store(q + i, numbers);
        sum = sum + numbers;
    }
    return dk_int8_total(sum);
}

static int32_t int8_quantise(dk_dtype dtype, const float *x, const dk_int8_rows *rows, int64_t row)
{
    const int64_t place = row % rows->height;
    int32_t finite = 1;
    for (int64_t block = 0; block < rows->k / DK_INT8_BLOCK; block++, x += DK_INT8_BLOCK) {
        const int64_t at = dk_int8_at(rows, row, block);
        int8_t q[DK_INT8_BLOCK] = {0}, *to = rows->q + at * DK_INT8_BLOCK + 4 * place;
        int32_t sum = 0;
        if (int8_scale(x, &rows->scale[at + place])) sum = int8_round(x, rows->scale[at + place], q);
        else finite = 0;
        for (int i = 0; i < DK_INT8_BLOCK / 4; i++) memcpy(to + 4 * i * rows->height, q + 4 * i, 4);
        rows->sum[at + place] = (float)sum;
        rows->start[at + place] = -int8_offset(dtype) * sum;
    }
    return finite;
}

/* ---- weights ---- */
typedef struct int8_block { /* of DK_VF lines, turned */
    dk_vi weights[8];
    dk_vf scale, least;
} int8_block;

/* dtype is a constant where these are inlined. */
DK_ALWAYS_INLINE int64_t int8_bytes(const dk_dtype dtype) { return dtype == DK_Q8_0 ? 34 : dtype == DK_Q4_0 ? 18 : 20; }

DK_ALWAYS_INLINE const uint8_t *int8_numbers(const dk_dtype dtype, const uint8_t *block)
{
    return block + (dtype == DK_Q4_1 ? 4 : 2);
}

/* Of eight vectors the first four hold two numbers in each byte. */
static inline void int8_part(dk_vi weights[8])
{
    for (int i = 0; i < 4; i++) {
        weights[i + 4] = weights[i] >> 4 & dk_vi_set(0x0f0f0f0f);
        weights[i] = weights[i] & dk_vi_set(0x0f0f0f0f);
    }
}

DK_ALWAYS_INLINE void int8_turn(const dk_dtype dtype, const uint8_t *at, int64_t step, dk_vi offsets, int8_block *out)
{
    const uint8_t *numbers = int8_numbers(dtype, at);
    out->scale = dk_int8_halves(at, offsets);
    if (dtype == DK_Q4_1) out->least = dk_int8_halves(at + 2, offsets);
    dk_int8_turn(numbers, step, out->weights);
    if (dtype != DK_Q8_0) {
        int8_part(out->weights);
        return;
    }
    dk_int8_turn(numbers + 16, step, out->weights + 4);
    for (int i = 0; i < 8; i++) out->weights[i] = dk_int8_signed(out->weights[i]);
}

/* A panel that comes later, piece by piece. */
DK_ALWAYS_INLINE void int8_fetch(const dk_dtype dtype, const uint8_t *ahead, int64_t block)
{
    const int64_t bytes = DK_VF * int8_bytes(dtype);
    if (!ahead) return;
#pragma GCC unroll 10
    for (int64_t i = 0; i < bytes; i += 64) DK_FETCH_FAR(ahead + block * bytes + i);
}

/* ---- one or two rows ---- */
#ifdef DK_INT8_LINES
DK_ALWAYS_INLINE void int8_lines(const dk_dtype dtype, const uint8_t *at, int64_t step, dk_vi weights[8])
{
    const uint8_t *numbers = int8_numbers(dtype, at);
    if (dtype != DK_Q8_0) {
        dk_int8_lines_16(numbers, step, weights);
        int8_part(weights);
        return;
    }
    dk_int8_lines_32(numbers, step, weights);
    for (int i = 0; i < 8; i++) weights[i] = dk_int8_signed(weights[i]);
}

DK_ALWAYS_INLINE dk_vi int8_line_dots(const dk_dtype dtype, const dk_vi weights[8], const int8_t *q)
{
    const dk_vi zero = dk_vi_set(0);
    dk_vi sums[8];
    if (dtype == DK_Q8_0) {
        const dk_vi by = dk_int8_repeat_32(q);
        for (int i = 0; i < 8; i++) sums[i] = dk_int8_dot_signed(zero, weights[i], by);
        return dk_int8_join(dk_int8_fold(sums), dk_int8_fold(sums + 4));
    }
    const dk_vi first = dk_int8_repeat_16(q), second = dk_int8_repeat_16(q + 16);
    for (int i = 0; i < 4; i++) sums[i] = dk_int8_dot(dk_int8_dot(zero, weights[i], first), weights[i + 4], second);
    return dk_int8_fold(sums);
}

/* dtype and count are constants where this is inlined. */
DK_ALWAYS_INLINE void int8_few(const dk_dtype dtype, const int count, const uint8_t *b, int64_t step,
                               const uint8_t *ahead, const dk_int8_rows *rows, float *c, int64_t c_step)
{
    const int64_t blocks = rows->k / DK_INT8_BLOCK;
    const dk_vi offsets = dk_vi_iota() * dk_vi_set((int32_t)step);
    dk_vf total[2] = {dk_vf_set(0), dk_vf_set(0)};
    for (int64_t k = 0; k < blocks; k++, b += int8_bytes(dtype)) {
        const dk_vf scale = dk_int8_halves(b, offsets);
        dk_vi weights[8];
        int8_lines(dtype, b, step, weights);
        int8_fetch(dtype, ahead, k);
#pragma GCC unroll 2
        for (int r = 0; r < count; r++) {
            const int64_t at = r * blocks + k;
            const dk_vi dots =
                int8_line_dots(dtype, weights, rows->q + at * DK_INT8_BLOCK) + dk_vi_set(rows->start[at]);
            const dk_vf by = dk_vf_set(rows->scale[at]);
            total[r] = dk_vf_fma(dk_vi_float(dots) * scale, by, total[r]);
            if (dtype == DK_Q4_1)
                total[r] = dk_vf_fma(dk_vf_set(rows->sum[at]) * dk_int8_halves(b + 2, offsets), by, total[r]);
        }
    }
    for (int r = 0; r < count; r++) dk_vf_store(c + r * c_step, total[r]);
}
#endif

/* ---- any number of rows ---- */
/* `count` rows of a group from `row` on, times turned blocks from number `first` on; sums go on from what c holds.
 * is_signed, has_least, count and height are constants where this is inlined. */
DK_ALWAYS_INLINE void int8_tile(const int is_signed, const int has_least, const int count, const int height,
                                const int8_block *block, int64_t first, int64_t blocks, const dk_int8_rows *rows,
                                int64_t row, float *c, int64_t c_step)
{
    const int64_t begin = dk_int8_at(rows, row, first), place = row % height;
    const int8_t *q = rows->q + begin * DK_INT8_BLOCK + 4 * place;
    const float *scale = rows->scale + begin + place, *sum = rows->sum + begin + place;
    const int32_t *start = rows->start + begin + place;
    dk_vf total[16];
#pragma GCC unroll 16
    for (int r = 0; r < count; r++) total[r] = first ? dk_vf_load(c + r * c_step) : dk_vf_set(0);
    for (int64_t k = 0; k < blocks; k++, block++, q += height * DK_INT8_BLOCK) {
#pragma GCC unroll 16
        for (int r = 0; r < count; r++) {
            dk_vi dots = dk_vi_set(start[k * height + r]);
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++) {
                int32_t four;
                memcpy(&four, q + 4 * (i * height + r), sizeof four);
                dots = is_signed ? dk_int8_dot_signed(dots, block->weights[i], dk_vi_set(four))
                                 : dk_int8_dot(dots, block->weights[i], dk_vi_set(four));
            }
            dk_vf by = dk_vf_set(scale[k * height + r]);
            total[r] = dk_vf_fma(dk_vi_float(dots) * block->scale, by, total[r]);
            if (has_least) total[r] = dk_vf_fma(dk_vf_set(sum[k * height + r]) * block->least, by, total[r]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < count; r++) dk_vf_store(c + r * c_step, total[r]);
}

DK_ALWAYS_INLINE void int8_rows(const int is_signed, const int has_least, const int8_block *block, int64_t first,
                                int64_t blocks, const dk_int8_rows *rows, float *c, int64_t c_step)
{
    enum { GROUP = DK_INT8_GROUP };
    int64_t r = 0;
    for (; rows->height == 1 && r < rows->count; r++)
        int8_tile(is_signed, has_least, 1, 1, block, first, blocks, rows, r, c + r * c_step, c_step);
    for (; DK_INT8_ROWS == 16 && r + 16 <= rows->count; r += 16)
        int8_tile(is_signed, has_least, 16, GROUP, block, first, blocks, rows, r, c + r * c_step, c_step);
    for (; DK_INT8_ROWS == 16 && r + 8 <= rows->count; r += 8)
        int8_tile(is_signed, has_least, 8, GROUP, block, first, blocks, rows, r, c + r * c_step, c_step);
    for (; r + 4 <= rows->count; r += 4)
        int8_tile(is_signed, has_least, 4, GROUP, block, first, blocks, rows, r, c + r * c_step, c_step);
    for (; r < rows->count; r++)
        int8_tile(is_signed, has_least, 1, GROUP, block, first, blocks, rows, r, c + r * c_step, c_step);
}

/* Where weights have an offset, 8 of Q4_0 is one like any other. */
static void int8_rows_signed(const int8_block *block, int64_t first, int64_t blocks, const dk_int8_rows *rows, float *c,
                             int64_t c_step)
{
    int8_rows(1, 0, block, first, blocks, rows, c, c_step);
}

static void int8_rows_plain(const int8_block *block, int64_t first, int64_t blocks, const dk_int8_rows *rows, float *c,
                            int64_t c_step)
{
    int8_rows(0, 0, block, first, blocks, rows, c, c_step);
}

static void int8_rows_least(const int8_block *block, int64_t first, int64_t blocks, const dk_int8_rows *rows, float *c,
                            int64_t c_step)
{
    int8_rows(0, 1, block, first, blocks, rows, c, c_step);
}

DK_ALWAYS_INLINE void int8_many(const dk_dtype dtype, const uint8_t *b, int64_t step, const uint8_t *ahead,
                                const dk_int8_rows *rows, float *c, int64_t c_step)
{
    const int64_t all = rows->k / DK_INT8_BLOCK;
    const dk_vi offsets = dk_vi_iota() * dk_vi_set((int32_t)step);
    int8_block block[DK_INT8_STRETCH];
    for (int64_t first = 0; first < all; first += DK_INT8_STRETCH) {
        const int64_t blocks = all - first < DK_INT8_STRETCH ? all - first : DK_INT8_STRETCH;
        for (int64_t k = 0; k < blocks; k++, b += int8_bytes(dtype)) {
            int8_turn(dtype, b, step, offsets, &block[k]);
            int8_fetch(dtype, ahead, first + k);
        }
        if (dtype == DK_Q4_1) int8_rows_least(block, first, blocks, rows, c, c_step);
        else if (dtype == DK_Q8_0 || DK_INT8_OFFSET > 0) int8_rows_signed(block, first, blocks, rows, c, c_step);
        else int8_rows_plain(block, first, blocks, rows, c, c_step);
    }
}

DK_ALWAYS_INLINE void int8_panel_of(const dk_dtype dtype, const uint8_t *b, int64_t step, const uint8_t *ahead,
                                    const dk_int8_rows *rows, float *c, int64_t c_step)
{
#ifdef DK_INT8_LINES
    if (rows->count == 1) int8_few(dtype, 1, b, step, ahead, rows, c, c_step);
    else if (rows->count == 2) int8_few(dtype, 2, b, step, ahead, rows, c, c_step);
    else int8_many(dtype, b, step, ahead, rows, c, c_step);
#else
    int8_many(dtype, b, step, ahead, rows, c, c_step);
#endif
}

static void int8_panel(dk_dtype dtype, const uint8_t *b, int64_t step, const uint8_t *ahead, const dk_int8_rows *rows,
                       float *c, int64_t c_step)
{
    if (dtype == DK_Q8_0) int8_panel_of(DK_Q8_0, b, step, ahead, rows, c, c_step);
    else if (dtype == DK_Q4_0) int8_panel_of(DK_Q4_0, b, step, ahead, rows, c, c_step);
    else int8_panel_of(DK_Q4_1, b, step, ahead, rows, c, c_step);
}

#endif
