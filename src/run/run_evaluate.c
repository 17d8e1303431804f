/* run_evaluate.c - the student on the held-out data, while it trains and at the end. */
#include "run/run_state.h"

static int32_t evaluation_progress(void *user, int64_t done, int64_t total)
{
    (void)done, (void)total;
    return di_progress_call(user, DISTILL_PHASE_EVALUATING, NULL) != DK_OK;
}

int32_t di_run_evaluate(di_run *run, di_teacher *student, int64_t tokens, di_evaluation *out, dk_error *err)
{
    di_trainer *t = run->trainer;
    di_evaluate_args args = {.backend = t->backend,
                             .student = student,
                             .teacher = t->teacher,
                             .data = t->data.eval,
                             .tokens = tokens,
                             .memory = t->objective.memory,
                             .cancel = &t->cancel,
                             .progress = evaluation_progress,
                             .user = t};
    return di_evaluate(&args, out, err);
}
