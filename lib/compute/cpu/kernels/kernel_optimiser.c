/* kernel_optimiser.c - AdamW and the norm of a gradient. Both are bound by memory: a step reads four numbers and writes
 * three for each weight in one pass, and the sum of squares reads one. */
#include "compute/cpu/kernel_variant.h"
#include "compute/simd_double.h"

static inline dk_vd add_square(dk_vd sum, dk_vd x) { return sum + x * x; }

/* In double throughout: the norm of a gradient decides about a step. */
static double kernel_sum_squares(const float *x, int64_t n)
{
    enum { HALVES = DK_VF / DK_VD };
    double total = 0;
    for (int64_t begin = 0; begin < n; begin += DK_SUM_BLOCK) {
        int64_t end = begin + DK_SUM_BLOCK < n ? begin + DK_SUM_BLOCK : n, i = begin;
        dk_vd sum[HALVES];
        double lanes[DK_VF];
        for (int h = 0; h < HALVES; h++) sum[h] = dk_vd_set(0);
        for (; i + DK_VF <= end; i += DK_VF)
            for (int h = 0; h < HALVES; h++) sum[h] = add_square(sum[h], dk_vd_take(x + i + h * DK_VD, DK_VD, 0));
        for (int h = 0; i < end; i += DK_VD, h++)
            sum[h] = add_square(sum[h], dk_vd_take(x + i, end - i < DK_VD ? end - i : DK_VD, 0));
        for (int h = 0; h < HALVES; h++) dk_vd_store(lanes + h * DK_VD, sum[h]);
        for (int k = 0; k < DK_VF; k++) total += lanes[k];
    }
    return total;
}

/* Loshchilov & Hutter 2019, in the order of torch.optim.AdamW. */
static void kernel_adamw(const dk_adamw_step *step, float *p, const float *g, float *m, float *v, int64_t n)
{
    dk_vf factor = dk_vf_set(step->factor), keep = dk_vf_set(step->keep), beta2 = dk_vf_set(step->beta2),
          rest1 = dk_vf_set(step->rest1);
    dk_vf rest2 = dk_vf_set(step->rest2), rate = dk_vf_set(step->rate), root = dk_vf_set(step->inverse_root);
    dk_vf epsilon = dk_vf_set(step->epsilon);
    for (int64_t i = 0; i < n; i += DK_VF) {
        dk_vf gradient = dk_vf_take(g + i, n - i, 0) * factor, first = dk_vf_take(m + i, n - i, 0);
        first = dk_vf_fma(rest1, gradient - first, first);
        dk_vf second = dk_vf_fma(rest2 * gradient, gradient, beta2 * dk_vf_take(v + i, n - i, 0));
        dk_vf denominator = dk_vf_fma(dk_vf_sqrt(second), root, epsilon);
        dk_vf value = dk_vf_take(p + i, n - i, 0) * keep - rate * first / denominator;
        dk_vf_give(m + i, first, n - i);
        dk_vf_give(v + i, second, n - i);
        dk_vf_give(p + i, value, n - i);
    }
}

void DK_VARIANT(dk_kernels_fill_optimiser)(dk_kernels *kernels)
{
    kernels->sum_squares = kernel_sum_squares;
    kernels->adamw = kernel_adamw;
}
