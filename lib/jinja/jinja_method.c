/* Methods of texts, maps, lists and loops. Those that change what they are called on do not exist here. */
#include "jinja/jinja_builtin.h"
#include "jinja/jinja_letter.h"
#include "jinja/jinja_spell.h"
#include "text/codepoint.h"

#include <string.h>
#include <utf8proc.h>

static const dk_jinja_text *self(const dk_jinja_call *call) { return call->in[0].as.text; }

/* ---- texts: ends ---- */

static int32_t strip_sides(dk_jinja_run *run, const dk_jinja_call *call, int32_t sides, dk_jinja_value *out)
{
    const dk_jinja_text *set = NULL;
    size_t begin = 0, end = self(call)->size;
    int32_t rc = DK_OK;
    if (dk_jinja_given(&call->in[1])) DK_TRY(dk_jinja_text_in(run, call, 1, &set));
    dk_jinja_strip(self(call)->data, set, sides, &begin, &end);
    DK_TRY(dk_jinja_slice(run, self(call), begin, end, out));
    out->safe = call->in[0].safe;
out:
    return rc;
}

static int32_t strip(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return strip_sides(run, call, DK_JINJA_LEFT | DK_JINJA_RIGHT, out);
}
static int32_t lstrip(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return strip_sides(run, call, DK_JINJA_LEFT, out);
}
static int32_t rstrip(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return strip_sides(run, call, DK_JINJA_RIGHT, out);
}

static int32_t has_end(const dk_jinja_text *text, const dk_jinja_text *part, int32_t last)
{
    if (part->size > text->size) return 0;
    return dk_jinja_starts(text, last ? text->size - part->size : 0, part);
}

/* One text, or a tuple of them. */
static int32_t begins_or_ends(dk_jinja_run *run, const dk_jinja_call *call, int32_t last, dk_jinja_value *out)
{
    const dk_jinja_value *part = &call->in[1];
    size_t count = 1;
    int32_t yes = 0;
    if (dk_jinja_is(part, DK_JINJA_LIST) && part->as.list->kind == DK_JINJA_TUPLE) {
        count = part->as.list->size;
        part = part->as.list->items;
    }
    for (size_t i = 0; i < count; i++) {
        if (!dk_jinja_is(&part[i], DK_JINJA_TEXT))
            return dk_jinja_fail(run, "%s takes a text or a tuple of texts, not %s", call->builtin->name,
                                 dk_jinja_type_name(&part[i]));
        yes |= has_end(self(call), part[i].as.text, last);
    }
    *out = dk_jinja_bool(yes);
    return DK_OK;
}

static int32_t startswith(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return begins_or_ends(run, call, 0, out);
}
static int32_t endswith(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return begins_or_ends(run, call, 1, out);
}

static int32_t remove_end(dk_jinja_run *run, const dk_jinja_call *call, int32_t last, dk_jinja_value *out)
{
    const dk_jinja_text *part;
    int32_t rc;
    DK_TRY(dk_jinja_text_in(run, call, 1, &part));
    size_t cut = has_end(self(call), part, last) ? part->size : 0;
    DK_TRY(dk_jinja_slice(run, self(call), last ? 0 : cut, self(call)->size - (last ? cut : 0), out));
    out->safe = call->in[0].safe;
out:
    return rc;
}

static int32_t removeprefix(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return remove_end(run, call, 0, out);
}
static int32_t removesuffix(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return remove_end(run, call, 1, out);
}

/* ---- texts: pieces ---- */

static int32_t push_slice(dk_jinja_run *run, const dk_jinja_call *call, size_t begin, size_t end, dk_jinja_list *out)
{
    dk_jinja_value piece;
    int32_t rc;
    DK_TRY(dk_jinja_slice(run, self(call), begin, end, &piece));
    piece.safe = call->in[0].safe;
    rc = dk_jinja_push(run, out, piece);
out:
    return rc;
}

static int32_t space_at(const dk_jinja_text *text, size_t at, size_t *size)
{
    uint32_t c;
    *size = dk_codepoint(text->data + at, &c);
    return dk_jinja_is_space(c);
}

/* Words; what is left behind `most` of them is one, without the space in front of it. */
static int32_t split_words(dk_jinja_run *run, const dk_jinja_call *call, int64_t most, dk_jinja_list *out)
{
    const dk_jinja_text *text = self(call);
    size_t size;
    int32_t rc = DK_OK;
    for (size_t at = 0, end; at < text->size; at = end) {
        while (at < text->size && space_at(text, at, &size)) at += size;
        if (at == text->size) break;
        for (end = at; end < text->size && (!most || !space_at(text, end, &size));)
            end += most ? size : text->size - end;
        DK_TRY(push_slice(run, call, at, end, out));
        if (most > 0) most--;
    }
out:
    return rc;
}

static int32_t split_words_back(dk_jinja_run *run, const dk_jinja_call *call, int64_t most, dk_jinja_list *out)
{
    const dk_jinja_text *text = self(call);
    size_t size, end = text->size;
    int32_t rc = DK_OK;
    for (;;) {
        size_t zero = 0, begin;
        dk_jinja_strip(text->data, NULL, DK_JINJA_RIGHT, &zero, &end);
        if (!end) break;
        for (begin = end; begin > 0;) {
            size_t before = dk_codepoint_before(text->data, begin);
            if (most && space_at(text, before, &size)) break;
            begin = before;
        }
        DK_TRY(push_slice(run, call, begin, end, out));
        if (most > 0) most--;
        end = begin;
    }
out:
    return rc;
}

static int32_t split_at(dk_jinja_run *run, const dk_jinja_call *call, const dk_jinja_text *separator, int64_t most,
                        dk_jinja_list *out)
{
    size_t at = 0;
    int64_t found;
    int32_t rc = DK_OK;
    while (most && (found = dk_jinja_find(self(call), at, self(call)->size, separator)) >= 0) {
        DK_TRY(push_slice(run, call, at, (size_t)found, out));
        at = (size_t)found + separator->size;
        if (most > 0) most--;
    }
    rc = push_slice(run, call, at, self(call)->size, out);
out:
    return rc;
}

static int32_t split_at_back(dk_jinja_run *run, const dk_jinja_call *call, const dk_jinja_text *separator, int64_t most,
                             dk_jinja_list *out)
{
    size_t end = self(call)->size;
    int64_t found;
    int32_t rc = DK_OK;
    while (most && (found = dk_jinja_find_last(self(call), end, separator)) >= 0) {
        DK_TRY(push_slice(run, call, (size_t)found + separator->size, end, out));
        end = (size_t)found;
        if (most > 0) most--;
    }
    rc = push_slice(run, call, 0, end, out);
out:
    return rc;
}

static void turn_around(dk_jinja_list *list)
{
    for (size_t i = 0; i < list->size / 2; i++) {
        dk_jinja_value item = list->items[i];
        list->items[i] = list->items[list->size - 1 - i];
        list->items[list->size - 1 - i] = item;
    }
}

static int32_t split_from(dk_jinja_run *run, const dk_jinja_call *call, int32_t back, dk_jinja_value *out)
{
    const dk_jinja_text *separator = NULL;
    dk_jinja_list *list;
    int64_t most;
    int32_t rc;
    DK_TRY(dk_jinja_int_in(run, call, 2, -1, &most));
    DK_TRY(dk_jinja_new_list(run, DK_JINJA_PLAIN, 0, &list));
    if (dk_jinja_given(&call->in[1])) {
        DK_TRY(dk_jinja_text_in(run, call, 1, &separator));
        if (!separator->size) {
            rc = dk_jinja_fail(run, "%s by an empty text", call->builtin->name);
            goto out;
        }
        DK_TRY((back ? split_at_back : split_at)(run, call, separator, most, list));
    } else DK_TRY((back ? split_words_back : split_words)(run, call, most, list));
    if (back) turn_around(list);
    *out = dk_jinja_of_list(list);
out:
    return rc;
}

static int32_t split(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return split_from(run, call, 0, out);
}
static int32_t rsplit(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return split_from(run, call, 1, out);
}

static int32_t splitlines(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    dk_jinja_list *list;
    int32_t rc;
    DK_TRY(dk_jinja_new_list(run, DK_JINJA_PLAIN, 0, &list));
    for (size_t at = 0, next; at < self(call)->size; at = next) {
        size_t end = dk_jinja_line_end(self(call), at, &next);
        DK_TRY(push_slice(run, call, at, dk_jinja_flag_in(call, 1) ? next : end, list));
    }
    *out = dk_jinja_of_list(list);
out:
    return rc;
}

static int32_t partition(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_text *separator;
    const int32_t back = call->builtin->name[0] == 'r';
    dk_jinja_list *list;
    int32_t rc;
    DK_TRY(dk_jinja_text_in(run, call, 1, &separator));
    if (!separator->size) return dk_jinja_fail(run, "%s by an empty text", call->builtin->name);
    DK_TRY(dk_jinja_new_list(run, DK_JINJA_TUPLE, 3, &list));
    const size_t size = self(call)->size;
    int64_t found =
        back ? dk_jinja_find_last(self(call), size, separator) : dk_jinja_find(self(call), 0, size, separator);
    size_t begin = found >= 0 ? (size_t)found : back ? 0 : size, end = found >= 0 ? begin + separator->size : begin;
    DK_TRY(push_slice(run, call, 0, begin, list));
    DK_TRY(push_slice(run, call, begin, end, list));
    DK_TRY(push_slice(run, call, end, size, list));
    *out = dk_jinja_of_list(list);
out:
    return rc;
}

static int32_t join(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_list *list;
    dk_jinja_builder b = {0};
    int32_t rc;
    DK_TRY(dk_jinja_iterate(run, &call->in[1], &list));
    for (size_t i = 0; i < list->size; i++) {
        if (!dk_jinja_is(&list->items[i], DK_JINJA_TEXT)) {
            rc = dk_jinja_fail(run, "join takes texts, not %s", dk_jinja_type_name(&list->items[i]));
            goto out;
        }
        if (i) DK_TRY(dk_jinja_put_text(run, &b, self(call)));
        DK_TRY(dk_jinja_put_text(run, &b, list->items[i].as.text));
    }
    rc = dk_jinja_build(run, &b, out);
out:
    return rc;
}

/* ---- texts: case, replacing, finding ---- */

static int32_t change(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    static const char letters[] = "ultc"; /* upper, lower, title, capitalize */
    static const dk_jinja_case cases[] = {DK_JINJA_UPPER, DK_JINJA_LOWER, DK_JINJA_TITLE, DK_JINJA_CAPITAL};
    int32_t rc = dk_jinja_change_case(run, self(call), cases[strchr(letters, call->builtin->name[0]) - letters], out);
    if (!rc) out->safe = call->in[0].safe;
    return rc;
}

static int32_t replace(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_text *old, *new_text;
    int64_t count;
    int32_t rc;
    DK_TRY(dk_jinja_text_in(run, call, 1, &old));
    DK_TRY(dk_jinja_text_in(run, call, 2, &new_text));
    DK_TRY(dk_jinja_int_in(run, call, 3, -1, &count));
    DK_TRY(dk_jinja_replace(run, self(call), old, new_text, count, out));
    out->safe = call->in[0].safe;
out:
    return rc;
}

/* The place in characters, -1 = not there. */
static int32_t place_of(dk_jinja_run *run, const dk_jinja_call *call, int32_t last, int64_t *out)
{
    const dk_jinja_text *needle;
    dk_jinja_text before = *self(call);
    int32_t rc;
    DK_TRY(dk_jinja_text_in(run, call, 1, &needle));
    DK_TRY(dk_jinja_spend(run, self(call)->size / 64));
    *out = last ? dk_jinja_find_last(self(call), self(call)->size, needle)
                : dk_jinja_find(self(call), 0, self(call)->size, needle);
    if (*out > 0) {
        before.size = (size_t)*out;
        *out = (int64_t)dk_jinja_length(&before);
    }
out:
    return rc;
}

static int32_t find(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    int64_t place;
    int32_t rc;
    DK_TRY(place_of(run, call, call->builtin->name[0] == 'r', &place));
    if (place < 0 && call->builtin->name[0] == 'i') rc = dk_jinja_fail(run, "index: the text is not in it");
    *out = dk_jinja_int(place);
out:
    return rc;
}

static int32_t count_text(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_text *needle;
    int64_t count = 0, found = 0;
    int32_t rc;
    DK_TRY(dk_jinja_text_in(run, call, 1, &needle));
    DK_TRY(dk_jinja_spend(run, self(call)->size / 64));
    if (!needle->size) count = (int64_t)dk_jinja_length(self(call)) + 1;
    while (needle->size && (found = dk_jinja_find(self(call), (size_t)found, self(call)->size, needle)) >= 0) {
        found += (int64_t)needle->size;
        count++;
    }
    *out = dk_jinja_int(count);
out:
    return rc;
}

/* ---- texts: what they are made of ---- */

static int32_t is_alpha(uint32_t c)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}
static int32_t is_digit(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_ND || c == 0xb2 || c == 0xb3 || c == 0xb9 ||
           c == 0x2070 || (c >= 0x2074 && c <= 0x2079) || (c >= 0x2080 && c <= 0x2089);
}
static int32_t is_alnum(uint32_t c) { return is_alpha(c) || is_digit(c); }

static int32_t all_are(dk_jinja_run *run, const dk_jinja_call *call, int32_t (*is)(uint32_t c), dk_jinja_value *out)
{
    const dk_jinja_text *text = self(call);
    *out = dk_jinja_bool(text->size != 0);
    for (size_t at = 0, size; at < text->size; at += size) {
        uint32_t c;
        size = dk_codepoint(text->data + at, &c);
        if (!is(c)) *out = dk_jinja_bool(0);
    }
    return dk_jinja_spend(run, text->size / 64);
}

static int32_t isalpha_of(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return all_are(run, call, is_alpha, out);
}
static int32_t isdigit_of(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return all_are(run, call, is_digit, out);
}
static int32_t isalnum_of(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return all_are(run, call, is_alnum, out);
}
static int32_t isspace_of(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return all_are(run, call, dk_jinja_is_space, out);
}

/* "{} {1} {name}": fields without a format. */
static int32_t format_field(dk_jinja_run *run, const dk_jinja_call *call, dk_slice field, size_t *next,
                            dk_jinja_builder *b)
{
    int64_t number = 0;
    const dk_jinja_arguments *given = &call->rest;
    if (!field.size) number = (int64_t)(*next)++;
    else if (!dk_parse_i64(field.data, field.size, &number)) number = -1;
    for (size_t i = 0; i < given->count; i++) {
        int32_t named = given->names[i].size && given->names[i].size == field.size &&
                        !memcmp(given->names[i].data, field.data, field.size);
        if (named || (!given->names[i].size && number == (int64_t)i)) return dk_jinja_put_str(run, b, &given->items[i]);
    }
    return dk_jinja_fail(run, "format: the field {%.*s} is not known here", (int)(field.size < 40 ? field.size : 40),
                         field.data);
}

static int32_t format(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_text *text = self(call);
    dk_jinja_builder b = {0};
    size_t next = 0;
    int32_t rc = DK_OK;
    for (size_t at = 0, end; at < text->size; at = end + 1) {
        char c = text->data[at];
        end = at;
        if ((c == '{' || c == '}') && at + 1 < text->size && text->data[at + 1] == c) end++;
        else if (c == '{' || c == '}') {
            const char *close = c == '{' ? memchr(text->data + at, '}', text->size - at) : NULL;
            if (!close) {
                rc = dk_jinja_fail(run, "format: a single %c", c);
                goto out;
            }
            end = (size_t)(close - text->data);
            DK_TRY(format_field(run, call, (dk_slice){text->data + at + 1, end - at - 1}, &next, &b));
            continue;
        }
        DK_TRY(dk_jinja_put_part(run, &b, text, at, at + 1));
    }
    rc = dk_jinja_build(run, &b, out);
out:
    return rc;
}

const dk_jinja_builtin dk_jinja_text_methods[] = {
    {"strip", strip, "?chars"},
    {"lstrip", lstrip, "?chars"},
    {"rstrip", rstrip, "?chars"},
    {"startswith", startswith, "prefix"},
    {"endswith", endswith, "suffix"},
    {"removeprefix", removeprefix, "prefix"},
    {"removesuffix", removesuffix, "suffix"},
    {"split", split, "?sep ?maxsplit"},
    {"rsplit", rsplit, "?sep ?maxsplit"},
    {"splitlines", splitlines, "?keepends"},
    {"partition", partition, "sep"},
    {"rpartition", partition, "sep"},
    {"join", join, "iterable"},
    {"upper", change, ""},
    {"lower", change, ""},
    {"title", change, ""},
    {"capitalize", change, ""},
    {"replace", replace, "old new ?count"},
    {"find", find, "sub"},
    {"rfind", find, "sub"},
    {"index", find, "sub"},
    {"count", count_text, "sub"},
    {"isalpha", isalpha_of, ""},
    {"isdigit", isdigit_of, ""},
    {"isalnum", isalnum_of, ""},
    {"isspace", isspace_of, ""},
    {"format", format, "* **"},
    {NULL, NULL, NULL},
};
