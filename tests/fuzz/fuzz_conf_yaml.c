#include "conf/document.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dk_host *host;
    dk_document *document;
    dk_error err;
    dk_strbuf out;
    if (dk_host_create(NULL, &host, NULL)) return 0;
    if (!dk_yaml_parse(host, (const char *)data, size, "input", &document, &err)) {
        dk_node_get(dk_document_root(document), "a");
        dk_strbuf_init(&out, host);
        dk_node_write_json(dk_document_root(document), &out);
        dk_document_free(document);
        /* What is written must read back. */
        if (dk_json_parse(host, out.data, out.size, "again", &document, &err)) __builtin_trap();
        dk_document_free(document);
        dk_strbuf_free(&out);
    }
    dk_host_release(host);
    return 0;
}
