#include "api/handles.h"
#include "shape/shape.h"

static int32_t wrap(const distill_env *env, di_student *student, distill_student **out, dk_error *err)
{
    distill_student *handle = di_computing_handle_create(env, sizeof *handle, err);
    if (!handle) {
        di_student_release(student);
        return DK_E_NOMEM;
    }
    handle->student = student;
    *out = handle;
    return DK_OK;
}

int32_t distill_student_open(const distill_env *env, const char *path, const distill_options *options,
                             distill_student **out, distill_error *error)
{
    dk_error *err = di_err(error);
    di_student *student = NULL;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(env, "env", err));
    DK_TRY(di_check_pointer(path, "path", err));
    DK_TRY(di_check_pointer(out, "out", err));
    DI_OPEN(env, di_tree(options), di_student_open(env->backend, path, di_tree(options), &student, err));
    DK_TRY(wrap(env, student, out, err));
out:
    return rc;
}

int32_t distill_student_create(const distill_env *env, const char *config_path, const distill_tokenizer *tokenizer,
                               const distill_options *options, distill_student **out, distill_error *error)
{
    dk_error *err = di_err(error);
    di_student *student = NULL;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(env, "env", err));
    DK_TRY(di_check_pointer(config_path, "config_path", err));
    DK_TRY(di_check_pointer(out, "out", err));
    DI_OPEN(env, di_tree(options),
            di_student_create(env->backend, config_path, tokenizer ? tokenizer->tokenizer : NULL, di_tree(options),
                              &student, err));
    DK_TRY(wrap(env, student, out, err));
out:
    return rc;
}

int32_t distill_student_derive(const distill_teacher *teacher, const distill_options *options, distill_student **out,
                               distill_error *error)
{
    dk_error *err = di_err(error);
    di_student *student = NULL;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(teacher, "teacher", err));
    DK_TRY(di_check_pointer(out, "out", err));
    const di_shape_args args = {
        .backend = teacher->env->backend, .teacher = teacher->teacher, .options = di_tree(options), .alone = 1};
    DI_OPEN(teacher->env, di_tree(options), di_shape_derive(&args, &student, NULL, err));
    DK_TRY(wrap(teacher->env, student, out, err));
out:
    return rc;
}

int32_t distill_student_from_callbacks(const distill_env *env, const distill_student_callbacks *table,
                                       const distill_options *options, distill_student **out, distill_error *error)
{
    dk_error *err = di_err(error);
    di_student *student = NULL;
    int32_t rc;
    dk_error_clear(err);
    if ((rc = di_check_struct(table, "table", offsetof(distill_student_callbacks, form) + sizeof table->form, err)) !=
        DK_OK)
        return rc;
    if ((rc = di_check_pointer(env, "env", err)) != DK_OK || (rc = di_check_pointer(out, "out", err)) != DK_OK) {
        if (table->destroy) table->destroy(table->user);
        return rc;
    }
    DI_COMPUTE(di_student_from_callbacks(env->backend, table, di_tree(options), &student, err));
    DK_TRY(wrap(env, student, out, err));
out:
    return rc;
}

void distill_student_free(distill_student *student)
{
    if (!student) return;
    di_student_release(student->student);
    di_handle_free(student);
}

int32_t distill_student_save(const distill_student *student, const char *path, const distill_options *options,
                             distill_error *error)
{
    dk_error *err = di_err(error);
    di_files files;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(student, "student", err));
    DK_TRY(di_check_pointer(path, "path", err));
    DK_TRY(di_student_files(student->student, di_options_text(di_tree(options), "output.format"),
                            di_options_text(di_tree(options), "output.type"), &files, err));
    DI_COMPUTE(di_student_save(student->student, path, &files, err));
out:
    return rc;
}

const char *distill_student_parameter_name(const distill_student *student, int64_t index)
{
    return student ? di_student_parameter_name(student->student, index) : NULL;
}

int32_t distill_student_parameter(distill_student *student, const char *name, int32_t which, distill_tensor *out,
                                  distill_error *error)
{
    dk_error *err = di_err(error);
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(student, "student", err));
    DK_TRY(di_check_pointer(name, "name", err));
    DK_TRY(di_check_pointer(out, "out", err));
    DK_TRY(di_student_parameter(student->student, name, which, out, err));
out:
    return rc;
}

int32_t distill_student_weights_changed(distill_student *student, distill_error *error)
{
    dk_error *err = di_err(error);
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(student, "student", err));
    DI_COMPUTE(di_student_weights_changed(student->student, err));
out:
    return rc;
}

int32_t distill_student_get_i64(const distill_student *student, const char *key, int64_t *out, distill_error *error)
{
    dk_error *err = di_err(error);
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(student, "student", err));
    DK_TRY(di_check_pointer(key, "key", err));
    DK_TRY(di_check_pointer(out, "out", err));
    DK_TRY(di_student_get_i64(student->student, key, out, err));
out:
    return rc;
}

int32_t distill_student_tokenizer(const distill_student *student, distill_tokenizer **out, distill_error *error)
{
    dk_error *err = di_err(error);
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(student, "student", err));
    DK_TRY(di_check_pointer(out, "out", err));
    if (!di_student_tokenizer(student->student)) return dk_fail(err, DK_E_NOT_FOUND, "the student has no tokenizer");
    DK_TRY(di_tokenizer_handle(student->env, di_student_tokenizer(student->student), out, err));
out:
    return rc;
}

const char *distill_student_head_name(const distill_student *student)
{
    return student ? di_student_head_name(student->student) : NULL;
}
