/* cmd_chat.c - distill chat: options, what is opened, and the turns. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sampling.h"
#include "talk.h"

typedef struct chat_options {
    const char *model, *draft, *system, *messages, *format; /* NULL = not given */
    int64_t context;
    int has_context, no_commands;
    cli_sampling how;
    cli_settings settings;
} chat_options;

json_t *talk_messages(const talk *t) { return json_object_get(t->chat, "messages"); }

void talk_add(talk *t, const char *role, json_t *content)
{
    json_array_append_new(talk_messages(t), json_pack("{s:s, s:o}", "role", role, "content", content));
}

void talk_set_system(talk *t, json_t *content)
{
    json_t *messages = talk_messages(t);
    if (!strcmp(talk_role(json_array_get(messages, 0)), "system")) json_array_remove(messages, 0);
    if (content) json_array_insert_new(messages, 0, json_pack("{s:s, s:o}", "role", "system", "content", content));
}

int talk_failed(const talk *t, int code) { return t->asks && code == CLI_FAILED ? -1 : code; }

int talk_check(const talk *t, const json_t *chat)
{
    size_t needed = 0;
    distill_error *err = &t->program->err;
    char *written = json_dumps(chat, JSON_COMPACT);
    if (!written) return cli_message("the conversation is no JSON that could be written"), 0;
    int32_t rc = distill_tokenizer_chat(t->tokenizer, written, talk_flags(chat), NULL, 0, &needed, err);
    free(written);
    return rc ? cli_fail(err), 0 : 1;
}

/* ---- what is opened ---- */

static int check_template(const talk *t)
{
    distill_error *err = &t->program->err;
    json_t *chat = json_copy(t->chat);
    size_t needed = 0;
    json_object_set_new(chat, "messages", json_pack("[{s:s, s:s}]", "role", "user", "content", "a"));
    char *written = json_dumps(chat, JSON_COMPACT);
    int32_t rc = distill_tokenizer_chat(t->tokenizer, written, DISTILL_CHAT_ANSWER, NULL, 0, &needed, err);
    free(written);
    json_decref(chat);
    if (rc == DISTILL_E_NOT_FOUND)
        return cli_message("%s has no chat template: --chat-template says which (chatml, llama2, llama3, mistral or a "
                           "file); with plain it continues what you say",
                           t->path);
    if (rc) return cli_fail(err);
    return json_array_size(talk_messages(t)) && !talk_check(t, t->chat) ? CLI_FAILED : -1;
}

static int begin_chat(talk *t, const chat_options *given)
{
    t->chat = given->messages ? talk_read_file(given->messages) : json_pack("{s:[]}", "messages");
    if (!t->chat) return CLI_FAILED;
    if (!json_is_array(talk_messages(t)))
        return cli_message("%s: a list of messages is wanted, or {\"messages\": [...]}", given->messages);
    if (given->format && !talk_set_template(t->chat, given->format)) return CLI_FAILED;
    json_t *system = given->system ? json_string(given->system) : NULL;
    if (given->system && !system) return cli_message("--system: the text is not UTF-8");
    if (system) talk_set_system(t, system);
    return -1;
}

static int32_t open_models(talk *t, const chat_options *given)
{
    cli_session *s = t->program;
    int32_t rc = distill_teacher_open(s->env, given->model, s->options, &t->model, &s->err);
    if (!rc && given->draft) rc = distill_teacher_open(s->env, given->draft, s->options, &t->draft, &s->err);
    if (!rc) rc = distill_teacher_tokenizer(t->model, &t->tokenizer, &s->err);
    return rc;
}

static int open_talk(talk *t, const chat_options *given)
{
    int code = begin_chat(t, given);
    if (code >= 0) return code;
    if (open_models(t, given)) return cli_fail(&t->program->err);
    if ((code = check_template(t)) >= 0) return code;
    if (distill_session_create(t->model, t->draft, t->program->options, &t->session, &t->program->err))
        return cli_fail(&t->program->err);
    return -1;
}

static void close_talk(talk *t)
{
    cli_watch_session(NULL);
    talk_editor_close(t->editor);
    distill_session_free(t->session);
    distill_tokenizer_free(t->tokenizer);
    distill_teacher_free(t->draft);
    distill_teacher_free(t->model);
    json_decref(t->chat);
}

/* ---- turns ---- */

static int take_message(talk *t, const char *text, size_t size)
{
    const int escaped = t->commands && size > 1 && !memcmp(text, "//", 2);
    if (size == strspn(text, " \t\n")) return -1;
    if (t->commands && *text == '/' && !escaped) return talk_command(t, text);
    json_t *content = json_stringn(text + escaped, size - (size_t)escaped);
    if (!content) return talk_failed(t, cli_message("line %lld: is not UTF-8", (long long)t->line));
    talk_add(t, "user", content);
    return talk_answer(t);
}

static int take_turns(talk *t)
{
    for (int code = -1;;) {
        char *text = NULL;
        size_t size = 0;
        const int read = talk_read(t, &text, &size);
        if (cli_is_interrupted()) code = CLI_INTERRUPTED;
        else if (read == TALK_INTERRUPTED) cli_take_interrupt();
        else if (read == TALK_MESSAGE) code = take_message(t, text, size);
        else code = read == TALK_END ? CLI_DONE : talk_failed(t, CLI_FAILED);
        free(text);
        if (code >= 0) return code;
    }
}

static void greet(const talk *t)
{
    distill_session_stats stats;
    int64_t parameters = 0;
    DISTILL_INIT(&stats);
    if (!t->asks || distill_session_get_stats(t->session, &stats, NULL)) return;
    distill_teacher_get_i64(t->model, "parameters", &parameters, NULL);
    fprintf(stderr, "%s: %.1f million parameters, context of %lld tokens. /help lists commands, Ctrl-D leaves.\n",
            t->path, (double)parameters / 1e6, (long long)stats.context);
}

static int converse(talk *t)
{
    int code = -1;
    const json_t *messages = talk_messages(t);
    if (t->asks) t->editor = talk_editor_open();
    if (t->asks) cli_watch_session(t->session);
    greet(t);
    if (!strcmp(talk_role(json_array_get(messages, json_array_size(messages) - 1)), "user")) code = talk_answer(t);
    return code >= 0 ? code : take_turns(t);
}

/* ---- options ---- */

static int set_options(cli_session *s, const cli_command *command, const chat_options *given)
{
    int32_t rc = DISTILL_OK;
    if (given->has_context) rc = distill_options_set_i64(s->options, "session.context", given->context, &s->err);
    return rc ? cli_usage(command, "%s", s->err.message) : cli_set_sampling(s, command, &given->how);
}

static int run_chat(const cli_command *command, chat_options *given)
{
    cli_session s;
    talk t;
    memset(&t, 0, sizeof t);
    t.program = &s;
    t.path = given->model;
    t.asks = isatty(STDIN_FILENO);
    t.shows = isatty(STDOUT_FILENO);
    t.limited = given->how.has_tokens;
    t.commands = !given->no_commands;
    int code = cli_open(&s, command, NULL, &given->settings);
    if (code < 0) code = set_options(&s, command, given);
    if (code < 0) code = open_talk(&t, given);
    if (code < 0) code = converse(&t);
    close_talk(&t);
    cli_close(&s);
    return code;
}

int cli_chat(const cli_command *command, int argc, char **argv)
{
    enum { OWN = 7 };
    static chat_options given; /* large */
    static const char *const own[] = {"session.context", "--context", NULL};
    cli_option options[OWN + CLI_SAMPLING_COUNT] = {
        {"--draft", CLI_TEXT, &given.draft, NULL},
        {"--system", CLI_TEXT, &given.system, NULL},
        {"--messages", CLI_TEXT, &given.messages, NULL},
        {"--chat-template", CLI_TEXT, &given.format, NULL},
        {"--context", CLI_INT, &given.context, &given.has_context},
        {"--no-commands", CLI_FLAG, &given.no_commands, NULL},
        {"--set", CLI_SETTINGS, &given.settings, NULL},
    };
    cli_sampling_options(&given.how, options + OWN);
    /* a chat is no text that is written once: answers may be long, and the oldest turns make room */
    given.settings.items[given.settings.count++] = "generate.max_tokens=1024";
    given.settings.items[given.settings.count++] = "session.overflow=oldest";
    given.settings.reads = " session generate cost teacher.mmap compute ";
    given.settings.own = own;
    int code = cli_parse(command, options, OWN + CLI_SAMPLING_COUNT, argc, argv, &given.model, 1);
    if (code >= 0) return code;
    if (!given.model) return cli_usage(command, "a model is missing");
    if (given.messages && !strcmp(given.messages, "-"))
        return cli_usage(command, "--messages: a file is wanted; stdin is what you say");
    return run_chat(command, &given);
}
