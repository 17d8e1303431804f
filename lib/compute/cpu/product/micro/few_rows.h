/* few_rows.h - a tile of few rows straight from lines that are rows of memory: decoding reads each weight once, so
 * packing them first would cost more than the product. Squares of DK_VF lines by DK_VF k are turned in registers and
 * multiplied there; two squares side by side hide the latency of an addition. What lies a panel ahead is fetched while
 * they are multiplied, a line of the cache at a time: all at once would fill the few places where a core waits for
 * memory, and the next square with it. Sums are those of fma_tile.h, bit for bit. */
#ifndef DK_COMPUTE_FEW_ROWS_H
#define DK_COMPUTE_FEW_ROWS_H

#include "compute/cpu/product/micro/micro.h"
#include "compute/cpu/product/micro/transpose.h"

#define DK_FEW_ROWS 4

/* Line `at` of both squares, of so many bytes, in what dk_stream_ahead gave. */
DK_ALWAYS_INLINE void dk_few_fetch(const uint8_t *next, int64_t at, const int64_t bytes)
{
    if (next && at * bytes % 64 == 0) DK_FETCH_FAR(next + at * bytes);
}

DK_ALWAYS_INLINE dk_vf dk_few_load(const dk_dtype dtype, const uint8_t *at, int64_t n)
{
    float wide[DK_VF];
    const uint16_t *half = (const uint16_t *)(const void *)at;
    if (dtype == DK_F32)
        return n >= DK_VF ? dk_vf_load((const float *)(const void *)at)
                          : dk_vf_load_n((const float *)(const void *)at, n, 0);
    if (n >= DK_VF) return dk_vf_load_f16(half);
    for (int64_t i = 0; i < DK_VF; i++) wide[i] = i >= n ? 0 : dk_widen_f16(half[i]);
    return dk_vf_load(wide);
}

/* Of F32 or F16. rows and dtype are constants where this is inlined. */
DK_ALWAYS_INLINE void dk_few_tile(const dk_dtype dtype, const int rows, const uint8_t *b, int64_t b_step,
                                  const uint8_t *ahead, int64_t count, const float *a, float *c, int64_t c_step,
                                  int32_t add)
{
    const int64_t size = dtype == DK_F32 ? 4 : 2;
    dk_vf sum[DK_FEW_ROWS][2];
    for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] = dk_vf_set(0);
    for (int64_t k = 0; k < count; k += DK_VF, a += rows * DK_VF, b += size * DK_VF) {
        const uint8_t *next = ahead ? ahead + 2 * DK_VF * size * k : NULL;
        int64_t left = count - k < DK_VF ? count - k : DK_VF;
        for (int s = 0; s < 2; s++) {
            const uint8_t *line = b + s * DK_VF * b_step;
            dk_vf square[DK_VF];
#pragma GCC unroll 16
            for (int i = 0; i < DK_VF; i++) square[i] = dk_few_load(dtype, line + i * b_step, left);
            dk_transpose(square);
#pragma GCC unroll 16
            for (int i = 0; i < DK_VF; i++) {
                dk_few_fetch(next, s * DK_VF + i, size * DK_VF);
                if (i >= left) break;
                for (int r = 0; r < rows; r++) sum[r][s] = dk_vf_fma(dk_vf_set(a[i * rows + r]), square[i], sum[r][s]);
            }
        }
    }
    for (int r = 0; r < rows; r++)
        for (int s = 0; s < 2; s++) {
            float *to = c + r * c_step + s * DK_VF;
            dk_vf_store(to, add ? dk_vf_load(to) + sum[r][s] : sum[r][s]);
        }
}

static inline dk_vf dk_few_part(const uint16_t *x, int64_t n)
{
    dk_vf v = dk_vf_set(0);
    memcpy(&v, x, (size_t)n * sizeof *x);
    return v;
}

/* Of BF16, whose squares are of pairs: half as many to turn. rows is a constant where this is inlined. */
DK_ALWAYS_INLINE void dk_few_pairs(const int rows, const uint16_t *b, int64_t b_step, const uint8_t *ahead,
                                   int64_t count, const float *a, float *c, int64_t c_step, int32_t add)
{
    dk_vf sum[DK_FEW_ROWS][2];
    for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] = dk_vf_set(0);
    for (int64_t k = 0; k < count; k += 2 * DK_VF, a += 2 * rows * DK_VF, b += 2 * DK_VF) {
        const uint8_t *next = ahead ? ahead + 4 * k * DK_VF : NULL;
        int64_t left = count - k < 2 * DK_VF ? count - k : 2 * DK_VF;
        for (int s = 0; s < 2; s++) {
            const uint16_t *line = b + s * DK_VF * b_step;
            dk_vf square[DK_VF];
#pragma GCC unroll 16
            for (int i = 0; i < DK_VF; i++) {
                if (left == 2 * DK_VF) memcpy(&square[i], line + i * b_step, sizeof square[i]);
                else square[i] = dk_few_part(line + i * b_step, left);
            }
            dk_transpose(square);
#pragma GCC unroll 16
            for (int i = 0; i < DK_VF; i++) {
                dk_vi pair = dk_vf_bits(square[i]);
                dk_vf low = dk_vi_bits(pair << 16), high = dk_vi_bits(pair & dk_vi_set((int32_t)0xffff0000));
                dk_few_fetch(next, s * DK_VF + i, 4 * DK_VF);
                if (2 * i >= left) break;
                for (int r = 0; r < rows; r++) sum[r][s] = dk_vf_fma(dk_vf_set(a[2 * i * rows + r]), low, sum[r][s]);
                if (2 * i + 1 >= left) break;
                for (int r = 0; r < rows; r++)
                    sum[r][s] = dk_vf_fma(dk_vf_set(a[(2 * i + 1) * rows + r]), high, sum[r][s]);
            }
        }
    }
    for (int r = 0; r < rows; r++)
        for (int s = 0; s < 2; s++) {
            float *to = c + r * c_step + s * DK_VF;
            dk_vf_store(to, add ? dk_vf_load(to) + sum[r][s] : sum[r][s]);
        }
}

DK_ALWAYS_INLINE void dk_few_of(const dk_dtype dtype, int64_t rows, const uint8_t *b, int64_t b_step,
                                const uint8_t *ahead, int64_t count, const float *a, float *c, int64_t c_step,
                                int32_t add)
{
    if (rows == 1) dk_few_tile(dtype, 1, b, b_step, ahead, count, a, c, c_step, add);
    else if (rows == 2) dk_few_tile(dtype, 2, b, b_step, ahead, count, a, c, c_step, add);
    else dk_few_tile(dtype, 4, b, b_step, ahead, count, a, c, c_step, add);
}

DK_ALWAYS_INLINE void dk_few_of_pairs(int64_t rows, const uint16_t *b, int64_t b_step, const uint8_t *ahead,
                                      int64_t count, const float *a, float *c, int64_t c_step, int32_t add)
{
    if (rows == 1) dk_few_pairs(1, b, b_step, ahead, count, a, c, c_step, add);
    else if (rows == 2) dk_few_pairs(2, b, b_step, ahead, count, a, c, c_step, add);
    else dk_few_pairs(4, b, b_step, ahead, count, a, c, c_step, add);
}

/* The `few` of a micro-kernel. */
static void dk_few_rows(const dk_operand *from, int64_t line, int64_t own, int64_t rows, int64_t k, int64_t count,
                        const void *a, float *c, int64_t c_step, int32_t add)
{
    (void)own;
    const uint8_t *b = dk_operand_at(from, line, k), *ahead = dk_stream_ahead(from, line, 2 * DK_VF, k);
    int64_t step = dk_dtype_bytes(from->dtype, from->step);
    if (from->dtype == DK_F32) dk_few_of(DK_F32, rows, b, step, ahead, count, a, c, c_step, add);
    else if (from->dtype == DK_BF16)
        dk_few_of_pairs(rows, (const uint16_t *)(const void *)b, from->step, ahead, count, a, c, c_step, add);
    else dk_few_of(DK_F16, rows, b, step, ahead, count, a, c, c_step, add);
}

#endif
