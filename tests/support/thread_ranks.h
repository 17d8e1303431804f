/* thread_ranks.h - ranks of a job that are threads of one process: a communicator without MPI. Each rank has an env of
 * its own; calls may be slowed, fail from some point on, and are counted. */
#ifndef TEST_THREAD_RANKS_H
#define TEST_THREAD_RANKS_H

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREAD_RANKS = 8, THREAD_CALLS = 64 };

typedef struct thread_call { /* one collective call, as the ranks come to it */
    const void *in[THREAD_RANKS];
    int posted, copied;
} thread_call;
typedef struct thread_job {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    int64_t size;
    thread_call calls[THREAD_CALLS];
} thread_job;
typedef struct thread_rank { /* the communicator's user */
    thread_job *job;
    int64_t rank, next, bytes; /* calls made; bytes that went to other ranks */
    int64_t fails_at;          /* from this call on; 0 = never */
    int seconds;               /* that it waits for the others */
    struct {
        void *out;
        int64_t bytes;
        int to_all;
    } own[THREAD_CALLS];
} thread_rank;

static inline void thread_job_open(thread_job *job, int64_t size)
{
    memset(job, 0, sizeof *job);
    pthread_mutex_init(&job->lock, NULL);
    pthread_cond_init(&job->moved, NULL);
    job->size = size;
}

static inline void thread_job_close(thread_job *job)
{
    pthread_mutex_destroy(&job->lock);
    pthread_cond_destroy(&job->moved);
}

static inline int32_t thread_post(thread_rank *r, const void *in, void *out, int64_t bytes, int to_all, int64_t *ticket)
{
    thread_call *call = &r->job->calls[r->next % THREAD_CALLS];
    if (r->fails_at && r->next + 1 >= r->fails_at) return 77;
    *ticket = r->next++;
    r->own[*ticket % THREAD_CALLS].out = out;
    r->own[*ticket % THREAD_CALLS].bytes = bytes;
    r->own[*ticket % THREAD_CALLS].to_all = to_all;
    pthread_mutex_lock(&r->job->lock);
    call->in[r->rank] = in;
    call->posted++;
    pthread_cond_broadcast(&r->job->moved);
    pthread_mutex_unlock(&r->job->lock);
    r->bytes += (r->job->size - 1) * bytes;
    return 0;
}

static inline int32_t thread_all_to_all(void *user, const void *in, void *out, int64_t bytes, int64_t *ticket)
{
    return thread_post(user, in, out, bytes, 1, ticket);
}

static inline int32_t thread_all_gather(void *user, const void *in, void *out, int64_t bytes, int64_t *ticket)
{
    return thread_post(user, in, out, bytes, 0, ticket);
}

/* Waits until count is there; 0 = it is. */
static inline int thread_until(const thread_rank *r, const int *count)
{
    thread_job *job = r->job;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += r->seconds;
    while (*count % (int)job->size != 0 || *count == 0)
        if (pthread_cond_timedwait(&job->moved, &job->lock, &until)) return 1;
    return 0;
}

static inline int32_t thread_wait(void *user, int64_t ticket)
{
    thread_rank *r = user;
    thread_job *job = r->job;
    thread_call *call = &job->calls[ticket % THREAD_CALLS];
    const int64_t bytes = r->own[ticket % THREAD_CALLS].bytes;
    char *out = r->own[ticket % THREAD_CALLS].out;
    pthread_mutex_lock(&job->lock);
    int late = thread_until(r, &call->posted);
    if (!late) {
        for (int64_t j = 0; j < job->size; j++)
            memcpy(out + j * bytes,
                   (const char *)call->in[j] + (r->own[ticket % THREAD_CALLS].to_all ? r->rank * bytes : 0),
                   (size_t)bytes);
        call->copied++;
        pthread_cond_broadcast(&job->moved);
        late = thread_until(r, &call->copied);
    }
    pthread_mutex_unlock(&job->lock);
    return late ? 78 : 0;
}

static inline int32_t thread_broadcast(void *user, void *data, int64_t bytes, int64_t root)
{
    thread_rank *r = user;
    int64_t ticket = 0;
    char *all = malloc((size_t)(r->job->size * bytes) + 1);
    int32_t code = all ? thread_all_gather(user, data, all, bytes, &ticket) : 79;
    if (!code) code = thread_wait(user, ticket);
    if (!code) memcpy(data, all + root * bytes, (size_t)bytes);
    free(all);
    return code;
}

static inline int32_t thread_barrier(void *user)
{
    char nothing = 0;
    return thread_broadcast(user, &nothing, 1, 0);
}

/* Fills the functions of a dk_communicator or a distill_communicator. */
#define THREAD_COMMUNICATOR(table, r)                  \
    do {                                               \
        (table)->user = (r);                           \
        (table)->rank = (r)->rank;                     \
        (table)->size = (r)->job->size;                \
        (table)->all_to_all_start = thread_all_to_all; \
        (table)->all_gather_start = thread_all_gather; \
        (table)->wait = thread_wait;                   \
        (table)->broadcast = thread_broadcast;         \
        (table)->barrier = thread_barrier;             \
    } while (0)

/* Runs body once for each rank, each in a thread of its own. */
typedef struct thread_body {
    void (*body)(thread_rank *rank, void *user);
    void *user;
    thread_rank rank;
    pthread_t thread;
} thread_body;

static inline void *thread_begin(void *argument)
{
    thread_body *b = argument;
    b->body(&b->rank, b->user);
    return NULL;
}

static inline int thread_ranks_run(int64_t size, void (*body)(thread_rank *rank, void *user), void *user)
{
    static thread_body bodies[THREAD_RANKS];
    thread_job job;
    int started = 0;
    thread_job_open(&job, size);
    for (int64_t i = 0; i < size; i++) {
        memset(&bodies[i], 0, sizeof bodies[i]);
        bodies[i].body = body;
        bodies[i].user = user;
        bodies[i].rank.job = &job;
        bodies[i].rank.rank = i;
        bodies[i].rank.seconds = 60;
        started += !pthread_create(&bodies[i].thread, NULL, thread_begin, &bodies[i]);
    }
    for (int i = 0; i < started; i++) pthread_join(bodies[i].thread, NULL);
    thread_job_close(&job);
    return started == size;
}

#endif
