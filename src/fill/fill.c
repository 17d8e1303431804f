#include <string.h>

#include "base/clock.h"
#include "base/ranks.h"
#include "cache/target_cache.h"
#include "fill/fill_parts.h"

enum { WINDOWS = 8 }; /* per forward: enough for matrix speed, little enough for memory */

typedef struct build {
    dk_host *host;
    di_fill_parts parts;
    di_session *session;
    di_batch *batch;
    distill_progress_fn fn;
    void *user;
    double begin, told; /* seconds */
    distill_progress progress;
} build;

static int32_t tell(build *b, int32_t last, dk_error *err)
{
    const double now = dk_seconds(), passed = now - b->begin;
    distill_progress *p = &b->progress;
    if (!b->fn || (!last && now - b->told < 0.1)) return DK_OK;
    b->told = now;
    p->tokens_per_second = passed > 0 ? (double)p->tokens / passed : 0;
    p->seconds_left = p->done > 0 ? passed * (double)(p->total - p->done) / (double)p->done : -1;
    const int32_t code = b->fn(b->user, p);
    if (code == DISTILL_CB_OK) return DK_OK;
    if (code == DISTILL_CB_CANCEL)
        return dk_fail(err, DK_E_CANCELLED, "stopped by the progress callback after window %lld of %lld",
                       (long long)p->done, (long long)p->total);
    dk_fail(err, DK_E_CALLBACK, "the progress callback returned %d", (int)code);
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}

static int32_t one_batch(build *b, dk_error *err)
{
    distill_batch batch;
    int32_t rc;
    di_batch_view(b->batch, &batch);
    DK_TRY(di_session_forward(b->session, &batch, err));
    di_session_drop(b->session);
    b->progress.done += b->batch->windows;
    b->progress.tokens += b->batch->offsets[b->batch->sequences];
    DK_TRY(tell(b, b->progress.done == b->progress.total, err));
out:
    return rc;
}

static int32_t all_windows(build *b, int64_t set, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_batch_create(b->parts.sets[set], WINDOWS, &b->batch, err));
    DK_TRY(di_session_create(b->parts.teacher, b->batch->max_tokens, b->batch->max_sequences, b->batch->max_tokens,
                             &b->session, err));
    for (int64_t first = 0; first < b->parts.windows[set]; first += WINDOWS) {
        if (dk_host_cancelled(b->host))
            DK_TRY(dk_fail(err, DK_E_CANCELLED, "cancelled at window %lld of %lld: what was asked is kept",
                           (long long)b->progress.done, (long long)b->progress.total));
        DK_TRY(di_dataset_windows(b->parts.sets[set], first, WINDOWS, b->batch, err));
        DK_TRY(one_batch(b, err));
    }
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

static int32_t describe(build *b, int64_t rows_before, dk_strbuf *json, dk_error *err)
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

int32_t di_cache_build(const di_fill_args *args, dk_strbuf *json, dk_error *err)
{
    build b = {.host = args->backend->host, .fn = args->fn, .user = args->user, .begin = dk_seconds()};
    int64_t rows = 0;
    int32_t rc;
    DK_TRY(dk_ranks_refuse(b.host, "building a cache", err));
    DK_TRY(di_fill_parts_open(args, &b.parts, err));
    DK_TRY(di_teacher_caches(b.parts.teacher, add_rows, &rows, err));
    DISTILL_INIT(&b.progress);
    b.progress.phase = DISTILL_PHASE_CACHING;
    b.progress.total = b.parts.total;
    for (int64_t i = 0; i < b.parts.count && rc == DK_OK; i++) rc = all_windows(&b, i, err);
    const int32_t flushed = di_teacher_flush(b.parts.teacher, rc ? NULL : err); /* also what a stopped one has */
    if (!rc) rc = flushed;
    DK_TRY(rc);
    DK_TRY(describe(&b, rows, json, err));
out:
    di_fill_parts_close(&b.parts);
    return rc;
}
