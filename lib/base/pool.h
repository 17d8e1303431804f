/* pool.h - the host's own threads. Private to lib/base: everybody else calls dk_parallel_for. */
#ifndef DK_BASE_POOL_H
#define DK_BASE_POOL_H

#include "base/host.h"

#include <stdatomic.h>

typedef struct dk_job { /* chunks of [0, n), claimed one after the other by whoever is free */
    dk_body_fn body;
    void *context;
    int64_t n, grain, chunks;
    _Atomic int64_t next;
} dk_job;

/* Runs at most limit chunks of the job that nobody has claimed yet. */
void dk_job_run(dk_job *job, int64_t limit);

typedef struct dk_pool dk_pool;
/* Starts up to workers threads: fewer, even none, where the system gives no more. NULL = no memory. */
dk_pool *dk_pool_create(dk_host *host, int64_t workers);
void dk_pool_free(dk_pool *pool); /* joins; NULL is fine */
/* Runs the whole job, caller included. One caller at a time. */
void dk_pool_run(dk_pool *pool, dk_job *job);
int64_t dk_pool_cores(void); /* that this process may use */

#endif
