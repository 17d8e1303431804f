/* Products with quantised weights as they are, by every kernel that this machine has: within their bound of the exact
 * ones, the same bits for any number of rows and threads, and NaN and infinity as IEEE has them. */
#include "base/random.h"
#include "compute/compute.h"
#include "compute/cpu/cpu.h"
#include "compute/quant_blocks.h"
#include "test.h"

enum { MOST_ROWS = 64, MANY_ROWS = 275, MOST_LINES = 70, MOST_K = 608 };

static const dk_dtype dtypes[] = {DK_Q8_0, DK_Q4_0, DK_Q4_1, DK_Q4_K, DK_Q5_K, DK_Q6_K, DK_Q3_K, DK_Q2_K};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };
/* Those with fused additions stand between the two that have none. */
static const char *const kernels[] = {"portable", "avx2", "avx_vnni", "avx512_vnni", "neon_dot", "amx", "amx_twin"};
enum { KERNELS = sizeof kernels / sizeof *kernels };

typedef struct scene {
    dk_host *host;
    dk_backend *backend;
    dk_queue queue;
    dk_parameter weight;
    dk_parameter *weights[1];
    dk_linear *linear;
    dk_view x, y;
    int64_t rows, lines, k;
    float *exact; /* [lines, k] weights */
} scene;

static dk_view take(scene *s, dk_dtype dtype, int64_t rows, int64_t columns)
{
    dk_buffer *buffer = NULL;
    if (s->backend->ops->buffer_create(s->backend, dk_dtype_bytes(dtype, rows * columns), &buffer, NULL)) exit(3);
    return dk_view_2d(buffer, 0, dtype, rows, columns);
}

static float number(uint64_t seed, int64_t i)
{
    return (float)(dk_random_uniform(seed, DK_STREAM_TEST, (uint64_t)i) * 4 - 2);
}

/* Of Q4_1 and K-quants bytes come as they may; halves, which stand where these say, are of both signs and so small that
 * values stay below 4. */
typedef struct layout {
    dk_dtype dtype;
    int32_t scale, least;           /* where it stands; -1 = there is none */
    uint8_t scale_high, least_high; /* the upper byte */
} layout;
static const layout layouts[] = {{DK_Q4_1, 0, 2, 0x2c, 0x30}, {DK_Q2_K, 80, 82, 0x28, 0x28},
                                 {DK_Q3_K, 108, -1, 0x24, 0}, {DK_Q4_K, 0, 2, 0x18, 0x28},
                                 {DK_Q5_K, 0, 2, 0x14, 0x28}, {DK_Q6_K, 208, -1, 0x0c, 0}};

static int32_t fill_blocks(dk_dtype dtype, uint8_t *block, int64_t numbers)
{
    const dk_dtype_info *type = dk_dtype_find(dtype);
    const layout *at = layouts;
    while (at < layouts + sizeof layouts / sizeof *layouts && at->dtype != dtype) at++;
    if (at == layouts + sizeof layouts / sizeof *layouts) return 0;
    for (int64_t b = 0; b < numbers / type->block; b++, block += type->bytes) {
        for (int i = 0; i < type->bytes; i++)
            block[i] = (uint8_t)(dk_random_u64(3, DK_STREAM_TEST, (uint64_t)(b * type->bytes + i)) >> 20);
        block[at->scale + 1] = (uint8_t)(at->scale_high + (b % 2 << 7));
        if (at->least >= 0) block[at->least + 1] = (uint8_t)(at->least_high + (b % 3 << 7));
    }
    return 1;
}

/* K that whole blocks fill. */
static int64_t whole(dk_dtype dtype, int64_t k)
{
    const int64_t block = dk_dtype_find(dtype)->block;
    return (k + block - 1) / block * block;
}

/* x of very different sizes from block to block; k is filled up to whole blocks. */
static void open_scene(scene *s, dk_dtype dtype, int64_t rows, int64_t lines, int64_t k, int64_t threads)
{
    memset(s, 0, sizeof *s);
    k = whole(dtype, k);
    s->rows = rows, s->lines = lines, s->k = k;
    if (dk_host_create(NULL, &s->host, NULL) || dk_host_set_threads(s->host, threads, NULL, NULL, NULL, NULL) ||
        dk_backend_cpu(s->host, &s->backend, NULL) || dk_queue_open(&s->queue, s->backend, NULL))
        exit(3);
    s->weight = (dk_parameter){.name = "w", .frozen = 1, .value = take(s, dtype, lines, k)};
    s->weights[0] = &s->weight;
    s->exact = malloc((size_t)(lines * k) * sizeof *s->exact);
    for (int64_t i = 0; i < lines * k; i++) s->exact[i] = number(7, i);
    if (!fill_blocks(dtype, dk_buffer_map(s->weight.value), lines * k))
        CHECK(dk_blocks_narrow(dtype, s->exact, dk_buffer_map(s->weight.value), lines * k));
    CHECK(dk_blocks_widen(dtype, dk_buffer_map(s->weight.value), s->exact, lines * k));
    dk_linear_spec spec = {.weights = s->weights, .count = 1, .uses = DK_USE_FORWARD};
    spec.precisions = s->backend->precisions;
    if (s->backend->ops->linear_create(s->backend, &spec, &s->linear, NULL)) exit(3);
    s->x = take(s, DK_F32, rows, k);
    s->y = take(s, DK_F32, rows, lines);
    float *x = dk_buffer_map(s->x);
    for (int64_t i = 0; i < rows * k; i++) x[i] = number(9, i) * (i / 32 % 3 ? 1 : 100);
}

static void close_scene(scene *s)
{
    const dk_ops *ops = s->backend->ops;
    ops->linear_free(s->backend, s->linear);
    ops->buffer_free(s->backend, s->weight.value.buffer);
    ops->buffer_free(s->backend, s->x.buffer);
    ops->buffer_free(s->backend, s->y.buffer);
    free(s->exact);
    dk_queue_close(&s->queue);
    dk_backend_free(s->backend);
    dk_host_release(s->host);
}

static const dk_int8 *use(scene *s, const char *kernel)
{
    dk_cpu *cpu = s->backend->state;
    const int32_t is_twin = !strcmp(kernel, "amx_twin");
    const dk_int8 *found = is_twin ? &dk_int8_amx_twin : dk_int8_named(kernel, s->backend->isa);
    if (found) cpu->int8 = found;
    return found;
}

static const float *multiply(scene *s, dk_precision precision)
{
    dk_error err = {0};
    s->backend->ops->linear_forward(&s->queue, s->linear, precision, s->x, s->y);
    CHECK_OK(dk_queue_wait(&s->queue, &err));
    return dk_buffer_map(s->y);
}

/* An activation is off by half a step of its block at most, 1/254 of its largest number; each block adds one rounding
 * of its product, one of the sum, and Q4_1 two more. */
static void check_bound(const scene *s, const float *y)
{
    const float *x = dk_buffer_map(s->x);
    for (int64_t r = 0; r < s->rows; r++)
        for (int64_t l = 0; l < s->lines; l++) {
            double sum = 0, off = 0, size = 0;
            for (int64_t b = 0; b < s->k; b += 32) {
                double most = 0, weights = 0;
                for (int64_t i = b; i < b + 32; i++) {
                    const double value = (double)x[r * s->k + i], weight = (double)s->exact[l * s->k + i];
                    sum += value * weight;
                    size += fabs(value * weight);
                    weights += fabs(weight);
                    most = fabs(value) > most ? fabs(value) : most;
                }
                off += weights * most / 254 * (1 + 1e-6);
            }
            const double rounding = (size + off) * 6e-8 * (double)(4 * (s->k / 32) + 8);
            if (fabs((double)y[r * s->lines + l] - sum) > off + rounding)
                FAIL("row %d, line %d: %g, not %g within %g", (int)r, (int)l, (double)y[r * s->lines + l], sum, off);
        }
}

static int has_none(void)
{
    scene s;
    open_scene(&s, DK_Q8_0, 1, 1, 32, 1);
    const int none = !(s.backend->precisions >> DK_PRECISION_INT8 & 1);
    close_scene(&s);
    return none;
}
#define REQUIRE_INT8() \
    if (has_none()) SKIP("this build or machine has no products of whole numbers beside CBLAS")

TEST(bounds) /* on every kernel, lines that fill no panel and that are fewer than one has */
{
    REQUIRE_INT8();
    static const int64_t shapes[][2] = {{1, 32}, {3, 64}, {16, 96}, {17, 32}, {33, 160}, {70, 608}};
    static const int64_t rows[] = {1, 2, 3, 4, 5, 6, 7, 8, 13, 16, 31, 64};
    int found = 0;
    for (size_t n = 0; n < KERNELS; n++)
        for (size_t i = 0; i < DTYPES * 6 * 12; i++) {
            const int64_t *shape = shapes[i / DTYPES % 6];
            scene s;
            open_scene(&s, dtypes[i % DTYPES], rows[i / DTYPES / 6], shape[0], shape[1], 2);
            if (use(&s, kernels[n])) check_bound(&s, multiply(&s, DK_PRECISION_INT8)), found++;
            close_scene(&s);
        }
    CHECK(found >= DTYPES * 6 * 12);
}

static void check_agreement(dk_dtype dtype, int64_t rows, const char *const *names, size_t count)
{
    static float first[MANY_ROWS * MOST_LINES];
    const size_t bytes = (size_t)(rows * MOST_LINES) * sizeof *first;
    scene s;
    int seen = 0;
    open_scene(&s, dtype, rows, MOST_LINES, MOST_K, 1);
    for (size_t n = 0; n < count; n++) {
        if (!use(&s, names[n])) continue;
        const float *y = multiply(&s, DK_PRECISION_INT8);
        if (seen++) CHECK(!memcmp(first, y, bytes));
        else memcpy(first, y, bytes);
    }
    close_scene(&s);
}

/* Whole sums are exact, and floats are added in one order: kernels with fused additions agree in every bit, and so do
 * those without. MANY_ROWS are more than a panel meets at a time. */
TEST(kernels_agree)
{
    REQUIRE_INT8();
    static const int64_t rows[] = {2, 5, 16, 19, 45, MANY_ROWS};
    static const char *const plain[] = {"portable", "amx_twin"};
    for (size_t i = 0; i < DTYPES; i++)
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
            check_agreement(dtypes[i], rows[r], kernels + 1, KERNELS - 2);
            check_agreement(dtypes[i], rows[r], plain, 2);
        }
}

/* Tiles are taken where the machine has them and the products may use them, and only there. */
TEST(choice)
{
    REQUIRE_INT8();
    const dk_int8 *tiles = dk_int8_named("amx", DK_ISA_AVX512), *dots = dk_int8_named("neon_dot", DK_ISA_PORTABLE);
    const dk_int8 *base = dots ? dots : &dk_int8_portable; /* NEON is no choice on aarch64 but what there is */
    scene s;
    dk_error err;
    open_scene(&s, DK_Q8_0, 3, 17, 64, 1);
    dk_cpu *cpu = s.backend->state;
    CHECK(dk_int8_choose(DK_ISA_AVX512, 0) != tiles || !tiles);
    if (tiles) CHECK(dk_int8_choose(DK_ISA_AVX512, 1) == tiles);
    CHECK(dk_int8_choose(DK_ISA_PORTABLE, 1) == base);
    CHECK_OK(dk_backend_set_products(s.backend, "portable", &err));
    CHECK(cpu->int8 == base);
    if (!dk_backend_set_products(s.backend, "avx512", &err)) CHECK(!cpu->int8->allow);
    close_scene(&s);
}

static int32_t refuse(void) { return 0; }

TEST(refused) /* what takes the place of tiles has their bits */
{
    REQUIRE_INT8();
    scene s;
    enum { ROWS = DK_INT8_FEW + 3 };
    float y[ROWS * 17];
    open_scene(&s, DK_Q8_0, ROWS, 17, 64, 1);
    dk_cpu *cpu = s.backend->state;
    dk_int8 refused = dk_int8_amx_twin;
    refused.allow = refuse;
    cpu->int8 = dk_int8_choose(s.backend->isa, 0);
    memcpy(y, multiply(&s, DK_PRECISION_INT8), sizeof y);
    cpu->int8 = &refused;
    memset(dk_buffer_map(s.y), 0, sizeof y);
    CHECK(!memcmp(multiply(&s, DK_PRECISION_INT8), y, sizeof y));
    close_scene(&s);
}

/* Each of so many rows by two threads as it is alone by one. */
static void check_alone(const char *kernel, dk_dtype dtype, int64_t rows)
{
    scene all, one;
    open_scene(&all, dtype, rows, MOST_LINES, 224, 2);
    open_scene(&one, dtype, 1, MOST_LINES, 224, 1);
    if (use(&all, kernel) && use(&one, kernel)) {
        const float *y = multiply(&all, DK_PRECISION_INT8), *x = dk_buffer_map(all.x);
        for (int64_t r = 0; r < rows; r++) {
            memcpy(dk_buffer_map(one.x), x + r * all.k, (size_t)all.k * sizeof *x);
            if (memcmp(multiply(&one, DK_PRECISION_INT8), y + r * MOST_LINES, MOST_LINES * sizeof *y))
                FAIL("%s: row %d of %d is not what it is alone", kernel, (int)r, (int)rows);
        }
    }
    close_scene(&all);
    close_scene(&one);
}

TEST(rows_and_threads) /* change no bit */
{
    REQUIRE_INT8();
    static const int64_t rows[] = {2, 3, 4, 5, 6, 7, 8, 9, 17, MOST_ROWS};
    for (size_t n = 0; n < KERNELS; n++)
        for (size_t i = 0; i < DTYPES; i++)
            for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) check_alone(kernels[n], dtypes[i], rows[r]);
}

TEST(odd_numbers) /* rows of NaN and infinity are the exact product's; tiny ones, zeros and huge ones stay in bounds */
{
    REQUIRE_INT8();
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    for (size_t n = 0; n < KERNELS; n++)
        for (size_t i = 0; i < DTYPES; i++) {
            scene s;
            static float exact[8 * 17];
            open_scene(&s, dtypes[i], 8, 17, 64, 1);
            if (use(&s, kernels[n])) {
                float *x = dk_buffer_map(s.x);
                for (int64_t at = 0; at < s.k; at++) {
                    x[3 * s.k + at] = 0;
                    x[4 * s.k + at] *= 1e-40f;
                    x[5 * s.k + at] *= 1e33f;
                    x[6 * s.k + at] *= at == 40 ? 1 : 1e-44f;
                }
                for (size_t k = 0; k < 3; k++) {
                    x[(int64_t)k * s.k + 33] = odd[k];
                    memcpy(exact, multiply(&s, DK_PRECISION_FULL), sizeof exact);
                    const float *y = multiply(&s, DK_PRECISION_INT8);
                    CHECK(!memcmp(y + k * 17, exact + k * 17, 17 * sizeof *y));
                    CHECK(!isfinite(y[k * 17]));
                }
                const float *y = multiply(&s, DK_PRECISION_INT8);
                for (int64_t v = 3 * 17; v < 8 * 17; v++)
                    CHECK_NEAR((double)y[v], (double)exact[v],
                               v / 17 == 5   ? 2e33 * (double)s.k
                               : v / 17 == 7 ? (double)s.k
                                             : 4);
                for (int64_t v = 3 * 17; v < 4 * 17; v++) CHECK(y[v] == 0);
            }
            close_scene(&s);
        }
}

TEST(other_weights) /* are multiplied exactly; CBLAS multiplies nothing so */
{
    REQUIRE_INT8();
    scene s;
    float exact[4 * 20];
    dk_error err = {0};
    open_scene(&s, DK_Q8_0, 4, 20, 64, 1);
    s.backend->ops->linear_free(s.backend, s.linear);
    s.backend->ops->buffer_free(s.backend, s.weight.value.buffer);
    s.weight.value = take(&s, DK_BF16, 20, 64);
    uint16_t *halves = dk_buffer_map(s.weight.value);
    for (int64_t i = 0; i < 20 * 64; i++) halves[i] = (uint16_t)(0x3f80 + i % 64);
    dk_linear_spec spec = {.weights = s.weights, .count = 1, .uses = DK_USE_FORWARD};
    spec.precisions = s.backend->precisions;
    CHECK_OK(s.backend->ops->linear_create(s.backend, &spec, &s.linear, &err));
    memcpy(exact, multiply(&s, DK_PRECISION_FULL), sizeof exact);
    CHECK(!memcmp(exact, multiply(&s, DK_PRECISION_INT8), sizeof exact));
    CHECK_OK(dk_backend_set_products(s.backend, "cblas", &err));
    CHECK_INT(dk_check_precision(s.backend, DK_PRECISION_INT8, "x", &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "int8");
    close_scene(&s);
}

TEST_MAIN(TEST_CASE(bounds) TEST_CASE(kernels_agree) TEST_CASE(choice) TEST_CASE(refused) TEST_CASE(rows_and_threads)
              TEST_CASE(odd_numbers) TEST_CASE(other_weights))
