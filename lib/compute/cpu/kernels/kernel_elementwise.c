/* kernel_elementwise.c - what is done to numbers one by one: sums, conversions, activations and rotations.
 *
 * One vector after the other, its ends by loads and stores of fewer lanes: these loops are bound by memory, so each
 * reads and writes once, and what follows one another (activation and product of a GLU, both gradients of it) is one
 * pass. Rows of a matrix that lie apart are one call, which costs less than a call for each. */
#include "compute/cpu/kernel_variant.h"

static void kernel_fill(float *y, int64_t n, float value)
{
    for (int64_t i = 0; i < n; i++) y[i] = value;
}

static void kernel_axpy(float a, const float *x, float *y, int64_t n)
{
    dk_vf by = dk_vf_set(a);
    for (int64_t i = 0; i < n; i += DK_VF)
        dk_vf_give(y + i, dk_vf_fma(by, dk_vf_take(x + i, n - i, 0), dk_vf_take(y + i, n - i, 0)), n - i);
}

static void kernel_scale_to(float a, const float *x, float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] = a * x[i];
}

static void kernel_add(const float *a, const float *b, float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

static void kernel_add_rows(const float *a, int64_t a_step, const float *b, int64_t b_step, float *y, int64_t y_step,
                            int64_t rows, int64_t n)
{
    for (int64_t r = 0; r < rows; r++, a += a_step, y += y_step) {
        for (int64_t i = 0; i < n; i += DK_VF) {
            dk_vf sum = dk_vf_take(a + i, n - i, 0);
            if (b) sum = sum + dk_vf_take(b + i, n - i, 0);
            dk_vf_give(y + i, sum, n - i);
        }
        if (b) b += b_step;
    }
}

static void kernel_put_rows(const float *x, float *y, int64_t y_step, int64_t rows, int64_t n)
{
    if ((uintptr_t)y % sizeof(dk_vf) || y_step % DK_VF || n % DK_VF) {
        kernel_add_rows(x, n, NULL, 0, y, y_step, rows, n);
        return;
    }
    for (int64_t r = 0; r < rows; r++, x += n, y += y_step)
        for (int64_t i = 0; i < n; i += DK_VF) dk_vf_store_past(y + i, dk_vf_load(x + i));
    dk_store_fence();
}

static void kernel_widen_bf16(const uint16_t *x, float *y, int64_t n)
{
    int64_t i = 0;
    for (; i + DK_VF <= n; i += DK_VF) dk_vf_store(y + i, dk_vf_load_bf16(x + i));
    for (; i < n; i++) y[i] = dk_widen_bf16(x[i]);
}

static void kernel_widen_f16(const uint16_t *x, float *y, int64_t n)
{
    int64_t i = 0;
    for (; i + DK_VF <= n; i += DK_VF) dk_vf_store(y + i, dk_vf_load_f16(x + i));
    for (; i < n; i++) y[i] = dk_widen_f16(x[i]);
}

static void kernel_narrow_bf16(const float *x, uint16_t *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] = dk_narrow_bf16(x[i]);
}

/* ---- activations (GELU: Hendrycks & Gimpel 2016; SiLU: Elfwing et al. 2018) ---- */
#define ROOT_2_OVER_PI 0.797884560802865f
#define ROOT_HALF 0.707106781186547f
#define ROOT_1_OVER_2PI 0.398942280401433f

/* What value and slope have in common: sigmoid, tanh or erf of the argument. */
static inline dk_vf shape_of(dk_activation kind, dk_vf x)
{
    dk_vf cubic;
    switch (kind) {
    case DK_ACT_SILU:
        return dk_vf_sigmoid(x);
    case DK_ACT_GELU_TANH:
        cubic = dk_vf_fma(dk_vf_set(0.044715f), x * x * x, x);
        return dk_vf_tanh(dk_vf_set(ROOT_2_OVER_PI) * cubic);
    case DK_ACT_GELU_ERF:
        return dk_vf_erf(x * dk_vf_set(ROOT_HALF));
    default:
        return x;
    }
}

static inline dk_vf value_of(dk_activation kind, dk_vf x, dk_vf shape)
{
    switch (kind) {
    case DK_ACT_SILU:
        return x * shape;
    case DK_ACT_GELU_TANH:
    case DK_ACT_GELU_ERF:
        return dk_vf_set(0.5f) * x * (dk_vf_set(1.0f) + shape);
    default:
        return dk_vf_max(dk_vf_set(0.0f), x);
    }
}

static inline dk_vf slope_of(dk_activation kind, dk_vf x, dk_vf shape)
{
    const dk_vf one = dk_vf_set(1.0f), half = dk_vf_set(0.5f);
    dk_vf inner;
    switch (kind) {
    case DK_ACT_SILU:
        return shape * dk_vf_fma(x, one - shape, one);
    case DK_ACT_GELU_TANH:
        inner = dk_vf_set(ROOT_2_OVER_PI) * dk_vf_fma(dk_vf_set(3 * 0.044715f), x * x, one);
        return half * (one + shape) + half * x * (one - shape * shape) * inner;
    case DK_ACT_GELU_ERF:
        return half * (one + shape) + x * dk_vf_set(ROOT_1_OVER_2PI) * dk_vf_exp(dk_vf_set(-0.5f) * x * x);
    default:
        return dk_vf_select(dk_vf_less(dk_vf_set(0.0f), x), one, dk_vf_set(0.0f));
    }
}

/* `kind` is a constant where these are inlined, so that each activation gets a loop of its own. */
static inline void glu_loop(dk_activation kind, const float *gate, const float *up, float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i += DK_VF) {
        dk_vf x = dk_vf_take(gate + i, n - i, 0), value = value_of(kind, x, shape_of(kind, x));
        if (up) value = value * dk_vf_take(up + i, n - i, 0);
        dk_vf_give(y + i, value, n - i);
    }
}

static inline void glu_backward_loop(dk_activation kind, const float *gate, const float *up, const float *dy,
                                     float *dgate, float *dup, int64_t n)
{
    for (int64_t i = 0; i < n; i += DK_VF) {
        dk_vf x = dk_vf_take(gate + i, n - i, 0), d = dk_vf_take(dy + i, n - i, 0), shape = shape_of(kind, x);
        dk_vf through = up ? d * dk_vf_take(up + i, n - i, 0) : d;
        if (up) dk_vf_give(dup + i, d * value_of(kind, x, shape), n - i);
        dk_vf_give(dgate + i, through * slope_of(kind, x, shape), n - i);
    }
}

static void kernel_glu(dk_activation kind, const float *gate, const float *up, float *y, int64_t n)
{
    switch (kind) {
    case DK_ACT_SILU:
        glu_loop(DK_ACT_SILU, gate, up, y, n);
        break;
    case DK_ACT_GELU_TANH:
        glu_loop(DK_ACT_GELU_TANH, gate, up, y, n);
        break;
    case DK_ACT_GELU_ERF:
        glu_loop(DK_ACT_GELU_ERF, gate, up, y, n);
        break;
    case DK_ACT_RELU:
        glu_loop(DK_ACT_RELU, gate, up, y, n);
        break;
    }
}

static void kernel_glu_backward(dk_activation kind, const float *gate, const float *up, const float *dy, float *dgate,
                                float *dup, int64_t n)
{
    switch (kind) {
    case DK_ACT_SILU:
        glu_backward_loop(DK_ACT_SILU, gate, up, dy, dgate, dup, n);
        break;
    case DK_ACT_GELU_TANH:
        glu_backward_loop(DK_ACT_GELU_TANH, gate, up, dy, dgate, dup, n);
        break;
    case DK_ACT_GELU_ERF:
        glu_backward_loop(DK_ACT_GELU_ERF, gate, up, dy, dgate, dup, n);
        break;
    case DK_ACT_RELU:
        glu_backward_loop(DK_ACT_RELU, gate, up, dy, dgate, dup, n);
        break;
    }
}

/* rotations: cos, sin, cos, sin, ... of the pairs (i, i + half); they are split once for all heads. */
#define PAIRS 256

static void kernel_rope(float *x, int64_t heads, int64_t head_step, int64_t half, const float *rotations, float sign)
{
    float cosine[PAIRS], sine[PAIRS];
    for (int64_t begin = 0; begin < half; begin += PAIRS) {
        int64_t n = half - begin < PAIRS ? half - begin : PAIRS;
        for (int64_t i = 0; i < n; i++) {
            cosine[i] = rotations[2 * (begin + i)];
            sine[i] = sign * rotations[2 * (begin + i) + 1];
        }
        for (int64_t h = 0; h < heads; h++) {
            float *low = x + h * head_step + begin, *high = low + half;
            for (int64_t i = 0; i < n; i += DK_VF) {
                dk_vf a = dk_vf_take(low + i, n - i, 0), b = dk_vf_take(high + i, n - i, 0);
                dk_vf c = dk_vf_take(cosine + i, n - i, 0), s = dk_vf_take(sine + i, n - i, 0);
                dk_vf_give(low + i, a * c - b * s, n - i);
                dk_vf_give(high + i, b * c + a * s, n - i);
            }
        }
    }
}

void DK_VARIANT(dk_kernels_fill_elementwise)(dk_kernels *kernels)
{
    kernels->fill = kernel_fill;
    kernels->axpy = kernel_axpy;
    kernels->scale_to = kernel_scale_to;
    kernels->add = kernel_add;
    kernels->add_rows = kernel_add_rows;
    kernels->put_rows = kernel_put_rows;
    kernels->widen_bf16 = kernel_widen_bf16;
    kernels->widen_f16 = kernel_widen_f16;
    kernels->narrow_bf16 = kernel_narrow_bf16;
    kernels->glu = kernel_glu;
    kernels->glu_backward = kernel_glu_backward;
    kernels->rope = kernel_rope;
}
