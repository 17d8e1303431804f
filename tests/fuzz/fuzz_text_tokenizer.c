/* A hostile tokenizer.json, then a text through what it describes and back; cut before it is merged or merged whole,
 * the text gives the same ids. */
#include "text/tokenizer_impl.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Parts that its own tokens are made of meet here in all ways that a short text has room for. */
static void own_text(const dk_tokenizer *tok, dk_strbuf *out)
{
    const int64_t count = tok->bpe.tokens.count;
    for (int64_t i = 0; i < 64 && count; i++) {
        const dk_token *token = dk_token_at(&tok->bpe.tokens, i * 7919 % count);
        if (token && token->size < 100) dk_strbuf_append(out, dk_token_text(&tok->bpe.tokens, token), token->size);
        if (i % 5 == 0) dk_strbuf_puts(out, i % 2 ? " " : "\xe2\x96\x81\xf0\x9f\x98\x80");
    }
}

static void cut_or_whole(dk_host *host, dk_tokenizer *tok)
{
    int32_t *cut = NULL, *whole = NULL;
    int64_t cut_cap = 0, cut_count = 0, whole_cap = 0, whole_count = 0;
    dk_junctions *junctions = tok->bpe.junctions;
    dk_strbuf text;
    dk_strbuf_init(&text, host);
    own_text(tok, &text);
    int32_t rc = dk_tokenizer_append(tok, host, text.data, text.size, 0, &cut, &cut_cap, &cut_count, NULL);
    for (int32_t i = 0; i < DK_SCRATCH_SLOTS; i++) dk_text_scratch_free(atomic_exchange(&tok->pool[i], NULL));
    tok->bpe.junctions = NULL;
    if (dk_tokenizer_append(tok, host, text.data, text.size, 0, &whole, &whole_cap, &whole_count, NULL) != rc)
        __builtin_trap();
    tok->bpe.junctions = junctions;
    if (cut_count != whole_count || (cut_count && memcmp(cut, whole, (size_t)cut_count * sizeof *cut) != 0))
        __builtin_trap();
    dk_strbuf_free(&text);
    dk_free(host, cut);
    dk_free(host, whole);
}

static void use(dk_host *host, const dk_tokenizer *tok)
{
    static const char text[] =
        "It's a t\xc3\xa9st\xcc\x81, <s> 12345 \xff\xe2\x82 \xe6\x97\xa5\xe6\x9c\xac\n\n  aaaaaaaaaaaa <|eot|>";
    int32_t *ids = NULL;
    int64_t cap = 0, count = 0;
    dk_strbuf out;
    dk_strbuf_init(&out, host);
    for (uint32_t flags = 0; flags < 8; flags++)
        dk_tokenizer_append(tok, host, text, sizeof text - 1, flags, &ids, &cap, &count, NULL);
    for (int64_t i = 0; i < count; i++)
        if (!dk_tokenizer_id_text(tok, ids[i], NULL)) __builtin_trap(); /* every id is a token */
    dk_tokenizer_decode_to(tok, ids, count, 0, &out, NULL);
    dk_tokenizer_decode_to(tok, ids, count, DK_DECODE_SKIP_SPECIAL, &out, NULL);
    dk_strbuf_free(&out);
    dk_free(host, ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dk_host *host;
    dk_document *doc, *config;
    dk_tokenizer *tok;
    if (size > 1 << 16 || dk_host_create(NULL, &host, NULL)) return 0;
    if (!dk_json_parse(host, (const char *)data, size, "input", &doc, NULL)) {
        /* the same keys as a file beside it: a document of its own, whose tokens come second */
        if (dk_json_parse(host, (const char *)data, size, "beside", &config, NULL)) __builtin_trap();
        if (!dk_tokenizer_from_json(host, doc, config, &tok, NULL)) {
            use(host, tok);
            if (tok->bpe.junctions) cut_or_whole(host, tok);
            dk_tokenizer_release(tok);
        }
        dk_document_free(config);
        dk_document_free(doc);
    }
    dk_host_release(host);
    return 0;
}
