#include "compute/cpu/cpu.h"

#include <string.h>

/* ---- rows that move: embed, gather, scatter ---- */
typedef struct move {
    const dk_kernels *kernels;
    dk_rows x, y;
    dk_dtype dtype; /* of x */
    const int32_t *ids;
    int64_t step; /* between ids */
    float scale;
    int32_t add, scatter;
} move;

static move move_make(dk_queue *queue, const dk_view *x, const dk_view *ids, const dk_view *y)
{
    return (move){.kernels = dk_kernels_of(queue),
                  .x = dk_rows_of(x),
                  .y = dk_rows_of(y),
                  .dtype = x->dtype,
                  .ids = dk_buffer_map(*ids),
                  .step = ids->stride[0],
                  .scale = 1};
}

static void embed_row(const move *w, const uint8_t *x, float *y)
{
    float part[DK_PART];
    for (int64_t i = 0; i < w->y.width; i += DK_PART) {
        int64_t n = w->y.width - i < DK_PART ? w->y.width - i : DK_PART;
        const float *from = dk_cpu_widen(w->kernels, w->dtype, x + dk_dtype_bytes(w->dtype, i), part, n);
        if (w->add) {
            w->kernels->axpy(w->scale, from, y + i, n);
        } else {
            w->kernels->scale_to(w->scale, from, y + i, n);
        }
    }
}

static void embed_body(void *context, int64_t begin, int64_t end)
{
    const move *w = context;
    for (int64_t r = begin; r < end; r++) embed_row(w, dk_row(&w->x, w->ids[r * w->step]), dk_row(&w->y, r));
}

static void op_embed(dk_queue *queue, dk_view table, dk_view ids, double scale, dk_view y, int32_t add)
{
    if (!dk_check_embed(queue, &table, &ids, &y)) return;
    move work = move_make(queue, &table, &ids, &y);
    work.scale = (float)scale;
    work.add = add;
    dk_parallel_for(queue->backend->host, work.y.rows, dk_cpu_grain(work.y.width), embed_body, &work);
}

/* Threads share columns, not rows: several rows may add to one. */
static void embed_backward_body(void *context, int64_t begin, int64_t end)
{
    const move *w = context;
    int64_t first = begin * DK_SUM_COLUMNS,
            last = end * DK_SUM_COLUMNS < w->y.width ? end * DK_SUM_COLUMNS : w->y.width;
    for (int64_t r = 0; r < w->x.rows; r++)
        w->kernels->axpy(w->scale, (float *)dk_row(&w->x, r) + first,
                         (float *)dk_row(&w->y, w->ids[r * w->step]) + first, last - first);
}

static void op_embed_backward(dk_queue *queue, dk_view gradient, dk_view ids, double scale, dk_view dy)
{
    if (!dk_check_embed_backward(queue, &gradient, &ids, &dy)) return;
    move work = move_make(queue, &dy, &ids, &gradient);
    work.scale = (float)scale;
    dk_parallel_for(queue->backend->host, (work.y.width + DK_SUM_COLUMNS - 1) / DK_SUM_COLUMNS,
                    dk_cpu_grain(work.x.rows * DK_SUM_COLUMNS), embed_backward_body, &work);
}

static void move_body(void *context, int64_t begin, int64_t end)
{
    const move *w = context;
    size_t bytes = (size_t)dk_dtype_bytes(w->dtype, w->x.width);
    for (int64_t r = begin; r < end; r++) {
        int64_t named = w->ids[r * w->step];
        const void *from = dk_row(&w->x, w->scatter ? r : named);
        void *to = dk_row(&w->y, w->scatter ? named : r);
        if (w->add) {
            w->kernels->axpy(1, from, to, w->x.width);
        } else {
            memcpy(to, from, bytes);
        }
    }
}

static void op_gather_rows(dk_queue *queue, dk_view x, dk_view rows, dk_view y)
{
    if (!dk_check_move_rows(queue, "gather_rows", &x, &rows, &y, 0, 0)) return;
    move work = move_make(queue, &x, &rows, &y);
    dk_parallel_for(queue->backend->host, work.y.rows, dk_cpu_grain(work.x.width), move_body, &work);
}

static void op_scatter_rows(dk_queue *queue, dk_view x, dk_view rows, dk_view y, int32_t add)
{
    if (!dk_check_move_rows(queue, "scatter_rows", &x, &rows, &y, 1, add)) return;
    move work = move_make(queue, &x, &rows, &y);
    work.scatter = 1;
    work.add = add;
    dk_parallel_for(queue->backend->host, work.x.rows, dk_cpu_grain(work.x.width), move_body, &work);
}

/* ---- norms ---- */
typedef struct norm_work {
    const dk_kernels *kernels;
    dk_norm_row row;
    dk_rows x, y, stats, dy, dx;
    float *dweight, *dbias;
    int32_t add;
    float *widened; /* weight and bias of another dtype than F32 */
} norm_work;

static dk_rows rows_if(const dk_view *view) { return view->buffer ? dk_rows_of(view) : (dk_rows){.data = NULL}; }

static int32_t norm_begin(dk_queue *queue, const char *op, const dk_norm_args *args, const dk_view *x,
                          const dk_view *stats, norm_work *work)
{
    const dk_kernels *kernels = dk_kernels_of(queue);
    int64_t width = x->shape[x->rank - 1], bytes = 2 * width * (int64_t)sizeof(float);
    *work = (norm_work){.kernels = kernels, .x = dk_rows_of(x), .stats = rows_if(stats)};
    work->row = (dk_norm_row){.kind = args->kind,
                              .epsilon = (float)args->epsilon,
                              .weight_offset = (float)args->weight_offset,
                              .width = width};
    if ((args->weight.buffer && args->weight.dtype != DK_F32) || (args->bias.buffer && args->bias.dtype != DK_F32)) {
        work->widened = dk_scratch_take(&dk_cpu_of(queue)->callers, bytes);
        if (!work->widened) {
            dk_cpu_no_memory(queue, op, bytes);
            return 0;
        }
    }
    if (args->weight.buffer)
        work->row.weight = dk_cpu_widen(kernels, args->weight.dtype, dk_buffer_map(args->weight), work->widened, width);
    if (args->bias.buffer)
        work->row.bias = dk_cpu_widen(kernels, args->bias.dtype, dk_buffer_map(args->bias),
                                      work->widened ? work->widened + width : NULL, width);
    return 1;
}

static void norm_body(void *context, int64_t begin, int64_t end)
{
    const norm_work *w = context;
    for (int64_t r = begin; r < end; r++)
        w->kernels->norm(&w->row, dk_row(&w->x, r), dk_row(&w->y, r), w->stats.data ? dk_row(&w->stats, r) : NULL);
}

static void op_norm(dk_queue *queue, const dk_norm_args *args, dk_view x, dk_view y, dk_view stats)
{
    norm_work work;
    if (!dk_check_norm(queue, args, &x, &y, &stats) || !norm_begin(queue, "norm", args, &x, &stats, &work)) return;
    work.y = dk_rows_of(&y);
    dk_parallel_for(queue->backend->host, work.x.rows, dk_cpu_grain(2 * work.x.width), norm_body, &work);
    dk_scratch_give(&dk_cpu_of(queue)->callers, work.widened);
}

static void norm_backward_body(void *context, int64_t begin, int64_t end)
{
    const norm_work *w = context;
    for (int64_t r = begin; r < end; r++)
        w->kernels->norm_backward(&w->row, dk_row(&w->x, r), dk_row(&w->stats, r), dk_row(&w->dy, r), dk_row(&w->dx, r),
                                  w->add);
}

static void norm_columns_body(void *context, int64_t begin, int64_t end)
{
    const norm_work *w = context;
    int64_t first = begin * DK_SUM_COLUMNS,
            last = end * DK_SUM_COLUMNS < w->x.width ? end * DK_SUM_COLUMNS : w->x.width;
    w->kernels->norm_columns(&w->x, &w->stats, &w->dy, first, last - first, w->dweight ? w->dweight + first : NULL,
                             w->dbias ? w->dbias + first : NULL);
}

/* The weights' part first: dx may be dy. */
static void op_norm_backward(dk_queue *queue, const dk_norm_args *args, dk_view x, dk_view stats, dk_view dy,
                             dk_view dx, int32_t add, dk_view dweight, dk_view dbias)
{
    norm_work work;
    dk_host *host = queue->backend->host;
    if (!dk_check_norm_backward(queue, args, &x, &stats, &dy, &dx, &dweight, &dbias)) return;
    if (!norm_begin(queue, "norm_backward", args, &x, &stats, &work)) return;
    work.dy = dk_rows_of(&dy);
    work.dx = rows_if(&dx);
    work.dweight = dk_buffer_map(dweight);
    work.dbias = dk_buffer_map(dbias);
    work.add = add;
    if (work.dweight || work.dbias)
        dk_parallel_for(host, (work.x.width + DK_SUM_COLUMNS - 1) / DK_SUM_COLUMNS,
                        dk_cpu_grain(work.x.rows * DK_SUM_COLUMNS), norm_columns_body, &work);
    if (work.dx.data) dk_parallel_for(host, work.x.rows, dk_cpu_grain(3 * work.x.width), norm_backward_body, &work);
    dk_scratch_give(&dk_cpu_of(queue)->callers, work.widened);
}

/* ---- rotary positions ---- */
typedef struct rope_work {
    const dk_kernels *kernels;
    float *x;
    const float *table;
    const int32_t *positions;
    int64_t x_step, heads, head_step, table_step, half, position_step;
    float sign;
} rope_work;

static void rope_body(void *context, int64_t begin, int64_t end)
{
    const rope_work *w = context;
    for (int64_t r = begin; r < end; r++)
        w->kernels->rope(w->x + r * w->x_step, w->heads, w->head_step, w->half,
                         w->table + w->positions[r * w->position_step] * w->table_step, w->sign);
}

static void op_rope(dk_queue *queue, dk_view x, dk_view table, dk_view positions, int32_t inverse)
{
    if (!dk_check_rope(queue, &x, &table, &positions)) return;
    rope_work work = {.kernels = dk_kernels_of(queue),
                      .x = dk_buffer_map(x),
                      .table = dk_buffer_map(table),
                      .positions = dk_buffer_map(positions),
                      .x_step = x.stride[0],
                      .heads = x.shape[1],
                      .head_step = x.stride[1],
                      .table_step = table.stride[0],
                      .half = table.shape[1],
                      .position_step = positions.stride[0],
                      .sign = inverse ? -1.0f : 1.0f};
    dk_parallel_for(queue->backend->host, x.shape[0], dk_cpu_grain(x.shape[1] * x.shape[2]), rope_body, &work);
}

void dk_cpu_fill_rows(dk_ops *ops)
{
    ops->embed = op_embed;
    ops->embed_backward = op_embed_backward;
    ops->gather_rows = op_gather_rows;
    ops->scatter_rows = op_scatter_rows;
    ops->norm = op_norm;
    ops->norm_backward = op_norm_backward;
    ops->rope = op_rope;
}
