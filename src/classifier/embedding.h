/* embedding.h - a text as one vector of a frozen model. */
#ifndef DI_CLASSIFIER_EMBEDDING_H
#define DI_CLASSIFIER_EMBEDDING_H

#include "compute/compute.h"

typedef struct di_embedding di_embedding;
typedef enum {
    DI_EMBED_HIDDEN, /* states behind the last norm */
    DI_EMBED_TOKENS  /* rows of the embedding table: no layer is run */
} di_embed_kind;
/* path: a model with a tokenizer. What is longer than the model's context is cut; the mean of its tokens is taken. */
int32_t di_embedding_open(dk_backend *backend, const char *path, di_embed_kind kind, di_embedding **out, dk_error *err);
void di_embedding_free(di_embedding *embedding); /* NULL is fine */
int64_t di_embedding_width(const di_embedding *embedding);
int32_t di_embedding_hash(const di_embedding *embedding, char hex[65], dk_error *err); /* of the model */
int64_t di_embedding_longest(const di_embedding *embedding); /* tokens of a text that are read */
const char *di_embedding_path(const di_embedding *embedding);
/* out [width], 0 where the text has no token (*tokens = 0). Several threads may ask; one is served at a time. */
int32_t di_embedding_of(di_embedding *embedding, const char *text, size_t size, float *out, int64_t *tokens,
                        dk_error *err);

#endif
