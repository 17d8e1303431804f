/* route_choose.c - which member of a route teaches a sample: the one of its source or tag, the one that a host's
 * function names, or the one that finds its prompt the likeliest. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "teacher/route.h"

static const char *text_of(const char *const *texts, int64_t sequence)
{
    return texts && texts[sequence] ? texts[sequence] : "";
}

void di_route_name_sequence(const distill_batch *batch, int64_t sequence, char out[120])
{
    const char *source = text_of(batch->sources, sequence);
    snprintf(out, 120, *source ? "sequence %lld (source %.70s)" : "sequence %lld", (long long)sequence, source);
}

static int32_t fail_origin(const di_route *route, const char *who, const char *why, dk_error *err)
{
    char all[240] = "";
    for (int64_t i = 0; i < route->count; i++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%.60s", i ? ", " : "", route->members[i].name);
    return dk_fail(err, DK_E_NOT_FOUND, "%s has no teacher in the route (%s): %s; give route.default%s", who, all, why,
                   route->by == DI_ROUTE_SOURCE || route->by == DI_ROUTE_TAG ? ", or route.map" : "");
}

static int32_t fail_unrouted(const di_route *route, const distill_batch *batch, int64_t sequence, const char *why,
                             dk_error *err)
{
    char who[120];
    di_route_name_sequence(batch, sequence, who);
    fail_origin(route, who, why, err);
    if (err) err->position = sequence;
    return DK_E_NOT_FOUND;
}

/* ---- names ---- */

static int64_t find_rule(const di_route *route, const char *name)
{
    int64_t low = 0, high = route->rule_count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const int order = strcmp(name, route->rules[middle].name);
        if (!order) return route->rules[middle].member;
        if (order < 0) high = middle;
        else low = middle + 1;
    }
    return -1;
}

static int64_t find_named(const di_route *route, const char *name)
{
    const int64_t ruled = find_rule(route, name);
    for (int64_t i = 0; i < route->count && ruled < 0; i++)
        if (!strcmp(route->members[i].name, name)) return i;
    return ruled;
}

/* -1 = none; why says so. */
static int64_t choose_named(const di_route *route, const char *source, const char *tag, char why[120])
{
    const int32_t by_source = route->by == DI_ROUTE_SOURCE;
    const char *name = by_source ? source : tag;
    const int64_t member = *name ? find_named(route, name) : -1;
    if (!*name) snprintf(why, 120, "it says no %s", by_source ? "source" : "teacher");
    else snprintf(why, 120, "none is called %.64s", name);
    return member < 0 ? route->other : member;
}

int32_t di_route_of_origin(const di_route *route, const char *source, const char *tag, int64_t *member, dk_error *err)
{
    char who[120], why[120];
    *member = -1;
    if (route->by == DI_ROUTE_PROMPT_PERPLEXITY || route->by == DI_ROUTE_CALLBACK) return DK_OK;
    *member = choose_named(route, source, tag, why);
    if (*member >= 0) return DK_OK;
    snprintf(who, sizeof who, "a sample (source %.70s)", source);
    return fail_origin(route, who, why, err);
}

static int32_t choose_by_name(const di_route *route, const distill_batch *batch, int64_t sequence, int32_t *out,
                              dk_error *err)
{
    char why[120];
    *out = (int32_t)choose_named(route, text_of(batch->sources, sequence), text_of(batch->tags, sequence), why);
    return *out < 0 ? fail_unrouted(route, batch, sequence, why, err) : DK_OK;
}

/* ---- a host's function ---- */

static int32_t choose_by_host(di_route *route, const distill_batch *batch, int64_t sequence, int32_t *out,
                              dk_error *err)
{
    char who[120];
    int64_t member = -1;
    di_route_name_sequence(batch, sequence, who);
    if (atomic_exchange(&route->busy, 1)) return dk_fail(err, DK_E_BUSY, "the route's function runs in another thread");
    const int32_t code = route->fn(route->user, batch, sequence, text_of(batch->sources, sequence),
                                   text_of(batch->tags, sequence), &member);
    atomic_store(&route->busy, 0);
    if (code == DISTILL_CB_CANCEL) return dk_fail(err, DK_E_CANCELLED, "the route's function stopped at %s", who);
    if (code != DISTILL_CB_OK) {
        dk_fail(err, DK_E_CALLBACK, "the route's function returned %d for %s", (int)code, who);
        if (err) err->user_code = code;
        return DK_E_CALLBACK;
    }
    if (member >= route->count)
        return dk_fail(err, DK_E_CALLBACK, "the route's function gave teacher %lld of %lld for %s", (long long)member,
                       (long long)route->count, who);
    *out = (int32_t)(member < 0 ? route->other : member);
    return *out < 0 ? fail_unrouted(route, batch, sequence, "the route's function gives none", err) : DK_OK;
}

/* The sequences of which rows are asked, each once, with the place of its first row. */
typedef struct asked {
    const distill_batch *batch;
    const int64_t *places;
    int64_t rows, row, sequence, first;
} asked;

static int32_t next_asked(asked *at)
{
    if (at->row >= at->rows) return 0;
    at->first = at->places[at->row];
    while (at->batch->offsets[at->sequence + 1] <= at->first) at->sequence++;
    while (at->row < at->rows && at->places[at->row] < at->batch->offsets[at->sequence + 1]) at->row++;
    return 1;
}

int32_t di_route_choose(di_route *route, const distill_batch *batch, const int64_t *places, int64_t rows, int32_t *out,
                        dk_error *err)
{
    asked at = {.batch = batch, .places = places, .rows = rows};
    int32_t rc = DK_OK;
    for (int64_t s = 0; s < batch->sequences; s++) out[s] = -1;
    while (next_asked(&at)) {
        if (route->fn) DK_TRY(choose_by_host(route, batch, at.sequence, &out[at.sequence], err));
        else DK_TRY(choose_by_name(route, batch, at.sequence, &out[at.sequence], err));
    }
out:
    return rc;
}

/* ---- the likeliest prompt ---- */

struct di_prompts {
    di_route *route;
    dk_host *host;
    distill_batch batch; /* the prompts alone */
    int32_t *ids;        /* [max_tokens] */
    int64_t *offsets;    /* [max_sequences + 1] */
    int64_t *sequences;  /* [max_sequences] of the batch that is routed */
    double *best, *nats; /* [max_sequences] of the best member so far, and of the one under work */
    int64_t at;          /* the prompt that rows are of */
    double *flops;       /* [count] of each member */
    di_session *session; /* of the member under work */
    int64_t member;      /* that one */
};

void di_prompts_free(di_prompts *p)
{
    if (!p) return;
    dk_host *host = p->host;
    void *blocks[] = {p->ids, p->offsets, p->sequences, p->best, p->nats, p->flops, p};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) dk_free(host, blocks[i]);
}

int32_t di_prompts_create(di_route *route, dk_host *host, int64_t max_tokens, int64_t max_sequences, di_prompts **out,
                          dk_error *err)
{
    di_prompts *p = NULL;
    int32_t rc;
    DK_TRY(dk_new(host, 1, &p, err));
    p->route = route;
    p->host = host;
    DK_TRY(dk_new(host, max_tokens, &p->ids, err));
    DK_TRY(dk_new(host, max_sequences + 1, &p->offsets, err));
    DK_TRY(dk_new(host, max_sequences, &p->sequences, err));
    DK_TRY(dk_new(host, max_sequences, &p->best, err));
    DK_TRY(dk_new(host, max_sequences, &p->nats, err));
    DK_TRY(dk_new(host, route->count, &p->flops, err));
    *out = p;
    p = NULL;
out:
    di_prompts_free(p);
    return rc;
}

/* A prompt ends with the token whose row is the first that is asked for; its own first token nobody predicts. */
static int32_t gather_prompts(di_prompts *p, const distill_batch *batch, const int64_t *places, int64_t rows,
                              int32_t *out, dk_error *err)
{
    const di_route *route = p->route;
    asked at = {.batch = batch, .places = places, .rows = rows};
    int64_t count = 0;
    int32_t rc = DK_OK;
    for (int64_t s = 0; s < batch->sequences; s++) out[s] = -1;
    p->offsets[0] = 0;
    while (next_asked(&at)) {
        const int64_t begin = batch->offsets[at.sequence], length = at.first - begin + 1;
        if (length < 2) {
            if (route->other < 0)
                DK_TRY(fail_unrouted(route, batch, at.sequence,
                                     "it has no prompt of two tokens or more before what is learnt", err));
            out[at.sequence] = (int32_t)route->other;
            continue;
        }
        memcpy(p->ids + p->offsets[count], batch->ids + begin, (size_t)length * sizeof *p->ids);
        p->sequences[count] = at.sequence;
        p->best[count] = INFINITY;
        p->offsets[count + 1] = p->offsets[count] + length;
        count++;
    }
    DISTILL_INIT(&p->batch);
    p->batch.ids = p->ids;
    p->batch.offsets = p->offsets;
    p->batch.sequences = count;
out:
    return rc;
}

static int32_t check_prompts(const di_prompts *p, const distill_batch *batch, dk_error *err)
{
    char who[120];
    for (int64_t s = 0; s < p->batch.sequences; s++)
        for (int64_t i = p->offsets[s]; i < p->offsets[s + 1]; i++) {
            if (p->ids[i] < p->route->valid) continue;
            di_route_name_sequence(batch, p->sequences[s], who);
            return dk_fail_at(err, DK_E_INVALID, p->sequences[s],
                              "%s: id %d of its prompt is outside the %lld ids that all teachers know", who,
                              (int)p->ids[i], (long long)p->route->valid);
        }
    return DK_OK;
}

static int32_t add_rows(void *user, const di_session *s, int64_t first, int64_t count, const float *rows, dk_error *err)
{
    di_prompts *p = user;
    (void)err;
    if (!first) p->flops[p->member] = di_session_flops(p->session);
    for (int64_t r = 0; r < count; r++) {
        const int64_t place = s->places[first + r];
        while (p->offsets[p->at + 1] <= place) p->at++;
        p->nats[p->at] -= (double)rows[r * s->source.width + p->ids[place + 1]];
    }
    return DK_OK;
}

/* What a member says of a sequence is of one of the prompts. */
static void name_prompt(const di_prompts *p, const distill_batch *batch, int64_t member, dk_error *err)
{
    const char *name = p->route->members[member].name;
    char who[120];
    if (!di_names_sequence(err, p->batch.sequences)) {
        dk_error_context(err, "prompts, teacher %s", name);
        return;
    }
    err->position = p->sequences[err->position];
    di_route_name_sequence(batch, err->position, who);
    dk_error_context(err, "the prompt of %s, teacher %s", who, name);
}

double di_prompts_flops(const di_prompts *p, int64_t member) { return p->flops[member]; }

int32_t di_prompts_choose(di_prompts *p, di_scorer *const *scorers, const distill_batch *batch, const int64_t *places,
                          int64_t rows, int32_t *out, dk_error *err)
{
    int32_t rc;
    DK_TRY(gather_prompts(p, batch, places, rows, out, err));
    DK_TRY(check_prompts(p, batch, err));
    memset(p->flops, 0, (size_t)p->route->count * sizeof *p->flops);
    for (int64_t m = 0; m < p->route->count && p->batch.sequences; m++) {
        p->at = 0;
        p->member = m;
        p->session = di_scorer_session(scorers[m]);
        memset(p->nats, 0, (size_t)p->batch.sequences * sizeof *p->nats);
        rc = di_scorer_run(scorers[m], &p->batch, 1, add_rows, p, err);
        if (rc) name_prompt(p, batch, m, err);
        if (rc) goto out;
        for (int64_t s = 0; s < p->batch.sequences; s++) {
            if (out[p->sequences[s]] >= 0 && !(p->nats[s] < p->best[s])) continue; /* ties: by name */
            p->best[s] = p->nats[s];
            out[p->sequences[s]] = (int32_t)m;
        }
    }
out:
    return rc;
}
