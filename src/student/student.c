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
    if (s->state) s->kind->free(s);
    dk_tokenizer_release(s->tokenizer);
    dk_free(host, s->chat_template);
    dk_free(host, s);
    dk_host_release(host);
}

int32_t di_student_make(dk_backend *backend, const di_student_kind *kind, di_student **out, dk_error *err)
{
    int32_t rc = dk_new(backend->host, 1, out, err);
    if (rc != DK_OK) return rc;
    atomic_init(&(*out)->references, 1);
    atomic_init(&(*out)->held, 0);
    (*out)->host = dk_host_retain(backend->host);
    (*out)->backend = backend;
    (*out)->kind = kind;
    (*out)->storage = DK_F32;
    return DK_OK;
}

/* What nothing would read in this way of making a student. */
int32_t di_student_refuse(const di_options *options, int32_t layers, int32_t init_std, int32_t mapped, dk_error *err)
{
    static const char *const shapes[] = {"student.layers_by",   "student.heads",          "student.intermediate_size",
                                         "student.hidden_size", "student.importance",     "student.calibration_tokens",
                                         "student.vocabulary",  "student.vocabulary_text"};
    int32_t rc = DK_OK;
    if (!layers)
        DK_TRY(di_options_refuse(options, "student.layers",
                                 "chooses layers of a teacher: it goes with student.from: teacher only", err));
    for (size_t i = 0; !layers && i < sizeof shapes / sizeof *shapes; i++)
        DK_TRY(di_options_refuse(options, shapes[i],
                                 "shapes a copy of a teacher: it goes with student.from: teacher only", err));
    if (!init_std)
        DK_TRY(di_options_refuse(options, "student.init_std", "is of random weights: it goes with student.config only",
                                 err));
    if (!mapped)
        DK_TRY(di_options_refuse(options, "student.mmap", "is of a file: it goes with student.path only", err));
out:
    return rc;
}

/* ---- what is known about it ---- */

di_facts di_student_facts(const di_student *s)
{
    di_facts facts = {-1, -1, -1, -1, -1, -1, -1, -1};
    s->kind->describe(s, &facts);
    return facts;
}

dk_model *di_student_model(const di_student *s) { return s->kind->model ? s->kind->model(s) : NULL; }

const distill_student_callbacks *di_student_callbacks(const di_student *s)
{
    return s->kind->callbacks ? s->kind->callbacks(s) : NULL;
}

dk_tokenizer *di_student_tokenizer(const di_student *s) { return s->tokenizer; }

int32_t di_student_place(const di_student *s, const dk_tap_spec *tap, di_place *out, dk_error *err)
{
    return s->kind->place(s, tap, out, err);
}

int64_t di_student_vocab_valid(const di_student *s) { return di_student_facts(s).vocab_valid; }

int32_t di_student_get_i64(const di_student *s, const char *key, int64_t *out, dk_error *err)
{
    const di_facts facts = di_student_facts(s);
    return di_facts_get(&facts, di_student_model(s) ? "a student" : "a student of callbacks", key, out, err);
}

const char *di_student_head_name(const di_student *s)
{
    const dk_model *model = di_student_model(s);
    return model ? model->head->name : NULL;
}

double di_student_flops(const di_student *s, int64_t tokens, int64_t mean_length)
{
    return s->kind->flops ? s->kind->flops(s, tokens, mean_length) : 0;
}

int32_t di_student_acquire(di_student *s, dk_error *err)
{
    dk_model *model = di_student_model(s);
    if (atomic_exchange(&s->held, 1))
        return dk_fail(err, DK_E_BUSY, "the student is held by another trainer: free that one first");
    int32_t rc = model ? dk_model_add_gradients(model, err) : DK_OK;
    if (rc != DK_OK) atomic_store(&s->held, 0);
    return rc;
}

void di_student_let_go(di_student *s) { atomic_store(&s->held, 0); }

int32_t di_student_as_teacher(di_student *s, di_teacher **out, dk_error *err)
{
    return s->kind->as_teacher(s, out, err);
}

void di_student_take_storage(di_student *s, const di_teacher *teacher)
{
    const dk_model *model = di_teacher_model(teacher);
    if (model) s->storage = di_stored_type(model);
}

int32_t di_student_files(const di_student *s, const char *format, const char *type, di_files *out, dk_error *err)
{
    int32_t rc = di_files_choose(format, type, s->storage, out, err);
    if (rc == DK_OK && out->gguf && !s->kind->model)
        return dk_fail(err, DK_E_UNSUPPORTED, "output.format %s: a student of the host's own saves itself", format);
    return rc ? rc : out->gguf ? di_files_check(out, di_student_model(s), s->tokenizer, err) : DK_OK;
}

void di_student_on_saved(di_student *s, dk_saved_fn saved, void *user)
{
    s->saved = saved;
    s->saved_user = user;
}

int32_t di_student_take_chat(di_student *s, const char *jinja, dk_error *err)
{
    char *copy = jinja ? dk_strdup(s->host, jinja) : NULL;
    if (!jinja) return DK_OK;
    if (!copy) return dk_fail_nomem(err, strlen(jinja) + 1);
    dk_free(s->host, s->chat_template);
    s->chat_template = copy;
    return DK_OK;
}

int32_t di_student_save(const di_student *s, const char *path, const di_files *files, dk_error *err)
{
    di_files own = *files;
    dk_staged staged = {.path = NULL};
    int32_t rc;
    own.chat_template = s->chat_template;
    DK_TRY(dk_dir_stage(s->host, path, &staged, err));
    DK_TRY(s->kind->save(s, staged.path, &own, err));
    DK_TRY(dk_dir_commit(s->host, &staged, path, err));
out:
    if (rc != DK_OK) dk_hide_temporary(err);
    dk_staged_end(s->host, &staged);
    return rc;
}

/* ---- parameters ---- */

const char *di_student_parameter_name(const di_student *s, int64_t index)
{
    const dk_model *model = di_student_model(s);
    return model && index >= 0 && index < model->parameter_count ? model->parameters[index].name : NULL;
}

int32_t di_student_parameter(di_student *s, const char *name, int32_t which, distill_tensor *out, dk_error *err)
{
    const dk_model *model = di_student_model(s);
    dk_parameter *parameter = model ? dk_model_find(model, name) : NULL;
    if (which != DISTILL_WEIGHT && which != DISTILL_GRADIENT)
        return dk_fail(err, DK_E_INVALID, "which %d is neither DISTILL_WEIGHT nor DISTILL_GRADIENT", (int)which);
    if (!parameter) return dk_fail(err, DK_E_NOT_FOUND, "the student has no parameter %s", name);
    dk_view view = which == DISTILL_WEIGHT ? parameter->value : parameter->gradient;
    if (!dk_view_present(view))
        return dk_fail(err, DK_E_NOT_FOUND, "%s has no gradient: %s", name,
                       parameter->frozen ? "it is frozen" : "no trainer holds the student yet");
    return di_tensor_of_view(s->backend, view, name, parameter->value.shape, out, err);
}

int32_t di_student_write(di_student *s, const dk_tokens *prompts, const dk_generate_args *args, const int64_t *most,
                         dk_error *err)
{
    return s->kind->write(s, prompts, args, most, err);
}

int32_t di_student_writes(const di_student *s) { return s->kind->writes(s); }

int32_t di_student_weights_changed(di_student *s, dk_error *err)
{
    dk_model *model = di_student_model(s);
    dk_queue queue;
    int32_t rc;
    if (!model) return DK_OK;
    DK_TRY(dk_queue_open(&queue, s->backend, err));
    for (int64_t i = 0; i < model->parameter_count; i++) s->backend->ops->refresh(&queue, &model->parameters[i]);
    DK_TRY(dk_queue_wait(&queue, err));
out:
    dk_queue_close(&queue);
    return rc;
}
