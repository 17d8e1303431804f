#include "evaluate/calibration.h"

#include <math.h>

void di_calibration_count(di_calibration *c, double confidence, int32_t right)
{
    const double place = confidence * DI_CALIBRATION_BINS;
    const int bin = place < 0 ? 0 : place >= DI_CALIBRATION_BINS ? DI_CALIBRATION_BINS - 1 : (int)place;
    c->confidence[bin] += confidence;
    c->right[bin] += right;
    c->count[bin]++;
}

void di_calibration_add(di_calibration *into, const di_calibration *from)
{
    for (int i = 0; i < DI_CALIBRATION_BINS; i++) {
        into->confidence[i] += from->confidence[i];
        into->right[i] += from->right[i];
        into->count[i] += from->count[i];
    }
}

/* sum over bins of |rows in it| / n * |share right - mean confidence| */
double di_expected_calibration_error(const di_calibration *c, double *accuracy)
{
    double apart = 0;
    int64_t count = 0, right = 0;
    for (int i = 0; i < DI_CALIBRATION_BINS; i++) {
        apart += fabs((double)c->right[i] - c->confidence[i]);
        count += c->count[i];
        right += c->right[i];
    }
    *accuracy = count ? (double)right / (double)count : -1;
    return count ? apart / (double)count : -1;
}
