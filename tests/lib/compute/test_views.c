/* Views, dtypes, arenas, buffers and queues: what every backend shares. */
#include "compute_fixture.h"

TEST(half_precision)
{
    for (uint32_t bits = 0; bits < 65536; bits++) {
        float b = dk_bf16_to_f32((uint16_t)bits), h = dk_f16_to_f32((uint16_t)bits);
        if (!isnan(b) && dk_f32_to_bf16(b) != bits) FAIL("bf16 %04x comes back as %04x", bits, dk_f32_to_bf16(b));
        if (!isnan(h) && dk_f32_to_f16(h) != bits) FAIL("f16 %04x comes back as %04x", bits, dk_f32_to_f16(h));
        if (isnan(b)) CHECK(isnan(dk_bf16_to_f32(dk_f32_to_bf16(b))));
        if (isnan(h)) CHECK(isnan(dk_f16_to_f32(dk_f32_to_f16(h))));
    }
    CHECK_INT(dk_f32_to_bf16(1.00390625f), 0x3f80); /* half way: to even */
    CHECK_INT(dk_f32_to_bf16(1.01171875f), 0x3f82);
    CHECK_INT(dk_f32_to_bf16(3.4e38f), 0x7f80);
    CHECK_INT(dk_f32_to_f16(1.00048828125f), 0x3c00);
    CHECK_INT(dk_f32_to_f16(1.00146484375f), 0x3c02);
    CHECK_INT(dk_f32_to_f16(65519.0f), 0x7bff);
    CHECK_INT(dk_f32_to_f16(65520.0f), 0x7c00);
    CHECK_INT(dk_f32_to_f16(-0x1p-25f), 0x8000);
    CHECK_INT(dk_f32_to_f16(0x1.8p-25f), 0x0001);
    CHECK(dk_f16_to_f32(0x0001) == 0x1p-24f);
}

TEST(dtypes)
{
    CHECK_INT(dk_dtype_size(DK_BF16), 2);
    CHECK_INT(dk_dtype_size(DK_I64), 8);
    CHECK_INT(dk_dtype_size((dk_dtype)99), 0);
    CHECK_STR(dk_dtype_name(DK_F16), "f16");
    for (int i = DK_F32; i < DK_DTYPE_END; i++) { /* a whole table: every entry has a name of its own */
        const dk_dtype_info *info = dk_dtype_find((dk_dtype)i);
        REQUIRE(info);
        CHECK_INT(dk_dtype_bytes((dk_dtype)i, 3 * info->block), 3 * info->bytes);
        CHECK_INT(dk_dtype_size((dk_dtype)i), info->block == 1 ? info->bytes : 0);
        for (int k = DK_F32; k < i; k++) CHECK(strcmp(info->name, dk_dtype_name((dk_dtype)k)) != 0);
    }
    CHECK(!dk_dtype_find((dk_dtype)0) && !dk_dtype_find(DK_DTYPE_END) && !dk_dtype_find((dk_dtype)-1));
    CHECK_STR(dk_dtype_name((dk_dtype)0), "?");
    CHECK_INT(dk_dtype_bytes(DK_Q8_0, 64), 68);
    CHECK_INT(dk_dtype_bytes(DK_Q4_K, 512), 288);
    CHECK_INT(dk_dtype_bytes(DK_Q8_0, 33), -1);
    CHECK_INT(dk_dtype_bytes(DK_F64, INT64_MAX / 4), -1);
    CHECK_INT(dk_dtype_bytes((dk_dtype)0, 1), -1);
    CHECK_INT(dk_dtype_align(DK_F32), 4);
    CHECK_INT(dk_dtype_align(DK_Q8_0), 1);
    for (int i = DK_F32; i < DK_DTYPE_END; i++) CHECK(!(DK_TYPE(i) & (DK_STRIDED | DK_OPTIONAL)));
}

/* Strides and sizes of blocks go through the table; a block is never cut. */
TEST(blocks)
{
    dk_buffer *some = (dk_buffer *)(void *)&test_failures; /* never looked into */
    dk_view v = dk_view_2d(some, 0, DK_Q8_0, 4, 96);
    CHECK_INT(dk_view_count(&v), 384);
    CHECK_INT(dk_view_rows(v, 2, 1).offset, 2 * 3 * 34);
    CHECK_INT(dk_view_columns(v, 32, 64).offset, 34);
    CHECK(!dk_view_present(dk_view_columns(v, 16, 32)));
    CHECK(!dk_view_present(dk_view_columns(v, 0, 16)));
    CHECK(dk_view_present(dk_view_split(v, 3)));
    CHECK(!dk_view_present(dk_view_split(v, 4)));
    CHECK(!dk_view_present(dk_view_2d(some, 0, DK_Q8_0, 4, 33)));
    CHECK(!dk_view_present(dk_view_2d(some, 0, (dk_dtype)0, 4, 32)));
    dk_backend *backend = fx_reference(DK_F32);
    dk_arena arena;
    dk_arena_init(&arena, backend);
    (void)dk_arena_2d(&arena, DK_Q8_0, 3, 64);
    CHECK_INT(arena.used, 256); /* 3 rows of 68 bytes, rounded up */
    dk_arena_free(&arena);
    dk_backend_free(backend);
}

TEST(shapes)
{
    dk_buffer *some = (dk_buffer *)(void *)&test_failures; /* never looked into */
    dk_view v = dk_view_2d(some, 8, DK_F32, 4, 12), part = dk_view_columns(dk_view_rows(v, 1, 2), 3, 6),
            heads = dk_view_split(part, 3);
    CHECK_INT(dk_view_count(&v), 48);
    CHECK_INT(part.offset, 8 + 4 * 15);
    CHECK_INT(heads.rank, 3);
    CHECK_INT(heads.shape[1], 3);
    CHECK_INT(heads.shape[2], 2);
    CHECK_INT(heads.stride[0], 12);
    CHECK_INT(heads.stride[1], 2);
    CHECK(!dk_view_present(dk_view_rows(v, 3, 2)));
    CHECK(!dk_view_present(dk_view_columns(v, -1, 2)));
    CHECK(!dk_view_present(dk_view_split(v, 5)));
    CHECK(!dk_view_present(dk_view_reshape(part, 1, (int64_t[]){12})));
    CHECK(!dk_view_present(dk_view_reshape(v, 1, (int64_t[]){47})));
    dk_view cube = dk_view_reshape(v, 3, (int64_t[]){2, 2, 12});
    CHECK_INT(cube.stride[0], 24);
    dk_view none = dk_view_none();
    CHECK_INT(dk_view_count(&none), 0);
}

static void take(dk_arena *arena, dk_view *a, dk_view *b)
{
    *a = dk_arena_2d(arena, DK_F32, 3, 5);
    *b = dk_arena_take(arena, DK_I32, 1, (int64_t[]){7});
}

TEST(arena)
{
    dk_backend *backend = fx_reference(DK_F64);
    dk_arena arena;
    dk_view a, b;
    dk_error err;
    dk_arena_init(&arena, backend);
    take(&arena, &a, &b);
    CHECK(!dk_view_present(a));
    CHECK_INT(a.shape[1], 5);
    REQUIRE_OK(dk_arena_commit(&arena, &err));
    take(&arena, &a, &b);
    CHECK(dk_view_present(a) && dk_view_present(b));
    CHECK_INT(b.offset, 64);
    CHECK(!dk_view_present(dk_arena_2d(&arena, DK_F32, 1, 1))); /* was not measured */
    dk_arena_free(&arena);
    (void)dk_arena_2d(&arena, DK_F64, INT64_MAX / 4, 3);
    CHECK_INT(dk_arena_commit(&arena, &err), DK_E_NOMEM);
    CHECK_HAS(err.message, "address space");
    dk_arena_free(&arena);
    dk_backend_free(backend);
}

TEST(buffers)
{
    static const int64_t sizes[] = {0, 1, 100, 2 << 20, (4 << 20) + 12, (19 << 20) + 1}; /* the last in pieces */
    dk_backend *backend = fx_cpu(DK_ISA_PORTABLE, 3);
    dk_error err;
    dk_buffer *buffer;
    for (int i = 0; i < 6; i++) {
        REQUIRE_OK(backend->ops->buffer_create(backend, sizes[i], &buffer, &err));
        const uint8_t *data = backend->ops->map(dk_view_1d(buffer, 0, DK_U8, sizes[i]));
        CHECK((uintptr_t)data % (sizes[i] >= 2 << 20 ? 2 << 20 : 64) == 0);
        for (int64_t k = 0; k < sizes[i]; k += 997) CHECK(data[k] == 0);
        if (sizes[i]) CHECK(data[sizes[i] - 1] == 0);
        backend->ops->buffer_free(backend, buffer);
    }
    CHECK_INT(backend->ops->buffer_create(backend, -1, &buffer, &err), DK_E_INVALID);
    CHECK_INT(backend->ops->buffer_create(backend, INT64_MAX, &buffer, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "a buffer of 9223372036854775807 bytes");
    float host[6] = {1, 2, 3, 4, 5, 6}, back[2];
    REQUIRE_OK(backend->ops->buffer_wrap(backend, host, sizeof host, &buffer, &err));
    dk_queue queue;
    (void)dk_queue_open(&queue, backend, NULL);
    backend->ops->copy_out(&queue, dk_view_columns(dk_view_2d(buffer, 0, DK_F32, 2, 3), 1, 1), back);
    CHECK(back[0] == 2 && back[1] == 5);
    CHECK_OK(dk_queue_wait(&queue, &err));
    backend->ops->buffer_free(backend, buffer);
    dk_backend_free(backend);
}

/* ---- what ops refuse; the message names op and argument, nothing is touched, and later ops do nothing ---- */
typedef struct ground {
    dk_backend *backend;
    dk_queue queue;
    dk_buffer *buffer;
    dk_view a, b, ids;
    const dk_ops *ops;
} ground;

static void refused(ground *g, int32_t code, const char *text)
{
    dk_error err = {0};
    float untouched = 0;
    g->ops->fill(&g->queue, g->b, 7); /* behind a failure: does nothing */
    CHECK_INT(dk_queue_wait(&g->queue, &err), code);
    CHECK_HAS(err.message, text);
    CHECK_INT(dk_queue_wait(&g->queue, &err), DK_OK); /* cleared */
    g->ops->copy_out(&g->queue, dk_view_columns(dk_view_rows(g->b, 0, 1), 0, 1), &untouched);
    CHECK(untouched == 0);
}

static void refuse_all(dk_backend *backend)
{
    dk_error err;
    ground g = {.backend = backend, .ops = backend->ops};
    const dk_ops *ops = backend->ops;
    dk_queue *q = &g.queue;
    (void)dk_queue_open(q, backend, NULL);
    REQUIRE_OK(ops->buffer_create(backend, 4096, &g.buffer, &err));
    g.a = dk_view_2d(g.buffer, 0, DK_F32, 4, 8);
    g.b = dk_view_2d(g.buffer, 1024, DK_F32, 4, 8);
    g.ids = dk_view_1d(g.buffer, 2048, DK_I32, 4);
    ops->copy_in(q, g.ids, (int32_t[]){0, 3, -2, 1});

    ops->axpy(q, 1, g.a, dk_view_none());
    refused(&g, DK_E_INTERNAL, "axpy: y is absent");
    ops->axpy(q, 1, g.a, dk_view_rows(g.b, 0, 3));
    refused(&g, DK_E_INTERNAL, "axpy: y has another shape");
    ops->add(q, g.a, g.ids, g.b);
    refused(&g, DK_E_INTERNAL, "add: b is i32, a dtype that this op of");
    ops->scale(q, dk_view_2d(g.buffer, 4096 - 64, DK_F32, 4, 8), 2);
    refused(&g, DK_E_INTERNAL, "scale: y reaches outside its buffer");
    ops->scale(q, dk_view_2d(g.buffer, 2, DK_F32, 4, 8), 2);
    refused(&g, DK_E_INTERNAL, "scale: y is not aligned");
    ops->scale(q, dk_view_2d(g.buffer, 0, DK_F32, INT64_MAX / 2, INT64_MAX / 2), 2);
    refused(&g, DK_E_INTERNAL, "scale: y reaches outside");
    dk_view turned = g.a;
    turned.stride[0] = 1, turned.stride[1] = 8;
    ops->scale(q, turned, 2);
    refused(&g, DK_E_INTERNAL, "scale: y is not row-major");
    ops->embed(q, g.a, g.ids, 1, g.b, 0);
    refused(&g, DK_E_INVALID, "embed: ids[2] is -2, not in [0, 4)");
    ops->embed_backward(q, g.a, dk_view_rows(g.ids, 0, 3), 1, g.b);
    refused(&g, DK_E_INTERNAL, "embed_backward: ids has 3 entries in dimension 0, not 4");
    ops->gather_rows(q, dk_view_rows(g.a, 0, 3), dk_view_rows(g.ids, 0, 2), dk_view_rows(g.b, 0, 2));
    refused(&g, DK_E_INVALID, "gather_rows: rows[1] is 3, not in [0, 3)");
    ops->log_softmax(q, g.a, 9, 1, g.b);
    refused(&g, DK_E_INTERNAL, "log_softmax: arguments: vocab");
    static const double temperatures[] = {0, -1, 1e-39, 9e-4, 1001, INFINITY, NAN};
    for (int i = 0; i < 7; i++) {
        ops->log_softmax(q, g.a, 8, temperatures[i], g.b);
        refused(&g, DK_E_INVALID, "log_softmax: the temperature is");
        ops->log_softmax_backward(q, g.a, 8, temperatures[i], dk_view_none(), g.b);
        refused(&g, DK_E_INVALID, "not in [0.001, 1000]");
    }
    ops->glu(q, (dk_activation)9, g.a, g.a, g.b);
    refused(&g, DK_E_INTERNAL, "glu: arguments: unknown activation");
    dk_norm_args norm = {.kind = DK_NORM_RMS, .weight = dk_view_1d(g.buffer, 0, DK_F32, 7)};
    ops->norm(q, &norm, g.a, g.b, dk_view_none());
    refused(&g, DK_E_INTERNAL, "norm: weight has 7 entries in dimension 0, not 8");

    dk_view blocks = dk_view_2d(g.buffer, 0, DK_Q8_1, 4, 32), wide = dk_view_2d(g.buffer, 1024, DK_F32, 4, 32);
    dk_view three = dk_view_rows(g.ids, 0, 2), row = dk_view_1d(g.buffer, 0, DK_Q8_1, 32);
    ops->embed(q, blocks, three, 1, dk_view_rows(wide, 0, 2), 0);
    refused(&g, DK_E_INTERNAL, "embed: table is q8_1, a dtype that this op of");
    ops->convert(q, blocks, wide);
    refused(&g, DK_E_INTERNAL, "convert: x is q8_1");
    ops->fill(q, blocks, 0);
    refused(&g, DK_E_INTERNAL, "fill: y is q8_1");
    dk_norm_args quantised = {.kind = DK_NORM_RMS, .weight = row};
    ops->norm(q, &quantised, wide, wide, dk_view_none());
    refused(&g, DK_E_INTERNAL, "norm: weight is q8_1");
    blocks.stride[0] = 48;
    ops->gather_rows(q, blocks, dk_view_rows(g.ids, 0, 1), dk_view_rows(blocks, 0, 1));
    refused(&g, DK_E_INTERNAL, "gather_rows: x cuts a block");
    blocks.stride[0] = 32;
    blocks.shape[0] = 4096 / 34 + 1;
    ops->gather_rows(q, blocks, dk_view_rows(g.ids, 0, 1), dk_view_rows(blocks, 0, 1));
    refused(&g, DK_E_INTERNAL, "gather_rows: x reaches outside its buffer");
    blocks.dtype = DK_DTYPE_END;
    ops->gather_rows(q, blocks, dk_view_rows(g.ids, 0, 1), dk_view_rows(blocks, 0, 1));
    refused(&g, DK_E_INTERNAL, "gather_rows: x is ?");

    int64_t offsets[2] = {0, 5};
    dk_attention_args args = {.sequences = 1, .query_offsets = offsets, .scale = 1};
    dk_view q3 = dk_view_split(g.a, 4), k3 = dk_view_split(dk_view_columns(g.a, 0, 6), 3), y3 = dk_view_split(g.b, 4);
    ops->attention(q, &args, q3, q3, q3, y3, dk_view_none());
    refused(&g, DK_E_INTERNAL, "attention: arguments: a sequence lies outside the query rows");
    offsets[1] = 4;
    ops->attention(q, &args, q3, k3, k3, y3, dk_view_none());
    refused(&g, DK_E_INTERNAL, "not a multiple of the key heads");
    int64_t first = 2, count = 3;
    args.key_first = &first, args.key_count = &count;
    ops->attention(q, &args, q3, q3, q3, y3, dk_view_none());
    refused(&g, DK_E_INTERNAL, "a sequence lies outside the key rows");

    dk_parameter weight = {.name = "w", .value = dk_view_2d(g.buffer, 0, DK_BF16, 3, 8)},
                 *weights[] = {&weight, &weight};
    dk_linear_spec spec = {.weights = weights, .count = 1, .uses = DK_USE_ALL};
    dk_linear *linear = NULL;
    CHECK_INT(ops->linear_create(backend, &spec, &linear, &err), DK_E_INTERNAL);
    CHECK_HAS(err.message, "w is trained, so it must be f32, not bf16");
    weight.frozen = 1;
    weight.value = dk_view_2d(g.buffer, 0, DK_Q8_1, 3, 32);
    CHECK_INT(ops->linear_create(backend, &spec, &linear, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "w is q8_1, which backend");
    weight.frozen = 0;
    weight.value = dk_view_2d(g.buffer, 0, DK_F32, 3, 8);
    REQUIRE_OK(ops->linear_create(backend, &spec, &linear, &err));
    ops->linear_forward(q, linear, DK_PRECISION_FULL, g.a, g.b);
    refused(&g, DK_E_INTERNAL, "linear_forward: y has 8 entries in dimension 1, not 3");
    ops->linear_backward_weight(q, linear, DK_PRECISION_FULL, g.a, dk_view_columns(g.b, 0, 3));
    refused(&g, DK_E_INTERNAL, "w: gradient is absent");
    dk_view folded = g.a;
    folded.stride[0] = 4;
    ops->linear_forward(q, linear, DK_PRECISION_FULL, folded, dk_view_columns(g.b, 0, 3));
    refused(&g, DK_E_INTERNAL, "rows of a matrix overlap");
    ops->linear_free(backend, linear);
    ops->buffer_free(backend, g.buffer);
}

/* Rows of blocks are moved as they are. */
static void move_blocks(dk_backend *backend)
{
    uint8_t data[3 * 68], back[2 * 68];
    dk_queue queue;
    dk_buffer *buffer;
    dk_error err;
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(7 * i);
    (void)dk_queue_open(&queue, backend, NULL);
    REQUIRE_OK(backend->ops->buffer_create(backend, 1024, &buffer, &err));
    dk_view x = dk_view_2d(buffer, 0, DK_Q8_0, 3, 64), y = dk_view_2d(buffer, 256, DK_Q8_0, 2, 64),
            ids = dk_view_1d(buffer, 512, DK_I32, 2);
    backend->ops->copy_in(&queue, x, data);
    backend->ops->copy_in(&queue, ids, (int32_t[]){2, 0});
    backend->ops->gather_rows(&queue, x, ids, y);
    backend->ops->copy_out(&queue, y, back);
    REQUIRE_OK(dk_queue_wait(&queue, &err));
    CHECK(!memcmp(back, data + 2 * 68, 68) && !memcmp(back + 68, data, 68));
    backend->ops->buffer_free(backend, buffer);
}

TEST(moved_blocks)
{
    dk_backend *reference = fx_reference(DK_F32), *cpu = fx_cpu(DK_ISA_PORTABLE, 1);
    move_blocks(reference);
    move_blocks(cpu);
    dk_backend_free(reference);
    dk_backend_free(cpu);
}

/* A kernel that is handed weights that it was not written for says so. */
TEST(kernels_refuse_dtypes)
{
    float x[32] = {0}, y[32];
    uint8_t weight[32 * 8] = {0};
    dk_backend *backend = fx_cpu(DK_ISA_PORTABLE, 1);
    const dk_kernels *kernels = &((dk_cpu *)backend->state)->kernels;
    CHECK_INT(kernels->dots(DK_F32, weight, 32, 1, 32, x, 32, 1, y, 1), 1);
    CHECK_INT(kernels->dots(DK_Q8_1, weight, 32, 1, 32, x, 32, 1, y, 1), 0);
    CHECK_INT(kernels->columns(DK_F64, weight, 1, 1, 32, x, 32, 1, y, 1), 0);
    CHECK(!dk_cpu_widen(kernels, DK_Q8_1, weight, y, 32));
    dk_backend_free(backend);
}

TEST(refusals)
{
    dk_backend *reference = fx_reference(DK_F32), *cpu = fx_cpu(DK_ISA_PORTABLE, 1);
    refuse_all(reference);
    refuse_all(cpu);
    dk_backend_free(reference);
    dk_backend_free(cpu);
}

/* A source may be overwritten once copy_in returns; a closed queue may be closed again, and a zeroed one too. */
static void check_queue(dk_backend *backend)
{
    dk_queue queue = {0};
    dk_buffer *buffer;
    dk_error err;
    float host[4] = {1, 2, 3, 4}, back[4];
    dk_queue_close(&queue);
    REQUIRE_OK(dk_queue_open(&queue, backend, &err));
    REQUIRE_OK(backend->ops->buffer_create(backend, sizeof host, &buffer, &err));
    dk_view view = dk_view_1d(buffer, 0, DK_F32, 4);
    backend->ops->copy_in(&queue, view, host);
    memset(host, 0, sizeof host);
    backend->ops->copy_out(&queue, view, back);
    CHECK_OK(dk_queue_wait(&queue, &err));
    CHECK(back[0] == 1 && back[3] == 4);
    backend->ops->buffer_free(backend, buffer);
    dk_queue_close(&queue);
    CHECK(!queue.backend);
    dk_queue_close(&queue);
    dk_backend_free(backend);
}

TEST(queues)
{
    check_queue(fx_reference(DK_F64));
    check_queue(fx_cpu(DK_ISA_PORTABLE, 1));
}

TEST(backends)
{
    dk_host *host = fx_host(1);
    dk_backend *backend = NULL;
    dk_error err;
    CHECK_INT(dk_backend_reference(host, DK_F16, &backend, &err), DK_E_INVALID);
    CHECK_INT(dk_backend_cpu_isa(host, 17, &backend, &err), DK_E_UNSUPPORTED);
    REQUIRE_OK(dk_backend_cpu(host, &backend, &err));
    CHECK_INT(backend->real, DK_F32);
    dk_host_release(host); /* the backend holds its own reference */
    dk_backend_free(backend);
    dk_backend_free(NULL);
}

/* ---- memory ---- */
static void *scarce(void *user, size_t size, size_t align)
{
    int64_t *left = user;
    return (*left)-- > 0 ? aligned_alloc(align, (size + align - 1) / align * align) : NULL;
}

static void scarce_free(void *user, void *ptr, size_t size, size_t align)
{
    (void)user, (void)size, (void)align;
    free(ptr);
}

/* Creation and the first use of scratch survive an allocator that fails at any point. */
TEST(out_of_memory)
{
    int64_t done = 0;
    for (int64_t allowed = 1; !done && allowed < 40; allowed++) {
        int64_t left = allowed;
        dk_allocator allocator = {.user = &left, .alloc = scarce, .free = scarce_free};
        dk_host *host = NULL;
        dk_backend *backend = NULL;
        dk_buffer *buffer = NULL;
        dk_linear *linear = NULL;
        dk_parameter weight = {.name = "w", .frozen = 1}, *weights[] = {&weight};
        dk_error err = {0};
        if (dk_host_create(&allocator, &host, &err)) continue;
        CHECK_OK(dk_host_set_threads(host, 1, NULL, NULL, NULL, &err));
        int32_t rc = dk_backend_cpu(host, &backend, &err);
        if (!rc) rc = backend->ops->buffer_create(backend, 65536, &buffer, &err);
        if (!rc) {
            weight.value = dk_view_2d(buffer, 0, DK_BF16, 8, 8);
            dk_linear_spec spec = {.weights = weights, .count = 1, .uses = DK_USE_ALL};
            rc = backend->ops->linear_create(backend, &spec, &linear, &err);
        }
        if (!rc) {
            dk_queue queue;
            dk_view x = dk_view_split(dk_view_2d(buffer, 0, DK_F32, 6, 8), 2),
                    y = dk_view_split(dk_view_2d(buffer, 4096, DK_F32, 6, 8), 2);
            dk_attention_args args = {.sequences = 1, .query_offsets = (int64_t[]){0, 6}, .scale = 1};
            (void)dk_queue_open(&queue, backend, NULL);
            backend->ops->attention(&queue, &args, x, x, x, y, dk_view_none());
            rc = dk_queue_wait(&queue, &err);
            int64_t before = dk_host_allocations(host);
            if (!rc) backend->ops->attention(&queue, &args, x, x, x, y, dk_view_none());
            CHECK_INT(dk_host_allocations(host), before); /* warm */
            done = !rc;
        }
        if (rc) CHECK_INT(rc, DK_E_NOMEM);
        if (backend) {
            backend->ops->linear_free(backend, linear);
            backend->ops->buffer_free(backend, buffer);
        }
        dk_backend_free(backend);
        dk_host_release(host);
    }
    CHECK(done);
}

TEST_MAIN(TEST_CASE(half_precision) TEST_CASE(dtypes) TEST_CASE(blocks) TEST_CASE(shapes) TEST_CASE(arena)
              TEST_CASE(buffers) TEST_CASE(moved_blocks) TEST_CASE(kernels_refuse_dtypes) TEST_CASE(refusals)
                  TEST_CASE(queues) TEST_CASE(backends) TEST_CASE(out_of_memory))
