/* npz.h - reads arrays out of numpy's .npz files (a zip of .npy), for tests against stored figures. Needs zlib. */
#ifndef TESTS_SUPPORT_NPZ_H
#define TESTS_SUPPORT_NPZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

typedef struct npz_file {
    uint8_t *data;
    size_t size;
} npz_file;

typedef struct npz_array { /* every number as a double */
    double *values;
    int64_t count;
    int64_t shape[4];
    int rank;
} npz_array;

static inline uint32_t npz_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint32_t npz_u16(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8; }

static inline int npz_open(const char *path, npz_file *out)
{
    FILE *file = fopen(path, "rb");
    out->data = NULL;
    out->size = 0;
    if (!file) return 0;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    out->data = malloc((size_t)size);
    out->size = out->data ? fread(out->data, 1, (size_t)size, file) : 0;
    fclose(file);
    return out->size == (size_t)size;
}

static inline void npz_close(npz_file *file) { free(file->data); }

/* The entry number index of the central directory: name and bytes (malloc'd). */
static inline uint8_t *npz_entry(const npz_file *file, int index, char name[256], size_t *size)
{
    size_t end = file->size - 22;
    while (end > 0 && npz_u32(file->data + end) != 0x06054b50) end--;
    if (index >= (int)npz_u16(file->data + end + 10)) return NULL;
    const uint8_t *at = file->data + npz_u32(file->data + end + 16);
    for (int i = 0; i < index; i++) at += 46 + npz_u16(at + 28) + npz_u16(at + 30) + npz_u16(at + 32);
    uint32_t method = npz_u16(at + 10), packed = npz_u32(at + 20), length = npz_u16(at + 28);
    const uint8_t *local = file->data + npz_u32(at + 42),
                  *body = local + 30 + npz_u16(local + 26) + npz_u16(local + 28);
    *size = npz_u32(at + 24);
    snprintf(name, 256, "%.*s", (int)length, (const char *)at + 46);
    uint8_t *out = malloc(*size + 1);
    if (method == 0) return memcpy(out, body, *size);
    z_stream stream;
    memset(&stream, 0, sizeof stream);
    stream.next_in = (Bytef *)(uintptr_t)body;
    stream.avail_in = packed;
    stream.next_out = out;
    stream.avail_out = (uInt)*size;
    inflateInit2(&stream, -MAX_WBITS);
    inflate(&stream, Z_FINISH);
    inflateEnd(&stream);
    return out;
}

static inline double npz_number(const uint8_t *p, char kind, int bytes)
{
    float f;
    double d;
    int64_t i64;
    int32_t i32;
    if (kind == 'f' && bytes == 4) return memcpy(&f, p, 4), (double)f;
    if (kind == 'f') return memcpy(&d, p, 8), d;
    if (kind == 'b' || kind == 'u') return (double)p[0];
    return bytes == 8 ? (memcpy(&i64, p, 8), (double)i64) : (memcpy(&i32, p, 4), (double)i32);
}

static inline npz_array npz_parse(const uint8_t *npy)
{
    npz_array a;
    uint32_t header = npy[6] == 1 ? npz_u16(npy + 8) : npz_u32(npy + 8), begin = npy[6] == 1 ? 10 : 12;
    char text[1024];
    memset(&a, 0, sizeof a);
    snprintf(text, sizeof text, "%.*s", (int)header, (const char *)npy + begin);
    const char *type = strstr(text, "'descr': '") + 11, *shape = strstr(text, "'shape': (") + 10;
    char kind = type[0];
    int bytes = atoi(type + 1);
    a.count = 1;
    while (*shape && *shape != ')') {
        char *next;
        long n = strtol(shape, &next, 10);
        if (next == shape) break;
        a.shape[a.rank++] = n;
        a.count *= n;
        shape = next + strspn(next, ", ");
    }
    a.values = malloc(sizeof(double) * (size_t)(a.count ? a.count : 1));
    for (int64_t i = 0; i < a.count; i++)
        a.values[i] = npz_number(npy + begin + header + (size_t)(i * bytes), kind, bytes);
    return a;
}

/* values NULL when there is no such array. name without ".npy". */
static inline npz_array npz_get(const npz_file *file, const char *name)
{
    char found[256], wanted[320];
    npz_array none = {0};
    size_t size;
    snprintf(wanted, sizeof wanted, "%s.npy", name);
    for (int i = 0;; i++) {
        uint8_t *entry = npz_entry(file, i, found, &size);
        if (!entry) return none;
        if (strcmp(found, wanted) == 0) none = npz_parse(entry);
        free(entry);
        if (none.values) return none;
    }
}

/* Name (without ".npy") of entry index, or 0 past the last. */
static inline int npz_name(const npz_file *file, int index, char name[256])
{
    size_t size;
    uint8_t *entry = npz_entry(file, index, name, &size);
    free(entry);
    if (!entry) return 0;
    name[strlen(name) - 4] = '\0';
    return 1;
}

#endif
