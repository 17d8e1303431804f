/* loop.c - run: steps, evaluations, checkpoints, and what is left behind at the end. */
#include "evaluate/samples.h"
#include "run/run_state.h"

/* ---- stopped ---- */

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

/* A step that fails changes nothing: the weights before it are good, and are kept. */
static int32_t failed(di_run *run, dk_error *err)
{
    int64_t step = run->trainer->counters.step;
    dk_error first = *err, problem;
    if (!run->output.path || step == 0) return first.code;
    if (di_checkpoint_write(run, &problem) != DK_OK) {
        di_run_warn(run, "the weights of step %lld could not be kept: %s", (long long)step, problem.message);
        return first.code;
    }
    dk_fail(err, first.code, "%s; the weights of step %lld are kept in %s/checkpoints", first.message, (long long)step,
            run->output.path);
    err->user_code = first.user_code;
    err->position = first.position;
    return first.code;
}

/* ---- the steps ---- */

static int32_t checkpoint_due(const di_run *run)
{
    const di_run_checkpoints *c = &run->checkpoints;
    int64_t step = run->trainer->counters.step;
    if (!run->output.path || step >= run->trainer->steps) return 0;
    return (c->every && step % c->every == 0) || (c->seconds > 0 && dk_seconds() - c->written >= c->seconds);
}

/* What the host says of this step, what signals said meanwhile, and what the clock says: of any rank. */
static int32_t hear(di_run *run, dk_error *err)
{
    di_trainer *t = run->trainer;
    int32_t rc = di_progress_call(t, DISTILL_PHASE_TRAINING, err);
    run->asked = checkpoint_due(run) ? DI_ASKED_CHECKPOINT : 0;
    if (dk_ranks(run->host) > 1 && rc == DK_OK && t->counters.step < t->steps &&
        (t->cancel || dk_host_cancelled(run->host)))
        rc = dk_fail(err, DK_E_CANCELLED, "cancelled after step %lld", (long long)t->counters.step);
    return dk_ranks_meet(run->host, rc, &run->asked, err);
}

/* Training goes on without it: what it needs is still here, and may fit at the next try. */
static int32_t write_checkpoint(di_run *run, dk_error *err)
{
    dk_error problem;
    int32_t rc = dk_ranks_agree(run->host, di_progress_call(run->trainer, DISTILL_PHASE_SAVING, err), err);
    if (rc != DK_OK) return rc;
    if (di_checkpoint_write(run, &problem) != DK_OK) {
        di_run_warn(run, "no checkpoint of step %lld, training goes on: %s", (long long)run->trainer->counters.step,
                    problem.message);
        run->checkpoints.written = dk_seconds();
    }
    return DK_OK;
}

static int32_t no_better(const di_run *run)
{
    return run->evaluation.patience && run->evaluation.best.without >= run->evaluation.patience;
}

/* That of the last step is the one of the saved files, unless the weights to save hang on it. */
static int32_t evaluation_waits(const di_run *run)
{
    return run->trainer->counters.step >= run->trainer->steps && !run->evaluation.keep_best &&
           run->evaluation.tokens == 0;
}

/* What follows a step; after a resume, what was cut short of it. */
static int32_t after_step(di_run *run, dk_error *err)
{
    int32_t rc = DK_OK;
    if (di_run_evaluation_due(run) && !evaluation_waits(run)) DK_TRY(di_run_evaluate_now(run, err));
    if (run->asked & DI_ASKED_CHECKPOINT) DK_TRY(write_checkpoint(run, err));
out:
    return rc;
}

static int32_t make_step(di_run *run, dk_error *err)
{
    int32_t rc;
    run->evaluation.has_result = 0;
    DK_TRY(di_window_step(run->trainer, NULL, err));
    di_meter_poll(&run->meter);
    di_metrics_step(run);
    di_run_page(run, 1);
    DK_TRY(hear(run, err));
    DK_TRY(after_step(run, err));
out:
    return rc;
}

/* Between steps; of several ranks one alone does not stop: hear tells all. */
static int32_t stopped(const di_run *run)
{
    return dk_ranks(run->host) == 1 && (run->trainer->cancel || dk_host_cancelled(run->host));
}

static int32_t train(di_run *run, dk_error *err)
{
    di_trainer *t = run->trainer;
    int32_t rc = DK_OK;
    run->end = DI_END_NOT_YET;
    run->checkpoints.written = dk_seconds();
    run->asked = 0;
    rc = dk_ranks_barrier(run->host, err);
    if (rc == DK_OK && di_run_evaluation_due(run)) {
        run->asked = checkpoint_due(run) ? DI_ASKED_CHECKPOINT : 0;
        rc = after_step(run, err);
    }
    while (rc == DK_OK && !no_better(run) && t->counters.step < t->steps) {
        if (stopped(run)) return interrupted(run, err);
        rc = make_step(run, err);
    }
    if (rc == DK_E_CANCELLED) return interrupted(run, err);
    if (rc == DK_E_END)
        di_run_warn(run, "the data ended after %lld of %lld steps", (long long)t->counters.step, (long long)t->steps);
    else if (rc != DK_OK) return failed(run, err);
    run->end = rc == DK_E_END ? DI_END_OF_DATA : t->counters.step >= t->steps ? DI_END_STEPS : DI_END_NO_BETTER;
    dk_error_clear(err);
    return DK_OK;
}

/* ---- the end ---- */

/* The best weights take the place of the last ones, which a checkpoint keeps. */
static int32_t take_best(di_run *run, int32_t *taken, dk_error *err)
{
    int32_t rc = DK_OK;
    *taken = 0;
    if (!run->evaluation.keep_best || run->evaluation.best.step < 0 ||
        run->evaluation.best.step == run->trainer->counters.step)
        return DK_OK;
    DK_TRY(di_checkpoint_write(run, err));
    DK_TRY(di_checkpoint_load_best(run, err));
    run->evaluation.has_result = run->evaluation.best_step == run->evaluation.best.step;
    if (run->evaluation.has_result) run->evaluation.result = run->evaluation.best_result;
    *taken = 1;
out:
    return rc;
}

/* The files of which the student's numbers are, for dk_free. */
static char *saved_path(const di_output *output)
{
    return output->files.folder ? dk_strdup(output->host, output->path)
                                : dk_path_join(output->host, output->path, DI_GGUF_NAME);
}

static int32_t save(di_run *run, di_teacher **saved, dk_error *err)
{
    di_trainer *t = run->trainer;
    char *path = NULL;
    int32_t rc = DK_OK;
    if (run->output.path) {
        if (dk_rank(run->host) == 0) rc = di_output_student(run, err);
        DK_TRY(dk_ranks_agree(run->host, rc, err));
        if (!(path = saved_path(&run->output))) DK_TRY(dk_fail_nomem(err, strlen(run->output.path)));
        if (di_student_model(t->student)) DK_TRY(di_teacher_open(t->backend, path, 1, saved, err));
    }
    if (!*saved) {
        rc = di_student_as_teacher(t->student, saved, err);
        if (rc == DK_E_UNSUPPORTED) rc = DK_OK; /* a host's student that cannot score: no numbers about it */
        if (rc == DK_OK) dk_error_clear(err);
    }
out:
    dk_free(run->host, path);
    return rc;
}

static dk_dtype saved_type(const di_files *files) { return files->folder ? files->folder_type : files->gguf_type; }

/* Whose weights the result is about. */
static int64_t measured_step(const di_run *run)
{
    return run->evaluation.keep_best && run->evaluation.best.step >= 0 ? run->evaluation.best.step
                                                                       : run->trainer->counters.step;
}

/* An evaluation of these very weights over all data, if they were saved bit for bit, is not made again. */
static int32_t measure(di_run *run, di_teacher *saved, dk_error *err)
{
    di_run_evaluation *evaluation = &run->evaluation;
    int32_t exact = evaluation->tokens == 0 && saved_type(&run->output.files) == DK_F32, rc = DK_OK;
    if (!run->trainer->data.eval || !saved) return DK_OK;
    dk_strbuf_clear(&evaluation->teachers_json);
    if (!evaluation->teachers_never) DK_TRY(di_run_evaluate_teachers(run, saved, 0, &evaluation->teachers_json, err));
    const int32_t detailed = di_run_has_detail(run, measured_step(run));
    if (evaluation->has_result && exact && detailed) return DK_OK;
    DK_TRY(dk_ranks_agree(run->host, di_progress_call(run->trainer, DISTILL_PHASE_EVALUATING, err), err));
    DK_TRY(di_run_evaluate_detailed(run, saved, &evaluation->result, err));
    if (di_run_evaluation_due(run))
        DK_TRY(di_run_take_evaluation(run, &evaluation->result, &evaluation->teachers_json, err));
    evaluation->has_result = 1;
out:
    return rc;
}

/* The GGUF file beside a folder: rounded in its own way, and so measured by itself. */
static int32_t measure_gguf(di_run *run, di_teacher **gguf, dk_error *err)
{
    const di_output *output = &run->output;
    char *path;
    int32_t rc = DK_OK;
    if (!output->path || !output->files.folder || !output->files.gguf) return DK_OK;
    if (!(path = dk_path_join(run->host, output->path, DI_GGUF_NAME)))
        return dk_fail_nomem(err, strlen(output->path) + sizeof DI_GGUF_NAME);
    DK_TRY(dk_ranks_agree(run->host, di_teacher_open(run->trainer->backend, path, 1, gguf, err), err));
    if (!run->trainer->data.eval) goto out;
    DK_TRY(di_run_evaluate(run, *gguf, 0, &run->evaluation.gguf, err));
    run->evaluation.has_gguf = 1;
out:
    dk_free(run->host, path);
    return rc;
}

/* For whoever reads the result: a run that writes nothing has no such reader. */
static int32_t write_samples(di_run *run, di_teacher *saved, dk_error *err)
{
    di_trainer *t = run->trainer;
    const di_sample_args args = {run->host, t->data.eval, saved, t->teacher, run->output.samples, DI_SAMPLE_TOKENS};
    dk_strbuf_clear(&run->evaluation.samples_json);
    if (!run->output.path || !t->data.eval) return DK_OK;
    return di_samples_json(&args, &run->evaluation.samples_json, err);
}

/* The student as its files are, read back: what is reported is what was saved. */
static int32_t finish(di_run *run, dk_error *err)
{
    di_teacher *saved = NULL, *gguf = NULL;
    dk_error problem;
    int32_t best = 0, rc;
    DK_TRY(dk_ranks_agree(run->host, di_progress_call(run->trainer, DISTILL_PHASE_SAVING, err), err));
    DK_TRY(take_best(run, &best, err));
    DK_TRY(dk_ranks_agree(run->host, save(run, &saved, err), err));
    DK_TRY(measure(run, saved, err));
    DK_TRY(measure_gguf(run, &gguf, err));
    if (dk_rank(run->host) == 0) rc = write_samples(run, saved, err);
    DK_TRY(dk_ranks_agree(run->host, rc, err));
    DK_TRY(di_result_make(run, saved, gguf, err));
    if (run->output.path && dk_rank(run->host) == 0) rc = di_output_result(&run->output, &run->result_json, err);
    rc = dk_ranks_agree(run->host, rc, err);
out:
    if (rc != DK_OK && best && di_checkpoint_load_last(run, &problem) != DK_OK)
        di_run_warn(run, "the weights of the last step are in the checkpoint alone: %s", problem.message);
    di_teacher_release(saved);
    di_teacher_release(gguf);
    return rc;
}

int32_t di_run_loop(di_run *run, dk_error *err)
{
    di_trainer *t = run->trainer;
    dk_error own;
    int32_t rc;
    if (!err) err = &own;
    if (t->window.stage != DI_STAGE_IDLE)
        return dk_fail(err, DK_E_STAGE, "a window is open: run goes between windows, after apply");
    if (run->finished) return dk_fail(err, DK_E_END, "this run is finished");
    if (di_student_model(t->student) && !t->update.own_optimizer && !t->progress.fn)
        return dk_fail(err, DK_E_OPTION,
                       "train.optimizer none leaves the update to the host, and nobody makes it: set a progress "
                       "callback that does, or adamw");
    if (run->output.path) DK_TRY(di_output_prepare(&run->output, run->resumed, err));
    if (run->output.path) DK_TRY(di_output_shared(&run->output, err));
    DK_TRY(train(run, err));
    if ((rc = finish(run, err)) == DK_E_CANCELLED) return interrupted(run, err);
    if (rc != DK_OK) return failed(run, err);
    run->finished = 1;
    di_run_page(run, 0);
out:
    return rc;
}
