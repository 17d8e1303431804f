#include "optim/optim.h"

void dk_rows_adamw(dk_queue *queue, const dk_adamw_args *args, dk_view factor, const dk_table *table, dk_view rows,
                   dk_view gradient, const dk_table *scratch)
{
    const dk_ops *ops = queue->backend->ops;
    const dk_view *kept[3] = {&table->value, &table->first, &table->second},
                  *part[3] = {&scratch->value, &scratch->first, &scratch->second};
    for (int i = 0; i < 3; i++) ops->gather_rows(queue, *kept[i], rows, *part[i]);
    ops->adamw(queue, args, factor, scratch->value, gradient, scratch->first, scratch->second);
    for (int i = 0; i < 3; i++) ops->scatter_rows(queue, *part[i], rows, *kept[i], 0);
}
