/* Block-quantised values: the bits that the reference gives, whoever reads them and however they are used. */
#include "compute_fixture.h"

#include "compute/half.h"
#include "npz.h"

static const dk_dtype dtypes[] = {DK_Q4_0, DK_Q4_1, DK_Q5_0, DK_Q5_1, DK_Q8_0,   DK_Q2_K,
                                  DK_Q3_K, DK_Q4_K, DK_Q5_K, DK_Q6_K, DK_IQ4_NL, DK_MXFP4};
enum { DTYPES = sizeof dtypes / sizeof *dtypes, COUNT = 32 }; /* stored blocks of each */

static npz_file oracle;

static int open_oracle(void)
{
    if (!oracle.data && !npz_open(test_path(TEST_DATA, "quant/blocks.npz"), &oracle)) FAIL("blocks.npz is not there");
    return oracle.data != NULL;
}

/* Stored blocks as bytes, and the floats that they are. */
static uint8_t *blocks_of(dk_dtype dtype)
{
    char name[32];
    snprintf(name, sizeof name, "%s.blocks", dk_dtype_name(dtype));
    npz_array stored = npz_get(&oracle, name);
    uint8_t *blocks = malloc((size_t)stored.count + 1);
    for (int64_t i = 0; i < stored.count; i++) blocks[i] = (uint8_t)stored.values[i];
    free(stored.values);
    return blocks;
}

static float *values_of(dk_dtype dtype)
{
    char name[32];
    snprintf(name, sizeof name, "%s.values", dk_dtype_name(dtype));
    npz_array stored = npz_get(&oracle, name);
    float *values = malloc(sizeof *values * (size_t)(stored.count + 1));
    CHECK_INT(stored.count, COUNT * dk_dtype_find(dtype)->block);
    for (int64_t i = 0; i < stored.count; i++) values[i] = (float)stored.values[i];
    free(stored.values);
    return values;
}

static int same(float a, float b) { return dk_bits_from_float(a) == dk_bits_from_float(b) || (isnan(a) && isnan(b)); }

/* A view of the stored blocks as rows of `per_row` of them. */
static dk_view stored_view(fx *f, dk_dtype dtype, int64_t per_row, uint8_t *blocks)
{
    const dk_dtype_info *type = dk_dtype_find(dtype);
    dk_error err;
    if (OPS(f)->buffer_wrap(f->backend, blocks, COUNT * type->bytes, &f->buffers[f->buffer_count], &err)) abort();
    return dk_view_2d(f->buffers[f->buffer_count++], 0, dtype, COUNT / per_row, per_row * type->block);
}

static void begin(fx *f, dk_backend *backend)
{
    *f = (fx){.backend = backend};
    (void)dk_queue_open(&f->queue, backend, NULL);
}

static void end(fx *f)
{
    dk_error err = {0};
    CHECK_OK(dk_queue_wait(&f->queue, &err));
    for (int i = 0; i < f->buffer_count; i++) OPS(f)->buffer_free(f->backend, f->buffers[i]);
}

typedef void (*dtype_case)(dk_backend *backend, dk_dtype dtype);

static void on_backend(dk_backend *backend, dtype_case run)
{
    if (!backend) return;
    for (int d = 0; d < DTYPES; d++) run(backend, dtypes[d]);
    dk_backend_free(backend);
}

static void everywhere(dtype_case run)
{
    if (!open_oracle()) return;
    on_backend(fx_reference(DK_F32), run);
    on_backend(fx_reference(DK_F64), run);
    for (int32_t isa = DK_ISA_PORTABLE; isa <= DK_ISA_AVX512; isa++) on_backend(fx_cpu(isa, 3), run);
}

/* ---- values ---- */
static void check_values(dk_backend *backend, dk_dtype dtype)
{
    fx f;
    begin(&f, backend);
    uint8_t *blocks = blocks_of(dtype);
    float *values = values_of(dtype), *got = malloc(sizeof *got * (size_t)COUNT * 256);
    int64_t shape[2] = {COUNT / 2, 2 * dk_dtype_find(dtype)->block};
    dk_view from = stored_view(&f, dtype, 2, blocks), to = fx_view(&f, DK_F32, 2, shape, 3);
    OPS(&f)->convert(&f.queue, from, to);
    OPS(&f)->copy_out(&f.queue, to, got);
    for (int64_t i = 0; i < shape[0] * shape[1]; i++)
        if (!same(got[i], values[i])) {
            FAIL("%s, %s: value %lld is %.9g, not %.9g", backend->name, dk_dtype_name(dtype), (long long)i,
                 (double)got[i], (double)values[i]);
            break;
        }
    end(&f);
    free(blocks);
    free(values);
    free(got);
}

TEST(values_are_the_reference_s) { everywhere(check_values); }

/* ---- blocks that stay blocks ---- */
static void check_copies(dk_backend *backend, dk_dtype dtype)
{
    fx f;
    dk_error err = {0};
    begin(&f, backend);
    const dk_dtype_info *type = dk_dtype_find(dtype);
    uint8_t *blocks = blocks_of(dtype), *copy = calloc(COUNT, (size_t)type->bytes);
    dk_view from = stored_view(&f, dtype, 2, blocks), to = stored_view(&f, dtype, 2, copy);
    OPS(&f)->convert(&f.queue, dk_view_rows(from, 1, 3), dk_view_rows(to, 4, 3));
    CHECK_OK(dk_queue_wait(&f.queue, &err));
    CHECK(!memcmp(copy + 8 * type->bytes, blocks + 2 * type->bytes, 6 * (size_t)type->bytes));
    CHECK(copy[7 * type->bytes] == 0 && copy[14 * type->bytes] == 0);
    dk_view strided = fx_view(&f, DK_F32, 2, (int64_t[]){COUNT / 2, 2 * type->block}, 0);
    strided.stride[0] = 1;
    strided.stride[1] = COUNT / 2;
    OPS(&f)->convert(&f.queue, from, strided);
    CHECK_INT(dk_queue_wait(&f.queue, &err), DK_E_INTERNAL);
    CHECK_HAS(err.message, "blocks become rows without gaps");
    OPS(&f)->fill(&f.queue, to, 0);
    CHECK_INT(dk_queue_wait(&f.queue, &err), DK_E_INTERNAL);
    end(&f);
    free(blocks);
    free(copy);
}

TEST(blocks_are_copied) { everywhere(check_copies); }

/* ---- uses: what F32 weights of the same values give ---- */
/* Scales of the first stored blocks are special; the last but two are as in a model. */
static dk_view plain_rows(fx *f, dk_dtype dtype, uint8_t *blocks)
{
    return dk_view_rows(stored_view(f, dtype, 1, blocks), 24, 6);
}

static void close_to(fx *f, dk_view a, dk_view b, double tolerance, const char *what, dk_dtype dtype)
{
    double *x = fx_read(f, a), *y = fx_read(f, b), largest = 0;
    for (int64_t i = 0; i < fx_count(a); i++) largest = fmax(largest, fabs(y[i]));
    for (int64_t i = 0; i < fx_count(a); i++)
        if (!(fabs(x[i] - y[i]) <= tolerance * largest)) {
            FAIL("%s, %s, %s: %g, not %g", f->backend->name, what, dk_dtype_name(dtype), x[i], y[i]);
            break;
        }
    free(x);
    free(y);
}

static dk_linear *linear_of(fx *f, dk_parameter *weight, uint32_t uses)
{
    dk_error err = {0};
    dk_linear *out = NULL;
    dk_parameter *weights[] = {weight};
    const dk_linear_spec spec = {.weights = weights, .count = 1, .uses = uses};
    CHECK_OK(OPS(f)->linear_create(f->backend, &spec, &out, &err));
    return out;
}

static void check_products(dk_backend *backend, dk_dtype dtype)
{
    fx f;
    begin(&f, backend);
    uint8_t *blocks = blocks_of(dtype);
    dk_view value = plain_rows(&f, dtype, blocks), wide = fx_view(&f, DK_F32, 2, value.shape, 0);
    OPS(&f)->convert(&f.queue, value, wide);
    dk_parameter weight = {.name = "w", .value = value, .frozen = 1},
                 floats = {.name = "f", .value = wide, .frozen = 1};
    dk_linear *linear = linear_of(&f, &weight, DK_USE_ALL), *plain = linear_of(&f, &floats, DK_USE_ALL);
    int64_t in = value.shape[1], out = value.shape[0];
    for (int64_t n = 1; linear && plain && n <= 9; n += n == 1 ? 2 : 6) {
        dk_view x = fx_input_2d(&f, 3, -1, 1, n, in, 5), y = fx_input_2d(&f, 4, -1, 1, n, out, 3),
                z = fx_input_2d(&f, 5, -1, 1, n, out, 0), dx = fx_input_2d(&f, 6, -1, 1, n, in, 0),
                dz = fx_input_2d(&f, 6, -1, 1, n, in, 0);
        OPS(&f)->linear_forward(&f.queue, linear, DK_PRECISION_FULL, x, y);
        OPS(&f)->linear_forward(&f.queue, plain, DK_PRECISION_FULL, x, z);
        close_to(&f, y, z, n <= f.backend->invariant_rows ? 0 : 1e-6, "forward", dtype);
        OPS(&f)->linear_backward_input(&f.queue, linear, DK_PRECISION_FULL, z, dx, 1);
        OPS(&f)->linear_backward_input(&f.queue, plain, DK_PRECISION_FULL, z, dz, 1);
        close_to(&f, dx, dz, 1e-6, "backward", dtype);
    }
    if (linear) OPS(&f)->linear_free(backend, linear);
    if (plain) OPS(&f)->linear_free(backend, plain);
    end(&f);
    free(blocks);
}

TEST(products_are_those_of_the_values) { everywhere(check_products); }

static void check_embedding(dk_backend *backend, dk_dtype dtype)
{
    fx f;
    begin(&f, backend);
    uint8_t *blocks = blocks_of(dtype);
    dk_view table = plain_rows(&f, dtype, blocks), wide = fx_view(&f, DK_F32, 2, table.shape, 0);
    dk_view ids = fx_ids(&f, 2, 11, table.shape[0]), y = fx_input_2d(&f, 3, -1, 1, 11, table.shape[1], 0),
            z = fx_input_2d(&f, 3, -1, 1, 11, table.shape[1], 0);
    OPS(&f)->convert(&f.queue, table, wide);
    for (int32_t add = 0; add < 2; add++) {
        OPS(&f)->embed(&f.queue, table, ids, 1.5, y, add);
        OPS(&f)->embed(&f.queue, wide, ids, 1.5, z, add);
        close_to(&f, y, z, 0, "embed", dtype);
    }
    end(&f);
    free(blocks);
}

TEST(embeddings_are_those_of_the_values) { everywhere(check_embedding); }

static void check_refused(dk_backend *backend, dk_dtype dtype)
{
    fx f;
    dk_error err = {0};
    dk_linear *out = NULL;
    begin(&f, backend);
    uint8_t *blocks = blocks_of(dtype);
    dk_parameter weight = {.name = "w", .value = plain_rows(&f, dtype, blocks), .frozen = 1}, *weights[] = {&weight};
    dk_linear_spec spec = {.weights = weights, .count = 1, .in_out = 1, .uses = DK_USE_FORWARD};
    CHECK_INT(OPS(&f)->linear_create(backend, &spec, &out, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "whose blocks lie along the inputs");
    spec.in_out = 0;
    weight.frozen = 0;
    CHECK_INT(OPS(&f)->linear_create(backend, &spec, &out, &err), DK_E_INTERNAL);
    CHECK_HAS(err.message, "is trained");
    end(&f);
    free(blocks);
}

TEST(what_blocks_cannot_be_is_refused) { everywhere(check_refused); }

TEST_MAIN(TEST_CASE(values_are_the_reference_s) TEST_CASE(blocks_are_copied) TEST_CASE(products_are_those_of_the_values)
              TEST_CASE(embeddings_are_those_of_the_values) TEST_CASE(what_blocks_cannot_be_is_refused))
