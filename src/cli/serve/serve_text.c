/* serve_text.c - a text that grows. */
#include "serve_text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int make_room(serve_text *text, size_t more)
{
    if (text->failed || more > SIZE_MAX / 4 - text->size) return text->failed = 1, 0;
    if (text->size + more < text->cap) return 1;
    size_t cap = 2 * (text->size + more) + 64;
    char *bytes = realloc(text->bytes, cap);
    if (!bytes) return text->failed = 1, 0;
    text->bytes = bytes;
    text->cap = cap;
    return 1;
}

void serve_text_add(serve_text *text, const void *bytes, size_t size)
{
    if (!make_room(text, size)) return;
    if (size) memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
    text->bytes[text->size] = 0;
}

void serve_text_print(serve_text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (size < 0 || !make_room(text, (size_t)size)) return;
    va_start(args, format);
    vsnprintf(text->bytes + text->size, (size_t)size + 1, format, args);
    va_end(args);
    text->size += (size_t)size;
}

void serve_text_free(serve_text *text)
{
    free(text->bytes);
    memset(text, 0, sizeof *text);
}
