/* html_text.c - text from data as HTML: nothing in it is markup, turns the direction of what stands beside it, or is
 * lost unseen. */
#include <string.h>

#include "base/utf8.h"
#include "report/page/sheet.h"

void di_html(di_sheet *s, const char *html) { dk_strbuf_puts(s->out, html); }

static uint32_t code_point(const unsigned char *at, size_t length)
{
    static const unsigned char mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t code = at[0] & mask[length];
    for (size_t i = 1; i < length; i++) code = code << 6 | (at[i] & 0x3f);
    return code;
}

/* Controls of direction and of lines that a browser would follow, and code points that HTML may not have. */
static int32_t is_hidden(uint32_t c)
{
    return (c >= 0x80 && c < 0xa0) || c == 0x61c || c == 0x200b || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c & 0xfffe) == 0xfffe ||
           (c >= 0xfdd0 && c <= 0xfdef) || (c >= 0xe0000 && c <= 0xe007f);
}

static void put_point(dk_strbuf *out, const unsigned char *at, size_t length, int32_t spaces)
{
    const uint32_t c = length ? code_point(at, length) : 0xfffd;
    if (c == '<') dk_strbuf_puts(out, "&lt;");
    else if (c == '>') dk_strbuf_puts(out, "&gt;");
    else if (c == '&') dk_strbuf_puts(out, "&amp;");
    else if (c == '"') dk_strbuf_puts(out, "&quot;");
    else if (c == '\'') dk_strbuf_puts(out, "&#39;");
    else if (c == ' ' && spaces) dk_strbuf_puts(out, "\xe2\x90\xa3");
    else if (c == '\n' && spaces) dk_strbuf_puts(out, "\xe2\x86\xb5");
    else if (c == '\t' && spaces) dk_strbuf_puts(out, "\xe2\x87\xa5");
    else if (c == '\n' || c == '\t') dk_strbuf_append(out, at, 1);
    else if (c < 0x20) dk_strbuf_printf(out, "&#%u;", 0x2400U + (unsigned)c);
    else if (c == 0x7f) dk_strbuf_puts(out, "&#9249;");
    else if (is_hidden(c)) dk_strbuf_printf(out, "[U+%04X]", (unsigned)c);
    else if (!length) dk_strbuf_puts(out, "\xef\xbf\xbd");
    else dk_strbuf_append(out, at, length);
}

static void put_text(dk_strbuf *out, const char *text, size_t size, size_t most, int32_t spaces)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t count = 0;
    while (size) {
        const size_t length = dk_utf8_length(at, size), taken = length ? length : 1;
        if (most && count++ == most) {
            dk_strbuf_puts(out, "\xe2\x80\xa6");
            return;
        }
        put_point(out, at, length, spaces);
        at += taken;
        size -= taken;
    }
}

void di_html_text(dk_strbuf *out, const char *text, size_t size) { put_text(out, text, size, 0, 0); }

void di_html_cut(dk_strbuf *out, const char *text, size_t size, size_t most) { put_text(out, text, size, most, 0); }

void di_html_token(dk_strbuf *out, const char *text, size_t size, size_t most)
{
    if (!size) dk_strbuf_puts(out, "\xe2\x88\x85");
    put_text(out, text, size, most, 1);
}

size_t di_html_width(const char *text, size_t size)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t count = 0;
    while (size) {
        const size_t length = dk_utf8_length(at, size), taken = length ? length : 1;
        count++;
        at += taken;
        size -= taken;
    }
    return count;
}
