#include "run/run_state.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int32_t read_options(di_run *run, const di_options *o, dk_error *err)
{
    const char *path = di_options_text(o, "output.path");
    di_output *output = &run->output;
    di_run_evaluation *evaluation = &run->evaluation;
    output->metrics = di_options_flag(o, "output.metrics");
    output->overwrite = di_options_flag(o, "output.overwrite");
    output->log_every = di_options_i64(o, "train.log_every");
    output->page = di_options_is(o, "output.report", "html");
    output->portuguese = di_options_is(o, "output.language", "pt");
    output->samples = di_options_i64(o, "output.samples");
    output->timing_seconds = di_options_f64(o, "output.timing_seconds");
    strncpy(output->format, di_options_text(o, "output.format"), sizeof output->format - 1);
    strncpy(output->type, di_options_text(o, "output.type"), sizeof output->type - 1);
    evaluation->every = di_options_i64(o, "train.eval_every");
    evaluation->tokens = di_options_i64(o, "train.eval_tokens");
    evaluation->patience = di_options_i64(o, "train.early_stop_patience");
    evaluation->keep_best = di_options_flag(o, "train.keep_best");
    evaluation->teachers_always = di_options_is(o, "train.eval_teachers", "always");
    evaluation->teachers_never = di_options_is(o, "train.eval_teachers", "never");
    evaluation->best.step = evaluation->detailed = evaluation->best_detailed = -1;
    run->checkpoints.every = di_options_i64(o, "train.checkpoint_every");
    run->checkpoints.seconds = 60 * di_options_f64(o, "train.checkpoint_minutes");
    run->checkpoints.keep = di_options_i64(o, "train.checkpoint_keep");
    if (path && *path && !(output->path = dk_strdup(run->host, path))) return dk_fail_nomem(err, strlen(path) + 1);
    return DK_OK;
}

/* Evaluations need data; without it these options would do nothing. */
int32_t di_run_check_options(const di_options *options, int32_t has_eval, dk_error *err)
{
    static const char *const keys[] = {"train.eval_every",       "train.eval_tokens", "train.eval_precision",
                                       "train.eval_teachers",    "train.keep_best",   "train.early_stop_patience",
                                       "train.eval_draft_tokens"};
    const int32_t keep_best = di_options_flag(options, "train.keep_best");
    const char *path = di_options_text(options, "output.path");
    int32_t rc = DK_OK;
    if ((keep_best || di_options_i64(options, "train.early_stop_patience")) &&
        !di_options_i64(options, "train.eval_every"))
        return dk_fail(err, DK_E_OPTION, "%s needs train.eval_every: without evaluations nothing is best",
                       keep_best ? "train.keep_best" : "train.early_stop_patience");
    if (keep_best && !(path && *path))
        return dk_fail(err, DK_E_OPTION, "train.keep_best needs output.path: the best student is kept there");
    for (size_t i = 0; !has_eval && i < sizeof keys / sizeof *keys && rc == DK_OK; i++)
        rc =
            di_options_refuse(options, keys[i], "needs data to evaluate on: give data.eval or data.eval_fraction", err);
    return rc;
}

static int32_t refuse_stages(const di_options *options, dk_error *err)
{
    const long long count = (long long)di_options_list_size(options, "stages");
    if (!count) return DK_OK;
    return dk_fail(
        err, DK_E_OPTION,
        "stages: a trainer makes one run, and this recipe has %lld: distill_run makes them one after another", count);
}

const char *di_measure_name(di_measure_kind kind)
{
    static const char *const names[] = {"nats", "forward_kl", "soft_cross_entropy", "reward_loss"};
    return names[kind];
}

static void tell_measure(const di_run *run)
{
    const di_trainer *t = run->trainer;
    if ((run->evaluation.keep_best || run->evaluation.patience) && t->objective.uses_teacher &&
        di_teacher_changes(t->teacher))
        dk_log(run->host, DK_LOG_INFO, "trainer",
               "the teacher is another one at each evaluation: which is best is told by the likelihood of the held-out "
               "text, not by the distance from the teacher");
}

int32_t di_run_create(const di_parts *parts, const di_options *options, di_run **out, dk_error *err)
{
    dk_host *host = parts->backend->host;
    di_run *run = NULL;
    int32_t rc;
    DK_TRY(dk_new(host, 1, &run, err));
    run->host = run->output.host = dk_host_retain(host);
    dk_strbuf_init(&run->result_json, host);
    dk_strbuf_init(&run->changes, host);
    dk_strbuf_init(&run->manifest, host);
    dk_strbuf_init(&run->evaluation.teachers_json, host);
    dk_strbuf_init(&run->evaluation.samples_json, host);
    dk_strbuf_init(&run->warnings, host);
    DK_TRY(di_meter_start(host, options, 1, &run->meter, err));
    DK_TRY(read_options(run, options, err));
    DK_TRY(di_choose_precision(parts->backend, di_options_text(options, "train.eval_precision"), "train.eval_precision",
                               &run->evaluation.precision, err));
    DK_TRY(refuse_stages(options, err));
    DK_TRY(di_trainer_create(parts, options, &run->trainer, err));
    DK_TRY(di_run_check_options(options, run->trainer->data.eval != NULL, err));
    DK_TRY(di_student_files(run->trainer->student, run->output.format, run->output.type, &run->output.files, err));
    const di_teacher *teacher = run->trainer->teacher;
    DK_TRY(di_output_check_place(host, run->output.path, options, teacher ? di_teacher_path(teacher) : "", err));
    tell_measure(run);
    run->trainer->progress.eval_every = run->trainer->data.eval ? run->evaluation.every : 0;
    if (run->trainer->data.eval && run->trainer->teacher && run->evaluation.every)
        DK_TRY(di_teacher_side_create(host, run->trainer->objective.memory, &run->evaluation.teacher_side, err));
    *out = run;
    return DK_OK;
out:
    di_run_free(run);
    return rc;
}

void di_run_free(di_run *run)
{
    if (!run) return;
    dk_host *host = run->host;
    di_trainer_free(run->trainer);
    di_teacher_side_free(run->evaluation.teacher_side);
    dk_strbuf_free(&run->result_json);
    dk_strbuf_free(&run->changes);
    dk_strbuf_free(&run->manifest);
    dk_strbuf_free(&run->evaluation.teachers_json);
    dk_strbuf_free(&run->evaluation.samples_json);
    di_detail_free(run->evaluation.detail);
    di_detail_free(run->evaluation.best_detail);
    dk_strbuf_free(&run->warnings);
    di_meter_end(&run->meter);
    dk_free(host, run->output.path);
    dk_free(host, run);
    dk_host_release(host);
}

void di_run_set_stage(di_run *run, int64_t stage, int64_t stages, const char *name)
{
    run->trainer->progress.stage = stage;
    run->trainer->progress.stages = stages;
    run->trainer->progress.stage_name = name;
}

di_trainer *di_run_trainer(di_run *run) { return run->trainer; }

int32_t di_run_configure(di_run *run, const di_options *options, dk_error *err)
{
    int32_t rc = di_trainer_configure(run->trainer, options, err);
    if (rc == DK_OK) run->output.log_every = di_options_i64(run->trainer->options, "train.log_every");
    return rc;
}

int32_t di_run_manifest(di_run *run, const char **json, dk_error *err)
{
    int32_t rc = DK_OK;
    *json = "{\"path\":\"\",\"hash\":\"\"}";
    if (!run->trainer->teacher) return DK_OK;
    if (!run->manifest.size) rc = di_teacher_manifest(run->trainer->teacher, &run->manifest, err);
    if (rc != DK_OK) dk_strbuf_clear(&run->manifest);
    else *json = run->manifest.data;
    return rc;
}

void di_run_warn(di_run *run, const char *format, ...)
{
    enum { MOST = 1 << 14 };
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    dk_log(run->host, DK_LOG_WARN, "run", "%s", text);
    if (run->warnings.size > MOST) return; /* the first ones say it */
    if (run->warnings.size) dk_strbuf_puts(&run->warnings, ",");
    dk_strbuf_json(&run->warnings, text, strlen(text));
}
