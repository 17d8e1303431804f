/* Text, token by token, for many prompts.
 *
 * Prompts run in groups. Each is read by itself, in pieces of a fixed size from its beginning on; then all of a group
 * write one token per step. What a sequence draws is number (sequence, step) of the stream of samples, and a group has
 * no more rows than the backend's products treat as if each were alone; so the text of a sequence depends on nothing
 * but itself. */
#include "model/pass_parts.h"

#include <math.h>

enum { MOST = 32, PIECE = 256 }; /* sequences of a group, whatever the backend promises; rows of a piece */

typedef struct writer { /* a group of sequences */
    dk_model *model;
    const dk_generate_args *args;
    dk_queue queue;
    dk_cache *cache;
    dk_arena arena;
    dk_view logits, log_probs; /* [group, vocab_size] */
    dk_view drawn;             /* I32 [group] */
    int64_t first, size;       /* sequence numbers first .. first + size */
    int64_t active[MOST];      /* places in the group that still write */
    int64_t active_count;
    int64_t written[MOST], room[MOST];
    int32_t ids[MOST]; /* the token that each wrote last */
    int64_t vocab;     /* ids below it are drawn */
} writer;

/* ---- what comes in ---- */
static int32_t check_args(const dk_model *model, const dk_generate_args *args, dk_error *err)
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
    if (args->vocab_valid < 0 || args->vocab_valid > vocab)
        return dk_fail(err, DK_E_INVALID, "generate: vocab_valid is %lld, not in [0, %lld]",
                       (long long)args->vocab_valid, (long long)vocab);
    return DK_OK;
}

static int32_t check_prompts(const dk_model *model, const dk_tokens *prompts, dk_error *err)
{
    int32_t rc;
    int64_t context = model->config.max_positions;
    DK_TRY(dk_check_tokens(&model->config, prompts, err));
    for (int64_t s = 0; s < prompts->sequences; s++) {
        int64_t length = prompts->offsets[s + 1] - prompts->offsets[s];
        if (length < 1)
            DK_TRY(dk_fail(err, DK_E_INVALID,
                           "generate: prompt %lld is empty; give at least one token, such as the beginning of text",
                           (long long)s));
        if (length > context)
            DK_TRY(dk_fail(err, DK_E_INVALID,
                           "generate: prompt %lld has %lld tokens, but the model's context ends at %lld; cut it",
                           (long long)s, (long long)length, (long long)context));
    }
out:
    return rc;
}

static int64_t prompt_length(const writer *w, const dk_tokens *prompts, int64_t place)
{
    return prompts->offsets[w->first + place + 1] - prompts->offsets[w->first + place];
}

/* A token that fills the context is written, but never read: a sequence may end one token behind the context. */
static int32_t plan(writer *w, const dk_tokens *prompts, dk_error *err)
{
    int32_t rc = DK_OK;
    int64_t vocab = w->model->config.vocab_size, capacity = 1;
    for (int64_t i = 0; i < w->size; i++) {
        int64_t length = prompt_length(w, prompts, i), left = w->model->config.max_positions + 1 - length;
        w->room[i] = w->args->max_tokens < left ? w->args->max_tokens : left;
        if (length + w->room[i] - 1 > capacity) capacity = length + w->room[i] - 1;
    }
    for (int32_t measured = 0; measured < 2; measured++) {
        w->logits = dk_arena_2d(&w->arena, w->model->backend->real, w->size, vocab);
        w->log_probs = dk_arena_2d(&w->arena, w->model->backend->real, w->size, vocab);
        w->drawn = dk_arena_take(&w->arena, DK_I32, 1, &w->size);
        if (!measured) DK_TRY(dk_arena_commit(&w->arena, err));
    }
    DK_TRY(dk_cache_create(w->model, w->size, capacity, PIECE, w->args->precision, &w->cache, err));
out:
    return rc;
}

/* ---- one token for each row ---- */
static int32_t is_stop(const dk_generate_args *args, int32_t id)
{
    for (int64_t i = 0; i < args->stop_count; i++)
        if (args->stop[i] == id) return 1;
    return 0;
}

static int32_t emit(writer *w, int64_t place, int32_t id, double log_prob, int32_t *finished, dk_error *err)
{
    const dk_generate_args *args = w->args;
    w->ids[place] = id;
    w->written[place]++;
    *finished = is_stop(args, id) ? 1 : w->written[place] >= w->room[place] ? 2 : 0;
    int32_t code = args->emit(args->user, w->first + place, id, log_prob, *finished);
    if (code == 0) return DK_OK;
    if (code == 2) return dk_fail(err, DK_E_CANCELLED, "generate: stopped by its callback");
    dk_fail(err, DK_E_CALLBACK, "generate: the callback returned %d", (int)code);
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}

static double element(writer *w, dk_view view, int64_t row, int64_t column)
{
    double wide = 0;
    float narrow = 0;
    dk_view one = dk_view_columns(dk_view_rows(view, row, 1), column, 1);
    void *to = view.dtype == DK_F64 ? (void *)&wide : (void *)&narrow;
    w->model->backend->ops->copy_out(&w->queue, one, to);
    return view.dtype == DK_F64 ? wide : (double)narrow;
}

/* Nothing can be drawn: which sequence has no log-probabilities. */
static int32_t name_row(writer *w, const int64_t *places, int64_t rows, dk_error *err)
{
    int64_t row = 0;
    while (row + 1 < rows && !isnan(element(w, w->log_probs, row, 0))) row++;
    return dk_fail(err, DK_E_NUMERIC, "generate: sequence %lld, token %lld: logits are nan or infinite",
                   (long long)(w->first + places[row]), (long long)w->written[places[row]]);
}

/* Row i of hidden belongs to places[i]; finished[i] says whether that one is done. The log-probability that goes out is
 * the model's own, at temperature 1 and before top_k and top_p, whatever the token was drawn with. */
static int32_t draw(writer *w, dk_view hidden, const int64_t *places, int64_t rows, int32_t *finished, dk_error *err)
{
    int32_t rc, ids[MOST];
    uint64_t counters[MOST];
    double log_prob[MOST];
    const dk_generate_args *args = w->args;
    const dk_ops *ops = w->model->backend->ops;
    dk_view logits = dk_view_rows(w->logits, 0, rows), log_probs = dk_view_rows(w->log_probs, 0, rows),
            drawn = dk_view_rows(w->drawn, 0, rows);
    dk_sample_args sample = {.temperature = args->temperature,
                             .top_k = args->top_k,
                             .top_p = args->top_p,
                             .seed = args->seed,
                             .counters = counters};
    for (int64_t i = 0; i < rows; i++)
        counters[i] = ((uint64_t)(w->first + places[i]) << 32) + (uint64_t)w->written[places[i]];
    dk_head_forward(&w->queue, w->model, args->precision, hidden, logits);
    ops->log_softmax(&w->queue, logits, w->vocab, 1, log_probs);
    ops->sample(&w->queue, &sample, logits, w->vocab, drawn);
    ops->copy_out(&w->queue, drawn, ids);
    if ((rc = dk_queue_wait(&w->queue, err)) == DK_E_NUMERIC) rc = name_row(w, places, rows, err);
    if (rc != DK_OK) goto out;
    for (int64_t i = 0; i < rows; i++) log_prob[i] = element(w, log_probs, i, ids[i]);
    DK_TRY(dk_queue_wait(&w->queue, err));
    for (int64_t i = 0; i < rows; i++) DK_TRY(emit(w, places[i], ids[i], log_prob[i], &finished[i], err));
out:
    return rc;
}

/* ---- a group ---- */
static int32_t check_cancel(const writer *w, dk_error *err)
{
    return dk_host_cancelled(w->model->host) ? dk_fail(err, DK_E_CANCELLED, "generate: cancelled") : DK_OK;
}

static int32_t read_prompt(writer *w, const dk_tokens *prompts, int64_t place, dk_error *err)
{
    int32_t rc, finished = 0;
    int64_t length = prompt_length(w, prompts, place);
    const int32_t *ids = prompts->ids + prompts->offsets[w->first + place];
    dk_view hidden = dk_view_none();
    for (int64_t at = 0; at < length; at += PIECE) {
        int64_t offsets[2] = {0, length - at < PIECE ? length - at : PIECE};
        dk_tokens piece = {.ids = ids + at, .offsets = offsets, .sequences = 1};
        DK_TRY(check_cancel(w, err));
        DK_TRY(dk_cache_forward(w->cache, &piece, &place, &hidden, err));
    }
    DK_TRY(draw(w, hidden, &place, 1, &finished, err));
    if (!finished) w->active[w->active_count++] = place;
out:
    return rc;
}

static int32_t write_step(writer *w, dk_error *err)
{
    int32_t rc, ids[MOST], finished[MOST];
    int64_t offsets[MOST + 1] = {0}, count = w->active_count;
    dk_tokens step = {.ids = ids, .offsets = offsets, .sequences = count};
    dk_view hidden;
    for (int64_t i = 0; i < count; i++) {
        ids[i] = w->ids[w->active[i]];
        offsets[i + 1] = i + 1;
    }
    DK_TRY(check_cancel(w, err));
    DK_TRY(dk_cache_forward(w->cache, &step, w->active, &hidden, err));
    DK_TRY(draw(w, hidden, w->active, count, finished, err));
    w->active_count = 0;
    for (int64_t i = 0; i < count; i++)
        if (!finished[i]) w->active[w->active_count++] = w->active[i];
out:
    return rc;
}

static int32_t run_group(dk_model *model, const dk_tokens *prompts, int64_t first, int64_t size,
                         const dk_generate_args *args, dk_error *err)
{
    int32_t rc;
    writer w = {.model = model, .args = args, .first = first, .size = size};
    w.vocab = args->vocab_valid ? args->vocab_valid : model->config.vocab_size;
    dk_arena_init(&w.arena, model->backend);
    DK_TRY(dk_queue_open(&w.queue, model->backend, err));
    DK_TRY(plan(&w, prompts, err));
    for (int64_t i = 0; i < w.size; i++) DK_TRY(read_prompt(&w, prompts, i, err));
    while (w.active_count) DK_TRY(write_step(&w, err));
out:
    dk_cache_free(w.cache);
    dk_arena_free(&w.arena);
    dk_queue_close(&w.queue);
    return rc;
}

int32_t dk_generate(dk_model *model, const dk_tokens *prompts, const dk_generate_args *args, dk_error *err)
{
    int32_t rc;
    int64_t group = model->backend->invariant_rows < MOST ? model->backend->invariant_rows : MOST;
    DK_TRY(check_args(model, args, err));
    DK_TRY(check_prompts(model, prompts, err));
    for (int64_t first = 0; first < prompts->sequences; first += group) {
        int64_t left = prompts->sequences - first;
        DK_TRY(run_group(model, prompts, first, left < group ? left : group, args, err));
    }
out:
    return rc;
}
