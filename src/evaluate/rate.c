#include "evaluate/rate.h"

#include <math.h>

/* log of gamma(x), x > 0: Stirling's series (NIST DLMF 5.11.1) from 16 on. lgamma writes a global. */
static double log_gamma(double x)
{
    double product = 1;
    for (; x < 16; x++) product *= x;
    const double y = 1 / (x * x);
    const double series = (1.0 / 12 - y * (1.0 / 360 - y * (1.0 / 1260 - y * (1.0 / 1680 - y / 1188)))) / x;
    return (x - 0.5) * log(x) - x + 0.91893853320467274178 + series - log(product);
}

/* The continued fraction of the incomplete beta function (NIST DLMF 8.17.22), by Lentz's method. */
static double beta_fraction(double a, double b, double x)
{
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double f = d;
    for (int m = 1; m < 10000; m++) {
        for (int odd = 0; odd < 2; odd++) {
            const double term = odd ? -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
                                    : m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
            d = 1 + term * d;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            c = 1 + term / c;
            if (fabs(c) < tiny) c = tiny;
            f *= c * d;
        }
        if (fabs(c * d - 1) < 1e-15) break;
    }
    return f;
}

/* I_x(a, b) */
static double beta_share(double a, double b, double x)
{
    if (x <= 0) return 0;
    if (x >= 1) return 1;
    const double front = exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * log(x) + b * log1p(-x));
    if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
    return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

/* The x at which I_x(a, b) is share. */
static double beta_at(double a, double b, double share)
{
    double low = 0, high = 1;
    for (int i = 0; i < 200 && low < high; i++) {
        const double middle = low + (high - low) / 2;
        if (middle == low || middle == high) break;
        if (beta_share(a, b, middle) < share) low = middle;
        else high = middle;
    }
    return low + (high - low) / 2;
}

double di_rate_least(int64_t events, int64_t trials, double risk)
{
    return events <= 0 ? 0 : beta_at((double)events, (double)(trials - events + 1), risk);
}

double di_rate_most(int64_t events, int64_t trials, double risk)
{
    return events >= trials ? 1 : beta_at((double)(events + 1), (double)(trials - events), 1 - risk);
}
