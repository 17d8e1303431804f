/* YAML through libyaml's events. libyaml allocates with malloc and stops the process at NULL arguments: none is
 * given. */
#include "conf/builder.h"

#include <math.h>
#include <string.h>
#include <yaml.h>

#define CORE_TAG "tag:yaml.org,2002:"

typedef struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the one that is looked at */
    int32_t has_event;
    dk_document *document;
    const char *name;
    int32_t depth;
    dk_node **stack; /* children of the collections that are open */
    uint64_t used, capacity;
} reader;

static int64_t line_of(const reader *in) { return (int64_t)in->event.start_mark.line + 1; }

static int32_t fail_line(const reader *in, const char *what, dk_error *err)
{
    return dk_fail_at(err, DK_E_FORMAT, line_of(in), "%s:%lld: %s", in->name, (long long)line_of(in), what);
}

static int32_t fail_parser(const reader *in, dk_error *err)
{
    const yaml_parser_t *parser = &in->parser;
    int64_t line = (int64_t)parser->problem_mark.line + 1;
    const char *problem = parser->problem ? parser->problem : "not well-formed";
    if (parser->error == YAML_MEMORY_ERROR) return dk_fail_nomem(err, 0);
    if (parser->error == YAML_READER_ERROR)
        return dk_fail_at(err, DK_E_FORMAT, (int64_t)parser->problem_offset, "%s: %s (byte %zu)", in->name, problem,
                          parser->problem_offset);
    return dk_fail_at(err, DK_E_FORMAT, line, "%s:%lld: %s%s%s", in->name, (long long)line, problem,
                      parser->context ? " " : "", parser->context ? parser->context : "");
}

static int32_t next_event(reader *in, dk_error *err)
{
    if (in->has_event) yaml_event_delete(&in->event);
    in->has_event = yaml_parser_parse(&in->parser, &in->event);
    return in->has_event ? DK_OK : fail_parser(in, err);
}

/* ---- plain scalars: the core schema of YAML 1.2, without hexadecimal and octal numbers ---- */

static int32_t one_of(const char *text, const char *a, const char *b, const char *c)
{
    return !strcmp(text, a) || !strcmp(text, b) || !strcmp(text, c);
}

static int32_t is_special_float(const char *text, double *out)
{
    const char *body = text + (*text == '-' || *text == '+');
    if (one_of(text, ".nan", ".NaN", ".NAN")) *out = (double)NAN;
    else if (one_of(body, ".inf", ".Inf", ".INF")) *out = *text == '-' ? -(double)INFINITY : (double)INFINITY;
    else return 0;
    return 1;
}

static dk_node_type resolve(dk_node *node)
{
    const char *text = node->text;
    int32_t has_nul = strlen(text) != node->size;
    if (has_nul) return DK_NODE_TEXT;
    if (!*text || !strcmp(text, "~") || one_of(text, "null", "Null", "NULL")) return DK_NODE_NULL;
    if (one_of(text, "true", "True", "TRUE")) return node->i64 = 1, DK_NODE_BOOL;
    if (one_of(text, "false", "False", "FALSE")) return DK_NODE_BOOL;
    if (dk_parse_i64(text, node->size, &node->i64)) return node->f64 = (double)node->i64, DK_NODE_INT;
    if (is_special_float(text, &node->f64)) return DK_NODE_FLOAT;
    if (strpbrk(text, "0123456789") && dk_parse_f64(text, node->size, &node->f64)) return DK_NODE_FLOAT;
    return DK_NODE_TEXT;
}

static const char *core_name(dk_node_type type)
{
    static const char *const names[] = {CORE_TAG "null", CORE_TAG "bool", CORE_TAG "int", CORE_TAG "float",
                                        CORE_TAG "str",  CORE_TAG "seq",  CORE_TAG "map"};
    return names[type];
}

static int32_t check_properties(const reader *in, const yaml_char_t *anchor, const yaml_char_t *tag, dk_node_type type,
                                dk_error *err)
{
    if (anchor) return fail_line(in, "anchors are not supported; write the value out", err);
    if (!tag || !strcmp((const char *)tag, "!") || !strcmp((const char *)tag, core_name(type))) return DK_OK;
    return dk_fail_at(err, DK_E_FORMAT, line_of(in), "%s:%lld: tag %.80s does not fit the value or is not supported",
                      in->name, (long long)line_of(in), (const char *)tag);
}

static int32_t read_scalar(reader *in, dk_node **out, dk_error *err)
{
    int32_t rc;
    dk_node *node;
    const char *tag = (const char *)in->event.data.scalar.tag;
    DK_TRY(dk_document_node(in->document, DK_NODE_TEXT, line_of(in), &node, err));
    node->size = in->event.data.scalar.length;
    DK_TRY(dk_document_text(in->document, (const char *)in->event.data.scalar.value, node->size, &node->text, err));
    int32_t is_text = tag && (!strcmp(tag, "!") || !strcmp(tag, core_name(DK_NODE_TEXT)));
    if (!is_text && (in->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE || tag)) node->type = resolve(node);
    DK_TRY(check_properties(in, in->event.data.scalar.anchor, in->event.data.scalar.tag, node->type, err));
    *out = node;
out:
    return rc;
}

/* ---- collections ---- */

static int32_t push(reader *in, dk_node *node, dk_error *err)
{
    if (in->used == in->capacity) {
        uint64_t capacity = in->capacity ? in->capacity * 2 : 32;
        dk_node **grown = dk_realloc(dk_document_host(in->document), in->stack, capacity, sizeof *grown);
        if (!grown) return dk_fail_nomem(err, capacity * sizeof *grown);
        in->stack = grown;
        in->capacity = capacity;
    }
    in->stack[in->used++] = node;
    return DK_OK;
}

/* The children from base on become node's. */
static int32_t pop(reader *in, uint64_t base, dk_node *node, dk_error *err)
{
    uint64_t size = (in->used - base) * sizeof *in->stack;
    if (!size) return DK_OK;
    void *items = dk_document_take(in->document, size);
    if (!items) return dk_fail_nomem(err, size);
    memcpy(items, in->stack + base, (size_t)size);
    node->items = items;
    node->size = (size_t)(in->used - base);
    in->used = base;
    return DK_OK;
}

static int32_t read_node(reader *in, dk_node **out, dk_error *err);

static int32_t read_list(reader *in, dk_node *list, dk_error *err)
{
    int32_t rc;
    uint64_t base = in->used;
    dk_node *child;
    DK_TRY(check_properties(in, in->event.data.sequence_start.anchor, in->event.data.sequence_start.tag, DK_NODE_LIST,
                            err));
    for (;;) {
        DK_TRY(next_event(in, err));
        if (in->event.type == YAML_SEQUENCE_END_EVENT) break;
        DK_TRY(read_node(in, &child, err));
        DK_TRY(push(in, child, err));
    }
    DK_TRY(pop(in, base, list, err));
out:
    return rc;
}

static int32_t read_pair(reader *in, dk_error *err)
{
    int32_t rc;
    dk_node *key, *value;
    if (in->event.type != YAML_SCALAR_EVENT) return fail_line(in, "a key must be a plain name", err);
    DK_TRY(read_scalar(in, &key, err));
    if (strlen(key->text) != key->size) return fail_line(in, "a key cannot contain a NUL character", err);
    DK_TRY(next_event(in, err));
    DK_TRY(read_node(in, &value, err));
    value->key = key->text;
    value->key_size = key->size;
    DK_TRY(push(in, value, err));
out:
    return rc;
}

static int32_t read_map(reader *in, dk_node *map, dk_error *err)
{
    int32_t rc;
    uint64_t base = in->used;
    const dk_node *repeated;
    DK_TRY(
        check_properties(in, in->event.data.mapping_start.anchor, in->event.data.mapping_start.tag, DK_NODE_MAP, err));
    for (;;) {
        DK_TRY(next_event(in, err));
        if (in->event.type == YAML_MAPPING_END_EVENT) break;
        DK_TRY(read_pair(in, err));
    }
    DK_TRY(pop(in, base, map, err));
    DK_TRY(dk_document_index(in->document, map, &repeated, err));
    if (repeated)
        rc = dk_fail_at(err, DK_E_FORMAT, repeated->line, "%s:%d: key \"%.80s\" occurs twice", in->name,
                        (int)repeated->line, repeated->key);
out:
    return rc;
}

static int32_t read_collection(reader *in, dk_node_type type, dk_node **out, dk_error *err)
{
    int32_t rc;
    if (++in->depth > DK_DOCUMENT_DEPTH) return fail_line(in, "nested too deep (more than 64 levels)", err);
    DK_TRY(dk_document_node(in->document, type, line_of(in), out, err));
    DK_TRY(type == DK_NODE_LIST ? read_list(in, *out, err) : read_map(in, *out, err));
    in->depth--;
out:
    return rc;
}

static int32_t read_node(reader *in, dk_node **out, dk_error *err)
{
    switch (in->event.type) {
    case YAML_SCALAR_EVENT:
        return read_scalar(in, out, err);
    case YAML_SEQUENCE_START_EVENT:
        return read_collection(in, DK_NODE_LIST, out, err);
    case YAML_MAPPING_START_EVENT:
        return read_collection(in, DK_NODE_MAP, out, err);
    default:
        return fail_line(in, "aliases are not supported; write the value out", err);
    }
}

/* Nothing at all reads as null. */
static int32_t read_stream(reader *in, dk_error *err)
{
    int32_t rc;
    dk_node *root;
    DK_TRY(next_event(in, err)); /* stream start */
    DK_TRY(next_event(in, err));
    if (in->event.type == YAML_STREAM_END_EVENT) {
        DK_TRY(dk_document_node(in->document, DK_NODE_NULL, 1, &root, err));
    } else {
        DK_TRY(next_event(in, err));
        DK_TRY(read_node(in, &root, err));
        DK_TRY(next_event(in, err)); /* document end */
        DK_TRY(next_event(in, err));
        if (in->event.type != YAML_STREAM_END_EVENT)
            DK_TRY(fail_line(in, "a second document; one file holds one", err));
    }
    dk_document_set_root(in->document, root);
out:
    return rc;
}

int32_t dk_yaml_parse(dk_host *host, const char *data, size_t size, const char *name, dk_document **out, dk_error *err)
{
    int32_t rc;
    reader in;
    memset(&in, 0, sizeof in);
    if (size > DK_YAML_FILE_LIMIT)
        return dk_fail(err, DK_E_FORMAT, "%s: %zu bytes of YAML are more than the limit of %llu", name, size,
                       (unsigned long long)DK_YAML_FILE_LIMIT);
    size_t first = 0;
    rc = dk_text_begin(data, size, name, &first, err);
    if (!rc) rc = dk_document_create(host, name, &in.document, err);
    if (rc) return rc;
    in.name = name;
    if (!yaml_parser_initialize(&in.parser)) {
        dk_document_free(in.document);
        return dk_fail_nomem(err, sizeof in.parser);
    }
    yaml_parser_set_encoding(&in.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&in.parser, (const unsigned char *)(size ? data + first : ""), size - first);
    rc = read_stream(&in, err);
    if (in.has_event) yaml_event_delete(&in.event);
    yaml_parser_delete(&in.parser);
    dk_free(host, in.stack);
    if (rc) dk_document_free(in.document);
    else *out = in.document;
    return rc;
}
