/* Records that another process held: any bytes are added, to a file and to an index alone, and found again and read, or
 * they are refused. */
#include <unistd.h>

#include "../src/cache/cache_fixture.h"

static void read_back(di_cache *cache, dk_host *host)
{
    di_cache_rows rows;
    di_row_reader reader;
    dk_strbuf buffer;
    dk_error err;
    dk_strbuf_init(&buffer, host);
    for (int64_t i = 0; i < di_cache_get_info(cache).records; i++)
        if (di_cache_record_at(cache, i, &buffer, &rows, &err) == DK_OK &&
            di_cache_find(cache, rows.record.key, rows.record.length, rows.record.first, &buffer, &rows, &err) == DK_OK)
            (void)di_cache_reader(cache, &rows, &reader, &err);
    dk_strbuf_free(&buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static dk_host *host;
    const di_cache_header header = cache_header(DI_TIER_TOP_K);
    char name[1024];
    dk_error err;
    if (size > 16384 || (!host && dk_host_create(NULL, &host, &err))) return 0;
    snprintf(name, sizeof name, "%s/held.%ld.dtc", TEST_TMP, (long)getpid());
    for (int there = 0; there < 2; there++) {
        di_cache *cache = NULL;
        const int32_t rc = there ? di_cache_open_to_add(host, name, &header, 0, &cache, &err)
                                 : di_cache_open_unmade(host, name, &header, &cache, &err);
        if (rc) __builtin_trap();
        (void)di_cache_has_any(cache, (const char *)data, size);
        const int32_t put = di_cache_put(cache, (const char *)data, size, &err);
        if (put == DK_OK && size && !di_cache_has_any(cache, (const char *)data, size)) __builtin_trap();
        if (there) read_back(cache, host);
        if (there && di_cache_flush(cache, &err)) __builtin_trap();
        di_cache_free(cache);
    }
    remove(name);
    snprintf(name, sizeof name, "%s/held.%ld.dtc.index", TEST_TMP, (long)getpid());
    remove(name);
    return 0;
}
