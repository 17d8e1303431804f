/* bench_rows: what a block of 16 lines by 32 of K costs for 1 to 64 rows, in nanoseconds of one thread's CPU time, the
 * best of many: out of the nearest cache, where 16 lines are multiplied over and over, and out of memory, where more
 * weights than the caches hold are multiplied once. Quantised weights by each kernel of whole numbers that this machine
 * has; K-quants widened, too, and BF16 as a model's products take it.
 * Not a test: prints numbers and always succeeds. argv[1] = one dtype only, argv[2] = one kernel or "full" only. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_time.h"
#include "compute/compute.h"
#include "compute/cpu/cpu.h"
#include "compute/cpu/limits/limits.h"

enum { K = 768, NEAR = 16, FAR_BYTES = 160 << 20, MOST_ROWS = 64, SIZES = 14 };
static const int64_t sizes[SIZES] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 32, 64};

typedef struct bench {
    dk_host *host;
    dk_backend *backend;
    dk_queue queue;
    dk_parameter weight, *weights[1];
    dk_linear *linear;
    dk_view x, y;
} bench;

static dk_view make(bench *b, dk_dtype dtype, int64_t rows, int64_t columns)
{
    dk_buffer *buffer;
    dk_error err;
    const int64_t bytes = dk_dtype_bytes(dtype, rows * columns);
    if (b->backend->ops->buffer_create(b->backend, bytes, &buffer, &err)) give_up(&err);
    const dk_view view = dk_view_2d(buffer, 0, dtype, rows, columns);
    float *data = b->backend->ops->map(view);
    if (dtype != DK_F32) memset(data, 0x21, (size_t)bytes); /* small numbers and scales of every dtype */
    for (int64_t i = 0; dtype == DK_F32 && i < rows * columns; i++) data[i] = (float)(i * 7919 % 1000) * 2e-3f - 1.0f;
    return view;
}

static void open_weights(bench *b, dk_dtype dtype, int64_t lines)
{
    dk_error err;
    b->weight = (dk_parameter){.name = "w", .frozen = 1, .value = make(b, dtype, lines, K)};
    b->weights[0] = &b->weight;
    const dk_linear_spec spec = {
        .weights = b->weights, .count = 1, .uses = DK_USE_FORWARD, .precisions = b->backend->precisions};
    if (b->backend->ops->linear_create(b->backend, &spec, &b->linear, &err)) give_up(&err);
    b->x = make(b, DK_F32, MOST_ROWS, K);
    b->y = make(b, DK_F32, MOST_ROWS, lines);
}

static void close_weights(bench *b)
{
    b->backend->ops->linear_free(b->backend, b->linear);
    b->backend->ops->buffer_free(b->backend, b->weight.value.buffer);
    b->backend->ops->buffer_free(b->backend, b->x.buffer);
    b->backend->ops->buffer_free(b->backend, b->y.buffer);
}

/* A panel alone, without what stands around a product. */
static double of_panel(bench *b, const dk_int8 *kernel, int64_t count)
{
    enum { ROUNDS = 64, BLOCKS = K / DK_INT8_BLOCK };
    static int8_t q[MOST_ROWS * K];
    static float scale[MOST_ROWS * BLOCKS], sum[2][MOST_ROWS * BLOCKS];
    static int32_t begin[2][MOST_ROWS * BLOCKS];
    const int32_t on_tiles = dk_int8_on_tiles(kernel, count),
                  in_groups = dk_int8_in_groups(kernel, b->weight.value.dtype, count);
    const dk_int8_rows rows = {.q = q,
                               .scale = scale,
                               .sum = sum[0],
                               .start = begin[0],
                               .sum_second = sum[1],
                               .start_second = begin[1],
                               .count = count,
                               .k = K,
                               .height = in_groups ? DK_INT8_GROUP : count,
                               .in_groups = in_groups};
    const dk_view *w = &b->weight.value;
    const int64_t step = dk_dtype_bytes(w->dtype, K);
    const uint8_t *at = b->backend->ops->map(*w);
    double best;
    for (int64_t r = 0; r < count; r++)
        kernel->quantise(w->dtype, (const float *)b->backend->ops->map(b->x) + r * K, &rows, r);
    if (on_tiles) kernel->begin();
    TIME(best, 0.02,
         for (int i = 0; i < ROUNDS; i++) for (int64_t l = 0; l < NEAR; l += kernel->lanes)
             kernel->panel(w->dtype, at + l * step, step, NULL, &rows, (float *)b->backend->ops->map(b->y) + l, NEAR));
    if (on_tiles) kernel->end();
    return best / ROUNDS / BLOCKS;
}

static double of_product(bench *b, dk_precision precision, int64_t count, double seconds, int rounds)
{
    const dk_view x = dk_view_rows(b->x, 0, count), y = dk_view_rows(b->y, 0, count);
    double best;
    TIME(best, seconds,
         for (int i = 0; i < rounds; i++) b->backend->ops->linear_forward(&b->queue, b->linear, precision, x, y));
    return best / rounds / (double)(b->weight.value.shape[0] / 16 * (K / 32));
}

static void print_row(const char *what, const double ns[SIZES])
{
    printf("  %-6s", what);
    for (int i = 0; i < SIZES; i++) printf(" %7.1f", 1e9 * ns[i]);
    printf("\n  %-6s", "");
    for (int i = 0; i < SIZES; i++) printf(" %6.2fx", ns[i] / ns[0]);
    printf("\n");
}

static void measure(bench *b, dk_dtype dtype, dk_precision precision, const dk_int8 *kernel)
{
    double ns[SIZES], read;
    const int64_t lines = FAR_BYTES / dk_dtype_bytes(dtype, K) / 32 * 32;
    printf("%s, %s\n  rows  ", dk_dtype_name(dtype), kernel ? kernel->name : precision ? "tiles" : "full");
    for (int i = 0; i < SIZES; i++) printf(" %7lld", (long long)sizes[i]);
    printf("\n");
    if (kernel) ((dk_cpu *)b->backend->state)->int8 = kernel;
    open_weights(b, dtype, kernel ? NEAR : 32);
    for (int i = 0; i < SIZES; i++)
        ns[i] = kernel ? of_panel(b, kernel, sizes[i]) : of_product(b, precision, sizes[i], 0.02, 64);
    close_weights(b);
    print_row("near", ns);
    open_weights(b, dtype, lines);
    const int64_t bytes = dk_dtype_bytes(dtype, lines * K);
    TIME(read, 0.3, dk_limit_read(b->backend->ops->map(b->weight.value), bytes / 256 * 256));
    for (int i = 0; i < SIZES; i++) ns[i] = of_product(b, precision, sizes[i], 0.3, 1);
    close_weights(b);
    print_row("memory", ns);
    printf("  read   %7.1f\n", 1e9 * read / (double)(lines / 16 * (K / 32)));
}

static int wanted(int argc, char **argv, int at, const char *name)
{
    return argc <= at || !strcmp(argv[at], name) || !strcmp(argv[at], "all");
}

int main(int argc, char **argv)
{
    static const char *const kernels[] = {"avx2", "avx_vnni", "avx512_vnni", "amx"};
    static const dk_dtype blocks[] = {DK_Q4_0, DK_Q4_1, DK_Q8_0, DK_Q2_K, DK_Q3_K, DK_Q4_K, DK_Q5_K, DK_Q6_K};
    static const dk_dtype others[] = {DK_Q2_K, DK_Q3_K, DK_Q4_K, DK_Q5_K, DK_Q6_K, DK_BF16};
    bench b = {0};
    dk_error err;
    if (dk_host_create(NULL, &b.host, &err) || dk_host_set_threads(b.host, 1, NULL, NULL, NULL, &err)) give_up(&err);
    if (dk_backend_cpu(b.host, &b.backend, &err) || dk_queue_open(&b.queue, b.backend, &err)) give_up(&err);
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        for (int n = 0; n < 4 && wanted(argc, argv, 1, dk_dtype_name(blocks[i])); n++) {
            const dk_int8 *kernel = dk_int8_named(kernels[n], b.backend->isa);
            if (!kernel || !wanted(argc, argv, 2, kernels[n]) || (kernel->allow && !kernel->allow())) continue;
            measure(&b, blocks[i], DK_PRECISION_INT8, kernel);
        }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (wanted(argc, argv, 1, dk_dtype_name(others[i])) && wanted(argc, argv, 2, "full"))
            measure(&b, others[i], DK_PRECISION_FULL, NULL);
    if (wanted(argc, argv, 1, "bf16") && argc < 3 && b.backend->precisions >> DK_PRECISION_BF16 & 1)
        measure(&b, DK_BF16, DK_PRECISION_BF16, NULL);
    dk_queue_close(&b.queue);
    dk_backend_free(b.backend);
    dk_host_release(b.host);
    return 0;
}
