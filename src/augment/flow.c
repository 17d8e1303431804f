/* flow.c - what comes out of an operator, and what is counted. */
#include "augment/flow.h"

#include <string.h>

int32_t di_reasons_add(dk_host *host, di_reasons *reasons, const char *name, int64_t count, dk_error *err)
{
    for (int64_t i = 0; i < reasons->count; i++)
        if (!strcmp(reasons->items[i].name, name)) return reasons->items[i].count += count, DK_OK;
    di_reason *grown = dk_realloc(host, reasons->items, (uint64_t)reasons->count + 1, sizeof *grown);
    if (!grown) return dk_fail_nomem(err, ((uint64_t)reasons->count + 1) * sizeof *grown);
    reasons->items = grown;
    grown[reasons->count] = (di_reason){dk_strdup(host, name), count};
    if (!grown[reasons->count].name) return dk_fail_nomem(err, strlen(name) + 1);
    reasons->count++;
    return DK_OK;
}

int64_t di_reasons_get(const di_reasons *reasons, const char *name)
{
    for (int64_t i = 0; i < reasons->count; i++)
        if (!strcmp(reasons->items[i].name, name)) return reasons->items[i].count;
    return 0;
}

void di_reasons_json(const di_reasons *reasons, dk_strbuf *out)
{
    dk_strbuf_puts(out, "{");
    for (int64_t i = 0; i < reasons->count; i++) {
        if (i) dk_strbuf_puts(out, ",");
        dk_strbuf_json(out, reasons->items[i].name, strlen(reasons->items[i].name));
        dk_strbuf_printf(out, ":%lld", (long long)reasons->items[i].count);
    }
    dk_strbuf_puts(out, "}");
}

int32_t di_reasons_read(dk_host *host, const dk_node *map, di_reasons *out, dk_error *err)
{
    int32_t rc = DK_OK;
    for (size_t i = 0; map && map->type == DK_NODE_MAP && i < map->size && !rc; i++)
        rc = di_reasons_add(host, out, map->items[i]->key, map->items[i]->i64, err);
    return rc;
}

void di_reasons_free(dk_host *host, di_reasons *reasons)
{
    for (int64_t i = 0; i < reasons->count; i++) dk_free(host, reasons->items[i].name);
    dk_free(host, reasons->items);
    *reasons = (di_reasons){NULL, 0};
}

/* ---- records ---- */

int32_t di_flow_emit(di_flow *flow, di_record **record, dk_error *err)
{
    di_record *taken = *record;
    *record = NULL;
    if (flow->count == flow->capacity) {
        const int64_t capacity = flow->capacity ? 2 * flow->capacity : 64;
        di_record **grown = dk_realloc(flow->host, flow->records, (uint64_t)capacity, sizeof *grown);
        if (!grown) {
            di_record_free(taken);
            return dk_fail_nomem(err, (uint64_t)capacity * sizeof *grown);
        }
        flow->records = grown;
        flow->capacity = capacity;
    }
    flow->records[flow->count++] = taken;
    return DK_OK;
}

int32_t di_flow_count(di_flow *flow, const char *what, int64_t count, dk_error *err)
{
    return di_reasons_add(flow->host, flow->reasons, what, count, err);
}

int32_t di_flow_drop(di_flow *flow, di_record **record, const char *why, dk_error *err)
{
    di_record_free(*record);
    *record = NULL;
    return di_flow_count(flow, why, 1, err);
}

int32_t di_flow_aside(di_flow *flow, di_record **record, const char *why, dk_error *err)
{
    return di_flow_aside_because(flow, record, why, NULL, err);
}

int32_t di_flow_aside_because(di_flow *flow, di_record **record, const char *why, const char *problem, dk_error *err)
{
    dk_strbuf_puts(flow->aside, "{\"why\":");
    dk_strbuf_json(flow->aside, why, strlen(why));
    if (problem) {
        dk_strbuf_puts(flow->aside, ",\"problem\":");
        dk_strbuf_json(flow->aside, problem, strlen(problem));
    }
    dk_strbuf_puts(flow->aside, ",\"sample\":");
    di_record_write(*record, 0, flow->aside);
    if (!flow->aside->failed) flow->aside->size--; /* the end of its line */
    dk_strbuf_puts(flow->aside, "}\n");
    const int32_t rc = dk_strbuf_check(flow->aside, err), counted = di_flow_drop(flow, record, why, err);
    return rc ? rc : counted;
}

void di_flow_clear(di_flow *flow)
{
    for (int64_t i = 0; i < flow->count; i++) di_record_free(flow->records[i]);
    flow->count = 0;
}
