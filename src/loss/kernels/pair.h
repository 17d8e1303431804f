/* pair.h - what student and teacher say of one row, in doubles: over the ids where the teacher is dense, else over the
 * ids that a target lists and the rest of the vocabulary as one outcome more. Logarithms are differences of logits,
 * p = 0 is exactly 0, the student's rest is a log-sum-exp. */
#ifndef DI_LOSS_KERNELS_PAIR_H
#define DI_LOSS_KERNELS_PAIR_H

#include "loss/kernels/outcomes.h"

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
    x.fall = dk_vd_expm1(dk_vd_set(0) - dk_vd_abs(x.d));
    return x;
}

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

/* The logarithms, -inf in a lane, if it is one. */
static inline dk_vd di_without(dk_vd logs, int64_t lane)
{
    double lanes[DK_VD];
    if (lane < 0 || lane >= DK_VD) return logs;
    dk_vd_store(lanes, logs);
    lanes[lane] = -INFINITY;
    return dk_vd_load(lanes);
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

#endif
