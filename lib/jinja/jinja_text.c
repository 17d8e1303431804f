#include "jinja/jinja_text.h"

#include "text/codepoint.h"

#include <string.h>

static int32_t grow(dk_jinja_run *run, dk_jinja_builder *b, size_t more)
{
    size_t capacity = b->capacity ? b->capacity : 64;
    char *data;
    uint16_t *origins;
    int32_t rc;
    if (more > run->limits.output - b->size)
        return dk_jinja_fail(run, "a text of more than %zu bytes, the most that is rendered", run->limits.output);
    while (capacity < b->size + more) capacity *= 2;
    DK_TRY(dk_jinja_new(run, capacity, &data));
    DK_TRY(dk_jinja_new(run, capacity, &origins));
    if (b->size) {
        memcpy(data, b->data, b->size);
        memcpy(origins, b->origins, b->size * sizeof *origins);
    }
    b->data = data;
    b->origins = origins;
    b->capacity = capacity;
out:
    return rc;
}

int32_t dk_jinja_put(dk_jinja_run *run, dk_jinja_builder *b, const char *data, size_t size, uint16_t origin)
{
    int32_t rc = DK_OK;
    if (!size) return DK_OK;
    if (size > b->capacity - b->size) DK_TRY(grow(run, b, size));
    memcpy(b->data + b->size, data, size);
    for (size_t i = 0; i < size; i++) b->origins[b->size + i] = origin;
    b->size += size;
    rc = dk_jinja_spend(run, size / 64);
out:
    return rc;
}

int32_t dk_jinja_put_part(dk_jinja_run *run, dk_jinja_builder *b, const dk_jinja_text *text, size_t begin, size_t end)
{
    int32_t rc;
    if (begin >= end) return DK_OK;
    DK_TRY(dk_jinja_put(run, b, text->data + begin, end - begin, text->origin));
    if (text->origins)
        memcpy(b->origins + b->size - (end - begin), text->origins + begin, (end - begin) * sizeof *b->origins);
out:
    return rc;
}

int32_t dk_jinja_put_text(dk_jinja_run *run, dk_jinja_builder *b, const dk_jinja_text *text)
{
    return dk_jinja_put_part(run, b, text, 0, text->size);
}

int32_t dk_jinja_build(dk_jinja_run *run, const dk_jinja_builder *b, dk_jinja_value *out)
{
    dk_jinja_text *text;
    int32_t rc, mixed = 0;
    DK_TRY(dk_jinja_new(run, 1, &text));
    for (size_t i = 1; i < b->size && !mixed; i++) mixed = b->origins[i] != b->origins[0];
    text->data = b->size ? b->data : "";
    text->size = b->size;
    text->origins = mixed ? b->origins : NULL;
    text->origin = b->size ? b->origins[0] : 0;
    *out = dk_jinja_of_text(text);
out:
    return rc;
}

int32_t dk_jinja_make_text(dk_jinja_run *run, const char *data, size_t size, uint16_t origin, dk_jinja_value *out)
{
    dk_jinja_builder b = {0};
    int32_t rc;
    DK_TRY(dk_jinja_put(run, &b, data, size, origin));
    rc = dk_jinja_build(run, &b, out);
out:
    return rc;
}

int32_t dk_jinja_slice(dk_jinja_run *run, const dk_jinja_text *text, size_t begin, size_t end, dk_jinja_value *out)
{
    dk_jinja_text *part;
    int32_t rc;
    DK_TRY(dk_jinja_new(run, 1, &part));
    if (begin > end) begin = end;
    *part =
        (dk_jinja_text){text->data + begin, end - begin, text->origins ? text->origins + begin : NULL, text->origin};
    *out = dk_jinja_of_text(part);
out:
    return rc;
}

uint16_t dk_jinja_origin_of(const dk_jinja_text *text)
{
    for (size_t i = 0; text->origins && i < text->size; i++)
        if (text->origins[i]) return text->origins[i];
    return text->origins ? 0 : text->origin;
}

/* ---- characters ---- */

int32_t dk_jinja_is_space(uint32_t c) { return dk_is_space(c) || (c >= 0x1c && c <= 0x1f); }

size_t dk_jinja_length(const dk_jinja_text *text)
{
    size_t length = 0;
    for (size_t i = 0; i < text->size; i++) length += ((unsigned char)text->data[i] & 0xc0) != 0x80;
    return length;
}

size_t dk_jinja_offset(const dk_jinja_text *text, size_t character)
{
    size_t at = 0;
    while (character-- && at < text->size) at += dk_codepoint_size(text->data + at);
    return at;
}

static int32_t in_set(const dk_jinja_text *set, const char *at, size_t size)
{
    for (size_t i = 0; i < set->size; i += dk_codepoint_size(set->data + i))
        if (dk_codepoint_size(set->data + i) == size && !memcmp(set->data + i, at, size)) return 1;
    return 0;
}

static int32_t goes(const char *at, const dk_jinja_text *set)
{
    uint32_t c;
    size_t size = dk_codepoint(at, &c);
    return set ? in_set(set, at, size) : dk_jinja_is_space(c);
}

void dk_jinja_strip(const char *data, const dk_jinja_text *set, int32_t sides, size_t *begin, size_t *end)
{
    while (sides & DK_JINJA_LEFT && *begin < *end && goes(data + *begin, set))
        *begin += dk_codepoint_size(data + *begin);
    while (sides & DK_JINJA_RIGHT && *begin < *end) {
        size_t at = *begin + dk_codepoint_before(data + *begin, *end - *begin);
        if (!goes(data + at, set)) return;
        *end = at;
    }
}

int32_t dk_jinja_starts(const dk_jinja_text *text, size_t at, const dk_jinja_text *needle)
{
    return at <= text->size && needle->size <= text->size - at &&
           (!needle->size || !memcmp(text->data + at, needle->data, needle->size));
}

int64_t dk_jinja_find(const dk_jinja_text *text, size_t from, size_t end, const dk_jinja_text *needle)
{
    if (!needle->size) return from <= end ? (int64_t)from : -1;
    while (from < end && needle->size <= end - from) {
        const char *found = memchr(text->data + from, needle->data[0], end - from - needle->size + 1);
        if (!found) return -1;
        from = (size_t)(found - text->data);
        if (dk_jinja_starts(text, from, needle)) return (int64_t)from;
        from++;
    }
    return -1;
}

int64_t dk_jinja_find_last(const dk_jinja_text *text, size_t end, const dk_jinja_text *needle)
{
    if (needle->size > end) return -1;
    for (size_t at = end - needle->size + 1; at-- > 0;)
        if (dk_jinja_starts(text, at, needle)) return (int64_t)at;
    return -1;
}

size_t dk_jinja_line_end(const dk_jinja_text *text, size_t at, size_t *next)
{
    for (size_t size; at < text->size; at += size) {
        uint32_t c;
        size = dk_codepoint(text->data + at, &c);
        if ((c < 10 || c > 13) && (c < 0x1c || c > 0x1e) && c != 0x85 && c != 0x2028 && c != 0x2029) continue;
        *next = at + size + (c == '\r' && at + 1 < text->size && text->data[at + 1] == '\n');
        return at;
    }
    return *next = text->size;
}
