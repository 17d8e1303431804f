/* cpu_linear_cblas.c - products by CBLAS, always from the thread that called the op and one at a time: its own threads
 * are the host's business. Weights in half precision or blocks are widened a panel of 2 MB at a time, which stays in L2
 * or near it while it is multiplied; up to DK_MATVEC_ROWS rows go to our own kernels, which read the weights once in
 * the dtype that they are stored in, blocks a row at a time. */
#include "compute/cpu/cpu_linear.h"

#include <cblas.h>

#include "base/fpenv.h"

#define PANEL_BYTES ((int64_t)2 << 20)

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

int64_t dk_cblas_row_bytes(const dk_linear *linear)
{
    for (int32_t i = 0; i < linear->count; i++)
        if (dk_dtype_find(linear->weights[i]->value.dtype)->block > 1) return linear->in * (int64_t)sizeof(float);
    return 0;
}

int64_t dk_cblas_panel_bytes(const dk_linear *linear)
{
    int64_t bytes = 0;
    for (int32_t i = 0; i < linear->count; i++) {
        const dk_view *weight = &linear->weights[i]->value;
        int64_t need = weight->dtype == DK_F32 ? 0 : panel_rows(weight) * weight->shape[1] * (int64_t)sizeof(float);
        if (need > bytes) bytes = need;
    }
    return bytes;
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

static operand rows_of(const dk_view *view)
{
    return (operand){.data = dk_buffer_map(*view), .step = dk_step_of(view)};
}

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
            multiply(queue, x->shape[0], weight->shape[1], p.count, part, b, p.first > 0, to, dk_step_of(y));
        } else {
            multiply(queue, x->shape[0], p.count, weight->shape[1], a, b, 0, to + p.first, dk_step_of(y));
        }
    }
}

/* Scratch for panels, or NULL with nothing taken where none is needed. 0 = no memory, said on the queue. */
static int32_t take_panel(dk_queue *queue, const char *op, const dk_linear *linear, float **scratch)
{
    int64_t bytes = dk_cpu_linear_of(linear)->panel;
    *scratch = bytes ? dk_scratch_take(&dk_cpu_of(queue)->callers, bytes) : NULL;
    if (!bytes || *scratch) return 1;
    dk_cpu_no_memory(queue, op, bytes);
    return 0;
}

/* CBLAS counts in int. */
static int32_t fits(dk_queue *queue, const char *op, const dk_view *view)
{
    if (view->shape[0] <= INT32_MAX && view->shape[1] <= INT32_MAX && dk_step_of(view) <= INT32_MAX) return 1;
    dk_queue_fail(queue, DK_E_UNSUPPORTED, "%s: a matrix of [%lld, %lld], %lld apart, is too large for CBLAS", op,
                  (long long)view->shape[0], (long long)view->shape[1], (long long)dk_step_of(view));
    return 0;
}

static int32_t all_fit(dk_queue *queue, const char *op, const dk_linear *linear, const dk_view *x, const dk_view *y)
{
    int32_t ok = fits(queue, op, x) && fits(queue, op, y);
    for (int32_t i = 0; ok && i < linear->count; i++) ok = fits(queue, op, &linear->weights[i]->value);
    return ok;
}

void dk_cblas_forward(dk_queue *queue, const dk_linear *linear, const dk_view *x, const dk_view *y)
{
    float *scratch = NULL;
    int32_t matvec = x->shape[0] <= DK_MATVEC_ROWS;
    int64_t column = 0;
    if (!all_fit(queue, "linear_forward", linear, x, y)) return;
    if (!matvec && !take_panel(queue, "linear_forward", linear, &scratch)) return;
    for (int32_t i = 0; i < linear->count; column += dk_linear_width(linear, i), i++) {
        const dk_view *weight = &linear->weights[i]->value;
        dk_view part = dk_view_columns(*y, column, dk_linear_width(linear, i));
        if (matvec) forward_matvec(queue, weight, linear->in_out, x, &part);
        else forward_panels(queue, weight, linear->in_out, x, &part, scratch);
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
            multiply(queue, dy->shape[0], p.count, weight->shape[1], a, b, (float)add, to + p.first, dk_step_of(dx));
        } else {
            operand part = {.data = a.data + p.first, .step = a.step};
            multiply(queue, dy->shape[0], weight->shape[1], p.count, part, b, add || p.first > 0, to, dk_step_of(dx));
        }
    }
}

void dk_cblas_backward_input(dk_queue *queue, const dk_linear *linear, const dk_view *dy, const dk_view *dx,
                             int32_t add)
{
    float *scratch;
    int64_t column = 0;
    if (!all_fit(queue, "linear_backward_input", linear, dx, dy)) return;
    if (!take_panel(queue, "linear_backward_input", linear, &scratch)) return;
    for (int32_t i = 0; i < linear->count; column += dk_linear_width(linear, i), i++) {
        dk_view part = dk_view_columns(*dy, column, dk_linear_width(linear, i));
        backward_input(queue, &linear->weights[i]->value, linear->in_out, &part, dx, add != 0 || i > 0, scratch);
    }
    dk_scratch_give(&dk_cpu_of(queue)->callers, scratch);
}

static void add_weight_gradient(dk_queue *queue, const dk_parameter *weight, int32_t in_out, const dk_view *x,
                                const dk_view *dy)
{
    const dk_view *left = in_out ? x : dy, *right = in_out ? dy : x, *gradient = &weight->gradient;
    operand a = rows_of(left), b = rows_of(right);
    a.transposed = 1;
    multiply(queue, left->shape[1], right->shape[1], x->shape[0], a, b, 1, dk_buffer_map(*gradient),
             dk_step_of(gradient));
}

void dk_cblas_backward_weight(dk_queue *queue, const dk_linear *linear, const dk_view *x, const dk_view *dy)
{
    int64_t column = 0;
    if (!all_fit(queue, "linear_backward_weight", linear, x, dy)) return;
    for (int32_t i = 0; i < linear->count; column += dk_linear_width(linear, i), i++) {
        dk_view part = dk_view_columns(*dy, column, dk_linear_width(linear, i));
        if (!linear->weights[i]->frozen) add_weight_gradient(queue, linear->weights[i], linear->in_out, x, &part);
    }
}
