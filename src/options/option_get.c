/* option_get.c - what readers ask. */
#include "options/values.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const di_table *table_of(const di_options *options) { return options ? options->table : &di_public_table; }

static const char *default_of(const di_table *table, int64_t id)
{
    const di_option_info *row = di_table_row(table, id);
    return row ? row->default_text : NULL;
}

static int64_t default_i64(const char *text)
{
    int64_t number = 0;
    if (text && !dk_parse_i64(text, strlen(text), &number)) number = !strcmp(text, "true");
    return number;
}

static double default_f64(const char *text)
{
    double number = 0;
    if (text) dk_parse_f64(text, strlen(text), &number);
    return number;
}

int64_t di_options_i64(const di_options *options, const char *key)
{
    di_place place;
    di_place_find(options, key, &place);
    return place.value ? place.value->i64 : default_i64(default_of(table_of(options), place.id));
}

int32_t di_options_flag(const di_options *options, const char *key) { return di_options_i64(options, key) != 0; }

/* At its ends exactly what they are. */
double di_course_at(const di_course *course, double from, int64_t step)
{
    const double pi = 3.14159265358979323846;
    if (course->kind == DI_CONSTANT || step <= 0) return from;
    if (step >= course->steps) return course->to;
    const double done = (double)step / (double)course->steps;
    const double share = course->kind == DI_LINEAR ? done : course->kind == DI_COSINE ? 0.5 * (1 - cos(pi * done)) : 0;
    return from + share * (course->to - from);
}

double di_options_f64_at(const di_options *options, const char *key, int64_t step)
{
    di_place place;
    di_place_find(options, key, &place);
    return place.value ? di_course_at(&place.value->course, place.value->f64, step)
                       : default_f64(default_of(table_of(options), place.id));
}

di_course di_options_course(const di_options *options, const char *key)
{
    di_place place;
    di_place_find(options, key, &place);
    return place.value ? place.value->course : (di_course){0, 0, DI_CONSTANT};
}

double di_options_f64(const di_options *options, const char *key) { return di_options_f64_at(options, key, 0); }

const char *di_options_text(const di_options *options, const char *key)
{
    di_place place;
    di_place_find(options, key, &place);
    return place.value ? place.value->text : default_of(table_of(options), place.id);
}

int32_t di_options_is(const di_options *options, const char *key, const char *text)
{
    const char *value = di_options_text(options, key);
    return value && !strcmp(value, text);
}

int32_t di_options_is_set(const di_options *options, const char *key)
{
    di_place place;
    di_place_find(options, key, &place);
    return place.ends_at_child ? place.node != NULL : place.value != NULL;
}

/* ---- plain lists ---- */

static const di_item *find_item(const di_options *options, const char *key, int64_t index)
{
    di_place place;
    di_place_find(options, key, &place);
    return place.value && place.value->items && index >= 0 && index < place.value->size ? &place.value->items[index]
                                                                                        : NULL;
}

int64_t di_options_list_size(const di_options *options, const char *key)
{
    di_place place;
    di_place_find(options, key, &place);
    return place.value ? place.value->size : 0;
}

int64_t di_options_list_i64(const di_options *options, const char *key, int64_t index)
{
    const di_item *item = find_item(options, key, index);
    return item ? item->i64 : 0;
}

double di_options_list_f64(const di_options *options, const char *key, int64_t index)
{
    const di_item *item = find_item(options, key, index);
    return item ? item->f64 : 0;
}

di_course di_options_list_course(const di_options *options, const char *key, int64_t index)
{
    const di_item *item = find_item(options, key, index);
    return item ? item->course : (di_course){0, 0, DI_CONSTANT};
}

const char *di_options_list_text(const di_options *options, const char *key, int64_t index)
{
    const di_item *item = find_item(options, key, index);
    return item ? item->text : NULL;
}

/* ---- maps in lists, maps with names ---- */

int32_t di_options_is_list(const di_options *options, const char *key)
{
    di_place place;
    di_place_find(options, key, &place);
    return place.value && place.value->is_list;
}

const di_options *di_options_map(const di_options *options, const char *key)
{
    di_place place;
    di_place_find(options, key, &place);
    if (place.ends_at_child) return place.node;
    return place.value && place.value->nodes && !place.value->is_list ? place.value->nodes[0] : NULL;
}

const di_options *di_options_item(const di_options *options, const char *key, int64_t index)
{
    di_place place;
    di_place_find(options, key, &place);
    if (!place.value || !place.value->nodes || index < 0 || index >= place.value->size) return NULL;
    return place.value->nodes[index];
}

const di_options *di_options_entry(const di_options *options, const char *key, const char *name)
{
    di_place place;
    di_place_find(options, key, &place);
    return place.value && place.value->nodes ? di_value_entry(place.value, name, strlen(name)) : NULL;
}

const char *di_options_name(const di_options *entry) { return entry ? entry->name : NULL; }

const char *di_options_given(const di_options *options, const char *key)
{
    di_place place;
    di_place_find(options, key, &place);
    return !place.value ? NULL : place.value->written ? place.value->written : place.value->text;
}

const char *di_options_named(const di_options *options, const char *key)
{
    di_place place;
    di_place_find(options, key, &place);
    const di_option_info *row = di_table_row(table_of(options), place.id);
    const char *text = di_options_given(options, key);
    return row && row->names && text && di_options_entry(options, row->names, text) ? text : NULL;
}

/* ---- items by number ---- */

static void item_key(char out[DI_PATH_MAX], const char *list, int64_t index, const char *key)
{
    snprintf(out, DI_PATH_MAX, "%s.%lld.%s", list, (long long)index, key);
}

double di_options_at_f64(const di_options *options, const char *list, int64_t index, const char *key)
{
    char name[DI_PATH_MAX];
    item_key(name, list, index, key);
    return di_options_f64(options, name);
}

int64_t di_options_at_i64(const di_options *options, const char *list, int64_t index, const char *key)
{
    char name[DI_PATH_MAX];
    item_key(name, list, index, key);
    return di_options_i64(options, name);
}

di_course di_options_at_course(const di_options *options, const char *list, int64_t index, const char *key)
{
    char name[DI_PATH_MAX];
    item_key(name, list, index, key);
    return di_options_course(options, name);
}

const char *di_options_at_text(const di_options *options, const char *list, int64_t index, const char *key)
{
    char name[DI_PATH_MAX];
    item_key(name, list, index, key);
    return di_options_text(options, name);
}

int32_t di_options_at_is_set(const di_options *options, const char *list, int64_t index, const char *key)
{
    char name[DI_PATH_MAX];
    item_key(name, list, index, key);
    return di_options_is_set(options, name);
}

/* ---- defaults ---- */

int32_t di_value_is_default(const di_table *table, const di_value *value)
{
    const di_option_info *row = di_table_row(table, value->id);
    if (!row || value->course.kind != DI_CONSTANT) return 0;
    switch (row->type) {
    case DI_OPTION_INT:
    case DI_OPTION_FLAG:
        return row->default_text && value->i64 == default_i64(row->default_text);
    case DI_OPTION_NUMBER:
        return row->default_text && value->f64 == default_f64(row->default_text);
    case DI_OPTION_LIST:
        return !value->size && !value->text;
    default:
        return row->default_text && !strcmp(value->text, row->default_text);
    }
}
