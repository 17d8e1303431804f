/* gguf_write.h - writing one GGUF file: metadata keys in the order in which they were put, then tensors. What keys a
 * model has does not live here. */
#ifndef DK_FORMAT_GGUF_WRITE_H
#define DK_FORMAT_GGUF_WRITE_H

#include "format/checkpoint.h"
#include "text/tokenizer.h"

typedef struct dk_gguf_keys {
    dk_strbuf bytes; /* as they stand in the file */
    uint64_t count;
} dk_gguf_keys;
void dk_gguf_keys_init(dk_gguf_keys *keys, dk_host *host);
void dk_gguf_keys_free(dk_gguf_keys *keys);
void dk_gguf_put_u32(dk_gguf_keys *keys, const char *key, uint32_t value);
void dk_gguf_put_f32(dk_gguf_keys *keys, const char *key, float value);
void dk_gguf_put_bool(dk_gguf_keys *keys, const char *key, int32_t value);
void dk_gguf_put_text(dk_gguf_keys *keys, const char *key, const char *text);
void dk_gguf_put_texts(dk_gguf_keys *keys, const char *key, const dk_slice *texts, int64_t count);
void dk_gguf_put_f32s(dk_gguf_keys *keys, const char *key, const float *values, int64_t count);
void dk_gguf_put_i32s(dk_gguf_keys *keys, const char *key, const int32_t *values, int64_t count);

/* The keys of a tokenizer, its chat template among them. */
void dk_gguf_put_vocabulary(dk_gguf_keys *keys, const dk_vocabulary *vocabulary);

#define DK_GGUF_UNIT 256 /* pieces but the last are a multiple of so many values: whole blocks of every dtype */
typedef struct dk_gguf_args {
    const dk_gguf_keys *keys;
    const dk_tensor_spec *tensors; /* shapes outermost first; rows of a dtype in blocks are whole blocks */
    int64_t count;
    dk_tensor_fill fill; /* called in pieces of at most DK_TENSOR_PIECE bytes, DK_GGUF_UNIT values each, in order */
    void *user;
} dk_gguf_args;
/* The file appears at once, in the place of an older one. */
int32_t dk_gguf_write(dk_host *host, const char *path, const dk_gguf_args *args, dk_error *err);

#endif
