#include "evaluate/interval.h"

#include <math.h>

/* (p + z^2/2n +- z sqrt(p (1-p) / n + z^2 / 4n^2)) / (1 + z^2/n), z = the normal's 97.5 % point */
di_interval di_wilson(int64_t events, int64_t count)
{
    const double z = 1.959963984540054, n = (double)count;
    if (count <= 0) return (di_interval){0, 1};
    const double p = (double)events / n, wide = 1 + z * z / n;
    const double middle = (p + z * z / (2 * n)) / wide, half = z / wide * sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    return (di_interval){fmax(middle - half, 0), fmin(middle + half, 1)};
}
