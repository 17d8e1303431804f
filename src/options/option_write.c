/* Trees as YAML and as JSON. */
#include "options/values.h"

#include "base/hash.h"

#include <stdio.h>
#include <string.h>

typedef struct writer {
    const di_options *options;
    dk_strbuf *out;
    int32_t json;
    int32_t defaults;
} writer;

/* Plain YAML where it cannot be read as anything but this text, else the quoted form that JSON and YAML share. */
static int32_t is_plain(const char *text)
{
    static const char *const words[] = {"null", "true", "false"};
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_/";
    if (!*text || !strchr(letters, *text)) return 0;
    for (const char *at = text; *at; at++)
        if (!strchr(letters, *at) && !strchr("0123456789.-", *at)) return 0;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t n = 0;
        while (text[n] && (text[n] | 0x20) == words[i][n]) n++;
        if (!text[n] && !words[i][n]) return 0;
    }
    return 1;
}

static void write_text(const writer *w, const char *text)
{
    if (!w->json && is_plain(text)) dk_strbuf_puts(w->out, text);
    else dk_strbuf_json(w->out, text, strlen(text));
}

static void write_list(const writer *w, const di_value *value)
{
    dk_strbuf_puts(w->out, "[");
    for (int64_t i = 0; i < value->size; i++) {
        if (i) dk_strbuf_puts(w->out, w->json ? "," : ", ");
        if (value->items[i].text) dk_strbuf_json(w->out, value->items[i].text, strlen(value->items[i].text));
        else dk_strbuf_printf(w->out, "%lld", (long long)value->items[i].i64);
    }
    dk_strbuf_puts(w->out, "]");
}

static void write_value(const writer *w, int64_t option, const di_value *value)
{
    const di_option_info *info = di_option_at(option);
    int32_t is_text = info->type == DI_OPTION_TEXT || info->type == DI_OPTION_PATH || info->type == DI_OPTION_CHOICE;
    if (is_text) write_text(w, value ? value->text : info->default_text);
    else if (!value) dk_strbuf_puts(w->out, info->default_text);
    else if (info->type == DI_OPTION_LIST) write_list(w, value);
    else if (info->type == DI_OPTION_FLAG) dk_strbuf_puts(w->out, value->i64 ? "true" : "false");
    else if (info->type == DI_OPTION_INT) dk_strbuf_printf(w->out, "%lld", (long long)value->i64);
    else dk_strbuf_f64(w->out, value->f64);
}

static int32_t wanted(const writer *w, int64_t option, int64_t term)
{
    const di_option_info *info = di_option_at(option);
    if (di_values_find(w->options, option, term)) return 1;
    if (!w->defaults || !info->default_text) return 0;
    return term == DI_NO_TERM || (info->flags & DI_OPTION_TERM);
}

/* The members of one section or one term; returns how many. JSON: without braces. */
static int64_t write_members(const writer *w, int32_t section, int64_t term, const char *indent)
{
    int64_t written = 0;
    for (int64_t i = 0; i < di_option_count(); i++) {
        if (di_option_section(i) != section || !wanted(w, i, term)) continue;
        if (w->json) dk_strbuf_printf(w->out, "%s\"%s\":", written ? "," : "", di_option_key(i));
        else dk_strbuf_printf(w->out, "%s%s: ", term != DI_NO_TERM && !written ? "" : indent, di_option_key(i));
        write_value(w, i, di_values_find(w->options, i, term));
        if (!w->json) dk_strbuf_puts(w->out, "\n");
        written++;
    }
    return written;
}

static void write_terms(const writer *w)
{
    dk_strbuf_puts(w->out, w->json ? "[" : "");
    for (int64_t term = 0; term < w->options->terms; term++) {
        dk_strbuf_puts(w->out, w->json ? term ? ",{" : "{" : "  - ");
        int64_t written = write_members(w, DI_LOSS, term, "    ");
        dk_strbuf_puts(w->out, w->json ? "}" : written ? "" : "{}\n");
    }
    dk_strbuf_puts(w->out, w->json ? "]" : "");
}

static int32_t has_terms(const writer *w, int32_t section)
{
    return section == DI_LOSS && di_options_has_terms(w->options);
}

static int32_t section_is_wanted(const writer *w, int32_t section)
{
    for (int64_t i = 0; i < di_option_count(); i++)
        if (di_option_section(i) == section && wanted(w, i, DI_NO_TERM)) return 1;
    return has_terms(w, section);
}

/* What stands behind the name of the section. */
static void write_section(const writer *w, int32_t section, const char *indent)
{
    if (has_terms(w, section)) {
        write_terms(w);
        return;
    }
    dk_strbuf_puts(w->out, w->json ? "{" : "");
    write_members(w, section, DI_NO_TERM, indent);
    dk_strbuf_puts(w->out, w->json ? "}" : "");
}

static void write_all(const writer *w)
{
    int32_t first = 1;
    dk_strbuf_puts(w->out, w->json ? "{" : "");
    for (int32_t section = 0; section < DI_SECTIONS; section++) {
        if (!section_is_wanted(w, section)) continue;
        if (w->json) dk_strbuf_printf(w->out, "%s\"%s\":", first ? "" : ",", di_section_name(section));
        else dk_strbuf_printf(w->out, "%s:\n", di_section_name(section));
        write_section(w, section, "  ");
        first = 0;
    }
    dk_strbuf_puts(w->out, w->json ? "}" : "");
}

int32_t di_options_write_yaml(const di_options *options, int32_t defaults, dk_strbuf *out, dk_error *err)
{
    writer w = {options, out, 0, defaults};
    write_all(&w);
    return dk_strbuf_check(out, err);
}

int32_t di_options_write_json(const di_options *options, int32_t defaults, dk_strbuf *out, dk_error *err)
{
    writer w = {options, out, 1, defaults};
    write_all(&w);
    return dk_strbuf_check(out, err);
}

int32_t di_options_hash(const di_options *options, uint64_t *out, dk_error *err)
{
    dk_strbuf text;
    if (!options || !(options->count || options->terms)) {
        *out = dk_hash64("{}", 2);
        return DK_OK;
    }
    dk_strbuf_init(&text, options->host);
    int32_t rc = di_options_write_json(options, 0, &text, err);
    if (!rc) *out = dk_hash64(text.data, text.size);
    dk_strbuf_free(&text);
    return rc;
}

/* ---- one key ---- */

static int32_t fail_range(const char *key, int64_t size, dk_error *err)
{
    return dk_fail(err, DK_E_OPTION, "%.100s: there are %lld, numbered from 0", key, (long long)size);
}

static int32_t get_item(const writer *w, const char *key, const di_place *place, const di_value *value, dk_error *err)
{
    int64_t size = value ? value->size : 0;
    if (place->item >= size) return fail_range(key, size, err);
    if (value->items[place->item].text) dk_strbuf_puts(w->out, value->items[place->item].text);
    else dk_strbuf_printf(w->out, "%lld", (long long)value->items[place->item].i64);
    return DK_OK;
}

static void get_value(const writer *w, int64_t option, const di_value *value)
{
    const di_option_info *info = di_option_at(option);
    if (value && value->text) dk_strbuf_puts(w->out, value->text);
    else if (value) write_value(w, option, value);
    else if (info->default_text) dk_strbuf_puts(w->out, info->default_text);
}

static int32_t get_place(const writer *w, const char *key, di_place *place, dk_error *err)
{
    int32_t is_list = di_options_has_terms(w->options);
    if (place->term != DI_NO_TERM && place->term >= di_options_terms(w->options))
        return fail_range(key, di_options_terms(w->options), err);
    if (place->term != DI_NO_TERM && !is_list) place->term = DI_NO_TERM;
    if (place->option >= 0) {
        const di_value *value = di_values_find(w->options, place->option, place->term);
        if (place->item >= 0) return get_item(w, key, place, value, err);
        if (place->section == DI_LOSS && is_list && place->term == DI_NO_TERM)
            return dk_fail(err, DK_E_OPTION, "%s: loss is a list of %lld; ask for loss.0.%s", key,
                           (long long)di_options_terms(w->options), di_option_key(place->option));
        get_value(w, place->option, value);
    } else if (place->term != DI_NO_TERM) {
        write_members(w, DI_LOSS, place->term, "");
    } else {
        write_section(w, place->section, "");
    }
    return DK_OK;
}

int32_t di_options_get(const di_options *options, const char *key, dk_strbuf *out, dk_error *err)
{
    writer w = {options, out, 0, 0};
    di_place place;
    int32_t rc;
    if (!*key) return di_options_write_yaml(options, 0, out, err);
    DK_TRY(di_place_find(key, &place, err));
    DK_TRY(get_place(&w, key, &place, err));
    DK_TRY(dk_strbuf_check(out, err));
out:
    return rc;
}
