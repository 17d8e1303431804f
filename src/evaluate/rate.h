/* rate.h - how often something happens, from how often it did: bounds that hold for finite samples. */
#ifndef DI_EVALUATE_RATE_H
#define DI_EVALUATE_RATE_H

#include <stdint.h>

/* Clopper & Pearson 1934: bounds of the chance of an event that came `events` times in `trials`; either is wrong with a
 * chance of at most `risk`. */
double di_rate_least(int64_t events, int64_t trials, double risk);
double di_rate_most(int64_t events, int64_t trials, double risk);

#endif
