/* option_place.c - what a key points at, and what is said when it points at nothing. */
#include "options/suggest.h"
#include "options/values.h"

#include <stdio.h>
#include <string.h>

int32_t di_part_index(const char *part, size_t size, int64_t *out)
{
    return size && size < 12 && strspn(part, "0123456789") >= size && dk_parse_i64(part, size, out);
}

static const char *next_part(const char *part)
{
    const size_t size = strcspn(part, ".");
    return part[size] ? part + size + 1 : NULL;
}

/* The item or the entry of a group that the first part of rest names. */
static const di_options *child_of(const di_value *value, const di_group *group, const char *part, di_place *out)
{
    const size_t size = strcspn(part, ".");
    int64_t index = -1;
    if (group->shape == DI_GROUP_NAMED) return di_value_entry(value, part, size);
    di_part_index(part, size, &index);
    out->size = value ? value->size : group->shape == DI_GROUP_ONE_OR_LIST; /* a single one counts as item 0 */
    if (index < 0 || index >= out->size) return NULL;
    out->size = -1;
    return value ? value->nodes[index] : NULL;
}

/* An entry that is one plain value is that value. */
static void end_at_child(const di_table *table, int64_t group, const di_options *node, di_place *out)
{
    const int64_t plain = di_table_member(table, group, "", 0);
    out->ends_at_child = 1;
    if (plain == DI_NONE) return;
    out->id = plain;
    out->value = di_node_find(node, plain);
    out->ends_at_child = 0;
}

static int32_t names_child(const di_group *group, const char *part)
{
    int64_t index;
    if (group->shape == DI_GROUP_NAMED || group->shape == DI_GROUP_LIST) return 1;
    return group->shape == DI_GROUP_ONE_OR_LIST && di_part_index(part, strcspn(part, "."), &index);
}

void di_place_find(const di_options *options, const char *key, di_place *out)
{
    const di_table *table = options ? options->table : &di_public_table;
    const di_options *node = options;
    int64_t group = options ? options->group : DI_ROOT;
    *out = (di_place){.id = DI_NONE, .size = -1};
    for (;;) {
        const size_t size = strcspn(key, ".");
        int64_t id = di_table_member(table, group, key, size);
        const int32_t beside = id == DI_NONE && (id = di_table_beside(table, group, key, size)) != DI_NONE;
        const di_group *below = di_table_group(table, id);
        out->id = id;
        out->value = di_node_find(node, id);
        out->node = NULL;
        out->rest = beside ? key : next_part(key);
        if (!below || !out->rest) return;
        group = di_table_members(table, id);
        if (names_child(below, out->rest)) {
            node = out->node = child_of(out->value, below, out->rest, out);
            out->rest = next_part(out->rest);
            if (!out->rest) {
                end_at_child(table, group, node, out);
                return;
            }
        } else {
            out->in_list = out->value && out->value->is_list;
            node = out->value && !out->in_list ? out->value->nodes[0] : NULL;
        }
        key = out->rest;
    }
}

/* ---- nothing there ---- */

static const di_gone *gone(const di_table *table, const char *name)
{
    for (int64_t i = 0; i < table->gone_count; i++)
        if (!strcmp(table->gone[i].name, name)) return &table->gone[i];
    return NULL;
}

/* A suggestion speaks of the group; the user's key has its place in the tree instead. */
static void place_suggestion(const char *meant, const char *group, const char *path, char out[DI_PATH_MAX])
{
    const size_t size = strlen(group);
    const int32_t inside = size && !strncmp(meant, group, size) && meant[size] == '.';
    snprintf(out, DI_PATH_MAX, "%s%s", inside ? path : "", inside ? meant + size : meant);
}

int32_t di_fail_unknown(const di_options *at, const char *path, const char *rest, dk_error *err)
{
    const char *group = di_table_name(at->table, at->group), *meant;
    char name[DI_PATH_MAX], shown[DI_PATH_MAX];
    snprintf(name, sizeof name, "%s%s%.100s", group, *group ? "." : "", rest);
    snprintf(shown, sizeof shown, "%.58s%s%.100s", path, *path ? "." : "", rest);
    const di_gone *known = gone(at->table, name);
    if (known && known->answer)
        return dk_fail(err, DK_E_OPTION, "%s is not an option any more: %s", shown, known->answer);
    meant = known ? known->meant : di_option_suggest(at->table, name, strlen(name));
    if (!meant) return dk_fail(err, DK_E_OPTION, "%s is not an option; `distill options` lists them all", shown);
    place_suggestion(meant, group, path, name);
    return dk_fail(err, DK_E_OPTION, "%s is not an option; did you mean %s?", shown, name);
}
