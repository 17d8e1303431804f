#include "model/draw.h"

#include <math.h>

enum { RUN = 32 }; /* rows that are adjusted and drawn at once */

/* ---- what comes in ---- */
int32_t dk_check_generate_args(const dk_model *model, const dk_generate_args *args, dk_error *err)
{
    char text[32];
    int64_t vocab = model->config.vocab_size;
    if (args->max_tokens < 1)
        return dk_fail(err, DK_E_INVALID, "generate: max_tokens is %lld, below 1", (long long)args->max_tokens);
    if (!(args->temperature >= 0) || !isfinite(args->temperature)) {
        dk_format_f64(args->temperature, text);
        return dk_fail(err, DK_E_INVALID, "generate: temperature is %s; it must be 0 (greedy) or above", text);
    }
    if (!(args->top_p > 0 && args->top_p <= 1)) {
        dk_format_f64(args->top_p, text);
        return dk_fail(err, DK_E_INVALID, "generate: top_p is %s, not in (0, 1]; 1 turns it off", text);
    }
    if (args->top_k < 0)
        return dk_fail(err, DK_E_INVALID, "generate: top_k is %lld, below 0; 0 turns it off", (long long)args->top_k);
    if (!(args->min_p >= 0 && args->min_p <= 1)) {
        dk_format_f64(args->min_p, text);
        return dk_fail(err, DK_E_INVALID, "generate: min_p is %s, not in [0, 1]; 0 turns it off", text);
    }
    if (!(args->repetition_penalty >= 0) || !isfinite(args->repetition_penalty) || !isfinite(args->presence_penalty)) {
        dk_format_f64(args->repetition_penalty, text);
        return dk_fail(err, DK_E_INVALID, "generate: repetition_penalty is %s, or presence_penalty is no number", text);
    }
    for (int64_t i = 0; i < args->bias_count; i++)
        if (args->bias_ids[i] < 0 || args->bias_ids[i] >= vocab || !isfinite(args->bias[i]))
            return dk_fail(err, DK_E_INVALID, "generate: a bias of id %d, which is not in [0, %lld), or is no number",
                           (int)args->bias_ids[i], (long long)vocab);
    if (args->samples < 0) return dk_fail(err, DK_E_INVALID, "generate: samples is %lld", (long long)args->samples);
    if (args->vocab_valid < 0 || args->vocab_valid > vocab)
        return dk_fail(err, DK_E_INVALID, "generate: vocab_valid is %lld, not in [0, %lld]",
                       (long long)args->vocab_valid, (long long)vocab);
    vocab = args->vocab_valid ? args->vocab_valid : vocab;
    if (args->top_count < 0 || args->top_count > vocab || (args->top_count && !args->top))
        return dk_fail(err, DK_E_INVALID, "generate: the %lld likeliest of %lld ids", (long long)args->top_count,
                       (long long)vocab);
    return DK_OK;
}

int32_t dk_is_stop(const dk_generate_args *args, int32_t id)
{
    for (int64_t i = 0; i < args->stop_count; i++)
        if (args->stop[i] == id) return 1;
    return 0;
}

int32_t dk_generate_refused(int32_t code, dk_error *err)
{
    if (code == 2) return dk_fail(err, DK_E_CANCELLED, "generate: stopped by its callback");
    dk_fail(err, DK_E_CALLBACK, "generate: the callback returned %d", (int)code);
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}

void dk_drawer_plan(dk_drawer *d, dk_arena *arena, int32_t copies)
{
    d->log_probs = dk_arena_2d(arena, arena->backend->real, d->rows, d->width);
    if (copies) d->adjusted = dk_arena_2d(arena, arena->backend->real, d->rows, d->width);
    d->drawn = dk_arena_take(arena, DK_I32, 1, &d->rows);
}

int32_t dk_drawer_open(dk_drawer *d, dk_host *host, int32_t reads, dk_error *err)
{
    int32_t rc = DK_OK;
    if (!reads) return DK_OK;
    DK_TRY(dk_new(host, d->width, &d->row, err));
    DK_TRY(dk_new(host, d->width, &d->wide, err));
    DK_TRY(dk_new(host, d->width, &d->order, err));
out:
    return rc;
}

void dk_drawer_close(dk_drawer *d, dk_host *host)
{
    dk_free(host, d->row);
    dk_free(host, d->wide);
    dk_free(host, d->order);
}

/* ---- rows that go through the host ---- */
static dk_view row_of(const dk_drawer *d, dk_view view, int64_t row)
{
    return dk_view_columns(dk_view_rows(view, row, 1), 0, d->vocab);
}

int32_t dk_drawer_read(dk_drawer *d, dk_view view, int64_t row, dk_error *err)
{
    const int32_t is_wide = view.dtype == DK_F64;
    d->queue->backend->ops->copy_out(d->queue, row_of(d, view, row), is_wide ? (void *)d->wide : (void *)d->row);
    int32_t rc = dk_queue_wait(d->queue, err);
    for (int64_t i = 0; rc == DK_OK && is_wide && i < d->vocab; i++) d->row[i] = (float)d->wide[i];
    return rc;
}

static void write_row(dk_drawer *d, dk_view view, int64_t row)
{
    const int32_t is_wide = view.dtype == DK_F64;
    for (int64_t i = 0; is_wide && i < d->vocab; i++) d->wide[i] = (double)d->row[i];
    d->queue->backend->ops->copy_in(d->queue, row_of(d, view, row), is_wide ? (void *)d->wide : (void *)d->row);
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

static int32_t ask_host(dk_drawer *d, dk_view logits, int64_t row, const dk_draw *draw, dk_error *err)
{
    const dk_generate_args *args = draw->args;
    int32_t rc;
    DK_TRY(dk_drawer_read(d, logits, row, err));
    int32_t code = args->logits(args->user, draw->text, draw->ids, draw->count, d->row, d->vocab);
    if (code) return dk_generate_refused(code, err);
    if (!can_be_drawn(d->row, d->vocab))
        return dk_fail(err, DK_E_NUMERIC,
                       "generate: sequence %lld, token %lld: the callback for logits left nan, +infinity, or nothing "
                       "above -infinity",
                       (long long)draw->text, (long long)draw->written);
    write_row(d, logits, row);
    DK_TRY(dk_queue_wait(d->queue, err));
out:
    return rc;
}

int32_t dk_drawer_top(dk_drawer *d, int64_t row, int64_t most, int32_t *ids, float *log_probs, int64_t *count,
                      dk_error *err)
{
    int64_t n = 0;
    int32_t rc = dk_drawer_read(d, d->log_probs, row, err);
    if (rc) return rc;
    for (int64_t i = 0; i < d->vocab; i++) {
        int64_t at = n < most ? n++ : n;
        if (at == n && !(d->row[i] > log_probs[n - 1])) continue;
        if (at == n) at--;
        for (; at > 0 && d->row[i] > log_probs[at - 1]; at--) {
            log_probs[at] = log_probs[at - 1];
            ids[at] = ids[at - 1];
        }
        log_probs[at] = d->row[i];
        ids[at] = (int32_t)i;
    }
    *count = n;
    return DK_OK;
}

double dk_drawer_element(dk_drawer *d, dk_view view, int64_t row, int64_t column)
{
    double wide = 0;
    float narrow = 0;
    dk_view one = dk_view_columns(dk_view_rows(view, row, 1), column, 1);
    void *to = view.dtype == DK_F64 ? (void *)&wide : (void *)&narrow;
    d->queue->backend->ops->copy_out(d->queue, one, to);
    return view.dtype == DK_F64 ? wide : (double)narrow;
}

/* Nothing can be drawn: which sequence has no log-probabilities. */
static int32_t name_row(dk_drawer *d, const dk_draw *draws, int64_t count, dk_error *err)
{
    int64_t row = 0;
    while (row + 1 < count && !isnan(dk_drawer_element(d, d->log_probs, row, 0))) row++;
    return dk_fail(err, DK_E_NUMERIC, "generate: sequence %lld, token %lld: logits are nan or infinite",
                   (long long)draws[row].text, (long long)draws[row].written);
}

/* ---- rows of one args, one after the other ---- */
/* In place, but for log-probabilities, which go out as they are. */
static dk_view adjust(dk_drawer *d, dk_view logits, const dk_draw *draws, int64_t first, int64_t rows)
{
    const dk_generate_args *args = draws->args;
    const dk_ops *ops = d->queue->backend->ops;
    const int32_t *ids[RUN];
    int64_t count[RUN], own[RUN];
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
        ids[i] = draws[i].ids;
        own[i] = draws[i].prompt;
        count[i] = draws[i].count;
    }
    if (dk_view_present(d->adjusted)) {
        dk_view copy = dk_view_rows(d->adjusted, first, rows);
        ops->convert(d->queue, logits, copy);
        logits = copy;
    }
    ops->adjust(d->queue, &how, logits, d->vocab);
    return logits;
}

static int32_t cuts(const dk_generate_args *args) { return args->top_k > 0 || args->top_p < 1 || args->min_p > 0; }

static int32_t cut_row(dk_drawer *d, dk_view logits, int64_t row, const dk_generate_args *args, dk_error *err)
{
    int32_t rc;
    DK_TRY(dk_drawer_read(d, logits, row, err));
    dk_cut_logits(args, d->row, d->vocab, d->order);
    write_row(d, logits, row);
    DK_TRY(dk_queue_wait(d->queue, err));
out:
    return rc;
}

static int32_t shape_run(dk_drawer *d, dk_view logits, const dk_draw *draws, int64_t first, int64_t rows, dk_view out,
                         dk_error *err)
{
    const dk_generate_args *args = draws->args;
    int32_t rc = DK_OK;
    logits = adjust(d, logits, draws, first, rows);
    for (int64_t i = 0; cuts(args) && i < rows; i++) DK_TRY(cut_row(d, logits, i, args, err));
    d->queue->backend->ops->log_softmax(d->queue, logits, d->vocab, args->temperature, out);
out:
    return rc;
}

static int32_t draw_run(dk_drawer *d, dk_view logits, const dk_draw *draws, int64_t first, int64_t rows, dk_error *err)
{
    const dk_generate_args *args = draws->args;
    uint64_t counters[RUN];
    const dk_sample_args sample = {.temperature = args->temperature,
                                   .top_k = args->top_k,
                                   .top_p = args->top_p,
                                   .min_p = args->min_p,
                                   .seed = args->seed,
                                   .counters = counters};
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < rows; i++) counters[i] = draws[i].counter;
    logits = adjust(d, logits, draws, first, rows);
    for (int64_t i = 0; args->logits && i < rows; i++) DK_TRY(ask_host(d, logits, i, &draws[i], err));
    d->queue->backend->ops->sample(d->queue, &sample, logits, d->vocab, dk_view_rows(d->drawn, first, rows));
out:
    return rc;
}

static int64_t run_length(const dk_draw *draws, int64_t count)
{
    int64_t n = 1;
    while (n < count && n < RUN && draws[n].args == draws->args) n++;
    return n;
}

int32_t dk_drawer_shape(dk_drawer *d, dk_view logits, const dk_draw *draws, int64_t count, dk_view out, dk_error *err)
{
    int32_t rc;
    for (int64_t at = 0, n; at < count; at += n) {
        n = run_length(draws + at, count - at);
        DK_TRY(shape_run(d, dk_view_rows(logits, at, n), draws + at, at, n, dk_view_rows(out, at, n), err));
    }
    DK_TRY(dk_queue_wait(d->queue, err));
out:
    return rc;
}

int32_t dk_drawer_pick(dk_drawer *d, dk_view shaped, uint64_t seed, uint64_t counter, int32_t *id, dk_error *err)
{
    const dk_sample_args sample = {.temperature = 1, .top_p = 1, .seed = seed, .counters = &counter};
    dk_view drawn = dk_view_rows(d->drawn, 0, 1);
    d->queue->backend->ops->sample(d->queue, &sample, shaped, d->vocab, drawn);
    d->queue->backend->ops->copy_out(d->queue, drawn, id);
    return dk_queue_wait(d->queue, err);
}

static int32_t read_drawn(dk_drawer *d, dk_draw *draws, int64_t count, dk_error *err)
{
    int32_t rc, ids[RUN];
    for (int64_t first = 0; first < count; first += RUN) {
        const int64_t n = count - first < RUN ? count - first : RUN;
        d->queue->backend->ops->copy_out(d->queue, dk_view_rows(d->drawn, first, n), ids);
        if ((rc = dk_queue_wait(d->queue, err)) == DK_E_NUMERIC) rc = name_row(d, draws, count, err);
        if (rc != DK_OK) return rc;
        for (int64_t i = 0; i < n; i++) draws[first + i].id = ids[i];
    }
    for (int64_t i = 0; i < count; i++) draws[i].log_prob = dk_drawer_element(d, d->log_probs, i, draws[i].id);
    return dk_queue_wait(d->queue, err);
}

int32_t dk_drawer_draw(dk_drawer *d, dk_view logits, dk_draw *draws, int64_t count, dk_error *err)
{
    int32_t rc;
    for (int64_t at = 0, n; at < count; at += n) {
        n = run_length(draws + at, count - at);
        DK_TRY(draw_run(d, dk_view_rows(logits, at, n), draws + at, at, n, err));
    }
    DK_TRY(read_drawn(d, draws, count, err));
out:
    return rc;
}
