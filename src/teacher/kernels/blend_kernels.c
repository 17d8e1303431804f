#include "compute/simd.h"
#include "teacher/blend_rows.h"

enum { BLOCK = 64 * DK_VF }; /* floats inside a block, doubles over blocks */

static int64_t block_end(int64_t begin, int64_t n) { return n - begin < BLOCK ? n : begin + BLOCK; }

static double entropy(const float *log_p, int64_t n)
{
    const dk_vf zero = dk_vf_set(0);
    double total = 0;
    for (int64_t begin = 0; begin < n; begin += BLOCK) {
        const int64_t end = block_end(begin, n);
        dk_vf sum = zero;
        for (int64_t i = begin; i < end; i += DK_VF) {
            dk_vf x = dk_vf_take(log_p + i, end - i, -INFINITY), p = dk_vf_exp(x);
            sum = sum + dk_vf_select(dk_vf_less(x, dk_vf_set(-103.0f)), zero, p * x); /* p = 0 adds nothing */
        }
        total -= (double)dk_vf_sum(sum);
    }
    return total;
}

static double mass(const float *log_p, int64_t n)
{
    double total = 0;
    for (int64_t begin = 0; begin < n; begin += BLOCK) {
        const int64_t end = block_end(begin, n);
        dk_vf sum = dk_vf_set(0);
        for (int64_t i = begin; i < end; i += DK_VF) sum = sum + dk_vf_exp(dk_vf_take(log_p + i, end - i, -INFINITY));
        total += (double)dk_vf_sum(sum);
    }
    return total;
}

static float highest(const float *x, int64_t n)
{
    dk_vf top = dk_vf_set(-INFINITY);
    for (int64_t i = 0; i < n; i += DK_VF) top = dk_vf_max(top, dk_vf_take(x + i, n - i, -INFINITY));
    return dk_vf_highest(top);
}

static void mix(float *sum, const float *log_p, int64_t n, float keep, float take)
{
    const dk_vf one = dk_vf_set(1), none = dk_vf_set(-INFINITY);
    for (int64_t i = 0; i < n; i += DK_VF) {
        dk_vf a = dk_vf_take(sum + i, n - i, 0) + dk_vf_set(keep),
              b = dk_vf_take(log_p + i, n - i, 0) + dk_vf_set(take);
        dk_vf high = dk_vf_max(a, b), low = dk_vf_min(a, b);
        dk_vf both = high + dk_vf_log(one + dk_vf_exp(low - high));
        dk_vf_give(sum + i, dk_vf_select(dk_vf_less(none, high), both, high), n - i);
    }
}

static void add(float *sum, const float *log_p, int64_t n, float keep, float take)
{
    const dk_vf kept = dk_vf_set(keep), taken = dk_vf_set(take), zero = dk_vf_set(0);
    for (int64_t i = 0; i < n; i += DK_VF) { /* 0 times -inf is no part of a product */
        dk_vf a = keep > 0 ? dk_vf_take(sum + i, n - i, 0) * kept : zero;
        dk_vf b = take > 0 ? dk_vf_take(log_p + i, n - i, 0) * taken : zero;
        dk_vf_give(sum + i, a + b, n - i);
    }
}

extern const di_blend_rows DK_VARIANT(di_blend_rows);
const di_blend_rows DK_VARIANT(di_blend_rows) = {entropy, mass, highest, mix, add};
