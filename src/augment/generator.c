/* generator.c - a batch of prompts becomes a batch of answers. */
#include "augment/generator_parts.h"

#include <string.h>

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
    if (step->calls) DK_TRY(di_rank_calls_join(step->calls, g, di_generator_answer_part, &g->number, err));
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

int32_t di_generator_add(di_generator *g, const di_record *record, const di_ids *prompt, dk_error *err)
{
    int32_t rc;
    if (g->ran) g->count = g->ids.count = g->ran = 0;
    if (g->context && prompt->count >= g->context) return DK_E_END;
    DK_TRY(di_generator_room(g, 1, prompt->count, err));
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
    DK_TRY(di_generator_open_answers(g, err));
    DK_TRY(g->step->calls ? di_generator_ask_ranks(g, err) : di_generator_ask(g, 0, g->count, err));
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
