/* Lists and maps, and walking over them. */
#include "jinja/jinja_text.h"
#include "text/codepoint.h"

#include <string.h>

int32_t dk_jinja_new_list(dk_jinja_run *run, dk_jinja_list_kind kind, size_t capacity, dk_jinja_list **out)
{
    int32_t rc;
    DK_TRY(dk_jinja_new(run, 1, out));
    (*out)->kind = kind;
    if (capacity) DK_TRY(dk_jinja_new(run, capacity, &(*out)->items));
    (*out)->capacity = capacity;
out:
    return rc;
}

int32_t dk_jinja_push(dk_jinja_run *run, dk_jinja_list *list, dk_jinja_value value)
{
    int32_t rc;
    DK_TRY(dk_jinja_spend(run, 1));
    if (list->size == list->capacity) {
        dk_jinja_value *items;
        size_t capacity = list->capacity ? 2 * list->capacity : 4;
        DK_TRY(dk_jinja_new(run, capacity, &items));
        if (list->size) memcpy(items, list->items, list->size * sizeof *items);
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->size++] = value;
out:
    return rc;
}

int32_t dk_jinja_new_map(dk_jinja_run *run, size_t capacity, dk_jinja_map **out)
{
    int32_t rc;
    DK_TRY(dk_jinja_new(run, 1, out));
    if (capacity) DK_TRY(dk_jinja_new(run, capacity, &(*out)->entries));
    (*out)->capacity = capacity;
out:
    return rc;
}

int32_t dk_jinja_map_set(dk_jinja_run *run, dk_jinja_map *map, dk_jinja_value key, dk_jinja_value value)
{
    int32_t rc;
    DK_TRY(dk_jinja_spend(run, 1 + map->size / 4));
    if (key.type < DK_JINJA_NONE || key.type > DK_JINJA_TEXT) {
        rc = dk_jinja_fail(run, "%s cannot be the key of a map", dk_jinja_type_name(&key));
        goto out;
    }
    dk_jinja_value *old = (dk_jinja_value *)dk_jinja_map_find(map, &key);
    if (old) return *old = value, DK_OK;
    if (map->size == map->capacity) {
        dk_jinja_entry *entries;
        size_t capacity = map->capacity ? 2 * map->capacity : 4;
        DK_TRY(dk_jinja_new(run, capacity, &entries));
        if (map->size) memcpy(entries, map->entries, map->size * sizeof *entries);
        map->entries = entries;
        map->capacity = capacity;
    }
    map->entries[map->size++] = (dk_jinja_entry){key, value};
out:
    return rc;
}

int32_t dk_jinja_pair(dk_jinja_run *run, dk_jinja_value a, dk_jinja_value b, dk_jinja_value *out)
{
    dk_jinja_list *pair;
    int32_t rc;
    DK_TRY(dk_jinja_new_list(run, DK_JINJA_TUPLE, 2, &pair));
    DK_TRY(dk_jinja_push(run, pair, a));
    DK_TRY(dk_jinja_push(run, pair, b));
    *out = dk_jinja_of_list(pair);
out:
    return rc;
}

static int32_t characters(dk_jinja_run *run, const dk_jinja_text *text, dk_jinja_list *out)
{
    int32_t rc = DK_OK;
    for (size_t at = 0, next; at < text->size; at = next) {
        dk_jinja_value one;
        next = at + dk_codepoint_size(text->data + at);
        DK_TRY(dk_jinja_slice(run, text, at, next, &one));
        DK_TRY(dk_jinja_push(run, out, one));
    }
out:
    return rc;
}

int32_t dk_jinja_iterate(dk_jinja_run *run, const dk_jinja_value *value, const dk_jinja_list **out)
{
    dk_jinja_list *list;
    int32_t rc;
    if (dk_jinja_is(value, DK_JINJA_LIST)) {
        list = value->as.list;
        if (list->kind != DK_JINJA_GENERATOR) return *out = list, DK_OK;
        if (!list->consumed) return list->consumed = 1, *out = list, DK_OK;
        return dk_jinja_new_list(run, DK_JINJA_PLAIN, 0, (dk_jinja_list **)out);
    }
    DK_TRY(dk_jinja_new_list(run, DK_JINJA_PLAIN, 0, &list));
    if (dk_jinja_is(value, DK_JINJA_TEXT)) DK_TRY(characters(run, value->as.text, list));
    else if (dk_jinja_is(value, DK_JINJA_MAP))
        for (size_t i = 0; i < value->as.map->size; i++)
            DK_TRY(dk_jinja_push(run, list, value->as.map->entries[i].key));
    else if (!dk_jinja_is(value, DK_JINJA_UNDEFINED)) {
        rc = dk_jinja_fail(run, "%s cannot be walked over", dk_jinja_type_name(value));
        goto out;
    }
    *out = list;
out:
    return rc;
}
