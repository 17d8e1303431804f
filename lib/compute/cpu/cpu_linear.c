#include "compute/cpu/cpu.h"

#include <cblas.h>

#include "base/fpenv.h"

/* Products by CBLAS, always from the thread that called the op and one at a time: its own threads are the host's
 * business. Weights in half precision or blocks are widened a panel of rows at a time; up to DK_MATVEC_ROWS rows go to
 * our own kernels, which read the weights once in the dtype that they are stored in, blocks a row at a time. */
#define PANEL_BYTES ((int64_t)2 << 20)
#define TYPES (DK_TYPE(DK_F32) | DK_TYPE(DK_F16) | DK_TYPE(DK_BF16) | DK_TYPES_BLOCKS) /* of weights */

/* A weight as CBLAS sees it: rows [first, first + count) of W [rows, width] in float. */
typedef struct panel {
    const float *data;
    int64_t step, first, count;
} panel;

typedef struct widen_work {
    const dk_kernels *kernels;
    const dk_view *weight;
    int64_t first;
    float *to;
} widen_work;

static void widen_body(void *context, int64_t begin, int64_t end)
{
    const widen_work *w = context;
    dk_cpu_widen_rows(w->kernels, w->weight, w->first + begin, end - begin, w->to + begin * w->weight->shape[1]);
}

static int64_t panel_rows(const dk_view *weight)
{
    int64_t rows = PANEL_BYTES / (int64_t)sizeof(float) / (weight->shape[1] > 0 ? weight->shape[1] : 1);
    return rows < 1 ? 1 : rows < weight->shape[0] ? rows : weight->shape[0];
}

/* The next panel behind `p` (p->count 0 to begin): all of an F32 weight in place, else widened into scratch. */
static int32_t next_panel(dk_queue *queue, const dk_view *weight, float *scratch, panel *p)
{
    int64_t first = p->first + p->count, left = weight->shape[0] - first, most = panel_rows(weight);
    if (left <= 0) return 0;
    if (weight->dtype == DK_F32) {
        *p = (panel){.data = dk_buffer_map(*weight), .step = weight->stride[0], .count = left};
        return 1;
    }
    widen_work work = {.kernels = dk_kernels_of(queue), .weight = weight, .first = first, .to = scratch};
    *p = (panel){.data = scratch, .step = weight->shape[1], .first = first, .count = left < most ? left : most};
    dk_parallel_for(queue->backend->host, p->count, dk_cpu_grain(weight->shape[1]), widen_body, &work);
    return 1;
}

typedef struct cpu_state { /* of a linear object */
    int64_t panel;         /* bytes of scratch for the widest panel of its weights; 0 = all are F32 */
    int64_t row;           /* and for a row of those in blocks */
} cpu_state;

static int64_t panel_bytes(const dk_linear *linear)
{
    int64_t bytes = 0;
    for (int32_t i = 0; i < linear->count; i++) {
        const dk_view *weight = &linear->weights[i]->value;
        int64_t need = weight->dtype == DK_F32 ? 0 : panel_rows(weight) * weight->shape[1] * (int64_t)sizeof(float);
        if (need > bytes) bytes = need;
    }
    return bytes;
}

static int64_t row_bytes(const dk_linear *linear)
{
    for (int32_t i = 0; i < linear->count; i++)
        if (dk_dtype_find(linear->weights[i]->value.dtype)->block > 1) return linear->in * (int64_t)sizeof(float);
    return 0;
}

static int32_t op_linear_create(dk_backend *backend, const dk_linear_spec *spec, dk_linear **out, dk_error *err)
{
    dk_cpu *cpu = backend->state;
    dk_linear *linear = NULL;
    cpu_state *state = NULL;
    int32_t rc;
    DK_TRY(dk_linear_create(backend, spec, TYPES, &linear, err));
    DK_TRY(dk_new(backend->host, 1, &state, err));
    linear->state = state;
    state->panel = panel_bytes(linear);
    state->row = row_bytes(linear);
    if (state->panel && !dk_scratch_prepare(&cpu->callers, 1, state->panel))
        DK_TRY(dk_fail_nomem(err, (uint64_t)state->panel));
    if (state->row && !dk_scratch_prepare(&cpu->workers, dk_host_threads(backend->host), state->row))
        DK_TRY(dk_fail_nomem(err, (uint64_t)state->row));
    *out = linear;
    linear = NULL;
out:
    dk_linear_free(backend, linear);
    return rc;
}

/* ---- one product: C [m, n] = A B + beta C, with the sizes and steps that CBLAS takes as int ---- */
typedef struct operand {
    const float *data;
    int64_t step;
    int32_t transposed;
} operand;

static void multiply(dk_queue *queue, int64_t m, int64_t n, int64_t k, operand a, operand b, float beta, float *c,
                     int64_t c_step)
{
    dk_cpu *cpu = dk_cpu_of(queue);
    if (m == 0 || n == 0) return;
    uint32_t saved = dk_fp_enter();
    pthread_mutex_lock(&cpu->cblas);
    cblas_sgemm(CblasRowMajor, a.transposed ? CblasTrans : CblasNoTrans, b.transposed ? CblasTrans : CblasNoTrans,
                (int)m, (int)n, (int)k, 1, a.data, (int)a.step, b.data, (int)b.step, beta, c, (int)c_step);
    pthread_mutex_unlock(&cpu->cblas);
    dk_fp_leave(saved);
}

/* A row step that CBLAS accepts: a single row may carry any. */
static int64_t step_of(const dk_view *view)
{
    return view->shape[0] > 1 ? view->stride[0] : view->shape[1] > 0 ? view->shape[1] : 1;
}

static operand rows_of(const dk_view *view) { return (operand){.data = dk_buffer_map(*view), .step = step_of(view)}; }

/* ---- forward ---- */
typedef struct matvec_work {
    const dk_kernels *kernels;
    const dk_view *weight, *x, *y;
    int32_t in_out;
    dk_scratch *rows; /* of a row of weights as floats, where they are blocks */
    _Atomic int32_t refused, failed;
} matvec_work;

/* Outputs [first, last) from weights in blocks: each row becomes floats, then it is one of F32. */
static void matvec_blocks(matvec_work *w, int64_t first, int64_t last)
{
    const float *x = dk_buffer_map(*w->x);
    float *y = dk_buffer_map(*w->y), *row = dk_scratch_take(w->rows, w->weight->shape[1] * (int64_t)sizeof *row);
    for (; row && first < last; first++) {
        dk_cpu_widen_rows(w->kernels, w->weight, first, 1, row);
        w->refused |= !w->kernels->dots(DK_F32, row, w->weight->shape[1], 1, w->weight->shape[1], x, w->x->stride[0],
                                        w->x->shape[0], y + first, w->y->stride[0]);
    }
    if (!row) w->failed = 1;
    dk_scratch_give(w->rows, row);
}

static void matvec_body(void *context, int64_t begin, int64_t end)
{
    matvec_work *w = context;
    const dk_view *weight = w->weight;
    int64_t width = weight->shape[w->in_out ? 1 : 0], first = begin * DK_MATVEC_COLUMNS,
            last = end * DK_MATVEC_COLUMNS < width ? end * DK_MATVEC_COLUMNS : width;
    const uint8_t *data = dk_buffer_map(*weight);
    const float *x = dk_buffer_map(*w->x);
    float *y = dk_buffer_map(*w->y);
    if (w->rows) {
        matvec_blocks(w, first, last);
        return;
    }
    if (!w->in_out) {
        w->refused |= !w->kernels->dots(weight->dtype, data + dk_dtype_bytes(weight->dtype, first * weight->stride[0]),
                                        weight->stride[0], last - first, weight->shape[1], x, w->x->stride[0],
                                        w->x->shape[0], y + first, w->y->stride[0]);
        return;
    }
    for (; first < last; first += DK_MATVEC_COLUMNS)
        w->refused |=
            !w->kernels->columns(weight->dtype, data + dk_dtype_bytes(weight->dtype, first), weight->stride[0],
                                 last - first < DK_MATVEC_COLUMNS ? last - first : DK_MATVEC_COLUMNS, weight->shape[0],
                                 x, w->x->stride[0], w->x->shape[0], y + first, w->y->stride[0]);
}

static void forward_matvec(dk_queue *queue, const dk_view *weight, int32_t in_out, const dk_view *x, const dk_view *y)
{
    matvec_work work = {.kernels = dk_kernels_of(queue), .weight = weight, .x = x, .y = y, .in_out = in_out};
    int64_t width = y->shape[1], cost = x->shape[1] * DK_MATVEC_COLUMNS * x->shape[0] / 4;
    if (dk_dtype_find(weight->dtype)->block > 1) work.rows = &dk_cpu_of(queue)->workers;
    dk_parallel_for(queue->backend->host, (width + DK_MATVEC_COLUMNS - 1) / DK_MATVEC_COLUMNS, dk_cpu_grain(cost),
                    matvec_body, &work);
    if (work.refused)
        dk_queue_fail(queue, DK_E_UNSUPPORTED, "linear_forward: there is no kernel for weights of %s",
                      dk_dtype_name(weight->dtype));
    if (work.failed) dk_cpu_no_memory(queue, "linear_forward", weight->shape[1] * (int64_t)sizeof(float));
}

/* W [out, in]: panels give columns of y. W [in, out]: panels are summed. */
static void forward_panels(dk_queue *queue, const dk_view *weight, int32_t in_out, const dk_view *x, const dk_view *y,
                           float *scratch)
{
    panel p = {.data = NULL};
    float *to = dk_buffer_map(*y);
    operand a = rows_of(x);
    while (next_panel(queue, weight, scratch, &p)) {
        operand b = {.data = p.data, .step = p.step, .transposed = !in_out};
        if (in_out) {
            operand part = {.data = a.data + p.first, .step = a.step};
            multiply(queue, x->shape[0], weight->shape[1], p.count, part, b, p.first > 0, to, step_of(y));
        } else {
            multiply(queue, x->shape[0], p.count, weight->shape[1], a, b, 0, to + p.first, step_of(y));
        }
    }
}

typedef struct bias_work {
    const dk_kernels *kernels;
    const dk_view *bias;
    dk_rows y;
    float *gradient;
} bias_work;

static void bias_body(void *context, int64_t begin, int64_t end)
{
    const bias_work *w = context;
    float part[DK_PART];
    for (int64_t c = 0; c < w->y.width; c += DK_PART) {
        int64_t n = w->y.width - c < DK_PART ? w->y.width - c : DK_PART;
        const float *bias =
            dk_cpu_widen(w->kernels, w->bias->dtype,
                         (uint8_t *)dk_buffer_map(*w->bias) + dk_dtype_bytes(w->bias->dtype, c), part, n);
        for (int64_t r = begin; r < end; r++) w->kernels->axpy(1, bias, (float *)dk_row(&w->y, r) + c, n);
    }
}

static void add_bias(dk_queue *queue, const dk_view *bias, const dk_view *y)
{
    bias_work work = {.kernels = dk_kernels_of(queue), .bias = bias, .y = dk_rows_of(y)};
    dk_parallel_for(queue->backend->host, work.y.rows, dk_cpu_grain(work.y.width), bias_body, &work);
}

/* Scratch for panels, or NULL with nothing taken where none is needed. 0 = no memory, said on the queue. */
static int32_t take_panel(dk_queue *queue, const char *op, const dk_linear *linear, float **scratch)
{
    int64_t bytes = ((const cpu_state *)linear->state)->panel;
    *scratch = bytes ? dk_scratch_take(&dk_cpu_of(queue)->callers, bytes) : NULL;
    if (!bytes || *scratch) return 1;
    dk_cpu_no_memory(queue, op, bytes);
    return 0;
}

static void op_linear_forward(dk_queue *queue, const dk_linear *linear, dk_precision precision, dk_view x, dk_view y)
{
    float *scratch = NULL;
    int32_t matvec = x.shape[0] <= DK_MATVEC_ROWS;
    int64_t column = 0;
    if (!dk_linear_check(queue, "linear_forward", linear, DK_USE_FORWARD, precision, &x, &y)) return;
    if (!matvec && !take_panel(queue, "linear_forward", linear, &scratch)) return;
    for (int32_t i = 0; i < linear->count; column += dk_linear_width(linear, i), i++) {
        const dk_view *weight = &linear->weights[i]->value;
        dk_view part = dk_view_columns(y, column, dk_linear_width(linear, i));
        if (matvec) {
            forward_matvec(queue, weight, linear->in_out, &x, &part);
        } else {
            forward_panels(queue, weight, linear->in_out, &x, &part, scratch);
        }
        if (linear->biases[i]) add_bias(queue, &linear->biases[i]->value, &part);
    }
    dk_scratch_give(&dk_cpu_of(queue)->callers, scratch);
}

/* ---- backward ---- */
static void backward_input(dk_queue *queue, const dk_view *weight, int32_t in_out, const dk_view *dy, const dk_view *dx,
                           int32_t add, float *scratch)
{
    panel p = {.data = NULL};
    float *to = dk_buffer_map(*dx);
    operand a = rows_of(dy);
    while (next_panel(queue, weight, scratch, &p)) {
        operand b = {.data = p.data, .step = p.step, .transposed = in_out};
        if (in_out) {
            multiply(queue, dy->shape[0], p.count, weight->shape[1], a, b, (float)add, to + p.first, step_of(dx));
        } else {
            operand part = {.data = a.data + p.first, .step = a.step};
            multiply(queue, dy->shape[0], weight->shape[1], p.count, part, b, add || p.first > 0, to, step_of(dx));
        }
    }
}

static void op_linear_backward_input(dk_queue *queue, const dk_linear *linear, dk_precision precision, dk_view dy,
                                     dk_view dx, int32_t add)
{
    float *scratch;
    int64_t column = 0;
    if (!dk_linear_check(queue, "linear_backward_input", linear, DK_USE_BACKWARD_INPUT, precision, &dx, &dy)) return;
    if (!take_panel(queue, "linear_backward_input", linear, &scratch)) return;
    for (int32_t i = 0; i < linear->count; column += dk_linear_width(linear, i), i++) {
        dk_view part = dk_view_columns(dy, column, dk_linear_width(linear, i));
        backward_input(queue, &linear->weights[i]->value, linear->in_out, &part, &dx, add != 0 || i > 0, scratch);
    }
    dk_scratch_give(&dk_cpu_of(queue)->callers, scratch);
}

static void bias_gradient_body(void *context, int64_t begin, int64_t end)
{
    const bias_work *w = context;
    int64_t first = begin * DK_SUM_COLUMNS,
            last = end * DK_SUM_COLUMNS < w->y.width ? end * DK_SUM_COLUMNS : w->y.width;
    w->kernels->column_sums(&w->y, first, last - first, w->gradient + first);
}

static void add_bias_gradient(dk_queue *queue, const dk_parameter *bias, const dk_view *dy)
{
    bias_work work = {.kernels = dk_kernels_of(queue), .y = dk_rows_of(dy), .gradient = dk_buffer_map(bias->gradient)};
    dk_parallel_for(queue->backend->host, (work.y.width + DK_SUM_COLUMNS - 1) / DK_SUM_COLUMNS,
                    dk_cpu_grain(work.y.rows * DK_SUM_COLUMNS), bias_gradient_body, &work);
}

static void add_weight_gradient(dk_queue *queue, const dk_parameter *weight, int32_t in_out, const dk_view *x,
                                const dk_view *dy)
{
    const dk_view *left = in_out ? x : dy, *right = in_out ? dy : x, *gradient = &weight->gradient;
    operand a = rows_of(left), b = rows_of(right);
    a.transposed = 1;
    multiply(queue, left->shape[1], right->shape[1], x->shape[0], a, b, 1, dk_buffer_map(*gradient), step_of(gradient));
}

static void op_linear_backward_weight(dk_queue *queue, const dk_linear *linear, dk_precision precision, dk_view x,
                                      dk_view dy)
{
    int64_t column = 0;
    if (!dk_linear_check(queue, "linear_backward_weight", linear, DK_USE_BACKWARD_WEIGHT, precision, &x, &dy)) return;
    for (int32_t i = 0; i < linear->count; column += dk_linear_width(linear, i), i++) {
        const dk_parameter *weight = linear->weights[i], *bias = linear->biases[i];
        dk_view part = dk_view_columns(dy, column, dk_linear_width(linear, i));
        if (!weight->frozen && dk_check_gradient(queue, weight))
            add_weight_gradient(queue, weight, linear->in_out, &x, &part);
        if (bias && !bias->frozen && dk_check_gradient(queue, bias)) add_bias_gradient(queue, bias, &part);
    }
}

void dk_cpu_fill_linear(dk_ops *ops)
{
    ops->linear_create = op_linear_create;
    ops->linear_free = dk_linear_free;
    ops->refresh = dk_linear_refresh;
    ops->linear_forward = op_linear_forward;
    ops->linear_backward_input = op_linear_backward_input;
    ops->linear_backward_weight = op_linear_backward_weight;
}
