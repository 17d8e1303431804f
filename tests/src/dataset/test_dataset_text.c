/* test_dataset_text.c - text files: documents, windows, packing, order, splits, and data larger than memory. */
#include "dataset_fixture.h"

static di_dataset *open_text(fixture *f, const char *path)
{
    di_dataset *dataset = NULL;
    dk_error err;
    if (di_dataset_open(f->host, path, f->tokenizer, f->options, &dataset, &err)) FAIL("%s", err.message);
    return dataset;
}

static void check_text(const char *text, const char *const *settings, const char *want)
{
    fixture f;
    REQUIRE(fixture_open(&f, settings));
    di_dataset *dataset = open_text(&f, fixture_file("documents.txt", text));
    REQUIRE(dataset);
    di_batch *batch = fixture_all(dataset);
    CHECK_STR(fixture_learnt(batch, 1), want);
    di_batch_free(batch);
    di_dataset_release(dataset);
    fixture_close(&f);
}

TEST(documents_end_with_the_end_token)
{
    check_text("ab<|endoftext|>cde", OPTIONS("data.pack=false"), "ab<|endoftext|>|cde<|endoftext|>");
    check_text("ab<|endoftext|> \n<|endoftext|>cde<|endoftext|>\n", OPTIONS("data.pack=false"),
               "ab<|endoftext|>|cde<|endoftext|>");
    check_text("one\ntwo\n\n", OPTIONS("data.pack=false", "data.separator=\"\\n\""),
               "one<|endoftext|>|two<|endoftext|>");
    check_text("one\ntwo", OPTIONS("data.separator=\"\""), "one\ntwo<|endoftext|>");
    check_text("ab<|im_end|>cd", OPTIONS("data.pack=false", "data.separator=<|im_end|>"), "ab<|im_end|>|cd<|im_end|>");
}

TEST(bos_stands_in_front_where_the_tokenizer_puts_one)
{
    fixture f;
    dk_error err;
    REQUIRE(fixture_open(&f, OPTIONS("data.pack=false")));
    dk_tokenizer_release(f.tokenizer);
    REQUIRE((f.tokenizer = fixture_tokenizer(f.host, S_BEGIN, S_END, NULL, &err)) != NULL);
    REQUIRE_OK(di_options_set(f.options, "data.separator", "~~", &err));
    di_dataset *dataset = open_text(&f, fixture_file("bos.txt", "ab~~cd"));
    di_batch *batch = fixture_all(dataset);
    CHECK_STR(fixture_learnt(batch, 1), "<s>ab</s>|<s>cd</s>");
    CHECK_STR(fixture_learnt(batch, 0), "_ab</s>|_cd</s>");
    di_batch_free(batch);
    di_dataset_release(dataset);
    fixture_close(&f);
}

TEST(long_documents_are_cut_without_loss)
{
    check_text("abcdefghij", OPTIONS("data.sequence_length=4"), "abcd|efgh|ij<|endoftext|>");
    check_text("abcdefghij", OPTIONS("data.sequence_length=4", "data.too_long=error"), "abcd|efgh|ij<|endoftext|>");
    /* the end token alone has nothing to learn */
    check_text("abcdefgh", OPTIONS("data.sequence_length=4"), "abcd|efgh");
}

TEST(rows_carry_the_token_behind_them)
{
    fixture f;
    REQUIRE(fixture_open(&f, OPTIONS("data.sequence_length=8")));
    di_dataset *dataset = open_text(&f, fixture_file("rows.txt", "abc<|endoftext|>xy"));
    di_batch *batch = fixture_all(dataset);
    CHECK_INT(batch->windows, 1);
    CHECK_INT(batch->sequences, 2);
    CHECK_INT(batch->rows, 5);
    CHECK_NEAR(batch->weight_sum, 5, 0);
    const int64_t row[] = {0, 1, 2, 4, 5}, sequence[] = {0, 0, 0, 1, 1};
    const int32_t label[] = {'b', 'c', END_ID, 'y', END_ID};
    for (int i = 0; i < 5; i++) {
        CHECK_INT(batch->row[i], row[i]);
        CHECK_INT(batch->labels[i], label[i]);
        CHECK_INT(batch->row_sequence[i], sequence[i]);
    }
    CHECK_INT(fixture_number(dataset, "samples"), 2);
    CHECK_INT(fixture_number(dataset, "tokens"), 7);
    CHECK_INT(fixture_number(dataset, "learnt"), 5);
    /* b, c, y: the first of a sequence and end tokens are not text that is scored */
    CHECK_INT(fixture_number(dataset, "bytes"), 3);
    CHECK_INT(fixture_number(dataset, "max_length"), 4);
    di_batch_free(batch);
    di_dataset_release(dataset);
    fixture_close(&f);
}

/* Documents "aaa", "bbbbb", ... of pseudo-random lengths, each of one letter. */
static size_t many_documents(char *text, int count)
{
    size_t at = 0;
    unsigned state = 12345;
    for (int d = 0; d < count; d++) {
        state = state * 1103515245u + 12345u;
        for (unsigned i = 0; i < 1 + (state >> 16) % 40; i++) text[at++] = (char)('a' + d % 26);
        text[at++] = '\n';
    }
    text[at] = 0;
    return at;
}

static int32_t compare_ids(const void *a, const void *b) { return *(const int32_t *)a - *(const int32_t *)b; }

TEST(packing_keeps_every_token_and_bounds_every_window)
{
    enum { DOCUMENTS = 500, LENGTH = 64 };
    static char text[DOCUMENTS * 42];
    fixture f;
    size_t size = many_documents(text, DOCUMENTS);
    REQUIRE(fixture_open(&f, OPTIONS("data.sequence_length=64", "data.separator=\"\\n\"")));
    di_dataset *dataset = open_text(&f, fixture_file("many.txt", text));
    di_batch *batch = fixture_all(dataset);
    CHECK_INT(fixture_number(dataset, "samples"), DOCUMENTS);
    CHECK_INT(batch->sequences, DOCUMENTS);
    CHECK_INT(batch->offsets[batch->sequences], size); /* every line end became an end token */
    CHECK_INT(batch->rows, size - DOCUMENTS);
    for (int64_t w = 0; w < batch->windows; w++) {
        int64_t first = batch->window_first[w], last = batch->window_first[w + 1];
        CHECK(last > first && batch->offsets[last] - batch->offsets[first] <= LENGTH);
    }
    for (int64_t s = 0; s < batch->sequences; s++) { /* a sequence is one document */
        int32_t letter = batch->ids[batch->offsets[s]];
        for (int64_t i = batch->offsets[s]; i + 1 < batch->offsets[s + 1]; i++) CHECK_INT(batch->ids[i], letter);
        CHECK_INT(batch->ids[batch->offsets[s + 1] - 1], END_ID);
    }
    CHECK((double)batch->offsets[batch->sequences] / (double)(batch->windows * LENGTH) > 0.95); /* packed well */
    for (int64_t r = 0; r < batch->rows; r++) {
        int64_t s = batch->row_sequence[r];
        CHECK(batch->row[r] >= batch->offsets[s] && batch->row[r] + 1 < batch->offsets[s + 1] &&
              batch->labels[r] == batch->ids[batch->row[r] + 1]);
    }
    int64_t letters = batch->offsets[batch->sequences];
    qsort(batch->ids, (size_t)letters, sizeof *batch->ids, compare_ids);
    for (char c = 'a'; c <= 'z'; c++) {
        int64_t want = 0, got = 0;
        for (size_t i = 0; i < size; i++) want += text[i] == c;
        for (int64_t i = 0; i < letters; i++) got += batch->ids[i] == c;
        CHECK_INT(got, want);
    }
    di_batch_free(batch);
    di_dataset_release(dataset);
    fixture_close(&f);
}

static int same_batches(const di_batch *a, const di_batch *b)
{
    return a->windows == b->windows && a->sequences == b->sequences && a->rows == b->rows &&
           a->weight_sum == b->weight_sum && memcmp(a->offsets, b->offsets, (size_t)(a->sequences + 1) * 8) == 0 &&
           memcmp(a->ids, b->ids, (size_t)a->offsets[a->sequences] * 4) == 0 &&
           memcmp(a->labels, b->labels, (size_t)a->rows * 4) == 0 && memcmp(a->row, b->row, (size_t)a->rows * 8) == 0;
}

TEST(batch_k_is_a_pure_function)
{
    static char text[300 * 42];
    fixture f;
    dk_error err;
    di_batch *one = NULL, *two = NULL;
    many_documents(text, 300);
    const char *path = fixture_file("pure.txt", text);
    REQUIRE(fixture_open(&f, OPTIONS("data.sequence_length=64", "data.separator=\"\\n\"")));
    di_dataset *a = open_text(&f, path), *b = open_text(&f, path);
    REQUIRE_OK(di_batch_create(a, 8, &one, &err));
    REQUIRE_OK(di_batch_create(b, 8, &two, &err));
    int differ = 0;
    for (int64_t k = 40; k >= 0; k--) { /* backwards: no history */
        REQUIRE_OK(di_dataset_batch(a, 7, k, 8, one, &err));
        REQUIRE_OK(di_dataset_batch(b, 7, k, 8, two, &err));
        CHECK(same_batches(one, two));
        REQUIRE_OK(di_dataset_batch(b, 8, k, 8, two, &err));
        differ += !same_batches(one, two);
    }
    CHECK(differ > 30);
    int64_t allocations = dk_host_allocations(f.host);
    REQUIRE_OK(di_dataset_batch(a, 7, 3, 8, one, &err));
    CHECK_INT(dk_host_allocations(f.host), allocations);
    di_batch_free(one);
    di_batch_free(two);
    di_dataset_release(a);
    di_dataset_release(b);
    fixture_close(&f);
}

TEST(an_epoch_visits_every_window_once)
{
    fixture f;
    dk_error err;
    char text[200];
    di_batch *batch = NULL;
    for (int i = 0; i < 25; i++) sprintf(text + 3 * i, "%c%c\n", 'a' + i, 'A' + i);
    REQUIRE(fixture_open(&f, OPTIONS("data.sequence_length=8", "data.pack=false", "data.separator=\"\\n\"")));
    di_dataset *dataset = open_text(&f, fixture_file("epoch.txt", text));
    REQUIRE_OK(di_batch_create(dataset, 10, &batch, &err));
    int seen[2][25] = {{0}}, order[2][25], at = 0;
    for (int64_t k = 0; k < 5; k++) { /* the third batch runs on into the second epoch */
        REQUIRE_OK(di_dataset_batch(dataset, 1, k, 10, batch, &err));
        CHECK_INT(batch->windows, 10);
        for (int64_t w = 0; w < 10; w++, at++) {
            order[at / 25][at % 25] = batch->ids[batch->offsets[w]];
            seen[at / 25][batch->ids[batch->offsets[w]] - 'a']++;
        }
    }
    for (int i = 0; i < 25; i++) CHECK(seen[0][i] == 1 && seen[1][i] == 1);
    CHECK(memcmp(order[0], order[1], sizeof order[0]) != 0);
    REQUIRE_OK(di_options_set(f.options, "data.shuffle", "false", &err));
    di_dataset_release(dataset);
    dataset = open_text(&f, fixture_file("epoch.txt", text));
    REQUIRE_OK(di_dataset_batch(dataset, 1, 0, 10, batch, &err));
    for (int i = 0; i < 10; i++) CHECK_INT(batch->ids[batch->offsets[i]], 'a' + i);
    CHECK_INT(di_dataset_windows(dataset, 25, 1, batch, &err), DK_E_END);
    REQUIRE_OK(di_dataset_windows(dataset, 20, 10, batch, &err));
    CHECK_INT(batch->windows, 5);
    CHECK_INT(di_dataset_windows(dataset, 0, 11, batch, &err), DK_E_INVALID);
    di_batch_free(batch);
    di_dataset_release(dataset);
    fixture_close(&f);
}

TEST(the_last_documents_are_held_out)
{
    fixture f;
    dk_error err;
    di_dataset *train = NULL, *held_out = NULL;
    REQUIRE(fixture_open(&f, OPTIONS("data.sequence_length=8", "data.pack=false", "data.separator=\"\\n\"")));
    di_dataset *dataset = open_text(&f, fixture_file("split.txt", "a1\nb2\nc3\nd4\ne5\nf6\ng7\nh8\ni9\nj0\n"));
    REQUIRE_OK(di_dataset_split(dataset, 0.2, &train, &held_out, &err));
    CHECK_INT(fixture_number(train, "samples"), 8);
    CHECK_INT(fixture_number(held_out, "samples"), 2);
    di_batch *batch = fixture_all(held_out);
    CHECK_STR(fixture_learnt(batch, 1), "i9<|endoftext|>|j0<|endoftext|>");
    char all[65], part[65];
    REQUIRE_OK(di_dataset_hash(dataset, all, &err));
    REQUIRE_OK(di_dataset_hash(train, part, &err));
    CHECK(strcmp(all, part) != 0);
    di_batch_free(batch);
    di_dataset_release(dataset); /* the parts keep the data */
    di_dataset_release(train);
    batch = fixture_all(held_out);
    CHECK_INT(batch->windows, 2);
    di_batch_free(batch);
    di_dataset_release(held_out);
    fixture_close(&f);
}

TEST(one_long_text_is_held_out_from_the_end)
{
    fixture f;
    dk_error err;
    char text[1000];
    di_dataset *train = NULL, *held_out = NULL;
    for (int i = 0; i < 999; i++) text[i] = (char)('a' + i / 100);
    text[999] = 0;
    REQUIRE(fixture_open(&f, OPTIONS("data.sequence_length=50")));
    di_dataset *dataset = open_text(&f, fixture_file("single.txt", text));
    REQUIRE_OK(di_dataset_split(dataset, 0.1, &train, &held_out, &err));
    CHECK_INT(fixture_number(train, "tokens") + fixture_number(held_out, "tokens"), 1000);
    CHECK_INT(fixture_number(held_out, "tokens"), 100);
    di_dataset_release(dataset);
    di_dataset_release(train);
    di_dataset_release(held_out);
    fixture_close(&f);
}

/* A text of several pieces: lines of words, and one line without any place to cut at. */
static char *long_text(size_t size)
{
    char *text = malloc(size + 1);
    for (size_t i = 0; i < size; i++) text[i] = i % 61 == 60 ? '\n' : i % 7 == 6 ? ' ' : (char)('a' + i % 23);
    for (size_t i = size / 3; i < size / 3 * 2; i++) text[i] = (char)('A' + i % 19);
    text[size] = 0;
    return text;
}

TEST(a_text_beyond_memory_gives_the_same_windows)
{
    const size_t size = (5u << 20) - 1;
    fixture f;
    dk_error err;
    di_dataset *small = NULL, *large = NULL;
    di_batch *a = NULL, *b = NULL;
    char *text = long_text(size), hash[2][65];
    REQUIRE(fixture_open(&f, OPTIONS("data.sequence_length=512")));
    const char *path = fixture_file("long.txt", text);
    REQUIRE_OK(di_dataset_open(f.host, path, f.tokenizer, f.options, &small, &err));
    REQUIRE_OK(di_dataset_open_limited(f.host, path, f.tokenizer, f.options, 4096, NULL, NULL, &large, &err));
    CHECK(large->store->spools[0].map != NULL && small->store->spools[0].map == NULL);
    CHECK_INT(fixture_number(large, "tokens"), size + 1);
    REQUIRE_OK(di_dataset_hash(small, hash[0], &err));
    REQUIRE_OK(di_dataset_hash(large, hash[1], &err));
    CHECK_STR(hash[0], hash[1]);
    REQUIRE_OK(di_batch_create(small, 16, &a, &err));
    REQUIRE_OK(di_batch_create(large, 16, &b, &err));
    int64_t at = 0;
    for (int64_t first = 0; di_dataset_windows(large, first, 16, b, &err) == DK_OK; first += 16) {
        REQUIRE_OK(di_dataset_windows(small, first, 16, a, &err));
        CHECK(same_batches(a, b));
        for (int64_t i = 0; i < b->offsets[b->sequences] && at < (int64_t)size; i++, at++)
            if (b->ids[i] != text[at])
                FAIL("token %lld is %d, not %d", (long long)at, (int)b->ids[i], text[at]), at = (int64_t)size;
    }
    CHECK_INT(at, size);
    di_batch_free(a);
    di_batch_free(b);
    di_dataset_release(small);
    di_dataset_release(large);
    fixture_close(&f);
    free(text);
}

static int32_t stop_at_once(void *user, int64_t done, int64_t total)
{
    int64_t *seen = user;
    seen[0] = done;
    seen[1] = total;
    return 1;
}

TEST(tokenising_can_be_cancelled)
{
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    int64_t seen[2] = {0, 0};
    REQUIRE(fixture_open(&f, OPTIONS("data.sequence_length=8")));
    const char *path = fixture_file("cancel.txt", "some text to read");
    CHECK_INT(di_dataset_open_watched(f.host, path, f.tokenizer, f.options, stop_at_once, seen, &dataset, &err),
              DK_E_CANCELLED);
    CHECK_HAS(err.message, "cancel.txt: tokenising was cancelled at byte 17 of 17");
    CHECK_INT(seen[1], 17);
    dk_host_cancel(f.host, 1);
    CHECK_INT(di_dataset_open(f.host, path, f.tokenizer, f.options, &dataset, &err), DK_E_CANCELLED);
    CHECK(dataset == NULL);
    fixture_close(&f);
}

static void check_refused(const char *path, int with_tokenizer, int32_t code, const char *part)
{
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    REQUIRE(fixture_open(&f, NULL));
    CHECK_INT(di_dataset_open(f.host, path, with_tokenizer ? f.tokenizer : NULL, f.options, &dataset, &err), code);
    CHECK_HAS(err.message, part);
    CHECK(dataset == NULL);
    fixture_close(&f);
}

TEST(what_cannot_be_read_is_named)
{
    check_refused(test_path(TEST_TMP, "no-such-file.txt"), 1, DK_E_NOT_FOUND, "no-such-file.txt");
    check_refused(fixture_file("empty.txt", ""), 1, DK_E_INVALID, "no sample with a token to learn in ");
    check_refused(fixture_file("blank.txt", " \n\n"), 1, DK_E_INVALID, "blank.txt: it has no sample at all");
    check_refused(fixture_file("plain.txt", "abc"), 0, DK_E_INVALID,
                  "plain.txt: text cannot be read without a tokenizer");
    check_refused(TEST_TMP, 1, DK_E_IO, "is a folder");
}

TEST(any_bytes_are_text)
{
    check_text("a\xff\xfe"
               "b",
               OPTIONS("data.sequence_length=8"),
               "a\xff\xfe"
               "b<|endoftext|>");
}

TEST_MAIN(TEST_CASE(documents_end_with_the_end_token) TEST_CASE(bos_stands_in_front_where_the_tokenizer_puts_one)
              TEST_CASE(long_documents_are_cut_without_loss) TEST_CASE(rows_carry_the_token_behind_them)
                  TEST_CASE(packing_keeps_every_token_and_bounds_every_window) TEST_CASE(batch_k_is_a_pure_function)
                      TEST_CASE(an_epoch_visits_every_window_once) TEST_CASE(the_last_documents_are_held_out)
                          TEST_CASE(one_long_text_is_held_out_from_the_end)
                              TEST_CASE(a_text_beyond_memory_gives_the_same_windows)
                                  TEST_CASE(tokenising_can_be_cancelled) TEST_CASE(what_cannot_be_read_is_named)
                                      TEST_CASE(any_bytes_are_text))
