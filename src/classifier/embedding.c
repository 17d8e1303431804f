#include "classifier/embedding.h"

#include <pthread.h>
#include <string.h>

#include "teacher/teacher.h"

enum { TOKENS_MOST = 1024 };

struct di_embedding {
    dk_host *host;
    dk_backend *backend;
    char *path;
    di_embed_kind kind;
    dk_model *model;
    dk_tokenizer *tokenizer;
    int64_t width, max_tokens;
    pthread_mutex_t lock; /* around all below */
    int32_t has_lock;
    dk_queue queue;
    dk_pass *pass;
    dk_arena arena;
    dk_view place, row; /* of the table: I32 [max_tokens], real [max_tokens, width] */
    int32_t *ids;
    int64_t cap;
    float *rows; /* [max_tokens, width] */
};

void di_embedding_free(di_embedding *e)
{
    if (!e) return;
    dk_host *host = e->host;
    dk_pass_free(e->pass);
    dk_queue_close(&e->queue);
    dk_arena_free(&e->arena);
    dk_model_free(e->model);
    dk_tokenizer_release(e->tokenizer);
    if (e->has_lock) pthread_mutex_destroy(&e->lock);
    dk_free(host, e->ids);
    dk_free(host, e->rows);
    dk_free(host, e->path);
    dk_free(host, e);
}

static void plan(di_embedding *e)
{
    const int64_t count = e->max_tokens;
    e->place = dk_arena_take(&e->arena, DK_I32, 1, &count);
    e->row = dk_arena_2d(&e->arena, e->backend->real, count, e->width);
}

static int32_t prepare(di_embedding *e, dk_error *err)
{
    const dk_pass_spec spec = {.max_rows = e->max_tokens, .max_sequences = 1};
    int32_t rc;
    DK_TRY(dk_queue_open(&e->queue, e->backend, err));
    DK_TRY(dk_new(e->host, e->max_tokens * e->width, &e->rows, err));
    if (e->kind == DI_EMBED_HIDDEN) return dk_pass_create(e->model, &spec, &e->pass, err);
    dk_arena_init(&e->arena, e->backend);
    plan(e);
    DK_TRY(dk_arena_commit(&e->arena, err));
    plan(e);
out:
    return rc;
}

int32_t di_embedding_open(dk_backend *backend, const char *path, di_embed_kind kind, di_embedding **out, dk_error *err)
{
    const dk_model_options options = {.use_mmap = 1};
    di_embedding *e = NULL;
    int32_t rc;
    DK_TRY(dk_new(backend->host, 1, &e, err));
    e->host = backend->host;
    e->backend = backend;
    e->kind = kind;
    e->has_lock = pthread_mutex_init(&e->lock, NULL) == 0;
    if (!e->has_lock || !(e->path = dk_strdup(e->host, path))) DK_TRY(dk_fail_nomem(err, strlen(path)));
    DK_TRY(dk_model_open(backend, path, &options, &e->model, err));
    DK_TRY(di_open_model_tokenizer(e->host, path, e->model, &e->tokenizer, err));
    if (!e->tokenizer) DK_TRY(dk_fail(err, DK_E_NOT_FOUND, "%s has no tokenizer, which texts are read by", path));
    e->width = e->model->config.hidden_size;
    e->max_tokens = e->model->config.max_positions;
    if (e->max_tokens < 1 || e->max_tokens > TOKENS_MOST) e->max_tokens = TOKENS_MOST;
    DK_TRY(prepare(e, err));
out:
    if (rc) di_embedding_free(e);
    else *out = e;
    return rc;
}

int64_t di_embedding_width(const di_embedding *e) { return e->width; }
int64_t di_embedding_longest(const di_embedding *e) { return e->max_tokens; }
const char *di_embedding_path(const di_embedding *e) { return e->path; }
int32_t di_embedding_hash(const di_embedding *e, char hex[65], dk_error *err)
{
    return dk_model_hash(e->model, hex, err);
}

static int32_t rows_of(di_embedding *e, int64_t count, dk_error *err)
{
    const dk_ops *ops = e->backend->ops;
    const int64_t offsets[2] = {0, count};
    const dk_tokens tokens = {e->ids, offsets, 1};
    int32_t rc;
    if (e->kind == DI_EMBED_HIDDEN) {
        DK_TRY(dk_pass_forward(e->pass, &tokens, err));
        ops->copy_out(&e->queue, dk_view_rows(dk_pass_hidden(e->pass), 0, count), e->rows);
    } else {
        const dk_view place = dk_view_rows(e->place, 0, count), row = dk_view_rows(e->row, 0, count);
        ops->copy_in(&e->queue, place, e->ids);
        ops->embed(&e->queue, e->model->embedding->value, place, 1, row, 0);
        ops->copy_out(&e->queue, row, e->rows);
    }
    DK_TRY(dk_queue_wait(&e->queue, err));
out:
    return rc;
}

static int32_t embed(di_embedding *e, const char *text, size_t size, float *out, int64_t *tokens, dk_error *err)
{
    int64_t count = 0;
    int32_t rc;
    DK_TRY(dk_tokenizer_append(e->tokenizer, e->host, text, size, DK_ENCODE_PLAIN, &e->ids, &e->cap, &count, err));
    *tokens = count;
    memset(out, 0, sizeof *out * (size_t)e->width);
    if (count > e->max_tokens) count = e->max_tokens;
    if (!count) goto out;
    DK_TRY(rows_of(e, count, err));
    for (int64_t i = 0; i < count; i++)
        for (int64_t j = 0; j < e->width; j++) out[j] += e->rows[i * e->width + j];
    for (int64_t j = 0; j < e->width; j++) out[j] /= (float)count;
out:
    return rc;
}

int32_t di_embedding_of(di_embedding *e, const char *text, size_t size, float *out, int64_t *tokens, dk_error *err)
{
    pthread_mutex_lock(&e->lock);
    const int32_t rc = embed(e, text, size, out, tokens, err);
    pthread_mutex_unlock(&e->lock);
    return rc;
}
