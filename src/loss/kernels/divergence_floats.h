/* divergence_floats.h - a loss over outcomes on long dense rows, in vectors of floats.
 *
 * Where |log p - log q| < 1 a fitted loss's value and slope are q d^2 and q d times polynomials of d, which were fitted
 * to its doubles: nothing cancels. Beyond, its own function is used. Where tables can be looked up in registers there
 * are polynomials for |d| < 15.5, one for each nearest whole number (half of them lie in one register, which serves
 * most vectors), and its own function is left to vectors with an outcome farther apart. Terms of a block are added in
 * floats, blocks in doubles. What floats do not hold goes to doubles, a row at a time: -inf among the logits, few ids,
 * options too near a limit, a value that is not finite. */
#ifndef DI_LOSS_KERNELS_DIVERGENCE_FLOATS_H
#define DI_LOSS_KERNELS_DIVERGENCE_FLOATS_H

#include "loss/kernels/gap.h"
#include "loss/kernels/in_doubles.h"

struct di_dense {
    const di_logits *q, *p;
    int64_t n;
    di_gap gap;
    float one_q, one_p, log_sum_q, log_sum_p; /* 1/sum, log sum */
    const di_fitted *fit;                     /* of the loss; NULL = it is not fitted */
    float *room; /* [n] where h will lie, or NULL: prepare may leave log p - log q there, and says so in `kept` */
    int32_t kept;
};

DI_INLINE dk_vf di_row_gap(const di_row *row, int64_t i, int64_t lanes)
{
    if (row->kept) return di_load(row->room + i, lanes, 0);
    return di_gap_at(&row->gap, di_load(row->q->z + i, lanes, row->q->top), di_load(row->p->z + i, lanes, row->p->top));
}

DI_INLINE void di_keep_gap(di_row *row, int64_t i, int64_t lanes, dk_vf d)
{
    if (row->room) di_store(row->room + i, d, lanes);
}

DI_INLINE di_outcomes di_dense_at(const di_row *row, int64_t i, int64_t lanes, int32_t asks)
{
    const dk_vf zero = dk_vf_set(0);
    di_outcomes x;
    x.d = di_row_gap(row, i, lanes);
    x.p = di_mass_at(row->p, i, lanes, dk_vf_set(row->one_p));
    x.q = di_mass_at(row->q, i, lanes, dk_vf_set(row->one_q));
    x.fall = x.log_p = x.log_q = zero;
    if (asks & DI_MIXES) { /* the smaller one as what is left of the larger: how far they are apart is known of both */
        const dk_vm p_leads = dk_vf_less(zero, x.d);
        const dk_vf ratio = dk_vf_exp_down(zero - dk_vf_abs(x.d)), p = dk_vf_select(p_leads, x.p, x.q * ratio);
        x.q = dk_vf_select(p_leads, x.p * ratio, x.q);
        x.p = p;
        x.fall = ratio - dk_vf_set(1);
    }
    if (asks & DI_LOGS) {
        x.log_q = di_shifted(di_load(row->q->z + i, lanes, row->q->top), row->q) - dk_vf_set(row->log_sum_q);
        x.log_p = di_shifted(di_load(row->p->z + i, lanes, row->p->top), row->p) - dk_vf_set(row->log_sum_p);
    }
    x.none = x.out = dk_vf_less(zero, zero);
    return x;
}

/* `rest` behind the last of `lanes`. */
static inline dk_vf di_keep_or(dk_vf v, int64_t lanes, float rest)
{
    float kept[DK_VF];
    if (lanes == DK_VF) return v;
    dk_vf_store(kept, v);
    for (int64_t i = lanes; i < DK_VF; i++) kept[i] = rest;
    return dk_vf_load(kept);
}

static inline dk_vf di_keep(dk_vf v, int64_t lanes) { return di_keep_or(v, lanes, 0); }

DI_INLINE dk_vf di_polynomial(const float *powers, dk_vf d)
{
    dk_vf f = dk_vf_fma(dk_vf_set(powers[9]), d, dk_vf_set(powers[8]));
    f = dk_vf_fma(dk_vf_fma(f, d, dk_vf_set(powers[7])), d, dk_vf_set(powers[6]));
    f = dk_vf_fma(dk_vf_fma(f, d, dk_vf_set(powers[5])), d, dk_vf_set(powers[4]));
    f = dk_vf_fma(dk_vf_fma(f, d, dk_vf_set(powers[3])), d, dk_vf_set(powers[2]));
    return dk_vf_fma(dk_vf_fma(f, d, dk_vf_set(powers[1])), d, dk_vf_set(powers[0]));
}

/* What it is by its own function, and near each other by polynomials. */
DI_INLINE di_mark di_dense_mark(const di_row *row, int64_t i, int64_t lanes, const di_form *form,
                                const double *constants, const di_fitted *fit, di_outcomes *x)
{
    *x = di_dense_at(row, i, lanes, form->asks);
    if (form->turn) *x = form->turn(x, constants);
    di_mark mark = form->point(x, constants);
    if (!(form->fitted & DI_NEAR)) return mark;
    const dk_vm near = dk_vf_less(dk_vf_abs(x->d), dk_vf_set(1));
    const dk_vf mass = form->power ? dk_vf_exp(dk_vf_set((float)form->power(constants)) * x->log_q) : x->q;
    const dk_vf first = mass * x->d;
    mark.value = dk_vf_select(near, first * x->d * di_polynomial(fit->value, x->d), mark.value);
    mark.slope = dk_vf_select(near, first * di_polynomial(fit->slope, x->d), mark.slope);
    return mark;
}

/* Where it is not worth a copy of the loss's own functions. */
static __attribute__((noinline)) di_mark di_mark_apart(const di_row *row, int64_t i, int64_t lanes, const di_form *form,
                                                       const double *constants, const di_fitted *fit, di_outcomes *x)
{
    return di_dense_mark(row, i, lanes, form, constants, fit, x);
}

#ifdef DK_VF_TABLES
DI_INLINE dk_vf di_power(const float *of_pieces, dk_vi k) { return dk_vf_pick(dk_vf_load(of_pieces), k); }

DI_INLINE dk_vf di_piece(const float (*powers)[DI_PIECES], dk_vi k, dk_vf u)
{
    dk_vf f = di_power(powers[8], k);
    f = dk_vf_fma(dk_vf_fma(f, u, di_power(powers[7], k)), u, di_power(powers[6], k));
    f = dk_vf_fma(dk_vf_fma(f, u, di_power(powers[5], k)), u, di_power(powers[4], k));
    f = dk_vf_fma(dk_vf_fma(f, u, di_power(powers[3], k)), u, di_power(powers[2], k));
    return dk_vf_fma(dk_vf_fma(f, u, di_power(powers[1], k)), u, di_power(powers[0], k));
}

/* The nearest whole number, at its lowest four bits; *u is what is left of d. */
DI_INLINE dk_vi di_piece_of(dk_vf d, dk_vf *u)
{
    const dk_vf shift = dk_vf_set(12582912.0f); /* 1.5*2^23: adding it rounds to an integer */
    const dk_vf whole = d + shift;
    *u = d - (whole - shift);
    return dk_vf_bits(whole);
}

DI_INLINE int32_t di_beyond(dk_vf d, int pieces) /* of some lane; NaN is */
{
    return dk_vm_any(dk_vm_not(dk_vf_less(dk_vf_abs(d), dk_vf_set((float)pieces / 2 - 0.5f))));
}

DI_INLINE dk_vf di_far_piece(const float (*powers)[DI_FAR_PIECES], dk_vi k, dk_vm high, dk_vf u)
{
    dk_vf f = dk_vf_set(0);
    for (int i = DI_POWERS - 1; i >= 0; i--)
        f = dk_vf_fma(f, u, dk_vf_select(high, di_power(powers[i] + DI_PIECES, k), di_power(powers[i], k)));
    return f;
}

/* At q = 1, |d| < 15.5. */
static __attribute__((noinline)) di_mark di_far_pieces(const di_fitted *fit, dk_vf d)
{
    dk_vf u;
    const dk_vi k = di_piece_of(d, &u);
    const dk_vm high = dk_vi_less(dk_vi_set(DI_PIECES - 1), k & dk_vi_set(DI_FAR_PIECES - 1));
    return (di_mark){di_far_piece(fit->far_values, k, high, u), di_far_piece(fit->far_slopes, k, high, u)};
}

/* At q = 1; 0 = some outcome lies beyond the pieces, and nothing is said. */
DI_INLINE int32_t di_pieces_at(const di_fitted *fit, dk_vf d, di_mark *mark)
{
    dk_vf u;
    if (di_beyond(d, DI_PIECES)) {
        if (di_beyond(d, DI_FAR_PIECES)) return 0;
        *mark = di_far_pieces(fit, d);
        return 1;
    }
    const dk_vi k = di_piece_of(d, &u);
    *mark = (di_mark){di_piece(fit->values, k, u), di_piece(fit->slopes, k, u)};
    return 1;
}

/* 0 = some outcome lies beyond the pieces, and nothing is said. */
DI_INLINE int32_t di_piece_mark(const di_row *row, int64_t i, const di_form *form, const double *constants,
                                const di_fitted *fit, di_outcomes *x, di_mark *mark)
{
    dk_vf mass;
    x->d = di_row_gap(row, i, DK_VF);
    if (form->turn) x->d = form->turn_gap(x->d, constants);
    if (!di_pieces_at(fit, x->d, mark)) return 0;
    mass = x->q = di_mass_at(row->q, i, DK_VF, dk_vf_set(row->one_q));
    if (form->firm) x->p = di_mass_at(row->p, i, DK_VF, dk_vf_set(row->one_p));
    if (form->power)
        mass = dk_vf_exp(dk_vf_set((float)form->power(constants)) *
                         (di_shifted(dk_vf_load(row->q->z + i), row->q) - dk_vf_set(row->log_sum_q)));
    mark->value = mass * mark->value;
    mark->slope = mass * mark->slope;
    return 1;
}
#endif

/* Of a whole vector. */
DI_INLINE di_mark di_whole_mark(const di_row *row, int64_t i, const di_form *form, const double *constants,
                                const di_fitted *fit, di_outcomes *x)
{
#ifdef DK_VF_TABLES
    di_mark mark;
    if (form->fitted & DI_FAR) {
        if (di_piece_mark(row, i, form, constants, fit, x, &mark)) return mark;
        return di_mark_apart(row, i, DK_VF, form, constants, fit, x);
    }
#endif
    return di_dense_mark(row, i, DK_VF, form, constants, fit, x);
}

static float di_dense_centre(const di_row *row, const di_form *form, const double *constants, const di_fitted *fit)
{
    const int64_t top = di_top_id(row->q, row->n), lane = top % DK_VF, begin = top - lane, left = row->n - begin;
    float slopes[DK_VF], masses[DK_VF];
    di_outcomes x;
    const di_mark mark = di_mark_apart(row, begin, left < DK_VF ? left : DK_VF, form, constants, fit, &x);
    dk_vf_store(slopes, mark.slope);
    dk_vf_store(masses, x.q);
    return masses[lane] > 0 ? slopes[lane] / masses[lane] : 0;
}

/* An error of the difference of the log-sums is a shift of log p by it. p - q sums to 0: what it does sum to is the
 * error. A value that is firm is corrected for it, and where the error could turn a sign, or is seen in a gradient, the
 * shift is mended and the row is done again. */
typedef struct di_sums {
    double value, slope, excess; /* excess: p - q */
    dk_vf nearest, farthest;     /* |d| */
} di_sums;

DI_INLINE di_sums di_no_sums(void) { return (di_sums){0, 0, 0, dk_vf_set(INFINITY), dk_vf_set(0)}; }

DI_INLINE void di_watch(di_sums *sums, dk_vf d)
{
    sums->nearest = dk_vf_min(sums->nearest, dk_vf_abs(d));
    sums->farthest = dk_vf_max(sums->farthest, dk_vf_abs(d));
}

/* Values are homogeneous, of degree `power`: their derivative by log p is power*value - slope. */
static inline double di_firm_value(const di_sums *sums, double power)
{
    return sums->value - log1p(sums->excess) * (power * sums->value - sums->slope);
}

/* Mended if it has to be. */
static inline int32_t di_mend(di_row *row, const di_sums *sums)
{
    const double error = log1p(sums->excess), size = fabs(error);
    const double nearest = -(double)dk_vf_highest(dk_vf_set(0) - sums->nearest);
    if (!(nearest < size || size > 1e-7 * (double)dk_vf_highest(sums->farthest))) return 0;
    const double shift = (double)row->gap.shift + (double)row->gap.shift_low + error;
    row->gap.shift = (float)shift;
    row->gap.shift_low = (float)(shift - (double)row->gap.shift);
    return 1;
}

typedef struct di_block {
    dk_vf values, tilt, excess;
} di_block;

DI_INLINE void di_add_mark(const di_form *form, const di_mark *mark, const di_outcomes *x, int64_t i, int64_t lanes,
                           dk_vf centre, float *h, di_sums *sums, di_block *block)
{
    const dk_vf slope = mark->slope - x->q * centre;
    block->values = block->values + di_keep(mark->value, lanes);
    block->tilt = block->tilt + di_keep(slope, lanes);
    if (form->firm) block->excess = block->excess + di_keep(di_excess(x), lanes);
    if (form->firm) di_watch(sums, x->d);
    if (h) di_store(h + i, slope, lanes);
}

/* h may be NULL; sums->slope is what it adds up to. */
DI_INLINE void di_dense_row(const di_row *row, const di_form *form, const double *constants, const di_fitted *fit,
                            dk_vf centre, float *h, di_sums *sums)
{
    const dk_vf zero = dk_vf_set(0);
    const di_ahead ahead = di_ahead_of(row->q, row->p);
    di_outcomes x;
    *sums = di_no_sums();
    for (int64_t begin = 0; begin < row->n; begin += DI_BLOCK) {
        di_block block = {zero, zero, zero};
        const int64_t end = di_block_end(begin, row->n);
        int64_t i = begin;
        for (; i + DK_VF <= end; i += DK_VF) {
            di_fetch(&ahead, i);
            const di_mark mark = di_whole_mark(row, i, form, constants, fit, &x);
            di_add_mark(form, &mark, &x, i, DK_VF, centre, h, sums, &block);
        }
        if (i < end) {
            const di_mark mark = di_mark_apart(row, i, end - i, form, constants, fit, &x);
            di_add_mark(form, &mark, &x, i, end - i, centre, h, sums, &block);
        }
        sums->value += (double)dk_vf_sum(block.values);
        sums->slope += (double)dk_vf_sum(block.tilt);
        sums->excess += (double)dk_vf_sum(block.excess);
    }
}

/* The row's value; *slopes is what h adds up to. */
DI_INLINE double di_dense_value(di_row *row, const di_form *form, const double *constants, const di_fitted *fit,
                                float *h, double *slopes)
{
    di_sums sums;
    float centre;
    int32_t again = form->firm;
    do {
        centre = h || form->firm ? di_dense_centre(row, form, constants, fit) : 0;
        di_dense_row(row, form, constants, fit, dk_vf_set(centre), h, &sums);
        row->kept = 0; /* h lies there now */
    } while (again-- > 0 && di_mend(row, &sums));
    *slopes = sums.slope;
    sums.slope += (double)centre;
    return form->firm ? di_firm_value(&sums, form->power ? form->power(constants) : 1) : sums.value;
}

static __attribute__((noinline, unused)) dk_vf
di_amount_apart(const di_row *row, int64_t i, int64_t lanes,
                di_v (*amount)(const di_outcomes *x, const double *constants), const double *constants)
{
    const di_outcomes x = di_dense_at(row, i, lanes, DI_LOGS);
    return amount(&x, constants);
}

/* Sum of an amount over all outcomes. */
DI_INLINE double di_total(const di_row *row, di_v (*amount)(const di_outcomes *x, const double *constants),
                          const double *constants)
{
    double sum = 0;
    for (int64_t begin = 0; begin < row->n; begin += DI_BLOCK) {
        dk_vf block = dk_vf_set(0);
        DI_VECTORS(begin, di_block_end(begin, row->n))
        {
            const di_outcomes x = di_dense_at(row, i, lanes, DI_LOGS);
            block = block + di_keep(amount(&x, constants), lanes);
        }
        sum += (double)dk_vf_sum(block);
    }
    return sum;
}

#ifdef DK_VF_TABLES
typedef di_v (*di_turn_gap)(di_v d, const double *constants);

DI_INLINE int32_t di_piece_slope(const di_row *row, dk_vf gap, int64_t i, di_turn_gap turn_gap, const double *constants,
                                 dk_vf *slope)
{
    di_mark mark;
    if (!di_pieces_at(row->fit, turn_gap(gap, constants), &mark)) return 0;
    *slope = di_mass_at(row->q, i, DK_VF, dk_vf_set(row->one_q)) * mark.slope;
    return 1;
}
#endif

DI_INLINE dk_vf di_slope_at(di_row *row, const di_row *given, int64_t i, int64_t lanes,
                            di_v (*turn_gap)(di_v d, const double *constants),
                            di_v (*amount)(const di_outcomes *x, const double *constants), const double *constants)
{
    const dk_vf gap = di_row_gap(row, i, lanes);
    dk_vf slope;
    di_keep_gap(row, i, lanes, gap);
#ifdef DK_VF_TABLES
    if (lanes == DK_VF && di_piece_slope(row, gap, i, turn_gap, constants, &slope)) return slope;
#endif
    slope = di_amount_apart(given, i, lanes, amount, constants);
    (void)turn_gap;
    return dk_vf_set(0) - di_keep(slope, lanes);
}

/* As in doubles; the gaps are kept. */
DI_INLINE double di_total_slope(di_row *row, di_v (*turn_gap)(di_v d, const double *constants),
                                di_v (*amount)(const di_outcomes *x, const double *constants), const double *constants)
{
    di_row own = *row; /* which nothing that is stored here could be a part of */
    double sum = 0;
    own.kept = 0;
    for (int64_t begin = 0; begin < own.n; begin += DI_BLOCK) {
        const int64_t end = di_block_end(begin, own.n);
        dk_vf block = dk_vf_set(0);
        int64_t i = begin;
        for (; i + DK_VF <= end; i += DK_VF)
            block = block + di_slope_at(&own, row, i, DK_VF, turn_gap, amount, constants);
        if (i < end) block = block + di_slope_at(&own, row, i, end - i, turn_gap, amount, constants);
        sum += (double)dk_vf_sum(block);
    }
    row->kept = row->room != NULL;
    return sum;
}

DI_INLINE void di_add_distance(di_row *row, int64_t i, int64_t lanes, di_sums *sums, di_block *block)
{
    const dk_vf zero = dk_vf_set(0), half = dk_vf_set(0.5f);
    const di_outcomes x = di_dense_at(row, i, lanes, 0);
    const dk_vf more = di_keep(di_excess(&x), lanes), q = di_keep(half * x.q, lanes);
    const dk_vf less = dk_vf_select(dk_vf_less(more, zero), q, zero);
    block->values = block->values + half * dk_vf_abs(more);
    block->excess = block->excess + more;
    block->tilt = block->tilt + dk_vf_select(dk_vf_less(zero, more), zero - q, less);
    di_watch(sums, x.d);
    di_keep_gap(row, i, lanes, x.d);
}

/* Sum of |p - q|/2; the row is mended, and its gaps are kept. */
DI_INLINE double di_distance(di_row *row)
{
    const dk_vf zero = dk_vf_set(0);
    di_sums sums;
    int32_t again = 1;
    do {
        di_row own = *row; /* which nothing that is stored here could be a part of */
        sums = di_no_sums();
        for (int64_t begin = 0; begin < own.n; begin += DI_BLOCK) {
            const int64_t end = di_block_end(begin, own.n);
            di_block block = {zero, zero, zero};
            int64_t i = begin;
            for (; i + DK_VF <= end; i += DK_VF) di_add_distance(&own, i, DK_VF, &sums, &block);
            if (i < end) di_add_distance(&own, i, end - i, &sums, &block);
            sums.value += (double)dk_vf_sum(block.values);
            sums.slope += (double)dk_vf_sum(block.tilt);
            sums.excess += (double)dk_vf_sum(block.excess);
        }
    } while (again-- > 0 && di_mend(row, &sums));
    row->kept = row->room != NULL;
    return di_firm_value(&sums, 1);
}

/* log of the sum of exp(amount); where it is far below 0 floats do not hold what is left, and it is NaN. */
DI_INLINE double di_log_total(const di_row *row, di_v (*amount)(const di_outcomes *x, const double *constants),
                              const double *constants)
{
    dk_vf top = dk_vf_set(-INFINITY);
    double sum = 0;
    DI_VECTORS(0, row->n)
    top = dk_vf_max(top, di_keep_or(di_amount_apart(row, i, lanes, amount, constants), lanes, -INFINITY));
    const float highest = dk_vf_highest(top);
    if (!(highest > -60)) return NAN;
    for (int64_t begin = 0; begin < row->n; begin += DI_BLOCK) {
        dk_vf block = dk_vf_set(0);
        DI_VECTORS(begin, di_block_end(begin, row->n))
        {
            const dk_vf log = di_amount_apart(row, i, lanes, amount, constants);
            block = block + di_keep(dk_vf_exp_down(log - dk_vf_set(highest)), lanes);
        }
        sum += (double)dk_vf_sum(block);
    }
    return (double)highest + log(sum);
}

static inline void di_dense_of(const di_logits *q, const di_logits *p, int64_t n, di_row *row)
{
    *row = (di_row){q,
                    p,
                    n,
                    di_gap_of(q, p),
                    (float)exp(-q->log_sum),
                    (float)exp(-p->log_sum),
                    (float)q->log_sum,
                    (float)p->log_sum,
                    NULL,
                    NULL,
                    0};
}

static inline void di_refit(di_fitted *fit, void (*of)(const double *options, di_fitted *fit), const double *options)
{
    if (fit->of == of && !memcmp(fit->options, options, sizeof fit->options)) return;
    of(options, fit);
    fit->of = of;
    memcpy(fit->options, options, sizeof fit->options);
}

DI_INLINE int32_t di_divergence(di_builtin_call *call, const distill_loss_rows *rows, const di_form *form,
                                di_eval_fn doubles, void (*fit_of)(const double *options, di_fitted *fit))
{
    const int32_t never = rows->vocab < DI_FLOATS_LEAST || (form->doubles && form->doubles(call->options));
    int32_t rc = DISTILL_CB_OK;
    di_fitted own = {0}, *fit = call->fit ? call->fit : &own;
    if (!call->teacher) return doubles(call, rows);
    if (form->fitted && !never) di_refit(fit, fit_of, call->options);
    for (int64_t r = 0; r < rows->rows && rc == DISTILL_CB_OK; r++) {
        const di_logits *q = &call->student[r], *p = &call->teacher[r];
        float *h = rows->gradient ? rows->gradient + r * rows->vocab : NULL;
        double constants[DI_CONSTANTS] = {0}, value = NAN, slopes = NAN;
        memcpy(constants, call->options, sizeof call->options);
        if (!never && q->low > -INFINITY && p->low > -INFINITY) {
            di_row row;
            di_dense_of(q, p, rows->vocab, &row);
            row.fit = fit;
            row.room = h;
            value = form->prepare ? form->prepare(&row, constants) : 0;
            if (!isnan(value)) value += di_dense_value(&row, form, constants, fit, h, &slopes);
        }
        if (isfinite(value)) rows->value[r] = value < 0 ? 0 : value;
        else rc = di_in_doubles(call, rows, r, doubles, &call->floored);
        if (call->sums) call->sums[r] = isfinite(value) ? slopes : NAN;
    }
    return rc;
}

/* Defines the loss as the table of builtin.c knows it. */
#define DI_DIVERGENCE(name, ...)                                                           \
    static const di_form form_of_##name = {__VA_ARGS__};                                   \
    int32_t DK_VARIANT(di_##name##_doubles)(void *user, const distill_loss_rows *rows);    \
    void DK_VARIANT(di_##name##_fit)(const double *options, di_fitted *fit);               \
    int32_t DK_VARIANT(di_##name)(void *user, const distill_loss_rows *rows);              \
    int32_t DK_VARIANT(di_##name)(void *user, const distill_loss_rows *rows)               \
    {                                                                                      \
        return di_divergence(user, rows, &form_of_##name, DK_VARIANT(di_##name##_doubles), \
                             DK_VARIANT(di_##name##_fit));                                 \
    }

#endif
