/* utf8.h - the one thing about UTF-8 that lib/base has to know: where a well-formed character ends. */
#ifndef DK_BASE_UTF8_H
#define DK_BASE_UTF8_H

#include <stddef.h>

/* Bytes of the well-formed UTF-8 character (no surrogates, no overlong forms) at text, 0 if there is none. */
static inline size_t dk_utf8_length(const unsigned char *text, size_t size)
{
    size_t length;
    if (!size) return 0;
    if (text[0] < 0x80) return 1;
    length = text[0] < 0xc2 ? 0 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : text[0] < 0xf5 ? 4 : 0;
    if (!length || length > size) return 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80) return 0;
    if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f)) return 0;
    if ((text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f)) return 0;
    return length;
}

#endif
