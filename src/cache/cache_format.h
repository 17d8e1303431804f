/* cache_format.h - the headers inside a target cache, as docs/target-cache.md has them, byte by byte. */
#ifndef DI_CACHE_CACHE_FORMAT_H
#define DI_CACHE_CACHE_FORMAT_H

#include "base/status.h"

#define DI_CACHE_MAGIC "DTARGETS"
#define DI_CACHE_BLOCK_MAGIC "DTCB"
enum { DI_CACHE_VERSION = 2, DI_CACHE_HEADER = 256, DI_CACHE_BLOCK_HEADER = 32, DI_CACHE_RECORD_HEADER = 32 };
enum { DI_CACHE_LARGEST_STEP = 1024, DI_CACHE_LARGEST_WIDTH = (1 << 24) - 1, DI_CACHE_LARGEST_PAYLOAD = INT32_MAX - 7 };
typedef enum { DI_TIER_HIDDEN = 1, DI_TIER_FULL, DI_TIER_TOP_K, DI_TIER_SAMPLED, DI_TIER_END } di_tier;

typedef struct di_cache_header { /* what all rows of a file have in common */
    int32_t tier;                /* DI_TIER_* */
    uint32_t bits;               /* hidden: 32 = f32, 16 = bf16; full: 16 = f16; else 0 */
    uint32_t width;              /* hidden: of the state; full: vocab; top_k: k; sampled: draws */
    uint32_t step;               /* top_k: log-probabilities are kept in 1/step; else 0 */
    int64_t vocab, vocab_valid;  /* ids below the second count */
    double temperature;          /* of the distributions; hidden: 1 */
    uint64_t seed;               /* sampled: of the draws; else 0 */
    uint8_t tokenizer[32], teacher[32];
    uint32_t key_parts; /* DI_CACHE_BY_*: what a sequence is found by beside its ids */
    uint32_t entropy; /* sampled: 1 = rows have that of their distribution; such a file is of version 2, others of 1 */
} di_cache_header;
enum { DI_CACHE_BY_SOURCE = 1, DI_CACHE_BY_TAG = 2, DI_CACHE_BY_PROMPT = 4, DI_CACHE_BY_ALL = 7 };
typedef struct di_cache_origin { /* of a sequence */
    const char *source, *tag;    /* never NULL */
    int64_t prompt;              /* tokens up to the first that is asked about, and that one */
} di_cache_origin;

typedef struct di_cache_block {
    uint64_t size; /* of the payload, a multiple of 8 */
    uint32_t crc;  /* of it */
    uint32_t records;
    uint64_t rows;
} di_cache_block;

typedef struct di_cache_record { /* a run of rows of one sequence */
    uint8_t key[16];             /* of the sequence: di_cache_key */
    uint32_t length;             /* of the sequence, tokens */
    uint32_t first, rows;        /* positions [first, first + rows) */
    uint32_t bytes;              /* of its rows; zeroes up to a multiple of 8 follow */
} di_cache_record;

const char *di_tier_name(int32_t tier);                                /* "top_k" */
int32_t di_tier_find(const char *name);                                /* 0 = there is none */
void di_cache_key(const int32_t *ids, int64_t count, uint8_t key[16]); /* of a whole sequence */
/* The same where it is found by parts of its origin, too. */
void di_cache_key_of(const int32_t *ids, int64_t count, uint32_t parts, const di_cache_origin *origin, uint8_t key[16]);

int32_t di_cache_header_check(const di_cache_header *header, const char *path, dk_error *err);
void di_cache_header_write(const di_cache_header *header, uint8_t out[DI_CACHE_HEADER]);
/* Every byte of the header is checked. */
int32_t di_cache_header_read(const uint8_t *data, uint64_t size, const char *path, di_cache_header *out, dk_error *err);
/* E_MISMATCH names the first thing that differs, with both values. */
int32_t di_cache_header_match(const di_cache_header *file, const di_cache_header *wanted, const char *path,
                              dk_error *err);

void di_cache_block_write(const di_cache_block *block, uint8_t out[DI_CACHE_BLOCK_HEADER]);
int32_t di_cache_block_read(const uint8_t *data, di_cache_block *out); /* 0 = these bytes are none */
void di_cache_record_write(const di_cache_record *record, uint8_t out[DI_CACHE_RECORD_HEADER]);
/* Bytes [at, size) of a payload: 0 = no record that fits in there. */
int32_t di_cache_record_read(const uint8_t *payload, uint64_t at, uint64_t size, di_cache_record *out);
uint64_t di_cache_record_size(const di_cache_record *record); /* with its header and zeroes */

void di_put(uint8_t *at, uint64_t value, int bytes);
uint64_t di_get(const uint8_t *at, int bytes);

#endif
