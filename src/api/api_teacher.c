#include "api/handles.h"

static int32_t wrap(const distill_env *env, di_teacher *teacher, distill_teacher **out, dk_error *err)
{
    distill_teacher *handle = di_computing_handle_create(env, sizeof *handle, err);
    if (!handle) {
        di_teacher_release(teacher);
        return DK_E_NOMEM;
    }
    handle->teacher = teacher;
    *out = handle;
    return DK_OK;
}

int32_t distill_teacher_open(const distill_env *env, const char *path, const distill_options *options,
                             distill_teacher **out, distill_error *error)
{
    dk_error *err = di_err(error);
    di_teacher *teacher = NULL;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(env, "env", err));
    DK_TRY(di_check_pointer(out, "out", err));
    if (!path) path = di_options_text(di_tree(options), "teacher.path");
    if (!path) DK_TRY(dk_fail(err, DK_E_OPTION, "teacher.path is not set: give a path here or in the options"));
    DI_COMPUTE(di_teacher_open(env->backend, path, di_tree(options), &teacher, err));
    DK_TRY(wrap(env, teacher, out, err));
out:
    return rc;
}

int32_t distill_teacher_from_callbacks(const distill_env *env, const distill_teacher_callbacks *table,
                                       const distill_options *options, distill_teacher **out, distill_error *error)
{
    dk_error *err = di_err(error);
    di_teacher *teacher = NULL;
    int32_t rc;
    dk_error_clear(err);
    if ((rc = di_check_struct(table, "table", offsetof(distill_teacher_callbacks, form) + sizeof table->form, err)) !=
        DK_OK)
        return rc;
    if ((rc = di_check_pointer(env, "env", err)) != DK_OK || (rc = di_check_pointer(out, "out", err)) != DK_OK) {
        if (table->destroy) table->destroy(table->user);
        return rc;
    }
    DI_COMPUTE(di_teacher_from_callbacks(env->backend, table, di_tree(options), &teacher, err));
    DK_TRY(wrap(env, teacher, out, err));
out:
    return rc;
}

int32_t distill_teacher_from_student(const distill_student *student, distill_teacher **out, distill_error *error)
{
    dk_error *err = di_err(error);
    di_teacher *teacher = NULL;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(student, "student", err));
    DK_TRY(di_check_pointer(out, "out", err));
    DI_COMPUTE(di_student_as_teacher(student->student, &teacher, err));
    DK_TRY(wrap(student->env, teacher, out, err));
out:
    return rc;
}

void distill_teacher_free(distill_teacher *teacher)
{
    if (!teacher) return;
    di_teacher_release(teacher->teacher);
    di_handle_free(teacher);
}

static int32_t check_batch(const distill_teacher *teacher, const distill_batch *batch, const char *name, dk_error *err)
{
    int32_t rc = di_check_pointer(teacher, "teacher", err);
    if (rc == DK_OK) rc = di_check_struct(batch, name, sizeof *batch, err);
    return rc == DK_OK ? di_check_batch(batch, di_teacher_vocab(teacher->teacher), err) : rc;
}

int32_t distill_teacher_score(const distill_teacher *teacher, const distill_batch *batch, distill_target *out,
                              distill_error *error)
{
    dk_error *err = di_err(error);
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(check_batch(teacher, batch, "batch", err));
    DK_TRY(di_check_struct(out, "out", sizeof *out, err));
    DI_COMPUTE(di_teacher_score(teacher->teacher, batch, out, err));
out:
    return rc;
}

int32_t distill_teacher_log_probs(const distill_teacher *teacher, const distill_batch *batch, double temperature,
                                  const distill_tensor *chosen, distill_target *top, distill_error *error)
{
    dk_error *err = di_err(error);
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(check_batch(teacher, batch, "batch", err));
    if (!chosen && !top) return dk_fail(err, DK_E_INVALID, "chosen and top are NULL: nothing is asked for");
    if (top) DK_TRY(di_check_struct(top, "top", sizeof *top, err));
    DI_COMPUTE(di_teacher_log_probs(teacher->teacher, batch, temperature, chosen, top, err));
out:
    return rc;
}

int32_t distill_teacher_generate(const distill_teacher *teacher, const distill_batch *prompts,
                                 const distill_options *options, distill_token_fn fn, void *user, distill_error *error)
{
    dk_error *err = di_err(error);
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(check_batch(teacher, prompts, "prompts", err));
    if (!fn) return dk_fail(err, DK_E_INVALID, "fn is NULL");
    DI_COMPUTE(di_teacher_generate(teacher->teacher, prompts, di_tree(options), options, fn, user, err));
out:
    return rc;
}

int32_t distill_teacher_tokenizer(const distill_teacher *teacher, distill_tokenizer **out, distill_error *error)
{
    dk_error *err = di_err(error);
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(teacher, "teacher", err));
    DK_TRY(di_check_pointer(out, "out", err));
    dk_tokenizer *tokenizer = di_teacher_tokenizer(teacher->teacher);
    if (!tokenizer)
        return dk_fail(err, DK_E_NOT_FOUND, "%s has no tokenizer",
                       *di_teacher_path(teacher->teacher) ? di_teacher_path(teacher->teacher) : "the teacher");
    DK_TRY(di_tokenizer_handle(teacher->env, tokenizer, out, err));
out:
    return rc;
}

int32_t distill_teacher_get_i64(const distill_teacher *teacher, const char *key, int64_t *out, distill_error *error)
{
    dk_error *err = di_err(error);
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(teacher, "teacher", err));
    DK_TRY(di_check_pointer(key, "key", err));
    DK_TRY(di_check_pointer(out, "out", err));
    DK_TRY(di_teacher_get_i64(teacher->teacher, key, out, err));
out:
    return rc;
}
