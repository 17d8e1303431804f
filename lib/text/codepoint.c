#include "text/codepoint.h"

#include "base/utf8.h"
#include "text/newer.h"

#include <string.h>
#include <utf8proc.h>

/* Characters younger than Unicode 8 that are punctuation; its pre-tokenizer Punctuation does not know them. */
static const uint32_t older_punctuation[][2] = {
    {0x61d, 0x61d},     {0x9fd, 0x9fd},     {0xa76, 0xa76},     {0xc77, 0xc77},     {0xc84, 0xc84},
    {0x1b7d, 0x1b7e},   {0x2e43, 0x2e4f},   {0x2e52, 0x2e5d},   {0x10ead, 0x10ead}, {0x10f55, 0x10f59},
    {0x10f86, 0x10f89}, {0x1144b, 0x1144f}, {0x1145a, 0x1145b}, {0x1145d, 0x1145d}, {0x11660, 0x1166c},
    {0x116b9, 0x116b9}, {0x1183b, 0x1183b}, {0x11944, 0x11946}, {0x119e2, 0x119e2}, {0x11a3f, 0x11a46},
    {0x11a9a, 0x11a9c}, {0x11a9e, 0x11aa2}, {0x11b00, 0x11b09}, {0x11c41, 0x11c45}, {0x11c70, 0x11c71},
    {0x11ef7, 0x11ef8}, {0x11f43, 0x11f4f}, {0x11fff, 0x11fff}, {0x12ff1, 0x12ff2}, {0x16e97, 0x16e9a},
    {0x16fe2, 0x16fe2}, {0x1e95e, 0x1e95f},
};

/* Marks that the reference's tables are too old to know as such: Unicode 9 for marks, 8 for those of category Mn. */
static const uint32_t younger_marks[][2] = {
    {0x7fd, 0x7fd},     {0x898, 0x8d3},     {0x9fe, 0x9fe},     {0xafa, 0xaff},     {0xb55, 0xb55},
    {0xc04, 0xc3c},     {0xd00, 0xd00},     {0xd3b, 0xd3c},     {0xd81, 0xd81},     {0xeba, 0xeba},
    {0x1715, 0x1715},   {0x180f, 0x180f},   {0x1abf, 0x1ace},   {0x1cf7, 0x1cf7},   {0x1df6, 0x1dfa},
    {0xa82c, 0xa82c},   {0xa8ff, 0xa8ff},   {0x10d24, 0x10eac}, {0x10f46, 0x10f85}, {0x11070, 0x11074},
    {0x110c2, 0x110c2}, {0x11145, 0x11146}, {0x111c9, 0x111c9}, {0x111ce, 0x111cf}, {0x1133b, 0x1133b},
    {0x1145e, 0x1145e}, {0x1182c, 0x11a99}, {0x11d31, 0x11ef6}, {0x16f4f, 0x16f4f}, {0x16f7f, 0x16f87},
    {0x16fe4, 0x16ff1}, {0x1cf00, 0x1cf46}, {0x1e130, 0x1e2ef},
};
static const uint32_t younger_nonspacing[][2] = {
    {0x7fd, 0x7fd},     {0x898, 0x8e1},     {0x9fe, 0x9fe},     {0xafa, 0xaff},     {0xb55, 0xb55},
    {0xc04, 0xc3c},     {0xd00, 0xd00},     {0xd3b, 0xd3c},     {0xd81, 0xd81},     {0xeba, 0xeba},
    {0x180f, 0x1886},   {0x1abf, 0x1ace},   {0x1df6, 0x1dfb},   {0xa82c, 0xa82c},   {0xa8c5, 0xa8c5},
    {0xa8ff, 0xa8ff},   {0xa9bd, 0xa9bd},   {0x10d24, 0x10eac}, {0x10f46, 0x10f85}, {0x11070, 0x11074},
    {0x110c2, 0x110c2}, {0x111c9, 0x111c9}, {0x111cf, 0x111cf}, {0x1123e, 0x1123e}, {0x1133b, 0x1133b},
    {0x11438, 0x1145e}, {0x1182f, 0x11ef4}, {0x16f4f, 0x16f4f}, {0x16fe4, 0x16fe4}, {0x1cf00, 0x1cf46},
    {0x1e000, 0x1e02a}, {0x1e130, 0x1e2ef}, {0x1e944, 0x1e94a},
};

int32_t dk_in_ranges(const uint32_t (*ranges)[2], size_t count, uint32_t codepoint)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (codepoint > ranges[middle][1]) low = middle + 1;
        else high = middle;
    }
    return low < count && codepoint >= ranges[low][0];
}

size_t dk_codepoint_write(uint32_t codepoint, char out[4])
{
    if (codepoint < 0x80) return out[0] = (char)codepoint, 1;
    if (codepoint < 0x800) {
        out[0] = (char)(0xc0 | codepoint >> 6);
        out[1] = (char)(0x80 | (codepoint & 0x3f));
        return 2;
    }
    if (codepoint < 0x10000) {
        out[0] = (char)(0xe0 | codepoint >> 12);
        out[1] = (char)(0x80 | (codepoint >> 6 & 0x3f));
        out[2] = (char)(0x80 | (codepoint & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | codepoint >> 18);
    out[1] = (char)(0x80 | (codepoint >> 12 & 0x3f));
    out[2] = (char)(0x80 | (codepoint >> 6 & 0x3f));
    out[3] = (char)(0x80 | (codepoint & 0x3f));
    return 4;
}

int32_t dk_is_space(uint32_t c)
{
    if (c < 0x80) return (c >= 9 && c <= 13) || c == ' ';
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

static const struct newer_range *find_newer(uint32_t c)
{
    for (size_t i = 0; i < sizeof newer_characters / sizeof *newer_characters; i++)
        if (c >= newer_characters[i].first && c <= newer_characters[i].last) return &newer_characters[i];
    return NULL;
}

int32_t dk_is_mark(uint32_t c)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    if (category < UTF8PROC_CATEGORY_MN || category > UTF8PROC_CATEGORY_ME) return c == 0x1cf2 || c == 0x1cf3;
    return !DK_IN_RANGES(younger_marks, c) && !find_newer(c);
}

int32_t dk_is_nonspacing(uint32_t c)
{
    if (utf8proc_category((utf8proc_int32_t)c) != UTF8PROC_CATEGORY_MN) return c == 0x1734;
    return !DK_IN_RANGES(younger_nonspacing, c) && !find_newer(c);
}

uint32_t dk_lowercase(uint32_t c)
{
    static const uint32_t younger[][3] = {
        /* Unicode 16 and 17: first, last, what the first becomes */
        {0x1c89, 0x1c89, 0x1c8a},    {0xa7cb, 0xa7cb, 0x264},    {0xa7cc, 0xa7cc, 0xa7cd}, {0xa7ce, 0xa7ce, 0xa7cf},
        {0xa7d2, 0xa7d2, 0xa7d3},    {0xa7d4, 0xa7d4, 0xa7d5},   {0xa7da, 0xa7da, 0xa7db}, {0xa7dc, 0xa7dc, 0x19b},
        {0x10d50, 0x10d65, 0x10d70}, {0x16ea0, 0x16eb8, 0x16ebb}};
    for (size_t i = 0; c >= 0x1c89 && i < sizeof younger / sizeof *younger; i++)
        if (c >= younger[i][0] && c <= younger[i][1]) return c - younger[i][0] + younger[i][2];
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
}

int32_t dk_is_number(uint32_t c)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    const struct newer_range *newer = category == UTF8PROC_CATEGORY_CN ? find_newer(c) : NULL;
    if (newer) return newer->category[0] == 'N';
    return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_NO;
}

int32_t dk_is_punctuation(uint32_t c)
{
    if (c < 0x80) return (c > 32 && c < 48) || (c > 57 && c < 65) || (c > 90 && c < 97) || (c > 122 && c < 127);
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return (category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO &&
            !DK_IN_RANGES(older_punctuation, c)) ||
           c == 0x166d || c == 0x111c9; /* no longer punctuation */
}

int32_t dk_is_word(uint32_t c)
{
    if (c < 0x80) return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
    if (c == 0x200c || c == 0x200d) return 1;
    if ((c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
        (c >= 0x1f170 && c <= 0x1f189))
        return 1; /* symbols that are alphabetic: letters in circles and squares */
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) || category == UTF8PROC_CATEGORY_PC;
}

size_t dk_valid_prefix(const char *text, size_t size)
{
    size_t at = 0;
    while (at < size) {
        uint64_t block;
        if (size - at >= 8 && (memcpy(&block, text + at, 8), !(block & 0x8080808080808080u))) {
            at += 8;
            continue;
        }
        size_t length = dk_utf8_length((const unsigned char *)text + at, size - at);
        if (!length) return at;
        at += length;
    }
    return size;
}

void dk_escape_invalid(dk_strbuf *out, const char *text, size_t size, const uint8_t keep[256])
{
    for (size_t at = 0; at < size;) {
        size_t valid = dk_valid_prefix(text + at, size - at);
        dk_strbuf_append(out, text + at, valid);
        if ((at += valid) == size) break;
        uint8_t byte = (uint8_t)text[at++];
        char escape[4];
        dk_strbuf_append(out, escape, dk_codepoint_write(keep[byte] ? 0xdc00u + byte : 0xfffdu, escape));
    }
}

size_t dk_unescaped_prefix(const char *text, size_t size)
{
    const char *at = text, *end = text + size;
    while ((at = memchr(at, 0xed, (size_t)(end - at)))) {
        if (dk_escaped_byte(at, (size_t)(end - at)) >= 0) return (size_t)(at - text);
        at++;
    }
    return size;
}

/* Printable Latin-1 bytes stand for themselves, the others for U+0100 onwards in order. */
static int32_t stands_for_itself(uint32_t byte)
{
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xff && byte != 0xad);
}

uint32_t dk_byte_letter(uint8_t byte)
{
    if (stands_for_itself(byte)) return byte;
    if (byte <= 0x20) return 0x100u + byte;
    if (byte == 0xad) return 0x143;
    return 0x121u + (byte - 0x7fu);
}

int32_t dk_letter_byte(uint32_t c)
{
    if (c < 0x100) return stands_for_itself(c) ? (int32_t)c : -1;
    if (c <= 0x120) return (int32_t)(c - 0x100);
    if (c <= 0x142) return (int32_t)(c - 0x121 + 0x7f);
    return c == 0x143 ? 0xad : -1;
}

void dk_append_letters(dk_strbuf *out, const char *text, size_t size)
{
    char block[512];
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        used += dk_codepoint_write(dk_byte_letter((uint8_t)text[i]), block + used);
        if (used < sizeof block - 4 && i + 1 < size) continue;
        dk_strbuf_append(out, block, used);
        used = 0;
    }
}
