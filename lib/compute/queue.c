#include <stdarg.h>
#include <stdio.h>

#include "compute/compute.h"

void dk_queue_init(dk_queue *queue, dk_backend *backend) { *queue = (dk_queue){.backend = backend}; }

int32_t dk_queue_wait(dk_queue *queue, dk_error *err)
{
    int32_t code = queue->error.code;
    if (code && err) *err = queue->error;
    dk_error_clear(&queue->error);
    return code ? code : dk_parallel_check(queue->backend->host, err);
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

void dk_backend_free(dk_backend *backend)
{
    if (backend) backend->destroy(backend);
}
