/* json_reader.h - reading a tokenizer.json: what its parts share, and one function per part. Private to lib/text. */
#ifndef DK_TEXT_JSON_READER_H
#define DK_TEXT_JSON_READER_H

#include "text/tokenizer_impl.h"

typedef struct dk_json_reader {
    dk_tokenizer *tok;
    const dk_document *doc;
    dk_error *err;
    int64_t model_count, largest_added; /* what the next free id follows from */
} dk_json_reader;
typedef struct dk_tokenizer_documents { /* NULL = there is none */
    const dk_document *json, *config, *map, *added, *old_template;
    const char *jinja, *tools; /* chat_template.jinja, and the one of additional_chat_templates for talks with tools */
    const char *unread;        /* names of others in additional_chat_templates */
} dk_tokenizer_documents;
/* tokenizer_sentencepiece.c: from a tokenizer.model and what is beside it; beside->json is not looked at. */
int32_t dk_tokenizer_build_model(dk_host *host, const char *name, dk_slice bytes, const dk_tokenizer_documents *beside,
                                 dk_tokenizer **out, dk_error *err);
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
/* What the files beside tokenizer.json add to it. */
int32_t dk_read_tokenizer_config(dk_json_reader *r, const dk_tokenizer_documents *from);

/* Makes text an added token, with the flags given; doc is where it stands, stated its id there or -1. The id is the
 * vocabulary's, or the next free one. */
int32_t dk_add_token(dk_json_reader *r, const dk_document *doc, const char *text, size_t size, dk_added_token token,
                     int64_t stated);
/* {content, special, lstrip, ...} -> *token; special as given where the object does not say. */
int32_t dk_read_flags(dk_json_reader *r, const dk_document *doc, const dk_node *node, int32_t special,
                      dk_added_token *token);

#endif
