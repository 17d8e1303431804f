/* checkpoint.h - files of named tensors behind one interface: safetensors (one file, or shards with an index) and GGUF.
 *
 * Here live the readers and the writer of tensor files, the metadata of GGUF, what kind of thing a path is, and the way
 * from any of them to a tokenizer. What a tensor means to a model does not live here, nor does arithmetic on its
 * values: a tensor is a name, a type, a shape and bytes in a mapping that the checkpoint owns.
 *
 * Every length, count and offset of a file is checked against the bytes that are there before it is used. Files and
 * hosts are little-endian. A const dk_checkpoint may be used from many threads. */
#ifndef DK_FORMAT_CHECKPOINT_H
#define DK_FORMAT_CHECKPOINT_H

#include "base/dtype.h"
#include "base/file.h"
#include "base/slice.h"
#include "base/strbuf.h"

/* ---- what is at a path ---- */
typedef enum {
    DK_PATH_MISSING = 0,
    DK_PATH_UNKNOWN = 1,
    DK_PATH_MODEL = 2,     /* folder with config.json */
    DK_PATH_TOKENIZER = 3, /* folder with tokenizer.json, but no config.json */
    DK_PATH_GGUF = 4,
    DK_PATH_GGUF_VOCABULARY = 5, /* GGUF file without tensors */
    DK_PATH_SAFETENSORS = 6      /* one file; a model is the folder around it */
} dk_path_type;
int32_t dk_path_kind(dk_host *host, const char *path, dk_path_type *kind, dk_error *err);
const char *dk_path_kind_text(dk_path_type kind); /* "a folder with a model", ... for messages */

/* ---- tensors ---- */
typedef struct dk_tensor {
    const char *name;
    dk_dtype dtype;
    const char *type_name; /* as the format spells it: "BF16", "I64", "Q4_K" */
    int32_t rank;
    int64_t shape[4]; /* outermost first, whatever the file does */
    const void *data; /* inside dk_checkpoint_file(.., file); any alignment */
    uint64_t bytes;
    int32_t file;
} dk_tensor;
#define DK_SHAPE_TEXT 96
const char *dk_shape_text(int32_t rank, const int64_t *shape, char out[DK_SHAPE_TEXT]); /* "[3, 4]"; returns out */

typedef struct dk_checkpoint dk_checkpoint;
enum {
    DK_OPEN_MMAP = 1,      /* else files are read into memory */
    DK_OPEN_VOCABULARY = 2 /* metadata only: tensors of GGUF are not looked at */
};
/* path: a folder with model.safetensors or model.safetensors.index.json, a .safetensors file, or a GGUF file. */
int32_t dk_checkpoint_open(dk_host *host, const char *path, uint32_t flags, dk_checkpoint **out, dk_error *err);
/* The same from bytes of one file, which are copied. name stands in messages. */
int32_t dk_checkpoint_parse(dk_host *host, const void *data, uint64_t size, const char *name, uint32_t flags,
                            dk_checkpoint **out, dk_error *err);
void dk_checkpoint_close(dk_checkpoint *checkpoint); /* NULL is fine */
const char *dk_checkpoint_path(const dk_checkpoint *checkpoint);
int32_t dk_checkpoint_is_gguf(const dk_checkpoint *checkpoint);
const dk_strbuf *dk_checkpoint_notes(const dk_checkpoint *checkpoint); /* files beside it that are not used */
int64_t dk_checkpoint_count(const dk_checkpoint *checkpoint);
const dk_tensor *dk_checkpoint_at(const dk_checkpoint *checkpoint, int64_t index);      /* sorted by name */
const dk_tensor *dk_checkpoint_find(const dk_checkpoint *checkpoint, const char *name); /* NULL = absent */
int32_t dk_checkpoint_files(const dk_checkpoint *checkpoint);
const dk_mapping *dk_checkpoint_file(const dk_checkpoint *checkpoint, int32_t file);

/* "supported are F32, ...: ...": what types of GGUF tensors models are read from, and what to do with a file of another
 * one, for messages. */
const char *dk_gguf_way_out(void);

/* ---- metadata: keys of GGUF; safetensors' __metadata__ is text ---- */
typedef enum {
    DK_META_INT = 1,
    DK_META_FLOAT = 2,
    DK_META_BOOL = 3,
    DK_META_TEXT = 4,
    DK_META_LIST = 5
} dk_metadata_type;
typedef struct dk_metadata {
    const char *key;
    dk_metadata_type type;
    int64_t i64; /* INT (clamped to int64), BOOL */
    double f64;  /* INT, FLOAT, BOOL */
    dk_slice text;
    int64_t count;              /* LIST: items */
    dk_metadata_type item_type; /* LIST */
    const dk_slice *texts;      /* LIST of TEXT: [count]; NULL otherwise */
    const uint8_t *items;       /* LIST of numbers: as in the file */
    int32_t item_code;          /* the file's code of an item's type */
} dk_metadata;
int64_t dk_metadata_count(const dk_checkpoint *checkpoint);
const dk_metadata *dk_metadata_at(const dk_checkpoint *checkpoint, int64_t index);     /* sorted by key */
const dk_metadata *dk_metadata_find(const dk_checkpoint *checkpoint, const char *key); /* NULL = absent */
/* Lists of numbers, index in range; i64 for lists of whole numbers alone. */
int64_t dk_metadata_item_i64(const dk_metadata *list, int64_t index);
double dk_metadata_item_f64(const dk_metadata *list, int64_t index);
/* Typed values with a fallback for an absent key; a wrong type or range is an error that names file, key and value. */
int32_t dk_metadata_i64(const dk_checkpoint *checkpoint, const char *key, int64_t low, int64_t high, int64_t fallback,
                        int64_t *out, dk_error *err);
int32_t dk_metadata_f64(const dk_checkpoint *checkpoint, const char *key, double fallback, double *out, dk_error *err);
int32_t dk_metadata_bool(const dk_checkpoint *checkpoint, const char *key, int32_t fallback, int32_t *out,
                         dk_error *err);
/* A copy with a NUL behind it, for dk_free; *out = NULL when the key is absent. Text with a NUL inside is refused. */
int32_t dk_metadata_text(const dk_checkpoint *checkpoint, const char *key, char **out, dk_error *err);

/* ---- writing safetensors ---- */
typedef struct dk_tensor_spec {
    const char *name;
    dk_dtype dtype;
    int32_t rank;
    int64_t shape[4];
} dk_tensor_spec;
/* Puts bytes [offset, offset + size) of tensor number index (as given in the list) into out. */
typedef int32_t (*dk_tensor_fill)(void *user, int64_t index, uint64_t offset, void *out, uint64_t size, dk_error *err);
typedef struct dk_safetensors_args {
    const dk_tensor_spec *tensors;
    int64_t count;
    dk_tensor_fill fill; /* called in pieces of at most DK_TENSOR_PIECE bytes, in order */
    void *user;
    uint64_t shard_bytes; /* above this much data: shards of at most so much, and an index. 0 = 4 GiB */
} dk_safetensors_args;
#define DK_TENSOR_PIECE (4u << 20)
/* Writes model.safetensors, or model-0000i-of-0000n.safetensors and model.safetensors.index.json, into an existing
 * folder; each file appears at once. *bytes (NULL is fine): size of all tensors. */
int32_t dk_safetensors_write(dk_host *host, const char *folder, const dk_safetensors_args *args, uint64_t *bytes,
                             dk_error *err);

#endif
