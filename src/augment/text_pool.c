/* text_pool.c - texts that are drawn from. */
#include "augment/text_pool.h"

#include <string.h>

#include "augment/questions.h"
#include "augment/seeds.h"
#include "base/file.h"

enum { FILE_LIMIT = 1 << 24 };

static int32_t add(di_text_pool *pool, const char *text, size_t size, dk_error *err)
{
    if (pool->count == pool->capacity) {
        const int64_t capacity = pool->capacity ? 2 * pool->capacity : 64;
        char **grown = dk_realloc(pool->host, pool->texts, (uint64_t)capacity, sizeof *grown);
        if (!grown) return dk_fail_nomem(err, (uint64_t)capacity * sizeof *grown);
        pool->texts = grown;
        pool->capacity = capacity;
    }
    if (!(pool->texts[pool->count] = dk_strndup(pool->host, text, size))) return dk_fail_nomem(err, size);
    pool->count++;
    return DK_OK;
}

static int32_t add_lines(di_text_pool *pool, const char *path, dk_error *err)
{
    char *text = NULL;
    size_t size;
    int32_t rc;
    DK_TRY(dk_file_read(pool->host, path, FILE_LIMIT, &text, &size, err));
    for (const char *at = text; *at && pool->count < DI_POOL_MOST && !rc;) {
        const size_t length = strcspn(at, "\r\n");
        if (length) rc = add(pool, at, length, err);
        at += length + strspn(at + length, "\r\n");
    }
out:
    dk_free(pool->host, text);
    return rc;
}

int32_t di_text_pool_open(const di_step *step, const char *key, di_text_pool *out, dk_error *err)
{
    const char *path = di_options_text(step->options, "from");
    const int64_t listed = di_options_list_size(step->options, key);
    int32_t rc = DK_OK;
    *out = (di_text_pool){.host = step->host};
    if (path && listed) DK_TRY(di_step_fail(step, err, "both %s and from are given: take one", key));
    if (path) DK_TRY(add_lines(out, path, err));
    for (int64_t i = 0; i < listed; i++) {
        const char *text = di_options_list_text(step->options, key, i);
        DK_TRY(add(out, text, strlen(text), err));
    }
    if (!out->count)
        DK_TRY(di_step_fail(step, err, "%s is missing: a list of texts, or from: a file with one in each line", key));
out:
    if (rc) di_text_pool_close(out);
    return rc;
}

int32_t di_text_pool_of_samples(const di_step *step, const char *path, di_text_pool *out, dk_error *err)
{
    di_seeds *seeds = NULL;
    di_record *record = NULL;
    dk_strbuf text;
    int32_t rc;
    *out = (di_text_pool){.host = step->host};
    dk_strbuf_init(&text, step->host);
    DK_TRY(di_seeds_open(step->host, path, 0, step->recipe, &seeds, err));
    while (out->count < DI_POOL_MOST && !(rc = di_seeds_next(seeds, &record, err))) {
        dk_strbuf_clear(&text);
        rc = di_question_of(record, &text, err);
        di_record_free(record);
        record = NULL;
        if (!rc && text.size) rc = add(out, text.data, text.size, err);
        DK_TRY(rc);
    }
    if (rc == DK_E_END) rc = DK_OK;
    if (!rc && !out->count)
        rc = di_step_fail(step, err, "%s has no text, prompt or message to show as an example", path);
out:
    di_seeds_close(seeds);
    dk_strbuf_free(&text);
    if (rc) di_text_pool_close(out);
    return rc;
}

void di_text_pool_close(di_text_pool *pool)
{
    for (int64_t i = 0; i < pool->count; i++) dk_free(pool->host, pool->texts[i]);
    if (pool->host) dk_free(pool->host, pool->texts);
    *pool = (di_text_pool){.host = NULL};
}

const char *di_text_pool_draw(const di_text_pool *pool, const di_step *step, const di_record *record, uint64_t k)
{
    return pool->texts[di_step_number(step, record, UINT64_C(1) << 39 | k) % (uint64_t)pool->count];
}
