/* result_table.c - result.json for human eyes. */
#include <string.h>

#include "cli.h"

typedef struct column {
    const char *key, *title;
    int decimals; /* -1 = a count, -2 = a share shown in percent */
} column;
static const column columns[] = {
    {"perplexity", "perplexity", 2},
    {"bits_per_byte", "bits/byte", 3},
    {"forward_kl", "KL, nats", 4},
    {"top1_agreement", "agreement", -2},
    {"expected_acceptance", "acceptance", -2}, /* of a draft's tokens: mean sum min(p, q) */
    {"parameters", "parameters", -1},
    {"bytes", "bytes", -1},
    {"prompt_tokens_per_second", "prompt tok/s", 0},
    {"decode_tokens_per_second", "decode tok/s", 0},
};
enum { COLUMNS = sizeof columns / sizeof *columns, WIDTH = 13 };

static void group_thousands(long long value, char *out, size_t cap)
{
    char digits[32];
    size_t used = 0;
    int size = snprintf(digits, sizeof digits, "%lld", value);
    for (int i = 0; i < size && used + 2 < cap; i++) {
        if (i && (size - i) % 3 == 0 && digits[i - 1] != '-') out[used++] = ',';
        out[used++] = digits[i];
    }
    out[used] = 0;
}

static void cell(FILE *out, const json_t *model, const column *c)
{
    const json_t *value = json_object_get(model, c->key);
    char text[48];
    if (!json_is_number(value)) snprintf(text, sizeof text, "-");
    else if (c->decimals == -1) group_thousands((long long)json_number_value(value), text, sizeof text);
    else if (c->decimals == -2) snprintf(text, sizeof text, "%.1f %%", 100 * json_number_value(value));
    else snprintf(text, sizeof text, "%.*f", c->decimals, json_number_value(value));
    fprintf(out, "%*s", WIDTH, text);
}

static double number(const json_t *object, const char *key) { return json_number_value(json_object_get(object, key)); }

/* What was not learnt from; nothing where nothing was lost. */
static void print_lost(FILE *out, const json_t *data, const char *name)
{
    double skipped = number(json_object_get(data, "skipped"), "too_long"), unlearnt = number(data, "no_labels");
    double truncated = number(data, "truncated"), samples = number(data, "samples");
    if (!json_is_object(data) || (skipped == 0 && unlearnt == 0 && truncated == 0)) return;
    fprintf(out,
            "%s: %.0f of %.0f samples learnt from: %.0f skipped as too long, %.0f without a token to learn; %.0f "
            "truncated\n",
            name, samples - skipped - unlearnt, samples, skipped, unlearnt, truncated);
}

/* Of several sources: their shares, and how often each was seen. */
static void print_sources(FILE *out, const json_t *data)
{
    json_t *sources = json_object_get(data, "sources"), *source;
    const char *name;
    char tokens[48];
    if (json_object_size(sources) < 2) return;
    json_object_foreach(sources, name, source)
    {
        group_thousands((long long)number(source, "seen_tokens"), tokens, sizeof tokens);
        fprintf(out, "source %s: %.1f %% of the tokens, %s seen, %.2f passes\n", name, 100 * number(source, "share"),
                tokens, number(source, "passes"));
    }
}

/* Perplexity and distance on each of several held-out sources. */
static void print_held_out(FILE *out, const json_t *eval)
{
    json_t *source;
    const char *name;
    json_object_foreach(json_object_get(eval, "sources"), name, source)
    {
        fprintf(out, "held-out %s: perplexity %.2f", name, number(source, "perplexity"));
        if (json_object_get(source, "teacher_perplexity"))
            fprintf(out, " (teacher %.2f)", number(source, "teacher_perplexity"));
        if (json_object_get(source, "forward_kl")) fprintf(out, ", KL %.4f nats", number(source, "forward_kl"));
        fprintf(out, "\n");
    }
}

/* Held-out pairs by rewards, which are those of a training, or by log-probabilities alone. */
static void print_pairs(FILE *out, const json_t *eval)
{
    const json_t *pairs = json_object_get(eval, "pairs");
    const int rewards = json_object_get(pairs, "reward_accuracy") != NULL;
    if (!pairs) return;
    fprintf(out, "held-out pairs: %.0f, the chosen side likelier in %.1f %%", number(pairs, "count"),
            100 * number(pairs, "accuracy"));
    if (json_object_get(pairs, "teacher_accuracy"))
        fprintf(out, " (teacher %.1f %%)", 100 * number(pairs, "teacher_accuracy"));
    if (rewards)
        fprintf(out, ", its reward higher in %.1f %%, by %.3f on average", 100 * number(pairs, "reward_accuracy"),
                number(pairs, "reward_margin"));
    fprintf(out, "\n");
}

static void print_number(FILE *out, const char *text, const json_t *object, const char *key, int decimals)
{
    if (json_is_number(json_object_get(object, key))) fprintf(out, "%s %.*f", text, decimals, number(object, key));
}

/* Each of several teachers: its part in the training, and what it is worth by itself, on each source too. */
static void print_teachers(FILE *out, const json_t *eval, const json_t *members)
{
    json_t *teacher, *source;
    const char *name, *at;
    char tokens[48];
    json_object_foreach(json_object_get(eval, "teachers"), name, teacher)
    {
        const json_t *part = json_object_get(members, name);
        int sources = 0;
        fprintf(out, "teacher %s:", name);
        if (part) {
            group_thousands((long long)number(part, "tokens"), tokens, sizeof tokens);
            fprintf(out, " %s tokens, weight %.3f,", tokens, number(part, "weight"));
        }
        if (json_object_get(teacher, "problem"))
            fprintf(out, " %s", json_string_value(json_object_get(teacher, "problem")));
        print_number(out, " perplexity", teacher, "perplexity", 2);
        json_object_foreach(json_object_get(teacher, "sources"), at, source)
        {
            if (!json_object_get(source, "perplexity")) continue;
            fprintf(out, "%s%s %.2f", sources++ ? ", " : " (", at, number(source, "perplexity"));
        }
        print_number(out, sources ? "), KL" : " KL", teacher, "forward_kl", 4);
        print_number(out, ", disagreement", teacher, "disagreement", 4);
        fprintf(out, "\n");
    }
}

/* What it took; energy with where its figure is from. */
void cli_print_cost(FILE *out, const json_t *cost)
{
    const char *energy = json_string_value(json_object_get(cost, "energy"));
    char tokens[48];
    if (!json_is_object(cost)) return;
    fprintf(out, "cost: %.1f s, %.1f s of CPU, %.0f MB", number(cost, "seconds"), number(cost, "cpu_seconds"),
            number(cost, "peak_memory_bytes") / 1e6);
    if (number(cost, "model_tokens") > 0) {
        group_thousands((long long)number(cost, "model_tokens"), tokens, sizeof tokens);
        fprintf(out, ", %s tokens through models, %.3g FLOP", tokens, number(cost, "model_flops"));
    }
    if (energy && !strcmp(energy, "measured")) energy = "measured, of the whole machine";
    if (json_object_get(cost, "joules")) fprintf(out, ", %.0f J (%s)", number(cost, "joules"), energy ? energy : "");
    print_number(out, ", idle W", cost, "idle_watts", 1);
    print_number(out, ", EUR", cost, "eur", 6);
    print_number(out, ", USD", cost, "usd", 6);
    fprintf(out, "\n");
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* What each cut of the teacher cost before it was trained. */
static void print_shape(FILE *out, const json_t *shape)
{
    json_t *cut;
    const char *name;
    char before[48], after[48];
    json_object_foreach((json_t *)shape, name, cut)
    {
        group_thousands((long long)number(cut, "parameters_before"), before, sizeof before);
        group_thousands((long long)number(cut, "parameters_after"), after, sizeof after);
        fprintf(out, "%s: %s -> %s parameters, before training perplexity %.2f -> %.2f, KL %.4f nats\n", name, before,
                after, number(cut, "perplexity_before"), number(cut, "perplexity_after"), number(cut, "forward_kl"));
    }
}

static void remarks(FILE *out, const json_t *result)
{
    size_t i;
    json_t *item;
    if (json_is_false(json_object_get(result, "finished")))
        fprintf(out, "not finished: %s\n", text_of(result, "reason"));
    else if (strncmp(text_of(result, "reason"), "all ", 4) != 0) fprintf(out, "%s\n", text_of(result, "reason"));
    json_array_foreach(json_object_get(result, "changes"), i, item)
    {
        fprintf(out, "changed at step %.0f: %s, %s -> %s\n", number(item, "step"), text_of(item, "what"),
                text_of(item, "from"), text_of(item, "to"));
    }
    json_array_foreach(json_object_get(result, "warnings"), i, item)
    {
        fprintf(out, "warning: %s\n", json_string_value(item));
    }
}

void cli_table(FILE *out, const json_t *result)
{
    static const char *const rows[] = {"teacher", "student", "gguf"}; /* the last: beside a folder */
    const json_t *training = json_object_get(result, "training");
    fprintf(out, "%-8s", "");
    for (int i = 0; i < COLUMNS; i++) fprintf(out, "%*s", WIDTH, columns[i].title);
    fprintf(out, "\n");
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        const json_t *model = json_object_get(result, rows[r]);
        if (!model) continue;
        fprintf(out, "%-8s", rows[r]);
        for (int i = 0; i < COLUMNS; i++) cell(out, model, &columns[i]);
        fprintf(out, "\n");
    }
    if (json_is_object(training))
        fprintf(out, "%.0f steps, %.0f tokens in %.1f s, %.3g FLOP\n", number(training, "steps"),
                number(training, "tokens"), number(training, "seconds"), number(training, "flops"));
    cli_print_cost(out, json_object_get(result, "cost"));
    if (json_object_get(json_object_get(result, "student"), "soft_cross_entropy"))
        fprintf(out, "soft cross-entropy to the teacher's draws: %.4f nats; draws have no KL\n",
                number(json_object_get(result, "student"), "soft_cross_entropy"));
    print_shape(out, json_object_get(result, "shape"));
    print_sources(out, json_object_get(result, "data"));
    print_held_out(out, json_object_get(result, "eval"));
    print_pairs(out, json_object_get(result, "eval"));
    print_teachers(out, json_object_get(result, "eval"), json_object_get(training, "members"));
    print_lost(out, json_object_get(result, "data"), "data");
    print_lost(out, json_object_get(json_object_get(result, "data"), "eval"), "held-out data");
    remarks(out, result);
}

/* Where the page lies, if this run left one. */
void cli_print_page(FILE *out, const json_t *result)
{
    const json_t *options = json_object_get(json_object_get(result, "options"), "output");
    const char *folder = json_string_value(json_object_get(options, "path"));
    const char *page = json_string_value(json_object_get(options, "report"));
    size_t size = folder ? strlen(folder) : 0;
    while (size > 1 && folder[size - 1] == '/') size--;
    if (size && (!page || strcmp(page, "none") != 0)) fprintf(out, "report: %.*s/report.html\n", (int)size, folder);
}
