/* stage_check.c - what can be known of all stages before the first one runs. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "chain/chain_parts.h"
#include "format/checkpoint.h"

/* ---- places ---- */

static int32_t same_place(const di_stages *s, const di_stage *a, const di_stage *b, dk_error *err)
{
    char *x = di_real_path(s->host, a->output), *y = di_real_path(s->host, b->output);
    const size_t size = x ? strlen(x) : 0;
    int32_t rc = DK_OK;
    if (x && y && strncmp(x, y, size) == 0 && (y[size] == '\0' || y[size] == '/'))
        rc = dk_fail(err, DK_E_OPTION,
                     "stages.%s and stages.%s write to one folder (output.path %s and %s): give each "
                     "its own",
                     a->name, b->name, a->output, b->output);
    dk_free(s->host, x);
    dk_free(s->host, y);
    return rc;
}

typedef struct reader { /* of paths that are no stage's output */
    const di_stages *stages;
    const di_stage *stage;
} reader;

/* What a stage reads must not be written over by any. */
static int32_t check_outputs(void *user, const char *key, const char *path, dk_error *err)
{
    const reader *r = user;
    int32_t rc = DK_OK;
    if (di_stage_of_path(r->stage, key) >= 0) return DK_OK;
    char *real = di_real_path(r->stages->host, path);
    for (int64_t i = 0; real && i < r->stages->count && rc == DK_OK; i++) {
        const di_stage *writer = &r->stages->stages[i];
        char *output = di_real_path(r->stages->host, writer->output);
        const size_t size = output ? strlen(output) : 0;
        if (output && strncmp(output, real, size) == 0 && (real[size] == '\0' || real[size] == '/'))
            rc = dk_fail(err, DK_E_OPTION,
                         "stages.%s writes to %s, where the %s of stages.%s lies (%s): give another output.path, or "
                         "stages.%s to take what it makes",
                         writer->name, writer->output, key, r->stage->name, path, writer->name);
        dk_free(r->stages->host, output);
    }
    dk_free(r->stages->host, real);
    return rc;
}

/* ---- what is read ---- */

static int32_t check_input(void *user, const char *key, const char *path, dk_error *err)
{
    const reader *r = user;
    const int32_t is_model =
        strncmp(key, "data.", 5) != 0 && strcmp(key, "student.config") != 0 && !strstr(key, ".cache.path");
    dk_path_type kind = DK_PATH_UNKNOWN;
    if (di_stage_of_path(r->stage, key) >= 0 || di_stage_is_idle(r->stage->options, key)) return DK_OK;
    int32_t found = 0, rc = dk_path_look(path, &found, err);
    if (rc == DK_OK && !found) return dk_fail(err, DK_E_NOT_FOUND, "%s %s does not exist", key, path);
    if (rc == DK_OK && is_model) rc = dk_path_kind(r->stages->host, path, &kind, err);
    if (rc == DK_OK && is_model && kind != DK_PATH_MODEL && kind != DK_PATH_GGUF)
        rc = dk_fail(err, DK_E_FORMAT, "%s %s is %s, not a model", key, path, dk_path_kind_text(kind));
    return rc;
}

/* ---- one stage ---- */

static int32_t check_student(const di_options *o, dk_error *err)
{
    const int32_t named = di_options_is_set(o, "student.path") + di_options_is_set(o, "student.config") +
                          di_options_is_set(o, "student.from");
    if (named == 1) return DK_OK;
    return dk_fail(err, DK_E_OPTION,
                   "the student comes from %s: give one of student.path, student.config, student.from",
                   named ? "several places" : "nowhere");
}

static int32_t takes_teachers(const di_stage *stage)
{
    for (int64_t i = 0; i < stage->input_count; i++)
        if (strncmp(stage->inputs[i].key, "teacher", 7) == 0) return 1;
    return 0;
}

static int32_t keeps_targets(const di_options *o)
{
    int32_t found = di_options_map(o, "teacher.cache") != NULL;
    for (int64_t i = 0; i < di_options_list_size(o, "teachers"); i++)
        found |= di_options_map(di_options_item(o, "teachers", i), "cache") != NULL;
    return found;
}

/* A teacher that is there is opened: weights are mapped, not read. One that keeps targets would make its file. */
static int32_t check_teacher(const di_chain_args *args, const di_stage *stage, int32_t needed, dk_error *err)
{
    di_teacher *teacher = NULL;
    if (takes_teachers(stage) || keeps_targets(stage->options) || di_teacher_names_self(stage->options)) return DK_OK;
    int32_t rc = di_teacher_look(args->backend, stage->options, &teacher, err);
    if (rc == DK_OK && needed && !teacher)
        rc = dk_fail(err, DK_E_OPTION,
                     "the loss needs a teacher: give teacher.path, or loss.hard_label_weight 1 to "
                     "train on labels alone");
    if (rc == DK_OK && !teacher && di_options_is(stage->options, "student.from", "teacher"))
        rc = dk_fail(err, DK_E_OPTION, "student.from: teacher needs teacher.path");
    di_teacher_release(teacher);
    return rc;
}

static int32_t check_loss(const di_chain_args *args, const di_stage *stage, int32_t *needs_teacher, dk_error *err)
{
    di_loss *loss = NULL;
    int32_t rc = di_loss_create(args->registry, NULL, stage->options, &loss, err);
    if (rc != DK_OK) return rc;
    *needs_teacher = di_loss_needs_teacher(loss);
    di_loss_release(loss);
    return DK_OK;
}

static int32_t check_products(const di_chain_args *args, const di_options *o, dk_error *err)
{
    const char *found = NULL;
    int32_t rc = dk_backend_find_products(args->backend, di_options_text(o, "compute.products"), &found, err);
    if (rc || !di_options_is_set(o, "compute.products") || !strcmp(found, args->backend->products)) return rc;
    return dk_fail(err, DK_E_OPTION, "compute.products %s: stages share what forms products, %s; say it beside them",
                   found, args->backend->products);
}

static int32_t check_stage(const di_chain_args *args, const di_stages *s, const di_stage *stage, dk_error *err)
{
    const di_options *o = stage->options;
    const int32_t has_eval = di_options_is_set(o, "data.eval") || di_options_f64(o, "data.eval_fraction") > 0;
    reader r = {s, stage};
    int32_t needs_teacher = 0, rc;
    DK_TRY(di_options_check(o, ~((int64_t)1 << DI_STAGES), err));
    DK_TRY(di_run_check_options(o, has_eval, err));
    DK_TRY(check_products(args, o, err));
    if (!di_options_is_set(o, "data.train"))
        DK_TRY(dk_fail(err, DK_E_OPTION, "data.train is not set: there is nothing to train on"));
    if (di_options_is(o, "train.optimizer", "none"))
        DK_TRY(dk_fail(err, DK_E_OPTION,
                       "train.optimizer none leaves the update to a host, and stages have none: give "
                       "adamw"));
    DK_TRY(check_student(o, err));
    DK_TRY(di_stage_paths(o, check_input, &r, err));
    DK_TRY(check_loss(args, stage, &needs_teacher, err));
    DK_TRY(check_teacher(args, stage, needs_teacher, err));
out:
    return rc;
}

int32_t di_stages_check(const di_chain_args *args, const di_stages *s, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < s->count; i++)
        for (int64_t k = 0; k < s->count; k++)
            if (i != k) DK_TRY(same_place(s, &s->stages[i], &s->stages[k], err));
    for (int64_t i = 0; i < s->count; i++) {
        reader r = {s, &s->stages[i]};
        DK_TRY(di_stage_paths(s->stages[i].options, check_outputs, &r, err));
    }
    for (int64_t i = 0; i < s->count; i++) {
        rc = check_stage(args, s, &s->stages[i], err);
        if (rc != DK_OK && err) dk_error_context(err, "stages.%s", s->stages[i].name);
        if (rc != DK_OK) goto out;
    }
out:
    return rc;
}
