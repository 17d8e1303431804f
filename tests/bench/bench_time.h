/* bench_time.h - what the bench programs share: how they end when something fails, and CPU time, which other work on
 * the machine disturbs little. */
#ifndef BENCH_TIME_H
#define BENCH_TIME_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/host.h"

static inline double cpu_seconds(void) { return (double)clock() / CLOCKS_PER_SEC; } /* of all threads */

static inline double thread_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline void give_up(const dk_error *err)
{
    fprintf(stderr, "bench: %s\n", err->message);
    exit(1);
}

/* The shortest time of call in this thread, tried for so many seconds. */
#define TIME(best, seconds, call)                   \
    do {                                            \
        best = 1e9;                                 \
        double until = dk_seconds() + (seconds);    \
        do {                                        \
            double start = thread_seconds();        \
            call;                                   \
            double took = thread_seconds() - start; \
            if (took < best) best = took;           \
        } while (dk_seconds() < until);             \
    } while (0)

#endif
