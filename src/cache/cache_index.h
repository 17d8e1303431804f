/* cache_index.h - where the rows of a sequence lie: a table in memory, and the file FILE.index beside a cache that
 * holds it. The file can be made again from the cache at any time; one that does not fit its cache is left unread. */
#ifndef DI_CACHE_CACHE_INDEX_H
#define DI_CACHE_CACHE_INDEX_H

#include "base/host.h"
#include "cache/cache_format.h"

typedef struct di_cache_entry {
    uint8_t key[16];
    uint32_t length, first, rows;
    uint32_t at;    /* of the record's header in the payload of its block */
    uint32_t block; /* number of it */
    int32_t next;   /* of the same chain; -1 = none */
} di_cache_entry;

typedef struct di_cache_place { /* a block */
    uint64_t offset;            /* of its header in the file */
    uint8_t checked;            /* its checksum was found right */
    uint8_t damaged;            /* or not, and that was told */
} di_cache_place;

typedef struct di_cache_index {
    dk_host *host;
    di_cache_entry *entries;
    int64_t entry_count, entry_room;
    di_cache_place *places;
    int64_t place_count, place_room;
    int32_t *heads; /* [head_count], a power of two; first entry of a chain */
    int64_t head_count;
    int64_t rows;
} di_cache_index;

void di_cache_index_init(di_cache_index *index, dk_host *host);
void di_cache_index_free(di_cache_index *index);
void di_cache_index_clear(di_cache_index *index);
int32_t di_cache_index_place(di_cache_index *index, uint64_t offset, int32_t checked, dk_error *err); /* a new block */
/* A record of the last block. */
int32_t di_cache_index_add(di_cache_index *index, const di_cache_record *record, uint64_t at, dk_error *err);
/* The entry after `after` (NULL = the first) that holds the position; NULL = none. */
const di_cache_entry *di_cache_index_find(const di_cache_index *index, const uint8_t key[16], uint32_t length,
                                          uint32_t position, const di_cache_entry *after);

int64_t di_cache_index_sequences(const di_cache_index *index); /* that differ */

/* covered: bytes of the cache that the index speaks of, whole blocks. */
int32_t di_cache_index_save(const di_cache_index *index, const char *path, const uint8_t *cache, uint64_t covered,
                            dk_error *err);
/* *covered 0 = there is none that fits the cache's bytes [0, size). */
int32_t di_cache_index_load(di_cache_index *index, const char *path, const uint8_t *cache, uint64_t size,
                            uint64_t *covered, dk_error *err);
char *di_cache_index_path(dk_host *host, const char *cache_path); /* NULL = no memory */

#endif
