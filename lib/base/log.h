/* log.h - what the library has to say: silent until the host sets a function. */
#ifndef DK_BASE_LOG_H
#define DK_BASE_LOG_H

#include "base/memory.h"

enum { DK_LOG_ERROR = 1, DK_LOG_WARN = 2, DK_LOG_INFO = 3, DK_LOG_DEBUG = 4 };
typedef void (*dk_log_fn)(void *user, int32_t level, const char *component, const char *message);
void dk_host_set_logger(dk_host *host, int32_t level, dk_log_fn fn, void *user, void (*destroy)(void *user));
void dk_log(dk_host *host, int32_t level, const char *component, const char *format, ...) DK_PRINTF(4, 5);

#endif
