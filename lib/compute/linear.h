/* linear.h - the linear object of the backends that run on the CPU: the borrowed parameters and what they add up to.
 * How a product is formed lives with each backend. */
#ifndef DK_COMPUTE_LINEAR_H
#define DK_COMPUTE_LINEAR_H

#include "compute/compute.h"

struct dk_packed { /* one weight or bias of one linear object, in its parameter's list */
    dk_linear *linear;
    dk_parameter *parameter;
    int64_t version; /* of the value that the object was made or refreshed from */
    dk_packed *next;
};

struct dk_linear {
    int32_t count, in_out;
    uint64_t types; /* dtypes that weights may have */
    uint32_t uses, precisions;
    int64_t in, out;
    dk_parameter **weights; /* [count] */
    dk_parameter **biases;  /* [count], entries may be NULL */
    dk_packed *packed;      /* [2*count] weights, then biases */
    void *state;            /* the backend's own, one block of dk_alloc */
};

int32_t dk_linear_create(dk_backend *backend, const dk_linear_spec *spec, uint64_t types, dk_linear **out,
                         dk_error *err);
void dk_linear_free(dk_backend *backend, dk_linear *linear);
/* x [n, in] and y [n, out] fit, and every weight is still what it was at create. 1 = run the product. */
int32_t dk_linear_check(dk_queue *queue, const char *op, const dk_linear *linear, uint32_t use, dk_precision precision,
                        const dk_view *x, const dk_view *y);
/* linear_forward_then by the backend's other ops. */
void dk_linear_forward_then(dk_queue *queue, const dk_linear *linear, dk_precision precision, dk_view x, dk_view y,
                            const dk_linear_end *end);
/* The ops of backends that pack nothing and put nothing off; update goes by the backend's other ops. */
void dk_linear_clear(dk_queue *queue, dk_parameter *parameter);
void dk_linear_settle(dk_queue *queue, dk_parameter *parameter);
void dk_linear_refresh(dk_queue *queue, dk_parameter *parameter);
void dk_linear_update(dk_queue *queue, const dk_adamw_args *args, dk_view factor, dk_parameter *parameter, dk_view m,
                      dk_view v);
int32_t dk_linear_keep(dk_backend *backend, dk_linear *linear, dk_precision precision, dk_error *err);
int64_t dk_linear_kept_bytes(const dk_backend *backend, const dk_linear *linear, dk_precision precision);
static inline int64_t dk_linear_width(const dk_linear *linear, int32_t weight) /* output columns of one weight */
{
    return linear->weights[weight]->value.shape[linear->in_out ? 1 : 0];
}

#endif
