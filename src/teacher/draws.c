#include "teacher/draws.h"

#include <math.h>
#include <stdlib.h>

#include "base/random.h"

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double di_row_entropy(const float *log_p, int64_t valid)
{
    double total = 0, sum = 0;
    for (int64_t v = 0; v < valid; v++) {
        const double p = exp((double)log_p[v]);
        total += p;
        if (p > 0) sum -= p * (double)log_p[v];
    }
    return fmax(sum / total + log(total), 0);
}

int64_t di_row_draw(const float *log_p, int64_t valid, const di_draws *draws, double *uniform, int32_t *ids,
                    float *counts)
{
    const int64_t n = draws->count;
    int64_t count = 0, next = 0, last = 0;
    double total = 0, sum = 0;
    for (int64_t v = 0; v < valid; v++) total += exp((double)log_p[v]);
    for (int64_t i = 0; i < n; i++)
        uniform[i] = total * dk_random_uniform(draws->seed, draws->stream, draws->position << 24 | (uint64_t)i);
    qsort(uniform, (size_t)n, sizeof *uniform, ascending);
    for (int64_t v = 0; v < valid && next < n; v++) {
        const double p = exp((double)log_p[v]);
        int64_t hits = 0;
        if (p > 0) last = v;
        for (sum += p; next < n && uniform[next] < sum; next++) hits++;
        if (!hits) continue;
        ids[count] = (int32_t)v;
        counts[count++] = (float)hits;
    }
    if (next == n) return count;
    if (!count || ids[count - 1] != last) { /* rounding left some behind the end */
        ids[count] = (int32_t)last;
        counts[count++] = 0;
    }
    counts[count - 1] += (float)(n - next);
    return count;
}
