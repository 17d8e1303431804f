#include "session/session_parts.h"

#include <string.h>

int32_t di_answer_room_for_top(di_stream *s, dk_error *err)
{
    dk_host *host = s->family->host;
    const int64_t most = 1 + di_draft_most(s->family), top = s->writing.args.top_count;
    int32_t rc;
    dk_free(host, s->drawn);
    dk_free(host, s->top_ids);
    dk_free(host, s->top);
    s->drawn = NULL, s->top_ids = NULL, s->top = NULL;
    s->drawn_most = 0;
    DK_TRY(dk_new(host, most, &s->drawn, err));
    DK_TRY(dk_new(host, most * top + 1, &s->top_ids, err));
    DK_TRY(dk_new(host, most * top + 1, &s->top, err));
    for (int64_t i = 0; i < most; i++) {
        s->drawn[i].top_ids = s->top_ids + i * top;
        s->drawn[i].top = s->top + i * top;
    }
    s->drawn_most = most;
out:
    return rc;
}

/* ---- beginning ---- */

static int32_t check_begin(const di_stream *s, dk_error *err)
{
    if (!s->count)
        return dk_fail(err, DK_E_STAGE,
                       "nothing stands in the session: append at least one token, such as the "
                       "beginning of text");
    if (s->count > s->family->context)
        return dk_fail(err, DK_E_INVALID,
                       "the session's context of %lld tokens is full: truncate it, or create it "
                       "with a larger session.context",
                       (long long)s->family->context);
    return DK_OK;
}

/* What of the cache is worth something: what was read for a prompt has the bits that any prompt has, where products of
 * any number of rows are alike. Else whole pieces of prompts alone have them. */
static int64_t worth_keeping(const di_stream *s)
{
    const int64_t piece = DI_SESSION_PIECE, held = di_stream_held(s);
    int64_t keep = held < s->count - 1 ? held : s->count - 1;
    if (s->family->backend->invariant_rows == INT64_MAX) return keep;
    keep = keep < s->whole ? keep : s->whole;
    return keep / piece * piece;
}

static int32_t open_speaker(di_stream *s, dk_error *err)
{
    const int64_t offsets[2] = {0, s->count};
    const di_reader reader = {.table = &s->listener};
    distill_batch batch;
    DISTILL_INIT(&batch);
    batch.ids = s->ids;
    batch.offsets = offsets;
    batch.sequences = 1;
    return di_speaker_create(s->family->model, &batch, &s->writing, &reader, &s->speaker, err);
}

int32_t di_answer_begin(di_stream *s, dk_error *err)
{
    int32_t rc;
    DK_TRY(check_begin(s, err));
    di_family_check_version(s->family);
    DK_TRY(open_speaker(s, err));
    const int64_t left = s->family->context + 1 - s->count, wanted = s->writing.args.max_tokens;
    s->prompt = s->count;
    s->room = wanted < left ? wanted : left;
    s->written = 0;
    s->planned = s->prompt + s->room - 1;
    di_voices_replan(s->family->voices, s->place, s->planned);
    if (s->family->draft) di_draft_begin(s);
    if (s->family->draft) (void)dk_cache_replan(s->family->draft->cache, s->place, s->planned);
    di_family_cut(s->family, s->place, worth_keeping(s));
    s->whole = s->family->backend->invariant_rows == INT64_MAX ? 0 : di_stream_held(s);
    s->stats.prompt_tokens += s->prompt;
    s->stats.kept_tokens += di_stream_held(s);
    s->began = s->last = dk_seconds();
    di_cost_settle(s->family); /* what was taken before is nobody's */
    s->answering = 1;
    return DK_OK;
out:
    di_speaker_free(s->speaker);
    s->speaker = NULL;
    return rc;
}

/* ---- end ---- */

void di_answer_forget(di_stream *s)
{
    s->ready = s->first = s->proposed = 0;
    if (s->family) di_family_cut(s->family, s->place, s->count);
}

void di_answer_end(di_stream *s)
{
    if (!s->answering) return;
    di_speaker_free(s->speaker);
    s->speaker = NULL;
    s->answering = 0;
    s->ended = 1;
    di_answer_forget(s);
}

/* ---- tokens ---- */

static void count_time(di_stream *s)
{
    const double now = dk_seconds();
    s->token.nanoseconds = (int64_t)(1e9 * (now - s->last));
    if (s->written == 1) s->stats.first_token_seconds = now - s->began;
    else di_latency_add(&s->latency, now - s->last);
    s->last = now;
}

int32_t di_answer_deliver(di_stream *s, dk_error *err)
{
    const di_drawn *t = &s->drawn[s->first++];
    int32_t rc;
    s->ids[s->count++] = t->id;
    s->written++;
    s->stats.tokens++;
    const int32_t finished = dk_is_stop(&s->writing.args, t->id) ? DI_FINISHED_STOP
                             : s->written >= s->room             ? DI_FINISHED_LENGTH
                                                                 : 0;
    di_speaker_top(s->speaker, t->top_ids, t->top, t->top_count);
    (void)di_speaker_emit(s->speaker, 0, t->id, t->log_prob, finished);
    DK_TRY(di_speaker_status(s->speaker, err));
    DK_TRY(dk_strbuf_check(&s->text, err));
    s->token.text = s->text.data ? s->text.data : "";
    s->token.from_draft = t->from_draft;
    s->stats.accepted += t->from_draft;
    count_time(s);
    if (s->token.finished) di_answer_end(s);
    return DK_OK;
out:
    di_answer_end(s);
    return rc;
}

static int32_t stop_cancelled(di_stream *s, dk_error *err)
{
    if (!s->cancelled && !dk_host_cancelled(s->family->host)) return DK_OK;
    di_answer_end(s);
    return dk_fail(err, DK_E_CANCELLED, "the answer was cancelled after %lld tokens", (long long)s->written);
}

int32_t di_answer_make_ready(di_stream *s, dk_error *err)
{
    int32_t rc = DK_OK;
    if (!s->answering && s->ended) return dk_fail(err, DK_E_END, "the answer has ended: append what comes next");
    if (!s->answering) DK_TRY(di_answer_begin(s, err));
out:
    return rc;
}

/* What the host does between two calls is no latency of ours. */
void di_answer_wake(di_stream *s)
{
    if (s->answering && s->written) s->last = dk_seconds();
}

int32_t di_stream_next(di_stream *s, const distill_token **out, dk_error *err)
{
    const di_moment since = di_cost_now();
    int32_t rc;
    di_answer_wake(s);
    DK_TRY(di_answer_make_ready(s, err));
    do DK_TRY(stop_cancelled(s, err));
    while (s->first == s->ready && (rc = di_family_pass(s->family, &s, 1, err)) == DK_OK && s->first == s->ready);
    DK_TRY(rc);
    DK_TRY(di_answer_deliver(s, err));
    *out = &s->token;
out:
    di_cost_add(s, since, 1);
    if (!s->answering) di_cost_settle(s->family);
    return rc;
}
