/* scratch.h - memory for threads that have no name: a few blocks that grow to what was once needed and then stay. */
#ifndef DK_COMPUTE_SCRATCH_H
#define DK_COMPUTE_SCRATCH_H

#include <pthread.h>

#include "base/host.h"

#define DK_SLOTS 64
typedef struct dk_scratch {
    pthread_mutex_t lock;
    pthread_cond_t freed;
    dk_host *host;
    void *block[DK_SLOTS];
    int64_t bytes[DK_SLOTS];
    uint8_t taken[DK_SLOTS];
    int64_t count; /* slots that exist */
} dk_scratch;
int32_t dk_scratch_init(dk_scratch *scratch, dk_host *host);
void dk_scratch_free(dk_scratch *scratch);
/* Before a parallel loop: so many slots of so many bytes, so that the loop itself allocates nothing. 0 = no memory. */
int32_t dk_scratch_prepare(dk_scratch *scratch, int64_t slots, int64_t bytes);
/* A slot for the caller alone; waits while all are taken. NULL = no memory. Contents are whatever was there. */
void *dk_scratch_take(dk_scratch *scratch, int64_t bytes);
void dk_scratch_give(dk_scratch *scratch, void *block);

#endif
