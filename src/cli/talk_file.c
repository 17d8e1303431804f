/* talk_file.c - conversations and chat templates in files. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "talk.h"

/* For a model that knows no roles: what was said is one text, and it goes on. */
static const char plain[] = "{% for message in messages %}{{ message['content'] }}{% endfor %}";

/* The name of a format, or the text of a file; NULL after a message. */
static json_t *read_template(const char *name)
{
    static const char *const formats[] = {"chatml", "llama2", "llama3", "mistral"};
    size_t size;
    if (!strcmp(name, "plain")) return json_string(plain);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (!strcmp(name, formats[i])) return json_string(name);
    FILE *file = fopen(name, "rb");
    if (!file) {
        cli_message("--chat-template %s: %s; chatml, llama2, llama3, mistral or a file with a template is wanted, or "
                    "plain, for a model that knows no chats",
                    name, strerror(errno));
        return NULL;
    }
    char *text = cli_read(file, name, 1 << 20, &size);
    fclose(file);
    json_t *value = text ? json_stringn(text, size) : NULL;
    if (text && !value) cli_message("%s: is not UTF-8, and so no chat template", name);
    free(text);
    return value;
}

int talk_set_template(json_t *chat, const char *name)
{
    json_t *format = read_template(name);
    if (format) json_object_set_new(chat, "chat_template", format);
    return format != NULL;
}

json_t *talk_read_file(const char *path)
{
    json_t *chat = cli_read_json(path);
    return chat && json_is_array(chat) ? json_pack("{s:o}", "messages", chat) : chat;
}

const char *talk_role(const json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    return role ? role : "";
}

int32_t talk_flags(const json_t *chat)
{
    const json_t *list = json_object_get(chat, "messages");
    const char *role = talk_role(json_array_get(list, json_array_size(list) - 1));
    return !strcmp(role, "assistant") ? DISTILL_CHAT_CONTINUE : DISTILL_CHAT_ANSWER;
}

/* Nobody but a shell puts a home in the place of ~, and what is typed here passes by no shell. */
char *talk_path(const char *typed)
{
    const char *home = typed[0] == '~' && typed[1] == '/' ? getenv("HOME") : NULL;
    const size_t size = strlen(typed) + (home ? strlen(home) : 0) + 1;
    char *path = cli_memory(NULL, size);
    snprintf(path, size, "%s%s", home ? home : "", home ? typed + 1 : typed);
    return path;
}

int talk_save_file(const json_t *chat, const char *path)
{
    size_t size = strlen(path) + 5;
    char *beside = cli_memory(NULL, size);
    snprintf(beside, size, "%s.tmp", path);
    FILE *file = fopen(beside, "wb");
    int bad = !file;
    if (file) {
        bad =
            json_dumpf(chat, file, JSON_INDENT(2)) != 0 || fputc('\n', file) < 0 || fflush(file) || fsync(fileno(file));
        bad |= fclose(file) != 0;
        if (!bad) bad = rename(beside, path) != 0;
        if (bad) {
            int reason = errno;
            unlink(beside);
            errno = reason;
        }
    }
    if (bad) cli_message("%s: %s", path, strerror(errno));
    free(beside);
    return !bad;
}
