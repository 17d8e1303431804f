/* The model of a tokenizer.json: BPE's vocabulary, merges and switches, or Unigram's vocabulary with scores. */
#include "text/json_reader.h"

#include "base/notes.h"

#include <math.h>

static int32_t read_vocabulary(dk_json_reader *r, const dk_node *vocab)
{
    if (!vocab || vocab->type != DK_NODE_MAP) return dk_malformed(r, "vocab", "an object of token: id");
    int32_t rc = dk_token_table_reserve(&r->tok->bpe.tokens, (int64_t)vocab->size + 1, r->err);
    for (size_t i = 0; i < vocab->size && !rc; i++) {
        const dk_node *entry = vocab->items[i];
        if (entry->type != DK_NODE_INT) return dk_malformed(r, "an id in vocab", "an integer");
        rc = dk_token_table_add(&r->tok->bpe.tokens, entry->key, entry->key_size, entry->i64, DK_TOKEN_MODEL, r->err);
        if (rc) dk_error_context(r->err, "%s", dk_document_name(r->doc));
    }
    return rc;
}

/* "left right", or ["left", "right"] in newer files */
static int32_t read_pair(dk_json_reader *r, const dk_node *node, dk_slice pair[2])
{
    if (node->type == DK_NODE_TEXT) {
        const char *space = memchr(node->text, ' ', node->size);
        size_t left = space ? (size_t)(space - node->text) : 0;
        if (!space || memchr(space + 1, ' ', node->size - left - 1))
            return dk_malformed(r, "a merge", "\"left right\"");
        pair[0] = (dk_slice){node->text, left};
        pair[1] = (dk_slice){space + 1, node->size - left - 1};
        return DK_OK;
    }
    const dk_node *left = dk_node_at(node, 0), *right = dk_node_at(node, 1);
    if (node->type != DK_NODE_LIST || node->size != 2 || left->type != DK_NODE_TEXT || right->type != DK_NODE_TEXT)
        return dk_malformed(r, "a merge", "\"left right\" or [\"left\", \"right\"]");
    pair[0] = (dk_slice){left->text, left->size};
    pair[1] = (dk_slice){right->text, right->size};
    return DK_OK;
}

static int32_t read_merges(dk_json_reader *r, const dk_node *merges)
{
    dk_strbuf joined;
    dk_strbuf_init(&joined, r->tok->host);
    if (!merges || merges->type != DK_NODE_LIST) return dk_malformed(r, "merges", "a list");
    if (merges->size > DK_TOKEN_LIMIT) return dk_malformed(r, "merges", "a list of at most 16777216");
    int32_t rc = dk_merge_table_init(&r->tok->bpe.merges, r->tok->host, merges->size, r->err);
    for (size_t i = 0; i < merges->size && !rc; i++) {
        dk_slice pair[2] = {{0}};
        rc = read_pair(r, merges->items[i], pair);
        if (rc) break;
        rc = dk_bpe_add_merge(&r->tok->bpe, pair[0].data, pair[0].size, pair[1].data, pair[1].size, (uint32_t)i,
                              &joined, r->err);
        if (rc) dk_error_context(r->err, "%s", dk_document_name(r->doc));
    }
    dk_strbuf_free(&joined);
    return rc;
}

static int32_t read_affix(dk_json_reader *r, const dk_node *model, const char *key, char **out, size_t *size)
{
    const char *text;
    int32_t rc = dk_node_text(r->doc, model, key, "", &text, r->err);
    if (rc || !*text) return rc;
    *size = strlen(text);
    *out = dk_strdup(r->tok->host, text);
    return *out ? DK_OK : dk_fail_nomem(r->err, *size);
}

static int32_t read_switches(dk_json_reader *r, const dk_node *model)
{
    int32_t rc;
    double dropout;
    dk_bpe *bpe = &r->tok->bpe;
    const dk_node *unk = dk_node_get(model, "unk_token");
    DK_TRY(dk_node_bool(r->doc, model, "fuse_unk", 0, &bpe->fuse_unk, r->err));
    DK_TRY(dk_node_bool(r->doc, model, "byte_fallback", 0, &bpe->byte_tokens, r->err));
    DK_TRY(dk_node_bool(r->doc, model, "ignore_merges", 0, &bpe->ignore_merges, r->err));
    DK_TRY(dk_node_f64(r->doc, model, "dropout", 0, &dropout, r->err));
    if (dropout != 0) return dk_unsupported(r, "dropout", "other than null", "null (ids would be random)");
    if (!unk || unk->type == DK_NODE_NULL) goto out;
    if (unk->type != DK_NODE_TEXT) return dk_malformed(r, "unk_token", "text");
    bpe->unk = (int32_t)dk_token_table_find(&bpe->tokens, unk->text, unk->size);
    if (bpe->unk < 0)
        rc = dk_fail(r->err, DK_E_FORMAT, "%s: unk_token '%.40s' is not in vocab", dk_document_name(r->doc), unk->text);
out:
    return rc;
}

/* ---- Unigram: [["text", score], ...], ids in order ---- */
static int32_t read_scored(dk_json_reader *r, const dk_node *vocab)
{
    int32_t rc = DK_OK;
    dk_unigram *unigram = &r->tok->unigram;
    for (size_t i = 0; i < vocab->size; i++) {
        const dk_node *text = dk_node_at(vocab->items[i], 0), *score = dk_node_at(vocab->items[i], 1);
        if (!score || text->type != DK_NODE_TEXT || (score->type != DK_NODE_FLOAT && score->type != DK_NODE_INT))
            return dk_malformed(r, "an entry of vocab", "[\"token\", score]");
        unigram->scores[i] = score->type == DK_NODE_INT ? (double)score->i64 : score->f64;
        if (!isfinite(unigram->scores[i])) return dk_malformed(r, "a score in vocab", "a finite number");
        rc = dk_token_table_add(&r->tok->bpe.tokens, text->text, text->size, (int64_t)i, DK_TOKEN_MODEL, r->err);
        if (rc) return dk_error_context(r->err, "%s", dk_document_name(r->doc)), rc;
    }
    return rc;
}

static int32_t read_unigram(dk_json_reader *r, const dk_node *node)
{
    int32_t rc;
    int64_t unk;
    dk_tokenizer *tok = r->tok;
    const dk_node *vocab = dk_node_get(node, "vocab"), *unk_id = dk_node_get(node, "unk_id");
    if (!vocab || vocab->type != DK_NODE_LIST || !vocab->size || vocab->size > DK_TOKEN_LIMIT)
        return dk_malformed(r, "vocab", "a list of 1 to 16777216 [token, score]");
    DK_TRY(dk_token_table_reserve(&tok->bpe.tokens, (int64_t)vocab->size, r->err));
    DK_TRY(dk_new(tok->host, vocab->size, &tok->unigram.scores, r->err));
    tok->unigram.count = (int64_t)vocab->size;
    DK_TRY(read_scored(r, vocab));
    DK_TRY(dk_node_bool(r->doc, node, "byte_fallback", 0, &tok->bpe.byte_tokens, r->err));
    if (unk_id && unk_id->type != DK_NODE_NULL) {
        DK_TRY(dk_node_i64(r->doc, node, "unk_id", 0, (int64_t)vocab->size - 1, -1, &unk, r->err));
        tok->bpe.unk = (int32_t)unk;
    } else {
        dk_note(&tok->notes, "%s: has no unknown token: texts with a character that is no token are refused",
                dk_document_name(r->doc));
    }
    tok->unigram.by_text = 1;
    rc = dk_unigram_build(&tok->unigram, &tok->bpe, r->err);
out:
    return rc;
}

static int32_t refuse_model(dk_json_reader *r, const char *type)
{
    if (!strcmp(type, "WordPiece") || !strcmp(type, "WordLevel"))
        return dk_fail(r->err, DK_E_UNSUPPORTED,
                       "%s: model '%s' is not supported: its words do not keep their spaces, so that no text comes "
                       "back from it as it was, and models that write text are not trained with it; supported: BPE, "
                       "Unigram",
                       dk_document_name(r->doc), type);
    return dk_unsupported(r, "model", type, "BPE, Unigram");
}

/* Old files do not say what it is: the first of the kinds whose parts are there. */
static const char *guess_type(const dk_node *node)
{
    const dk_node *vocab = dk_node_get(node, "vocab");
    if (dk_node_get(node, "merges")) return "BPE";
    return vocab && vocab->type == DK_NODE_LIST ? "Unigram" : NULL;
}

int32_t dk_read_model(dk_json_reader *r, const dk_node *node)
{
    int32_t rc;
    dk_bpe *bpe = &r->tok->bpe;
    if (node->type != DK_NODE_MAP) return dk_malformed(r, "model", "an object");
    const char *type = dk_node_get(node, "type") ? NULL : guess_type(node);
    if (!type) DK_TRY(dk_read_type(r, node, "model", &type));
    if (!strcmp(type, "Unigram")) return read_unigram(r, node);
    if (strcmp(type, "BPE") != 0) return refuse_model(r, type);
    DK_TRY(read_affix(r, node, "continuing_subword_prefix", &bpe->prefix, &bpe->prefix_size));
    DK_TRY(read_affix(r, node, "end_of_word_suffix", &bpe->suffix, &bpe->suffix_size));
    DK_TRY(read_vocabulary(r, dk_node_get(node, "vocab")));
    DK_TRY(read_switches(r, node));
    DK_TRY(read_merges(r, dk_node_get(node, "merges")));
out:
    return rc;
}
