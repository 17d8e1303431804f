/* target_cache.h - a file that keeps what a model said about rows, so that it is asked once. docs/target-cache.md
 * has its bytes.
 *
 * Rows are found by the ids of their whole sequence and their position in it. A cache is opened to read, or to read and
 * add; who adds holds a lock on the file. What was added is found at once and is in the file when its block is full or
 * flushed: a process that is killed loses that block at most. All functions may be called by several threads. */
#ifndef DI_CACHE_TARGET_CACHE_H
#define DI_CACHE_TARGET_CACHE_H

#include "cache/cache_rows.h"

typedef struct di_cache di_cache;
enum {
    DI_CACHE_SKIP_DAMAGED = 1, /* blocks whose checksum differs are left out, with a warning; else they are E_FORMAT */
    DI_CACHE_IGNORE_INDEX = 2  /* every block is read and checked at once */
};

int32_t di_cache_open(dk_host *host, const char *path, int32_t flags, di_cache **out, dk_error *err);
/* Made where there is none; one of another header is E_MISMATCH, one that somebody adds to E_BUSY. What a killed
 * process left of a block is cut off. */
int32_t di_cache_open_to_add(dk_host *host, const char *path, const di_cache_header *header, int32_t flags,
                             di_cache **out, dk_error *err);
/* One that is empty, for measurements: there is no file, and none is made. */
int32_t di_cache_open_unmade(dk_host *host, const char *path, const di_cache_header *header, di_cache **out,
                             dk_error *err);
void di_cache_free(di_cache *cache); /* NULL is fine; a block that was not flushed is lost */

/* Bytes of whole rows, as a di_row_writer of this header gives them; record->bytes is set here. */
int32_t di_cache_add(di_cache *cache, const di_cache_record *record, const void *rows, size_t size, dk_error *err);
/* What was added is on the disk, and the index beside it is up to date. */
int32_t di_cache_flush(di_cache *cache, dk_error *err);

/* ---- cache_held.c: several processes fill one file ---- */
/* From here on what is added is held, and is in no file and found by nobody; also where the file is open to be read
 * alone. */
void di_cache_hold(di_cache *cache);
int32_t di_cache_holds(const di_cache *cache);
const dk_strbuf *di_cache_held(const di_cache *cache); /* records, as a block has them */
void di_cache_drop_held(di_cache *cache);
/* Does the cache have any row of these records? */
int32_t di_cache_has_any(di_cache *cache, const char *records, uint64_t size);
/* Adds what anybody held: to the file, or where it is not open for that to the index alone: it is known, and cannot be
 * read. */
int32_t di_cache_put(di_cache *cache, const char *records, uint64_t size, dk_error *err);

typedef struct di_cache_rows { /* of one record */
    di_cache_record record;
    const void *data; /* in the file's map, or in the buffer */
} di_cache_rows;
/* DK_E_END = not there (no message is made of it). buffer: of the caller's, for records that are not mapped. */
int32_t di_cache_find(di_cache *cache, const uint8_t key[16], int64_t length, int64_t position, dk_strbuf *buffer,
                      di_cache_rows *out, dk_error *err);
int32_t di_cache_has(di_cache *cache, const uint8_t key[16], int64_t length, int64_t position); /* by the index alone */
/* Record number i in the order of the file. */
int32_t di_cache_record_at(di_cache *cache, int64_t i, dk_strbuf *buffer, di_cache_rows *out, dk_error *err);
int32_t di_cache_reader(const di_cache *cache, const di_cache_rows *rows, di_row_reader *out, dk_error *err);

typedef struct di_cache_info {
    int64_t records, rows, blocks, bytes; /* bytes: of the file up to its last whole block */
    int64_t cut_off;                      /* bytes behind them: what a killed process left of a block */
    int64_t damaged;                      /* blocks that were left out */
} di_cache_info;
di_cache_info di_cache_get_info(di_cache *cache);
const di_cache_header *di_cache_get_header(const di_cache *cache);
const char *di_cache_path(const di_cache *cache);
int32_t di_cache_can_add(const di_cache *cache);
int32_t di_cache_failed(const di_cache *cache); /* a write failed before, which was told then */

int32_t di_cache_is(const char *path); /* 1 = begins like one */
/* {"kind":"target_cache",...}: header and counts. every_row: blocks and rows are read, too, and what is damaged is
 * listed: "whole", "problem" (the first), "damaged" [{"block","offset","bytes","problem"}]. */
int32_t di_cache_inspect(dk_host *host, const char *path, int32_t every_row, dk_strbuf *json, dk_error *err);
/* Every block and every row is read; E_FORMAT names the first that is damaged. */
int32_t di_cache_verify(dk_host *host, const char *path, di_cache_info *out, dk_error *err);
/* Records of paths that `into` lacks are added to it; all are of one header. */
int32_t di_cache_merge(dk_host *host, const char *const *paths, int64_t count, const char *into, int32_t flags,
                       dk_error *err);

#endif
