/* fill_batch.c - one batch of windows is asked about, and how far it is. */
#include "base/clock.h"
#include "fill/fill_ranks.h"

int32_t di_fill_tell(di_fill *b, int32_t last, dk_error *err)
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

int32_t di_fill_check_cancel(const di_fill *b, dk_error *err)
{
    if (!dk_host_cancelled(b->host)) return DK_OK;
    return dk_fail(err, DK_E_CANCELLED, "cancelled at window %lld of %lld: what was asked is kept",
                   (long long)b->progress.done, (long long)b->progress.total);
}

int32_t di_fill_ask(di_fill *b, dk_error *err)
{
    distill_batch batch;
    di_batch_view(b->batch, &batch);
    const int32_t rc = di_session_forward(b->session, &batch, err);
    di_session_drop(b->session);
    return rc;
}
