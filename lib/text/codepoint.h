/* codepoint.h - code points in UTF-8 text, and the classes of them that tokenizers ask for.
 *
 * Inside lib/text a byte b that is not part of valid UTF-8 travels as the lone surrogate U+DC00+b in three bytes, which
 * valid input cannot contain. So every text behind dk_escape_invalid is a row of characters. */
#ifndef DK_TEXT_CODEPOINT_H
#define DK_TEXT_CODEPOINT_H

#include "base/strbuf.h"

/* Decodes the character at text (size > 0, text is behind dk_escape_invalid); returns its bytes. */
static inline size_t dk_codepoint(const char *text, uint32_t *out)
{
    const unsigned char *p = (const unsigned char *)text;
    if (p[0] < 0x80) return *out = p[0], 1;
    if (p[0] < 0xe0) return *out = (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu), 2;
    if (p[0] < 0xf0) return *out = (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu), 3;
    *out = (p[0] & 0x07u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
    return 4;
}
static inline size_t dk_codepoint_size(const char *text)
{
    unsigned char lead = (unsigned char)text[0];
    return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}
/* Start of the character that ends at end > 0. */
static inline size_t dk_codepoint_before(const char *text, size_t end)
{
    size_t at = end - 1;
    while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80) at--;
    return at;
}
/* Whether codepoint lies in one of count ascending ranges. */
int32_t dk_in_ranges(const uint32_t (*ranges)[2], size_t count, uint32_t codepoint);
#define DK_IN_RANGES(ranges, codepoint) dk_in_ranges(ranges, sizeof(ranges) / sizeof *(ranges), codepoint)
size_t dk_codepoint_write(uint32_t codepoint, char out[4]);
int32_t dk_is_space(uint32_t codepoint); /* White_Space */
int32_t dk_is_word(uint32_t codepoint);  /* \w: letters, marks, digits, connectors, joiners */
int32_t dk_is_number(uint32_t codepoint);
int32_t dk_is_punctuation(uint32_t codepoint);
int32_t dk_is_mark(uint32_t codepoint);
int32_t dk_is_nonspacing(uint32_t codepoint); /* a mark of category Mn */
uint32_t dk_lowercase(uint32_t codepoint);    /* for all but U+0130, which becomes two characters */

/* ---- bytes that are not UTF-8 ---- */
size_t dk_valid_prefix(const char *text, size_t size); /* bytes in front of the first bad byte */
/* Appends text with each bad byte b escaped where keep[b] is set, else replaced by U+FFFD. */
void dk_escape_invalid(dk_strbuf *out, const char *text, size_t size, const uint8_t keep[256]);
/* The bad byte that is escaped at text, or -1. */
static inline int32_t dk_escaped_byte(const char *text, size_t size)
{
    const unsigned char *p = (const unsigned char *)text;
    return size >= 3 && p[0] == 0xed && p[1] >= 0xb2 ? (int32_t)((p[1] & 3u) << 6 | (p[2] & 0x3fu)) : -1;
}
/* Bytes in front of the first escape. */
size_t dk_unescaped_prefix(const char *text, size_t size);

/* ---- the byte-level alphabet: one printable character per byte (Radford et al. 2019) ---- */
uint32_t dk_byte_letter(uint8_t byte);
int32_t dk_letter_byte(uint32_t codepoint); /* -1 = not in the alphabet */
void dk_append_letters(dk_strbuf *out, const char *text, size_t size);

#endif
