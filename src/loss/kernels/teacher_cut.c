/* The likeliest ids are those above a threshold. Seven thresholds at a time are tried, until few ids are left between
 * the highest that has too much mass above it and the lowest that has not; these are put in order. In a long row a
 * sample says which ids are likely enough to be looked at, and the threshold is sought among these alone. Masses are
 * sums of floats; where they are too near to tell, the sum is taken again in doubles. */
#include "loss/kernels/teacher_cut.h"

enum { CUTS = 7, ROUNDS = 6, LIST = DI_CUT_LIST, SORTED = 128 };
enum { SAMPLE = 16 }; /* one vector of so many is looked at */
#define UNSURE 1e-5   /* more than floats in blocks may be off */
#define SLACK 1e-12   /* as in teacher_head.c */

typedef struct di_search {
    const di_logits *p;
    int64_t n;
    double mass, total; /* the head's; the sum of exp((z - top)*factor) */
    float high, low;    /* the mass above high fits, that above low does not */
    double above;       /* the share above high, as floats know it */
    int64_t count;      /* of list: all that lie between them */
    float list[LIST + DK_VF];
} di_search;

/* Of z > cut, or of z >= cut, in doubles. */
static double exact_share(const di_search *s, float cut, int32_t with_cut, double *total)
{
    const double from = (double)(with_cut ? nextafterf(cut, -INFINITY) : cut);
    dk_vd sum = dk_vd_set(0), all = sum;
    for (int64_t i = 0; i < s->n; i += DK_VD) {
        const dk_vd z = dk_vd_take(s->p->z + i, s->n - i < DK_VD ? s->n - i : DK_VD, -INFINITY);
        const dk_vd mass = dk_vd_exp((z - dk_vd_set((double)s->p->top)) * dk_vd_set(s->p->factor));
        all = all + mass;
        sum = sum + dk_vd_select(dk_vd_less(dk_vd_set(from), z), mass, dk_vd_set(0));
    }
    if (total) *total = dk_vd_sum(all);
    return dk_vd_sum(sum) / dk_vd_sum(all);
}

static int32_t fits(const di_search *s, double share, float cut, int32_t with_cut)
{
    if (fabs(share - s->mass) < UNSURE) share = exact_share(s, cut, with_cut, NULL);
    return share <= s->mass + SLACK;
}

/* The share above each cut; z is the row, or not. */
static inline __attribute__((always_inline)) void sum_above(const di_search *s, const float *z, int64_t n,
                                                            int32_t is_row, const float *cuts, double *sums)
{
    const dk_vf one = dk_vf_set((float)(1 / s->total));
    for (int k = 0; k < CUTS; k++) sums[k] = 0;
    for (int64_t begin = 0; begin < n; begin += DI_BLOCK) {
        dk_vf block[CUTS];
        for (int k = 0; k < CUTS; k++) block[k] = dk_vf_set(0);
        DI_VECTORS(begin, di_block_end(begin, n))
        {
            const dk_vf v = di_load(z + i, lanes, -INFINITY);
            const dk_vf mass = is_row ? di_mass_at(s->p, i, lanes, one) : dk_vf_exp_down(di_shifted(v, s->p)) * one;
            for (int k = 0; k < CUTS; k++)
                block[k] = block[k] + dk_vf_select(dk_vf_less(dk_vf_set(cuts[k]), v), mass, dk_vf_set(0));
        }
        for (int k = 0; k < CUTS; k++) sums[k] += (double)dk_vf_sum(block[k]);
    }
}

/* Of what lies between high and low, z holds all; narrows them. */
static void narrow(di_search *s, const float *z, int64_t n, const float *cuts, int32_t is_row)
{
    const double base = is_row ? 0 : s->above;
    double sums[CUTS];
    if (is_row) sum_above(s, z, n, 1, cuts, sums);
    else sum_above(s, z, n, 0, cuts, sums);
    for (int k = 0; k < CUTS; k++) {
        const double share = base + sums[k];
        if (!fits(s, share, cuts[k], 0)) {
            s->low = cuts[k];
            return;
        }
        s->high = cuts[k];
        s->above = share;
    }
}

static void split_evenly(const di_search *s, float *cuts)
{
    for (int k = 0; k < CUTS; k++) cuts[k] = s->high + (s->low - s->high) * (float)(k + 1) / (CUTS + 1);
}

/* Between high and low, into the list; 0 = they do not fit in there. z may be the list. */
static int32_t gather(di_search *s, const float *z, int64_t n)
{
    int64_t count = 0;
    for (int64_t i = 0; i < n; i += DK_VF) {
        const dk_vf v = di_load(z + i, n - i < DK_VF ? n - i : DK_VF, INFINITY);
        const dk_vm above = dk_vf_less(dk_vf_set(s->low), v), beyond = dk_vf_less(dk_vf_set(s->high), v);
        const dk_vm between = dk_vm_and(above, dk_vm_not(beyond));
        if (!dk_vm_any(between)) continue;
        if (count > LIST - DK_VF) return 0;
        count += dk_vf_store_where(s->list + count, v, between);
    }
    s->count = count;
    return 1;
}

static int32_t search_row(di_search *s)
{
    static const float nats[CUTS] = {1, 2, 3, 4.5f, 6, 8, 11};
    float cuts[CUTS];
    for (int k = 0; k < CUTS; k++) cuts[k] = s->p->top - nats[k] / (float)s->p->factor;
    for (int round = 0; round < ROUNDS; round++) {
        narrow(s, s->p->z, s->n, cuts, 1);
        if (gather(s, s->p->z, s->n)) return 1;
        split_evenly(s, cuts);
    }
    return 0;
}

static void search_list(di_search *s)
{
    float cuts[CUTS];
    for (int round = 0; round < ROUNDS && s->count > SORTED; round++) {
        split_evenly(s, cuts);
        narrow(s, s->list, s->count, cuts, 0);
        gather(s, s->list, s->count);
    }
}

static void sort_down(float *x, int64_t n)
{
    for (int64_t i = 1; i < n; i++) {
        const float v = x[i];
        int64_t at = i;
        for (; at > 0 && x[at - 1] < v; at--) x[at] = x[at - 1];
        x[at] = v;
    }
}

/* Of so many with z = value some fit, one at least if nothing lies above. */
static di_cut cut_ties(const di_search *s, float value, int64_t ties)
{
    double total, taken = exact_share(s, value, 0, &total);
    const double each = exp(((double)value - (double)s->p->top) * s->p->factor) / total;
    int64_t left = 0, id = -1;
    while (left < ties && taken + each <= s->mass + SLACK) {
        taken += each;
        left++;
    }
    if (left == 0 && value == s->p->top) left = 1;
    for (int64_t i = 0; left > 0 && i < s->n; i++) {
        if (s->p->z[i] != value) continue;
        id = i;
        left--;
    }
    return (di_cut){value, id};
}

static int32_t cut_list(di_search *s, di_cut *cut)
{
    double share = s->above;
    sort_down(s->list, s->count);
    for (int64_t i = 0, ties; i < s->count; i += ties) {
        const float value = s->list[i];
        for (ties = 1; i + ties < s->count && s->list[i + ties] == value;) ties++;
        share += (double)ties * exp(((double)value - (double)s->p->top) * s->p->factor) / s->total;
        if (fits(s, share, value, 1)) continue;
        *cut = ties > 1 || value == s->p->top ? cut_ties(s, value, ties) : (di_cut){value, -1};
        return 1;
    }
    return 0;
}

static void set_search(di_search *s, const di_logits *p, int64_t n, double mass)
{
    s->p = p;
    s->n = n;
    s->mass = mass;
    s->total = exp(p->log_sum);
    s->high = p->top;
    s->low = nextafterf(p->low, -INFINITY);
    s->above = 0;
}

int32_t DK_VARIANT(di_find_cut)(const di_logits *p, int64_t n, double mass, di_cut *cut)
{
    di_search s;
    set_search(&s, p, n, mass);
    *cut = (di_cut){-INFINITY, -1};
    if (mass + SLACK >= 1) return 1; /* all of them */
    if (!search_row(&s)) return 0;
    search_list(&s);
    return s.count <= 8 * SORTED && cut_list(&s, cut);
}

int32_t DK_VARIANT(di_cut_among)(const di_logits *p, int64_t n, double mass, float low, const float *z, int64_t count,
                                 di_cut *cut)
{
    const float cuts[CUTS] = {low, INFINITY, INFINITY, INFINITY, INFINITY, INFINITY, INFINITY};
    di_search s;
    double sums[CUTS];
    set_search(&s, p, n, mass);
    s.low = low;
    s.count = count;
    if (count > LIST) return 0;
    memcpy(s.list, z, (size_t)count * sizeof *z);
    sum_above(&s, z, count, 0, cuts, sums);
    if (fits(&s, sums[0], low, 0)) return 0;
    search_list(&s);
    return s.count <= 8 * SORTED && cut_list(&s, cut);
}

/* How many of the sample lie above each cut. */
static void count_sample(const di_logits *p, int64_t n, const float *cuts, float *counts)
{
    const dk_vf one = dk_vf_set(1), zero = dk_vf_set(0);
    dk_vf sums[CUTS];
    for (int k = 0; k < CUTS; k++) sums[k] = zero;
    for (int64_t i = 0; i + DK_VF <= n; i += SAMPLE * DK_VF) {
        const dk_vf v = dk_vf_load(p->z + i);
        for (int k = 0; k < CUTS; k++) sums[k] = sums[k] + dk_vf_select(dk_vf_less(dk_vf_set(cuts[k]), v), one, zero);
    }
    for (int k = 0; k < CUTS; k++) counts[k] = dk_vf_sum(sums[k]);
}

float DK_VARIANT(di_likely_from)(const di_logits *p, int64_t n)
{
    const float most = LIST / 2 / SAMPLE;
    float high = p->top, low = nextafterf(p->low, -INFINITY), cuts[CUTS], counts[CUTS];
    for (int round = 0; round < 3; round++) {
        int k = 0;
        for (int j = 0; j < CUTS; j++) cuts[j] = high + (low - high) * (float)(j + 1) / (CUTS + 1);
        count_sample(p, n, cuts, counts);
        while (k < CUTS && counts[k] <= most) k++;
        if (k < CUTS) low = cuts[k];
        if (k > 0) high = cuts[k - 1];
    }
    return high;
}
