#include <string.h>

#include "base/clock.h"
#include "base/ranks.h"
#include "cache/target_cache.h"
#include "fill/fill_ranks.h"

static int32_t one_batch(di_fill *b, int64_t set, int64_t first, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_fill_check_cancel(b, err));
    DK_TRY(di_dataset_windows(b->parts.sets[set], first, DI_FILL_WINDOWS, b->batch, err));
    DK_TRY(di_fill_ask(b, err));
    b->progress.done += b->batch->windows;
    b->progress.tokens += b->batch->offsets[b->batch->sequences];
    DK_TRY(di_fill_tell(b, b->progress.done == b->progress.total, err));
out:
    return rc;
}

static int32_t open_set(di_fill *b, int64_t set, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_batch_create(b->parts.sets[set], DI_FILL_WINDOWS, &b->batch, err));
    rc = di_session_create(b->parts.teacher, b->batch->max_tokens, b->batch->max_sequences, b->batch->max_tokens,
                           &b->session, err);
out:
    return rc;
}

static int32_t all_windows(di_fill *b, int64_t set, dk_error *err)
{
    const int64_t ranks = dk_ranks(b->host);
    int32_t rc;
    DK_TRY(dk_ranks_agree(b->host, open_set(b, set, err), err));
    for (int64_t first = 0; first < b->parts.windows[set]; first += ranks * DI_FILL_WINDOWS)
        DK_TRY(ranks > 1 ? di_fill_round(b, set, first, err) : one_batch(b, set, first, err));
out:
    di_session_free(b->session);
    di_batch_free(b->batch);
    b->session = NULL;
    b->batch = NULL;
    return rc;
}

/* ---- what it made ---- */

static int32_t add_rows(void *user, di_cache *cache, dk_error *err)
{
    (void)err;
    *(int64_t *)user += di_cache_get_info(cache).rows;
    return DK_OK;
}

static int32_t describe_cache(void *user, di_cache *cache, dk_error *err)
{
    const di_cache_info info = di_cache_get_info(cache);
    dk_strbuf *json = user;
    dk_strbuf_puts(json, json->data[json->size - 1] == '[' ? "{\"path\":" : ",{\"path\":");
    dk_strbuf_json(json, di_cache_path(cache), strlen(di_cache_path(cache)));
    dk_strbuf_printf(json, ",\"tier\":\"%s\",\"rows\":%lld,\"bytes\":%lld",
                     di_tier_name(di_cache_get_header(cache)->tier), (long long)info.rows, (long long)info.bytes);
    if (info.rows) {
        dk_strbuf_puts(json, ",\"bytes_per_row\":");
        dk_strbuf_f64(json, (double)info.bytes / (double)info.rows);
    }
    dk_strbuf_puts(json, "}");
    return dk_strbuf_check(json, err);
}

static int32_t describe(di_fill *b, int64_t rows_before, dk_strbuf *json, dk_error *err)
{
    int64_t rows = 0;
    int32_t rc;
    DK_TRY(di_teacher_caches(b->parts.teacher, add_rows, &rows, err));
    dk_strbuf_printf(json, "{\"windows\":%lld,\"tokens\":%lld,\"rows\":%lld,\"added\":%lld,\"seconds\":",
                     (long long)b->progress.done, (long long)b->progress.tokens, (long long)rows,
                     (long long)(rows - rows_before));
    dk_strbuf_f64(json, dk_seconds() - b->begin);
    dk_strbuf_puts(json, ",\"caches\":[");
    DK_TRY(dk_strbuf_check(json, err));
    DK_TRY(di_teacher_caches(b->parts.teacher, describe_cache, json, err));
    dk_strbuf_puts(json, "]}");
out:
    return rc;
}

static int32_t has_asker(const di_teacher *teacher)
{
    di_teacher *from;
    di_cache *cache;
    for (int64_t i = 0; di_teacher_cache_at(teacher, i, &cache, &from); i++)
        if (from) return 1;
    return 0;
}

int32_t di_cache_build(const di_fill_args *args, dk_strbuf *json, dk_error *err)
{
    di_fill b = {.backend = args->backend,
                 .host = args->backend->host,
                 .fn = args->fn,
                 .user = args->user,
                 .begin = dk_seconds()};
    int64_t rows = 0;
    int32_t rc;
    if (dk_ranks(b.host) == 1) DK_TRY(di_fill_parts_open(args, &b.parts, err));
    else DK_TRY(di_fill_parts_together(args, &b.parts, err));
    DK_TRY(di_fill_inputs(&b, err));
    if (args->of_run && !has_asker(b.parts.teacher)) goto out;
    DK_TRY(di_teacher_caches(b.parts.teacher, add_rows, &rows, err));
    DISTILL_INIT(&b.progress);
    b.progress.phase = DISTILL_PHASE_CACHING;
    b.progress.total = b.parts.total;
    for (int64_t i = 0; i < b.parts.count && rc == DK_OK; i++) rc = all_windows(&b, i, err);
    const int32_t flushed = di_teacher_flush(b.parts.teacher, rc ? NULL : err); /* also what a stopped one has */
    if (rc) goto out;
    DK_TRY(dk_ranks_agree(b.host, flushed, err));
    DK_TRY(dk_ranks_agree(b.host, describe(&b, rows, json, err), err));
    DK_TRY(dk_ranks_text(b.host, json, err));
out:
    di_fill_parts_close(&b.parts);
    return rc;
}
