#include "base/strbuf.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void dk_strbuf_init(dk_strbuf *buf, dk_host *host)
{
    memset(buf, 0, sizeof *buf);
    buf->host = host;
}

void dk_strbuf_free(dk_strbuf *buf)
{
    if (buf->data) dk_free(buf->host, buf->data);
    dk_strbuf_init(buf, buf->host);
}

void dk_strbuf_clear(dk_strbuf *buf)
{
    buf->size = 0;
    buf->failed = 0;
    if (buf->data) buf->data[0] = 0;
}

/* Room for size more bytes and a NUL. */
static int32_t reserve(dk_strbuf *buf, size_t size)
{
    if (buf->failed || size > SIZE_MAX / 4 - buf->size) {
        buf->failed = 1;
        return 0;
    }
    size_t wanted = buf->size + size + 1, capacity = buf->capacity ? buf->capacity : 64;
    if (wanted <= buf->capacity) return 1;
    while (capacity < wanted) capacity *= 2;
    char *grown = dk_realloc(buf->host, buf->data, capacity, 1);
    if (!grown) {
        buf->failed = 1;
        return 0;
    }
    buf->data = grown;
    buf->capacity = capacity;
    return 1;
}

void dk_strbuf_append(dk_strbuf *buf, const void *data, size_t size)
{
    if (!reserve(buf, size)) return;
    if (size) memcpy(buf->data + buf->size, data, size);
    buf->size += size;
    buf->data[buf->size] = 0;
}

void dk_strbuf_puts(dk_strbuf *buf, const char *text) { dk_strbuf_append(buf, text, strlen(text)); }

void dk_strbuf_printf(dk_strbuf *buf, const char *format, ...)
{
    char small[256];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    if (size < 0) {
        buf->failed = 1;
    } else if ((size_t)size < sizeof small) {
        dk_strbuf_append(buf, small, (size_t)size);
    } else if (reserve(buf, (size_t)size)) {
        va_start(args, format);
        vsnprintf(buf->data + buf->size, (size_t)size + 1, format, args);
        va_end(args);
        buf->size += (size_t)size;
    }
}

void dk_strbuf_f64(dk_strbuf *buf, double value)
{
    char text[32];
    dk_strbuf_append(buf, text, dk_format_f64(value, text));
}

static void append_control(dk_strbuf *buf, unsigned char byte)
{
    static const char letters[] = "btn\0fr";
    if (byte >= 8 && byte <= 13 && byte != 11) dk_strbuf_printf(buf, "\\%c", letters[byte - 8]);
    else dk_strbuf_printf(buf, "\\u%04x", byte);
}

void dk_strbuf_json(dk_strbuf *buf, const char *text, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)text;
    dk_strbuf_append(buf, "\"", 1);
    for (size_t at = 0, start = 0; at <= size;) {
        size_t length = at < size ? dk_utf8_length(bytes + at, size - at) : 1;
        int32_t plain = at < size && length && bytes[at] >= 0x20 && bytes[at] != '"' && bytes[at] != '\\';
        if (plain) {
            at += length;
            continue;
        }
        if (at > start) dk_strbuf_append(buf, text + start, at - start);
        if (at < size) {
            if (!length) dk_strbuf_puts(buf, "\xef\xbf\xbd");
            else if (bytes[at] < 0x20) append_control(buf, bytes[at]);
            else dk_strbuf_printf(buf, "\\%c", bytes[at]);
        }
        start = ++at;
    }
    dk_strbuf_append(buf, "\"", 1);
}

int32_t dk_strbuf_check(const dk_strbuf *buf, dk_error *err)
{
    return buf->failed ? dk_fail(err, DK_E_NOMEM, "out of memory: a text of more than %zu bytes", buf->size) : DK_OK;
}

int32_t dk_text_out(const char *data, size_t size, char *buf, size_t cap, size_t *needed, dk_error *err)
{
    if (needed) *needed = size + 1;
    if (!buf && !cap && needed) return DK_OK;
    if (cap < size + 1 || !buf)
        return dk_fail(err, DK_E_BUFFER, "buffer of %zu bytes is too small: %zu are needed", buf ? cap : 0, size + 1);
    if (size) memcpy(buf, data, size);
    buf[size] = 0;
    return DK_OK;
}
