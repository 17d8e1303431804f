/* product.h - C (+)= A B^T by our own kernels: one driver over packed operands, one micro-kernel per instruction.
 *
 * A has M lines, B has N lines, a line is K numbers; C[m, n] is the sum over k of A[m, k] B[n, k]. Which way an operand
 * lies in memory is its packer's business, so y = x W^T, dx = dy W and dW = dy^T x are all one product.
 *
 * Packing. A micro-kernel multiplies a panel of A (some lines) by a panel of B (`columns` lines), both laid out in the
 * order in which it reads them; missing lines and K up to a multiple of `group` are zeros there, so a kernel has no
 * tails of its own. B is packed as it is used: by the task itself if that is the only one that needs the panel, else a
 * slab of panels at a time by all threads. Weights may be kept packed, once per version of them: then nothing is packed
 * but A. A block of A is packed by the task that is the only one to use it, or all of A by all threads, where several
 * tasks share a block.
 *
 * Blocking. A task is a block of lines of A, as many as fit about half of L2 over all of K (over a range of it, where K
 * is long), times a range of panels of B. It takes one panel after the other, so B streams by once for each block of A,
 * in the order in which it lies in memory; in a panel a piece of micro->block of K after the other (a short K is one
 * piece), which stays in L1 while the panels of A pass by it. Sums that are on their way from one piece to the next lie
 * close together in L2, where the micro-kernel can take them from there (micro->part): C itself is written once, and
 * nobody waits for its rows, which are far apart: each tile fetches those of the next one, as the pieces of B are
 * fetched by those before. What would read C only to add to it or to activate it is done to a panel of sums there
 * (finish), so that C, which is far larger than L2, neither goes out to memory nor comes back.
 *
 * Bits. A tile of C is summed over K in the order of the micro-kernel and of its blocks, which start at multiples of
 * micro->block. Nothing else changes a bit: not M, not N, not threads, not how B came to be packed.
 *
 * Few rows go another way to the same bits (product_few.h). Threads, scratch and the choice of a micro-kernel live
 * here (product.c cuts, product_task.c carries out); shapes, biases and gradients of a linear object do not
 * (cpu_linear.c). */
#ifndef DK_COMPUTE_PRODUCT_H
#define DK_COMPUTE_PRODUCT_H

#include "compute/cpu/kernels.h"
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
    const uint8_t *packed; /* all of b, by dk_product_pack_rows; NULL = not yet. Of all parts or of none */
} dk_product_columns;

/* What the sums of a panel become while they are near, in the place of C: onto + sums, or act(gate) * up of two panels
 * at a time, one of each of two columns as wide as each other. The bits are those of the ops that would follow. */
typedef struct dk_product_finish {
    const dk_kernels *kernels;
    const float *onto; /* as high and wide as C, which it may be; NULL = it is a GLU */
    int64_t onto_step;
    dk_activation activation;
    float *active;
    int64_t active_step;
    int32_t keep; /* gate and up go to C as well */
} dk_product_finish;

typedef struct dk_product {
    const dk_micro *micro;
    dk_operand a;
    int64_t k;
    const dk_product_rows *rows;
    const dk_product_columns *columns;
    int64_t row_parts, column_parts;
    int32_t add;                     /* to what C holds */
    const dk_product_finish *finish; /* of one part of rows from line 0 on, without add; NULL = C is the sums */
} dk_product;

/* A whole B of `count` lines of k numbers: the panels one behind the other. Packed by DK_PACK_ROWS of its rows of
 * memory at a time, by whoever wrote them. */
#define DK_PACK_ROWS 32 /* a multiple of any micro-kernel's columns and group */
int64_t dk_product_packed_bytes(const dk_micro *micro, int64_t count, int64_t k);
void dk_product_pack_rows(const dk_micro *micro, const dk_operand *b, int64_t count, int64_t k, int64_t first,
                          int64_t rows, uint8_t *to);

/* Whether K is short enough for sums to be finished as they are made. */
int32_t dk_product_finishes(const dk_micro *micro, int64_t k);

/* 0 = no memory for `*bytes` of scratch. */
int32_t dk_product_run(dk_host *host, dk_scratch *workers, dk_scratch *callers, const dk_product *product,
                       int64_t *bytes);

#endif
