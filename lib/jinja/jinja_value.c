#include "jinja/jinja_value.h"

#include <string.h>

enum { NESTED = 64 };

const char *dk_jinja_type_name(const dk_jinja_value *value)
{
    static const char *const names[] = {
        "nothing", "an undefined value", "none",    "a boolean",  "an integer", "a float", "a text", "a list",
        "a map",   "a namespace",        "a macro", "a function", "a method",   "a loop"};
    static const char *const lists[] = {"a list", "a tuple", "a range", "a view of a map", "a generator"};
    return value->type == DK_JINJA_LIST ? lists[value->as.list->kind] : names[value->type];
}

int32_t dk_jinja_truth(const dk_jinja_value *value)
{
    switch (value->type) {
    case DK_JINJA_UNSET:
    case DK_JINJA_UNDEFINED:
    case DK_JINJA_NONE:
        return 0;
    case DK_JINJA_BOOL:
    case DK_JINJA_INT:
        return value->as.i64 != 0;
    case DK_JINJA_FLOAT:
        return value->as.f64 != 0;
    case DK_JINJA_TEXT:
        return value->as.text->size != 0;
    case DK_JINJA_LIST:
        return value->as.list->kind == DK_JINJA_GENERATOR || value->as.list->size != 0;
    case DK_JINJA_MAP:
        return value->as.map->size != 0;
    default:
        return 1;
    }
}

static int32_t same_number(const dk_jinja_value *a, const dk_jinja_value *b)
{
    if (dk_jinja_is_integer(a) && dk_jinja_is_integer(b)) return a->as.i64 == b->as.i64;
    return dk_jinja_f64(a) == dk_jinja_f64(b);
}

static int32_t equal(const dk_jinja_value *a, const dk_jinja_value *b, int32_t depth);

static int32_t same_list(const dk_jinja_list *a, const dk_jinja_list *b, int32_t depth)
{
    if (a == b) return 1;
    if (a->kind != b->kind || a->kind >= DK_JINJA_VIEW || a->size != b->size) return 0;
    for (size_t i = 0; i < a->size; i++)
        if (!equal(&a->items[i], &b->items[i], depth)) return 0;
    return 1;
}

static int32_t same_map(const dk_jinja_map *a, const dk_jinja_map *b, int32_t depth)
{
    if (a == b) return 1;
    if (a->size != b->size) return 0;
    for (size_t i = 0; i < a->size; i++) {
        const dk_jinja_value *other = dk_jinja_map_find(b, &a->entries[i].key);
        if (!other || !equal(&a->entries[i].value, other, depth)) return 0;
    }
    return 1;
}

static int32_t equal(const dk_jinja_value *a, const dk_jinja_value *b, int32_t depth)
{
    if (depth >= NESTED) return 0;
    if (dk_jinja_is_number(a) && dk_jinja_is_number(b)) return same_number(a, b);
    if (a->type != b->type) return 0;
    switch (a->type) {
    case DK_JINJA_UNDEFINED:
    case DK_JINJA_NONE:
        return 1;
    case DK_JINJA_TEXT:
        return a->as.text->size == b->as.text->size && !memcmp(a->as.text->data, b->as.text->data, a->as.text->size);
    case DK_JINJA_LIST:
        return same_list(a->as.list, b->as.list, depth + 1);
    case DK_JINJA_MAP:
        return same_map(a->as.map, b->as.map, depth + 1);
    default:
        return a->as.macro == b->as.macro;
    }
}

int32_t dk_jinja_equal(const dk_jinja_value *a, const dk_jinja_value *b) { return equal(a, b, 0); }

static int32_t order_texts(const dk_jinja_text *a, const dk_jinja_text *b)
{
    size_t size = a->size < b->size ? a->size : b->size;
    int order = size ? memcmp(a->data, b->data, size) : 0;
    return order ? order : (a->size > b->size) - (a->size < b->size);
}

static int32_t order_of(const dk_jinja_value *a, const dk_jinja_value *b, int32_t depth, int32_t *order)
{
    if (depth >= NESTED) return 0;
    if (dk_jinja_is_integer(a) && dk_jinja_is_integer(b))
        return *order = (a->as.i64 > b->as.i64) - (a->as.i64 < b->as.i64), 1;
    if (dk_jinja_is_number(a) && dk_jinja_is_number(b)) {
        double x = dk_jinja_f64(a), y = dk_jinja_f64(b);
        return *order = (x > y) - (x < y), x == x && y == y;
    }
    if (a->type != b->type) return 0;
    if (dk_jinja_is(a, DK_JINJA_TEXT)) return *order = order_texts(a->as.text, b->as.text), 1;
    if (!dk_jinja_is(a, DK_JINJA_LIST) || a->as.list->kind != b->as.list->kind || a->as.list->kind > DK_JINJA_TUPLE)
        return 0;
    const dk_jinja_list *x = a->as.list, *y = b->as.list;
    for (size_t i = 0; i < x->size && i < y->size; i++)
        if (!equal(&x->items[i], &y->items[i], depth)) return order_of(&x->items[i], &y->items[i], depth + 1, order);
    return *order = (x->size > y->size) - (x->size < y->size), 1;
}

int32_t dk_jinja_order(const dk_jinja_value *a, const dk_jinja_value *b, int32_t *order)
{
    return order_of(a, b, 0, order);
}

int32_t dk_jinja_text_is(const dk_jinja_value *value, const char *text)
{
    return value->type == DK_JINJA_TEXT && value->as.text->size == strlen(text) &&
           !memcmp(value->as.text->data, text, value->as.text->size);
}

const dk_jinja_value *dk_jinja_map_find(const dk_jinja_map *map, const dk_jinja_value *key)
{
    for (size_t i = 0; i < map->size; i++)
        if (dk_jinja_equal(&map->entries[i].key, key)) return &map->entries[i].value;
    return NULL;
}

const dk_jinja_value *dk_jinja_map_find_text(const dk_jinja_map *map, const char *key, size_t size)
{
    dk_jinja_text text = {key, size, NULL, 0};
    dk_jinja_value value = dk_jinja_of_text(&text);
    return dk_jinja_map_find(map, &value);
}
