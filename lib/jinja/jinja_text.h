/* jinja_text.h - text that knows where its characters came from. Private to lib/jinja. */
#ifndef DK_JINJA_TEXT_H
#define DK_JINJA_TEXT_H

#include "jinja/jinja_run.h"

/* ---- building ---- */
int32_t dk_jinja_put(dk_jinja_run *run, dk_jinja_builder *builder, const char *data, size_t size, uint16_t origin);
int32_t dk_jinja_put_part(dk_jinja_run *run, dk_jinja_builder *builder, const dk_jinja_text *text, size_t begin,
                          size_t end);
int32_t dk_jinja_put_text(dk_jinja_run *run, dk_jinja_builder *builder, const dk_jinja_text *text);
int32_t dk_jinja_build(dk_jinja_run *run, const dk_jinja_builder *builder, dk_jinja_value *out);
int32_t dk_jinja_make_text(dk_jinja_run *run, const char *data, size_t size, uint16_t origin, dk_jinja_value *out);
/* Bytes [begin, end) of text; nothing is copied. */
int32_t dk_jinja_slice(dk_jinja_run *run, const dk_jinja_text *text, size_t begin, size_t end, dk_jinja_value *out);
static inline uint16_t dk_jinja_origin_at(const dk_jinja_text *text, size_t at)
{
    return text->origins ? text->origins[at] : text->origin;
}
/* The origin of a value made of text as a whole: of its first character that is not the template's. */
uint16_t dk_jinja_origin_of(const dk_jinja_text *text);

/* ---- characters ---- */
int32_t dk_jinja_is_space(uint32_t codepoint); /* as Python's str.isspace */
size_t dk_jinja_length(const dk_jinja_text *text);
size_t dk_jinja_offset(const dk_jinja_text *text, size_t character); /* bytes in front of it; size when beyond */
enum { DK_JINJA_LEFT = 1, DK_JINJA_RIGHT = 2 };
/* Narrows [*begin, *end) by white space, or by the characters of set where that is not NULL. */
void dk_jinja_strip(const char *data, const dk_jinja_text *set, int32_t sides, size_t *begin, size_t *end);
/* Place of the first needle in text[from, end), -1 = none. */
int64_t dk_jinja_find(const dk_jinja_text *text, size_t from, size_t end, const dk_jinja_text *needle);
int64_t dk_jinja_find_last(const dk_jinja_text *text, size_t end, const dk_jinja_text *needle);
/* The end of the line that begins at `at`, as Python's splitlines sees it; *next = where the one behind it begins. */
size_t dk_jinja_line_end(const dk_jinja_text *text, size_t at, size_t *next);
int32_t dk_jinja_starts(const dk_jinja_text *text, size_t at, const dk_jinja_text *needle);

#endif
