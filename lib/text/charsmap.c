#include "text/charsmap.h"

#include "text/codepoint.h"

#include <string.h>
#include <utf8proc.h>

enum {
    SIZE_LIMIT = 1 << 26,
    TEXT_LIMIT = 1024, /* bytes that a character may become */
    GRAPHEME_LIMIT = 6 /* bytes: longer ones are mapped by character */
};

/* ---- units of darts-clone ---- */
#define VALUE_BIT 0x80000000u

static size_t child_base(uint32_t unit) { return (size_t)(unit >> 10) << ((unit & 0x200u) >> 6); }

static int32_t has_value(uint32_t unit) { return (int32_t)(unit >> 8 & 1); }

/* Behind every node that ends a key stands a value, and every value is where a text begins. */
static int32_t check_units(const dk_charsmap *map, dk_error *err)
{
    for (size_t i = 0; i < map->unit_count; i++) {
        if (map->units[i] & VALUE_BIT || !has_value(map->units[i])) continue;
        const size_t at = i ^ child_base(map->units[i]);
        if (at >= map->unit_count || !(map->units[at] & VALUE_BIT))
            return dk_fail(err, DK_E_FORMAT, "charsmap: unit %zu of its trie points to unit %zu of %zu, no value", i,
                           at, map->unit_count);
        const size_t text = map->units[at] & ~VALUE_BIT;
        if (text < map->text_size && strlen(map->texts + text) > TEXT_LIMIT)
            return dk_fail(err, DK_E_UNSUPPORTED, "charsmap: a text of %zu bytes at byte %zu, supported are %d",
                           strlen(map->texts + text), text, TEXT_LIMIT);
        if (text >= map->text_size || ((unsigned char)map->texts[text] & 0xc0) == 0x80)
            return dk_fail(err, DK_E_FORMAT,
                           "charsmap: unit %zu of its trie says byte %zu of %zu, where no text begins", at, text,
                           map->text_size);
    }
    return DK_OK;
}

static uint32_t read_u32(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

/* u32 bytes of the trie, the trie, the texts; map->bytes are the map's own, with a NUL behind. */
static int32_t read_parts(dk_charsmap *map, dk_error *err)
{
    const size_t size = map->size < 4 ? 0 : read_u32(map->bytes);
    if (map->size < 4 || map->size > SIZE_LIMIT || size > map->size - 4 || size % 4 || !size)
        return dk_fail(err, DK_E_FORMAT,
                       "charsmap of %zu bytes says that its trie has %zu, must be whole units and fit", map->size,
                       size);
    map->texts = map->bytes + 4 + size;
    map->text_size = map->size - 4 - size;
    map->unit_count = size / 4;
    size_t valid = dk_valid_prefix(map->texts, map->text_size);
    if (valid != map->text_size)
        return dk_fail(err, DK_E_FORMAT, "charsmap: byte %zu of its texts is not UTF-8", valid);
    int32_t rc = dk_new(map->host, map->unit_count, &map->units, err);
    if (rc) return rc;
    for (size_t i = 0; i < map->unit_count; i++) map->units[i] = read_u32(map->bytes + 4 + 4 * i);
    return check_units(map, err);
}

int32_t dk_charsmap_create(dk_host *host, const char *bytes, size_t size, dk_charsmap **out, dk_error *err)
{
    dk_charsmap *map = NULL;
    int32_t rc;
    DK_TRY(dk_new(host, 1, &map, err));
    map->host = host;
    map->size = size;
    if (!(map->bytes = dk_strndup(host, bytes, size))) DK_TRY(dk_fail_nomem(err, size));
    DK_TRY(read_parts(map, err));
    *out = map;
    map = NULL;
out:
    dk_charsmap_free(map);
    return rc;
}

void dk_charsmap_free(dk_charsmap *map)
{
    if (!map) return;
    dk_free(map->host, map->bytes);
    dk_free(map->host, map->units);
    dk_free(map->host, map);
}

/* ---- base64 (RFC 4648) ---- */
static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int32_t read_base64(const char *text, size_t size, char *out, size_t *count)
{
    uint32_t bits = 0, held = 0;
    *count = 0;
    if (size % 4) return 0;
    for (int i = 0; i < 2 && size && text[size - 1] == '='; i++) size--;
    for (size_t i = 0; i < size; i++) {
        const char *digit = text[i] ? strchr(base64, text[i]) : NULL;
        if (!digit) return 0;
        bits = (bits << 6 | (uint32_t)(digit - base64)) & 0xffffff;
        held += 6;
        if (held < 8) continue;
        held -= 8;
        out[(*count)++] = (char)(bits >> held & 0xff);
    }
    return 1;
}

int32_t dk_charsmap_from_base64(dk_host *host, const char *text, size_t size, dk_charsmap **out, dk_error *err)
{
    char *bytes = NULL;
    size_t count;
    int32_t rc = dk_new(host, size + 1, &bytes, err);
    if (rc) return rc;
    if (read_base64(text, size, bytes, &count)) rc = dk_charsmap_create(host, bytes, count, out, err);
    else rc = dk_fail(err, DK_E_FORMAT, "precompiled_charsmap of %zu characters is not base64", size);
    dk_free(host, bytes);
    return rc;
}

void dk_charsmap_to_base64(const dk_charsmap *map, dk_strbuf *out)
{
    const unsigned char *p = (const unsigned char *)map->bytes;
    for (size_t i = 0; i < map->size; i += 3) {
        size_t left = map->size - i;
        uint32_t bits = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0u);
        char four[4] = {base64[bits >> 18], base64[bits >> 12 & 63], base64[bits >> 6 & 63], base64[bits & 63]};
        if (left < 3) four[3] = '=';
        if (left < 2) four[2] = '=';
        dk_strbuf_append(out, four, 4);
    }
}

/* ---- mapping ---- */
size_t dk_charsmap_find(const dk_charsmap *map, dk_charsmap_match match, const char *text, size_t size,
                        const char **with, size_t *with_size)
{
    size_t found = 0, at = child_base(map->units[0]);
    for (size_t i = 0; i < size && text[i]; i++) {
        at ^= (unsigned char)text[i];
        if (at >= map->unit_count) break;
        const uint32_t unit = map->units[at];
        if ((unit & (VALUE_BIT | 0xff)) != (unsigned char)text[i]) break;
        at ^= child_base(unit);
        if (!has_value(unit)) continue;
        *with = map->texts + (map->units[at] & ~VALUE_BIT);
        found = i + 1;
        if (match == DK_CHARSMAP_SHORTEST) break;
    }
    if (found) *with_size = strlen(*with);
    return found;
}

static void map_characters(const dk_charsmap *map, const char *text, size_t size, dk_strbuf *out)
{
    for (size_t at = 0; at < size;) {
        const char *with;
        size_t length = dk_codepoint_size(text + at), with_size;
        if (dk_charsmap_find(map, DK_CHARSMAP_SHORTEST, text + at, length, &with, &with_size))
            dk_strbuf_append(out, with, with_size);
        else dk_strbuf_append(out, text + at, length);
        at += length;
    }
}

static size_t grapheme(const char *text, size_t size)
{
    uint32_t before, c;
    utf8proc_int32_t state = 0;
    size_t at = dk_codepoint(text, &before);
    for (; at < size; before = c) {
        size_t length = dk_codepoint(text + at, &c);
        if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)before, (utf8proc_int32_t)c, &state)) break;
        at += length;
    }
    return at;
}

void dk_charsmap_apply(const dk_charsmap *map, const char *text, size_t size, dk_strbuf *out)
{
    for (size_t at = 0; at < size;) {
        const char *with;
        size_t length = grapheme(text + at, size - at), with_size;
        if (length < GRAPHEME_LIMIT &&
            dk_charsmap_find(map, DK_CHARSMAP_SHORTEST, text + at, length, &with, &with_size))
            dk_strbuf_append(out, with, with_size);
        else map_characters(map, text + at, length, out);
        at += length;
    }
}
