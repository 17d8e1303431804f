/* option_assign.c - where the values of a key go: one part of the key after the other, down the tree. */
#include "options/values.h"

#include <stdio.h>
#include <string.h>

static int32_t assign_at(di_options *at, const char *path, const char *rest, di_source source, dk_error *err);

/* path.part; too long a path is cut, it only stands in messages. */
static void extend(char out[DI_PATH_MAX], const char *path, const char *part, size_t size)
{
    snprintf(out, DI_PATH_MAX, "%.90s%s%.*s", path, *path ? "." : "", (int)(size < 60 ? size : 60), part);
}

/* An error inside a recipe names the line where the value stands; only the innermost node does. */
static int32_t place_error(const dk_node *node, dk_error *err, int32_t rc)
{
    if (rc && err && err->position < 0 && node->line) err->position = node->line;
    return rc;
}

/* ---- options ---- */

/* old with one more or one other item; taken over from single. */
static int32_t with_item(const di_options *at, const di_value *old, int64_t index, di_value *single, di_value *out,
                         dk_error *err)
{
    int32_t rc = DK_OK;
    di_value value = {.id = single->id};
    if (old && !old->text) DK_TRY(di_value_clone(at, old, &value, err)); /* an auto:N gives way to the list */
    if (index == value.size) {
        di_item *grown = dk_realloc(at->host, value.items, (uint64_t)index + 1, sizeof *grown);
        if (!grown) DK_TRY(dk_fail_nomem(err, ((uint64_t)index + 1) * sizeof *grown));
        grown[value.size++] = (di_item){.text = NULL};
        value.items = grown;
    }
    dk_free(at->host, value.items[index].text);
    value.items[index] = single->items[0];
    single->items[0].text = NULL;
    *out = value;
    return DK_OK;
out:
    di_value_free(at->host, &value);
    return rc;
}

static int32_t assign_item(di_options *at, int64_t id, const char *path, const char *part, di_source source,
                           dk_error *err)
{
    const di_value *old = di_node_find(at, id);
    const long long size = old ? (long long)old->size : 0;
    di_value value, single;
    int64_t index;
    int32_t rc;
    if (!di_part_index(part, strlen(part), &index))
        return dk_fail(err, DK_E_OPTION, "%s.%.40s: index %.40s is not in [0, ...)", path, part, part);
    if (index > size)
        return dk_fail(err, DK_E_OPTION, "%s.%lld is not in [0, %lld]: items are added one after the other", path,
                       (long long)index, size);
    rc = di_check(at, id, path, source, &single, err);
    if (rc) return rc;
    if (single.size != 1 || single.text)
        DK_TRY(dk_fail(err, DK_E_OPTION, "%s.%lld takes one value", path, (long long)index));
    DK_TRY(with_item(at, old, index, &single, &value, err));
    DK_TRY(di_node_put(at, &value, err));
out:
    di_value_free(at->host, &single);
    return rc;
}

/* "loss.weight.to": a key of a course that is there. */
static int32_t assign_course(di_options *at, int64_t id, const char *path, const char *part, di_source source,
                             dk_error *err)
{
    static const char *const courses[] = {"", "linear", "cosine", "step"}, *const keys[] = {"schedule", "from", "to",
                                                                                            "steps"};
    const di_value *old = di_node_find(at, id);
    int32_t known = 0, rc;
    di_value value;
    for (int i = 0; i < 4; i++) known |= !strcmp(keys[i], part);
    if (!known || !old || old->course.kind == DI_CONSTANT)
        return dk_fail(err, DK_E_OPTION,
                       "%s.%.40s: %s; set it as a whole, {schedule: linear, from: 1, to: 0, steps: 100}", path, part,
                       known ? "the number has no schedule yet" : "a schedule has no such key");
    const char *const course = courses[old->course.kind];
    dk_node members[4] = {{.type = DK_NODE_TEXT, .text = course, .size = strlen(course)},
                          {.type = DK_NODE_FLOAT, .f64 = old->f64},
                          {.type = DK_NODE_FLOAT, .f64 = old->course.to},
                          {.type = DK_NODE_INT, .i64 = old->course.steps, .f64 = (double)old->course.steps}};
    const dk_node *list[4];
    for (int i = 0; i < 4; i++) {
        if (!strcmp(keys[i], part)) members[i] = *source.node;
        members[i].key = keys[i];
        members[i].key_size = strlen(keys[i]);
        list[i] = &members[i];
    }
    const dk_node map = {.type = DK_NODE_MAP, .items = list, .size = 4, .line = source.node->line};
    source.node = &map;
    DK_TRY(di_check(at, id, path, source, &value, err));
    DK_TRY(di_node_put(at, &value, err));
out:
    return rc;
}

static int32_t fail_alone(const di_options *at, const char *path, dk_error *err)
{
    return dk_fail(err, DK_E_OPTION, "%s belongs to a single %s; in a list give each its weight", path,
                   di_table_name(at->table, at->group));
}

static int32_t assign_option(di_options *at, int64_t id, const char *path, const char *rest, di_source source,
                             dk_error *err)
{
    const di_option_info *row = di_table_row(at->table, id);
    di_value value;
    int32_t rc = DK_OK;
    if (at->is_item && (row->flags & DI_OPTION_ALONE)) return fail_alone(at, path, err);
    if (rest && row->type == DI_OPTION_LIST) return assign_item(at, id, path, rest, source, err);
    if (rest && (row->flags & DI_OPTION_SCHEDULE)) return assign_course(at, id, path, rest, source, err);
    if (source.node->type == DK_NODE_NULL) {
        di_node_remove(at, id);
    } else {
        DK_TRY(di_check(at, id, path, source, &value, err));
        DK_TRY(di_node_put(at, &value, err));
    }
out:
    return rc;
}

/* ---- a map ---- */

/* {cache: FILE, tier: hidden} is one map; {cache: {path: FILE}, tier: hidden} would be half of one. */
static int32_t check_beside(const di_options *at, const char *path, const dk_node *map, const dk_node *item,
                            dk_error *err)
{
    const int64_t group = di_table_beside(at->table, at->group, item->key, strlen(item->key));
    if (group == DI_NONE || di_table_member(at->table, at->group, item->key, strlen(item->key)) != DI_NONE)
        return DK_OK;
    const char *key = di_table_key(at->table, group);
    for (size_t i = 0; i < map->size; i++)
        if (!strcmp(map->items[i]->key, key) && map->items[i]->type == DK_NODE_MAP)
            return dk_fail(err, DK_E_OPTION, "%s.%.40s stands beside %s.%s, which is a map: write it inside", path,
                           item->key, path, key);
    return DK_OK;
}

static int32_t assign_members(di_options *at, const char *path, di_source source, dk_error *err)
{
    const dk_node *map = source.node;
    int32_t rc = DK_OK;
    for (size_t i = 0; i < map->size && !rc; i++) {
        source.node = map->items[i];
        if ((rc = place_error(map->items[i], err, check_beside(at, path, map, map->items[i], err)))) return rc;
        rc = place_error(map->items[i], err, assign_at(at, path, map->items[i]->key, source, err));
    }
    return rc;
}

/* A map, or the plain value that stands for its main option. */
static int32_t assign_map(di_options *at, const char *path, di_source source, dk_error *err)
{
    const di_group *group = di_table_group(at->table, at->group);
    const char *main_key = group ? group->main : NULL;
    if (main_key && !*main_key && source.node->type != DK_NODE_LIST)
        return assign_option(at, di_table_member(at->table, at->group, "", 0), path, NULL, source, err);
    if (source.node->type == DK_NODE_MAP) return assign_members(at, path, source, err);
    if (!main_key || source.node->type == DK_NODE_LIST)
        return dk_fail(err, DK_E_OPTION, "%s is a section: give it as a map, %s: {key: value}", path, path);
    return assign_at(at, path, main_key, source, err);
}

/* ---- groups: one map ---- */

static int32_t open_one(di_options *at, int64_t id, di_options **out, dk_error *err)
{
    di_value *value = di_node_slot(at, id, err);
    if (!value) return DK_E_NOMEM;
    if (!value->size) return di_value_grow(at, value, NULL, out, err);
    *out = value->nodes[0];
    return DK_OK;
}

/* rest NULL = the map as a whole. One in which nothing is set is not there. */
static int32_t assign_one(di_options *at, int64_t id, const char *path, const char *rest, di_source source,
                          dk_error *err)
{
    di_options *child;
    int32_t rc = open_one(at, id, &child, err);
    if (rc) return rc;
    rc = rest ? assign_at(child, path, rest, source, err) : assign_map(child, path, source, err);
    if (!child->count) di_node_remove(at, id);
    return rc;
}

/* ---- groups: lists ---- */

/* A single one becomes the first of a list. */
static int32_t make_list(di_options *at, di_value *value, dk_error *err)
{
    const di_options *first = value->size ? value->nodes[0] : NULL;
    for (int64_t i = 0; first && i < first->count; i++) {
        const di_option_info *row = di_table_row(at->table, first->values[i].id);
        if (row && (row->flags & DI_OPTION_ALONE)) return fail_alone(first, row->name, err);
    }
    value->is_list = 1;
    if (first) value->nodes[0]->is_item = 1;
    return DK_OK;
}

static int32_t open_item(di_options *at, int64_t id, int64_t index, const char *path, di_options **out, dk_error *err)
{
    di_value *value = di_node_slot(at, id, err);
    int32_t rc = DK_OK;
    if (!value) return DK_E_NOMEM;
    if (index > value->size || index >= DI_ITEMS_MAX)
        return dk_fail(err, DK_E_OPTION, "%s.%lld is not in [0, %lld]: items are added one after the other, at most %d",
                       path, (long long)index, (long long)value->size, DI_ITEMS_MAX);
    if (!value->is_list) DK_TRY(make_list(at, value, err));
    if (index == value->size) {
        DK_TRY(di_value_grow(at, value, NULL, out, err));
        (*out)->is_item = 1;
    }
    *out = value->nodes[index];
out:
    return rc;
}

static int32_t assign_nth(di_options *at, int64_t id, const char *path, const char *part, const char *rest,
                          di_source source, dk_error *err)
{
    char longer[DI_PATH_MAX];
    di_options *child;
    int64_t index = 0;
    int32_t rc;
    di_part_index(part, strcspn(part, "."), &index);
    extend(longer, path, part, strcspn(part, "."));
    if (!rest && source.node->type == DK_NODE_NULL)
        return dk_fail(err, DK_E_OPTION, "%s: an item cannot be taken out; set %s as a whole", longer, path);
    DK_TRY(open_item(at, id, index, path, &child, err));
    if (rest) return assign_at(child, longer, rest, source, err);
    di_node_clear(child);
    rc = assign_map(child, longer, source, err);
out:
    return rc;
}

/* An option of a list of maps: for every item. */
static int32_t assign_to_all(di_options *at, int64_t id, const char *path, const char *rest, di_source source,
                             dk_error *err)
{
    const di_value *value = di_node_find(at, id);
    const int64_t group = di_table_members(at->table, id);
    const di_option_info *row = di_table_row(at->table, di_table_member(at->table, group, rest, strcspn(rest, ".")));
    int32_t rc = DK_OK;
    if (row && (row->flags & DI_OPTION_OWN))
        return dk_fail(err, DK_E_OPTION, "%s.%s: %s is a list of %lld; set %s.0.%s, or %s as a whole", path, rest, path,
                       (long long)value->size, path, rest, path);
    for (int64_t i = 0; i < value->size && !rc; i++) rc = assign_at(value->nodes[i], path, rest, source, err);
    return rc;
}

static int32_t assign_list(di_options *at, int64_t id, const char *path, di_source source, dk_error *err)
{
    const dk_node *list = source.node;
    int32_t rc = DK_OK;
    di_node_remove(at, id);
    if (!list->size)
        return dk_fail(err, DK_E_OPTION, "%s is an empty list; give at least one item, or null for none", path);
    for (size_t i = 0; i < list->size && !rc; i++) {
        char part[24];
        snprintf(part, sizeof part, "%zu", i);
        source.node = list->items[i];
        rc = place_error(list->items[i], err, assign_nth(at, id, path, part, NULL, source, err));
    }
    return rc;
}

/* ---- groups: entries with the user's names ---- */

static int32_t check_name(const char *path, const char *name, size_t size, dk_error *err)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789-";
    const int32_t fine = size && size <= 60 && strspn(name, letters) >= size && memchr(letters, *name, 53);
    if (fine) return DK_OK;
    return dk_fail(err, DK_E_OPTION,
                   "%s: \"%.*s\" is no name; names have up to 60 letters, digits, _ and -, and begin with a letter",
                   path, (int)(size < 60 ? size : 60), name);
}

static int32_t check_number(const char *path, const char *name, size_t size, dk_error *err)
{
    int64_t number;
    if (di_part_index(name, size, &number) && (size == 1 || *name != '0')) return DK_OK;
    return dk_fail(err, DK_E_OPTION, "%s: \"%.*s\" is no number of an entry, which goes by 0, 1, 2, ...", path,
                   (int)(size < 60 ? size : 60), name);
}

static int32_t assign_entry(di_options *at, int64_t id, const char *path, const char *part, const char *rest,
                            di_source source, dk_error *err)
{
    const size_t size = strcspn(part, ".");
    char longer[DI_PATH_MAX], name[64];
    di_value *value;
    di_options *child;
    int32_t rc;
    DK_TRY((di_table_group(at->table, id)->numbers ? check_number : check_name)(path, part, size, err));
    snprintf(name, sizeof name, "%.*s", (int)size, part);
    extend(longer, path, part, size);
    if (!(value = di_node_slot(at, id, err))) return DK_E_NOMEM;
    if (!(child = di_value_entry(value, name, size))) DK_TRY(di_value_grow(at, value, name, &child, err));
    if (rest) return assign_at(child, longer, rest, source, err);
    rc = assign_map(child, longer, source, err);
out:
    return rc;
}

static void remove_entry(di_options *at, int64_t id, const char *name, size_t size)
{
    di_value *value = (di_value *)di_node_find(at, id);
    di_options *entry = di_value_entry(value, name, size);
    int64_t i = 0;
    if (!entry) return;
    while (value->nodes[i] != entry) i++;
    di_node_free(entry);
    value->size--;
    memmove(value->nodes + i, value->nodes + i + 1, (size_t)(value->size - i) * sizeof *value->nodes);
    if (!value->size) di_node_remove(at, id);
}

static int32_t assign_named(di_options *at, int64_t id, const char *path, const char *rest, di_source source,
                            dk_error *err)
{
    const dk_node *map = source.node;
    int32_t rc = DK_OK;
    if (rest) {
        const size_t size = strcspn(rest, ".");
        const char *next = rest[size] ? rest + size + 1 : NULL;
        if (!next && map->type == DK_NODE_NULL) remove_entry(at, id, rest, size);
        else rc = assign_entry(at, id, path, rest, next, source, err);
        return rc;
    }
    if (map->type != DK_NODE_MAP)
        return dk_fail(err, DK_E_OPTION, "%s is a map of names: give it as %s: {name: ...}", path, path);
    for (size_t i = 0; i < map->size && !rc; i++) {
        source.node = map->items[i];
        rc = place_error(map->items[i], err, assign_named(at, id, path, map->items[i]->key, source, err));
    }
    return rc;
}

/* ---- the way down ---- */

static int32_t assign_group(di_options *at, int64_t id, const char *path, const char *rest, di_source source,
                            dk_error *err)
{
    const int32_t shape = di_table_group(at->table, id)->shape;
    const di_value *old = di_node_find(at, id);
    int64_t index;
    if (!rest && source.node->type == DK_NODE_NULL) {
        di_node_remove(at, id);
        return DK_OK;
    }
    if (shape == DI_GROUP_NAMED) return assign_named(at, id, path, rest, source, err);
    if (shape == DI_GROUP_MAP) return assign_one(at, id, path, rest, source, err);
    if (rest && di_part_index(rest, strcspn(rest, "."), &index)) {
        const size_t size = strcspn(rest, ".");
        return assign_nth(at, id, path, rest, rest[size] ? rest + size + 1 : NULL, source, err);
    }
    if (rest && shape == DI_GROUP_LIST)
        return dk_fail(err, DK_E_OPTION, "%s.%.60s: %s is a list; say which item, %s.0", path, rest, path, path);
    if (rest && old && old->is_list) return assign_to_all(at, id, path, rest, source, err);
    if (rest) return assign_one(at, id, path, rest, source, err);
    if (source.node->type == DK_NODE_LIST) return assign_list(at, id, path, source, err);
    if (shape == DI_GROUP_LIST || (old && old->is_list)) di_node_remove(at, id);
    if (shape == DI_GROUP_LIST) return assign_nth(at, id, path, "0", NULL, source, err);
    return assign_one(at, id, path, NULL, source, err);
}

static int32_t assign_at(di_options *at, const char *path, const char *rest, di_source source, dk_error *err)
{
    const size_t size = strcspn(rest, ".");
    const int64_t id = size ? di_table_member(at->table, at->group, rest, size) : DI_NONE;
    const int64_t beside = size ? di_table_beside(at->table, at->group, rest, size) : DI_NONE;
    const di_option_info *row = di_table_row(at->table, id);
    const char *next = rest[size] ? rest + size + 1 : NULL;
    char longer[DI_PATH_MAX];
    if (strlen(rest) >= DI_PATH_MAX)
        return dk_fail(err, DK_E_OPTION, "%.60s... is not an option: it has %zu characters", rest, strlen(rest));
    if (id == DI_NONE && beside != DI_NONE) {
        const char *key = di_table_key(at->table, beside);
        extend(longer, path, key, strlen(key));
        return assign_group(at, beside, longer, rest, source, err);
    }
    if (id == DI_NONE) return di_fail_unknown(at, path, rest, err);
    if (row && next && row->type != DI_OPTION_LIST && !(row->flags & DI_OPTION_SCHEDULE))
        return di_fail_unknown(at, path, rest, err);
    extend(longer, path, rest, size);
    return row ? assign_option(at, id, longer, next, source, err) : assign_group(at, id, longer, next, source, err);
}

int32_t di_assign(di_options *options, const char *key, di_source source, dk_error *err)
{
    return place_error(source.node, err, assign_at(options, "", key, source, err));
}
