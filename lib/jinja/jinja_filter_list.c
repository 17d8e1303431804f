/* Filters on lists and maps. */
#include "jinja/jinja_attribute.h"
#include "jinja/jinja_builtin.h"
#include "jinja/jinja_letter.h"
#include "jinja/jinja_operator.h"
#include "jinja/jinja_spell.h"

#include <string.h>

static int32_t items_of(dk_jinja_run *run, const dk_jinja_call *call, const dk_jinja_list **out)
{
    return dk_jinja_iterate(run, &call->in[0], out);
}

static int32_t length(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_value *value = &call->in[0];
    if (dk_jinja_is(value, DK_JINJA_TEXT)) *out = dk_jinja_int((int64_t)dk_jinja_length(value->as.text));
    else if (dk_jinja_is(value, DK_JINJA_MAP)) *out = dk_jinja_int((int64_t)value->as.map->size);
    else if (dk_jinja_is(value, DK_JINJA_UNDEFINED)) *out = dk_jinja_int(0);
    else if (dk_jinja_is(value, DK_JINJA_LIST) && value->as.list->kind != DK_JINJA_GENERATOR)
        *out = dk_jinja_int((int64_t)value->as.list->size);
    else return dk_jinja_refuse(run, call, "what has a length");
    return DK_OK;
}

/* The attribute that in[place] names, where it does. */
static int32_t part_of(dk_jinja_run *run, const dk_jinja_call *call, int32_t place, const dk_jinja_value *item,
                       dk_jinja_value *out)
{
    if (!dk_jinja_given(&call->in[place])) return *out = *item, DK_OK;
    return dk_jinja_path(run, item, &call->in[place], out);
}

static int32_t join(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_list *list;
    dk_jinja_builder b = {0};
    int32_t rc;
    DK_TRY(items_of(run, call, &list));
    for (size_t i = 0; i < list->size; i++) {
        dk_jinja_value part;
        if (i && call->in[1].type != DK_JINJA_UNSET) DK_TRY(dk_jinja_put_str(run, &b, &call->in[1]));
        DK_TRY(part_of(run, call, 2, &list->items[i], &part));
        DK_TRY(dk_jinja_put_str(run, &b, &part));
    }
    rc = dk_jinja_build(run, &b, out);
out:
    return rc;
}

static int32_t first(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_list *list;
    int32_t rc;
    DK_TRY(items_of(run, call, &list));
    *out = list->size ? list->items[0] : dk_jinja_undefined(NULL);
out:
    return rc;
}

static int32_t last(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_list *list;
    int32_t rc;
    if (dk_jinja_is(&call->in[0], DK_JINJA_LIST) && call->in[0].as.list->kind == DK_JINJA_GENERATOR)
        return dk_jinja_refuse(run, call, "what can be walked backwards");
    DK_TRY(items_of(run, call, &list));
    *out = list->size ? list->items[list->size - 1] : dk_jinja_undefined(NULL);
out:
    return rc;
}

static int32_t copy_list(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_list_kind kind, dk_jinja_list **out)
{
    const dk_jinja_list *list;
    int32_t rc;
    DK_TRY(items_of(run, call, &list));
    DK_TRY(dk_jinja_new_list(run, kind, list->size, out));
    for (size_t i = 0; i < list->size; i++) DK_TRY(dk_jinja_push(run, *out, list->items[i]));
out:
    return rc;
}

static int32_t list_of(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    dk_jinja_list *list;
    int32_t rc = copy_list(run, call, DK_JINJA_PLAIN, &list);
    if (!rc) *out = dk_jinja_of_list(list);
    return rc;
}

static int32_t reverse(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    static const dk_jinja_value parts[3] = {{0}, {0}, {.type = DK_JINJA_INT, .as.i64 = -1}};
    dk_jinja_list *list;
    int32_t rc;
    if (dk_jinja_is(&call->in[0], DK_JINJA_TEXT)) return dk_jinja_cut(run, &call->in[0], parts, out);
    DK_TRY(copy_list(run, call, DK_JINJA_GENERATOR, &list));
    for (size_t i = 0; i < list->size / 2; i++) {
        dk_jinja_value item = list->items[i];
        list->items[i] = list->items[list->size - 1 - i];
        list->items[list->size - 1 - i] = item;
    }
    *out = dk_jinja_of_list(list);
out:
    return rc;
}

static int32_t push_pairs(dk_jinja_run *run, const dk_jinja_map *map, dk_jinja_list *out)
{
    int32_t rc = DK_OK;
    for (size_t i = 0; i < map->size; i++) {
        dk_jinja_value pair;
        DK_TRY(dk_jinja_pair(run, map->entries[i].key, map->entries[i].value, &pair));
        DK_TRY(dk_jinja_push(run, out, pair));
    }
out:
    return rc;
}

static int32_t items(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_value *value = &call->in[0];
    dk_jinja_list *list;
    int32_t rc;
    if (!dk_jinja_is(value, DK_JINJA_MAP) && !dk_jinja_is(value, DK_JINJA_UNDEFINED))
        return dk_jinja_refuse(run, call, "a map");
    DK_TRY(dk_jinja_new_list(run, DK_JINJA_GENERATOR, 0, &list));
    if (dk_jinja_is(value, DK_JINJA_MAP)) DK_TRY(push_pairs(run, value->as.map, list));
    *out = dk_jinja_of_list(list);
out:
    return rc;
}

/* ---- order ---- */

/* What an item is compared by: its part, in small letters unless case matters. */
static int32_t key_of(dk_jinja_run *run, const dk_jinja_value *part, int32_t with_case, dk_jinja_value *out)
{
    *out = *part;
    if (with_case || !dk_jinja_is(part, DK_JINJA_TEXT)) return DK_OK;
    return dk_jinja_change_case(run, part->as.text, DK_JINJA_LOWER, out);
}

static int32_t keys_of(dk_jinja_run *run, const dk_jinja_call *call, int32_t attribute, int32_t with_case,
                       const dk_jinja_list *list, dk_jinja_value **out)
{
    int32_t rc;
    if (dk_jinja_is(&call->in[attribute], DK_JINJA_TEXT) &&
        memchr(call->in[attribute].as.text->data, ',', call->in[attribute].as.text->size))
        return dk_jinja_fail(run, "%s takes one attribute", call->builtin->name);
    DK_TRY(dk_jinja_new(run, list->size + 1, out));
    for (size_t i = 0; i < list->size; i++) {
        dk_jinja_value part;
        DK_TRY(part_of(run, call, attribute, &list->items[i], &part));
        DK_TRY(key_of(run, &part, with_case, &(*out)[i]));
    }
out:
    return rc;
}

static int32_t no_order(dk_jinja_run *run, const dk_jinja_call *call, const dk_jinja_value *a, const dk_jinja_value *b)
{
    return dk_jinja_fail(run, "%s: %s and %s have no order", call->builtin->name, dk_jinja_type_name(a),
                         dk_jinja_type_name(b));
}

/* Stable: each item goes behind those that are not larger. */
static int32_t sort_by(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_list *list, dk_jinja_value *keys,
                       int32_t backwards)
{
    int32_t rc = DK_OK, order;
    for (size_t i = 1; i < list->size; i++) {
        dk_jinja_value item = list->items[i], key = keys[i];
        size_t low = 0, high = i;
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (!dk_jinja_order(&key, &keys[middle], &order)) return no_order(run, call, &key, &keys[middle]);
            if (backwards ? order > 0 : order < 0) high = middle;
            else low = middle + 1;
        }
        DK_TRY(dk_jinja_spend(run, 1 + (i - low) / 16));
        memmove(list->items + low + 1, list->items + low, (i - low) * sizeof item);
        memmove(keys + low + 1, keys + low, (i - low) * sizeof key);
        list->items[low] = item;
        keys[low] = key;
    }
out:
    return rc;
}

static int32_t sort(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    dk_jinja_list *list;
    dk_jinja_value *keys;
    int32_t rc;
    DK_TRY(copy_list(run, call, DK_JINJA_PLAIN, &list));
    DK_TRY(keys_of(run, call, 3, dk_jinja_flag_in(call, 2), list, &keys));
    DK_TRY(sort_by(run, call, list, keys, dk_jinja_flag_in(call, 1)));
    *out = dk_jinja_of_list(list);
out:
    return rc;
}

static int32_t dictsort(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_value *by = &call->in[2];
    const size_t part = dk_jinja_text_is(by, "value");
    dk_jinja_list *list;
    dk_jinja_value *keys;
    int32_t rc;
    if (!dk_jinja_is(&call->in[0], DK_JINJA_MAP)) return dk_jinja_refuse(run, call, "a map");
    if (by->type != DK_JINJA_UNSET && !part && !dk_jinja_text_is(by, "key"))
        return dk_jinja_fail(run, "dictsort goes by key or by value");
    DK_TRY(dk_jinja_new_list(run, DK_JINJA_PLAIN, 0, &list));
    DK_TRY(push_pairs(run, call->in[0].as.map, list));
    DK_TRY(dk_jinja_new(run, list->size + 1, &keys));
    for (size_t i = 0; i < list->size; i++)
        DK_TRY(key_of(run, &list->items[i].as.list->items[part], dk_jinja_flag_in(call, 1), &keys[i]));
    DK_TRY(sort_by(run, call, list, keys, dk_jinja_flag_in(call, 3)));
    *out = dk_jinja_of_list(list);
out:
    return rc;
}

static int32_t unique(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_list *list;
    dk_jinja_list *made;
    dk_jinja_value *keys;
    int32_t rc;
    DK_TRY(items_of(run, call, &list));
    DK_TRY(keys_of(run, call, 2, dk_jinja_flag_in(call, 1), list, &keys));
    DK_TRY(dk_jinja_new_list(run, DK_JINJA_GENERATOR, 0, &made));
    for (size_t i = 0; i < list->size; i++) {
        size_t seen = 0;
        DK_TRY(dk_jinja_spend(run, i));
        while (seen < i && !dk_jinja_equal(&keys[seen], &keys[i])) seen++;
        if (seen == i) DK_TRY(dk_jinja_push(run, made, list->items[i]));
    }
    *out = dk_jinja_of_list(made);
out:
    return rc;
}

static int32_t extreme(dk_jinja_run *run, const dk_jinja_call *call, int32_t sign, dk_jinja_value *out)
{
    const dk_jinja_list *list;
    dk_jinja_value *keys;
    size_t best = 0;
    int32_t rc, order;
    DK_TRY(items_of(run, call, &list));
    DK_TRY(keys_of(run, call, 2, dk_jinja_flag_in(call, 1), list, &keys));
    for (size_t i = 1; i < list->size; i++) {
        if (!dk_jinja_order(&keys[i], &keys[best], &order)) return no_order(run, call, &keys[i], &keys[best]);
        if (order * sign > 0) best = i;
    }
    *out = list->size ? list->items[best] : dk_jinja_undefined(NULL);
out:
    return rc;
}

static int32_t min(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return extreme(run, call, -1, out);
}
static int32_t max(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return extreme(run, call, 1, out);
}

static int32_t sum(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_list *list;
    int32_t rc;
    DK_TRY(items_of(run, call, &list));
    *out = call->in[2].type == DK_JINJA_UNSET ? dk_jinja_int(0) : call->in[2];
    for (size_t i = 0; i < list->size; i++) {
        dk_jinja_value part, before = *out;
        DK_TRY(part_of(run, call, 1, &list->items[i], &part));
        DK_TRY(dk_jinja_binary(run, '+', &before, &part, out));
    }
out:
    return rc;
}

/* ---- other filters and tests on every item ---- */

/* The rest from `at` on: the name of a filter or test, and what it is given. */
static int32_t inner(dk_jinja_run *run, const dk_jinja_call *call,
                     const dk_jinja_builtin *(*find)(const char *name, size_t size), const dk_jinja_builtin **out,
                     dk_jinja_arguments *given)
{
    const dk_jinja_value *name = call->rest.items;
    if (!call->rest.count || !dk_jinja_is(name, DK_JINJA_TEXT) ||
        !(*out = find(name->as.text->data, name->as.text->size)))
        return dk_jinja_fail(run, "%s: '%.*s' is not known here", call->builtin->name,
                             call->rest.count && dk_jinja_is(name, DK_JINJA_TEXT)
                                 ? (int)(name->as.text->size < 60 ? name->as.text->size : 60)
                                 : 0,
                             call->rest.count && dk_jinja_is(name, DK_JINJA_TEXT) ? name->as.text->data : "");
    *given = (dk_jinja_arguments){call->rest.items + 1, call->rest.names + 1, call->rest.count - 1};
    return DK_OK;
}

/* Of what is false, none and 0 too, there are no items to look at. */
static int32_t none_of(dk_jinja_run *run, dk_jinja_value *out)
{
    dk_jinja_list *made;
    int32_t rc = dk_jinja_new_list(run, DK_JINJA_GENERATOR, 0, &made);
    if (!rc) *out = dk_jinja_of_list(made);
    return rc;
}

static int32_t map_one(dk_jinja_run *run, const dk_jinja_call *call, const dk_jinja_builtin *filter,
                       const dk_jinja_arguments *given, const dk_jinja_value *item, dk_jinja_value *out)
{
    int32_t rc;
    if (filter) return dk_jinja_apply(run, filter, item, given, out);
    DK_TRY(dk_jinja_path(run, item, &call->in[1], out));
    if (dk_jinja_is(out, DK_JINJA_UNDEFINED) && call->in[2].type != DK_JINJA_UNSET) *out = call->in[2];
out:
    return rc;
}

static int32_t map(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_list *list;
    const dk_jinja_builtin *filter = NULL;
    dk_jinja_arguments given = {0};
    dk_jinja_list *made;
    int32_t rc;
    if (!dk_jinja_truth(&call->in[0])) return none_of(run, out);
    if (!dk_jinja_given(&call->in[1])) DK_TRY(inner(run, call, dk_jinja_filter, &filter, &given));
    DK_TRY(items_of(run, call, &list));
    DK_TRY(dk_jinja_new_list(run, DK_JINJA_GENERATOR, list->size, &made));
    for (size_t i = 0; i < list->size; i++) {
        dk_jinja_value one;
        DK_TRY(dk_jinja_enter(run));
        rc = map_one(run, call, filter, &given, &list->items[i], &one);
        run->depth--;
        DK_TRY(rc);
        DK_TRY(dk_jinja_push(run, made, one));
    }
    *out = dk_jinja_of_list(made);
out:
    return rc;
}

/* Items whose part (in[1] where by_attribute) passes the test, or is true; keep 0 = the others. */
static int32_t choose(dk_jinja_run *run, const dk_jinja_call *call, int32_t by_attribute, int32_t keep,
                      dk_jinja_value *out)
{
    const dk_jinja_list *list;
    const dk_jinja_builtin *test = NULL;
    dk_jinja_arguments given = {0};
    dk_jinja_list *made;
    int32_t rc;
    if (!dk_jinja_truth(&call->in[0])) return none_of(run, out);
    if (call->rest.count) DK_TRY(inner(run, call, dk_jinja_test, &test, &given));
    DK_TRY(items_of(run, call, &list));
    DK_TRY(dk_jinja_new_list(run, DK_JINJA_GENERATOR, 0, &made));
    for (size_t i = 0; i < list->size; i++) {
        dk_jinja_value part = list->items[i], passed;
        if (by_attribute) DK_TRY(dk_jinja_path(run, &list->items[i], &call->in[1], &part));
        passed = part;
        if (test) DK_TRY(dk_jinja_apply(run, test, &part, &given, &passed));
        if (dk_jinja_truth(&passed) == keep) DK_TRY(dk_jinja_push(run, made, list->items[i]));
    }
    *out = dk_jinja_of_list(made);
out:
    return rc;
}

static int32_t select(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return choose(run, call, 0, 1, out);
}
static int32_t reject(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return choose(run, call, 0, 0, out);
}
static int32_t selectattr(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return choose(run, call, 1, 1, out);
}
static int32_t rejectattr(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return choose(run, call, 1, 0, out);
}

const dk_jinja_builtin dk_jinja_list_filters[] = {
    {"length", length, ""},
    {"count", length, ""},
    {"join", join, "?d ?attribute"},
    {"first", first, ""},
    {"last", last, ""},
    {"list", list_of, ""},
    {"reverse", reverse, ""},
    {"items", items, ""},
    {"sort", sort, "?reverse ?case_sensitive ?attribute"},
    {"dictsort", dictsort, "?case_sensitive ?by ?reverse"},
    {"unique", unique, "?case_sensitive ?attribute"},
    {"min", min, "?case_sensitive ?attribute"},
    {"max", max, "?case_sensitive ?attribute"},
    {"sum", sum, "?attribute ?start"},
    {"map", map, "* ?attribute ?default"},
    {"select", select, "*"},
    {"reject", reject, "*"},
    {"selectattr", selectattr, "attr *"},
    {"rejectattr", rejectattr, "attr *"},
    {NULL, NULL, NULL},
};
