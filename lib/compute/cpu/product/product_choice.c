/* product_choice.c - which micro-kernels multiply: the first in a list, best first, that the processor has. */
#include "compute/cpu/product/product_choice.h"

#include <string.h>

#include "base/processor.h"
#include "compute/cpu/product/micro/micro_list.h"

/* The best first. */
static const dk_product_set sets[] = {
#ifdef DK_AMX_KERNELS
    {.name = "amx",
     .micro = {&dk_micro_avx512, &dk_micro_amx},
     .halves = &dk_micro_amx_halves,
     .isa = DK_ISA_AVX512,
     .has = dk_processor_has_amx_bf16,
     .allow = dk_processor_allow_tiles,
     .native = 1,
     .instead = "avx512"},
#endif
#ifdef DK_AVX512_BF16_KERNELS
    {.name = "avx512_bf16",
     .micro = {&dk_micro_avx512, &dk_micro_avx512_bf16},
     .isa = DK_ISA_AVX512,
     .has = dk_processor_has_avx512_bf16,
     .prefer = dk_processor_is_amd,
     .native = 1},
#endif
#ifdef DK_X86_KERNELS
    {.name = "avx512", .micro = {&dk_micro_avx512, &dk_micro_avx512_rounded}, .isa = DK_ISA_AVX512},
    {.name = "avx2", .micro = {&dk_micro_avx2, &dk_micro_avx2_rounded}, .isa = DK_ISA_AVX2},
#endif
    {.name = "portable", .micro = {&dk_micro_portable, &dk_micro_portable_rounded}, .isa = DK_ISA_PORTABLE},
};
#define COUNT ((int32_t)(sizeof sets / sizeof *sets))

#ifdef DK_CBLAS_ALONE
enum { ALONE = 1 };
#else
enum { ALONE = 0 };
#endif

static int32_t fits(const dk_product_set *set, int32_t isa) { return set->isa <= isa && (!set->has || set->has()); }

/* Plain C is never the best: a CBLAS has kernels for machines that we know nothing of. */
static const dk_product_set *best(int32_t isa)
{
    for (int32_t i = 0; i < COUNT; i++)
        if (sets[i].isa != DK_ISA_PORTABLE && fits(&sets[i], isa) && (!sets[i].prefer || sets[i].prefer()))
            return &sets[i];
    return NULL;
}

static const dk_product_set *named(const char *name, int32_t isa)
{
    for (int32_t i = 0; i < COUNT; i++)
        if (strcmp(sets[i].name, name) == 0 && fits(&sets[i], isa)) return &sets[i];
    return NULL;
}

static int32_t is_listed(const char *name)
{
    size_t size = strlen(name);
    for (const char *at = DK_PRODUCTS; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
        if (strcspn(at, "|") == size && !strncmp(at, name, size)) return 1;
    return 0;
}

int32_t dk_product_choose(const char *name, int32_t isa, const dk_product_set **set, dk_error *err)
{
    if (!is_listed(name)) return dk_fail(err, DK_E_INVALID, "products '%s' is not one of %s", name, DK_PRODUCTS);
    int32_t any = !strcmp(name, "auto");
    const dk_product_set *found = ALONE ? NULL : any ? best(isa) : named(name, isa);
    if (ALONE && !any && strcmp(name, "cblas") != 0)
        return dk_fail(err, DK_E_UNSUPPORTED, "products '%s': this build forms them by cblas alone", name);
    if (!found && !any && strcmp(name, "cblas") != 0)
        return dk_fail(err, DK_E_UNSUPPORTED, "products '%s': this machine or this build has not its instructions",
                       name);
    *set = found;
    return DK_OK;
}

const dk_product_set *dk_product_beside(int32_t isa)
{
    static const char *const own[] = {"portable", "avx2", "avx512"};
    return named(own[isa], isa);
}

int32_t dk_product_allowed(const dk_product_set **set, int32_t by_name, int32_t isa, dk_error *err)
{
    if (!(*set)->allow || (*set)->allow()) return DK_OK;
    if (by_name)
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "products '%s': the processor has its instructions, but the system does not let this process "
                       "use them; say %s or auto",
                       (*set)->name, (*set)->instead);
    *set = named((*set)->instead, isa);
    return DK_OK;
}
