/* What a pass says of texts becomes their next tokens. What a text draws is number (text, token), or (its draws,
 * token), of the stream of samples, whatever stands beside it. */
#include "model/generate_parts.h"

static int32_t emit(dk_writer *w, dk_place *p, int32_t id, double log_prob, dk_error *err)
{
    const dk_generate_args *args = w->args;
    const int64_t text = p->text;
    p->ids[p->prompt + p->written++] = id;
    int32_t finished = dk_is_stop(args, id) ? 1 : p->written >= p->room ? 2 : 0;
    if (finished) p->text = -1;
    int32_t code = args->emit(args->user, text, id, log_prob, finished);
    if (code == DK_TEXT_ENDS) p->text = -1;
    return code == 0 || code == DK_TEXT_ENDS ? DK_OK : dk_generate_refused(code, err);
}

static int32_t tell_top(dk_writer *w, int64_t row, dk_error *err)
{
    const dk_generate_args *args = w->args;
    int64_t count = 0;
    int32_t rc = DK_OK;
    if (!args->top_count) return DK_OK;
    DK_TRY(dk_drawer_top(&w->drawer, row, args->top_count, w->top_ids, w->top, &count, err));
    args->top(args->user, w->top_ids, w->top, count);
out:
    return rc;
}

/* What several models say together stands in log_probs; what one says in its logits, too. */
static int32_t speak(dk_writer *w, const int64_t *which, int64_t rows, dk_view log_probs, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < w->choir->count; i++)
        dk_head_forward(&w->queue, w->voices[i].model, w->args->precision, dk_view_rows(w->voices[i].hidden, 0, rows),
                        dk_view_rows(w->voices[i].logits, 0, rows));
    if (!w->choir->join) {
        w->backend->ops->log_softmax(&w->queue, dk_view_rows(w->voices[0].logits, 0, rows), w->drawer.vocab, 1,
                                     log_probs);
        return DK_OK;
    }
    DK_TRY(dk_queue_wait(&w->queue, err));
    for (int64_t r = 0; r < rows && rc == DK_OK; r++) {
        for (int64_t i = 0; i < w->choir->count; i++) w->one[i] = dk_view_rows(w->voices[i].logits, r, 1);
        rc = w->choir->join(w->choir->user, w->one, w->place[which[r]].text, w->place[which[r]].written,
                            dk_view_columns(dk_view_rows(log_probs, r, 1), 0, w->drawer.vocab), err);
        if (rc)
            dk_error_context(err, "generate: sequence %lld, token %lld", (long long)w->place[which[r]].text,
                             (long long)w->place[which[r]].written);
    }
out:
    return rc;
}

static dk_draw draw_of(const dk_writer *w, const dk_place *p)
{
    const uint64_t first = w->args->draws ? w->args->draws[p->text] : (uint64_t)p->text << 32;
    return (dk_draw){.args = w->args,
                     .text = p->text,
                     .written = p->written,
                     .ids = p->ids,
                     .prompt = p->prompt,
                     .count = p->prompt + p->written,
                     .counter = first + (uint64_t)p->written};
}

int32_t dk_writer_draw(dk_writer *w, const int64_t *which, int64_t rows, dk_error *err)
{
    int32_t rc;
    dk_draw draws[DK_PLACES];
    dk_view log_probs = dk_view_rows(w->drawer.log_probs, 0, rows),
            logits = w->choir->join ? log_probs : dk_view_rows(w->voices[0].logits, 0, rows);
    for (int64_t i = 0; i < rows; i++) draws[i] = draw_of(w, &w->place[which[i]]);
    DK_TRY(speak(w, which, rows, log_probs, err));
    DK_TRY(dk_drawer_draw(&w->drawer, logits, draws, rows, err));
    for (int64_t i = 0; i < rows; i++) {
        DK_TRY(tell_top(w, i, err));
        DK_TRY(emit(w, &w->place[which[i]], draws[i].id, draws[i].log_prob, err));
    }
out:
    return rc;
}
