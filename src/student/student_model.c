/* student_model.c - students that are models in this process: opened, fresh, or derived from a teacher's layers. */
#include "student/student_parts.h"

static dk_model *model_of(const di_student *s) { return s->state; }

static void free_state(di_student *s) { dk_model_free(s->state); }

static void describe(const di_student *s, di_facts *out)
{
    const dk_model *model = s->state;
    di_facts_of_model(model, s->tokenizer, out);
    out->trainable_parameters = 0;
    for (int64_t i = 0; i < model->parameter_count; i++)
        if (!model->parameters[i].frozen) out->trainable_parameters += dk_view_count(&model->parameters[i].value);
}

static double flops(const di_student *s, int64_t tokens, int64_t mean_length)
{
    return dk_model_flops(s->state, tokens, mean_length, 1);
}

static int32_t save(const di_student *s, const char *folder, const di_files *files, dk_error *err)
{
    return di_files_write(files, s->state, s->tokenizer, folder, s->saved, s->saved_user, err);
}

/* Below the lowest block that is trained no gradient arrives. */
static int32_t place(const di_student *s, const dk_tap_spec *tap, di_place *out, dk_error *err)
{
    const dk_model *model = s->state;
    const int64_t first = dk_model_first_trained(model);
    int32_t rc;
    DK_TRY(di_place_of_model(model, tap, "the student", out, err));
    if (di_tap_has_layer(tap->kind) && tap->layer < first)
        return dk_fail(err, DK_E_OPTION,
                       "block %lld of the student and all below it are frozen: nothing would learn from its %s",
                       (long long)tap->layer, di_tap_name(tap->kind));
out:
    return rc;
}

static void retain_student(void *student) { di_student_retain(student); }

static void release_student(void *student) { di_student_release(student); }

static int32_t as_teacher(di_student *s, di_teacher **out, dk_error *err)
{
    return di_teacher_from_model(s->backend, s->state, s->tokenizer, s, retain_student, release_student, out, err);
}

static int64_t bytes(const di_student *s, const dk_pass_spec *spec, int64_t max_rows)
{
    const dk_model *model = s->state;
    return dk_pass_bytes(spec, model) + di_trained_halves_bytes(model, max_rows) +
           (2 * max_rows + spec->max_rows) * model->config.hidden_size * (int64_t)dk_dtype_size(s->backend->real);
}

static int32_t write(di_student *s, const dk_tokens *prompts, const dk_generate_args *args, const int64_t *most,
                     dk_error *err)
{
    (void)most; /* emit ends what is long enough */
    return dk_generate(s->state, prompts, args, err);
}

static int32_t writes(const di_student *s)
{
    (void)s;
    return 1;
}

static const di_student_kind model_kind = {.free = free_state,
                                           .describe = describe,
                                           .model = model_of,
                                           .flops = flops,
                                           .place = place,
                                           .save = save,
                                           .as_teacher = as_teacher,
                                           .write = write,
                                           .writes = writes,
                                           .begin = di_trained_begin,
                                           .end = di_trained_end,
                                           .forward = di_trained_forward,
                                           .backward = di_trained_backward,
                                           .hidden = di_trained_hidden,
                                           .bytes = bytes};

/* ---- how one comes to be ---- */

static int32_t freeze(di_student *s, const di_options *options, dk_error *err)
{
    int64_t count = di_options_list_size(options, "student.freeze"), frozen = 0;
    const char **patterns = NULL;
    dk_model *model = s->state;
    int32_t rc;
    if (!count) return DK_OK;
    DK_TRY(dk_new(s->host, count, &patterns, err));
    for (int64_t i = 0; i < count; i++) patterns[i] = di_options_list_text(options, "student.freeze", i);
    DK_TRY(dk_model_freeze(model, patterns, count, &frozen, err));
    dk_log(s->host, DK_LOG_INFO, "student", "%lld of %lld parameters are frozen", (long long)frozen,
           (long long)model->parameter_count);
out:
    dk_free(s->host, patterns);
    return rc;
}

int32_t di_student_check_kind(const dk_config *config, dk_error *err)
{
    if (!config->experts) return DK_OK;
    return dk_fail(err, DK_E_UNSUPPORTED,
                   "a %s model has experts and can be a teacher only: it is neither trained nor cut; give a student "
                   "without experts by student.path or student.config",
                   config->architecture);
}

/* A model that is not opened for training may be one that is only run: the error says what it is good for then. */
static int32_t explain(dk_backend *backend, const char *path, int32_t rc, dk_error *err)
{
    dk_model_options how = {.use_mmap = 1};
    dk_model *model = NULL;
    dk_error other;
    if (rc == DK_E_UNSUPPORTED && dk_model_open(backend, path, &how, &model, &other) == DK_OK) {
        int32_t kind = di_student_check_kind(&model->config, err);
        if (kind) rc = kind;
    }
    dk_model_free(model);
    return rc;
}

int32_t di_student_open(dk_backend *backend, const char *path, const di_options *options, di_student **out,
                        dk_error *err)
{
    dk_model_options how = {.use_mmap = di_options_flag(options, "student.mmap"), .trainable = 1};
    dk_model *model = NULL;
    di_student *s = NULL;
    int32_t rc;
    DK_TRY(di_student_refuse(options, 0, 0, 1, err));
    DK_TRY(di_student_make(backend, &model_kind, &s, err));
    rc = dk_model_open(backend, path, &how, &model, err);
    if (rc) DK_TRY(explain(backend, path, rc, err));
    s->state = model;
    DK_TRY(di_open_model_tokenizer(s->host, path, model, &s->tokenizer, err));
    DK_TRY(freeze(s, options, err));
    *out = s;
    return DK_OK;
out:
    di_student_release(s);
    return rc;
}

static int32_t check_config(dk_host *host, const dk_document *doc, dk_error *err)
{
    dk_config config = {0};
    int32_t rc;
    DK_TRY(dk_config_read(host, doc, &config, err));
    rc = di_student_check_kind(&config, err);
    dk_config_free(host, &config);
out:
    return rc;
}

int32_t di_student_create(dk_backend *backend, const char *config_path, dk_tokenizer *tokenizer,
                          const di_options *options, di_student **out, dk_error *err)
{
    double std = di_options_is_set(options, "student.init_std") ? di_options_f64(options, "student.init_std") : 0;
    dk_document *config = NULL;
    dk_model *model = NULL;
    di_student *s = NULL;
    int32_t rc;
    DK_TRY(di_student_refuse(options, 0, 1, 0, err));
    DK_TRY(di_student_make(backend, &model_kind, &s, err));
    DK_TRY(dk_json_open(s->host, config_path, &config, err));
    DK_TRY(check_config(s->host, config, err));
    DK_TRY(dk_model_create(backend, config, std, (uint64_t)di_options_i64(options, "train.seed"), &model, err));
    s->state = model;
    if (tokenizer && dk_tokenizer_vocab_size(tokenizer) > model->config.vocab_size) {
        rc = dk_fail(err, DK_E_MISMATCH, "%s: vocab_size %lld is below the %lld tokens of the tokenizer", config_path,
                     (long long)model->config.vocab_size, (long long)dk_tokenizer_vocab_size(tokenizer));
        goto out;
    }
    if (tokenizer) DK_TRY(dk_model_add_stop(model, dk_tokenizer_eos(tokenizer), err));
    if (tokenizer) s->tokenizer = dk_tokenizer_retain(tokenizer);
    DK_TRY(freeze(s, options, err));
    dk_document_free(config);
    *out = s;
    return DK_OK;
out:
    dk_document_free(config);
    di_student_release(s);
    return rc;
}

/* student.layers, or every second block with the first and the last kept. */
static int32_t kept_layers(dk_host *host, int64_t layers, const di_options *options, int64_t **out, int64_t *count,
                           dk_error *err)
{
    int64_t given = di_options_list_size(options, "student.layers"),
            kept = given ? given : (layers + 1) / 2 + (layers > 1 && layers % 2 == 0);
    int32_t rc;
    DK_TRY(dk_new(host, kept, out, err));
    *count = 0;
    for (int64_t i = 0; i < given; i++) {
        int64_t layer = di_options_list_i64(options, "student.layers", i);
        if (layer < 0 || layer >= layers)
            return dk_fail(err, DK_E_OPTION, "student.layers names block %lld, the teacher has blocks 0 to %lld",
                           (long long)layer, (long long)layers - 1);
        (*out)[(*count)++] = layer;
    }
    for (int64_t layer = 0; !given && layer < layers; layer++)
        if (layer % 2 == 0 || layer == layers - 1) (*out)[(*count)++] = layer;
out:
    return rc;
}

static int32_t fail_not_local(dk_error *err)
{
    return dk_fail(err, DK_E_UNSUPPORTED,
                   "a student can be derived from a local model only: give student.path or student.config");
}

int32_t di_student_derive_kept(dk_backend *backend, const di_teacher *teacher, const dk_keep *keep,
                               const di_options *options, di_student **out, dk_error *err)
{
    dk_model *from = di_teacher_model(teacher), *model = NULL;
    di_student *s = NULL;
    int32_t rc;
    if (!from) return fail_not_local(err);
    DK_TRY(di_student_check_kind(&from->config, err));
    DK_TRY(di_student_refuse(options, 1, 0, 0, err));
    DK_TRY(di_student_make(backend, &model_kind, &s, err));
    di_student_take_storage(s, teacher);
    DK_TRY(dk_model_prune(from, backend, keep, &model, err));
    s->state = model;
    if (di_teacher_tokenizer(teacher)) s->tokenizer = dk_tokenizer_retain(di_teacher_tokenizer(teacher));
    DK_TRY(freeze(s, options, err));
    *out = s;
    return DK_OK;
out:
    di_student_release(s);
    return rc;
}

int32_t di_student_derive(dk_backend *backend, const di_teacher *teacher, const di_options *options, di_student **out,
                          dk_error *err)
{
    const dk_model *from = di_teacher_model(teacher);
    int64_t *layers = NULL;
    dk_keep keep = {.layers = NULL};
    int32_t rc;
    if (!from) return fail_not_local(err);
    DK_TRY(kept_layers(backend->host, from->config.layers, options, &layers, &keep.layer_count, err));
    keep.layers = layers;
    DK_TRY(di_student_derive_kept(backend, teacher, &keep, options, out, err));
out:
    dk_free(backend->host, layers);
    return rc;
}
