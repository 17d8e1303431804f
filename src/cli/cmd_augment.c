/* cmd_augment.c - distill augment. */
#include <stdlib.h>
#include <string.h>

#include "cli_ranks.h"

typedef struct flags {
    int dry_run, resume, overwrite, as_json, quiet, log_ranks;
    const char *communicator;
    int64_t ranks;
} flags;

static double number(const json_t *object, const char *key) { return json_number_value(json_object_get(object, key)); }

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void print_step(const json_t *step)
{
    const char *why;
    json_t *count;
    printf("  %-24s %8.0f in %8.0f out", text_of(step, "operator"), number(step, "in"), number(step, "out"));
    json_object_foreach(json_object_get(step, "counts"), why, count)
        printf("  %s %lld", why, (long long)json_integer_value(count));
    printf("\n");
}

/* What this run took; an estimate is called one. */
static void print_cost(const json_t *cost)
{
    const json_t *joules = json_object_get(cost, "joules"), *eur = json_object_get(cost, "eur"),
                 *usd = json_object_get(cost, "usd");
    printf("cost: %.1f s of CPU, %.0f tokens read or written by models, %.3g operations", number(cost, "cpu_seconds"),
           number(cost, "model_tokens"), number(cost, "model_flops"));
    if (joules) printf(", %.1f J (%s)", json_number_value(joules), text_of(cost, "energy"));
    if (eur) printf(", %.5f EUR of energy", json_number_value(eur));
    if (usd) printf(", %.5f USD of tokens", json_number_value(usd));
    printf("\n");
}

static void print_run(const json_t *value)
{
    const char *ended = text_of(value, "ended");
    size_t i;
    json_t *step;
    json_array_foreach(json_object_get(value, "steps"), i, step) print_step(step);
    printf("%s: %.0f samples of %.0f, %.0f tokens in %.1f s%s%s%s\n", text_of(value, "out"), number(value, "written"),
           number(value, "samples"), number(value, "tokens"), number(value, "seconds"),
           strcmp(ended, "whole") ? "; the budget of " : "", strcmp(ended, "whole") ? ended : "",
           strcmp(ended, "whole") ? " is over: --resume with a larger one goes on" : "");
    print_cost(json_object_get(value, "cost"));
}

static void print_plan(const json_t *value)
{
    size_t i;
    json_t *prompt;
    json_array_foreach(json_object_get(value, "prompts"), i, prompt)
        printf("--- prompt %d\n%s\n", (int)i + 1, json_string_value(prompt));
    printf("--- of %.0f samples, from %.0f that went through: about %.0f written, %.0f tokens, %.1f s\n",
           number(value, "samples"), number(value, "tried"), number(value, "written"), number(value, "tokens"),
           number(value, "seconds"));
}

static int print(const distill_report *report, const flags *f, distill_error *err)
{
    char *text = cli_report_text(report, err);
    if (!text) return cli_fail(err);
    json_t *value = json_loads(text, JSON_ALLOW_NUL, NULL);
    if (f->as_json) printf("%s\n", text);
    else (f->dry_run ? print_plan : print_run)(value);
    json_decref(value);
    free(text);
    return CLI_DONE;
}

static int interrupted(const char *recipe, const cli_settings *settings, int64_t ranks, const distill_error *err)
{
    cli_message("%s", err->message);
    cli_ranks_go_on(ranks, "augment", recipe, settings, " --resume");
    return CLI_INTERRUPTED;
}

static int32_t take_flags(cli_session *s, const flags *f)
{
    const char *temporary = getenv("TMPDIR"); /* which the library does not read */
    int32_t rc = distill_options_set(s->options, "augment.resume", f->resume ? "true" : "false", &s->err);
    if (!rc && f->overwrite) rc = distill_options_set(s->options, "augment.overwrite", "true", &s->err);
    if (!rc && f->dry_run && temporary && *temporary && !cli_is_said(s, "augment.temporary"))
        rc = distill_options_set_str(s->options, "augment.temporary", temporary, &s->err);
    return rc;
}

static int augment(cli_session *s, const char *recipe, const cli_settings *settings, const flags *f)
{
    cli_progress progress;
    distill_report *report = NULL;
    int32_t rc = take_flags(s, f);
    int code;
    if (rc) return cli_fail(&s->err);
    cli_progress_start(&progress, f->quiet);
    cli_watch_all(f->dry_run ? 0 : CLI_SAVES_CHUNKS);
    if (f->dry_run) rc = distill_dataset_augment_plan(s->env, NULL, NULL, s->options, &report, &s->err);
    else
        rc = distill_dataset_augment(s->env, NULL, NULL, NULL, s->options, cli_progress_show, &progress, &report,
                                     &s->err);
    cli_watch_all(0);
    cli_progress_end(&progress);
    if (rc == DISTILL_E_CANCELLED && !f->dry_run) code = interrupted(recipe, settings, f->ranks, &s->err);
    else code = rc ? cli_fail(&s->err) : print(report, f, &s->err);
    distill_report_free(report);
    return code;
}

int cli_augment(const cli_command *command, int argc, char **argv)
{
    flags f = {0};
    const char *recipe = NULL;
    static const char *const own[] = {"augment.resume", "--resume", NULL};
    cli_settings settings = {.reads = " augment teacher teachers data generate compute cost ", .own = own};
    const cli_option options[] = {{"--set", CLI_SETTINGS, &settings, NULL},
                                  {"--dry-run", CLI_FLAG, &f.dry_run, NULL},
                                  {"--resume", CLI_FLAG, &f.resume, NULL},
                                  {"--overwrite", CLI_FLAG, &f.overwrite, NULL},
                                  {"--quiet", CLI_FLAG, &f.quiet, NULL},
                                  {"--json", CLI_FLAG, &f.as_json, NULL},
                                  {"--communicator", CLI_TEXT, &f.communicator, NULL},
                                  {"--log-ranks", CLI_FLAG, &f.log_ranks, NULL}};
    cli_session s;
    cli_ranks ranks;
    int code = cli_parse(command, options, 8, argc, argv, &recipe, 1);
    if (code >= 0) return code;
    if (!recipe) return cli_usage(command, "a recipe is missing");
    if (f.resume && f.overwrite) return cli_usage(command, "--resume goes on, --overwrite begins anew: give one");
    if (f.dry_run && f.communicator)
        return cli_usage(command, "--dry-run is for one process: leave --communicator out");
    if ((code = cli_ranks_start(&ranks, f.communicator, f.log_ranks)) >= 0) return code;
    code = cli_ranks_meet(&ranks, &s, cli_open(&s, command, recipe, &settings));
    f.quiet |= cli_ranks_are_quiet(&ranks) && !f.log_ranks;
    f.ranks = ranks.table.size;
    if (code < 0) code = augment(&s, recipe, &settings, &f);
    cli_ranks_end(&ranks, &s);
    cli_close(&s);
    return code;
}
