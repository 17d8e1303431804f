#include "compute/cpu/cpu.h"

#include <math.h>

/* ---- log-probabilities over [rows, vocab] strips ---- */
typedef struct strip {
    const dk_kernels *kernels;
    dk_rows z, y;
    int64_t vocab;
    double temperature;
    const float *weights;
    int64_t weight_step;
} strip;

static void log_softmax_body(void *context, int64_t begin, int64_t end)
{
    const strip *w = context;
    for (int64_t r = begin; r < end; r++) {
        float *y = dk_row(&w->y, r);
        w->kernels->log_softmax(dk_row(&w->z, r), y, w->vocab, w->temperature);
        w->kernels->fill(y + w->vocab, w->y.width - w->vocab, -INFINITY);
    }
}

static void op_log_softmax(dk_queue *queue, dk_view z, int64_t vocab, double temperature, dk_view y)
{
    if (!dk_check_log_softmax(queue, &z, vocab, temperature, &y)) return;
    strip work = {.kernels = dk_kernels_of(queue),
                  .z = dk_rows_of(&z),
                  .y = dk_rows_of(&y),
                  .vocab = vocab,
                  .temperature = temperature};
    dk_parallel_for(queue->backend->host, work.z.rows, dk_cpu_grain(4 * vocab), log_softmax_body, &work);
}

static void log_softmax_backward_body(void *context, int64_t begin, int64_t end)
{
    const strip *w = context;
    for (int64_t r = begin; r < end; r++) {
        float *h = dk_row(&w->y, r), weight = w->weights ? w->weights[r * w->weight_step] : 1;
        w->kernels->log_softmax_backward(dk_row(&w->z, r), h, w->vocab, (float)(weight / w->temperature));
        w->kernels->fill(h + w->vocab, w->y.width - w->vocab, 0);
    }
}

static void op_log_softmax_backward(dk_queue *queue, dk_view log_q, int64_t vocab, double temperature, dk_view weights,
                                    dk_view h)
{
    if (!dk_check_log_softmax_backward(queue, &log_q, vocab, temperature, &weights, &h)) return;
    strip work = {.kernels = dk_kernels_of(queue),
                  .z = dk_rows_of(&log_q),
                  .y = dk_rows_of(&h),
                  .vocab = vocab,
                  .temperature = temperature,
                  .weights = dk_buffer_map(weights),
                  .weight_step = weights.stride[0]};
    dk_parallel_for(queue->backend->host, work.z.rows, dk_cpu_grain(4 * vocab), log_softmax_backward_body, &work);
}

void dk_cpu_fill_heads(dk_ops *ops)
{
    ops->log_softmax = op_log_softmax;
    ops->log_softmax_backward = op_log_softmax_backward;
}
