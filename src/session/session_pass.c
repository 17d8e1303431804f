#include "session/session_parts.h"

#include <string.h>

static int64_t held_by(const di_stream *s) { return dk_cache_length(s->family->cache, s->place); }

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
    return from == s || !dk_cache_alike(s->family->cache, from->place, s->place) ? 0 : common(s, from, most);
}

/* Another one of this pass that is still being read will have more of what s needs. */
static int32_t waits(const di_stream *s, di_stream *const *before, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (held_by(before[i]) < before[i]->count &&
            could_share(s, before[i], before[i]->count) >= held_by(s) + DI_SESSION_SHARE)
            return 1;
    return 0;
}

static int32_t share(di_stream *s, dk_error *err)
{
    di_family *f = s->family;
    int64_t from = -1, most = held_by(s) + DI_SESSION_SHARE - 1;
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < f->places; i++) {
        if (!f->at[i]) continue;
        const int64_t held = dk_cache_length(f->cache, i), n = could_share(s, f->at[i], held);
        if (n > most) most = n, from = i;
    }
    if (from < 0) return DK_OK;
    s->stats.kept_tokens += most - held_by(s);
    DK_TRY(dk_cache_share(f->cache, from, s->place, most, err));
out:
    return rc;
}

/* ---- rows ---- */

static void add(di_family *f, di_stream *s, int64_t rows)
{
    const int64_t at = f->offsets[f->count];
    memcpy(f->ids + at, s->ids + held_by(s), (size_t)rows * sizeof *f->ids);
    f->which[f->count] = s->place;
    f->of[f->count++] = s;
    f->offsets[f->count] = at + rows;
}

/* All but the last token are read. */
static int32_t writes(const di_stream *s) { return s->written > 0 || held_by(s) == s->count - 1; }

static void add_writing(di_family *f, di_stream *const *streams, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (writes(streams[i])) add(f, streams[i], 1);
    f->drawn = f->count;
}

static int32_t add_reading(di_family *f, di_stream *const *streams, int64_t count, dk_error *err)
{
    int64_t left = DI_SESSION_PIECE;
    for (int64_t i = 0; i < count && left > 0; i++) {
        di_stream *s = streams[i];
        if (writes(s) || waits(s, streams, i)) continue;
        if (f->backend->invariant_rows == INT64_MAX && share(s, err)) return err ? err->code : DK_E_INTERNAL;
        const int64_t rest = s->count - held_by(s), n = rest < left ? rest : left;
        add(f, s, n);
        left -= n;
        if (n < rest) break; /* the last one: it alone is not drawn from */
        f->drawn = f->count;
    }
    return DK_OK;
}

static dk_draw draw_of(const di_stream *s)
{
    return (dk_draw){.args = &s->writing.args,
                     .written = s->written,
                     .ids = s->ids,
                     .prompt = s->prompt,
                     .count = s->count,
                     .counter = (uint64_t)s->written};
}

static int32_t keep_drawn(di_family *f, int64_t row, dk_error *err)
{
    di_stream *s = f->of[row];
    di_drawn *t = &s->drawn[0];
    const int64_t most = s->writing.args.top_count;
    int32_t rc = DK_OK;
    t->id = f->draws[row].id;
    t->log_prob = f->draws[row].log_prob;
    t->from_draft = 0;
    t->top_count = 0;
    if (most) DK_TRY(dk_drawer_top(&f->drawer, row, most, t->top_ids, t->top, &t->top_count, err));
    s->first = 0;
    s->ready = 1;
out:
    return rc;
}

static int32_t draw(di_family *f, dk_view hidden, dk_error *err)
{
    const int64_t rows = f->drawn;
    dk_view logits = dk_view_rows(f->logits, 0, rows);
    int32_t rc = DK_OK;
    if (!rows) return DK_OK;
    for (int64_t i = 0; i < rows; i++) f->draws[i] = draw_of(f->of[i]);
    dk_head_forward(&f->queue, f->weights, f->precision, dk_view_rows(hidden, 0, rows), logits);
    f->backend->ops->log_softmax(&f->queue, logits, f->vocab, 1, dk_view_rows(f->drawer.log_probs, 0, rows));
    DK_TRY(dk_drawer_draw(&f->drawer, logits, f->draws, rows, err));
    for (int64_t i = 0; i < rows; i++) DK_TRY(keep_drawn(f, i, err));
out:
    return rc;
}

/* Pieces that begin where a prompt does are those that any prompt is read in. */
static void count_whole(di_family *f)
{
    for (int64_t i = 0; i < f->count; i++) {
        di_stream *s = f->of[i];
        const int64_t rows = f->offsets[i + 1] - f->offsets[i];
        if (s->whole == held_by(s) - rows && rows == DI_SESSION_PIECE) s->whole += rows;
    }
}

static int32_t run(di_family *f, dk_error *err)
{
    const dk_tokens tokens = {.ids = f->ids, .offsets = f->offsets, .sequences = f->count};
    dk_view hidden;
    int32_t rc;
    DK_TRY(dk_cache_forward(f->cache, &tokens, f->which, &hidden, err));
    count_whole(f);
    DK_TRY(draw(f, hidden, err));
out:
    return rc;
}

int32_t di_family_pass(di_family *f, di_stream *const *streams, int64_t count, dk_error *err)
{
    int32_t rc;
    f->count = f->drawn = 0;
    add_writing(f, streams, count);
    DK_TRY(add_reading(f, streams, count, err));
    DK_TRY(run(f, err));
out:
    return rc;
}
