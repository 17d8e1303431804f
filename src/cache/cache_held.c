/* cache_held.c - what several processes ask for one file: each holds the records that it made, all are given to all,
 * and every process adds them in one order, whoever writes the file to it and the others to their index. */
#include <string.h>

#include "cache/cache_parts.h"

void di_cache_hold(di_cache *cache) { cache->holds = 1; }
int32_t di_cache_holds(const di_cache *cache) { return cache->holds; }
const dk_strbuf *di_cache_held(const di_cache *cache) { return &cache->held; }
void di_cache_drop_held(di_cache *cache) { dk_strbuf_clear(&cache->held); }

/* Of what another process says: a row takes some of the bytes. */
static int32_t next(const char *records, uint64_t at, uint64_t size, di_cache_record *out)
{
    return di_cache_record_read((const uint8_t *)records, at, size, out) && out->rows / 8 <= out->bytes;
}

int32_t di_cache_has_any(di_cache *cache, const char *records, uint64_t size)
{
    di_cache_record record;
    for (uint64_t at = 0; next(records, at, size, &record); at += di_cache_record_size(&record))
        for (uint32_t i = 0; i < record.rows; i++)
            if (di_cache_has(cache, record.key, record.length, (int64_t)record.first + i)) return 1;
    return 0;
}

static int32_t know(di_cache *cache, const di_cache_record *record, dk_error *err)
{
    const di_cache_index *index = &cache->index;
    const int64_t last = index->place_count - 1;
    int32_t rc = DK_OK;
    pthread_mutex_lock(&cache->lock);
    if (last < 0 || index->places[last].offset != DI_CACHE_ELSEWHERE)
        DK_TRY(di_cache_index_place(&cache->index, DI_CACHE_ELSEWHERE, 1, err));
    DK_TRY(di_cache_index_add(&cache->index, record, 0, err));
out:
    pthread_mutex_unlock(&cache->lock);
    return rc;
}

int32_t di_cache_put(di_cache *cache, const char *records, uint64_t size, dk_error *err)
{
    const int32_t holds = cache->holds;
    di_cache_record record;
    uint64_t at = 0;
    int32_t rc = DK_OK;
    cache->holds = 0;
    for (; at < size; at += di_cache_record_size(&record)) {
        if (!next(records, at, size, &record))
            DK_TRY(dk_fail(err, DK_E_INVALID, "%s: byte %llu of %llu that were exchanged begins no record", cache->path,
                           (unsigned long long)at, (unsigned long long)size));
        if (cache->fd < 0) DK_TRY(know(cache, &record, err));
        else DK_TRY(di_cache_add(cache, &record, records + at + DI_CACHE_RECORD_HEADER, record.bytes, err));
    }
out:
    cache->holds = holds;
    return rc;
}
