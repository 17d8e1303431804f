/* fail_alloc.h - an allocator that counts what is out and, when asked, fails the n-th request. */
#ifndef TESTS_FAIL_ALLOC_H
#define TESTS_FAIL_ALLOC_H

#include "base/host.h"

#include <stdatomic.h>
#include <stdlib.h>

typedef struct fail_alloc {
    _Atomic long left;   /* requests until one fails; negative = never */
    _Atomic long blocks; /* not yet freed */
    _Atomic long bytes;
} fail_alloc;

static inline void *fail_alloc_get(void *user, size_t size, size_t align)
{
    fail_alloc *self = user;
    if (self->left >= 0 && atomic_fetch_sub(&self->left, 1) == 0) return NULL;
    void *ptr = aligned_alloc(align, size);
    if (ptr) atomic_fetch_add(&self->blocks, 1), atomic_fetch_add(&self->bytes, (long)size);
    return ptr;
}

static inline void fail_alloc_put(void *user, void *ptr, size_t size, size_t align)
{
    fail_alloc *self = user;
    (void)align;
    atomic_fetch_sub(&self->blocks, 1);
    atomic_fetch_sub(&self->bytes, (long)size);
    free(ptr);
}

static inline dk_allocator fail_allocator(fail_alloc *self)
{
    dk_allocator allocator = {self, fail_alloc_get, fail_alloc_put, NULL};
    self->left = -1;
    return allocator;
}

/* Calls attempt(context, host, err) with the 1st, 2nd, ... request failing until it succeeds; every failure must be
 * NOMEM and leave nothing behind. Returns the number of failures, -1 when a rule was broken. */
static inline long fail_every_alloc(int32_t (*attempt)(void *context, dk_host *host, dk_error *err), void *context)
{
    for (long n = 0; n < 100000; n++) {
        fail_alloc memory = {0};
        dk_allocator allocator = fail_allocator(&memory);
        dk_host *host;
        dk_error err = {0};
        if (dk_host_create(&allocator, &host, &err)) return -1;
        memory.left = n;
        int32_t rc = attempt(context, host, &err);
        memory.left = -1;
        dk_host_release(host);
        if (memory.blocks || memory.bytes) return -1;
        if (!rc) return n;
        if (rc != DK_E_NOMEM || err.code != rc) return -1;
    }
    return -1;
}

#endif
