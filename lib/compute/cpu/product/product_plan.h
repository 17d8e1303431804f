/* product_plan.h - how a product is cut: what product.c decides and product_task.c carries out. */
#ifndef DK_COMPUTE_PRODUCT_PLAN_H
#define DK_COMPUTE_PRODUCT_PLAN_H

#include "compute/cpu/product/product_parts.h"

typedef struct dk_plan {
    const dk_product *product;
    dk_scratch *workers;
    int64_t k_first, k_count; /* a range of K, and of panels of B */
    int64_t piece;            /* K of one pass over sums that are on their way */
    int64_t panel_first, panel_count;
    int64_t block_rows, blocks;        /* rows of A of one task; blocks of all row parts */
    int64_t group_panels, groups;      /* panels of B of one task */
    int64_t a_step;                    /* bytes from one panel of packed A to the next */
    int64_t sum_floats;                /* of one panel over a block */
    int64_t a_bytes, c_bytes, b_bytes; /* of a task's scratch; a_bytes, b_bytes 0 = it packs none */
    uint8_t *a;                        /* packed A of all blocks, or NULL */
    uint8_t *slab;                     /* the packed panels of B of this range, or NULL */
    _Atomic int32_t failed;
} dk_plan;

static inline int64_t dk_block_panels(const dk_plan *plan)
{
    return (plan->block_rows + plan->product->micro->rows - 1) / plan->product->micro->rows;
}

/* One panel that is finished, or two of a GLU, over rows [row, row + rows) of A: sums [rows, micro->columns], those of
 * up sum_floats behind those of gate. */
void dk_plan_finish(const dk_plan *plan, int64_t index, int64_t row, int64_t rows, float *sums);
/* Panels [begin, end) of A, dk_block_panels of each block, into plan->a. For dk_parallel_for. */
void dk_plan_pack_a(void *plan, int64_t begin, int64_t end);
/* Panels [begin, end) of B of the range into plan->slab. */
void dk_plan_pack_b(void *plan, int64_t begin, int64_t end);
/* Tasks [begin, end): task i multiplies block i / groups by group i % groups. */
void dk_plan_tasks(void *plan, int64_t begin, int64_t end);

#endif
