/* kernel_matvec.c - products of a few rows of x beside CBLAS: bound by reading the weights once, in the dtype that they
 * are stored in.
 *
 * W [out, in]: a line of weights is widened in registers and multiplied by two rows of x at a time, with four sums a
 * row, which hide the latency of an addition. W [in, out]: DK_MATVEC_COLUMNS sums stay in L1 while the lines of W that
 * they need pass by. A row is summed in the same order alone and beside another one. */
#include "compute/cpu/kernel_variant.h"

/* dtype is a constant in all that follows, one of the three that the functions at the end pass on. */
static inline dk_vf weights_at(dk_dtype dtype, const void *weight, int64_t i)
{
    if (dtype == DK_BF16) return dk_vf_load_bf16((const uint16_t *)weight + i);
    if (dtype == DK_F16) return dk_vf_load_f16((const uint16_t *)weight + i);
    return dk_vf_load((const float *)weight + i);
}

static inline float weight_at(dk_dtype dtype, const void *weight, int64_t i)
{
    if (dtype == DK_BF16) return dk_widen_bf16(((const uint16_t *)weight)[i]);
    if (dtype == DK_F16) return dk_widen_f16(((const uint16_t *)weight)[i]);
    return ((const float *)weight)[i];
}

static inline float dot_tail(dk_dtype dtype, const void *weight, const float *x, int64_t i, int64_t n)
{
    float sum = 0;
    for (; i < n; i++) sum += weight_at(dtype, weight, i) * x[i];
    return sum;
}

static inline void dot_one(dk_dtype dtype, const void *w, const float *x, int64_t n, float *y)
{
    dk_vf a = dk_vf_set(0), b = a, c = a, d = a;
    int64_t i = 0;
    for (; i + 4 * DK_VF <= n; i += 4 * DK_VF) {
        a = dk_vf_fma(weights_at(dtype, w, i), dk_vf_load(x + i), a);
        b = dk_vf_fma(weights_at(dtype, w, i + DK_VF), dk_vf_load(x + i + DK_VF), b);
        c = dk_vf_fma(weights_at(dtype, w, i + 2 * DK_VF), dk_vf_load(x + i + 2 * DK_VF), c);
        d = dk_vf_fma(weights_at(dtype, w, i + 3 * DK_VF), dk_vf_load(x + i + 3 * DK_VF), d);
    }
    for (; i + DK_VF <= n; i += DK_VF) a = dk_vf_fma(weights_at(dtype, w, i), dk_vf_load(x + i), a);
    *y = dk_vf_sum((a + b) + (c + d)) + dot_tail(dtype, w, x, i, n);
}

/* Each row is summed exactly as dot_one does it: a result does not hang on how many rows there are. */
static inline void dot_two(dk_dtype dtype, const void *w, const float *x, int64_t x_step, int64_t n, float *y,
                           int64_t y_step)
{
    dk_vf a[4] = {dk_vf_set(0), dk_vf_set(0), dk_vf_set(0), dk_vf_set(0)}, b[4] = {a[0], a[0], a[0], a[0]};
    int64_t i = 0;
    for (; i + 4 * DK_VF <= n; i += 4 * DK_VF) {
        for (int64_t k = 0; k < 4; k++) {
            dk_vf u = weights_at(dtype, w, i + k * DK_VF);
            a[k] = dk_vf_fma(u, dk_vf_load(x + i + k * DK_VF), a[k]);
            b[k] = dk_vf_fma(u, dk_vf_load(x + x_step + i + k * DK_VF), b[k]);
        }
    }
    for (; i + DK_VF <= n; i += DK_VF) {
        dk_vf u = weights_at(dtype, w, i);
        a[0] = dk_vf_fma(u, dk_vf_load(x + i), a[0]);
        b[0] = dk_vf_fma(u, dk_vf_load(x + x_step + i), b[0]);
    }
    y[0] = dk_vf_sum((a[0] + a[1]) + (a[2] + a[3])) + dot_tail(dtype, w, x, i, n);
    y[y_step] = dk_vf_sum((b[0] + b[1]) + (b[2] + b[3])) + dot_tail(dtype, w, x + x_step, i, n);
}

static inline void dots_loop(dk_dtype dtype, const void *weight, int64_t weight_step, int64_t outputs, int64_t in,
                             const float *x, int64_t x_step, int64_t rows, float *y, int64_t y_step)
{
    int64_t step = weight_step * (dtype == DK_F32 ? (int64_t)sizeof(float) : (int64_t)sizeof(uint16_t));
    for (int64_t o = 0; o < outputs; o++) {
        const uint8_t *w = (const uint8_t *)weight + o * step;
        int64_t r = 0;
        for (; r + 2 <= rows; r += 2) dot_two(dtype, w, x + r * x_step, x_step, in, y + r * y_step + o, y_step);
        if (r < rows) dot_one(dtype, w, x + r * x_step, in, y + r * y_step + o);
    }
}

static int32_t kernel_dots(dk_dtype dtype, const void *weight, int64_t weight_step, int64_t outputs, int64_t in,
                           const float *x, int64_t x_step, int64_t rows, float *y, int64_t y_step)
{
    switch (dtype) {
    case DK_BF16:
        dots_loop(DK_BF16, weight, weight_step, outputs, in, x, x_step, rows, y, y_step);
        break;
    case DK_F16:
        dots_loop(DK_F16, weight, weight_step, outputs, in, x, x_step, rows, y, y_step);
        break;
    case DK_F32:
        dots_loop(DK_F32, weight, weight_step, outputs, in, x, x_step, rows, y, y_step);
        break;
    default:
        return 0;
    }
    return 1;
}

static inline void columns_loop(dk_dtype dtype, const void *weight, int64_t weight_step, int64_t outputs, int64_t in,
                                const float *x, int64_t x_step, int64_t rows, float *y, int64_t y_step)
{
    float sums[DK_MATVEC_COLUMNS];
    int64_t step = weight_step * (dtype == DK_F32 ? (int64_t)sizeof(float) : (int64_t)sizeof(uint16_t));
    for (int64_t r = 0; r < rows; r++) {
        memset(sums, 0, sizeof sums);
        for (int64_t i = 0; i < in; i++) {
            const uint8_t *w = (const uint8_t *)weight + i * step;
            dk_vf by = dk_vf_set(x[r * x_step + i]);
            int64_t o = 0;
            for (; o + DK_VF <= outputs; o += DK_VF)
                dk_vf_store(sums + o, dk_vf_fma(weights_at(dtype, w, o), by, dk_vf_load(sums + o)));
            for (; o < outputs; o++) sums[o] += weight_at(dtype, w, o) * x[r * x_step + i];
        }
        memcpy(y + r * y_step, sums, (size_t)outputs * sizeof *sums);
    }
}

static int32_t kernel_columns(dk_dtype dtype, const void *weight, int64_t weight_step, int64_t outputs, int64_t in,
                              const float *x, int64_t x_step, int64_t rows, float *y, int64_t y_step)
{
    switch (dtype) {
    case DK_BF16:
        columns_loop(DK_BF16, weight, weight_step, outputs, in, x, x_step, rows, y, y_step);
        break;
    case DK_F16:
        columns_loop(DK_F16, weight, weight_step, outputs, in, x, x_step, rows, y, y_step);
        break;
    case DK_F32:
        columns_loop(DK_F32, weight, weight_step, outputs, in, x, x_step, rows, y, y_step);
        break;
    default:
        return 0;
    }
    return 1;
}

void DK_VARIANT(dk_kernels_fill_matvec)(dk_kernels *kernels)
{
    kernels->dots = kernel_dots;
    kernels->columns = kernel_columns;
}
