/* Lines of metrics.jsonl, and the same bytes as a result.json: the history is JSON, and a page is made. */
#include <string.h>

#include "report/page/page.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void page_of(dk_host *host, const dk_node *root)
{
    const di_page_settings settings = {(int32_t)(root->size & 1), 0};
    dk_strbuf html;
    dk_error err;
    dk_strbuf_init(&html, host);
    if (di_page_make(host, &root, 1, &settings, &html, &err) == DK_OK && strstr(html.data, "<script")) __builtin_trap();
    dk_strbuf_free(&html);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dk_document *document;
    dk_strbuf json;
    dk_host *host;
    dk_error err;
    if (dk_host_create(NULL, &host, NULL)) return 0;
    dk_strbuf_init(&json, host);
    dk_strbuf_puts(&json, "{\"folder\":\"x\"");
    if (di_page_history(host, (const char *)data, size, &json, &err)) __builtin_trap();
    dk_strbuf_puts(&json, "}");
    if (dk_json_parse(host, json.data, json.size, "history", &document, &err)) __builtin_trap();
    page_of(host, dk_document_root(document));
    dk_document_free(document);
    if (dk_json_parse(host, (const char *)data, size, "result", &document, &err) == DK_OK) {
        page_of(host, dk_document_root(document));
        dk_document_free(document);
    }
    dk_strbuf_free(&json);
    dk_host_release(host);
    return 0;
}
