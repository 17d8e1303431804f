/* interval.h - how sure a share of so many tries is. */
#ifndef DI_EVALUATE_INTERVAL_H
#define DI_EVALUATE_INTERVAL_H

#include <stdint.h>

typedef struct di_interval {
    double low, high;
} di_interval;
/* Of the share that count tries would show in the long run, at 95 %: Wilson's score interval (1927), which stays inside
 * [0, 1] and is right for few tries and shares near its ends. count 0: [0, 1]. */
di_interval di_wilson(int64_t events, int64_t count);

#endif
