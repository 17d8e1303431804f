#include "text/codepoint.h"
#include "text/tokenizer_impl.h"

enum {
    TEXT_LIMIT = 1 << 30,
    CACHE_WORTH = 512, /* bytes of text from which on the word cache is made */
    IDS_KEPT = 1 << 20 /* larger lists are not kept in the pool */
};

static int32_t scratch_create(dk_host *host, dk_text_scratch **out, dk_error *err)
{
    dk_text_scratch *scratch;
    int32_t rc = dk_new(host, 1, &scratch, err);
    if (rc) return rc;
    scratch->host = scratch->bpe.host = scratch->unigram.host = scratch->ids.host = host;
    dk_strbuf_init(&scratch->bpe.text, host);
    dk_strbuf_init(&scratch->source, host);
    dk_strbuf_init(&scratch->normal[0], host);
    dk_strbuf_init(&scratch->normal[1], host);
    for (int32_t i = 0; i < DK_STEPS_MAX; i++) dk_strbuf_init(&scratch->stages[i], host);
    if ((rc = dk_regex_state_create(host, &scratch->regex, err))) return dk_text_scratch_free(scratch), rc;
    *out = scratch;
    return DK_OK;
}

void dk_text_scratch_free(dk_text_scratch *scratch)
{
    if (!scratch) return;
    dk_regex_state_free(scratch->regex);
    dk_bpe_scratch_free(&scratch->bpe);
    dk_unigram_scratch_free(&scratch->unigram);
    dk_free(scratch->host, scratch->ids.items);
    dk_strbuf_free(&scratch->source);
    dk_strbuf_free(&scratch->normal[0]);
    dk_strbuf_free(&scratch->normal[1]);
    for (int32_t i = 0; i < DK_STEPS_MAX; i++) dk_strbuf_free(&scratch->stages[i]);
    dk_free(scratch->host, scratch);
}

int32_t dk_text_scratch_take(const dk_tokenizer *tok, dk_text_scratch **out, dk_error *err)
{
    dk_tokenizer *owner = (dk_tokenizer *)tok; /* the pool is the one part that changes, atomically */
    for (int32_t i = 0; i < DK_SCRATCH_SLOTS; i++)
        if ((*out = atomic_exchange(&owner->pool[i], NULL))) return DK_OK;
    return scratch_create(tok->host, out, err);
}

void dk_text_scratch_give(const dk_tokenizer *tok, dk_text_scratch *scratch)
{
    dk_tokenizer *owner = (dk_tokenizer *)tok;
    if (scratch->ids.capacity <= IDS_KEPT) {
        scratch->ids.count = 0;
        for (int32_t i = 0; i < DK_SCRATCH_SLOTS; i++) {
            dk_text_scratch *empty = NULL;
            if (atomic_compare_exchange_strong(&owner->pool[i], &empty, scratch)) return;
        }
    }
    dk_text_scratch_free(scratch);
}

static int32_t overlap(const dk_text_marks *marks, size_t begin, size_t end)
{
    int64_t low = 0, high = marks->plain_count; /* the first that ends behind begin */
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (marks->plain[middle].end > begin) high = middle;
        else low = middle + 1;
    }
    return low < marks->plain_count && marks->plain[low].begin < end;
}

/* The next added token that text[at, size) may spell; the text begins at byte `base` of what marks speak of. */
static dk_added_match next_added(const dk_tokenizer *tok, const dk_trie *trie, const char *text, size_t size,
                                 size_t *at, size_t done, uint32_t flags, const dk_text_marks *marks, size_t base)
{
    dk_added_match match;
    do {
        match = dk_added_next(trie, tok->added, text, size, at, done, !!(flags & DK_ENCODE_PLAIN));
        if (!match.token || !match.token->special || !marks) return match;
        const size_t spelled = dk_token_at(&tok->bpe.tokens, match.token->id)->size;
        if (!overlap(marks, base + *at - spelled, base + *at)) return match;
    } while (*at < size);
    return (dk_added_match){.begin = SIZE_MAX, .end = SIZE_MAX};
}

/* In text that normalization changed, nobody knows any more what is plain. */
static int32_t check_marks(const dk_text_marks *marks, size_t base, dk_piece piece, int32_t same,
                           const dk_added_match *match, dk_error *err)
{
    if (!marks || !match->token || !match->token->special || same) return DK_OK;
    if (!overlap(marks, base, base + piece.size)) return DK_OK;
    return dk_fail(err, DK_E_UNSUPPORTED,
                   "the tokenizer changes text before it looks for special tokens: those of messages cannot be told "
                   "from those of the template");
}

/* Text between tokens that were found before normalization. */
static int32_t encode_between(const dk_tokenizer *tok, dk_text_scratch *scratch, dk_piece piece, uint32_t flags,
                              const dk_text_marks *marks, size_t base, dk_error *err)
{
    size_t at = 0, done = 0;
    int32_t goes_on = piece.goes_on;
    dk_normal_text normal;
    int32_t rc = dk_normalise(&tok->normalizer, scratch->regex, scratch->normal, piece.goes_on, piece.text, piece.size,
                              &normal, err);
    const int32_t same = !rc && normal.text == piece.text && normal.size == piece.size;
    while (!rc && normal.size) {
        dk_added_match match =
            next_added(tok, &tok->normal_trie, normal.text, normal.size, &at, done, flags, same ? marks : NULL, base);
        if ((rc = check_marks(marks, base, piece, same, &match, err))) break;
        size_t stop = match.token ? match.begin : normal.size;
        dk_piece part = {normal.text + done, stop - done, piece.front && done < normal.front ? normal.front - done : 0,
                         goes_on};
        if (done < stop) rc = dk_pretokenise(tok, scratch, part, err);
        if (rc || !match.token) break;
        rc = dk_id_list_add(&scratch->ids, match.token->id, err);
        done = match.end;
        goes_on = match.token->normalized == DK_ADDED_AS_SPELLED; /* a symbol of the text itself */
    }
    return rc;
}

static int32_t encode_text(const dk_tokenizer *tok, dk_text_scratch *scratch, const char *text, size_t size,
                           uint32_t flags, const dk_text_marks *marks, dk_error *err)
{
    const size_t base = marks ? marks->base : 0;
    size_t at = 0, done = 0;
    int32_t rc = DK_OK, goes_on = !!(flags & DK_ENCODE_CONTINUES), inside = goes_on || flags & DK_ENCODE_BEHIND;
    while (!rc && size) {
        dk_added_match match = next_added(tok, &tok->raw_trie, text, size, &at, done, flags, marks, base);
        size_t stop = match.token ? match.begin : size;
        dk_piece piece = {text + done, stop - done, done || inside ? 0 : dk_codepoint_size(text), !done && goes_on};
        if (done < stop) rc = encode_between(tok, scratch, piece, flags, marks, base + done, err);
        if (rc || !match.token) break;
        rc = dk_id_list_add(&scratch->ids, match.token->id, err);
        done = match.end;
        if (marks && marks->cuts) {
            dk_text_cut cut = {base + match.begin, base + match.end, scratch->ids.count};
            dk_strbuf_append(marks->cuts, &cut, sizeof cut);
        }
    }
    return rc;
}

static int32_t add_ids(dk_id_list *list, const int32_t *ids, int64_t count, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < count && !rc; i++) rc = dk_id_list_add(list, ids[i], err);
    return rc;
}

int32_t dk_text_encode(const dk_tokenizer *tok, dk_text_scratch *scratch, const char *text, size_t size, uint32_t flags,
                       const dk_text_marks *marks, dk_error *err)
{
    int32_t rc;
    scratch->ids.count = 0;
    dk_strbuf_clear(&scratch->source);
    if (size > TEXT_LIMIT)
        return dk_fail(err, DK_E_INVALID, "text of %zu bytes, at most %d at a time: encode it in parts", size,
                       TEXT_LIMIT);
    if (flags & ~(uint32_t)(DK_ENCODE_SPECIAL | DK_ENCODE_PLAIN | DK_ENCODE_CONTINUES | DK_ENCODE_BEHIND))
        return dk_fail(err, DK_E_INVALID, "unknown encode flags %u", (unsigned)flags);
    if (tok->split_special) flags |= DK_ENCODE_PLAIN;
    if (size >= CACHE_WORTH && !scratch->bpe.cache) DK_TRY(dk_new(tok->host, 1, &scratch->bpe.cache, err));
    if (dk_valid_prefix(text, size) != size) {
        if (marks) return dk_fail(err, DK_E_INVALID, "a text with marked parts is not UTF-8");
        dk_escape_invalid(&scratch->source, text, size, tok->keeps_byte);
        DK_TRY(dk_strbuf_check(&scratch->source, err));
        text = scratch->source.data;
        size = scratch->source.size;
    }
    if (flags & DK_ENCODE_SPECIAL) DK_TRY(add_ids(&scratch->ids, tok->before, tok->before_count, err));
    DK_TRY(encode_text(tok, scratch, text, size, flags, marks, err));
    if (flags & DK_ENCODE_SPECIAL) DK_TRY(add_ids(&scratch->ids, tok->after, tok->after_count, err));
out:
    return rc;
}

int32_t dk_tokenizer_encode(const dk_tokenizer *tok, const char *text, size_t size, uint32_t flags, int32_t *ids,
                            int64_t cap, int64_t *needed, dk_error *err)
{
    dk_text_scratch *scratch;
    int32_t rc = dk_text_scratch_take(tok, &scratch, err);
    if (rc) return rc;
    DK_TRY(dk_text_encode(tok, scratch, text, size, flags, NULL, err));
    int64_t count = scratch->ids.count;
    if (needed) *needed = count;
    if (count > cap) {
        rc = dk_fail(err, DK_E_BUFFER, "the text has %lld tokens, the buffer holds %lld", (long long)count,
                     (long long)cap);
        goto out;
    }
    if (count) memcpy(ids, scratch->ids.items, (size_t)count * sizeof *ids);
out:
    dk_text_scratch_give(tok, scratch);
    return rc;
}

int32_t dk_tokenizer_append(const dk_tokenizer *tok, dk_host *host, const char *text, size_t size, uint32_t flags,
                            int32_t **ids, int64_t *cap, int64_t *count, dk_error *err)
{
    dk_text_scratch *scratch;
    int32_t rc = dk_text_scratch_take(tok, &scratch, err);
    if (rc) return rc;
    DK_TRY(dk_text_encode(tok, scratch, text, size, flags, NULL, err));
    dk_id_list list = {.host = host, .items = *ids, .count = *count, .capacity = *cap};
    rc = dk_id_list_reserve(&list, scratch->ids.count, err);
    *ids = list.items;
    *cap = list.capacity;
    if (rc) goto out;
    if (scratch->ids.count)
        memcpy(list.items + list.count, scratch->ids.items, (size_t)scratch->ids.count * sizeof *list.items);
    *count += scratch->ids.count;
out:
    dk_text_scratch_give(tok, scratch);
    return rc;
}
