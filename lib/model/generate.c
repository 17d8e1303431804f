/* Text, token by token, for many prompts.
 *
 * Prompts run in groups. Each is read by itself, in pieces of a fixed size from its beginning on; then all of a group
 * write one token per step. What a sequence draws is number (sequence, step) of the stream of samples, and a group has
 * no more rows than the backend's products treat as if each were alone; so the text of a sequence depends on nothing
 * but itself. Several models that write together read the same pieces, each into its own cache. */
#include "model/pass_parts.h"

#include <math.h>

enum { MOST = 32, PIECE = 256 }; /* sequences of a group, whatever the backend promises; rows of a piece */

typedef struct voice { /* one of the models */
    dk_model *model;
    dk_cache *cache;
    dk_view hidden; /* of the last piece or step */
    dk_view logits; /* [group, vocab_size] */
} voice;

typedef struct writer { /* a group of sequences */
    const dk_choir *choir;
    dk_backend *backend;
    const dk_generate_args *args;
    dk_queue queue;
    voice *voices; /* [choir->count] */
    dk_view *one;  /* [choir->count] a row of each */
    dk_arena arena;
    dk_view log_probs;    /* [group, width] */
    dk_view drawn;        /* I32 [group] */
    int64_t first, size;  /* sequence numbers first .. first + size */
    int64_t active[MOST]; /* places in the group that still write */
    int64_t active_count;
    int64_t written[MOST], room[MOST];
    int32_t ids[MOST]; /* the token that each wrote last */
    int64_t width;     /* of the first model's logits */
    int64_t vocab;     /* ids below it are drawn */
    int64_t positions; /* that all models have */
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

static int32_t open_voices(writer *w, dk_error *err)
{
    dk_host *host = w->backend->host;
    int32_t rc;
    DK_TRY(dk_new(host, w->choir->count, &w->voices, err));
    DK_TRY(dk_new(host, w->choir->count, &w->one, err));
    w->positions = INT64_MAX;
    for (int64_t i = 0; i < w->choir->count; i++) {
        dk_model *model = w->voices[i].model = w->choir->models[i];
        if (model->config.max_positions < w->positions) w->positions = model->config.max_positions;
    }
out:
    return rc;
}

/* A token that fills the context is written, but never read: a sequence may end one token behind the context. */
static int32_t plan(writer *w, const dk_tokens *prompts, dk_error *err)
{
    int32_t rc = DK_OK;
    int64_t capacity = 1;
    for (int64_t i = 0; i < w->size; i++) {
        int64_t length = prompt_length(w, prompts, i), left = w->positions + 1 - length;
        w->room[i] = w->args->max_tokens < left ? w->args->max_tokens : left;
        if (length + w->room[i] - 1 > capacity) capacity = length + w->room[i] - 1;
    }
    for (int32_t measured = 0; measured < 2; measured++) {
        for (int64_t i = 0; i < w->choir->count; i++)
            w->voices[i].logits =
                dk_arena_2d(&w->arena, w->backend->real, w->size, w->voices[i].model->config.vocab_size);
        w->log_probs = dk_arena_2d(&w->arena, w->backend->real, w->size, w->width);
        w->drawn = dk_arena_take(&w->arena, DK_I32, 1, &w->size);
        if (!measured) DK_TRY(dk_arena_commit(&w->arena, err));
    }
    dk_cache_spec spec = {
        .sequences = w->size, .capacity = capacity, .max_rows = PIECE, .precision = w->args->precision};
    for (int64_t i = 0; i < w->choir->count; i++)
        DK_TRY(dk_cache_create(w->voices[i].model, &spec, &w->voices[i].cache, err));
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
    w->backend->ops->copy_out(&w->queue, one, to);
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

/* What several models say together stands in log_probs; what one says in its logits, too. */
static int32_t speak(writer *w, const int64_t *places, int64_t rows, dk_view log_probs, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < w->choir->count; i++)
        dk_head_forward(&w->queue, w->voices[i].model, w->args->precision, w->voices[i].hidden,
                        dk_view_rows(w->voices[i].logits, 0, rows));
    if (!w->choir->join) {
        w->backend->ops->log_softmax(&w->queue, dk_view_rows(w->voices[0].logits, 0, rows), w->vocab, 1, log_probs);
        return DK_OK;
    }
    DK_TRY(dk_queue_wait(&w->queue, err));
    for (int64_t r = 0; r < rows && rc == DK_OK; r++) {
        for (int64_t i = 0; i < w->choir->count; i++) w->one[i] = dk_view_rows(w->voices[i].logits, r, 1);
        rc = w->choir->join(w->choir->user, w->one, w->first + places[r], w->written[places[r]],
                            dk_view_columns(dk_view_rows(log_probs, r, 1), 0, w->vocab), err);
        if (rc)
            dk_error_context(err, "generate: sequence %lld, token %lld", (long long)(w->first + places[r]),
                             (long long)w->written[places[r]]);
    }
out:
    return rc;
}

/* Row i of the voices' hidden states belongs to places[i]; finished[i] says whether that one is done. The
 * log-probability that goes out is the model's own, at temperature 1 and before top_k and top_p, whatever the token was
 * drawn with. */
static int32_t draw(writer *w, const int64_t *places, int64_t rows, int32_t *finished, dk_error *err)
{
    int32_t rc, ids[MOST];
    uint64_t counters[MOST];
    double log_prob[MOST];
    const dk_generate_args *args = w->args;
    const dk_ops *ops = w->backend->ops;
    dk_view log_probs = dk_view_rows(w->log_probs, 0, rows), drawn = dk_view_rows(w->drawn, 0, rows),
            logits = w->choir->join ? log_probs : dk_view_rows(w->voices[0].logits, 0, rows);
    dk_sample_args sample = {.temperature = args->temperature,
                             .top_k = args->top_k,
                             .top_p = args->top_p,
                             .seed = args->seed,
                             .counters = counters};
    for (int64_t i = 0; i < rows; i++)
        counters[i] = ((uint64_t)(w->first + places[i]) << 32) + (uint64_t)w->written[places[i]];
    DK_TRY(speak(w, places, rows, log_probs, err));
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
    return dk_host_cancelled(w->backend->host) ? dk_fail(err, DK_E_CANCELLED, "generate: cancelled") : DK_OK;
}

/* Of all voices: they read the same. */
static int32_t read_tokens(writer *w, const dk_tokens *tokens, const int64_t *places, dk_error *err)
{
    int32_t rc = check_cancel(w, err);
    for (int64_t i = 0; rc == DK_OK && i < w->choir->count; i++)
        rc = dk_cache_forward(w->voices[i].cache, tokens, places, &w->voices[i].hidden, err);
    return rc;
}

static int32_t read_prompt(writer *w, const dk_tokens *prompts, int64_t place, dk_error *err)
{
    int32_t rc, finished = 0;
    int64_t length = prompt_length(w, prompts, place);
    const int32_t *ids = prompts->ids + prompts->offsets[w->first + place];
    for (int64_t at = 0; at < length; at += PIECE) {
        int64_t offsets[2] = {0, length - at < PIECE ? length - at : PIECE};
        dk_tokens piece = {.ids = ids + at, .offsets = offsets, .sequences = 1};
        DK_TRY(read_tokens(w, &piece, &place, err));
    }
    DK_TRY(draw(w, &place, 1, &finished, err));
    if (!finished) w->active[w->active_count++] = place;
out:
    return rc;
}

static int32_t write_step(writer *w, dk_error *err)
{
    int32_t rc, ids[MOST], finished[MOST];
    int64_t offsets[MOST + 1] = {0}, count = w->active_count;
    dk_tokens step = {.ids = ids, .offsets = offsets, .sequences = count};
    for (int64_t i = 0; i < count; i++) {
        ids[i] = w->ids[w->active[i]];
        offsets[i + 1] = i + 1;
    }
    DK_TRY(read_tokens(w, &step, w->active, err));
    DK_TRY(draw(w, w->active, count, finished, err));
    w->active_count = 0;
    for (int64_t i = 0; i < count; i++)
        if (!finished[i]) w->active[w->active_count++] = w->active[i];
out:
    return rc;
}

static void close_voices(writer *w)
{
    for (int64_t i = 0; w->voices && i < w->choir->count; i++) dk_cache_free(w->voices[i].cache);
    dk_free(w->backend->host, w->voices);
    dk_free(w->backend->host, w->one);
}

static int32_t run_group(const dk_choir *choir, const dk_tokens *prompts, int64_t first, int64_t size,
                         const dk_generate_args *args, dk_error *err)
{
    int32_t rc;
    writer w = {.choir = choir, .backend = choir->models[0]->backend, .args = args, .first = first, .size = size};
    w.width = choir->models[0]->config.vocab_size;
    w.vocab = args->vocab_valid ? args->vocab_valid : w.width;
    dk_arena_init(&w.arena, w.backend);
    DK_TRY(dk_queue_open(&w.queue, w.backend, err));
    DK_TRY(open_voices(&w, err));
    DK_TRY(plan(&w, prompts, err));
    for (int64_t i = 0; i < w.size; i++) DK_TRY(read_prompt(&w, prompts, i, err));
    while (w.active_count) DK_TRY(write_step(&w, err));
out:
    close_voices(&w);
    dk_arena_free(&w.arena);
    dk_queue_close(&w.queue);
    return rc;
}

int32_t dk_generate_together(const dk_choir *choir, const dk_tokens *prompts, const dk_generate_args *args,
                             dk_error *err)
{
    const int64_t rows = choir->models[0]->backend->invariant_rows, group = rows < MOST ? rows : MOST;
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < choir->count; i++) {
        DK_TRY(check_args(choir->models[i], args, err));
        DK_TRY(check_prompts(choir->models[i], prompts, err));
    }
    for (int64_t first = 0; first < prompts->sequences; first += group) {
        int64_t left = prompts->sequences - first;
        DK_TRY(run_group(choir, prompts, first, left < group ? left : group, args, err));
    }
out:
    return rc;
}

int32_t dk_generate(dk_model *model, const dk_tokens *prompts, const dk_generate_args *args, dk_error *err)
{
    dk_model *const models[1] = {model};
    const dk_choir alone = {.models = models, .count = 1};
    return dk_generate_together(&alone, prompts, args, err);
}
