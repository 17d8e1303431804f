/* product_finish.c - what follows a product, on a panel of its sums in L2: rows that are added to, or the two panels of
 * a GLU, which become one. C is written once then, and never read back. */
#include "compute/cpu/product/product_plan.h"

static void add_onto(const dk_plan *p, const dk_panel *of, int64_t row, int64_t rows, const float *sums)
{
    const dk_product_finish *finish = p->product->finish;
    const dk_product_rows *to = p->product->rows;
    const int64_t column = of->part->column + of->line;
    finish->kernels->add_rows(finish->onto + row * finish->onto_step + column, finish->onto_step, sums,
                              p->product->micro->columns, to->c + row * to->c_step + column, to->c_step, rows,
                              of->lines);
}

static void activate(const dk_plan *p, const dk_panel *of, int64_t row, int64_t rows, float *gate)
{
    const dk_product_finish *finish = p->product->finish;
    const dk_product_rows *to = p->product->rows;
    const int64_t columns = p->product->micro->columns;
    float *up = gate + p->sum_floats, *c = to->c + row * to->c_step + of->line;
    for (int32_t i = 0; finish->keep && i < 2; i++) {
        const float *sums = i ? up : gate;
        float *y = c + p->product->columns[i].column;
        if (of->lines == columns) finish->kernels->put_rows(sums, y, to->c_step, rows, columns);
        else finish->kernels->add_rows(sums, columns, NULL, 0, y, to->c_step, rows, of->lines);
    }
    finish->kernels->glu(finish->activation, gate, up, gate, rows * columns);
    finish->kernels->add_rows(gate, columns, NULL, 0, finish->active + row * finish->active_step + of->line,
                              finish->active_step, rows, of->lines);
}

void dk_plan_finish(const dk_plan *plan, int64_t index, int64_t row, int64_t rows, float *sums)
{
    const dk_panel of = dk_find_panel(plan->product, index);
    if (plan->product->finish->onto) add_onto(plan, &of, row, rows, sums);
    else activate(plan, &of, row, rows, sums);
}
