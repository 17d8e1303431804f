#include "conf/builder.h"

#include <string.h>

enum { BLOCK_MIN = 4096, BLOCK_MAX = 4 << 20, INDEX_MIN = 9 /* smaller maps are searched one by one */ };

typedef struct block {
    struct block *next;
    uint64_t used, capacity;
} block;

struct dk_document {
    dk_host *host;
    char *name;
    block *blocks;
    const dk_node *root;
    uint64_t seed; /* differs from run to run, so that no file can be made whose keys all collide */
};

typedef struct map_node { /* every node of type MAP */
    dk_node node;
    uint32_t *slots; /* place in items + 1; 0 = free; NULL for small maps */
    uint64_t mask;
    uint64_t seed;
} map_node;

int32_t dk_document_create(dk_host *host, const char *name, dk_document **out, dk_error *err)
{
    dk_document *document;
    int32_t rc = dk_new(host, 1, &document, err);
    if (rc) return rc;
    document->name = dk_strdup(host, name);
    if (!document->name) {
        dk_free(host, document);
        return dk_fail_nomem(err, strlen(name) + 1);
    }
    document->host = dk_host_retain(host);
    document->seed = (uint64_t)(uintptr_t)document * UINT64_C(0x9e3779b97f4a7c15);
    *out = document;
    return DK_OK;
}

void dk_document_free(dk_document *document)
{
    if (!document) return;
    dk_host *host = document->host;
    for (block *next, *at = document->blocks; at; at = next) {
        next = at->next;
        dk_free(host, at);
    }
    dk_free(host, document->name);
    dk_free(host, document);
    dk_host_release(host);
}

const dk_node *dk_document_root(const dk_document *document) { return document->root; }

const char *dk_document_name(const dk_document *document) { return document->name; }

dk_host *dk_document_host(const dk_document *document) { return document->host; }

void dk_document_set_root(dk_document *document, const dk_node *root) { document->root = root; }

static block *add_block(dk_document *document, uint64_t size)
{
    uint64_t capacity = document->blocks ? document->blocks->capacity * 2 : BLOCK_MIN;
    if (capacity > BLOCK_MAX) capacity = BLOCK_MAX;
    if (capacity < size) capacity = size;
    if (capacity > UINT64_MAX - sizeof(block)) return NULL;
    block *added = dk_alloc(document->host, 1, sizeof(block) + capacity);
    if (!added) return NULL;
    *added = (block){document->blocks, 0, capacity};
    return document->blocks = added;
}

void *dk_document_take(dk_document *document, uint64_t size)
{
    block *at = document->blocks;
    if (size > INT64_MAX) return NULL;
    size = (size + 7) & ~UINT64_C(7);
    if (!at || at->capacity - at->used < size) at = add_block(document, size);
    if (!at) return NULL;
    unsigned char *taken = (unsigned char *)(at + 1) + at->used;
    at->used += size;
    return taken;
}

int32_t dk_document_node(dk_document *document, dk_node_type type, int64_t line, dk_node **out, dk_error *err)
{
    size_t size = type == DK_NODE_MAP ? sizeof(map_node) : sizeof(dk_node);
    dk_node *node = dk_document_take(document, size);
    if (!node) return dk_fail_nomem(err, size);
    memset(node, 0, size);
    node->type = type;
    node->line = (int32_t)line;
    *out = node;
    return DK_OK;
}

int32_t dk_document_text(dk_document *document, const char *data, size_t size, const char **out, dk_error *err)
{
    char *copy = dk_document_take(document, (uint64_t)size + 1);
    if (!copy) return dk_fail_nomem(err, (uint64_t)size + 1);
    if (size) memcpy(copy, data, size);
    copy[size] = 0;
    *out = copy;
    return DK_OK;
}

static uint64_t hash_key(uint64_t seed, const char *key, size_t size)
{
    uint64_t hash = seed ^ size;
    for (size_t i = 0; i < size; i++) hash = (hash ^ (unsigned char)key[i]) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 29;
}

static int32_t has_key(const dk_node *node, const char *key, size_t size)
{
    return node->key_size == size && !memcmp(node->key, key, size);
}

/* The slot that holds key, or the free one where it belongs. */
static uint32_t *find_slot(const map_node *map, const char *key, size_t size)
{
    uint64_t at = hash_key(map->seed, key, size) & map->mask;
    while (map->slots[at] && !has_key(map->node.items[map->slots[at] - 1], key, size)) at = (at + 1) & map->mask;
    return &map->slots[at];
}

static const dk_node *find_small(const dk_node *map, size_t count, const char *key, size_t size)
{
    for (size_t i = 0; i < count; i++)
        if (has_key(map->items[i], key, size)) return map->items[i];
    return NULL;
}

int32_t dk_document_index(dk_document *document, dk_node *map, const dk_node **repeated, dk_error *err)
{
    map_node *whole = (map_node *)map;
    uint64_t capacity = 16;
    *repeated = NULL;
    if (map->size < INDEX_MIN) {
        for (size_t i = 1; i < map->size && !*repeated; i++)
            if (find_small(map, i, map->items[i]->key, map->items[i]->key_size)) *repeated = map->items[i];
        return DK_OK;
    }
    if (map->size > UINT32_MAX / 4)
        return dk_fail(err, DK_E_FORMAT, "%s: a map of %zu keys is too large", document->name, map->size);
    while (capacity < 2 * (uint64_t)map->size) capacity *= 2;
    uint32_t *slots = dk_document_take(document, capacity * sizeof *slots);
    if (!slots) return dk_fail_nomem(err, capacity * sizeof *slots);
    memset(slots, 0, (size_t)capacity * sizeof *slots);
    whole->slots = slots;
    whole->mask = capacity - 1;
    whole->seed = document->seed;
    for (size_t i = 0; i < map->size; i++) {
        uint32_t *slot = find_slot(whole, map->items[i]->key, map->items[i]->key_size);
        if (*slot && !*repeated) *repeated = map->items[i];
        *slot = (uint32_t)i + 1;
    }
    return DK_OK;
}

const dk_node *dk_node_get(const dk_node *map, const char *key)
{
    if (!map || map->type != DK_NODE_MAP) return NULL;
    const map_node *whole = (const map_node *)map;
    size_t size = strlen(key);
    if (!whole->slots) return find_small(map, map->size, key, size);
    uint32_t slot = *find_slot(whole, key, size);
    return slot ? map->items[slot - 1] : NULL;
}

const dk_node *dk_node_at(const dk_node *list, size_t index)
{
    if (!list || (list->type != DK_NODE_LIST && list->type != DK_NODE_MAP) || index >= list->size) return NULL;
    return list->items[index];
}
