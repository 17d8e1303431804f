/* cpu_linear.c - the ops of a linear object: shapes, biases, and which way its product goes. Biases are added to rows,
 * and their gradients summed down columns, by passes of their own. */
#include "compute/cpu/cpu_linear.h"

#include "base/log.h"

#define TYPES (DK_TYPE(DK_F32) | DK_TYPE(DK_F16) | DK_TYPE(DK_BF16) | DK_TYPES_BLOCKS) /* of weights */

static int32_t prepare_cblas(dk_cpu *cpu, const dk_linear *linear, dk_cpu_linear *state, dk_error *err)
{
    int64_t row = dk_cblas_row_bytes(linear);
    state->panel = dk_cblas_panel_bytes(linear);
    if (state->panel && !dk_scratch_prepare(&cpu->callers, 1, state->panel))
        return dk_fail_nomem(err, (uint64_t)state->panel);
    if (row && !dk_scratch_prepare(&cpu->workers, dk_host_threads(cpu->workers.host), row))
        return dk_fail_nomem(err, (uint64_t)row);
    return DK_OK;
}

static void op_linear_free(dk_backend *backend, dk_linear *linear)
{
    if (linear) dk_kept_free(backend, linear);
    dk_linear_free(backend, linear);
}

static int32_t take_allowed(dk_backend *backend, const dk_product_set **products, dk_error *err)
{
    dk_cpu *cpu = backend->state;
    int32_t rc = dk_product_allowed(products, cpu->by_name, backend->isa, err);
    if (rc == DK_OK && *products != cpu->products && !atomic_exchange(&cpu->told, 1))
        dk_log(backend->host, DK_LOG_WARN, "compute", "the system does not let this process use %s: products are by %s",
               cpu->products->name, *products ? (*products)->name : "cblas");
    return rc;
}

static int32_t is_halves(const dk_linear *linear)
{
    int32_t all = 1;
    for (int32_t i = 0; i < linear->count; i++) all &= linear->weights[i]->value.dtype == DK_BF16;
    return all;
}

static int32_t op_linear_create(dk_backend *backend, const dk_linear_spec *spec, dk_linear **out, dk_error *err)
{
    dk_cpu *cpu = backend->state;
    dk_linear *linear = NULL;
    dk_cpu_linear *state = NULL;
    int32_t rc;
    DK_TRY(dk_linear_create(backend, spec, TYPES, &linear, err));
    DK_TRY(dk_new(backend->host, 1, &state, err));
    linear->state = state;
    state->products = cpu->products;
    const int32_t halves = is_halves(linear);
    if (state->products && (linear->precisions >> DK_PRECISION_BF16 & 1 || halves))
        DK_TRY(take_allowed(backend, &state->products, err));
    if (state->products && halves) state->halves = state->products->halves;
    if (!state->products) DK_TRY(prepare_cblas(cpu, linear, state, err));
    *out = linear;
    linear = NULL;
out:
    dk_linear_free(backend, linear);
    return rc;
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

static void add_biases(dk_queue *queue, const dk_linear *linear, dk_view y)
{
    int64_t column = 0;
    for (int32_t i = 0; i < linear->count; column += dk_linear_width(linear, i), i++) {
        dk_view part = dk_view_columns(y, column, dk_linear_width(linear, i));
        if (linear->biases[i]) add_bias(queue, &linear->biases[i]->value, &part);
    }
}

static void op_linear_forward(dk_queue *queue, const dk_linear *linear, dk_precision precision, dk_view x, dk_view y)
{
    if (!dk_linear_check(queue, "linear_forward", linear, DK_USE_FORWARD, precision, &x, &y)) return;
    if (precision == DK_PRECISION_INT8) dk_int8_forward(queue, linear, &x, &y);
    else if (dk_cpu_linear_of(linear)->products) dk_own_forward(queue, linear, precision, &x, &y);
    else dk_cblas_forward(queue, linear, &x, &y);
    add_biases(queue, linear, y);
}

static int32_t has_biases(const dk_linear *linear)
{
    int32_t has = 0;
    for (int32_t i = 0; i < linear->count; i++) has |= linear->biases[i] != NULL;
    return has;
}

static int32_t check_end(dk_queue *queue, const dk_linear *linear, const dk_view *y, const dk_linear_end *end)
{
    if (dk_view_present(end->onto)) return dk_check_add(queue, &end->onto, y, &end->out);
    const dk_view gate = dk_view_columns(*y, 0, linear->out / 2),
                  up = dk_view_columns(*y, linear->out / 2, linear->out - linear->out / 2);
    return dk_check_glu(queue, end->activation, &gate, &up, &end->out);
}

static void op_linear_forward_then(dk_queue *queue, const dk_linear *linear, dk_precision precision, dk_view x,
                                   dk_view y, const dk_linear_end *end)
{
    if (!dk_linear_check(queue, "linear_forward", linear, DK_USE_FORWARD, precision, &x, &y)) return;
    if (!check_end(queue, linear, &y, end)) return;
    if (precision == DK_PRECISION_INT8 || has_biases(linear) || !dk_cpu_linear_of(linear)->products ||
        !dk_own_forward_then(queue, linear, precision, &x, &y, end))
        dk_linear_forward_then(queue, linear, precision, x, y, end);
}

/* The first product of a weight's gradient writes it: that neither fills memory with zeros nor reads them back. */
static void op_clear(dk_queue *queue, dk_parameter *parameter)
{
    int32_t products = 0;
    for (const dk_packed *packed = parameter->packed; packed; packed = packed->next)
        products |= packed - packed->linear->packed < packed->linear->count &&
                    packed->linear->uses & DK_USE_BACKWARD_WEIGHT && dk_cpu_linear_of(packed->linear)->products;
    if (products) parameter->unset = 1;
    else dk_linear_clear(queue, parameter);
}

/* 1 = all gradients of the weights are written, and not added to. */
static int32_t take_unset(dk_queue *queue, const dk_linear *linear)
{
    int32_t all = dk_cpu_linear_of(linear)->products != NULL;
    for (int32_t i = 0; i < linear->count; i++) all &= linear->weights[i]->frozen || linear->weights[i]->unset;
    for (int32_t i = 0; i < linear->count; i++) {
        if (!all) dk_linear_settle(queue, linear->weights[i]);
        linear->weights[i]->unset = 0;
    }
    return all;
}

static void op_linear_backward_input(dk_queue *queue, const dk_linear *linear, dk_precision precision, dk_view dy,
                                     dk_view dx, int32_t add)
{
    if (!dk_linear_check(queue, "linear_backward_input", linear, DK_USE_BACKWARD_INPUT, precision, &dx, &dy)) return;
    if (dk_cpu_linear_of(linear)->products) dk_own_backward_input(queue, linear, precision, &dy, &dx, add);
    else dk_cblas_backward_input(queue, linear, &dy, &dx, add);
}

static void op_linear_backward_weight(dk_queue *queue, const dk_linear *linear, dk_precision precision, dk_view x,
                                      dk_view dy)
{
    int64_t column = 0;
    if (!dk_linear_check(queue, "linear_backward_weight", linear, DK_USE_BACKWARD_WEIGHT, precision, &x, &dy)) return;
    for (int32_t i = 0; i < linear->count; i++)
        if (!linear->weights[i]->frozen && !dk_check_gradient(queue, linear->weights[i])) return;
    if (x.shape[0] == 0) return;
    const int32_t add = !take_unset(queue, linear);
    if (dk_cpu_linear_of(linear)->products) dk_own_backward_weight(queue, linear, precision, &x, &dy, add);
    else dk_cblas_backward_weight(queue, linear, &x, &dy);
    for (int32_t i = 0; i < linear->count; column += dk_linear_width(linear, i), i++) {
        const dk_parameter *bias = linear->biases[i];
        dk_view part = dk_view_columns(dy, column, dk_linear_width(linear, i));
        if (bias && !bias->frozen && dk_check_gradient(queue, bias)) add_bias_gradient(queue, bias, &part);
    }
}

void dk_cpu_fill_linear(dk_ops *ops)
{
    ops->linear_create = op_linear_create;
    ops->linear_free = op_linear_free;
    ops->linear_keep = dk_kept_make;
    ops->linear_kept_bytes = dk_kept_bytes;
    ops->clear = op_clear;
    ops->settle = dk_linear_settle;
    ops->refresh = dk_kept_refresh;
    ops->linear_forward = op_linear_forward;
    ops->linear_forward_then = op_linear_forward_then;
    ops->linear_backward_input = op_linear_backward_input;
    ops->linear_backward_weight = op_linear_backward_weight;
}
