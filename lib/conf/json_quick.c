/* json_quick.c - well-formed JSON straight into a document, in one pass.
 *
 * A tokenizer has half a million values, and jansson's tree of them is built, copied and freed in three times the time
 * that reading takes here. What is not plain JSON (or an integer beyond int64, or a number longer than any that is
 * written by machines) is refused without a word: jansson reads it again and says why. So nothing is accepted here that
 * it would refuse, and no message is written twice. */
#include "base/utf8.h"
#include "conf/builder.h"

#include <string.h>

enum { REFUSED = DK_E_FORMAT, SURROGATE = 0xd800, SURROGATE_LOW = 0xdc00, SURROGATE_END = 0xe000 };

typedef struct reader {
    dk_document *document;
    dk_host *host;
    const char *at, *end;
    int32_t depth;
    const dk_node **held; /* children of lists and maps that are still open */
    size_t count, room;
    dk_error *err;
} reader;

static void skip_space(reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t')) r->at++;
}

/* Passes over it, if it is the next character behind spaces. */
static int32_t next_is(reader *r, char c)
{
    skip_space(r);
    if (r->at >= r->end || *r->at != c) return 0;
    r->at++;
    return 1;
}

/* ---- text ---- */

/* The quote that ends a text, NULL = there is none, or what stands before it is no JSON text. */
static const char *text_end(const reader *r, int32_t *escapes)
{
    const char *at = r->at;
    *escapes = 0;
    while (at < r->end && *at != '"') {
        const size_t length = (unsigned char)*at < 0x80 ? (unsigned char)*at >= 0x20
                                                        : dk_utf8_length((const void *)at, (size_t)(r->end - at));
        if (!length) return NULL;
        at += length;
        if (at[-1] != '\\') continue;
        *escapes = 1;
        if (at++ >= r->end) return NULL; /* whatever is escaped is no quote */
    }
    return at < r->end ? at : NULL;
}

static int32_t read_hex(const char *at, const char *end, uint32_t *out)
{
    *out = 0;
    if (end - at < 4) return 0;
    for (int i = 0; i < 4; i++) {
        const char c = at[i];
        const int32_t digit = c >= '0' && c <= '9'   ? c - '0'
                              : c >= 'a' && c <= 'f' ? c - 'a' + 10
                              : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                     : -1;
        if (digit < 0) return 0;
        *out = *out * 16 + (uint32_t)digit;
    }
    return 1;
}

static char *put_character(uint32_t c, char *to)
{
    if (c < 0x80) {
        *to++ = (char)c;
        return to;
    }
    const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const uint32_t heads[] = {0, 0xc0, 0xe0, 0xf0};
    *to++ = (char)(heads[more] | c >> 6 * more);
    for (int i = more - 1; i >= 0; i--) *to++ = (char)(0x80 | (c >> 6 * i & 0x3f));
    return to;
}

/* What stands behind \u, with the other half of a pair; returns where it ends, NULL = it is no character. */
static const char *unescape_hex(const char *at, const char *end, char **to)
{
    uint32_t c, low;
    if (!read_hex(at, end, &c)) return NULL;
    at += 4;
    if (c >= SURROGATE && c < SURROGATE_END) {
        if (c >= SURROGATE_LOW || end - at < 6 || at[0] != '\\' || at[1] != 'u' || !read_hex(at + 2, end, &low) ||
            low < SURROGATE_LOW || low >= SURROGATE_END)
            return NULL;
        c = 0x10000 + ((c - SURROGATE) << 10) + (low - SURROGATE_LOW);
        at += 6;
    }
    *to = put_character(c, *to);
    return at;
}

static const char *unescape(const char *at, const char *end, char **to)
{
    static const char letters[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    if (*at == 'u') return unescape_hex(at + 1, end, to);
    const char *letter = *at ? strchr(letters, *at) : NULL;
    if (!letter) return NULL;
    *(*to)++ = bytes[letter - letters];
    return at + 1;
}

static int32_t copy_unescaped(reader *r, const char *end, const char **out, size_t *size)
{
    char *text = dk_document_take(r->document, (uint64_t)(end - r->at) + 1), *to = text;
    if (!text) return dk_fail_nomem(r->err, (uint64_t)(end - r->at) + 1);
    for (const char *at = r->at; at < end;) {
        if (*at != '\\') *to++ = *at++;
        else if (!(at = unescape(at + 1, end, &to))) return REFUSED;
    }
    *to = 0;
    *out = text;
    *size = (size_t)(to - text);
    return DK_OK;
}

/* Behind the quote that begins it. */
static int32_t read_text(reader *r, const char **out, size_t *size)
{
    int32_t rc, escapes;
    const char *end = text_end(r, &escapes);
    if (!end) return REFUSED;
    *size = (size_t)(end - r->at);
    if (escapes) rc = copy_unescaped(r, end, out, size);
    else rc = dk_document_text(r->document, r->at, *size, out, r->err);
    r->at = end + 1;
    return rc;
}

/* ---- numbers and words ---- */

static size_t skip_digits(reader *r)
{
    const char *begin = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9') r->at++;
    return (size_t)(r->at - begin);
}

static int32_t read_number(reader *r, dk_node *node)
{
    const char *begin = r->at;
    r->at += *r->at == '-';
    const char *digits = r->at;
    const size_t count = skip_digits(r);
    if (!count || (count > 1 && *digits == '0')) return REFUSED;
    node->type = DK_NODE_INT;
    if (r->at < r->end && *r->at == '.') {
        node->type = DK_NODE_FLOAT;
        r->at++;
        if (!skip_digits(r)) return REFUSED;
    }
    if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
        node->type = DK_NODE_FLOAT;
        r->at++;
        if (r->at < r->end && (*r->at == '+' || *r->at == '-')) r->at++;
        if (!skip_digits(r)) return REFUSED;
    }
    const size_t size = (size_t)(r->at - begin);
    if (node->type == DK_NODE_FLOAT) return dk_parse_f64(begin, size, &node->f64) ? DK_OK : REFUSED;
    if (!dk_parse_i64(begin, size, &node->i64)) return REFUSED;
    node->f64 = (double)node->i64;
    return DK_OK;
}

static int32_t read_word(reader *r, const char *word, dk_node *node, dk_node_type type, int64_t value)
{
    const size_t size = strlen(word);
    if ((size_t)(r->end - r->at) < size || memcmp(r->at, word, size) != 0) return REFUSED;
    r->at += size;
    node->type = type;
    node->i64 = value;
    return DK_OK;
}

/* ---- lists and maps ---- */

static int32_t hold(reader *r, const dk_node *node)
{
    if (r->count == r->room) {
        const size_t room = r->room ? 2 * r->room : 256;
        const dk_node **held = dk_alloc(r->host, room, sizeof *held);
        if (!held) return dk_fail_nomem(r->err, room * sizeof *held);
        if (r->count) memcpy(held, r->held, r->count * sizeof *held);
        dk_free(r->host, r->held);
        r->held = held;
        r->room = room;
    }
    r->held[r->count++] = node;
    return DK_OK;
}

/* Children from `first` on are node's. */
static int32_t close_node(reader *r, dk_node *node, size_t first)
{
    const size_t count = r->count - first, bytes = count * sizeof *r->held;
    const dk_node **items = dk_document_take(r->document, bytes);
    if (!items && count) return dk_fail_nomem(r->err, bytes);
    if (count) memcpy(items, r->held + first, bytes);
    node->items = items;
    node->size = count;
    r->count = first;
    r->depth--;
    return DK_OK;
}

static int32_t read_value(reader *r, dk_node **out);

static int32_t read_list(reader *r, dk_node *list)
{
    int32_t rc;
    const size_t first = r->count;
    if (!next_is(r, ']')) {
        do {
            dk_node *item;
            DK_TRY(read_value(r, &item));
            DK_TRY(hold(r, item));
        } while (next_is(r, ','));
        if (!next_is(r, ']')) return REFUSED;
    }
    rc = close_node(r, list, first);
out:
    return rc;
}

static int32_t read_member(reader *r)
{
    int32_t rc;
    const char *key;
    size_t size;
    dk_node *value;
    if (!next_is(r, '"')) return REFUSED;
    DK_TRY(read_text(r, &key, &size));
    if (memchr(key, 0, size) || !next_is(r, ':')) return REFUSED;
    DK_TRY(read_value(r, &value));
    value->key = key;
    value->key_size = size;
    DK_TRY(hold(r, value));
out:
    return rc;
}

static int32_t read_map(reader *r, dk_node *map)
{
    int32_t rc;
    const size_t first = r->count;
    const dk_node *repeated;
    if (!next_is(r, '}')) {
        do DK_TRY(read_member(r));
        while (next_is(r, ','));
        if (!next_is(r, '}')) return REFUSED;
    }
    DK_TRY(close_node(r, map, first));
    DK_TRY(dk_document_index(r->document, map, &repeated, r->err));
    if (repeated) return REFUSED;
out:
    return rc;
}

static int32_t read_value(reader *r, dk_node **out)
{
    int32_t rc;
    skip_space(r);
    if (r->at >= r->end) return REFUSED;
    const char c = *r->at;
    DK_TRY(dk_document_node(r->document, c == '{' ? DK_NODE_MAP : DK_NODE_NULL, 0, out, r->err));
    dk_node *node = *out;
    if (c == '{' || c == '[') {
        r->at++;
        if (++r->depth > DK_DOCUMENT_DEPTH) return REFUSED;
        node->type = c == '{' ? DK_NODE_MAP : DK_NODE_LIST;
        return c == '{' ? read_map(r, node) : read_list(r, node);
    }
    if (c == '"') {
        r->at++;
        node->type = DK_NODE_TEXT;
        return read_text(r, &node->text, &node->size);
    }
    if (c == '-' || (c >= '0' && c <= '9')) return read_number(r, node);
    if (c == 't') return read_word(r, "true", node, DK_NODE_BOOL, 1);
    if (c == 'f') return read_word(r, "false", node, DK_NODE_BOOL, 0);
    return read_word(r, "null", node, DK_NODE_NULL, 0);
out:
    return rc;
}

int32_t dk_json_quick(dk_document *document, const char *data, size_t size, const dk_node **root, dk_error *err)
{
    reader r = {.document = document, .host = dk_document_host(document), .at = data, .end = data + size, .err = err};
    dk_node *node = NULL;
    int32_t rc = read_value(&r, &node);
    skip_space(&r);
    if (!rc && r.at < r.end) rc = REFUSED;
    dk_free(r.host, r.held);
    *root = node;
    return rc;
}
