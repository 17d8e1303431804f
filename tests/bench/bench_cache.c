/* bench_cache: bytes a row of each sparse tier and how many (id, value) pairs a core decodes in a second, ids by a Zipf
 * law over a vocabulary of 151,936. Not a test: prints numbers and always succeeds. */
#include <stdio.h>
#include <stdlib.h>

#include "bench_time.h"
#include "../src/cache/cache_fixture.h"

enum { BENCH_ROWS = 20000 };

static double decode(const di_cache_header *header, const float *powers, const void *data, size_t size, int64_t rows)
{
    int32_t ids[64];
    float values[64], tail;
    int64_t count, pairs = 0;
    di_row_reader reader;
    dk_error err;
    const double start = cpu_seconds();
    if (di_row_reader_begin(&reader, header, powers, data, size, rows, &err)) give_up(&err);
    for (int64_t i = 0; i < rows; i++, pairs += count)
        if (di_row_get(&reader, ids, values, &count, &tail, &err)) give_up(&err);
    return (double)pairs / (cpu_seconds() - start);
}

static void measure(dk_host *host, int32_t tier, uint32_t width)
{
    static float powers[DI_ROW_POWERS];
    di_cache_header header = cache_header(tier);
    di_row_writer *writer = NULL;
    const void *data;
    size_t size;
    int64_t rows, pairs = 0;
    double best = 0;
    dk_error err;
    header.width = width;
    if (header.step) di_row_powers(&header, powers);
    if (di_row_writer_create(host, &header, &writer, &err)) give_up(&err);
    const double start = cpu_seconds();
    double making = 0;
    for (uint64_t n = 0; n < BENCH_ROWS; n++) {
        const double before = cpu_seconds();
        const cache_row row = make_row(&header, n);
        making += cpu_seconds() - before;
        pairs += row.count;
        if (di_row_put(writer, row.ids, row.values, row.count, row.tail, &err)) give_up(&err);
    }
    const double encoding = cpu_seconds() - start - making;
    if (di_row_writer_take(writer, &data, &size, &rows, &err)) give_up(&err);
    for (int i = 0; i < 20; i++) best = fmax(best, decode(&header, powers, data, size, rows));
    printf("%-8s %3u: %6.1f bytes a row, %5.2f pairs a row, decodes %6.1f million pairs/s, encodes %5.2f\n",
           di_tier_name(tier), (unsigned)width, (double)size / (double)rows, (double)pairs / (double)rows, best / 1e6,
           (double)pairs / encoding / 1e6);
    di_row_writer_free(writer);
}

int main(void)
{
    dk_host *host = NULL;
    dk_error err;
    if (dk_host_create(NULL, &host, &err)) give_up(&err);
    measure(host, DI_TIER_TOP_K, 50);
    measure(host, DI_TIER_TOP_K, 20);
    measure(host, DI_TIER_SAMPLED, 12);
    measure(host, DI_TIER_SAMPLED, 50);
    dk_host_release(host);
    return 0;
}
