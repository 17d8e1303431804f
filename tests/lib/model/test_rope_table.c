/* Rotary tables against frequencies worked out apart from the library, by the formulas of transformers. */
#include "model/pass_parts.h"
#include "test_model.h"

enum { PAIRS = 8, POSITIONS = 40 };

static void check_table(const dk_rope_config *rope, const double frequencies[PAIRS], double amplitude)
{
    dk_error err = {0};
    fixture f;
    dk_buffer *buffer = NULL;
    dk_view view;
    if (!fixture_begin(&f, ON_F64)) return;
    CHECK_OK(dk_rope_table(f.backend, rope, POSITIONS, 0, &buffer, &view, &err));
    CHECK_INT(dk_rope_table_bytes(f.backend, rope, POSITIONS), POSITIONS * PAIRS * 2 * 8);
    CHECK(view.rank == 3 && view.shape[0] == POSITIONS && view.shape[1] == PAIRS && view.shape[2] == 2);
    double *table = new_read(&f, view);
    for (int p = 0; p < POSITIONS; p++) {
        for (int i = 0; i < PAIRS; i++) {
            CHECK_NEAR(table[(p * PAIRS + i) * 2], amplitude * cos(p * frequencies[i]), 1e-12);
            CHECK_NEAR(table[(p * PAIRS + i) * 2 + 1], amplitude * sin(p * frequencies[i]), 1e-12);
        }
    }
    free(table);
    f.backend->ops->buffer_free(f.backend, buffer);
    fixture_end(&f);
}

TEST(linear)
{
    const dk_rope_config rope = {.kind = DK_ROPE_LINEAR, .theta = 10000, .factor = 2.5, .dims = 16};
    const double want[] = {0.4,   0.126491106406735,   0.04,   0.0126491106406735,
                           0.004, 0.00126491106406735, 0.0004, 0.000126491106406735};
    check_table(&rope, want, 1);
}

TEST(llama3)
{
    const dk_rope_config rope = {.kind = DK_ROPE_LLAMA3,
                                 .theta = 500000,
                                 .factor = 8,
                                 .low_freq_factor = 1,
                                 .high_freq_factor = 4,
                                 .original_positions = 8192,
                                 .dims = 16};
    const double want[] = {1,
                           0.193922744748686,
                           0.0376060309308639,
                           0.00729266473721711,
                           0.000524846160992955,
                           3.42810219595259e-05,
                           6.64786987118124e-06,
                           1.28917317215156e-06};
    check_table(&rope, want, 1);
}

TEST(yarn)
{
    dk_rope_config rope = {.kind = DK_ROPE_YARN,
                           .theta = 10000,
                           .factor = 4,
                           .beta_fast = 32,
                           .beta_slow = 1,
                           .truncate = 1,
                           .original_positions = 2048,
                           .dims = 16};
    const double rounded[] = {1,       0.316227766016838,   0.1,     0.0256935059888681,
                              0.00625, 0.00138349647632367, 0.00025, 7.90569415042095e-05};
    const double exact[] = {
        1,       0.316227766016838,   0.1, 0.0238701923217363, 0.00505697152112944, 0.000811290381701431,
        0.00025, 7.90569415042095e-05};
    check_table(&rope, rounded, 1.13862943611199);
    rope.truncate = 0;
    check_table(&rope, exact, 1.13862943611199);
}

TEST(yarn_amplitude)
{
    dk_rope_config rope = {.kind = DK_ROPE_YARN,
                           .theta = 10000,
                           .factor = 40,
                           .beta_fast = 32,
                           .beta_slow = 1,
                           .mscale = 1,
                           .mscale_all_dim = 0.707,
                           .truncate = 1,
                           .original_positions = 4096,
                           .dims = 16};
    const double scaled[] = {1,        0.316227766016838,    0.1,     0.0239147248050234,
                             0.005125, 0.000849862121170252, 2.5e-05, 7.90569415042095e-06};
    const double given[] = {1,        0.177827941003892,    0.0316227766016838,   0.00316316995419571,
                            0.000125, 2.22284926254865e-05, 3.95284707521047e-06, 7.02926656487936e-07};
    check_table(&rope, scaled, 1.08572639925614);
    rope.theta = 1e6;
    rope.factor = 8;
    rope.beta_fast = 16;
    rope.beta_slow = 2;
    rope.attention_factor = 1.25;
    check_table(&rope, given, 1.25);
}

TEST_MAIN(TEST_CASE(linear) TEST_CASE(llama3) TEST_CASE(yarn) TEST_CASE(yarn_amplitude))
