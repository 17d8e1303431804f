/* Values that become blocks: no further from what they were than llama.cpp's quantiser leaves them. */
#include "test.h"

#include "compute/compute.h"
#include "compute/quant_blocks.h"
#include "npz.h"

static const dk_dtype dtypes[] = {DK_Q8_0, DK_Q4_0, DK_Q5_0, DK_Q4_K};
enum { DTYPES = sizeof dtypes / sizeof *dtypes, WIDTH = 256 };

static double missed(const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < WIDTH; i++) sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sum;
}

TEST(errors_are_no_larger_than_llama_cpp_s)
{
    npz_file oracle;
    REQUIRE(npz_open(test_path(TEST_DATA, "quant/rounding.npz"), &oracle));
    npz_array values = npz_get(&oracle, "values");
    REQUIRE(values.rank == 2 && values.shape[1] == WIDTH);
    for (int d = 0; d < DTYPES; d++) {
        npz_array theirs = npz_get(&oracle, dk_dtype_name(dtypes[d]));
        double sums[2] = {0, 0};
        for (int64_t r = 0; r < values.shape[0]; r++) {
            float x[WIDTH], back[WIDTH];
            uint8_t blocks[WIDTH * 2];
            for (int i = 0; i < WIDTH; i++) x[i] = (float)values.values[r * WIDTH + i];
            CHECK(dk_blocks_narrow(dtypes[d], x, blocks, WIDTH));
            CHECK(dk_blocks_widen(dtypes[d], blocks, back, WIDTH));
            double ours = missed(x, back), bound = 1.05 * 1.05 * theirs.values[r] + 1e-13;
            if (!(ours <= bound))
                FAIL("%s, row %lld: %g, llama.cpp's %g", dk_dtype_name(dtypes[d]), (long long)r, ours,
                     theirs.values[r]);
            sums[0] += ours;
            sums[1] += theirs.values[r];
        }
        CHECK(sums[0] <= sums[1] * 1.0001);
        free(theirs.values);
    }
    free(values.values);
    npz_close(&oracle);
}

/* What blocks hold already comes back as it is, but for rounding in the last place. */
TEST(blocks_of_blocks_are_the_same_values)
{
    for (int d = 0; d < DTYPES; d++) {
        float x[WIDTH], once[WIDTH], twice[WIDTH], most = 0;
        uint8_t blocks[WIDTH * 2];
        for (int i = 0; i < WIDTH; i++) x[i] = sinf((float)(i * i)) * 0.3f;
        CHECK(dk_blocks_narrow(dtypes[d], x, blocks, WIDTH) && dk_blocks_widen(dtypes[d], blocks, once, WIDTH));
        CHECK(dk_blocks_narrow(dtypes[d], once, blocks, WIDTH) && dk_blocks_widen(dtypes[d], blocks, twice, WIDTH));
        for (int i = 0; i < WIDTH; i++) most = fmaxf(most, fabsf(once[i]));
        for (int i = 0; i < WIDTH; i++)
            if (!(fabsf(once[i] - twice[i]) <= 2e-3f * most))
                FAIL("%s: %g becomes %g", dk_dtype_name(dtypes[d]), (double)once[i], (double)twice[i]);
    }
}

TEST(what_no_block_holds_is_refused)
{
    float x[WIDTH] = {0};
    uint8_t blocks[WIDTH * 2];
    for (int d = 0; d < DTYPES; d++) {
        CHECK(dk_blocks_narrow(dtypes[d], x, blocks, WIDTH));
        x[77] = NAN;
        CHECK(!dk_blocks_narrow(dtypes[d], x, blocks, WIDTH));
        x[77] = -INFINITY;
        CHECK(!dk_blocks_narrow(dtypes[d], x, blocks, WIDTH));
        x[77] = 3e38f; /* its scale is beyond 65504 */
        CHECK(!dk_blocks_narrow(dtypes[d], x, blocks, WIDTH));
        x[77] = 0;
    }
    CHECK(!dk_blocks_narrow(DK_Q6_K, x, blocks, WIDTH));
    CHECK(!dk_blocks_narrow(DK_F32, x, blocks, WIDTH));
}

TEST_MAIN(TEST_CASE(errors_are_no_larger_than_llama_cpp_s) TEST_CASE(blocks_of_blocks_are_the_same_values)
              TEST_CASE(what_no_block_holds_is_refused))
