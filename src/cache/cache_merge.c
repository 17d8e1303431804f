#include "cache/cache_parts.h"

static int32_t has_all(di_cache *cache, const di_cache_record *record)
{
    for (uint32_t i = 0; i < record->rows; i++)
        if (!di_cache_has(cache, record->key, record->length, (int64_t)record->first + i)) return 0;
    return 1;
}

static int32_t merge_one(di_cache *from, di_cache *into, dk_strbuf *buffer, dk_error *err)
{
    const int64_t records = di_cache_get_info(from).records;
    di_cache_rows rows;
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < records; i++) {
        if (dk_host_cancelled(from->host)) DK_TRY(dk_fail(err, DK_E_CANCELLED, "merging was cancelled"));
        if ((rc = di_cache_record_at(from, i, buffer, &rows, err)) == DK_E_END) continue;
        DK_TRY(rc);
        if (has_all(into, &rows.record)) continue;
        DK_TRY(di_cache_add(into, &rows.record, rows.data, rows.record.bytes, err));
    }
    rc = DK_OK;
out:
    return rc;
}

int32_t di_cache_merge(dk_host *host, const char *const *paths, int64_t count, const char *into, int32_t flags,
                       dk_error *err)
{
    di_cache *from = NULL, *out = NULL;
    dk_strbuf buffer;
    int32_t rc;
    dk_strbuf_init(&buffer, host);
    if (count < 1) DK_TRY(dk_fail(err, DK_E_INVALID, "merge: there is no file to merge into %s", into));
    for (int64_t i = 0; i < count; i++) {
        DK_TRY(di_cache_open(host, paths[i], flags, &from, err));
        if (!out) DK_TRY(di_cache_open_to_add(host, into, &from->header, 0, &out, err));
        DK_TRY(di_cache_header_match(&from->header, &out->header, paths[i], err));
        DK_TRY(merge_one(from, out, &buffer, err));
        di_cache_free(from);
        from = NULL;
    }
    DK_TRY(di_cache_flush(out, err));
out:
    di_cache_free(from);
    di_cache_free(out);
    dk_strbuf_free(&buffer);
    return rc;
}
