#include "jinja/jinja_message.h"

#include "text/codepoint.h"

#include <stdio.h>
#include <string.h>

int32_t dk_jinja_fail_at(dk_error *err, int32_t code, const char *name, int64_t line, const char *format, va_list args)
{
    char message[360];
    vsnprintf(message, sizeof message, format, args);
    message[dk_valid_prefix(message, strlen(message))] = 0;
    for (char *at = message; *at; at++)
        if ((unsigned char)*at < 32) *at = ' ';
    return dk_fail_at(err, code, line, "%.80s line %d: %s", name, (int)line, message);
}
