/* reference.h - the plain backend: each op once, as its specification reads, compiled in float and in double.
 * No blocking, no threads, no vectors; every other backend is tested against it. */
#ifndef DK_COMPUTE_REFERENCE_H
#define DK_COMPUTE_REFERENCE_H

#include "compute/compute.h"

void dk_reference_fill_f32(dk_ops *ops);
void dk_reference_fill_f64(dk_ops *ops);

#endif
