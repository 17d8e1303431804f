/* product.h - C (+)= A B^T by our own kernels: one driver over packed operands, one micro-kernel per instruction.
 *
 * A has M lines, B has N lines, a line is K numbers; C[m, n] is the sum over k of A[m, k] B[n, k]. Which way an operand
 * lies in memory is its packer's business, so y = x W^T, dx = dy W and dW = dy^T x are all one product.
 *
 * Packing. A micro-kernel multiplies a panel of A (some lines) by a panel of B (`columns` lines), both laid out in the
 * order in which it reads them; missing lines and K up to a multiple of `group` are zeros there, so a kernel has no
 * tails of its own. A is packed by the thread that uses it, a block of lines and of K at a time. B is packed as it is
 * used: by the task itself if that is the only one that needs the panel, else a slab of panels at a time by all
 * threads. Weights may be kept packed, once per version of them: then nothing is packed but A.
 *
 * Blocking. K goes in blocks of micro->block, so that one panel of B stays in L1 while the block of A, in L2, passes by
 * it. A task is a block of lines of A times a range of panels of B.
 *
 * Bits. A tile of C is summed over K in the order of the micro-kernel and of its blocks, which start at multiples of
 * micro->block. Nothing else changes a bit: not M, not N, not threads, not how B came to be packed.
 *
 * Few rows go another way to the same bits (product_few.h). Threads, scratch and the choice of a micro-kernel live
 * here; shapes, biases and gradients of a linear object do not (cpu_linear.c). */
#ifndef DK_COMPUTE_PRODUCT_H
#define DK_COMPUTE_PRODUCT_H

#include "compute/cpu/product/micro/micro.h"
#include "compute/cpu/scratch.h"

typedef struct dk_product_rows { /* lines [first, first + count) of A, and where their rows of C are */
    int64_t first, count;
    float *c;
    int64_t c_step;
} dk_product_rows;

typedef struct dk_product_columns { /* lines of one B, and the column of C that the first one gives */
    dk_operand b;
    int64_t count, column;
    const uint8_t *packed; /* all of b, by dk_product_pack; NULL = not yet. Of all parts or of none */
} dk_product_columns;

typedef struct dk_product {
    const dk_micro *micro;
    dk_operand a;
    int64_t k;
    const dk_product_rows *rows;
    const dk_product_columns *columns;
    int64_t row_parts, column_parts;
    int32_t add; /* to what C holds */
} dk_product;

/* A whole B of `count` lines of k numbers: the panels one behind the other. */
int64_t dk_product_packed_bytes(const dk_micro *micro, int64_t count, int64_t k);
void dk_product_pack(dk_host *host, const dk_micro *micro, const dk_operand *b, int64_t count, int64_t k, uint8_t *to);

/* 0 = no memory for `*bytes` of scratch. */
int32_t dk_product_run(dk_host *host, dk_scratch *workers, dk_scratch *callers, const dk_product *product,
                       int64_t *bytes);

#endif
