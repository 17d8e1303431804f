/* feature_rows.h - loops of losses on features, over rows of doubles that end in zeros up to a whole vector; compiled
 * once per instruction set. */
#ifndef DI_FEATURES_KERNELS_FEATURE_ROWS_H
#define DI_FEATURES_KERNELS_FEATURE_ROWS_H

#include <stdint.h>

enum { DI_FEATURE_LANES = 8 }; /* lengths are rounded up to these; vectors of doubles are as long or shorter */
static inline int64_t di_feature_padded(int64_t n)
{
    return (n + DI_FEATURE_LANES - 1) / DI_FEATURE_LANES * DI_FEATURE_LANES;
}

/* Columns of n keys: a vector may begin at any of them. */
static inline int64_t di_feature_stride(int64_t n) { return di_feature_padded(n) + DI_FEATURE_LANES; }

typedef struct di_feature_rows {
    /* n floats or doubles, then zeros */
    void (*take)(const void *x, int32_t doubles, int64_t n, double *out);
    /* sum (y - p)^2; d = scale*(y - p), or NULL */
    double (*squared)(const double *y, const double *p, int64_t n, double scale, double *d);
    /* 1 - cos(y, p), 1 where it is not defined; d = scale * its gradient by y, or NULL */
    double (*cosine)(const double *y, const double *p, int64_t n, double scale, double *d);

    /* ---- one head: its keys stand [dim, stride], a key in a column; stride as di_feature_stride says ---- */
    /* x: rows [count] of dim numbers, `step` bytes from one to the next; zeros behind them */
    void (*turn)(const void *x, int32_t doubles, int64_t step, int64_t count, int64_t dim, int64_t stride, double *out);
    /* out[i] = scale * query . key[i]; of these three, `keys` begins at the first key; n of them */
    void (*scores)(const double *query, const double *keys, int64_t dim, int64_t stride, int64_t n, double scale,
                   double *out);
    /* p = softmax(x), zeros behind it; returns log sum exp x */
    double (*softmax)(const double *x, int64_t n, double *p);
    /* query_out += scale * sum of g[i] key[i] */
    void (*gather)(const double *g, const double *keys, int64_t dim, int64_t stride, int64_t n, double scale,
                   double *query_out);
    /* keys_out[i] += scale * g[i] query */
    void (*spread)(const double *g, const double *query, int64_t dim, int64_t stride, int64_t n, double scale,
                   double *keys_out);
    /* through a softmax: g = a*(d - sum a d), in place of d */
    void (*inward)(const double *a, int64_t n, double *d);
    /* sum p (log p - log q), log p - log q = x - y - shift; d = scale*(q - p), or NULL */
    double (*divergence)(const double *p, const double *q, const double *x, const double *y, double shift, int64_t n,
                         double scale, double *d);
} di_feature_rows;
const di_feature_rows *di_feature_rows_for(int32_t isa); /* DK_ISA_* */

#endif
