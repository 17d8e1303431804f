/* hosted_list.c - operators that the host added. */
#include "augment/hosted_list.h"

#include <pthread.h>
#include <string.h>

typedef struct entry {
    struct entry *next;
    char *name;
    distill_operator_callbacks table;
} entry;
struct di_hosted_list {
    dk_host *host;
    pthread_mutex_t lock;
    entry *first;
};

int32_t di_hosted_list_create(dk_host *host, di_hosted_list **out, dk_error *err)
{
    di_hosted_list *list = NULL;
    int32_t rc;
    DK_TRY(dk_new(host, 1, &list, err));
    list->host = host;
    if (pthread_mutex_init(&list->lock, NULL)) {
        dk_free(host, list);
        return dk_fail_nomem(err, sizeof *list);
    }
    *out = list;
out:
    return rc;
}

void di_hosted_list_free(di_hosted_list *list)
{
    if (!list) return;
    for (entry *e = list->first, *next; e; e = next) {
        next = e->next;
        if (e->table.destroy) e->table.destroy(e->table.user);
        dk_free(list->host, e->name);
        dk_free(list->host, e);
    }
    pthread_mutex_destroy(&list->lock);
    dk_free(list->host, list);
}

static const entry *find(const di_hosted_list *list, const char *name)
{
    const entry *e = list->first;
    while (e && strcmp(e->name, name) != 0) e = e->next;
    return e;
}

const distill_operator_callbacks *di_hosted_list_find(const di_hosted_list *list, const char *name)
{
    di_hosted_list *own = (di_hosted_list *)(uintptr_t)list;
    if (!list) return NULL;
    pthread_mutex_lock(&own->lock);
    const entry *e = find(list, name);
    pthread_mutex_unlock(&own->lock);
    return e ? &e->table : NULL;
}

int32_t di_hosted_list_add(di_hosted_list *list, const char *name, const distill_operator_callbacks *table,
                           dk_error *err)
{
    entry *e = NULL;
    int32_t rc;
    if (!*name) DK_TRY(dk_fail(err, DK_E_INVALID, "name is empty"));
    DK_TRY(dk_new(list->host, 1, &e, err));
    e->table = *table;
    if (!(e->name = dk_strdup(list->host, name))) DK_TRY(dk_fail_nomem(err, strlen(name) + 1));
    pthread_mutex_lock(&list->lock);
    rc = find(list, name) ? dk_fail(err, DK_E_INVALID, "operator %s is there already; take another name", name) : DK_OK;
    if (!rc) {
        e->next = list->first;
        list->first = e;
    }
    pthread_mutex_unlock(&list->lock);
    if (!rc) return DK_OK;
out:
    if (e) dk_free(list->host, e->name);
    dk_free(list->host, e);
    if (table->destroy) table->destroy(table->user);
    return rc;
}
