/* cache_check.c - what a target cache is and whether it is whole. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "cache/cache_parts.h"

int32_t di_cache_is(const char *path)
{
    char magic[8];
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return 0;
    const ssize_t got = pread(fd, magic, sizeof magic, 0);
    close(fd);
    return got == (ssize_t)sizeof magic && memcmp(magic, DI_CACHE_MAGIC, sizeof magic) == 0;
}

typedef struct row_memory {
    int32_t *ids;
    float *values;
} row_memory;

static int32_t read_rows(const di_cache *cache, const di_cache_rows *rows, const row_memory *memory, dk_error *err)
{
    di_row_reader reader;
    int64_t count;
    float beside;
    int32_t rc;
    DK_TRY(di_cache_reader(cache, rows, &reader, err));
    for (uint32_t i = 0; i < rows->record.rows; i++)
        DK_TRY(di_row_get(&reader, memory->ids, memory->values, &count, &beside, err));
    if (!cache->header.bits && (reader.bits.at + 7) / 8 != rows->record.bytes)
        DK_TRY(dk_fail(err, DK_E_FORMAT, "%u rows end after %llu of %u bytes", (unsigned)rows->record.rows,
                       (unsigned long long)(reader.bits.at + 7) / 8, (unsigned)rows->record.bytes));
out:
    return rc;
}

/* A row that is not as its tier has it: an error, or one more on the list. */
static int32_t bad_record(di_cache *cache, int64_t i, dk_error *err)
{
    const di_cache_entry *entry = &cache->index.entries[i];
    const di_cache_place *place = &cache->index.places[entry->block];
    const uint64_t next = entry->block + 1 < cache->index.place_count ? place[1].offset : cache->end;
    char what[sizeof err->message];
    if (!cache->damages) {
        dk_error_context(err, "%s: record %lld, in the block at byte %llu", cache->path, (long long)i,
                         (unsigned long long)place->offset);
        return err->code;
    }
    snprintf(what, sizeof what, "record %lld: %.400s", (long long)i, err->message);
    dk_error_clear(err);
    return di_cache_block_damaged(cache, entry->block, place->offset, next - place->offset, what, err);
}

static int32_t read_all(di_cache *cache, dk_error *err)
{
    row_memory memory = {0};
    dk_strbuf buffer;
    di_cache_rows rows;
    int32_t rc;
    dk_strbuf_init(&buffer, cache->host);
    DK_TRY(dk_new(cache->host, cache->header.width, &memory.ids, err));
    DK_TRY(dk_new(cache->host, cache->header.width, &memory.values, err));
    for (int64_t i = 0; i < cache->index.entry_count; i++) {
        if (dk_host_cancelled(cache->host))
            DK_TRY(dk_fail(err, DK_E_CANCELLED, "%s: checking was cancelled", cache->path));
        DK_TRY(di_cache_record_at(cache, i, &buffer, &rows, err));
        if ((rc = read_rows(cache, &rows, &memory, err)) == DK_E_FORMAT) rc = bad_record(cache, i, err);
        DK_TRY(rc);
    }
out:
    dk_strbuf_free(&buffer);
    dk_free(cache->host, memory.ids);
    dk_free(cache->host, memory.values);
    return rc;
}

int32_t di_cache_verify(dk_host *host, const char *path, di_cache_info *out, dk_error *err)
{
    di_cache *cache = NULL;
    int32_t rc;
    DK_TRY(di_cache_open(host, path, DI_CACHE_IGNORE_INDEX, &cache, err));
    DK_TRY(read_all(cache, err));
    *out = di_cache_get_info(cache);
out:
    di_cache_free(cache);
    return rc;
}

/* ---- as JSON ---- */

static void describe(const di_cache_header *header, dk_strbuf *json)
{
    char hex[65];
    dk_strbuf_printf(json, ",\"version\":%d,\"tier\":\"%s\",\"width\":%u,\"bits\":%u,\"step\":%u", DI_CACHE_VERSION,
                     di_tier_name(header->tier), (unsigned)header->width, (unsigned)header->bits,
                     (unsigned)header->step);
    dk_strbuf_printf(json, ",\"vocab_size\":%lld,\"vocab_valid\":%lld,\"seed\":%llu,\"temperature\":",
                     (long long)header->vocab, (long long)header->vocab_valid, (unsigned long long)header->seed);
    dk_strbuf_f64(json, header->temperature);
    dk_hex(header->tokenizer, 32, hex);
    dk_strbuf_printf(json, ",\"tokenizer\":\"%s\"", hex);
    dk_hex(header->teacher, 32, hex);
    dk_strbuf_printf(json, ",\"teacher\":\"%s\",\"key\":[\"ids\"%s%s%s]", hex,
                     header->key_parts & DI_CACHE_BY_SOURCE ? ",\"source\"" : "",
                     header->key_parts & DI_CACHE_BY_TAG ? ",\"tag\"" : "",
                     header->key_parts & DI_CACHE_BY_PROMPT ? ",\"prompt\"" : "");
}

static void describe_rows(di_cache *cache, dk_strbuf *json)
{
    const di_cache_info info = di_cache_get_info(cache);
    dk_strbuf_printf(json,
                     ",\"records\":%lld,\"rows\":%lld,\"sequences\":%lld,\"blocks\":%lld,\"bytes\":%lld,"
                     "\"cut_off\":%lld",
                     (long long)info.records, (long long)info.rows, (long long)di_cache_index_sequences(&cache->index),
                     (long long)info.blocks, (long long)info.bytes, (long long)info.cut_off);
    if (!info.rows) return;
    dk_strbuf_puts(json, ",\"bytes_per_row\":");
    dk_strbuf_f64(json, (double)info.bytes / (double)info.rows);
}

static void verdict(const di_cache *cache, const di_cache_damages *damages, const dk_error *problem, dk_strbuf *json)
{
    char text[sizeof problem->message] = "";
    if (problem->code) snprintf(text, sizeof text, "%s", problem->message);
    else if (damages->count) snprintf(text, sizeof text, "%s", damages->first);
    else if (cache->cut_off)
        snprintf(text, sizeof text, "%.100s: the last %lld bytes are no whole block: the next writer cuts them off",
                 cache->path, (long long)cache->cut_off);
    dk_strbuf_printf(json, ",\"whole\":%s", *text ? "false" : "true");
    if (*text) {
        dk_strbuf_puts(json, ",\"problem\":");
        dk_strbuf_json(json, text, strlen(text));
    }
    if (damages->count) {
        dk_strbuf_puts(json, ",\"damaged\":[");
        dk_strbuf_append(json, damages->json.data, damages->json.size);
        dk_strbuf_puts(json, "]");
    }
}

int32_t di_cache_inspect(dk_host *host, const char *path, int32_t every_row, dk_strbuf *json, dk_error *err)
{
    const int32_t flags = every_row ? DI_CACHE_IGNORE_INDEX : 0;
    di_cache_damages damages = {.count = 0};
    dk_mapping map = {0};
    di_cache *cache = NULL;
    di_cache_header header;
    dk_error problem;
    int32_t rc;
    dk_error_clear(&problem);
    dk_strbuf_init(&damages.json, host);
    DK_TRY(dk_map_open(host, path, 1, &map, err));
    if (map.size < 8 || memcmp(map.data, DI_CACHE_MAGIC, 8) != 0)
        DK_TRY(di_cache_header_read(map.data, map.size, path, &header, err));
    dk_strbuf_puts(json, "{\"kind\":\"target_cache\"");
    if (di_cache_header_read(map.data, map.size, path, &header, &problem) == DK_OK) describe(&header, json);
    if (!problem.code && di_cache_open_listed(host, path, flags, &damages, &cache, &problem) == DK_OK) {
        describe_rows(cache, json);
        if (every_row) read_all(cache, &problem);
    }
    if (problem.code == DK_E_CANCELLED || problem.code == DK_E_NOMEM) {
        if (err) *err = problem;
        rc = problem.code;
        goto out;
    }
    if (every_row || problem.code) verdict(cache, &damages, &problem, json);
    dk_strbuf_puts(json, "}");
    DK_TRY(dk_strbuf_check(&damages.json, err));
    DK_TRY(dk_strbuf_check(json, err));
out:
    di_cache_free(cache);
    dk_map_close(&map);
    dk_strbuf_free(&damages.json);
    return rc;
}
