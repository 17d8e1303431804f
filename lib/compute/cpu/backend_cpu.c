#include "compute/cpu/cpu.h"

#include <string.h>

const char *dk_isa_name(int32_t isa)
{
    static const char *const names[] = {"portable", "avx2", "avx512"};
    return isa >= DK_ISA_PORTABLE && isa <= DK_ISA_AVX512 ? names[isa] : "?";
}

#if defined(__SSE__) && defined(DK_X86_KERNELS)
static int32_t machine_isa(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        return DK_ISA_AVX512;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? DK_ISA_AVX2 : DK_ISA_PORTABLE;
}

static void fill_kernels(int32_t isa, dk_kernels *kernels)
{
    if (isa == DK_ISA_AVX512) dk_kernels_fill_avx512(kernels);
    else if (isa == DK_ISA_AVX2) dk_kernels_fill_avx2(kernels);
    else dk_kernels_fill_portable(kernels);
}
#else
static int32_t machine_isa(void) { return DK_ISA_PORTABLE; }

static void fill_kernels(int32_t isa, dk_kernels *kernels)
{
    (void)isa;
    dk_kernels_fill_portable(kernels);
}
#endif

static void fill_ops(dk_ops *ops)
{
    dk_queue_fill_ops(ops);
    dk_buffer_fill_ops(ops);
    dk_cpu_fill_linear(ops);
    dk_cpu_fill_elementwise(ops);
    dk_cpu_fill_rows(ops);
    dk_cpu_fill_route(ops);
    dk_cpu_fill_attention(ops);
    dk_cpu_fill_heads(ops);
    dk_cpu_fill_adjust(ops);
    dk_cpu_fill_sample(ops);
    dk_cpu_fill_optimiser(ops);
}

#if defined(__aarch64__) && defined(__ARM_NEON)
#define PLAIN_NAME "cpu-neon" /* which is what vectors are there */
#else
#define PLAIN_NAME "cpu-portable"
#endif

static const char *products_name(const dk_product_set *set) { return set ? set->name : "cblas"; }

int32_t dk_backend_find_products(const dk_backend *backend, const char *name, const char **found, dk_error *err)
{
    const dk_product_set *set = NULL;
    int32_t rc = dk_product_choose(name, backend->isa, &set, err);
    if (rc == DK_OK) *found = products_name(set);
    return rc;
}

int32_t dk_backend_set_products(dk_backend *backend, const char *name, dk_error *err)
{
    dk_cpu *cpu = backend->state;
    int32_t rc = dk_product_choose(name, backend->isa, &cpu->products, err);
    if (rc) return rc;
    cpu->by_name = strcmp(name, "auto") != 0;
    backend->products = products_name(cpu->products);
    backend->invariant_rows = cpu->products ? INT64_MAX : DK_MATVEC_ROWS;
    cpu->int8_isa = cpu->products ? cpu->products->isa : DK_ISA_PORTABLE;
    cpu->int8 = dk_int8_choose(cpu->int8_isa, cpu->products && cpu->products->allow);
    backend->precisions = 1u << DK_PRECISION_FULL | (cpu->products ? 1u << DK_PRECISION_BF16 : 0);
    if (cpu->products || (cpu->int8->beside_cblas && !cpu->by_name)) backend->precisions |= 1u << DK_PRECISION_INT8;
    backend->native = 1u << DK_PRECISION_FULL | (cpu->products && cpu->products->native ? 1u << DK_PRECISION_BF16 : 0);
    return DK_OK;
}

static void destroy(dk_backend *backend)
{
    dk_host *host = backend->host;
    dk_cpu *cpu = backend->state;
    dk_scratch_free(&cpu->workers);
    dk_scratch_free(&cpu->callers);
    pthread_mutex_destroy(&cpu->cblas);
    pthread_mutex_destroy(&cpu->packing);
    dk_free(host, cpu);
    dk_free(host, backend);
    dk_host_release(host);
}

static int32_t locks_init(dk_cpu *cpu, dk_host *host)
{
    if (pthread_mutex_init(&cpu->cblas, NULL)) return 0;
    if (pthread_mutex_init(&cpu->packing, NULL)) {
        pthread_mutex_destroy(&cpu->cblas);
        return 0;
    }
    if (dk_scratch_init(&cpu->workers, host)) {
        if (dk_scratch_init(&cpu->callers, host)) return 1;
        dk_scratch_free(&cpu->workers);
    }
    pthread_mutex_destroy(&cpu->packing);
    pthread_mutex_destroy(&cpu->cblas);
    return 0;
}

int32_t dk_backend_cpu_isa(dk_host *host, int32_t isa, dk_backend **out, dk_error *err)
{
    static const char *const names[] = {PLAIN_NAME, "cpu-avx2", "cpu-avx512"};
    dk_backend *backend = NULL;
    dk_cpu *cpu = NULL;
    int32_t rc;
    if (isa < DK_ISA_PORTABLE || isa > machine_isa())
        return dk_fail(err, DK_E_UNSUPPORTED, "this machine or this build has no kernels of instruction set %d",
                       (int)isa);
    DK_TRY(dk_new(host, 1, &backend, err));
    DK_TRY(dk_new(host, 1, &cpu, err));
    if (!locks_init(cpu, host)) {
        rc = dk_fail_nomem(err, sizeof *cpu);
        goto out;
    }
    fill_ops(&cpu->ops);
    fill_kernels(isa, &cpu->kernels);
    *backend = (dk_backend){.ops = &cpu->ops,
                            .host = dk_host_retain(host),
                            .real = DK_F32,
                            .reads = DK_CPU_READS,
                            .isa = isa,
                            .name = names[isa],
                            .state = cpu,
                            .destroy = destroy};
    (void)dk_backend_set_products(backend, "auto", NULL); /* which no machine lacks */
    *out = backend;
    return DK_OK;
out:
    dk_free(host, cpu);
    dk_free(host, backend);
    return rc;
}

int32_t dk_backend_cpu(dk_host *host, dk_backend **out, dk_error *err)
{
    return dk_backend_cpu_isa(host, machine_isa(), out, err);
}
