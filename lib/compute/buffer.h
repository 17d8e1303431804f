/* buffer.h - host memory behind the views of the backends that run on the CPU, how they reach a row of it, and their
 * queue.
 * Buffers of other devices do not live here. */
#ifndef DK_COMPUTE_BUFFER_H
#define DK_COMPUTE_BUFFER_H

#include "compute/compute.h"

struct dk_buffer {
    dk_host *host;
    uint8_t *data;
    int64_t bytes;
    void *block; /* what dk_alloc gave; NULL = borrowed */
};

void dk_queue_fill_ops(dk_ops *ops);  /* queue_*: ops run at once */
void dk_buffer_fill_ops(dk_ops *ops); /* buffer_*, copy_in, copy_out, map */
static inline void *dk_buffer_map(dk_view view) { return view.buffer ? view.buffer->data + view.offset : NULL; }

/* A view as rows of its last dimension, whatever its rank. */
typedef struct dk_rows {
    uint8_t *data;
    int64_t rows, width;
    int64_t inner;                  /* rows per entry of the first dimension */
    int64_t outer_step, inner_step; /* bytes */
} dk_rows;
dk_rows dk_rows_of(const dk_view *view);
static inline void *dk_row(const dk_rows *rows, int64_t row)
{
    if (rows->inner == 1) return rows->data + row * rows->outer_step;
    return rows->data + row / rows->inner * rows->outer_step + row % rows->inner * rows->inner_step;
}

#endif
