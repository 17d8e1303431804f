#include "api/handles.h"

#include <stddef.h>

int32_t distill_env_add_operator(distill_env *env, const char *name, const distill_operator_callbacks *table,
                                 distill_error *error)
{
    dk_error *err = di_err(error);
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(table, "table", err));
    DK_TRY(di_check_struct(table, "table", offsetof(distill_operator_callbacks, apply) + sizeof table->apply, err));
    rc = di_check_pointer(env, "env", err);
    if (!rc) rc = di_check_pointer(name, "name", err);
    if (!rc && !table->apply) rc = dk_fail(err, DK_E_INVALID, "table->apply is NULL");
    if (!rc && table->flags & ~(uint32_t)DISTILL_CB_MT)
        rc = dk_fail(err, DK_E_INVALID, "table->flags is %u, not DISTILL_CB_MT or 0", (unsigned)table->flags);
    if (!rc) return di_hosted_list_add(env->operators, name, table, err);
    if (table->destroy) table->destroy(table->user);
out:
    return rc;
}

static int32_t run(const distill_env *env, const distill_teacher *teacher, const di_augment_args *given,
                   const distill_options *options, dk_strbuf *json, dk_error *err)
{
    distill_options writing = {(distill_env *)(uintptr_t)env, NULL}; /* what hosts see of section generate */
    di_augment_args args = *given;
    int32_t rc;
    DK_TRY(di_options_check(di_tree(options), 1 << DI_TEACHERS | 1 << DI_TEACHER, err));
    DK_TRY(di_options_create(env->host, &writing.tree, err));
    if (options) {
        di_options_free(writing.tree);
        writing.tree = NULL;
        DK_TRY(di_options_copy(di_tree(options), env->host, -1, &writing.tree, err));
    }
    args.backend = env->backend;
    args.teacher = teacher ? teacher->teacher : NULL;
    args.options = di_tree(options);
    args.writing = writing.tree;
    args.user_options = &writing;
    args.hosted = env->operators;
    DI_OPEN(env, di_tree(options), di_augment(&args, json, err));
out:
    di_options_free(writing.tree);
    return rc;
}

int32_t distill_dataset_augment(const distill_env *env, const distill_teacher *teacher, const char *in,
                                const char *path, const distill_options *options, distill_progress_fn fn, void *user,
                                distill_report **out, distill_error *error)
{
    const di_augment_args args = {.in = in, .out = path, .fn = fn, .user = user};
    dk_error *err = di_err(error);
    dk_strbuf json;
    int32_t rc;
    dk_error_clear(err);
    if ((rc = di_check_pointer(env, "env", err)) != DK_OK) return rc;
    dk_strbuf_init(&json, env->host);
    DK_TRY(run(env, teacher, &args, options, &json, err));
    if (out) DI_COMPUTE(di_report_handle(env, &json, out, err));
out:
    dk_strbuf_free(&json);
    return rc;
}

int32_t distill_dataset_augment_plan(const distill_env *env, const distill_teacher *teacher, const char *in,
                                     const distill_options *options, distill_report **out, distill_error *error)
{
    const di_augment_args args = {.in = in, .dry_run = 1};
    dk_error *err = di_err(error);
    dk_strbuf json;
    int32_t rc;
    dk_error_clear(err);
    if ((rc = di_check_pointer(env, "env", err)) != DK_OK) return rc;
    dk_strbuf_init(&json, env->host);
    DK_TRY(di_check_pointer(out, "out", err));
    DK_TRY(run(env, teacher, &args, options, &json, err));
    DI_COMPUTE(di_report_handle(env, &json, out, err));
out:
    dk_strbuf_free(&json);
    return rc;
}
