/* cmd_run.c - distill run. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static char *option_text(const cli_session *session, const char *name)
{
    size_t needed = 0;
    distill_options_get(session->options, name, NULL, 0, &needed, NULL);
    char *text = cli_memory(NULL, needed + 1);
    *text = 0;
    distill_options_get(session->options, name, text, needed, NULL, NULL);
    return text;
}

/* -1 = it goes; the program has no optimiser of its own. */
static int check_optimizer(const cli_session *session)
{
    char *optimizer = option_text(session, "train.optimizer");
    int none = !strcmp(optimizer, "none");
    free(optimizer);
    return none ? cli_message("train.optimizer none leaves the update to a host, and this program has none: nothing "
                              "would be trained; give adamw")
                : -1;
}

static int interrupted(const cli_session *session, const char *recipe, const cli_settings *settings,
                       const cli_progress *progress)
{
    char *output = option_text(session, "output.path");
    cli_message("interrupted after step %lld", (long long)progress->step);
    if (*output && progress->step > 0) {
        fprintf(stderr, "To go on: distill run %s", recipe);
        for (int i = 0; i < settings->count; i++) fprintf(stderr, " --set '%s'", settings->items[i]);
        fprintf(stderr, " --resume\n");
    }
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
    if (!as_json || !quiet) cli_table(as_json ? stderr : stdout, result);
    if (as_json) printf("%s%s", text, strchr(text, '\n') ? "" : "\n");
    json_decref(result);
    free(text);
    return CLI_DONE;
}

int cli_run(const cli_command *command, int argc, char **argv)
{
    int resume = 0, as_json = 0, quiet = 0;
    cli_settings settings = {0, {NULL}};
    const char *recipe = NULL;
    const cli_option options[] = {{"--set", CLI_SETTINGS, &settings, NULL},
                                  {"--resume", CLI_FLAG, &resume, NULL},
                                  {"--quiet", CLI_FLAG, &quiet, NULL},
                                  {"--json", CLI_FLAG, &as_json, NULL}};
    cli_session session;
    cli_progress progress;
    distill_trainer *trainer = NULL;
    int code = cli_parse(command, options, 4, argc, argv, &recipe, 1);
    if (code >= 0) return code;
    if (!recipe) return cli_usage(command, "a recipe is missing");
    code = cli_open(&session, command, recipe, &settings);
    if (code >= 0 || (code = check_optimizer(&session)) >= 0) goto out;
    if (!quiet) cli_log(&session, DISTILL_LOG_INFO);
    cli_progress_start(&progress, quiet);
    int32_t rc = distill_trainer_create(session.env, NULL, NULL, NULL, NULL, session.options, &trainer, &session.err);
    if (!rc) cli_watch(trainer);
    if (!rc) rc = distill_trainer_on_progress(trainer, cli_progress_show, &progress, NULL, &session.err);
    if (!rc && resume) rc = distill_trainer_resume(trainer, &session.err);
    if (!rc) rc = distill_trainer_run(trainer, &session.err);
    cli_progress_end(&progress);
    if (rc == DISTILL_E_CANCELLED) code = interrupted(&session, recipe, &settings, &progress);
    else code = rc ? cli_fail(&session.err) : print_result(trainer, as_json, quiet, &session.err);
out:
    cli_watch(NULL);
    distill_trainer_free(trainer);
    cli_close(&session);
    return code;
}
