#include <stdio.h>

#include "api/handles.h"

/* Settings of a cache whose path is an argument. */
static int32_t check_settings(const distill_options *options, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_options_check(di_tree(options), 1 << DI_TEACHER, err));
    DK_TRY(di_options_refuse(di_tree(options), "teacher.cache.path", "is given beside path: leave one out", err));
    DK_TRY(di_options_refuse(di_tree(options), "teacher.cache.from", "is given beside from: leave one out", err));
out:
    return rc;
}

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

static int32_t open_teacher(const distill_env *env, const char *path, const di_options *options, di_teacher **out,
                            dk_error *err)
{
    int32_t rc = di_teacher_from_options(env->backend, options, path, out, err);
    if (rc == DK_OK && !*out)
        return dk_fail(err, DK_E_OPTION,
                       "teacher.path is not set: give a path here, or path, blend, route or cache in the options");
    return rc;
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
    DI_OPEN(env, di_tree(options), open_teacher(env, path, di_tree(options), &teacher, err));
    DK_TRY(wrap(env, teacher, out, err));
out:
    return rc;
}

/* Members may have grown at their end: they are as far apart as the first says. */
static int32_t read_member(const distill_member *members, int64_t index, di_blend_member *out, dk_error *err)
{
    const distill_member *member =
        (const distill_member *)(const void *)((const char *)members + (size_t)index * members->struct_size);
    char name[48];
    int32_t rc;
    snprintf(name, sizeof name, "members[%lld]", (long long)index);
    DK_TRY(di_check_struct(member, name, sizeof *member, err));
    if (member->struct_size != members->struct_size)
        return dk_fail(err, DK_E_INVALID, "%s has struct_size %u, members[0] has %u", name,
                       (unsigned)member->struct_size, (unsigned)members->struct_size);
    if (!member->teacher) return dk_fail(err, DK_E_INVALID, "%s.teacher is NULL", name);
    *out = (di_blend_member){member->teacher->teacher, member->name, member->weight, member->temperature};
out:
    return rc;
}

/* What a recipe says of members is said by members here; their weights may be said by either. */
static int32_t check_blend(const di_options *options, dk_error *err)
{
    int32_t rc = di_options_check(options, 1 << DI_TEACHERS | 1 << DI_TEACHER, err);
    if (rc == DK_OK) rc = di_options_refuse(options, "teacher.blend.of", "is of a recipe: here members say it", err);
    for (int64_t i = 0; rc == DK_OK && i < di_options_list_size(options, "teacher.schedule"); i++)
        if (di_options_is_set(di_options_item(options, "teacher.schedule", i), "teacher"))
            rc = dk_fail(err, DK_E_OPTION, "teacher.schedule.%lld.teacher is of a recipe: here members come in turn",
                         (long long)i);
    if (rc == DK_OK && di_options_is_set(options, "teacher.schedule") && di_options_map(options, "teacher.blend"))
        rc = dk_fail(err, DK_E_OPTION, "teacher.schedule and teacher.blend are both given: a teacher is one of them");
    return rc;
}

int32_t distill_teacher_blend(const distill_env *env, const distill_member *members, int64_t count,
                              const distill_options *options, distill_teacher **out, distill_error *error)
{
    dk_error *err = di_err(error);
    di_teacher *teacher = NULL;
    di_blend_member *read = NULL;
    di_ramp *ramps = NULL;
    di_blend_settings settings;
    di_blend_plan plan;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(env, "env", err));
    DK_TRY(di_check_pointer(out, "out", err));
    if (count < 1 || !members) return dk_fail(err, DK_E_INVALID, "members: a blend has at least one teacher");
    DK_TRY(check_blend(di_tree(options), err));
    DK_TRY(dk_new(env->host, count, &read, err));
    DK_TRY(dk_new(env->host, count * DI_RAMPS, &ramps, err));
    DK_TRY(di_check_struct(members, "members[0]", sizeof *members, err));
    for (int64_t i = 0; i < count; i++) DK_TRY(read_member(members, i, &read[i], err));
    di_blend_settings_read(di_tree(options), NULL, &settings);
    DK_TRY(di_blend_plan_read(di_tree(options), NULL, count, read, ramps, &plan, err));
    DI_COMPUTE(di_teacher_blend_planned(env->backend, read, count, &settings, &plan, &teacher, err));
    DK_TRY(wrap(env, teacher, out, err));
out:
    if (env) dk_free(env->host, read);
    if (env) dk_free(env->host, ramps);
    return rc;
}

/* What a recipe says of members is said by members here; a function says all but the default. */
static int32_t check_route(const di_options *options, int32_t by_function, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_options_check(options, 1 << DI_TEACHERS | 1 << DI_TEACHER, err));
    DK_TRY(di_options_refuse(options, "teacher.route.of", "is of a recipe: here members say it", err));
    if (by_function) DK_TRY(di_options_refuse(options, "teacher.route.by", "is given beside fn, which decides", err));
    if (by_function && di_options_list_size(options, "teacher.route.map"))
        return dk_fail(err, DK_E_OPTION, "teacher.route.map is given beside fn, which decides");
out:
    return rc;
}

static int32_t read_route(const distill_env *env, const di_options *options, di_route_settings *out, dk_error *err)
{
    int32_t rc;
    DK_TRY(check_route(options, out->fn != NULL, err));
    DK_TRY(di_route_settings_read(env->host, options, NULL, out, err));
    if (out->fn) out->by = DI_ROUTE_CALLBACK;
out:
    return rc;
}

static int32_t route(const distill_env *env, const distill_member *members, int64_t count, di_route_settings *settings,
                     const distill_options *options, distill_teacher **out, dk_error *err)
{
    const distill_destroy_fn destroy = settings->destroy;
    di_teacher *teacher = NULL;
    di_blend_member *read = NULL;
    int32_t rc, taken = 0;
    DK_TRY(di_check_pointer(env, "env", err));
    DK_TRY(di_check_pointer(out, "out", err));
    DK_TRY(count < 1 || !members ? dk_fail(err, DK_E_INVALID, "members: a route has at least one teacher") : DK_OK);
    DK_TRY(read_route(env, di_tree(options), settings, err));
    DK_TRY(dk_new(env->host, count, &read, err));
    DK_TRY(di_check_struct(members, "members[0]", sizeof *members, err));
    for (int64_t i = 0; i < count; i++) DK_TRY(read_member(members, i, &read[i], err));
    taken = 1;
    DI_COMPUTE(di_teacher_route(env->backend, read, count, settings, &teacher, err));
    DK_TRY(wrap(env, teacher, out, err));
out:
    if (!taken && destroy) destroy(settings->user);
    if (env) dk_free(env->host, read);
    if (env) di_route_settings_free(env->host, settings);
    return rc;
}

int32_t distill_teacher_route(const distill_env *env, const distill_member *members, int64_t count, distill_route_fn fn,
                              void *user, distill_destroy_fn destroy, const distill_options *options,
                              distill_teacher **out, distill_error *error)
{
    di_route_settings settings = {.fn = fn, .user = user, .destroy = destroy};
    dk_error *err = di_err(error);
    dk_error_clear(err);
    return route(env, members, count, &settings, options, out, err);
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

int32_t distill_teacher_cached(const distill_env *env, const char *path, const distill_teacher *from,
                               const distill_options *options, distill_teacher **out, distill_error *error)
{
    dk_error *err = di_err(error);
    di_teacher *teacher = NULL;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(env, "env", err));
    DK_TRY(di_check_pointer(path, "path", err));
    DK_TRY(di_check_pointer(out, "out", err));
    DK_TRY(check_settings(options, err));
    DI_OPEN(env, di_tree(options),
            di_teacher_cached(env->backend, path, from ? from->teacher : NULL, di_tree(options), &teacher, err));
    DK_TRY(wrap(env, teacher, out, err));
out:
    return rc;
}

void distill_teacher_free(distill_teacher *teacher)
{
    if (!teacher) return;
    di_teacher_release(teacher->teacher);
    di_handle_free(teacher);
}

static int32_t take_batch(const distill_teacher *teacher, const distill_batch *given, const char *name,
                          distill_batch *out, dk_error *err)
{
    int32_t rc = di_check_pointer(teacher, "teacher", err);
    if (rc == DK_OK) rc = di_take_batch(given, name, out, err);
    return rc == DK_OK ? di_check_batch(out, di_teacher_vocab(teacher->teacher), err) : rc;
}

int32_t distill_teacher_score(const distill_teacher *teacher, const distill_batch *batch, distill_target *out,
                              distill_error *error)
{
    dk_error *err = di_err(error);
    distill_batch own;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(take_batch(teacher, batch, "batch", &own, err));
    DK_TRY(di_check_struct(out, "out", sizeof *out, err));
    DI_COMPUTE(di_teacher_score(teacher->teacher, &own, out, err));
out:
    return rc;
}

int32_t distill_teacher_log_probs(const distill_teacher *teacher, const distill_batch *batch, double temperature,
                                  const distill_tensor *chosen, distill_target *top, distill_error *error)
{
    dk_error *err = di_err(error);
    distill_batch own;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(take_batch(teacher, batch, "batch", &own, err));
    if (!chosen && !top) return dk_fail(err, DK_E_INVALID, "chosen and top are NULL: nothing is asked for");
    if (top) DK_TRY(di_check_struct(top, "top", sizeof *top, err));
    DI_COMPUTE(di_teacher_log_probs(teacher->teacher, &own, temperature, chosen, top, err));
out:
    return rc;
}

int32_t distill_teacher_generate(const distill_teacher *teacher, const distill_batch *prompts,
                                 const distill_options *options, distill_token_fn fn, void *user, distill_error *error)
{
    dk_error *err = di_err(error);
    distill_batch own;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(take_batch(teacher, prompts, "prompts", &own, err));
    if (!fn) return dk_fail(err, DK_E_INVALID, "fn is NULL");
    DI_COMPUTE(di_teacher_generate(teacher->teacher, &own, di_tree(options), options, fn, user, err));
out:
    return rc;
}

int32_t distill_teacher_generate_with(const distill_teacher *teacher, const distill_batch *prompts,
                                      const distill_writer_callbacks *callbacks, const distill_options *options,
                                      distill_error *error)
{
    dk_error *err = di_err(error);
    distill_batch own;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(take_batch(teacher, prompts, "prompts", &own, err));
    DK_TRY(di_check_pointer(callbacks, "callbacks", err));
    DK_TRY(di_check_struct(callbacks, "callbacks", sizeof *callbacks, err));
    if (callbacks->flags)
        return dk_fail(err, DK_E_INVALID, "callbacks->flags is %u; there are none", (unsigned)callbacks->flags);
    if (!callbacks->token) return dk_fail(err, DK_E_INVALID, "callbacks->token is NULL");
    const di_reader reader = {.table = callbacks};
    DI_COMPUTE(di_teacher_generate_to(teacher->teacher, &own, di_tree(options), options, &reader, err));
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

int32_t distill_teacher_export(const distill_teacher *model, const char *path, const distill_options *options,
                               distill_error *error)
{
    dk_error *err = di_err(error);
    di_files files;
    const dk_model *local = NULL;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(model, "model", err));
    DK_TRY(di_check_pointer(path, "path", err));
    DK_TRY(di_options_check(di_tree(options), 1 << DI_OUTPUT, err));
    if (!(local = di_teacher_model(model->teacher)))
        DK_TRY(dk_fail(err, DK_E_UNSUPPORTED, "export: this teacher is no local model, so it has no weights to write"));
    DK_TRY(di_files_choose(di_options_text(di_tree(options), "output.format"),
                           di_options_text(di_tree(options), "output.type"), di_stored_type(local), &files, err));
    DI_COMPUTE(di_files_export(&files, local, di_teacher_tokenizer(model->teacher), path, err));
out:
    return rc;
}
