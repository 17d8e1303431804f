/* bench_decode: what a step of decoding is made of, on one thread, in its CPU time, the best of many, so that a busy
 * machine disturbs little: the products of 30 layers of a model of 135M parameters, as a share of reading their weights
 * once, and attention over many keys. Not a test: prints numbers and always succeeds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_time.h"
#include "compute/compute.h"
#include "compute/cpu/limits/limits.h"

enum { LAYERS = 30, KINDS = 4, WIDTH = 576, MOST_ROWS = 32 };
static const int64_t shapes[KINDS][2] = {{WIDTH, 960}, {WIDTH, WIDTH}, {WIDTH, 3072}, {1536, WIDTH}}; /* in, out */

typedef struct bench {
    dk_host *host;
    dk_backend *backend;
    dk_queue queue;
} bench;

typedef struct layers {
    dk_view all;
    dk_parameter weight[LAYERS][KINDS];
    dk_parameter *weights[LAYERS][KINDS];
    dk_linear *linear[LAYERS][KINDS];
    int64_t bytes;
} layers;

static dk_view make(bench *b, dk_dtype dtype, int32_t rank, int64_t n0, int64_t n1, int64_t n2)
{
    int64_t shape[3] = {n0, n1, n2}, count = n0 * n1 * (rank > 2 ? n2 : 1);
    dk_buffer *buffer;
    dk_error err;
    if (b->backend->ops->buffer_create(b->backend, dk_dtype_bytes(dtype, count), &buffer, &err)) give_up(&err);
    dk_view view = dk_view_make(buffer, 0, dtype, rank, shape);
    uint8_t *data = b->backend->ops->map(view);
    float values[256];
    for (int i = 0; i < 256; i++) values[i] = (float)(i * 7919 % 1000) * 2e-3f - 1.0f;
    for (int64_t i = 0; i < count; i += 256) {
        int64_t n = count - i < 256 ? count - i : 256;
        uint8_t *to = data + dk_dtype_bytes(dtype, i);
        if (dtype == DK_F32) memcpy(to, values, (size_t)n * sizeof *values);
        else if (dtype == DK_BF16)
            for (int64_t k = 0; k < n; k++) ((uint16_t *)(void *)to)[k] = (uint16_t)(0x3f00 + (k * 37 & 0x7f));
        else if (dtype == DK_Q4_1) memset(to, 0x21, (size_t)dk_dtype_bytes(dtype, n)); /* which nothing is written in */
        else (void)dk_blocks_narrow(dtype, values, to, n);
    }
    return view;
}

static void release(bench *b, dk_view view) { b->backend->ops->buffer_free(b->backend, view.buffer); }

static void open_layers(bench *b, layers *l, dk_dtype dtype)
{
    int64_t lines = 0, line = 0;
    dk_error err;
    for (int k = 0; k < KINDS; k++) lines += LAYERS * shapes[k][0] * shapes[k][1] / WIDTH;
    l->all = make(b, dtype, 2, lines, WIDTH, 0);
    l->bytes = dk_dtype_bytes(dtype, lines * WIDTH);
    for (int i = 0; i < LAYERS * KINDS; i++) {
        dk_parameter *weight = &l->weight[i / KINDS][i % KINDS];
        const int64_t *shape = shapes[i % KINDS], to[2] = {shape[1], shape[0]};
        *weight = (dk_parameter){.name = "w", .frozen = 1};
        weight->value = dk_view_make(l->all.buffer, l->all.offset + dk_dtype_bytes(dtype, line * WIDTH), dtype, 2, to);
        line += shape[0] * shape[1] / WIDTH;
        l->weights[i / KINDS][i % KINDS] = weight;
        dk_linear_spec spec = {.weights = &l->weights[i / KINDS][i % KINDS],
                               .count = 1,
                               .uses = DK_USE_FORWARD,
                               .precisions = b->backend->precisions};
        if (b->backend->ops->linear_create(b->backend, &spec, &l->linear[i / KINDS][i % KINDS], &err)) give_up(&err);
    }
}

static void multiply(bench *b, const layers *l, dk_precision precision, const dk_view x[KINDS], const dk_view y[KINDS],
                     int64_t rows)
{
    for (int i = 0; i < LAYERS * KINDS; i++)
        b->backend->ops->linear_forward(&b->queue, l->linear[i / KINDS][i % KINDS], precision,
                                        dk_view_rows(x[i % KINDS], 0, rows), dk_view_rows(y[i % KINDS], 0, rows));
}

static void products(bench *b, dk_dtype dtype, dk_precision precision)
{
    static const int64_t rows[] = {1, 2, 4, 8, 16, 32};
    static layers l;
    dk_view x[KINDS], y[KINDS];
    double read, seconds, one = 0;
    open_layers(b, &l, dtype);
    for (int k = 0; k < KINDS; k++) {
        x[k] = make(b, DK_F32, 2, MOST_ROWS, shapes[k][0], 0);
        y[k] = make(b, DK_F32, 2, MOST_ROWS, shapes[k][1], 0);
    }
    TIME(read, 1.0, dk_limit_read(b->backend->ops->map(l.all), l.bytes / 256 * 256));
    printf("%-5s %3.0f MB, read at %.1f GB/s:", dk_dtype_name(dtype), 1e-6 * (double)l.bytes,
           1e-9 * (double)l.bytes / read);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TIME(seconds, 1.0, multiply(b, &l, precision, x, y, rows[i]));
        if (!i) one = seconds;
        printf("  %lld: %.2f ms (%.0f %%, %.1fx)", (long long)rows[i], 1e3 * seconds, 100 * read / seconds,
               one * (double)rows[i] / seconds);
    }
    printf("\n");
    for (int i = 0; i < LAYERS * KINDS; i++) b->backend->ops->linear_free(b->backend, l.linear[i / KINDS][i % KINDS]);
    for (int k = 0; k < KINDS; k++) release(b, x[k]), release(b, y[k]);
    release(b, l.all);
}

static void attend(bench *b, const dk_attention_args *args, dk_view q, const dk_view *keys, dk_view y)
{
    for (int l = 0; l < LAYERS; l++)
        b->backend->ops->attention(&b->queue, args, q, keys[2 * l], keys[2 * l + 1], y, dk_view_none());
}

static void attention(bench *b, dk_dtype dtype, int64_t keys, int64_t heads, int64_t kv_heads, int64_t dim)
{
    int64_t offsets[2] = {0, 1}, pages = (keys + DK_PAGE - 1) / DK_PAGE;
    int32_t *numbers = calloc((size_t)pages, sizeof *numbers);
    const int32_t *of = numbers;
    dk_view kv[2 * LAYERS], q = make(b, DK_F32, 3, 1, heads, dim), y = make(b, DK_F32, 3, 1, heads, dim);
    double seconds, bytes = 2.0 * LAYERS * (double)dk_dtype_bytes(dtype, keys * kv_heads * dim);
    for (int64_t i = 0; i < pages; i++) numbers[i] = (int32_t)i;
    for (int i = 0; i < 2 * LAYERS; i++) kv[i] = make(b, dtype, 3, pages * DK_PAGE, kv_heads, dim);
    dk_attention_args args = {
        .sequences = 1, .query_offsets = offsets, .key_count = &keys, .key_pages = &of, .scale = 0.1};
    TIME(seconds, 1.0, attend(b, &args, q, kv, y));
    printf("attention %s, %lld keys, heads %lld/%lld dim %lld: %.2f ms (%.1f GB/s of keys and values)\n",
           dk_dtype_name(dtype), (long long)keys, (long long)heads, (long long)kv_heads, (long long)dim, 1e3 * seconds,
           1e-9 * bytes / seconds);
    for (int i = 0; i < 2 * LAYERS; i++) release(b, kv[i]);
    release(b, q);
    release(b, y);
    free(numbers);
}

int main(void)
{
    bench b = {0};
    dk_error err;
    if (dk_host_create(NULL, &b.host, &err)) give_up(&err);
    if (dk_host_set_threads(b.host, 1, NULL, NULL, NULL, &err)) give_up(&err);
    if (dk_backend_cpu(b.host, &b.backend, &err)) give_up(&err);
    (void)dk_queue_open(&b.queue, b.backend, NULL);
    products(&b, DK_BF16, DK_PRECISION_FULL);
    products(&b, DK_Q8_0, DK_PRECISION_FULL);
    products(&b, DK_Q4_0, DK_PRECISION_FULL);
    products(&b, DK_Q8_0, DK_PRECISION_INT8);
    products(&b, DK_Q4_0, DK_PRECISION_INT8);
    products(&b, DK_Q4_1, DK_PRECISION_INT8);
    for (int i = 0; i < 2; i++) {
        attention(&b, i ? DK_BF16 : DK_F32, 64, 9, 3, 64);
        attention(&b, i ? DK_BF16 : DK_F32, 2048, 9, 3, 64);
        attention(&b, i ? DK_BF16 : DK_F32, 2048, 16, 8, 128);
    }
    if (dk_queue_wait(&b.queue, &err)) give_up(&err);
    dk_backend_free(b.backend);
    dk_host_release(b.host);
    return 0;
}
