/* flow.h - what comes out of an operator: records in order, what was dropped by why, what was kept aside, tokens. */
#ifndef DI_AUGMENT_FLOW_H
#define DI_AUGMENT_FLOW_H

#include "augment/record.h"

typedef struct di_reason { /* "too_short": 12 */
    char *name;
    int64_t count;
} di_reason;
typedef struct di_reasons {
    di_reason *items; /* [count] in order of their first time */
    int64_t count;
} di_reasons;
int32_t di_reasons_add(dk_host *host, di_reasons *reasons, const char *name, int64_t count, dk_error *err);
int64_t di_reasons_get(const di_reasons *reasons, const char *name); /* 0 where it was never counted */
void di_reasons_json(const di_reasons *reasons, dk_strbuf *out);     /* {"too_short":12} */
int32_t di_reasons_read(dk_host *host, const dk_node *map, di_reasons *out, dk_error *err);
void di_reasons_free(dk_host *host, di_reasons *reasons);

typedef struct di_flow { /* of one operator and one chunk */
    dk_host *host;
    di_record **records; /* [count] */
    int64_t count, capacity;
    di_reasons *reasons; /* of the step, over all chunks */
    dk_strbuf *aside;    /* lines of what is kept aside, {"why": ..., "sample": {...}} */
    int64_t tokens;      /* that were generated */
} di_flow;
/* Takes *record over, which becomes NULL, also on failure. */
int32_t di_flow_emit(di_flow *flow, di_record **record, dk_error *err);
/* The same, dropped and counted under why ("too_short"), a name of letters and _ that never changes. */
int32_t di_flow_drop(di_flow *flow, di_record **record, const char *why, dk_error *err);
/* The same, counted, and written to the file that stands beside the result (OUT.aside.jsonl). */
int32_t di_flow_aside(di_flow *flow, di_record **record, const char *why, dk_error *err);
/* The same with what was wrong with it, in words: {"why": ..., "problem": ..., "sample": {...}}; NULL = no more is
 * known. */
int32_t di_flow_aside_because(di_flow *flow, di_record **record, const char *why, const char *problem, dk_error *err);
/* Counted beside what is dropped: prompts that fill the context, endless repetition that was cut. */
int32_t di_flow_count(di_flow *flow, const char *what, int64_t count, dk_error *err);
void di_flow_clear(di_flow *flow); /* frees the records that nobody took */

#endif
