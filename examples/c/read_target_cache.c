/* read_target_cache.c - reads a target cache without the library, as docs/target-cache.md has it, and prints a line for
 * each row: key, length, position, then id:value ... (top_k, sampled) or the first values.
 * Usage: read_target_cache FILE [ROWS] */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER = 256, BLOCK = 32, RECORD = 32, HIDDEN = 1, FULL = 2, TOP_K = 3, SAMPLED = 4 };

typedef struct cache_file {
    uint8_t *data;
    uint64_t size;
    uint32_t tier, bits, width, step, entropy;
    uint64_t vocab, valid;
    uint64_t rows_left; /* to be printed */
} cache_file;

typedef struct bit_stream {
    const uint8_t *data;
    uint64_t at, end; /* in bits */
    int bad;
} bit_stream;

static uint64_t get(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes; i-- > 0;) value = value << 8 | at[i];
    return value;
}

static uint32_t crc32c(const uint8_t *data, uint64_t size)
{
    uint32_t crc = 0xffffffffu;
    for (uint64_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

static int refuse(const char *path, uint64_t at, const char *what)
{
    fprintf(stderr, "%s: byte %llu: %s\n", path, (unsigned long long)at, what);
    return 1;
}

/* ---- numbers ---- */
static uint64_t get_bits(bit_stream *from, int count)
{
    uint64_t value = 0;
    for (int i = 0; i < count; i++, from->at++) {
        if (from->at >= from->end) return from->bad = 1, 0;
        value |= (uint64_t)(from->data[from->at >> 3] >> (from->at & 7) & 1) << i;
    }
    return value;
}

static uint64_t get_code(bit_stream *from, int exp_golomb, int parameter)
{
    int zeroes = 0;
    while (!from->bad && !get_bits(from, 1)) zeroes++;
    if (zeroes > 24) return from->bad = 1, 0;
    if (!exp_golomb) return (uint64_t)zeroes << parameter | get_bits(from, parameter);
    return get_bits(from, zeroes + parameter) + (((UINT64_C(1) << zeroes) - 1) << parameter);
}

static double float_of(uint32_t pattern)
{
    float value;
    memcpy(&value, &pattern, 4);
    return (double)value;
}

static double half_of(uint32_t half)
{
    const int exponent = (int)(half >> 10 & 31);
    const double sign = half >> 15 ? -1 : 1, fraction = half & 1023;
    if (exponent == 31) return sign * (fraction > 0 ? (double)NAN : (double)INFINITY);
    return sign * (exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24));
}

/* ---- rows ---- */
typedef struct row_values {
    uint32_t *ids; /* [width] */
    double *values, tail, entropy;
    uint64_t count;
} row_values;

static int get_ids(const cache_file *file, bit_stream *from, row_values *out)
{
    const int exp_golomb = (int)get_bits(from, 1), parameter = (int)get_bits(from, 5);
    uint64_t next = 0;
    for (uint64_t i = 0; i < out->count; i++) {
        next += get_code(from, exp_golomb, parameter);
        if (from->bad || next >= file->valid) return 0;
        out->ids[i] = (uint32_t)next++;
    }
    return 1;
}

static int get_top_k(const cache_file *file, bit_stream *from, int count_bits, row_values *out)
{
    out->count = get_bits(from, count_bits);
    const uint64_t code = get_bits(from, 16);
    if (out->count > file->width || !get_ids(file, from, out)) return 0;
    const uint64_t largest = get_bits(from, 12);
    const int parameter = (int)get_bits(from, 4);
    const double odds = ((double)code - 32768) / 512;
    const double listed = code ? -log1p(exp(odds)) : 0;
    double sum = 0;
    for (uint64_t i = 0; i < out->count; i++) {
        const uint64_t below = get_code(from, 0, parameter);
        if (below > largest) return 0;
        out->values[i] = -(double)(largest - below) / file->step;
        sum += exp(out->values[i]);
    }
    for (uint64_t i = 0; i < out->count; i++) out->values[i] += listed - log(sum);
    out->tail = !out->count ? 0 : code ? listed + odds : -(double)INFINITY;
    return !from->bad && (out->count || code);
}

static int get_sampled(const cache_file *file, bit_stream *from, int count_bits, row_values *out)
{
    double drawn = 0;
    if (file->entropy) out->entropy = (double)get_bits(from, 16) / 2048;
    out->count = get_bits(from, count_bits);
    if (!out->count || out->count > file->width || !get_ids(file, from, out)) return 0;
    const int parameter = (int)get_bits(from, 4);
    for (uint64_t i = 0; i < out->count; i++) drawn += out->values[i] = 1 + (double)get_code(from, 0, parameter);
    return !from->bad && !(drawn < file->width) && !(drawn > file->width);
}

static void get_dense(const cache_file *file, const uint8_t *at, row_values *out)
{
    out->count = file->width;
    for (uint32_t i = 0; i < file->width; i++, at += file->bits / 8)
        if (file->bits == 32) out->values[i] = float_of((uint32_t)get(at, 4));
        else if (file->tier == HIDDEN) out->values[i] = float_of((uint32_t)get(at, 2) << 16);
        else out->values[i] = half_of((uint32_t)get(at, 2));
}

static void print_row(const cache_file *file, const uint8_t *record, uint64_t position, const row_values *row)
{
    const int sparse = file->tier == TOP_K || file->tier == SAMPLED;
    for (int i = 0; i < 16; i++) printf("%02x", record[i]);
    printf(" %llu %llu", (unsigned long long)get(record + 16, 4), (unsigned long long)position);
    for (uint64_t i = 0; i < row->count && (sparse || i < 8); i++) {
        if (sparse) printf(" %lu:%.6g", (unsigned long)row->ids[i], row->values[i]);
        else printf(" %.9g", row->values[i]);
    }
    if (file->tier == TOP_K) printf(" tail:%.6g", row->tail);
    if (file->entropy) printf(" entropy:%.6g", row->entropy);
    putchar('\n');
}

static int print_record(cache_file *file, const uint8_t *record, row_values *row)
{
    const uint64_t first = get(record + 20, 4), rows = get(record + 24, 4), bytes = get(record + 28, 4);
    const uint64_t row_bytes = (uint64_t)file->width * file->bits / 8;
    bit_stream from = {record + RECORD, 0, bytes * 8, 0};
    int count_bits = 1;
    while (file->width >> count_bits) count_bits++;
    if (file->bits && rows * row_bytes != bytes) return 0;
    for (uint64_t i = 0; i < rows && file->rows_left; i++, file->rows_left--) {
        if (file->tier == TOP_K && !get_top_k(file, &from, count_bits, row)) return 0;
        if (file->tier == SAMPLED && !get_sampled(file, &from, count_bits, row)) return 0;
        if (file->bits) get_dense(file, record + RECORD + i * row_bytes, row);
        print_row(file, record, first + i, row);
    }
    return 1;
}

/* ---- the file ---- */
static int read_file(const char *path, cache_file *out)
{
    FILE *file = fopen(path, "rb");
    if (!file) return perror(path), 0;
    for (size_t got = 1; got;) {
        uint8_t *grown = realloc(out->data, out->size + (1 << 20));
        if (!grown) break;
        out->data = grown;
        out->size += got = fread(out->data + out->size, 1, 1 << 20, file);
    }
    fclose(file);
    return out->data != NULL;
}

static int read_header(cache_file *file)
{
    const uint8_t *data = file->data;
    if (file->size < HEADER || memcmp(data, "DTARGETS", 8) != 0 || get(data + 8, 4) < 1 || get(data + 8, 4) > 2 ||
        get(data + 252, 4) != crc32c(data, 252))
        return 0;
    file->tier = (uint32_t)get(data + 16, 4);
    file->bits = (uint32_t)get(data + 20, 4);
    file->width = (uint32_t)get(data + 24, 4);
    file->step = (uint32_t)get(data + 28, 4);
    file->entropy = (uint32_t)get(data + 132, 4);
    file->vocab = get(data + 32, 8);
    file->valid = get(data + 40, 8);
    if (file->width < 1 || file->width >= 1 << 24 || file->vocab > UINT64_C(1) << 31) return 0;
    if (file->tier == TOP_K) return file->step && !file->bits;
    if (file->tier == SAMPLED) return !file->bits;
    return (file->tier == HIDDEN && (file->bits == 32 || file->bits == 16)) ||
           (file->tier == FULL && file->bits == 16 && file->width == file->vocab);
}

static int print_block(cache_file *file, const uint8_t *payload, uint64_t size, row_values *row)
{
    for (uint64_t at = 0; at < size;) {
        const uint8_t *record = payload + at;
        if (size - at < RECORD || size - at - RECORD < (get(record + 28, 4) + 7) / 8 * 8) return 0;
        if (!print_record(file, record, row)) return 0;
        at += RECORD + (get(record + 28, 4) + 7) / 8 * 8;
    }
    return 1;
}

static int print_blocks(const char *path, cache_file *file, row_values *row)
{
    for (uint64_t at = HEADER; file->size - at >= BLOCK && file->rows_left;) {
        const uint8_t *block = file->data + at;
        const uint64_t size = get(block + 8, 4);
        if (memcmp(block, "DTCB", 4) != 0 || get(block + 4, 4) != crc32c(block + 8, BLOCK - 8))
            return refuse(path, at, "no block begins here");
        if (size > file->size - at - BLOCK) break; /* what a killed writer left */
        if (get(block + 12, 4) != crc32c(block + BLOCK, size)) return refuse(path, at, "the block is damaged");
        if (!print_block(file, block + BLOCK, size, row)) return refuse(path, at, "the block holds no such records");
        at += BLOCK + size;
    }
    return 0;
}

int main(int argc, char **argv)
{
    cache_file file = {.rows_left = argc > 2 ? strtoull(argv[2], NULL, 10) : UINT64_MAX};
    row_values row = {0};
    int rc = 1;
    if (argc < 2) return fprintf(stderr, "usage: read_target_cache FILE [ROWS]\n"), 2;
    if (!read_file(argv[1], &file)) return 1;
    if (!read_header(&file)) rc = refuse(argv[1], 0, "the header is not that of a target cache");
    else {
        row.ids = calloc(file.width, sizeof *row.ids);
        row.values = calloc(file.width, sizeof *row.values);
        if (row.ids && row.values) rc = print_blocks(argv[1], &file, &row);
    }
    free(row.ids);
    free(row.values);
    free(file.data);
    return rc;
}
