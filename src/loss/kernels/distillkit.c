/* DistillKit's kl. Of a dense teacher it is forward KL. Of top-k targets: the teacher's k ids are made to sum to 1
 * ("zero"), and sum p (log p - log q) over them is all; h = -p. Or ("symmetric_uniform") what both leave is one outcome
 * more, whose logarithms are of 1 - sum, never less than 1e-6; where the student's is held there it has no slope. */
#include "loss/kernels/listed.h"

#define LEAST 1e-6

enum { SYMMETRIC_UNIFORM };

int32_t DK_VARIANT(di_forward_kl)(void *user, const distill_loss_rows *rows);

/* What is taken off power * log p. */
static double shift_of(const di_pair *pair, double power, int32_t symmetric)
{
    if (!symmetric) return di_listed_log_sum(pair, power);
    if (fabs(power - 1) < 1e-9) return 0;
    const double left = fmin(fmax(1 - exp(di_listed_log_sum(pair, 1)), 0), 1);
    return log(exp(di_listed_log_sum(pair, power)) + pow(left, power));
}

static double log_left(double log_sum) { return log(-expm1(fmin(log_sum, -LEAST))); }

/* The outcome beside the ids: its value, and in *slope what log q of an id adds to h, over q. */
static double tail_of(const di_pair *pair, double power, double shift, double *slope)
{
    const double mine = di_listed_log_q(pair), log_p = log_left(di_listed_log_sum(pair, power) - shift);
    const double p = exp(log_p), log_q = log_left(mine);
    *slope = 0;
    if (!(p > LEAST)) return 0;
    if (mine <= -LEAST) *slope = p / exp(log_q);
    return p * (log_p - log_q);
}

static double row_of(const di_pair *pair, double power, int32_t symmetric, float *h)
{
    const double shift = shift_of(pair, power, symmetric);
    double slope = 0, sum = symmetric ? tail_of(pair, power, shift, &slope) : 0;
    for (int64_t j = 0; j < pair->k; j++) {
        if (pair->ids[j] < 0) continue;
        const double log_p = power * di_listed_log_p(pair, j) - shift, log_q = di_log_at(pair->q, pair->ids[j]);
        const double p = exp(log_p);
        if (p > 0) sum += p * (log_p - log_q);
        if (h) h[pair->ids[j]] = (float)(slope * exp(log_q) - p);
    }
    return sum;
}

DI_LOSS_EVAL(distillkit)
{
    di_builtin_call *call = user;
    if (call->teacher) return DK_VARIANT(di_forward_kl)(user, rows);
    for (int64_t r = 0; r < rows->rows; r++) {
        di_pair pair;
        DK_VARIANT(di_pair_of)(call, rows, r, &pair);
        rows->value[r] = row_of(&pair, di_listed_power(rows), call->options[SYMMETRIC_UNIFORM] != 0,
                                rows->gradient ? rows->gradient + r * rows->vocab : NULL);
    }
    return DISTILL_CB_OK;
}
