/* cmd_run.c - distill run. */
#include <stdlib.h>
#include <string.h>

#include "cli_ranks.h"
#include "watch_page.h"

typedef struct run_flags {
    int resume, again, as_json, quiet, watch, log_ranks;
    const char *communicator;
    int64_t ranks;
} run_flags;

/* -1 = it goes; the program has no optimiser of its own. */
static int check_optimizer(const cli_session *session)
{
    char *optimizer = cli_option_text(session->options, "train.optimizer");
    int none = !strcmp(optimizer, "none");
    free(optimizer);
    return none ? cli_message("train.optimizer none leaves the update to a host, and this program has none: nothing "
                              "would be trained; give adamw")
                : -1;
}

static int interrupted(const cli_session *session, const char *recipe, const cli_settings *settings, int64_t ranks,
                       const cli_progress *progress)
{
    char *output = cli_option_text(session->options, "output.path");
    cli_message("interrupted after step %lld", (long long)progress->step);
    if (*output && progress->step > 0) cli_ranks_go_on(ranks, "run", recipe, settings, " --resume");
    free(output);
    return CLI_INTERRUPTED;
}

static int print_result(const distill_trainer *trainer, int as_json, int quiet, distill_error *err)
{
    distill_report *report = NULL;
    char *text = NULL;
    if (!distill_trainer_report(trainer, &report, err)) text = cli_report_text(report, err);
    distill_report_free(report);
    if (!text) return cli_fail(err);
    json_t *result = json_loads(text, 0, NULL);
    if (!as_json || !quiet) {
        cli_table(as_json ? stderr : stdout, result);
        cli_print_page(as_json ? stderr : stdout, result);
    }
    if (as_json) printf("%s%s", text, strchr(text, '\n') ? "" : "\n");
    json_decref(result);
    free(text);
    return CLI_DONE;
}

/* ---- stages ---- */

static int has_stages(const cli_session *session)
{
    char *stages = cli_option_text(session->options, "stages");
    const int found = *stages != 0;
    free(stages);
    return found;
}

static int print_stages(distill_report *report, int as_json, int quiet, distill_error *err)
{
    char *text = cli_report_text(report, err);
    const char *name;
    json_t *stage;
    int number = 0;
    if (!text) return cli_fail(err);
    json_t *result = json_loads(text, 0, NULL), *stages = json_object_get(result, "stages");
    json_object_foreach(stages, name, stage)
    {
        if (as_json && quiet) break;
        fprintf(as_json ? stderr : stdout, "%sstage %d of %d, %s\n", number ? "\n" : "", number + 1,
                (int)json_object_size(stages), name);
        cli_table(as_json ? stderr : stdout, stage);
        number++;
    }
    if (as_json) printf("%s%s", text, strchr(text, '\n') ? "" : "\n");
    json_decref(result);
    free(text);
    return CLI_DONE;
}

static int stages_interrupted(const char *recipe, const cli_settings *settings, const cli_progress *progress)
{
    cli_message("interrupted in stage %lld of %lld, after step %lld", (long long)progress->stage,
                (long long)progress->stages, (long long)progress->step);
    cli_ranks_go_on(1, "run", recipe, settings, "");
    return CLI_INTERRUPTED;
}

static int run_stages(cli_session *session, const char *recipe, const cli_settings *settings, const run_flags *flags)
{
    cli_progress progress;
    distill_report *report = NULL;
    int code;
    cli_progress_start(&progress, flags->quiet);
    cli_watch_all(CLI_SAVES_STEPS);
    int32_t rc = distill_run(session->env, session->options, flags->again ? DISTILL_RUN_AGAIN : 0, cli_progress_show,
                             &progress, &report, &session->err);
    cli_watch_all(0);
    cli_progress_end(&progress);
    if (rc == DISTILL_E_CANCELLED) code = stages_interrupted(recipe, settings, &progress);
    else code = rc ? cli_fail(&session->err) : print_stages(report, flags->as_json, flags->quiet, &session->err);
    distill_report_free(report);
    return code;
}

/* ---- one run ---- */

static int run_one(cli_session *session, const cli_command *command, const char *recipe, const cli_settings *settings,
                   const run_flags *flags)
{
    cli_progress progress;
    distill_trainer *trainer = NULL;
    cli_watch_page *watch = NULL;
    int code = cli_watch_page_open(session, command, flags->watch, &watch);
    if (code >= 0) return code;
    cli_progress_start(&progress, flags->quiet);
    int32_t rc =
        distill_trainer_create(session->env, NULL, NULL, NULL, NULL, session->options, &trainer, &session->err);
    if (!rc) cli_watch(trainer);
    if (!rc) rc = distill_trainer_on_progress(trainer, cli_progress_show, &progress, NULL, &session->err);
    if (!rc && flags->resume) rc = distill_trainer_resume(trainer, &session->err);
    if (!rc) rc = distill_trainer_run(trainer, &session->err);
    cli_progress_end(&progress);
    if (rc == DISTILL_E_CANCELLED) code = interrupted(session, recipe, settings, flags->ranks, &progress);
    else code = rc ? cli_fail(&session->err) : print_result(trainer, flags->as_json, flags->quiet, &session->err);
    cli_watch(NULL);
    distill_trainer_free(trainer);
    cli_watch_page_end(watch);
    return code;
}

int cli_run(const cli_command *command, int argc, char **argv)
{
    run_flags flags = {0};
    cli_settings settings = {.count = 0};
    const char *recipe = NULL;
    const cli_option options[] = {
        {"--set", CLI_SETTINGS, &settings, NULL},          {"--resume", CLI_FLAG, &flags.resume, NULL},
        {"--again", CLI_FLAG, &flags.again, NULL},         {"--watch", CLI_FLAG, &flags.watch, NULL},
        {"--quiet", CLI_FLAG, &flags.quiet, NULL},         {"--communicator", CLI_TEXT, &flags.communicator, NULL},
        {"--log-ranks", CLI_FLAG, &flags.log_ranks, NULL}, {"--json", CLI_FLAG, &flags.as_json, NULL}};
    cli_session session = {0};
    cli_ranks ranks;
    int code = cli_parse(command, options, 8, argc, argv, &recipe, 1);
    if (code >= 0) return code;
    if (!recipe) return cli_usage(command, "a recipe is missing");
    if ((code = cli_ranks_start(&ranks, flags.communicator, flags.log_ranks)) >= 0) return code;
    code = cli_open(&session, command, recipe, &settings);
    if (code < 0) code = check_optimizer(&session);
    if ((code = cli_ranks_meet(&ranks, &session, code)) >= 0) goto out;
    flags.quiet |= cli_ranks_are_quiet(&ranks) && !flags.log_ranks;
    flags.ranks = ranks.table.size;
    if (!flags.quiet) cli_log(&session, DISTILL_LOG_INFO);
    if (has_stages(&session) && flags.watch) code = cli_usage(command, "--watch is for a recipe that is one run");
    else if (has_stages(&session)) code = run_stages(&session, recipe, &settings, &flags);
    else if (flags.again) code = cli_usage(command, "--again is for recipes with stages; set output.overwrite=true");
    else code = run_one(&session, command, recipe, &settings, &flags);
out:
    cli_ranks_end(&ranks, &session);
    cli_close(&session);
    return code;
}
