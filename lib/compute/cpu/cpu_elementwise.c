#include "compute/cpu/cpu.h"

#include <string.h>

static void fill_piece(const dk_sweep *sweep, void *const *at, int64_t n)
{
    float part[DK_PART];
    if (sweep->dtype[0] == DK_F32) {
        sweep->kernels->fill(at[0], n, (float)sweep->a);
        return;
    }
    if (sweep->dtype[0] == DK_F64) {
        for (int64_t i = 0; i < n; i++) ((double *)at[0])[i] = sweep->a;
        return;
    }
    sweep->kernels->fill(part, DK_PART, (float)sweep->a);
    for (int64_t i = 0; i < n; i += DK_PART)
        dk_cpu_narrow(sweep->kernels, part, sweep->dtype[0], (uint16_t *)at[0] + i, n - i < DK_PART ? n - i : DK_PART);
}

static void op_fill(dk_queue *queue, dk_view y, double value)
{
    if (!dk_check_fill(queue, &y)) return;
    dk_sweep sweep = dk_sweep_make(queue, fill_piece, 1, (const dk_view *[]){&y});
    sweep.a = value;
    dk_sweep_run(queue, &sweep);
}

static void convert_piece(const dk_sweep *sweep, void *const *at, int64_t n)
{
    float part[DK_PART];
    dk_dtype from = sweep->dtype[0], to = sweep->dtype[1];
    if (from == to) {
        memmove(at[1], at[0], (size_t)dk_dtype_bytes(from, n));
        return;
    }
    for (int64_t i = 0; i < n; i += DK_PART) {
        int64_t count = n - i < DK_PART ? n - i : DK_PART;
        const float *x = dk_cpu_widen(sweep->kernels, from, (uint8_t *)at[0] + dk_dtype_bytes(from, i), part, count);
        dk_cpu_narrow(sweep->kernels, x, to, (uint8_t *)at[1] + dk_dtype_bytes(to, i), count);
    }
}

/* A last dimension with a stride: element by element, as if each were a row of one. */
static void convert_strided(dk_queue *queue, const dk_view *x, const dk_view *y)
{
    dk_sweep sweep = {.kernels = dk_kernels_of(queue), .dtype = {x->dtype, y->dtype}};
    dk_rows from = dk_rows_of(x), to = dk_rows_of(y);
    int64_t x_step = x->stride[x->rank - 1] * (int64_t)dk_dtype_size(x->dtype);
    int64_t y_step = y->stride[y->rank - 1] * (int64_t)dk_dtype_size(y->dtype);
    for (int64_t r = 0; r < from.rows; r++) {
        uint8_t *at_x = dk_row(&from, r), *at_y = dk_row(&to, r);
        for (int64_t c = 0; c < from.width; c++)
            convert_piece(&sweep, (void *[]){at_x + c * x_step, at_y + c * y_step}, 1);
    }
}

static void op_convert(dk_queue *queue, dk_view x, dk_view y)
{
    if (!dk_check_convert(queue, &x, &y)) return;
    int64_t width = x.shape[x.rank - 1];
    if (width > 1 && (x.stride[x.rank - 1] != 1 || y.stride[y.rank - 1] != 1)) {
        convert_strided(queue, &x, &y);
        return;
    }
    dk_sweep sweep = dk_sweep_make(queue, convert_piece, 2, (const dk_view *[]){&x, &y});
    dk_sweep_run(queue, &sweep);
}

static void axpy_piece(const dk_sweep *sweep, void *const *at, int64_t n)
{
    sweep->kernels->axpy((float)sweep->a, at[0], at[1], n);
}

static void op_axpy(dk_queue *queue, double a, dk_view x, dk_view y)
{
    if (!dk_check_pair(queue, "axpy", &x, &y)) return;
    dk_sweep sweep = dk_sweep_make(queue, axpy_piece, 2, (const dk_view *[]){&x, &y});
    sweep.a = a;
    dk_sweep_run(queue, &sweep);
}

static void scale_piece(const dk_sweep *sweep, void *const *at, int64_t n)
{
    sweep->kernels->scale_to((float)sweep->a, at[0], at[0], n);
}

static void op_scale(dk_queue *queue, dk_view y, double a)
{
    if (!dk_check_scale(queue, &y)) return;
    dk_sweep sweep = dk_sweep_make(queue, scale_piece, 1, (const dk_view *[]){&y});
    sweep.a = a;
    dk_sweep_run(queue, &sweep);
}

static void add_piece(const dk_sweep *sweep, void *const *at, int64_t n)
{
    sweep->kernels->add(at[0], at[1], at[2], n);
}

static void op_add(dk_queue *queue, dk_view a, dk_view b, dk_view y)
{
    if (!dk_check_add(queue, &a, &b, &y)) return;
    dk_sweep sweep = dk_sweep_make(queue, add_piece, 3, (const dk_view *[]){&a, &b, &y});
    dk_sweep_run(queue, &sweep);
}

static void glu_piece(const dk_sweep *sweep, void *const *at, int64_t n)
{
    sweep->kernels->glu(*(const dk_activation *)sweep->args, at[0], at[1], at[2], n);
}

static void op_glu(dk_queue *queue, dk_activation kind, dk_view gate, dk_view up, dk_view y)
{
    if (!dk_check_glu(queue, kind, &gate, &up, &y)) return;
    dk_sweep sweep = dk_sweep_make(queue, glu_piece, 3, (const dk_view *[]){&gate, &up, &y});
    sweep.args = &kind;
    dk_sweep_run(queue, &sweep);
}

static void glu_backward_piece(const dk_sweep *sweep, void *const *at, int64_t n)
{
    sweep->kernels->glu_backward(*(const dk_activation *)sweep->args, at[0], at[1], at[2], at[3], at[4], n);
}

static void op_glu_backward(dk_queue *queue, dk_activation kind, dk_view gate, dk_view up, dk_view dy, dk_view dgate,
                            dk_view dup)
{
    if (!dk_check_glu_backward(queue, kind, &gate, &up, &dy, &dgate, &dup)) return;
    dk_sweep sweep = dk_sweep_make(queue, glu_backward_piece, 5, (const dk_view *[]){&gate, &up, &dy, &dgate, &dup});
    sweep.args = &kind;
    dk_sweep_run(queue, &sweep);
}

static void softcap_piece(const dk_sweep *sweep, void *const *at, int64_t n)
{
    sweep->kernels->softcap(at[0], n, (float)sweep->a, (float)sweep->b);
}

static void op_softcap(dk_queue *queue, dk_view z, double scale, double cap)
{
    if (!dk_check_softcap(queue, "softcap", &z, NULL)) return;
    if (!(cap > 0)) {
        if (scale != 1) op_scale(queue, z, scale);
        return;
    }
    dk_sweep sweep = dk_sweep_make(queue, softcap_piece, 1, (const dk_view *[]){&z});
    sweep.a = scale;
    sweep.b = cap;
    dk_sweep_run(queue, &sweep);
}

static void softcap_backward_piece(const dk_sweep *sweep, void *const *at, int64_t n)
{
    sweep->kernels->softcap_backward(at[0], at[1], n, (float)sweep->a, (float)sweep->b);
}

static void op_softcap_backward(dk_queue *queue, dk_view z, double scale, double cap, dk_view dz)
{
    if (!dk_check_softcap(queue, "softcap_backward", &z, &dz)) return;
    if (!(cap > 0)) {
        if (scale != 1) op_scale(queue, dz, scale);
        return;
    }
    dk_sweep sweep = dk_sweep_make(queue, softcap_backward_piece, 2, (const dk_view *[]){&z, &dz});
    sweep.a = scale;
    sweep.b = cap;
    dk_sweep_run(queue, &sweep);
}

void dk_cpu_fill_elementwise(dk_ops *ops)
{
    ops->fill = op_fill;
    ops->convert = op_convert;
    ops->axpy = op_axpy;
    ops->scale = op_scale;
    ops->add = op_add;
    ops->glu = op_glu;
    ops->glu_backward = op_glu_backward;
    ops->softcap = op_softcap;
    ops->softcap_backward = op_softcap_backward;
}
