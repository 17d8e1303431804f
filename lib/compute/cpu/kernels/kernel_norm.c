/* kernel_norm.c - norms of rows: y = (x - mean)*inverse*(offset + w) + b, by layer (Ba et al. 2016) or by root mean
 * square (Zhang & Sennrich 2019), whose mean is 0.
 *
 * A row is passed over once for each sum and once to write, and lies in L1 meanwhile; squares are of what is left when
 * the mean is gone, which loses no digits. Gradients of weights are sums over rows: a vector of columns at a time goes
 * down all of them, in runs whose sums are added afterwards, so that threads share columns and never a sum. */
#include "compute/cpu/kernel_variant.h"

static inline float sum_of(const float *x, int64_t n)
{
    dk_vf sum = dk_vf_set(0);
    for (int64_t i = 0; i < n; i += DK_VF) sum = sum + dk_vf_take(x + i, n - i, 0);
    return dk_vf_sum(sum);
}

static inline float squares_of(const float *x, int64_t n, float mean)
{
    dk_vf sum = dk_vf_set(0), shift = dk_vf_set(mean);
    for (int64_t i = 0; i < n; i += DK_VF) {
        dk_vf d = dk_vf_take(x + i, n - i, mean) - shift;
        sum = dk_vf_fma(d, d, sum);
    }
    return dk_vf_sum(sum);
}

static inline dk_vf weight_at(const dk_norm_row *args, int64_t i)
{
    if (!args->weight) return dk_vf_set(1);
    return dk_vf_take(args->weight + i, args->width - i, 0) + dk_vf_set(args->weight_offset);
}

static void kernel_norm(const dk_norm_row *args, const float *x, float *y, float *stats)
{
    int64_t n = args->width;
    float mean = args->kind == DK_NORM_LAYER ? sum_of(x, n) / (float)n : 0;
    float inverse = 1 / sqrtf(squares_of(x, n, mean) / (float)n + args->epsilon);
    dk_vf shift = dk_vf_set(mean), by = dk_vf_set(inverse);
    for (int64_t i = 0; i < n; i += DK_VF) {
        dk_vf v = (dk_vf_take(x + i, n - i, 0) - shift) * by * weight_at(args, i);
        if (args->bias) v = v + dk_vf_take(args->bias + i, n - i, 0);
        dk_vf_give(y + i, v, n - i);
    }
    if (!stats) return;
    stats[0] = mean;
    stats[1] = inverse;
}

/* With n = (x - mean)*inverse and g = dy*w: dx = inverse*(g - mean(g) - n*mean(g*n)); RMS has no mean(g). */
static void kernel_norm_backward(const dk_norm_row *args, const float *x, const float *stats, const float *dy,
                                 float *dx, int32_t add)
{
    int64_t n = args->width;
    dk_vf shift = dk_vf_set(stats[0]), by = dk_vf_set(stats[1]), sums = dk_vf_set(0), products = dk_vf_set(0);
    for (int64_t i = 0; i < n; i += DK_VF) {
        dk_vf g = dk_vf_take(dy + i, n - i, 0) * weight_at(args, i);
        sums = sums + g;
        products = dk_vf_fma(g, (dk_vf_take(x + i, n - i, 0) - shift) * by, products);
    }
    dk_vf mean = dk_vf_set(args->kind == DK_NORM_LAYER ? dk_vf_sum(sums) / (float)n : 0);
    dk_vf slant = dk_vf_set(dk_vf_sum(products) / (float)n);
    for (int64_t i = 0; i < n; i += DK_VF) {
        dk_vf g = dk_vf_take(dy + i, n - i, 0) * weight_at(args, i),
              normal = (dk_vf_take(x + i, n - i, 0) - shift) * by;
        dk_vf value = by * (g - mean - normal * slant);
        if (add) value = value + dk_vf_take(dx + i, n - i, 0);
        dk_vf_give(dx + i, value, n - i);
    }
}

/* ---- sums over rows, a few columns at a time; runs of rows are summed apart so that rounding does not pile up ---- */
#define RUN 128

static inline void add_columns(float *sums, dk_vf v, int64_t left)
{
    if (sums) dk_vf_give(sums, dk_vf_take(sums, left, 0) + v, left);
}

static void kernel_norm_columns(const dk_rows *x, const dk_rows *stats, const dk_rows *dy, int64_t first, int64_t count,
                                float *dweight, float *dbias)
{
    for (int64_t c = 0; c < count; c += DK_VF) {
        dk_vf products = dk_vf_set(0), sums = dk_vf_set(0);
        for (int64_t begin = 0; begin < x->rows; begin += RUN) {
            dk_vf product = dk_vf_set(0), sum = dk_vf_set(0);
            int64_t end = begin + RUN < x->rows ? begin + RUN : x->rows;
            for (int64_t r = begin; r < end; r++) {
                const float *s = dk_row(stats, r);
                dk_vf d = dk_vf_take((const float *)dk_row(dy, r) + first + c, count - c, 0);
                dk_vf v = dk_vf_take((const float *)dk_row(x, r) + first + c, count - c, 0);
                product = dk_vf_fma(d, (v - dk_vf_set(s[0])) * dk_vf_set(s[1]), product);
                sum = sum + d;
            }
            products = products + product;
            sums = sums + sum;
        }
        add_columns(dweight ? dweight + c : NULL, products, count - c);
        add_columns(dbias ? dbias + c : NULL, sums, count - c);
    }
}

static void kernel_column_sums(const dk_rows *x, int64_t first, int64_t count, float *sums)
{
    for (int64_t c = 0; c < count; c += DK_VF) {
        dk_vf total = dk_vf_set(0);
        for (int64_t begin = 0; begin < x->rows; begin += RUN) {
            dk_vf sum = dk_vf_set(0);
            int64_t end = begin + RUN < x->rows ? begin + RUN : x->rows;
            for (int64_t r = begin; r < end; r++)
                sum = sum + dk_vf_take((const float *)dk_row(x, r) + first + c, count - c, 0);
            total = total + sum;
        }
        add_columns(sums + c, total, count - c);
    }
}

void DK_VARIANT(dk_kernels_fill_norm)(dk_kernels *kernels)
{
    kernels->norm = kernel_norm;
    kernels->norm_backward = kernel_norm_backward;
    kernels->norm_columns = kernel_norm_columns;
    kernels->column_sums = kernel_column_sums;
}
