#include "session/session_parts.h"

#include <string.h>

/* ---- what begins alike is read once ---- */

static int64_t common(const di_stream *a, const di_stream *b, int64_t most)
{
    int64_t n = 0;
    while (n < most && a->ids[n] == b->ids[n]) n++;
    return n;
}

/* The last token is always read, since something is drawn from it. */
static int64_t could_share(const di_stream *s, const di_stream *from, int64_t length)
{
    const int64_t most = s->count - 1 < length ? s->count - 1 : length;
    return from == s || !di_voices_alike(s->family->voices, from->place, s->place) ? 0 : common(s, from, most);
}

/* Another one of this pass that is still being read will have more of what s needs. */
static int32_t waits(const di_stream *s, di_stream *const *before, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (!di_stream_writes(before[i]) &&
            could_share(s, before[i], before[i]->count) >= di_stream_held(s) + DI_SESSION_SHARE)
            return 1;
    return 0;
}

static int32_t share(di_stream *s, dk_error *err)
{
    di_family *f = s->family;
    int64_t from = -1, most = di_stream_held(s) + DI_SESSION_SHARE - 1;
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < f->places; i++) {
        if (!f->at[i]) continue;
        const int64_t held = di_voices_held(f->voices, i), stands = f->at[i]->count;
        const int64_t n = could_share(s, f->at[i], held < stands ? held : stands);
        if (n > most) most = n, from = i;
    }
    if (from < 0) return DK_OK;
    s->stats.kept_tokens += most - di_stream_held(s);
    DK_TRY(di_voices_share(f->voices, from, s->place, most, err));
out:
    return rc;
}

/* ---- rows ---- */

static void add(di_family *f, di_stream *s, int64_t rows, int64_t last)
{
    const int64_t at = f->offsets[f->count];
    memcpy(f->ids + at, s->ids + di_stream_held(s), (size_t)rows * sizeof *f->ids);
    f->which[f->count] = s->place;
    f->last[f->count] = last;
    f->of[f->count++] = s;
    f->offsets[f->count] = at + rows;
}

static void add_writing(di_family *f, di_stream *const *streams, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (di_stream_writes(streams[i])) add(f, streams[i], 1 + streams[i]->proposed, 1 + streams[i]->proposed);
    f->drawn = f->count;
}

static int32_t add_reading(di_family *f, di_stream *const *streams, int64_t count, dk_error *err)
{
    int64_t left = DI_SESSION_PIECE;
    for (int64_t i = 0; i < count && left > 0; i++) {
        di_stream *s = streams[i];
        if (di_stream_writes(s) || waits(s, streams, i)) continue;
        if (f->backend->invariant_rows == INT64_MAX && share(s, err)) return err ? err->code : DK_E_INTERNAL;
        const int64_t rest = s->count - di_stream_held(s), n = rest < left ? rest : left;
        add(f, s, n, 1);
        left -= n;
        if (n < rest) break; /* the last one: it alone is not drawn from */
        f->drawn = f->count;
    }
    return DK_OK;
}

/* Pieces that begin where a prompt does are those that any prompt is read in. */
static void count_whole(di_family *f)
{
    for (int64_t i = 0; i < f->count; i++) {
        di_stream *s = f->of[i];
        const int64_t rows = f->offsets[i + 1] - f->offsets[i];
        if (s->whole == di_stream_held(s) - rows && rows == DI_SESSION_PIECE) s->whole += rows;
    }
}

static int32_t draw(di_family *f, dk_error *err)
{
    int64_t rows = 0, first = 0;
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < f->drawn; i++) rows += f->last[i];
    if (!rows) return DK_OK;
    dk_view logits = dk_view_rows(f->logits, 0, rows);
    DK_TRY(di_voices_speak(f, rows, logits, dk_view_rows(f->log_probs, 0, rows), err));
    for (int64_t i = 0; i < f->drawn; first += f->last[i++]) DK_TRY(di_stream_verify(f->of[i], first, err));
out:
    return rc;
}

static void count_work(const di_family *f)
{
    for (int64_t i = 0; i < f->count; i++) {
        const int64_t rows = f->offsets[i + 1] - f->offsets[i];
        for (int64_t m = 0; m < f->voices->count; m++) {
            di_cost_pass(f->of[i], f->voices->models[m], rows, di_stream_held(f->of[i]));
            if (i < f->drawn) di_cost_head(f->of[i], f->voices->models[m], f->last[i]);
        }
    }
}

static int32_t run(di_family *f, dk_error *err)
{
    const dk_tokens tokens = {.ids = f->ids, .offsets = f->offsets, .sequences = f->count};
    int32_t rc;
    DK_TRY(di_voices_read(f->voices, &tokens, f->which, f->last, err));
    count_whole(f);
    count_work(f);
    DK_TRY(draw(f, err));
out:
    return rc;
}

int32_t di_family_pass(di_family *f, di_stream *const *streams, int64_t count, dk_error *err)
{
    int32_t rc;
    f->count = f->drawn = 0;
    di_meter_poll(&f->meter); /* counters go round while a long answer is written */
    for (int64_t i = 0; i < count; i++) di_family_cut(f, streams[i]->place, streams[i]->count - 1); /* a pass failed */
    if (f->draft) DK_TRY(di_draft_propose(f, streams, count, err));
    add_writing(f, streams, count);
    DK_TRY(add_reading(f, streams, count, err));
    DK_TRY(run(f, err));
out:
    return rc;
}
