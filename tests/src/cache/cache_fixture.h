/* cache_fixture.h - small target caches of each tier, with rows that a test can make again. */
#ifndef TESTS_SRC_CACHE_CACHE_FIXTURE_H
#define TESTS_SRC_CACHE_CACHE_FIXTURE_H

#include "base/file.h"
#include "base/random.h"
#include "cache/target_cache.h"
#include "test.h"

enum { VOCAB = 151936, WIDTH_MOST = 151936 };

static inline di_cache_header cache_header(int32_t tier)
{
    di_cache_header header = {.tier = tier, .vocab = VOCAB, .vocab_valid = 151643, .temperature = 1};
    memset(header.tokenizer, 0x11, 32);
    memset(header.teacher, 0x22, 32);
    switch (tier) {
    case DI_TIER_HIDDEN:
        header.bits = 32;
        header.width = 24;
        break;
    case DI_TIER_FULL:
        header.bits = 16;
        header.vocab = header.width = 300;
        header.vocab_valid = 290;
        break;
    case DI_TIER_TOP_K:
        header.width = 50;
        header.step = 32;
        header.temperature = 2;
        break;
    default:
        header.width = 12;
        header.seed = 7;
    }
    return header;
}

/* Row number n: ids by a Zipf law, descending log-probabilities with a tail, or counts. */
typedef struct cache_row {
    int32_t ids[64];
    float values[512];
    int64_t count;
    double tail;
} cache_row;

static inline int32_t zipf_id(uint64_t n, uint64_t k, int64_t vocab)
{
    return (int32_t)(pow((double)vocab, dk_random_uniform(1, DK_STREAM_TEST, n * 1000003 + k)) - 1);
}

static inline int row_has(const cache_row *row, int32_t id)
{
    for (int64_t i = 0; i < row->count; i++)
        if (row->ids[i] == id) return (int)i + 1;
    return 0;
}

static inline void make_sparse(const di_cache_header *header, uint64_t n, cache_row *row)
{
    double sum = 0;
    for (uint64_t k = 0; row->count < header->width; k++) {
        const int32_t id = zipf_id(n, k, header->vocab_valid);
        if (row_has(row, id)) continue;
        row->ids[row->count++] = id;
    }
    for (int64_t i = 0; i < row->count; i++) sum += 1 / (double)(i + 1);
    for (int64_t i = 0; i < row->count; i++) row->values[i] = (float)log(0.9 / (double)(i + 1) / sum);
    row->tail = log(0.1);
}

static inline void make_drawn(const di_cache_header *header, uint64_t n, cache_row *row)
{
    for (uint64_t k = 0; k < header->width; k++) {
        const int32_t id = zipf_id(n, k, header->vocab_valid);
        const int at = row_has(row, id);
        if (at) row->values[at - 1]++;
        else {
            row->values[row->count] = 1;
            row->ids[row->count++] = id;
        }
    }
}

static inline cache_row make_row(const di_cache_header *header, uint64_t n)
{
    cache_row row = {.tail = -INFINITY};
    if (header->tier == DI_TIER_TOP_K) make_sparse(header, n, &row);
    else if (header->tier == DI_TIER_SAMPLED) make_drawn(header, n, &row);
    else
        for (uint32_t i = 0; i < header->width; i++)
            row.values[i] = (float)dk_random_normal(2, DK_STREAM_TEST, n * 4096 + i) * 4;
    return row;
}

static inline void sequence_ids(int64_t sequence, int64_t length, int32_t *ids)
{
    for (int64_t i = 0; i < length; i++) ids[i] = (int32_t)(sequence * 31 + i * 7) % 1000;
}

/* Rows [first, first + rows) of a sequence; row p is make_row(sequence * 1000 + p). */
static inline int add_run(di_cache *cache, int64_t sequence, int64_t length, int64_t first, int64_t rows, dk_host *host)
{
    di_row_writer *writer = NULL;
    di_cache_record record = {.length = (uint32_t)length, .first = (uint32_t)first};
    const di_cache_header *header = di_cache_get_header(cache);
    const void *data;
    size_t size;
    int32_t ids[1024];
    int64_t written = 0;
    dk_error err;
    int32_t rc = di_row_writer_create(host, header, &writer, &err);
    for (int64_t i = 0; !rc && i < rows; i++) {
        const cache_row row = make_row(header, (uint64_t)(sequence * 1000 + first + i));
        rc = di_row_put(writer, row.ids, row.values, row.count, row.tail, &err);
    }
    sequence_ids(sequence, length, ids);
    di_cache_key(ids, length, record.key);
    if (!rc) rc = di_row_writer_take(writer, &data, &size, &written, &err);
    record.rows = (uint32_t)written;
    if (!rc) rc = di_cache_add(cache, &record, data, size, &err);
    if (rc) FAIL("%s", err.message);
    di_row_writer_free(writer);
    return rc == 0;
}

/* 1 = the row is there and is what it was; 0 = it is not there; -1 = anything else */
static inline int find_row(di_cache *cache, int64_t sequence, int64_t length, int64_t position, dk_host *host)
{
    static int32_t got_ids[WIDTH_MOST], ids[1024];
    static float got[WIDTH_MOST];
    const di_cache_header *header = di_cache_get_header(cache);
    const cache_row want = make_row(header, (uint64_t)(sequence * 1000 + position));
    uint8_t key[16];
    di_cache_rows rows;
    di_row_reader reader;
    dk_strbuf buffer;
    dk_error err;
    int64_t count = 0;
    float tail = 0;
    int wrong = 0;
    dk_strbuf_init(&buffer, host);
    sequence_ids(sequence, length, ids);
    di_cache_key(ids, length, key);
    int32_t rc = di_cache_find(cache, key, length, position, &buffer, &rows, &err);
    if (!rc) rc = di_cache_reader(cache, &rows, &reader, &err);
    if (!rc) rc = di_row_skip(&reader, position - rows.record.first, got_ids, got, &err);
    if (!rc) rc = di_row_get(&reader, got_ids, got, &count, &tail, &err);
    dk_strbuf_free(&buffer);
    if (rc) return rc == DK_E_END ? 0 : -1;
    if (header->bits) {
        for (uint32_t i = 0; i < 4; i++)
            if (header->tier == DI_TIER_HIDDEN && header->bits == 32)
                wrong += got[i] < want.values[i] || got[i] > want.values[i];
        return wrong ? -1 : 1;
    }
    for (int64_t i = 0; i < count; i++) {
        const int at = row_has(&want, got_ids[i]);
        wrong += !at || (i && got_ids[i] <= got_ids[i - 1]) ||
                 fabs((double)got[i] - (double)want.values[at ? at - 1 : 0]) >
                     (header->step ? 1.0 / header->step + 1.0 / 1024 : 0);
    }
    return wrong || count != want.count ? -1 : 1;
}

#endif
