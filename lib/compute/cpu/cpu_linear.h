/* cpu_linear.h - what the ops of a linear object on the CPU are put together from: cpu_linear.c has the ops and biases,
 * cpu_linear_own.c the products by our own kernels, cpu_linear_int8.c those with quantised weights as they are,
 * cpu_linear_halves.c the choice of a kernel for weights in BF16, cpu_linear_kept.c the weights that are kept packed,
 * cpu_linear_cblas.c products by CBLAS. */
#ifndef DK_COMPUTE_CPU_LINEAR_H
#define DK_COMPUTE_CPU_LINEAR_H

#include "compute/cpu/cpu.h"

typedef struct dk_cpu_linear {      /* the state of a linear object */
    const dk_product_set *products; /* NULL = CBLAS */
    int64_t panel;                  /* CBLAS: bytes of scratch for the widest panel of weights; 0 = all are F32 */
    /* BF16 copies for FORWARD and for BACKWARD_INPUT: those of all weights one behind the other; NULL = not kept */
    dk_buffer *_Atomic kept[2];
    const dk_micro *halves; /* for weights in BF16 in full precision; NULL = they have none of their own */
    _Atomic int64_t
        found; /* what dk_micro_by_weights found: 2 x (the sum of the weights' versions + 1), + 1 = they fit */
} dk_cpu_linear;
static inline const dk_cpu_linear *dk_cpu_linear_of(const dk_linear *linear) { return linear->state; }
static inline const dk_micro *dk_micro_of(const dk_linear *linear, dk_precision precision)
{
    return dk_cpu_linear_of(linear)->products->micro[precision == DK_PRECISION_BF16];
}

/* What multiplies by the weights, forward and for the gradient of the input. */
const dk_micro *dk_micro_by_weights(const dk_linear *linear, dk_precision precision);

/* Copies of weights. */
int32_t dk_kept_make(dk_backend *backend, dk_linear *linear, dk_precision precision, dk_error *err);
int64_t dk_kept_bytes(const dk_backend *backend, const dk_linear *linear, dk_precision precision);
void dk_kept_free(dk_backend *backend, dk_linear *linear);
void dk_kept_refresh(dk_queue *queue, dk_parameter *parameter);
/* Whether there is a copy of a parameter, and rows [first, first + count) of it into all copies: DK_PACK_ROWS from a
 * multiple of that on, by one thread. */
int32_t dk_kept_has(const dk_parameter *parameter);
void dk_kept_rows(const dk_backend *backend, const dk_parameter *parameter, int64_t first, int64_t count);
/* The copy of one weight for a use; NULL = none is kept. */
const uint8_t *dk_kept_panels(const dk_linear *linear, dk_precision precision, uint32_t use, int32_t weight);

/* Without biases. Each says on the queue what failed. */
void dk_own_forward(dk_queue *queue, const dk_linear *linear, dk_precision precision, const dk_view *x,
                    const dk_view *y);
/* 0 = such a product is not finished as it is made: nothing was done. */
int32_t dk_own_forward_then(dk_queue *queue, const dk_linear *linear, dk_precision precision, const dk_view *x,
                            const dk_view *y, const dk_linear_end *end);
void dk_int8_forward(dk_queue *queue, const dk_linear *linear, const dk_view *x, const dk_view *y);
void dk_own_backward_input(dk_queue *queue, const dk_linear *linear, dk_precision precision, const dk_view *dy,
                           const dk_view *dx, int32_t add);
void dk_own_backward_weight(dk_queue *queue, const dk_linear *linear, dk_precision precision, const dk_view *x,
                            const dk_view *dy, int32_t add);

int64_t dk_cblas_panel_bytes(const dk_linear *linear);
int64_t dk_cblas_row_bytes(const dk_linear *linear); /* of scratch for a row of weights in blocks; 0 = there are none */
void dk_cblas_forward(dk_queue *queue, const dk_linear *linear, const dk_view *x, const dk_view *y);
void dk_cblas_backward_input(dk_queue *queue, const dk_linear *linear, const dk_view *dy, const dk_view *dx,
                             int32_t add);
void dk_cblas_backward_weight(dk_queue *queue, const dk_linear *linear, const dk_view *x, const dk_view *dy);

/* A row step that CBLAS accepts: a single row may carry any. */
static inline int64_t dk_step_of(const dk_view *view)
{
    return view->shape[0] > 1 ? view->stride[0] : view->shape[1] > 0 ? view->shape[1] : 1;
}

static inline dk_operand dk_operand_of(const dk_kernels *kernels, const dk_view *view, int32_t across)
{
    return (dk_operand){.data = dk_buffer_map(*view),
                        .dtype = view->dtype,
                        .across = across,
                        .widen = kernels->widen_blocks,
                        .lines = view->shape[across ? 1 : 0],
                        .step = dk_step_of(view)};
}

#endif
