/* JSON: plain text as json_quick.c has it, all else through jansson, which also says what is wrong. jansson allocates
 * with malloc and frees everything before a call returns. */
#include "conf/builder.h"

#include <jansson.h>
#include <string.h>

static size_t skip_string(const char *data, size_t size, size_t at)
{
    for (at++; at < size && data[at] != '"'; at++)
        if (data[at] == '\\') at++;
    return at;
}

/* jansson recurses; what is too deep is found before. */
static int32_t check_depth(const char *data, size_t size, const char *name, dk_error *err)
{
    int32_t depth = 0;
    int64_t line = 1;
    for (size_t at = 0; at < size; at++) {
        switch (data[at]) {
        case '"':
            at = skip_string(data, size, at);
            break;
        case '\n':
            line++;
            break;
        case '[':
        case '{':
            if (++depth > DK_DOCUMENT_DEPTH)
                return dk_fail_at(err, DK_E_FORMAT, (int64_t)at, "%s:%lld: nested deeper than %d levels (byte %zu)",
                                  name, (long long)line, DK_DOCUMENT_DEPTH, at);
            break;
        case ']':
        case '}':
            depth--;
            break;
        default:
            break;
        }
    }
    return DK_OK;
}

/* The end of the next integer outside texts that int64 cannot hold, at or after *at; 0 = none is left. */
static size_t next_large_integer(const char *data, size_t size, size_t *at)
{
    while (*at < size) {
        size_t begin = *at, end = begin;
        if (data[begin] == '"') {
            *at = skip_string(data, size, begin) + 1;
            continue;
        }
        while (end < size && strchr("+-.0123456789eE", data[end]) && data[end]) end++;
        *at = end > begin ? end : begin + 1;
        int64_t fits;
        size_t digits = begin + (end > begin && data[begin] == '-');
        if (end - begin < 19 || dk_parse_i64(data + begin, end - begin, &fits)) continue;
        while (digits < end && data[digits] >= '0' && data[digits] <= '9') digits++;
        if (digits == end) return end;
    }
    return 0;
}

/* jansson refuses integers beyond int64; such as they stand in real configurations (model_max_length: 1e30 in digits)
 * they are read as floats. */
static void widen_integers(const char *data, size_t size, dk_strbuf *out)
{
    size_t at = 0, copied = 0, end;
    while ((end = next_large_integer(data, size, &at))) {
        dk_strbuf_append(out, data + copied, end - copied);
        dk_strbuf_puts(out, ".0");
        copied = end;
    }
    dk_strbuf_append(out, data + copied, size - copied);
}

/* Where a position in the widened text was in data. */
static int64_t original_position(const char *data, size_t size, int64_t position)
{
    size_t at = 0, end;
    while ((end = next_large_integer(data, size, &at)) && (int64_t)end < position) position -= 2;
    return position;
}

/* data[0] is byte number first of the file. */
static int32_t load(dk_host *host, const char *data, size_t size, size_t first, const char *name, json_t **out,
                    dk_error *err)
{
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY;
    json_error_t error;
    json_t *json = json_loadb(data, size, flags, &error);
    if (!json && json_error_code(&error) == json_error_numeric_overflow) {
        dk_strbuf widened;
        dk_strbuf_init(&widened, host);
        widen_integers(data, size, &widened);
        int32_t rc = dk_strbuf_check(&widened, err);
        if (!rc) json = json_loadb(widened.data, widened.size, flags, &error);
        error.position = (int)original_position(data, size, error.position);
        dk_strbuf_free(&widened);
        if (rc) return rc;
    }
    if (json) {
        *out = json;
        return DK_OK;
    }
    if (json_error_code(&error) == json_error_out_of_memory) return dk_fail_nomem(err, size);
    int64_t position = (int64_t)first + error.position;
    return dk_fail_at(err, DK_E_FORMAT, position, "%s:%d: %s (byte %lld)", name, error.line, error.text,
                      (long long)position);
}

static int32_t convert(dk_document *document, json_t *json, dk_node **out, dk_error *err);

static int32_t take_items(dk_document *document, size_t count, dk_node ***items, dk_error *err)
{
    *items = dk_document_take(document, (uint64_t)count * sizeof **items);
    return *items || !count ? DK_OK : dk_fail_nomem(err, (uint64_t)count * sizeof **items);
}

static int32_t convert_list(dk_document *document, json_t *json, dk_node *list, dk_error *err)
{
    int32_t rc;
    dk_node **items;
    size_t count = json_array_size(json);
    DK_TRY(take_items(document, count, &items, err));
    for (size_t i = 0; i < count; i++) DK_TRY(convert(document, json_array_get(json, i), &items[i], err));
    list->items = (const dk_node *const *)items;
    list->size = count;
out:
    return rc;
}

static int32_t convert_map(dk_document *document, json_t *json, dk_node *map, dk_error *err)
{
    int32_t rc;
    dk_node **items;
    const dk_node *repeated;
    const char *key;
    json_t *value;
    size_t count = 0;
    DK_TRY(take_items(document, json_object_size(json), &items, err));
    json_object_foreach(json, key, value)
    {
        size_t key_size = strlen(key);
        DK_TRY(convert(document, value, &items[count], err));
        DK_TRY(dk_document_text(document, key, key_size, &items[count]->key, err));
        items[count++]->key_size = key_size;
    }
    map->items = (const dk_node *const *)items;
    map->size = count;
    DK_TRY(dk_document_index(document, map, &repeated, err));
out:
    return rc;
}

static dk_node_type type_of(const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return DK_NODE_MAP;
    case JSON_ARRAY:
        return DK_NODE_LIST;
    case JSON_STRING:
        return DK_NODE_TEXT;
    case JSON_INTEGER:
        return DK_NODE_INT;
    case JSON_REAL:
        return DK_NODE_FLOAT;
    case JSON_NULL:
        return DK_NODE_NULL;
    default:
        return DK_NODE_BOOL;
    }
}

static int32_t convert(dk_document *document, json_t *json, dk_node **out, dk_error *err)
{
    int32_t rc;
    dk_node *node;
    DK_TRY(dk_document_node(document, type_of(json), 0, &node, err));
    *out = node;
    switch (node->type) {
    case DK_NODE_MAP:
        DK_TRY(convert_map(document, json, node, err));
        break;
    case DK_NODE_LIST:
        DK_TRY(convert_list(document, json, node, err));
        break;
    case DK_NODE_TEXT:
        node->size = json_string_length(json);
        DK_TRY(dk_document_text(document, json_string_value(json), node->size, &node->text, err));
        break;
    case DK_NODE_INT:
        node->i64 = json_integer_value(json), node->f64 = (double)node->i64;
        break;
    case DK_NODE_FLOAT:
        node->f64 = json_real_value(json);
        break;
    case DK_NODE_BOOL:
        node->i64 = json_is_true(json);
        break;
    default:
        break;
    }
out:
    return rc;
}

/* data[first] is where the text begins. */
static int32_t read_carefully(dk_document *document, const char *data, size_t size, size_t first, dk_node **root,
                              dk_error *err)
{
    int32_t rc;
    json_t *json = NULL;
    const char *name = dk_document_name(document);
    DK_TRY(check_depth(data, size, name, err));
    DK_TRY(load(dk_document_host(document), data + first, size - first, first, name, &json, err));
    DK_TRY(convert(document, json, root, err));
out:
    json_decref(json);
    return rc;
}

int32_t dk_json_parse(dk_host *host, const char *data, size_t size, const char *name, dk_document **out, dk_error *err)
{
    int32_t rc;
    dk_document *document = NULL;
    const dk_node *root;
    dk_node *read = NULL;
    size_t first = 0;
    if (size > DK_JSON_FILE_LIMIT)
        return dk_fail(err, DK_E_FORMAT, "%s: %zu bytes of JSON are more than the limit of %llu", name, size,
                       (unsigned long long)DK_JSON_FILE_LIMIT);
    DK_TRY(dk_text_begin(data, size, name, &first, err));
    DK_TRY(dk_document_create(host, name, &document, err));
    rc = dk_json_quick(document, data + first, size - first, &root, err);
    if (rc == DK_E_FORMAT) {
        dk_document_free(document);
        document = NULL;
        DK_TRY(dk_document_create(host, name, &document, err));
        DK_TRY(read_carefully(document, data, size, first, &read, err));
        root = read;
    }
    DK_TRY(rc);
    dk_document_set_root(document, root);
    *out = document;
    document = NULL;
out:
    dk_document_free(document);
    return rc;
}
