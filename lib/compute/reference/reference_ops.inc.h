/* reference_ops.inc.h - the op table in type REAL. Included once per type; the parts below share the accessors. */
#include <stdlib.h>
#include <tgmath.h>

#include "base/random.h"
#include "compute/buffer.h"
#include "compute/check.h"
#include "compute/half.h"
#include "compute/linear.h"
#include "compute/reference/reference.h"

#include "compute/reference/reference_access.inc.h"
#include "compute/reference/reference_products.inc.h"
#include "compute/reference/reference_rows.inc.h"
#include "compute/reference/reference_attention.inc.h"
#include "compute/reference/reference_heads.inc.h"

const dk_ops REFERENCE_OPS = {
    .buffer_create = dk_buffer_create,
    .buffer_wrap = dk_buffer_wrap,
    .buffer_free = dk_buffer_free,
    .copy_in = dk_buffer_copy_in,
    .copy_out = dk_buffer_copy_out,
    .map = dk_buffer_map,
    .linear_create = linear_create,
    .linear_free = dk_linear_free,
    .linear_forward = linear_forward,
    .linear_backward_input = linear_backward_input,
    .linear_backward_weight = linear_backward_weight,
    .fill = op_fill,
    .convert = op_convert,
    .axpy = op_axpy,
    .scale = op_scale,
    .add = op_add,
    .embed = op_embed,
    .embed_backward = op_embed_backward,
    .gather_rows = op_gather_rows,
    .scatter_rows = op_scatter_rows,
    .norm = op_norm,
    .norm_backward = op_norm_backward,
    .rope = op_rope,
    .glu = op_glu,
    .glu_backward = op_glu_backward,
    .attention = op_attention,
    .attention_backward = op_attention_backward,
    .softcap = op_softcap,
    .softcap_backward = op_softcap_backward,
    .log_softmax = op_log_softmax,
    .log_softmax_backward = op_log_softmax_backward,
    .sample = op_sample,
    .sum_squares = op_sum_squares,
    .clip_factor = op_clip_factor,
    .adamw = op_adamw,
};
