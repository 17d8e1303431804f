/* cmd_compare.c - distill compare: two models side by side. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* Of numbers: how they are shown. */
typedef enum { PLAIN, SHARE, BYTES, MILLIS, SECONDS } shown_as;
typedef struct figure {
    const char *key, *label; /* key: dotted, of one model */
    shown_as as;
    int places;
} figure;

static const json_t *at(const json_t *value, const char *key)
{
    char part[64];
    while (value && *key) {
        const size_t size = strcspn(key, ".");
        snprintf(part, sizeof part, "%.*s", (int)size, key);
        value = json_object_get(value, part);
        key += size + (key[size] == '.');
    }
    return value;
}

static void show(const figure *f, const json_t *value, char out[32])
{
    const double v = json_number_value(value);
    if (!json_is_number(value)) snprintf(out, 32, "-");
    else if (f->as == SHARE) snprintf(out, 32, "%.1f %%", 100 * v);
    else if (f->as == BYTES) snprintf(out, 32, "%.1f MB", v / 1e6);
    else if (f->as == MILLIS) snprintf(out, 32, "%.2f ms", 1e3 * v);
    else if (f->as == SECONDS) snprintf(out, 32, "%.3f s", v);
    else snprintf(out, 32, "%.*f", f->places, v);
}

/* What neither has is left out. */
static void print_figure(const figure *f, const json_t *a, const json_t *b)
{
    const json_t *first = at(a, f->key), *second = at(b, f->key);
    char one[32], two[32], ratio[32] = "";
    if (!json_is_number(first) && !json_is_number(second)) return;
    show(f, first, one);
    show(f, second, two);
    const double x = json_number_value(first), y = json_number_value(second);
    if (json_is_number(first) && json_is_number(second) && x != 0 && f->as != SHARE)
        snprintf(ratio, sizeof ratio, "%.2fx", y / x);
    printf("%-30s %14s %14s %9s\n", f->label, one, two, ratio);
}

/* Where prices are given: of the energy, and of a service's tokens. */
static void print_money(const json_t *a, const json_t *b)
{
    static const figure rows[] = {{"eur_per_1000_tokens", "EUR of energy, 1,000 tokens", PLAIN, 9},
                                  {"usd_per_1000_tokens", "USD, 1,000 tokens written", PLAIN, 6}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) print_figure(&rows[i], a, b);
}

/* What was measured where, and what that took. */
static void print_end(const json_t *report)
{
    const json_t *machine = json_object_get(report, "machine");
    const char *cpu = json_string_value(json_object_get(machine, "cpu")),
               *isa = json_string_value(json_object_get(machine, "isa"));
    printf("\n");
    cli_print_cost(stdout, json_object_get(report, "cost"));
    if (cpu && isa)
        printf("on: %s, %.0f threads, %s\n", cpu, json_number_value(json_object_get(machine, "threads")), isa);
}

/* Accuracies go with how sure they are. */
static void print_accuracy(const json_t *a, const json_t *b, const char *key, const char *label)
{
    const json_t *models[2] = {at(a, key), at(b, key)};
    char interval[80], texts[2][40] = {"-", "-"};
    if (!models[0] && !models[1]) return;
    snprintf(interval, sizeof interval, "%s_interval", key);
    for (int i = 0; i < 2; i++) {
        const json_t *bounds = at(i ? b : a, interval);
        if (!models[i]) continue;
        snprintf(texts[i], sizeof texts[i], "%.1f (%.1f-%.1f)", 100 * json_number_value(models[i]),
                 100 * json_number_value(json_array_get(bounds, 0)),
                 100 * json_number_value(json_array_get(bounds, 1)));
    }
    printf("%-24s %20s %20s\n", label, texts[0], texts[1]);
}

static const char *energy_of(const json_t *model)
{
    const char *from = json_string_value(at(model, "cost_of_timing.energy"));
    return from ? from : "none";
}

static void print_energy(const json_t *a, const json_t *b)
{
    static const figure measured = {"joules_per_1000_tokens", "energy per 1,000 tokens, J", PLAIN, 2},
                        estimated = {"joules_per_1000_tokens", "  the same, estimated, J", PLAIN, 2};
    const char *problem = json_string_value(at(b, "cost_of_timing.energy_problem"));
    if (!strcmp(energy_of(b), "none")) {
        if (problem) printf("%-30s not known: %s\n", "energy", problem);
        return;
    }
    print_figure(strcmp(energy_of(b), "estimated") ? &measured : &estimated, a, b);
    const char *note = json_string_value(at(b, "cost_of_timing.energy_note"));
    if (note) printf("  which is %s\n", note);
}

static void print_between(const json_t *between)
{
    static const struct {
        const char *key, *label;
        double times;
        const char *unit;
    } rows[] = {{"forward_kl", "KL(A || B), nats", 1, ""},
                {"forward_kl_median", "  its median", 1, ""},
                {"forward_kl_p99", "  of the worst hundredth", 1, ""},
                {"top1_agreement", "same likeliest token", 100, " %"},
                {"expected_acceptance", "B's drafts that A would take", 100, " %"},
                {"draft.sampled.acceptance", "  that it took, drawn", 100, " %"},
                {"draft.sampled.speedup", "  A writes faster with B", 1, "x"},
                {"draft.greedy.acceptance", "  that it took, greedy", 100, " %"},
                {"draft.greedy.speedup", "  A writes faster with B", 1, "x"}};
    const char *problem = json_string_value(json_object_get(between, "problem")),
               *undrafted = json_string_value(at(between, "draft.left_out"));
    if (problem) printf("KL, agreement and acceptance need equal tokens: %s\n", problem);
    if (undrafted) printf("B was not tried as a draft: %s\n", undrafted);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const json_t *value = at(between, rows[i].key);
        if (json_is_number(value))
            printf("%-30s %14.4g%s\n", rows[i].label, rows[i].times * json_number_value(value), rows[i].unit);
    }
}

/* A run reads shorter or longer windows than this one, and its figures are others then. */
static void print_windows(const json_t *report)
{
    static const char *const names[] = {"A", "B"}, *const keys[] = {"a.run_sequence_length", "b.run_sequence_length"};
    const json_t *length = json_object_get(report, "sequence_length");
    if (!length) return;
    printf("windows of at most %.0f tokens (data.sequence_length)\n", json_number_value(length));
    for (int i = 0; i < 2; i++) {
        const double own = json_number_value(at(report, keys[i]));
        if (own > 0 && own != json_number_value(length))
            printf(
                "the run that made %s read %.0f: with --set data.sequence_length=%.0f, and its data.separator, figures "
                "are those of its report\n",
                names[i], own, own);
    }
    printf("\n");
}

static void print_table(const json_t *report)
{
    static const figure figures[] = {
        {"perplexity", "perplexity", PLAIN, 3},
        {"bits_per_byte", "bits per byte", PLAIN, 4},
        {"accuracy", "likeliest token is right", SHARE, 0},
        {"calibration_error", "calibration error (ECE)", PLAIN, 4},
        {"parameters", "parameters", PLAIN, 0},
        {"bytes", "files", BYTES, 0},
        {"memory_bytes", "memory", BYTES, 0},
        {"load_seconds", "load", SECONDS, 0},
        {"prompt_tokens_per_second", "prompt, tokens/s", PLAIN, 1},
        {"decode_tokens_per_second", "decode, tokens/s", PLAIN, 1},
        {"first_token_seconds", "first token", MILLIS, 0},
        {"token_seconds_p50", "between tokens, p50", MILLIS, 0},
        {"token_seconds_p95", "between tokens, p95", MILLIS, 0},
        {"token_seconds_p99", "between tokens, p99", MILLIS, 0},
        {"cpu_seconds_per_1000_tokens", "CPU seconds per 1,000 tokens", PLAIN, 3},
    };
    const json_t *a = json_object_get(report, "a"), *b = json_object_get(report, "b");
    printf("A  %s\nB  %s\n\n", json_string_value(json_object_get(a, "name")),
           json_string_value(json_object_get(b, "name")));
    print_windows(report);
    printf("%-30s %14s %14s %9s\n", "", "A", "B", "B / A");
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) print_figure(&figures[i], a, b);
    print_energy(a, b);
    print_money(a, b);
    print_accuracy(a, b, "tasks.choices.accuracy", "choices right, %");
    print_accuracy(a, b, "tasks.choices.accuracy_per_byte", "choices right per byte, %");
    print_accuracy(a, b, "tasks.answers.accuracy", "answers right, %");
    print_between(json_object_get(report, "between"));
    print_end(report);
}

static int print_report(distill_report *report, int as_json, distill_error *err)
{
    char *text = cli_report_text(report, err);
    distill_report_free(report);
    if (!text) return cli_fail(err);
    json_t *value = json_loads(text, JSON_ALLOW_NUL, NULL);
    if (as_json) printf("%s\n", text);
    else print_table(value);
    json_decref(value);
    free(text);
    return CLI_DONE;
}

int cli_compare(const cli_command *command, int argc, char **argv)
{
    int as_json = 0, chat = 0;
    const char *paths[2] = {NULL, NULL}, *data = NULL, *choices = NULL, *answers = NULL, *verify = NULL;
    static const char *const own[] = {"teacher.path", "A",         "student.path", "B", "data.train",
                                      "--data",       "data.eval", "--data",       NULL};
    cli_settings settings = {.reads = " data train.eval_precision train.eval_tokens train.eval_draft_tokens "
                                      "train.loss_memory teacher compute cost tasks generate session.draft_tokens "
                                      "session.draft_adaptive session.cache_type ",
                             .own = own};
    const cli_option options[] = {{"--data", CLI_TEXT, &data, NULL},       {"--choices", CLI_TEXT, &choices, NULL},
                                  {"--answers", CLI_TEXT, &answers, NULL}, {"--verify", CLI_TEXT, &verify, NULL},
                                  {"--chat", CLI_FLAG, &chat, NULL},       {"--set", CLI_SETTINGS, &settings, NULL},
                                  {"--json", CLI_FLAG, &as_json, NULL}};
    cli_session s;
    cli_progress progress;
    distill_teacher *models[2] = {NULL, NULL};
    distill_report *report = NULL;
    int32_t rc = DISTILL_OK;
    int code = cli_parse(command, options, 7, argc, argv, paths, 2);
    if (code >= 0) return code;
    if (!paths[1]) return cli_usage(command, "two models are compared");
    if (verify && !answers) return cli_usage(command, "--verify says how --answers are compared");
    code = cli_open(&s, command, NULL, &settings);
    if (code >= 0 || (code = cli_take_flag(&s, command, "--choices", "tasks.choices", choices)) >= 0 ||
        (code = cli_take_flag(&s, command, "--answers", "tasks.answers", answers)) >= 0 ||
        (code = cli_take_flag(&s, command, "--verify", "tasks.verify", verify)) >= 0 ||
        (code = cli_take_flag(&s, command, "--chat", "tasks.chat", chat ? "true" : NULL)) >= 0)
        goto out;
    for (int i = 0; i < 2 && !rc; i++) rc = distill_teacher_open(s.env, paths[i], s.options, &models[i], &s.err);
    if (!rc) rc = cli_try_draft(&s, &settings);
    cli_progress_start(&progress, 0);
    if (!rc) rc = distill_compare(models[0], models[1], data, s.options, cli_progress_show, &progress, &report, &s.err);
    cli_progress_end(&progress);
    code = rc ? cli_fail(&s.err) : print_report(report, as_json, &s.err);
out:
    for (int i = 0; i < 2; i++) distill_teacher_free(models[i]);
    cli_close(&s);
    return code;
}
