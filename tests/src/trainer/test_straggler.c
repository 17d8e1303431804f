/* Who of several ranks is slow: over seconds, and most of the time. */
#include "test.h"
#include "trainer/straggler.h"

enum { RANKS = 3, STRIDE = 4 };

static dk_host *host;
static di_straggler watch;

static void begin(void)
{
    dk_error err;
    if (!host) CHECK_OK(dk_host_create(NULL, &host, &err));
    CHECK_OK(di_straggler_create(&watch, host, RANKS, &err));
}

/* The first step at which somebody is named; 0 = none. Rank 1 takes `longer` times as long in every `each`th step. */
static int64_t named_after(int64_t steps, double seconds, double longer, int64_t each, int64_t *slow, double *ratio)
{
    double all[RANKS * STRIDE] = {0};
    for (int64_t step = 1; step <= steps; step++) {
        for (int64_t j = 0; j < RANKS; j++) all[j * STRIDE] = seconds * (j == 1 && step % each == 0 ? longer : 1);
        if ((*slow = di_straggler_step(&watch, all, STRIDE, ratio)) >= 0) return step;
    }
    return 0;
}

TEST(slow_steps)
{
    int64_t slow;
    double ratio = 0;
    begin();
    CHECK_INT(named_after(100, 1, 1.3, 1, &slow, &ratio), DI_STRAGGLER_STEPS);
    CHECK_INT(slow, 1);
    CHECK_NEAR(ratio, 1.3, 1e-12);
    di_straggler_free(&watch, host);
    begin();
    CHECK_INT(named_after(100, 1, 1.15, 1, &slow, &ratio), 0);
    di_straggler_free(&watch, host);
}

/* Of two milliseconds a fifth is nothing until it has become seconds. */
TEST(quick_steps)
{
    int64_t slow;
    double ratio = 0;
    begin();
    CHECK_INT(named_after(1900, 0.002, 1.3, 1, &slow, &ratio), 0);
    CHECK_INT(named_after(100, 0.002, 1.3, 1, &slow, &ratio), 24); /* 1924 steps of 2.6 ms are 5 s */
    di_straggler_free(&watch, host);
}

TEST(rare_and_long)
{
    int64_t slow;
    double ratio = 0;
    begin(); /* a third longer in all, by a tenth of the steps */
    CHECK_INT(named_after(1000, 0.1, 4.3, 10, &slow, &ratio), 0);
    di_straggler_free(&watch, host);
}

/* Each rank is behind in its turn. */
TEST(noise)
{
    double all[RANKS], ratio = 0;
    begin();
    for (int64_t step = 0; step < 3000; step++) {
        for (int64_t j = 0; j < RANKS; j++) all[j] = j == step * 7 % RANKS ? 0.006 : 0.003;
        CHECK_INT(di_straggler_step(&watch, all, 1, &ratio), -1);
    }
    di_straggler_free(&watch, host);
}

TEST(alone)
{
    double ratio = 0;
    const double second = 9;
    dk_error err;
    CHECK_OK(di_straggler_create(&watch, host, 1, &err));
    for (int64_t step = 0; step < 40; step++) CHECK_INT(di_straggler_step(&watch, &second, 1, &ratio), -1);
    di_straggler_free(&watch, host);
    dk_host_release(host);
}

TEST_MAIN(TEST_CASE(slow_steps) TEST_CASE(quick_steps) TEST_CASE(rare_and_long) TEST_CASE(noise) TEST_CASE(alone))
