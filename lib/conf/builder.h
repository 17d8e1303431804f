/* builder.h - how json.c and yaml.c fill a document. Private to lib/conf. */
#ifndef DK_CONF_BUILDER_H
#define DK_CONF_BUILDER_H

#include "conf/document.h"

enum { DK_DOCUMENT_DEPTH = 64 };
#define DK_JSON_FILE_LIMIT (UINT64_C(1) << 29)
#define DK_YAML_FILE_LIMIT (UINT64_C(1) << 20)

/* Plain JSON. E_FORMAT with nothing said: jansson knows better, and what the document holds is of no use. */
int32_t dk_json_quick(dk_document *document, const char *data, size_t size, const dk_node **root, dk_error *err);
/* *begin = where the text begins behind a byte order mark; other encodings and packed files are refused by name. */
int32_t dk_text_begin(const char *data, size_t size, const char *name, size_t *begin, dk_error *err);
int32_t dk_document_create(dk_host *host, const char *name, dk_document **out, dk_error *err);
dk_host *dk_document_host(const dk_document *document);
void dk_document_set_root(dk_document *document, const dk_node *root);
/* Memory that lives as long as the document; NULL = out of memory. */
void *dk_document_take(dk_document *document, uint64_t size);
int32_t dk_document_node(dk_document *document, dk_node_type type, int64_t line, dk_node **out, dk_error *err);
int32_t dk_document_text(dk_document *document, const char *data, size_t size, const char **out, dk_error *err);
/* A map whose items are set: makes it fast to search. *repeated is a key that occurs twice, or NULL. */
int32_t dk_document_index(dk_document *document, dk_node *map, const dk_node **repeated, dk_error *err);

#endif
