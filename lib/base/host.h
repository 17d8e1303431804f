/* host.h - what a process lends to the library: memory, a log, threads, and a way to stop.
 *
 * There are no globals: everything in lib/ and src/ takes the dk_host of the env that it belongs to. A dk_host is
 * reference-counted; every handle keeps one reference, so handles may be freed in any order. */
#ifndef DK_BASE_HOST_H
#define DK_BASE_HOST_H

#include "base/status.h"

typedef struct dk_host dk_host;

typedef struct dk_allocator {
    void *user;
    void *(*alloc)(void *user, size_t size, size_t align); /* thread-safe; NULL = out of memory */
    void (*free)(void *user, void *ptr, size_t size, size_t align);
    void (*destroy)(void *user);
} dk_allocator;

/* allocator NULL = aligned_alloc/free. On failure allocator->destroy has run. */
int32_t dk_host_create(const dk_allocator *allocator, dk_host **out, dk_error *err);
dk_host *dk_host_retain(dk_host *host);
void dk_host_release(dk_host *host); /* NULL is fine */

/* ---- memory: 64-byte aligned, sizes are remembered so that free needs none ---- */
void *dk_alloc(dk_host *host, uint64_t count, uint64_t size);  /* count*size checked for overflow; NULL on failure */
void *dk_calloc(dk_host *host, uint64_t count, uint64_t size); /* zeroed */
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

/* ---- log: silent until a function is set ---- */
enum { DK_LOG_ERROR = 1, DK_LOG_WARN = 2, DK_LOG_INFO = 3, DK_LOG_DEBUG = 4 };
typedef void (*dk_log_fn)(void *user, int32_t level, const char *component, const char *message);
void dk_host_set_logger(dk_host *host, int32_t level, dk_log_fn fn, void *user, void (*destroy)(void *user));
void dk_log(dk_host *host, int32_t level, const char *component, const char *format, ...) DK_PRINTF(4, 5);

/* ---- threads ----
 * dk_parallel_for calls body over disjoint ranges that cover [0, n) and returns when all are done. Ranges are cut by
 * n and grain alone (every range starts at a multiple of grain), never by the number of threads, so a reduction per
 * range has the same bits for any number of threads. Nested calls run in the calling thread. */
typedef void (*dk_body_fn)(void *context, int64_t begin, int64_t end);
typedef int32_t (*dk_parallel_fn)(void *user, int64_t n, dk_body_fn body, void *context);
/* fn NULL = the host's own pool of max_threads (0 = one per core that this process may use), started at the first
 * use. */
int32_t dk_host_set_threads(dk_host *host, int64_t max_threads, dk_parallel_fn fn, void *user,
                            void (*destroy)(void *user), dk_error *err);
int64_t dk_host_threads(const dk_host *host);
void dk_parallel_for(dk_host *host, int64_t n, int64_t grain, dk_body_fn body, void *context);

/* ---- stop: a level, set from any thread or signal handler ---- */
void dk_host_cancel(dk_host *host, int32_t on);
int32_t dk_host_cancelled(const dk_host *host);

/* ---- clock ---- */
double dk_seconds(void); /* monotonic */

#endif
