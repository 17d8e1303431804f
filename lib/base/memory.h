/* memory.h - the host's memory: 64-byte aligned blocks that remember their size, so that free needs none. */
#ifndef DK_BASE_MEMORY_H
#define DK_BASE_MEMORY_H

#include "base/status.h"

typedef struct dk_host dk_host; /* what a process lends to the library: see base/host.h */

typedef struct dk_allocator {
    void *user;
    void *(*alloc)(void *user, size_t size, size_t align); /* thread-safe; NULL = out of memory */
    void (*free)(void *user, void *ptr, size_t size, size_t align);
    void (*destroy)(void *user);
} dk_allocator;

void *dk_alloc(dk_host *host, uint64_t count, uint64_t size);  /* count*size checked for overflow; NULL on failure */
void *dk_calloc(dk_host *host, uint64_t count, uint64_t size); /* zeroed */
/* 1 = a block that dk_alloc just gave is zeros, in pages that the system clears when they are touched */
int32_t dk_is_fresh(const dk_host *host, const void *ptr);
void *dk_realloc(dk_host *host, void *ptr, uint64_t count, uint64_t size); /* keeps the old block on failure */
void dk_free(dk_host *host, void *ptr);                                    /* NULL is fine */
char *dk_strdup(dk_host *host, const char *text);
char *dk_strndup(dk_host *host, const char *text, size_t size);
int64_t dk_host_allocations(const dk_host *host); /* how many allocations were made since create: tests count them */
/* Fails with NOMEM naming the bytes; for `DK_TRY(dk_new(host, n, &array, err))`. `out` is a pointer to a pointer. */
#define dk_new(host, count, out, err)                                \
    ((*(out) = dk_calloc((host), (uint64_t)(count), sizeof **(out))) \
         ? DK_OK                                                     \
         : dk_fail_nomem((err), (uint64_t)(count) * sizeof **(out)))

#endif
