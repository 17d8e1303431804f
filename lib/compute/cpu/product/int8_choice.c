/* int8_choice.c - which kernel multiplies quantised weights: the first in a list, best first, that the processor has
 * and the system allows. */
#include <string.h>

#include "compute/compute.h"
#include "compute/cpu/product/int8/int8.h"

/* The best first. */
static const dk_int8 *const kernels[] = {
#ifdef DK_AMX_INT8_KERNELS
    &dk_int8_amx,
#endif
#ifdef DK_AVX512_VNNI_KERNELS
    &dk_int8_avx512_vnni,
#endif
#ifdef DK_AVX_VNNI_KERNELS
    &dk_int8_avx_vnni,
#endif
#ifdef DK_X86_KERNELS
    &dk_int8_avx2,
#endif
#ifdef DK_NEON_DOT_KERNELS
    &dk_int8_neon_dot,
#endif
    &dk_int8_portable,
};
#define COUNT (sizeof kernels / sizeof *kernels)

static int32_t fits(const dk_int8 *kernel, int32_t isa)
{
    return kernel->isa <= isa && (!kernel->has || kernel->has());
}

const dk_int8 *dk_int8_choose(int32_t isa, int32_t tiles)
{
    size_t i = 0;
    while (!fits(kernels[i], isa) || (kernels[i]->allow && !tiles)) i++; /* the last one always does */
    return kernels[i];
}

const dk_int8 *dk_int8_named(const char *name, int32_t isa)
{
    for (size_t i = 0; i < COUNT; i++)
        if (!strcmp(kernels[i]->name, name) && fits(kernels[i], isa)) return kernels[i];
    return NULL;
}
