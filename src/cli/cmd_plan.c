/* cmd_plan.c - distill plan: what a run would take. */
#include <stdlib.h>
#include <string.h>

#include "cli_ranks.h"

static double at(const json_t *value, const char *section, const char *key)
{
    const json_t *part = section ? json_object_get(value, section) : value;
    const json_t *found = json_object_get(part, key);
    return json_is_number(found) ? json_number_value(found) : -1;
}

static void clock_of(double seconds, char out[32])
{
    const long long total = (long long)(seconds + 0.5);
    if (seconds < 60) snprintf(out, 32, "%.1f s", seconds);
    else snprintf(out, 32, "%lld:%02lld:%02lld", total / 3600, total / 60 % 60, total % 60);
}

static void print_time(const char *label, double seconds)
{
    char text[32];
    if (seconds < 0) return;
    clock_of(seconds, text);
    printf("%-14s %s\n", label, text);
}

static void print_sizes(const json_t *plan)
{
    printf("student        %.0f parameters, %.0f trained", at(plan, NULL, "parameters"),
           at(plan, NULL, "trainable_parameters"));
    if (at(plan, NULL, "teacher_parameters") >= 0) printf("; teacher %.0f", at(plan, NULL, "teacher_parameters"));
    printf("\nsteps          %.0f, %.0f tokens, %.0f tokens/s\n", at(plan, NULL, "steps"), at(plan, NULL, "tokens"),
           at(plan, NULL, "tokens_per_second"));
    if (at(plan, "memory", "peak_bytes") >= 0)
        printf("memory         %.0f MB at most\n", at(plan, "memory", "peak_bytes") / 1e6);
    printf("disk           %.1f MB: student %.1f, %.0f checkpoints of %.1f", at(plan, "disk", "bytes") / 1e6,
           at(plan, "disk", "student_bytes") / 1e6, at(plan, "disk", "checkpoints"),
           at(plan, "disk", "checkpoint_bytes") / 1e6);
    if (at(plan, "disk", "cache_bytes") > 0) printf(", cache %.1f", at(plan, "disk", "cache_bytes") / 1e6);
    printf("\n");
}

static void print_cost(const json_t *plan)
{
    const char *energy = json_string_value(json_object_get(json_object_get(plan, "cost"), "energy"));
    const double joules = at(plan, "cost", "joules"), eur = at(plan, "cost", "eur"), usd = at(plan, "cost", "usd");
    printf("computing      %.3g operations, %.0f s of CPU\n", at(plan, "cost", "flops"),
           at(plan, "time", "cpu_seconds"));
    if (joules >= 0) printf("energy         %.1f Wh (%s)\n", joules / 3600, energy ? energy : "");
    else printf("energy         not known: no counters can be read; cost.watts_per_core makes an estimate\n");
    if (eur >= 0) printf("money          %.4f EUR of energy\n", eur);
    if (usd >= 0) printf("money          %.4f USD of tokens\n", usd);
}

static void print_cache(const json_t *plan)
{
    const json_t *cache = json_object_get(plan, "cache");
    const char *problem = json_string_value(json_object_get(cache, "problem"));
    if (problem) printf("cache          not planned: %s\n", problem);
    if (!cache || problem) return;
    printf("cache          of targets %s: %.1f MB\n",
           json_is_true(json_object_get(cache, "in_recipe")) ? "of the recipe" : "if there were one",
           at(cache, NULL, "bytes") / 1e6);
    print_time("  without", at(cache, NULL, "without_seconds"));
    print_time("  filled by it", at(cache, NULL, "first_seconds"));
    print_time("  full before", at(cache, NULL, "again_seconds"));
}

static void print_plan(const json_t *plan)
{
    size_t i;
    json_t *item;
    print_sizes(plan);
    print_time("time", at(plan, "time", "seconds"));
    print_time("  evaluations", at(plan, "time", "evaluation_seconds"));
    print_cost(plan);
    print_cache(plan);
    json_array_foreach(json_object_get(plan, "not_planned"), i, item)
        printf("%-14s %s\n", i ? "" : "not planned", json_string_value(item));
}

/* The library calls it loading, as all that stands before a run; here it is the work itself. */
static int32_t show_trial(void *user, const distill_progress *now)
{
    cli_progress *progress = user;
    if (!progress->quiet) cli_progress_share(progress, "trying", now->done, now->total);
    return DISTILL_CB_OK;
}

int cli_plan(const cli_command *command, int argc, char **argv)
{
    int as_json = 0, quiet = 0, log_ranks = 0;
    const char *recipe = NULL, *communicator = NULL;
    cli_settings settings = {.count = 0};
    const cli_option options[] = {{"--set", CLI_SETTINGS, &settings, NULL},
                                  {"--quiet", CLI_FLAG, &quiet, NULL},
                                  {"--json", CLI_FLAG, &as_json, NULL},
                                  {"--communicator", CLI_TEXT, &communicator, NULL},
                                  {"--log-ranks", CLI_FLAG, &log_ranks, NULL}};
    cli_session s;
    cli_ranks ranks;
    cli_progress progress;
    distill_report *report = NULL;
    int code = cli_parse(command, options, 5, argc, argv, &recipe, 1);
    if (code >= 0) return code;
    if (!recipe) return cli_usage(command, "a recipe is missing");
    if ((code = cli_ranks_start(&ranks, communicator, log_ranks)) >= 0) return code;
    code = cli_ranks_meet(&ranks, &s, cli_open(&s, command, recipe, &settings));
    if (code >= 0) goto out;
    quiet |= cli_ranks_are_quiet(&ranks) && !log_ranks;
    cli_progress_start(&progress, quiet);
    const int32_t rc = distill_plan(s.env, s.options, show_trial, &progress, &report, &s.err);
    cli_progress_end(&progress);
    char *text = rc ? NULL : cli_report_text(report, &s.err);
    distill_report_free(report);
    code = text ? CLI_DONE : cli_fail(&s.err);
    json_t *plan = text ? json_loads(text, 0, NULL) : NULL;
    if (text && as_json) printf("%s\n", text);
    else if (text) print_plan(plan);
    json_decref(plan);
    free(text);
out:
    cli_ranks_end(&ranks, &s);
    cli_close(&s);
    return code;
}
