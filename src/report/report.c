#include "report/report.h"

#include <string.h>

struct di_report {
    dk_host *host; /* a reference */
    dk_document *document;
    char *json;
    size_t size;
};

int32_t di_report_create(dk_host *host, const char *json, size_t size, di_report **out, dk_error *err)
{
    di_report *report = NULL;
    int32_t rc;
    DK_TRY(dk_new(host, 1, &report, err));
    report->host = dk_host_retain(host);
    report->size = size;
    if (!(report->json = dk_strndup(host, json, size))) {
        rc = dk_fail_nomem(err, size);
        goto out;
    }
    DK_TRY(dk_json_parse(host, report->json, size, "report", &report->document, err));
    *out = report;
    return DK_OK;
out:
    di_report_free(report);
    return rc;
}

void di_report_free(di_report *report)
{
    if (!report) return;
    dk_host *host = report->host;
    dk_document_free(report->document);
    dk_free(host, report->json);
    dk_free(host, report);
    dk_host_release(host);
}

const char *di_report_json(const di_report *report, size_t *size)
{
    *size = report->size;
    return report->json;
}

static const dk_node *child(const dk_node *node, const char *key, size_t size)
{
    char name[128];
    int64_t index;
    if (!node || size >= sizeof name) return NULL;
    memcpy(name, key, size);
    name[size] = '\0';
    if (node->type == DK_NODE_MAP) return dk_node_get(node, name);
    return node->type == DK_NODE_LIST && dk_parse_i64(name, size, &index) && index >= 0
               ? dk_node_at(node, (size_t)index)
               : NULL;
}

int32_t di_report_get_f64(const di_report *report, const char *key, double *out, dk_error *err)
{
    const dk_node *node = dk_document_root(report->document);
    for (const char *at = key; node && *at;) {
        size_t size = strcspn(at, ".");
        node = child(node, at, size);
        at += size + (at[size] == '.');
    }
    if (!node) return dk_fail(err, DK_E_NOT_FOUND, "the report has no %s", key);
    if (node->type != DK_NODE_INT && node->type != DK_NODE_FLOAT && node->type != DK_NODE_BOOL)
        return dk_fail(err, DK_E_INVALID, "%s is not a number in the report", key);
    *out = node->type == DK_NODE_FLOAT ? node->f64 : (double)node->i64;
    return DK_OK;
}

const dk_node *di_report_root(const di_report *report) { return dk_document_root(report->document); }
