/* host.h - what a process lends to the library: memory, a log, threads, and a way to stop.
 *
 * There are no globals: everything in lib/ and src/ takes the dk_host of the env that it belongs to. A dk_host is
 * reference-counted; every handle keeps one reference, so handles may be freed in any order. */
#ifndef DK_BASE_HOST_H
#define DK_BASE_HOST_H

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/threads.h"

/* allocator NULL = aligned_alloc/free. On failure allocator->destroy has run. */
int32_t dk_host_create(const dk_allocator *allocator, dk_host **out, dk_error *err);
dk_host *dk_host_retain(dk_host *host);
void dk_host_release(dk_host *host); /* NULL is fine */

/* ---- stop: a level, set from any thread or signal handler ---- */
void dk_host_cancel(dk_host *host, int32_t on);
int32_t dk_host_cancelled(const dk_host *host);

#endif
