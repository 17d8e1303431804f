#include "compute/cpu/product/product_choice.h"

#include <string.h>

#include "compute/compute.h"
#include "compute/cpu/product/micro/micro_list.h"

typedef struct choice {
    const dk_micro *micro;
    int32_t isa; /* that has its instructions */
} choice;

static const choice choices[] = {
#ifdef DK_X86_KERNELS
    {&dk_micro_avx512, DK_ISA_AVX512},
    {&dk_micro_avx2, DK_ISA_AVX2},
#endif
    {&dk_micro_portable, DK_ISA_PORTABLE},
};
#define COUNT ((int32_t)(sizeof choices / sizeof *choices))

/* The best first. Plain C is never the best: a CBLAS has kernels for machines that we know nothing of. */
static const dk_micro *best(int32_t isa)
{
    for (int32_t i = 0; i < COUNT; i++)
        if (choices[i].isa <= isa && choices[i].isa != DK_ISA_PORTABLE) return choices[i].micro;
    return NULL;
}

static int32_t is_listed(const char *name)
{
    size_t size = strlen(name);
    for (const char *at = DK_PRODUCTS; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
        if (strcspn(at, "|") == size && !strncmp(at, name, size)) return 1;
    return 0;
}

int32_t dk_product_choose(const char *name, int32_t isa, const dk_micro **micro, dk_error *err)
{
    int32_t any = !strcmp(name, "auto");
    if (any || !strcmp(name, "cblas")) {
        *micro = any ? best(isa) : NULL;
        return DK_OK;
    }
    for (int32_t i = 0; i < COUNT; i++) {
        if (strcmp(choices[i].micro->name, name) != 0 || choices[i].isa > isa) continue;
        *micro = choices[i].micro;
        return DK_OK;
    }
    if (!is_listed(name)) return dk_fail(err, DK_E_INVALID, "products '%s' is not one of %s", name, DK_PRODUCTS);
    return dk_fail(err, DK_E_UNSUPPORTED, "products '%s': this machine or this build has not its instructions", name);
}
