#include "run/checkpoint_parts.h"

typedef struct number {
    const char *key;
    size_t offset; /* in di_written */
} number;
static const number numbers[] = {{"windows", offsetof(di_written, windows)}, {"texts", offsetof(di_written, texts)},
                                 {"tokens", offsetof(di_written, tokens)},   {"ended", offsetof(di_written, ended)},
                                 {"full", offsetof(di_written, full)},       {"read", offsetof(di_written, read)}};

void di_on_policy_state_write(const di_trainer *t, dk_strbuf *out)
{
    const char *total = (const char *)&t->on_policy.total;
    if (t->on_policy.lambda == 0) return;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        dk_strbuf_printf(out, "%s\"%s\":%lld", i ? "," : ",\"on_policy\":{", numbers[i].key,
                         (long long)*(const int64_t *)(const void *)(total + numbers[i].offset));
    dk_strbuf_puts(out, "}");
}

int32_t di_on_policy_state_read(const dk_document *doc, di_written *out, dk_error *err)
{
    const dk_node *node = dk_node_get(dk_document_root(doc), "on_policy");
    int32_t rc = DK_OK;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers && rc == DK_OK; i++)
        rc = dk_node_i64(doc, node, numbers[i].key, 0, INT64_MAX, 0,
                         (int64_t *)(void *)((char *)out + numbers[i].offset), err);
    return rc;
}
