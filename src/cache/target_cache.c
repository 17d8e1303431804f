#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/hash.h"
#include "cache/cache_parts.h"

static int32_t create(dk_host *host, const char *path, int32_t flags, di_cache **out, dk_error *err)
{
    di_cache *cache;
    int32_t rc;
    DK_TRY(dk_new(host, 1, &cache, err));
    if (pthread_mutex_init(&cache->lock, NULL)) {
        dk_free(host, cache);
        return dk_fail_nomem(err, sizeof cache->lock);
    }
    cache->host = dk_host_retain(host);
    cache->flags = flags;
    cache->fd = -1;
    di_cache_index_init(&cache->index, host);
    dk_strbuf_init(&cache->pending, host);
    dk_strbuf_init(&cache->held, host);
    *out = cache;
    if (!(cache->path = dk_strdup(host, path)) || !(cache->index_path = di_cache_index_path(host, path)))
        DK_TRY(dk_fail_nomem(err, strlen(path) + 8));
out:
    return rc;
}

void di_cache_free(di_cache *cache)
{
    if (!cache) return;
    dk_host *host = cache->host;
    if (cache->fd >= 0) close(cache->fd);
    dk_map_close(&cache->map);
    di_cache_index_free(&cache->index);
    dk_strbuf_free(&cache->pending);
    dk_strbuf_free(&cache->held);
    pthread_mutex_destroy(&cache->lock);
    dk_free(host, cache->powers);
    dk_free(host, cache->path);
    dk_free(host, cache->index_path);
    dk_free(host, cache);
    dk_host_release(host);
}

/* Header, index, and the blocks that the index does not know. */
static int32_t read_file(di_cache *cache, dk_error *err)
{
    uint64_t covered = 0;
    int32_t rc;
    DK_TRY(dk_map_open(cache->host, cache->path, 1, &cache->map, err));
    DK_TRY(di_cache_header_read(cache->map.data, cache->map.size, cache->path, &cache->header, err));
    if (cache->header.tier == DI_TIER_TOP_K) {
        DK_TRY(dk_new(cache->host, DI_ROW_POWERS, &cache->powers, err));
        di_row_powers(&cache->header, cache->powers);
    }
    if (!(cache->flags & DI_CACHE_IGNORE_INDEX))
        DK_TRY(di_cache_index_load(&cache->index, cache->index_path, cache->map.data, cache->map.size, &covered, err));
    cache->index_stale = !covered || covered < cache->map.size;
    DK_TRY(di_cache_scan(cache, covered ? covered : DI_CACHE_HEADER, err));
out:
    return rc;
}

int32_t di_cache_open_listed(dk_host *host, const char *path, int32_t flags, di_cache_damages *damages, di_cache **out,
                             dk_error *err)
{
    di_cache *cache = NULL;
    int32_t rc;
    DK_TRY(create(host, path, flags, &cache, err));
    cache->damages = damages;
    DK_TRY(read_file(cache, err));
out:
    if (rc) di_cache_free(cache);
    else *out = cache;
    return rc;
}

int32_t di_cache_open(dk_host *host, const char *path, int32_t flags, di_cache **out, dk_error *err)
{
    return di_cache_open_listed(host, path, flags, NULL, out, err);
}

int32_t di_cache_open_unmade(dk_host *host, const char *path, const di_cache_header *header, di_cache **out,
                             dk_error *err)
{
    di_cache *cache = NULL;
    int32_t rc;
    DK_TRY(di_cache_header_check(header, path, err));
    DK_TRY(create(host, path, 0, &cache, err));
    cache->header = *header;
out:
    if (rc) di_cache_free(cache);
    else *out = cache;
    return rc;
}

/* A new file, or one whose writer was killed inside the header. */
static int32_t begin_file(di_cache *cache, const di_cache_header *header, dk_error *err)
{
    uint8_t wanted[DI_CACHE_HEADER], found[DI_CACHE_HEADER];
    di_cache_header_write(header, wanted);
    const ssize_t got = pread(cache->fd, found, sizeof found, 0);
    if (got < 0) return dk_fail_errno(err, errno, "%s: cannot be read", cache->path);
    if (got == (ssize_t)sizeof found || memcmp(found, wanted, (size_t)got) != 0) return DK_OK;
    for (size_t at = 0; at < sizeof wanted;) {
        const ssize_t put = pwrite(cache->fd, wanted + at, sizeof wanted - at, (off_t)at);
        if (put < 0 && errno != EINTR) return dk_fail_errno(err, errno, "%s: cannot be written", cache->path);
        if (put > 0) at += (size_t)put;
    }
    return DK_OK;
}

static int32_t lock_file(di_cache *cache, dk_error *err)
{
    cache->fd = open(cache->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (cache->fd < 0) return dk_fail_errno(err, errno, "%s: cannot be opened to add to it", cache->path);
    if (flock(cache->fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return DK_OK; /* or no locks here */
    return dk_fail(err, DK_E_BUSY, "%s: another writer adds to it: give each its own file and merge them", cache->path);
}

int32_t di_cache_open_to_add(dk_host *host, const char *path, const di_cache_header *header, int32_t flags,
                             di_cache **out, dk_error *err)
{
    di_cache *cache = NULL;
    int32_t rc;
    DK_TRY(di_cache_header_check(header, path, err));
    DK_TRY(create(host, path, flags, &cache, err));
    DK_TRY(lock_file(cache, err));
    DK_TRY(begin_file(cache, header, err));
    DK_TRY(read_file(cache, err));
    DK_TRY(di_cache_header_match(&cache->header, header, path, err));
    if (cache->cut_off) {
        dk_log(host, DK_LOG_WARN, "cache", "%s: the last %lld bytes are no whole block and are cut off", path,
               (long long)cache->cut_off);
        if (ftruncate(cache->fd, (off_t)cache->end)) DK_TRY(dk_fail_errno(err, errno, "%s: cannot be cut", path));
    }
out:
    if (rc) di_cache_free(cache);
    else *out = cache;
    return rc;
}

/* ---- finding ---- */
static int32_t check_block(di_cache *cache, uint32_t number, dk_error *err)
{
    di_cache_place *place = &cache->index.places[number];
    const uint8_t *data = cache->map.data + place->offset;
    di_cache_block block;
    if (place->offset == DI_CACHE_ELSEWHERE) return DK_E_END;
    if (place->checked) return DK_OK;
    if (place->damaged) return DK_E_END;
    if (place->offset <= cache->mapped - DI_CACHE_BLOCK_HEADER && di_cache_block_read(data, &block) &&
        block.size <= cache->mapped - place->offset - DI_CACHE_BLOCK_HEADER &&
        dk_crc32c(0, data + DI_CACHE_BLOCK_HEADER, (size_t)block.size) == block.crc) {
        place->checked = 1;
        return DK_OK;
    }
    const uint64_t next = (int64_t)number + 1 < cache->index.place_count ? place[1].offset : cache->mapped;
    const int32_t rc =
        di_cache_block_damaged(cache, number, place->offset, next - place->offset, "its checksum differs", err);
    place->damaged = rc == DK_OK;
    return rc ? rc : DK_E_END;
}

static int32_t read_fully(di_cache *cache, uint64_t offset, void *out, size_t size, dk_error *err)
{
    for (size_t at = 0; at < size;) {
        const ssize_t got = pread(cache->fd, (char *)out + at, size - at, (off_t)(offset + at));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return dk_fail_errno(err, errno, "%s: cannot be read", cache->path);
        if (!got) return dk_fail(err, DK_E_IO, "%s: was cut while it was written", cache->path);
        at += (size_t)got;
    }
    return DK_OK;
}

/* Bytes [at, at + size) of the file behind the map: on the disk, or not yet. */
static int32_t read_behind(di_cache *cache, uint64_t at, size_t size, dk_strbuf *buffer, dk_error *err)
{
    uint8_t part[4096];
    int32_t rc = DK_OK;
    if (at >= cache->end) dk_strbuf_append(buffer, cache->pending.data + (at - cache->end), size);
    else
        for (size_t done = 0; done < size;) {
            const size_t n = size - done < sizeof part ? size - done : sizeof part;
            DK_TRY(read_fully(cache, at + done, part, n, err));
            dk_strbuf_append(buffer, part, n);
            done += n;
        }
    DK_TRY(dk_strbuf_check(buffer, err));
out:
    return rc;
}

static int32_t load_behind(di_cache *cache, uint64_t at, dk_strbuf *buffer, di_cache_rows *out, dk_error *err)
{
    int32_t rc;
    dk_strbuf_clear(buffer);
    DK_TRY(read_behind(cache, at, DI_CACHE_RECORD_HEADER, buffer, err));
    out->record.bytes = (uint32_t)di_get((const uint8_t *)buffer->data + 28, 4);
    DK_TRY(read_behind(cache, at + DI_CACHE_RECORD_HEADER, out->record.bytes, buffer, err));
    out->data = buffer->data + DI_CACHE_RECORD_HEADER;
out:
    return rc;
}

static int32_t load(di_cache *cache, const di_cache_entry *entry, dk_strbuf *buffer, di_cache_rows *out, dk_error *err)
{
    di_cache_block block;
    int32_t rc;
    DK_TRY(check_block(cache, entry->block, err));
    const uint64_t offset = cache->index.places[entry->block].offset;
    out->record = (di_cache_record){.length = entry->length, .first = entry->first, .rows = entry->rows};
    memcpy(out->record.key, entry->key, 16);
    if (offset >= cache->mapped)
        return load_behind(cache, offset + DI_CACHE_BLOCK_HEADER + entry->at, buffer, out, err);
    const uint8_t *payload = cache->map.data + offset + DI_CACHE_BLOCK_HEADER;
    di_cache_block_read(cache->map.data + offset, &block);
    if (!di_cache_record_read(payload, entry->at, block.size, &out->record) ||
        memcmp(out->record.key, entry->key, 16) != 0 || out->record.first != entry->first ||
        out->record.rows != entry->rows || out->record.length != entry->length)
        return dk_fail_at(err, DK_E_FORMAT, (int64_t)offset,
                          "%s: the block at byte %llu does not hold what %s says: remove the index", cache->path,
                          (unsigned long long)offset, cache->index_path);
    out->data = payload + entry->at + DI_CACHE_RECORD_HEADER;
out:
    return rc;
}

int32_t di_cache_find(di_cache *cache, const uint8_t key[16], int64_t length, int64_t position, dk_strbuf *buffer,
                      di_cache_rows *out, dk_error *err)
{
    const di_cache_entry *entry = NULL;
    int32_t rc = DK_E_END;
    pthread_mutex_lock(&cache->lock);
    while (rc == DK_E_END &&
           (entry = di_cache_index_find(&cache->index, key, (uint32_t)length, (uint32_t)position, entry)))
        rc = load(cache, entry, buffer, out, err);
    pthread_mutex_unlock(&cache->lock);
    return rc;
}

int32_t di_cache_has(di_cache *cache, const uint8_t key[16], int64_t length, int64_t position)
{
    const di_cache_entry *entry = NULL;
    pthread_mutex_lock(&cache->lock);
    while ((entry = di_cache_index_find(&cache->index, key, (uint32_t)length, (uint32_t)position, entry)))
        if (!cache->index.places[entry->block].damaged) break;
    pthread_mutex_unlock(&cache->lock);
    return entry != NULL;
}

int32_t di_cache_record_at(di_cache *cache, int64_t i, dk_strbuf *buffer, di_cache_rows *out, dk_error *err)
{
    pthread_mutex_lock(&cache->lock);
    const int32_t rc =
        i < cache->index.entry_count ? load(cache, &cache->index.entries[i], buffer, out, err) : DK_E_END;
    pthread_mutex_unlock(&cache->lock);
    return rc;
}

int32_t di_cache_reader(const di_cache *cache, const di_cache_rows *rows, di_row_reader *out, dk_error *err)
{
    const int32_t rc =
        di_row_reader_begin(out, &cache->header, cache->powers, rows->data, rows->record.bytes, rows->record.rows, err);
    if (rc) dk_error_context(err, "%s", cache->path);
    return rc;
}

di_cache_info di_cache_get_info(di_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    const di_cache_info info = {cache->index.entry_count, cache->index.rows, cache->index.place_count,
                                (int64_t)cache->end,      cache->cut_off,    cache->damaged};
    pthread_mutex_unlock(&cache->lock);
    return info;
}

const di_cache_header *di_cache_get_header(const di_cache *cache) { return &cache->header; }
const char *di_cache_path(const di_cache *cache) { return cache->path; }
int32_t di_cache_can_add(const di_cache *cache) { return cache->fd >= 0 || cache->holds; }
int32_t di_cache_failed(const di_cache *cache) { return cache->failed; }
