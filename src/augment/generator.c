/* generator.c - a batch of prompts becomes a batch of answers. */
#include "augment/generator.h"

#include <string.h>

struct di_generator {
    const di_step *step;
    int64_t samples, most, keep, context; /* context 0 = not known */
    double temperature, top_p;
    int64_t top_k;
    int32_t batched; /* the teacher draws each text as it is told: all at once */
    /* the batch */
    di_ids ids;
    int64_t *offsets; /* [capacity + 1] */
    uint64_t *draws;  /* [capacity * samples] */
    int64_t count, capacity;
    int32_t ran;
    di_answer *answers; /* [answer_capacity] */
    int64_t answer_capacity;
    /* while it runs */
    int64_t first; /* prompt that sequence 0 of the call is of */
    int64_t tokens;
    int32_t failed; /* DK_E_NOMEM */
};

/* ---- options ---- */

/* What the step leaves open is as section generate has it. */
static void read_drawing(di_generator *g)
{
    const di_options *own = g->step->options, *all = g->step->recipe;
    g->most = di_options_is_set(own, "max_new_tokens") ? di_options_i64(own, "max_new_tokens")
                                                       : di_options_i64(all, "generate.max_tokens");
    g->temperature = di_options_is_set(own, "temperature") ? di_options_f64(own, "temperature")
                                                           : di_options_f64(all, "generate.temperature");
    g->top_p = di_options_is_set(own, "top_p") ? di_options_f64(own, "top_p") : di_options_f64(all, "generate.top_p");
    g->top_k = di_options_is_set(own, "top_k") ? di_options_i64(own, "top_k") : di_options_i64(all, "generate.top_k");
}

static int32_t read_options(di_generator *g, dk_error *err)
{
    const di_step *step = g->step;
    g->samples = di_options_i64(step->options, "samples");
    read_drawing(g);
    if (g->temperature == 0 && g->samples > 1)
        return di_step_fail(step, err, "samples %lld at temperature 0 are one answer over and over: give a temperature",
                            (long long)g->samples);
    if (g->keep && (!g->batched || di_teacher_member_count(step->teacher)))
        return di_step_fail(step, err,
                            "keep_logprobs goes with a model in this process: this teacher does not say them");
    const di_facts facts = di_teacher_facts(step->teacher);
    g->context = facts.context_length > 0 ? facts.context_length : 0;
    if (g->keep > di_teacher_vocab_valid(step->teacher))
        return di_step_fail(step, err, "keep_logprobs %lld of a model with %lld ids", (long long)g->keep,
                            (long long)di_teacher_vocab_valid(step->teacher));
    return DK_OK;
}

int32_t di_generator_create(const di_step *step, int64_t keep, di_generator **out, dk_error *err)
{
    di_generator *g = NULL;
    int32_t rc;
    DK_TRY(dk_new(step->host, 1, &g, err));
    g->step = step;
    g->keep = keep;
    g->batched = di_teacher_draws(step->teacher);
    DK_TRY(read_options(g, err));
    *out = g;
    return DK_OK;
out:
    di_generator_free(g);
    return rc;
}

void di_generator_free(di_generator *g)
{
    if (!g) return;
    dk_host *host = g->step->host;
    for (int64_t i = 0; i < g->answer_capacity; i++) {
        dk_free(host, g->answers[i].ids);
        dk_free(host, g->answers[i].top_ids);
        dk_free(host, g->answers[i].top);
        dk_strbuf_free(&g->answers[i].text);
    }
    dk_free(host, g->answers);
    dk_free(host, g->ids.ids);
    dk_free(host, g->offsets);
    dk_free(host, g->draws);
    dk_free(host, g);
}

void di_generator_set_samples(di_generator *g, int64_t samples) { g->samples = samples; }
int64_t di_generator_samples(const di_generator *g) { return g->samples; }
int64_t di_generator_most(const di_generator *g) { return g->most; }

/* ---- prompts ---- */

static int32_t grow(dk_host *host, void **block, int64_t count, size_t size, dk_error *err)
{
    void *grown = dk_realloc(host, *block, (uint64_t)count, size);
    if (!grown) return dk_fail_nomem(err, (uint64_t)count * size);
    *block = grown;
    return DK_OK;
}

static int32_t make_room(di_generator *g, int64_t ids, dk_error *err)
{
    dk_host *host = g->step->host;
    void *offsets = g->offsets, *draws = g->draws, *block = g->ids.ids;
    int32_t rc = DK_OK;
    if (g->count == g->capacity) {
        const int64_t capacity = g->capacity ? 2 * g->capacity : 32;
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

int32_t di_generator_add(di_generator *g, const di_record *record, const di_ids *prompt, dk_error *err)
{
    int32_t rc;
    if (g->ran) g->count = g->ids.count = g->ran = 0;
    if (g->context && prompt->count >= g->context) return DK_E_END;
    DK_TRY(make_room(g, prompt->count, err));
    if (prompt->count) memcpy(g->ids.ids + g->ids.count, prompt->ids, (size_t)prompt->count * sizeof *prompt->ids);
    g->offsets[g->count] = g->ids.count;
    g->ids.count += prompt->count;
    for (int64_t s = 0; s < g->samples; s++)
        g->draws[g->count * g->samples + s] = di_step_number(g->step, record, (uint64_t)s);
    g->offsets[++g->count] = g->ids.count;
out:
    return rc;
}

/* ---- answers ---- */

static int32_t open_answers(di_generator *g, dk_error *err)
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

static int32_t widen(di_generator *g, di_answer *a)
{
    const int64_t capacity = a->capacity ? 2 * a->capacity : 64;
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

static int32_t on_token(void *user, int64_t sequence, const distill_token *token)
{
    di_generator *g = user;
    di_answer *a = &g->answers[g->first * g->samples + sequence];
    if (a->count == a->capacity && (g->failed = widen(g, a))) return DISTILL_CB_CANCEL;
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
    rc = di_teacher_generate_to(step->teacher, &batch, step->writing, step->user_options, &reader, err);
    if (g->failed) rc = dk_fail_nomem(err, 64);
out:
    dk_free(step->host, offsets);
    return rc;
}

static int32_t ask_one_by_one(di_generator *g, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < g->count; i++) {
        const int64_t seed = (int64_t)(g->draws[i * g->samples] >> 11);
        if (dk_host_cancelled(g->step->host)) return dk_fail(err, DK_E_CANCELLED, "generate: cancelled");
        if (g->temperature > 0) DK_TRY(di_options_set_i64(g->step->writing, "generate.seed", seed, err));
        DK_TRY(ask(g, i, 1, err));
    }
out:
    return rc;
}

/* A host may hand out ids alone. */
static int32_t spell(di_generator *g, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < g->count * g->samples; i++) {
        di_answer *a = &g->answers[i];
        if (!a->text.size && a->count && !g->batched)
            DK_TRY(dk_tokenizer_decode_to(g->step->tokenizer, a->ids, a->count, DK_DECODE_SKIP_SPECIAL, &a->text, err));
        DK_TRY(dk_strbuf_check(&a->text, err));
    }
out:
    return rc;
}

int32_t di_generator_run(di_generator *g, di_flow *flow, dk_error *err)
{
    int32_t rc;
    if (g->ran || !g->count) return DK_OK;
    g->tokens = 0;
    DK_TRY(open_answers(g, err));
    DK_TRY(set_section(g, err));
    DK_TRY(g->batched ? ask(g, 0, g->count, err) : ask_one_by_one(g, err));
    DK_TRY(spell(g, err));
    g->ran = 1;
out:
    flow->tokens += g->tokens;
    return rc;
}

const di_answer *di_generator_answer(const di_generator *g, int64_t prompt, int64_t sample)
{
    return &g->answers[prompt * g->samples + sample];
}

/* ---- what is wrong with an answer ---- */

enum { LONGEST_PERIOD = 64, REPEATS = 4, LEAST_REPEATED = 16 };

/* Its end is one piece of so many tokens, REPEATS times and at least LEAST_REPEATED tokens. */
static int32_t ends_in(const di_answer *a, int64_t period)
{
    const int64_t least = period * REPEATS > LEAST_REPEATED ? period * REPEATS : LEAST_REPEATED;
    if (a->count < least) return 0;
    for (int64_t i = a->count - least + period; i < a->count; i++)
        if (a->ids[i] != a->ids[i - period]) return 0;
    return 1;
}

const char *di_answer_problem(const di_answer *a)
{
    size_t blank = 0;
    while (blank < a->text.size && memchr(" \t\r\n\v\f", a->text.data[blank], 6)) blank++;
    if (blank == a->text.size) return "empty";
    for (int64_t period = 1; a->finished == 2 && period <= LONGEST_PERIOD; period++)
        if (ends_in(a, period)) return "endless_repetition";
    return NULL;
}
