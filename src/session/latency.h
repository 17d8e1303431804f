/* latency.h - percentiles of times, in memory that does not grow: counts by a logarithmic scale of steps of 1 %, from
 * 0.1 microseconds to 1,000 seconds. */
#ifndef DI_SESSION_LATENCY_H
#define DI_SESSION_LATENCY_H

#include <stdint.h>

enum { DI_LATENCIES = 2320 };
typedef struct di_latency {
    int64_t total;
    int64_t count[DI_LATENCIES];
} di_latency;
void di_latency_add(di_latency *latency, double seconds);
/* The middle of the step below which a share of them lies; 0 where there are none. */
double di_latency_at(const di_latency *latency, double share);

#endif
