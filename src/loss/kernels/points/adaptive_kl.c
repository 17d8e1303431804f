/* Adaptive KL, w KL(p || q) + (1 - w) KL(q || p). Wu et al. 2024. w is the share of sum |p - q| that lies in the head,
 * the likeliest ids of the teacher that have no more than head_mass together, and always the likeliest; it is a
 * constant in the gradient. */
#include "loss/kernels/divergence.h"
#ifdef DK_AS_FLOATS
#include "loss/kernels/teacher_cut.h"
#else
#include "loss/kernels/teacher_head.h"
#endif

enum { HEAD_MASS, WEIGHT = DI_LOSS_OPTIONS };

#ifndef DK_AS_FLOATS
static double prepare(di_row *pair, double *o)
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
static double apart_at(const di_row *row, int64_t i)
{
    return fabs(exp(di_log_at(row->p, i)) - exp(di_log_at(row->q, i)));
}

static double prepare(di_row *row, double *o)
{
    const dk_vf zero = dk_vf_set(0);
    double all = 0, head = 0;
    di_cut cut;
    if (!DK_VARIANT(di_find_cut)(row->p, row->n, o[HEAD_MASS], &cut)) return NAN;
    for (int64_t begin = 0; begin < row->n; begin += DI_BLOCK) {
        dk_vf of_all = zero, of_head = zero;
        DI_VECTORS(begin, di_block_end(begin, row->n))
        {
            const di_outcomes x = di_dense_at(row, i, lanes, 0);
            const dk_vm above = dk_vf_less(dk_vf_set(cut.least), di_load(row->p->z + i, lanes, -INFINITY));
            const dk_vf apart = di_keep(dk_vf_abs(di_excess(&x)), lanes);
            of_all = of_all + apart;
            of_head = of_head + dk_vf_select(above, apart, zero);
        }
        all += (double)dk_vf_sum(of_all);
        head += (double)dk_vf_sum(of_head);
    }
    for (int64_t i = 0; i <= cut.last_id; i++)
        if (row->p->z[i] == cut.least) head += apart_at(row, i);
    o[WEIGHT] = all > 0 ? head / all : 0.5;
    return all * 0; /* NaN stays NaN */
}
#endif

DI_POINT di_mark point(const di_outcomes *x, const double *o)
{
    const di_v w = di_v_set(o[WEIGHT]), other = di_v_set(1 - o[WEIGHT]);
    return (di_mark){w * di_forward(x) + other * di_reverse(x), w * di_forward_slope(x) + other * di_reverse_slope(x)};
}

DI_DIVERGENCE(adaptive_kl, .prepare = prepare, .point = point)
