/* checkpoint_replay.c - texts of the student that are kept for another step, in a checkpoint, the oldest first:
 *
 *   replay/model.safetensors  texts    I64 [count, 8]  step, prompt and written (tokens), 1 = ended by a token for it,
 *                                                      where the names of its source and tag begin (-1 = none), sample
 *                                                      and first token of it there
 *                             ids      I32 [tokens]    of all, one after the other
 *                             weights  F32 [count]
 *                             names    U8 [bytes]      each with a NUL behind it
 *                             log_probs  F32 [tokens]  of what is written, by who wrote it; with
 *                                                      train.on_policy.replay.importance alone
 *
 * Without a text there is no file. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "run/checkpoint_parts.h"

enum { STEP, PROMPT, WRITTEN, ENDED, SOURCE, TAG, SAMPLE, FIRST, FIELDS };
enum { TEXTS, IDS, WEIGHTS, NAMES, LOG_PROBS, TENSORS }; /* the last one may be missing */
static const char *const tensor_names[] = {"texts", "ids", "weights", "names", "log_probs"};
static const dk_dtype types[] = {DK_I64, DK_I32, DK_F32, DK_U8, DK_F32};

/* ---- writing ---- */

typedef struct gathered {
    dk_host *host;
    int64_t (*texts)[FIELDS];
    int32_t *ids;
    float *weights, *log_probs; /* log_probs NULL = not kept */
    dk_strbuf names;
    int64_t count, tokens;
} gathered;

/* Where it begins in names, which it comes into at its first use. */
static int64_t name_place(gathered *g, const char *name)
{
    if (!name) return -1;
    for (size_t at = 0; at < g->names.size; at += strlen(g->names.data + at) + 1)
        if (!strcmp(g->names.data + at, name)) return (int64_t)at;
    dk_strbuf_append(&g->names, name, strlen(name) + 1);
    return (int64_t)(g->names.size - strlen(name) - 1);
}

static void gather_text(gathered *g, int64_t index, const di_kept *kept, const int32_t *ids, const float *log_probs)
{
    const di_text *text = &kept->text;
    int64_t *to = g->texts[index];
    to[STEP] = kept->step;
    to[PROMPT] = text->prompt;
    to[WRITTEN] = text->written;
    to[ENDED] = text->ended;
    to[SOURCE] = name_place(g, text->origin.source);
    to[TAG] = name_place(g, text->origin.teacher);
    to[SAMPLE] = text->origin.index;
    to[FIRST] = text->origin.first;
    g->weights[index] = text->weight;
    memcpy(g->ids + g->tokens, ids, (size_t)(text->prompt + text->written) * sizeof *ids);
    if (g->log_probs)
        memcpy(g->log_probs + g->tokens, log_probs, (size_t)(text->prompt + text->written) * sizeof *log_probs);
    g->tokens += text->prompt + text->written;
}

static int32_t gather(gathered *g, const di_replay *r, dk_error *err)
{
    const int32_t *ids;
    const float *log_probs;
    int64_t tokens = 0;
    int32_t rc;
    g->host = r->host;
    g->count = r->count;
    dk_strbuf_init(&g->names, r->host);
    for (int64_t i = 0; i < r->count; i++) {
        const di_text *text = &di_replay_at(r, i, &ids, &log_probs)->text;
        tokens += text->prompt + text->written;
    }
    DK_TRY(dk_new(r->host, r->count, &g->texts, err));
    DK_TRY(dk_new(r->host, r->count, &g->weights, err));
    DK_TRY(dk_new(r->host, tokens, &g->ids, err));
    if (r->log_probs) DK_TRY(dk_new(r->host, tokens, &g->log_probs, err));
    for (int64_t i = 0; i < r->count; i++) {
        const di_kept *kept = di_replay_at(r, i, &ids, &log_probs);
        gather_text(g, i, kept, ids, log_probs);
    }
    DK_TRY(dk_strbuf_check(&g->names, err));
out:
    return rc;
}

static void let_go(gathered *g)
{
    if (!g->host) return;
    dk_free(g->host, g->texts);
    dk_free(g->host, g->ids);
    dk_free(g->host, g->weights);
    dk_free(g->host, g->log_probs);
    dk_strbuf_free(&g->names);
}

static int32_t fill(void *user, int64_t index, uint64_t offset, void *out, uint64_t size, dk_error *err)
{
    const gathered *g = user;
    const void *const parts[TENSORS] = {g->texts, g->ids, g->weights, g->names.data, g->log_probs};
    (void)err;
    memcpy(out, (const char *)parts[index] + offset, size);
    return DK_OK;
}

static int32_t write_file(const di_trainer *t, gathered *g, const char *path, dk_error *err)
{
    const int64_t sizes[TENSORS] = {g->count, g->tokens, g->count, (int64_t)g->names.size, g->tokens};
    dk_tensor_spec specs[TENSORS];
    int32_t rc;
    for (int i = 0; i < TENSORS; i++)
        specs[i] = (dk_tensor_spec){.name = tensor_names[i], .dtype = types[i], .rank = 1, .shape = {sizes[i]}};
    specs[TEXTS].rank = 2;
    specs[TEXTS].shape[1] = FIELDS;
    const dk_safetensors_args args = {specs, g->log_probs ? TENSORS : LOG_PROBS, fill, g, 0};
    DK_TRY(dk_dir_create(t->host, path, err));
    DK_TRY(dk_safetensors_write(t->host, path, &args, NULL, err));
out:
    return rc;
}

int32_t di_replay_save(const di_trainer *t, const char *folder, dk_error *err)
{
    const di_replay *replay = &t->on_policy.replay;
    gathered g = {.host = NULL};
    char *path = NULL;
    int32_t rc = DK_OK;
    if (!replay->count) goto out;
    if (!(path = dk_path_join(t->host, folder, "replay"))) return dk_fail_nomem(err, strlen(folder));
    DK_TRY(gather(&g, replay, err));
    DK_TRY(write_file(t, &g, path, err));
out:
    let_go(&g);
    dk_free(t->host, path);
    return rc;
}

/* ---- reading ---- */

typedef struct reader {
    const di_trainer *t;
    const dk_checkpoint *file;
    const dk_tensor *tensors[TENSORS];
    int64_t count, tokens, used; /* texts; ids of all, and of those that were read */
    const char *names;           /* the copy in the buffer */
    int64_t names_size;
    di_replay *out;
} reader;

static int32_t find_tensors(reader *r, dk_error *err)
{
    for (int i = 0; i < TENSORS; i++) {
        const dk_tensor *tensor = r->tensors[i] = dk_checkpoint_find(r->file, tensor_names[i]);
        if (i == LOG_PROBS && !r->out->log_probs) continue;
        if (i == LOG_PROBS && !tensor)
            return dk_fail(
                err, DK_E_MISMATCH,
                "%s has no log-probabilities: it was made without train.on_policy.replay.importance; leave it "
                "out",
                dk_checkpoint_path(r->file));
        if (!tensor || tensor->dtype != types[i] || tensor->rank != (i == TEXTS ? 2 : 1))
            return dk_fail(err, DK_E_FORMAT, "%s has no %s of texts that are kept", dk_checkpoint_path(r->file),
                           tensor_names[i]);
    }
    r->count = r->tensors[TEXTS]->shape[0];
    r->tokens = r->tensors[IDS]->shape[0];
    r->names_size = r->tensors[NAMES]->shape[0];
    if (r->tensors[TEXTS]->shape[1] != FIELDS || r->tensors[WEIGHTS]->shape[0] != r->count ||
        (r->out->log_probs && r->tensors[LOG_PROBS]->shape[0] != r->tokens))
        return dk_fail(err, DK_E_FORMAT, "%s: texts and weights do not fit each other", dk_checkpoint_path(r->file));
    return DK_OK;
}

/* One piece of memory that the buffer owns: names are looked at as long as their texts are kept. */
static int32_t copy_names(reader *r, dk_error *err)
{
    char *names = NULL;
    int32_t rc;
    if (r->names_size < 1 || ((const char *)r->tensors[NAMES]->data)[r->names_size - 1])
        return dk_fail(err, DK_E_FORMAT, "%s: names are not closed", dk_checkpoint_path(r->file));
    DK_TRY(dk_new(r->t->host, r->names_size, &names, err));
    memcpy(names, r->tensors[NAMES]->data, (size_t)r->names_size);
    r->out->names = names;
    r->names = names;
out:
    return rc;
}

static int32_t damaged(const reader *r, int64_t index, const char *what, int64_t value, dk_error *err)
{
    return dk_fail(err, DK_E_FORMAT, "%s: text %lld has %s %lld", dk_checkpoint_path(r->file), (long long)index, what,
                   (long long)value);
}

static int32_t check_fields(const reader *r, int64_t index, const int64_t f[FIELDS], int64_t step, dk_error *err)
{
    const int64_t left = r->tokens - r->used;
    if (f[STEP] < 0 || f[STEP] > step) return damaged(r, index, "step", f[STEP], err);
    if (f[PROMPT] < 1 || f[PROMPT] > left) return damaged(r, index, "a prompt of so many tokens:", f[PROMPT], err);
    if (f[WRITTEN] < 1 || f[WRITTEN] > left - f[PROMPT])
        return damaged(r, index, "so many written tokens:", f[WRITTEN], err);
    if (f[SOURCE] < 0 || f[SOURCE] >= r->names_size) return damaged(r, index, "source", f[SOURCE], err);
    if (f[TAG] < -1 || f[TAG] >= r->names_size) return damaged(r, index, "tag", f[TAG], err);
    if (f[PROMPT] + f[WRITTEN] > r->out->longest)
        return dk_fail(err, DK_E_MISMATCH,
                       "%s: text %lld has %lld tokens, and one has %lld at most now: give the old "
                       "train.on_policy.max_new_tokens",
                       dk_checkpoint_path(r->file), (long long)index, (long long)(f[PROMPT] + f[WRITTEN]),
                       (long long)r->out->longest);
    return DK_OK;
}

/* Those of a text; more than certain is nothing that was drawn. */
static int32_t read_log_probs(const reader *r, int64_t index, int64_t count, float *out, dk_error *err)
{
    if (!r->out->log_probs) return DK_OK;
    memcpy(out, (const char *)r->tensors[LOG_PROBS]->data + (size_t)r->used * sizeof *out, (size_t)count * sizeof *out);
    for (int64_t i = 0; i < count; i++)
        if (!(out[i] < 1e-3f) || !isfinite(out[i])) return damaged(r, index, "no log-probability at token", i, err);
    return DK_OK;
}

static int32_t read_text(reader *r, int64_t index, int64_t step, int32_t *ids, float *log_probs, dk_error *err)
{
    int64_t f[FIELDS];
    float weight;
    int32_t rc;
    memcpy(f, (const char *)r->tensors[TEXTS]->data + (size_t)index * sizeof f, sizeof f);
    memcpy(&weight, (const char *)r->tensors[WEIGHTS]->data + (size_t)index * sizeof weight, sizeof weight);
    DK_TRY(check_fields(r, index, f, step, err));
    if (!(weight >= 0) || !isfinite(weight)) return damaged(r, index, "no weight:", index, err);
    const int64_t count = f[PROMPT] + f[WRITTEN];
    memcpy(ids, (const char *)r->tensors[IDS]->data + (size_t)r->used * sizeof *ids, (size_t)count * sizeof *ids);
    for (int64_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= r->t->objective.vocab_valid) return damaged(r, index, "id", ids[i], err);
    DK_TRY(read_log_probs(r, index, count, log_probs, err));
    r->used += count;
    const di_text text = {.prompt = f[PROMPT],
                          .room = f[WRITTEN],
                          .written = f[WRITTEN],
                          .weight = weight,
                          .ended = f[ENDED] == 1,
                          .origin = {.source = r->names + f[SOURCE],
                                     .teacher = f[TAG] < 0 ? NULL : r->names + f[TAG],
                                     .index = f[SAMPLE],
                                     .first = f[FIRST]}};
    di_replay_put(r->out, &text, ids, log_probs, f[STEP]);
out:
    return rc;
}

static int32_t read_texts(reader *r, int64_t step, dk_error *err)
{
    int32_t *ids = NULL, rc;
    float *log_probs = NULL;
    DK_TRY(find_tensors(r, err));
    DK_TRY(copy_names(r, err));
    DK_TRY(dk_new(r->t->host, r->out->longest, &ids, err));
    DK_TRY(dk_new(r->t->host, r->out->longest, &log_probs, err));
    for (int64_t i = 0; i < r->count; i++) DK_TRY(read_text(r, i, step, ids, log_probs, err));
out:
    dk_free(r->t->host, log_probs);
    dk_free(r->t->host, ids);
    return rc;
}

int32_t di_replay_load(const di_trainer *t, const char *folder, int64_t step, di_replay *out, dk_error *err)
{
    const di_replay *now = &t->on_policy.replay;
    reader r = {.t = t, .out = out};
    dk_checkpoint *file = NULL;
    char *path = NULL;
    int32_t rc = DK_OK;
    if (!now->capacity) goto out;
    out->share = now->share;
    out->age = now->age;
    out->capacity = now->capacity;
    out->keeps_log_probs = now->keeps_log_probs;
    DK_TRY(di_replay_plan(out, t->host, now->longest, err));
    if (!(path = dk_path_join(t->host, folder, "replay"))) return dk_fail_nomem(err, strlen(folder));
    if (!dk_path_exists(path)) goto out;
    DK_TRY(dk_checkpoint_open(t->host, path, DK_OPEN_MMAP, &file, err));
    r.file = file;
    DK_TRY(read_texts(&r, step, err));
out:
    dk_checkpoint_close(file);
    dk_free(t->host, path);
    return rc;
}
