#include "base/host.h"

#include "base/pool.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ALIGNMENT = 64, THREADS_MAX = 1024, LOG_SIZE = 1024 };

typedef struct block { /* in front of every allocation, so that free knows the size */
    uint64_t size;     /* of the whole block */
    uint64_t used;     /* what was asked for */
} block;

struct dk_host {
    dk_allocator allocator;
    _Atomic int64_t references;
    _Atomic int64_t allocations;
    _Atomic int32_t cancelled;
    int32_t log_level;
    dk_log_fn log_fn;
    void *log_user;
    void (*log_destroy)(void *user);
    int64_t threads;
    dk_parallel_fn parallel_fn;
    void *parallel_user;
    void (*parallel_destroy)(void *user);
    /* held while one dk_parallel_for runs: nested and concurrent ones stay in their thread */
    atomic_flag parallel_busy;
    dk_pool *pool;
};

static void *default_alloc(void *user, size_t size, size_t align)
{
    (void)user;
    return aligned_alloc(align, size);
}

static void default_free(void *user, void *ptr, size_t size, size_t align)
{
    (void)user;
    (void)size;
    (void)align;
    free(ptr);
}

int32_t dk_host_create(const dk_allocator *allocator, dk_host **out, dk_error *err)
{
    dk_allocator own = {NULL, default_alloc, default_free, NULL};
    size_t size = (sizeof(dk_host) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (allocator) own = *allocator;
    if (!own.alloc || !own.free) {
        if (own.destroy) own.destroy(own.user);
        return dk_fail(err, DK_E_INVALID, "allocator: alloc and free must both be given");
    }
    dk_host *host = own.alloc(own.user, size, ALIGNMENT);
    if (!host) {
        if (own.destroy) own.destroy(own.user);
        return dk_fail_nomem(err, size);
    }
    memset(host, 0, sizeof *host);
    host->allocator = own;
    host->threads = dk_pool_cores();
    if (host->threads > THREADS_MAX) host->threads = THREADS_MAX;
    atomic_init(&host->references, 1);
    atomic_flag_clear(&host->parallel_busy);
    *out = host;
    return DK_OK;
}

dk_host *dk_host_retain(dk_host *host)
{
    if (host) atomic_fetch_add(&host->references, 1);
    return host;
}

static void drop_logger(dk_host *host)
{
    if (host->log_destroy) host->log_destroy(host->log_user);
    host->log_fn = NULL;
    host->log_destroy = NULL;
}

static void drop_threads(dk_host *host)
{
    dk_pool_free(host->pool);
    if (host->parallel_destroy) host->parallel_destroy(host->parallel_user);
    host->pool = NULL;
    host->parallel_fn = NULL;
    host->parallel_destroy = NULL;
}

void dk_host_release(dk_host *host)
{
    if (!host || atomic_fetch_sub(&host->references, 1) != 1) return;
    drop_threads(host);
    drop_logger(host);
    dk_allocator own = host->allocator;
    own.free(own.user, host, (sizeof *host + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT, ALIGNMENT);
    if (own.destroy) own.destroy(own.user);
}

/* ---- memory ---- */

static block *block_of(const void *ptr) { return (block *)(void *)((uintptr_t)ptr - ALIGNMENT); }

void *dk_alloc(dk_host *host, uint64_t count, uint64_t size)
{
    if (size && count > (uint64_t)(PTRDIFF_MAX - 3 * ALIGNMENT) / size) return NULL;
    uint64_t used = count * size;
    uint64_t whole = ALIGNMENT + (used ? (used + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : ALIGNMENT);
    block *head = host->allocator.alloc(host->allocator.user, (size_t)whole, ALIGNMENT);
    if (!head) return NULL;
    head->size = whole;
    head->used = used;
    atomic_fetch_add_explicit(&host->allocations, 1, memory_order_relaxed);
    return (unsigned char *)head + ALIGNMENT;
}

void *dk_calloc(dk_host *host, uint64_t count, uint64_t size)
{
    void *ptr = dk_alloc(host, count, size);
    return ptr ? memset(ptr, 0, (size_t)block_of(ptr)->used) : NULL;
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
    host->allocator.free(host->allocator.user, block_of(ptr), (size_t)block_of(ptr)->size, ALIGNMENT);
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

/* ---- log ---- */

void dk_host_set_logger(dk_host *host, int32_t level, dk_log_fn fn, void *user, void (*destroy)(void *user))
{
    drop_logger(host);
    host->log_level = level;
    host->log_fn = fn;
    host->log_user = user;
    host->log_destroy = destroy;
}

void dk_log(dk_host *host, int32_t level, const char *component, const char *format, ...)
{
    char text[LOG_SIZE];
    va_list args;
    if (!host || !host->log_fn || level > host->log_level) return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    host->log_fn(host->log_user, level, component, text);
}

/* ---- threads ---- */

int32_t dk_host_set_threads(dk_host *host, int64_t max_threads, dk_parallel_fn fn, void *user,
                            void (*destroy)(void *user), dk_error *err)
{
    int32_t rc = DK_OK;
    if (max_threads < 0 || max_threads > THREADS_MAX)
        rc = dk_fail(err, DK_E_INVALID, "max_threads %lld is not in [0, %d]", (long long)max_threads, THREADS_MAX);
    else if (atomic_flag_test_and_set(&host->parallel_busy))
        rc = dk_fail(err, DK_E_BUSY, "threads cannot be changed while a computation runs");
    if (rc) {
        if (destroy) destroy(user);
        return rc;
    }
    drop_threads(host);
    host->threads = max_threads ? max_threads : dk_pool_cores();
    if (host->threads > THREADS_MAX) host->threads = THREADS_MAX;
    host->parallel_fn = fn;
    host->parallel_user = user;
    host->parallel_destroy = destroy;
    atomic_flag_clear(&host->parallel_busy);
    return DK_OK;
}

int64_t dk_host_threads(const dk_host *host) { return host->threads; }

/* The host's loop only says how many chunks to run, not which: so a loop that skips or repeats a range harms nobody. */
static void run_for_host(void *context, int64_t begin, int64_t end) { dk_job_run(context, end - begin); }

static void run_parallel(dk_host *host, dk_job *job)
{
    if (host->parallel_fn) {
        host->parallel_fn(host->parallel_user, job->chunks, run_for_host, job);
    } else {
        if (!host->pool) host->pool = dk_pool_create(host, host->threads - 1);
        if (host->pool) dk_pool_run(host->pool, job);
    }
}

void dk_parallel_for(dk_host *host, int64_t n, int64_t grain, dk_body_fn body, void *context)
{
    if (n <= 0) return;
    if (grain <= 0) grain = 1;
    dk_job job = {.body = body, .context = context, .n = n, .grain = grain, .chunks = n / grain + (n % grain != 0)};
    atomic_init(&job.next, 0);
    if (job.chunks > 1 && host->threads > 1 &&
        !atomic_flag_test_and_set_explicit(&host->parallel_busy, memory_order_acquire)) {
        run_parallel(host, &job);
        atomic_flag_clear_explicit(&host->parallel_busy, memory_order_release);
    }
    dk_job_run(&job, INT64_MAX); /* everything, or what a failing host's loop left */
}

/* ---- stop and clock ---- */

void dk_host_cancel(dk_host *host, int32_t on)
{
    atomic_store_explicit(&host->cancelled, on != 0, memory_order_relaxed);
}

int32_t dk_host_cancelled(const dk_host *host) { return atomic_load_explicit(&host->cancelled, memory_order_relaxed); }

double dk_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
