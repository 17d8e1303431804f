/* threads.h - parallel loops on the host's own pool, or on threads of the process's. */
#ifndef DK_BASE_THREADS_H
#define DK_BASE_THREADS_H

#include "base/job.h"
#include "base/memory.h"

/* Calls body over ranges that cover [0, n) and returns 0 when all are done. Anything else is a failure, which the next
 * dk_parallel_check of the thread that was served tells; DK_PARALLEL_CANCEL as a cancellation. */
enum { DK_PARALLEL_CANCEL = 2 };
typedef int32_t (*dk_parallel_fn)(void *user, int64_t n, dk_body_fn body, void *context);
/* fn NULL = the host's own pool of max_threads (0 = one per core that this process may use), started at the first
 * use. */
int32_t dk_host_set_threads(dk_host *host, int64_t max_threads, dk_parallel_fn fn, void *user,
                            void (*destroy)(void *user), dk_error *err);
int64_t dk_host_threads(const dk_host *host);
/* Calls body over disjoint ranges that cover [0, n) and returns when all are done. Ranges are cut by n and grain alone
 * (every range starts at a multiple of grain), never by the number of threads, so a reduction per range has the same
 * bits for any number of threads. Nested calls run in the calling thread. What a failing loop of the process's leaves
 * is done here, so the results are whole all the same. A child of fork() makes workers of its own. */
void dk_parallel_for(dk_host *host, int64_t n, int64_t grain, dk_body_fn body, void *context);
/* E_CALLBACK with the process's code, or E_CANCELLED, where its loop failed under this thread since the last check. */
int32_t dk_parallel_check(dk_host *host, dk_error *err);

#endif
