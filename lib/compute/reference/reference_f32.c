#define REAL float
#define REFERENCE_FILL dk_reference_fill_f32
#include "compute/reference/reference_ops.inc.h"
