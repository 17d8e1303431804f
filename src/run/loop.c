/* loop.c - run: steps, evaluations, checkpoints, and what is left behind at the end. */
#include <math.h>
#include <string.h>

#include "run/run_state.h"

/* ---- evaluation ---- */

static int32_t evaluate_now(di_run *run, int32_t *stop, dk_error *err)
{
    di_trainer *t = run->trainer;
    di_teacher *live = NULL;
    di_evaluation evaluation;
    int32_t rc;
    DK_TRY(di_student_as_teacher(t->student, &live, err));
    DK_TRY(di_run_evaluate(run, live, run->evaluation.tokens, &evaluation, err));
    t->progress.eval_seconds = evaluation.seconds;
    DK_TRY(di_metrics_evaluation(&run->output, t->counters.step, &evaluation, err));
    /* With a teacher that is being imitated its distance is what counts; with labels alone their likelihood. */
    double value = t->objective.uses_teacher ? evaluation.kl_mean : evaluation.nats;
    dk_log(t->host, DK_LOG_INFO, "trainer", "step %lld: perplexity %.4g, forward_kl %.4g", (long long)t->counters.step,
           exp(evaluation.nats), evaluation.kl_mean);
    if (run->evaluation.best.step < 0 || value < run->evaluation.best.value) {
        run->evaluation.best = (di_best){t->counters.step, value, 0};
        if (run->evaluation.keep_best) DK_TRY(di_checkpoint_best(run, err));
    } else {
        run->evaluation.best.without++;
    }
    *stop = run->evaluation.patience && run->evaluation.best.without >= run->evaluation.patience;
out:
    di_teacher_release(live);
    return rc;
}

/* ---- the loop ---- */

static int32_t interrupted(di_run *run, dk_error *err)
{
    di_trainer *t = run->trainer;
    dk_error problem;
    if (!run->output.path)
        return dk_fail(err, DK_E_CANCELLED, "stopped after step %lld of %lld", (long long)t->counters.step,
                       (long long)t->steps);
    if (di_checkpoint_write(run, &problem) != DK_OK)
        return dk_fail(err, problem.code, "stopped after step %lld, and its checkpoint could not be written: %s",
                       (long long)t->counters.step, problem.message);
    return dk_fail(err, DK_E_CANCELLED,
                   "stopped after step %lld of %lld; the checkpoint is in %s/checkpoints, resume goes on from there",
                   (long long)t->counters.step, (long long)t->steps, run->output.path);
}

static int32_t after_step(di_run *run, int32_t *stop, dk_error *err)
{
    di_trainer *t = run->trainer;
    int32_t rc;
    DK_TRY(di_metrics_step(&run->output, t, err));
    DK_TRY(di_progress_call(t, DISTILL_PHASE_TRAINING, err));
    if (t->data.eval && run->evaluation.every && t->counters.step % run->evaluation.every == 0)
        DK_TRY(evaluate_now(run, stop, err));
    if (run->output.path && run->checkpoints.every && t->counters.step % run->checkpoints.every == 0 &&
        t->counters.step < t->steps) {
        DK_TRY(di_progress_call(t, DISTILL_PHASE_SAVING, err));
        DK_TRY(di_checkpoint_write(run, err));
    }
out:
    return rc;
}

static int32_t train(di_run *run, dk_error *err)
{
    di_trainer *t = run->trainer;
    int32_t rc = DK_OK, stop = run->evaluation.patience && run->evaluation.best.without >= run->evaluation.patience;
    while (!stop && t->counters.step < t->steps) {
        if (t->cancel || dk_host_cancelled(t->host)) return interrupted(run, err);
        rc = di_window_step(t, NULL, err);
        if (rc == DK_E_END) break; /* a stream ended before the steps did */
        if (rc == DK_OK) rc = after_step(run, &stop, err);
        if (rc == DK_E_CANCELLED) return interrupted(run, err);
        if (rc != DK_OK) return rc;
    }
    dk_error_clear(err);
    return DK_OK;
}

/* The student as its files are, read back: what is reported is what was saved. */
static int32_t finish(di_run *run, dk_error *err)
{
    di_trainer *t = run->trainer;
    di_teacher *saved = NULL;
    int32_t rc;
    DK_TRY(di_progress_call(t, DISTILL_PHASE_SAVING, err));
    if (run->output.path) {
        if (run->evaluation.keep_best && run->evaluation.best.step >= 0 &&
            run->evaluation.best.step != t->counters.step)
            DK_TRY(di_checkpoint_load_best(run, err));
        DK_TRY(di_output_student(&run->output, t->student, err));
        if (di_student_model(t->student)) DK_TRY(di_teacher_open(t->backend, run->output.path, NULL, &saved, err));
    }
    if (!saved) {
        rc = di_student_as_teacher(t->student, &saved, err);
        if (rc == DK_E_UNSUPPORTED) rc = DK_OK; /* a host's student that cannot score: no numbers about it */
        if (rc != DK_OK) goto out;
        dk_error_clear(err);
    }
    DK_TRY(di_progress_call(t, DISTILL_PHASE_EVALUATING, err));
    if (t->data.eval && saved) {
        DK_TRY(di_run_evaluate(run, saved, 0, &run->evaluation.result, err));
        run->evaluation.has_result = 1;
    }
    DK_TRY(di_result_make(run, saved, err));
    if (run->output.path) DK_TRY(di_output_result(&run->output, &run->result_json, err));
out:
    di_teacher_release(saved);
    return rc;
}

int32_t di_run_loop(di_run *run, dk_error *err)
{
    di_trainer *t = run->trainer;
    int32_t rc;
    if (t->window.stage != DI_STAGE_IDLE)
        return dk_fail(err, DK_E_STAGE, "a window is open: run goes between windows, after apply");
    if (run->finished) return dk_fail(err, DK_E_END, "this run is finished");
    if (run->output.path) DK_TRY(di_output_prepare(&run->output, run->resumed, err));
    DK_TRY(train(run, err));
    if ((rc = finish(run, err)) == DK_E_CANCELLED) return interrupted(run, err);
    if (rc == DK_OK) run->finished = 1;
out:
    return rc;
}
