#include "options/values.h"

#include <stdio.h>
#include <string.h>

static int64_t find(const char *key) { return di_option_find(key, strlen(key)); }

static int64_t find_term(const char *key)
{
    char name[64];
    int size = snprintf(name, sizeof name, "loss.%s", key);
    return size > 0 && (size_t)size < sizeof name ? di_option_find(name, (size_t)size) : -1;
}

static const char *default_of(int64_t option)
{
    const di_option_info *info = di_option_at(option);
    return info && info->default_text ? info->default_text : NULL;
}

static int64_t to_i64(const di_value *value, int64_t option)
{
    const char *text = default_of(option);
    int64_t number = 0;
    if (value) return value->i64;
    if (text && !dk_parse_i64(text, strlen(text), &number)) number = !strcmp(text, "true");
    return number;
}

static double to_f64(const di_value *value, int64_t option)
{
    const char *text = default_of(option);
    double number = 0;
    if (value) return value->f64;
    if (text) dk_parse_f64(text, strlen(text), &number);
    return number;
}

static const di_value *find_value(const di_options *options, const char *key)
{
    return di_values_find(options, find(key), DI_NO_TERM);
}

/* The only term of a loss that is not a list is the loss itself. */
static const di_value *find_term_value(const di_options *options, int64_t term, const char *key)
{
    return di_values_find(options, find_term(key), options && options->terms ? term : DI_NO_TERM);
}

int64_t di_options_i64(const di_options *options, const char *key)
{
    return to_i64(find_value(options, key), find(key));
}

double di_options_f64(const di_options *options, const char *key)
{
    return to_f64(find_value(options, key), find(key));
}

int32_t di_options_flag(const di_options *options, const char *key) { return di_options_i64(options, key) != 0; }

const char *di_options_text(const di_options *options, const char *key)
{
    const di_value *value = find_value(options, key);
    return value ? value->text : default_of(find(key));
}

int32_t di_options_is(const di_options *options, const char *key, const char *text)
{
    const char *value = di_options_text(options, key);
    return value && !strcmp(value, text);
}

int32_t di_options_is_set(const di_options *options, const char *key) { return find_value(options, key) != NULL; }

int64_t di_options_list_size(const di_options *options, const char *key)
{
    const di_value *value = find_value(options, key);
    return value ? value->size : 0;
}

int64_t di_options_list_i64(const di_options *options, const char *key, int64_t index)
{
    const di_value *value = find_value(options, key);
    return value && index >= 0 && index < value->size ? value->items[index].i64 : 0;
}

const char *di_options_list_text(const di_options *options, const char *key, int64_t index)
{
    const di_value *value = find_value(options, key);
    return value && index >= 0 && index < value->size ? value->items[index].text : NULL;
}

int64_t di_options_terms(const di_options *options) { return options && options->terms ? options->terms : 1; }

int32_t di_options_has_terms(const di_options *options) { return options && options->terms > 0; }

double di_options_term_f64(const di_options *options, int64_t term, const char *key)
{
    return to_f64(find_term_value(options, term, key), find_term(key));
}

const char *di_options_term_text(const di_options *options, int64_t term, const char *key)
{
    const di_value *value = find_term_value(options, term, key);
    return value ? value->text : default_of(find_term(key));
}

int32_t di_options_term_is_set(const di_options *options, int64_t term, const char *key)
{
    return find_term_value(options, term, key) != NULL;
}
