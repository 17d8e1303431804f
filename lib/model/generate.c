/* Text, token by token, for many prompts.
 *
 * Texts take places as these become free, in order. In a pass every place that has read its prompt writes a token, and
 * beside them prompts are read, DK_PIECE rows of them; a prompt that begins like one that is being written shares its
 * pages. A backend whose products do not treat any number of rows alike (compute.h, the rows contract) has no more
 * places than it promises equal bits for, and reads each prompt by itself, in pieces from its beginning on. So a text
 * depends on nothing but itself. Several models that write together read the same, each into its own cache. */
#include <string.h>

#include "model/generate_parts.h"

#define SHARE_LEAST 16 /* fewer tokens are read again rather than shared */

/* ---- what comes in ---- */
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

static int64_t samples_of(const dk_writer *w) { return w->args->samples > 0 ? w->args->samples : 1; }

static int64_t prompt_length(const dk_writer *w, int64_t prompt)
{
    return w->prompts->offsets[prompt + 1] - w->prompts->offsets[prompt];
}

/* A token that fills the context is written, but never read: a text may end one token behind the context. */
static int64_t room_of(const dk_writer *w, int64_t prompt)
{
    int64_t left = w->positions + 1 - prompt_length(w, prompt);
    return w->args->max_tokens < left ? w->args->max_tokens : left;
}

static int32_t open_voices(dk_writer *w, dk_error *err)
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

static int32_t plan_views(dk_writer *w, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int32_t measured = 0; measured < 2; measured++) {
        for (int64_t i = 0; i < w->choir->count; i++)
            w->voices[i].logits =
                dk_arena_2d(&w->arena, w->backend->real, w->places, w->voices[i].model->config.vocab_size);
        dk_drawer_plan(&w->drawer, &w->arena, w->choir->join && dk_adjusts(w->args));
        if (!measured) DK_TRY(dk_arena_commit(&w->arena, err));
    }
out:
    return rc;
}

static int32_t plan(dk_writer *w, dk_error *err)
{
    int32_t rc;
    for (int64_t i = 0; i < w->prompts->sequences; i++) {
        int64_t tokens = prompt_length(w, i) + room_of(w, i) - 1;
        if (tokens > w->capacity) w->capacity = tokens;
    }
    DK_TRY(plan_views(w, err));
    DK_TRY(dk_new(w->backend->host, w->places * (w->capacity + 1), &w->ids, err));
    DK_TRY(dk_drawer_open(&w->drawer, w->backend->host, w->args->logits || w->args->top_count, err));
    DK_TRY(dk_new(w->backend->host, w->args->top_count + 1, &w->top_ids, err));
    DK_TRY(dk_new(w->backend->host, w->args->top_count + 1, &w->top, err));
    for (int64_t i = 0; i < w->places; i++) w->place[i] = (dk_place){.text = -1, .ids = w->ids + i * (w->capacity + 1)};
    dk_cache_spec spec = {.sequences = w->places,
                          .capacity = w->capacity,
                          .max_rows = DK_PIECE + w->places,
                          .precision = w->args->precision,
                          .type = w->args->cache_type};
    for (int64_t i = 0; i < w->choir->count; i++)
        DK_TRY(dk_cache_create(w->voices[i].model, &spec, &w->voices[i].cache, err));
out:
    return rc;
}

/* ---- places ---- */
static void begin_texts(dk_writer *w)
{
    for (int64_t i = 0; i < w->places && w->next < w->texts; i++) {
        dk_place *p = &w->place[i];
        if (p->text >= 0) continue;
        int64_t prompt = w->next / samples_of(w);
        p->text = w->next++;
        p->prompt = prompt_length(w, prompt);
        p->room = room_of(w, prompt);
        p->read = p->written = 0;
        memcpy(p->ids, w->prompts->ids + w->prompts->offsets[prompt], (size_t)p->prompt * sizeof *p->ids);
        for (int64_t m = 0; m < w->choir->count; m++) {
            dk_cache_reset(w->voices[m].cache, i);
            dk_cache_plan(w->voices[m].cache, i, p->prompt + p->room - 1);
        }
    }
}

static int32_t alike(const dk_writer *w, int64_t a, int64_t b)
{
    int32_t all = 1;
    for (int64_t m = 0; m < w->choir->count; m++) all &= dk_cache_alike(w->voices[m].cache, a, b);
    return all;
}

static int64_t common(const dk_place *a, const dk_place *b)
{
    int64_t n = 0, most = a->prompt < b->prompt ? a->prompt : b->prompt;
    while (n < most && a->ids[n] == b->ids[n]) n++;
    return n;
}

/* Before a prompt is read: pages of the one that begins most like it. 0 = one that is still being read has more of them
 * later on. The last token is always read, since something is drawn from it. */
static int32_t share(dk_writer *w, int64_t at, dk_error *err)
{
    dk_place *p = &w->place[at];
    int64_t from = -1, most = SHARE_LEAST - 1;
    if (w->backend->invariant_rows < INT64_MAX) return 1; /* would be read in other pieces than alone */
    for (int64_t i = 0; i < w->places; i++) {
        const dk_place *other = &w->place[i];
        int64_t held = dk_cache_length(w->voices[0].cache, i);
        if (i == at || other->text < 0 || (!held && other->text > p->text) || !alike(w, i, at)) continue;
        int64_t n = common(p, other);
        if (n == p->prompt) n--;
        if (n >= SHARE_LEAST && n > held) return 0;
        if (n > most) most = n, from = i;
    }
    for (int64_t m = 0; from >= 0 && m < w->choir->count; m++)
        if (dk_cache_share(w->voices[m].cache, from, at, most, err)) return -1;
    if (from >= 0) p->read = most;
    return 1;
}

/* ---- a pass ---- */
typedef struct pass {
    int32_t ids[DK_PIECE + DK_PLACES];
    int64_t offsets[DK_PLACES + 1], which[DK_PLACES];
    int64_t count, drawn; /* sequences; the first ones, from which a token is drawn */
} pass;

static void add(pass *t, int64_t place, const int32_t *ids, int64_t count)
{
    int64_t at = t->offsets[t->count];
    memcpy(t->ids + at, ids, (size_t)count * sizeof *ids);
    t->which[t->count++] = place;
    t->offsets[t->count] = at + count;
}

static void add_writing(const dk_writer *w, pass *t)
{
    for (int64_t i = 0; i < w->places; i++) {
        const dk_place *p = &w->place[i];
        if (p->text >= 0 && p->read == p->prompt) add(t, i, p->ids + p->prompt + p->written - 1, 1);
    }
    t->drawn = t->count;
}

static int64_t next_reader(const dk_writer *w, int64_t behind)
{
    int64_t best = -1;
    for (int64_t i = 0; i < w->places; i++) {
        const dk_place *p = &w->place[i];
        if (p->text > behind && p->read < p->prompt && (best < 0 || p->text < w->place[best].text)) best = i;
    }
    return best;
}

/* Prompts in order of their texts; the last one may end in a later pass. */
static int32_t add_reading(dk_writer *w, pass *t, dk_error *err)
{
    const int32_t alone = w->backend->invariant_rows < INT64_MAX;
    int64_t left = DK_PIECE;
    for (int64_t at = next_reader(w, -1); at >= 0 && left > 0; at = next_reader(w, w->place[at].text)) {
        dk_place *p = &w->place[at];
        int32_t ready = p->read > 0 ? 1 : share(w, at, err);
        if (ready < 0) return err ? err->code : DK_E_INTERNAL;
        if (!ready) continue;
        int64_t n = p->prompt - p->read < left ? p->prompt - p->read : left;
        add(t, at, p->ids + p->read, n);
        p->read += n;
        left -= n;
        t->drawn += p->read == p->prompt;
        if (alone) break;
    }
    return DK_OK;
}

/* Of all voices: they read the same. */
static int32_t run_pass(dk_writer *w, const pass *t, dk_error *err)
{
    const dk_tokens tokens = {.ids = t->ids, .offsets = t->offsets, .sequences = t->count};
    int32_t rc = DK_OK;
    if (!t->count) return DK_OK;
    if (dk_host_cancelled(w->backend->host)) return dk_fail(err, DK_E_CANCELLED, "generate: cancelled");
    for (int64_t i = 0; rc == DK_OK && i < w->choir->count; i++)
        rc = dk_cache_forward(w->voices[i].cache, &tokens, t->which, &w->voices[i].hidden, err);
    return rc == DK_OK && t->drawn ? dk_writer_draw(w, t->which, t->drawn, err) : rc;
}

static int32_t step(dk_writer *w, dk_error *err)
{
    const int32_t alone = w->backend->invariant_rows < INT64_MAX;
    int32_t rc;
    pass t = {.count = 0};
    begin_texts(w);
    if (alone && next_reader(w, -1) >= 0) {
        DK_TRY(add_reading(w, &t, err));
    } else {
        add_writing(w, &t);
        DK_TRY(add_reading(w, &t, err));
    }
    DK_TRY(run_pass(w, &t, err));
out:
    return rc;
}

static int32_t is_done(const dk_writer *w)
{
    for (int64_t i = 0; i < w->places; i++)
        if (w->place[i].text >= 0) return 0;
    return w->next == w->texts;
}

static void close_voices(dk_writer *w)
{
    for (int64_t i = 0; w->voices && i < w->choir->count; i++) dk_cache_free(w->voices[i].cache);
    dk_free(w->backend->host, w->voices);
    dk_free(w->backend->host, w->one);
    dk_drawer_close(&w->drawer, w->backend->host);
    dk_free(w->backend->host, w->top_ids);
    dk_free(w->backend->host, w->top);
    dk_free(w->backend->host, w->ids);
}

static int32_t write_texts(dk_writer *w, dk_error *err)
{
    int32_t rc;
    const int64_t promised = w->backend->invariant_rows;
    w->texts = w->prompts->sequences * samples_of(w);
    w->places = promised < DK_PLACES ? promised : DK_PLACES;
    if (w->texts < w->places) w->places = w->texts;
    if (!w->places) return DK_OK;
    w->capacity = 1;
    const int64_t width = w->choir->models[0]->config.vocab_size;
    w->drawer = (dk_drawer){.queue = &w->queue,
                            .rows = w->places,
                            .width = width,
                            .vocab = w->args->vocab_valid ? w->args->vocab_valid : width};
    dk_arena_init(&w->arena, w->backend);
    DK_TRY(dk_queue_open(&w->queue, w->backend, err));
    DK_TRY(open_voices(w, err));
    DK_TRY(plan(w, err));
    do {
        DK_TRY(step(w, err));
    } while (!is_done(w));
out:
    close_voices(w);
    dk_arena_free(&w->arena);
    dk_queue_close(&w->queue);
    return rc;
}

int32_t dk_generate_together(const dk_choir *choir, const dk_tokens *prompts, const dk_generate_args *args,
                             dk_error *err)
{
    dk_writer w = {.choir = choir, .backend = choir->models[0]->backend, .args = args, .prompts = prompts};
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < choir->count; i++) {
        DK_TRY(dk_check_generate_args(choir->models[i], args, err));
        DK_TRY(check_prompts(choir->models[i], prompts, err));
    }
    DK_TRY(write_texts(&w, err));
out:
    return rc;
}

int32_t dk_generate(dk_model *model, const dk_tokens *prompts, const dk_generate_args *args, dk_error *err)
{
    dk_model *const models[1] = {model};
    const dk_choir alone = {.models = models, .count = 1};
    return dk_generate_together(&alone, prompts, args, err);
}
