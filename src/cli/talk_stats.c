/* talk_stats.c - how fast answers came, from what, and what they cost: /stats. */
#include "talk.h"

static void print_draft(const distill_session_stats *s)
{
    if (!s->drafted) return;
    fprintf(stderr, "drafted         %lld tokens, %lld of them accepted (%.1f %%)\n", (long long)s->drafted,
            (long long)s->accepted, 100 * (double)s->accepted / (double)s->drafted);
}

static void print_speed(const talk *t, const distill_session_stats *s)
{
    if (!t->tokens) return;
    fprintf(stderr, "last answer     first token after %.0f ms", 1e3 * s->first_token_seconds);
    if (t->tokens > 1 && t->seconds > 0)
        fprintf(stderr, ", then %.1f tokens/s (%lld tokens)", (double)(t->tokens - 1) / t->seconds,
                (long long)t->tokens);
    fprintf(stderr, "\n");
    if (s->token_seconds_p50 > 0)
        fprintf(stderr, "between tokens  %.2f ms at p50, %.2f at p95, %.2f at p99\n", 1e3 * s->token_seconds_p50,
                1e3 * s->token_seconds_p95, 1e3 * s->token_seconds_p99);
}

/* What answers have cost; an estimate is called one. */
static void print_cost(const distill_session_stats *s)
{
    fprintf(stderr, "processor       %.2f s of CPU in %.2f s\n", s->cpu_seconds, s->seconds);
    fprintf(stderr, "models          %lld tokens through them, %.3g FLOP\n", (long long)s->model_tokens, s->flops);
    if (s->joules >= 0)
        fprintf(stderr, "energy          %.1f J (%s)\n", s->joules,
                s->energy == DISTILL_ENERGY_ESTIMATED ? "estimated" : "measured, of the whole machine");
    if (s->eur >= 0) fprintf(stderr, "of energy       EUR %.6f\n", s->eur);
    if (s->usd >= 0) fprintf(stderr, "of tokens       USD %.6f\n", s->usd);
}

void talk_print_stats(const talk *t)
{
    distill_session_stats s;
    DISTILL_INIT(&s);
    if (distill_session_get_stats(t->session, &s, &t->program->err)) {
        cli_fail(&t->program->err);
        return;
    }
    fprintf(stderr, "conversation    %zu messages, %lld of %lld tokens of context\n", json_array_size(talk_messages(t)),
            (long long)s.length, (long long)s.context);
    fprintf(stderr, "asked           %lld tokens, of which %lld stood there already and were not read again\n",
            (long long)s.prompt_tokens, (long long)s.kept_tokens);
    fprintf(stderr, "written         %lld tokens\n", (long long)s.tokens);
    print_draft(&s);
    print_speed(t, &s);
    print_cost(&s);
}
