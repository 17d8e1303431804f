/* bench_compute: speed of the ops that a training step is made of, at the shapes of the quickstart.
 * Not a test: prints numbers and always succeeds. argv[1] = threads (default: one per core). */
#include <stdio.h>
#include <stdlib.h>

#include "bench_time.h"
#include "compute/compute.h"

typedef struct bench {
    dk_host *host;
    dk_backend *backend;
    dk_queue queue;
} bench;
typedef struct product {
    dk_parameter weight, *weights[1];
    dk_linear *linear;
    dk_view x, y;
} product;

static dk_view make(bench *b, dk_dtype dtype, int32_t rank, int64_t n0, int64_t n1, int64_t n2)
{
    int64_t shape[3] = {n0, n1, n2}, count = n0 * n1 * (rank > 2 ? n2 : 1);
    dk_buffer *buffer;
    dk_error err;
    if (b->backend->ops->buffer_create(b->backend, count * (int64_t)dk_dtype_size(dtype), &buffer, &err)) give_up(&err);
    dk_view view = dk_view_make(buffer, 0, dtype, rank, shape);
    float *data = b->backend->ops->map(view);
    for (int64_t i = 0; dtype == DK_F32 && i < count; i++) data[i] = (float)(i * 7919 % 1000) * 2e-3f - 1.0f;
    return view;
}

static void release(bench *b, dk_view view) { b->backend->ops->buffer_free(b->backend, view.buffer); }

/* Best of many: what the machine can do when nobody else is on it. */
#define WALL_TIME(best, call)                   \
    do {                                        \
        best = 1e9;                             \
        double until = dk_seconds() + 0.3;      \
        do {                                    \
            double start = dk_seconds();        \
            call;                               \
            double took = dk_seconds() - start; \
            if (took < best) best = took;       \
        } while (dk_seconds() < until);         \
    } while (0)

static void products(bench *b, int64_t n, int64_t in, int64_t out, dk_dtype dtype)
{
    const dk_ops *ops = b->backend->ops;
    product p = {.weight = {.name = "w", .frozen = dtype != DK_F32}};
    dk_error err;
    double forward, input, weight = 0, flops = 2e-9 * (double)(n * in * out);
    p.weight.value = make(b, dtype, 2, out, in, 0);
    p.weight.gradient = make(b, DK_F32, 2, out, in, 0);
    p.weights[0] = &p.weight;
    dk_linear_spec spec = {.weights = p.weights, .count = 1, .uses = DK_USE_ALL};
    if (ops->linear_create(b->backend, &spec, &p.linear, &err)) give_up(&err);
    p.x = make(b, DK_F32, 2, n, in, 0);
    p.y = make(b, DK_F32, 2, n, out, 0);
    WALL_TIME(forward, ops->linear_forward(&b->queue, p.linear, DK_PRECISION_FULL, p.x, p.y));
    WALL_TIME(input, ops->linear_backward_input(&b->queue, p.linear, DK_PRECISION_FULL, p.y, p.x, 1));
    if (dtype == DK_F32)
        WALL_TIME(weight, ops->linear_backward_weight(&b->queue, p.linear, DK_PRECISION_FULL, p.x, p.y));
    printf("linear %-4s n %4lld in %4lld out %4lld: forward %6.1f GFLOP/s", dk_dtype_name(dtype), (long long)n,
           (long long)in, (long long)out, flops / forward);
    printf("  (%.1f GB/s of weights)", 1e-9 * (double)(in * out) * (double)dk_dtype_size(dtype) / forward);
    printf("  backward input %6.1f", flops / input);
    if (weight > 0) printf("  weight %6.1f", flops / weight);
    printf("\n");
    ops->linear_free(b->backend, p.linear);
    release(b, p.weight.value);
    release(b, p.weight.gradient);
    release(b, p.x);
    release(b, p.y);
}

static void attention(bench *b, int64_t sequences, int64_t length, int64_t heads, int64_t kv_heads, int64_t dim)
{
    const dk_ops *ops = b->backend->ops;
    int64_t offsets[65] = {0}, rows = sequences * length;
    for (int64_t s = 0; s < sequences; s++) offsets[s + 1] = offsets[s] + length;
    dk_attention_args args = {.sequences = sequences, .query_offsets = offsets, .scale = 0.1};
    dk_view q = make(b, DK_F32, 3, rows, heads, dim), k = make(b, DK_F32, 3, rows, kv_heads, dim),
            v = make(b, DK_F32, 3, rows, kv_heads, dim);
    dk_view y = make(b, DK_F32, 3, rows, heads, dim), lse = make(b, DK_F32, 2, rows, heads, 0),
            dy = make(b, DK_F32, 3, rows, heads, dim);
    dk_view dq = make(b, DK_F32, 3, rows, heads, dim), dk = make(b, DK_F32, 3, rows, kv_heads, dim),
            dv = make(b, DK_F32, 3, rows, kv_heads, dim);
    double forward, backward, flops = 2e-9 * (double)(sequences * length * length * heads * dim);
    WALL_TIME(forward, ops->attention(&b->queue, &args, q, k, v, y, lse));
    WALL_TIME(backward, ops->attention_backward(&b->queue, &args, q, k, v, y, lse, dy, dq, dk, dv));
    printf("attention %lldx%lld heads %lld/%lld dim %lld: forward %.3f ms (%.1f GFLOP/s)  backward %.3f ms (%.1f)\n",
           (long long)sequences, (long long)length, (long long)heads, (long long)kv_heads, (long long)dim,
           1e3 * forward, flops / forward, 1e3 * backward, 2.5 * flops / backward);
    dk_view all[] = {q, k, v, y, lse, dy, dq, dk, dv};
    for (int i = 0; i < 9; i++) release(b, all[i]);
}

static void rows(bench *b, int64_t n, int64_t vocab, int64_t width)
{
    const dk_ops *ops = b->backend->ops;
    dk_view z = make(b, DK_F32, 2, n, vocab, 0), h = make(b, DK_F32, 2, n, vocab, 0),
            x = make(b, DK_F32, 2, n, width, 0);
    dk_view y = make(b, DK_F32, 2, n, width, 0), stats = make(b, DK_F32, 2, n, 2, 0),
            weight = make(b, DK_F32, 2, 1, width, 0);
    weight.rank = 1, weight.shape[0] = width, weight.stride[0] = 1;
    dk_norm_args args = {.kind = DK_NORM_RMS, .epsilon = 1e-5, .weight = weight};
    double soft, back, norm, norm_back, glu, glu_back, bytes = 4e-9 * (double)(n * vocab),
                                                       small = 4e-9 * (double)(n * width);
    WALL_TIME(soft, ops->log_softmax(&b->queue, z, vocab, 2, h));
    WALL_TIME(back, ops->log_softmax_backward(&b->queue, h, vocab, 2, dk_view_none(), z));
    WALL_TIME(norm, ops->norm(&b->queue, &args, x, y, stats));
    WALL_TIME(norm_back, ops->norm_backward(&b->queue, &args, x, stats, y, x, 1, weight, dk_view_none()));
    WALL_TIME(glu, ops->glu(&b->queue, DK_ACT_SILU, x, y, y));
    WALL_TIME(glu_back, ops->glu_backward(&b->queue, DK_ACT_SILU, x, y, x, x, y));
    printf("log_softmax [%lld, %lld]: %.1f GB/s of logits, backward %.1f\n", (long long)n, (long long)vocab,
           bytes / soft, bytes / back);
    printf("rows [%lld, %lld]: norm %.1f GB/s, backward %.1f; swiglu %.1f, backward %.1f\n", (long long)n,
           (long long)width, small / norm, small / norm_back, small / glu, small / glu_back);
    dk_view all[] = {z, h, x, y, stats, weight};
    for (int i = 0; i < 6; i++) release(b, all[i]);
}

static void optimiser(bench *b, int64_t n)
{
    const dk_ops *ops = b->backend->ops;
    dk_view p = make(b, DK_F32, 2, 1, n, 0), g = make(b, DK_F32, 2, 1, n, 0), m = make(b, DK_F32, 2, 1, n, 0),
            v = make(b, DK_F32, 2, 1, n, 0);
    dk_view sum = make(b, DK_F64, 2, 1, 1, 0);
    sum.rank = 1;
    dk_adamw_args args = {
        .learning_rate = 1e-3, .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.1, .step = 1};
    double step, squares;
    ops->fill(&b->queue, v, 0);
    WALL_TIME(step, ops->adamw(&b->queue, &args, dk_view_none(), p, g, m, v));
    WALL_TIME(squares, ops->sum_squares(&b->queue, g, sum));
    printf("adamw %lld: %.3f ms (%.1f GB/s), sum_squares %.3f ms\n", (long long)n, 1e3 * step, 28e-9 * (double)n / step,
           1e3 * squares);
    dk_view all[] = {p, g, m, v, sum};
    for (int i = 0; i < 5; i++) release(b, all[i]);
}

int main(int argc, char **argv)
{
    bench b = {0};
    dk_error err;
    if (dk_host_create(NULL, &b.host, &err)) give_up(&err);
    if (dk_host_set_threads(b.host, argc > 1 ? atoi(argv[1]) : 0, NULL, NULL, NULL, &err)) give_up(&err);
    if (dk_backend_cpu(b.host, &b.backend, &err)) give_up(&err);
    (void)dk_queue_open(&b.queue, b.backend, NULL);
    printf("%s, %lld threads\n", b.backend->name, (long long)dk_host_threads(b.host));
    products(&b, 2048, 2048, 2048, DK_F32);
    products(&b, 1024, 192, 384, DK_F32);
    products(&b, 1024, 192, 192, DK_F32);
    products(&b, 1024, 192, 1024, DK_F32);
    products(&b, 1024, 512, 192, DK_F32);
    products(&b, 1024, 192, 2048, DK_F32);
    products(&b, 1024, 192, 2048, DK_BF16);
    products(&b, 1, 2048, 2048, DK_F32);
    products(&b, 1, 2048, 2048, DK_BF16);
    products(&b, 1, 192, 512, DK_BF16);
    attention(&b, 8, 128, 6, 3, 32);
    attention(&b, 8, 256, 6, 3, 32);
    attention(&b, 1, 4096, 4, 2, 64);
    attention(&b, 1, 2048, 8, 2, 128);
    rows(&b, 1024, 2048, 192);
    rows(&b, 128, 32000, 512);
    optimiser(&b, 1210000);
    if (dk_queue_wait(&b.queue, &err)) give_up(&err);
    dk_backend_free(b.backend);
    dk_host_release(b.host);
    return 0;
}
