#include "api/handles.h"

int32_t distill_cache_build(const distill_env *env, const distill_teacher *teacher, const distill_dataset *data,
                            const char *path, const distill_options *options, distill_progress_fn fn, void *user,
                            distill_report **out, distill_error *error)
{
    const di_options *tree = di_tree(options);
    dk_error *err = di_err(error);
    dk_strbuf json;
    int32_t rc;
    dk_error_clear(err);
    if ((rc = di_check_pointer(env, "env", err)) != DK_OK) return rc;
    dk_strbuf_init(&json, env->host);
    DK_TRY(di_options_check(tree, 1 << DI_TEACHERS | 1 << DI_TEACHER, err));
    if (path) DK_TRY(di_options_refuse(tree, "teacher.cache.path", "is given beside path: leave one out", err));
    if (teacher) DK_TRY(di_options_refuse(tree, "teacher.cache.from", "is given beside teacher: leave one out", err));
    const di_fill_args args = {.backend = env->backend,
                               .teacher = teacher ? teacher->teacher : NULL,
                               .data = data ? data->dataset : NULL,
                               .path = path,
                               .options = tree,
                               .fn = fn,
                               .user = user};
    DI_COMPUTE(di_cache_build(&args, &json, err));
    if (out) DI_COMPUTE(di_report_handle(env, &json, out, err));
out:
    dk_strbuf_free(&json);
    return rc;
}

int32_t distill_cache_merge(const distill_env *env, const char *const *paths, int64_t count, const char *into,
                            const distill_options *options, distill_error *error)
{
    dk_error *err = di_err(error);
    const int32_t skip = di_options_flag(di_tree(options), "teacher.cache.skip_damaged");
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(env, "env", err));
    DK_TRY(di_check_pointer(into, "into", err));
    if (count > 0) DK_TRY(di_check_pointer(paths, "paths", err));
    for (int64_t i = 0; i < count; i++) DK_TRY(di_check_pointer(paths[i], "a path", err));
    DI_COMPUTE(di_cache_merge(env->host, paths, count, into, skip ? DI_CACHE_SKIP_DAMAGED : 0, err));
out:
    return rc;
}

/* What is no cache is said to be none; what is one is described, however damaged. */
static int32_t inspect(const distill_env *env, const char *path, int32_t every_row, distill_report **out, dk_error *err)
{
    dk_strbuf json;
    int32_t rc;
    if ((rc = di_check_pointer(env, "env", err)) != DK_OK) return rc;
    dk_strbuf_init(&json, env->host);
    DK_TRY(di_check_pointer(path, "path", err));
    DK_TRY(di_check_pointer(out, "out", err));
    DI_COMPUTE(di_cache_inspect(env->host, path, every_row, &json, err));
    DI_COMPUTE(di_report_handle(env, &json, out, err));
out:
    dk_strbuf_free(&json);
    return rc;
}

int32_t distill_cache_inspect(const distill_env *env, const char *path, distill_report **out, distill_error *error)
{
    dk_error *err = di_err(error);
    dk_error_clear(err);
    return inspect(env, path, 0, out, err);
}

int32_t distill_cache_verify(const distill_env *env, const char *path, distill_report **out, distill_error *error)
{
    dk_error *err = di_err(error);
    dk_error_clear(err);
    return inspect(env, path, 1, out, err);
}
