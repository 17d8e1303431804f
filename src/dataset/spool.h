/* spool.h - bytes that only grow: in memory up to a limit, beyond it in a temporary file without a name, which is
 * mapped at the end. Private to src/dataset. */
#ifndef DI_DATASET_SPOOL_H
#define DI_DATASET_SPOOL_H

#include "base/host.h"

typedef struct di_spool {
    dk_host *host;
    uint8_t *memory; /* everything, or what was not written to the file yet */
    uint64_t used, capacity;
    uint64_t limit; /* of memory; more goes to the file */
    uint64_t size;  /* in all */
    int fd;         /* -1 = no file yet */
    void *map;
} di_spool;

void di_spool_init(di_spool *spool, dk_host *host, uint64_t limit);
int32_t di_spool_append(di_spool *spool, const void *data, uint64_t size, dk_error *err);
int32_t di_spool_fill(di_spool *spool, uint8_t byte, uint64_t count, dk_error *err);
/* Ends the growth. *data lives until di_spool_free; NULL when nothing was appended. */
int32_t di_spool_finish(di_spool *spool, const uint8_t **data, dk_error *err);
void di_spool_free(di_spool *spool);

#endif
