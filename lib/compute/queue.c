#include <stdarg.h>
#include <stdio.h>

#include "compute/buffer.h"

int32_t dk_queue_open(dk_queue *queue, dk_backend *backend, dk_error *err)
{
    *queue = (dk_queue){.backend = backend};
    int32_t rc = backend->ops->queue_create(queue, err);
    if (rc) *queue = (dk_queue){0};
    return rc;
}

int32_t dk_queue_wait(dk_queue *queue, dk_error *err) { return queue->backend->ops->queue_wait(queue, err); }

void dk_queue_close(dk_queue *queue)
{
    if (queue->backend) queue->backend->ops->queue_free(queue);
    *queue = (dk_queue){0};
}

void dk_queue_fail(dk_queue *queue, int32_t code, const char *format, ...)
{
    char message[sizeof queue->error.message];
    va_list args;
    if (queue->error.code) return;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    (void)dk_fail(&queue->error, code, "%s", message);
}

/* ---- the queue of a backend that runs ops at once ---- */
static int32_t op_queue_create(dk_queue *queue, dk_error *err)
{
    (void)queue;
    (void)err;
    return DK_OK;
}

static int32_t op_queue_wait(dk_queue *queue, dk_error *err)
{
    int32_t code = queue->error.code;
    if (code && err) *err = queue->error;
    dk_error_clear(&queue->error);
    return code ? code : dk_parallel_check(queue->backend->host, err);
}

static void op_queue_free(dk_queue *queue) { (void)queue; }

void dk_queue_fill_ops(dk_ops *ops)
{
    ops->queue_create = op_queue_create;
    ops->queue_wait = op_queue_wait;
    ops->queue_free = op_queue_free;
}
