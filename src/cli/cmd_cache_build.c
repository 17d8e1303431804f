/* cmd_cache_build.c - distill cache build. */
#include <stdlib.h>
#include <string.h>

#include "cli_ranks.h"

static int32_t on_progress(void *user, const distill_progress *now)
{
    cli_progress *progress = user;
    progress->step = now->done;
    if (!progress->quiet) cli_progress_share(progress, "caching", now->done, now->total);
    return DISTILL_CB_OK;
}

/* Flags are options of the table by a shorter name. */
enum { FLAGS = 4 };
static const char *const flag_names[FLAGS] = {"--teacher", "--data", "--cache", "--tier"}, *const flag_keys[FLAGS] = {
                                                                                               "teacher.path",
                                                                                               "data.train",
                                                                                               "teacher.cache.path",
                                                                                               "teacher.cache.tier"};

/* own [2*FLAGS + 1]: keys and names of those that are given. */
static void list_own(const char *const values[FLAGS], const char **own)
{
    for (int i = 0; i < FLAGS; i++) {
        if (!values[i]) continue;
        *own++ = flag_keys[i];
        *own++ = flag_names[i];
    }
}

/* -1 = all were taken. */
static int take_flags(cli_session *s, const cli_command *command, const char *const values[FLAGS])
{
    int code = -1;
    for (int i = 0; i < FLAGS && code < 0; i++)
        code = cli_take_flag(s, command, flag_names[i], flag_keys[i], values[i]);
    return code;
}

static int print_caches(const distill_report *report, int as_json, distill_error *err)
{
    char *text = cli_report_text(report, err);
    size_t i;
    json_t *cache;
    if (!text) return cli_fail(err);
    json_t *value = json_loads(text, JSON_ALLOW_NUL, NULL);
    if (as_json) printf("%s\n", text);
    else {
        json_array_foreach(json_object_get(value, "caches"), i, cache)
        {
            printf("%s: tier %s, %lld rows, %lld bytes, %.1f a row\n",
                   json_string_value(json_object_get(cache, "path")), json_string_value(json_object_get(cache, "tier")),
                   (long long)json_integer_value(json_object_get(cache, "rows")),
                   (long long)json_integer_value(json_object_get(cache, "bytes")),
                   json_number_value(json_object_get(cache, "bytes_per_row")));
        }
        printf("%lld rows were added in %.1f s\n", (long long)json_integer_value(json_object_get(value, "added")),
               json_number_value(json_object_get(value, "seconds")));
    }
    json_decref(value);
    free(text);
    return CLI_DONE;
}

static long long integer(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

static void print_planned(const json_t *value)
{
    const json_t *caches = json_object_get(value, "caches"), *cache;
    const long long seconds = (long long)(json_number_value(json_object_get(value, "seconds")) + 0.5);
    size_t i;
    json_array_foreach(caches, i, cache)
    {
        printf("%s: tier %s, %lld rows, of which %lld are missing; about %lld bytes, %.1f a row\n",
               json_string_value(json_object_get(cache, "path")), json_string_value(json_object_get(cache, "tier")),
               integer(cache, "rows"), integer(cache, "missing"), integer(cache, "bytes"),
               json_number_value(json_object_get(cache, "bytes_per_row")));
    }
    if (json_array_size(caches) > 1)
        printf("%zu caches: about %lld bytes\n", json_array_size(caches), integer(value, "bytes"));
    printf("about %lld s; nothing was written\n", seconds);
}

static int print_plan(distill_report *report, int as_json, distill_error *err)
{
    char *text = cli_report_text(report, err);
    if (!text) return cli_fail(err);
    json_t *value = json_loads(text, JSON_ALLOW_NUL, NULL);
    if (as_json) printf("%s\n", text);
    else print_planned(value);
    json_decref(value);
    free(text);
    return CLI_DONE;
}

int cli_cache_build(const cli_command *command, int argc, char **argv)
{
    int as_json = 0, quiet = 0, dry = 0, log_ranks = 0;
    const char *flags[FLAGS] = {NULL}, *own[2 * FLAGS + 1] = {NULL}, *recipe = NULL, *communicator = NULL;
    cli_settings settings = {.reads = " data teacher teachers student.path compute ", .own = own};
    const cli_option options[] = {{"--teacher", CLI_TEXT, &flags[0], NULL},
                                  {"--data", CLI_TEXT, &flags[1], NULL},
                                  {"--cache", CLI_TEXT, &flags[2], NULL},
                                  {"--tier", CLI_TEXT, &flags[3], NULL},
                                  {"--set", CLI_SETTINGS, &settings, NULL},
                                  {"--quiet", CLI_FLAG, &quiet, NULL},
                                  {"--json", CLI_FLAG, &as_json, NULL},
                                  {"--dry-run", CLI_FLAG, &dry, NULL},
                                  {"--communicator", CLI_TEXT, &communicator, NULL},
                                  {"--log-ranks", CLI_FLAG, &log_ranks, NULL}};
    cli_session s;
    cli_ranks ranks;
    cli_progress progress;
    distill_report *report = NULL;
    int code = cli_parse(command, options, 10, argc, argv, &recipe, 1);
    if (code >= 0) return code;
    if (!recipe && !(flags[0] && flags[1] && flags[2]))
        return cli_usage(command, "a recipe is missing, or --teacher, --data and --cache");
    if (dry && communicator) return cli_usage(command, "--dry-run is for one process: leave --communicator out");
    list_own(flags, own);
    if ((code = cli_ranks_start(&ranks, communicator, log_ranks)) >= 0) return code;
    code = cli_open(&s, command, recipe, &settings);
    if (code < 0) code = take_flags(&s, command, flags);
    if ((code = cli_ranks_meet(&ranks, &s, code)) >= 0) goto out;
    quiet |= cli_ranks_are_quiet(&ranks) && !log_ranks;
    if (!quiet) cli_log(&s, DISTILL_LOG_INFO);
    if (dry) {
        int32_t planned = distill_cache_plan(s.env, NULL, NULL, NULL, s.options, &report, &s.err);
        code = planned ? cli_fail(&s.err) : print_plan(report, as_json, &s.err);
        goto out;
    }
    cli_progress_start(&progress, quiet);
    int32_t rc = distill_cache_build(s.env, NULL, NULL, NULL, s.options, on_progress, &progress, &report, &s.err);
    cli_progress_end(&progress);
    code = rc ? cli_fail(&s.err) : print_caches(report, as_json, &s.err);
    if (rc == DISTILL_E_CANCELLED) fprintf(stderr, "To go on: the same command again\n");
out:
    distill_report_free(report);
    cli_ranks_end(&ranks, &s);
    cli_close(&s);
    return code;
}
