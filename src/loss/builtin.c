#include "loss/builtin.h"

#include "compute/compute.h"

#define DECLARE(isa)                                                           \
    extern const di_rows di_rows_##isa;                                        \
    int32_t di_cross_entropy_##isa(void *user, const distill_loss_rows *rows); \
    int32_t di_forward_kl_##isa(void *user, const distill_loss_rows *rows);

DECLARE(portable)
#ifdef DK_X86_KERNELS
DECLARE(avx2)
DECLARE(avx512)
#define VARIANTS(name)                              \
    {                                               \
        name##_portable, name##_avx2, name##_avx512 \
    }
static const di_rows *const row_variants[3] = {&di_rows_portable, &di_rows_avx2, &di_rows_avx512};
#else
#define VARIANTS(name)                                    \
    {                                                     \
        name##_portable, name##_portable, name##_portable \
    }
static const di_rows *const row_variants[3] = {&di_rows_portable, &di_rows_portable, &di_rows_portable};
#endif

#define KIND(name) ((int64_t)1 << DISTILL_##name)

static const di_builtin builtins[] = {
    {.name = "cross_entropy",
     .flags = DISTILL_LOSS_MT | DISTILL_LOSS_LOG_PROBS,
     .needs_labels = 1,
     .plain = 1,
     .eval = VARIANTS(di_cross_entropy)},
    {.name = "forward_kl",
     .targets = KIND(DENSE) | KIND(HIDDEN) | KIND(TOPK) | KIND(SAMPLED) | KIND(ONE_HOT),
     .flags = DISTILL_LOSS_MT | DISTILL_LOSS_LOG_PROBS,
     .eval = VARIANTS(di_forward_kl)},
};

const di_builtin *di_builtin_at(int64_t index)
{
    return index >= 0 && index < (int64_t)(sizeof builtins / sizeof *builtins) ? &builtins[index] : NULL;
}

const di_rows *di_rows_for(int32_t isa)
{
    return row_variants[isa >= DK_ISA_PORTABLE && isa <= DK_ISA_AVX512 ? isa : DK_ISA_PORTABLE];
}
