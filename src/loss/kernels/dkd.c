/* Decoupled KD, t KL of (label, the rest) + n KL among the rest. Zhao et al. 2022. With t = 1 and n = 1 - p[label] it
 * is forward KL. h is q - p of the two outcomes, shared out as the student does, and q - p of the rest renormalised. */
#include "loss/kernels/in_doubles.h"
#include "loss/kernels/pair.h"

enum { TARGET_WEIGHT, OTHER_WEIGHT };

/* The student against the label, and log p of the rest: the log-sum-exp of the teacher's logits as if a student's. */
static double split(const di_builtin_call *call, const distill_loss_rows *rows, int64_t r, di_pair *pair)
{
    DK_VARIANT(di_pair_of)(call, rows, r, pair);
    pair->ids = &rows->labels[r];
    pair->k = 1;
    di_pair teacher = *pair;
    teacher.q = pair->p;
    DK_VARIANT(di_find_rest)(pair);
    DK_VARIANT(di_find_rest)(&teacher);
    return teacher.rest.log_q;
}

/* The ids from i on but for the label, renormalised. */
static di_outcomes others_at(const di_pair *pair, double rest_p, int64_t i)
{
    dk_vd log_p, log_q;
    di_logs_of(pair, i, &log_p, &log_q);
    log_p = di_without(log_p - dk_vd_set(rest_p > -INFINITY ? rest_p : 0), pair->label - i);
    log_q = di_without(log_q - dk_vd_set(pair->rest.log_q), pair->label - i);
    return di_outcomes_of(pair, log_p, log_q);
}

static double decoupled_row(const di_pair *pair, double rest_p, const double *o, float *h)
{
    const dk_vd other = dk_vd_set(rest_p > -INFINITY ? o[OTHER_WEIGHT] : 0);
    double of_rest, of_label, value = di_kl_term(rest_p, pair->rest.log_q, &of_rest);
    value += di_kl_term(di_log_at(pair->p, pair->label), di_log_at(pair->q, pair->label), &of_label);
    dk_vd sum = dk_vd_set(0);
    for (int64_t i = 0; i < pair->n && pair->rest.log_q > -INFINITY; i += DK_VD) {
        const di_outcomes x = others_at(pair, rest_p, i);
        sum = sum + di_forward(&x);
        if (h) di_put(pair, i, other * di_forward_slope(&x) + dk_vd_set(o[TARGET_WEIGHT] * of_rest) * x.q, h);
    }
    if (h) h[pair->label] = (float)(o[TARGET_WEIGHT] * of_label);
    return o[TARGET_WEIGHT] * value + dk_vd_sum(sum * other);
}

static int32_t in_doubles(void *user, const distill_loss_rows *rows)
{
    di_builtin_call *call = user;
    for (int64_t r = 0; r < rows->rows; r++) {
        di_pair pair;
        const double rest_p = split(call, rows, r, &pair);
        rows->value[r] =
            decoupled_row(&pair, rest_p, call->options, rows->gradient ? rows->gradient + r * rows->vocab : NULL);
        if (DK_VARIANT(di_pair_excludes)(&pair, NULL) > 0) rows->value[r] = INFINITY;
    }
    return DISTILL_CB_OK;
}

/* ---- long rows in floats ---- */

#define REST_LEAST 1e-30 /* floats of what is left beside the label keep their digits */
#define NEAR 1e-4        /* a value goes with the square of what masses differ by, whose error is that of their sums */

typedef struct rest_row { /* the ids but for the label, renormalised, and the sums of a block */
    const di_logits *q, *p;
    int64_t n;
    di_gap gap;
    dk_vf one_q, one_p;   /* 1/sum */
    dk_vf over_q, over_p; /* 1/(mass of the rest) */
    dk_vf other, shared;  /* h = other * (q' - p') + shared * q' */
    dk_vf values, excess, slopes;
} rest_row;

static inline __attribute__((always_inline)) dk_vf mass_at(const di_logits *x, int64_t i, int64_t lanes,
                                                           int64_t without, dk_vf one)
{
    float lane[DK_VF];
    dk_vf mass = di_mass_at(x, i, lanes, one);
    if (without < 0 || without >= DK_VF) return mass;
    dk_vf_store(lane, mass);
    lane[without] = 0;
    return dk_vf_load(lane);
}

/* Of all ids but the label: added up where 1 - p[label] would lose digits. */
static double mass_beside(const di_logits *x, int64_t n, int64_t label, dk_vf one)
{
    const double of_label = exp(di_log_at(x, label));
    double sum = 0;
    if (of_label < 0.5) return 1 - of_label;
    for (int64_t begin = 0; begin < n; begin += DI_BLOCK) {
        dk_vf block = dk_vf_set(0);
        DI_VECTORS(begin, di_block_end(begin, n)) block = block + mass_at(x, i, lanes, label - i, one);
        sum += (double)dk_vf_sum(block);
    }
    return sum;
}

/* p' (e^d - 1 - d), d = log q' - log p', and q' - p', as forward_kl has them. */
static inline __attribute__((always_inline)) void step(rest_row *row, int64_t i, int64_t lanes, int64_t without,
                                                       float *h)
{
    const dk_vf zero = dk_vf_set(0), tiny = dk_vf_set(1e-45f);
    const dk_vf zq = di_load(row->q->z + i, lanes, 0), zp = di_load(row->p->z + i, lanes, 0);
    const dk_vf q = mass_at(row->q, i, lanes, without, row->one_q) * row->over_q,
                p = mass_at(row->p, i, lanes, without, row->one_p) * row->over_p;
    const dk_vf d = zero - di_gap_at(&row->gap, zq, zp), pd = p * d;
    const dk_vm near = dk_vf_less(dk_vf_abs(d), dk_vf_set(1)), none = dk_vf_less(p, tiny);
    const dk_vf small = pd * d * di_curvature(d), some = dk_vf_select(near, pd + small, q - p);
    const dk_vf slope = dk_vf_select(none, q, some), given = dk_vf_fma(row->other, slope, row->shared * q);
    row->values = row->values + dk_vf_select(none, q, dk_vf_select(near, small, some - pd));
    row->excess = row->excess + slope;
    row->slopes = row->slopes + given;
    if (h) di_store(h + i, given, lanes);
}

/* KL of the rest; *slopes is what its h adds up to. */
static double rest_kl(rest_row *row, int64_t label, float *h, double *slopes)
{
    const di_ahead ahead = di_ahead_of(row->q, row->p);
    double sum = 0, excess = 0;
    *slopes = 0;
    for (int64_t begin = 0; begin < row->n; begin += DI_BLOCK) {
        row->values = row->excess = row->slopes = dk_vf_set(0);
        DI_VECTORS(begin, di_block_end(begin, row->n))
        {
            di_fetch(&ahead, i);
            if (label < i || label >= i + DK_VF) step(row, i, lanes, -1, h);
            else step(row, i, lanes, label - i, h);
        }
        sum += (double)dk_vf_sum(row->values);
        excess += (double)dk_vf_sum(row->excess);
        *slopes += (double)dk_vf_sum(row->slopes);
    }
    return fmax(sum - 0.5 * excess * excess, 0); /* q' - p' sums to 0: the share of what it does sum to */
}

/* What label and rest have of a row, as logarithms: of their sum, which is 1 but for rounding. */
static void two_outcomes(const di_logits *x, int64_t label, double rest, double *log_label, double *log_rest)
{
    const double of_label = di_log_at(x, label), all = log(exp(of_label) + rest);
    *log_label = of_label - all;
    *log_rest = log(rest) - all;
}

/* NaN = the row wants doubles. */
static double dense_row(const di_logits *q, const di_logits *p, int64_t n, int64_t label, const double *o, float *h,
                        double *slopes)
{
    rest_row row = {.q = q, .p = p, .n = n, .gap = di_gap_of(q, p)};
    double label_p, label_q, log_p, log_q, of_rest, of_label;
    row.one_q = dk_vf_set((float)exp(-q->log_sum));
    row.one_p = dk_vf_set((float)exp(-p->log_sum));
    const double rest_q = mass_beside(q, n, label, row.one_q), rest_p = mass_beside(p, n, label, row.one_p);
    if (!(rest_q > REST_LEAST && rest_p > REST_LEAST)) return NAN;
    two_outcomes(q, label, rest_q, &label_q, &log_q);
    two_outcomes(p, label, rest_p, &label_p, &log_p);
    const double two = di_kl_term(log_p, log_q, &of_rest) + di_kl_term(label_p, label_q, &of_label);
    const double shift = (double)row.gap.shift + (double)row.gap.shift_low + log(rest_p) - log(rest_q);
    row.gap.shift = (float)shift;
    row.gap.shift_low = (float)(shift - (double)row.gap.shift);
    row.over_q = dk_vf_set((float)(1 / rest_q));
    row.over_p = dk_vf_set((float)(1 / rest_p));
    row.other = dk_vf_set((float)o[OTHER_WEIGHT]);
    row.shared = dk_vf_set((float)(o[TARGET_WEIGHT] * of_rest));
    const double rest = rest_kl(&row, label, h, slopes);
    if (h) h[label] = (float)(o[TARGET_WEIGHT] * of_label);
    *slopes += h ? (double)h[label] : 0;
    return o[TARGET_WEIGHT] * two + o[OTHER_WEIGHT] * rest;
}

DI_LOSS_EVAL(dkd)
{
    di_builtin_call *call = user;
    int32_t rc = DISTILL_CB_OK;
    for (int64_t r = 0; r < rows->rows && rc == DISTILL_CB_OK; r++) {
        const di_logits *q = &call->student[r], *p = &call->teacher[r];
        float *h = rows->gradient ? rows->gradient + r * rows->vocab : NULL;
        double value = NAN, slopes = NAN;
        if (rows->labels[r] >= rows->vocab) { /* adds 0 */
            if (h) memset(h, 0, (size_t)rows->vocab * sizeof *h);
            call->floored++;
            continue;
        }
        if (rows->vocab >= DI_FLOATS_LEAST && q->low > -INFINITY && p->low > -INFINITY)
            value = dense_row(q, p, rows->vocab, rows->labels[r], call->options, h, &slopes);
        const int32_t is_done = value >= NEAR && value < INFINITY;
        if (is_done) rows->value[r] = value;
        else rc = di_in_doubles(call, rows, r, in_doubles, &call->floored);
        if (call->sums) call->sums[r] = is_done ? slopes : NAN;
    }
    return rc;
}
