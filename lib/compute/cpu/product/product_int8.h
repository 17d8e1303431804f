/* product_int8.h - y = x W^T where W is Q8_0, Q4_0, Q4_1 or a K-quant and is multiplied as it is: x is rounded to
 * blocks of 32 whole numbers with a scale, products and sums in a block are exact, and blocks are summed in order in
 * fp32. W is read once for all rows, and never widened. llama.cpp has the same blocks, but for the scale, which stays a
 * float here, and rounds x to blocks of 256 for K-quants, where one large number coarsens all.
 *
 * A row with NaN or infinity has no such blocks: it is named, and its caller multiplies it otherwise. Bits depend on
 * the row, on W and on the kernel alone. */
#ifndef DK_COMPUTE_PRODUCT_INT8_H
#define DK_COMPUTE_PRODUCT_INT8_H

#include "compute/cpu/product/int8/int8.h"
#include "compute/cpu/product/product.h"

typedef struct dk_int8_product {
    const dk_int8 *kernel;
    const float *x; /* [rows, k], x_step apart */
    int64_t rows, k, x_step;
    float *y; /* [rows, ...], y_step apart; a part's columns as it says */
    int64_t y_step;
    const dk_product_columns *columns; /* lines that are rows of memory, all of one dtype */
    int64_t column_parts;
    uint8_t *finite; /* [rows] out: 0 = y has nothing of this row */
} dk_int8_product;

/* 0 = no memory for `*bytes` of scratch. */
int32_t dk_product_int8(dk_host *host, dk_scratch *workers, dk_scratch *callers, const dk_int8_product *product,
                        int64_t *bytes);

#endif
