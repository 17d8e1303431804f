/* Added tokens: those of a tokenizer.json, and those that other files add to them. */
#include "text/json_reader.h"

#include "base/notes.h"

static int32_t flag(dk_json_reader *r, const dk_document *doc, const dk_node *node, const char *key, int32_t fallback,
                    uint8_t *out)
{
    int32_t value;
    int32_t rc = dk_node_bool(doc, node, key, fallback, &value, r->err);
    if (!rc) *out = (uint8_t)value;
    return rc;
}

int32_t dk_read_flags(dk_json_reader *r, const dk_document *doc, const dk_node *node, int32_t special,
                      dk_added_token *token)
{
    int32_t rc;
    DK_TRY(flag(r, doc, node, "special", special, &token->special));
    DK_TRY(flag(r, doc, node, "single_word", 0, &token->single_word));
    DK_TRY(flag(r, doc, node, "lstrip", 0, &token->lstrip));
    DK_TRY(flag(r, doc, node, "rstrip", 0, &token->rstrip));
    DK_TRY(flag(r, doc, node, "normalized", !token->special, &token->normalized));
out:
    return rc;
}

/* The next free id as the reference counts: behind the model's tokens, or behind the largest added one. */
static int64_t next_id(const dk_json_reader *r)
{
    return r->largest_added >= r->model_count ? r->largest_added + 1 : r->model_count;
}

static int32_t same_flags(const dk_added_token *a, const dk_added_token *b)
{
    return a->special == b->special && a->single_word == b->single_word && a->lstrip == b->lstrip &&
           a->rstrip == b->rstrip && a->normalized == b->normalized;
}

/* What is said last holds, but a special token stays one, as in the reference. */
static void replace_flags(dk_json_reader *r, const dk_document *doc, const char *text, dk_added_token *old,
                          dk_added_token token)
{
    token.special |= old->special;
    if (same_flags(old, &token)) return;
    dk_note(&r->tok->notes,
            "%s: '%.60s' has other flags than before and is used with special %d, lstrip %d, rstrip %d, single_word "
            "%d, normalized %d, as transformers does",
            dk_document_name(doc), text, token.special, token.lstrip, token.rstrip, token.single_word,
            token.normalized);
    *old = token;
    r->tok->bpe.tokens.items[token.id].flags |= (uint8_t)(token.special ? DK_TOKEN_SPECIAL : 0);
}

int32_t dk_add_token(dk_json_reader *r, const dk_document *doc, const char *text, size_t size, dk_added_token token,
                     int64_t stated)
{
    dk_token_table *table = &r->tok->bpe.tokens;
    if (!size) return DK_OK;
    int64_t known = dk_token_table_find(table, text, size), id = known >= 0 ? known : next_id(r);
    if (stated >= 0 && stated != id) /* the reference would go on with an id that the file does not state */
        return dk_fail(r->err, DK_E_FORMAT, "%s: added token '%.40s' has id %lld, but the vocabulary gives it %lld",
                       dk_document_name(doc), text, (long long)stated, (long long)id);
    if (known < 0) {
        int32_t rc = dk_token_table_add(table, text, size, id, DK_TOKEN_ADDED, r->err);
        if (rc) return rc;
        if (doc != r->doc)
            dk_note(&r->tok->notes, "%s: '%.60s' is not in tokenizer.json; it becomes token %lld, as in transformers",
                    dk_document_name(doc), text, (long long)id);
    }
    token.id = (int32_t)id;
    if (id > r->largest_added) r->largest_added = id;
    for (int64_t i = 0; i < r->tok->added_count && known >= 0 && doc != r->doc; i++)
        if (r->tok->added[i].id == id) return replace_flags(r, doc, text, &r->tok->added[i], token), DK_OK;
    return dk_tokenizer_add(r->tok, &token, r->err);
}

static int32_t read_entry(dk_json_reader *r, const dk_node *node)
{
    int32_t rc;
    int64_t id = -1;
    const dk_node *content = dk_node_get(node, "content");
    dk_added_token token = {0};
    if (node->type != DK_NODE_MAP || !content || content->type != DK_NODE_TEXT)
        return dk_malformed(r, "an entry of added_tokens", "an object with id and content");
    DK_TRY(dk_node_i64(r->doc, node, "id", 0, DK_TOKEN_LIMIT - 1, -1, &id, r->err));
    DK_TRY(dk_read_flags(r, r->doc, node, 0, &token));
    DK_TRY(dk_add_token(r, r->doc, content->text, content->size, token, id));
out:
    return rc;
}

int32_t dk_read_added(dk_json_reader *r, const dk_node *list)
{
    r->model_count = (int64_t)r->tok->bpe.tokens.used;
    r->largest_added = -1;
    if (!list || list->type == DK_NODE_NULL) return DK_OK;
    if (list->type != DK_NODE_LIST) return dk_malformed(r, "added_tokens", "a list");
    for (size_t i = 0; i < list->size; i++) {
        int32_t rc = read_entry(r, list->items[i]);
        if (rc) return rc;
    }
    return DK_OK;
}
