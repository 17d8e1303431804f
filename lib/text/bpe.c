#include "text/bpe.h"

#include "text/codepoint.h"

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
    dk_free(host, bpe->junctions);
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

enum { MADE = 1, STANDS_IN = 2 };
/* marks: [tokens.count] 0. Which tokens merges make; 0 = one of them merges the unknown token or that of a byte, which
 * stand for other characters than those that they are spelled in. */
static int32_t mark_made(const dk_bpe *bpe, uint8_t *marks)
{
    for (int32_t b = 0; b < 256 && bpe->byte_tokens; b++)
        if (bpe->byte_ids[b] >= 0) marks[bpe->byte_ids[b]] = STANDS_IN;
    if (bpe->unk >= 0) marks[bpe->unk] = STANDS_IN;
    for (uint64_t i = 0; i < bpe->merges.slot_count; i++) {
        const dk_merge *merge = &bpe->merges.slots[i];
        if (merge->left < 0) continue;
        if ((marks[merge->left] | marks[merge->right]) & STANDS_IN) return 0;
        marks[merge->id] |= MADE;
    }
    return 1;
}

int32_t dk_bpe_seal(dk_bpe *bpe, dk_error *err)
{
    int32_t rc = DK_OK;
    uint8_t *marks = NULL;
    bpe->all_bytes = bpe->byte_tokens;
    for (int32_t b = 0; b < 256; b++) bpe->all_bytes &= bpe->byte_ids[b] >= 0;
    dk_free(bpe->tokens.host, bpe->junctions);
    bpe->junctions = NULL;
    if (bpe->raw_bytes || bpe->prefix || bpe->suffix || bpe->ignore_merges || !bpe->merges.used) return DK_OK;
    DK_TRY(dk_new(bpe->tokens.host, bpe->tokens.count, &marks, err));
    if (mark_made(bpe, marks)) rc = dk_junctions_create(&bpe->tokens, marks, MADE, &bpe->junctions, err);
out:
    dk_free(bpe->tokens.host, marks);
    return rc;
}

/* ---- the symbols that a word begins as ---- */
/* The id of a character, with what the model puts around it, while it is merged; -1 = it is none. */
static int32_t symbol_of(const dk_bpe *bpe, const char *text, size_t size)
{
    uint32_t c;
    if (bpe->junctions && (dk_codepoint(text, &c), c < DK_DIRECT)) return bpe->junctions->symbols[c];
    int64_t id = dk_token_table_find(&bpe->tokens, text, size);
    return id >= 0 && bpe->tokens.items[id].flags & (DK_TOKEN_MODEL | DK_TOKEN_HIDDEN) ? (int32_t)id : -1;
}

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
    int32_t done = 0, rc, id = symbol_of(bpe, text, size);
    if (id >= 0) return add_known(s, bpe, id, err);
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

typedef struct part { /* of a word, or all of it */
    const char *text;
    size_t size;
    dk_word_place place;
} part;

static part find_part(dk_bpe_scratch *scratch, const char *text, size_t size)
{
    part found = {.text = text, .size = size};
    if (scratch->cache) found.place = dk_word_find(scratch->cache, text, size);
    return found;
}

static int32_t encode_part(const dk_bpe *bpe, dk_bpe_scratch *scratch, const part *p, dk_id_list *out, dk_error *err)
{
    int32_t rc = dk_id_list_reserve(out, DK_LONG_IDS, err);
    if (rc) return rc;
    int64_t first = out->count;
    out->count += dk_word_ids(&p->place, p->text, p->size, out->items + first);
    if (out->count > first) return DK_OK;
    rc = encode_word(bpe, scratch, p->text, p->size, out, err);
    if (!rc) dk_word_keep(&p->place, p->text, p->size, out->items + first, out->count - first);
    return rc;
}

/* Whether the characters at left and at right, neighbours, may be merged apart. A character that is neither a symbol
 * nor has tokens for its bytes vanishes between its neighbours, or its unknown token waits for the next one
 * (add_symbol): where there can be such characters both must be symbols. */
static int32_t may_cut(const dk_bpe *bpe, const char *left, uint32_t a, const char *right, uint32_t b)
{
    if (dk_junction_inside(bpe->junctions, a, b)) return 0;
    return bpe->all_bytes ||
           (symbol_of(bpe, left, (size_t)(right - left)) >= 0 && symbol_of(bpe, right, dk_codepoint_size(right)) >= 0);
}

int32_t dk_bpe_encode(const dk_bpe *bpe, dk_bpe_scratch *scratch, const char *word, size_t size, dk_id_list *out,
                      dk_error *err)
{
    int32_t rc = DK_OK;
    size_t begin = 0, left = 0;
    part waiting = {0}; /* while its place in the cache is fetched */
    uint32_t a, b;
    for (size_t at = bpe->junctions && size ? dk_codepoint(word, &a) : size, length; at < size;
         left = at, at += length, a = b) {
        length = dk_codepoint(word + at, &b);
        if (!may_cut(bpe, word + left, a, word + at, b)) continue;
        const part found = find_part(scratch, word + begin, at - begin);
        if (waiting.size) DK_TRY(encode_part(bpe, scratch, &waiting, out, err));
        waiting = found;
        begin = at;
    }
    const part last = find_part(scratch, word + begin, size - begin);
    if (waiting.size) DK_TRY(encode_part(bpe, scratch, &waiting, out, err));
    rc = encode_part(bpe, scratch, &last, out, err);
out:
    return rc;
}
