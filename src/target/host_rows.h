/* host_rows.h - rows of a view as memory that the host works on: where they lie if the host sees the buffer, else a
 * copy that goes back and forth. host_rows.c alone in src asks a backend for host pointers, so that a backend with
 * memory of its own needs nothing else here. */
#ifndef DI_TARGET_HOST_ROWS_H
#define DI_TARGET_HOST_ROWS_H

#include "compute/compute.h"
#include "distill.h"

typedef struct di_host_rows {
    uint8_t *data;
    int64_t stride; /* elements from row to row */
    int64_t step;   /* the same in bytes */
} di_host_rows;

typedef struct di_staging { /* room for a copy; grows to what was once needed, and stays empty where none is */
    void *data;
    int64_t bytes;
} di_staging;
void di_staging_free(dk_host *host, di_staging *staging);

/* Rows of a view of one or two dimensions as they are once the queue is done. Good until the next call with this
 * staging. */
int32_t di_host_read(dk_queue *queue, di_staging *staging, dk_view view, di_host_rows *out, dk_error *err);
/* Rows to be written, whatever stands there; di_host_write sends them where they belong. */
int32_t di_host_place(dk_queue *queue, di_staging *staging, dk_view view, di_host_rows *out, dk_error *err);
int32_t di_host_write(dk_queue *queue, dk_view view, const di_host_rows *rows, dk_error *err);

/* A view as a tensor of the host's, in place; shape [view.rank] is filled and borrowed. Refused where the host does not
 * see the buffer, or has no word for the dtype. */
int32_t di_tensor_of_view(const dk_backend *backend, dk_view view, const char *name, int64_t *shape,
                          distill_tensor *out, dk_error *err);

#endif
