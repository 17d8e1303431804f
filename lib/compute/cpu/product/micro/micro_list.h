/* micro_list.h - the micro-kernels that there are. Whether the machine has their instructions is for product_choice.c
 * to ask. */
#ifndef DK_COMPUTE_MICRO_LIST_H
#define DK_COMPUTE_MICRO_LIST_H

#include "compute/cpu/product/micro/micro.h"

/* rounded: operands are rounded to BF16, and multiplied as floats */
extern const dk_micro dk_micro_portable, dk_micro_portable_rounded;
extern const dk_micro dk_micro_avx2, dk_micro_avx2_rounded, dk_micro_avx512, dk_micro_avx512_rounded;
extern const dk_micro dk_micro_avx512_bf16, dk_micro_amx, dk_micro_amx_halves;
/* The same kernels by twins of their instructions in plain C, for tests. */
extern const dk_micro dk_micro_avx512_bf16_twin, dk_micro_amx_twin, dk_micro_amx_halves_twin;

#endif
