/* Bounds of rates against binomial sums and known values; calibration errors of few rows. */
#include "evaluate/calibration.h"
#include "evaluate/rate.h"
#include "test.h"

/* P(X <= k) of a binomial, summed. */
static double at_most(int64_t k, int64_t n, double p)
{
    double sum = 0;
    for (int64_t i = 0; i <= k; i++)
        sum += exp(lgamma((double)n + 1) - lgamma((double)i + 1) - lgamma((double)(n - i) + 1) + (double)i * log(p) +
                   (double)(n - i) * log1p(-p));
    return sum;
}

TEST(bounds_are_clopper_and_pearsons)
{
    static const int64_t trials[] = {1, 2, 10, 59, 100, 1000, 20000};
    CHECK_NEAR(di_rate_most(0, 59, 0.05), 1 - pow(0.05, 1.0 / 59), 1e-12);
    CHECK_NEAR(di_rate_least(10, 10, 0.05), pow(0.05, 0.1), 1e-12);
    CHECK_NEAR(di_rate_least(5, 10, 0.025), 0.187086, 1e-6); /* R: binom.test(5, 10) */
    CHECK_NEAR(di_rate_most(5, 10, 0.025), 0.812914, 1e-6);
    for (int t = 0; t < 7; t++)
        for (int64_t k = 0; k <= trials[t]; k += 1 + trials[t] / 7) {
            const double most = di_rate_most(k, trials[t], 0.05), least = di_rate_least(k, trials[t], 0.05);
            if (k < trials[t]) CHECK_NEAR(at_most(k, trials[t], most), 0.05, 1e-8);
            else CHECK_NEAR(most, 1, 0);
            if (k) CHECK_NEAR(1 - at_most(k - 1, trials[t], least), 0.05, 1e-8);
            else CHECK_NEAR(least, 0, 0);
            CHECK(least <= (double)k / (double)trials[t] && (double)k / (double)trials[t] <= most);
        }
}

/* Of two bins: 0.9 sure and 3 of 4 right, 0.5 sure and 1 of 2 right. */
TEST(as_right_as_sure)
{
    di_calibration c = {{0}, {0}, {0}}, both = {{0}, {0}, {0}};
    double accuracy;
    CHECK_NEAR(di_expected_calibration_error(&c, &accuracy), -1, 0);
    for (int i = 0; i < 4; i++) di_calibration_count(&c, 0.9, i < 3);
    for (int i = 0; i < 2; i++) di_calibration_count(&c, 0.5, i < 1);
    CHECK_NEAR(di_expected_calibration_error(&c, &accuracy), 4 / 6.0 * 0.15, 1e-15);
    CHECK_NEAR(accuracy, 4 / 6.0, 1e-15);
    di_calibration_count(&both, 1, 1); /* the last bin has its upper end */
    di_calibration_add(&both, &c);
    CHECK_NEAR(di_expected_calibration_error(&both, &accuracy), 4 / 7.0 * 0.15, 1e-15);
}

TEST(the_first_bins_are_as_the_last_ones)
{
    di_calibration c = {{0}, {0}, {0}};
    double accuracy;
    for (int i = 0; i < 4; i++) di_calibration_count(&c, i < 2 ? 0.95 : 0.55, i % 2 == 0);
    CHECK_NEAR(di_expected_calibration_error(&c, &accuracy), (fabs(1 - 1.9) + fabs(1 - 1.1)) / 4, 1e-12);
}

TEST_MAIN(TEST_CASE(bounds_are_clopper_and_pearsons) TEST_CASE(as_right_as_sure)
              TEST_CASE(the_first_bins_are_as_the_last_ones))
