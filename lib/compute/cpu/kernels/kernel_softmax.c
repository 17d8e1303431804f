#include "compute/cpu/kernel_variant.h"

/* Passes over one row of logits while it is in cache. Sums of many terms are taken in blocks, the blocks in double. */

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

/* One term of the partition. The exponent has twice the digits of a float, so that the term's error is a relative one
 * however far from the highest it lies: (z - top)/T = x + rest. */
static inline dk_vf term_of(dk_vf z, dk_vf top, dk_vf inverse, dk_vf inverse_rest)
{
    const dk_vf zero = dk_vf_set(0);
    dk_vf d = z - top, back = d - z, lost = (z - (d - back)) + ((zero - top) - back), x = d * inverse;
    dk_vf rest = dk_vf_fma(d, inverse, zero - x) + dk_vf_fma(d, inverse_rest, lost * inverse), term = dk_vf_exp(x);
    return dk_vf_select(dk_vf_less(dk_vf_set(-80.0f), x), dk_vf_fma(term, rest, term), term);
}

/* The highest logits weigh 1 each and are counted; the others are summed apart, so that a row that is sure of one entry
 * keeps the digits of the rest. */
typedef struct partition {
    double rest;
    int64_t highest;
} partition;

static inline dk_vf add_terms(dk_vf sum, dk_vf z, dk_vf top, dk_vf inverse, dk_vf inverse_rest, dk_vf *tied)
{
    const dk_vf zero = dk_vf_set(0), one = dk_vf_set(1);
    dk_vm below = dk_vf_less(z, top);
    *tied = *tied + dk_vf_select(below, zero, one);
    return sum + dk_vf_select(below, term_of(z, top, inverse, inverse_rest), zero);
}

static partition partition_of(const float *z, int64_t n, float highest, double inverse)
{
    dk_vf top = dk_vf_set(highest), by = dk_vf_set((float)inverse),
          by_rest = dk_vf_set((float)(inverse - (double)(float)inverse));
    partition p = {0};
    for (int64_t begin = 0; begin < n; begin += DK_SUM_BLOCK) {
        int64_t end = begin + DK_SUM_BLOCK < n ? begin + DK_SUM_BLOCK : n;
        dk_vf sum = dk_vf_set(0), tied = sum;
        for (int64_t i = begin; i < end; i += DK_VF)
            sum = add_terms(sum, dk_vf_take(z + i, end - i, -INFINITY), top, by, by_rest, &tied);
        p.rest += (double)dk_vf_sum(sum);
        p.highest += (int64_t)dk_vf_sum(tied);
    }
    return p;
}

static void kernel_log_softmax(const float *z, float *y, int64_t n, double temperature)
{
    float highest = kernel_highest(z, n);
    partition p = partition_of(z, n, highest, 1 / temperature);
    double ties = (double)p.highest;
    dk_vf top = dk_vf_set(highest), inverse = dk_vf_set((float)(1 / temperature));
    float total = (float)(log(ties) + log1p(p.rest / ties));
    dk_vf shift = dk_vf_set(fabsf(highest) < INFINITY ? -total : NAN);
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
