#include "compute/cpu/cpu.h"

#include <math.h>

/* ---- which experts a row goes to, and with what weight ---- */
typedef struct route_work {
    dk_rows logits, chosen, weights;
    int64_t experts, used;
    int32_t alone;
} route_work;

/* In order of the logits; a later id goes before an earlier one only where its logit is higher. */
static void choose(const float *z, int64_t experts, int64_t used, int32_t *chosen)
{
    int64_t count = 0;
    for (int64_t e = 0; e < experts; e++) {
        int64_t at = count < used ? count : used;
        while (at > 0 && z[e] > z[chosen[at - 1]]) at--;
        if (at == used) continue;
        if (count < used) count++;
        for (int64_t i = count - 1; i > at; i--) chosen[i] = chosen[i - 1];
        chosen[at] = (int32_t)e;
    }
}

static void weigh(const route_work *w, const float *z, const int32_t *chosen, float *weights)
{
    double sum = 0, top = (double)z[chosen[0]];
    for (int64_t e = 0; !w->alone && e < w->experts; e++) sum += exp((double)z[e] - top);
    for (int64_t i = 0; w->alone && i < w->used; i++) sum += exp((double)z[chosen[i]] - top);
    for (int64_t i = 0; i < w->used; i++) weights[i] = (float)(exp((double)z[chosen[i]] - top) / sum);
}

static void route_body(void *context, int64_t begin, int64_t end)
{
    const route_work *w = context;
    for (int64_t r = begin; r < end; r++) {
        int32_t *chosen = dk_row(&w->chosen, r);
        choose(dk_row(&w->logits, r), w->experts, w->used, chosen);
        weigh(w, dk_row(&w->logits, r), chosen, dk_row(&w->weights, r));
    }
}

static void op_route(dk_queue *queue, dk_view logits, int32_t alone, dk_view chosen, dk_view weights)
{
    if (!dk_check_route(queue, &logits, &chosen, &weights)) return;
    route_work work = {.logits = dk_rows_of(&logits),
                       .chosen = dk_rows_of(&chosen),
                       .weights = dk_rows_of(&weights),
                       .experts = logits.shape[1],
                       .used = weights.shape[1],
                       .alone = alone};
    dk_parallel_for(queue->backend->host, work.logits.rows, dk_cpu_grain(20 * work.experts), route_body, &work);
}

/* ---- what comes back from one of them ---- */
typedef struct weighted_work {
    const dk_kernels *kernels;
    dk_rows x, y;
    const int32_t *rows;
    const float *weights;
    int64_t row_step, weight_step;
} weighted_work;

static void weighted_body(void *context, int64_t begin, int64_t end)
{
    const weighted_work *w = context;
    for (int64_t i = begin; i < end; i++)
        w->kernels->axpy(w->weights[i * w->weight_step], dk_row(&w->x, i), dk_row(&w->y, w->rows[i * w->row_step]),
                         w->x.width);
}

static void op_scatter_weighted(dk_queue *queue, dk_view x, dk_view rows, dk_view weights, dk_view y)
{
    if (!dk_check_scatter_weighted(queue, &x, &rows, &weights, &y)) return;
    weighted_work work = {.kernels = dk_kernels_of(queue),
                          .x = dk_rows_of(&x),
                          .y = dk_rows_of(&y),
                          .rows = dk_buffer_map(rows),
                          .weights = dk_buffer_map(weights),
                          .row_step = rows.stride[0],
                          .weight_step = weights.stride[0]};
    dk_parallel_for(queue->backend->host, work.x.rows, dk_cpu_grain(work.x.width), weighted_body, &work);
}

void dk_cpu_fill_route(dk_ops *ops)
{
    ops->route = op_route;
    ops->scatter_weighted = op_scatter_weighted;
}
