/* Tokens of texts: logits or what several models say together, adjusted by what a text has, drawn from and handed out.
 *
 * The order is that of transformers' processors: bias, penalties, the host's own, then temperature, top_k, top_p and
 * min_p. What a text draws is number (text, token), or (its draws, token), of the stream of samples, whatever stands
 * beside it. */
#include <math.h>

#include "model/generate_parts.h"

static int32_t is_stop(const dk_generate_args *args, int32_t id)
{
    for (int64_t i = 0; i < args->stop_count; i++)
        if (args->stop[i] == id) return 1;
    return 0;
}

static int32_t callback_failed(int32_t code, dk_error *err)
{
    if (code == 2) return dk_fail(err, DK_E_CANCELLED, "generate: stopped by its callback");
    dk_fail(err, DK_E_CALLBACK, "generate: the callback returned %d", (int)code);
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}

static int32_t emit(dk_writer *w, dk_place *p, int32_t id, double log_prob, dk_error *err)
{
    const dk_generate_args *args = w->args;
    const int64_t text = p->text;
    p->ids[p->prompt + p->written++] = id;
    int32_t finished = is_stop(args, id) ? 1 : p->written >= p->room ? 2 : 0;
    if (finished) p->text = -1;
    int32_t code = args->emit(args->user, text, id, log_prob, finished);
    if (code == DK_TEXT_ENDS) p->text = -1;
    return code == 0 || code == DK_TEXT_ENDS ? DK_OK : callback_failed(code, err);
}

/* ---- rows that go through the host ---- */
static dk_view row_of(const dk_writer *w, dk_view view, int64_t row)
{
    return dk_view_columns(dk_view_rows(view, row, 1), 0, w->vocab);
}

static int32_t read_row(dk_writer *w, dk_view view, int64_t row, dk_error *err)
{
    const int32_t is_wide = view.dtype == DK_F64;
    w->backend->ops->copy_out(&w->queue, row_of(w, view, row), is_wide ? (void *)w->wide : (void *)w->row);
    int32_t rc = dk_queue_wait(&w->queue, err);
    for (int64_t i = 0; rc == DK_OK && is_wide && i < w->vocab; i++) w->row[i] = (float)w->wide[i];
    return rc;
}

static void write_row(dk_writer *w, dk_view view, int64_t row)
{
    const int32_t is_wide = view.dtype == DK_F64;
    for (int64_t i = 0; is_wide && i < w->vocab; i++) w->wide[i] = (double)w->row[i];
    w->backend->ops->copy_in(&w->queue, row_of(w, view, row), is_wide ? (void *)w->wide : (void *)w->row);
}

static int32_t can_be_drawn(const float *logits, int64_t vocab)
{
    int32_t any = 0;
    for (int64_t i = 0; i < vocab; i++) {
        if (!(logits[i] < INFINITY)) return 0;
        any |= logits[i] > -INFINITY;
    }
    return any;
}

static int32_t ask_host(dk_writer *w, const int64_t *which, int64_t rows, dk_view logits, dk_error *err)
{
    const dk_generate_args *args = w->args;
    int32_t rc = DK_OK;
    for (int64_t i = 0; args->logits && i < rows; i++) {
        const dk_place *p = &w->place[which[i]];
        DK_TRY(read_row(w, logits, i, err));
        int32_t code = args->logits(args->user, p->text, p->ids, p->prompt + p->written, w->row, w->vocab);
        if (code) return callback_failed(code, err);
        if (!can_be_drawn(w->row, w->vocab))
            return dk_fail(err, DK_E_NUMERIC,
                           "generate: sequence %lld, token %lld: the callback for logits left nan, +infinity, or "
                           "nothing above -infinity",
                           (long long)p->text, (long long)p->written);
        write_row(w, logits, i);
        DK_TRY(dk_queue_wait(&w->queue, err));
    }
out:
    return rc;
}

/* The likeliest ids of a row, ties by id. */
static int32_t tell_top(dk_writer *w, dk_view log_probs, int64_t row, dk_error *err)
{
    const dk_generate_args *args = w->args;
    int64_t count = 0;
    int32_t rc = args->top_count ? read_row(w, log_probs, row, err) : DK_OK;
    if (rc || !args->top_count) return rc;
    for (int64_t i = 0; i < w->vocab; i++) {
        int64_t at = count < args->top_count ? count++ : count;
        if (at == count && !(w->row[i] > w->top[count - 1])) continue;
        if (at == count) at--;
        for (; at > 0 && w->row[i] > w->top[at - 1]; at--) {
            w->top[at] = w->top[at - 1];
            w->top_ids[at] = w->top_ids[at - 1];
        }
        w->top[at] = w->row[i];
        w->top_ids[at] = (int32_t)i;
    }
    args->top(args->user, w->top_ids, w->top, count);
    return DK_OK;
}

static double element(dk_writer *w, dk_view view, int64_t row, int64_t column)
{
    double wide = 0;
    float narrow = 0;
    dk_view one = dk_view_columns(dk_view_rows(view, row, 1), column, 1);
    void *to = view.dtype == DK_F64 ? (void *)&wide : (void *)&narrow;
    w->backend->ops->copy_out(&w->queue, one, to);
    return view.dtype == DK_F64 ? wide : (double)narrow;
}

/* Nothing can be drawn: which sequence has no log-probabilities. */
static int32_t name_row(dk_writer *w, const int64_t *which, int64_t rows, dk_error *err)
{
    int64_t row = 0;
    while (row + 1 < rows && !isnan(element(w, w->log_probs, row, 0))) row++;
    return dk_fail(err, DK_E_NUMERIC, "generate: sequence %lld, token %lld: logits are nan or infinite",
                   (long long)w->place[which[row]].text, (long long)w->place[which[row]].written);
}

/* What several models say together stands in log_probs; what one says in its logits, too. */
static int32_t speak(dk_writer *w, const int64_t *which, int64_t rows, dk_view log_probs, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < w->choir->count; i++)
        dk_head_forward(&w->queue, w->voices[i].model, w->args->precision, dk_view_rows(w->voices[i].hidden, 0, rows),
                        dk_view_rows(w->voices[i].logits, 0, rows));
    if (!w->choir->join) {
        w->backend->ops->log_softmax(&w->queue, dk_view_rows(w->voices[0].logits, 0, rows), w->vocab, 1, log_probs);
        return DK_OK;
    }
    DK_TRY(dk_queue_wait(&w->queue, err));
    for (int64_t r = 0; r < rows && rc == DK_OK; r++) {
        for (int64_t i = 0; i < w->choir->count; i++) w->one[i] = dk_view_rows(w->voices[i].logits, r, 1);
        rc = w->choir->join(w->choir->user, w->one, w->place[which[r]].text, w->place[which[r]].written,
                            dk_view_columns(dk_view_rows(log_probs, r, 1), 0, w->vocab), err);
        if (rc)
            dk_error_context(err, "generate: sequence %lld, token %lld", (long long)w->place[which[r]].text,
                             (long long)w->place[which[r]].written);
    }
out:
    return rc;
}

/* In place, but for log-probabilities, which go out as they are. */
static dk_view adjust(dk_writer *w, const int64_t *which, int64_t rows, dk_view logits)
{
    const dk_generate_args *args = w->args;
    const dk_ops *ops = w->backend->ops;
    const int32_t *ids[DK_PLACES];
    int64_t count[DK_PLACES], own[DK_PLACES];
    const dk_adjust_args how = {.bias_ids = args->bias_ids,
                                .bias = args->bias,
                                .bias_count = args->bias_count,
                                .repetition = args->repetition_penalty > 0 ? args->repetition_penalty : 1,
                                .presence = args->presence_penalty,
                                .ids = ids,
                                .count = count,
                                .own = own};
    if (!dk_adjusts(args)) return logits;
    for (int64_t i = 0; i < rows; i++) {
        const dk_place *p = &w->place[which[i]];
        ids[i] = p->ids;
        own[i] = p->prompt;
        count[i] = p->prompt + p->written;
    }
    if (dk_view_present(w->adjusted)) {
        dk_view copy = dk_view_rows(w->adjusted, 0, rows);
        ops->convert(&w->queue, logits, copy);
        logits = copy;
    }
    ops->adjust(&w->queue, &how, logits, w->vocab);
    return logits;
}

/* The log-probability that goes out is the model's own, at temperature 1 and before anything was adjusted or left out,
 * whatever the token was drawn with. */
int32_t dk_writer_draw(dk_writer *w, const int64_t *which, int64_t rows, dk_error *err)
{
    int32_t rc, ids[DK_PLACES];
    uint64_t counters[DK_PLACES];
    double log_prob[DK_PLACES];
    const dk_generate_args *args = w->args;
    const dk_ops *ops = w->backend->ops;
    dk_view log_probs = dk_view_rows(w->log_probs, 0, rows), drawn = dk_view_rows(w->drawn, 0, rows),
            logits = w->choir->join ? log_probs : dk_view_rows(w->voices[0].logits, 0, rows);
    dk_sample_args sample = {.temperature = args->temperature,
                             .top_k = args->top_k,
                             .top_p = args->top_p,
                             .min_p = args->min_p,
                             .seed = args->seed,
                             .counters = counters};
    for (int64_t i = 0; i < rows; i++) {
        const dk_place *p = &w->place[which[i]];
        counters[i] = (args->draws ? args->draws[p->text] : (uint64_t)p->text << 32) + (uint64_t)p->written;
    }
    DK_TRY(speak(w, which, rows, log_probs, err));
    logits = adjust(w, which, rows, logits);
    DK_TRY(ask_host(w, which, rows, logits, err));
    ops->sample(&w->queue, &sample, logits, w->vocab, drawn);
    ops->copy_out(&w->queue, drawn, ids);
    if ((rc = dk_queue_wait(&w->queue, err)) == DK_E_NUMERIC) rc = name_row(w, which, rows, err);
    if (rc != DK_OK) goto out;
    for (int64_t i = 0; i < rows; i++) log_prob[i] = element(w, log_probs, i, ids[i]);
    DK_TRY(dk_queue_wait(&w->queue, err));
    for (int64_t i = 0; i < rows; i++) {
        DK_TRY(tell_top(w, log_probs, i, err));
        DK_TRY(emit(w, &w->place[which[i]], ids[i], log_prob[i], err));
    }
out:
    return rc;
}
