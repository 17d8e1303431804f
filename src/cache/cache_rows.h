/* cache_rows.h - rows of targets to bytes of a record and back.
 *
 * What is kept is exact but for: full, f16 of logit - largest logit (off by at most 2^-11 of itself); top_k, the
 * log-probabilities relative to the largest in 1/step, scaled so that they and the tail make 1 (off by at most
 * 1/step + 1/1024), the tail's log-odds in 1/512; the entropy of draws in 1/2048 nats; hidden in bf16, its rounding.
 * Ids further than 4095/step below the largest are the tail's. */
#ifndef DI_CACHE_CACHE_ROWS_H
#define DI_CACHE_CACHE_ROWS_H

#include "cache/bit_code.h"
#include "cache/cache_format.h"

typedef struct di_row_writer di_row_writer;
int32_t di_row_writer_create(dk_host *host, const di_cache_header *header, di_row_writer **out, dk_error *err);
void di_row_writer_free(di_row_writer *writer);
/* hidden: values [width]; full: logits [vocab]; top_k: ids and log-probabilities [k], beside the log of the rest,
 * unused ids -1, any order; sampled: ids and counts [k], beside the entropy where the header has it. E_NUMERIC: a value
 * that is no number; E_INVALID: an id twice, outside or without a whole count. What fails leaves nothing behind. */
int32_t di_row_put(di_row_writer *writer, const int32_t *ids, const float *values, int64_t k, double beside,
                   dk_error *err);
/* Bytes of the rows since the last call, until the next put. */
int32_t di_row_writer_take(di_row_writer *writer, const void **data, size_t *size, int64_t *rows, dk_error *err);
int64_t di_row_writer_bytes(const di_row_writer *writer); /* so far */

typedef struct di_row_reader {
    const di_cache_header *header;
    const float *powers; /* [4096] exp(-u/step); NULL but for top_k */
    const uint8_t *data;
    size_t size;
    int64_t rows, row; /* of the record, the next */
    di_bit_reader bits;
} di_row_reader;
enum { DI_ROW_POWERS = 4096 };
void di_row_powers(const di_cache_header *header, float powers[DI_ROW_POWERS]);
/* E_FORMAT: so many bytes are not so many rows. powers: as di_row_powers has them for top_k. */
int32_t di_row_reader_begin(di_row_reader *reader, const di_cache_header *header, const float *powers, const void *data,
                            size_t size, int64_t rows, dk_error *err);
/* The next row: ids [width] ascending and values [width] of top_k and sampled, *count of them; values [width] of hidden
 * and full, *count = width; beside as it was put, -inf where nothing was. E_FORMAT: the bytes are none. */
int32_t di_row_get(di_row_reader *reader, int32_t *ids, float *values, int64_t *count, float *beside, dk_error *err);
int32_t di_row_skip(di_row_reader *reader, int64_t rows, int32_t *ids, float *values, dk_error *err);

#endif
