/* reference.h - the plain backend: each op once, as its specification reads, compiled in float and in double.
 * No blocking, no threads, no vectors; every other backend is tested against it. */
#ifndef DK_COMPUTE_REFERENCE_H
#define DK_COMPUTE_REFERENCE_H

#include "compute/compute.h"

extern const dk_ops dk_reference_ops_f32;
extern const dk_ops dk_reference_ops_f64;

#endif
