/* schema.c - finding one's way in a table. */
#include "options/table.h"

#include <stdio.h>
#include <string.h>

const di_option_info *di_table_row(const di_table *table, int64_t id)
{
    return id >= 0 && id < table->row_count ? &table->rows[id] : NULL;
}

const di_group *di_table_group(const di_table *table, int64_t id)
{
    id -= table->row_count;
    return id >= 0 && id < table->group_count ? &table->groups[id] : NULL;
}

const char *di_table_name(const di_table *table, int64_t id)
{
    const di_option_info *row = di_table_row(table, id);
    const di_group *group = di_table_group(table, id);
    return row ? row->name : group ? group->name : "";
}

const char *di_table_key(const di_table *table, int64_t id)
{
    const char *name = di_table_name(table, id), *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

static int64_t find_group(const di_table *table, const char *name)
{
    for (int64_t i = 0; i < table->group_count; i++)
        if (!strcmp(table->groups[i].name, name)) return table->row_count + i;
    return DI_ROOT;
}

int64_t di_table_members(const di_table *table, int64_t id)
{
    const di_group *group = di_table_group(table, id);
    return group && group->like ? find_group(table, group->like) : id;
}

/* What the names of a group's members begin with, without the dot behind it. */
static size_t prefix_of(const di_table *table, int64_t group, char out[96])
{
    const di_group *info = di_table_group(table, group);
    const char *one = !info ? "" : info->shape == DI_GROUP_LIST ? ".N" : info->shape == DI_GROUP_NAMED ? ".NAME" : "";
    int size = snprintf(out, 96, "%s%s", info ? info->name : "", one);
    return size > 0 && size < 96 ? (size_t)size : 0;
}

/* The key of name in the group with that prefix; NULL = it is not a member. */
static const char *key_in(const char *name, const char *prefix, size_t size)
{
    if (strncmp(name, prefix, size)) return NULL;
    name += size;
    if (!size) return strchr(name, '.') ? NULL : name;
    if (!*name) return name;
    return *name == '.' && !strchr(name + 1, '.') ? name + 1 : NULL;
}

int64_t di_table_member(const di_table *table, int64_t group, const char *key, size_t size)
{
    char prefix[96];
    const size_t length = prefix_of(table, group, prefix);
    for (int64_t id = 0; id < table->row_count + table->group_count; id++) {
        const di_option_info *row = di_table_row(table, id);
        const char *own = row && row->type == DI_OPTION_MAP ? NULL : key_in(di_table_name(table, id), prefix, length);
        if (own && id != group && strlen(own) == size && !memcmp(own, key, size)) return id;
    }
    return DI_NONE;
}

int64_t di_table_beside(const di_table *table, int64_t group, const char *key, size_t size)
{
    for (int64_t i = 0; i < table->group_count; i++)
        if (table->groups[i].beside && di_option_has_choice(table->groups[i].beside, key, size) &&
            di_table_is_member(table, group, table->row_count + i))
            return table->row_count + i;
    return DI_NONE;
}

int32_t di_table_is_member(const di_table *table, int64_t group, int64_t id)
{
    char prefix[96];
    const size_t length = prefix_of(table, group, prefix);
    const di_option_info *row = di_table_row(table, id);
    return id != group && !(row && row->type == DI_OPTION_MAP) && key_in(di_table_name(table, id), prefix, length);
}

int32_t di_table_section(const di_table *table, int64_t id)
{
    const char *name = di_table_name(table, id);
    const size_t size = strcspn(name, ".");
    int32_t section = 0;
    for (int64_t i = 0; i < table->group_count; i++) {
        const char *group = table->groups[i].name;
        if (strchr(group, '.')) continue;
        if (strlen(group) == size && !memcmp(group, name, size)) return section;
        section++;
    }
    return di_table_row(table, id) && !name[size] ? section - 1 : -1;
}

int32_t di_option_has_choice(const char *choices, const char *text, size_t size)
{
    for (const char *at = choices; *at;) {
        const size_t length = strcspn(at, "|");
        if (length == size && !memcmp(at, text, size)) return size > 0;
        at += length + (at[length] == '|');
    }
    return 0;
}

/* ---- the public table ---- */

int64_t di_option_count(void) { return di_public_table.row_count; }

const di_option_info *di_option_at(int64_t index) { return di_table_row(&di_public_table, index); }

int64_t di_option_find(const char *name, size_t size)
{
    for (int64_t i = 0; i < di_public_table.row_count; i++)
        if (strlen(di_option_at(i)->name) == size && !memcmp(di_option_at(i)->name, name, size)) return i;
    return -1;
}
