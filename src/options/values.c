#include "options/values.h"

#include <string.h>

int32_t di_options_create_with(dk_host *host, const di_table *table, di_options **out, dk_error *err)
{
    di_options *options;
    int32_t rc = dk_new(host, 1, &options, err);
    if (rc) return rc;
    options->host = dk_host_retain(host);
    options->table = table;
    options->group = DI_ROOT;
    *out = options;
    return DK_OK;
}

int32_t di_options_create(dk_host *host, di_options **out, dk_error *err)
{
    return di_options_create_with(host, &di_public_table, out, err);
}

void di_options_free(di_options *options)
{
    if (!options) return;
    dk_host *host = options->host;
    di_node_free(options);
    dk_host_release(host);
}

void di_options_swap(di_options *a, di_options *b)
{
    di_options kept = *a;
    *a = *b;
    *b = kept;
}

/* ---- nodes ---- */

int32_t di_node_create(const di_options *like, int64_t group, di_options **out, dk_error *err)
{
    int32_t rc = dk_new(like->host, 1, out, err);
    if (rc) return rc;
    (*out)->host = like->host;
    (*out)->table = like->table;
    (*out)->group = group;
    return DK_OK;
}

void di_node_clear(di_options *node)
{
    for (int64_t i = 0; i < node->count; i++) di_value_free(node->host, &node->values[i]);
    node->count = 0;
}

void di_node_free(di_options *node)
{
    if (!node) return;
    di_node_clear(node);
    dk_free(node->host, node->values);
    dk_free(node->host, node->name);
    dk_free(node->host, node);
}

static int64_t find_index(const di_options *node, int64_t id)
{
    int64_t at = 0;
    while (at < node->count && node->values[at].id < id) at++;
    return at;
}

const di_value *di_node_find(const di_options *node, int64_t id)
{
    const int64_t at = node ? find_index(node, id) : 0;
    return node && at < node->count && node->values[at].id == id ? &node->values[at] : NULL;
}

void di_node_remove(di_options *node, int64_t id)
{
    const int64_t at = find_index(node, id);
    if (!di_node_find(node, id)) return;
    di_value_free(node->host, &node->values[at]);
    node->count--;
    memmove(node->values + at, node->values + at + 1, (size_t)(node->count - at) * sizeof *node->values);
}

di_value *di_node_slot(di_options *node, int64_t id, dk_error *err)
{
    const int64_t at = find_index(node, id);
    if (di_node_find(node, id)) return &node->values[at];
    if (node->count == node->capacity) {
        int64_t capacity = node->capacity ? node->capacity * 2 : 8;
        di_value *grown = dk_realloc(node->host, node->values, (uint64_t)capacity, sizeof *grown);
        if (!grown) {
            dk_fail_nomem(err, (uint64_t)capacity * sizeof *grown);
            return NULL;
        }
        node->values = grown;
        node->capacity = capacity;
    }
    memmove(node->values + at + 1, node->values + at, (size_t)(node->count - at) * sizeof *node->values);
    node->values[at] = (di_value){.id = id};
    node->count++;
    return &node->values[at];
}

int32_t di_node_put(di_options *node, di_value *value, dk_error *err)
{
    di_value *slot = di_node_slot(node, value->id, err);
    if (!slot) {
        di_value_free(node->host, value);
        return DK_E_NOMEM;
    }
    di_value_free(node->host, slot);
    *slot = *value;
    return DK_OK;
}

/* ---- values ---- */

void di_value_free(dk_host *host, di_value *value)
{
    for (int64_t i = 0; value->items && i < value->size; i++) dk_free(host, value->items[i].text);
    for (int64_t i = 0; value->nodes && i < value->size; i++) di_node_free(value->nodes[i]);
    dk_free(host, value->items);
    dk_free(host, value->nodes);
    dk_free(host, value->text);
    dk_free(host, value->written);
    dk_free(host, value->origin);
    *value = (di_value){.id = value->id};
}

static int32_t clone_text(dk_host *host, const char *text, char **out, dk_error *err)
{
    if (!text) return DK_OK;
    *out = dk_strdup(host, text);
    return *out ? DK_OK : dk_fail_nomem(err, strlen(text) + 1);
}

static int32_t clone_node(const di_options *into, const di_options *node, di_options **out, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_node_create(into, node->group, out, err));
    (*out)->is_item = node->is_item;
    DK_TRY(clone_text(into->host, node->name, &(*out)->name, err));
    for (int64_t i = 0; i < node->count; i++) {
        di_value value;
        DK_TRY(di_value_clone(into, &node->values[i], &value, err));
        DK_TRY(di_node_put(*out, &value, err));
    }
out:
    return rc;
}

static int32_t clone_items(const di_options *into, const di_value *value, di_value *out, dk_error *err)
{
    int32_t rc = DK_OK;
    if (value->items) DK_TRY(dk_new(into->host, value->size, &out->items, err));
    if (value->nodes) DK_TRY(dk_new(into->host, value->size, &out->nodes, err));
    for (; out->size < value->size; out->size++) {
        if (value->nodes) {
            rc = clone_node(into, value->nodes[out->size], &out->nodes[out->size], err);
        } else {
            out->items[out->size] = value->items[out->size];
            out->items[out->size].text = NULL;
            rc = clone_text(into->host, value->items[out->size].text, &out->items[out->size].text, err);
        }
        if (rc) {
            out->size++;
            return rc;
        }
    }
out:
    return rc;
}

int32_t di_value_clone(const di_options *into, const di_value *value, di_value *out, dk_error *err)
{
    di_value copy = {.id = value->id, .i64 = value->i64, .f64 = value->f64, .course = value->course};
    int32_t rc;
    copy.is_list = value->is_list;
    DK_TRY(clone_text(into->host, value->text, &copy.text, err));
    DK_TRY(clone_text(into->host, value->written, &copy.written, err));
    DK_TRY(clone_text(into->host, value->origin, &copy.origin, err));
    DK_TRY(clone_items(into, value, &copy, err));
    *out = copy;
    return DK_OK;
out:
    di_value_free(into->host, &copy);
    return rc;
}

int32_t di_value_grow(di_options *node, di_value *value, const char *name, di_options **out, dk_error *err)
{
    di_options **grown = dk_realloc(node->host, value->nodes, (uint64_t)value->size + 1, sizeof *grown), *made = NULL;
    int32_t rc;
    if (!grown) return dk_fail_nomem(err, ((uint64_t)value->size + 1) * sizeof *grown);
    value->nodes = grown;
    DK_TRY(di_node_create(node, di_table_members(node->table, value->id), &made, err));
    DK_TRY(clone_text(node->host, name, &made->name, err));
    value->nodes[value->size++] = *out = made;
    return DK_OK;
out:
    di_node_free(made);
    return rc;
}

di_options *di_value_entry(const di_value *value, const char *name, size_t size)
{
    for (int64_t i = 0; value && i < value->size; i++)
        if (value->nodes[i]->name && strlen(value->nodes[i]->name) == size &&
            !memcmp(value->nodes[i]->name, name, size))
            return value->nodes[i];
    return NULL;
}

/* ---- whole trees ---- */

static int32_t same_text(const char *a, const char *b) { return a == b || (a && b && !strcmp(a, b)); }

static int32_t same_course(const di_course *a, const di_course *b)
{
    return a->kind == b->kind && a->to == b->to && a->steps == b->steps;
}

static int32_t same_member(const di_value *a, const di_value *b, int64_t i)
{
    if (a->nodes) return same_text(a->nodes[i]->name, b->nodes[i]->name) && di_node_equal(a->nodes[i], b->nodes[i]);
    return a->items[i].i64 == b->items[i].i64 && a->items[i].f64 == b->items[i].f64 &&
           same_course(&a->items[i].course, &b->items[i].course) && same_text(a->items[i].text, b->items[i].text);
}

int32_t di_value_equal(const di_value *a, const di_value *b)
{
    if (a->id != b->id || a->size != b->size || a->is_list != b->is_list) return 0;
    if (a->i64 != b->i64 || a->f64 != b->f64 || !same_text(a->text, b->text)) return 0;
    if (!same_course(&a->course, &b->course)) return 0;
    for (int64_t i = 0; i < a->size; i++)
        if (!same_member(a, b, i)) return 0;
    return 1;
}

int32_t di_node_equal(const di_options *a, const di_options *b)
{
    const int64_t count = a ? a->count : 0;
    if (count != (b ? b->count : 0)) return 0;
    for (int64_t i = 0; i < count; i++)
        if (!di_value_equal(&a->values[i], &b->values[i])) return 0;
    return 1;
}

int32_t di_options_equal(const di_options *a, const di_options *b) { return di_node_equal(a, b); }

int32_t di_options_copy(const di_options *options, dk_host *host, int64_t sections, di_options **out, dk_error *err)
{
    di_options *copy;
    int32_t rc = di_options_create_with(host, options ? options->table : &di_public_table, &copy, err);
    if (rc) return rc;
    if (options) copy->group = options->group;
    for (int64_t i = 0; options && i < options->count; i++) {
        di_value value;
        if (!(sections >> di_table_section(options->table, options->values[i].id) & 1)) continue;
        DK_TRY(di_value_clone(copy, &options->values[i], &value, err));
        DK_TRY(di_node_put(copy, &value, err));
    }
    *out = copy;
    return DK_OK;
out:
    di_options_free(copy);
    return rc;
}
