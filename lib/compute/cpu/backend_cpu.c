#include "compute/cpu/cpu.h"

#if defined(__SSE__) && defined(DK_X86_KERNELS)
static int32_t machine_isa(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        return DK_ISA_AVX512;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? DK_ISA_AVX2 : DK_ISA_PORTABLE;
}

static const dk_kernels *kernels_for(int32_t isa)
{
    return isa == DK_ISA_AVX512 ? &dk_kernels_avx512 : isa == DK_ISA_AVX2 ? &dk_kernels_avx2 : &dk_kernels_portable;
}
#else
static int32_t machine_isa(void) { return DK_ISA_PORTABLE; }

static const dk_kernels *kernels_for(int32_t isa)
{
    (void)isa;
    return &dk_kernels_portable;
}
#endif

static const dk_ops ops = {
    .buffer_create = dk_buffer_create,
    .buffer_wrap = dk_buffer_wrap,
    .buffer_free = dk_buffer_free,
    .copy_in = dk_buffer_copy_in,
    .copy_out = dk_buffer_copy_out,
    .map = dk_buffer_map,
    .linear_create = dk_cpu_linear_create,
    .linear_free = dk_linear_free,
    .linear_forward = dk_cpu_linear_forward,
    .linear_backward_input = dk_cpu_linear_backward_input,
    .linear_backward_weight = dk_cpu_linear_backward_weight,
    .fill = dk_cpu_fill,
    .convert = dk_cpu_convert,
    .axpy = dk_cpu_axpy,
    .scale = dk_cpu_scale,
    .add = dk_cpu_add,
    .embed = dk_cpu_embed,
    .embed_backward = dk_cpu_embed_backward,
    .gather_rows = dk_cpu_gather_rows,
    .scatter_rows = dk_cpu_scatter_rows,
    .norm = dk_cpu_norm,
    .norm_backward = dk_cpu_norm_backward,
    .rope = dk_cpu_rope,
    .glu = dk_cpu_glu,
    .glu_backward = dk_cpu_glu_backward,
    .attention = dk_cpu_attention,
    .attention_backward = dk_cpu_attention_backward,
    .softcap = dk_cpu_softcap,
    .softcap_backward = dk_cpu_softcap_backward,
    .log_softmax = dk_cpu_log_softmax,
    .log_softmax_backward = dk_cpu_log_softmax_backward,
    .sample = dk_cpu_sample,
    .sum_squares = dk_cpu_sum_squares,
    .clip_factor = dk_cpu_clip_factor,
    .adamw = dk_cpu_adamw,
};

static void destroy(dk_backend *backend)
{
    dk_host *host = backend->host;
    dk_cpu *cpu = backend->state;
    dk_scratch_free(&cpu->workers);
    dk_scratch_free(&cpu->callers);
    pthread_mutex_destroy(&cpu->cblas);
    dk_free(host, cpu);
    dk_free(host, backend);
    dk_host_release(host);
}

static int32_t locks_init(dk_cpu *cpu, dk_host *host)
{
    if (pthread_mutex_init(&cpu->cblas, NULL)) return 0;
    if (dk_scratch_init(&cpu->workers, host)) {
        if (dk_scratch_init(&cpu->callers, host)) return 1;
        dk_scratch_free(&cpu->workers);
    }
    pthread_mutex_destroy(&cpu->cblas);
    return 0;
}

int32_t dk_backend_cpu_isa(dk_host *host, int32_t isa, dk_backend **out, dk_error *err)
{
    static const char *const names[] = {"cpu-portable", "cpu-avx2", "cpu-avx512"};
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
    cpu->kernels = kernels_for(isa);
    *backend = (dk_backend){.ops = &ops,
                            .host = dk_host_retain(host),
                            .real = DK_F32,
                            .reads = DK_CPU_READS,
                            .isa = isa,
                            .name = names[isa],
                            .state = cpu,
                            .destroy = destroy};
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
