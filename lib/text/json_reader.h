/* json_reader.h - reading a tokenizer.json: what its parts share, and one function per part. Private to lib/text. */
#ifndef DK_TEXT_JSON_READER_H
#define DK_TEXT_JSON_READER_H

#include "text/tokenizer_impl.h"

typedef struct dk_json_reader {
    dk_tokenizer *tok;
    const dk_document *doc;
    dk_error *err;
} dk_json_reader;
/* Fails with UNSUPPORTED naming the document, what and node's type, and what is supported. */
int32_t dk_unsupported(dk_json_reader *r, const char *what, const char *value, const char *supported);
int32_t dk_malformed(dk_json_reader *r, const char *what, const char *expected);
int32_t dk_read_type(dk_json_reader *r, const dk_node *node, const char *what, const char **type);

/* ---- parts, in the order in which they are read ---- */
int32_t dk_read_model(dk_json_reader *r, const dk_node *node);
int32_t dk_read_normalizer(dk_json_reader *r, const dk_node *node);
int32_t dk_read_pre_tokenizer(dk_json_reader *r, const dk_node *node);
int32_t dk_read_decoder(dk_json_reader *r, const dk_node *node);
int32_t dk_read_post_processor(dk_json_reader *r, const dk_node *node);
int32_t dk_read_added(dk_json_reader *r, const dk_node *list);
int32_t dk_read_tokenizer_config(dk_json_reader *r, const dk_document *config);

#endif
