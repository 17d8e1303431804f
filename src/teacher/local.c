/* local.c - a teacher that is a model in this process. */
#include "base/hash.h"
#include "format/open_tokenizer.h"
#include "teacher/teacher_parts.h"

static dk_model *model_of(const di_teacher *t)
{
    const di_local *local = t->state;
    return local->model;
}

static void free_state(di_teacher *t)
{
    di_local *local = t->state;
    if (local->owns_model) dk_model_free(local->model);
    if (local->release_owner) local->release_owner(local->owner);
    dk_free(t->host, local);
}

static void describe(const di_teacher *t, di_facts *out) { di_facts_of_model(model_of(t), t->tokenizer, out); }

static const distill_target *form(const di_teacher *t)
{
    const di_local *local = t->state;
    return &local->form;
}

static int32_t hash(const di_teacher *t, char hex[65], dk_error *err) { return dk_model_hash(model_of(t), hex, err); }

static int64_t version(const di_teacher *t)
{
    const dk_model *model = model_of(t);
    int64_t sum = 0;
    for (int64_t i = 0; i < model->parameter_count; i++) sum += model->parameters[i].version;
    return sum;
}

static double flops(const di_teacher *t, int64_t tokens, int64_t mean_length)
{
    return dk_model_flops(model_of(t), tokens, mean_length, 0);
}

static int32_t write_ids(di_teacher *t, const dk_tokens *prompts, const dk_generate_args *args, dk_error *err)
{
    return dk_generate(model_of(t), prompts, args, err);
}

static int32_t generate(di_teacher *t, const distill_batch *prompts, const di_options *options,
                        const distill_options *user_options, const di_reader *reader, dk_error *err)
{
    dk_model *model = model_of(t);
    dk_tokens tokens = {prompts->ids, prompts->offsets, prompts->sequences};
    di_speaker *speaker = NULL;
    di_writing writing = {.host = NULL};
    int32_t rc;
    (void)user_options;
    DK_TRY(di_writing_open(t, options, reader, model->config.stops, model->config.stop_count,
                           di_vocab_valid(model, t->tokenizer), &writing, err));
    DK_TRY(di_speaker_create(t, prompts, &writing, reader, &speaker, err));
    writing.args.user = speaker;
    rc = dk_generate(model, &tokens, &writing.args, err);
    if (di_speaker_status(speaker, NULL) != DK_OK) rc = di_speaker_status(speaker, err);
out:
    di_speaker_free(speaker);
    di_writing_close(&writing);
    return rc;
}

static int32_t place(const di_teacher *t, const dk_tap_spec *tap, di_place *out, dk_error *err)
{
    return di_place_of_model(model_of(t), tap, "the teacher", out, err);
}

/* ---- weights that a training moves ---- */

static int32_t live_hash(const di_teacher *t, char hex[65], dk_error *err)
{
    const di_local *local = t->state;
    uint8_t digest[32];
    dk_sha256 sha;
    (void)err;
    dk_sha256_begin(&sha);
    dk_sha256_add(&sha, local->live, strlen(local->live));
    dk_sha256_add(&sha, &local->decay, sizeof local->decay);
    dk_sha256_end(&sha, digest);
    dk_hex(digest, 32, hex);
    return DK_OK;
}

static void live_settings(const di_teacher *t, dk_strbuf *json)
{
    const di_local *local = t->state;
    dk_strbuf_printf(json, ",\"self\":\"%s\"", local->live);
    if (local->decay < 0) return;
    dk_strbuf_puts(json, ",\"decay\":");
    dk_strbuf_f64(json, local->decay);
}

static int32_t live_changes(const di_teacher *t)
{
    (void)t;
    return 1;
}

/* What both kinds do: the second one's weights move. */
#define OF_A_MODEL                                                                                                   \
    .free = free_state, .describe = describe, .form = form, .flops = flops, .model = model_of, .version = version,   \
    .place = place, .session = di_local_session, .session_free = di_local_session_free, .forward = di_local_forward, \
    .hidden = di_local_hidden, .generate = generate, .write = write_ids

static const di_teacher_kind local_kind = {.name = "a teacher", .type = "model", .hash = hash, OF_A_MODEL};
static const di_teacher_kind live_kind = {.name = "a teacher that is the student itself",
                                          .type = "self",
                                          .hash = live_hash,
                                          .settings = live_settings,
                                          .changes = live_changes,
                                          OF_A_MODEL};

int32_t di_teacher_live(di_teacher *t, const char *what, double decay, dk_error *err)
{
    di_local *local = t->state;
    if (t->kind != &local_kind) return dk_fail(err, DK_E_INTERNAL, "a live teacher is a model in this process");
    t->kind = &live_kind;
    local->live = what;
    local->decay = decay;
    return DK_OK;
}

/* ---- how one comes to be ---- */

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

/* What ends a text is said by the tokenizer, or else by the model. */
static void meet_ends(const dk_config *config, dk_tokenizer *tokenizer)
{
    for (int64_t i = 0; i < config->stop_count && dk_tokenizer_eos(tokenizer) < 0; i++)
        if (dk_tokenizer_is_special(tokenizer, config->stops[i])) dk_tokenizer_set_eos(tokenizer, config->stops[i]);
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
    meet_ends(&model->config, *out);
    if (!rc) rc = dk_model_add_stop(model, dk_tokenizer_eos(*out), err);
    if (!rc) return DK_OK;
    dk_tokenizer_release(*out);
    *out = NULL;
    return rc;
}

static int32_t create(dk_backend *backend, const char *path, di_teacher **out, di_local **local, dk_error *err)
{
    di_teacher *t = NULL;
    int32_t rc;
    DK_TRY(di_teacher_create(backend, &local_kind, path, &t, err));
    DK_TRY(dk_new(t->host, 1, local, err));
    t->state = *local;
    *out = t;
    return DK_OK;
out:
    di_teacher_release(t);
    return rc;
}

static void make_form(di_teacher *t, di_local *local)
{
    local->shape[1] = local->model->config.vocab_size;
    local->values = di_tensor_of(NULL, DISTILL_FLOAT, 32, 2, local->shape);
    DISTILL_INIT(&local->form);
    local->form.kind = DISTILL_DENSE;
    local->form.values = &local->values;
    local->form.temperature = 1;
    local->form.vocab_valid = di_vocab_valid(local->model, t->tokenizer);
}

int32_t di_teacher_open(dk_backend *backend, const char *path, int32_t use_mmap, di_teacher **out, dk_error *err)
{
    dk_model_options how = {.use_mmap = use_mmap};
    di_teacher *t = NULL;
    di_local *local = NULL;
    int32_t rc;
    DK_TRY(create(backend, path, &t, &local, err));
    local->owns_model = 1;
    DK_TRY(dk_model_open(backend, path, &how, &local->model, err));
    DK_TRY(di_open_model_tokenizer(t->host, path, local->model, &t->tokenizer, err));
    make_form(t, local);
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
    di_local *local = NULL;
    int32_t rc = create(backend, "", &t, &local, err);
    if (rc != DK_OK) return rc;
    local->model = model;
    t->tokenizer = tokenizer ? dk_tokenizer_retain(tokenizer) : NULL;
    if (retain) retain(owner);
    local->owner = owner;
    local->release_owner = release;
    make_form(t, local);
    *out = t;
    return DK_OK;
}
