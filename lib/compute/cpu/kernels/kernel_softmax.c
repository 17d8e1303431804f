/* kernel_softmax.c - softmax, its logarithm and gradient over one row of logits at a temperature, and the soft cap.
 *
 * A row is read once for its maximum, once for its partition and once to write, from the cache where the first pass
 * brought it. Exponents are of what is left below the maximum, so nothing overflows. Sums of many terms are taken in
 * blocks of DK_SUM_BLOCK, the blocks in double: a vocabulary of 150,000 costs no digits. */
#include "compute/cpu/kernel_variant.h"

static float kernel_highest(const float *z, int64_t n)
{
    const dk_vf infinite = dk_vf_set(INFINITY);
    dk_vf a = dk_vf_set(-INFINITY), b = a;
    int64_t i = 0;
    for (; i + 2 * DK_VF <= n; i += 2 * DK_VF) {
        dk_vf u = dk_vf_load(z + i), v = dk_vf_load(z + i + DK_VF);
        a = dk_vf_max(a, dk_vf_select(dk_vf_less(u, infinite), u, infinite));
        b = dk_vf_max(b, dk_vf_select(dk_vf_less(v, infinite), v, infinite));
    }
    for (; i < n; i += DK_VF) {
        dk_vf u = dk_vf_take(z + i, n - i, -INFINITY);
        a = dk_vf_max(a, dk_vf_select(dk_vf_less(u, infinite), u, infinite));
    }
    return dk_vf_highest(dk_vf_max(a, b));
}

static inline dk_vf weight_of(dk_vf z, dk_vf highest, dk_vf inverse) { return dk_vf_exp((z - highest) * inverse); }

static void kernel_softmax_weights(const float *z, float *y, int64_t n, float highest, float inverse_temperature)
{
    dk_vf top = dk_vf_set(highest), inverse = dk_vf_set(inverse_temperature);
    for (int64_t i = 0; i < n; i += DK_VF)
        dk_vf_give(y + i, weight_of(dk_vf_take(z + i, n - i, 0), top, inverse), n - i);
}

/* Sum of exp((z - highest)/T). */
static double partition(const float *z, int64_t n, float highest, float inverse_temperature)
{
    dk_vf top = dk_vf_set(highest), inverse = dk_vf_set(inverse_temperature);
    double total = 0;
    for (int64_t begin = 0; begin < n; begin += DK_SUM_BLOCK) {
        int64_t end = begin + DK_SUM_BLOCK < n ? begin + DK_SUM_BLOCK : n, i = begin;
        dk_vf sum = dk_vf_set(0), next = sum;
        for (; i + 2 * DK_VF <= end; i += 2 * DK_VF) {
            sum = sum + weight_of(dk_vf_load(z + i), top, inverse);
            next = next + weight_of(dk_vf_load(z + i + DK_VF), top, inverse);
        }
        for (; i < end; i += DK_VF) sum = sum + weight_of(dk_vf_take(z + i, end - i, -INFINITY), top, inverse);
        total += (double)dk_vf_sum(sum + next);
    }
    return total;
}

/* ---- rows that are sure of one entry: log q of that one is the little that the others weigh ---- */
#define SURE 1.125 /* a partition below it */

/* The exponent has twice the digits of a float, so that a term's error is a relative one however far from the highest
 * it lies: (z - top)/T = x + rest. */
static inline dk_vf precise_weight(dk_vf z, dk_vf top, dk_vf inverse, dk_vf inverse_rest)
{
    const dk_vf zero = dk_vf_set(0);
    dk_vf d = z - top, back = d - z, lost = (z - (d - back)) + ((zero - top) - back), x = d * inverse;
    dk_vf rest = dk_vf_fma(d, inverse, zero - x) + dk_vf_fma(d, inverse_rest, lost * inverse), weight = dk_vf_exp(x);
    weight = dk_vf_select(dk_vf_less(dk_vf_set(-80.0f), x), dk_vf_fma(weight, rest, weight), weight);
    return dk_vf_select(dk_vf_less(z, top), weight, zero);
}

/* The partition without the highest entry, whose 1 would swallow the digits of the others. */
static double rest_of_partition(const float *z, int64_t n, float highest, double inverse_temperature)
{
    float narrow = (float)inverse_temperature;
    dk_vf top = dk_vf_set(highest), inverse = dk_vf_set(narrow),
          inverse_rest = dk_vf_set((float)(inverse_temperature - (double)narrow));
    double total = 0;
    for (int64_t begin = 0; begin < n; begin += DK_SUM_BLOCK) {
        int64_t end = begin + DK_SUM_BLOCK < n ? begin + DK_SUM_BLOCK : n;
        dk_vf sum = dk_vf_set(0);
        for (int64_t i = begin; i < end; i += DK_VF)
            sum = sum + precise_weight(dk_vf_take(z + i, end - i, -INFINITY), top, inverse, inverse_rest);
        total += (double)dk_vf_sum(sum);
    }
    return total;
}

static void kernel_log_softmax(const float *z, float *y, int64_t n, double temperature)
{
    float highest = kernel_highest(z, n);
    double total = partition(z, n, highest, (float)(1 / temperature));
    dk_vf top = dk_vf_set(highest), inverse = dk_vf_set((float)(1 / temperature));
    dk_vf shift =
        dk_vf_set(-(float)(total < SURE ? log1p(rest_of_partition(z, n, highest, 1 / temperature)) : log(total)));
    for (int64_t i = 0; i < n; i += DK_VF)
        dk_vf_give(y + i, dk_vf_fma(dk_vf_take(z + i, n - i, 0) - top, inverse, shift), n - i);
}

static double total_of(const float *x, int64_t n)
{
    double total = 0;
    for (int64_t begin = 0; begin < n; begin += DK_SUM_BLOCK) {
        int64_t end = begin + DK_SUM_BLOCK < n ? begin + DK_SUM_BLOCK : n;
        dk_vf sum = dk_vf_set(0);
        for (int64_t i = begin; i < end; i += DK_VF) sum = sum + dk_vf_take(x + i, end - i, 0);
        total += (double)dk_vf_sum(sum);
    }
    return total;
}

static void kernel_log_softmax_backward(const float *log_q, float *h, int64_t n, float weight)
{
    dk_vf sum = dk_vf_set((float)total_of(h, n)), by = dk_vf_set(weight);
    for (int64_t i = 0; i < n; i += DK_VF) {
        dk_vf q = dk_vf_exp(dk_vf_take(log_q + i, n - i, 0));
        dk_vf_give(h + i, by * (dk_vf_take(h + i, n - i, 0) - q * sum), n - i);
    }
}

static void kernel_softcap(float *z, int64_t n, float scale, float cap)
{
    dk_vf by = dk_vf_set(scale / cap), top = dk_vf_set(cap);
    for (int64_t i = 0; i < n; i += DK_VF) dk_vf_give(z + i, top * dk_vf_tanh(by * dk_vf_take(z + i, n - i, 0)), n - i);
}

static void kernel_softcap_backward(const float *z, float *dz, int64_t n, float scale, float cap)
{
    dk_vf inverse = dk_vf_set(1 / cap), by = dk_vf_set(scale), one = dk_vf_set(1);
    for (int64_t i = 0; i < n; i += DK_VF) {
        dk_vf t = dk_vf_take(z + i, n - i, 0) * inverse;
        dk_vf_give(dz + i, dk_vf_take(dz + i, n - i, 0) * by * ((one - t) * (one + t)), n - i);
    }
}

void DK_VARIANT(dk_kernels_fill_softmax)(dk_kernels *kernels)
{
    kernels->highest = kernel_highest;
    kernels->softmax_weights = kernel_softmax_weights;
    kernels->log_softmax = kernel_log_softmax;
    kernels->log_softmax_backward = kernel_log_softmax_backward;
    kernels->softcap = kernel_softcap;
    kernels->softcap_backward = kernel_softcap_backward;
}
