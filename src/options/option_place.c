/* Keys, and where the values of a key go. */
#include "options/values.h"

#include <stdio.h>
#include <string.h>

/* ---- keys ---- */

static int32_t fail_unknown(const char *key, size_t size, dk_error *err)
{
    const char *meant = di_option_suggest(key, size);
    return dk_fail(err, DK_E_OPTION, "%.*s is not an option; %s%s%s", (int)(size < 100 ? size : 100), key,
                   meant ? "did you mean " : "`distill options` lists them all", meant ? meant : "", meant ? "?" : "");
}

static int32_t is_number(const char *part, size_t size) { return size && (strspn(part, "-0123456789") >= size); }

static int32_t parse_index(const char *key, const char *part, size_t size, int64_t *out, dk_error *err)
{
    int64_t index;
    if (!dk_parse_i64(part, size, &index) || index < 0 || part[0] == '-')
        return dk_fail(err, DK_E_OPTION, "%.100s: index %.*s is not in [0, ...)", key, (int)(size < 24 ? size : 24),
                       part);
    *out = index;
    return DK_OK;
}

static int32_t find_in_section(const char *key, const char *part, size_t size, di_place *place, dk_error *err)
{
    char name[96];
    const char *section = di_section_name(place->section);
    int written = size < 64 ? snprintf(name, sizeof name, "%s.%.*s", section, (int)size, part) : -1;
    place->option = written > 0 ? di_option_find(name, (size_t)written) : -1;
    if (place->option >= 0) return DK_OK;
    return written > 0 ? fail_unknown(name, (size_t)written, err) : fail_unknown(key, strlen(key), err);
}

/* section, section.key, section.list.index, loss.index, loss.index.key */
int32_t di_place_find(const char *key, di_place *out, dk_error *err)
{
    di_place place = {-1, -1, DI_NO_TERM, -1};
    size_t size = strcspn(key, ".");
    const char *part = key;
    int32_t rc = DK_OK;
    place.section = di_section_find(key, size);
    if (place.section < 0) return fail_unknown(key, strlen(key), err);
    if (part[size] && place.section == DI_LOSS && is_number(part + size + 1, strcspn(part + size + 1, "."))) {
        part += size + 1;
        size = strcspn(part, ".");
        DK_TRY(parse_index(key, part, size, &place.term, err));
    }
    if (part[size]) {
        part += size + 1;
        size = strcspn(part, ".");
        DK_TRY(find_in_section(key, part, size, &place, err));
    }
    if (part[size]) {
        part += size + 1;
        if (di_option_at(place.option)->type != DI_OPTION_LIST) return fail_unknown(key, strlen(key), err);
        DK_TRY(parse_index(key, part, strlen(part), &place.item, err));
    }
    *out = place;
out:
    return rc;
}

/* ---- terms of the loss ---- */

static int32_t check_term_option(int64_t option, dk_error *err)
{
    if (di_option_at(option)->flags & DI_OPTION_TERM) return DK_OK;
    return dk_fail(err, DK_E_OPTION, "%s belongs to a single loss; in a list of losses give each term its weight",
                   di_option_at(option)->name);
}

/* A single loss becomes the first term of a list. */
static int32_t make_list(di_options *options, dk_error *err)
{
    for (int64_t i = 0; i < options->count; i++) {
        if (di_option_section(options->values[i].option) != DI_LOSS) continue;
        int32_t rc = check_term_option(options->values[i].option, err);
        if (rc) return rc;
        options->values[i].term = 0;
    }
    options->terms = 1;
    return DK_OK;
}

static int32_t open_term(di_options *options, int64_t term, dk_error *err)
{
    if (!options->terms && term == 0) return make_list(options, err);
    if (term > options->terms || term >= DI_TERMS_MAX)
        return dk_fail(err, DK_E_OPTION,
                       "loss.%lld is not in [0, %lld]: terms are added one after the other, at most %d",
                       (long long)term, (long long)options->terms, DI_TERMS_MAX);
    if (term == options->terms) options->terms++;
    return DK_OK;
}

/* ---- values ---- */

static int32_t put_node(di_options *options, int64_t option, int64_t term, const dk_node *node, const char *folder,
                        dk_error *err)
{
    di_value value;
    int32_t rc = di_check(options->host, option, node, folder, &value, err);
    if (rc) return rc;
    value.term = term;
    return di_values_put(options, &value, err);
}

/* old with one more or one other item; taken over from single. */
static int32_t with_item(dk_host *host, const di_value *old, int64_t at, di_value *single, di_value *out, dk_error *err)
{
    int32_t rc = DK_OK;
    di_value value = {.option = single->option, .term = DI_NO_TERM};
    if (old) DK_TRY(di_value_clone(host, old, &value, err));
    if (at == value.size) {
        di_item *grown = dk_realloc(host, value.items, (uint64_t)at + 1, sizeof *grown);
        if (!grown) DK_TRY(dk_fail_nomem(err, ((uint64_t)at + 1) * sizeof *grown));
        grown[value.size++] = (di_item){0, NULL};
        value.items = grown;
    }
    dk_free(host, value.items[at].text);
    value.items[at] = single->items[0];
    single->items[0].text = NULL;
    *out = value;
    return DK_OK;
out:
    di_value_free(host, &value);
    return rc;
}

static int32_t assign_item(di_options *options, const di_place *place, const dk_node *node, dk_error *err)
{
    const di_value *old = di_values_find(options, place->option, DI_NO_TERM);
    const char *name = di_option_at(place->option)->name;
    long long size = old ? (long long)old->size : 0;
    di_value value, single;
    int32_t rc;
    if (place->item > size)
        return dk_fail(err, DK_E_OPTION, "%s.%lld is not in [0, %lld]: items are added one after the other", name,
                       (long long)place->item, size);
    rc = di_check(options->host, place->option, node, NULL, &single, err);
    if (rc) return rc;
    if (single.size != 1) DK_TRY(dk_fail(err, DK_E_OPTION, "%s.%lld takes one value", name, (long long)place->item));
    DK_TRY(with_item(options->host, old, place->item, &single, &value, err));
    DK_TRY(di_values_put(options, &value, err));
out:
    di_value_free(options->host, &single);
    return rc;
}

/* An option of the loss while the loss is a list. */
static int32_t assign_to_terms(di_options *options, const di_place *place, const dk_node *node, const char *folder,
                               dk_error *err)
{
    const char *key = di_option_key(place->option);
    int32_t rc = DK_OK;
    DK_TRY(check_term_option(place->option, err));
    if (!strcmp(key, "type") || !strcmp(key, "weight"))
        return dk_fail(err, DK_E_OPTION, "loss.%s: loss is a list of %lld; set loss.0.%s, or loss as a whole", key,
                       (long long)options->terms, key);
    for (int64_t term = 0; term < options->terms; term++) {
        if (node->type == DK_NODE_NULL) di_values_remove(options, place->option, term);
        else DK_TRY(put_node(options, place->option, term, node, folder, err));
    }
out:
    return rc;
}

static int32_t assign_option(di_options *options, const di_place *place, const dk_node *node, const char *folder,
                             dk_error *err)
{
    int32_t rc = DK_OK;
    if (place->item >= 0) return assign_item(options, place, node, err);
    if (place->term != DI_NO_TERM) {
        DK_TRY(check_term_option(place->option, err));
        DK_TRY(open_term(options, place->term, err));
    } else if (place->section == DI_LOSS && options->terms) {
        return assign_to_terms(options, place, node, folder, err);
    }
    if (node->type == DK_NODE_NULL) di_values_remove(options, place->option, place->term);
    else DK_TRY(put_node(options, place->option, place->term, node, folder, err));
out:
    return rc;
}

/* An error inside a recipe names the line where the value stands; only the innermost node does. */
static int32_t place_error(const dk_node *node, dk_error *err, int32_t rc)
{
    if (rc && err && err->position < 0 && node->line) err->position = node->line;
    return rc;
}

static int32_t assign_members(di_options *options, const di_place *place, const dk_node *map, const char *folder,
                              dk_error *err)
{
    int32_t rc = DK_OK;
    for (size_t i = 0; i < map->size && !rc; i++) {
        const dk_node *node = map->items[i];
        di_place member = {place->section, -1, place->term, -1};
        rc = find_in_section(node->key, node->key, node->key_size, &member, err);
        if (!rc) rc = assign_option(options, &member, node, folder, err);
        place_error(node, err, rc);
    }
    return rc;
}

static int32_t assign_main(di_options *options, const di_place *place, const dk_node *node, const char *folder,
                           dk_error *err)
{
    const char *name = di_section_main(place->section), *section = di_section_name(place->section);
    if (!name || node->type == DK_NODE_LIST)
        return dk_fail(err, DK_E_OPTION, "%s is a section: give it as a map, %s: {key: value}", section, section);
    di_place main_place = {place->section, di_option_find(name, strlen(name)), place->term, -1};
    return assign_option(options, &main_place, node, folder, err);
}

static int32_t assign_term(di_options *options, const di_place *place, const dk_node *node, const char *folder,
                           dk_error *err)
{
    int32_t rc;
    if (node->type == DK_NODE_NULL)
        return dk_fail(err, DK_E_OPTION, "loss.%lld: a term cannot be taken out; set loss as a whole",
                       (long long)place->term);
    DK_TRY(open_term(options, place->term, err));
    di_values_remove_term(options, place->term);
    if (node->type == DK_NODE_MAP) DK_TRY(assign_members(options, place, node, folder, err));
    else DK_TRY(assign_main(options, place, node, folder, err));
out:
    return rc;
}

static int32_t assign_loss_list(di_options *options, const dk_node *list, const char *folder, dk_error *err)
{
    int32_t rc = DK_OK;
    if (!list->size)
        return dk_fail(err, DK_E_OPTION, "loss is an empty list; give at least one term, {type: forward_kl}");
    for (size_t i = 0; i < list->size && !rc; i++) {
        di_place term = {DI_LOSS, -1, (int64_t)i, -1};
        rc = place_error(list->items[i], err, assign_term(options, &term, list->items[i], folder, err));
    }
    return rc;
}

static int32_t assign_section(di_options *options, const di_place *place, const dk_node *node, const char *folder,
                              dk_error *err)
{
    int32_t is_list = place->section == DI_LOSS && node->type == DK_NODE_LIST;
    if (node->type == DK_NODE_NULL || is_list || (place->section == DI_LOSS && options->terms))
        di_values_remove_section(options, place->section);
    if (node->type == DK_NODE_NULL) return DK_OK;
    if (is_list) return assign_loss_list(options, node, folder, err);
    if (node->type == DK_NODE_MAP) return assign_members(options, place, node, folder, err);
    return assign_main(options, place, node, folder, err);
}

int32_t di_assign(di_options *options, const di_place *place, const dk_node *node, const char *folder, dk_error *err)
{
    if (place->option >= 0) return assign_option(options, place, node, folder, err);
    if (place->term != DI_NO_TERM) return assign_term(options, place, node, folder, err);
    return assign_section(options, place, node, folder, err);
}
