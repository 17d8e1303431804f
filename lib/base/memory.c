#include "base/memory.h"

#include "base/host_parts.h"

#include <string.h>

typedef struct block { /* in front of every allocation, so that free knows the size */
    uint64_t size;     /* of the whole block */
    uint64_t used;     /* what was asked for */
} block;

static block *block_of(const void *ptr) { return (block *)(void *)((uintptr_t)ptr - DK_ALIGNMENT); }

void *dk_alloc(dk_host *host, uint64_t count, uint64_t size)
{
    if (size && count > (uint64_t)(PTRDIFF_MAX - 3 * DK_ALIGNMENT) / size) return NULL;
    uint64_t used = count * size;
    uint64_t whole = DK_ALIGNMENT + (used ? (used + DK_ALIGNMENT - 1) / DK_ALIGNMENT * DK_ALIGNMENT : DK_ALIGNMENT);
    block *head = host->allocator.alloc(host->allocator.user, (size_t)whole, DK_ALIGNMENT);
    if (!head) return NULL;
    head->size = whole;
    head->used = used;
    atomic_fetch_add_explicit(&host->allocations, 1, memory_order_relaxed);
    return (unsigned char *)head + DK_ALIGNMENT;
}

int32_t dk_is_fresh(const dk_host *host, const void *ptr)
{
    return host->fresh && block_of(ptr)->size >= DK_FRESH_BYTES;
}

void *dk_calloc(dk_host *host, uint64_t count, uint64_t size)
{
    void *ptr = dk_alloc(host, count, size);
    return ptr && !dk_is_fresh(host, ptr) ? memset(ptr, 0, (size_t)block_of(ptr)->used) : ptr;
}

void *dk_realloc(dk_host *host, void *ptr, uint64_t count, uint64_t size)
{
    void *grown = dk_alloc(host, count, size);
    if (!grown || !ptr) return grown;
    uint64_t old = block_of(ptr)->used, new = block_of(grown)->used;
    memcpy(grown, ptr, (size_t)(old < new ? old : new));
    dk_free(host, ptr);
    return grown;
}

void dk_free(dk_host *host, void *ptr)
{
    if (!ptr) return;
    host->allocator.free(host->allocator.user, block_of(ptr), (size_t)block_of(ptr)->size, DK_ALIGNMENT);
}

char *dk_strdup(dk_host *host, const char *text) { return dk_strndup(host, text, strlen(text)); }

char *dk_strndup(dk_host *host, const char *text, size_t size)
{
    char *copy = size < SIZE_MAX ? dk_alloc(host, (uint64_t)size + 1, 1) : NULL;
    if (!copy) return NULL;
    if (size) memcpy(copy, text, size);
    copy[size] = 0;
    return copy;
}

int64_t dk_host_allocations(const dk_host *host)
{
    return atomic_load_explicit(&host->allocations, memory_order_relaxed);
}
