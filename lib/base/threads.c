#include "base/threads.h"

#include "base/host_parts.h"
#include "base/pool.h"

#include <pthread.h>
#include <unistd.h>

enum { THREADS_MAX = 1024 };

typedef struct dk_threads {
    int64_t count;
    dk_parallel_fn fn;
    void *user;
    void (*destroy)(void *user);
    /* The process of the one dk_parallel_for that runs, 0 = none: nested and concurrent ones stay in their thread. Who
     * failed keeps it until it was told, so one failure is all there can be. */
    _Atomic int64_t holder;
    dk_pool *pool;
    _Atomic int32_t failure;  /* what fn returned */
    _Atomic uintptr_t failed; /* under this thread; valid while failure is not 0 */
} dk_threads;

static int64_t count_of(int64_t wanted)
{
    int64_t count = wanted ? wanted : dk_pool_cores();
    return count < THREADS_MAX ? count : THREADS_MAX;
}

int32_t dk_threads_create(dk_host *host, dk_error *err)
{
    int32_t rc = dk_new(host, 1, &host->threads, err);
    if (rc) return rc;
    host->threads->count = count_of(0);
    return DK_OK;
}

/* What another process held when it made this one by fork() is free: its threads do not exist here. */
static int32_t take(dk_threads *threads)
{
    int64_t holder = atomic_load(&threads->holder), process = getpid();
    if (holder == process || !atomic_compare_exchange_strong(&threads->holder, &holder, process)) return 0;
    if (holder) atomic_store(&threads->failure, 0);
    return 1;
}

static void give(dk_threads *threads) { atomic_store(&threads->holder, 0); }

static void drop_threads(dk_threads *threads)
{
    dk_pool_free(threads->pool);
    if (threads->destroy) threads->destroy(threads->user);
    threads->pool = NULL;
    threads->fn = NULL;
    threads->destroy = NULL;
}

void dk_threads_free(dk_host *host)
{
    if (!host->threads) return;
    drop_threads(host->threads);
    dk_free(host, host->threads);
    host->threads = NULL;
}

int32_t dk_host_set_threads(dk_host *host, int64_t max_threads, dk_parallel_fn fn, void *user,
                            void (*destroy)(void *user), dk_error *err)
{
    dk_threads *threads = host->threads;
    int32_t rc = DK_OK;
    if (max_threads < 0 || max_threads > THREADS_MAX)
        rc = dk_fail(err, DK_E_INVALID, "max_threads %lld is not in [0, %d]", (long long)max_threads, THREADS_MAX);
    else if (!take(threads)) rc = dk_fail(err, DK_E_BUSY, "threads cannot be changed while a computation runs");
    if (rc) {
        if (destroy) destroy(user);
        return rc;
    }
    drop_threads(threads);
    threads->count = count_of(max_threads);
    threads->fn = fn;
    threads->user = user;
    threads->destroy = destroy;
    give(threads);
    return DK_OK;
}

int64_t dk_host_threads(const dk_host *host) { return host->threads->count; }

/* The host's loop only says how many chunks to run, not which: so a loop that skips or repeats a range harms nobody. */
static void run_for_host(void *context, int64_t begin, int64_t end) { dk_job_run(context, end - begin); }

static void run_in_pool(dk_host *host, dk_job *job)
{
    dk_threads *threads = host->threads;
    if (threads->pool && dk_pool_process(threads->pool) != atomic_load(&threads->holder)) {
        dk_pool_free(threads->pool);
        threads->pool = NULL;
    }
    if (!threads->pool) threads->pool = dk_pool_create(host, threads->count - 1);
    if (threads->pool) dk_pool_run(threads->pool, job);
}

static void run_parallel(dk_host *host, dk_job *job)
{
    dk_threads *threads = host->threads;
    int32_t code = 0;
    if (threads->fn) code = threads->fn(threads->user, job->chunks, run_for_host, job);
    else run_in_pool(host, job);
    if (!code) {
        give(threads);
        return;
    }
    atomic_store(&threads->failed, (uintptr_t)pthread_self());
    atomic_store(&threads->failure, code);
}

void dk_parallel_for(dk_host *host, int64_t n, int64_t grain, dk_body_fn body, void *context)
{
    if (n <= 0) return;
    if (grain <= 0) grain = 1;
    dk_job job = {.body = body, .context = context, .n = n, .grain = grain, .chunks = n / grain + (n % grain != 0)};
    atomic_init(&job.next, 0);
    if (job.chunks > 1 && host->threads->count > 1 && take(host->threads)) run_parallel(host, &job);
    dk_job_run(&job, INT64_MAX); /* everything, or what a failing host's loop left */
}

int32_t dk_parallel_check(dk_host *host, dk_error *err)
{
    dk_threads *threads = host->threads;
    int32_t code = atomic_load(&threads->failure);
    if (!code || atomic_load(&threads->holder) != getpid() ||
        atomic_load(&threads->failed) != (uintptr_t)pthread_self())
        return DK_OK;
    atomic_store(&threads->failure, 0);
    give(threads);
    if (code == DK_PARALLEL_CANCEL) return dk_fail(err, DK_E_CANCELLED, "cancelled by the process's parallel loop");
    dk_fail(err, DK_E_CALLBACK, "the process's parallel loop failed with code %d", (int)code);
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}
