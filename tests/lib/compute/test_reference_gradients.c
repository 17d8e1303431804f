/* Every backward op of the double reference against central differences of its forward op. */
#include "compute_cases.h"

#define DIFFERENTIATE(run, ...) fx_differentiate(#run, run, (const int64_t[8]){__VA_ARGS__}, 1e-7)

TEST(linear)
{
    DIFFERENTIATE(case_linear, 3, 5, 4, 0, 0, 0, 0);
    DIFFERENTIATE(case_linear, 2, 4, 3, 5, 1, 0, 3);
    DIFFERENTIATE(case_linear, 2, 4, 3, 5, 0, DK_BF16, 3);
}
TEST(norm)
{
    DIFFERENTIATE(case_norm, DK_NORM_RMS, 3, 0, 7, 0, 0, 2, 1);
    DIFFERENTIATE(case_norm, DK_NORM_LAYER, 3, 0, 7, 1, 0, 0, 0);
    DIFFERENTIATE(case_norm, DK_NORM_RMS, 2, 3, 4, 0, 0, 5, 0);
}
TEST(glu)
{
    for (int64_t kind = DK_ACT_SILU; kind <= DK_ACT_RELU; kind++) {
        DIFFERENTIATE(case_glu, kind, 3, 7, 1, 2, 3);
        DIFFERENTIATE(case_glu, kind, 3, 7, 0, 0, 3);
    }
}
TEST(rope)
{
    DIFFERENTIATE(case_rope, 4, 2, 6, 6, 3);
    DIFFERENTIATE(case_rope, 4, 2, 6, 4, 0);
}
TEST(embed)
{
    DIFFERENTIATE(case_embed, 9, 4, 5, 0, 0);
    DIFFERENTIATE(case_embed, 9, 4, 5, 0, 1);
}
TEST(log_softmax)
{
    DIFFERENTIATE(case_log_softmax, 3, 9, 7, 100, 0, 0, 0, 3);
    DIFFERENTIATE(case_log_softmax, 3, 9, 9, 200, 5, 1, 2, 3);
}
TEST(attention)
{
    DIFFERENTIATE(case_attention, 0, 1, 1, 4, 0, 0, 0, 6);
    DIFFERENTIATE(case_attention, 1, 2, 2, 3, 0, 0, 2, 4);
    DIFFERENTIATE(case_attention, 1, 1, 3, 4, 3, 0, 0, 4);
    DIFFERENTIATE(case_attention, 2, 2, 1, 4, 2, 4, 0, 4);
}

TEST_MAIN(TEST_CASE(linear) TEST_CASE(norm) TEST_CASE(glu) TEST_CASE(rope) TEST_CASE(embed) TEST_CASE(log_softmax)
              TEST_CASE(attention))
