#include "session/latency.h"

#include <math.h>

static const double least = 1e-7, step = 1.01;

void di_latency_add(di_latency *latency, double seconds)
{
    const double at = seconds > least ? log(seconds / least) / log(step) : 0;
    latency->count[at < DI_LATENCIES - 1 ? (int64_t)at : DI_LATENCIES - 1]++;
    latency->total++;
}

double di_latency_at(const di_latency *latency, double share)
{
    const int64_t wanted = (int64_t)ceil(share * (double)latency->total);
    int64_t below = 0;
    for (int64_t i = 0; i < DI_LATENCIES && latency->total; i++)
        if ((below += latency->count[i]) >= wanted) return least * pow(step, (double)i + 0.5);
    return 0;
}
