/* document.h - JSON and YAML as one kind of tree that remembers lines and files.
 *
 * The only place that knows libyaml and jansson. A document owns its nodes and strings; nodes live as long as it.
 * Bounds: depth 64, and the file sizes named in builder.h; a hostile file gets an error with line or byte offset.
 * YAML: one document; anchors, aliases, tags other than the core schema's and duplicate keys are refused with their
 * line. JSON: strict; duplicate keys refused; \u0000 allowed in text. JSON errors give line and byte offset. A UTF-8
 * byte order mark is passed over; UTF-16, packed files and pointers of Git LFS are refused by name. */
#ifndef DK_CONF_DOCUMENT_H
#define DK_CONF_DOCUMENT_H

#include "base/strbuf.h"

typedef struct dk_document dk_document;
typedef enum {
    DK_NODE_NULL,
    DK_NODE_BOOL,
    DK_NODE_INT,
    DK_NODE_FLOAT,
    DK_NODE_TEXT,
    DK_NODE_LIST,
    DK_NODE_MAP
} dk_node_type;
typedef struct dk_node dk_node;
struct dk_node {
    dk_node_type type;
    int32_t line;    /* 1-based; 0 = unknown (JSON does not keep it per node) */
    const char *key; /* inside a map; NULL elsewhere */
    size_t key_size;
    const char *text; /* TEXT: bytes, NUL-terminated. YAML scalars of other types keep their spelling here too */
    size_t size;      /* of text; number of children of LIST and MAP */
    int64_t i64;      /* BOOL 0/1, INT */
    double f64;       /* INT and FLOAT */
    const dk_node *const *items; /* LIST, MAP: size children, in order of the file */
};

int32_t dk_json_parse(dk_host *host, const char *data, size_t size, const char *name, dk_document **out, dk_error *err);
int32_t dk_yaml_parse(dk_host *host, const char *data, size_t size, const char *name, dk_document **out, dk_error *err);
int32_t dk_json_open(dk_host *host, const char *path, dk_document **out, dk_error *err); /* name = path */
int32_t dk_yaml_open(dk_host *host, const char *path, dk_document **out, dk_error *err);
void dk_document_free(dk_document *document); /* NULL is fine */
const dk_node *dk_document_root(const dk_document *document);
const char *dk_document_name(const dk_document *document);

/* ---- looking things up: every function takes NULL nodes and answers NULL or the fallback ---- */
const dk_node *dk_node_get(const dk_node *map, const char *key); /* hashed for large maps; NULL = absent */
const dk_node *dk_node_at(const dk_node *list, size_t index);
int32_t dk_node_is_text(const dk_node *node, const char *text); /* 1 if node is TEXT equal to text */
/* Typed members with a fallback: absent or null gives the fallback, a wrong type or range is an error that names the
 * document, the key, the value and what was expected. */
int32_t dk_node_i64(const dk_document *doc, const dk_node *map, const char *key, int64_t low, int64_t high,
                    int64_t fallback, int64_t *out, dk_error *err);
int32_t dk_node_f64(const dk_document *doc, const dk_node *map, const char *key, double fallback, double *out,
                    dk_error *err);
int32_t dk_node_bool(const dk_document *doc, const dk_node *map, const char *key, int32_t fallback, int32_t *out,
                     dk_error *err);
int32_t dk_node_text(const dk_document *doc, const dk_node *map, const char *key, const char *fallback,
                     const char **out, dk_error *err);

/* Writes node as compact JSON (used for saved config and reports). */
void dk_node_write_json(const dk_node *node, dk_strbuf *out);

#endif
