#include "jinja/jinja_tree.h"

#include <string.h>

enum { NAME_LIMIT = 4096 };

int32_t dk_jinja_find_name(const dk_jinja *jinja, const char *name, size_t size)
{
    for (int32_t i = 0; i < jinja->name_count; i++)
        if (jinja->names[i].size == size && !memcmp(jinja->names[i].data, name, size)) return i;
    return -1;
}

int32_t dk_jinja_name(dk_jinja *jinja, const char *name, size_t size)
{
    int32_t found = dk_jinja_find_name(jinja, name, size);
    if (found >= 0) return found;
    if (jinja->name_count >= NAME_LIMIT) return -1;
    if (jinja->name_count == jinja->name_capacity) {
        int32_t capacity = jinja->name_capacity ? 2 * jinja->name_capacity : 32;
        dk_slice *names = dk_jinja_take(&jinja->arena, (size_t)capacity * sizeof *names);
        if (!names) return -1;
        if (jinja->name_count) memcpy(names, jinja->names, (size_t)jinja->name_count * sizeof *names);
        jinja->names = names;
        jinja->name_capacity = capacity;
    }
    jinja->names[jinja->name_count] = (dk_slice){name, size};
    return jinja->name_count++;
}

void dk_jinja_free(dk_jinja *jinja)
{
    if (!jinja) return;
    dk_jinja_arena_free(&jinja->arena);
    dk_free(jinja->host, jinja);
}

int32_t dk_jinja_has_generation(const dk_jinja *jinja) { return jinja->has_generation; }

int32_t dk_jinja_mentions(const dk_jinja *jinja, const char *variable)
{
    return dk_jinja_find_name(jinja, variable, strlen(variable)) >= 0;
}
