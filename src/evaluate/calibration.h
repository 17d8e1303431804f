/* calibration.h - is a model as often right as it is sure? Expected calibration error (Guo et al. 2017): rows are
 * sorted by the probability of their likeliest token into 15 bins of equal width, and of each the share that was right
 * is compared with the mean probability. 0 = as sure as it should be. */
#ifndef DI_EVALUATE_CALIBRATION_H
#define DI_EVALUATE_CALIBRATION_H

#include <stdint.h>

enum { DI_CALIBRATION_BINS = 15 };
typedef struct di_calibration {
    double confidence[DI_CALIBRATION_BINS]; /* sums */
    int64_t right[DI_CALIBRATION_BINS], count[DI_CALIBRATION_BINS];
} di_calibration;
void di_calibration_count(di_calibration *calibration, double confidence, int32_t right);
void di_calibration_add(di_calibration *into, const di_calibration *from);
/* *accuracy: how often the likeliest token was the true one. -1 and -1 of no rows. */
double di_expected_calibration_error(const di_calibration *calibration, double *accuracy);

#endif
