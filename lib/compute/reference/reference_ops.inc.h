/* reference_ops.inc.h - the op table in type REAL. Included once per type; the parts below share the accessors. */
#include <stdlib.h>
#include <tgmath.h>

#include "base/random.h"
#include "compute/buffer.h"
#include "compute/check.h"
#include "compute/half.h"
#include "compute/linear.h"
#include "compute/quant_blocks.h"
#include "compute/reference/reference.h"

#include "compute/reference/reference_access.inc.h"
#include "compute/reference/reference_products.inc.h"
#include "compute/reference/reference_rows.inc.h"
#include "compute/reference/reference_route.inc.h"
#include "compute/reference/reference_attention.inc.h"
#include "compute/reference/reference_heads.inc.h"

void REFERENCE_FILL(dk_ops *ops)
{
    dk_queue_fill_ops(ops);
    dk_buffer_fill_ops(ops);
    fill_products(ops);
    fill_rows(ops);
    fill_route(ops);
    fill_attention(ops);
    fill_heads(ops);
}
