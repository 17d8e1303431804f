#include "text/bpe.h"

#include "text/codepoint.h"

#define MARK "\xe2\x96\x81" /* U+2581, a space in SentencePiece's vocabularies */

int32_t dk_id_list_reserve(dk_id_list *list, int64_t more, dk_error *err)
{
    int64_t capacity = list->capacity ? list->capacity : 256;
    if (more <= list->capacity - list->count) return DK_OK;
    while (capacity < list->count + more) capacity *= 2;
    int32_t *items = dk_realloc(list->host, list->items, (uint64_t)capacity, sizeof *items);
    if (!items) return dk_fail_nomem(err, (uint64_t)capacity * sizeof *items);
    list->items = items;
    list->capacity = capacity;
    return DK_OK;
}

void dk_bpe_free(dk_bpe *bpe)
{
    dk_host *host = bpe->tokens.host;
    if (!host) return;
    dk_free(host, bpe->prefix);
    dk_free(host, bpe->suffix);
    dk_merge_table_free(&bpe->merges);
    dk_token_table_free(&bpe->tokens);
}

int32_t dk_bpe_add_merge(dk_bpe *bpe, const char *left, size_t left_size, const char *right, size_t right_size,
                         uint32_t rank, dk_strbuf *joined, dk_error *err)
{
    size_t skip = right_size < bpe->prefix_size ? right_size : bpe->prefix_size;
    dk_strbuf_clear(joined);
    dk_strbuf_append(joined, left, left_size);
    dk_strbuf_append(joined, right + skip, right_size - skip);
    int32_t rc = dk_strbuf_check(joined, err);
    if (rc) return rc;
    int64_t left_id = dk_token_table_find(&bpe->tokens, left, left_size);
    int64_t right_id = dk_token_table_find(&bpe->tokens, right, right_size);
    int64_t id = dk_token_table_find(&bpe->tokens, joined->data, joined->size);
    if (left_id < 0 || right_id < 0 || id < 0)
        return dk_fail(err, DK_E_FORMAT, "merge %u, '%.*s' + '%.*s', speaks of a token that is not in the vocabulary",
                       (unsigned)rank, (int)(left_size < 30 ? left_size : 30), left,
                       (int)(right_size < 30 ? right_size : 30), right);
    dk_merge_table_add(&bpe->merges, (dk_merge){(int32_t)left_id, (int32_t)right_id, rank, (int32_t)id});
    return DK_OK;
}

/* Whether U+2581 stands behind another character somewhere in the token. */
static int32_t mark_inside(const char *text, size_t size)
{
    size_t at = 0;
    while (size - at >= 3 && !memcmp(text + at, MARK, 3)) at += 3;
    for (; at + 3 <= size; at++)
        if (!memcmp(text + at, MARK, 3)) return 1;
    return 0;
}

void dk_bpe_seal(dk_bpe *bpe)
{
    bpe->space_split = !bpe->raw_bytes && !bpe->prefix && !bpe->suffix && !bpe->ignore_merges &&
                       dk_token_table_find_model(&bpe->tokens, MARK, 3) >= 0;
    for (uint64_t i = 0; i < bpe->merges.slot_count && bpe->space_split; i++) {
        const dk_merge *merge = &bpe->merges.slots[i];
        if (merge->left < 0) continue;
        const dk_token *token = &bpe->tokens.items[merge->id];
        if (mark_inside(dk_token_text(&bpe->tokens, token), token->size)) bpe->space_split = 0;
    }
}

/* ---- the symbols that a word begins as ---- */
typedef struct symbols {
    dk_id_list *out;
    int32_t unknown; /* an unknown token is held back so that the next one can join it */
} symbols;

static int32_t add_known(symbols *s, const dk_bpe *bpe, int32_t id, dk_error *err)
{
    if (s->unknown) {
        int32_t rc = dk_id_list_add(s->out, bpe->unk, err);
        if (rc) return rc;
        s->unknown = 0;
    }
    return dk_id_list_add(s->out, id, err);
}

static int32_t add_bytes(symbols *s, const dk_bpe *bpe, const char *text, size_t size, int32_t *done, dk_error *err)
{
    *done = 0;
    for (size_t i = 0; i < size; i++)
        if (bpe->byte_ids[(uint8_t)text[i]] < 0) return DK_OK;
    *done = 1;
    for (size_t i = 0; i < size; i++) { /* like the reference, past an unknown token that is held back */
        int32_t rc = dk_id_list_add(s->out, bpe->byte_ids[(uint8_t)text[i]], err);
        if (rc) return rc;
    }
    return DK_OK;
}

static int32_t add_symbol(symbols *s, const dk_bpe *bpe, const char *text, size_t size, dk_error *err)
{
    int32_t done = 0, rc;
    int64_t id = dk_token_table_find(&bpe->tokens, text, size);
    if (id >= 0 && bpe->tokens.items[id].flags & (DK_TOKEN_MODEL | DK_TOKEN_HIDDEN))
        return add_known(s, bpe, (int32_t)id, err);
    if (bpe->byte_tokens && ((rc = add_bytes(s, bpe, text, size, &done, err)) || done)) return rc;
    if (bpe->unk < 0) return DK_OK;
    if (s->unknown && !bpe->fuse_unk && (rc = dk_id_list_add(s->out, bpe->unk, err))) return rc;
    s->unknown = 1;
    return DK_OK;
}

/* A character with what the model puts in front of inner ones and behind the last one. */
static int32_t add_affixed(symbols *s, const dk_bpe *bpe, dk_strbuf *text, const char *word, size_t size, size_t at,
                           size_t length, dk_error *err)
{
    dk_strbuf_clear(text);
    if (at) dk_strbuf_append(text, bpe->prefix, bpe->prefix_size);
    dk_strbuf_append(text, word + at, length);
    if (at + length == size) dk_strbuf_append(text, bpe->suffix, bpe->suffix_size);
    int32_t rc = dk_strbuf_check(text, err);
    return rc ? rc : add_symbol(s, bpe, text->data, text->size, err);
}

static int32_t begin_word(const dk_bpe *bpe, dk_bpe_scratch *scratch, const char *word, size_t size, dk_id_list *out,
                          dk_error *err)
{
    symbols s = {.out = out};
    int32_t rc = dk_id_list_reserve(out, (int64_t)size, err);
    if (rc) return rc;
    if (bpe->raw_bytes) {
        for (size_t i = 0; i < size; i++) out->items[out->count++] = bpe->byte_ids[(uint8_t)word[i]];
        return DK_OK;
    }
    for (size_t at = 0; at < size;) {
        size_t length = dk_codepoint_size(word + at);
        rc = bpe->prefix || bpe->suffix ? add_affixed(&s, bpe, &scratch->text, word, size, at, length, err)
                                        : add_symbol(&s, bpe, word + at, length, err);
        if (rc) return rc;
        at += length;
    }
    return s.unknown ? dk_id_list_add(out, bpe->unk, err) : DK_OK;
}

/* Characters that are part of tokens but no tokens themselves are spelled in bytes in the end. */
static int32_t resolve_hidden(const dk_bpe *bpe, dk_bpe_scratch *scratch, dk_id_list *out, int64_t first, dk_error *err)
{
    int64_t at = first;
    while (at < out->count && !(bpe->tokens.items[out->items[at]].flags & DK_TOKEN_HIDDEN)) at++;
    if (at == out->count) return DK_OK;
    int32_t rc = DK_OK;
    dk_id_list old = {.host = scratch->host};
    DK_TRY(dk_id_list_reserve(&old, out->count - at, err));
    old.count = out->count - at;
    memcpy(old.items, out->items + at, (size_t)old.count * sizeof *old.items);
    out->count = at;
    for (int64_t i = 0; i < old.count; i++) {
        const dk_token *token = &bpe->tokens.items[old.items[i]];
        symbols s = {.out = out};
        int32_t done = 0;
        if (!(token->flags & DK_TOKEN_HIDDEN)) DK_TRY(dk_id_list_add(out, old.items[i], err));
        else {
            if (bpe->byte_tokens)
                DK_TRY(add_bytes(&s, bpe, dk_token_text(&bpe->tokens, token), token->size, &done, err));
            if (!done && bpe->unk >= 0) DK_TRY(dk_id_list_add(out, bpe->unk, err));
        }
    }
out:
    dk_free(scratch->host, old.items);
    return rc;
}

static int32_t encode_word(const dk_bpe *bpe, dk_bpe_scratch *scratch, const char *word, size_t size, dk_id_list *out,
                           dk_error *err)
{
    int64_t first = out->count;
    if (bpe->ignore_merges) {
        int64_t id;
        if (bpe->raw_bytes) {
            dk_strbuf_clear(&scratch->text);
            dk_append_letters(&scratch->text, word, size);
            int32_t failed = dk_strbuf_check(&scratch->text, err);
            if (failed) return failed;
            id = dk_token_table_find_model(&bpe->tokens, scratch->text.data, scratch->text.size);
        } else {
            id = dk_token_table_find_model(&bpe->tokens, word, size);
        }
        if (id >= 0) return dk_id_list_add(out, (int32_t)id, err);
    }
    int32_t rc = begin_word(bpe, scratch, word, size, out, err);
    if (rc) return rc;
    int64_t count = out->count - first;
    rc = dk_bpe_merge(bpe, scratch, out->items + first, &count, err);
    if (rc) return rc;
    out->count = first + count;
    return bpe->has_hidden ? resolve_hidden(bpe, scratch, out, first, err) : DK_OK;
}

static int32_t encode_cached(const dk_bpe *bpe, dk_bpe_scratch *scratch, const char *word, size_t size, dk_id_list *out,
                             dk_error *err)
{
    if (size > DK_CACHE_KEY || !scratch->cache) return encode_word(bpe, scratch, word, size, out, err);
    dk_cached_word *slot = &scratch->cache[dk_text_hash(word, size) & (DK_CACHE_SLOTS - 1)];
    int32_t rc = dk_id_list_reserve(out, DK_CACHE_IDS, err);
    if (rc) return rc;
    if (slot->size == size && !memcmp(slot->key, word, size)) {
        memcpy(out->items + out->count, slot->ids, sizeof slot->ids);
        out->count += slot->count;
        return DK_OK;
    }
    int64_t first = out->count;
    rc = encode_word(bpe, scratch, word, size, out, err);
    if (rc || out->count - first > DK_CACHE_IDS) return rc;
    slot->size = (uint8_t)size;
    slot->count = (uint8_t)(out->count - first);
    memcpy(slot->key, word, size);
    memcpy(slot->ids, out->items + first, slot->count * sizeof *slot->ids);
    return DK_OK;
}

/* End of the part that begins at `at`: in front of the next mark that has another character before it. */
static size_t part_end(const char *word, size_t size, size_t at)
{
    while (size - at >= 3 && !memcmp(word + at, MARK, 3)) at += 3;
    for (; at < size; at++) {
        const char *hit = memchr(word + at, MARK[0], size - at);
        if (!hit) return size;
        at = (size_t)(hit - word);
        if (size - at >= 3 && !memcmp(hit, MARK, 3)) return at;
    }
    return size;
}

int32_t dk_bpe_encode(const dk_bpe *bpe, dk_bpe_scratch *scratch, const char *word, size_t size, dk_id_list *out,
                      dk_error *err)
{
    if (!bpe->space_split) return encode_cached(bpe, scratch, word, size, out, err);
    for (size_t at = 0; at < size;) {
        size_t end = part_end(word, size, at);
        int32_t rc = encode_cached(bpe, scratch, word + at, end - at, out, err);
        if (rc) return rc;
        at = end;
    }
    return DK_OK;
}
