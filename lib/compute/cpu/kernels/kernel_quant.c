/* kernel_quant.c - weights in blocks become floats, each type by its own loop over whole blocks (quant_blocks.h),
 * compiled for the instruction set of this copy. */
#include "compute/cpu/kernel_variant.h"

#include "compute/quant_blocks.h"

static int32_t kernel_widen_blocks(dk_dtype dtype, const void *x, float *y, int64_t n)
{
    return dk_blocks_widen(dtype, x, y, n);
}

void DK_VARIANT(dk_kernels_fill_quant)(dk_kernels *kernels) { kernels->widen_blocks = kernel_widen_blocks; }
