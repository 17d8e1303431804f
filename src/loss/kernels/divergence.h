/* divergence.h - a loss that compares two distributions outcome by outcome, written as two short functions.
 *
 * A pair is what student and teacher say of one row: over the ids where the teacher is dense, else over the ids that a
 * target lists and the rest of the vocabulary as one outcome more. A loss gives the value of an outcome and dL/dlog q
 * there (`point`), as vectors of doubles, and what it must know of the whole row before (`prepare`). Everything else is
 * here, once: logarithms are differences of logits, p = 0 is exactly 0, the student's rest is a log-sum-exp. */
#ifndef DI_LOSS_KERNELS_DIVERGENCE_H
#define DI_LOSS_KERNELS_DIVERGENCE_H

#include "loss/kernels/loss_rows.h"

enum { DI_CONSTANTS = DI_LOSS_OPTIONS + 4 };

typedef struct di_pair {
    const di_logits *q, *p; /* p NULL = listed */
    int64_t n;              /* ids */
    const int32_t *ids;     /* [k], < 0 = unused */
    const float *values;    /* [k] log p, or counts of draws; NULL = one id that has it all */
    int64_t k;
    int32_t counts; /* values are counts, of which log_drawn is the sum's logarithm */
    double log_drawn;
    di_rest rest;
    double rest_log_p; /* -inf where the ids are all there is */
    /* log p = -inf and log q = -inf count as these where a loss would be infinite; of the student -inf = it may not */
    double floor, student_floor;
    int32_t label; /* -1 = none */
} di_pair;

typedef struct di_outcomes { /* DK_VD of them; lanes behind the last have p = q = 0 */
    dk_vd log_p, log_q;      /* raised to the floors */
    dk_vd p, q;
    dk_vd d;         /* log p - log q, and far below 0 where p = 0 */
    dk_vl none, out; /* log p, log q is -inf */
} di_outcomes;

typedef struct di_mark {
    dk_vd value, slope; /* slope: dL/dlog q, up to a multiple of q that is the same for the whole row */
} di_mark;

typedef di_mark (*di_point)(const di_outcomes *x, const double *constants);
/* Fills constants from the options in front of them; what it returns is added to the sum of the outcomes' values. */
typedef double (*di_prepare)(const di_pair *pair, double *constants);
typedef dk_vd (*di_amount)(const di_outcomes *x, const double *constants);

static inline di_outcomes di_outcomes_of(const di_pair *pair, dk_vd log_p, dk_vd log_q)
{
    const dk_vd zero = dk_vd_set(0), low = dk_vd_set(-708), never = dk_vd_set(-1e300);
    const double excluded = pair->student_floor > -INFINITY ? pair->student_floor : pair->floor;
    di_outcomes x;
    x.none = dk_vd_less(log_p, never);
    x.out = dk_vd_less(log_q, never);
    x.p = dk_vd_select(dk_vd_less(log_p, low), zero, dk_vd_exp(log_p));
    x.q = dk_vd_select(dk_vd_less(log_q, low), zero, dk_vd_exp(log_q));
    x.log_p = dk_vd_select(x.none, dk_vd_set(pair->floor), log_p);
    x.log_q = dk_vd_select(x.out, dk_vd_set(excluded), log_q);
    x.d = dk_vd_select(x.none, never, x.log_p - x.log_q);
    return x;
}

/* p - q, exact also where they are almost the same */
static inline dk_vd di_excess(const di_outcomes *x)
{
    const dk_vl near = dk_vd_less(dk_vd_abs(x->d), dk_vd_set(0.5));
    return dk_vd_select(near & ~x->none, x->q * dk_vd_expm1_near(x->d), x->p - x->q);
}

/* e^d - 1, finite */
static inline dk_vd di_growth(dk_vd d) { return dk_vd_expm1(dk_vd_max(dk_vd_min(d, dk_vd_set(700)), dk_vd_set(-700))); }

/* p*(log p - log q) - p + q, never negative */
static inline dk_vd di_forward(const di_outcomes *x)
{
    const dk_vd d = x->d, far = x->p * d - di_excess(x);
    const dk_vd curved = d * d * (0.5 - d * (1.0 / 6 - d * (1.0 / 24 - d * (1.0 / 120 - d * (1.0 / 720)))));
    return dk_vd_select(dk_vd_less(dk_vd_abs(d), dk_vd_set(0.03)) & ~x->none, x->p * curved, far);
}

/* q*(log q - log p) - q + p, never negative where p is not raised to the floor */
static inline dk_vd di_reverse(const di_outcomes *x)
{
    const dk_vd d = x->log_p - x->log_q, far = di_excess(x) - x->q * d;
    const dk_vd curved = d * d * (0.5 + d * (1.0 / 6 + d * (1.0 / 24 + d * (1.0 / 120 + d * (1.0 / 720)))));
    return dk_vd_select(dk_vd_less(dk_vd_abs(d), dk_vd_set(0.03)) & ~x->none, x->q * curved, far);
}

/* Their slopes. */
static inline dk_vd di_forward_slope(const di_outcomes *x) { return dk_vd_set(0) - di_excess(x); }

static inline dk_vd di_reverse_slope(const di_outcomes *x) { return x->q * (x->log_q - x->log_p); }

/* ---- outcomes of a pair ---- */

static inline int64_t di_pair_count(const di_pair *pair) { return pair->p ? pair->n : pair->k; } /* without the rest */

static inline dk_vd di_logs_at(const di_logits *logits, int64_t i, int64_t left)
{
    dk_vd z = dk_vd_take(logits->z + i, left < DK_VD ? left : DK_VD, -INFINITY);
    return (z - dk_vd_set((double)logits->top)) * dk_vd_set(logits->factor) - dk_vd_set(logits->log_sum);
}

static inline double di_listed_log_p(const di_pair *pair, int64_t j)
{
    if (pair->ids[j] < 0) return -INFINITY;
    if (!pair->values) return 0;
    return pair->counts ? log((double)pair->values[j]) - pair->log_drawn : (double)pair->values[j];
}

static inline void di_listed_logs(const di_pair *pair, int64_t j, dk_vd *log_p, dk_vd *log_q)
{
    double p[DK_VD], q[DK_VD];
    for (int64_t lane = 0; lane < DK_VD; lane++) {
        const int32_t used = j + lane < pair->k && pair->ids[j + lane] >= 0;
        p[lane] = used ? di_listed_log_p(pair, j + lane) : -INFINITY;
        q[lane] = used ? di_log_at(pair->q, pair->ids[j + lane]) : -INFINITY;
    }
    *log_p = dk_vd_load(p);
    *log_q = dk_vd_load(q);
}

static inline dk_vd di_first_lane(double first)
{
    double lanes[DK_VD];
    lanes[0] = first;
    for (int i = 1; i < DK_VD; i++) lanes[i] = -INFINITY;
    return dk_vd_load(lanes);
}

static inline void di_logs_of(const di_pair *pair, int64_t i, dk_vd *log_p, dk_vd *log_q)
{
    if (pair->p) {
        *log_p = di_logs_at(pair->p, i, pair->n - i);
        *log_q = di_logs_at(pair->q, i, pair->n - i);
    } else if (i < 0) {
        *log_p = di_first_lane(pair->rest_log_p);
        *log_q = di_first_lane(pair->rest.log_q);
    } else {
        di_listed_logs(pair, i, log_p, log_q);
    }
}

/* Those from i on; i < 0 = the rest. */
static inline di_outcomes di_outcomes_at(const di_pair *pair, int64_t i)
{
    dk_vd log_p, log_q;
    di_logs_of(pair, i, &log_p, &log_q);
    return di_outcomes_of(pair, log_p, log_q);
}

/* Sum of an amount over all outcomes. */
static inline double di_total(const di_pair *pair, di_amount amount, const double *constants)
{
    const int64_t count = di_pair_count(pair);
    dk_vd sum = dk_vd_set(0);
    for (int64_t i = pair->p ? 0 : -DK_VD; i < count; i += DK_VD) {
        const di_outcomes x = di_outcomes_at(pair, i);
        sum = sum + amount(&x, constants);
    }
    return dk_vd_sum(sum);
}

/* log of the sum of exp(amount), where the amounts are logarithms far below 0. */
static inline double di_log_total(const di_pair *pair, di_amount amount, const double *constants)
{
    const int64_t count = di_pair_count(pair);
    double highest = -1e300;
    for (int64_t pass = 0;; pass++) {
        dk_vd top = dk_vd_set(-1e300), sum = dk_vd_set(0);
        double lanes[DK_VD];
        for (int64_t i = pair->p ? 0 : -DK_VD; i < count; i += DK_VD) {
            const di_outcomes x = di_outcomes_at(pair, i);
            const dk_vd log = amount(&x, constants);
            top = dk_vd_max(top, log);
            if (pass) sum = sum + dk_vd_exp(log - dk_vd_set(highest));
        }
        if (pass) return highest + log(dk_vd_sum(sum));
        dk_vd_store(lanes, top);
        for (int i = 0; i < DK_VD; i++) highest = fmax(highest, lanes[i]);
    }
}

/* The teacher's side of the row, whatever its kind. */
void DK_VARIANT(di_pair_of)(const di_builtin_call *call, const distill_loss_rows *rows, int64_t row, di_pair *pair);
/* log q of the rest of the ids that stand in the pair. */
void DK_VARIANT(di_find_rest)(di_pair *pair);
/* h of the rest's ids: its slope, shared out as the student does. */
void DK_VARIANT(di_spread_rest)(const di_pair *pair, double slope, float *h);
/* The student's likeliest outcome; -1 = the rest. */
int64_t DK_VARIANT(di_top_of)(const di_pair *pair);
/* How many outcomes the student excludes that the teacher holds possible. Counts of log p = -inf where q > 0 go to
 * *floored. */
int64_t DK_VARIANT(di_pair_excludes)(const di_pair *pair, int64_t *floored);

/* ---- the loss ---- */

static inline double di_slope_at(const di_pair *pair, int64_t i, di_point point, const double *constants)
{
    const int64_t lane = i < 0 ? 0 : i % DK_VD;
    const di_outcomes x = di_outcomes_at(pair, i < 0 ? -DK_VD : i - lane);
    const di_mark mark = point(&x, constants);
    double slopes[DK_VD], q[DK_VD];
    dk_vd_store(slopes, mark.slope);
    dk_vd_store(q, x.q);
    return q[lane] > 0 ? slopes[lane] / q[lane] : 0;
}

static inline void di_put(const di_pair *pair, int64_t i, dk_vd slope, float *h)
{
    double lanes[DK_VD];
    if (pair->p) {
        di_give(h + i, slope, pair->n - i < DK_VD ? pair->n - i : DK_VD);
        return;
    }
    dk_vd_store(lanes, slope);
    if (i < 0) DK_VARIANT(di_spread_rest)(pair, lanes[0], h);
    for (int64_t j = 0; i >= 0 && j < DK_VD && i + j < pair->k; j++)
        if (pair->ids[i + j] >= 0) h[pair->ids[i + j]] = (float)lanes[j];
}

/* h is 0 at the student's likeliest outcome: where it is sure of one, nothing cancels. */
static inline double di_divergence_row(const di_pair *pair, di_point point, const double *constants, float *h)
{
    const int64_t count = di_pair_count(pair);
    const dk_vd centre = dk_vd_set(h ? di_slope_at(pair, DK_VARIANT(di_top_of)(pair), point, constants) : 0);
    dk_vd sum = dk_vd_set(0);
    for (int64_t i = pair->p ? 0 : -DK_VD; i < count; i += DK_VD) {
        const di_outcomes x = di_outcomes_at(pair, i);
        const di_mark mark = point(&x, constants);
        sum = sum + mark.value;
        if (h) di_put(pair, i, mark.slope - x.q * centre, h);
    }
    return dk_vd_sum(sum);
}

static inline int32_t di_divergence(di_builtin_call *call, const distill_loss_rows *rows, di_prepare prepare,
                                    di_point point)
{
    for (int64_t r = 0; r < rows->rows; r++) {
        double constants[DI_CONSTANTS] = {0}, value = 0;
        di_pair pair;
        DK_VARIANT(di_pair_of)(call, rows, r, &pair);
        memcpy(constants, call->options, sizeof call->options);
        if (prepare) value = prepare(&pair, constants);
        value += di_divergence_row(&pair, point, constants, rows->gradient ? rows->gradient + r * rows->vocab : NULL);
        const int64_t excluded = DK_VARIANT(di_pair_excludes)(&pair, call->floors ? &call->floored : NULL);
        if (excluded && call->student_floor == -INFINITY) value = INFINITY;
        rows->value[r] = value < 0 ? 0 : value; /* by rounding; NaN stays NaN */
    }
    return DISTILL_CB_OK;
}

/* Defines the loss as the table of builtin.c knows it; prepare may be NULL. */
#define DI_DIVERGENCE(name, prepare, point)                                   \
    int32_t DK_VARIANT(di_##name)(void *user, const distill_loss_rows *rows); \
    int32_t DK_VARIANT(di_##name)(void *user, const distill_loss_rows *rows)  \
    {                                                                         \
        return di_divergence(user, rows, prepare, point);                     \
    }

#endif
