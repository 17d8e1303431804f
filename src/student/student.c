#include "student/student.h"

#include <stdatomic.h>
#include <string.h>

#include "base/file.h"
#include "student/student_parts.h"
#include "target/host_rows.h"

di_student *di_student_retain(di_student *s)
{
    atomic_fetch_add_explicit(&s->references, 1, memory_order_relaxed);
    return s;
}

void di_student_release(di_student *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->references, 1, memory_order_acq_rel) > 1) return;
    dk_host *host = s->host;
    dk_model_free(s->model);
    if (s->callbacks.destroy) s->callbacks.destroy(s->callbacks.user);
    dk_tokenizer_release(s->tokenizer);
    di_teacher_release(s->form);
    dk_free(host, s);
    dk_host_release(host);
}

static int32_t create(dk_backend *backend, di_student **out, dk_error *err)
{
    int32_t rc = dk_new(backend->host, 1, out, err);
    if (rc != DK_OK) return rc;
    atomic_init(&(*out)->references, 1);
    atomic_init(&(*out)->held, 0);
    (*out)->host = dk_host_retain(backend->host);
    (*out)->backend = backend;
    (*out)->storage = DK_F32;
    return DK_OK;
}

/* What nothing would read in this way of making a student. */
static int32_t refuse(const di_options *options, int32_t layers, int32_t init_std, int32_t mapped, dk_error *err)
{
    int32_t rc = DK_OK;
    if (!layers)
        DK_TRY(di_options_refuse(options, "student.layers",
                                 "chooses layers of a teacher: it goes with student.from: teacher only", err));
    if (!init_std)
        DK_TRY(di_options_refuse(options, "student.init_std", "is of random weights: it goes with student.config only",
                                 err));
    if (!mapped)
        DK_TRY(di_options_refuse(options, "student.mmap", "is of a file: it goes with student.path only", err));
out:
    return rc;
}

static int32_t freeze(di_student *s, const di_options *options, dk_error *err)
{
    int64_t count = di_options_list_size(options, "student.freeze"), frozen = 0;
    const char **patterns = NULL;
    int32_t rc;
    if (!count) return DK_OK;
    DK_TRY(dk_new(s->host, count, &patterns, err));
    for (int64_t i = 0; i < count; i++) patterns[i] = di_options_list_text(options, "student.freeze", i);
    DK_TRY(dk_model_freeze(s->model, patterns, count, &frozen, err));
    dk_log(s->host, DK_LOG_INFO, "student", "%lld of %lld parameters are frozen", (long long)frozen,
           (long long)s->model->parameter_count);
out:
    dk_free(s->host, patterns);
    return rc;
}

int32_t di_student_open(dk_backend *backend, const char *path, const di_options *options, di_student **out,
                        dk_error *err)
{
    dk_model_options how = {.use_mmap = di_options_flag(options, "student.mmap"), .trainable = 1};
    di_student *s = NULL;
    int32_t rc;
    DK_TRY(refuse(options, 0, 0, 1, err));
    DK_TRY(create(backend, &s, err));
    DK_TRY(dk_model_open(backend, path, &how, &s->model, err));
    DK_TRY(di_open_model_tokenizer(s->host, path, s->model, &s->tokenizer, err));
    DK_TRY(freeze(s, options, err));
    *out = s;
    return DK_OK;
out:
    di_student_release(s);
    return rc;
}

int32_t di_student_create(dk_backend *backend, const char *config_path, dk_tokenizer *tokenizer,
                          const di_options *options, di_student **out, dk_error *err)
{
    double std = di_options_is_set(options, "student.init_std") ? di_options_f64(options, "student.init_std") : 0;
    dk_document *config = NULL;
    di_student *s = NULL;
    int32_t rc;
    DK_TRY(refuse(options, 0, 1, 0, err));
    DK_TRY(create(backend, &s, err));
    DK_TRY(dk_json_open(s->host, config_path, &config, err));
    DK_TRY(dk_model_create(backend, config, std, (uint64_t)di_options_i64(options, "train.seed"), &s->model, err));
    if (tokenizer && dk_tokenizer_vocab_size(tokenizer) > s->model->config.vocab_size) {
        rc = dk_fail(err, DK_E_MISMATCH, "%s: vocab_size %lld is below the %lld tokens of the tokenizer", config_path,
                     (long long)s->model->config.vocab_size, (long long)dk_tokenizer_vocab_size(tokenizer));
        goto out;
    }
    if (tokenizer) DK_TRY(dk_model_add_stop(s->model, dk_tokenizer_eos(tokenizer), err));
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

int32_t di_student_derive(dk_backend *backend, const di_teacher *teacher, const di_options *options, di_student **out,
                          dk_error *err)
{
    dk_model *from = di_teacher_model(teacher);
    int64_t *layers = NULL, count = 0;
    di_student *s = NULL;
    int32_t rc;
    if (!from)
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "a student can be derived from a local model only: give student.path or student.config");
    DK_TRY(refuse(options, 1, 0, 0, err));
    DK_TRY(create(backend, &s, err));
    di_student_take_storage(s, teacher);
    DK_TRY(kept_layers(s->host, from->config.layers, options, &layers, &count, err));
    DK_TRY(dk_model_derive(from, backend, layers, count, &s->model, err));
    if (di_teacher_tokenizer(teacher)) s->tokenizer = dk_tokenizer_retain(di_teacher_tokenizer(teacher));
    DK_TRY(freeze(s, options, err));
    dk_free(backend->host, layers);
    *out = s;
    return DK_OK;
out:
    dk_free(backend->host, layers);
    di_student_release(s);
    return rc;
}

/* ---- callbacks: scoring goes through a teacher made of the same functions ---- */

static int32_t score(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    const di_student *s = user;
    return s->callbacks.forward(s->callbacks.user, batch, first, count, out);
}

/* destroy NULL: the teacher does not keep the student alive, as inside the student itself. */
static int32_t scorer_of(di_student *s, distill_destroy_fn destroy, di_teacher **out, dk_error *err)
{
    distill_teacher_callbacks table;
    DISTILL_INIT(&table);
    table.user = s;
    table.destroy = destroy;
    table.score = score;
    table.form = s->callbacks.form;
    return di_teacher_from_callbacks(s->backend, &table, NULL, out, err);
}

static int32_t check_table(const distill_student_callbacks *table, dk_error *err)
{
    const char *missing = !table->forward    ? "forward"
                          : !table->backward ? "backward"
                          : !table->apply    ? "apply"
                          : !table->form     ? "form"
                                             : NULL;
    if (missing) return dk_fail(err, DK_E_INVALID, "table->%s is NULL", missing);
    if (table->form->kind != DISTILL_DENSE && table->form->kind != DISTILL_HIDDEN)
        return dk_fail(err, DK_E_INVALID, "table->form->kind is %s: a student gives DENSE or HIDDEN",
                       di_kind_name(table->form->kind));
    return DK_OK;
}

int32_t di_student_from_callbacks(dk_backend *backend, const distill_student_callbacks *table,
                                  const di_options *options, di_student **out, dk_error *err)
{
    di_student *s = NULL;
    int32_t rc;
    rc = refuse(options, 0, 0, 0, err);
    if (rc == DK_OK)
        rc =
            di_options_refuse(options, "student.freeze", "names parameters, which a student of callbacks has not", err);
    if (rc != DK_OK || (rc = create(backend, &s, err)) != DK_OK) {
        if (table->destroy) table->destroy(table->user);
        return rc;
    }
    s->callbacks = *table;
    s->is_callbacks = 1;
    DK_TRY(check_table(table, err));
    DK_TRY(scorer_of(s, NULL, &s->form, err));
    s->callbacks.form = di_teacher_form(s->form); /* the copy: the caller's may be gone */
    *out = s;
    return DK_OK;
out:
    di_student_release(s);
    return rc;
}

/* ---- what is known about it ---- */

dk_model *di_student_model(const di_student *s) { return s->model; }

const distill_student_callbacks *di_student_callbacks(const di_student *s)
{
    return s->is_callbacks ? &s->callbacks : NULL;
}

dk_tokenizer *di_student_tokenizer(const di_student *s) { return s->tokenizer; }

int64_t di_student_vocab(const di_student *s)
{
    return s->model ? s->model->config.vocab_size : di_teacher_vocab(s->form);
}

int32_t di_student_acquire(di_student *s, dk_error *err)
{
    if (atomic_exchange(&s->held, 1))
        return dk_fail(err, DK_E_BUSY, "the student is held by another trainer: free that one first");
    int32_t rc = s->model ? dk_model_add_gradients(s->model, err) : DK_OK;
    if (rc != DK_OK) atomic_store(&s->held, 0);
    return rc;
}

void di_student_let_go(di_student *s) { atomic_store(&s->held, 0); }

static void retain_student(void *student) { di_student_retain(student); }

static void release_student(void *student) { di_student_release(student); }

int32_t di_student_as_teacher(di_student *s, di_teacher **out, dk_error *err)
{
    if (s->model)
        return di_teacher_from_model(s->backend, s->model, s->tokenizer, s, retain_student, release_student, out, err);
    di_student_retain(s);
    return scorer_of(s, release_student, out, err);
}

/* ---- saving ---- */

static int32_t save_into(const di_student *s, const char *folder, dk_dtype dtype, dk_error *err)
{
    int32_t rc;
    if (s->model) {
        DK_TRY(dk_model_save(s->model, folder, dtype, err));
        if (s->tokenizer) DK_TRY(dk_tokenizer_save(s->tokenizer, folder, err));
        return DK_OK;
    }
    if (!s->callbacks.save)
        return dk_fail(err, DK_E_UNSUPPORTED, "this student cannot be saved: its table has no save");
    rc = s->callbacks.save(s->callbacks.user, folder);
    if (rc == DISTILL_CB_OK) return DK_OK;
    dk_fail(err, DK_E_CALLBACK, "the student's save returned %d for %s", (int)rc, folder);
    if (err) err->user_code = rc;
    rc = DK_E_CALLBACK;
out:
    return rc;
}

/* The type that most of the teacher's weights have; what is neither F32 nor F16 is BF16 here. */
void di_student_take_storage(di_student *s, const di_teacher *teacher)
{
    const dk_model *model = di_teacher_model(teacher);
    int64_t counts[3] = {0};
    for (int64_t i = 0; model && i < model->parameter_count; i++) {
        const dk_view *value = &model->parameters[i].value;
        int64_t count = 1;
        for (int32_t d = 0; d < value->rank; d++) count *= value->shape[d];
        counts[value->dtype == DK_F32 ? 0 : value->dtype == DK_F16 ? 1 : 2] += count;
    }
    if (!model) return;
    s->storage = counts[2] > counts[0] && counts[2] >= counts[1] ? DK_BF16 : counts[1] > counts[0] ? DK_F16 : DK_F32;
}

static dk_dtype type_named(const di_student *s, const char *name)
{
    if (strcmp(name, "auto") == 0) return s->storage;
    return strcmp(name, "bf16") == 0 ? DK_BF16 : strcmp(name, "f16") == 0 ? DK_F16 : DK_F32;
}

int32_t di_student_save(const di_student *s, const char *path, const char *type, dk_error *err)
{
    char *staged = NULL;
    int32_t rc;
    DK_TRY(dk_dir_stage(s->host, path, &staged, err));
    DK_TRY(save_into(s, staged, type_named(s, type), err));
    DK_TRY(dk_dir_commit(s->host, staged, path, err));
out:
    if (rc != DK_OK && staged) dk_dir_remove(s->host, staged, NULL);
    if (rc != DK_OK) dk_hide_temporary(err);
    dk_free(s->host, staged);
    return rc;
}

/* ---- parameters ---- */

const char *di_student_parameter_name(const di_student *s, int64_t index)
{
    return s->model && index >= 0 && index < s->model->parameter_count ? s->model->parameters[index].name : NULL;
}

int32_t di_student_parameter(di_student *s, const char *name, int32_t which, distill_tensor *out, dk_error *err)
{
    dk_parameter *parameter = s->model ? dk_model_find(s->model, name) : NULL;
    if (which != DISTILL_WEIGHT && which != DISTILL_GRADIENT)
        return dk_fail(err, DK_E_INVALID, "which %d is neither DISTILL_WEIGHT nor DISTILL_GRADIENT", (int)which);
    if (!parameter) return dk_fail(err, DK_E_NOT_FOUND, "the student has no parameter %s", name);
    dk_view view = which == DISTILL_WEIGHT ? parameter->value : parameter->gradient;
    if (!dk_view_present(view))
        return dk_fail(err, DK_E_NOT_FOUND, "%s has no gradient: %s", name,
                       parameter->frozen ? "it is frozen" : "no trainer holds the student yet");
    return di_tensor_of_view(s->backend, view, name, parameter->value.shape, out, err);
}

int32_t di_student_weights_changed(di_student *s, dk_error *err)
{
    dk_queue queue;
    int32_t rc;
    if (!s->model) return DK_OK;
    DK_TRY(dk_queue_open(&queue, s->backend, err));
    for (int64_t i = 0; i < s->model->parameter_count; i++) s->backend->ops->refresh(&queue, &s->model->parameters[i]);
    DK_TRY(dk_queue_wait(&queue, err));
out:
    dk_queue_close(&queue);
    return rc;
}
