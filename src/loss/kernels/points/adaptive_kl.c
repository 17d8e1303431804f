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
typedef struct di_apart { /* sums of |p - q| */
    double all, head;
} di_apart;

typedef struct di_likely { /* the teacher's likeliest ids: what their logits are, and their |p - q| */
    int64_t count;
    float z[DI_CUT_LIST + DI_BLOCK], apart[DI_CUT_LIST + DI_BLOCK];
} di_likely;

DI_INLINE dk_vf list_vector(di_row *row, int64_t i, int64_t lanes, dk_vf low, di_likely *list, int64_t *count)
{
    const di_outcomes x = di_dense_at(row, i, lanes, 0);
    const dk_vf z = di_load(row->p->z + i, lanes, -INFINITY), apart = di_keep(dk_vf_abs(di_excess(&x)), lanes);
    const dk_vm above = dk_vf_less(low, z);
    di_keep_gap(row, i, lanes, x.d);
    (void)dk_vf_store_where(list->apart + *count, apart, above);
    *count += dk_vf_store_where(list->z + *count, z, above);
    return apart;
}

/* Of all with z > low; 0 = there are too many. The gaps are kept. */
static int32_t list_likely(di_row *row, float low, di_likely *list, double *all)
{
    const dk_vf from = dk_vf_set(low);
    di_row own = *row; /* which nothing that is stored here could be a part of */
    int64_t count = 0;
    own.kept = 0;
    for (int64_t begin = 0; begin < own.n && count <= DI_CUT_LIST; begin += DI_BLOCK) {
        dk_vf sum = dk_vf_set(0);
        const int64_t end = di_block_end(begin, own.n);
        int64_t i = begin;
        for (; i + DK_VF <= end; i += DK_VF) sum = sum + list_vector(&own, i, DK_VF, from, list, &count);
        if (i < end) sum = sum + list_vector(&own, i, end - i, from, list, &count);
        *all += (double)dk_vf_sum(sum);
    }
    list->count = count;
    row->kept = row->room && count <= DI_CUT_LIST;
    return count <= DI_CUT_LIST;
}

static double sum_listed_above(const di_likely *list, float least)
{
    const dk_vf zero = dk_vf_set(0);
    double sum = 0;
    for (int64_t begin = 0; begin < list->count; begin += DI_BLOCK) {
        dk_vf block = zero;
        DI_VECTORS(begin, di_block_end(begin, list->count))
        {
            const dk_vm above = dk_vf_less(dk_vf_set(least), di_load(list->z + i, lanes, -INFINITY));
            block = block + dk_vf_select(above, di_load(list->apart + i, lanes, 0), zero);
        }
        sum += (double)dk_vf_sum(block);
    }
    return sum;
}

/* From one pass over the row, if the cut is where a sample says that it may be. */
static int32_t sum_listed(di_row *row, double mass, di_cut *cut, di_apart *sums)
{
    di_likely list;
    if (row->n < 2 * DI_CUT_LIST) return 0; /* a search is cheaper than a list of all */
    const float low = DK_VARIANT(di_likely_from)(row->p, row->n);
    if (!list_likely(row, low, &list, &sums->all)) return 0;
    if (!DK_VARIANT(di_cut_among)(row->p, row->n, mass, low, list.z, list.count, cut)) return 0;
    sums->head = sum_listed_above(&list, cut->least);
    return 1;
}

/* From several. */
static int32_t sum_searched(di_row *row, double mass, di_cut *cut, di_apart *sums)
{
    const dk_vf zero = dk_vf_set(0);
    if (!DK_VARIANT(di_find_cut)(row->p, row->n, mass, cut)) return 0;
    for (int64_t begin = 0; begin < row->n; begin += DI_BLOCK) {
        dk_vf of_all = zero, of_head = zero;
        DI_VECTORS(begin, di_block_end(begin, row->n))
        {
            const di_outcomes x = di_dense_at(row, i, lanes, 0);
            const dk_vm above = dk_vf_less(dk_vf_set(cut->least), di_load(row->p->z + i, lanes, -INFINITY));
            const dk_vf apart = di_keep(dk_vf_abs(di_excess(&x)), lanes);
            of_all = of_all + apart;
            of_head = of_head + dk_vf_select(above, apart, zero);
        }
        sums->all += (double)dk_vf_sum(of_all);
        sums->head += (double)dk_vf_sum(of_head);
    }
    return 1;
}

static double apart_at(const di_row *row, int64_t i)
{
    return fabs(exp(di_log_at(row->p, i)) - exp(di_log_at(row->q, i)));
}

static double prepare(di_row *row, double *o)
{
    di_apart sums = {0, 0};
    di_cut cut;
    if (!sum_listed(row, o[HEAD_MASS], &cut, &sums)) {
        sums = (di_apart){0, 0};
        if (!sum_searched(row, o[HEAD_MASS], &cut, &sums)) return NAN;
    }
    for (int64_t i = 0; i <= cut.last_id; i++)
        if (row->p->z[i] == cut.least) sums.head += apart_at(row, i);
    o[WEIGHT] = sums.all > 0 ? sums.head / sums.all : 0.5;
    return sums.all * 0; /* NaN stays NaN */
}
#endif

#ifdef DK_AS_FLOATS
/* The same as below, of one series: with c = (e^d - 1 - d)/d^2 near each other it is q d^2 (w (1 + (d - 1) c) + (1 - w)
 * c), and its slope -q d (w (1 + d c) + 1 - w). */
DI_POINT di_mark point(const di_outcomes *x, const double *o)
{
    const di_v w = di_v_set(o[WEIGHT]), other = di_v_set(1 - o[WEIGHT]), zero = di_v_set(0);
    const di_v c = di_curvature(x->d), qd = x->q * x->d, excess = x->p - x->q, of_q = other * qd;
    const di_v curved = dk_vf_fma(c, dk_vf_fma(w, x->d, other - w), w);
    const di_v steep = dk_vf_fma(w * x->d, c, di_v_set(1));
    const di_v far = dk_vf_fma(w * x->p, x->d, dk_vf_fma(other - w, excess, zero - of_q));
    const di_vm near = di_is_near(x);
    return (di_mark){di_v_select(near, qd * x->d * curved, far),
                     zero - di_v_select(near, qd * steep, dk_vf_fma(w, excess, of_q))};
}
#else
DI_POINT di_mark point(const di_outcomes *x, const double *o)
{
    const di_v w = di_v_set(o[WEIGHT]), other = di_v_set(1 - o[WEIGHT]);
    return (di_mark){w * di_forward(x) + other * di_reverse(x), w * di_forward_slope(x) + other * di_reverse_slope(x)};
}
#endif

DI_DIVERGENCE(adaptive_kl, .prepare = prepare, .point = point)
