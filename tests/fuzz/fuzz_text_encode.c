/* Hostile text through small tokenizers of both kinds: no bytes may be lost, and parts give tokens too. */
#include "text/tokenizer.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char bytes_json[] =
    "{\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
    "\"pattern\":{\"Regex\":"
    "\"(?i:'s|'t|'re)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| "
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},"
    "\"behavior\":\"Isolated\"},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]},"
    "\"decoder\":{\"type\":\"ByteLevel\"},"
    "\"added_tokens\":[{\"id\":256,\"content\":\"<s>\",\"special\":true}],\"model\":{\"type\":\"BPE\",\"merges\":["
    "],\"vocab\":{";

/* The 256 letters of byte-level BPE as a vocabulary. */
static void append_letters(dk_strbuf *out)
{
    int32_t next = 256;
    for (int32_t b = 0; b < 256; b++) {
        int32_t own = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b != 0xad);
        dk_strbuf_printf(out, "%s\"\\u%04x\":%d", b ? "," : "", (unsigned)(own ? b : next), b);
        if (!own) next++;
    }
    dk_strbuf_puts(out, ",\"<s>\":256}}}");
}

static dk_tokenizer *create(dk_host *host)
{
    dk_strbuf json;
    dk_document *doc = NULL;
    dk_tokenizer *tok = NULL;
    dk_strbuf_init(&json, host);
    dk_strbuf_puts(&json, bytes_json);
    append_letters(&json);
    if (dk_json_parse(host, json.data, json.size, "own", &doc, NULL) ||
        dk_tokenizer_from_json(host, doc, NULL, &tok, NULL))
        __builtin_trap();
    dk_document_free(doc);
    dk_strbuf_free(&json);
    return tok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static dk_host *host;
    static dk_tokenizer *tok;
    int32_t *ids = NULL;
    int64_t cap = 0, count = 0;
    dk_strbuf out;
    if (!host && dk_host_create(NULL, &host, NULL)) return 0;
    if (!tok) tok = create(host);
    dk_strbuf_init(&out, host);
    if (dk_tokenizer_append(tok, host, (const char *)data, size, 0, &ids, &cap, &count, NULL)) __builtin_trap();
    if (dk_tokenizer_decode_to(tok, ids, count, 0, &out, NULL)) __builtin_trap();
    if (out.size != size || (size && memcmp(out.data, data, size) != 0)) __builtin_trap();
    count = 0;
    for (size_t at = 0; at < size; at += 7) /* cut anywhere, also inside characters */
        dk_tokenizer_append(tok, host, (const char *)data + at, size - at < 7 ? size - at : 7,
                            DK_ENCODE_CONTINUES | DK_ENCODE_PLAIN, &ids, &cap, &count, NULL);
    dk_strbuf_clear(&out);
    if (dk_tokenizer_decode_to(tok, ids, count, 0, &out, NULL)) __builtin_trap();
    if (out.size != size || (size && memcmp(out.data, data, size) != 0)) __builtin_trap();
    dk_strbuf_free(&out);
    dk_free(host, ids);
    return 0;
}
