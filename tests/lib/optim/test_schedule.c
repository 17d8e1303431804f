#include "npz.h"
#include "optim/optim.h"
#include "test.h"

TEST(shapes)
{
    const dk_schedule constant = {.kind = DK_SCHEDULE_CONSTANT, .steps = 10},
                      linear = {.kind = DK_SCHEDULE_LINEAR, .steps = 10, .warmup_steps = 2, .min_ratio = 0.5};
    const dk_schedule cosine = {.kind = DK_SCHEDULE_COSINE, .steps = 12, .warmup_steps = 2, .min_ratio = 0.1};
    const dk_schedule wsd = {.kind = DK_SCHEDULE_WSD, .steps = 10, .warmup_steps = 2, .decay_steps = 4};
    const dk_schedule root = {.kind = DK_SCHEDULE_INVERSE_SQRT, .steps = 1000, .warmup_steps = 10, .min_ratio = 0.25};
    const dk_schedule nothing = {.kind = DK_SCHEDULE_COSINE, .steps = 4, .warmup_steps = 4};
    CHECK_NEAR(dk_schedule_at(&constant, 0), 1, 0);
    CHECK_NEAR(dk_schedule_at(&linear, 0), 0, 0);
    CHECK_NEAR(dk_schedule_at(&linear, 1), 0.5, 0);
    CHECK_NEAR(dk_schedule_at(&linear, 2), 1, 0);
    CHECK_NEAR(dk_schedule_at(&linear, 6), 0.75, 1e-15);
    CHECK_NEAR(dk_schedule_at(&linear, 50), 0.5, 1e-15);
    CHECK_NEAR(dk_schedule_at(&cosine, 7), 0.55, 1e-15);
    CHECK_NEAR(dk_schedule_at(&cosine, 12), 0.1, 1e-15);
    CHECK_NEAR(dk_schedule_at(&cosine, 100), 0.1, 1e-15);
    CHECK_NEAR(dk_schedule_at(&wsd, 5), 1, 0);
    CHECK_NEAR(dk_schedule_at(&wsd, 6), 1, 0);
    CHECK_NEAR(dk_schedule_at(&wsd, 8), 0.5, 1e-15);
    CHECK_NEAR(dk_schedule_at(&wsd, 10), 0, 0);
    CHECK_NEAR(dk_schedule_at(&root, 40), 0.5, 1e-15);
    CHECK_NEAR(dk_schedule_at(&root, 900), 0.25, 0);
    CHECK_NEAR(dk_schedule_at(&nothing, 3), 0.75, 0); /* all of it warm-up */
    CHECK_NEAR(dk_schedule_at(&nothing, 4), 1, 0);
}

TEST(oracle)
{
    static const struct {
        const char *name;
        dk_schedule schedule;
        int last;
    } cases[] = {
        {"cosine_w10_n100", {DK_SCHEDULE_COSINE, 100, 10, 0, 0}, 100},
        {"cosine_w0_n100", {DK_SCHEDULE_COSINE, 100, 0, 0, 0}, 100},
        {"linear_w10_n100", {DK_SCHEDULE_LINEAR, 100, 10, 0, 0}, 110},
        {"constant_w10", {DK_SCHEDULE_CONSTANT, 100, 10, 0, 0}, 110},
        {"inverse_sqrt_w10", {DK_SCHEDULE_INVERSE_SQRT, 100, 10, 0, 0}, 110},
        {"cosine_minlr0p1_w10_n100", {DK_SCHEDULE_COSINE, 100, 10, 0, 0.1}, 100},
        {"wsd_w10_d20_n100_linear", {DK_SCHEDULE_WSD, 100, 10, 20, 0.1}, 110},
    };
    npz_file file;
    if (!test_assets()) SKIP("DISTILL_TEST_ASSETS is not set");
    REQUIRE(npz_open(test_path(test_assets(), "oracle/optim/schedules.npz"), &file));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        npz_array want = npz_get(&file, cases[i].name);
        REQUIRE(want.count == 111);
        for (int step = 0; step <= cases[i].last; step++) {
            const double got = dk_schedule_at(&cases[i].schedule, step);
            if (!(fabs(got - want.values[step]) <= 1e-12))
                FAIL("%s: step %d is %.15g, not %.15g", cases[i].name, step, got, want.values[step]);
        }
        free(want.values);
    }
    npz_close(&file);
}

TEST_MAIN(TEST_CASE(shapes) TEST_CASE(oracle))
