#include "conf/document.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_node(const dk_node *node, dk_host *host, dk_strbuf *out)
{
    dk_strbuf_init(out, host);
    dk_node_write_json(node, out);
}

/* Beside an integer that int64 cannot hold all is read through jansson, which must agree. */
static void read_carefully(dk_host *host, const uint8_t *data, size_t size, const char *want)
{
    dk_document *document;
    dk_strbuf beside, out;
    dk_error err;
    dk_strbuf_init(&beside, host);
    dk_strbuf_puts(&beside, "[");
    dk_strbuf_append(&beside, (const char *)data, size);
    dk_strbuf_puts(&beside, ",12345678901234567890]");
    const int32_t rc = dk_json_parse(host, beside.data, beside.size, "beside", &document, &err);
    if (rc && !strstr(err.message, "nested deeper")) __builtin_trap();
    if (!rc) {
        write_node(dk_node_at(dk_document_root(document), 0), host, &out);
        if (strcmp(out.data, want) != 0) __builtin_trap();
        dk_strbuf_free(&out);
        dk_document_free(document);
    }
    dk_strbuf_free(&beside);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dk_host *host;
    dk_document *document;
    dk_error err;
    dk_strbuf out;
    if (dk_host_create(NULL, &host, NULL)) return 0;
    if (!dk_json_parse(host, (const char *)data, size, "input", &document, &err)) {
        dk_node_get(dk_document_root(document), "a");
        write_node(dk_document_root(document), host, &out);
        dk_document_free(document);
        const size_t mark = size >= 3 && !memcmp(data, "\xef\xbb\xbf", 3) ? 3 : 0;
        read_carefully(host, data + mark, size - mark, out.data);
        /* What is written must read back. */
        if (dk_json_parse(host, out.data, out.size, "again", &document, &err)) __builtin_trap();
        dk_document_free(document);
        dk_strbuf_free(&out);
    }
    dk_host_release(host);
    return 0;
}
