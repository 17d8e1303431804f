#include "jinja/jinja_letter.h"

#include "text/codepoint.h"

#include <string.h>
#include <utf8proc.h>

static int32_t is_cased(uint32_t c)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL || category == UTF8PROC_CATEGORY_LT;
}

static int32_t begins_word(uint32_t before)
{
    return dk_jinja_is_space(before) || (before < 128 && strchr("-({[<", (int)before));
}

static int32_t is_large(dk_jinja_case how, size_t at, uint32_t before)
{
    return how == DK_JINJA_UPPER || (how == DK_JINJA_CAPITAL && !at) ||
           (how == DK_JINJA_TITLE && (!at || !is_cased(before))) ||
           (how == DK_JINJA_HEADLINE && (!at || begins_word(before)));
}

static size_t changed(uint32_t c, int32_t large, int32_t title, char out[8])
{
    utf8proc_int32_t point = (utf8proc_int32_t)c;
    if (large && c == 0xdf) return memcpy(out, title ? "Ss" : "SS", 2), 2; /* the one that is common */
    point = large ? (title ? utf8proc_totitle(point) : utf8proc_toupper(point)) : utf8proc_tolower(point);
    return dk_codepoint_write((uint32_t)point, out);
}

int32_t dk_jinja_change_case(dk_jinja_run *run, const dk_jinja_text *text, dk_jinja_case how, dk_jinja_value *out)
{
    dk_jinja_builder b = {0};
    uint32_t c, before = 0;
    int32_t rc = DK_OK;
    for (size_t at = 0; at < text->size; at += dk_codepoint_size(text->data + at), before = c) {
        char bytes[8];
        dk_codepoint(text->data + at, &c);
        size_t size = changed(c, is_large(how, at, before), how == DK_JINJA_TITLE || how == DK_JINJA_CAPITAL, bytes);
        DK_TRY(dk_jinja_put(run, &b, bytes, size, dk_jinja_origin_at(text, at)));
    }
    rc = dk_jinja_build(run, &b, out);
out:
    return rc;
}

/* An empty text stands in front of every character, and behind the last. */
static int32_t replace_empty(dk_jinja_run *run, const dk_jinja_text *text, const dk_jinja_text *new_text, int64_t count,
                             dk_jinja_builder *b)
{
    int32_t rc = DK_OK;
    for (size_t at = 0, next = 0; at <= text->size; at = next) {
        if (count) DK_TRY(dk_jinja_put_text(run, b, new_text));
        if (count > 0) count--;
        if (at == text->size) break;
        next = at + dk_codepoint_size(text->data + at);
        DK_TRY(dk_jinja_put_part(run, b, text, at, next));
    }
out:
    return rc;
}

int32_t dk_jinja_replace(dk_jinja_run *run, const dk_jinja_text *text, const dk_jinja_text *old,
                         const dk_jinja_text *new_text, int64_t count, dk_jinja_value *out)
{
    dk_jinja_builder b = {0};
    size_t at = 0;
    int64_t found;
    int32_t rc = DK_OK;
    if (!old->size) DK_TRY(replace_empty(run, text, new_text, count, &b));
    while (old->size && count && (found = dk_jinja_find(text, at, text->size, old)) >= 0) {
        DK_TRY(dk_jinja_spend(run, 1));
        DK_TRY(dk_jinja_put_part(run, &b, text, at, (size_t)found));
        DK_TRY(dk_jinja_put_text(run, &b, new_text));
        at = (size_t)found + old->size;
        if (count > 0) count--;
    }
    if (old->size) DK_TRY(dk_jinja_put_part(run, &b, text, at, text->size));
    rc = dk_jinja_build(run, &b, out);
out:
    return rc;
}
