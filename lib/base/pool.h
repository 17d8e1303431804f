/* pool.h - the host's own threads. Private to lib/base: everybody else calls dk_parallel_for. */
#ifndef DK_BASE_POOL_H
#define DK_BASE_POOL_H

#include "base/job.h"
#include "base/memory.h"

typedef struct dk_pool dk_pool;
/* Starts up to workers threads: fewer, even none, where the system gives no more. NULL = no memory. */
dk_pool *dk_pool_create(dk_host *host, int64_t workers);
/* Joins; NULL is fine. A pool that another process made (see fork) has no threads here: its memory is given back and
 * nothing else is touched. */
void dk_pool_free(dk_pool *pool);
int64_t dk_pool_process(const dk_pool *pool); /* that made it, and in which its threads live */
/* Runs the whole job, caller included. One caller at a time. */
void dk_pool_run(dk_pool *pool, dk_job *job);
int64_t dk_pool_cores(void); /* that this process may use */

#endif
