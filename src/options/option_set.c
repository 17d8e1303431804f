/* The setters: each works on a copy and puts it in place when all went well. */
#include "options/values.h"

#include "base/file.h"

#include <stdio.h>
#include <string.h>

static int32_t apply(di_options *options, const char *key, const dk_node *node, dk_error *err)
{
    const di_source source = {node, NULL, NULL};
    di_options *copy;
    int32_t rc = di_options_copy(options, options->host, -1, &copy, err);
    if (rc) return rc;
    rc = di_assign(copy, key, source, err);
    if (!rc) di_options_swap(options, copy);
    di_options_free(copy);
    return rc;
}

int32_t di_options_set(di_options *options, const char *key, const char *yaml, dk_error *err)
{
    static const dk_node null_node = {.type = DK_NODE_NULL};
    char name[120];
    dk_document *document = NULL;
    int32_t rc = DK_OK;
    snprintf(name, sizeof name, "value of %.100s", key);
    if (yaml) DK_TRY(dk_yaml_parse(options->host, yaml, strlen(yaml), name, &document, err));
    DK_TRY(apply(options, key, document ? dk_document_root(document) : &null_node, err));
out:
    dk_document_free(document);
    if (rc && err) err->position = -1;
    return rc;
}

/* Does the key lead to texts? A group stands for its main option. */
static int32_t takes_text(const di_options *options, const char *key)
{
    di_place place;
    di_place_find(options, key, &place);
    const di_table *table = options->table;
    for (const di_group *group; (group = di_table_group(table, place.id)) && group->main;) {
        const int64_t members = di_table_members(table, place.id);
        group = di_table_group(table, members);
        place.id = group && group->main ? di_table_member(table, members, group->main, strlen(group->main)) : DI_NONE;
    }
    const di_option_info *row = di_table_row(table, place.id);
    if (!row) return 0;
    if (row->type == DI_OPTION_LIST) return row->item_type == DI_OPTION_TEXT;
    return row->type == DI_OPTION_TEXT || row->type == DI_OPTION_PATH || row->type == DI_OPTION_CHOICE;
}

int32_t di_options_set_str(di_options *options, const char *key, const char *value, dk_error *err)
{
    if (!value || !takes_text(options, key)) return di_options_set(options, key, value, err);
    const dk_node node = {.type = DK_NODE_TEXT, .text = value, .size = strlen(value)};
    return apply(options, key, &node, err);
}

int32_t di_options_set_i64(di_options *options, const char *key, int64_t value, dk_error *err)
{
    char text[24];
    const int size = snprintf(text, sizeof text, "%lld", (long long)value);
    const dk_node node = {.type = DK_NODE_INT, .i64 = value, .f64 = (double)value, .text = text, .size = (size_t)size};
    return apply(options, key, &node, err);
}

int32_t di_options_set_f64(di_options *options, const char *key, double value, dk_error *err)
{
    char text[32];
    dk_format_f64(value, text);
    const dk_node node = {.type = DK_NODE_FLOAT, .f64 = value, .text = text, .size = strlen(text)};
    return apply(options, key, &node, err);
}

/* ---- recipes ---- */

static int32_t assign_root(di_options *options, const dk_node *root, const char *folder, const char *name,
                           dk_error *err)
{
    int32_t rc = DK_OK;
    if (root->type == DK_NODE_NULL) return DK_OK;
    if (root->type != DK_NODE_MAP)
        return dk_fail(err, DK_E_OPTION, "a recipe is a map of sections, as in \"train: {steps: 100}\"");
    for (size_t i = 0; i < root->size && !rc; i++) {
        const di_source source = {root->items[i], folder, name};
        rc = di_assign(options, root->items[i]->key, source, err);
    }
    return rc;
}

static int32_t apply_document(di_options *options, const dk_document *document, const char *folder, dk_error *err)
{
    di_options *copy;
    dk_error own;
    int32_t rc = di_options_copy(options, options->host, -1, &copy, err);
    if (rc) return rc;
    dk_error_clear(&own);
    rc = assign_root(copy, dk_document_root(document), folder, dk_document_name(document), &own);
    if (!rc) di_settle_names(copy);
    if (!rc) di_options_swap(options, copy);
    di_options_free(copy);
    if (rc && own.position > 0) dk_error_context(&own, "%s:%lld", dk_document_name(document), (long long)own.position);
    else if (rc) dk_error_context(&own, "%s", dk_document_name(document));
    if (rc && err) *err = own;
    return rc;
}

int32_t di_options_parse(di_options *options, const char *yaml, size_t size, const char *name, const char *folder,
                         dk_error *err)
{
    dk_document *document;
    int32_t rc = dk_yaml_parse(options->host, yaml, size, name, &document, err);
    if (rc) return rc;
    rc = apply_document(options, document, folder, err);
    dk_document_free(document);
    return rc;
}

int32_t di_options_load(di_options *options, const char *path, dk_error *err)
{
    dk_document *document = NULL;
    char *folder = NULL;
    int32_t rc;
    DK_TRY(dk_yaml_open(options->host, path, &document, err));
    folder = dk_path_folder(options->host, path);
    if (!folder) DK_TRY(dk_fail_nomem(err, strlen(path) + 1));
    DK_TRY(apply_document(options, document, folder, err));
out:
    dk_document_free(document);
    dk_free(options->host, folder);
    return rc;
}
