/* talk_command.c - what begins with a slash. */
#include <stdlib.h>
#include <string.h>

#include "talk.h"

enum { LEAVE = CLI_DONE }; /* a command's code: -1 = go on */

static int reset(talk *t, const char *rest)
{
    json_t *messages = talk_messages(t);
    (void)rest;
    for (size_t i = json_array_size(messages); i-- > 0;)
        if (strcmp(talk_role(json_array_get(messages, i)), "system") != 0) json_array_remove(messages, i);
    t->tokens = 0;
    if (distill_session_truncate(t->session, 0, &t->program->err)) return talk_failed(t, cli_fail(&t->program->err));
    return talk_remark(t, "a new conversation"), -1;
}

static int save(talk *t, const char *typed)
{
    if (!*typed) return talk_failed(t, cli_message("/save wants a file: /save FILE"));
    char *path = talk_path(typed);
    const int good = talk_save_file(t->chat, path);
    if (good) talk_remark(t, "%zu messages are in %s", json_array_size(talk_messages(t)), path);
    free(path);
    return good ? -1 : talk_failed(t, CLI_FAILED);
}

/* Templates that the program was told stay; what the file says of one counts where it was told none. */
static int load_file(talk *t, const char *path)
{
    json_t *chat = talk_read_file(path), *told = json_object_get(t->chat, "chat_template");
    if (!chat) return talk_failed(t, CLI_FAILED);
    if (told) json_object_set(chat, "chat_template", told);
    if (!talk_check(t, chat)) return json_decref(chat), talk_failed(t, CLI_FAILED);
    json_decref(t->chat);
    t->chat = chat;
    return talk_remark(t, "%zu messages were read from %s", json_array_size(talk_messages(t)), path), -1;
}

static int load(talk *t, const char *typed)
{
    if (!*typed) return talk_failed(t, cli_message("/load wants a file: /load FILE"));
    char *path = talk_path(typed);
    const int code = load_file(t, path);
    free(path);
    return code;
}

static void show_system(const talk *t)
{
    const json_t *first = json_array_get(talk_messages(t), 0), *content = json_object_get(first, "content");
    if (strcmp(talk_role(first), "system") != 0) fprintf(stderr, "(there is none)\n");
    else if (json_is_string(content))
        talk_show(stderr, json_string_value(content), json_string_length(content)), fputc('\n', stderr);
    else json_dumpf(content, stderr, JSON_ENCODE_ANY), fputc('\n', stderr);
}

static int set_system(talk *t, const char *text)
{
    if (!*text) return show_system(t), -1;
    const int none = !strcmp(text, "\"\"");
    json_t *before = json_deep_copy(t->chat);
    talk_set_system(t, none ? NULL : json_string(text));
    if (json_array_size(talk_messages(t)) && !talk_check(t, t->chat)) { /* a template may know no such role */
        json_decref(t->chat);
        t->chat = before;
        return talk_failed(t, CLI_FAILED);
    }
    json_decref(before);
    return talk_remark(t, none ? "no system message any more" : "from the next answer on"), -1;
}

static int print_stats(talk *t, const char *rest)
{
    (void)rest;
    return talk_print_stats(t), -1;
}

static int leave(talk *t, const char *rest)
{
    (void)t, (void)rest;
    return LEAVE;
}

static int help(talk *t, const char *rest);

static const struct {
    const char *name, *argument, *help;
    int (*run)(talk *t, const char *rest);
} commands[] = {
    {"/help", "", "this list", help},
    {"/reset", "", "begins a new conversation; the system message stays", reset},
    {"/system", "TEXT", "sets the system message; alone shows it, \"\" takes it away", set_system},
    {"/save", "FILE", "writes the conversation as JSON", save},
    {"/load", "FILE", "goes on with one that was saved", load},
    {"/stats", "", "speed, latency, and how full the context is", print_stats},
    {"/quit", "", "leaves, as Ctrl-D does", leave},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static int help(talk *t, const char *rest)
{
    (void)t, (void)rest;
    for (int i = 0; i < COMMANDS; i++)
        fprintf(stderr, "%-8s%-6s%s\n", commands[i].name, commands[i].argument, commands[i].help);
    fprintf(stderr, "\"\"\"           begins a message of several lines, and ends it\n"
                    "//            begins a message with a slash\n"
                    "Ctrl-C        stops an answer\n");
    return -1;
}

static int unknown(const talk *t, const char *name)
{
    const char *names[COMMANDS];
    for (int i = 0; i < COMMANDS; i++) names[i] = commands[i].name;
    const char *nearest = cli_nearest(name, names, COMMANDS);
    return talk_failed(t, cli_message("unknown command %s%s%s (/help lists them; // begins a message with a slash)",
                                      name, nearest ? "; did you mean " : "", nearest ? nearest : ""));
}

int talk_command(talk *t, const char *line)
{
    const size_t size = strcspn(line, " \t\n");
    const char *rest = line + size + strspn(line + size, " \t\n");
    char *name = cli_memory(NULL, size + 1), *argument = cli_memory(NULL, strlen(rest) + 1);
    int code = -1, found = 0;
    memcpy(name, line, size);
    name[size] = 0;
    strcpy(argument, rest);
    for (size_t end = strlen(argument); end && strchr(" \t\n", argument[end - 1]);) argument[--end] = 0;
    for (int i = 0; i < COMMANDS && !found; i++) {
        if (strcmp(commands[i].name, name) != 0) continue;
        found = 1;
        if (*argument && !*commands[i].argument) code = talk_failed(t, cli_message("%s takes nothing behind it", name));
        else code = commands[i].run(t, argument);
    }
    if (!found) code = unknown(t, name);
    free(argument);
    free(name);
    return code;
}
