/* cache_scan.c - from block to block through a mapped cache. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "cache/cache_parts.h"

static void list_damage(di_cache_damages *list, const char *path, int64_t place, uint64_t offset, uint64_t bytes,
                        const char *what)
{
    if (!list->count++)
        snprintf(list->first, sizeof list->first, "%.100s: block %lld at byte %llu is damaged: %s", path,
                 (long long)place, (unsigned long long)offset, what);
    dk_strbuf_printf(&list->json,
                     "%s{\"block\":%lld,\"offset\":%llu,\"bytes\":%llu,\"problem\":", list->count > 1 ? "," : "",
                     (long long)place, (unsigned long long)offset, (unsigned long long)bytes);
    dk_strbuf_json(&list->json, what, strlen(what));
    dk_strbuf_puts(&list->json, "}");
}

int32_t di_cache_block_damaged(di_cache *cache, int64_t place, uint64_t offset, uint64_t bytes, const char *what,
                               dk_error *err)
{
    if (cache->damages) list_damage(cache->damages, cache->path, place, offset, bytes, what);
    else if (!(cache->flags & DI_CACHE_SKIP_DAMAGED))
        return dk_fail_at(err, DK_E_FORMAT, (int64_t)offset,
                          "%s: block %lld at byte %llu is damaged: %s; merge the file into a new one "
                          "and skip what is damaged, or make it again",
                          cache->path, (long long)place, (unsigned long long)offset, what);
    else
        dk_log(cache->host, DK_LOG_WARN, "cache", "%s: block %lld at byte %llu is damaged and left out: %s",
               cache->path, (long long)place, (unsigned long long)offset, what);
    cache->damaged++;
    return DK_OK;
}

static int32_t all_zero(const uint8_t *data, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++)
        if (data[i]) return 0;
    return 1;
}

/* The next place behind `at` where a whole block begins; the end of the map where there is none. */
static uint64_t find_block(const di_cache *cache, uint64_t at)
{
    di_cache_block block;
    for (at += 8; at <= cache->map.size - DI_CACHE_BLOCK_HEADER; at += 8)
        if (di_cache_block_read(cache->map.data + at, &block) &&
            block.size <= cache->map.size - at - DI_CACHE_BLOCK_HEADER &&
            dk_crc32c(0, cache->map.data + at + DI_CACHE_BLOCK_HEADER, (size_t)block.size) == block.crc)
            return at;
    return cache->map.size;
}

/* 0 = the records do not fill the payload */
static int32_t count_records(const di_cache_block *block, const uint8_t *payload)
{
    di_cache_record record;
    uint64_t at = 0, records = 0, rows = 0;
    for (; at < block->size; at += di_cache_record_size(&record), records++, rows += record.rows)
        if (!di_cache_record_read(payload, at, block->size, &record)) return 0;
    return records == block->records && rows == block->rows;
}

static int32_t add_records(di_cache *cache, uint64_t offset, const di_cache_block *block, dk_error *err)
{
    const uint8_t *payload = cache->map.data + offset + DI_CACHE_BLOCK_HEADER;
    di_cache_record record;
    int32_t rc;
    DK_TRY(di_cache_index_place(&cache->index, offset, 1, err));
    for (uint64_t at = 0; at < block->size; at += di_cache_record_size(&record)) {
        di_cache_record_read(payload, at, block->size, &record);
        DK_TRY(di_cache_index_add(&cache->index, &record, at, err));
    }
out:
    return rc;
}

/* One block at *at, which moves behind it. *end = nothing whole follows. */
static int32_t scan_block(di_cache *cache, uint64_t *at, int32_t *end, dk_error *err)
{
    const uint8_t *data = cache->map.data + *at;
    const uint64_t left = cache->map.size - *at;
    di_cache_block block;
    int32_t rc = DK_OK, whole;
    *end = 1;
    if (left < DI_CACHE_BLOCK_HEADER || all_zero(data, left < 4096 ? left : 4096)) {
        if (left < DI_CACHE_BLOCK_HEADER || all_zero(data, left)) return DK_OK;
    }
    whole = di_cache_block_read(data, &block);
    if (whole && block.size > left - DI_CACHE_BLOCK_HEADER) return DK_OK;
    *end = 0;
    const uint8_t *payload = data + DI_CACHE_BLOCK_HEADER;
    const char *problem = !whole                                                   ? "its header is none"
                          : dk_crc32c(0, payload, (size_t)block.size) != block.crc ? "its checksum differs"
                          : !count_records(&block, payload)                        ? "its records do not fill it"
                                                                                   : NULL;
    const uint64_t next = whole ? *at + DI_CACHE_BLOCK_HEADER + block.size : find_block(cache, *at);
    if (problem)
        DK_TRY(di_cache_block_damaged(cache, cache->index.place_count + cache->damaged, *at, next - *at, problem, err));
    else DK_TRY(add_records(cache, *at, &block, err));
    *at = next;
out:
    return rc;
}

int32_t di_cache_scan(di_cache *cache, uint64_t from, dk_error *err)
{
    uint64_t at = from;
    int32_t end = 0, rc = DK_OK;
    while (at < cache->map.size && !end) {
        if (dk_host_cancelled(cache->host))
            DK_TRY(dk_fail(err, DK_E_CANCELLED, "%s: reading was cancelled", cache->path));
        DK_TRY(scan_block(cache, &at, &end, err));
    }
    cache->end = cache->mapped = at;
    cache->cut_off = (int64_t)(cache->map.size - at);
out:
    return rc;
}
