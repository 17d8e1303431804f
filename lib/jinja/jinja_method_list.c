/* Methods of maps, lists and loops. */
#include "jinja/jinja_builtin.h"

static int32_t get(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_value *found = dk_jinja_map_find(call->in[0].as.map, &call->in[1]);
    if (found) *out = *found;
    else *out = call->in[2].type == DK_JINJA_UNSET ? dk_jinja_none() : call->in[2];
    return dk_jinja_spend(run, call->in[0].as.map->size / 4);
}

static int32_t view(dk_jinja_run *run, const dk_jinja_call *call, int32_t with_keys, int32_t with_values,
                    dk_jinja_value *out)
{
    const dk_jinja_map *map = call->in[0].as.map;
    dk_jinja_list *list;
    int32_t rc;
    DK_TRY(dk_jinja_new_list(run, DK_JINJA_VIEW, map->size, &list));
    for (size_t i = 0; i < map->size; i++) {
        dk_jinja_value item = with_keys ? map->entries[i].key : map->entries[i].value;
        if (with_keys && with_values) DK_TRY(dk_jinja_pair(run, item, map->entries[i].value, &item));
        DK_TRY(dk_jinja_push(run, list, item));
    }
    *out = dk_jinja_of_list(list);
out:
    return rc;
}

static int32_t keys(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return view(run, call, 1, 0, out);
}
static int32_t values(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return view(run, call, 0, 1, out);
}
static int32_t items(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    return view(run, call, 1, 1, out);
}

static int32_t copy(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_map *from = call->in[0].as.map;
    dk_jinja_map *map;
    int32_t rc;
    DK_TRY(dk_jinja_new_map(run, from->size, &map));
    for (size_t i = 0; i < from->size; i++)
        DK_TRY(dk_jinja_map_set(run, map, from->entries[i].key, from->entries[i].value));
    *out = dk_jinja_of_map(map);
out:
    return rc;
}

static int32_t index_of(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_list *list = call->in[0].as.list;
    int32_t rc;
    DK_TRY(dk_jinja_spend(run, list->size));
    for (size_t i = 0; i < list->size; i++)
        if (dk_jinja_equal(&list->items[i], &call->in[1])) return *out = dk_jinja_int((int64_t)i), DK_OK;
    rc = dk_jinja_fail(run, "index: the value is not in the list");
out:
    return rc;
}

static int32_t count(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    const dk_jinja_list *list = call->in[0].as.list;
    int64_t found = 0;
    for (size_t i = 0; i < list->size; i++) found += dk_jinja_equal(&list->items[i], &call->in[1]);
    *out = dk_jinja_int(found);
    return dk_jinja_spend(run, list->size);
}

static int32_t cycle(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    if (!call->rest.count) return dk_jinja_fail(run, "cycle needs values");
    *out = call->rest.items[call->in[0].as.loop->index % call->rest.count];
    return DK_OK;
}

static int32_t changed(dk_jinja_run *run, const dk_jinja_call *call, dk_jinja_value *out)
{
    dk_jinja_loop *loop = call->in[0].as.loop;
    dk_jinja_list *seen;
    int32_t rc;
    DK_TRY(dk_jinja_new_list(run, DK_JINJA_TUPLE, call->rest.count, &seen));
    for (size_t i = 0; i < call->rest.count; i++) DK_TRY(dk_jinja_push(run, seen, call->rest.items[i]));
    const dk_jinja_value now = dk_jinja_of_list(seen);
    *out = dk_jinja_bool(!dk_jinja_equal(&loop->changed, &now));
    loop->changed = now;
out:
    return rc;
}

const dk_jinja_builtin dk_jinja_map_methods[] = {
    {"get", get, "key ?default"}, {"keys", keys, ""}, {"values", values, ""},
    {"items", items, ""},         {"copy", copy, ""}, {NULL, NULL, NULL},
};
const dk_jinja_builtin dk_jinja_list_methods[] = {
    {"index", index_of, "value"},
    {"count", count, "value"},
    {NULL, NULL, NULL},
};
const dk_jinja_builtin dk_jinja_loop_methods[] = {
    {"cycle", cycle, "*"},
    {"changed", changed, "*"},
    {NULL, NULL, NULL},
};
