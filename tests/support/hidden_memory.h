/* hidden_memory.h - a backend whose memory the host does not see: the CPU backend's ops behind a table without map,
 * and queues that are objects. Who still reaches for a pointer gets NULL; a queue that nobody closes is counted. */
#ifndef TESTS_HIDDEN_MEMORY_H
#define TESTS_HIDDEN_MEMORY_H

#include <stdlib.h>

#include "compute/compute.h"

static dk_ops hidden_ops, visible_ops;
static int64_t hidden_queues; /* open ones */

static int32_t hidden_queue_create(dk_queue *queue, dk_error *err)
{
    queue->state = malloc(16);
    hidden_queues++;
    return visible_ops.queue_create(queue, err);
}

static void hidden_queue_free(dk_queue *queue)
{
    if (!queue->state) abort(); /* was not made by hidden_queue_create */
    free(queue->state);
    hidden_queues--;
    visible_ops.queue_free(queue);
}

static void *hidden_map(dk_view view)
{
    (void)view;
    return NULL;
}

/* Before anything else is made by the backend. */
static inline void hide_memory(dk_backend *backend)
{
    visible_ops = hidden_ops = *backend->ops;
    hidden_ops.map = hidden_map;
    hidden_ops.queue_create = hidden_queue_create;
    hidden_ops.queue_free = hidden_queue_free;
    backend->ops = &hidden_ops;
    hidden_queues = 0;
}

#endif
