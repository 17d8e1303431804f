/* tokenizer_config.json: the names of special tokens, and the chat template. */
#include "text/json_reader.h"

static int32_t read_special_id(dk_json_reader *r, const dk_document *config, const char *key, int64_t *out)
{
    const dk_node *node = dk_node_get(dk_document_root(config), key);
    if (node && node->type == DK_NODE_MAP) node = dk_node_get(node, "content");
    if (!node || node->type == DK_NODE_NULL) return DK_OK;
    if (node->type != DK_NODE_TEXT)
        return dk_fail(r->err, DK_E_FORMAT, "%s: %s must be a token's text", dk_document_name(config), key);
    int64_t id = dk_tokenizer_text_id(r->tok, node->text, node->size);
    if (id >= 0) *out = id;
    return DK_OK;
}

static const dk_node *find_template(const dk_node *root)
{
    const dk_node *node = dk_node_get(root, "chat_template");
    if (node && node->type == DK_NODE_LIST) { /* several by name */
        const dk_node *chosen = NULL;
        for (size_t i = 0; i < node->size; i++)
            if (dk_node_is_text(dk_node_get(node->items[i], "name"), "default"))
                chosen = dk_node_get(node->items[i], "template");
        node = chosen;
    }
    return node && node->type == DK_NODE_TEXT ? node : NULL;
}

int32_t dk_read_tokenizer_config(dk_json_reader *r, const dk_document *config)
{
    int32_t rc;
    dk_tokenizer *tok = r->tok;
    DK_TRY(read_special_id(r, config, "bos_token", &tok->bos));
    DK_TRY(read_special_id(r, config, "eos_token", &tok->eos));
    DK_TRY(read_special_id(r, config, "pad_token", &tok->pad));
    DK_TRY(read_special_id(r, config, "unk_token", &tok->unk));
    const dk_node *chat = find_template(dk_document_root(config));
    if (chat && !tok->chat_template && !(tok->chat_template = dk_strndup(tok->host, chat->text, chat->size)))
        rc = dk_fail_nomem(r->err, chat->size);
out:
    return rc;
}
