/* kernel_table.c - puts all kernels of one copy, for one instruction set, into a table. */
#include "compute/cpu/kernel_variant.h"

void DK_VARIANT(dk_kernels_fill)(dk_kernels *kernels)
{
    DK_VARIANT(dk_kernels_fill_elementwise)(kernels);
    DK_VARIANT(dk_kernels_fill_quant)(kernels);
    DK_VARIANT(dk_kernels_fill_norm)(kernels);
    DK_VARIANT(dk_kernels_fill_softmax)(kernels);
    DK_VARIANT(dk_kernels_fill_matvec)(kernels);
    DK_VARIANT(dk_kernels_fill_attention)(kernels);
    DK_VARIANT(dk_kernels_fill_attention_strip)(kernels);
    DK_VARIANT(dk_kernels_fill_optimiser)(kernels);
}
