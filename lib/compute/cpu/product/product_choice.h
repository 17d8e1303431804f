/* product_choice.h - which micro-kernel multiplies: by name, or the best that the processor says it has. Never by
 * timing: the same machine gives the same bits every time. */
#ifndef DK_COMPUTE_PRODUCT_CHOICE_H
#define DK_COMPUTE_PRODUCT_CHOICE_H

#include "base/status.h"
#include "compute/cpu/product/micro/micro.h"

/* name as dk_backend_set_products has it; isa DK_ISA_*: of the instruction sets above it none is taken. *micro NULL =
 * CBLAS. */
int32_t dk_product_choose(const char *name, int32_t isa, const dk_micro **micro, dk_error *err);

#endif
