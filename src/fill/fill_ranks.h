/* fill_ranks.h - a cache that is being filled, from inside, and how several ranks do it. Private to src/fill. */
#ifndef DI_FILL_FILL_RANKS_H
#define DI_FILL_FILL_RANKS_H

#include "fill/fill_parts.h"

enum { DI_FILL_WINDOWS = 8 }; /* per forward: enough for matrix speed, little enough for memory */

typedef struct di_fill {
    dk_backend *backend;
    dk_host *host;
    di_fill_parts parts;
    di_session *session;
    di_batch *batch;
    distill_progress_fn fn;
    void *user;
    double begin, told; /* seconds */
    distill_progress progress;
} di_fill;
/* ---- fill_batch.c ---- */
int32_t di_fill_tell(di_fill *fill, int32_t last, dk_error *err);
int32_t di_fill_check_cancel(const di_fill *fill, dk_error *err);
int32_t di_fill_ask(di_fill *fill, dk_error *err); /* about the batch */

/* ---- fill_ranks.c ---- */
/* Before the first window: data, caches and kernels are the same on all ranks, or what differs is named. */
int32_t di_fill_inputs(di_fill *fill, dk_error *err);
/* Batches from window `first` on, one for each rank; what all of them asked is added in the order of windows. */
int32_t di_fill_round(di_fill *fill, int64_t set, int64_t first, dk_error *err);

#endif
