/* seen_values.h - values that are no numbers, where some queries of a block do not see them: their weight is 0 there,
 * and 0 times NaN or infinity is NaN. So such a block is multiplied with zeros in their place, which changes no bit of
 * who does not see them, and what is odd goes to who does, number by number. A block of numbers pays for one look at
 * it. */
#ifndef DK_COMPUTE_SEEN_VALUES_H
#define DK_COMPUTE_SEEN_VALUES_H

#include <math.h>
#include <string.h>

#include "compute/cpu/kernel_variant.h"

/* x [rows, n]: 0 times a number is 0, and all else is NaN. */
static inline int32_t dk_rows_are_finite(const float *x, int64_t step, int64_t rows, int64_t n)
{
    dk_vf sum = dk_vf_set(0);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i += DK_VF)
            sum = dk_vf_fma(dk_vf_take(x + r * step + i, n - i, 0), dk_vf_set(0), sum);
    return dk_vf_sum(sum) == 0;
}

/* y [rows, width >= n] has x's numbers, and zeros elsewhere. y may be x. */
static inline void dk_rows_clean(const float *x, int64_t x_step, int64_t rows, int64_t n, float *y, int64_t width)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < width; i++)
            y[r * width + i] = i < n && isfinite(x[r * x_step + i]) ? x[r * x_step + i] : 0;
}

/* One query sees key `key` at its position; window 0 = all before it. */
static inline int32_t dk_is_seen(int64_t position, int64_t key, int64_t window)
{
    return key <= position && (window <= 0 || key > position - window);
}

#endif
