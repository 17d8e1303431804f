/* micro_list.h - the micro-kernels that there are. Whether the machine has their instructions is for product_choice.c
 * to ask. */
#ifndef DK_COMPUTE_MICRO_LIST_H
#define DK_COMPUTE_MICRO_LIST_H

#include "compute/cpu/product/micro/micro.h"

extern const dk_micro dk_micro_portable;
#ifdef DK_X86_KERNELS
extern const dk_micro dk_micro_avx2, dk_micro_avx512;
#endif

#endif
