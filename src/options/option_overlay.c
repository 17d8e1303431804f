/* option_overlay.c - one recipe laid over another, and what of its names a section uses. */
#include "options/values.h"

#include <string.h>

static int32_t put_clone(di_options *into, const di_value *value, dk_error *err)
{
    di_value clone;
    int32_t rc;
    DK_TRY(di_value_clone(into, value, &clone, err));
    DK_TRY(di_node_put(into, &clone, err));
out:
    return rc;
}

static int32_t lay(di_options *into, const di_options *over, dk_error *err);

/* Entry by entry; one with a name that is there takes its place. */
static int32_t lay_entries(di_options *into, const di_value *value, dk_error *err)
{
    di_value *old = di_node_slot(into, value->id, err);
    int32_t rc = old ? DK_OK : DK_E_NOMEM;
    for (int64_t i = 0; i < value->size && !rc; i++) {
        const di_options *entry = value->nodes[i];
        di_options *at = di_value_entry(old, entry->name, strlen(entry->name));
        if (at) di_node_clear(at);
        else DK_TRY(di_value_grow(into, old, entry->name, &at, err));
        for (int64_t k = 0; k < entry->count; k++) DK_TRY(put_clone(at, &entry->values[k], err));
    }
out:
    return rc;
}

static int32_t lay_value(di_options *into, const di_value *value, dk_error *err)
{
    const di_group *group = di_table_group(into->table, value->id);
    const di_value *old = di_node_find(into, value->id);
    if (old && group && group->shape == DI_GROUP_NAMED && !group->whole) return lay_entries(into, value, err);
    if (old && group && group->shape == DI_GROUP_MAP && !group->whole) return lay(old->nodes[0], value->nodes[0], err);
    return put_clone(into, value, err);
}

static int32_t lay(di_options *into, const di_options *over, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; over && i < over->count && !rc; i++) rc = lay_value(into, &over->values[i], err);
    return rc;
}

int32_t di_options_lay_over(di_options *options, const di_options *over, dk_error *err)
{
    di_options *copy = NULL;
    int32_t rc;
    DK_TRY(di_options_copy(options, options->host, -1, &copy, err));
    DK_TRY(lay(copy, over, err));
    di_options_swap(options, copy);
out:
    di_options_free(copy);
    return rc;
}

/* ---- names ---- */

typedef struct seeker {
    const di_options *root;
    const char *group, *name;
    int32_t depth; /* entries may name each other in a circle */
} seeker;

static int32_t names_it(seeker *s, const di_options *node);

static int32_t is_it(seeker *s, const char *text)
{
    if (!text) return 0;
    if (!strcmp(text, s->name)) return 1;
    const di_options *entry = s->depth < DI_ITEMS_MAX ? di_options_entry(s->root, s->group, text) : NULL;
    if (!entry) return 0;
    s->depth++;
    const int32_t found = names_it(s, entry);
    s->depth--;
    return found;
}

static int32_t names_it(seeker *s, const di_options *node)
{
    for (int64_t i = 0; node && i < node->count; i++) {
        const di_value *value = &node->values[i];
        const di_option_info *row = di_table_row(node->table, value->id);
        for (int64_t k = 0; value->nodes && k < value->size; k++)
            if (names_it(s, value->nodes[k])) return 1;
        if (!row || !row->names || strcmp(row->names, s->group) != 0) continue;
        if (is_it(s, value->written ? value->written : value->text)) return 1;
        for (int64_t k = 0; value->items && k < value->size; k++)
            if (is_it(s, value->items[k].text)) return 1;
    }
    return 0;
}

int32_t di_options_uses(const di_options *options, const char *section, const char *group, const char *name)
{
    seeker s = {options, group, name, 0};
    return names_it(&s, di_options_map(options, section));
}
