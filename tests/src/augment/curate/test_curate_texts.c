#include "augment/curate/overlap.h"
#include "augment/curate/quality.h"
#include "augment/curate/rouge.h"
#include "test_files.h"

static dk_host *new_host(void)
{
    dk_host *host = NULL;
    return dk_host_create(NULL, &host, NULL) ? NULL : host;
}

static int64_t count_words(dk_host *host, di_word_kind kind, const char *text)
{
    di_hashes words;
    dk_error err;
    di_hashes_init(&words, host);
    CHECK_OK(di_read_words(&words, kind, text, strlen(text), &err));
    const int64_t count = words.count;
    di_hashes_free(&words);
    return count;
}

TEST(words)
{
    dk_host *host = new_host();
    CHECK_INT(count_words(host, DI_WORDS_UNICODE, "  The cat's 3.5 caf\xc3\xa9s, _x_ "), 7);
    CHECK_INT(count_words(host, DI_WORDS_ASCII, "caf\xc3\xa9s"), 2);
    CHECK_INT(count_words(host, DI_WORDS_UNICODE, "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e abc"), 4);
    CHECK_INT(count_words(host, DI_WORDS_UNICODE,
                          "a\xff"
                          "b"),
              2); /* bad bytes part words */
    CHECK_INT(count_words(host, DI_WORDS_UNICODE, "..."), 0);
    CHECK_INT(di_count_chars("a\xc3\xa9\xf0\x9f\x98\x80", 7), 3);
    dk_host_release(host);
}

TEST(rouge_l_is_as_the_rouge_score_package_has_it)
{
    dk_host *host = new_host();
    dk_document *doc = NULL;
    dk_error err;
    REQUIRE_OK(dk_json_open(host, TEST_DATA "/curate/rouge.json", &doc, &err));
    const dk_node *root = dk_document_root(doc);
    REQUIRE(root->size > 30);
    for (size_t i = 0; i < root->size; i++) {
        const dk_node *a = dk_node_get(root->items[i], "a"), *b = dk_node_get(root->items[i], "b");
        double f1 = -1;
        CHECK_OK(di_rouge_l(host, DI_WORDS_ASCII, a->text, a->size, b->text, b->size, &f1, &err));
        CHECK_NEAR(f1, dk_node_get(root->items[i], "f1")->f64, 1e-12);
        CHECK_OK(di_rouge_l(host, DI_WORDS_ASCII, b->text, b->size, a->text, a->size, &f1, &err));
        CHECK_NEAR(f1, dk_node_get(root->items[i], "f1")->f64, 1e-12);
    }
    dk_document_free(doc);
    dk_host_release(host);
}

static int32_t is_new(di_novelty *novelty, const char *text, double *nearest)
{
    int32_t fresh = -1;
    dk_error err;
    CHECK_OK(di_novelty_add(novelty, text, strlen(text), nearest, &fresh, &err));
    return fresh;
}

TEST(novelty_looks_at_the_last_that_were_kept)
{
    dk_host *host = new_host();
    const char *path = path_in(test_folder("novelty"), "kept");
    di_novelty *novelty = NULL;
    di_kept_state state;
    double nearest;
    dk_error err;
    REQUIRE_OK(di_novelty_open(host, path, 0.7, 2, NULL, &novelty, &err));
    CHECK(is_new(novelty, "write a poem about the sea", &nearest));
    CHECK_NEAR(nearest, 0, 0);
    CHECK(!is_new(novelty, "write a poem about a sea", &nearest)); /* 5 of 6 words */
    CHECK_NEAR(nearest, 10.0 / 12, 1e-12);
    CHECK(is_new(novelty, "write a poem that nobody forgets", &nearest)); /* 3 of 6 */
    CHECK_NEAR(nearest, 0.5, 1e-12);
    REQUIRE_OK(di_novelty_flush(novelty, &state, &err));
    CHECK_INT(state.records, 6 + 1 + 6 + 1);
    CHECK(is_new(novelty, "add two numbers", &nearest));
    CHECK(is_new(novelty, "write a poem about the sea", &nearest)); /* left the window */
    di_novelty_close(novelty);
    REQUIRE_OK(di_novelty_open(host, path, 0.7, 2, &state, &novelty, &err));
    CHECK(!is_new(novelty, "write a poem about the sea", &nearest)); /* as it was then */
    CHECK(is_new(novelty, "add two numbers", &nearest));
    CHECK(is_new(novelty, "write a poem about the sea", &nearest));
    di_novelty_close(novelty);
    dk_host_release(host);
}

TEST(overlap_with_an_evaluation)
{
    dk_host *host = new_host();
    di_overlap overlap;
    dk_document *doc = NULL;
    dk_error err;
    int64_t word;
    const char *sample = "{\"prompt\":\"short one\",\"completion\":\"a b c d e f g h i j k l m n\",\"messages\":["
                         "{\"role\":\"user\",\"content\":\"one two three four five six\"},"
                         "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"v1 v2 v3 v4 v5\"}]}]}";
    const struct {
        const char *text;
        int64_t word;
    } cases[] = {
        {"A, b. c d-e f g h i j k l M", 0}, /* 13 words */
        {"x b c d e f g h i j k l m n!", 1},
        {"a b c d e f g h i j k l", -1}, /* 12 */
        {"we say: one two THREE four five six.", 2},
        {"one two three four five", -1},
        {"short one", -1},
        {"see v1 v2 v3 v4 v5", 1},
        {"", -1},
    };
    di_overlap_init(&overlap, host, 13);
    REQUIRE_OK(di_overlap_find(&overlap, "a b", 3, &word, &err));
    CHECK_INT(word, -1);
    REQUIRE_OK(dk_json_parse(host, sample, strlen(sample), "sample", &doc, &err));
    REQUIRE_OK(di_overlap_sample(&overlap, dk_document_root(doc), &err));
    CHECK_INT(overlap.texts, 4);
    CHECK_INT(overlap.too_short, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_OK(di_overlap_find(&overlap, cases[i].text, strlen(cases[i].text), &word, &err));
        if (word != cases[i].word)
            FAIL("\"%s\" at %lld, not %lld", cases[i].text, (long long)word, (long long)cases[i].word);
    }
    dk_document_free(doc);
    di_overlap_free(&overlap);
    dk_host_release(host);
}

static void measure(dk_host *host, const char *text, double out[DI_QUALITIES])
{
    di_quality quality;
    dk_error err;
    di_quality_init(&quality, host);
    CHECK_OK(di_quality_measure_text(&quality, text, strlen(text), out, &err));
    di_quality_free(&quality);
}

TEST(quality_has_the_right_values)
{
    dk_host *host = new_host();
    double m[DI_QUALITIES];
    measure(host, "ab1 $.\ncc\ncc", m);
    CHECK_NEAR(m[DI_LETTERS], 6.0 / 9, 1e-12);
    CHECK_NEAR(m[DI_DIGITS], 1.0 / 9, 1e-12);
    CHECK_NEAR(m[DI_SYMBOLS], 1.0 / 9, 1e-12);
    CHECK_NEAR(m[DI_LONGEST_RUN], 2, 0);
    CHECK_NEAR(m[DI_DUPLICATE_LINES], 1.0 / 3, 1e-12);
    CHECK_NEAR(m[DI_DUPLICATE_LINE_CHARS], 2.0 / 10, 1e-12);
    CHECK_NEAR(m[DI_ENDED_LINES], 1.0 / 3, 1e-12);
    CHECK(isnan(m[DI_WORD_LENGTH]) && isnan(m[DI_TOP_2GRAM]));
    /* 12 words of 2 letters: "aa bb" three times, 12 of 24 letters; the runs of 5 do not repeat */
    measure(host, "aa bb cc dd aa bb ee ff aa bb gg # 12", m);
    CHECK_NEAR(m[DI_TOP_2GRAM], 12.0 / 24, 1e-12);
    CHECK_NEAR(m[DI_TOP_3GRAM], 0, 0);
    CHECK_NEAR(m[DI_DUPLICATE_5GRAMS], 0, 0);
    CHECK_NEAR(m[DI_WORD_LENGTH], 2, 1e-12);
    CHECK_NEAR(m[DI_ALPHABETIC_WORDS], 11.0 / 13, 1e-12);
    CHECK_NEAR(m[DI_MARKS_PER_WORD], 1.0 / 13, 1e-12);
    /* 12 words, the last 6 as the first: runs of 5 and of 6 stood before, of 7 not */
    measure(host, "a b c d e f a b c d e f", m);
    CHECK_NEAR(m[DI_DUPLICATE_5GRAMS], 0.5, 1e-12);
    CHECK_NEAR(m[DI_DUPLICATE_6GRAMS], 0.5, 1e-12);
    CHECK_NEAR(m[DI_DUPLICATE_7GRAMS], 0, 0);
    measure(host, "- a\n* b...\n\n \xe2\x80\xa2 c\xe2\x80\xa6\nd ?", m);
    CHECK_NEAR(m[DI_BULLET_LINES], 3.0 / 4, 1e-12);
    CHECK_NEAR(m[DI_ELLIPSIS_LINES], 2.0 / 4, 1e-12);
    CHECK_NEAR(m[DI_ENDED_LINES], 3.0 / 4, 1e-12);
    measure(host, "", m);
    for (int i = 0; i < DI_QUALITIES; i++) CHECK(isnan(m[i]));
    dk_host_release(host);
}

TEST(quality_passes_prose_and_drops_what_is_none)
{
    static const struct {
        const char *text;
        int32_t fails; /* DI_QUALITIES = passes */
    } cases[] = {
        {"The sea was calm that morning, and the fishermen left before the sun had risen over the hills.",
         DI_QUALITIES},
        {"O mar estava calmo naquela manh\xc3\xa3, e os pescadores sa\xc3\xadram antes que o sol nascesse atr\xc3\xa1s "
         "das serras.",
         DI_QUALITIES},
        {"\xe4\xbb\x8a\xe5\xa4\xa9\xe5\xa4\xa9\xe6\xb0\x94\xe5\xbe\x88\xe5\xa5\xbd\xef\xbc\x8c\xe6\x88\x91\xe4\xbb\xac"
         "\xe5\x8e\xbb\xe5\x85\xac\xe5\x9b\xad\xe3\x80\x82",
         DI_QUALITIES},
        {"yes", DI_QUALITIES},
        {"1 2 3 4 5 6 7 8 9 10 11 12", DI_WORD_LENGTH},
        {"123 456 789 123 4567 8901 2345 6789 1111 2222 33333", DI_ALPHABETIC_WORDS},
        {"one two three, one two three, one two three, one two three, one two three", DI_TOP_2GRAM},
        {"same line here\nsame line here\nsame line here", DI_DUPLICATE_LINES},
    };
    dk_host *host = new_host();
    di_quality_bounds bounds;
    dk_error err;
    double m[DI_QUALITIES];
    di_quality_defaults(&bounds);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        measure(host, cases[i].text, m);
        const di_quality_measure got = di_quality_fails(&bounds, m);
        if ((int32_t)got != cases[i].fails)
            FAIL("\"%s\" fails %s", cases[i].text, got < DI_QUALITIES ? di_quality_name(got) : "nothing");
    }
    REQUIRE_OK(di_quality_set(&bounds, "word_length off", &err));
    REQUIRE_OK(di_quality_set(&bounds, "alphabetic_words off", &err));
    REQUIRE_OK(di_quality_set(&bounds, "digits <= 0.5", &err));
    measure(host, cases[4].text, m);
    CHECK_INT(di_quality_fails(&bounds, m), DI_DIGITS);
    CHECK_INT(di_quality_set(&bounds, "letter >= 1", &err), DK_E_OPTION);
    CHECK_HAS(err.message, "\"letter\" is no measure of quality; there are letters, digits,");
    CHECK_INT(di_quality_set(&bounds, "letters > 1", &err), DK_E_OPTION);
    CHECK_STR(err.message, "\"letters > 1\" is no bound: write \"letters <= NUMBER\", >= or off");
    CHECK_INT(di_quality_set(&bounds, "letters <=", &err), DK_E_OPTION);
    dk_host_release(host);
}

TEST_MAIN(TEST_CASE(words) TEST_CASE(rouge_l_is_as_the_rouge_score_package_has_it)
              TEST_CASE(novelty_looks_at_the_last_that_were_kept) TEST_CASE(overlap_with_an_evaluation)
                  TEST_CASE(quality_has_the_right_values) TEST_CASE(quality_passes_prose_and_drops_what_is_none))
