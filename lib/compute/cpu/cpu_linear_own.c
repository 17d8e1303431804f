/* cpu_linear_own.c - products by our own kernels. What lies how: y = x W^T has K = in, and lines of B are outputs;
 * dx = dy W has K = out, and lines of B are inputs; dW = dy^T x has K = rows, and lines of A are outputs. Up to
 * eight weights side by side are one product, for which A is packed once. */
#include "compute/cpu/cpu_linear.h"
#include "compute/cpu/product/product_few.h"

#define PARTS 8 /* weights side by side that one product takes */

static dk_operand operand_of(dk_queue *queue, const dk_view *view, int32_t across)
{
    return dk_operand_of(dk_kernels_of(queue), view, across);
}

static dk_product_rows rows_of(const dk_view *view, int64_t first, int64_t count)
{
    return (dk_product_rows){.first = first, .count = count, .c = dk_buffer_map(*view), .c_step = dk_step_of(view)};
}

static int32_t is_few(const dk_product *product) { return !product->columns->packed && dk_product_is_few(product); }

static void run(dk_queue *queue, const char *op, const dk_product *product)
{
    dk_cpu *cpu = dk_cpu_of(queue);
    int64_t bytes = 0;
    const int32_t few = is_few(product);
    if (!(few ? dk_product_few : dk_product_run)(queue->backend->host, &cpu->workers, &cpu->callers, product, &bytes))
        dk_cpu_no_memory(queue, op, bytes);
}

static dk_product_columns columns_of(dk_queue *queue, const dk_linear *linear, dk_precision precision, int32_t weight,
                                     int64_t column)
{
    return (dk_product_columns){.b = operand_of(queue, &linear->weights[weight]->value, linear->in_out),
                                .count = dk_linear_width(linear, weight),
                                .column = column,
                                .packed = dk_kept_panels(linear, precision, DK_USE_FORWARD, weight)};
}

/* A sum has one weight and keeps nothing, or panels that take turns are two of the same width. */
static int32_t is_finished(const dk_linear *linear, dk_precision precision, const dk_linear_end *end)
{
    int32_t fits = linear->count == 2 && dk_linear_width(linear, 0) == dk_linear_width(linear, linear->count - 1);
    if (dk_view_present(end->onto)) fits = linear->count == 1 && !end->keep;
    return fits && dk_product_finishes(dk_micro_by_weights(linear, precision), linear->in);
}

static dk_product_finish finish_of(dk_queue *queue, const dk_linear_end *end)
{
    if (dk_view_present(end->onto))
        return (dk_product_finish){
            .kernels = dk_kernels_of(queue), .onto = dk_buffer_map(end->onto), .onto_step = dk_step_of(&end->onto)};
    return (dk_product_finish){.kernels = dk_kernels_of(queue),
                               .activation = end->activation,
                               .active = dk_buffer_map(end->out),
                               .active_step = dk_step_of(&end->out),
                               .keep = end->keep};
}

int32_t dk_own_forward_then(dk_queue *queue, const dk_linear *linear, dk_precision precision, const dk_view *x,
                            const dk_view *y, const dk_linear_end *end)
{
    if (!is_finished(linear, precision, end)) return 0;
    const dk_view *to = dk_view_present(end->onto) ? &end->out : y;
    dk_product_rows rows = rows_of(to, 0, to->shape[0]);
    dk_product_columns columns[2];
    dk_product_finish finish = finish_of(queue, end);
    dk_product product = {.micro = dk_micro_by_weights(linear, precision),
                          .a = operand_of(queue, x, 0),
                          .k = linear->in,
                          .rows = &rows,
                          .row_parts = 1,
                          .columns = columns,
                          .finish = &finish};
    for (int32_t i = 0; i < linear->count; i++)
        columns[product.column_parts++] = columns_of(queue, linear, precision, i, i * dk_linear_width(linear, 0));
    if (is_few(&product)) return 0;
    run(queue, "linear_forward", &product);
    return 1;
}

void dk_own_forward(dk_queue *queue, const dk_linear *linear, dk_precision precision, const dk_view *x,
                    const dk_view *y)
{
    dk_product_rows rows = rows_of(y, 0, y->shape[0]);
    dk_product_columns columns[PARTS];
    dk_product product = {.micro = dk_micro_by_weights(linear, precision),
                          .a = operand_of(queue, x, 0),
                          .k = linear->in,
                          .rows = &rows,
                          .row_parts = 1,
                          .columns = columns};
    int64_t column = 0;
    for (int32_t i = 0; i < linear->count; i++) {
        columns[product.column_parts++] = columns_of(queue, linear, precision, i, column);
        column += dk_linear_width(linear, i);
        if (product.column_parts < PARTS && i + 1 < linear->count) continue;
        run(queue, "linear_forward", &product);
        product.column_parts = 0;
    }
}

/* The weights side by side are stacked along K: one product after the other adds. */
void dk_own_backward_input(dk_queue *queue, const dk_linear *linear, dk_precision precision, const dk_view *dy,
                           const dk_view *dx, int32_t add)
{
    dk_product_rows rows = rows_of(dx, 0, dx->shape[0]);
    int64_t column = 0;
    for (int32_t i = 0; i < linear->count; column += dk_linear_width(linear, i), i++) {
        dk_view part = dk_view_columns(*dy, column, dk_linear_width(linear, i));
        dk_product_columns columns = {.b = operand_of(queue, &linear->weights[i]->value, !linear->in_out),
                                      .count = linear->in,
                                      .packed = dk_kept_panels(linear, precision, DK_USE_BACKWARD_INPUT, i)};
        dk_product product = {.micro = dk_micro_by_weights(linear, precision),
                              .a = operand_of(queue, &part, 0),
                              .k = dk_linear_width(linear, i),
                              .rows = &rows,
                              .row_parts = 1,
                              .columns = &columns,
                              .column_parts = 1,
                              .add = add || i > 0};
        product.a.step = dk_step_of(dy);
        run(queue, "linear_backward_input", &product);
    }
}

/* W [out, in]: lines of A are the outputs of all weights, so x is packed once for them. */
static void gradient_of_rows(dk_queue *queue, const dk_linear *linear, dk_precision precision, const dk_view *x,
                             const dk_view *dy, int32_t add)
{
    dk_product_rows rows[PARTS];
    dk_product_columns columns = {.b = operand_of(queue, x, 1), .count = linear->in};
    dk_product product = {.micro = dk_micro_of(linear, precision),
                          .a = operand_of(queue, dy, 1),
                          .k = x->shape[0],
                          .rows = rows,
                          .columns = &columns,
                          .column_parts = 1,
                          .add = add};
    int64_t line = 0;
    for (int32_t i = 0; i < linear->count; line += dk_linear_width(linear, i), i++) {
        if (!linear->weights[i]->frozen)
            rows[product.row_parts++] = rows_of(&linear->weights[i]->gradient, line, dk_linear_width(linear, i));
        if (product.row_parts < PARTS && i + 1 < linear->count) continue;
        run(queue, "linear_backward_weight", &product);
        product.row_parts = 0;
    }
}

/* W [in, out]: lines of A are the inputs. */
static void gradient_of_columns(dk_queue *queue, const dk_linear *linear, dk_precision precision, const dk_view *x,
                                const dk_view *dy, int32_t add)
{
    int64_t column = 0;
    for (int32_t i = 0; i < linear->count; column += dk_linear_width(linear, i), i++) {
        if (linear->weights[i]->frozen) continue;
        dk_view part = dk_view_columns(*dy, column, dk_linear_width(linear, i));
        dk_product_rows rows = rows_of(&linear->weights[i]->gradient, 0, linear->in);
        dk_product_columns columns = {.b = operand_of(queue, &part, 1), .count = dk_linear_width(linear, i)};
        dk_product product = {.micro = dk_micro_of(linear, precision),
                              .a = operand_of(queue, x, 1),
                              .k = x->shape[0],
                              .rows = &rows,
                              .row_parts = 1,
                              .columns = &columns,
                              .column_parts = 1,
                              .add = add};
        columns.b.step = dk_step_of(dy);
        run(queue, "linear_backward_weight", &product);
    }
}

void dk_own_backward_weight(dk_queue *queue, const dk_linear *linear, dk_precision precision, const dk_view *x,
                            const dk_view *dy, int32_t add)
{
    if (linear->in_out) gradient_of_columns(queue, linear, precision, x, dy, add);
    else gradient_of_rows(queue, linear, precision, x, dy, add);
}
