#include "jinja/jinja_attribute.h"

#include "jinja/jinja_builtin.h"
#include "jinja/jinja_text.h"
#include "text/codepoint.h"

#include <string.h>

static int32_t refuse_undefined(dk_jinja_run *run, const dk_jinja_value *value)
{
    const dk_slice *name = value->as.name;
    if (!name) return dk_jinja_fail(run, "an undefined value has no attributes");
    return dk_jinja_fail(run, "'%.*s' is undefined", (int)(name->size < 80 ? name->size : 80), name->data);
}

static dk_jinja_value loop_attribute(const dk_jinja_loop *loop, const dk_slice *name)
{
    static const char *const names[] = {"index",  "index0", "revindex", "revindex0", "first",    "last",
                                        "length", "depth",  "depth0",   "previtem",  "nextitem", NULL};
    const int64_t size = (int64_t)loop->list->size, at = (int64_t)loop->index;
    int32_t which = 0;
    while (names[which] && (strlen(names[which]) != name->size || memcmp(names[which], name->data, name->size) != 0))
        which++;
    const int64_t numbers[] = {at + 1, at, size - at, size - at - 1, 0, 0, size, 1, 0};
    if (which == 4) return dk_jinja_bool(at == 0);
    if (which == 5) return dk_jinja_bool(at + 1 == size);
    if (which < 9) return dk_jinja_int(numbers[which]);
    if (which == 9 && at > 0) return loop->list->items[at - 1];
    if (which == 10 && at + 1 < size) return loop->list->items[at + 1];
    return dk_jinja_undefined(name);
}

int32_t dk_jinja_attribute(dk_jinja_run *run, const dk_jinja_value *value, const dk_slice *name, dk_jinja_value *out)
{
    const dk_jinja_builtin *method = dk_jinja_method_of(value, name->data, name->size);
    const dk_jinja_value *found = NULL;
    int32_t rc;
    if (method) {
        dk_jinja_method *bound;
        DK_TRY(dk_jinja_new(run, 1, &bound));
        *bound = (dk_jinja_method){method, *value};
        *out = (dk_jinja_value){.type = DK_JINJA_METHOD, .as.method = bound};
        return DK_OK;
    }
    if (dk_jinja_is(value, DK_JINJA_UNDEFINED)) return refuse_undefined(run, value);
    if (dk_jinja_is(value, DK_JINJA_LOOP)) return *out = loop_attribute(value->as.loop, name), DK_OK;
    if (dk_jinja_is(value, DK_JINJA_MAP) || dk_jinja_is(value, DK_JINJA_NAMESPACE)) {
        DK_TRY(dk_jinja_spend(run, value->as.map->size / 4));
        found = dk_jinja_map_find_text(value->as.map, name->data, name->size);
    }
    *out = found ? *found : dk_jinja_undefined(name);
    return DK_OK;
out:
    return rc;
}

static int32_t undefined_item(dk_jinja_run *run, const dk_jinja_text *key, dk_jinja_value *out)
{
    dk_slice *name;
    int32_t rc;
    DK_TRY(dk_jinja_new(run, 1, &name));
    *name = (dk_slice){key->data, key->size};
    *out = dk_jinja_undefined(name);
out:
    return rc;
}

static int32_t named_item(dk_jinja_run *run, const dk_jinja_value *value, const dk_jinja_text *key, dk_jinja_value *out)
{
    dk_slice *name;
    int32_t rc;
    if (dk_jinja_is(value, DK_JINJA_MAP)) {
        const dk_jinja_value *found = dk_jinja_map_find_text(value->as.map, key->data, key->size);
        DK_TRY(dk_jinja_spend(run, value->as.map->size / 4));
        if (found) return *out = *found, DK_OK;
    }
    DK_TRY(undefined_item(run, key, out));
    name = (dk_slice *)out->as.name;
    rc = dk_jinja_attribute(run, value, name, out);
out:
    return rc;
}

static int32_t numbered_item(dk_jinja_run *run, const dk_jinja_value *value, int64_t at, dk_jinja_value *out)
{
    *out = dk_jinja_undefined(NULL);
    if (dk_jinja_is(value, DK_JINJA_LIST) && value->as.list->kind <= DK_JINJA_RANGE) {
        int64_t size = (int64_t)value->as.list->size;
        if (at < 0) at += size;
        if (at >= 0 && at < size) *out = value->as.list->items[at];
    } else if (dk_jinja_is(value, DK_JINJA_TEXT)) {
        const dk_jinja_text *text = value->as.text;
        int64_t size = (int64_t)dk_jinja_length(text);
        if (at < 0) at += size;
        if (at < 0 || at >= size) return DK_OK;
        size_t begin = dk_jinja_offset(text, (size_t)at);
        return dk_jinja_slice(run, text, begin, begin + dk_codepoint_size(text->data + begin), out);
    }
    return DK_OK;
}

int32_t dk_jinja_item(dk_jinja_run *run, const dk_jinja_value *value, const dk_jinja_value *key, dk_jinja_value *out)
{
    if (dk_jinja_is(value, DK_JINJA_UNDEFINED)) return refuse_undefined(run, value);
    if (dk_jinja_is(key, DK_JINJA_TEXT)) return named_item(run, value, key->as.text, out);
    if (dk_jinja_is(value, DK_JINJA_MAP)) {
        const dk_jinja_value *found = dk_jinja_map_find(value->as.map, key);
        return *out = found ? *found : dk_jinja_undefined(NULL), DK_OK;
    }
    if (dk_jinja_is_integer(key)) return numbered_item(run, value, key->as.i64, out);
    return *out = dk_jinja_undefined(NULL), DK_OK;
}

int32_t dk_jinja_path(dk_jinja_run *run, const dk_jinja_value *value, const dk_jinja_value *path, dk_jinja_value *out)
{
    int32_t rc;
    *out = *value;
    if (!dk_jinja_is(path, DK_JINJA_TEXT)) return dk_jinja_item(run, value, path, out);
    const dk_jinja_text *text = path->as.text;
    for (size_t at = 0, end; at <= text->size; at = end + 1) {
        dk_jinja_value key, from = *out;
        int64_t number;
        for (end = at; end < text->size && text->data[end] != '.';) end++;
        DK_TRY(dk_jinja_slice(run, text, at, end, &key));
        if (end > at && text->data[at] >= '0' && text->data[at] <= '9' &&
            dk_parse_i64(text->data + at, end - at, &number))
            key = dk_jinja_int(number);
        DK_TRY(dk_jinja_item(run, &from, &key, out));
    }
    rc = DK_OK;
out:
    return rc;
}

/* ---- slices ---- */

typedef struct range {
    int64_t begin, step, count;
} range;

static int32_t bound(dk_jinja_run *run, const dk_jinja_value *part, int64_t fallback, int64_t size, int64_t low,
                     int64_t high, int64_t *out)
{
    if (!dk_jinja_given(part)) return *out = fallback, DK_OK;
    if (!dk_jinja_is_integer(part))
        return dk_jinja_fail(run, "a slice takes integers, not %s", dk_jinja_type_name(part));
    *out = part->as.i64 < 0 ? (part->as.i64 < -size ? low : part->as.i64 + size) : part->as.i64;
    *out = *out < low ? low : *out > high ? high : *out;
    return DK_OK;
}

static int32_t read_range(dk_jinja_run *run, const dk_jinja_value parts[3], int64_t size, range *out)
{
    int64_t end = 0;
    int32_t rc;
    out->step = dk_jinja_given(&parts[2]) ? parts[2].as.i64 : 1;
    if ((dk_jinja_given(&parts[2]) && !dk_jinja_is_integer(&parts[2])) || !out->step)
        return dk_jinja_fail(run, "the step of a slice must be an integer, and not 0");
    const int32_t back = out->step < 0;
    DK_TRY(bound(run, &parts[0], back ? size - 1 : 0, size, back ? -1 : 0, back ? size - 1 : size, &out->begin));
    DK_TRY(bound(run, &parts[1], back ? -1 : size, size, back ? -1 : 0, back ? size - 1 : size, &end));
    const int64_t far = size + 1; /* a longer step goes as far */
    if (out->step > far) out->step = far;
    if (out->step < -far) out->step = -far;
    out->count = 0;
    if (back && out->begin > end) out->count = (out->begin - end - 1) / -out->step + 1;
    if (!back && end > out->begin) out->count = (end - out->begin - 1) / out->step + 1;
out:
    return rc;
}

static int32_t cut_text(dk_jinja_run *run, const dk_jinja_value *value, const dk_jinja_value parts[3],
                        dk_jinja_value *out)
{
    const dk_jinja_text *text = value->as.text;
    dk_jinja_builder b = {0};
    range r;
    int32_t rc;
    DK_TRY(dk_jinja_spend(run, text->size / 64));
    DK_TRY(read_range(run, parts, (int64_t)dk_jinja_length(text), &r));
    if (r.step == 1 || !r.count) {
        size_t begin = dk_jinja_offset(text, (size_t)r.begin);
        dk_jinja_text rest = {text->data + begin, text->size - begin, NULL, 0};
        DK_TRY(dk_jinja_slice(run, text, begin, begin + (r.count ? dk_jinja_offset(&rest, (size_t)r.count) : 0), out));
    } else {
        const dk_jinja_list *characters;
        DK_TRY(dk_jinja_iterate(run, value, &characters));
        for (int64_t i = 0; i < r.count; i++)
            DK_TRY(dk_jinja_put_text(run, &b, characters->items[r.begin + i * r.step].as.text));
        DK_TRY(dk_jinja_build(run, &b, out));
    }
    out->safe = value->safe;
out:
    return rc;
}

int32_t dk_jinja_cut(dk_jinja_run *run, const dk_jinja_value *value, const dk_jinja_value parts[3], dk_jinja_value *out)
{
    dk_jinja_list *list;
    range r;
    int32_t rc;
    if (dk_jinja_is(value, DK_JINJA_TEXT)) return cut_text(run, value, parts, out);
    if (dk_jinja_is(value, DK_JINJA_UNDEFINED)) return refuse_undefined(run, value);
    if (!dk_jinja_is(value, DK_JINJA_LIST) || value->as.list->kind > DK_JINJA_RANGE)
        return dk_jinja_fail(run, "%s cannot be sliced", dk_jinja_type_name(value));
    DK_TRY(read_range(run, parts, (int64_t)value->as.list->size, &r));
    DK_TRY(dk_jinja_new_list(run, value->as.list->kind, (size_t)r.count, &list));
    for (int64_t i = 0; i < r.count; i++) DK_TRY(dk_jinja_push(run, list, value->as.list->items[r.begin + i * r.step]));
    *out = dk_jinja_of_list(list);
out:
    return rc;
}
