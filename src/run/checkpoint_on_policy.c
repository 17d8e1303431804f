/* checkpoint_on_policy.c - what a run's student wrote so far, and how often it does, in state.json; the texts that are
 * kept are in a file of their own (checkpoint_replay.c). */
#include <math.h>

#include "run/checkpoint_parts.h"

typedef struct number {
    const char *key;
    size_t offset; /* in di_written */
} number;
static const number numbers[] = {
    {"windows", offsetof(di_written, windows)}, {"replayed", offsetof(di_written, replayed)},
    {"texts", offsetof(di_written, texts)},     {"tokens", offsetof(di_written, tokens)},
    {"ended", offsetof(di_written, ended)},     {"full", offsetof(di_written, full)},
    {"read", offsetof(di_written, read)}};

static void write_adaptive(const di_adaptive *a, dk_strbuf *out)
{
    dk_strbuf_puts(out, ",\"share\":");
    dk_strbuf_f64(out, a->share);
    if (!a->has_last || !isfinite(a->last)) return;
    dk_strbuf_printf(out, ",\"by\":%d,\"last\":", (int)a->by);
    dk_strbuf_f64(out, a->last);
}

void di_on_policy_state_write(const di_trainer *t, dk_strbuf *out)
{
    const char *total = (const char *)&t->on_policy.total;
    if (t->on_policy.lambda == 0) return;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        dk_strbuf_printf(out, "%s\"%s\":%lld", i ? "," : ",\"on_policy\":{", numbers[i].key,
                         (long long)*(const int64_t *)(const void *)(total + numbers[i].offset));
    if (t->on_policy.adaptive.rise > 0) write_adaptive(&t->on_policy.adaptive, out);
    dk_strbuf_puts(out, "}");
}

/* A run whose share did not adapt before begins with the first one; that this option has changed is told. */
static int32_t read_adaptive(const di_trainer *t, const dk_document *doc, const dk_node *node, di_adaptive *out,
                             dk_error *err)
{
    const double lambda = t->on_policy.lambda;
    int64_t by = 0;
    int32_t rc = DK_OK;
    *out = t->on_policy.adaptive;
    out->has_last = 0;
    out->share = out->rise > 0 ? out->start : lambda;
    if (out->rise == 0 || !dk_node_get(node, "share")) goto out;
    DK_TRY(dk_node_f64(doc, node, "share", 0, &out->share, err));
    if (!(out->share >= 0)) return dk_fail(err, DK_E_FORMAT, "%s: on_policy.share is below 0", dk_document_name(doc));
    if (out->share > lambda) out->share = lambda; /* it was lowered, which is told */
    out->has_last = dk_node_get(node, "last") != NULL;
    DK_TRY(dk_node_f64(doc, node, "last", 0, &out->last, err));
    DK_TRY(dk_node_i64(doc, node, "by", 0, INT32_MAX, 0, &by, err));
    out->by = (int32_t)by;
out:
    return rc;
}

int32_t di_on_policy_state_read(const di_trainer *t, const dk_document *doc, di_written *written, di_adaptive *adaptive,
                                dk_error *err)
{
    const dk_node *node = dk_node_get(dk_document_root(doc), "on_policy");
    int32_t rc = DK_OK;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers && rc == DK_OK; i++)
        rc = dk_node_i64(doc, node, numbers[i].key, 0, INT64_MAX, 0,
                         (int64_t *)(void *)((char *)written + numbers[i].offset), err);
    return rc ? rc : read_adaptive(t, doc, node, adaptive, err);
}
