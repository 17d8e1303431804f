/* in_doubles.h - a dense row that floats do not hold goes to the loss's doubles, alone, with log-sums of its own. */
#ifndef DI_LOSS_KERNELS_IN_DOUBLES_H
#define DI_LOSS_KERNELS_IN_DOUBLES_H

#include "loss/kernels/loss_rows.h"

static inline int32_t di_in_doubles(const di_builtin_call *call, const distill_loss_rows *rows, int64_t r,
                                    di_eval_fn doubles, int64_t *floored)
{
    const di_logits *given[2] = {&call->student[r], &call->teacher[r]};
    distill_loss_rows one = *rows;
    di_builtin_call exact = *call;
    di_logits logits[2] = {{0}};
    for (int i = 0; i < 2; i++)
        DK_VARIANT(di_rows).log_sum_double(given[i]->z, rows->vocab, 1 / given[i]->factor, &logits[i]);
    exact.student = &logits[0];
    exact.teacher = &logits[1];
    exact.floored = 0;
    one.rows = 1;
    one.value += r;
    if (one.labels) one.labels += r;
    if (one.gradient) one.gradient += r * rows->vocab;
    const int32_t rc = doubles(&exact, &one);
    *floored += exact.floored;
    return rc;
}

#endif
