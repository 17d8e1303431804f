/* test_cache_example.c - examples/c/read_target_cache.c, which knows nothing of the library, reads what it wrote. */
#define main example_main
#include "../../../examples/c/read_target_cache.c"
#undef main

#include <unistd.h>

#include "base/hash.h"
#include "cache_fixture.h"

typedef struct line { /* what the example printed of a row */
    char key[33];
    long long length, position;
    char *values;
} line;

static int parse(char *text, line *out)
{
    int at = 0;
    if (sscanf(text, "%32s %lld %lld%n", out->key, &out->length, &out->position, &at) != 3) return 0;
    out->values = text + at;
    return 1;
}

static int run_example(const char *path, const char *into)
{
    char *args[] = {(char *)"read_target_cache", (char *)path, NULL};
    fflush(stdout);
    const int kept = dup(1);
    if (kept < 0 || !freopen(into, "w", stdout)) return -1;
    const int rc = example_main(2, args);
    fflush(stdout);
    dup2(kept, 1);
    close(kept);
    return rc;
}

typedef struct library_row {
    int32_t ids[512];
    float values[512], tail;
    int64_t count;
} library_row;

static void compare(const di_cache_header *header, char *text, const library_row *want)
{
    for (int64_t i = 0; i < want->count && (!header->bits || i < 8); i++) {
        long long id = want->ids[i];
        double value = 0;
        int used = 0;
        if (header->bits) REQUIRE(sscanf(text, " %lf%n", &value, &used) == 1);
        else REQUIRE(sscanf(text, " %lld:%lf%n", &id, &value, &used) == 2);
        CHECK_INT(id, want->ids[i]);
        CHECK_NEAR((double)(float)value, (double)want->values[i],
                   header->bits ? 0 : 2e-5 * fabs((double)want->values[i]) + 1e-9);
        text += used;
    }
    if (header->tier == DI_TIER_TOP_K) {
        double tail = 0;
        REQUIRE(sscanf(text, " tail:%lf", &tail) == 1);
        CHECK_NEAR(tail, (double)want->tail, 1e-4);
    }
}

static void compare_record(di_cache *cache, const di_cache_rows *rows, FILE *printed)
{
    static char text[1 << 16];
    static library_row want;
    di_row_reader reader;
    dk_error err;
    line got;
    char key[33];
    dk_hex(rows->record.key, 16, key);
    REQUIRE_OK(di_cache_reader(cache, rows, &reader, &err));
    for (uint32_t i = 0; i < rows->record.rows; i++) {
        REQUIRE_OK(di_row_get(&reader, want.ids, want.values, &want.count, &want.tail, &err));
        REQUIRE(fgets(text, sizeof text, printed) && parse(text, &got));
        CHECK_STR(got.key, key);
        CHECK_INT(got.length, rows->record.length);
        CHECK_INT(got.position, rows->record.first + i);
        compare(di_cache_get_header(cache), got.values, &want);
    }
}

TEST(the_example_reads_what_the_library_reads)
{
    dk_host *host = NULL;
    dk_error err;
    dk_strbuf buffer;
    const char *folder = test_folder("cache_example");
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    dk_strbuf_init(&buffer, host);
    for (int n = 0; n < 5; n++) {
        di_cache_header header = cache_header(n ? n : DI_TIER_HIDDEN);
        const char *path = test_path(folder, n ? di_tier_name(n) : "bf16"), *printed = test_path(folder, "printed");
        di_cache *cache = NULL;
        di_cache_rows rows;
        if (!n) header.bits = 16;
        REQUIRE_OK(di_cache_open_to_add(host, path, &header, 0, &cache, &err));
        for (int64_t s = 0; s < 3; s++) REQUIRE(add_run(cache, s, 20, s, 15, host));
        REQUIRE_OK(di_cache_flush(cache, &err));
        CHECK_INT(run_example(path, printed), 0);
        FILE *lines = fopen(printed, "r");
        REQUIRE(lines != NULL);
        for (int64_t i = 0; i < 3; i++) {
            REQUIRE_OK(di_cache_record_at(cache, i, &buffer, &rows, &err));
            compare_record(cache, &rows, lines);
        }
        CHECK(fgetc(lines) == EOF);
        fclose(lines);
        di_cache_free(cache);
    }
    dk_strbuf_free(&buffer);
    dk_host_release(host);
}

TEST_MAIN(TEST_CASE(the_example_reads_what_the_library_reads))
