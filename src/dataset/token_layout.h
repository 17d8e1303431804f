/* token_layout.h - header and sections of a token file. Private to src/dataset. */
#ifndef DI_DATASET_TOKEN_LAYOUT_H
#define DI_DATASET_TOKEN_LAYOUT_H

#include "dataset/store.h"

#define DI_TOKEN_MAGIC "DITOKENS"
enum { DI_TOKEN_VERSION = 1, DI_TOKEN_HEADER = 256, DI_TOKEN_BLOCK = 1 << 20, DI_TOKEN_SECTIONS = 5 };
enum { DI_TOKEN_LEARN = 1, DI_TOKEN_WEIGHTS = 2, DI_TOKEN_LINES = 4, DI_TOKEN_TAGS = 8 };

typedef struct di_token_layout {
    uint32_t id_size, flags;
    uint64_t tokens, documents, largest, tags;
    uint64_t offset[DI_TOKEN_SECTIONS], size[DI_TOKEN_SECTIONS]; /* ids, documents, learn, weights, tags */
    uint64_t checksums, blocks, file_size;
    uint8_t tokenizer[32], key[32], content[32];
} di_token_layout;

/* Offsets and sizes from id_size, flags, tokens, documents. 0 = they overflow. */
int32_t di_token_layout_place(di_token_layout *layout);
void di_token_layout_write(const di_token_layout *layout, uint8_t header[DI_TOKEN_HEADER]);
/* Every field is checked, against the size of the file too. */
int32_t di_token_layout_read(const uint8_t *data, uint64_t size, const char *path, di_token_layout *out, dk_error *err);

#endif
