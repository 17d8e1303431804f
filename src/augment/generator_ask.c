/* generator_ask.c - room for prompts and answers, and the call that answers some of them in this process. */
#include <string.h>

#include "augment/generator_parts.h"

/* ---- room ---- */

static int32_t grow(dk_host *host, void **block, int64_t count, size_t size, dk_error *err)
{
    void *grown = dk_realloc(host, *block, (uint64_t)count, size);
    if (!grown) return dk_fail_nomem(err, (uint64_t)count * size);
    *block = grown;
    return DK_OK;
}

int32_t di_generator_room(di_generator *g, int64_t prompts, int64_t ids, dk_error *err)
{
    dk_host *host = g->step->host;
    void *offsets = g->offsets, *draws = g->draws, *block = g->ids.ids;
    int32_t rc = DK_OK;
    if (g->count + prompts > g->capacity) {
        const int64_t capacity = g->count + prompts > 16 ? 2 * (g->count + prompts) : 32;
        DK_TRY(grow(host, &offsets, capacity + 1, sizeof *g->offsets, err));
        g->offsets = offsets;
        DK_TRY(grow(host, &draws, capacity * g->samples, sizeof *g->draws, err));
        g->draws = draws;
        g->capacity = capacity;
    }
    if (g->ids.count + ids > g->ids.capacity) {
        DK_TRY(grow(host, &block, 2 * (g->ids.count + ids), sizeof *g->ids.ids, err));
        g->ids.ids = block;
        g->ids.capacity = 2 * (g->ids.count + ids);
    }
out:
    return rc;
}

/* ---- answers ---- */

int32_t di_generator_open_answers(di_generator *g, dk_error *err)
{
    const int64_t wanted = g->count * g->samples;
    void *block = g->answers;
    int32_t rc = DK_OK;
    if (wanted > g->answer_capacity) {
        DK_TRY(grow(g->step->host, &block, wanted, sizeof *g->answers, err));
        g->answers = block;
        memset(g->answers + g->answer_capacity, 0, (size_t)(wanted - g->answer_capacity) * sizeof *g->answers);
        for (int64_t i = g->answer_capacity; i < wanted; i++) dk_strbuf_init(&g->answers[i].text, g->step->host);
        g->answer_capacity = wanted;
    }
    for (int64_t i = 0; i < wanted; i++) {
        g->answers[i].count = g->answers[i].finished = 0;
        dk_strbuf_clear(&g->answers[i].text);
    }
out:
    return rc;
}

int32_t di_generator_widen(di_generator *g, di_answer *a, int64_t count)
{
    const int64_t twice = a->capacity ? 2 * a->capacity : 64, capacity = count > twice ? count : twice;
    void *ids = a->ids, *top_ids = a->top_ids, *top = a->top;
    int32_t rc = grow(g->step->host, &ids, capacity, sizeof *a->ids, NULL);
    a->ids = ids;
    if (!rc && g->keep) rc = grow(g->step->host, &top_ids, capacity * g->keep, sizeof *a->top_ids, NULL);
    a->top_ids = top_ids;
    if (!rc && g->keep) rc = grow(g->step->host, &top, capacity * g->keep, sizeof *a->top, NULL);
    a->top = top;
    if (!rc) a->capacity = capacity;
    return rc;
}

/* A chunk may be at work for minutes. */
static int32_t beat(di_generator *g)
{
    static const double seconds_between = 0.5;
    di_pulse *pulse = g->step->pulse;
    pulse->tokens++;
    if (!pulse->fn || dk_seconds() - pulse->last < seconds_between) return DK_OK;
    pulse->last = dk_seconds();
    return pulse->fn(pulse->user, pulse->tokens, &g->problem);
}

static int32_t on_token(void *user, int64_t sequence, const distill_token *token)
{
    di_generator *g = user;
    di_answer *a = &g->answers[g->first * g->samples + sequence];
    if (a->count == a->capacity && di_generator_widen(g, a, 0)) g->failed = dk_fail_nomem(&g->problem, 64);
    if (g->failed || (g->failed = beat(g))) return DISTILL_CB_CANCEL;
    for (int64_t i = 0; i < g->keep; i++) {
        a->top_ids[a->count * g->keep + i] = token->top_ids[i];
        a->top[a->count * g->keep + i] = token->top_log_probs[i];
    }
    a->ids[a->count++] = token->id;
    a->finished = token->finished;
    if (token->size) dk_strbuf_append(&a->text, token->text, (size_t)token->size);
    g->tokens++;
    return DISTILL_CB_OK;
}

/* Texts that end an answer: the step's, else the section's. */
static int32_t set_stop(const di_generator *g, dk_error *err)
{
    const int32_t own = di_options_list_size(g->step->options, "stop") > 0;
    dk_strbuf text;
    int32_t rc;
    dk_strbuf_init(&text, g->step->host);
    if (!own && !di_options_list_size(g->step->recipe, "generate.stop"))
        return di_options_set(g->step->writing, "generate.stop", NULL, err);
    DK_TRY(di_options_get(own ? g->step->options : g->step->recipe, own ? "stop" : "generate.stop", &text, err));
    rc = di_options_set(g->step->writing, "generate.stop", text.data, err);
out:
    dk_strbuf_free(&text);
    return rc;
}

static int32_t set_section(const di_generator *g, dk_error *err)
{
    di_options *o = g->step->writing;
    int32_t rc;
    DK_TRY(di_options_set_i64(o, "generate.max_tokens", g->most, err));
    DK_TRY(di_options_set_f64(o, "generate.temperature", g->temperature, err));
    DK_TRY(di_options_set_f64(o, "generate.top_p", g->top_p, err));
    DK_TRY(di_options_set_i64(o, "generate.top_k", g->top_k, err));
    DK_TRY(di_options_set_i64(o, "generate.samples", g->samples, err));
    DK_TRY(di_options_set_i64(o, "generate.top_logprobs", g->keep, err));
    DK_TRY(di_options_set(o, "generate.seed", NULL, err));
    rc = set_stop(g, err);
out:
    return rc;
}

/* Prompts [first, first + count) in one call. */
static int32_t ask(di_generator *g, int64_t first, int64_t count, dk_error *err)
{
    const di_step *step = g->step;
    const distill_writer_callbacks table = {.struct_size = sizeof table, .user = g, .token = on_token};
    const di_reader reader = {.table = &table, .draws = g->draws + first * g->samples};
    int64_t *offsets = NULL;
    int32_t rc;
    distill_batch batch;
    DISTILL_INIT(&batch);
    DK_TRY(dk_new(step->host, count + 1, &offsets, err));
    for (int64_t i = 0; i <= count; i++) offsets[i] = g->offsets[first + i] - g->offsets[first];
    batch.ids = g->ids.ids + g->offsets[first];
    batch.offsets = offsets;
    batch.sequences = count;
    g->first = first;
    g->failed = DK_OK;
    rc = di_teacher_generate_to(step->teacher, &batch, step->writing, step->user_options, &reader, err);
    if (g->failed) {
        rc = g->failed;
        if (err) *err = g->problem;
    }
out:
    dk_free(step->host, offsets);
    return rc;
}

static int32_t ask_one_by_one(di_generator *g, int64_t first, int64_t last, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = first; i < last; i++) {
        const int64_t seed = (int64_t)(g->draws[i * g->samples] >> 11);
        if (dk_host_cancelled(g->step->host)) return dk_fail(err, DK_E_CANCELLED, "generate: cancelled");
        if (g->temperature > 0) DK_TRY(di_options_set_i64(g->step->writing, "generate.seed", seed, err));
        DK_TRY(ask(g, i, 1, err));
    }
out:
    return rc;
}

int32_t di_generator_ask(di_generator *g, int64_t first, int64_t last, dk_error *err)
{
    int32_t rc;
    if (first == last) return DK_OK;
    DK_TRY(set_section(g, err));
    DK_TRY(g->batched ? ask(g, first, last - first, err) : ask_one_by_one(g, first, last, err));
out:
    return rc;
}
