/* check.h - what every op asks of its views before it touches memory, shared by the backends that run on the CPU.
 *
 * A check begins with the queue's state (an op behind a failure does nothing), collects the first complaint into the
 * queue, and ends with `ok`. The dk_check_<op> functions hold the rules of compute.h, once. */
#ifndef DK_COMPUTE_CHECK_H
#define DK_COMPUTE_CHECK_H

#include "compute/compute.h"

/* Sets of dtypes, with flags on top. */
#define DK_TYPE(dtype) (UINT64_C(1) << (dtype))
#define DK_TYPES_ANY (DK_TYPE(DK_DTYPE_END) - DK_TYPE(DK_F32))
_Static_assert(DK_DTYPE_END <= 62, "the flags below have bits of their own");
#define DK_TYPES_FLOAT (DK_TYPE(DK_F32) | DK_TYPE(DK_F64) | DK_TYPE(DK_F16) | DK_TYPE(DK_BF16))
/* Block-quantised, read by every backend (quant_blocks.h); nothing is computed in them or written to them. */
#define DK_TYPES_BLOCKS                                                                                                \
    (DK_TYPE(DK_Q4_0) | DK_TYPE(DK_Q4_1) | DK_TYPE(DK_Q5_0) | DK_TYPE(DK_Q5_1) | DK_TYPE(DK_Q8_0) | DK_TYPE(DK_Q2_K) | \
     DK_TYPE(DK_Q3_K) | DK_TYPE(DK_Q4_K) | DK_TYPE(DK_Q5_K) | DK_TYPE(DK_Q6_K) | DK_TYPE(DK_IQ4_NL) |                  \
     DK_TYPE(DK_MXFP4))
#define DK_STRIDED (UINT64_C(1) << 62)  /* the last dimension may have any stride; blocks never do */
#define DK_OPTIONAL (UINT64_C(1) << 63) /* may be absent */

typedef struct dk_check {
    dk_queue *queue;
    const char *op;
    int32_t ok;
} dk_check;

dk_check dk_check_begin(dk_queue *queue, const char *op);
uint64_t dk_check_real(const dk_check *check);   /* the backend's real as a set of types */
uint64_t dk_check_stored(const dk_check *check); /* what it reads parameters in */
void dk_check_view(dk_check *check, const char *name, const dk_view *view, uint64_t types, int32_t rank_low,
                   int32_t rank_high);
void dk_check_shape(dk_check *check, const char *name, const dk_view *view, const dk_view *like); /* the same shape */
void dk_check_dim(dk_check *check, const char *name, const dk_view *view, int32_t dim, int64_t want);
void dk_check_that(dk_check *check, int32_t condition, const char *text);

/* One per op; 1 = run it. */
int32_t dk_check_pair(dk_queue *queue, const char *op, const dk_view *x, const dk_view *y);
int32_t dk_check_convert(dk_queue *queue, const dk_view *x, const dk_view *y);
int32_t dk_check_fill(dk_queue *queue, const dk_view *y);
int32_t dk_check_scale(dk_queue *queue, const dk_view *y);
int32_t dk_check_add(dk_queue *queue, const dk_view *a, const dk_view *b, const dk_view *y);
int32_t dk_check_embed(dk_queue *queue, const dk_view *table, const dk_view *ids, const dk_view *y);
int32_t dk_check_embed_backward(dk_queue *queue, const dk_view *gradient, const dk_view *ids, const dk_view *dy);
int32_t dk_check_move_rows(dk_queue *queue, const char *op, const dk_view *x, const dk_view *rows, const dk_view *y,
                           int32_t scatter, int32_t add);
int32_t dk_check_route(dk_queue *queue, const dk_view *logits, const dk_view *chosen, const dk_view *weights);
int32_t dk_check_scatter_weighted(dk_queue *queue, const dk_view *x, const dk_view *rows, const dk_view *weights,
                                  const dk_view *y);
int32_t dk_check_norm(dk_queue *queue, const dk_norm_args *args, const dk_view *x, const dk_view *y,
                      const dk_view *stats);
int32_t dk_check_norm_backward(dk_queue *queue, const dk_norm_args *args, const dk_view *x, const dk_view *stats,
                               const dk_view *dy, const dk_view *dx, const dk_view *dweight, const dk_view *dbias);
int32_t dk_check_rope(dk_queue *queue, const dk_view *x, const dk_view *table, const dk_view *positions);
int32_t dk_check_glu(dk_queue *queue, dk_activation kind, const dk_view *gate, const dk_view *up, const dk_view *y);
int32_t dk_check_glu_backward(dk_queue *queue, dk_activation kind, const dk_view *gate, const dk_view *up,
                              const dk_view *dy, const dk_view *dgate, const dk_view *dup);
int32_t dk_check_attention(dk_queue *queue, const dk_attention_args *args, const dk_view *q, const dk_view *k,
                           const dk_view *v, const dk_view *y, const dk_view *lse);
int32_t dk_check_attention_backward(dk_queue *queue, const dk_attention_args *args, const dk_view *q, const dk_view *k,
                                    const dk_view *v, const dk_view *y, const dk_view *lse, const dk_view *dy,
                                    const dk_view *dq, const dk_view *dk, const dk_view *dv);
int32_t dk_check_softcap(dk_queue *queue, const char *op, const dk_view *z, const dk_view *dz);
int32_t dk_check_log_softmax(dk_queue *queue, const dk_view *z, int64_t vocab, double temperature, const dk_view *y);
int32_t dk_check_log_softmax_backward(dk_queue *queue, const dk_view *log_q, int64_t vocab, double temperature,
                                      const dk_view *weights, const dk_view *h);
int32_t dk_check_adjust(dk_queue *queue, const dk_adjust_args *args, const dk_view *logits, int64_t vocab);
int32_t dk_check_sample(dk_queue *queue, const dk_sample_args *args, const dk_view *logits, int64_t vocab,
                        const dk_view *ids);
int32_t dk_check_scalar(dk_queue *queue, const char *op, const dk_view *x, const dk_view *sum);
int32_t dk_check_clip_factor(dk_queue *queue, const dk_view *sum, const dk_view *factor, const dk_view *norm);
int32_t dk_check_adamw(dk_queue *queue, const dk_adamw_args *args, const dk_view *factor, const dk_view *p,
                       const dk_view *g, const dk_view *m, const dk_view *v);

/* ---- products ---- */
/* Before adding to a trainable parameter's gradient. */
int32_t dk_check_gradient(dk_queue *queue, const dk_parameter *parameter);

#endif
