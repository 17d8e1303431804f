/* product_few.h - products of few rows of A, as decoding has them: bound by reading B, which is read once, in the order
 * in which it lies in memory.
 *
 * A is packed once, all of K, and stays in L2. A task is a range of panels of B, and goes through a panel's K before
 * the next panel, so memory sees one long read. Lines of BF16 become panels of BF16 where the micro-kernel multiplies
 * those; of very few rows no panel is made at all. Nothing of B is widened to memory.
 *
 * Bits are those of product.c: the same tiles, over the same blocks of K. */
#ifndef DK_COMPUTE_PRODUCT_FEW_H
#define DK_COMPUTE_PRODUCT_FEW_H

#include "compute/cpu/product/product.h"

/* Few rows, and B in lines that are rows of memory. */
int32_t dk_product_is_few(const dk_product *product);
/* As dk_product_run. */
int32_t dk_product_few(dk_host *host, dk_scratch *workers, dk_scratch *callers, const dk_product *product,
                       int64_t *bytes);

#endif
