/* host_parts.h - the host from inside: every part belongs to the file that is named behind it. Private to lib/base. */
#ifndef DK_BASE_HOST_PARTS_H
#define DK_BASE_HOST_PARTS_H

#include "base/memory.h"

#include <stdatomic.h>

enum { DK_ALIGNMENT = 64 };
#define DK_FRESH_BYTES ((size_t)32 << 20) /* what a C library, too, takes from the system every time */

struct dk_host {
    dk_allocator allocator;                          /* memory.c */
    int32_t fresh;                                   /* host.c: the allocator is its own */
    _Atomic int64_t allocations;                     /* memory.c */
    struct dk_logger *logger;                        /* log.c */
    struct dk_threads *threads;                      /* threads.c */
    struct dk_ranks *ranks;                          /* ranks.c; NULL = alone */
    _Atomic int64_t worked_tokens, worked_kiloflops; /* work.c */
    _Atomic int64_t references;                      /* host.c */
    _Atomic int32_t cancelled;                       /* host.c */
};

/* The parts that need memory of their own; the free functions take a host without the part. */
int32_t dk_logger_create(dk_host *host, dk_error *err);
void dk_logger_free(dk_host *host);
int32_t dk_threads_create(dk_host *host, dk_error *err);
void dk_threads_free(dk_host *host);
void dk_ranks_free(dk_host *host);

#endif
