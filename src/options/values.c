#include "options/values.h"

#include <string.h>

int32_t di_options_create(dk_host *host, di_options **out, dk_error *err)
{
    di_options *options;
    int32_t rc = dk_new(host, 1, &options, err);
    if (rc) return rc;
    options->host = dk_host_retain(host);
    *out = options;
    return DK_OK;
}

void di_options_free(di_options *options)
{
    if (!options) return;
    dk_host *host = options->host;
    for (int64_t i = 0; i < options->count; i++) di_value_free(host, &options->values[i]);
    dk_free(host, options->values);
    dk_free(host, options);
    dk_host_release(host);
}

void di_options_swap(di_options *a, di_options *b)
{
    di_options kept = *a;
    *a = *b;
    *b = kept;
}

void di_value_free(dk_host *host, di_value *value)
{
    for (int64_t i = 0; i < value->size; i++) dk_free(host, value->items[i].text);
    dk_free(host, value->items);
    dk_free(host, value->text);
    value->items = NULL;
    value->text = NULL;
    value->size = 0;
}

static int32_t clone_items(dk_host *host, const di_value *value, di_value *out, dk_error *err)
{
    int32_t rc = dk_new(host, value->size, &out->items, err);
    if (rc) return rc;
    for (; out->size < value->size; out->size++) {
        const di_item *item = &value->items[out->size];
        out->items[out->size].i64 = item->i64;
        if (!item->text) continue;
        out->items[out->size].text = dk_strdup(host, item->text);
        if (!out->items[out->size].text) return dk_fail_nomem(err, strlen(item->text) + 1);
    }
    return DK_OK;
}

int32_t di_value_clone(dk_host *host, const di_value *value, di_value *out, dk_error *err)
{
    di_value copy = *value;
    int32_t rc = DK_OK;
    copy.items = NULL;
    copy.text = NULL;
    copy.size = 0;
    if (value->text && !(copy.text = dk_strdup(host, value->text))) rc = dk_fail_nomem(err, strlen(value->text) + 1);
    if (!rc && value->size) rc = clone_items(host, value, &copy, err);
    if (rc) di_value_free(host, &copy);
    else *out = copy;
    return rc;
}

static int64_t find_index(const di_options *options, int64_t option, int64_t term)
{
    int64_t at = 0;
    while (at < options->count && (options->values[at].option < option ||
                                   (options->values[at].option == option && options->values[at].term < term)))
        at++;
    return at;
}

const di_value *di_values_find(const di_options *options, int64_t option, int64_t term)
{
    if (!options || option < 0) return NULL;
    int64_t at = find_index(options, option, term);
    if (at == options->count || options->values[at].option != option || options->values[at].term != term) return NULL;
    return &options->values[at];
}

static void remove_at(di_options *options, int64_t at)
{
    di_value_free(options->host, &options->values[at]);
    options->count--;
    memmove(options->values + at, options->values + at + 1, (size_t)(options->count - at) * sizeof *options->values);
}

int32_t di_values_put(di_options *options, di_value *value, dk_error *err)
{
    di_values_remove(options, value->option, value->term);
    if (options->count == options->capacity) {
        int64_t capacity = options->capacity ? options->capacity * 2 : 16;
        di_value *grown = dk_realloc(options->host, options->values, (uint64_t)capacity, sizeof *grown);
        if (!grown) {
            di_value_free(options->host, value);
            return dk_fail_nomem(err, (uint64_t)capacity * sizeof *grown);
        }
        options->values = grown;
        options->capacity = capacity;
    }
    int64_t at = find_index(options, value->option, value->term);
    memmove(options->values + at + 1, options->values + at, (size_t)(options->count - at) * sizeof *options->values);
    options->values[at] = *value;
    options->count++;
    return DK_OK;
}

void di_values_remove(di_options *options, int64_t option, int64_t term)
{
    if (di_values_find(options, option, term)) remove_at(options, find_index(options, option, term));
}

void di_values_remove_section(di_options *options, int32_t section)
{
    for (int64_t i = options->count; i-- > 0;)
        if (di_option_section(options->values[i].option) == section) remove_at(options, i);
    if (section == DI_LOSS) options->terms = 0;
}

void di_values_remove_term(di_options *options, int64_t term)
{
    for (int64_t i = options->count; i-- > 0;)
        if (options->values[i].term == term && term != DI_NO_TERM) remove_at(options, i);
}

/* ---- whole trees ---- */

static int32_t copy_values(di_options *into, const di_options *from, int64_t sections, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < from->count; i++) {
        di_value value;
        if (!(sections >> di_option_section(from->values[i].option) & 1)) continue;
        DK_TRY(di_value_clone(into->host, &from->values[i], &value, err));
        DK_TRY(di_values_put(into, &value, err));
    }
    if (sections >> DI_LOSS & 1) into->terms = from->terms;
out:
    return rc;
}

int32_t di_options_copy(const di_options *options, dk_host *host, int64_t sections, di_options **out, dk_error *err)
{
    di_options *copy;
    int32_t rc = di_options_create(host, &copy, err);
    if (rc) return rc;
    if (options) rc = copy_values(copy, options, sections, err);
    if (rc) di_options_free(copy);
    else *out = copy;
    return rc;
}

static int32_t same_text(const char *a, const char *b) { return a == b || (a && b && !strcmp(a, b)); }

static int32_t same_value(const di_value *a, const di_value *b)
{
    if (a->option != b->option || a->term != b->term || a->size != b->size) return 0;
    if (a->i64 != b->i64 || a->f64 != b->f64 || !same_text(a->text, b->text)) return 0;
    for (int64_t i = 0; i < a->size; i++)
        if (a->items[i].i64 != b->items[i].i64 || !same_text(a->items[i].text, b->items[i].text)) return 0;
    return 1;
}

int32_t di_options_equal(const di_options *a, const di_options *b)
{
    static const di_options empty = {NULL, NULL, 0, 0, 0};
    if (!a) a = &empty;
    if (!b) b = &empty;
    if (a->count != b->count || a->terms != b->terms) return 0;
    for (int64_t i = 0; i < a->count; i++)
        if (!same_value(&a->values[i], &b->values[i])) return 0;
    return 1;
}

/* What an option that nobody set counts as. */
static int32_t is_default(const di_value *value)
{
    const di_option_info *option = di_option_at(value->option);
    const char *text = di_options_text(NULL, option->name);
    switch (option->type) {
    case DI_OPTION_INT:
    case DI_OPTION_FLAG:
        return value->i64 == di_options_i64(NULL, option->name);
    case DI_OPTION_NUMBER:
        return value->f64 == di_options_f64(NULL, option->name);
    case DI_OPTION_LIST:
        return !value->size;
    default:
        return same_text(value->text, text);
    }
}

int32_t di_options_configure(di_options *options, const di_options *from, dk_error *err)
{
    int32_t rc;
    di_options *copy = NULL;
    DK_TRY(di_options_copy(options, options->host, -1, &copy, err));
    for (int64_t i = 0; from && i < from->count; i++) {
        const di_value *value = &from->values[i], *old = di_values_find(copy, value->option, value->term);
        const di_option_info *option = di_option_at(value->option);
        di_value clone;
        if (old ? same_value(old, value) : value->term == DI_NO_TERM && is_default(value)) continue;
        if (!(option->flags & DI_OPTION_LIVE))
            DK_TRY(dk_fail(err, DK_E_STAGE, "%s cannot be changed any more; it is fixed when the trainer is created",
                           option->name));
        DK_TRY(di_value_clone(copy->host, value, &clone, err));
        DK_TRY(di_values_put(copy, &clone, err));
    }
    di_options_swap(options, copy);
out:
    di_options_free(copy);
    return rc;
}
