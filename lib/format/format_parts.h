/* format_parts.h - what the readers of lib/format share; nobody else includes it. */
#ifndef DK_FORMAT_PARTS_H
#define DK_FORMAT_PARTS_H

#include "format/checkpoint.h"

struct dk_checkpoint {
    dk_host *host; /* a reference */
    char *path;
    int32_t gguf;
    dk_strbuf notes;
    dk_mapping *files;
    char **file_names;
    int32_t file_count;
    dk_tensor *tensors; /* names are owned one by one */
    int64_t tensor_count, tensor_capacity;
    dk_metadata *metadata; /* keys and texts are owned one by one */
    int64_t metadata_count, metadata_capacity;
};

/* Without files; there is room for so many. */
int32_t dk_checkpoint_new(dk_host *host, const char *path, int32_t files, dk_checkpoint **out, dk_error *err);
/* Appends; name and key are copied. The entry is complete before it is counted, so close is always right. */
int32_t dk_checkpoint_add_tensor(dk_checkpoint *checkpoint, const char *name, size_t name_size, const dk_tensor *tensor,
                                 dk_error *err);
int32_t dk_checkpoint_add_metadata(dk_checkpoint *checkpoint, const char *key, size_t key_size,
                                   const dk_metadata *metadata, dk_error *err);
/* Sorts by name; a name that is there twice is an error. */
int32_t dk_checkpoint_sort(dk_checkpoint *checkpoint, dk_error *err);
/* Tensors from number first on lie in order behind each other: no overlap, and no gap unless gaps are allowed. */
int32_t dk_checkpoint_check_layout(dk_checkpoint *checkpoint, const char *name, int64_t first, const uint8_t *start,
                                   const uint8_t *end, int32_t gaps, dk_error *err);
/* Bytes of a tensor by its dtype and shape; refuses overflow and rows that cut a block. */
int32_t dk_tensor_bytes(const char *file, const dk_tensor *tensor, uint64_t *out, dk_error *err);

/* Read files[file] into tensors and metadata; name stands in messages. */
int32_t dk_safetensors_read(dk_checkpoint *checkpoint, int32_t file, const char *name, dk_error *err);
int32_t dk_gguf_read(dk_checkpoint *checkpoint, int32_t vocabulary_only, dk_error *err);
/* A file that says that it is the first of several parts: opens the others beside it, sorted again. */
int32_t dk_gguf_add_parts(dk_checkpoint *checkpoint, uint32_t flags, dk_error *err);
int32_t dk_gguf_refuse_part(const dk_checkpoint *checkpoint, dk_error *err); /* where others cannot be found */
int32_t dk_gguf_is_part(const char *path);                                   /* by its name */
int32_t dk_gguf_magic(const dk_mapping *map);
int32_t dk_safetensors_magic(const dk_mapping *map);
const char *dk_safetensors_type(dk_dtype dtype); /* as the format spells it; NULL = it has no such type */

enum { /* codes of metadata values */
       DK_GGUF_U8 = 0,
       DK_GGUF_I8,
       DK_GGUF_U16,
       DK_GGUF_I16,
       DK_GGUF_U32,
       DK_GGUF_I32,
       DK_GGUF_F32,
       DK_GGUF_BOOL,
       DK_GGUF_TEXT,
       DK_GGUF_LIST,
       DK_GGUF_U64,
       DK_GGUF_I64,
       DK_GGUF_F64,
       DK_GGUF_COUNT
};
typedef struct dk_gguf_type { /* of tensors */
    int32_t code;
    const char *name;
    dk_dtype dtype;
} dk_gguf_type;
const dk_gguf_type *dk_gguf_type_find(uint32_t code); /* NULL = unknown */
const dk_gguf_type *dk_gguf_type_of(dk_dtype dtype);

#endif
