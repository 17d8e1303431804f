#include "session/session_parts.h"

static int32_t check_streams(di_stream *const *streams, int64_t count, dk_error *err)
{
    for (int64_t i = 1; i < count; i++) {
        if (streams[i]->family != streams[0]->family)
            return dk_fail(err, DK_E_MISMATCH,
                           "sessions[%lld] is of another family than sessions[0]: one pass is for a session and its "
                           "forks",
                           (long long)i);
        for (int64_t k = 0; k < i; k++)
            if (streams[k] == streams[i])
                return dk_fail(err, DK_E_INVALID, "sessions[%lld] is sessions[%lld], too", (long long)i, (long long)k);
    }
    return DK_OK;
}

/* No token: why not. */
static const distill_token *nothing(di_stream *s, int64_t finished)
{
    s->token = (distill_token){.struct_size = sizeof s->token, .id = -1, .text = "", .finished = finished};
    return &s->token;
}

/* Those that get a token now are left in active; the others have been told why not. */
static int32_t gather(di_stream *const *streams, int64_t count, const distill_token **outs, int64_t *active,
                      dk_error *err)
{
    di_family *f = streams[0]->family;
    int32_t rc = DK_OK;
    *active = 0;
    for (int64_t i = 0; i < count; i++) {
        di_stream *s = streams[i];
        outs[i] = NULL;
        if (s->cancelled && !s->ended) {
            di_answer_end(s);
            s->ended = 1;
            outs[i] = nothing(s, DI_FINISHED_CANCELLED);
        } else if (s->ended) {
            outs[i] = nothing(s, DI_FINISHED_BEFORE);
        } else {
            if ((rc = di_answer_make_ready(s, err)) != DK_OK) {
                dk_error_context(err, "sessions[%lld]", (long long)i);
                return rc;
            }
            f->active[(*active)++] = s;
        }
    }
    return DK_OK;
}

/* Where a row hangs on how many are computed with it, each has a pass of its own. */
static int32_t run(di_family *f, int64_t active, dk_error *err)
{
    const int32_t alone = f->backend->invariant_rows < INT64_MAX;
    int64_t count = 0;
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < active; i++) {
        if (f->active[i]->first < f->active[i]->ready) continue; /* drafted before */
        if (alone) DK_TRY(di_family_pass(f, &f->active[i], 1, err));
        else f->active[count++] = f->active[i];
    }
    if (count) DK_TRY(di_family_pass(f, f->active, count, err));
out:
    return rc;
}

static int32_t hand_out(di_stream *const *streams, int64_t count, const distill_token **outs, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < count; i++) {
        di_stream *s = streams[i];
        if (outs[i]) continue;
        outs[i] = s->first < s->ready ? &s->token : nothing(s, 0);
        if (s->first < s->ready) DK_TRY(di_answer_deliver(s, err));
    }
out:
    return rc;
}

/* Those that wrote or read took it, in equal parts. */
static void share_cost(di_stream *const *streams, int64_t count, const distill_token *const *outs, int64_t active,
                       di_moment since)
{
    int32_t ended = 0;
    for (int64_t i = 0; i < count; i++) {
        if (outs[i]->id < 0 && outs[i]->finished) continue;
        di_cost_add(streams[i], since, 1 / (double)active);
        ended |= outs[i]->finished != 0;
    }
    if (ended) di_cost_settle(streams[0]->family);
}

int32_t di_stream_next_many(di_stream *const *streams, int64_t count, const distill_token **outs, dk_error *err)
{
    di_family *f = streams[0]->family;
    const di_moment since = di_cost_now();
    int64_t active = 0;
    int32_t rc;
    DK_TRY(check_streams(streams, count, err));
    if (dk_host_cancelled(f->host)) {
        for (int64_t i = 0; i < count; i++) di_answer_end(streams[i]);
        return dk_fail(err, DK_E_CANCELLED, "the answers were cancelled");
    }
    for (int64_t i = 0; i < count; i++) di_answer_wake(streams[i]);
    DK_TRY(gather(streams, count, outs, &active, err));
    DK_TRY(run(f, active, err));
    DK_TRY(hand_out(streams, count, outs, err));
    share_cost(streams, count, outs, active, since);
    if (!active) rc = dk_fail(err, DK_E_END, "all answers have ended: append what comes next");
out:
    return rc;
}
