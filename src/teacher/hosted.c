/* hosted.c - a teacher that is the host's callbacks: its table, its form, and what is known by them. */
#include <string.h>

#include "base/hash.h"
#include "target/host_taps.h"
#include "teacher/teacher_parts.h"

static void free_state(di_teacher *t)
{
    di_hosted *hosted = t->state;
    if (hosted->callbacks.destroy) hosted->callbacks.destroy(hosted->callbacks.user);
    dk_free(t->host, hosted->head_data);
    dk_free(t->host, hosted->bias_data);
    dk_free(t->host, hosted->identity);
    dk_free(t->host, hosted->taps);
    dk_free(t->host, hosted);
}

static const distill_target *form_of(const di_teacher *t)
{
    const di_hosted *hosted = t->state;
    return &hosted->form;
}

static void describe(const di_teacher *t, di_facts *out)
{
    const di_hosted *hosted = t->state;
    if (hosted->form.kind == DISTILL_DENSE) out->vocab_size = hosted->value_shape[1];
    else if (hosted->form.kind == DISTILL_HIDDEN) out->vocab_size = hosted->head_shape[0];
    else if (hosted->form.vocab_valid > 0) out->vocab_size = hosted->form.vocab_valid;
    out->vocab_valid = hosted->form.vocab_valid > 0 ? hosted->form.vocab_valid : out->vocab_size;
}

/* Identity of a host's teacher is what it says of itself: its form, and who it is if it says so. */
static int32_t hash(const di_teacher *t, char hex[65], dk_error *err)
{
    const di_hosted *hosted = t->state;
    dk_sha256 sha;
    uint8_t digest[32];
    int64_t numbers[] = {hosted->form.kind, hosted->value_shape[1], hosted->form.vocab_valid};
    (void)err;
    dk_sha256_begin(&sha);
    dk_sha256_add(&sha, numbers, sizeof numbers);
    if (hosted->identity) dk_sha256_add(&sha, hosted->identity, strlen(hosted->identity));
    dk_sha256_end(&sha, digest);
    dk_hex(digest, sizeof digest, hex);
    return DK_OK;
}

static void settings(const di_teacher *t, dk_strbuf *json)
{
    const di_hosted *hosted = t->state;
    dk_strbuf_printf(json, ",\"target\":\"%s\"", di_kind_name(hosted->form.kind));
    if (!hosted->identity) return;
    dk_strbuf_puts(json, ",\"identity\":");
    dk_strbuf_json(json, hosted->identity, strlen(hosted->identity));
}

/* To a table, what a host's generate hands to a function. */
static int32_t pass_on(void *user, int64_t sequence, int32_t id, double log_prob, const char *text, size_t size,
                       int32_t finished)
{
    const distill_writer_callbacks *table = user;
    const distill_token token = {.struct_size = sizeof token,
                                 .id = id,
                                 .text = text ? text : "",
                                 .size = (int64_t)size,
                                 .log_prob = log_prob,
                                 .finished = finished};
    return table->token(table->user, sequence, &token);
}

static int32_t check_reader(const di_reader *reader, const di_options *options, dk_error *err)
{
    if (!reader->fn && reader->table->logits)
        return dk_fail(err, DK_E_UNSUPPORTED, "a teacher of callbacks has no logits that could be changed");
    if (di_options_i64(options, "generate.top_logprobs"))
        return dk_fail(err, DK_E_UNSUPPORTED, "generate.top_logprobs: a teacher of callbacks does not say them");
    return DK_OK;
}

static int32_t generate(di_teacher *t, const distill_batch *prompts, const di_options *options,
                        const distill_options *user_options, const di_reader *reader, dk_error *err)
{
    const di_hosted *hosted = t->state;
    const distill_teacher_callbacks *table = &hosted->callbacks;
    if (!table->generate) return dk_fail(err, DK_E_UNSUPPORTED, "this teacher only scores: its table has no generate");
    int32_t code = check_reader(reader, options, err);
    if (code) return code;
    if (reader->fn) code = table->generate(table->user, prompts, user_options, reader->fn, reader->user);
    else code = table->generate(table->user, prompts, user_options, pass_on, (void *)(uintptr_t)reader->table);
    if (code == DISTILL_CB_OK) return DK_OK;
    if (code == DISTILL_CB_CANCEL) return dk_fail(err, DK_E_CANCELLED, "the teacher's generate stopped");
    dk_fail(err, DK_E_CALLBACK, "the teacher's generate returned %d", (int)code);
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}

static int32_t ahead(const di_teacher *t)
{
    const di_hosted *hosted = t->state;
    return hosted->callbacks.begin != NULL;
}

static int32_t place(const di_teacher *t, const dk_tap_spec *tap, di_place *out, dk_error *err)
{
    const di_hosted *hosted = t->state;
    return di_host_taps_place(hosted->taps, hosted->callbacks.tap_count, "the teacher", tap, NULL, out, err);
}

static const di_teacher_kind hosted_kind = {.name = "a teacher of callbacks",
                                            .type = "callbacks",
                                            .free = free_state,
                                            .describe = describe,
                                            .form = form_of,
                                            .hash = hash,
                                            .settings = settings,
                                            .ahead = ahead,
                                            .place = place,
                                            .begin = di_hosted_begin,
                                            .end = di_hosted_end,
                                            .session = di_hosted_session,
                                            .session_free = di_hosted_session_free,
                                            .forward = di_hosted_forward,
                                            .generate = generate};

/* ---- how one comes to be ---- */

static int64_t last_dimension(const distill_tensor *tensor)
{
    return tensor && tensor->ndim > 0 ? tensor->shape[tensor->ndim - 1] : 0;
}

/* A compact fp32 copy of [rows, width], or of [width] with rows = 1. */
static int32_t copy_values(dk_host *host, const distill_tensor *tensor, int64_t rows, float **data, dk_error *err)
{
    int64_t shape[2] = {rows, last_dimension(tensor)};
    int64_t strides[2] = {0, tensor->strides ? tensor->strides[tensor->ndim - 1] : 1};
    distill_tensor flat = *tensor;
    if (!(*data = dk_alloc(host, (uint64_t)(rows * shape[1]), sizeof **data)))
        return dk_fail_nomem(err, (uint64_t)(rows * shape[1]) * sizeof **data);
    if (tensor->ndim == 1) {
        flat.ndim = 2;
        flat.shape = shape;
        flat.strides = strides;
    }
    di_tensor_read_rows(&flat, 0, rows, *data);
    return DK_OK;
}

static int32_t copy_head(dk_host *host, di_hosted *h, const distill_target *form, dk_error *err)
{
    int32_t rc;
    if (!form->head || form->head->ndim != 2)
        return dk_fail(err, DK_E_INVALID, "form->head is not a tensor [vocab, width]");
    memcpy(h->head_shape, form->head->shape, sizeof h->head_shape);
    DK_TRY(copy_values(host, form->head, h->head_shape[0], &h->head_data, err));
    h->head = di_tensor_of(h->head_data, DISTILL_FLOAT, 32, 2, h->head_shape);
    h->form.head = &h->head;
    if (!form->bias) goto out;
    h->bias_shape[0] = last_dimension(form->bias);
    DK_TRY(copy_values(host, form->bias, 1, &h->bias_data, err));
    h->bias = di_tensor_of(h->bias_data, DISTILL_FLOAT, 32, 1, h->bias_shape);
    h->form.bias = &h->bias;
out:
    return rc;
}

/* Only widths are kept of the tensors that score fills; head and bias are copied. */
static int32_t copy_form(dk_host *host, di_hosted *h, const distill_target *form, dk_error *err)
{
    int32_t rc = DK_OK;
    h->form = *form;
    h->form.head = h->form.bias = NULL;
    h->value_shape[1] = form->kind == DISTILL_ONE_HOT ? 1 : last_dimension(form->values);
    h->values = di_tensor_of(NULL, DISTILL_FLOAT, 32, 2, h->value_shape);
    h->form.values = &h->values;
    h->form.ids = NULL;
    if (form->entropy && form->kind != DISTILL_SAMPLED)
        return dk_fail(err, DK_E_INVALID, "form->entropy is of SAMPLED targets alone, and this is %s",
                       di_kind_name(form->kind));
    if (form->tail) h->form.tail = &h->values;
    if (form->entropy) h->form.entropy = &h->values;
    if (form->kind == DISTILL_HIDDEN) DK_TRY(copy_head(host, h, form, err));
    const int64_t width = form->kind == DISTILL_DENSE    ? h->value_shape[1]
                          : form->kind == DISTILL_HIDDEN ? h->head_shape[0]
                                                         : form->vocab_valid;
    if (form->vocab_valid < 0 || form->vocab_valid > width)
        return dk_fail(err, DK_E_INVALID, "form->vocab_valid is %lld, not in [0, %lld], the width of the logits",
                       (long long)form->vocab_valid, (long long)width);
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

static int32_t create(dk_backend *backend, const distill_teacher_callbacks *table, di_teacher **out, dk_error *err)
{
    di_teacher *t = NULL;
    di_hosted *hosted = NULL;
    int32_t rc;
    DK_TRY(di_teacher_create(backend, &hosted_kind, "", &t, err));
    DK_TRY(dk_new(t->host, 1, &hosted, err));
    memcpy(&hosted->callbacks, table, /* an older caller's struct is shorter */
           table->struct_size < sizeof *table ? table->struct_size : sizeof *table);
    hosted->callbacks.form = &hosted->form;
    t->state = hosted;
    *out = t;
    return DK_OK;
out:
    di_teacher_release(t);
    return rc;
}

static int32_t copy_identity(dk_host *host, di_hosted *hosted, dk_error *err)
{
    const char *identity = hosted->callbacks.identity;
    hosted->callbacks.identity = NULL; /* the caller's */
    if (!identity || (hosted->identity = dk_strdup(host, identity))) return DK_OK;
    return dk_fail_nomem(err, strlen(identity) + 1);
}

static int32_t copy_taps(dk_host *host, di_hosted *hosted, dk_error *err)
{
    const distill_teacher_callbacks *table = &hosted->callbacks;
    if (table->tap_count > 0 && !table->read_tap)
        return dk_fail(err, DK_E_INVALID, "table->read_tap is NULL, and there are taps");
    return di_host_taps_copy(host, table->taps, table->tap_count, &hosted->taps, err);
}

int32_t di_teacher_from_callbacks(dk_backend *backend, const distill_teacher_callbacks *table,
                                  const di_options *options, di_teacher **out, dk_error *err)
{
    di_teacher *t = NULL;
    int32_t rc = create(backend, table, &t, err);
    (void)options;
    if (rc != DK_OK) {
        if (table->destroy) table->destroy(table->user);
        return rc;
    }
    DK_TRY(copy_identity(t->host, t->state, err));
    DK_TRY(check_table(table, err));
    DK_TRY(copy_form(t->host, t->state, table->form, err));
    DK_TRY(copy_taps(t->host, t->state, err));
    *out = t;
    return DK_OK;
out:
    di_teacher_release(t);
    return rc;
}
