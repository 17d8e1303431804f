/* What operators remember on disk: duplicates, near duplicates, values of a field. */
#include <signal.h>
#include <sys/resource.h>

#include "augment/curate/balance.h"
#include "augment/curate/near.h"
#include "augment/curate/seen_slots.h"
#include "base/random.h"
#include "compute/compute.h"
#include "test_files.h"

static dk_host *new_host(void)
{
    dk_host *host = NULL;
    return dk_host_create(NULL, &host, NULL) ? NULL : host;
}

/* ---- the table ---- */
TEST(slots_give_what_was_added_in_order)
{
    enum { COUNT = 60000, KEYS = 20000 };
    dk_host *host = new_host();
    di_slots *slots = NULL;
    dk_error err;
    uint32_t found[8];
    int64_t count;
    REQUIRE_OK(di_slots_create(host, test_folder("slots"), &slots, &err));
    for (uint32_t i = 0; i < COUNT; i++) /* among them the last slots, which go on at the front */
        REQUIRE_OK(di_slots_add(slots, (i % KEYS) < 50 ? UINT32_MAX - i % KEYS : (i % KEYS) * 2654435761u, i, &err));
    int wrong = 0;
    for (uint32_t k = 0; k < KEYS; k++) {
        REQUIRE_OK(di_slots_find(slots, k < 50 ? UINT32_MAX - k : k * 2654435761u, found, 8, &count, &err));
        wrong += count != 3 || found[0] != k || found[1] != k + KEYS || found[2] != k + 2 * KEYS;
    }
    CHECK_INT(wrong, 0);
    REQUIRE_OK(di_slots_find(slots, 5 * 2654435761u + 1, found, 8, &count, &err));
    CHECK_INT(count, 0);
    di_slots_free(slots);
    CHECK_INT(di_slots_create(host, "/no/such/folder", &slots, &err), DK_E_NOT_FOUND);
    dk_host_release(host);
}

/* ---- the same ---- */
static int64_t before_of(di_same *same, const char *text)
{
    int64_t before = -2;
    dk_error err;
    CHECK_OK(di_same_add(same, text, strlen(text), &before, &err));
    return before;
}

TEST(the_same_text_is_found)
{
    dk_host *host = new_host();
    const char *folder = test_folder("same");
    di_same *same = NULL;
    dk_error err;
    REQUIRE_OK(di_same_open(host, path_in(folder, "exact"), (di_same_rules){0, 0}, NULL, &same, &err));
    CHECK_INT(before_of(same, "A text"), -1);
    CHECK_INT(before_of(same, "A  text"), -1);
    CHECK_INT(before_of(same, "a text"), -1);
    CHECK_INT(before_of(same, "A text"), 0);
    di_same_close(same);
    REQUIRE_OK(di_same_open(host, path_in(folder, "folded"), (di_same_rules){1, 1}, NULL, &same, &err));
    CHECK_INT(before_of(same, "A text"), -1);
    CHECK_INT(before_of(same, "\n a \t\xc2\xa0 TEXT "), 0);
    CHECK_INT(before_of(same, "\xc3\x89T\xc3\x89"), -1);
    CHECK_INT(before_of(same, "\xc3\xa9t\xc3\xa9"), 1);
    CHECK_INT(before_of(same, ""), -1);
    CHECK_INT(before_of(same, "  "), 2);
    di_same_close(same);
    dk_host_release(host);
}

/* ---- MinHash ---- */
enum { TEXT = 4096 };

static void make_text(uint64_t seed, int64_t words, char out[TEXT])
{
    size_t used = 0;
    for (int64_t i = 0; i < words; i++)
        used += (size_t)snprintf(out + used, TEXT - used, "%sw%u", i ? " " : "",
                                 (unsigned)(dk_random_u64(seed, DK_STREAM_TEST, (uint64_t)i) % 5000));
}

/* The words of a text, each changed with this probability. */
static void change_text(uint64_t seed, int64_t words, double share, char out[TEXT])
{
    size_t used = 0;
    for (int64_t i = 0; i < words; i++) {
        const int changed = dk_random_uniform(seed + 77, DK_STREAM_TEST, (uint64_t)i) < share;
        used += (size_t)snprintf(out + used, TEXT - used, "%s%s%u", i ? " " : "", changed ? "x" : "w",
                                 (unsigned)(dk_random_u64(seed, DK_STREAM_TEST, (uint64_t)i) % 5000));
    }
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int64_t distinct(di_hashes *of)
{
    int64_t count = 0;
    qsort(of->items, (size_t)of->count, sizeof *of->items, by_value);
    for (int64_t i = 0; i < of->count; i++)
        if (!i || of->items[i] != of->items[count - 1]) of->items[count++] = of->items[i];
    return of->count = count;
}

static double exact_jaccard(dk_host *host, di_shingles shingles, const char *a, const char *b)
{
    di_minhash first, second;
    uint32_t unused[DI_MINHASH_SIZE];
    int64_t count, both = 0;
    dk_error err;
    di_minhash_init(&first, host, shingles, DK_ISA_PORTABLE);
    di_minhash_init(&second, host, shingles, DK_ISA_PORTABLE);
    CHECK_OK(di_minhash_text(&first, a, strlen(a), unused, &count, &err));
    CHECK_OK(di_minhash_text(&second, b, strlen(b), unused, &count, &err));
    const int64_t m = distinct(&first.items), n = distinct(&second.items);
    for (int64_t i = 0, j = 0; i < m && j < n;) {
        const uint64_t x = first.items.items[i], y = second.items.items[j];
        both += x == y;
        i += x <= y;
        j += y <= x;
    }
    di_minhash_free(&first);
    di_minhash_free(&second);
    return (double)both / (double)(m + n - both);
}

/* The estimate is unbiased and spreads as the binomial law says. */
TEST(signatures_estimate_jaccard)
{
    enum { PAIRS = 400 };
    dk_host *host = new_host();
    const di_shingles shingles = {0, 3};
    di_minhash minhash;
    char a[TEXT], b[TEXT];
    uint32_t x[DI_MINHASH_SIZE], y[DI_MINHASH_SIZE];
    int64_t count;
    dk_error err;
    di_minhash_init(&minhash, host, shingles, DK_ISA_PORTABLE);
    for (int level = 0; level < 3; level++) {
        static const double changed[] = {0.02, 0.1, 0.25};
        double error = 0, squares = 0, expected = 0;
        for (uint64_t i = 0; i < PAIRS; i++) {
            make_text(1000 * i, 100, a);
            change_text(1000 * i, 100, changed[level], b);
            CHECK_OK(di_minhash_text(&minhash, a, strlen(a), x, &count, &err));
            CHECK_INT(count, 98);
            CHECK_OK(di_minhash_text(&minhash, b, strlen(b), y, &count, &err));
            const double j = exact_jaccard(host, shingles, a, b), off = di_minhash_jaccard(x, y) - j;
            error += off / PAIRS;
            squares += off * off / PAIRS;
            expected += j * (1 - j) / DI_MINHASH_SIZE / PAIRS;
        }
        CHECK_NEAR(error, 0, 4 * sqrt(expected / PAIRS));
        CHECK(squares > 0.7 * expected && squares < 1.4 * expected);
    }
    di_minhash_free(&minhash);
    dk_host_release(host);
}

TEST(every_instruction_set_gives_the_same_signature)
{
    dk_host *host = new_host();
    di_minhash minhash;
    char text[TEXT];
    uint32_t want[DI_MINHASH_SIZE], got[DI_MINHASH_SIZE];
    int64_t count;
    dk_error err;
    make_text(5, 200, text);
    int32_t best = DK_ISA_PORTABLE;
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("avx2")) best = DK_ISA_AVX2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        best = DK_ISA_AVX512;
#endif
    di_minhash_init(&minhash, host, (di_shingles){0, 3}, DK_ISA_PORTABLE);
    REQUIRE_OK(di_minhash_text(&minhash, text, strlen(text), want, &count, &err));
    for (minhash.isa = best; minhash.isa > DK_ISA_PORTABLE; minhash.isa--) {
        REQUIRE_OK(di_minhash_text(&minhash, text, strlen(text), got, &count, &err));
        CHECK(memcmp(got, want, sizeof want) == 0);
    }
    di_minhash_free(&minhash);
    dk_host_release(host);
}

TEST(bands_fit_the_threshold)
{
    CHECK_INT(di_bands_for(0.8).rows, 7);
    CHECK_INT(di_bands_for(0.8).bands, 18);
    CHECK_INT(di_bands_for(0.5).rows, 3);
    CHECK_INT(di_bands_for(0.5).bands, 42);
    CHECK_INT(di_bands_for(1).rows, 128);
    for (int i = 1; i <= 100; i++) CHECK(di_bands_meet(di_bands_for(i / 100.0), i / 100.0) >= (i < 3 ? 0.7 : 0.95));
}

static di_near_found add_near(di_near *near, const char *text)
{
    di_near_found found = {0};
    dk_error err;
    CHECK_OK(di_near_add(near, text, strlen(text), &found, &err));
    return found;
}

TEST(near_texts_are_found_and_others_are_not)
{
    dk_host *host = new_host();
    di_near *near = NULL;
    char text[TEXT];
    dk_error err;
    REQUIRE_OK(di_near_open(host, path_in(test_folder("near"), "kept"), 0.8, (di_shingles){0, 3}, DK_ISA_PORTABLE, NULL,
                            &near, &err));
    for (uint64_t i = 0; i < 500; i++) {
        make_text(1000 * i, 100, text);
        CHECK_INT(add_near(near, text).before, -1);
    }
    int missed = 0, wrong = 0;
    for (uint64_t i = 0; i < 500; i++) { /* one word of 100: J about 0.94 */
        make_text(1000 * i, 100, text);
        text[strlen(text) / 2] = text[strlen(text) / 2] == ' ' ? 'y' : '_';
        const di_near_found found = add_near(near, text);
        missed += found.before < 0;
        wrong += found.before >= 0 && found.before != (int64_t)i;
    }
    CHECK_INT(missed, 0);
    CHECK_INT(wrong, 0);
    CHECK_INT(add_near(near, "").before, -1);
    CHECK_INT(add_near(near, "?!").before, -1); /* no words: like nothing */
    CHECK_INT(add_near(near, "?!").before, -1);
    CHECK_INT(add_near(near, "\xe4\xbb\x8a\xe5\xa4\xa9\xe5\xa4\xa9\xe6\xb0\x94\xe5\xbe\x88\xe5\xa5\xbd").before, -1);
    CHECK_INT(add_near(near, "\xe4\xbb\x8a\xe5\xa4\xa9\xe5\xa4\xa9\xe6\xb0\x94\xe5\xbe\x88\xe5\xa5\xbd!").before, 500);
    di_near_close(near);
    dk_host_release(host);
}

/* Many that meet and are not near: the work for each has a bound, and that it was reached is told. */
TEST(crowds_are_told)
{
    dk_host *host = new_host();
    di_near *near = NULL;
    char text[TEXT];
    int32_t crowded = 0;
    dk_error err;
    REQUIRE_OK(di_near_open(host, path_in(test_folder("crowd"), "kept"), 0.99, (di_shingles){0, 1}, DK_ISA_PORTABLE,
                            NULL, &near, &err));
    for (uint64_t i = 0; i < 6000; i++) {
        make_text(1, 40, text);
        snprintf(text + strlen(text), TEXT - strlen(text), " v%u u%u", (unsigned)i, (unsigned)i);
        crowded += add_near(near, text).crowded;
    }
    CHECK(crowded > 0);
    di_near_close(near);
    dk_host_release(host);
}

/* Interrupted behind any text and gone on with: the same answers, and the same file, byte for byte. */
static uint64_t run_near(dk_host *host, const char *path, const di_kept_state *from, uint64_t first, uint64_t last,
                         di_kept_state *state)
{
    di_near *near = NULL;
    char text[TEXT];
    uint64_t sum = 0;
    dk_error err;
    CHECK_OK(di_near_open(host, path, 0.8, (di_shingles){0, 3}, DK_ISA_PORTABLE, from, &near, &err));
    for (uint64_t i = first; near && i < last; i++) {
        if (i % 3) make_text(1000 * i, 60, text);
        else change_text(1000 * (i / 2), 60, 0.05, text);
        sum = 31 * sum + (uint64_t)add_near(near, text).before;
        if (i + 1 == last) CHECK_OK(di_near_flush(near, state, &err));
    }
    di_near_close(near);
    return sum;
}

static int same_bytes(const char *a, const char *b)
{
    char command[8500];
    snprintf(command, sizeof command, "cmp -s '%s' '%s'", a, b);
    return system(command) == 0;
}

TEST(what_is_kept_goes_on_where_it_stopped)
{
    dk_host *host = new_host();
    const char *folder = test_folder("resume");
    char whole[4096], parts[4096];
    di_kept_state end, middle, again;
    snprintf(whole, sizeof whole, "%s/whole", folder);
    snprintf(parts, sizeof parts, "%s/parts", folder);
    run_near(host, whole, NULL, 0, 700, &end);
    run_near(host, parts, NULL, 0, 300, &middle);
    const uint64_t want = run_near(host, parts, &middle, 300, 700, &again);
    CHECK_INT(again.records, end.records);
    CHECK(again.crc == end.crc);
    CHECK(same_bytes(whole, parts));
    CHECK(run_near(host, parts, &middle, 300, 700, &again) == want); /* what lay behind is cut off */
    CHECK(same_bytes(whole, parts));
    dk_host_release(host);
}

TEST(files_that_do_not_fit_are_refused)
{
    dk_host *host = new_host();
    const char *folder = test_folder("damaged");
    char path[4096];
    di_kept_state state;
    di_near *near = NULL;
    di_same *same = NULL;
    dk_error err;
    snprintf(path, sizeof path, "%s/kept", folder);
    run_near(host, path, NULL, 0, 20, &state);
    CHECK_INT(di_near_open(host, path, 0.7, (di_shingles){0, 3}, 0, &state, &near, &err), DK_E_MISMATCH);
    CHECK_HAS(err.message, "was written with other settings of the step; begin anew");
    CHECK_INT(di_same_open(host, path, (di_same_rules){0, 0}, &state, &same, &err), DK_E_MISMATCH);
    const di_kept_state more = {state.records + 1, state.crc}, other = {state.records, state.crc ^ 1};
    CHECK_INT(di_near_open(host, path, 0.8, (di_shingles){0, 3}, 0, &more, &near, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "records, ");
    CHECK_INT(di_near_open(host, path, 0.8, (di_shingles){0, 3}, 0, &other, &near, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "records were changed; begin anew");
    REQUIRE(write_text(path, "no such file at all, but long enough for a header"));
    CHECK_INT(di_near_open(host, path, 0.8, (di_shingles){0, 3}, 0, &state, &near, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "is no record of what was kept");
    REQUIRE(write_text(path, "short"));
    CHECK_INT(di_near_open(host, path, 0.8, (di_shingles){0, 3}, 0, &state, &near, &err), DK_E_FORMAT);
    CHECK_INT(di_near_open(host, path_in(folder, "none"), 0.8, (di_shingles){0, 3}, 0, &state, &near, &err),
              DK_E_NOT_FOUND);
    CHECK_INT(di_near_open(host, path, 0, (di_shingles){0, 3}, 0, NULL, &near, &err), DK_E_INVALID);
    CHECK_INT(di_near_open(host, path, 0.8, (di_shingles){0, 0}, 0, NULL, &near, &err), DK_E_INVALID);
    dk_host_release(host);
}

/* A disk that is full, or a file that may grow no further. */
TEST(a_file_that_cannot_grow_is_named)
{
    dk_host *host = new_host();
    di_near *near = NULL;
    di_near_found found;
    char text[TEXT];
    struct rlimit limit, small;
    int32_t rc = DK_OK;
    dk_error err;
    REQUIRE_OK(di_near_open(host, path_in(test_folder("full"), "kept"), 0.8, (di_shingles){0, 3}, DK_ISA_PORTABLE, NULL,
                            &near, &err));
    signal(SIGXFSZ, SIG_IGN);
    REQUIRE(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    small = limit;
    small.rlim_cur = 64 * 1024;
    REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
    for (uint64_t i = 0; i < 2000 && !rc; i++) {
        make_text(1000 * i, 20, text);
        rc = di_near_add(near, text, strlen(text), &found, &err);
    }
    setrlimit(RLIMIT_FSIZE, &limit);
    CHECK_INT(rc, DK_E_IO);
    CHECK_HAS(err.message, "/full/kept: cannot be written: ");
    di_near_close(near);
    dk_host_release(host);
}

/* ---- balance ---- */
static void balance_as(dk_host *host, const char *path, di_balance_rules rules, const di_kept_state *at,
                       const char *values, const char *want, di_kept_state *state)
{
    di_balance *balance = NULL;
    dk_error err;
    char got[64] = "";
    REQUIRE_OK(di_balance_open(host, path, rules, at, &balance, &err));
    for (size_t i = 0; values[i]; i++) {
        int32_t kept = -1;
        CHECK_OK(di_balance_add(balance, values + i, 1, &kept, &err));
        got[i] = kept ? '1' : '0';
    }
    CHECK_STR(got, want);
    CHECK_OK(di_balance_flush(balance, state, &err));
    di_balance_close(balance);
}

TEST(balance_of_a_field)
{
    dk_host *host = new_host();
    const char *path = path_in(test_folder("balance"), "kept");
    di_kept_state state;
    balance_as(host, path, (di_balance_rules){2, 0}, NULL, "aabaacbb", "11100110", &state);
    CHECK_INT(state.records, 5);
    balance_as(host, path, (di_balance_rules){2, 0}, &state, "abcd", "0011", &state);
    /* at most half of what is kept, but for one */
    balance_as(host, path, (di_balance_rules){0, 0.5}, NULL, "aaabaaa", "1101100", &state);
    dk_host_release(host);
}

TEST_MAIN(TEST_CASE(slots_give_what_was_added_in_order) TEST_CASE(the_same_text_is_found)
              TEST_CASE(signatures_estimate_jaccard) TEST_CASE(every_instruction_set_gives_the_same_signature)
                  TEST_CASE(bands_fit_the_threshold) TEST_CASE(near_texts_are_found_and_others_are_not)
                      TEST_CASE(crowds_are_told) TEST_CASE(what_is_kept_goes_on_where_it_stopped)
                          TEST_CASE(files_that_do_not_fit_are_refused) TEST_CASE(a_file_that_cannot_grow_is_named)
                              TEST_CASE(balance_of_a_field))
