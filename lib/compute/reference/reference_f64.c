#define REAL double
#define REAL_DTYPE DK_F64
#define REFERENCE_OPS dk_reference_ops_f64
#include "compute/reference/reference_ops.inc.h"
