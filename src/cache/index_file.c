/* index_file.c - FILE.index: a header of 64 bytes, then 40 bytes for each record, as docs/target-cache.md has them. */
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/strbuf.h"
#include "cache/cache_index.h"

#define DI_INDEX_MAGIC "DTINDEX1"
enum { DI_INDEX_HEADER = 64, DI_INDEX_ENTRY = 40 };

char *di_cache_index_path(dk_host *host, const char *cache_path)
{
    const size_t size = strlen(cache_path);
    char *path = dk_alloc(host, size + sizeof ".index", 1);
    if (!path) return NULL;
    memcpy(path, cache_path, size);
    memcpy(path + size, ".index", sizeof ".index");
    return path;
}

/* What binds an index to its cache: the checksums of the header and of the last block's header. */
static void write_header(const di_cache_index *index, const uint8_t *cache, uint64_t covered, uint32_t crc,
                         uint8_t out[DI_INDEX_HEADER])
{
    memset(out, 0, DI_INDEX_HEADER);
    memcpy(out, DI_INDEX_MAGIC, 8);
    di_put(out + 8, (uint64_t)index->entry_count, 8);
    di_put(out + 16, covered, 8);
    di_put(out + 24, index->place_count ? index->places[index->place_count - 1].offset : 0, 8);
    memcpy(out + 32, cache + 252, 4);
    if (index->place_count) memcpy(out + 36, cache + index->places[index->place_count - 1].offset + 4, 4);
    di_put(out + 40, crc, 4);
    di_put(out + 60, dk_crc32c(0, out, 60), 4);
}

int32_t di_cache_index_save(const di_cache_index *index, const char *path, const uint8_t *cache, uint64_t covered,
                            dk_error *err)
{
    uint8_t header[DI_INDEX_HEADER], part[DI_INDEX_ENTRY];
    dk_strbuf bytes;
    int32_t rc;
    dk_strbuf_init(&bytes, index->host);
    for (int64_t i = 0; i < index->entry_count; i++) {
        const di_cache_entry *entry = &index->entries[i];
        memcpy(part, entry->key, 16);
        di_put(part + 16, index->places[entry->block].offset, 8);
        di_put(part + 24, entry->at, 4);
        di_put(part + 28, entry->length, 4);
        di_put(part + 32, entry->first, 4);
        di_put(part + 36, entry->rows, 4);
        dk_strbuf_append(&bytes, part, sizeof part);
    }
    dk_writer *writer = NULL;
    DK_TRY(dk_strbuf_check(&bytes, err));
    write_header(index, cache, covered, dk_crc32c(0, bytes.data, bytes.size), header);
    DK_TRY(dk_writer_open(index->host, path, &writer, err));
    DK_TRY(dk_writer_write(writer, header, sizeof header, err));
    if (bytes.size) DK_TRY(dk_writer_write(writer, bytes.data, bytes.size, err));
    rc = dk_writer_commit(writer, err);
    writer = NULL;
out:
    dk_writer_abort(writer);
    dk_strbuf_free(&bytes);
    return rc;
}

/* 0 = the index is damaged or another file's */
static int32_t fits(const dk_mapping *file, const uint8_t *cache, uint64_t size, uint64_t *covered)
{
    const uint8_t *head = file->data;
    di_cache_block block;
    if (file->size < DI_INDEX_HEADER || memcmp(head, DI_INDEX_MAGIC, 8) != 0 ||
        di_get(head + 60, 4) != dk_crc32c(0, head, 60) || memcmp(head + 32, cache + 252, 4) != 0)
        return 0;
    const uint64_t last = di_get(head + 24, 8), body = file->size - DI_INDEX_HEADER;
    *covered = di_get(head + 16, 8);
    if (body % DI_INDEX_ENTRY || di_get(head + 8, 8) != body / DI_INDEX_ENTRY || body / DI_INDEX_ENTRY > INT32_MAX ||
        di_get(head + 40, 4) != dk_crc32c(0, head + DI_INDEX_HEADER, (size_t)body))
        return 0;
    if (!last) return *covered == DI_CACHE_HEADER && !body;
    return *covered <= size && last >= DI_CACHE_HEADER && last % 8 == 0 && last < *covered &&
           *covered - last >= DI_CACHE_BLOCK_HEADER && di_cache_block_read(cache + last, &block) &&
           *covered - last - DI_CACHE_BLOCK_HEADER == block.size && memcmp(cache + last + 4, head + 36, 4) == 0;
}

static int32_t load_entry(di_cache_index *index, const uint8_t *at, uint64_t covered, dk_error *err)
{
    const uint64_t offset = di_get(at + 16, 8);
    const uint64_t last = index->place_count ? index->places[index->place_count - 1].offset : 0;
    di_cache_record record = {.bytes = 1};
    int32_t rc = DK_OK;
    memcpy(record.key, at, 16);
    record.length = (uint32_t)di_get(at + 28, 4);
    record.first = (uint32_t)di_get(at + 32, 4);
    record.rows = (uint32_t)di_get(at + 36, 4);
    if (offset < DI_CACHE_HEADER || offset % 8 || offset < last || offset >= covered ||
        covered - offset < DI_CACHE_BLOCK_HEADER)
        return dk_fail(err, DK_E_FORMAT, "an index names a block at byte %llu", (unsigned long long)offset);
    if (offset > last) DK_TRY(di_cache_index_place(index, offset, 0, err));
    DK_TRY(di_cache_index_add(index, &record, di_get(at + 24, 4), err));
out:
    return rc;
}

int32_t di_cache_index_load(di_cache_index *index, const char *path, const uint8_t *cache, uint64_t size,
                            uint64_t *covered, dk_error *err)
{
    dk_mapping file = {0};
    dk_error ignored;
    int32_t rc = DK_OK;
    *covered = 0;
    if (dk_path_exists(path) != 1 || dk_map_open(index->host, path, 1, &file, &ignored)) return DK_OK;
    if (fits(&file, cache, size, covered))
        for (uint64_t at = DI_INDEX_HEADER; at < file.size && rc == DK_OK; at += DI_INDEX_ENTRY)
            rc = load_entry(index, file.data + at, *covered, err);
    else *covered = 0;
    if (rc == DK_E_FORMAT) {
        di_cache_index_clear(index);
        *covered = 0;
        dk_error_clear(err);
        rc = DK_OK;
    }
    dk_map_close(&file);
    return rc;
}
