#include "base/status.h"

#include "base/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_SIZE = sizeof(((dk_error *)0)->message) };

/* Values from files end up in messages: keeps them one line of UTF-8, cut at a whole character. */
static void copy_tidy(char *out, const char *text)
{
    size_t used = 0;
    for (size_t left = strlen(text), take; left; text += take, left -= take) {
        size_t length = dk_utf8_length((const unsigned char *)text, left);
        take = length ? length : 1;
        if (used + take >= MESSAGE_SIZE) break;
        if (!length) out[used] = '?';
        else if (length == 1 && ((unsigned char)*text < 0x20 || *text == 0x7f)) out[used] = ' ';
        else memcpy(out + used, text, take);
        used += take;
    }
    out[used] = 0;
}

static void fill(dk_error *err, int32_t code, int64_t position, const char *text)
{
    err->code = code;
    err->user_code = 0;
    err->position = position;
    copy_tidy(err->message, text);
}

int32_t dk_fail(dk_error *err, int32_t code, const char *format, ...)
{
    char text[MESSAGE_SIZE * 2];
    va_list args;
    if (!err) return code;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fill(err, code, -1, text);
    return code;
}

int32_t dk_fail_at(dk_error *err, int32_t code, int64_t position, const char *format, ...)
{
    char text[MESSAGE_SIZE * 2];
    va_list args;
    if (!err) return code;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fill(err, code, position, text);
    return code;
}

int32_t dk_fail_errno(dk_error *err, int errno_value, const char *format, ...)
{
    int32_t code = errno_value == ENOENT ? DK_E_NOT_FOUND : errno_value == ENOMEM ? DK_E_NOMEM : DK_E_IO;
    char text[MESSAGE_SIZE * 2], reason[128];
    va_list args;
    if (!err) return code;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (strerror_r(errno_value, reason, sizeof reason)) snprintf(reason, sizeof reason, "system error %d", errno_value);
    size_t used = strlen(text);
    snprintf(text + used, sizeof text - used, ": %s", reason);
    fill(err, code, -1, text);
    return code;
}

int32_t dk_fail_nomem(dk_error *err, uint64_t bytes)
{
    return dk_fail(err, DK_E_NOMEM, "out of memory: %llu bytes could not be allocated", (unsigned long long)bytes);
}

int32_t dk_error_context(dk_error *err, const char *format, ...)
{
    char text[MESSAGE_SIZE * 2];
    va_list args;
    if (!err) return 0;
    va_start(args, format);
    vsnprintf(text, MESSAGE_SIZE, format, args);
    va_end(args);
    size_t used = strlen(text);
    snprintf(text + used, sizeof text - used, ": %s", err->message);
    copy_tidy(err->message, text);
    return err->code;
}

void dk_error_clear(dk_error *err)
{
    if (!err) return;
    memset(err, 0, sizeof *err);
    err->position = -1;
}

const char *dk_status_text(int32_t code)
{
    switch (code) {
    case DK_OK:
        return "ok";
    case DK_E_INVALID:
        return "invalid argument";
    case DK_E_OPTION:
        return "unknown option or value out of bounds";
    case DK_E_STAGE:
        return "not possible in this phase";
    case DK_E_REENTRANT:
        return "called from inside a callback of the same handle";
    case DK_E_BUSY:
        return "handle is in use";
    case DK_E_BUFFER:
        return "buffer too small";
    case DK_E_UNSUPPORTED:
        return "not supported";
    case DK_E_NOMEM:
        return "out of memory";
    case DK_E_IO:
        return "input or output error";
    case DK_E_NOT_FOUND:
        return "not found";
    case DK_E_FORMAT:
        return "malformed file";
    case DK_E_MISMATCH:
        return "parts do not belong together";
    case DK_E_NUMERIC:
        return "not a finite number";
    case DK_E_CALLBACK:
        return "a callback failed";
    case DK_E_CANCELLED:
        return "cancelled";
    case DK_E_END:
        return "no more items";
    case DK_E_INTERNAL:
        return "internal error";
    default:
        return "unknown status";
    }
}
