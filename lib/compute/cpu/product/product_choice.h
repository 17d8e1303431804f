/* product_choice.h - which micro-kernels multiply: by name, or the best that the processor says it has. Never by
 * timing: the same machine gives the same bits every time. */
#ifndef DK_COMPUTE_PRODUCT_CHOICE_H
#define DK_COMPUTE_PRODUCT_CHOICE_H

#include "compute/compute.h"
#include "compute/cpu/product/micro/micro.h"

typedef struct dk_product_set { /* the micro-kernel of each precision */
    const char *name;
    const dk_micro *micro[DK_PRECISION_BF16 + 1], *halves; /* FULL by weights in BF16; NULL = as by others */
    int32_t isa;                                           /* DK_ISA_* that has its instructions, but for */
    int32_t (*has)(void);                                  /* what else the processor must have; NULL = nothing */
    int32_t (*prefer)(void); /* and what it must be, for auto to take it; NULL = anything */
    int32_t (*allow)(void);  /* asked when one is about to be used; NULL = nothing to ask */
    int32_t native;          /* BF16 is multiplied as such */
    const char *instead;     /* which set, where that is refused */
} dk_product_set;

/* name as dk_backend_set_products has it; isa DK_ISA_*: of the instruction sets above it none is taken. *set NULL =
 * CBLAS, and nothing else where the build is told so (DK_CBLAS_ALONE). */
int32_t dk_product_choose(const char *name, int32_t isa, const dk_product_set **set, dk_error *err);
/* What multiplies small blocks beside CBLAS, inside attention: the floats of an instruction set. */
const dk_product_set *dk_product_beside(int32_t isa);
/* Where the system does not let this process use the set, *set becomes what takes its place; one that was asked for by
 * name is UNSUPPORTED then. */
int32_t dk_product_allowed(const dk_product_set **set, int32_t by_name, int32_t isa, dk_error *err);

#endif
