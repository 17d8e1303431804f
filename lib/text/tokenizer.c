#include "text/codepoint.h"
#include "text/tokenizer_impl.h"

#include "base/hash.h"

int32_t dk_tokenizer_new(dk_host *host, dk_tokenizer **out, dk_error *err)
{
    dk_tokenizer *tok;
    int32_t rc = dk_new(host, 1, &tok, err);
    if (rc) return rc;
    tok->host = dk_host_retain(host);
    atomic_init(&tok->references, 1);
    for (int32_t i = 0; i < DK_SCRATCH_SLOTS; i++) atomic_init(&tok->pool[i], NULL);
    dk_token_table_init(&tok->bpe.tokens, host);
    dk_strbuf_init(&tok->respelled, host);
    dk_strbuf_init(&tok->notes, host);
    tok->bpe.unk = -1;
    tok->bos = tok->eos = tok->pad = tok->unk = -1;
    tok->raw_trie.only = tok->normal_trie.only = tok->special_trie.only = -1;
    *out = tok;
    return DK_OK;
}

dk_tokenizer *dk_tokenizer_retain(const dk_tokenizer *tok)
{
    dk_tokenizer *owner = (dk_tokenizer *)tok;
    atomic_fetch_add(&owner->references, 1);
    return owner;
}

void dk_tokenizer_release(dk_tokenizer *tok)
{
    if (!tok || atomic_fetch_sub(&tok->references, 1) != 1) return;
    dk_host *host = tok->host;
    for (int32_t i = 0; i < DK_SCRATCH_SLOTS; i++) dk_text_scratch_free(atomic_load(&tok->pool[i]));
    dk_bpe_free(&tok->bpe);
    dk_unigram_free(host, &tok->unigram);
    dk_strbuf_free(&tok->respelled);
    dk_steps_free(host, &tok->normalizer);
    dk_steps_free(host, &tok->pre);
    dk_steps_free(host, &tok->decoder);
    dk_trie_free(host, &tok->raw_trie);
    dk_trie_free(host, &tok->normal_trie);
    dk_trie_free(host, &tok->special_trie);
    dk_strbuf_free(&tok->notes);
    void *blocks[] = {tok->added, tok->before, tok->after, tok->chat_template, tok->tool_template};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) dk_free(host, blocks[i]);
    for (int32_t i = 0; i < DK_TOKENIZER_FILES; i++) dk_free(host, tok->files[i].data);
    dk_free(host, tok);
    dk_host_release(host);
}

int32_t dk_tokenizer_add(dk_tokenizer *tok, const dk_added_token *token, dk_error *err)
{
    if ((tok->added_count & (tok->added_count - 1)) == 0) { /* grows at powers of two */
        uint64_t capacity = tok->added_count ? (uint64_t)tok->added_count * 2 : 1;
        dk_added_token *added = dk_realloc(tok->host, tok->added, capacity, sizeof *added);
        if (!added) return dk_fail_nomem(err, capacity * sizeof *added);
        tok->added = added;
    }
    tok->added[tok->added_count++] = *token;
    tok->bpe.tokens.items[token->id].flags |= (uint8_t)(DK_TOKEN_ADDED | (token->special ? DK_TOKEN_SPECIAL : 0));
    return DK_OK;
}

/* The text that a token is found by: a normalized one is searched in normalised text. */
static int32_t add_to_trie(dk_tokenizer *tok, dk_text_scratch *scratch, int64_t i, dk_error *err)
{
    const dk_token *entry = &tok->bpe.tokens.items[tok->added[i].id];
    const char *text = dk_token_text(&tok->bpe.tokens, entry);
    size_t size = entry->size;
    int32_t rc =
        tok->added[i].special ? dk_trie_add(tok->host, &tok->special_trie, text, size, (int32_t)i, err) : DK_OK;
    if (rc) return rc;
    if (tok->added[i].normalized == DK_ADDED_AS_SPELLED)
        return dk_trie_add(tok->host, &tok->normal_trie, text, size, (int32_t)i, err);
    if (!tok->added[i].normalized) return dk_trie_add(tok->host, &tok->raw_trie, text, size, (int32_t)i, err);
    dk_normal_text normal;
    rc = dk_normalise(&tok->normalizer, scratch->regex, scratch->normal, 0, text, size, &normal, err);
    if (rc) return rc;
    text = normal.text;
    size = normal.size;
    if (size != entry->size || memcmp(text, dk_token_text(&tok->bpe.tokens, entry), size) != 0) {
        tok->bpe.tokens.items[tok->added[i].id].flags |= DK_TOKEN_RESPELLED;
        tok->added[i].offset = (uint32_t)tok->respelled.size;
        tok->added[i].size = (uint32_t)size;
        dk_strbuf_append(&tok->respelled, text, size);
        if ((rc = dk_strbuf_check(&tok->respelled, err))) return rc;
    }
    return dk_trie_add(tok->host, &tok->normal_trie, text, size, (int32_t)i, err);
}

static int64_t byte_token(const dk_tokenizer *tok, int32_t byte, int32_t letters)
{
    char text[8] = "<0x00>";
    size_t size = 6;
    if (letters) {
        size = dk_codepoint_write(dk_byte_letter((uint8_t)byte), text);
    } else {
        text[3] = "0123456789ABCDEF"[byte >> 4];
        text[4] = "0123456789ABCDEF"[byte & 15];
    }
    return dk_token_table_find_model(&tok->bpe.tokens, text, size);
}

/* Which tokens single bytes have, as pieces of text and as words of their own. */
static void find_byte_tokens(dk_tokenizer *tok)
{
    dk_bpe *bpe = &tok->bpe;
    int32_t letters = 0, all = 1;
    for (int32_t i = 0; i < tok->pre.count; i++) letters |= tok->pre.items[i].kind == DK_STEP_BYTES;
    for (int32_t i = 0; i < tok->normalizer.count; i++) letters |= tok->normalizer.items[i].kind == DK_STEP_BYTES;
    for (int32_t b = 0; b < 256; b++) {
        int64_t letter = letters ? byte_token(tok, b, 1) : -1, token = bpe->byte_tokens ? byte_token(tok, b, 0) : -1;
        tok->bad_byte_ids[b] = (int32_t)(letter >= 0 ? letter : token);
        tok->keeps_byte[b] = tok->bad_byte_ids[b] >= 0;
        bpe->byte_ids[b] = (int32_t)(letters ? letter : token);
        all &= letter >= 0;
    }
    if (!letters || tok->unigram.scores || bpe->prefix || bpe->suffix || !all || !tok->pre.count) all = 0;
    tok->letters_last = all && tok->pre.items[tok->pre.count - 1].kind == DK_STEP_BYTES;
    bpe->raw_bytes = tok->letters_last;
    if (letters && !bpe->raw_bytes) /* the model sees letters as characters */
        for (int32_t b = 0; b < 256; b++) bpe->byte_ids[b] = bpe->byte_tokens ? (int32_t)byte_token(tok, b, 0) : -1;
}

static void hash_tokens(dk_tokenizer *tok)
{
    dk_sha256 sha;
    dk_sha256_begin(&sha);
    for (int64_t id = 0; id < tok->bpe.tokens.count; id++) {
        const dk_token *token = &tok->bpe.tokens.items[id];
        if (!token->flags || token->flags & DK_TOKEN_HIDDEN) continue;
        uint8_t head[9] = {(uint8_t)id,
                           (uint8_t)(id >> 8),
                           (uint8_t)(id >> 16),
                           (uint8_t)(id >> 24),
                           (uint8_t)token->size,
                           (uint8_t)(token->size >> 8),
                           (uint8_t)(token->size >> 16),
                           (uint8_t)(token->size >> 24),
                           token->flags & (DK_TOKEN_ADDED | DK_TOKEN_SPECIAL)};
        dk_sha256_add(&sha, head, sizeof head);
        dk_sha256_add(&sha, dk_token_text(&tok->bpe.tokens, token), token->size);
    }
    dk_sha256_end(&sha, tok->hash);
}

int32_t dk_tokenizer_seal(dk_tokenizer *tok, dk_error *err)
{
    dk_text_scratch *scratch;
    int32_t rc = dk_text_scratch_take(tok, &scratch, err);
    if (rc) return rc;
    for (int32_t special = 1; special >= 0; special--) /* of equal texts a special token is found */
        for (int64_t i = 0; i < tok->added_count; i++)
            if (tok->added[i].special == special) DK_TRY(add_to_trie(tok, scratch, i, err));
    find_byte_tokens(tok);
    DK_TRY(dk_bpe_seal(&tok->bpe, err));
    hash_tokens(tok);
out:
    dk_text_scratch_give(tok, scratch);
    return rc;
}

int64_t dk_tokenizer_vocab_size(const dk_tokenizer *tok)
{
    int64_t count = tok->bpe.tokens.count;
    while (count && tok->bpe.tokens.items[count - 1].flags & DK_TOKEN_HIDDEN) count--;
    return count;
}

const char *dk_tokenizer_id_text(const dk_tokenizer *tok, int64_t id, size_t *size)
{
    const dk_token *token = dk_token_at(&tok->bpe.tokens, id);
    if (token && token->flags & DK_TOKEN_HIDDEN) token = NULL;
    if (size) *size = token ? token->size : 0;
    return token ? dk_token_text(&tok->bpe.tokens, token) : NULL;
}

int64_t dk_tokenizer_text_id(const dk_tokenizer *tok, const char *text, size_t size)
{
    int64_t id = dk_token_table_find(&tok->bpe.tokens, text, size);
    return id >= 0 && tok->bpe.tokens.items[id].flags & DK_TOKEN_HIDDEN ? -1 : id;
}

int32_t dk_tokenizer_is_special(const dk_tokenizer *tok, int64_t id)
{
    const dk_token *token = dk_token_at(&tok->bpe.tokens, id);
    return token && token->flags & DK_TOKEN_SPECIAL;
}

int64_t dk_tokenizer_next_special(const dk_tokenizer *tok, const char *text, size_t size, size_t at, size_t *begin,
                                  size_t *end)
{
    const dk_trie *trie = &tok->special_trie;
    for (; trie->count && at < size; at++) {
        if (trie->only >= 0) {
            const char *hit = memchr(text + at, trie->only, size - at);
            if (!hit) return -1;
            at = (size_t)(hit - text);
        }
        int32_t found = dk_trie_longest(trie, text, size, at, end);
        if (found < 0) continue;
        *begin = at;
        return tok->added[found].id;
    }
    return -1;
}

uint32_t dk_tokenizer_continue_flags(const dk_tokenizer *tok, const int32_t *ids, int64_t count)
{
    const dk_token *last = count > 0 ? dk_token_at(&tok->bpe.tokens, ids[count - 1]) : NULL;
    return last && !(last->flags & DK_TOKEN_ADDED) ? DK_ENCODE_CONTINUES : 0;
}

int64_t dk_tokenizer_bos(const dk_tokenizer *tok) { return tok->bos; }

int64_t dk_tokenizer_eos(const dk_tokenizer *tok) { return tok->eos; }
void dk_tokenizer_set_eos(dk_tokenizer *tok, int64_t id) { tok->eos = id; }

int64_t dk_tokenizer_pad(const dk_tokenizer *tok) { return tok->pad; }

int64_t dk_tokenizer_unk(const dk_tokenizer *tok) { return tok->unk; }

int32_t dk_tokenizer_adds_bos(const dk_tokenizer *tok)
{
    return tok->before_count && tok->bos >= 0 && tok->before[0] == tok->bos;
}

void dk_tokenizer_hash(const dk_tokenizer *tok, uint8_t digest[32]) { memcpy(digest, tok->hash, sizeof tok->hash); }

const char *dk_tokenizer_chat_template(const dk_tokenizer *tok) { return tok->chat_template; }

const char *dk_tokenizer_tool_template(const dk_tokenizer *tok) { return tok->tool_template; }

dk_strbuf *dk_tokenizer_notes(dk_tokenizer *tok) { return &tok->notes; }
