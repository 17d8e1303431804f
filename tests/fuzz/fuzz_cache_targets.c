/* A target cache of any bytes, as it is and with its checksums put right: it opens and every row can be read, or it is
 * refused. The same bytes as the index of a cache that is whole: what they say is found, or not believed. */
#include <unistd.h>

#include "../src/cache/cache_fixture.h"
#include "base/hash.h"
#include "cache/cache_index.h"
#include "test_files.h"

static void mend(uint8_t *data, size_t size)
{
    if (size < DI_CACHE_HEADER) return;
    di_put(data + 252, dk_crc32c(0, data, 252), 4);
    for (size_t at = DI_CACHE_HEADER; size - at >= DI_CACHE_BLOCK_HEADER;) {
        const size_t payload = (size_t)di_get(data + at + 8, 4);
        if (payload > size - at - DI_CACHE_BLOCK_HEADER) return;
        di_put(data + at + 12, dk_crc32c(0, data + at + DI_CACHE_BLOCK_HEADER, payload), 4);
        di_put(data + at + 4, dk_crc32c(0, data + at + 8, DI_CACHE_BLOCK_HEADER - 8), 4);
        at += DI_CACHE_BLOCK_HEADER + payload;
    }
}

/* An index of the fuzz's own bytes with what binds it to a cache and its checksums put right. */
static void mend_index(const uint8_t *cache, size_t covered, uint64_t last, test_bytes *index)
{
    while (index->size < 64) put_u64(index, 0);
    index->size -= (index->size - 64) % 40;
    memcpy(index->data, "DTINDEX1", 8);
    di_put(index->data + 8, (index->size - 64) / 40, 8);
    di_put(index->data + 16, covered, 8);
    di_put(index->data + 24, last, 8);
    memcpy(index->data + 32, cache + 252, 4);
    memcpy(index->data + 36, cache + last + 4, 4);
    di_put(index->data + 40, dk_crc32c(0, index->data + 64, index->size - 64), 4);
    di_put(index->data + 60, dk_crc32c(0, index->data, 60), 4);
}

static void read_all(dk_host *host, const char *path, int32_t flags)
{
    di_cache *cache = NULL;
    di_cache_rows rows;
    di_cache_info info;
    dk_strbuf text;
    dk_error err;
    dk_strbuf_init(&text, host);
    if (di_cache_open(host, path, flags, &cache, &err) == DK_OK)
        for (int64_t i = 0; i < di_cache_get_info(cache).records; i++)
            if (di_cache_record_at(cache, i, &text, &rows, &err) == DK_OK)
                di_cache_find(cache, rows.record.key, rows.record.length, rows.record.first, &text, &rows, &err);
    di_cache_free(cache);
    dk_strbuf_clear(&text);
    di_cache_inspect(host, path, 1, &text, &err);
    dk_strbuf_free(&text);
    di_cache_verify(host, path, &info, &err); /* reads every row */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
static void as_index(dk_host *host, const char *name, const char *index, test_bytes *bytes)
{
    const di_cache_header header = cache_header(DI_TIER_SAMPLED);
    di_cache *cache = NULL;
    char *whole = NULL;
    size_t size = 0;
    dk_error err;
    remove(name);
    if (di_cache_open_to_add(host, name, &header, 0, &cache, &err) == DK_OK) {
        add_run(cache, 1, 20, 0, 4, host);
        di_cache_flush(cache, &err);
    }
    di_cache_free(cache);
    if (dk_file_read(host, name, 1 << 20, &whole, &size, &err)) return;
    mend_index((const uint8_t *)whole, size, DI_CACHE_HEADER, bytes);
    if (write_bytes(bytes, index)) read_all(host, name, 0);
    dk_free(host, whole);
    remove(index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static dk_host *host;
    char name[1024], index[1040];
    dk_error err;
    if (size > 16384 || (!host && dk_host_create(NULL, &host, &err))) return 0;
    test_bytes bytes = {0};
    put_bytes(&bytes, data, size);
    snprintf(name, sizeof name, "%s/fuzz.%ld.dtc", TEST_TMP, (long)getpid());
    snprintf(index, sizeof index, "%s.index", name);
    for (int mended = 0; mended < 2; mended++) {
        if (mended) mend(bytes.data, bytes.size);
        if (!write_bytes(&bytes, name)) break;
        read_all(host, name, mended ? DI_CACHE_SKIP_DAMAGED : 0);
    }
    if (size >= 8 && memcmp(data, "DTINDEX1", 8) == 0) as_index(host, name, index, &bytes);
    remove(name);
    free_bytes(&bytes);
    return 0;
}
