/* chat_keys.c - keys of messages that a template does not read: they would change nothing, in silence. */
#include "chat/chat_parts.h"

#include <string.h>

int32_t dk_chat_reads_key(const dk_chat_template *chat, const char *key)
{
    static const char *const reasons[] = {"reasoning_content", "thinking", "reasoning"};
    int32_t is_reason = 0;
    for (int32_t i = 0; i < 3; i++) is_reason |= !strcmp(key, reasons[i]);
    for (int32_t i = 0; is_reason && i < 2; i++) /* the names that it is given under */
        if (dk_chat_reads(chat, reasons[i])) return 1;
    return dk_chat_reads(chat, key);
}

static int32_t says_nothing(const dk_node *node)
{
    if (node->type == DK_NODE_LIST || node->type == DK_NODE_MAP || node->type == DK_NODE_TEXT) return node->size == 0;
    return node->type == DK_NODE_NULL;
}

static int32_t is_unread(const dk_chat_template *chat, const dk_node *item)
{
    return strcmp(item->key, "role") != 0 && strcmp(item->key, "content") != 0 && !says_nothing(item) &&
           !dk_chat_reads_key(chat, item->key);
}

/* The first key of all messages that the template has no word for; NULL = none. */
static const dk_node *find_unread(const dk_chat_template *chat, const dk_chat_talk *talk, int64_t *message)
{
    for (int64_t i = 0; i < talk->count; i++)
        for (size_t k = 0; talk->messages[i]->type == DK_NODE_MAP && k < talk->messages[i]->size; k++)
            if (is_unread(chat, talk->messages[i]->items[k])) return *message = i + 1, talk->messages[i]->items[k];
    return NULL;
}

static void write_pair(const dk_node *item, int32_t first, dk_strbuf *out)
{
    if (!first) dk_strbuf_puts(out, ",");
    dk_strbuf_json(out, item->key, item->key_size);
    dk_strbuf_puts(out, ":");
    dk_node_write_json(item, out);
}

/* The messages without such keys, as a list. */
static void write_without(const dk_chat_template *chat, const dk_chat_talk *talk, dk_strbuf *out)
{
    for (int64_t i = 0; i < talk->count; i++) {
        const dk_node *message = talk->messages[i];
        int32_t written = 0;
        dk_strbuf_puts(out, i ? ",{" : "[{");
        for (size_t k = 0; k < message->size; k++)
            if (!is_unread(chat, message->items[k])) write_pair(message->items[k], !written++, out);
        dk_strbuf_puts(out, "}");
    }
    dk_strbuf_puts(out, "]");
}

static int32_t render_without(dk_host *host, const dk_chat_template *chat, const dk_chat_talk *talk, dk_chat *out,
                              dk_error *err)
{
    dk_chat_talk without = *talk;
    dk_document *document = NULL;
    dk_strbuf json;
    int32_t rc;
    dk_strbuf_init(&json, host);
    write_without(chat, talk, &json);
    DK_TRY(dk_strbuf_check(&json, err));
    DK_TRY(dk_json_parse(host, json.data, json.size, "messages", &document, err));
    without.messages = dk_document_root(document)->items;
    rc = dk_chat_render(host, chat, &without, out, err);
out:
    dk_document_free(document);
    dk_strbuf_free(&json);
    return rc;
}

/* A template may take a message whole (tojson, items), so that a key counts without a word for it: the text tells. */
int32_t dk_chat_check_keys(dk_host *host, const dk_chat_template *chat, const dk_chat_talk *talk, const dk_chat *whole,
                           dk_error *err)
{
    int64_t message = 0;
    const dk_node *key = find_unread(chat, talk, &message);
    dk_chat without = {0};
    int32_t rc = DK_OK;
    if (!key) return DK_OK;
    const int32_t made = render_without(host, chat, talk, &without, err);
    if (made == DK_E_NOMEM) return made;
    dk_error_clear(err); /* one that cannot do without the key reads it */
    if (made == DK_OK && without.size == whole->size && !memcmp(without.text, whole->text, whole->size))
        rc = dk_fail(err, DK_E_INVALID, "message %lld: the chat template does not read \"%.40s\": leave it out",
                     (long long)message, key->key);
    dk_chat_free(&without);
    return rc;
}
