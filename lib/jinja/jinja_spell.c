#include "jinja/jinja_spell.h"

#include "text/codepoint.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

/* ---- numbers ---- */

/* Python's repr: digits that read back the same, with an exponent from 1e16 on and below 1e-4. */
static void spell_float(double value, char out[64])
{
    char shortest[32], digits[32];
    int32_t count = 0, exponent = 0, point = -1, negative;
    if (isnan(value) || isinf(value)) {
        snprintf(out, 64, "%s", isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
        return;
    }
    dk_format_f64(value, shortest);
    negative = shortest[0] == '-';
    for (const char *at = shortest + negative; *at; at++) {
        int64_t power = 0;
        if (*at == '.') point = count;
        else if (*at == 'e' || *at == 'E') {
            const char *number = at + 1 + (at[1] == '+');
            dk_parse_i64(number, strlen(number), &power);
            exponent = (int32_t)power;
            break;
        } else digits[count++] = *at;
    }
    int32_t zeros = 0, lead = point < 0 ? count : point; /* 0.digits * 10^(lead + exponent) */
    while (zeros < count - 1 && digits[zeros] == '0') zeros++;
    lead += exponent - zeros;
    count -= zeros;
    while (count > 1 && digits[zeros + count - 1] == '0') count--;
    const char *first = digits + zeros, *sign = negative ? "-" : "";
    if (first[0] == '0') snprintf(out, 64, "%s0.0", sign);
    else if (lead > 16 || lead < -3)
        snprintf(out, 64, "%s%c%s%.*se%c%02d", sign, first[0], count > 1 ? "." : "", count - 1, first + 1,
                 lead > 0 ? '+' : '-', lead > 0 ? lead - 1 : 1 - lead);
    else if (lead <= 0) snprintf(out, 64, "%s0.%.*s%.*s", sign, -lead, "000", count, first);
    else if (lead >= count) snprintf(out, 64, "%s%.*s%.*s.0", sign, count, first, lead - count, "0000000000000000");
    else snprintf(out, 64, "%s%.*s.%.*s", sign, lead, first, count - lead, first + lead);
}

static void spell_number(const dk_jinja_value *value, const char *const words[3], char out[64])
{
    if (dk_jinja_is(value, DK_JINJA_NONE)) snprintf(out, 64, "%s", words[2]);
    else if (dk_jinja_is(value, DK_JINJA_BOOL)) snprintf(out, 64, "%s", words[value->as.i64 != 0]);
    else if (dk_jinja_is(value, DK_JINJA_INT)) snprintf(out, 64, "%lld", (long long)value->as.i64);
    else spell_float(value->as.f64, out);
}

static int32_t is_spelled_word(const dk_jinja_value *value)
{
    return dk_jinja_is(value, DK_JINJA_NONE) || dk_jinja_is_number(value);
}

/* ---- repr ---- */

static int32_t put_repr(dk_jinja_run *run, dk_jinja_builder *b, const dk_jinja_value *value);

static int32_t is_printable(uint32_t c)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    if (c < 0x80) return c >= 32 && c < 127;
    return category != UTF8PROC_CATEGORY_CN && category != UTF8PROC_CATEGORY_CC && category != UTF8PROC_CATEGORY_CF &&
           category != UTF8PROC_CATEGORY_CS && category != UTF8PROC_CATEGORY_CO && category != UTF8PROC_CATEGORY_ZS &&
           category != UTF8PROC_CATEGORY_ZL && category != UTF8PROC_CATEGORY_ZP;
}

static size_t repr_escape(uint32_t c, char quote, char out[16])
{
    if (c == (uint32_t)quote || c == '\\') return out[0] = '\\', out[1] = (char)c, 2;
    if (c == '\n' || c == '\r' || c == '\t')
        return (size_t)snprintf(out, 16, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
    if (is_printable(c)) return 0;
    return (size_t)snprintf(out, 16, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)c);
}

static int32_t repr_text(dk_jinja_run *run, dk_jinja_builder *b, const dk_jinja_text *text, int32_t safe)
{
    char quote = memchr(text->data, '\'', text->size) && !memchr(text->data, '"', text->size) ? '"' : '\'';
    int32_t rc;
    if (safe) DK_TRY(dk_jinja_put(run, b, "Markup(", 7, 0));
    DK_TRY(dk_jinja_put(run, b, &quote, 1, 0));
    for (size_t at = 0, size; at < text->size; at += size) {
        char escape[16];
        uint32_t c;
        size = dk_codepoint(text->data + at, &c);
        size_t length = repr_escape(c, quote, escape);
        if (length) DK_TRY(dk_jinja_put(run, b, escape, length, dk_jinja_origin_at(text, at)));
        else DK_TRY(dk_jinja_put_part(run, b, text, at, at + size));
    }
    DK_TRY(dk_jinja_put(run, b, &quote, 1, 0));
    if (safe) rc = dk_jinja_put(run, b, ")", 1, 0);
out:
    return rc;
}

static int32_t repr_list(dk_jinja_run *run, dk_jinja_builder *b, const dk_jinja_value *value)
{
    const dk_jinja_list *list = value->as.list;
    const int32_t tuple = list->kind == DK_JINJA_TUPLE;
    int32_t rc;
    if (list->kind > DK_JINJA_TUPLE)
        return dk_jinja_fail(run, "%s has no text: make a list of it first", dk_jinja_type_name(value));
    DK_TRY(dk_jinja_put(run, b, tuple ? "(" : "[", 1, 0));
    for (size_t i = 0; i < list->size; i++) {
        if (i) DK_TRY(dk_jinja_put(run, b, ", ", 2, 0));
        DK_TRY(put_repr(run, b, &list->items[i]));
    }
    if (tuple && list->size == 1) DK_TRY(dk_jinja_put(run, b, ",", 1, 0));
    rc = dk_jinja_put(run, b, tuple ? ")" : "]", 1, 0);
out:
    return rc;
}

static int32_t repr_map(dk_jinja_run *run, dk_jinja_builder *b, const dk_jinja_map *map)
{
    int32_t rc;
    DK_TRY(dk_jinja_put(run, b, "{", 1, 0));
    for (size_t i = 0; i < map->size; i++) {
        if (i) DK_TRY(dk_jinja_put(run, b, ", ", 2, 0));
        DK_TRY(put_repr(run, b, &map->entries[i].key));
        DK_TRY(dk_jinja_put(run, b, ": ", 2, 0));
        DK_TRY(put_repr(run, b, &map->entries[i].value));
    }
    rc = dk_jinja_put(run, b, "}", 1, 0);
out:
    return rc;
}

static int32_t put_repr(dk_jinja_run *run, dk_jinja_builder *b, const dk_jinja_value *value)
{
    static const char *const words[] = {"False", "True", "None"};
    char number[64];
    int32_t rc;
    DK_TRY(dk_jinja_enter(run));
    if (is_spelled_word(value)) {
        spell_number(value, words, number);
        rc = dk_jinja_put(run, b, number, strlen(number), value->origin);
    } else if (dk_jinja_is(value, DK_JINJA_TEXT)) rc = repr_text(run, b, value->as.text, value->safe);
    else if (dk_jinja_is(value, DK_JINJA_LIST)) rc = repr_list(run, b, value);
    else if (dk_jinja_is(value, DK_JINJA_MAP)) rc = repr_map(run, b, value->as.map);
    else if (dk_jinja_is(value, DK_JINJA_UNDEFINED)) rc = dk_jinja_put(run, b, "Undefined", 9, 0);
    else rc = dk_jinja_fail(run, "%s has no text", dk_jinja_type_name(value));
    run->depth--;
out:
    return rc;
}

int32_t dk_jinja_put_str(dk_jinja_run *run, dk_jinja_builder *b, const dk_jinja_value *value)
{
    if (dk_jinja_is(value, DK_JINJA_TEXT)) return dk_jinja_put_text(run, b, value->as.text);
    if (dk_jinja_is(value, DK_JINJA_UNDEFINED)) return DK_OK;
    return put_repr(run, b, value);
}

int32_t dk_jinja_str(dk_jinja_run *run, const dk_jinja_value *value, dk_jinja_value *out)
{
    dk_jinja_builder b = {0};
    int32_t rc;
    if (dk_jinja_is(value, DK_JINJA_TEXT)) return *out = *value, DK_OK;
    DK_TRY(dk_jinja_put_str(run, &b, value));
    rc = dk_jinja_build(run, &b, out);
out:
    return rc;
}

/* ---- JSON ---- */

static size_t json_escape(uint32_t c, int32_t ascii, char out[16])
{
    static const char plain[] = "\"\\\n\r\t\f\b", letters[] = "\"\\nrtfb";
    const char *known = c && c < 128 ? strchr(plain, (int)c) : NULL;
    if (known) return (size_t)snprintf(out, 16, "\\%c", letters[known - plain]);
    if (c >= 32 && (c < 128 ? c != 127 || !ascii : !ascii)) return 0;
    if (c < 0x10000) return (size_t)snprintf(out, 16, "\\u%04x", (unsigned)c);
    c -= 0x10000;
    return (size_t)snprintf(out, 16, "\\u%04x\\u%04x", 0xd800u + (unsigned)(c >> 10), 0xdc00u + (unsigned)(c & 0x3ff));
}

static int32_t json_text(dk_jinja_run *run, dk_jinja_builder *b, const dk_jinja_text *text, int32_t ascii)
{
    int32_t rc;
    DK_TRY(dk_jinja_put(run, b, "\"", 1, 0));
    for (size_t at = 0, size; at < text->size; at += size) {
        char escape[16];
        uint32_t c;
        size = dk_codepoint(text->data + at, &c);
        size_t length = json_escape(c, ascii, escape);
        if (length) DK_TRY(dk_jinja_put(run, b, escape, length, dk_jinja_origin_at(text, at)));
        else DK_TRY(dk_jinja_put_part(run, b, text, at, at + size));
    }
    rc = dk_jinja_put(run, b, "\"", 1, 0);
out:
    return rc;
}

static int32_t json_number(dk_jinja_run *run, dk_jinja_builder *b, const dk_jinja_value *value)
{
    static const char *const words[] = {"false", "true", "null"};
    char number[64];
    spell_number(value, words, number);
    if (dk_jinja_is(value, DK_JINJA_FLOAT) && !isfinite(value->as.f64))
        snprintf(number, sizeof number, "%s",
                 isnan(value->as.f64) ? "NaN"
                 : value->as.f64 < 0  ? "-Infinity"
                                      : "Infinity");
    return dk_jinja_put(run, b, number, strlen(number), value->origin);
}

static int32_t new_line(dk_jinja_run *run, dk_jinja_builder *b, const dk_jinja_json *how, int32_t level)
{
    int32_t rc;
    if (!how->indent) return DK_OK;
    DK_TRY(dk_jinja_put(run, b, "\n", 1, 0));
    for (int32_t i = 0; i < level; i++) DK_TRY(dk_jinja_put_text(run, b, how->indent));
out:
    return rc;
}

static int32_t json_list(dk_jinja_run *run, dk_jinja_builder *b, const dk_jinja_list *list, const dk_jinja_json *how,
                         int32_t level)
{
    int32_t rc;
    if (!list->size) return dk_jinja_put(run, b, "[]", 2, 0);
    DK_TRY(dk_jinja_put(run, b, "[", 1, 0));
    for (size_t i = 0; i < list->size; i++) {
        if (i) DK_TRY(dk_jinja_put_text(run, b, how->item));
        DK_TRY(new_line(run, b, how, level + 1));
        DK_TRY(dk_jinja_put_json(run, b, &list->items[i], how, level + 1));
    }
    DK_TRY(new_line(run, b, how, level));
    rc = dk_jinja_put(run, b, "]", 1, 0);
out:
    return rc;
}

/* Keys are texts in JSON: numbers and words become them. */
static int32_t json_key(dk_jinja_run *run, dk_jinja_builder *b, const dk_jinja_value *key, int32_t ascii)
{
    int32_t rc;
    if (dk_jinja_is(key, DK_JINJA_TEXT)) return json_text(run, b, key->as.text, ascii);
    DK_TRY(dk_jinja_put(run, b, "\"", 1, 0));
    DK_TRY(json_number(run, b, key));
    rc = dk_jinja_put(run, b, "\"", 1, 0);
out:
    return rc;
}

/* The entry that follows `last` in order of the keys; NULL = none. */
static int32_t next_sorted(dk_jinja_run *run, const dk_jinja_map *map, const dk_jinja_entry *last,
                           const dk_jinja_entry **out)
{
    int32_t rc = DK_OK, order = 0;
    *out = NULL;
    DK_TRY(dk_jinja_spend(run, map->size));
    for (const dk_jinja_entry *at = map->entries; at < map->entries + map->size; at++) {
        if (last && (!dk_jinja_order(&at->key, &last->key, &order) || order <= 0)) continue;
        if (*out && !dk_jinja_order(&at->key, &(*out)->key, &order)) {
            rc = dk_jinja_fail(run, "keys of different types have no order");
            goto out;
        }
        if (!*out || order < 0) *out = at;
    }
out:
    return rc;
}

static int32_t json_map(dk_jinja_run *run, dk_jinja_builder *b, const dk_jinja_map *map, const dk_jinja_json *how,
                        int32_t level)
{
    const dk_jinja_entry *entry = NULL;
    int32_t rc;
    if (!map->size) return dk_jinja_put(run, b, "{}", 2, 0);
    DK_TRY(dk_jinja_put(run, b, "{", 1, 0));
    for (size_t i = 0; i < map->size; i++) {
        if (how->sorted) DK_TRY(next_sorted(run, map, entry, &entry));
        else entry = &map->entries[i];
        if (!entry) {
            rc = dk_jinja_fail(run, "keys of different types have no order");
            goto out;
        }
        if (i) DK_TRY(dk_jinja_put_text(run, b, how->item));
        DK_TRY(new_line(run, b, how, level + 1));
        DK_TRY(json_key(run, b, &entry->key, how->ascii));
        DK_TRY(dk_jinja_put_text(run, b, how->key));
        DK_TRY(dk_jinja_put_json(run, b, &entry->value, how, level + 1));
    }
    DK_TRY(new_line(run, b, how, level));
    rc = dk_jinja_put(run, b, "}", 1, 0);
out:
    return rc;
}

int32_t dk_jinja_put_json(dk_jinja_run *run, dk_jinja_builder *b, const dk_jinja_value *value, const dk_jinja_json *how,
                          int32_t level)
{
    int32_t rc;
    DK_TRY(dk_jinja_enter(run));
    if (is_spelled_word(value)) rc = json_number(run, b, value);
    else if (dk_jinja_is(value, DK_JINJA_TEXT)) rc = json_text(run, b, value->as.text, how->ascii);
    else if (dk_jinja_is(value, DK_JINJA_LIST) && value->as.list->kind <= DK_JINJA_TUPLE)
        rc = json_list(run, b, value->as.list, how, level);
    else if (dk_jinja_is(value, DK_JINJA_MAP)) rc = json_map(run, b, value->as.map, how, level);
    else rc = dk_jinja_fail(run, "%s cannot be written as JSON", dk_jinja_type_name(value));
    run->depth--;
out:
    return rc;
}
