/* Adaptive KL, w KL(p || q) + (1 - w) KL(q || p). Wu et al. 2024. w is the share of sum |p - q| that lies in the head,
 * the likeliest ids of the teacher that have no more than head_mass together, and always the likeliest; it is a
 * constant in the gradient. */
#include "loss/kernels/divergence.h"
#ifndef DK_AS_FLOATS
#include "loss/kernels/teacher_head.h"
#endif

enum { HEAD_MASS, WEIGHT = DI_LOSS_OPTIONS };

#ifndef DK_AS_FLOATS
static double prepare(const di_row *pair, double *o)
{
    const int64_t count = di_pair_count(pair);
    const di_head head = DK_VARIANT(di_find_head)(pair, o[HEAD_MASS]);
    double of_head = 0, of_tail = 0, lanes[DK_VD];
    for (int64_t i = pair->p ? 0 : -DK_VD; i < count; i += DK_VD) {
        const di_outcomes x = di_outcomes_at(pair, i);
        dk_vd_store(lanes, dk_vd_abs(di_excess(&x)));
        for (int64_t j = 0; j < DK_VD && (i < 0 || i + j < count); j++)
            if (i >= 0 && di_in_head(pair, &head, i + j)) of_head += lanes[j];
            else of_tail += lanes[j];
    }
    o[WEIGHT] = of_head + of_tail > 0 ? of_head / (of_head + of_tail) : 0.5;
    return 0;
}
#else
static double prepare(const di_row *row, double *o)
{
    (void)row, (void)o;
    return NAN;
}
#endif

static di_mark point(const di_outcomes *x, const double *o)
{
    const di_v w = di_v_set(o[WEIGHT]), other = di_v_set(1 - o[WEIGHT]);
    return (di_mark){w * di_forward(x) + other * di_reverse(x), w * di_forward_slope(x) + other * di_reverse_slope(x)};
}

DI_DIVERGENCE(adaptive_kl, .prepare = prepare, .point = point)
