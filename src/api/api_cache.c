#include "api/handles.h"

static int32_t check_options(const di_options *tree, const distill_teacher *teacher, const char *path, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_options_check(tree, 1 << DI_TEACHERS | 1 << DI_TEACHER | 1 << DI_DATA, err));
    if (path) DK_TRY(di_options_refuse(tree, "teacher.cache.path", "is given beside path: leave one out", err));
    if (teacher) DK_TRY(di_options_refuse(tree, "teacher.cache.from", "is given beside teacher: leave one out", err));
out:
    return rc;
}

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
    DK_TRY(check_options(tree, teacher, path, err));
    const di_fill_args args = {.backend = env->backend,
                               .teacher = teacher ? teacher->teacher : NULL,
                               .data = data ? data->dataset : NULL,
                               .path = path,
                               .options = tree,
                               .fn = fn,
                               .user = user};
    DI_OPEN(env, tree, di_cache_build(&args, &json, err));
    if (out) DI_COMPUTE(di_report_handle(env, &json, out, err));
out:
    dk_strbuf_free(&json);
    return rc;
}

int32_t distill_cache_plan(const distill_env *env, const distill_teacher *teacher, const distill_dataset *data,
                           const char *path, const distill_options *options, distill_report **out, distill_error *error)
{
    const di_options *tree = di_tree(options);
    dk_error *err = di_err(error);
    dk_strbuf json;
    int32_t rc;
    dk_error_clear(err);
    if ((rc = di_check_pointer(env, "env", err)) != DK_OK) return rc;
    dk_strbuf_init(&json, env->host);
    DK_TRY(di_check_pointer(out, "out", err));
    DK_TRY(check_options(tree, teacher, path, err));
    const di_fill_args args = {.backend = env->backend,
                               .teacher = teacher ? teacher->teacher : NULL,
                               .data = data ? data->dataset : NULL,
                               .path = path,
                               .options = tree};
    DI_OPEN(env, tree, di_cache_plan(&args, &json, err));
    DI_COMPUTE(di_report_handle(env, &json, out, err));
out:
    dk_strbuf_free(&json);
    return rc;
}

int32_t distill_cache_measure(const distill_env *env, const distill_teacher *teacher, const distill_student *student,
                              const distill_dataset *data, int64_t rows, const distill_options *options,
                              distill_progress_fn fn, void *user, distill_report **out, distill_error *error)
{
    const di_options *tree = di_tree(options);
    dk_error *err = di_err(error);
    di_teacher *scorer = NULL;
    dk_strbuf json;
    int32_t rc;
    dk_error_clear(err);
    if ((rc = di_check_pointer(env, "env", err)) != DK_OK) return rc;
    dk_strbuf_init(&json, env->host);
    DK_TRY(di_check_pointer(out, "out", err));
    DK_TRY(check_options(tree, teacher, NULL, err));
    if (rows < 0) DK_TRY(dk_fail(err, DK_E_INVALID, "rows is %lld", (long long)rows));
    if (student) DI_COMPUTE(di_student_as_teacher(student->student, &scorer, err));
    const di_tiers_args args = {.fill = {.backend = env->backend,
                                         .teacher = teacher ? teacher->teacher : NULL,
                                         .data = data ? data->dataset : NULL,
                                         .options = tree,
                                         .fn = fn,
                                         .user = user},
                                .student = scorer,
                                .rows = rows};
    DI_OPEN(env, tree, di_cache_measure(&args, &json, err));
    DI_COMPUTE(di_report_handle(env, &json, out, err));
out:
    dk_strbuf_free(&json);
    di_teacher_release(scorer);
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
