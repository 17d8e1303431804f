#include "base/threads.h"

#include "base/host_parts.h"
#include "base/pool.h"

enum { THREADS_MAX = 1024 };

typedef struct dk_threads {
    int64_t count;
    dk_parallel_fn fn;
    void *user;
    void (*destroy)(void *user);
    /* held while one dk_parallel_for runs: nested and concurrent ones stay in their thread */
    atomic_flag busy;
    dk_pool *pool;
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
    atomic_flag_clear(&host->threads->busy);
    return DK_OK;
}

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
    else if (atomic_flag_test_and_set(&threads->busy))
        rc = dk_fail(err, DK_E_BUSY, "threads cannot be changed while a computation runs");
    if (rc) {
        if (destroy) destroy(user);
        return rc;
    }
    drop_threads(threads);
    threads->count = count_of(max_threads);
    threads->fn = fn;
    threads->user = user;
    threads->destroy = destroy;
    atomic_flag_clear(&threads->busy);
    return DK_OK;
}

int64_t dk_host_threads(const dk_host *host) { return host->threads->count; }

/* The host's loop only says how many chunks to run, not which: so a loop that skips or repeats a range harms nobody. */
static void run_for_host(void *context, int64_t begin, int64_t end) { dk_job_run(context, end - begin); }

static void run_parallel(dk_host *host, dk_job *job)
{
    dk_threads *threads = host->threads;
    if (threads->fn) {
        threads->fn(threads->user, job->chunks, run_for_host, job);
    } else {
        if (!threads->pool) threads->pool = dk_pool_create(host, threads->count - 1);
        if (threads->pool) dk_pool_run(threads->pool, job);
    }
}

void dk_parallel_for(dk_host *host, int64_t n, int64_t grain, dk_body_fn body, void *context)
{
    if (n <= 0) return;
    if (grain <= 0) grain = 1;
    dk_job job = {.body = body, .context = context, .n = n, .grain = grain, .chunks = n / grain + (n % grain != 0)};
    atomic_init(&job.next, 0);
    if (job.chunks > 1 && host->threads->count > 1 &&
        !atomic_flag_test_and_set_explicit(&host->threads->busy, memory_order_acquire)) {
        run_parallel(host, &job);
        atomic_flag_clear_explicit(&host->threads->busy, memory_order_release);
    }
    dk_job_run(&job, INT64_MAX); /* everything, or what a failing host's loop left */
}
