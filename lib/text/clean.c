/* What some normalizers drop and what they make a space of. */
#include "text/codepoint.h"
#include "text/steps.h"

#include <utf8proc.h>

static int32_t is_ideograph(uint32_t c)
{
    static const uint32_t ranges[][2] = {{0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfaff},
                                         {0x20000, 0x2a6df}, {0x2a700, 0x2b73f}, {0x2b740, 0x2b81f},
                                         {0x2b920, 0x2ceaf}, {0x2f800, 0x2fa1f}};
    return DK_IN_RANGES(ranges, c);
}

/* As Unicode 8 has it. */
static int32_t is_other(uint32_t c)
{
    if (c == 0x890 || c == 0x891 || c == 0x8e2 || c == 0x110cd || (c >= 0x13430 && c <= 0x1343f)) return 0;
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_CO;
}

static int32_t nmt_drops(uint32_t c)
{
    return (c >= 1 && c <= 8) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f || c == 0x8f || c == 0x9f;
}

static int32_t nmt_space(uint32_t c)
{
    return c == 9 || c == 0xa || c == 0xc || c == 0xd || c == 0x1680 || (c >= 0x200b && c <= 0x200f) || c == 0x2028 ||
           c == 0x2029 || c == 0x2581 || c == 0xfeff || c == 0xfffd;
}

/* What becomes of c: 0 = it goes, 1 = a space, 2 = it stays, 3 = it stays between spaces. */
static int32_t fate(dk_step_kind kind, uint32_t c)
{
    switch (kind) {
    case DK_STEP_NMT:
        return nmt_drops(c) ? 0 : nmt_space(c) ? 1 : 2;
    case DK_STEP_CLEAN:
        if (c == '\t' || c == '\n' || c == '\r') return 1;
        return !c || c == 0xfffd || is_other(c) ? 0 : dk_is_space(c) ? 1 : 2;
    case DK_STEP_SPACE_IDEOGRAPHS:
        return is_ideograph(c) ? 3 : 2;
    case DK_STEP_STRIP_ACCENTS:
        return dk_is_mark(c) ? 0 : 2;
    default:
        return dk_is_nonspacing(c) ? 0 : 2;
    }
}

void dk_clean(dk_step_kind kind, const char *text, size_t size, dk_strbuf *out)
{
    for (size_t at = 0; at < size;) {
        uint32_t c;
        size_t length = dk_codepoint(text + at, &c);
        int32_t what = dk_escaped_byte(text + at, size - at) >= 0 ? 2 : fate(kind, c);
        if (what & 1) dk_strbuf_append(out, " ", 1);
        if (what & 2) dk_strbuf_append(out, text + at, length);
        if (what == 3) dk_strbuf_append(out, " ", 1);
        at += length;
    }
}
