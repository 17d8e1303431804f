/* A tokenizer of some of another one's ids, renumbered in their order. A text whose ids are all kept has the same
 * tokens as before: every merge on the way to a kept token is kept, and the one that comes next is always the one of
 * lowest rank among all, so that none that is gone could have come before it. */
#include "text/tokenizer_impl.h"

typedef struct trimmer {
    const dk_tokenizer *tok;
    const int64_t *ids; /* [count] ascending */
    int64_t count;
    int64_t *number; /* [vocab_size] of an old id; -1 = it is gone */
    dk_strbuf joined;
} trimmer;

/* ---- what has to stay ---- */
static void keep(uint8_t *kept, int64_t id)
{
    if (id >= 0) kept[id] = 1;
}

static void keep_needed(const dk_tokenizer *tok, uint8_t *kept)
{
    for (int64_t i = 0; i < tok->added_count; i++) keep(kept, tok->added[i].id);
    for (int64_t i = 0; i < tok->before_count; i++) keep(kept, tok->before[i]);
    for (int64_t i = 0; i < tok->after_count; i++) keep(kept, tok->after[i]);
    for (int b = 0; b < 256; b++) keep(kept, tok->bpe.byte_ids[b]);
    for (int b = 0; b < 256; b++) keep(kept, tok->bad_byte_ids[b]);
    keep(kept, tok->bos);
    keep(kept, tok->eos);
    keep(kept, tok->pad);
    keep(kept, tok->unk);
}

static size_t letter_size(const char *text, size_t size)
{
    size_t n = 1;
    while (n < size && ((unsigned char)text[n] & 0xc0) == 0x80) n++;
    return n;
}

/* Of one word that spells a token: every letter and every token on the way to it. ids: room for its letters. */
static void keep_way(const dk_bpe *bpe, const dk_token *token, int64_t *ids, uint8_t *kept)
{
    const char *text = dk_token_text(&bpe->tokens, token);
    int64_t n = 0;
    for (size_t at = 0, step; at < token->size; at += step) {
        step = letter_size(text + at, token->size - at);
        ids[n] = dk_token_table_find_model(&bpe->tokens, text + at, step);
        if (ids[n++] < 0) return; /* it is found as a whole, or never */
    }
    for (;;) {
        const dk_merge *best = NULL;
        int64_t at = 0;
        for (int64_t i = 0; i < n; i++) keep(kept, ids[i]);
        for (int64_t i = 0; i + 1 < n; i++) {
            const dk_merge *merge = dk_merge_find(&bpe->merges, (int32_t)ids[i], (int32_t)ids[i + 1]);
            if (merge && (!best || merge->rank < best->rank)) best = merge, at = i;
        }
        if (!best) return;
        ids[at] = best->id;
        n--;
        memmove(ids + at + 1, ids + at + 2, (size_t)(n - at - 1) * sizeof *ids);
    }
}

int32_t dk_tokenizer_close_over(const dk_tokenizer *tok, uint8_t *kept, dk_error *err)
{
    const dk_bpe *bpe = &tok->bpe;
    size_t longest = 1;
    int64_t *ids = NULL;
    int32_t rc = DK_OK;
    if (bpe->prefix_size || bpe->suffix_size)
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "a vocabulary with continuing_subword_prefix or end_of_word_suffix cannot be trimmed");
    keep_needed(tok, kept);
    for (int64_t id = 0; id < bpe->tokens.count; id++)
        if (bpe->tokens.items[id].size > longest) longest = bpe->tokens.items[id].size;
    DK_TRY(dk_new(tok->host, (int64_t)longest, &ids, err));
    for (int64_t id = 0; id < bpe->tokens.count; id++)
        if (kept[id] && (bpe->tokens.items[id].flags & DK_TOKEN_MODEL))
            keep_way(bpe, &bpe->tokens.items[id], ids, kept);
out:
    dk_free(tok->host, ids);
    return rc;
}

/* ---- tokenizer.json ---- */
static int64_t number_of(const trimmer *t, int64_t id)
{
    return id >= 0 && id < dk_tokenizer_vocab_size(t->tok) ? t->number[id] : -1;
}

static void begin_item(dk_strbuf *out, int64_t written) { dk_strbuf_puts(out, written ? ",\n" : "\n"); }

static void write_vocab(const trimmer *t, dk_strbuf *out)
{
    const dk_token_table *tokens = &t->tok->bpe.tokens;
    int64_t written = 0;
    dk_strbuf_puts(out, "{");
    for (int64_t i = 0; i < t->count; i++) {
        const dk_token *token = &tokens->items[t->ids[i]];
        if (!(token->flags & DK_TOKEN_MODEL)) continue;
        begin_item(out, written++);
        dk_strbuf_json(out, dk_token_text(tokens, token), token->size);
        dk_strbuf_printf(out, ":%lld", (long long)i);
    }
    dk_strbuf_puts(out, "}");
}

static int32_t is_kept(const trimmer *t, const char *text, size_t size)
{
    return number_of(t, dk_token_table_find_model(&t->tok->bpe.tokens, text, size)) >= 0;
}

/* "left right", or [left, right]; kept with all three. */
static int32_t keeps_merge(trimmer *t, const dk_node *merge)
{
    const char *left, *right;
    size_t left_size, right_size;
    if (merge->type == DK_NODE_LIST) {
        left = merge->items[0]->text, left_size = merge->items[0]->size;
        right = merge->items[1]->text, right_size = merge->items[1]->size;
    } else {
        const char *gap = memchr(merge->text, ' ', merge->size);
        left = merge->text, left_size = gap ? (size_t)(gap - merge->text) : merge->size;
        right = left + left_size + (gap ? 1 : 0), right_size = merge->size - left_size - (gap ? 1 : 0);
    }
    dk_strbuf_clear(&t->joined);
    dk_strbuf_append(&t->joined, left, left_size);
    dk_strbuf_append(&t->joined, right, right_size);
    return is_kept(t, left, left_size) && is_kept(t, right, right_size) && is_kept(t, t->joined.data, t->joined.size);
}

static void write_merges(trimmer *t, const dk_node *merges, dk_strbuf *out)
{
    int64_t written = 0;
    dk_strbuf_puts(out, "[");
    for (size_t i = 0; i < merges->size; i++) {
        if (!keeps_merge(t, merges->items[i])) continue;
        begin_item(out, written++);
        dk_node_write_json(merges->items[i], out);
    }
    dk_strbuf_puts(out, "]");
}

static void write_key(const dk_node *item, int64_t written, dk_strbuf *out)
{
    begin_item(out, written);
    dk_strbuf_json(out, item->key, item->key_size);
    dk_strbuf_puts(out, ":");
}

static void write_model(trimmer *t, const dk_node *model, dk_strbuf *out)
{
    dk_strbuf_puts(out, "{");
    for (size_t i = 0; i < model->size; i++) {
        const dk_node *item = model->items[i];
        write_key(item, (int64_t)i, out);
        if (!strcmp(item->key, "vocab")) write_vocab(t, out);
        else if (!strcmp(item->key, "merges") && item->type == DK_NODE_LIST) write_merges(t, item, out);
        else dk_node_write_json(item, out);
    }
    dk_strbuf_puts(out, "}");
}

/* Ids inside a post-processor: lists called ids, and pairs of a text and an id. */
static void write_mapped(const trimmer *t, const dk_node *node, int32_t ids, dk_strbuf *out)
{
    const int32_t pair = node->type == DK_NODE_LIST && node->size == 2 && node->items[0]->type == DK_NODE_TEXT &&
                         node->items[1]->type == DK_NODE_INT;
    if (node->type == DK_NODE_INT && ids) {
        dk_strbuf_printf(out, "%lld", (long long)number_of(t, node->i64));
    } else if (node->type == DK_NODE_LIST) {
        dk_strbuf_puts(out, "[");
        for (size_t i = 0; i < node->size; i++) {
            if (i) dk_strbuf_puts(out, ",");
            write_mapped(t, node->items[i], ids || pair, out);
        }
        dk_strbuf_puts(out, "]");
    } else if (node->type == DK_NODE_MAP) {
        dk_strbuf_puts(out, "{");
        for (size_t i = 0; i < node->size; i++) {
            write_key(node->items[i], (int64_t)i, out);
            write_mapped(t, node->items[i], !strcmp(node->items[i]->key, "ids"), out);
        }
        dk_strbuf_puts(out, "}");
    } else {
        dk_node_write_json(node, out);
    }
}

static const char *flag(int32_t on) { return on ? "true" : "false"; }

/* All that are known, also those that only files beside tokenizer.json name. */
static void write_added(const trimmer *t, dk_strbuf *out)
{
    const dk_token_table *tokens = &t->tok->bpe.tokens;
    dk_strbuf_puts(out, "[");
    for (int64_t i = 0, written = 0; i < t->count; i++)
        for (int64_t k = 0; k < t->tok->added_count; k++) {
            const dk_added_token *a = &t->tok->added[k];
            if (a->id != t->ids[i]) continue;
            const dk_token *token = &tokens->items[a->id];
            begin_item(out, written++);
            dk_strbuf_printf(out, "{\"id\":%lld,\"content\":", (long long)i);
            dk_strbuf_json(out, dk_token_text(tokens, token), token->size);
            dk_strbuf_printf(out, ",\"single_word\":%s,\"lstrip\":%s,\"rstrip\":%s,\"normalized\":%s,\"special\":%s}",
                             flag(a->single_word), flag(a->lstrip), flag(a->rstrip), flag(a->normalized),
                             flag(a->special));
        }
    dk_strbuf_puts(out, "]");
}

static int32_t write_json(trimmer *t, dk_strbuf *out, dk_error *err)
{
    dk_strbuf whole;
    dk_document *doc = NULL;
    int32_t rc;
    dk_strbuf_init(&whole, t->tok->host);
    DK_TRY(dk_tokenizer_write_json(t->tok, &whole, err));
    DK_TRY(dk_json_parse(t->tok->host, whole.data, whole.size, "tokenizer.json", &doc, err));
    const dk_node *root = dk_document_root(doc), *model = dk_node_get(root, "model");
    if (!model || !dk_node_get(model, "vocab") || dk_node_get(model, "vocab")->type != DK_NODE_MAP ||
        !dk_node_get(model, "merges"))
        DK_TRY(dk_fail(err, DK_E_UNSUPPORTED, "only a BPE vocabulary can be trimmed: this one has no merges"));
    dk_strbuf_puts(out, "{");
    for (size_t i = 0; i < root->size; i++) {
        const dk_node *item = root->items[i];
        write_key(item, (int64_t)i, out);
        if (item == model) write_model(t, model, out);
        else if (!strcmp(item->key, "added_tokens")) write_added(t, out);
        else if (!strcmp(item->key, "post_processor")) write_mapped(t, item, 0, out);
        else dk_node_write_json(item, out);
    }
    dk_strbuf_puts(out, "}\n");
    rc = dk_strbuf_check(out, err);
out:
    dk_document_free(doc);
    dk_strbuf_free(&whole);
    return rc;
}

/* ---- tokenizer_config.json: without ids, which tokenizer.json has all of ---- */
static void write_named(const trimmer *t, const char *key, int64_t id, int64_t *written, dk_strbuf *out)
{
    size_t size = 0;
    const char *text = id >= 0 ? dk_tokenizer_id_text(t->tok, id, &size) : NULL;
    if (!text) return;
    begin_item(out, (*written)++);
    dk_strbuf_printf(out, "\"%s\":", key);
    dk_strbuf_json(out, text, size);
}

static void write_templates(const dk_tokenizer *tok, int64_t *written, dk_strbuf *out)
{
    if (!tok->chat_template) return;
    begin_item(out, (*written)++);
    dk_strbuf_puts(out, tok->tool_template ? "\"chat_template\":[{\"name\":\"default\",\"template\":"
                                           : "\"chat_template\":");
    dk_strbuf_json(out, tok->chat_template, strlen(tok->chat_template));
    if (!tok->tool_template) return;
    dk_strbuf_puts(out, "},{\"name\":\"tool_use\",\"template\":");
    dk_strbuf_json(out, tok->tool_template, strlen(tok->tool_template));
    dk_strbuf_puts(out, "}]");
}

static int32_t write_config(const trimmer *t, dk_strbuf *out, dk_error *err)
{
    static const char *const own[] = {"added_tokens_decoder", "bos_token", "eos_token", "pad_token", "unk_token",
                                      "chat_template"};
    const dk_tokenizer *tok = t->tok;
    dk_strbuf whole;
    dk_document *doc = NULL;
    int64_t written = 0;
    int32_t rc;
    dk_strbuf_init(&whole, tok->host);
    DK_TRY(dk_tokenizer_write_config(tok, &whole, err));
    DK_TRY(dk_json_parse(tok->host, whole.data, whole.size, "tokenizer_config.json", &doc, err));
    const dk_node *root = dk_document_root(doc);
    dk_strbuf_puts(out, "{");
    for (size_t i = 0; i < root->size; i++) {
        int32_t skip = 0;
        for (size_t k = 0; k < sizeof own / sizeof *own; k++) skip |= !strcmp(root->items[i]->key, own[k]);
        if (skip) continue;
        write_key(root->items[i], written++, out);
        dk_node_write_json(root->items[i], out);
    }
    write_named(t, "bos_token", tok->bos, &written, out);
    write_named(t, "eos_token", tok->eos, &written, out);
    write_named(t, "pad_token", tok->pad, &written, out);
    write_named(t, "unk_token", tok->unk, &written, out);
    write_templates(tok, &written, out);
    dk_strbuf_puts(out, "}\n");
    rc = dk_strbuf_check(out, err);
out:
    dk_document_free(doc);
    dk_strbuf_free(&whole);
    return rc;
}

/* ---- together ---- */
/* The new tokenizer says of every id what the old one said of its own. */
static int32_t check_same(const trimmer *t, const dk_tokenizer *made, dk_error *err)
{
    if (dk_tokenizer_vocab_size(made) != t->count || dk_tokenizer_adds_bos(made) != dk_tokenizer_adds_bos(t->tok) ||
        made->before_count != t->tok->before_count || made->after_count != t->tok->after_count)
        return dk_fail(err, DK_E_UNSUPPORTED, "a tokenizer of %lld ids came out with %lld, or begins texts otherwise",
                       (long long)t->count, (long long)dk_tokenizer_vocab_size(made));
    for (int64_t i = 0; i < t->count; i++) {
        size_t size = 0, old_size = 0;
        const char *text = dk_tokenizer_id_text(made, i, &size),
                   *old = dk_tokenizer_id_text(t->tok, t->ids[i], &old_size);
        if (!text != !old || size != old_size || (text && memcmp(text, old, size) != 0) ||
            dk_tokenizer_is_special(made, i) != dk_tokenizer_is_special(t->tok, t->ids[i]))
            return dk_fail(err, DK_E_UNSUPPORTED, "token %lld of a trimmed vocabulary is not what token %lld was",
                           (long long)i, (long long)t->ids[i]);
    }
    return DK_OK;
}

static int32_t read_back(const trimmer *t, const dk_strbuf texts[2], dk_tokenizer **out, dk_error *err)
{
    dk_document *docs[2] = {NULL, NULL};
    dk_tokenizer *made = NULL;
    int32_t rc;
    DK_TRY(dk_json_parse(t->tok->host, texts[0].data, texts[0].size, "the trimmed tokenizer.json", &docs[0], err));
    DK_TRY(
        dk_json_parse(t->tok->host, texts[1].data, texts[1].size, "the trimmed tokenizer_config.json", &docs[1], err));
    DK_TRY(dk_tokenizer_from_json(t->tok->host, docs[0], docs[1], &made, err));
    if (made->eos < 0 && t->tok->eos >= 0) dk_tokenizer_set_eos(made, t->number[t->tok->eos]);
    DK_TRY(check_same(t, made, err));
    *out = made;
    made = NULL;
out:
    dk_tokenizer_release(made);
    for (int i = 0; i < 2; i++) dk_document_free(docs[i]);
    return rc;
}

int32_t dk_tokenizer_trim(const dk_tokenizer *tok, const int64_t *ids, int64_t count, dk_tokenizer **out, dk_error *err)
{
    const int64_t size = dk_tokenizer_vocab_size(tok);
    trimmer t = {.tok = tok, .ids = ids, .count = count};
    dk_strbuf texts[2];
    int32_t rc;
    dk_strbuf_init(&t.joined, tok->host);
    for (int i = 0; i < 2; i++) dk_strbuf_init(&texts[i], tok->host);
    DK_TRY(dk_new(tok->host, size, &t.number, err));
    for (int64_t id = 0; id < size; id++) t.number[id] = -1;
    for (int64_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= size || (i && ids[i] <= ids[i - 1]))
            DK_TRY(dk_fail(err, DK_E_INVALID, "ids: %lld is not behind the one before it, or not in [0, %lld)",
                           (long long)ids[i], (long long)size));
        t.number[ids[i]] = i;
    }
    DK_TRY(write_json(&t, &texts[0], err));
    DK_TRY(write_config(&t, &texts[1], err));
    DK_TRY(read_back(&t, texts, out, err));
out:
    dk_free(tok->host, t.number);
    dk_strbuf_free(&t.joined);
    for (int i = 0; i < 2; i++) dk_strbuf_free(&texts[i]);
    return rc;
}
