/* option_live.c - changing the options of a running trainer. */
#include "options/values.h"

#include <string.h>

static int32_t merge(di_options *into, const di_options *from, dk_error *err);

static int32_t fail_fixed(const di_table *table, int64_t id, dk_error *err)
{
    return dk_fail(err, DK_E_STAGE, "%s cannot be changed any more; it is fixed when the trainer is created",
                   di_table_name(table, id));
}

static int32_t merge_option(di_options *into, const di_value *value, dk_error *err)
{
    const di_option_info *row = di_table_row(into->table, value->id);
    const di_value *old = di_node_find(into, value->id);
    di_value clone;
    int32_t rc;
    if (old ? di_value_equal(old, value) : di_value_is_default(into->table, value)) return DK_OK;
    if (!(row->flags & DI_OPTION_LIVE)) return fail_fixed(into->table, value->id, err);
    DK_TRY(di_value_clone(into, value, &clone, err));
    DK_TRY(di_node_put(into, &clone, err));
out:
    return rc;
}

/* Lists and names must be the same ones; what stands in them may be live. */
static int32_t merge_group(di_options *into, const di_value *value, dk_error *err)
{
    di_value *old = di_node_slot(into, value->id, err);
    di_options *made;
    int32_t rc = DK_OK;
    if (!old) return DK_E_NOMEM;
    if (!old->size && value->size == 1 && !value->is_list && !value->nodes[0]->name)
        DK_TRY(di_value_grow(into, old, NULL, &made, err));
    if (old->size != value->size || old->is_list != value->is_list) return fail_fixed(into->table, value->id, err);
    for (int64_t i = 0; i < value->size && !rc; i++) {
        const char *name = value->nodes[i]->name;
        di_options *child = name ? di_value_entry(old, name, strlen(name)) : old->nodes[i];
        rc = child ? merge(child, value->nodes[i], err) : fail_fixed(into->table, value->id, err);
    }
    if (!old->is_list && !old->nodes[0]->name && !old->nodes[0]->count) di_node_remove(into, value->id);
out:
    return rc;
}

static int32_t merge(di_options *into, const di_options *from, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; from && i < from->count && !rc; i++) {
        const di_value *value = &from->values[i];
        rc = value->nodes ? merge_group(into, value, err) : merge_option(into, value, err);
    }
    return rc;
}

int32_t di_options_configure(di_options *options, const di_options *from, dk_error *err)
{
    di_options *copy = NULL;
    int32_t rc;
    DK_TRY(di_options_copy(options, options->host, -1, &copy, err));
    DK_TRY(merge(copy, from, err));
    di_options_swap(options, copy);
out:
    di_options_free(copy);
    return rc;
}
