/* test_target_cache.c - target caches: added and found, cut anywhere, damaged anywhere, killed writers, merged. */
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cache_fixture.h"
#include "test_files.h"

typedef struct fixture {
    dk_host *host;
    const char *folder;
    dk_error err;
} fixture;

static int fixture_open(fixture *f, const char *name)
{
    f->folder = test_folder(name);
    return f->folder && dk_host_create(NULL, &f->host, &f->err) == DK_OK;
}

/* Sequences [from, to) of 20 tokens, each a block of its own. */
static void write_blocks(fixture *f, const char *path, int32_t tier, int64_t from, int64_t to)
{
    const di_cache_header header = cache_header(tier);
    di_cache *cache = NULL;
    dk_error err;
    REQUIRE_OK(di_cache_open_to_add(f->host, path, &header, 0, &cache, &err));
    for (int64_t s = from; s < to; s++) {
        if (!add_run(cache, s, 20, 0, 19, f->host)) break;
        CHECK_OK(di_cache_flush(cache, &err));
    }
    di_cache_free(cache);
}

static int count_found(fixture *f, di_cache *cache, int64_t sequences)
{
    int found = 0;
    for (int64_t s = 0; s < sequences; s++) {
        const int one = find_row(cache, s, 20, 13, f->host);
        if (one < 0) return -1;
        found += one;
    }
    return found;
}

static test_bytes file_bytes(fixture *f, const char *path)
{
    test_bytes out = {0};
    char *data = NULL;
    size_t size = 0;
    dk_error err;
    if (dk_file_read(f->host, path, 1 << 28, &data, &size, &err)) FAIL("%s", err.message);
    put_bytes(&out, data, size);
    dk_free(f->host, data);
    return out;
}

TEST(rows_are_found_by_sequence_and_position)
{
    fixture f;
    REQUIRE(fixture_open(&f, "cache_found"));
    for (int32_t tier = 1; tier < DI_TIER_END; tier++) {
        const di_cache_header header = cache_header(tier);
        const char *path = test_path(f.folder, di_tier_name(tier));
        di_cache *cache = NULL;
        dk_error err;
        REQUIRE_OK(di_cache_open_to_add(f.host, path, &header, 0, &cache, &err));
        for (int64_t s = 0; s < 300; s++) REQUIRE(add_run(cache, s, 20, 4, 10, f.host));
        CHECK_INT(find_row(cache, 299, 20, 4, f.host), 1); /* before it is written */
        CHECK_INT(find_row(cache, 0, 20, 13, f.host), 1);
        CHECK_OK(di_cache_flush(cache, &err));
        CHECK_INT(find_row(cache, 299, 20, 13, f.host), 1);
        di_cache_free(cache);
        REQUIRE_OK(di_cache_open(f.host, path, 0, &cache, &err));
        CHECK_INT(di_cache_get_info(cache).rows, 3000);
        for (int64_t s = 0; s < 300; s += 37) CHECK_INT(find_row(cache, s, 20, 4 + s % 10, f.host), 1);
        CHECK_INT(find_row(cache, 0, 20, 3, f.host), 0);  /* another position */
        CHECK_INT(find_row(cache, 0, 20, 14, f.host), 0); /* behind the run */
        CHECK_INT(find_row(cache, 0, 19, 5, f.host), 0);  /* another sequence */
        CHECK_INT(find_row(cache, 300, 20, 5, f.host), 0);
        di_cache_free(cache);
    }
    dk_host_release(f.host);
}

TEST(a_file_cut_anywhere_loses_its_last_block_at_most)
{
    fixture f;
    dk_error err;
    REQUIRE(fixture_open(&f, "cache_cut"));
    for (int32_t tier = DI_TIER_TOP_K; tier <= DI_TIER_SAMPLED; tier++) {
        const di_cache_header header = cache_header(tier);
        const char *path = test_path(f.folder, "whole"), *cut = test_path(f.folder, "cut");
        remove(path);
        write_blocks(&f, path, tier, 0, 3);
        test_bytes before = file_bytes(&f, path);
        write_blocks(&f, path, tier, 3, 4);
        test_bytes whole = file_bytes(&f, path);
        for (size_t size = before.size; size <= whole.size; size++) {
            const test_bytes part = {whole.data, size, 0};
            di_cache *cache = NULL;
            REQUIRE(write_bytes(&part, cut));
            REQUIRE_OK(di_cache_open(f.host, cut, 0, &cache, &err));
            CHECK_INT(count_found(&f, cache, 4), size == whole.size ? 4 : 3);
            CHECK_INT(di_cache_get_info(cache).cut_off, size == whole.size ? 0 : size - before.size);
            di_cache_free(cache);
            REQUIRE_OK(di_cache_open_to_add(f.host, cut, &header, 0, &cache, &err));
            CHECK_INT(count_found(&f, cache, 4), size == whole.size ? 4 : 3);
            if (size < whole.size) REQUIRE(add_run(cache, 3, 20, 0, 19, f.host));
            const int goes_on = size < before.size + 40 ? size % 8 == 1 : size % 256 == 0;
            if (goes_on) REQUIRE_OK(di_cache_flush(cache, &err)); /* waits for the disk */
            CHECK_INT(count_found(&f, cache, 4), 4);
            di_cache_free(cache);
            if (!goes_on) continue;
            test_bytes again = file_bytes(&f, cut); /* going on makes the same file */
            CHECK(again.size == whole.size && memcmp(again.data, whole.data, whole.size) == 0);
            free_bytes(&again);
        }
        free_bytes(&before);
        free_bytes(&whole);
    }
    dk_host_release(f.host);
}

TEST(a_file_cut_inside_its_header_begins_again)
{
    const di_cache_header header = cache_header(DI_TIER_SAMPLED);
    fixture f;
    dk_error err;
    di_cache *cache = NULL;
    REQUIRE(fixture_open(&f, "cache_header"));
    const char *path = test_path(f.folder, "cache");
    write_blocks(&f, path, DI_TIER_SAMPLED, 0, 0);
    test_bytes whole = file_bytes(&f, path);
    CHECK_INT(whole.size, DI_CACHE_HEADER);
    for (size_t size = 0; size < whole.size; size++) {
        const test_bytes part = {whole.data, size, 0};
        REQUIRE(write_bytes(&part, path));
        CHECK_INT(di_cache_open(f.host, path, 0, &cache, &err), DK_E_FORMAT);
        REQUIRE_OK(di_cache_open_to_add(f.host, path, &header, 0, &cache, &err));
        di_cache_free(cache);
        cache = NULL;
    }
    free_bytes(&whole);
    dk_host_release(f.host);
}

/* Every bit of the file counts: of the header, the headers of blocks, and what is in them. */
TEST(damage_is_named_and_skipped_on_request)
{
    fixture f;
    dk_error err;
    di_cache *cache = NULL;
    di_cache_info info;
    REQUIRE(fixture_open(&f, "cache_damage"));
    const char *path = test_path(f.folder, "cache"), *index = test_path(f.folder, "cache.index");
    write_blocks(&f, path, DI_TIER_TOP_K, 0, 3);
    test_bytes whole = file_bytes(&f, path);
    test_bytes kept = file_bytes(&f, index);
    for (size_t at = 0; at < whole.size; at += at < DI_CACHE_HEADER + 64 ? 1 : 17) {
        whole.data[at] ^= 1 << at % 8;
        REQUIRE(write_bytes(&whole, path));
        CHECK(di_cache_verify(f.host, path, &info, &err) < 0);
        CHECK_HAS(err.message, path);
        whole.data[at] ^= 1 << at % 8;
    }
    const di_cache_info all = {3, 57, 3, (int64_t)whole.size, 0, 0};
    for (int with_index = 0; with_index < 2; with_index++) {
        whole.data[DI_CACHE_HEADER + 200] ^= 4; /* of the first block */
        REQUIRE(write_bytes(&whole, path));
        if (with_index) REQUIRE(write_bytes(&kept, index));
        else remove(index);
        const int32_t rc = di_cache_open(f.host, path, 0, &cache, &err);
        CHECK_INT(rc, with_index ? DK_OK : DK_E_FORMAT);
        if (!rc) {
            CHECK_INT(find_row(cache, 1, 20, 5, f.host), 1); /* the other blocks are as good as ever */
            CHECK_INT(find_row(cache, 0, 20, 5, f.host), -1);
        } else CHECK_HAS(err.message, "block 0 at byte 256 is damaged");
        di_cache_free(cache);
        cache = NULL;
        REQUIRE_OK(di_cache_open(f.host, path, DI_CACHE_SKIP_DAMAGED, &cache, &err));
        CHECK_INT(count_found(&f, cache, 3), 2);
        CHECK_INT(di_cache_get_info(cache).damaged, 1);
        di_cache_free(cache);
        cache = NULL;
        whole.data[DI_CACHE_HEADER + 200] ^= 4;
    }
    whole.data[DI_CACHE_HEADER + 9] ^= 1; /* the size of the first block: the next one is found by its own header */
    REQUIRE(write_bytes(&whole, path));
    remove(index);
    CHECK_INT(di_cache_open(f.host, path, 0, &cache, &err), DK_E_FORMAT);
    REQUIRE_OK(di_cache_open(f.host, path, DI_CACHE_SKIP_DAMAGED, &cache, &err));
    CHECK_INT(count_found(&f, cache, 3), 2);
    di_cache_free(cache);
    whole.data[DI_CACHE_HEADER + 9] ^= 1;
    REQUIRE(write_bytes(&whole, path));
    REQUIRE_OK(di_cache_verify(f.host, path, &info, &err));
    CHECK(memcmp(&info, &all, sizeof info) == 0);
    free_bytes(&whole);
    free_bytes(&kept);
    dk_host_release(f.host);
}

TEST(an_index_that_is_missing_damaged_or_of_another_file_is_made_again)
{
    const di_cache_header header = cache_header(DI_TIER_SAMPLED);
    fixture f;
    dk_error err;
    di_cache *cache = NULL;
    REQUIRE(fixture_open(&f, "cache_index"));
    const char *path = test_path(f.folder, "cache"), *index = test_path(f.folder, "cache.index");
    const char *other = test_path(f.folder, "other");
    write_blocks(&f, path, DI_TIER_SAMPLED, 0, 5);
    write_blocks(&f, other, DI_TIER_SAMPLED, 7, 12);
    test_bytes whole = file_bytes(&f, index), foreign = file_bytes(&f, test_path(f.folder, "other.index"));
    for (size_t at = 0; at < whole.size; at++) {
        whole.data[at] ^= 16;
        REQUIRE(write_bytes(&whole, index));
        whole.data[at] ^= 16;
        REQUIRE_OK(di_cache_open(f.host, path, 0, &cache, &err));
        CHECK_INT(count_found(&f, cache, 5), 5);
        di_cache_free(cache);
    }
    REQUIRE(write_bytes(&foreign, index));
    REQUIRE_OK(di_cache_open(f.host, path, 0, &cache, &err));
    CHECK_INT(count_found(&f, cache, 5), 5);
    di_cache_free(cache);
    remove(index);
    REQUIRE_OK(di_cache_open_to_add(f.host, path, &header, 0, &cache, &err));
    CHECK_OK(di_cache_flush(cache, &err));
    di_cache_free(cache);
    test_bytes again = file_bytes(&f, index);
    CHECK(again.size == whole.size && memcmp(again.data, whole.data, whole.size) == 0);
    free_bytes(&again);
    free_bytes(&whole);
    free_bytes(&foreign);
    dk_host_release(f.host);
}

static off_t size_of(const char *path)
{
    struct stat info;
    return stat(path, &info) ? DI_CACHE_HEADER : info.st_size < DI_CACHE_HEADER ? DI_CACHE_HEADER : info.st_size;
}

/* A child adds until it is killed; what it had written before stays. */
TEST(a_killed_writer_leaves_whole_blocks)
{
    const di_cache_header header = cache_header(DI_TIER_TOP_K);
    fixture f;
    dk_error err;
    REQUIRE(fixture_open(&f, "cache_kill"));
    const char *path = test_path(f.folder, "cache");
    int64_t known = 0;
    for (int round = 0; round < 8; round++) {
        const pid_t child = fork();
        REQUIRE(child >= 0);
        if (!child) {
            di_cache *cache = NULL;
            if (di_cache_open_to_add(f.host, path, &header, 0, &cache, &err)) _exit(3);
            for (int64_t s = known; s < 100000; s++)
                if (!add_run(cache, s, 20, 0, 19, f.host)) _exit(4);
            _exit(0);
        }
        const off_t before = size_of(path);
        for (int i = 0; i < 30000 && size_of(path) == before; i++) usleep(1000);
        usleep(3000 * (useconds_t)round);
        kill(child, SIGKILL);
        int status = 0;
        waitpid(child, &status, 0);
        CHECK(WIFSIGNALED(status));
        di_cache *cache = NULL;
        REQUIRE_OK(di_cache_open_to_add(f.host, path, &header, 0, &cache, &err));
        const di_cache_info info = di_cache_get_info(cache);
        CHECK(info.records >= known);
        known = info.records;
        for (int64_t s = 0; s < known; s += 1 + known / 50) CHECK_INT(find_row(cache, s, 20, s % 19, f.host), 1);
        CHECK_OK(di_cache_flush(cache, &err));
        di_cache_free(cache);
    }
    CHECK(known > 0);
    dk_host_release(f.host);
}

TEST(one_writer_at_a_time_and_files_merge)
{
    const di_cache_header header = cache_header(DI_TIER_SAMPLED);
    fixture f;
    dk_error err;
    di_cache *cache = NULL, *second = NULL;
    REQUIRE(fixture_open(&f, "cache_merge"));
    const char *a = test_path(f.folder, "a"), *b = test_path(f.folder, "b"), *both = test_path(f.folder, "both");
    write_blocks(&f, a, DI_TIER_SAMPLED, 0, 6);
    write_blocks(&f, b, DI_TIER_SAMPLED, 4, 10);
    REQUIRE_OK(di_cache_open_to_add(f.host, a, &header, 0, &cache, &err));
    CHECK_INT(di_cache_open_to_add(f.host, a, &header, 0, &second, &err), DK_E_BUSY);
    CHECK_HAS(err.message, "another writer adds to it");
    di_cache_free(cache);
    REQUIRE_OK(di_cache_merge(f.host, (const char *const[]){a, b}, 2, both, 0, &err));
    REQUIRE_OK(di_cache_open(f.host, both, 0, &cache, &err));
    CHECK_INT(count_found(&f, cache, 10), 10);
    CHECK_INT(di_cache_get_info(cache).records, 10);
    di_cache_free(cache);
    test_bytes once = file_bytes(&f, both);
    REQUIRE_OK(di_cache_merge(f.host, (const char *const[]){b, a}, 2, both, 0, &err)); /* nothing is new */
    test_bytes twice = file_bytes(&f, both);
    CHECK_INT(twice.size, once.size);
    free_bytes(&once);
    free_bytes(&twice);
    dk_host_release(f.host);
}

TEST(a_cache_of_something_else_is_refused_naming_both)
{
    fixture f;
    dk_error err;
    di_cache *cache = NULL;
    REQUIRE(fixture_open(&f, "cache_other"));
    const char *path = test_path(f.folder, "cache");
    write_blocks(&f, path, DI_TIER_TOP_K, 0, 1);
    const di_cache_header right = cache_header(DI_TIER_TOP_K);
    const char *const words[] = {"tokenizer 1111111111111111, wanted is 3311111111111111",
                                 "teacher 2222222222222222, wanted is 3322222222222222",
                                 "temperature 2, wanted is 3",
                                 "a vocabulary of 151936, wanted is 151937",
                                 "ids that count, 151643, wanted is 9000",
                                 "of 50, wanted is 49",
                                 "steps per nat, 32, wanted is 16",
                                 "tier top_k, wanted is sampled"};
    for (int i = 0; i < 8; i++) {
        di_cache_header wrong = right;
        if (i == 0) wrong.tokenizer[0] = 0x33;
        if (i == 1) wrong.teacher[0] = 0x33;
        if (i == 2) wrong.temperature = 3;
        if (i == 3) wrong.vocab++;
        if (i == 4) wrong.vocab_valid = 9000;
        if (i == 5) wrong.width = 49;
        if (i == 6) wrong.step = 16;
        if (i == 7) wrong.tier = DI_TIER_SAMPLED, wrong.step = 0;
        CHECK_INT(di_cache_open_to_add(f.host, path, &wrong, 0, &cache, &err), DK_E_MISMATCH);
        CHECK_HAS(err.message, words[i]);
        CHECK_HAS(err.message, path);
    }
    REQUIRE(write_text(path, "something else entirely"));
    CHECK_INT(di_cache_open_to_add(f.host, path, &right, 0, &cache, &err), DK_E_FORMAT);
    test_bytes kept = file_bytes(&f, path);
    CHECK_INT(kept.size, 23); /* it was left alone */
    free_bytes(&kept);
    dk_host_release(f.host);
}

TEST(inspect_describes_whole_and_damaged_files)
{
    fixture f;
    dk_error err;
    dk_strbuf json;
    REQUIRE(fixture_open(&f, "cache_inspect"));
    const char *path = test_path(f.folder, "cache");
    write_blocks(&f, path, DI_TIER_TOP_K, 0, 2);
    dk_strbuf_init(&json, f.host);
    REQUIRE_OK(di_cache_inspect(f.host, path, 1, &json, &err));
    CHECK_HAS(json.data, "\"tier\":\"top_k\",\"width\":50");
    CHECK_HAS(json.data, "\"records\":2,\"rows\":38,\"sequences\":2,\"blocks\":2");
    CHECK_HAS(json.data, "\"whole\":true");
    test_bytes whole = file_bytes(&f, path);
    whole.data[400] ^= 1;
    REQUIRE(write_bytes(&whole, path));
    dk_strbuf_clear(&json);
    REQUIRE_OK(di_cache_inspect(f.host, path, 1, &json, &err));
    CHECK_HAS(json.data, "\"whole\":false,\"problem\":\"");
    CHECK_HAS(json.data, "block 0 at byte 256 is damaged");
    free_bytes(&whole);
    dk_strbuf_free(&json);
    dk_host_release(f.host);
}

TEST_MAIN(TEST_CASE(rows_are_found_by_sequence_and_position) TEST_CASE(a_file_cut_anywhere_loses_its_last_block_at_most)
              TEST_CASE(a_file_cut_inside_its_header_begins_again) TEST_CASE(damage_is_named_and_skipped_on_request)
                  TEST_CASE(an_index_that_is_missing_damaged_or_of_another_file_is_made_again)
                      TEST_CASE(a_killed_writer_leaves_whole_blocks) TEST_CASE(one_writer_at_a_time_and_files_merge)
                          TEST_CASE(a_cache_of_something_else_is_refused_naming_both)
                              TEST_CASE(inspect_describes_whole_and_damaged_files))
