#include "compute/cpu/cpu.h"

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

static void op_adamw(dk_queue *queue, const dk_adamw_args *args, dk_view factor, dk_view p, dk_view g, dk_view m,
                     dk_view v)
{
    if (!dk_check_adamw(queue, args, &factor, &p, &g, &m, &v)) return;
    dk_adamw_step step = {
        .factor = factor.buffer ? (float)*(double *)dk_buffer_map(factor) : 1,
        .keep = (float)(1 - args->learning_rate * args->weight_decay),
        .beta2 = (float)args->beta2,
        .rest1 = (float)(1 - args->beta1),
        .rest2 = (float)(1 - args->beta2),
        .rate = (float)(args->learning_rate / (1 - pow(args->beta1, (double)args->step))),
        .inverse_root = (float)(1 / sqrt(1 - pow(args->beta2, (double)args->step))),
        .epsilon = (float)args->epsilon,
    };
    dk_sweep sweep = dk_sweep_make(queue, adamw_piece, 4, (const dk_view *[]){&p, &g, &m, &v});
    sweep.args = &step;
    dk_sweep_run(queue, &sweep);
}

void dk_cpu_fill_optimiser(dk_ops *ops)
{
    ops->sum_squares = op_sum_squares;
    ops->clip_factor = op_clip_factor;
    ops->adamw = op_adamw;
}
