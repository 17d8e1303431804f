/* Hashed n-grams: which text has which, how they count, signs, and any bytes. */
#include "classifier/ngrams.h"
#include "test.h"

typedef struct fixture {
    dk_host *host;
    di_inputs x;
} fixture;

static int fixture_open(fixture *f)
{
    dk_error err;
    if (dk_host_create(NULL, &f->host, &err)) return 0;
    di_inputs_init(&f->x, f->host);
    return 1;
}

static void fixture_close(fixture *f)
{
    di_inputs_free(&f->x);
    dk_host_release(f->host);
}

static const di_ngrams wide = {1, 1, 0, 20, 1, DI_COUNT_TF}; /* words alone */

static const di_inputs *of(fixture *f, di_ngrams n, const char *text)
{
    dk_error err;
    CHECK_OK(di_ngrams_of(&n, text, strlen(text), &f->x, &err));
    double squares = 0;
    for (int64_t i = 0; i < f->x.count; i++) {
        CHECK(f->x.ids[i] >= 0 && f->x.ids[i] < 1 << n.bits && (!i || f->x.ids[i] > f->x.ids[i - 1]));
        squares += (double)f->x.values[i] * (double)f->x.values[i];
    }
    if (f->x.count) CHECK_NEAR(squares, 1, 1e-6);
    return &f->x;
}

static double size_of(const di_inputs *x, int64_t at) { return fabs((double)x->values[at]); }

TEST(words_and_signs_are_counted)
{
    fixture f;
    REQUIRE(fixture_open(&f));
    CHECK_INT(of(&f, wide, "The cat sat")->count, 3);
    CHECK_INT(of(&f, wide, "the THE tHe")->count, 1);
    CHECK_INT(of(&f, wide, "don't stop!")->count, 5); /* don ' t stop ! */
    di_ngrams two = wide;
    two.words = 2;
    CHECK_INT(of(&f, two, "The cat sat")->count, 5);
    two.lowercase = 0;
    CHECK_INT(of(&f, two, "the The")->count, 3);
    const di_ngrams characters = {0, 2, 3, 20, 1, DI_COUNT_TF};
    CHECK_INT(of(&f, characters, "ab")->count, 5); /* " a" "ab" "b " " ab" "ab " */
    CHECK_INT(of(&f, characters, "\xc3\xa9")->count, 3);
    const di_ngrams long_ones = {0, 8, 8, 20, 1, DI_COUNT_TF};
    CHECK_INT(of(&f, long_ones, "short")->count, 0);
    fixture_close(&f);
}

TEST(how_often_is_how_much)
{
    fixture f;
    di_ngrams n = wide;
    REQUIRE(fixture_open(&f));
    const di_inputs *x = of(&f, n, "yes yes yes no");
    REQUIRE(x->count == 2);
    const double most = fmax(size_of(x, 0), size_of(x, 1)), least = fmin(size_of(x, 0), size_of(x, 1));
    CHECK_NEAR(most / least, 3, 1e-5);
    n.counts = DI_COUNT_LOG_TF;
    x = of(&f, n, "yes yes yes no");
    CHECK_NEAR(fmax(size_of(x, 0), size_of(x, 1)) / fmin(size_of(x, 0), size_of(x, 1)), 1 + log(3.0), 1e-5);
    n.counts = DI_COUNT_BINARY;
    x = of(&f, n, "yes yes yes no");
    CHECK_NEAR(size_of(x, 0), size_of(x, 1), 1e-7);
    fixture_close(&f);
}

/* Of many words about half have either sign, and they are spread over the inputs. */
TEST(signs_and_places_are_even)
{
    fixture f;
    char text[64];
    int positive = 0, high = 0;
    REQUIRE(fixture_open(&f));
    for (int i = 0; i < 2000; i++) {
        snprintf(text, sizeof text, "word%d", i);
        const di_inputs *x = of(&f, wide, text);
        REQUIRE(x->count == 1);
        positive += x->values[0] > 0;
        high += x->ids[0] >= 1 << 19;
    }
    CHECK(positive > 850 && positive < 1150);
    CHECK(high > 850 && high < 1150);
    fixture_close(&f);
}

TEST(any_bytes)
{
    static const char bad[] = "a\xff\xfe b\xc3\x00 \x00 z";
    static const di_ngrams all = {3, 1, 5, 12, 1, DI_COUNT_LOG_TF};
    fixture f;
    dk_error err;
    REQUIRE(fixture_open(&f));
    CHECK_INT(of(&f, all, "")->count, 0);
    CHECK_INT(of(&f, all, " \n\t ")->count, 0);
    CHECK_OK(di_ngrams_of(&all, bad, sizeof bad - 1, &f.x, &err));
    CHECK(f.x.count > 10);
    for (int size = 0; size < 300; size++) { /* no byte beyond the text is read: a copy of its own for the sanitizer */
        char *text = malloc((size_t)size + 1);
        for (int i = 0; i < size; i++) text[i] = (char)((i * 37 + size * 11) % 256);
        CHECK_OK(di_ngrams_of(&all, text, (size_t)size, &f.x, &err));
        free(text);
    }
    fixture_close(&f);
}

TEST_MAIN(TEST_CASE(words_and_signs_are_counted) TEST_CASE(how_often_is_how_much) TEST_CASE(signs_and_places_are_even)
              TEST_CASE(any_bytes))
