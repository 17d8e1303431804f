/* A hostile tokenizer.model, then a text through what it describes and back, and the files that are made of it. */
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(dk_host *host, const dk_tokenizer *tok)
{
    static const char text[] = "  It's a t\xc3\xa9st\xcc\x81, <s> ==12345 \xff\xe2\x82 \xe6\x97\xa5\xe6\x9c\xac\n\n  "
                               "\xe2\x96\x81 aaaaaaaaaaaa ";
    int32_t *ids = NULL;
    int64_t cap = 0, count = 0;
    dk_strbuf out;
    dk_strbuf_init(&out, host);
    for (uint32_t flags = 0; flags < 8; flags++)
        dk_tokenizer_append(tok, host, text, sizeof text - 1, flags, &ids, &cap, &count, NULL);
    for (int64_t i = 0; i < count; i++)
        if (!dk_tokenizer_id_text(tok, ids[i], NULL)) __builtin_trap(); /* every id is a token */
    dk_tokenizer_decode_to(tok, ids, count, 0, &out, NULL);
    dk_strbuf_clear(&out);
    dk_tokenizer_write_json(tok, &out, NULL);
    dk_strbuf_free(&out);
    dk_free(host, ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dk_host *host;
    dk_tokenizer *tok;
    if (size > 1 << 16 || dk_host_create(NULL, &host, NULL)) return 0;
    if (!dk_tokenizer_from_model(host, "input", (const char *)data, size, &tok, NULL)) {
        use(host, tok);
        dk_tokenizer_release(tok);
    }
    dk_host_release(host);
    return 0;
}
