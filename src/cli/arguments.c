/* arguments.c - the options of a command, and what is said about wrong ones. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { NAME_MAX_LENGTH = 40, OPTIONS_MAX = 32 };

int cli_usage(const cli_command *command, const char *format, ...)
{
    char before[64], behind[64];
    va_list args;
    snprintf(before, sizeof before, "distill %s: ", command->name);
    snprintf(behind, sizeof behind, " (see distill %s --help)", command->name);
    va_start(args, format);
    cli_line(before, format, args, behind);
    va_end(args);
    return CLI_USAGE;
}

/* Levenshtein's distance. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_LENGTH + 1], size = strlen(b);
    if (size > NAME_MAX_LENGTH) return size;
    for (size_t j = 0; j <= size; j++) row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < size; j++) {
            size_t change = diagonal + (a[i] != b[j]), least = row[j] < row[j + 1] ? row[j] : row[j + 1];
            diagonal = row[j + 1];
            row[j + 1] = change < least + 1 ? change : least + 1;
        }
    }
    return row[size];
}

const char *cli_nearest(const char *text, const char *const *names, int count)
{
    const char *best = NULL;
    const size_t size = strlen(text);
    size_t least = size / 2 < 3 ? size / 2 : 3;
    if (size > NAME_MAX_LENGTH + least) return NULL; /* a name that a client sent may have a megabyte */
    for (int i = 0; i < count; i++) {
        size_t d = distance(text, names[i]);
        if (d <= least) least = d - (d > 0), best = names[i];
    }
    return best;
}

static int unknown_option(const cli_command *command, const cli_option *options, int count, const char *text)
{
    const char *names[OPTIONS_MAX] = {"--help"}, *nearest;
    for (int i = 0; i < count; i++) names[i + 1] = options[i].name;
    nearest = cli_nearest(text, names, count + 1);
    return cli_usage(command, "unknown option %s%s%s", text, nearest ? "; did you mean " : "", nearest ? nearest : "");
}

static int take_value(const cli_command *command, const cli_option *option, const char *text)
{
    char *end = NULL;
    errno = 0;
    if (option->kind == CLI_TEXT) {
        *(const char **)option->out = text;
    } else if (option->kind == CLI_INT) {
        long long value = strtoll(text, &end, 10);
        if (errno || *end || end == text)
            return cli_usage(command, "%s wants a whole number, not %s", option->name, text);
        *(int64_t *)option->out = value;
    } else if (option->kind == CLI_REAL) {
        double value = strtod(text, &end);
        if (errno || *end || end == text) return cli_usage(command, "%s wants a number, not %s", option->name, text);
        *(double *)option->out = value;
    } else {
        cli_settings *settings = option->out;
        if (option->kind == CLI_SETTINGS && (!strchr(text, '=') || *text == '='))
            return cli_usage(command, "%s wants KEY=VALUE, not %s", option->name, text);
        if (settings->count == (int)(sizeof settings->items / sizeof *settings->items))
            return cli_usage(command, "too many %s", option->name);
        settings->items[settings->count++] = text;
    }
    if (option->given) *option->given = 1;
    return -1;
}

static const cli_option *find_option(const cli_option *options, int count, const char *text, size_t size)
{
    for (int i = 0; i < count; i++)
        if (strlen(options[i].name) == size && !memcmp(options[i].name, text, size)) return &options[i];
    return NULL;
}

int cli_parse(const cli_command *command, const cli_option *options, int count, int argc, char **argv,
              const char **positional, int max)
{
    int found = 0, only_positional = 0;
    for (int i = 0; i < argc; i++) {
        const char *text = argv[i];
        if (only_positional || text[0] != '-' || !text[1]) {
            if (found == max) return cli_usage(command, "unexpected argument %s", text);
            positional[found++] = text;
            continue;
        }
        if (!strcmp(text, "--")) {
            only_positional = 1;
            continue;
        }
        if (!strcmp(text, "--help") || !strcmp(text, "-h")) return fputs(command->help, stdout), CLI_DONE;
        size_t size = strcspn(text, "=");
        const cli_option *option = find_option(options, count, text, size);
        if (!option) return unknown_option(command, options, count, text);
        if (option->kind == CLI_FLAG) {
            if (text[size]) return cli_usage(command, "%s takes no value", option->name);
            *(int *)option->out = 1;
            continue;
        }
        const char *value = text[size] ? text + size + 1 : i + 1 < argc ? argv[++i] : NULL;
        if (!value) return cli_usage(command, "%s wants a value", option->name);
        int code = take_value(command, option, value);
        if (code >= 0) return code;
    }
    return -1;
}

int cli_subcommand(const cli_command *command, const cli_command *commands, int count, int prefix, int argc,
                   char **argv)
{
    enum { MOST = 16 };
    const char *names[MOST], *name = argc > 0 ? argv[0] : "";
    if (!strcmp(name, "--help") || !strcmp(name, "-h")) return fputs(command->help, stdout), CLI_DONE;
    for (int i = 0; i < count && i < MOST; i++) {
        names[i] = commands[i].name + prefix;
        if (!strcmp(name, names[i])) return commands[i].run(&commands[i], argc - 1, argv + 1);
    }
    if (!*name) return cli_usage(command, "which one is missing");
    const char *nearest = cli_nearest(name, names, count);
    return cli_usage(command, "unknown command %s%s%s", name, nearest ? "; did you mean " : "", nearest ? nearest : "");
}
