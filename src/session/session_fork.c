#include "session/session_parts.h"

#include <string.h>

static void copy_drawn(di_stream *s, const di_stream *from)
{
    const int64_t top = s->writing.args.top_count;
    for (int64_t i = 0; i < from->ready; i++) {
        di_drawn *to = &s->drawn[i];
        const di_drawn *t = &from->drawn[i];
        to->id = t->id;
        to->from_draft = t->from_draft;
        to->log_prob = t->log_prob;
        to->top_count = t->top_count;
        memcpy(to->top_ids, t->top_ids, (size_t)top * sizeof *t->top_ids);
        memcpy(to->top, t->top, (size_t)top * sizeof *t->top);
    }
    s->ready = from->ready;
    s->first = from->first;
}

static int32_t copy_answer(di_stream *s, const di_stream *from, dk_error *err)
{
    const di_reader reader = {.table = &s->listener};
    int32_t rc = DK_OK;
    s->ended = from->ended;
    s->proposals = from->proposals;
    s->taken = from->taken;
    s->pause = from->pause;
    s->waited = from->waited;
    if (!from->answering) return DK_OK;
    DK_TRY(di_speaker_copy(from->speaker, &s->writing, &reader, &s->speaker, err));
    s->answering = 1;
    s->prompt = from->prompt;
    s->room = from->room;
    s->written = from->written;
    s->began = from->began;
    s->last = from->last;
    copy_drawn(s, from);
out:
    return rc;
}

static int32_t share_draft(dk_cache *cache, const di_stream *from, const di_stream *to, dk_error *err)
{
    const int64_t held = dk_cache_length(cache, from->place);
    if (from->planned) dk_cache_plan(cache, to->place, from->planned);
    return held ? dk_cache_share(cache, from->place, to->place, held, err) : DK_OK;
}

static int32_t copy_text(di_stream *s, const di_stream *from, dk_error *err)
{
    di_family *f = s->family;
    int32_t rc;
    DK_TRY(dk_new(f->host, f->context + 2, &s->ids, err));
    memcpy(s->ids, from->ids, (size_t)(f->context + 2) * sizeof *s->ids);
    s->count = from->count;
    s->whole = from->whole;
    s->planned = from->planned;
    s->messages = from->messages;
    s->turns = from->turns;
    DK_TRY(di_voices_share_all(f->voices, from->place, s->place, from->planned, err));
    if (f->draft) DK_TRY(share_draft(f->draft->cache, from, s, err));
out:
    return rc;
}

int32_t di_stream_fork(const di_stream *from, di_stream **out, dk_error *err)
{
    di_family *f = from->family;
    di_options *options = NULL;
    di_writing writing = {.host = NULL};
    di_stream *s = di_stream_new(f->host, err);
    int32_t rc = s ? DK_OK : DK_E_NOMEM;
    if (rc) return rc;
    DK_TRY(di_family_take_place(f, s, err));
    DK_TRY(di_options_copy(from->options, f->host, 1 << DI_GENERATE, &options, err));
    DK_TRY(di_stream_open_writing(s, f->model, f->voices, options, &writing, err));
    di_stream_use_writing(s, options, &writing);
    options = NULL;
    writing.host = NULL;
    DK_TRY(di_answer_room_for_top(s, err));
    DK_TRY(copy_text(s, from, err));
    DK_TRY(copy_answer(s, from, err));
    *out = s;
    s = NULL;
out:
    di_writing_close(&writing);
    di_options_free(options);
    di_stream_free(s);
    return rc;
}
