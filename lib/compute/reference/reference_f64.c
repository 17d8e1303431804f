#define REAL double
#define REFERENCE_FILL dk_reference_fill_f64
#include "compute/reference/reference_ops.inc.h"
