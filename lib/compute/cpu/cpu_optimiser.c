#include "compute/cpu/cpu_linear.h"
#include "compute/cpu/product/product.h"

#include <math.h>

#define PARTS 256 /* partial sums; how the elements fall into them depends on the shape alone */

typedef struct squares {
    dk_sweep sweep;
    double part[PARTS];
    int64_t parts;
} squares;

static void square_piece(const dk_sweep *sweep, void *const *at, int64_t n)
{
    *(double *)sweep->args += sweep->kernels->sum_squares(at[0], n);
}

static void squares_body(void *context, int64_t begin, int64_t end)
{
    squares *work = context;
    for (int64_t p = begin; p < end; p++) {
        dk_sweep sweep = work->sweep;
        sweep.args = &work->part[p];
        dk_sweep_units(&sweep, p * sweep.units / work->parts, (p + 1) * sweep.units / work->parts);
    }
}

static void op_sum_squares(dk_queue *queue, dk_view x, dk_view sum)
{
    if (!dk_check_scalar(queue, "sum_squares", &x, &sum)) return;
    squares work = {.sweep = dk_sweep_make(queue, square_piece, 1, (const dk_view *[]){&x})};
    work.parts = work.sweep.units < PARTS ? work.sweep.units : PARTS;
    dk_parallel_for(queue->backend->host, work.parts, 1, squares_body, &work);
    double total = 0;
    for (int64_t p = 0; p < work.parts; p++) total += work.part[p];
    *(double *)dk_buffer_map(sum) += total;
}

static void op_clip_factor(dk_queue *queue, dk_view sum, double divisor, double max_norm, dk_view factor, dk_view norm)
{
    if (!dk_check_clip_factor(queue, &sum, &factor, &norm)) return;
    double length = sqrt(*(double *)dk_buffer_map(sum)) / divisor;
    *(double *)dk_buffer_map(norm) = length;
    *(double *)dk_buffer_map(factor) = (max_norm > 0 ? fmin(1.0, max_norm / (length + 1e-6)) : 1.0) / divisor;
}

/* Moments in BF16 are widened, moved and rounded while they are near. */
static void move(const dk_kernels *kernels, const dk_adamw_step *step, float *p, const float *g, void *m, void *v,
                 dk_dtype kept, int64_t n)
{
    enum { NEAR = 512 };
    float first[NEAR], second[NEAR];
    if (kept == DK_F32) {
        kernels->adamw(step, p, g, m, v, n);
        return;
    }
    for (int64_t i = 0; i < n; i += NEAR) {
        const int64_t part = n - i < NEAR ? n - i : NEAR;
        uint16_t *m_part = (uint16_t *)m + i, *v_part = (uint16_t *)v + i;
        dk_cpu_widen(kernels, kept, m_part, first, part);
        dk_cpu_widen(kernels, kept, v_part, second, part);
        kernels->adamw(step, p + i, g + i, first, second, part);
        dk_cpu_narrow(kernels, first, kept, m_part, part);
        dk_cpu_narrow(kernels, second, kept, v_part, part);
    }
}

static void adamw_piece(const dk_sweep *sweep, void *const *at, int64_t n)
{
    move(sweep->kernels, sweep->args, at[0], at[1], at[2], at[3], sweep->dtype[2], n);
}

static dk_adamw_step step_of(const dk_adamw_args *args, dk_view factor)
{
    return (dk_adamw_step){
        .factor = factor.buffer ? (float)*(double *)dk_buffer_map(factor) : 1,
        .keep = (float)(1 - args->learning_rate * args->weight_decay),
        .beta2 = (float)args->beta2,
        .rest1 = (float)(1 - args->beta1),
        .rest2 = (float)(1 - args->beta2),
        .rate = (float)(args->learning_rate / (1 - pow(args->beta1, (double)args->step))),
        .inverse_root = (float)(1 / sqrt(1 - pow(args->beta2, (double)args->step))),
        .epsilon = (float)args->epsilon,
    };
}

static void op_adamw(dk_queue *queue, const dk_adamw_args *args, dk_view factor, dk_view p, dk_view g, dk_view m,
                     dk_view v)
{
    if (!dk_check_adamw(queue, args, &factor, &p, &g, &m, &v)) return;
    dk_adamw_step step = step_of(args, factor);
    dk_sweep sweep = dk_sweep_make(queue, adamw_piece, 4, (const dk_view *[]){&p, &g, &m, &v});
    sweep.args = &step;
    dk_sweep_run(queue, &sweep);
}

/* ---- a parameter that copies are kept of: its new rows go into them while they are near ---- */
typedef struct update_work {
    const dk_backend *backend;
    const dk_kernels *kernels;
    const dk_parameter *parameter;
    dk_adamw_step step;
    float *p;
    const float *g;
    uint8_t *m, *v;
    dk_dtype kept; /* of m and v */
} update_work;

static void update_body(void *context, int64_t begin, int64_t end)
{
    const update_work *w = context;
    const int64_t *shape = w->parameter->value.shape;
    for (int64_t first = begin * DK_PACK_ROWS; first < shape[0] && first < end * DK_PACK_ROWS; first += DK_PACK_ROWS) {
        const int64_t rows = shape[0] - first < DK_PACK_ROWS ? shape[0] - first : DK_PACK_ROWS, at = first * shape[1];
        const int64_t skip = dk_dtype_bytes(w->kept, at);
        move(w->kernels, &w->step, w->p + at, w->g + at, w->m + skip, w->v + skip, w->kept, rows * shape[1]);
        dk_kept_rows(w->backend, w->parameter, first, rows);
    }
}

static void op_update(dk_queue *queue, const dk_adamw_args *args, dk_view factor, dk_parameter *parameter, dk_view m,
                      dk_view v)
{
    const dk_view *p = &parameter->value, *g = &parameter->gradient;
    if (!dk_check_adamw(queue, args, &factor, p, g, &m, &v)) return;
    if (!dk_kept_has(parameter) || !dk_view_is_compact(p) || !dk_view_is_compact(g) || !dk_view_is_compact(&m) ||
        !dk_view_is_compact(&v)) {
        dk_linear_update(queue, args, factor, parameter, m, v);
        return;
    }
    update_work work = {.backend = queue->backend,
                        .kernels = dk_kernels_of(queue),
                        .parameter = parameter,
                        .step = step_of(args, factor),
                        .p = dk_buffer_map(*p),
                        .m = dk_buffer_map(m),
                        .v = dk_buffer_map(v),
                        .kept = m.dtype,
                        .g = dk_buffer_map(*g)};
    dk_parallel_for(queue->backend->host, (p->shape[0] + DK_PACK_ROWS - 1) / DK_PACK_ROWS,
                    dk_cpu_grain(DK_PACK_ROWS * p->shape[1]), update_body, &work);
    dk_linear_refresh(queue, parameter);
}

void dk_cpu_fill_optimiser(dk_ops *ops)
{
    ops->sum_squares = op_sum_squares;
    ops->clip_factor = op_clip_factor;
    ops->adamw = op_adamw;
    ops->update = op_update;
}
