/* cmd_export.c - distill export. */
#include <string.h>

#include "cli.h"

/* --to x.gguf would make a folder of that name: formats are said, not guessed from names. */
static int32_t take_choices(cli_session *s, const char *to, const char *type)
{
    int32_t rc = distill_options_set_str(s->options, "output.format", to, &s->err);
    if (!rc && type) rc = distill_options_set_str(s->options, "output.type", type, &s->err);
    return rc;
}

int cli_export(const cli_command *command, int argc, char **argv)
{
    int as_json = 0, whole = 1;
    const char *model = NULL, *to = NULL, *type = NULL, *path = NULL;
    static const char *const own[] = {"output.format", "--to",  "output.type", "--type", "output.path", "-o",
                                      "teacher.path",  "MODEL", NULL};
    cli_settings settings = {.reads = " teacher.mmap compute ", .own = own};
    const cli_option options[] = {{"--to", CLI_TEXT, &to, NULL},
                                  {"--type", CLI_TEXT, &type, NULL},
                                  {"-o", CLI_TEXT, &path, NULL},
                                  {"--set", CLI_SETTINGS, &settings, NULL},
                                  {"--json", CLI_FLAG, &as_json, NULL}};
    cli_session s;
    distill_teacher *teacher = NULL;
    distill_report *report = NULL;
    int code = cli_parse(command, options, 5, argc, argv, &model, 1);
    if (code >= 0) return code;
    if (!model) return cli_usage(command, "MODEL is missing");
    if (!to) return cli_usage(command, "--to is missing: gguf, hf or both");
    if (!path) return cli_usage(command, "-o PATH is missing");
    code = cli_open(&s, command, NULL, &settings);
    if (code >= 0) goto out;
    int32_t rc = take_choices(&s, to, type);
    if (rc) {
        code = cli_usage(command, "%s", s.err.message);
        goto out;
    }
    rc = distill_teacher_open(s.env, model, s.options, &teacher, &s.err);
    if (!rc) rc = distill_teacher_export(teacher, path, s.options, &s.err);
    if (!rc) rc = distill_inspect(s.env, path, &report, &s.err);
    code = rc ? cli_fail(&s.err) : cli_print_report(report, as_json, &s.err, &whole);
    if (code == CLI_DONE && !whole) code = CLI_FAILED;
out:
    distill_teacher_free(teacher);
    cli_close(&s);
    return code;
}
