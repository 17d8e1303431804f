#include "text/codepoint.h"
#include "text/tokenizer_impl.h"

/* The tokens as a list of texts that the decoder's steps rewrite: bytes one after the other, and where each one
 * ends. */
typedef struct texts {
    dk_strbuf bytes;
    size_t *ends;
    uint8_t *added; /* 1 = an added token: its text is no byte letters */
    int64_t count;
} texts;

static void texts_free(dk_host *host, texts *t)
{
    dk_strbuf_free(&t->bytes);
    dk_free(host, t->ends);
    dk_free(host, t->added);
}

static int32_t texts_create(dk_host *host, texts *t, int64_t capacity, dk_error *err)
{
    dk_strbuf_init(&t->bytes, host);
    t->count = 0;
    t->added = NULL;
    int32_t rc = dk_new(host, capacity, &t->ends, err);
    return rc ? rc : dk_new(host, capacity, &t->added, err);
}

static void end_text(texts *t, uint8_t added)
{
    t->ends[t->count] = t->bytes.size;
    t->added[t->count++] = added;
}

static void append_spelling(const dk_tokenizer *tok, const dk_token *token, int32_t id, dk_strbuf *out)
{
    const dk_added_token *added = tok->added;
    if (!(token->flags & DK_TOKEN_RESPELLED)) {
        dk_strbuf_append(out, dk_token_text(&tok->bpe.tokens, token), token->size);
        return;
    }
    while (added->id != id) added++;
    dk_strbuf_append(out, tok->respelled.data + added->offset, added->size);
}

static int32_t spell(const dk_tokenizer *tok, const int32_t *ids, int64_t count, uint32_t flags, texts *out,
                     dk_error *err)
{
    for (int64_t i = 0; i < count; i++) {
        const dk_token *token = dk_token_at(&tok->bpe.tokens, ids[i]);
        if (!token || token->flags & DK_TOKEN_HIDDEN)
            return dk_fail(err, DK_E_INVALID, "id %lld at place %lld is no token, the vocabulary has %lld",
                           (long long)ids[i], (long long)i, (long long)dk_tokenizer_vocab_size(tok));
        /* of a respelled token the reference no longer knows that it is special */
        if (flags & DK_DECODE_SKIP_SPECIAL &&
            (token->flags & (DK_TOKEN_SPECIAL | DK_TOKEN_RESPELLED)) == DK_TOKEN_SPECIAL)
            continue;
        append_spelling(tok, token, ids[i], &out->bytes);
        end_text(out, (token->flags & DK_TOKEN_ADDED) != 0);
    }
    return dk_strbuf_check(&out->bytes, err);
}

/* Byte letters to bytes; a token with another character in it stands for itself. */
static void read_letters(const char *text, size_t size, dk_strbuf *out)
{
    size_t old = out->size;
    for (size_t at = 0; at < size;) {
        uint32_t c;
        at += dk_codepoint(text + at, &c);
        int32_t byte = dk_letter_byte(c);
        char value = (char)byte;
        if (byte < 0) {
            out->size = old;
            dk_strbuf_append(out, text, size);
            return;
        }
        dk_strbuf_append(out, &value, 1);
    }
}

static int32_t hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

static void read_byte_token(const char *text, size_t size, dk_strbuf *out)
{
    if (size == 6 && !memcmp(text, "<0x", 3) && text[5] == '>' && hex_digit(text[3]) >= 0 && hex_digit(text[4]) >= 0) {
        char byte = (char)(hex_digit(text[3]) * 16 + hex_digit(text[4]));
        dk_strbuf_append(out, &byte, 1);
    } else {
        dk_strbuf_append(out, text, size);
    }
}

static void strip(const dk_step *step, const char *text, size_t size, dk_strbuf *out)
{
    for (int64_t n = step->left; n > 0 && size >= step->size && !memcmp(text, step->text, step->size); n--) {
        text += step->size;
        size -= step->size;
    }
    for (int64_t n = step->right;
         n > 0 && size >= step->size && !memcmp(text + size - step->size, step->text, step->size); n--)
        size -= step->size;
    dk_strbuf_append(out, text, size);
}

static void replace_text(const char *what, size_t what_size, const char *with, const char *text, size_t size,
                         dk_strbuf *out)
{
    for (size_t at = 0; at < size;) {
        if (size - at >= what_size && !memcmp(text + at, what, what_size)) {
            dk_strbuf_puts(out, with);
            at += what_size;
        } else {
            dk_strbuf_append(out, text + at++, 1);
        }
    }
}

/* A pattern sees only the parts of a token that are UTF-8. */
static int32_t replace(const dk_step *step, dk_regex_state *state, const char *text, size_t size, dk_strbuf *out,
                       dk_error *err)
{
    int32_t rc = DK_OK;
    while (size && !rc) {
        size_t valid = dk_valid_prefix(text, size), skip = valid < size;
        if (valid) rc = dk_replace_all(&step->matcher, state, step->text, step->size, text, valid, out, err);
        dk_strbuf_append(out, text + valid, skip);
        text += valid + skip;
        size -= valid + skip;
    }
    return rc;
}

/* place: which token of how many; only the first and the last are special. */
static int32_t decode_one(const dk_step *step, dk_regex_state *state, const char *text, size_t size, const texts *t,
                          int64_t place, dk_strbuf *out, dk_error *err)
{
    switch (step->kind) {
    case DK_STEP_LETTERS:
        if (t->added[place]) dk_strbuf_append(out, text, size);
        else read_letters(text, size, out);
        break;
    case DK_STEP_BYTE_FALLBACK:
        read_byte_token(text, size, out);
        break;
    case DK_STEP_STRIP:
        strip(step, text, size, out);
        break;
    case DK_STEP_REPLACE:
        return replace(step, state, text, size, out, err);
    case DK_STEP_METASPACE: /* the reference drops every mark of the first token */
        replace_text(step->text, step->size, !place && step->scheme != DK_PREFIX_NEVER ? "" : " ", text, size, out);
        break;
    default:
        replace_text(step->text, step->size, place + 1 == t->count ? "" : " ", text, size, out);
        break;
    }
    return DK_OK;
}

static int32_t decode_step(const dk_step *step, dk_regex_state *state, texts *t, dk_error *err)
{
    int32_t rc = DK_OK;
    dk_strbuf out;
    if (step->kind == DK_STEP_FUSE || !t->count) {
        if (t->count > 1) t->ends[0] = t->bytes.size, t->count = 1;
        return DK_OK;
    }
    dk_strbuf_init(&out, t->bytes.host);
    for (size_t i = 0, begin = 0; i < (size_t)t->count; i++) {
        size_t end = t->ends[i];
        const char *text = t->bytes.data ? t->bytes.data + begin : "";
        DK_TRY(decode_one(step, state, text, end - begin, t, (int64_t)i, &out, err));
        t->ends[i] = out.size;
        begin = end;
    }
    DK_TRY(dk_strbuf_check(&out, err));
    dk_strbuf_free(&t->bytes);
    t->bytes = out;
    return DK_OK;
out:
    dk_strbuf_free(&out);
    return rc;
}

static void join(const dk_tokenizer *tok, const texts *t, dk_strbuf *out)
{
    if (tok->decoder.count) {
        dk_strbuf_append(out, t->bytes.data, t->bytes.size);
        return;
    }
    for (size_t i = 0, begin = 0; i < (size_t)t->count;
         begin = t->ends[i++]) { /* no decoder: words with spaces between */
        if (i) dk_strbuf_append(out, " ", 1);
        dk_strbuf_append(out, t->bytes.data ? t->bytes.data + begin : "", t->ends[i] - begin);
    }
}

int32_t dk_tokenizer_decode_to(const dk_tokenizer *tok, const int32_t *ids, int64_t count, uint32_t flags,
                               dk_strbuf *out, dk_error *err)
{
    texts t = {0};
    dk_text_scratch *scratch;
    if (count < 0 || (count && !ids)) return dk_fail(err, DK_E_INVALID, "%lld ids to decode", (long long)count);
    if (flags & ~(uint32_t)DK_DECODE_SKIP_SPECIAL)
        return dk_fail(err, DK_E_INVALID, "unknown decode flags %u", (unsigned)flags);
    int32_t rc = dk_text_scratch_take(tok, &scratch, err);
    if (rc) return rc;
    DK_TRY(texts_create(tok->host, &t, count + 1, err));
    DK_TRY(spell(tok, ids, count, flags, &t, err));
    size_t from = t.bytes.size;
    for (int32_t i = 0; i < tok->decoder.count; i++) {
        DK_TRY(decode_step(&tok->decoder.items[i], scratch->regex, &t, err));
        DK_TRY(dk_check_growth(t.bytes.size, from, err));
    }
    join(tok, &t, out);
    rc = dk_strbuf_check(out, err);
out:
    texts_free(tok->host, &t);
    dk_text_scratch_give(tok, scratch);
    return rc;
}

int32_t dk_tokenizer_decode(const dk_tokenizer *tok, const int32_t *ids, int64_t count, uint32_t flags, char *buf,
                            size_t cap, size_t *needed, dk_error *err)
{
    dk_strbuf out;
    dk_strbuf_init(&out, tok->host);
    int32_t rc = dk_tokenizer_decode_to(tok, ids, count, flags, &out, err);
    if (!rc) rc = dk_text_out(out.data ? out.data : "", out.size, buf, cap, needed, err);
    dk_strbuf_free(&out);
    return rc;
}
