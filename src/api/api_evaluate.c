#include "api/handles.h"
#include "evaluate/tasks.h"
#include "report/compare.h"
#include "report/run_plan.h"

/* A copy of options whose section generate may be set, as hosts see it; tree NULL = none was made. */
static int32_t copy_for_writing(const distill_env *env, const distill_options *options, distill_options *out,
                                dk_error *err)
{
    *out = (distill_options){(distill_env *)(uintptr_t)env, NULL};
    return options ? di_options_copy(di_tree(options), env->host, -1, &out->tree, err)
                   : di_options_create(env->host, &out->tree, err);
}

int32_t distill_evaluate_tasks(const distill_teacher *model, const distill_options *options, distill_progress_fn fn,
                               void *user, distill_report **out, distill_error *error)
{
    distill_options writing = {NULL, NULL};
    dk_error *err = di_err(error);
    dk_strbuf json;
    int32_t rc;
    dk_error_clear(err);
    if ((rc = di_check_pointer(model, "model", err)) != DK_OK) return rc;
    dk_strbuf_init(&json, model->env->host);
    DK_TRY(di_check_pointer(out, "out", err));
    DK_TRY(copy_for_writing(model->env, options, &writing, err));
    const di_tasks_args args = {.host = model->env->host,
                                .model = model->teacher,
                                .options = di_tree(options),
                                .writing = writing.tree,
                                .user_options = &writing,
                                .fn = fn,
                                .user = user};
    DI_COMPUTE(di_tasks_evaluate(&args, &json, err));
    DI_COMPUTE(di_report_handle(model->env, &json, out, err));
out:
    di_options_free(writing.tree);
    dk_strbuf_free(&json);
    return rc;
}

int32_t distill_compare(const distill_teacher *a, const distill_teacher *b, const char *data,
                        const distill_options *options, distill_progress_fn fn, void *user, distill_report **out,
                        distill_error *error)
{
    distill_options writing = {NULL, NULL};
    dk_error *err = di_err(error);
    dk_strbuf json;
    int32_t rc;
    dk_error_clear(err);
    if ((rc = di_check_pointer(a, "a", err)) != DK_OK) return rc;
    dk_strbuf_init(&json, a->env->host);
    DK_TRY(di_check_pointer(b, "b", err));
    DK_TRY(di_check_pointer(out, "out", err));
    DK_TRY(copy_for_writing(a->env, options, &writing, err));
    const di_compare_args args = {.backend = a->env->backend,
                                  .models = {a->teacher, b->teacher},
                                  .data = data,
                                  .options = di_tree(options),
                                  .writing = writing.tree,
                                  .user_options = &writing,
                                  .fn = fn,
                                  .user = user};
    DI_OPEN(a->env, di_tree(options), di_compare(&args, &json, err));
    DI_COMPUTE(di_report_handle(a->env, &json, out, err));
out:
    di_options_free(writing.tree);
    dk_strbuf_free(&json);
    return rc;
}

int32_t distill_plan(const distill_env *env, const distill_options *options, distill_progress_fn fn, void *user,
                     distill_report **out, distill_error *error)
{
    dk_error *err = di_err(error);
    dk_strbuf json;
    int32_t rc;
    dk_error_clear(err);
    if ((rc = di_check_pointer(env, "env", err)) != DK_OK) return rc;
    dk_strbuf_init(&json, env->host);
    DK_TRY(di_check_pointer(options, "options", err));
    DK_TRY(di_check_pointer(out, "out", err));
    const di_plan_args args = {
        .backend = env->backend, .registry = env->registry, .options = di_tree(options), .fn = fn, .user = user};
    DI_OPEN(env, di_tree(options), di_plan(&args, &json, err));
    DI_COMPUTE(di_report_handle(env, &json, out, err));
out:
    dk_strbuf_free(&json);
    return rc;
}
