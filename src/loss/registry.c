#include <pthread.h>
#include <string.h>

#include "loss/loss_parts.h"

struct di_registry {
    dk_host *host;
    pthread_mutex_t mutex; /* guards the list; entries themselves do not change */
    di_entry *first;
};

void di_entry_release(di_entry *entry)
{
    while (entry && atomic_fetch_sub(&entry->references, 1) == 1) {
        di_entry *fallback = entry->fallback;
        dk_host *host = entry->host;
        if (entry->table.destroy) entry->table.destroy(entry->table.user);
        dk_free(host, entry->name);
        dk_free(host, entry);
        dk_host_release(host);
        entry = fallback;
    }
}

di_eval_fn di_entry_eval(const di_entry *entry, int32_t isa)
{
    if (!entry->builtin) return entry->table.eval;
    return entry->builtin->eval[isa >= DK_ISA_PORTABLE && isa <= DK_ISA_AVX512 ? isa : DK_ISA_PORTABLE];
}

int32_t di_entry_logs(const di_entry *entry) { return (entry->table.flags & DISTILL_LOSS_LOG_PROBS) != 0; }

int32_t di_entry_is_feature(const di_entry *entry) { return entry->builtin && entry->builtin->feature; }

int32_t di_entry_is_pair(const di_entry *entry) { return entry->builtin && entry->builtin->pairs; }

int32_t di_entry_floors(const di_entry *entry) { return di_entry_logs(entry) && !entry->builtin; }

/* Retained; NULL = none. */
static di_entry *find(const di_registry *registry, const char *name)
{
    di_entry *entry;
    pthread_mutex_lock(&((di_registry *)registry)->mutex);
    entry = registry->first;
    while (entry && strcmp(entry->name, name) != 0) entry = entry->next;
    if (entry) atomic_fetch_add(&entry->references, 1);
    pthread_mutex_unlock(&((di_registry *)registry)->mutex);
    return entry;
}

/* From here on the entry destroys the table, also when this fails. */
static int32_t create_entry(dk_host *host, const char *name, const distill_loss_callbacks *table, di_entry **out,
                            dk_error *err)
{
    di_entry *entry = dk_calloc(host, 1, sizeof *entry);
    char *copy = dk_strdup(host, name);
    if (!entry || !copy) {
        dk_free(host, entry);
        dk_free(host, copy);
        if (table->destroy) table->destroy(table->user);
        return dk_fail_nomem(err, sizeof *entry + strlen(name) + 1);
    }
    atomic_init(&entry->references, 1);
    entry->host = dk_host_retain(host);
    entry->name = copy;
    entry->table = *table;
    entry->table.fallback = NULL;
    *out = entry;
    return DK_OK;
}

enum { SUMS_MOST = 64 };

/* An older caller's table ends earlier: it measures nothing. */
static int32_t take_table(const distill_loss_callbacks *given, distill_loss_callbacks *out, dk_error *err)
{
    const int32_t rc = di_check_struct(given, "table", offsetof(distill_loss_callbacks, measure), err);
    if (rc) return rc;
    DISTILL_INIT(out);
    memcpy(out, given, given->struct_size < sizeof *out ? given->struct_size : sizeof *out);
    return DK_OK;
}

static int32_t check_table(const char *name, const distill_loss_callbacks *table, dk_error *err)
{
    const uint32_t known = DISTILL_LOSS_MT | DISTILL_LOSS_LOG_PROBS | DISTILL_LOSS_WHOLE_SEQUENCES;
    const int64_t kinds = ((int64_t)1 << (DISTILL_ONE_HOT + 1)) - 2;
    if (!name || !*name) return dk_fail(err, DK_E_INVALID, "a loss needs a name");
    if (!table->eval) return dk_fail(err, DK_E_INVALID, "loss %s has no eval", name);
    if (table->flags & ~known)
        return dk_fail(err, DK_E_INVALID, "loss %s: flags 0x%x has bits that are not known", name,
                       (unsigned)table->flags);
    if (!table->measure != !table->sums || table->sums < 0 || table->sums > SUMS_MOST)
        return dk_fail(err, DK_E_INVALID,
                       "loss %s has %s measure and sums %lld; it has both, 1 to %d numbers, or neither", name,
                       table->measure ? "a" : "no", (long long)table->sums, SUMS_MOST);
    if (table->targets & ~kinds)
        return dk_fail(err, DK_E_INVALID, "loss %s: targets 0x%llx has bits that are no kind of target", name,
                       (unsigned long long)table->targets);
    for (int64_t i = 0; di_builtin_at(i); i++)
        if (!strcmp(di_builtin_at(i)->name, name))
            return dk_fail(err, DK_E_INVALID, "loss %s is built in; take another name", name);
    return DK_OK;
}

int32_t di_registry_get(const di_registry *registry, const char *name, di_entry **out, dk_error *err)
{
    dk_strbuf names;
    int32_t rc;
    if ((*out = find(registry, name)) != NULL) return DK_OK;
    dk_strbuf_init(&names, registry->host);
    DK_TRY(di_registry_names(registry, &names, err));
    rc = dk_fail(err, DK_E_NOT_FOUND, "loss %s is not registered; there are %s", name, names.data);
out:
    dk_strbuf_free(&names);
    return rc;
}

static int32_t get_fallback(const di_registry *registry, const char *name, const char *fallback, di_entry **out,
                            dk_error *err)
{
    int32_t rc = fallback ? di_registry_get(registry, fallback, out, err) : DK_OK;
    const di_builtin *builtin = rc == DK_OK && fallback ? (*out)->builtin : NULL;
    const char *why = NULL;
    if (builtin && builtin->tool) why = "is a loss as another tool has it, which no rows can fall back to";
    else if (builtin && builtin->feature) why = "is a loss on features, which no rows can fall back to";
    else if (rc == DK_OK && fallback && (*out)->table.sums) why = "measures sequences first, which a fallback does not";
    if (why) {
        di_entry_release(*out);
        *out = NULL;
        rc = dk_fail(err, DK_E_INVALID, "%s %s", fallback, why);
    }
    if (rc) dk_error_context(err, "fallback of loss %s", name);
    return rc;
}

dk_host *di_registry_host(const di_registry *registry) { return registry->host; }

/* Takes the registry's reference to entry over, if the name is free. */
static int32_t insert(di_registry *registry, di_entry *entry, dk_error *err)
{
    di_entry **place = &registry->first;
    int32_t rc = DK_OK;
    pthread_mutex_lock(&registry->mutex);
    while (*place && strcmp((*place)->name, entry->name) != 0) place = &(*place)->next;
    if (*place) rc = DK_E_INVALID;
    else *place = entry;
    pthread_mutex_unlock(&registry->mutex);
    if (rc == DK_OK) return rc;
    dk_fail(err, rc, "loss %s is registered already; take another name", entry->name);
    di_entry_release(entry); /* its destroy runs without the lock */
    return rc;
}

int32_t di_registry_add(di_registry *registry, const char *name, const distill_loss_callbacks *given, dk_error *err)
{
    distill_loss_callbacks own;
    const distill_loss_callbacks *table = &own;
    di_entry *entry = NULL, *fallback = NULL;
    int32_t rc;
    if ((rc = take_table(given, &own, err)) != DK_OK) return rc;
    DK_TRY(check_table(name, table, err));
    DK_TRY(get_fallback(registry, name, table->fallback, &fallback, err));
    if ((rc = create_entry(registry->host, name, table, &entry, err)) != DK_OK) {
        di_entry_release(fallback);
        return rc;
    }
    entry->fallback = fallback;
    return insert(registry, entry, err);
out:
    if (table->destroy) table->destroy(table->user);
    return rc;
}

static int32_t add_builtin(di_registry *registry, const di_builtin *builtin, dk_error *err)
{
    distill_loss_callbacks table;
    di_entry *entry = NULL;
    int32_t rc;
    DISTILL_INIT(&table);
    table.flags = builtin->flags;
    table.eval = builtin->eval[DK_ISA_PORTABLE];
    table.targets = builtin->targets;
    table.sums = builtin->sums;
    if ((rc = create_entry(registry->host, builtin->name, &table, &entry, err)) != DK_OK) return rc;
    entry->builtin = builtin;
    return insert(registry, entry, err);
}

int32_t di_registry_create(dk_host *host, di_registry **out, dk_error *err)
{
    di_registry *registry = NULL;
    int32_t rc = dk_new(host, 1, &registry, err);
    if (rc) return rc;
    registry->host = dk_host_retain(host);
    if (pthread_mutex_init(&registry->mutex, NULL) != 0) {
        dk_free(host, registry);
        dk_host_release(host);
        return dk_fail_nomem(err, sizeof *registry);
    }
    for (int64_t i = 0; di_builtin_at(i); i++) DK_TRY(add_builtin(registry, di_builtin_at(i), err));
    *out = registry;
    return DK_OK;
out:
    di_registry_free(registry);
    return rc;
}

void di_registry_free(di_registry *registry)
{
    dk_host *host;
    if (!registry) return;
    host = registry->host;
    while (registry->first) {
        di_entry *entry = registry->first;
        registry->first = entry->next;
        di_entry_release(entry);
    }
    pthread_mutex_destroy(&registry->mutex);
    dk_free(host, registry);
    dk_host_release(host);
}

int32_t di_registry_names(const di_registry *registry, dk_strbuf *out, dk_error *err)
{
    pthread_mutex_lock(&((di_registry *)registry)->mutex);
    for (const di_entry *entry = registry->first; entry; entry = entry->next)
        dk_strbuf_printf(out, "%s%s", entry == registry->first ? "" : ", ", entry->name);
    pthread_mutex_unlock(&((di_registry *)registry)->mutex);
    return dk_strbuf_check(out, err);
}
