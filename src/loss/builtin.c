#include "loss/builtin.h"

#include "compute/compute.h"

#define DECLARE(name, isa) int32_t di_##name##_##isa(void *user, const distill_loss_rows *rows);
#ifdef DK_X86_KERNELS
#define DECLARED(name) DECLARE(name, portable) DECLARE(name, avx2) DECLARE(name, avx512)
#define FEATURE(name, ...)
#define VARIANTS(name)                              \
    {                                               \
        name##_portable, name##_avx2, name##_avx512 \
    }
extern const di_rows di_rows_portable, di_rows_avx2, di_rows_avx512;
static const di_rows *const row_variants[3] = {&di_rows_portable, &di_rows_avx2, &di_rows_avx512};
#else
#define DECLARED(name) DECLARE(name, portable)
#define FEATURE(name, ...)
#define VARIANTS(name)                                    \
    {                                                     \
        name##_portable, name##_portable, name##_portable \
    }
extern const di_rows di_rows_portable;
static const di_rows *const row_variants[3] = {&di_rows_portable, &di_rows_portable, &di_rows_portable};
#endif
#define LOSS(name, ...) DECLARED(name)
#define PRESET(name, kernel, ...) DECLARED(kernel)
#include "loss/loss_table.h"
#undef LOSS
#undef PRESET
#undef FEATURE

static int32_t smooths(const double *options) { return options[0] != 0 || options[1] != 0; }

static int32_t check_jsd(const double *options, dk_error *err)
{
    if ((options[0] > 0 && options[0] < 1) || options[1] != 0) return DK_OK;
    return dk_fail(err, DK_E_OPTION,
                   "loss.jsd.teacher_weight is %g, where the divergence is 0 whatever the student does; the limit that "
                   "is meant is %s, or set loss.jsd.normalised",
                   options[0], options[0] > 0 ? "reverse_kl" : "forward_kl");
}

#define ROWS (DISTILL_LOSS_MT | DISTILL_LOSS_LOG_PROBS)
#define LOGITS DISTILL_LOSS_MT
#define DENSE ((int64_t)1 << DISTILL_DENSE | (int64_t)1 << DISTILL_HIDDEN)
#define TOPK ((int64_t)1 << DISTILL_TOPK)
#define SAMPLED ((int64_t)1 << DISTILL_SAMPLED)
#define ONE_HOT ((int64_t)1 << DISTILL_ONE_HOT)
#define FEATURE(NAME, ...) {.name = #NAME, .flags = DISTILL_LOSS_MT, .plain = 1, __VA_ARGS__},
#define OUTPUTS (1 << DISTILL_TAP_OUTPUT | 1 << DISTILL_TAP_FINAL)
#define QUERIES_KEYS (1 << DISTILL_TAP_QUERIES | 1 << DISTILL_TAP_KEYS)
#define QUERIES_KEYS_VALUES (QUERIES_KEYS | 1 << DISTILL_TAP_VALUES)
#define LOSS(NAME, ...) {.name = #NAME, .eval = VARIANTS(di_##NAME), __VA_ARGS__},
#define PRESET(NAME, KERNEL, ...) {.name = NAME, .eval = VARIANTS(di_##KERNEL), .flags = ROWS, __VA_ARGS__},

static const di_builtin builtins[] = {
#include "loss/loss_table.h"
};

const di_builtin *di_builtin_at(int64_t index)
{
    return index >= 0 && index < (int64_t)(sizeof builtins / sizeof *builtins) ? &builtins[index] : NULL;
}

const char *di_builtin_refusal(const di_builtin *builtin, int32_t kind)
{
    return kind == DISTILL_TOPK      ? builtin->no_topk
           : kind == DISTILL_SAMPLED ? builtin->no_draws
           : kind == DISTILL_ONE_HOT ? builtin->no_one_hot
                                     : NULL;
}

const di_rows *di_rows_for(int32_t isa)
{
    return row_variants[isa >= DK_ISA_PORTABLE && isa <= DK_ISA_AVX512 ? isa : DK_ISA_PORTABLE];
}
