#include "features/kernels/feature_rows.h"

#include "compute/simd_double.h"

_Static_assert(DI_FEATURE_LANES % DK_VD == 0, "rows end in whole vectors");

static void take(const void *x, int32_t doubles, int64_t n, double *out)
{
    const float *floats = x;
    if (doubles) memcpy(out, x, (size_t)n * sizeof *out);
    else
        for (int64_t i = 0; i < n; i++) out[i] = (double)floats[i];
    for (int64_t i = n; i % DI_FEATURE_LANES; i++) out[i] = 0;
}

static double squared(const double *y, const double *p, int64_t n, double scale, double *d)
{
    dk_vd sum = dk_vd_set(0);
    for (int64_t i = 0; i < n; i += DK_VD) {
        const dk_vd difference = dk_vd_load(y + i) - dk_vd_load(p + i);
        sum = sum + difference * difference;
        if (d) dk_vd_store(d + i, dk_vd_set(scale) * difference);
    }
    return dk_vd_sum(sum);
}

static double cosine(const double *y, const double *p, int64_t n, double scale, double *d)
{
    dk_vd yy = dk_vd_set(0), pp = yy, yp = yy;
    for (int64_t i = 0; i < n; i += DK_VD) {
        const dk_vd a = dk_vd_load(y + i), b = dk_vd_load(p + i);
        yy = yy + a * a;
        pp = pp + b * b;
        yp = yp + a * b;
    }
    const double size = sqrt(dk_vd_sum(yy)), other = sqrt(dk_vd_sum(pp)), both = size * other;
    const int32_t defined = both > 0 && both < INFINITY;
    const double cos = defined ? dk_vd_sum(yp) / both : 0;
    const dk_vd along = dk_vd_set(defined ? scale * cos / (size * size) : 0),
                across = dk_vd_set(defined ? -scale / both : 0);
    for (int64_t i = 0; d && i < n; i += DK_VD)
        dk_vd_store(d + i, along * dk_vd_load(y + i) + across * dk_vd_load(p + i));
    return 1 - cos;
}

static void turn(const void *x, int32_t doubles, int64_t step, int64_t count, int64_t dim, int64_t stride, double *out)
{
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *row = (const uint8_t *)x + i * step;
        for (int64_t d = 0; d < dim; d++)
            out[d * stride + i] =
                doubles ? ((const double *)(const void *)row)[d] : (double)((const float *)(const void *)row)[d];
    }
    for (int64_t d = 0; d < dim; d++)
        for (int64_t i = count; i < stride; i++) out[d * stride + i] = 0;
}

static void scores(const double *query, const double *keys, int64_t dim, int64_t stride, int64_t n, double scale,
                   double *out)
{
    for (int64_t i = 0; i < n; i += DK_VD) {
        dk_vd sum = dk_vd_set(0);
        for (int64_t d = 0; d < dim; d++) sum = dk_vd_fma(dk_vd_set(query[d]), dk_vd_load(keys + d * stride + i), sum);
        dk_vd_store(out + i, dk_vd_set(scale) * sum);
    }
}

/* Lanes behind n become zero. */
static void end_row(double *x, int64_t n)
{
    for (int64_t i = n; i % DI_FEATURE_LANES; i++) x[i] = 0;
}

static double softmax(const double *x, int64_t n, double *p)
{
    dk_vd sum = dk_vd_set(0);
    double top = x[0];
    for (int64_t i = 1; i < n; i++) top = x[i] > top ? x[i] : top;
    for (int64_t i = 0; i < n; i += DK_VD) dk_vd_store(p + i, dk_vd_exp(dk_vd_load(x + i) - dk_vd_set(top)));
    end_row(p, n);
    for (int64_t i = 0; i < n; i += DK_VD) sum = sum + dk_vd_load(p + i);
    const double total = dk_vd_sum(sum);
    for (int64_t i = 0; i < n; i += DK_VD) dk_vd_store(p + i, dk_vd_load(p + i) / dk_vd_set(total));
    return top + log(total);
}

static void gather(const double *g, const double *keys, int64_t dim, int64_t stride, int64_t n, double scale,
                   double *query_out)
{
    for (int64_t d = 0; d < dim; d++) {
        dk_vd sum = dk_vd_set(0);
        for (int64_t i = 0; i < n; i += DK_VD)
            sum = dk_vd_fma(dk_vd_load(g + i), dk_vd_load(keys + d * stride + i), sum);
        query_out[d] += scale * dk_vd_sum(sum);
    }
}

static void spread(const double *g, const double *query, int64_t dim, int64_t stride, int64_t n, double scale,
                   double *keys_out)
{
    for (int64_t d = 0; d < dim; d++) {
        const dk_vd factor = dk_vd_set(scale * query[d]);
        double *out = keys_out + d * stride;
        for (int64_t i = 0; i < n; i += DK_VD)
            dk_vd_store(out + i, dk_vd_fma(factor, dk_vd_load(g + i), dk_vd_load(out + i)));
    }
}

static void inward(const double *a, int64_t n, double *d)
{
    dk_vd sum = dk_vd_set(0);
    for (int64_t i = 0; i < n; i += DK_VD) sum = dk_vd_fma(dk_vd_load(a + i), dk_vd_load(d + i), sum);
    const dk_vd mean = dk_vd_set(dk_vd_sum(sum));
    for (int64_t i = 0; i < n; i += DK_VD) dk_vd_store(d + i, dk_vd_load(a + i) * (dk_vd_load(d + i) - mean));
}

static double divergence(const double *p, const double *q, const double *x, const double *y, double shift, int64_t n,
                         double scale, double *d)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += p[i] * (x[i] - y[i] - shift);
    for (int64_t i = 0; d && i < n; i += DK_VD)
        dk_vd_store(d + i, dk_vd_set(scale) * (dk_vd_load(q + i) - dk_vd_load(p + i)));
    return sum;
}

extern const di_feature_rows DK_VARIANT(di_feature_rows);
const di_feature_rows DK_VARIANT(di_feature_rows) = {.take = take,
                                                     .squared = squared,
                                                     .cosine = cosine,
                                                     .turn = turn,
                                                     .scores = scores,
                                                     .softmax = softmax,
                                                     .gather = gather,
                                                     .spread = spread,
                                                     .inward = inward,
                                                     .divergence = divergence};
