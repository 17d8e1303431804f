/* Direct preference optimisation (Rafailov et al. 2023) and its forms: a pair's value hangs on what its two sequences
 * add up to, so that the sums come first. The value is shared out evenly over the rows of both sides; h is one number
 * at the label. */
#include "loss/kernels/loss_rows.h"
#include "loss/kernels/pair_point.h"

static void measure_rows(const di_builtin_call *call, const distill_loss_rows *rows)
{
    for (int64_t r = 0; r < rows->rows; r++) {
        double *out = call->measured + r * DI_PAIR_SUMS;
        out[DI_PAIR_LOG_PROB] = di_log_at(&call->student[r], rows->labels[r]);
        out[DI_PAIR_ROWS] = 1;
        out[DI_PAIR_WEIGHT] = (double)rows->weights[r];
    }
}

DI_LOSS_EVAL(dpo)
{
    di_builtin_call *call = user;
    const di_pairs *pairs = call->pairs;
    if (call->measured) measure_rows(call, rows);
    for (int64_t r = 0; r < rows->rows && !call->measured; r++) {
        const int64_t sequence = rows->sequences[r], rejected = pairs->sides[sequence] == DISTILL_REJECTED;
        double unused, *sum = di_sum_of(call, r, &unused);
        *sum = 0;
        if (!pairs->sides[sequence]) continue;
        const di_pair_point point = di_pair_at(pairs, rows->sequence_sums, sequence - rejected, call->options);
        rows->value[r] = pairs->scale * point.value / point.rows;
        if (!rows->gradient) continue;
        const float h = (float)(pairs->scale * point.slope[rejected]);
        rows->gradient[r * rows->vocab + rows->labels[r]] = h;
        *sum = (double)h;
    }
    return DISTILL_CB_OK;
}
