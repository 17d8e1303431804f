#include "chat/chat_parts.h"

#include "base/file.h"

#include <string.h>

enum { FILE_LIMIT = 1 << 20 };

/* Does the template know contents that are lists of parts? One is rendered, and its text must be there alone. */
static int32_t probe_parts(dk_chat_template *chat, dk_error *err)
{
    static const char json[] =
        "[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"probe-of-parts\"}]}]";
    dk_document *document;
    dk_chat out = {0};
    int32_t rc;
    DK_TRY(dk_json_parse(chat->host, json, sizeof json - 1, "probe", &document, err));
    const dk_node *list = dk_document_root(document);
    const dk_chat_talk talk = {.messages = list->items, .count = (int64_t)list->size, .prompt = 1};
    chat->takes_parts = 1;
    chat->takes_parts = !dk_chat_render(chat->host, chat, &talk, &out, NULL) && strstr(out.text, "probe-of-parts") &&
                        !strstr(out.text, "'probe-of-parts'") && !strstr(out.text, "\"probe-of-parts\"");
    dk_chat_free(&out);
    dk_document_free(document);
out:
    return rc;
}

/* Variables that the reference fills from files that are not read here. */
static int32_t check_variables(const char *name, const dk_jinja *jinja, dk_error *err)
{
    static const char *const unknown[] = {"sep_token", "cls_token", "mask_token"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        if (dk_jinja_mentions(jinja, unknown[i]))
            return dk_fail(err, DK_E_UNSUPPORTED, "%.80s: the template reads %s, which is not known here", name,
                           unknown[i]);
    return DK_OK;
}

/* A name that nobody knows, and a file of something else: they would say the same of all chats. */
static int32_t check_messages(const char *name, const char *source, const dk_jinja *jinja, dk_error *err)
{
    const size_t line = strcspn(source, "\r\n"), shown = line < 40 ? line : 40;
    if (dk_jinja_mentions(jinja, "messages")) return DK_OK;
    return dk_fail(err, DK_E_INVALID, "%.80s: '%.*s%s' is no name (%s), and as a template it never reads messages",
                   name, (int)shown, source, source[shown] ? "..." : "", dk_chat_names());
}

int32_t dk_chat_open(dk_host *host, const char *name, const char *jinja, size_t size, const dk_tokenizer *tok,
                     dk_chat_template **out, dk_error *err)
{
    dk_chat_template *chat;
    int32_t rc;
    DK_TRY(dk_new(host, 1, &chat, err));
    chat->host = host;
    atomic_init(&chat->references, 1);
    chat->tok = tok ? dk_tokenizer_retain(tok) : NULL;
    if (!(chat->source = dk_strndup(host, jinja, size))) rc = dk_fail_nomem(err, size + 1);
    if (!rc) rc = dk_jinja_parse(host, name, jinja, size, &chat->jinja, err);
    if (!rc) rc = check_variables(name, chat->jinja, err);
    if (!rc) rc = check_messages(name, chat->source, chat->jinja, err);
    if (!rc) rc = probe_parts(chat, err);
    if (rc) dk_chat_template_release(chat);
    else *out = chat;
out:
    return rc;
}

int32_t dk_chat_open_file(dk_host *host, const char *path, const dk_tokenizer *tok, dk_chat_template **out,
                          dk_error *err)
{
    char *text = NULL;
    size_t size;
    int32_t rc;
    DK_TRY(dk_file_read(host, path, FILE_LIMIT, &text, &size, err));
    const size_t mark = size >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0;
    rc = dk_chat_open(host, path, text + mark, size - mark, tok, out, err);
out:
    dk_free(host, text);
    return rc;
}

int32_t dk_chat_by_name(dk_host *host, const char *name, const dk_tokenizer *tok, dk_chat_template **out, dk_error *err)
{
    const char *jinja = dk_chat_builtin(name);
    if (!jinja)
        return dk_fail(err, DK_E_INVALID, "chat template '%.40s' is unknown, known are %s", name, dk_chat_names());
    return dk_chat_open(host, name, jinja, strlen(jinja), tok, out, err);
}

int32_t dk_chat_of_tokenizer(dk_host *host, const dk_tokenizer *tok, dk_chat_template **out, dk_error *err)
{
    const char *jinja = dk_tokenizer_chat_template(tok);
    if (!jinja)
        return dk_fail(err, DK_E_NOT_FOUND,
                       "the tokenizer has no chat template: give its format by name (%s) or as a file",
                       dk_chat_names());
    const char *tools = dk_tokenizer_tool_template(tok);
    int32_t rc;
    DK_TRY(dk_chat_open(host, "chat template", jinja, strlen(jinja), tok, out, err));
    if (tools) rc = dk_chat_open(host, "chat template tool_use", tools, strlen(tools), tok, &(*out)->with_tools, err);
    if (rc) dk_chat_template_release(*out);
out:
    return rc;
}

dk_chat_template *dk_chat_template_retain(const dk_chat_template *chat)
{
    dk_chat_template *same = (dk_chat_template *)chat;
    if (same) atomic_fetch_add(&same->references, 1);
    return same;
}

void dk_chat_template_release(dk_chat_template *chat)
{
    if (!chat || atomic_fetch_sub(&chat->references, 1) != 1) return;
    dk_chat_template_release(chat->with_tools);
    dk_tokenizer_release(chat->tok);
    dk_jinja_free(chat->jinja);
    dk_free(chat->host, chat->source);
    dk_free(chat->host, chat);
}

const char *dk_chat_source(const dk_chat_template *chat) { return chat->source; }
