/* jinja_message.h - errors of a template: one line, "NAME line 3: ...". */
#ifndef DK_JINJA_MESSAGE_H
#define DK_JINJA_MESSAGE_H

#include <stdarg.h>

#include "base/status.h"

/* code, always. What the template or a conversation put into it is cut at bad UTF-8 and kept on the line. */
int32_t dk_jinja_fail_at(dk_error *err, int32_t code, const char *name, int64_t line, const char *format, va_list args);

#endif
