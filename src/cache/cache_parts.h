/* cache_parts.h - an open target cache from inside. Private to src/cache. */
#ifndef DI_CACHE_CACHE_PARTS_H
#define DI_CACHE_CACHE_PARTS_H

#include <pthread.h>

#include "base/file.h"
#include "cache/cache_index.h"
#include "cache/target_cache.h"

enum { DI_CACHE_BLOCK_TARGET = 1 << 18 }; /* bytes after which a block is written */

/* Of verifying: {"block":...,"offset":...,"bytes":...,"problem":"..."}, one behind the other with commas between. */
typedef struct di_cache_damages {
    dk_strbuf json;
    int64_t count;
    char first[256]; /* the first one as a message */
} di_cache_damages;

struct di_cache {
    dk_host *host;
    char *path, *index_path;
    int32_t flags;
    di_cache_damages *damages; /* NULL = damage is an error, or with DI_CACHE_SKIP_DAMAGED a warning */
    di_cache_header header;
    float *powers;   /* [DI_ROW_POWERS] of top_k */
    dk_mapping map;  /* of the file as it was opened */
    uint64_t mapped; /* bytes of it up to the last whole block */
    uint64_t end;    /* bytes of the file up to the last whole block */
    int64_t cut_off, damaged;
    pthread_mutex_t lock; /* of what follows */
    di_cache_index index;
    int fd;            /* -1 = nothing is added */
    dk_strbuf pending; /* header and payload of the block that begins at end */
    di_cache_block block;
    int32_t index_stale;
    int32_t failed; /* a write did, and that was told */
    int32_t holds;  /* what is added goes to held */
    dk_strbuf held;
};

/* The offset of a place whose records are in a file that somebody else writes. */
#define DI_CACHE_ELSEWHERE UINT64_MAX

/* Blocks of the map from `from` on, into the index. */
int32_t di_cache_scan(di_cache *cache, uint64_t from, dk_error *err);
/* Block number place, at these bytes of the file, cannot be used; what: why. */
int32_t di_cache_block_damaged(di_cache *cache, int64_t place, uint64_t offset, uint64_t bytes, const char *what,
                               dk_error *err);
int32_t di_cache_open_listed(dk_host *host, const char *path, int32_t flags, di_cache_damages *damages, di_cache **out,
                             dk_error *err);
int32_t di_cache_flush_block(di_cache *cache, dk_error *err); /* under the lock */

#endif
