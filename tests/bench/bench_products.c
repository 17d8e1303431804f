/* bench_products: products by each kernel that this machine has, against the machine's limit and against CBLAS, at the
 * shapes of a distillation step. One thread, its CPU time, the best of many: so a busy machine disturbs little. CBLAS
 * must be told to use one thread (OPENBLAS_NUM_THREADS=1).
 * Not a test: prints numbers and always succeeds. argv[1] = one kernel only. */
#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_time.h"
#include "base/processor.h"
#include "compute/compute.h"

typedef struct bench {
    dk_host *host;
    dk_backend *backend;
    dk_queue queue;
} bench;

/* ---- limits: chains of additions that wait for nothing but their own kind ---- */
#define CHAINS 12
static volatile float sink;

__attribute__((target("avx512f"))) static double fma_512(void)
{
    enum { ROUNDS = 100000 };
    __m512 sum[CHAINS], a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(1e-3f);
    for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_set1_ps((float)i);
    for (int r = 0; r < ROUNDS; r++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_fmadd_ps(sum[i], a, b);
    }
    for (int i = 1; i < CHAINS; i++) sum[0] = _mm512_add_ps(sum[0], sum[i]);
    sink = _mm512_reduce_add_ps(sum[0]);
    return 32.0 * CHAINS * ROUNDS;
}

__attribute__((target("avx2,fma"))) static double fma_256(void)
{
    enum { ROUNDS = 100000 };
    __m256 sum[CHAINS], a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(1e-3f);
    for (int i = 0; i < CHAINS; i++) sum[i] = _mm256_set1_ps((float)i);
    for (int r = 0; r < ROUNDS; r++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) sum[i] = _mm256_fmadd_ps(sum[i], a, b);
    }
    for (int i = 1; i < CHAINS; i++) sum[0] = _mm256_add_ps(sum[0], sum[i]);
    sink = sum[0][0] + sum[0][7];
    return 16.0 * CHAINS * ROUNDS;
}

__attribute__((target("avx512f,avx512bf16"))) static double dot_512(void)
{
    enum { ROUNDS = 100000 };
    __m512 sum[CHAINS], a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(1e-3f);
    for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_set1_ps((float)i);
    for (int r = 0; r < ROUNDS; r++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_dpbf16_ps(sum[i], (__m512bh)a, (__m512bh)b);
    }
    for (int i = 1; i < CHAINS; i++) sum[0] = _mm512_add_ps(sum[0], sum[i]);
    sink = _mm512_reduce_add_ps(sum[0]);
    return 64.0 * CHAINS * ROUNDS;
}

/* Four sums on the processor's tiles, which the backend has had the leave for. */
__attribute__((target("amx-tile,amx-bf16"))) static double dot_tiles(void)
{
    enum { ROUNDS = 20000 };
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shapes = {.palette = 1};
    for (int i = 0; i < 8; i++) shapes.bytes[i] = 64, shapes.rows[i] = 16;
    __asm__ volatile("" : : "m"(shapes) : "memory"); /* gcc 12 drops the stores */
    _tile_loadconfig(&shapes);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(6);
    for (int r = 0; r < ROUNDS; r++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 6);
        _tile_dpbf16ps(2, 4, 6);
        _tile_dpbf16ps(3, 4, 6);
    }
    _tile_release();
    return 4.0 * 2 * 16 * 16 * 32 * ROUNDS;
}

static double limit(const char *name)
{
    double best, flops = 0;
    if (!strcmp(name, "amx")) TIME(best, 0.3, flops = dot_tiles());
    else if (!strcmp(name, "avx512_bf16")) TIME(best, 0.3, flops = dot_512());
    else if (!strcmp(name, "avx512") || !strcmp(name, "cblas")) TIME(best, 0.3, flops = fma_512());
    else if (!strcmp(name, "amx_halves")) TIME(best, 0.3, flops = dot_tiles() / 3); /* products for one */
    else if (!strcmp(name, "avx2")) TIME(best, 0.3, flops = fma_256());
    else return 0;
    return flops / best;
}

/* ---- products ---- */
typedef struct product {
    dk_parameter weight, *weights[1];
    dk_linear *linear;
    dk_view x, y;
} product;

static dk_view make(bench *b, dk_dtype dtype, int64_t rows, int64_t columns)
{
    dk_buffer *buffer;
    dk_error err;
    int64_t count = rows * columns;
    if (b->backend->ops->buffer_create(b->backend, count * (int64_t)dk_dtype_size(dtype), &buffer, &err)) give_up(&err);
    dk_view view = dk_view_2d(buffer, 0, dtype, rows, columns);
    float *data = b->backend->ops->map(view);
    for (int64_t i = 0; dtype == DK_F32 && i < count; i++) data[i] = (float)(i * 7919 % 1000) * 2e-3f - 1.0f;
    for (int64_t i = 0; dtype == DK_BF16 && i < count; i++)
        ((uint16_t *)(void *)data)[i] = (uint16_t)(0x3e80 + i * 7919 % 250); /* 0.25 to 1.95 */
    return view;
}

static void print_rate(const char *what, double flops, double seconds, double most)
{
    printf("  %s %7.1f", what, 1e-9 * flops / seconds);
    if (most > 0) printf(" (%2.0f%%)", 100 * flops / seconds / most);
}

static void measure(bench *b, double most, int64_t n, int64_t in, int64_t out, dk_dtype dtype, dk_precision precision)
{
    const dk_ops *ops = b->backend->ops;
    product p = {.weight = {.name = "w", .frozen = dtype != DK_F32}};
    double forward, input, weight, flops = 2.0 * (double)n * (double)in * (double)out;
    dk_error err;
    p.weight.value = make(b, dtype, out, in);
    p.weight.gradient = make(b, DK_F32, out, in);
    p.weights[0] = &p.weight;
    dk_linear_spec spec = {.weights = p.weights, .count = 1, .uses = DK_USE_ALL, .precisions = 1u << precision};
    if (ops->linear_create(b->backend, &spec, &p.linear, &err)) give_up(&err);
    p.x = make(b, DK_F32, n, in);
    p.y = make(b, DK_F32, n, out);
    TIME(forward, 0.3, ops->linear_forward(&b->queue, p.linear, precision, p.x, p.y));
    printf("  %-4s n %4lld in %4lld out %5lld:", dk_dtype_name(dtype), (long long)n, (long long)in, (long long)out);
    print_rate("forward", flops, forward, most);
    if (n <= 64) printf("  %5.1f GB/s of weights", 1e-9 * (double)(in * out) * (double)dk_dtype_size(dtype) / forward);
    if (dtype == DK_F32 && n > 64) {
        TIME(input, 0.3, ops->linear_backward_input(&b->queue, p.linear, precision, p.y, p.x, 0));
        TIME(weight, 0.3, ops->linear_backward_weight(&b->queue, p.linear, precision, p.x, p.y));
        print_rate("dx", flops, input, most);
        print_rate("dW", flops, weight, most);
    }
    printf("\n");
    if (dk_queue_wait(&b->queue, &err)) give_up(&err);
    ops->linear_free(b->backend, p.linear);
    dk_view all[] = {p.weight.value, p.weight.gradient, p.x, p.y};
    for (int i = 0; i < 4; i++) ops->buffer_free(b->backend, all[i].buffer);
}

static void measure_all(const char *name)
{
    const int tiles = !strcmp(name, "amx_halves"); /* weights in BF16 in full precision */
    const int half = !strcmp(name, "amx") || !strcmp(name, "avx512_bf16");
    const dk_precision precision = half ? DK_PRECISION_BF16 : DK_PRECISION_FULL;
    const char *products = tiles ? "amx" : name;
    static const int64_t shapes[][3] = {{1024, 768, 768},   {1024, 768, 2048}, {1024, 2048, 768},
                                        {1024, 2048, 2048}, {256, 768, 32000}, {1024, 384, 1024}};
    bench b = {0};
    dk_error err;
    if (dk_host_create(NULL, &b.host, &err) || dk_host_set_threads(b.host, 1, NULL, NULL, NULL, &err)) give_up(&err);
    if (dk_backend_cpu(b.host, &b.backend, &err)) give_up(&err);
    if (dk_backend_set_products(b.backend, products, &err) == DK_OK) {
        if (!strcmp(products, "amx") && !dk_processor_allow_tiles()) printf("no leave to use tiles\n");
        double most = limit(name);
        if (dk_queue_open(&b.queue, b.backend, &err)) give_up(&err);
        printf("%s: limit %.1f GFLOP/s\n", name, 1e-9 * most);
        for (int i = 0; i < 6 && !tiles; i++)
            measure(&b, most, shapes[i][0], shapes[i][1], shapes[i][2], DK_F32, precision);
        measure(&b, most, 1024, 768, 2048, DK_BF16, precision);
        measure(&b, most, 256, 768, 32000, DK_BF16, precision);
        for (int64_t n = 1; n <= 64; n *= 2) measure(&b, 0, n, 768, 32000, DK_BF16, precision);
        if (!tiles) measure(&b, 0, 1, 768, 32000, DK_F32, precision);
        dk_queue_close(&b.queue);
    } else {
        printf("%s: %s\n", name, err.message);
    }
    dk_backend_free(b.backend);
    dk_host_release(b.host);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"cblas", "amx", "amx_halves", "avx512_bf16", "avx512", "avx2", "portable"};
    for (int i = 0; i < 7; i++)
        if (argc < 2 || !strcmp(argv[1], names[i])) measure_all(names[i]);
    return 0;
}
