/* From the frequencies' divisors back to the numbers of llama3 scaling. With x = 1/wavelength of an entry, llama3
 * divides its frequency by 1/u(x), where u is a ramp: 1/factor up to x_low, then a straight line to 1 at x_high. The
 * numbers are x_low = low/original and x_high = high/original, so original may be chosen. */
#include "model/architecture.h"

#include <math.h>

#define TOLERANCE 2e-6 /* divisors are 32-bit floats */

static double inverse_wavelength(int64_t i, int64_t count, double theta)
{
    return pow(theta, -(double)i / (double)count) / (2 * 3.14159265358979323846);
}

static double ramp(const dk_llama3_factors *of, double x)
{
    double smooth =
        (x * (double)of->original_positions - of->low_freq_factor) / (of->high_freq_factor - of->low_freq_factor);
    smooth = smooth < 0 ? 0 : smooth > 1 ? 1 : smooth;
    return (1 - smooth) / of->factor + smooth;
}

static int32_t agrees(const float *divisors, int64_t count, double theta, const dk_llama3_factors *of)
{
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)divisors[i] * ramp(of, inverse_wavelength(i, count, theta)) - 1) <= TOLERANCE)) return 0;
    return 1;
}

/* The line through the entries between the two plateaus; with a single one, the steepest that keeps clear of them. */
static int32_t fit_line(const float *divisors, int64_t count, double theta, double factor, double *x_low,
                        double *x_high)
{
    double floor = 1 / factor, below = 0, above = 1e300, x1 = 0, s1 = 0, x2 = 0, s2 = 0;
    int64_t between = 0;
    for (int64_t i = 0; i < count; i++) {
        double x = inverse_wavelength(i, count, theta), s = (1 / (double)divisors[i] - floor) / (1 - floor);
        if (s < TOLERANCE) below = x > below ? x : below;
        else if (s > 1 - TOLERANCE) above = x < above ? x : above;
        else if (between++ == 0) x1 = x, s1 = s;
        else x2 = x, s2 = s;
    }
    if (between == 0) {
        *x_low = below;
        *x_high = above;
        return below > 0 && above < 1e300;
    }
    if (between == 1) {
        double bound = above < 1e300 ? (x1 - s1 * above) / (1 - s1) : 0;
        *x_low = bound > below ? bound : below;
        *x_high = *x_low + (x1 - *x_low) / s1;
        return 1;
    }
    *x_low = x1 - s1 * (x2 - x1) / (s2 - s1);
    *x_high = *x_low + (x2 - x1) / (s2 - s1);
    return 1;
}

int32_t dk_llama3_fit(const float *divisors, int64_t count, double theta, int64_t original_guess,
                      dk_llama3_factors *out)
{
    double factor = 1, x_low = 0, x_high = 0;
    for (int64_t i = 0; i < count; i++) {
        if (!(divisors[i] >= 1 && divisors[i] < 1e6f)) return 0;
        if ((double)divisors[i] > factor) factor = (double)divisors[i];
    }
    if (fabs(factor - floor(factor + 0.5)) < factor * TOLERANCE) factor = floor(factor + 0.5);
    const dk_llama3_factors usual[] = {{factor, 1, 4, 8192}, {factor, 1, 4, original_guess}, {1, 1, 4, 8192}};
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if (agrees(divisors, count, theta, &usual[i])) {
            *out = usual[i];
            return 1;
        }
    if (factor <= 1 || !fit_line(divisors, count, theta, factor, &x_low, &x_high)) return 0;
    dk_llama3_factors fit = {factor, x_low * 8192, x_high * 8192, 8192};
    if (!(fit.low_freq_factor > 0) || !(fit.high_freq_factor > fit.low_freq_factor) ||
        !agrees(divisors, count, theta, &fit))
        return 0;
    *out = fit;
    return 1;
}
