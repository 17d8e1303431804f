#include "text/tokens.h"

void dk_token_table_init(dk_token_table *table, dk_host *host)
{
    memset(table, 0, sizeof *table);
    table->host = host;
    dk_strbuf_init(&table->texts, host);
}

void dk_token_table_free(dk_token_table *table)
{
    if (!table->host) return;
    dk_strbuf_free(&table->texts);
    dk_free(table->host, table->items);
    dk_free(table->host, table->slots);
    memset(table, 0, sizeof *table);
}

/* A slot holds id + 1 and, in the bits above, a part of the hash, for which most texts of other tokens need no look. */
enum { ID_BITS = 25 };
static uint32_t slot_of(uint64_t hash, int64_t id)
{
    return (uint32_t)(hash >> (32 + ID_BITS)) << ID_BITS | (uint32_t)(id + 1);
}

static void put_slot(uint32_t *slots, uint64_t slot_count, const char *text, size_t size, int64_t id)
{
    uint64_t hash = dk_text_hash(text, size), at = hash;
    while (slots[at & (slot_count - 1)]) at++;
    slots[at & (slot_count - 1)] = slot_of(hash, id);
}

static int32_t grow_slots(dk_token_table *table, uint64_t tokens, dk_error *err)
{
    uint64_t slot_count = table->slot_count ? table->slot_count : 64;
    uint32_t *slots;
    while (slot_count < tokens * 2) slot_count *= 2;
    if (slot_count == table->slot_count) return DK_OK;
    int32_t rc = dk_new(table->host, slot_count, &slots, err);
    if (rc) return rc;
    for (int64_t id = 0; id < table->count; id++) {
        const dk_token *token = &table->items[id];
        if (token->flags && token->size) put_slot(slots, slot_count, dk_token_text(table, token), token->size, id);
    }
    dk_free(table->host, table->slots);
    table->slots = slots;
    table->slot_count = slot_count;
    return DK_OK;
}

static int32_t grow_items(dk_token_table *table, int64_t count, dk_error *err)
{
    int64_t capacity = table->capacity ? table->capacity : 256;
    while (capacity < count) capacity *= 2;
    if (capacity == table->capacity) return DK_OK;
    dk_token *items = dk_realloc(table->host, table->items, (uint64_t)capacity, sizeof *items);
    if (!items) return dk_fail_nomem(err, (uint64_t)capacity * sizeof *items);
    memset(items + table->capacity, 0, (size_t)(capacity - table->capacity) * sizeof *items);
    table->items = items;
    table->capacity = capacity;
    return DK_OK;
}

int32_t dk_token_table_reserve(dk_token_table *table, int64_t tokens, dk_error *err)
{
    int32_t rc = grow_items(table, tokens, err);
    return rc ? rc : grow_slots(table, (uint64_t)tokens, err);
}

int32_t dk_token_table_add(dk_token_table *table, const char *text, size_t size, int64_t id, uint8_t flags,
                           dk_error *err)
{
    int32_t rc = DK_OK;
    if (id < 0 || id >= DK_TOKEN_LIMIT)
        return dk_fail(err, DK_E_FORMAT, "token '%.40s' has id %lld, ids are 0 to %d", size ? text : "", (long long)id,
                       DK_TOKEN_LIMIT - 1);
    if (table->texts.size + size > UINT32_MAX)
        return dk_fail(err, DK_E_FORMAT, "token texts take more than %lld bytes", (long long)UINT32_MAX);
    if (dk_token_at(table, id))
        return dk_fail(err, DK_E_FORMAT, "tokens '%.40s' and '%.40s' share id %lld", size ? text : "",
                       dk_token_text(table, &table->items[id]), (long long)id);
    if (size && dk_token_table_find(table, text, size) >= 0)
        return dk_fail(err, DK_E_FORMAT, "token '%.40s' is listed twice, as id %lld and %lld", text,
                       (long long)dk_token_table_find(table, text, size), (long long)id);
    DK_TRY(grow_items(table, id + 1, err));
    DK_TRY(grow_slots(table, table->used + 1, err));
    table->items[id] = (dk_token){.offset = (uint32_t)table->texts.size, .size = (uint32_t)size, .flags = flags};
    dk_strbuf_append(&table->texts, text, size);
    dk_strbuf_append(&table->texts, "", 1); /* texts are handed out NUL-terminated */
    if ((rc = dk_strbuf_check(&table->texts, err))) {
        table->items[id].flags = 0;
        return rc;
    }
    if (size) put_slot(table->slots, table->slot_count, text, size, id);
    table->used++;
    if (id >= table->count) table->count = id + 1;
out:
    return rc;
}

int64_t dk_token_table_find(const dk_token_table *table, const char *text, size_t size)
{
    if (!table->slot_count || !size) return -1;
    const uint64_t hash = dk_text_hash(text, size);
    for (uint64_t at = hash;; at++) {
        uint32_t slot = table->slots[at & (table->slot_count - 1)];
        if (!slot) return -1;
        const int64_t id = (int64_t)(slot & ((1u << ID_BITS) - 1)) - 1;
        if (slot != slot_of(hash, id)) continue;
        const dk_token *token = &table->items[id];
        if (token->size == size && !memcmp(table->texts.data + token->offset, text, size)) return id;
    }
}

int64_t dk_token_table_find_model(const dk_token_table *table, const char *text, size_t size)
{
    int64_t id = dk_token_table_find(table, text, size);
    return id >= 0 && table->items[id].flags & DK_TOKEN_MODEL ? id : -1;
}

int32_t dk_merge_table_init(dk_merge_table *table, dk_host *host, uint64_t merges, dk_error *err)
{
    uint64_t slot_count = 64;
    memset(table, 0, sizeof *table);
    table->host = host;
    while (slot_count < merges * 2) slot_count *= 2;
    table->slots = dk_alloc(host, slot_count, sizeof *table->slots);
    if (!table->slots) return dk_fail_nomem(err, slot_count * sizeof *table->slots);
    for (uint64_t i = 0; i < slot_count; i++) table->slots[i].left = -1;
    table->slot_count = slot_count;
    return DK_OK;
}

void dk_merge_table_free(dk_merge_table *table)
{
    if (table->host) dk_free(table->host, table->slots);
    memset(table, 0, sizeof *table);
}

void dk_merge_table_add(dk_merge_table *table, dk_merge merge)
{
    uint64_t at = dk_pair_hash(merge.left, merge.right);
    for (;; at++) {
        dk_merge *slot = &table->slots[at & (table->slot_count - 1)];
        if (slot->left >= 0 && (slot->left != merge.left || slot->right != merge.right)) continue;
        table->used += slot->left < 0;
        *slot = merge;
        return;
    }
}
