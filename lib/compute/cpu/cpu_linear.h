/* cpu_linear.h - what the ops of a linear object on the CPU are put together from: cpu_linear.c has the ops and biases,
 * cpu_linear_own.c the products by our own kernels, cpu_linear_cblas.c those by CBLAS. */
#ifndef DK_COMPUTE_CPU_LINEAR_H
#define DK_COMPUTE_CPU_LINEAR_H

#include "compute/cpu/cpu.h"

typedef struct dk_cpu_linear {      /* the state of a linear object */
    const dk_product_set *products; /* NULL = CBLAS */
    int64_t panel;                  /* CBLAS: bytes of scratch for the widest panel of weights; 0 = all are F32 */
} dk_cpu_linear;
static inline const dk_cpu_linear *dk_cpu_linear_of(const dk_linear *linear) { return linear->state; }
static inline const dk_micro *dk_micro_of(const dk_linear *linear, dk_precision precision)
{
    return dk_cpu_linear_of(linear)->products->micro[precision];
}

/* Without biases. Each says on the queue what failed. */
void dk_own_forward(dk_queue *queue, const dk_linear *linear, dk_precision precision, const dk_view *x,
                    const dk_view *y);
void dk_own_backward_input(dk_queue *queue, const dk_linear *linear, dk_precision precision, const dk_view *dy,
                           const dk_view *dx, int32_t add);
void dk_own_backward_weight(dk_queue *queue, const dk_linear *linear, dk_precision precision, const dk_view *x,
                            const dk_view *dy);

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

#endif
