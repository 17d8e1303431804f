/* kernels_local.h - the names that the files of one copy of the kernels share with its table. */
#ifndef DK_COMPUTE_KERNELS_LOCAL_H
#define DK_COMPUTE_KERNELS_LOCAL_H

#include "compute/cpu/kernels.h"
#include "compute/simd.h"

void DK_VARIANT(dk_kernel_fill)(float *y, int64_t n, float value);
void DK_VARIANT(dk_kernel_axpy)(float a, const float *x, float *y, int64_t n);
void DK_VARIANT(dk_kernel_scale_to)(float a, const float *x, float *y, int64_t n);
void DK_VARIANT(dk_kernel_add)(const float *a, const float *b, float *y, int64_t n);
void DK_VARIANT(dk_kernel_widen_bf16)(const uint16_t *x, float *y, int64_t n);
void DK_VARIANT(dk_kernel_widen_f16)(const uint16_t *x, float *y, int64_t n);
void DK_VARIANT(dk_kernel_narrow_bf16)(const float *x, uint16_t *y, int64_t n);
void DK_VARIANT(dk_kernel_glu)(dk_activation kind, const float *gate, const float *up, float *y, int64_t n);
void DK_VARIANT(dk_kernel_glu_backward)(dk_activation kind, const float *gate, const float *up, const float *dy,
                                        float *dgate, float *dup, int64_t n);
void DK_VARIANT(dk_kernel_rope)(float *x, int64_t heads, int64_t head_step, int64_t half, const float *rotations,
                                float sign);
void DK_VARIANT(dk_kernel_norm)(const dk_norm_row *args, const float *x, float *y, float *stats);
void DK_VARIANT(dk_kernel_norm_backward)(const dk_norm_row *args, const float *x, const float *stats, const float *dy,
                                         float *dx, int32_t add);
void DK_VARIANT(dk_kernel_norm_columns)(const dk_rows *x, const dk_rows *stats, const dk_rows *dy, int64_t first,
                                        int64_t count, float *dweight, float *dbias);
void DK_VARIANT(dk_kernel_column_sums)(const dk_rows *x, int64_t first, int64_t count, float *sums);
void DK_VARIANT(dk_kernel_softcap)(float *z, int64_t n, float scale, float cap);
void DK_VARIANT(dk_kernel_softcap_backward)(const float *z, float *dz, int64_t n, float scale, float cap);
void DK_VARIANT(dk_kernel_log_softmax)(const float *z, float *y, int64_t n, float temperature);
void DK_VARIANT(dk_kernel_log_softmax_backward)(const float *log_q, float *h, int64_t n, float weight);
void DK_VARIANT(dk_kernel_softmax_weights)(const float *z, float *y, int64_t n, float highest,
                                           float inverse_temperature);
float DK_VARIANT(dk_kernel_highest)(const float *z, int64_t n);
int32_t DK_VARIANT(dk_kernel_dots)(dk_dtype dtype, const void *weight, int64_t weight_step, int64_t outputs, int64_t in,
                                   const float *x, int64_t x_step, int64_t rows, float *y, int64_t y_step);
int32_t DK_VARIANT(dk_kernel_columns)(dk_dtype dtype, const void *weight, int64_t weight_step, int64_t outputs,
                                      int64_t in, const float *x, int64_t x_step, int64_t rows, float *y,
                                      int64_t y_step);
int64_t DK_VARIANT(dk_kernel_attention_scratch)(int64_t group, int64_t dim);
int64_t DK_VARIANT(dk_kernel_attention_rows)(int64_t group);
void DK_VARIANT(dk_kernel_attention)(const dk_attention_block *block);
int64_t DK_VARIANT(dk_kernel_attention_backward_scratch)(int64_t dim);
void DK_VARIANT(dk_kernel_attention_backward)(const dk_attention_gradient *work);
double DK_VARIANT(dk_kernel_sum_squares)(const float *x, int64_t n);
void DK_VARIANT(dk_kernel_adamw)(const dk_adamw_step *step, float *p, const float *g, float *m, float *v, int64_t n);

#endif
