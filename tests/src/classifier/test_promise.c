/* The threshold of a cascade, whose promise is kept as often as it says over drawn held-out sets. */
#include "base/random.h"
#include "classifier/promise.h"
#include "evaluate/rate.h"
#include "test.h"

TEST(thresholds_of_small_sets)
{
    di_judged judged[200];
    di_promise p;
    for (int i = 0; i < 200; i++) judged[i] = (di_judged){0.5 + i * 0.002, 1};
    di_promise_choose(judged, 58, 0.95, 0.95, &p); /* one too few */
    CHECK(p.threshold > 1 && p.answered == 0 && p.least_texts == 59);
    di_promise_choose(judged, 59, 0.95, 0.95, &p);
    CHECK_NEAR(p.threshold, 0.5, 1e-12);
    CHECK_INT(p.answered, 59);
    CHECK(p.bound <= 0.05);
    di_promise_choose(judged, 0, 0.95, 0.95, &p);
    CHECK(p.threshold > 1);
    for (int i = 0; i < 200; i++) judged[i] = (di_judged){0.5 + i * 0.002, i >= 100}; /* below 0.7 all are wrong */
    di_promise_choose(judged, 200, 0.95, 0.95, &p);
    int64_t allowed = 0;
    while (di_rate_most(allowed + 1, 200, 0.05) <= 0.05) allowed++;
    CHECK_INT(p.wrong, allowed);
    CHECK_INT(p.answered, 100 + allowed);
    CHECK_NEAR(p.threshold, 0.7 - 0.002 * (double)allowed, 1e-9);
    for (int i = 0; i < 200; i++) judged[i] = (di_judged){0.9, i % 2}; /* all as sure, and half of them wrong */
    di_promise_choose(judged, 200, 0.95, 0.95, &p);
    CHECK(p.threshold > 1 && p.answered == 0 && p.bound == 0);
}

/* A student that is right with the chance of its confidence: what it answers and gets wrong is known exactly. */
TEST(promises_are_kept_as_often_as_is_said)
{
    enum { SETS = 600, TEXTS = 300 };
    di_judged judged[TEXTS];
    int broken = 0, useful = 0;
    for (uint64_t s = 0; s < SETS; s++) {
        di_promise p;
        for (uint64_t i = 0; i < TEXTS; i++) {
            const double confidence = dk_random_uniform(s, DK_STREAM_TEST, 2 * i);
            judged[i] = (di_judged){confidence, dk_random_uniform(s, DK_STREAM_TEST, 2 * i + 1) < confidence};
        }
        di_promise_choose(judged, TEXTS, 0.9, 0.8, &p);
        if (p.threshold > 1) continue;
        useful++;
        const double t = p.threshold, risk = (1 - t) * (1 - t) / 2; /* integral of 1 - c from t to 1 */
        broken += risk > 0.1;
    }
    CHECK(useful > SETS / 2);
    CHECK(broken <= SETS * 0.2 * 1.15 && broken > 0); /* 0.2, and 2.4 standard deviations; and not far below */
}

TEST_MAIN(TEST_CASE(thresholds_of_small_sets) TEST_CASE(promises_are_kept_as_often_as_is_said))
