/* loop.c - run: steps, evaluations, checkpoints, and what is left behind at the end. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "trainer/trainer_state.h"

/* ---- progress ---- */

static double seconds_left(const di_trainer *t)
{
    int64_t steps = t->set.steps - t->step;
    double left = (double)steps * t->step_seconds;
    if (t->step_seconds <= 0) return -1;
    if (t->eval && t->set.eval_every) left += (double)(steps / t->set.eval_every) * t->eval_seconds;
    return left;
}

void di_progress_fill(const di_trainer *t, int32_t phase, distill_progress *out)
{
    distill_progress p;
    DISTILL_INIT(&p);
    p.phase = phase;
    p.step = t->step;
    p.steps = t->set.steps;
    p.tokens = t->tokens;
    p.count = t->sums.count;
    p.loss = t->last_loss;
    p.learning_rate = t->set.update.learning_rate * dk_schedule_at(&t->set.schedule, t->step > 0 ? t->step - 1 : 0);
    p.grad_norm = t->grad_norm;
    p.tokens_per_second = t->seconds > 0 ? (double)t->tokens / t->seconds : 0;
    p.seconds_left = seconds_left(t);
    p.weight_sum = t->batch ? t->batch->weight_sum : 0;
    uint32_t size = out->struct_size < sizeof p ? out->struct_size : (uint32_t)sizeof p;
    p.struct_size = out->struct_size;
    memcpy(out, &p, size ? size : sizeof p.struct_size);
}

int32_t di_progress_call(di_trainer *t, int32_t phase, dk_error *err)
{
    distill_progress progress;
    if (!t->progress) return DK_OK;
    DISTILL_INIT(&progress);
    di_progress_fill(t, phase, &progress);
    int32_t code = t->progress(t->progress_user, &progress);
    if (code == DISTILL_CB_OK) return DK_OK;
    if (code == DISTILL_CB_CANCEL)
        return dk_fail(err, DK_E_CANCELLED, "stopped by the progress callback after step %lld", (long long)t->step);
    dk_fail(err, DK_E_CALLBACK, "the progress callback returned %d after step %lld", (int)code, (long long)t->step);
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}

/* ---- evaluation ---- */

static int32_t evaluation_progress(void *user, int64_t done, int64_t total)
{
    (void)done, (void)total;
    return di_progress_call(user, DISTILL_PHASE_EVALUATING, NULL) != DK_OK;
}

int32_t di_trainer_evaluate(di_trainer *t, di_teacher *student, int64_t tokens, di_evaluation *out, dk_error *err)
{
    di_evaluate_args args = {.backend = t->backend,
                             .student = student,
                             .teacher = t->teacher,
                             .data = t->eval,
                             .tokens = tokens,
                             .memory = t->set.loss_memory,
                             .cancel = &t->cancel,
                             .progress = evaluation_progress,
                             .user = t};
    return di_evaluate(&args, out, err);
}

static int32_t evaluate_now(di_trainer *t, int32_t *stop, dk_error *err)
{
    di_teacher *live = NULL;
    di_evaluation evaluation;
    int32_t rc;
    DK_TRY(di_student_as_teacher(t->student, &live, err));
    DK_TRY(di_trainer_evaluate(t, live, t->set.eval_tokens, &evaluation, err));
    t->eval_seconds = evaluation.seconds;
    DK_TRY(di_metrics_evaluation(t, &evaluation, err));
    /* With a teacher that is being imitated its distance is what counts; with labels alone their likelihood. */
    double value = t->uses_teacher ? evaluation.kl_mean : evaluation.nats;
    dk_log(t->host, DK_LOG_INFO, "trainer", "step %lld: perplexity %.4g, forward_kl %.4g", (long long)t->step,
           exp(evaluation.nats), evaluation.kl_mean);
    if (t->best.step < 0 || value < t->best.value) {
        t->best = (di_best){t->step, value, 0};
        if (t->set.keep_best) DK_TRY(di_checkpoint_best(t, err));
    } else {
        t->best.without++;
    }
    *stop = t->set.patience && t->best.without >= t->set.patience;
out:
    di_teacher_release(live);
    return rc;
}

/* ---- the loop ---- */

static int32_t interrupted(di_trainer *t, dk_error *err)
{
    dk_error problem;
    if (!t->set.output)
        return dk_fail(err, DK_E_CANCELLED, "stopped after step %lld of %lld", (long long)t->step,
                       (long long)t->set.steps);
    if (di_checkpoint_write(t, &problem) != DK_OK)
        return dk_fail(err, problem.code, "stopped after step %lld, and its checkpoint could not be written: %s",
                       (long long)t->step, problem.message);
    return dk_fail(err, DK_E_CANCELLED,
                   "stopped after step %lld of %lld; the checkpoint is in %s/checkpoints, resume goes on from there",
                   (long long)t->step, (long long)t->set.steps, t->set.output);
}

static int32_t after_step(di_trainer *t, int32_t *stop, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_metrics_step(t, err));
    DK_TRY(di_progress_call(t, DISTILL_PHASE_TRAINING, err));
    if (t->eval && t->set.eval_every && t->step % t->set.eval_every == 0) DK_TRY(evaluate_now(t, stop, err));
    if (t->set.output && t->set.checkpoint_every && t->step % t->set.checkpoint_every == 0 && t->step < t->set.steps) {
        DK_TRY(di_progress_call(t, DISTILL_PHASE_SAVING, err));
        DK_TRY(di_checkpoint_write(t, err));
    }
out:
    return rc;
}

static int32_t train(di_trainer *t, dk_error *err)
{
    int32_t rc = DK_OK, stop = t->set.patience && t->best.without >= t->set.patience;
    while (!stop && t->step < t->set.steps) {
        if (t->cancel || dk_host_cancelled(t->host)) return interrupted(t, err);
        rc = di_window_step(t, NULL, err);
        if (rc == DK_E_END) break; /* a stream ended before the steps did */
        if (rc == DK_OK) rc = after_step(t, &stop, err);
        if (rc == DK_E_CANCELLED) return interrupted(t, err);
        if (rc != DK_OK) return rc;
    }
    dk_error_clear(err);
    return DK_OK;
}

/* The student as its files are, read back: what is reported is what was saved. */
static int32_t finish(di_trainer *t, dk_error *err)
{
    di_teacher *saved = NULL;
    int32_t rc;
    DK_TRY(di_progress_call(t, DISTILL_PHASE_SAVING, err));
    if (t->set.output) {
        if (t->set.keep_best && t->best.step >= 0 && t->best.step != t->step) DK_TRY(di_checkpoint_load_best(t, err));
        DK_TRY(di_output_student(t, err));
        if (di_student_model(t->student)) DK_TRY(di_teacher_open(t->backend, t->set.output, NULL, &saved, err));
    }
    if (!saved) {
        rc = di_student_as_teacher(t->student, &saved, err);
        if (rc == DK_E_UNSUPPORTED) rc = DK_OK; /* a host's student that cannot score: no numbers about it */
        if (rc != DK_OK) goto out;
        dk_error_clear(err);
    }
    DK_TRY(di_progress_call(t, DISTILL_PHASE_EVALUATING, err));
    if (t->eval && saved) {
        DK_TRY(di_trainer_evaluate(t, saved, 0, &t->result, err));
        t->has_result = 1;
    }
    DK_TRY(di_result_make(t, saved, err));
    if (t->set.output) {
        char *path = dk_path_join(t->host, t->set.output, "result.json");
        rc = path ? dk_file_replace(t->host, path, t->result_json.data, t->result_json.size, err)
                  : dk_fail_nomem(err, 64);
        dk_free(t->host, path);
    }
out:
    di_teacher_release(saved);
    return rc;
}

int32_t di_trainer_run(di_trainer *t, dk_error *err)
{
    int32_t rc;
    if (t->stage != DI_STAGE_IDLE)
        return dk_fail(err, DK_E_STAGE, "a window is open: run goes between windows, after apply");
    if (t->finished) return dk_fail(err, DK_E_END, "this run is finished");
    if (t->set.output) DK_TRY(di_output_prepare(t, err));
    DK_TRY(train(t, err));
    if ((rc = finish(t, err)) == DK_E_CANCELLED) return interrupted(t, err);
    if (rc == DK_OK) t->finished = 1;
out:
    return rc;
}
