#include "base/host.h"

#include "base/host_parts.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Large blocks come from the system itself: as zeros, which then need not be written. */
static void *default_alloc(void *user, size_t size, size_t align)
{
    (void)user;
    if (size < DK_FRESH_BYTES) return aligned_alloc(align, size);
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
#ifdef MADV_HUGEPAGE
    if (pages != MAP_FAILED) (void)madvise(pages, size, MADV_HUGEPAGE); /* only advice */
#endif
    return pages == MAP_FAILED ? NULL : pages;
}

static void default_free(void *user, void *ptr, size_t size, size_t align)
{
    (void)user;
    (void)align;
    if (size < DK_FRESH_BYTES) free(ptr);
    else (void)munmap(ptr, size);
}

static size_t host_size(void) { return (sizeof(dk_host) + DK_ALIGNMENT - 1) / DK_ALIGNMENT * DK_ALIGNMENT; }

static void free_host(dk_host *host)
{
    dk_allocator own = host->allocator;
    dk_ranks_free(host);
    dk_threads_free(host);
    dk_logger_free(host);
    own.free(own.user, host, host_size(), DK_ALIGNMENT);
    if (own.destroy) own.destroy(own.user);
}

int32_t dk_host_create(const dk_allocator *allocator, dk_host **out, dk_error *err)
{
    int32_t rc;
    dk_allocator own = {NULL, default_alloc, default_free, NULL};
    if (allocator) own = *allocator;
    dk_host *host = own.alloc && own.free ? own.alloc(own.user, host_size(), DK_ALIGNMENT) : NULL;
    if (!host) {
        if (own.destroy) own.destroy(own.user);
        if (own.alloc && own.free) return dk_fail_nomem(err, host_size());
        return dk_fail(err, DK_E_INVALID, "allocator: alloc and free must both be given");
    }
    memset(host, 0, sizeof *host);
    host->allocator = own;
    host->fresh = !allocator;
    atomic_init(&host->references, 1);
    DK_TRY(dk_logger_create(host, err));
    DK_TRY(dk_threads_create(host, err));
    *out = host;
    return DK_OK;
out:
    free_host(host);
    return rc;
}

dk_host *dk_host_retain(dk_host *host)
{
    if (host) atomic_fetch_add(&host->references, 1);
    return host;
}

void dk_host_release(dk_host *host)
{
    if (host && atomic_fetch_sub(&host->references, 1) == 1) free_host(host);
}

/* ---- stop ---- */

void dk_host_cancel(dk_host *host, int32_t on)
{
    atomic_store_explicit(&host->cancelled, on != 0, memory_order_relaxed);
}

int32_t dk_host_cancelled(const dk_host *host) { return atomic_load_explicit(&host->cancelled, memory_order_relaxed); }
