#include "base/log.h"

#include "base/host_parts.h"

#include <stdarg.h>
#include <stdio.h>

enum { LOG_SIZE = 1024 };

typedef struct dk_logger {
    int32_t level;
    dk_log_fn fn;
    void *user;
    void (*destroy)(void *user);
} dk_logger;

int32_t dk_logger_create(dk_host *host, dk_error *err) { return dk_new(host, 1, &host->logger, err); }

void dk_logger_free(dk_host *host)
{
    if (!host->logger) return;
    dk_host_set_logger(host, 0, NULL, NULL, NULL);
    dk_free(host, host->logger);
    host->logger = NULL;
}

void dk_host_set_logger(dk_host *host, int32_t level, dk_log_fn fn, void *user, void (*destroy)(void *user))
{
    dk_logger old = *host->logger;
    *host->logger = (dk_logger){level, fn, user, destroy};
    if (old.destroy) old.destroy(old.user);
}

void dk_log(dk_host *host, int32_t level, const char *component, const char *format, ...)
{
    char text[LOG_SIZE];
    va_list args;
    if (!host || !host->logger->fn || level > host->logger->level) return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    host->logger->fn(host->logger->user, level, component, text);
}
