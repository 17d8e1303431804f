/* cache_add.c - records become blocks, and blocks go to the end of the file with one write. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "cache/cache_parts.h"

static int32_t begin_block(di_cache *cache, dk_error *err)
{
    static const uint8_t header[DI_CACHE_BLOCK_HEADER];
    int32_t rc;
    if (cache->pending.size) return DK_OK;
    memset(&cache->block, 0, sizeof cache->block);
    dk_strbuf_append(&cache->pending, header, sizeof header);
    DK_TRY(dk_strbuf_check(&cache->pending, err));
    DK_TRY(di_cache_index_place(&cache->index, cache->end, 1, err));
out:
    return rc;
}

/* A record with its header and zeroes. */
static int32_t append(dk_strbuf *to, const di_cache_record *record, const void *rows, size_t size, dk_error *err)
{
    static const uint8_t zeroes[8];
    uint8_t header[DI_CACHE_RECORD_HEADER];
    di_cache_record_write(record, header);
    dk_strbuf_append(to, header, sizeof header);
    dk_strbuf_append(to, rows, size);
    dk_strbuf_append(to, zeroes, (8 - size % 8) % 8);
    return dk_strbuf_check(to, err);
}

static int32_t add_record(di_cache *cache, di_cache_record record, const void *rows, size_t size, dk_error *err)
{
    int32_t rc;
    record.bytes = (uint32_t)size;
    if (cache->pending.size && cache->pending.size + di_cache_record_size(&record) > DI_CACHE_LARGEST_PAYLOAD)
        DK_TRY(di_cache_flush_block(cache, err));
    DK_TRY(begin_block(cache, err));
    const size_t before = cache->pending.size;
    DK_TRY(append(&cache->pending, &record, rows, size, err));
    if ((rc = di_cache_index_add(&cache->index, &record, before - DI_CACHE_BLOCK_HEADER, err))) {
        cache->pending.size = before;
        goto out;
    }
    cache->block.records++;
    cache->block.rows += record.rows;
    cache->index_stale = 1;
out:
    return rc;
}

static int32_t hold(di_cache *cache, const di_cache_record *record, const void *rows, size_t size, dk_error *err)
{
    di_cache_record whole = *record;
    whole.bytes = (uint32_t)size;
    return append(&cache->held, &whole, rows, size, err);
}

int32_t di_cache_add(di_cache *cache, const di_cache_record *record, const void *rows, size_t size, dk_error *err)
{
    int32_t rc;
    if (cache->fd < 0 && !cache->holds) return dk_fail(err, DK_E_STAGE, "%s: is open to be read alone", cache->path);
    if (!size || size > DI_CACHE_LARGEST_PAYLOAD - 64 || !record->rows || record->length > INT32_MAX ||
        record->first >= record->length || record->rows > record->length - record->first)
        return dk_fail(err, DK_E_INVALID, "%s: rows %u to %llu of a sequence of %u tokens in %llu bytes cannot be kept",
                       cache->path, (unsigned)record->first, (unsigned long long)record->first + record->rows,
                       (unsigned)record->length, (unsigned long long)size);
    pthread_mutex_lock(&cache->lock);
    if (cache->holds) {
        rc = hold(cache, record, rows, size, err);
        goto out;
    }
    DK_TRY(add_record(cache, *record, rows, size, err));
    if (cache->pending.size >= DI_CACHE_BLOCK_TARGET) DK_TRY(di_cache_flush_block(cache, err));
out:
    pthread_mutex_unlock(&cache->lock);
    return rc;
}

static int32_t write_fully(di_cache *cache, const char *data, size_t size, dk_error *err)
{
    for (size_t at = 0; at < size;) {
        const ssize_t put = pwrite(cache->fd, data + at, size - at, (off_t)(cache->end + at));
        if (put < 0 && errno == EINTR) continue;
        if (put >= 0) {
            at += (size_t)put;
            continue;
        }
        cache->failed = 1;
        dk_fail_errno(err, errno, "%s: cannot be written; what it holds stays whole", cache->path);
        if (ftruncate(cache->fd, (off_t)cache->end)) dk_error_context(err, "%s: the end could not be cut", cache->path);
        return err ? err->code : DK_E_IO;
    }
    return DK_OK;
}

int32_t di_cache_flush_block(di_cache *cache, dk_error *err)
{
    uint8_t *data = (uint8_t *)cache->pending.data;
    int32_t rc;
    if (!cache->block.records) return DK_OK;
    cache->block.size = cache->pending.size - DI_CACHE_BLOCK_HEADER;
    cache->block.crc = dk_crc32c(0, data + DI_CACHE_BLOCK_HEADER, (size_t)cache->block.size);
    di_cache_block_write(&cache->block, data);
    DK_TRY(write_fully(cache, cache->pending.data, cache->pending.size, err));
    cache->end += cache->pending.size;
    dk_strbuf_clear(&cache->pending);
    memset(&cache->block, 0, sizeof cache->block);
out:
    return rc;
}

/* The file as it is now, for the checksums that the index holds. */
static int32_t save_index(di_cache *cache, dk_error *err)
{
    dk_mapping map = {0};
    int32_t rc;
    DK_TRY(dk_map_open(cache->host, cache->path, 1, &map, err));
    if (map.size < cache->end)
        DK_TRY(dk_fail(err, DK_E_IO, "%s: has %llu bytes where %llu were written", cache->path,
                       (unsigned long long)map.size, (unsigned long long)cache->end));
    DK_TRY(di_cache_index_save(&cache->index, cache->index_path, map.data, cache->end, err));
    cache->index_stale = 0;
out:
    dk_map_close(&map);
    return rc;
}

int32_t di_cache_flush(di_cache *cache, dk_error *err)
{
    dk_error problem;
    int32_t rc = DK_OK;
    dk_error_clear(&problem);
    if (cache->fd < 0) return DK_OK;
    pthread_mutex_lock(&cache->lock);
    DK_TRY(di_cache_flush_block(cache, err));
    if (!cache->index_stale) goto out;
    if (fsync(cache->fd) && errno != EINVAL && errno != ENOTSUP)
        DK_TRY(dk_fail_errno(err, errno, "%s: cannot be written", cache->path));
    if (save_index(cache, &problem)) /* a reader makes it again */
        dk_log(cache->host, DK_LOG_WARN, "cache", "%s; the next one who opens the cache reads all of it",
               problem.message);
out:
    pthread_mutex_unlock(&cache->lock);
    return rc;
}
