/* cpu_linear_int8.c - products with quantised weights as they are (product_int8.h). Weights side by side that have one
 * dtype are one product, for which x is rounded once. Those of other dtypes, and rows with NaN or infinity, which no
 * block of whole numbers holds, are multiplied exactly. */
#include "compute/cpu/cpu_linear.h"
#include "compute/cpu/product/product_int8.h"

#define PARTS 8 /* weights side by side that one product takes */

static void multiply_exactly(dk_queue *queue, const dk_linear *linear, const dk_view *x, const dk_view *y)
{
    if (dk_cpu_linear_of(linear)->products) dk_own_forward(queue, linear, DK_PRECISION_FULL, x, y);
    else dk_cblas_forward(queue, linear, x, y);
}

/* Weights that are multiplied as they are, and those beside them that cannot be. */
static int32_t takes(const dk_linear *linear, int32_t weight)
{
    return !linear->in_out && dk_is_int8_weight(linear->weights[weight]->value.dtype);
}

static int32_t takes_any(const dk_linear *linear)
{
    for (int32_t i = 0; i < linear->count; i++)
        if (takes(linear, i)) return 1;
    return 0;
}

/* What the system has to allow is asked for late, and once; whatever takes its place has the same bits. */
static const dk_int8 *kernel_for(dk_cpu *cpu, int64_t rows)
{
    enum { UNKNOWN, ALLOWED, REFUSED };
    if (!dk_int8_on_tiles(cpu->int8, rows)) return cpu->int8;
    if (atomic_load(&cpu->tiles) == UNKNOWN) atomic_store(&cpu->tiles, cpu->int8->allow() ? ALLOWED : REFUSED);
    return atomic_load(&cpu->tiles) == ALLOWED ? cpu->int8 : dk_int8_choose(cpu->int8_isa, 0);
}

static void run(dk_queue *queue, const dk_linear *linear, const dk_product_columns *columns, int64_t parts,
                const dk_view *x, const dk_view *y, uint8_t *finite)
{
    dk_cpu *cpu = dk_cpu_of(queue);
    int64_t bytes = 0;
    const dk_int8_product product = {.kernel = kernel_for(cpu, x->shape[0]),
                                     .x = dk_buffer_map(*x),
                                     .rows = x->shape[0],
                                     .k = linear->in,
                                     .x_step = dk_step_of(x),
                                     .y = dk_buffer_map(*y),
                                     .y_step = dk_step_of(y),
                                     .columns = columns,
                                     .column_parts = parts,
                                     .finite = finite};
    if (!dk_product_int8(queue->backend->host, &cpu->workers, &cpu->callers, &product, &bytes))
        dk_cpu_no_memory(queue, "linear_forward", bytes);
}

/* Neighbours of one dtype are one product. */
static void multiply(dk_queue *queue, const dk_linear *linear, const dk_view *x, const dk_view *y, uint8_t *finite)
{
    dk_product_columns columns[PARTS];
    int64_t column = 0, parts = 0;
    for (int32_t i = 0; i < linear->count; column += dk_linear_width(linear, i), i++) {
        const dk_view *weight = &linear->weights[i]->value;
        if (!takes(linear, i)) continue;
        if (parts == PARTS || (parts && columns->b.dtype != weight->dtype)) {
            run(queue, linear, columns, parts, x, y, finite);
            parts = 0;
        }
        columns[parts++] = (dk_product_columns){
            .b = dk_operand_of(dk_kernels_of(queue), weight, 0), .count = dk_linear_width(linear, i), .column = column};
    }
    if (parts) run(queue, linear, columns, parts, x, y, finite);
}

void dk_int8_forward(dk_queue *queue, const dk_linear *linear, const dk_view *x, const dk_view *y)
{
    dk_scratch *callers = &dk_cpu_of(queue)->callers;
    const int64_t rows = x->shape[0];
    int32_t all = 1;
    for (int32_t i = 0; i < linear->count; i++) all &= takes(linear, i);
    if (!all) multiply_exactly(queue, linear, x, y);
    if (!takes_any(linear) || !rows) return;
    uint8_t *finite = dk_scratch_take(callers, rows);
    if (!finite) {
        dk_cpu_no_memory(queue, "linear_forward", rows);
        return;
    }
    multiply(queue, linear, x, y, finite);
    for (int64_t r = 0; r < rows && !queue->error.code; r++) {
        const dk_view one = dk_view_rows(*x, r, 1), to = dk_view_rows(*y, r, 1);
        if (!finite[r]) multiply_exactly(queue, linear, &one, &to);
    }
    dk_scratch_give(callers, finite);
}
