#include "classifier/class_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

void di_class_names_free(di_class_names *n)
{
    for (int64_t i = 0; n->names && i < n->count; i++) dk_free(n->host, n->names[i]);
    if (n->host) dk_free(n->host, n->names);
    if (n->host) dk_free(n->host, n->order);
    *n = (di_class_names){0};
}

typedef struct named {
    const char *name;
    int64_t index;
} named;

static int by_name(const void *a, const void *b)
{
    const named *x = a, *y = b;
    return strcmp(x->name, y->name);
}

int32_t di_class_names_take(dk_host *host, const char *const *names, int64_t count, di_class_names *out, dk_error *err)
{
    named *sorted = NULL;
    int32_t rc;
    *out = (di_class_names){.host = host};
    if (count > DI_CLASSES_MOST)
        return dk_fail(err, DK_E_INVALID, "%lld classes: at most %d", (long long)count, DI_CLASSES_MOST);
    DK_TRY(dk_new(host, count + 1, &sorted, err));
    DK_TRY(dk_new(host, count + 1, &out->names, err));
    DK_TRY(dk_new(host, count + 1, &out->order, err));
    for (; out->count < count; out->count++) {
        const char *name = names[out->count];
        if (!*name) DK_TRY(dk_fail(err, DK_E_INVALID, "class %lld has an empty name", (long long)out->count));
        if (!(out->names[out->count] = dk_strdup(host, name))) DK_TRY(dk_fail_nomem(err, strlen(name)));
        sorted[out->count] = (named){out->names[out->count], out->count};
    }
    if (count) qsort(sorted, (size_t)count, sizeof *sorted, by_name);
    for (int64_t i = 0; i < count; i++) {
        out->order[i] = sorted[i].index;
        if (i && !strcmp(sorted[i].name, sorted[i - 1].name))
            DK_TRY(dk_fail(err, DK_E_INVALID, "class \"%.80s\" is named twice", sorted[i].name));
    }
out:
    dk_free(host, sorted);
    if (rc) di_class_names_free(out);
    return rc;
}

int64_t di_class_names_find(const di_class_names *n, const char *name)
{
    int64_t low = 0, high = n->count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const int order = strcmp(n->names[n->order[middle]], name);
        if (!order) return n->order[middle];
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return -1;
}

typedef struct gathered { /* names that were seen, each once */
    dk_host *host;
    char **slots; /* open addressing; [cap], a power of two */
    int64_t cap, count;
    int64_t listed, listed_at; /* most probabilities of a list; of a number as label */
} gathered;

static int32_t see_more(gathered *g, dk_error *err)
{
    gathered larger = {.host = g->host, .cap = g->cap ? 2 * g->cap : 64};
    int32_t rc;
    DK_TRY(dk_new(g->host, larger.cap, &larger.slots, err));
    for (int64_t i = 0; i < g->cap; i++) {
        if (!g->slots[i]) continue;
        uint64_t at = dk_hash64(g->slots[i], strlen(g->slots[i]));
        while (larger.slots[at & (uint64_t)(larger.cap - 1)]) at++;
        larger.slots[at & (uint64_t)(larger.cap - 1)] = g->slots[i];
    }
    dk_free(g->host, g->slots);
    g->slots = larger.slots;
    g->cap = larger.cap;
out:
    return rc;
}

static int32_t see(gathered *g, const char *name, dk_error *err)
{
    int32_t rc;
    if (2 * g->count >= g->cap && (rc = see_more(g, err)) != DK_OK) return rc;
    uint64_t at = dk_hash64(name, strlen(name));
    for (;; at++) {
        char **slot = &g->slots[at & (uint64_t)(g->cap - 1)];
        if (*slot && strcmp(*slot, name)) continue;
        if (*slot) return DK_OK;
        if (!(*slot = dk_strdup(g->host, name))) return dk_fail_nomem(err, strlen(name));
        g->count++;
        return g->count <= DI_CLASSES_MOST
                   ? DK_OK
                   : dk_fail(err, DK_E_FORMAT, "the texts name more than %d classes", DI_CLASSES_MOST);
    }
}

static int32_t see_line(gathered *g, const di_line *at, dk_error *err)
{
    dk_document *line = NULL;
    int32_t rc;
    DK_TRY(di_line_parse(g->host, at, &line, err));
    const dk_node *p = di_line_member(dk_document_root(line), "probabilities"),
                  *label = di_line_member(dk_document_root(line), "label");
    for (size_t i = 0; p && p->type == DK_NODE_MAP && i < p->size; i++) DK_TRY(see(g, p->items[i]->key, err));
    if (p && p->type == DK_NODE_LIST && (int64_t)p->size > g->listed) g->listed = (int64_t)p->size;
    if (label && label->type == DK_NODE_TEXT) DK_TRY(see(g, label->text, err));
    if (label && label->type == DK_NODE_INT && label->i64 >= g->listed_at) g->listed_at = label->i64 + 1;
out:
    dk_document_free(line);
    return rc;
}

static int by_text(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

/* "0", "1", ...: as many as lists are long, or as labels count. */
static int32_t number_names(gathered *g, dk_error *err)
{
    const int64_t count = g->listed > g->listed_at ? g->listed : g->listed_at;
    int32_t rc = DK_OK;
    char name[24];
    if (count > DI_CLASSES_MOST)
        return dk_fail(err, DK_E_FORMAT, "the texts number %lld classes: at most %d", (long long)count,
                       DI_CLASSES_MOST);
    for (int64_t i = 0; i < count && rc == DK_OK; i++) {
        snprintf(name, sizeof name, "%lld", (long long)i);
        rc = see(g, name, err);
    }
    return rc;
}

static int by_number(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    const size_t m = strlen(*x), n = strlen(*y);
    return m != n ? (m < n ? -1 : 1) : strcmp(*x, *y);
}

int32_t di_class_names_gather(dk_host *host, const di_source_text *sources, int64_t count, di_class_names *out,
                              dk_error *err)
{
    gathered g = {.host = host};
    const char **names = NULL;
    int64_t found = 0;
    int32_t rc = DK_OK, numbered;
    for (int64_t s = 0; s < count; s++)
        for (int64_t i = 0; i < sources[s].count; i++) DK_TRY(see_line(&g, &(di_line){&sources[s], i}, err));
    if ((numbered = !g.count)) DK_TRY(number_names(&g, err));
    DK_TRY(dk_new(host, g.count + 1, &names, err));
    for (int64_t i = 0; i < g.cap; i++)
        if (g.slots[i]) names[found++] = g.slots[i];
    if (found) qsort(names, (size_t)found, sizeof *names, numbered ? by_number : by_text);
    DK_TRY(di_class_names_take(host, names, found, out, err));
out:
    for (int64_t i = 0; i < g.cap; i++) dk_free(host, g.slots[i]);
    dk_free(host, g.slots);
    dk_free(host, names);
    return rc;
}
