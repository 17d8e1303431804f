/* option_when.c - options that nothing would read: set where their condition is not met, or naming what is not there.
 *
 * A condition is a list of alternatives, "expand=continue|magpie,label": one of them must hold. "label" holds if the
 * option of that name beside it is set and not 0, "expand=continue|magpie" if it has one of these values (or that
 * default), "!label" if it is not set; "/output.path" is looked up from the recipe's root. */
#include "options/suggest.h"
#include "options/values.h"

#include <stdio.h>
#include <string.h>

/* Set, or with a default, and not 0 or false. */
static int32_t is_on(const di_option_info *row, const di_value *value)
{
    const char *text = row ? row->default_text : NULL;
    double number = 0;
    if (!value) return text && strcmp(text, "false") && (!dk_parse_f64(text, strlen(text), &number) || number != 0);
    if (row && (row->type == DI_OPTION_INT || row->type == DI_OPTION_NUMBER)) return value->f64 != 0;
    return !(row && row->type == DI_OPTION_FLAG) || value->i64;
}

static int32_t alternative_holds(const di_options *root, const di_options *node, const di_table *table, int64_t group,
                                 const char *text, size_t size)
{
    const int32_t negated = *text == '!', rooted = text[negated] == '/';
    const char *key = text + negated + rooted, *end = text + size, *equals = memchr(text, '=', size);
    const size_t key_size = (size_t)((equals ? equals : end) - key);
    char name[96], choices[96];
    const di_value *value;
    int64_t id;
    snprintf(name, sizeof name, "%.*s", (int)key_size, key);
    if (rooted) {
        di_place place;
        di_place_find(root, name, &place);
        id = place.id;
        value = place.value;
    } else {
        id = di_table_member(table, group, name, strlen(name));
        value = di_node_find(node, id);
    }
    const di_option_info *row = di_table_row(table, id);
    if (!equals) return negated != is_on(row, value);
    const char *have = value ? value->text : row ? row->default_text : NULL;
    snprintf(choices, sizeof choices, "%.*s", (int)(end - equals - 1), equals + 1);
    return have && di_option_has_choice(choices, have, strlen(have));
}

int32_t di_when_is_met(const di_options *root, const di_options *node, int64_t group, const di_table *table,
                       const char *when)
{
    for (const char *at = when; at && *at;) {
        const size_t size = strcspn(at, ",");
        if (alternative_holds(root, node, table, group, at, size)) return 1;
        at += size + (at[size] == ',');
    }
    return !when;
}

typedef struct scope { /* a recipe, and the one around it whose names it knows, too */
    const di_options *recipe, *outer;
} scope;

static int32_t check_node(scope in, const di_options *node, const char *path, int64_t sections, dk_error *err);

static int32_t fail_unread(const di_value *value, const char *path, const char *when, dk_error *err)
{
    const char *origin = value->origin ? value->origin : "", *colon = value->origin ? ": " : "";
    if (*when == '!')
        return dk_fail(err, DK_E_OPTION, "%s%s%s does not go with %s: nothing would read it", origin, colon, path,
                       when + 1 + (when[1] == '/'));
    return dk_fail(err, DK_E_OPTION, "%s%s%s goes with %s only: nothing would read it here", origin, colon, path,
                   when + (*when == '/'));
}

/* ---- names ---- */

static const di_value *entries_of(const di_options *recipe, const char *group)
{
    return di_node_find(recipe, di_table_member(recipe->table, DI_ROOT, group, strlen(group)));
}

static int32_t is_name(scope in, const char *group, const char *name)
{
    return di_value_entry(entries_of(in.recipe, group), name, strlen(name)) ||
           di_value_entry(entries_of(in.outer, group), name, strlen(name));
}

static int32_t check_name(scope in, const di_value *value, const char *path, const char *group, const char *name,
                          dk_error *err)
{
    const di_value *entries = entries_of(in.recipe, group);
    char all[400] = "", near[64];
    if (is_name(in, group, name)) return DK_OK;
    for (int64_t i = 0; entries && i < entries->size && strlen(all) + 64 < sizeof all; i++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? "|" : "", entries->nodes[i]->name);
    const char *meant = di_choice_suggest(all, name, near, sizeof near);
    return dk_fail(err, DK_E_OPTION, "%s%s%s names \"%.60s\", which is not one of %s (%s)%s%s%s",
                   value->origin ? value->origin : "", value->origin ? ": " : "", path, name, group,
                   *all ? all : "there are none", meant ? "; did you mean " : "", meant ? meant : "", meant ? "?" : "");
}

/* A path may be a path. */
static int32_t check_names(scope in, const di_value *value, const di_option_info *row, const char *path, dk_error *err)
{
    int32_t rc = DK_OK;
    if (!row->names || row->type == DI_OPTION_PATH) return DK_OK;
    if (value->text) return check_name(in, value, path, row->names, value->text, err);
    for (int64_t i = 0; i < value->size && !rc; i++)
        rc = check_name(in, value, path, row->names, value->items[i].text, err);
    return rc;
}

static scope scope_of(scope in, const di_options *node)
{
    return node->group == DI_ROOT ? (scope){node, in.recipe} : in;
}

/* "stages.NAME", where there is such a stage. */
static int32_t is_stage(scope in, const char *text)
{
    const di_options *recipes[2] = {in.recipe, in.outer};
    if (strncmp(text, "stages.", 7) != 0) return 0;
    for (int r = 0; r < 2; r++)
        for (int64_t i = 0; recipes[r] && i < di_options_list_size(recipes[r], "stages"); i++) {
            const char *name = di_options_text(di_options_item(recipes[r], "stages", i), "name");
            if (name && !strcmp(name, text + 7)) return 1;
        }
    return 0;
}

static int32_t is_no_path(scope in, const di_option_info *row, const char *text)
{
    return (row->names && is_name(in, row->names, text)) || ((row->flags & DI_OPTION_OF_STAGE) && is_stage(in, text));
}

static void settle(scope in, di_options *node)
{
    for (int64_t i = 0; i < node->count; i++) {
        di_value *value = &node->values[i];
        const di_option_info *row = di_table_row(node->table, value->id);
        for (int64_t k = 0; value->nodes && k < value->size; k++)
            settle(scope_of(in, value->nodes[k]), value->nodes[k]);
        if (!row || !value->written || !is_no_path(in, row, value->written)) continue;
        dk_free(node->host, value->text);
        value->text = value->written;
        value->written = NULL;
    }
}

void di_settle_names(di_options *options) { settle((scope){options, options}, options); }

/* ---- the walk ---- */

static int32_t check_children(scope in, const di_value *value, const char *path, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < value->size && !rc; i++) {
        const di_options *node = value->nodes[i];
        char longer[DI_PATH_MAX];
        if (node->name) snprintf(longer, sizeof longer, "%.90s.%.60s", path, node->name);
        else if (node->is_item) snprintf(longer, sizeof longer, "%.90s.%lld", path, (long long)i);
        else snprintf(longer, sizeof longer, "%s", path);
        rc = check_node(scope_of(in, node), node, longer, -1, err);
    }
    return rc;
}

/* The first value in it tells where a group stands. */
static const di_value *leaf_of(const di_value *value)
{
    while (value->nodes && value->size && value->nodes[0]->count) value = &value->nodes[0]->values[0];
    return value;
}

static int32_t check_node(scope in, const di_options *node, const char *path, int64_t sections, dk_error *err)
{
    const di_table *table = node->table;
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < node->count && !rc; i++) {
        const di_value *value = &node->values[i];
        const di_option_info *row = di_table_row(table, value->id);
        const char *when = row ? row->when : di_table_group(table, value->id)->when;
        char longer[DI_PATH_MAX];
        if (node->group == DI_ROOT && !(sections >> di_table_section(table, value->id) & 1)) continue;
        snprintf(longer, sizeof longer, "%.90s%s%.60s", path, *path ? "." : "", di_table_key(table, value->id));
        if (!di_when_is_met(in.recipe, node, node->group, table, when) && !di_value_is_default(table, value))
            return fail_unread(leaf_of(value), longer, when, err);
        rc = row ? check_names(in, value, row, longer, err) : check_children(in, value, longer, err);
    }
    return rc;
}

int32_t di_options_check(const di_options *options, int64_t sections, dk_error *err)
{
    return options ? check_node((scope){options, options}, options, "", sections, err) : DK_OK;
}

int32_t di_options_differs(const di_options *options, const char *key)
{
    di_place place;
    di_place_find(options, key, &place);
    return place.value && !di_value_is_default(options->table, place.value);
}

/* A group stands where the first of its values does. */
static const char *origin_of(const di_value *value)
{
    const char *found = value->origin ? value->origin : "";
    for (int64_t i = 0; value->nodes && i < value->size && !*found; i++)
        for (int64_t k = 0; k < value->nodes[i]->count && !*found; k++) found = origin_of(&value->nodes[i]->values[k]);
    return found;
}

const char *di_options_origin(const di_options *options, const char *key)
{
    di_place place;
    di_place_find(options, key, &place);
    return place.value ? origin_of(place.value) : "";
}

int32_t di_options_refuse(const di_options *options, const char *key, const char *why, dk_error *err)
{
    if (!di_options_differs(options, key)) return DK_OK;
    const char *origin = di_options_origin(options, key);
    return dk_fail(err, DK_E_OPTION, "%s%s%s %s", origin, *origin ? ": " : "", key, why);
}
