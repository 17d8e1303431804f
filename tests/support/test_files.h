/* test_files.h - bytes of small safetensors and GGUF files, made by tests. */
#ifndef TESTS_SUPPORT_TEST_FILES_H
#define TESTS_SUPPORT_TEST_FILES_H

#include "test.h"

typedef struct test_bytes {
    uint8_t *data;
    size_t size, capacity;
} test_bytes;

static inline void put_bytes(test_bytes *out, const void *data, size_t size)
{
    if (out->size + size > out->capacity) {
        out->capacity = 2 * (out->size + size) + 256;
        out->data = realloc(out->data, out->capacity);
        if (!out->data) exit(3);
    }
    if (size) memcpy(out->data + out->size, data, size);
    out->size += size;
}
static inline void put_u32(test_bytes *out, uint32_t value) { put_bytes(out, &value, 4); }
static inline void put_u64(test_bytes *out, uint64_t value) { put_bytes(out, &value, 8); }
static inline void put_f32(test_bytes *out, float value) { put_bytes(out, &value, 4); }
static inline void put_zeros(test_bytes *out, size_t size)
{
    static const uint8_t zero[64];
    for (; size; size -= size < 64 ? size : 64) put_bytes(out, zero, size < 64 ? size : 64);
}
static inline void put_text(test_bytes *out, const char *text) /* as GGUF has it: length, bytes */
{
    put_u64(out, strlen(text));
    put_bytes(out, text, strlen(text));
}
static inline void free_bytes(test_bytes *out)
{
    free(out->data);
    memset(out, 0, sizeof *out);
}
static inline int write_bytes(const test_bytes *from, const char *path)
{
    FILE *file = fopen(path, "wb");
    if (!file) return 0;
    size_t written = from->size ? fwrite(from->data, 1, from->size, file) : 0;
    return fclose(file) == 0 && written == from->size;
}
static inline int write_text(const char *path, const char *text)
{
    test_bytes bytes = {0};
    put_bytes(&bytes, text, strlen(text));
    int done = write_bytes(&bytes, path);
    free_bytes(&bytes);
    return done;
}

/* Joins into one of four rotating buffers, longer than those of test_path so that results can be joined again. */
static inline const char *path_in(const char *folder, const char *name)
{
    static char buffers[4][4096];
    static int next;
    char *out = buffers[next++ % 4];
    snprintf(out, sizeof buffers[0], "%s/%s", folder, name);
    return out;
}

/* ---- GGUF: key, type, value ---- */
enum {
    GGUF_U8 = 0,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_TEXT,
    GGUF_LIST,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64
};
static inline void gguf_begin(test_bytes *out, uint32_t version, uint64_t tensors, uint64_t keys)
{
    put_bytes(out, "GGUF", 4);
    put_u32(out, version);
    put_u64(out, tensors);
    put_u64(out, keys);
}
static inline void gguf_key(test_bytes *out, const char *key, uint32_t type)
{
    put_text(out, key);
    put_u32(out, type);
}
static inline void gguf_u32(test_bytes *out, const char *key, uint32_t value)
{
    gguf_key(out, key, GGUF_U32);
    put_u32(out, value);
}
static inline void gguf_f32(test_bytes *out, const char *key, float value)
{
    gguf_key(out, key, GGUF_F32);
    put_f32(out, value);
}
static inline void gguf_text(test_bytes *out, const char *key, const char *value)
{
    gguf_key(out, key, GGUF_TEXT);
    put_text(out, value);
}
static inline void gguf_bool(test_bytes *out, const char *key, int value)
{
    uint8_t byte = (uint8_t)value;
    gguf_key(out, key, GGUF_BOOL);
    put_bytes(out, &byte, 1);
}
static inline void gguf_list(test_bytes *out, const char *key, uint32_t item_type, uint64_t count)
{
    gguf_key(out, key, GGUF_LIST);
    put_u32(out, item_type);
    put_u64(out, count);
}
/* Shape as tensors are written here: outermost first; the file has it the other way round. */
static inline void gguf_tensor(test_bytes *out, const char *name, uint32_t rank, const int64_t *shape, uint32_t type,
                               uint64_t offset)
{
    put_text(out, name);
    put_u32(out, rank);
    for (uint32_t i = rank; i-- > 0;) put_u64(out, (uint64_t)shape[i]);
    put_u32(out, type);
    put_u64(out, offset);
}
static inline void gguf_align(test_bytes *out, size_t alignment)
{
    if (out->size % alignment) put_zeros(out, alignment - out->size % alignment);
}

/* ---- safetensors: header text and so many bytes of data ---- */
static inline test_bytes safetensors_bytes(const char *header, size_t data)
{
    test_bytes out = {0};
    put_u64(&out, strlen(header));
    put_bytes(&out, header, strlen(header));
    for (size_t i = 0; i < data; i++) put_bytes(&out, &(uint8_t){(uint8_t)(i + 1)}, 1);
    return out;
}

#endif
