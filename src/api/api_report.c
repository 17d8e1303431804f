#include "api/handles.h"
#include "evaluate/draft_trial.h"
#include "evaluate/teachers.h"

#include <string.h>

int32_t di_report_handle(const distill_env *env, const dk_strbuf *json, distill_report **out, dk_error *err)
{
    distill_report *handle = NULL;
    di_report *report = NULL;
    int32_t rc;
    DK_TRY(dk_strbuf_check(json, err));
    DK_TRY(di_report_create(env->host, json->data, json->size, &report, err));
    if (!(handle = di_handle_create(env, sizeof *handle, err))) {
        di_report_free(report);
        return DK_E_NOMEM;
    }
    handle->report = report;
    *out = handle;
out:
    return rc;
}

/* By one rank alone: the others would slow it down. */
static int32_t try_as_draft(const di_evaluate_args *args, const di_options *options, dk_strbuf *out, dk_error *err)
{
    const di_draft_trial_args how = {.host = args->backend->host,
                                     .teacher = args->teacher,
                                     .draft = args->student,
                                     .data = args->data,
                                     .tokens = di_options_i64(options, "train.eval_draft_tokens"),
                                     .options = options};
    di_draft_trial trial;
    int32_t rc;
    if (!how.teacher || !how.tokens) return DK_OK;
    DK_TRY(di_draft_trial_measure(&how, &trial, err));
    di_draft_trial_json(&trial, out);
out:
    return rc;
}

static int32_t evaluate(di_evaluate_args *args, const di_options *options, dk_strbuf *json, dk_error *err)
{
    di_evaluation evaluation;
    di_teachers_evaluation teachers = {0};
    di_meter meter = {0};
    dk_strbuf text;
    int32_t rc;
    dk_strbuf_init(&text, args->backend->host);
    DK_TRY(di_meter_start(args->backend->host, options, 0, &meter, err));
    args->meter = &meter;
    DK_TRY(di_evaluation_inputs(args, err));
    DK_TRY(di_evaluate(args, &evaluation, err));
    if (dk_rank(args->backend->host) == 0) rc = di_evaluate_teachers(args, &teachers, err);
    DK_TRY(dk_ranks_agree(args->backend->host, rc, err));
    di_teachers_json(&teachers, &text);
    if (dk_rank(args->backend->host) == 0) rc = try_as_draft(args, options, &text, err);
    DK_TRY(dk_ranks_agree(args->backend->host, rc, err));
    DK_TRY(dk_ranks_text(args->backend->host, &text, err));
    const di_cost cost = di_meter_read(&meter);
    dk_strbuf_puts(&text, ",\"cost\":");
    di_cost_json(&meter, &cost, &text);
    DK_TRY(dk_strbuf_check(&text, err));
    di_evaluation_json(&evaluation, &text, json);
out:
    di_teachers_evaluation_free(&teachers);
    di_meter_end(&meter);
    dk_strbuf_free(&text);
    return rc;
}

int32_t distill_evaluate(const distill_student *student, const distill_teacher *teacher, const distill_dataset *data,
                         const distill_options *options, distill_report **out, distill_error *error)
{
    dk_error *err = di_err(error);
    di_teacher *scorer = NULL;
    dk_strbuf json;
    int32_t rc;
    dk_error_clear(err);
    if ((rc = di_check_pointer(student, "student", err)) != DK_OK) return rc;
    dk_strbuf_init(&json, student->env->host);
    DK_TRY(di_check_pointer(data, "data", err));
    DK_TRY(di_check_pointer(out, "out", err));
    dk_precision precision = DK_PRECISION_FULL;
    DK_TRY(di_choose_precision(student->env->backend, di_options_text(di_tree(options), "train.eval_precision"),
                               "train.eval_precision", &precision, err));
    DI_OPEN(student->env, di_tree(options), di_student_as_teacher(student->student, &scorer, err));
    di_evaluate_args args = {.backend = student->env->backend,
                             .student = scorer,
                             .teacher = teacher ? teacher->teacher : NULL,
                             .data = data->dataset,
                             .tokens = di_options_i64(di_tree(options), "train.eval_tokens"),
                             .memory = di_options_i64(di_tree(options), "train.loss_memory"),
                             .precision = precision};
    DI_COMPUTE(evaluate(&args, di_tree(options), &json, err));
    DI_COMPUTE(di_report_handle(student->env, &json, out, err));
out:
    dk_strbuf_free(&json);
    di_teacher_release(scorer);
    return rc;
}

int32_t distill_inspect(const distill_env *env, const char *path, distill_report **out, distill_error *error)
{
    dk_error *err = di_err(error);
    dk_strbuf json;
    int32_t rc;
    dk_error_clear(err);
    if ((rc = di_check_pointer(env, "env", err)) != DK_OK) return rc;
    dk_strbuf_init(&json, env->host);
    DK_TRY(di_check_pointer(out, "out", err));
    if (path) DI_COMPUTE(di_inspect_path(env->backend, path, &json, err));
    else DI_COMPUTE(di_inspect_library(env->backend, env->registry, &json, err));
    DI_COMPUTE(di_report_handle(env, &json, out, err));
out:
    dk_strbuf_free(&json);
    return rc;
}

int32_t distill_limits(const distill_env *env, distill_report **out, distill_error *error)
{
    dk_error *err = di_err(error);
    dk_strbuf json;
    int32_t rc;
    dk_error_clear(err);
    if ((rc = di_check_pointer(env, "env", err)) != DK_OK) return rc;
    dk_strbuf_init(&json, env->host);
    DK_TRY(di_check_pointer(out, "out", err));
    DI_COMPUTE(di_limits_json(env->host, &json, err));
    DI_COMPUTE(di_report_handle(env, &json, out, err));
out:
    dk_strbuf_free(&json);
    return rc;
}

int32_t distill_report_get_f64(const distill_report *report, const char *key, double *out, distill_error *error)
{
    dk_error *err = di_err(error);
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(report, "report", err));
    DK_TRY(di_check_pointer(key, "key", err));
    DK_TRY(di_check_pointer(out, "out", err));
    DI_COMPUTE(di_report_get_f64(report->report, key, out, err));
out:
    return rc;
}

int32_t distill_report_json(const distill_report *report, char *buf, size_t cap, size_t *needed, distill_error *error)
{
    dk_error *err = di_err(error);
    size_t size = 0;
    dk_error_clear(err);
    int32_t rc = di_check_pointer(report, "report", err);
    if (rc != DK_OK) return rc;
    const char *json = di_report_json(report->report, &size);
    return dk_text_out(json, size, buf, cap, needed, err);
}

void distill_report_free(distill_report *report)
{
    if (!report) return;
    di_report_free(report->report);
    di_handle_free(report);
}
