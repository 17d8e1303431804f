#include "fill/fill.h"

#include "base/clock.h"

enum { WINDOWS = 8 }; /* per forward: enough for matrix speed, little enough for memory */

typedef struct build {
    dk_host *host;
    di_teacher *cached;
    di_session *session;
    di_batch *batch;
    int64_t total; /* windows */
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
    DISTILL_INIT(&batch);
    batch.ids = b->batch->ids;
    batch.offsets = b->batch->offsets;
    batch.sequences = b->batch->sequences;
    batch.rows = b->batch->row;
    batch.row_count = b->batch->rows;
    DK_TRY(di_session_forward(b->session, &batch, err));
    di_session_drop(b->session);
    b->progress.done += b->batch->windows;
    b->progress.tokens += b->batch->offsets[b->batch->sequences];
    DK_TRY(tell(b, b->progress.done == b->total, err));
out:
    return rc;
}

static int32_t all_windows(build *b, di_dataset *data, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t first = 0; first < b->total; first += WINDOWS) {
        if (dk_host_cancelled(b->host))
            DK_TRY(dk_fail(err, DK_E_CANCELLED, "cancelled at window %lld of %lld: what was asked is kept",
                           (long long)first, (long long)b->total));
        DK_TRY(di_dataset_windows(data, first, WINDOWS, b->batch, err));
        DK_TRY(one_batch(b, err));
    }
out:
    return rc;
}

static int32_t open_build(build *b, dk_backend *backend, di_teacher *teacher, di_dataset *data, const char *path,
                          const di_options *options, dk_error *err)
{
    int32_t rc;
    if (di_dataset_is_stream(data))
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "a stream is read once: train with a cached teacher, which fills the file");
    DK_TRY(di_dataset_get_i64(data, "windows", &b->total, err));
    DK_TRY(di_dataset_check_vocab(data, di_teacher_vocab(teacher), err));
    DK_TRY(di_batch_create(data, WINDOWS, &b->batch, err));
    DK_TRY(di_teacher_cached(backend, path, teacher, options, &b->cached, err));
    DK_TRY(di_session_create(b->cached, b->batch->max_tokens, b->batch->max_sequences, b->batch->max_tokens,
                             &b->session, err));
out:
    return rc;
}

int32_t di_cache_build(dk_backend *backend, di_teacher *teacher, di_dataset *data, const char *path,
                       const di_options *options, distill_progress_fn fn, void *user, dk_error *err)
{
    build b = {.host = backend->host, .fn = fn, .user = user, .begin = dk_seconds()};
    int32_t rc;
    DK_TRY(open_build(&b, backend, teacher, data, path, options, err));
    DISTILL_INIT(&b.progress);
    b.progress.phase = DISTILL_PHASE_CACHING;
    b.progress.total = b.total;
    rc = all_windows(&b, data, err);
    const int32_t flushed = di_teacher_flush(b.cached, rc ? NULL : err); /* also what a stopped one has */
    if (!rc) rc = flushed;
out:
    di_session_free(b.session);
    di_teacher_release(b.cached);
    di_batch_free(b.batch);
    return rc;
}
