#include "dataset/plan.h"

#include <string.h>

#include "dataset/pack.h"

int32_t di_sequences_add(di_sequences *list, dk_host *host, int64_t first, int64_t count, int64_t window, dk_error *err)
{
    if (list->count == list->capacity) {
        int64_t capacity = list->capacity ? list->capacity * 2 : 256;
        di_sequence *grown = dk_realloc(host, list->items, (uint64_t)capacity, sizeof *grown);
        if (!grown) return dk_fail_nomem(err, (uint64_t)capacity * sizeof *grown);
        list->items = grown;
        list->capacity = capacity;
    }
    if (window >= UINT32_MAX) return dk_fail(err, DK_E_UNSUPPORTED, "the data has more than %u windows", UINT32_MAX);
    list->items[list->count++] = (di_sequence){first, (int32_t)count, (uint32_t)window};
    return DK_OK;
}

typedef struct planner {
    const di_store *store;
    di_packer packer;
    di_sequences list;
} planner;

static int32_t add(void *user, int64_t first, int64_t count, dk_error *err)
{
    planner *p = user;
    return di_sequences_add(&p->list, p->store->host, first, count, di_packer_place(&p->packer, count), err);
}

/* Sorts by window, keeping the order inside: a counting sort, for the numbers are dense. */
static int32_t sort(const planner *p, di_plan *plan, dk_error *err)
{
    dk_host *host = p->store->host;
    int64_t *at;
    int32_t rc;
    plan->windows = p->packer.next;
    DK_TRY(dk_new(host, plan->windows + 2, &plan->first, err));
    DK_TRY(dk_new(host, p->list.count + 1, &plan->sequences, err));
    at = plan->first + 1; /* shifted by one, so that filling leaves the beginnings in first */
    for (int64_t i = 0; i < p->list.count; i++) at[p->list.items[i].window + 1]++;
    for (int64_t w = 0; w < plan->windows; w++) {
        if (at[w + 1] > plan->max_sequences) plan->max_sequences = at[w + 1];
        at[w + 1] += at[w];
    }
    for (int64_t i = 0; i < p->list.count; i++) plan->sequences[at[p->list.items[i].window]++] = p->list.items[i];
out:
    return rc;
}

static void measure(di_plan *plan)
{
    for (int64_t w = 0; w < plan->windows; w++) {
        int64_t tokens = 0;
        for (int64_t i = plan->first[w]; i < plan->first[w + 1]; i++) tokens += plan->sequences[i].count;
        if (tokens > plan->max_tokens) plan->max_tokens = tokens;
    }
}

/* Both sides go to one window. */
static int32_t cut_pair(planner *p, int64_t chosen, const di_rules *rules, di_counts *counts, dk_error *err)
{
    const di_store *store = p->store;
    const int64_t first = di_store_begin(store, chosen), middle = (int64_t)store->documents[chosen].end,
                  last = (int64_t)store->documents[chosen + 1].end;
    int32_t rc, kept = 0;
    DK_TRY(di_cut_pair(rules, &store->tokens, first, middle, last, counts, &kept, err));
    if (!kept) goto out;
    const int64_t window = di_packer_place(&p->packer, last - first);
    DK_TRY(di_sequences_add(&p->list, store->host, first, middle - first, window, err));
    DK_TRY(di_sequences_add(&p->list, store->host, middle, last - middle, window, err));
out:
    return rc;
}

static int32_t cut_document(planner *p, int64_t document, const di_range *range, const di_rules *rules,
                            di_counts *counts, dk_error *err)
{
    const di_store *store = p->store;
    const di_document *d = &store->documents[document];
    const int32_t side = di_store_side(store, document);
    int64_t first = di_store_begin(store, document), last = (int64_t)d->end;
    if (side) return side == DISTILL_CHOSEN ? cut_pair(p, document, rules, counts, err) : DK_OK;
    if (first < range->first_token) first = range->first_token;
    if (last > range->last_token) last = range->last_token;
    if (first >= last) return DK_OK;
    return di_cut(rules, &store->tokens, first, last - first, di_document_flags(d), counts, add, p, err);
}

static int32_t cut_all(planner *p, const di_range *range, const di_rules *rules, di_counts *counts, dk_error *err)
{
    const di_store *store = p->store;
    char place[400];
    for (int64_t d = range->begin; d < range->end; d++) {
        int32_t rc = cut_document(p, d, range, rules, counts, err);
        if (rc == DK_OK) continue;
        di_store_place(store, d, place, sizeof place);
        if (rc == DK_E_INVALID) dk_error_context(err, "%s", place);
        if (err && store->lines) err->position = di_document_number(&store->documents[d]);
        return rc;
    }
    return DK_OK;
}

int32_t di_plan_make(const di_store *store, const di_range *range, const di_rules *rules, di_plan *out, dk_error *err)
{
    planner p = {.store = store};
    di_plan plan = {0};
    int32_t rc;
    di_packer_init(&p.packer, rules->length, rules->pack);
    DK_TRY(cut_all(&p, range, rules, &plan.counts, err));
    if (range->begin == 0 && range->end == store->document_count) { /* those without a token are in no part */
        plan.counts.samples += store->empty;
        plan.counts.no_labels += store->empty;
    }
    if (!p.list.count) DK_TRY(di_counts_fail(&plan.counts, rules->length, store->name, err));
    DK_TRY(sort(&p, &plan, err));
    measure(&plan);
    *out = plan;
    memset(&plan, 0, sizeof plan);
out:
    dk_free(store->host, p.list.items);
    di_plan_free(store->host, &plan);
    return rc;
}

void di_plan_free(dk_host *host, di_plan *plan)
{
    dk_free(host, plan->sequences);
    dk_free(host, plan->first);
}
