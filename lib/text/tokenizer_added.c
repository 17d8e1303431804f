/* added_tokens of a tokenizer.json. */
#include "text/json_reader.h"

static int32_t flag(dk_json_reader *r, const dk_node *node, const char *key, int32_t fallback, uint8_t *out)
{
    int32_t value;
    int32_t rc = dk_node_bool(r->doc, node, key, fallback, &value, r->err);
    if (!rc) *out = (uint8_t)value;
    return rc;
}

static int32_t read_entry(dk_json_reader *r, const dk_node *node, int64_t next_id)
{
    int32_t rc;
    int64_t id = -1;
    dk_token_table *table = &r->tok->bpe.tokens;
    const dk_node *content = dk_node_get(node, "content");
    dk_added_token token = {0};
    if (node->type != DK_NODE_MAP || !content || content->type != DK_NODE_TEXT)
        return dk_malformed(r, "an entry of added_tokens", "an object with id and content");
    if (!content->size) return DK_OK;
    DK_TRY(dk_node_i64(r->doc, node, "id", 0, DK_TOKEN_LIMIT - 1, -1, &id, r->err));
    DK_TRY(flag(r, node, "special", 0, &token.special));
    DK_TRY(flag(r, node, "single_word", 0, &token.single_word));
    DK_TRY(flag(r, node, "lstrip", 0, &token.lstrip));
    DK_TRY(flag(r, node, "rstrip", 0, &token.rstrip));
    DK_TRY(flag(r, node, "normalized", !token.special, &token.normalized));
    int64_t known = dk_token_table_find(table, content->text, content->size);
    int64_t expected = known >= 0 ? known : next_id;
    if (id >= 0 && id != expected) /* the reference would go on with an id that the file does not state */
        return dk_fail(r->err, DK_E_FORMAT, "%s: added token '%.40s' has id %lld, but the vocabulary gives it %lld",
                       dk_document_name(r->doc), content->text, (long long)id, (long long)expected);
    if (known < 0) DK_TRY(dk_token_table_add(table, content->text, content->size, expected, DK_TOKEN_ADDED, r->err));
    token.id = (int32_t)expected;
    rc = dk_tokenizer_add(r->tok, &token, r->err);
out:
    return rc;
}

int32_t dk_read_added(dk_json_reader *r, const dk_node *list)
{
    int64_t model_count = (int64_t)r->tok->bpe.tokens.used, largest = -1;
    if (!list || list->type == DK_NODE_NULL) return DK_OK;
    if (list->type != DK_NODE_LIST) return dk_malformed(r, "added_tokens", "a list");
    for (size_t i = 0; i < list->size; i++) {
        /* the next free id as the reference counts: behind the model's tokens, or behind the largest added one */
        int64_t next = largest >= model_count ? largest + 1 : model_count;
        int32_t rc = read_entry(r, list->items[i], next);
        if (rc) return rc;
        if (r->tok->added_count && r->tok->added[r->tok->added_count - 1].id > largest)
            largest = r->tok->added[r->tok->added_count - 1].id;
    }
    return DK_OK;
}
