#include "teacher/teacher_parts.h"

#include <string.h>

#include "base/hash.h"
#include "format/checkpoint.h"
#include "format/open_tokenizer.h"

di_teacher *di_teacher_retain(di_teacher *t)
{
    atomic_fetch_add_explicit(&t->references, 1, memory_order_relaxed);
    return t;
}

void di_teacher_release(di_teacher *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->references, 1, memory_order_acq_rel) > 1) return;
    dk_host *host = t->host;
    if (t->owns_model) dk_model_free(t->model);
    if (t->release_owner) t->release_owner(t->owner);
    if (t->callbacks.destroy) t->callbacks.destroy(t->callbacks.user);
    dk_tokenizer_release(t->tokenizer);
    dk_free(host, t->path);
    dk_free(host, t->form_head);
    dk_free(host, t->form_bias);
    dk_free(host, t);
    dk_host_release(host);
}

static int32_t create(dk_backend *backend, const di_teacher_kind *kind, const char *path, di_teacher **out,
                      dk_error *err)
{
    di_teacher *t = NULL;
    int32_t rc = dk_new(backend->host, 1, &t, err);
    if (rc != DK_OK) return rc;
    atomic_init(&t->references, 1);
    t->host = dk_host_retain(backend->host);
    t->backend = backend;
    t->kind = kind;
    if (!(t->path = dk_strdup(t->host, path))) {
        di_teacher_release(t);
        return dk_fail_nomem(err, strlen(path) + 1);
    }
    *out = t;
    return DK_OK;
}

/* ---- local models ---- */

int32_t di_check_tokenizer(const char *path, const dk_model *model, const dk_tokenizer *tokenizer, dk_error *err)
{
    const dk_config *config = &model->config;
    int64_t size = dk_tokenizer_vocab_size(tokenizer), bos = dk_tokenizer_bos(tokenizer);
    if (size > config->vocab_size)
        return dk_fail(err, DK_E_MISMATCH,
                       "%s: the tokenizer has %lld tokens, the model's vocab_size is %lld: they do not belong together",
                       path, (long long)size, (long long)config->vocab_size);
    if (bos >= 0 && config->bos >= 0 && bos != config->bos)
        dk_log(model->host, DK_LOG_WARN, "model", "%s: bos_token_id is %lld, the tokenizer's is %lld, which is used",
               path, (long long)config->bos, (long long)bos);
    return DK_OK;
}

int32_t di_open_model_tokenizer(dk_host *host, const char *path, dk_model *model, dk_tokenizer **out, dk_error *err)
{
    int32_t rc = dk_open_tokenizer(host, path, out, err);
    if (rc == DK_E_NOT_FOUND) { /* a model without a tokenizer scores ids */
        *out = NULL;
        dk_error_clear(err);
        return DK_OK;
    }
    if (rc != DK_OK) return rc;
    rc = di_check_tokenizer(path, model, *out, err);
    if (!rc) rc = dk_model_add_stop(model, dk_tokenizer_eos(*out), err);
    if (!rc) return DK_OK;
    dk_tokenizer_release(*out);
    *out = NULL;
    return rc;
}

int32_t di_teacher_open(dk_backend *backend, const char *path, const di_options *options, di_teacher **out,
                        dk_error *err)
{
    dk_model_options how = {.use_mmap = di_options_flag(options, "teacher.mmap")};
    di_teacher *t = NULL;
    int32_t rc;
    DK_TRY(create(backend, &di_teacher_local, path, &t, err));
    t->owns_model = 1;
    DK_TRY(dk_model_open(backend, path, &how, &t->model, err));
    DK_TRY(di_open_model_tokenizer(t->host, path, t->model, &t->tokenizer, err));
    *out = t;
    return DK_OK;
out:
    di_teacher_release(t);
    return rc;
}

int32_t di_teacher_from_model(dk_backend *backend, dk_model *model, dk_tokenizer *tokenizer, void *owner,
                              void (*retain)(void *), void (*release)(void *), di_teacher **out, dk_error *err)
{
    di_teacher *t = NULL;
    int32_t rc = create(backend, &di_teacher_local, "", &t, err);
    if (rc != DK_OK) return rc;
    t->model = model;
    t->tokenizer = tokenizer ? dk_tokenizer_retain(tokenizer) : NULL;
    if (retain) retain(owner);
    t->owner = owner;
    t->release_owner = release;
    *out = t;
    return DK_OK;
}

/* ---- callbacks ---- */

static int64_t last_dimension(const distill_tensor *tensor)
{
    return tensor && tensor->ndim > 0 ? tensor->shape[tensor->ndim - 1] : 0;
}

static int32_t keep(di_teacher *t, int32_t slot, const distill_tensor *tensor, float **data, dk_error *err)
{
    int64_t rows = tensor->ndim == 2 ? tensor->shape[0] : 1, width = last_dimension(tensor);
    distill_tensor flat = *tensor;
    int64_t shape[2] = {rows, width};
    if (!(*data = dk_alloc(t->host, (uint64_t)(rows * width), sizeof **data)))
        return dk_fail_nomem(err, (uint64_t)(rows * width) * sizeof **data);
    int64_t strides[2] = {0, tensor->strides ? tensor->strides[tensor->ndim - 1] : 1};
    if (tensor->ndim == 1) {
        flat.ndim = 2;
        flat.shape = shape;
        flat.strides = strides;
    }
    di_tensor_read_rows(&flat, 0, rows, *data);
    memcpy(t->form_shapes[slot], tensor->ndim == 2 ? shape : shape + 1,
           tensor->ndim == 2 ? sizeof shape : sizeof shape[0]);
    t->form_tensors[slot] = di_tensor_of(*data, DISTILL_FLOAT, 32, tensor->ndim, t->form_shapes[slot]);
    return DK_OK;
}

/* Only widths are kept of the tensors that score fills; head and bias are copied. */
static int32_t copy_form(di_teacher *t, const distill_target *form, dk_error *err)
{
    int32_t rc = DK_OK;
    t->form = *form;
    t->form.head = t->form.bias = NULL;
    t->form_shapes[0][1] = form->kind == DISTILL_ONE_HOT ? 1 : last_dimension(form->values);
    t->form_tensors[0] = di_tensor_of(NULL, DISTILL_FLOAT, 32, 2, t->form_shapes[0]);
    t->form.values = &t->form_tensors[0]; /* widths only: score fills tensors of the library */
    t->form.ids = NULL;
    if (form->tail) t->form.tail = &t->form_tensors[0];
    if (form->kind != DISTILL_HIDDEN) goto out;
    if (!form->head || form->head->ndim != 2)
        return dk_fail(err, DK_E_INVALID, "form->head is not a tensor [vocab, width]");
    DK_TRY(keep(t, 3, form->head, &t->form_head, err));
    t->form.head = &t->form_tensors[3];
    if (form->bias) DK_TRY(keep(t, 4, form->bias, &t->form_bias, err));
    if (form->bias) t->form.bias = &t->form_tensors[4];
out:
    return rc;
}

static int32_t check_table(const distill_teacher_callbacks *table, dk_error *err)
{
    if (!table->score && !table->generate) return dk_fail(err, DK_E_INVALID, "table has neither score nor generate");
    if (!table->form) return dk_fail(err, DK_E_INVALID, "table->form is NULL: it says what score gives");
    if (table->form->kind < DISTILL_DENSE || table->form->kind > DISTILL_ONE_HOT)
        return dk_fail(err, DK_E_INVALID, "table->form->kind %d is none of DISTILL_DENSE ...", (int)table->form->kind);
    if (table->form->kind != DISTILL_ONE_HOT && last_dimension(table->form->values) < 1)
        return dk_fail(err, DK_E_INVALID, "table->form->values has no width: its last dimension is vocab, k or width");
    return di_check_temperature(table->form->temperature, "table->form", err);
}

int32_t di_teacher_from_callbacks(dk_backend *backend, const distill_teacher_callbacks *table,
                                  const di_options *options, di_teacher **out, dk_error *err)
{
    di_teacher *t = NULL;
    int32_t rc;
    (void)options;
    if ((rc = create(backend, &di_teacher_of_callbacks, "", &t, err)) != DK_OK) {
        if (table->destroy) table->destroy(table->user);
        return rc;
    }
    t->callbacks = *table;
    t->callbacks.form = &t->form;
    DK_TRY(check_table(table, err));
    DK_TRY(copy_form(t, table->form, err));
    *out = t;
    return DK_OK;
out:
    di_teacher_release(t);
    return rc;
}

/* ---- what is known about it ---- */

dk_model *di_teacher_model(const di_teacher *t) { return t->model; }

dk_tokenizer *di_teacher_tokenizer(const di_teacher *t) { return t->tokenizer; }

const distill_target *di_teacher_form(const di_teacher *t) { return &t->form; }

const char *di_teacher_path(const di_teacher *t) { return t->path; }

int64_t di_teacher_vocab(const di_teacher *t)
{
    if (t->model) return t->model->config.vocab_size;
    if (t->form.vocab_valid > 0) return t->form.vocab_valid;
    if (t->form.kind == DISTILL_DENSE) return t->form_shapes[0][1];
    return t->form.head ? t->form_shapes[3][0] : INT32_MAX; /* sparse targets name ids, not a width */
}

int32_t di_teacher_get_i64(const di_teacher *t, const char *key, int64_t *out, dk_error *err)
{
    const dk_model *m = t->model;
    const struct {
        const char *key;
        int64_t value;
    } table[] = {{"vocab_size", di_teacher_vocab(t)},           {"hidden_size", m ? m->config.hidden_size : -1},
                 {"layers", m ? m->config.layers : -1},         {"context_length", m ? m->config.max_positions : -1},
                 {"parameters", m ? dk_model_elements(m) : -1}, {"bytes", m ? (int64_t)m->file_bytes : -1}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(table[i].key, key) != 0) continue;
        if (table[i].value < 0) return dk_fail(err, DK_E_NOT_FOUND, "a teacher of callbacks has no %s", key);
        *out = table[i].value;
        return DK_OK;
    }
    return dk_fail(err, DK_E_NOT_FOUND,
                   "key %s is not one of vocab_size, hidden_size, layers, context_length, parameters, bytes", key);
}

int32_t di_teacher_hash(const di_teacher *t, char hex[65], dk_error *err)
{
    dk_sha256 sha;
    uint8_t digest[32];
    int64_t numbers[] = {t->form.kind, t->form_shapes[0][1], t->form.vocab_valid};
    if (t->model) return dk_model_hash(t->model, hex, err);
    dk_sha256_begin(&sha);
    dk_sha256_add(&sha, numbers, sizeof numbers);
    dk_sha256_end(&sha, digest);
    dk_hex(digest, sizeof digest, hex);
    return DK_OK;
}
