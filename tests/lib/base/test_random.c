#include "base/random.h"
#include "test.h"

/* Known answers of the generator's authors (Random123, kat_vectors): the first two of the four words. */
TEST(known_answers)
{
    CHECK(dk_random_u64(0, 0, 0) == UINT64_C(0xe169c58d6627e8d5));
    CHECK(dk_random_u64(UINT64_MAX, UINT64_MAX, UINT64_MAX) == UINT64_C(0x41c83b0e408f276d));
    CHECK(dk_random_u64(UINT64_C(0x299f31d0a4093822), UINT64_C(0x0370734413198a2e), UINT64_C(0x85a308d3243f6a88)) ==
          UINT64_C(0x94fdccebd16cfe09));
}

TEST(moments)
{
    enum { N = 200000 };
    double mean = 0, square = 0, sum = 0, sum2 = 0, sum4 = 0;
    for (uint64_t i = 0; i < N; i++) {
        double u = dk_random_uniform(7, DK_STREAM_TEST, i), z = dk_random_normal(7, DK_STREAM_TEST, i);
        if (!(u >= 0 && u < 1) || !isfinite(z)) FAIL("draw %d is %g, %g", (int)i, u, z);
        mean += u / N, square += u * u / N, sum += z / N, sum2 += z * z / N, sum4 += z * z * z * z / N;
    }
    CHECK_NEAR(mean, 0.5, 0.003);
    CHECK_NEAR(square, 1.0 / 3, 0.003);
    CHECK_NEAR(sum, 0, 0.01);
    CHECK_NEAR(sum2, 1, 0.015);
    CHECK_NEAR(sum4, 3, 0.15);
}

TEST(permutations)
{
    static const uint64_t sizes[] = {1, 2, 3, 7, 64, 65, 100, 1000, 4097};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        uint64_t n = sizes[k], moved = 0;
        char *seen = calloc(n, 1);
        for (uint64_t i = 0; i < n; i++) {
            uint64_t place = dk_random_permute(3, DK_STREAM_SHUFFLE, i, n);
            if (place >= n || seen[place]++) FAIL("n %d: %d goes to %d", (int)n, (int)i, (int)place);
            moved += place != dk_random_permute(4, DK_STREAM_SHUFFLE, i, n);
        }
        if (n >= 64) CHECK(moved > n / 2); /* another seed, another order */
        free(seen);
    }
    CHECK_INT(dk_random_permute(1, 2, 0, 0), 0);
    CHECK(dk_random_permute(1, 2, 5, UINT64_C(1) << 63) < UINT64_C(1) << 63);
}

/* Every order of three things comes up, about equally often. */
TEST(small_permutations_are_even)
{
    int counts[27] = {0};
    for (uint64_t seed = 0; seed < 6000; seed++) {
        uint64_t a = dk_random_permute(seed, 1, 0, 3), b = dk_random_permute(seed, 1, 1, 3);
        counts[a * 3 + b]++;
    }
    for (int a = 0; a < 3; a++)
        for (int b = 0; b < 3; b++)
            if (a != b) CHECK(counts[a * 3 + b] > 850 && counts[a * 3 + b] < 1150);
}

TEST_MAIN(TEST_CASE(known_answers) TEST_CASE(moments) TEST_CASE(permutations) TEST_CASE(small_permutations_are_even))
