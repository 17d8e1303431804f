#include "compute/cpu/kernel_variant.h"

#include "compute/quant_blocks.h"

static int32_t kernel_widen_blocks(dk_dtype dtype, const void *x, float *y, int64_t n)
{
    return dk_blocks_widen(dtype, x, y, n);
}

void DK_VARIANT(dk_kernels_fill_quant)(dk_kernels *kernels) { kernels->widen_blocks = kernel_widen_blocks; }
