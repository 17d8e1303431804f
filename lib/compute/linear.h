/* linear.h - the linear object of the backends that run on the CPU: the borrowed parameters and what they add up to.
 * How a product is formed lives with each backend. */
#ifndef DK_COMPUTE_LINEAR_H
#define DK_COMPUTE_LINEAR_H

#include "compute/compute.h"

struct dk_linear {
    int32_t count, in_out;
    uint64_t types; /* dtypes that weights may have */
    int64_t in, out;
    dk_parameter **weights; /* [count] */
    dk_parameter **biases;  /* [count], entries may be NULL */
};

int32_t dk_linear_create(dk_backend *backend, const dk_linear_spec *spec, uint64_t types, dk_linear **out,
                         dk_error *err);
void dk_linear_free(dk_backend *backend, dk_linear *linear);
/* x [n, in] and y [n, out] fit, and every weight is still what it was at create. 1 = run the product. */
int32_t dk_linear_check(dk_queue *queue, const char *op, const dk_linear *linear, const dk_view *x, const dk_view *y);
static inline int64_t dk_linear_width(const dk_linear *linear, int32_t weight) /* output columns of one weight */
{
    return linear->weights[weight]->value.shape[linear->in_out ? 1 : 0];
}

#endif
