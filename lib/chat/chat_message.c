#include "chat/chat_parts.h"

#include <string.h>

static const char *const reasoning_keys[] = {"reasoning_content", "thinking", "reasoning"};

typedef struct made { /* a message as the template is given it; what it points to lives as long as this */
    dk_node node, content, reasoning, thinking;
    const dk_node **items;
    dk_strbuf text;
} made;

static int32_t is_key(const dk_node *item, const char *key)
{
    return item->key_size == strlen(key) && !memcmp(item->key, key, item->key_size);
}

static int32_t join_parts(const dk_node *list, dk_strbuf *out, dk_error *err)
{
    for (size_t i = 0; i < list->size; i++) {
        const dk_node *text = dk_node_get(list->items[i], "text");
        if (!text || text->type != DK_NODE_TEXT)
            return dk_fail(err, DK_E_INVALID, "part %zu of the content is no text, and the template takes texts alone",
                           i + 1);
        dk_strbuf_append(out, text->text, text->size);
    }
    return dk_strbuf_check(out, err);
}

static int32_t make_content(made *m, const dk_node *item, int32_t takes_parts, const char *tail, dk_error *err)
{
    int32_t rc = DK_OK;
    m->content = *item;
    if (item->type == DK_NODE_LIST && takes_parts && !tail) return DK_OK;
    if (item->type == DK_NODE_LIST) DK_TRY(join_parts(item, &m->text, err));
    else if (item->type != DK_NODE_TEXT || !tail) return DK_OK;
    else dk_strbuf_append(&m->text, item->text, item->size);
    if (tail) dk_strbuf_puts(&m->text, tail);
    DK_TRY(dk_strbuf_check(&m->text, err));
    m->content.type = DK_NODE_TEXT;
    m->content.text = m->text.data ? m->text.data : "";
    m->content.size = m->text.size;
out:
    return rc;
}

static const dk_node *find_reasoning(const dk_node *message)
{
    for (size_t i = 0; i < sizeof reasoning_keys / sizeof *reasoning_keys; i++) {
        const dk_node *found = dk_node_get(message, reasoning_keys[i]);
        if (found && found->type != DK_NODE_NULL) return found;
    }
    return NULL;
}

static void rename_node(const dk_node *from, const char *key, dk_node *out)
{
    *out = *from;
    out->key = key;
    out->key_size = strlen(key);
}

static int32_t make(made *m, const dk_node *message, int32_t takes_parts, const char *tail, dk_error *err)
{
    const dk_node *reasoning = find_reasoning(message), *thinking = dk_node_get(message, "thinking");
    int32_t rc = DK_OK, has_reasoning = 0;
    m->node = (dk_node){.type = DK_NODE_MAP, .items = m->items};
    if (reasoning) {
        rename_node(thinking && thinking->type != DK_NODE_NULL ? thinking : reasoning, "thinking", &m->thinking);
        rename_node(reasoning, "reasoning_content", &m->reasoning);
        m->items[m->node.size++] = &m->thinking;
    }
    for (size_t i = 0; i < message->size; i++) {
        const dk_node *item = message->items[i];
        if (item->type == DK_NODE_NULL || (reasoning && is_key(item, "thinking"))) continue;
        if (is_key(item, "content")) {
            DK_TRY(make_content(m, item, takes_parts, tail, err));
            item = &m->content;
        }
        if (reasoning && is_key(item, "reasoning_content")) item = &m->reasoning, has_reasoning = 1;
        m->items[m->node.size++] = item;
    }
    if (reasoning && !has_reasoning) m->items[m->node.size++] = &m->reasoning;
out:
    return rc;
}

int32_t dk_chat_add_message(dk_jinja_context *context, dk_host *host, const dk_node *message, int32_t takes_parts,
                            const char *tail, uint16_t origin, dk_error *err)
{
    made m = {0};
    int32_t rc;
    dk_strbuf_init(&m.text, host);
    if (message->type != DK_NODE_MAP) {
        rc = dk_fail(err, DK_E_INVALID, "message %d must be an object with role and content", (int)origin);
        goto out;
    }
    DK_TRY(dk_new(host, message->size + 2, &m.items, err));
    DK_TRY(make(&m, message, takes_parts, tail, err));
    rc = dk_jinja_append_node(context, "messages", &m.node, origin, "role", err);
out:
    dk_strbuf_free(&m.text);
    dk_free(host, m.items);
    return rc;
}
