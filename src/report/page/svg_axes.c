/* svg_axes.c - round numbers along an axis, and numbers as SVG has them. */
#include <math.h>

#include "report/page/sheet.h"

int64_t di_ticks(double low, double high, int64_t most, double *ticks, int32_t *decimals)
{
    const double span = high > low ? high - low : 1, rough = span / (double)(most > 1 ? most - 1 : 1);
    const double power = pow(10, floor(log10(rough)));
    const double step = rough <= power       ? power
                        : rough <= 2 * power ? 2 * power
                        : rough <= 5 * power ? 5 * power
                                             : 10 * power;
    const double first = ceil(low / step - 1e-9);
    int64_t count = 0;
    *decimals = step >= 1 ? 0 : (int32_t)ceil(-log10(step) - 1e-9);
    for (double i = first; i * step <= high + 1e-9 * span && count < most + 2; i++) ticks[count++] = i * step;
    return count;
}

void di_svg_number(dk_strbuf *out, double value)
{
    const double rounded = isfinite(value) ? floor(fabs(value) * 100 + 0.5) : 0;
    const long long all = rounded < 1e12 ? (long long)rounded : 0;
    dk_strbuf_printf(out, "%s%lld.%02lld", value < 0 && all ? "-" : "", all / 100, all % 100);
}
