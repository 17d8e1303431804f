/* cmd_report.c - distill report. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { MOST = 64 };

/* What is damaged there is on the page, and said here, too. */
static void tell_damage(const char *folder, const distill_report *report)
{
    distill_error err;
    char *text = cli_report_text(report, &err);
    json_t *root = text ? json_loads(text, 0, NULL) : NULL, *item;
    size_t i;
    json_array_foreach(json_object_get(root, "damaged"), i, item)
    {
        cli_message("warning: %s/metrics.jsonl:%lld: %s", folder,
                    (long long)json_integer_value(json_object_get(item, "line")),
                    json_string_value(json_object_get(item, "problem")));
    }
    json_array_foreach(json_object_get(root, "problems"), i, item)
    {
        cli_message("warning: %s: %s", folder, json_string_value(item));
    }
    json_decref(root);
    free(text);
}

/* DIR/report.html of one run; of several a name has to be given. */
static char *place(const char *given, const char *folder)
{
    const size_t size = strlen(given ? given : folder) + sizeof "/report.html";
    char *path = cli_memory(NULL, size);
    snprintf(path, size, "%s%s", given ? given : folder, given ? "" : "/report.html");
    return path;
}

static int make(cli_session *s, const char *const *folders, int count, const char *path)
{
    distill_report *reports[MOST] = {NULL};
    int32_t rc = 0;
    for (int i = 0; i < count && !rc; i++) {
        rc = distill_report_open(s->env, folders[i], &reports[i], &s->err);
        if (!rc) tell_damage(folders[i], reports[i]);
    }
    if (!rc) rc = distill_report_html((const distill_report *const *)reports, count, path, s->options, &s->err);
    for (int i = 0; i < count; i++) distill_report_free(reports[i]);
    if (!rc) printf("%s\n", path);
    return rc ? cli_fail(&s->err) : CLI_DONE;
}

int cli_report(const cli_command *command, int argc, char **argv)
{
    const char *folders[MOST] = {NULL}, *path = NULL, *language = NULL;
    const cli_option options[] = {{"-o", CLI_TEXT, &path, NULL}, {"--language", CLI_TEXT, &language, NULL}};
    cli_session s;
    char *where = NULL;
    int count = 0, code = cli_parse(command, options, 2, argc, argv, folders, MOST);
    if (code >= 0) return code;
    while (count < MOST && folders[count]) count++;
    if (!count) return cli_usage(command, "DIR is missing: the output folder of a run");
    if (count > 1 && !path) return cli_usage(command, "-o FILE is missing: where a page of several runs goes");
    code = cli_open(&s, command, NULL, NULL);
    if (code >= 0) goto out;
    if (language && distill_options_set_str(s.options, "output.language", language, &s.err)) {
        code = cli_usage(command, "%s", s.err.message);
        goto out;
    }
    where = place(path, folders[0]);
    code = make(&s, folders, count, where);
out:
    free(where);
    cli_close(&s);
    return code;
}
