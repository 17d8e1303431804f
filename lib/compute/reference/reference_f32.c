#define REAL float
#define REAL_DTYPE DK_F32
#define REFERENCE_OPS dk_reference_ops_f32
#include "compute/reference/reference_ops.inc.h"
