/* cmd_options.c - distill options: the table as text and as JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const char *type_name(int32_t type)
{
    static const char *const names[] = {"?", "int", "number", "text", "path", "choice", "flag", "list", "map"};
    return type > 0 && type < (int32_t)(sizeof names / sizeof *names) ? names[type] : names[0];
}

static int has_bounds(const distill_option_info *o)
{
    return (o->type == DISTILL_TYPE_INT || o->type == DISTILL_TYPE_NUMBER) && (o->low != 0 || o->high != 0);
}

static json_t *choices_of(const distill_option_info *o)
{
    json_t *list = json_array();
    for (const char *at = o->choices; *at;) {
        size_t size = strcspn(at, "|");
        json_array_append_new(list, json_stringn(at, size));
        at += size + (at[size] == '|');
    }
    return list;
}

/* "/output.path" and "schedule=linear|wsd" in words, with whole names. */
static void print_when(const distill_option_info *o)
{
    const size_t section = (size_t)(strrchr(o->name, '.') - o->name) + 1;
    for (const char *at = o->when; *at;) {
        const size_t size = strcspn(at, ","), name = strcspn(at, "=,");
        const int absent = *at == '!', whole = at[absent] == '/', first = absent + whole;
        printf("%s%s %.*s%.*s", at > o->when ? " or " : "; ", absent ? "not beside" : "only with",
               whole ? 0 : (int)section, o->name, (int)name - first, at + first);
        for (size_t i = name; i < size; i++)
            if (at[i] == '|') printf(" or ");
            else putchar(at[i] == '=' ? ' ' : at[i]);
        at += size + (at[size] == ',');
    }
}

static json_t *describe(const distill_option_info *o)
{
    json_t *out = json_pack("{s:s, s:s, s:s, s:s}", "name", o->name, "type", type_name(o->type), "default",
                            o->default_text, "help", o->help);
    if (has_bounds(o))
        json_object_set_new(out, "low", cli_json_real(o->low)),
            json_object_set_new(out, "high", cli_json_real(o->high));
    if (*o->choices) json_object_set_new(out, "choices", choices_of(o));
    if (*o->unit) json_object_set_new(out, "unit", json_string(o->unit));
    if (*o->when) json_object_set_new(out, "when", json_string(o->when));
    json_object_set_new(out, "live", json_boolean(o->flags & DISTILL_OPTION_LIVE));
    json_object_set_new(out, "schedule", json_boolean(o->flags & DISTILL_OPTION_SCHEDULE));
    return out;
}

static void print_option(const distill_option_info *o)
{
    printf("%s: %s", o->name, *o->choices ? o->choices : type_name(o->type));
    if (has_bounds(o)) printf(" %.10g..%.10g", o->low, o->high);
    if (*o->unit) printf(" %s", o->unit);
    if (*o->default_text) printf(", default %s", o->default_text);
    if (o->flags & DISTILL_OPTION_LIVE) printf(", live");
    if (o->flags & DISTILL_OPTION_SCHEDULE) printf(", takes schedules");
    printf("\n    %s", o->help);
    print_when(o);
    printf("\n");
}

/* ---- as a page: docs/options.md ---- */

static void print_in_table(const char *text)
{
    for (; *text; text++) printf("%s%c", *text == '|' || *text == '<' ? "\\" : "", *text);
}

static void print_type(const distill_option_info *o)
{
    if (*o->choices) print_in_table(o->choices);
    else printf("%s", type_name(o->type));
    if (has_bounds(o)) printf(" %.10g to %.10g", o->low, o->high);
    if (*o->unit) printf(" %s", o->unit);
    if (o->flags & DISTILL_OPTION_LIVE) printf(", live");
    if (o->flags & DISTILL_OPTION_SCHEDULE) printf(", takes schedules");
}

static void print_row(const distill_option_info *o, char section[64])
{
    const size_t size = strcspn(o->name, ".");
    if (strncmp(section, o->name, size) || section[size]) {
        snprintf(section, 64, "%.*s", (int)size, o->name);
        printf("\n## %s\n\n| option | value | default | |\n|---|---|---|---|\n", section);
    }
    printf("| `%s` | ", o->name);
    print_type(o);
    printf(" | ");
    print_in_table(o->default_text);
    printf(" | ");
    print_in_table(o->help);
    print_when(o);
    printf(" |\n");
}

static int print_page(void)
{
    distill_option_info info;
    char section[64] = "";
    printf(
        "# Every option\n\n"
        "One table for the recipe (YAML), `distill run --set KEY=VALUE`, the C setters and Python's keywords. This "
        "page is "
        "what\n`distill options --markdown` prints; `distill options KEY` explains one key, `--json` gives all as "
        "data.\n\nKeys are dotted; items of lists go by number (`loss.1.type`, `student.layers.0`). A section given as "
        "one "
        "plain value sets its\nmain key: `teacher: DIR` is `teacher.path`, `student: DIR` is `student.path`, `data: "
        "FILE` is "
        "`data.train`, `loss: NAME` is\n`loss.type`, `output: DIR` is `output.path`. `loss`, `data.train` and "
        "`data.eval` are one map or a list of them; NAME\nstands for a name of your own. "
        "Options marked live may change while a\ntrainer runs. An option that nothing would read where it stands is an "
        "error.\n");
    DISTILL_INIT(&info);
    for (int64_t i = 0; !distill_option_at(i, &info, NULL); i++) {
        print_row(&info, section);
        DISTILL_INIT(&info);
    }
    return CLI_DONE;
}

/* The option itself, or every one of a section. */
static int wanted(const distill_option_info *o, const char *name)
{
    size_t size = name ? strlen(name) : 0;
    return !name || !strcmp(o->name, name) || (!strncmp(o->name, name, size) && o->name[size] == '.');
}

static int unknown_name(const cli_command *command, const char *name)
{
    cli_session s;
    int code = cli_open(&s, command, NULL, NULL);
    if (code < 0) {
        distill_options_set(s.options, name, "0", &s.err);
        code = cli_usage(command, "%s", s.err.message[0] ? s.err.message : "no such option");
    }
    cli_close(&s);
    return code;
}

int cli_options(const cli_command *command, int argc, char **argv)
{
    int as_json = 0, as_page = 0, exact = 0;
    const char *name = NULL;
    const cli_option options[] = {{"--json", CLI_FLAG, &as_json, NULL}, {"--markdown", CLI_FLAG, &as_page, NULL}};
    distill_option_info info;
    int code = cli_parse(command, options, 2, argc, argv, &name, 1);
    if (code >= 0) return code;
    if (as_page) return print_page();
    json_t *list = json_array();
    DISTILL_INIT(&info);
    for (int64_t i = 0; !distill_option_at(i, &info, NULL); i++) {
        if (!wanted(&info, name)) continue;
        exact = name && !strcmp(info.name, name);
        if (!as_json) print_option(&info);
        json_array_append_new(list, describe(&info));
        DISTILL_INIT(&info);
    }
    if (!json_array_size(list)) code = unknown_name(command, name);
    else if (as_json) code = cli_print_json(json_incref(exact ? json_array_get(list, 0) : list));
    else code = CLI_DONE;
    json_decref(list);
    return code;
}
