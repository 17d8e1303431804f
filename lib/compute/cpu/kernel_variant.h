/* kernel_variant.h - what the files of one copy of the kernels share: vectors, and the functions that put each file's
 * kernels into the table. */
#ifndef DK_COMPUTE_KERNEL_VARIANT_H
#define DK_COMPUTE_KERNEL_VARIANT_H

#include "compute/cpu/kernels.h"
#include "compute/simd.h"

#define DK_SUM_BLOCK 1024 /* terms that are summed in float before double takes over */

void DK_VARIANT(dk_kernels_fill_elementwise)(dk_kernels *kernels);
void DK_VARIANT(dk_kernels_fill_quant)(dk_kernels *kernels);
void DK_VARIANT(dk_kernels_fill_norm)(dk_kernels *kernels);
void DK_VARIANT(dk_kernels_fill_softmax)(dk_kernels *kernels);
void DK_VARIANT(dk_kernels_fill_matvec)(dk_kernels *kernels);
void DK_VARIANT(dk_kernels_fill_attention)(dk_kernels *kernels);
void DK_VARIANT(dk_kernels_fill_attention_strip)(dk_kernels *kernels);
void DK_VARIANT(dk_kernels_fill_optimiser)(dk_kernels *kernels);

#endif
