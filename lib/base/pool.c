/* A job is published in one word, `state`: generation (high half), an open bit, and the number of workers inside. A
 * worker enters by raising the count while the bit is set; the caller closes the bit when no chunk is left and waits
 * for the count to fall to 0. A worker that wakes late finds the job closed, so nobody ever waits for a sleeper. */
#if defined(__linux__)
#define _GNU_SOURCE 1 /* sched_getaffinity */
#endif
#include "base/pool.h"

#include "base/clock.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>
#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#endif

#define SPIN_SECONDS 50e-6
#define JOB_OPEN (UINT64_C(1) << 31)
#define JOB_INSIDE (JOB_OPEN - 1)
#define JOB_GENERATION (UINT64_C(1) << 32)

struct dk_pool {
    dk_host *host;
    pid_t process; /* that the threads live in */
    _Atomic uint64_t state;
    dk_job *job;
    pthread_mutex_t mutex;
    pthread_cond_t work, done;
    _Atomic int64_t sleepers; /* workers waiting for work */
    _Atomic int32_t waiting;  /* the caller waits for done */
    _Atomic int32_t stop;
    int64_t count;
    pthread_t threads[];
};

static void relax(void)
{
#if defined(__SSE2__) || defined(_M_X64)
    _mm_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
    __asm__ volatile("yield");
#endif
}

static uint64_t masked_state(const dk_pool *pool, uint64_t mask)
{
    return atomic_load_explicit(&pool->state, memory_order_acquire) & mask;
}

/* Spins for a moment until (state & mask) == value is as wanted; 0 if it never was. */
static int32_t spin(const dk_pool *pool, uint64_t mask, uint64_t value, int32_t wanted)
{
    double end = dk_seconds() + SPIN_SECONDS;
    do {
        for (int i = 0; i < 64; i++) {
            if ((masked_state(pool, mask) == value) == wanted) return 1;
            relax();
        }
    } while (dk_seconds() < end && !atomic_load_explicit(&pool->stop, memory_order_relaxed));
    return 0;
}

static uint64_t generation_of(uint64_t state) { return state / JOB_GENERATION; }

/* 1 once the caller's job is entered; 0 when it is closed already. */
static int32_t enter_job(dk_pool *pool)
{
    uint64_t state = atomic_load(&pool->state);
    while (state & JOB_OPEN)
        if (atomic_compare_exchange_weak(&pool->state, &state, state + 1)) return 1;
    return 0;
}

static void leave_job(dk_pool *pool)
{
    uint64_t before = atomic_fetch_sub(&pool->state, 1);
    if ((before & (JOB_OPEN | JOB_INSIDE)) != 1 || !atomic_load(&pool->waiting)) return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_signal(&pool->done);
    pthread_mutex_unlock(&pool->mutex);
}

static void sleep_for_work(dk_pool *pool, uint64_t seen)
{
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1);
    while (generation_of(atomic_load(&pool->state)) == seen && !atomic_load(&pool->stop))
        pthread_cond_wait(&pool->work, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *argument)
{
    dk_pool *pool = argument;
    uint64_t seen = 0;
    while (!atomic_load(&pool->stop)) {
        if (!spin(pool, ~(JOB_GENERATION - 1), seen * JOB_GENERATION, 0)) sleep_for_work(pool, seen);
        seen = generation_of(atomic_load(&pool->state));
        if (!enter_job(pool)) continue;
        dk_job_run(pool->job, INT64_MAX);
        leave_job(pool);
    }
    return NULL;
}

static void wait_for_workers(dk_pool *pool)
{
    if (!masked_state(pool, JOB_INSIDE) || spin(pool, JOB_INSIDE, 0, 1)) return;
    pthread_mutex_lock(&pool->mutex);
    atomic_exchange(&pool->waiting, 1); /* no store: an imitated ARM lets one pass the load that follows */
    while (atomic_load(&pool->state) & JOB_INSIDE) pthread_cond_wait(&pool->done, &pool->mutex);
    atomic_store(&pool->waiting, 0);
    pthread_mutex_unlock(&pool->mutex);
}

static void wake_workers(dk_pool *pool, int64_t wanted)
{
    int64_t sleepers = atomic_load(&pool->sleepers);
    if (!sleepers) return;
    pthread_mutex_lock(&pool->mutex);
    if (wanted >= sleepers) pthread_cond_broadcast(&pool->work);
    else
        while (wanted-- > 0) pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
}

void dk_pool_run(dk_pool *pool, dk_job *job)
{
    uint64_t generation = generation_of(atomic_load(&pool->state)) + 1;
    if ((generation & UINT32_MAX) == 0) generation = 1;
    pool->job = job;
    atomic_exchange(&pool->state, (generation & UINT32_MAX) * JOB_GENERATION + JOB_OPEN); /* likewise */
    wake_workers(pool, job->chunks - 1);
    dk_job_run(job, INT64_MAX);
    atomic_fetch_and(&pool->state, ~JOB_OPEN);
    wait_for_workers(pool);
}

/* Signals belong to the host's threads: a handler must never run on one of ours. */
static void start_workers(dk_pool *pool, int64_t workers)
{
    sigset_t all, before;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before)) return;
    while (pool->count < workers && !pthread_create(&pool->threads[pool->count], NULL, worker_main, pool))
        pool->count++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

dk_pool *dk_pool_create(dk_host *host, int64_t workers)
{
    dk_pool *pool = dk_calloc(host, 1, sizeof *pool + (uint64_t)workers * sizeof(pthread_t));
    if (!pool) return NULL;
    pool->host = host;
    pool->process = getpid();
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->done, NULL);
    start_workers(pool, workers);
    return pool;
}

static void stop_workers(dk_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->stop, 1);
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    for (int64_t i = 0; i < pool->count; i++) pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->mutex);
}

int64_t dk_pool_process(const dk_pool *pool) { return pool->process; }

void dk_pool_free(dk_pool *pool)
{
    if (!pool) return;
    if (pool->process == getpid()) stop_workers(pool);
    dk_free(pool->host, pool);
}

int64_t dk_pool_cores(void)
{
#if defined(__linux__)
    cpu_set_t set;
    CPU_ZERO(&set);
    if (!sched_getaffinity(0, sizeof set, &set) && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
#endif
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores > 0 ? cores : 1;
}
