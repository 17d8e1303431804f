/* page_history.c - metrics.jsonl, line by line. */
#include <string.h>

#include "conf/json_line.h"
#include "report/page/page.h"

enum { LINES = 20000, DAMAGED = 20, LONGEST = 1 << 20 }; /* shown; named; bytes of a line */

typedef struct reader {
    dk_host *host;
    dk_strbuf *json;
    dk_strbuf damaged;
    int64_t line, kept, bad, every, left_out;
} reader;

/* NULL = it is one of ours. */
static const char *fault(const dk_document *doc)
{
    const dk_node *root = dk_document_root(doc), *step = dk_node_get(root, "step"), *loss = dk_node_get(root, "loss");
    const dk_node *eval = dk_node_get(root, "eval");
    if (!root || root->type != DK_NODE_MAP) return "is no JSON object";
    if (!step) return "has no \"step\"";
    if (step->type != DK_NODE_INT || step->i64 < 0) return "has a \"step\" that is no count";
    if (loss && loss->type != DK_NODE_INT && loss->type != DK_NODE_FLOAT && loss->type != DK_NODE_NULL)
        return "has a \"loss\" that is no number";
    if (eval && eval->type != DK_NODE_MAP) return "has an \"eval\" that is no JSON object";
    return NULL;
}

static void damaged(reader *r, const char *why)
{
    if (r->bad++ >= DAMAGED) return;
    dk_strbuf_printf(&r->damaged, "%s{\"line\":%lld,\"problem\":", r->bad > 1 ? "," : "", (long long)r->line);
    dk_strbuf_json(&r->damaged, why, strlen(why));
    dk_strbuf_puts(&r->damaged, "}");
}

static void take_line(reader *r, const char *text, size_t size)
{
    dk_document *doc = NULL;
    dk_error problem;
    dk_error_clear(&problem);
    if (size > LONGEST) {
        damaged(r, "is longer than any that a run writes");
        return;
    }
    if (dk_json_parse(r->host, text, size, "metrics.jsonl", &doc, &problem) != DK_OK) {
        damaged(r, dk_json_line_problem(&problem, "metrics.jsonl"));
        return;
    }
    const char *why = fault(doc);
    const int32_t evaluation = dk_node_get(dk_document_root(doc), "eval") != NULL;
    if (why) damaged(r, why);
    else if (!evaluation && r->every > 1 && r->line % r->every) r->left_out++;
    else {
        if (r->kept++) dk_strbuf_puts(r->json, ",");
        dk_node_write_json(dk_document_root(doc), r->json);
    }
    dk_document_free(doc);
}

static int64_t count_lines(const char *text, size_t size)
{
    int64_t lines = 0;
    for (const char *at = text; size && (at = memchr(at, '\n', size - (size_t)(at - text))); at++) {
        lines++;
        if ((size_t)(at - text) + 1 == size) break;
    }
    return lines;
}

int32_t di_page_history(dk_host *host, const char *text, size_t size, dk_strbuf *json, dk_error *err)
{
    reader r = {.host = host, .json = json};
    size_t at = 0;
    int32_t rc;
    dk_strbuf_init(&r.damaged, host);
    r.every = count_lines(text, size) / LINES + 1;
    dk_strbuf_puts(json, ",\"metrics\":[");
    while (at < size) {
        const char *end = memchr(text + at, '\n', size - at);
        if (!end) break;
        const size_t length = (size_t)(end - (text + at));
        r.line++;
        take_line(&r, text + at, length);
        at += length + 1;
    }
    dk_strbuf_puts(json, "],\"damaged\":[");
    dk_strbuf_append(json, r.damaged.data ? r.damaged.data : "", r.damaged.size);
    dk_strbuf_printf(json, "],\"damaged_lines\":%lld", (long long)r.bad);
    if (r.left_out) dk_strbuf_printf(json, ",\"metrics_left_out\":%lld", (long long)r.left_out);
    DK_TRY(dk_strbuf_check(&r.damaged, err));
    DK_TRY(dk_strbuf_check(json, err));
out:
    dk_strbuf_free(&r.damaged);
    return rc;
}
