/* The CPU backend, in every instruction set of this machine, against the double reference; bits for one and three
 * threads. */
#include "compute_cases.h"

#define COMPARE(tolerance, products, run, ...) \
    fx_compare(#run, run, (const int64_t[8]){__VA_ARGS__}, tolerance, products)

TEST(linear)
{
    static const int64_t sizes[][4] = {{1, 1, 1, 0},    {1, 67, 130, 0}, {2, 33, 200, 7}, {3, 40, 17, 140},
                                       {4, 64, 300, 0}, {5, 33, 19, 0},  {37, 70, 45, 31}};
    static const int64_t dtypes[] = {0, DK_F32, DK_F16, DK_BF16};
    for (int s = 0; s < 7; s++)
        for (int d = 0; d < 4; d++)
            for (int64_t in_out = 0; in_out < 2; in_out++)
                COMPARE(2e-6, 1, case_linear, sizes[s][0], sizes[s][1], sizes[s][2], sizes[s][3], in_out, dtypes[d],
                        d == 1 ? 0 : 5);
    COMPARE(2e-6, 1, case_linear, 6, 2500, 300, 0, 0, DK_BF16, 0); /* several panels */
    COMPARE(2e-6, 1, case_linear, 6, 300, 2500, 10, 1, DK_F16, 0);
}

TEST(norm)
{
    static const int64_t widths[] = {1, 3, 16, 31, 192, 515};
    /* a row of one entry has a gradient near 0: only cancellation is left */
    for (int64_t kind = DK_NORM_RMS; kind <= DK_NORM_LAYER; kind++) {
        for (int w = 0; w < 6; w++) {
            COMPARE(w ? 4e-6 : 1e-4, 0, case_norm, kind, 5, 0, widths[w], kind == DK_NORM_LAYER, 0, 0, 0);
            COMPARE(w ? 4e-6 : 1e-4, 0, case_norm, kind, 300, 0, widths[w], 1, DK_BF16, 3, 1);
            COMPARE(w ? 4e-6 : 1e-4, 0, case_norm, kind, 7, 3, widths[w], 0, DK_F16, 4, 0);
        }
    }
}

TEST(glu)
{
    for (int64_t kind = DK_ACT_SILU; kind <= DK_ACT_RELU; kind++) {
        COMPARE(1e-6, 0, case_glu, kind, 3, 7, 1, 2, 3);
        COMPARE(1e-6, 0, case_glu, kind, 70, 515, 1, 0, 10);
        COMPARE(1e-6, 0, case_glu, kind, 70, 515, 0, 5, 6);
        COMPARE(1e-6, 0, case_glu, kind, 2, 40, 1, 0, 200);
    }
}

TEST(rope)
{
    COMPARE(1e-6, 0, case_rope, 5, 2, 6, 6, 3);
    COMPARE(1e-6, 0, case_rope, 300, 3, 64, 64, 0);
    COMPARE(1e-6, 0, case_rope, 7, 3, 70, 38, 5);
    COMPARE(1e-6, 0, case_rope, 2, 1, 1100, 1100, 0);
}

TEST(embed)
{
    static const int64_t dtypes[] = {0, DK_F32, DK_F16, DK_BF16};
    for (int d = 0; d < 4; d++) {
        COMPARE(2e-6, 0, case_embed, 40, 7, 33, dtypes[d], 0);
        COMPARE(2e-6, 0, case_embed, 700, 11, 530, dtypes[d], 1);
    }
}

TEST(log_softmax)
{
    static const int64_t temperatures[] = {5, 100, 200, 10000};
    for (int t = 0; t < 4; t++) {
        COMPARE(2e-6, 0, case_log_softmax, 3, 1, 1, temperatures[t], 0, 0, 0, 5);
        COMPARE(2e-6, 0, case_log_softmax, 5, 70, 67, temperatures[t], 0, 1, 3, 8);
        /* T = 0.05 makes 20 ulp of one of z */
        COMPARE(t ? 4e-6 : 1e-4, 0, case_log_softmax, 9, 5000, 4999, temperatures[t], 30, 1, 0, 60);
        COMPARE(2e-6, 0, case_log_softmax, 4, 300, 300, temperatures[t], 0, 0, 0, 20000); /* logits to +-1e4 */
    }
}

/* Every entry of log q to 1e-6 of itself (of 1e-9 where it is smaller: 1 + rest in double), gradients to 1e-6 of the
 * row's largest, over all temperatures of a loss; p: width, 1000*temperature, shape of the logits. */
static void case_precise_softmax(fx *f)
{
    enum { ROWS = 4 };
    int64_t width = f->p[0], kind = f->p[2], n = ROWS * width;
    double temperature = (double)f->p[1] / 1000, *z = calloc((size_t)n, sizeof *z);
    for (int64_t i = 0; i < n; i++) {
        double u = dk_random_uniform(7, DK_STREAM_TEST, (uint64_t)i);
        if (kind == 0) z[i] = 20 * u - 10;                                     /* plain */
        else if (kind == 1) z[i] = i % width == 5 ? 30 + u : 12 * u;           /* sure of one */
        else if (kind == 2) z[i] = temperature * (i % width < 2 ? 25 : 5 * u); /* sure of two that tie */
        else z[i] = 1e4 + 8 * temperature * u;                                 /* far from 0 */
        z[i] = (double)(float)z[i];
    }
    dk_view logits = fx_view(f, f->backend->real, 2, (int64_t[]){ROWS, width}, 0),
            h = fx_input_2d(f, 2, -1, 1, ROWS, width, 0);
    dk_view y = fx_view(f, f->backend->real, 2, logits.shape, 0);
    fx_write(f, logits, z);
    free(z);
    OPS(f)->log_softmax(&f->queue, logits, width, temperature, y);
    fx_out(f, y);
    OPS(f)->log_softmax_backward(&f->queue, y, width, temperature, dk_view_none(), h);
    fx_out(f, h);
}

static void check_precise(const int64_t *p)
{
    dk_backend *reference = fx_reference(DK_F64);
    fx want = {0};
    fx_run(&want, reference, case_precise_softmax, p);
    for (int32_t isa = DK_ISA_PORTABLE; isa <= DK_ISA_AVX512; isa++) {
        dk_backend *backend = fx_cpu(isa, 1);
        fx got = {0};
        if (!backend) continue;
        fx_run(&got, backend, case_precise_softmax, p);
        double worst = 0, largest = 1e-30, slopes = 0;
        for (int64_t i = 0; i < want.ends[0]; i++)
            worst = test_worst(worst, fabs(got.out[i] - want.out[i]) / fmax(fabs(want.out[i]), 1e-9));
        for (int64_t i = want.ends[0]; i < want.ends[1]; i++) {
            largest = fmax(largest, fabs(want.out[i]));
            slopes = test_worst(slopes, fabs(got.out[i] - want.out[i]));
        }
        if (!(worst <= 1e-6 && slopes <= 1e-6 * largest))
            FAIL("log_softmax%s on %s: values off by %.3g, gradients by %.3g", fx_name(p), backend->name, worst,
                 slopes / largest);
        free(got.out);
        dk_backend_free(backend);
    }
    free(want.out);
    dk_backend_free(reference);
}

TEST(log_softmax_precision)
{
    static const int64_t temperatures[] = {50, 100, 300, 1000, 7000, 100000};
    for (int t = 0; t < 6; t++)
        for (int64_t kind = 0; kind < 4; kind++) {
            check_precise((const int64_t[8]){67, temperatures[t], kind});
            check_precise((const int64_t[8]){5000, temperatures[t], kind});
        }
}

TEST(attention)
{
    static const int64_t dims[] = {1, 5, 32, 40, 64, 128};
    for (int d = 0; d < 6; d++) {
        COMPARE(4e-6, 0, case_attention, 0, 1, 1, dims[d], 0, 0, 0, 1);
        COMPARE(4e-6, 0, case_attention, 1, 3, 2, dims[d], 0, 0, 3, 40);
        COMPARE(4e-6, 0, case_attention, 2, 2, 1, dims[d], 20, 0, 0, 20);
        COMPARE(4e-6, 0, case_attention, 2, 1, 5, dims[d], 7, 3, 5, 9);
    }
    COMPARE(4e-6, 0, case_attention, 0, 1, 70, 8, 0, 0, 0, 20); /* a group wider than a block */
    COMPARE(4e-6, 0, case_attention, 0, 2, 2, 16, 100, 0, 0, 500);
    COMPARE(8e-6, 0, case_attention, 0, 1, 1, 16, 0, 0, 0, 1500);
}

/* Around the blocks of 32 lanes, 64 keys and 128 queries, in both precisions. In BF16 operands are exact, weights and
 * slopes are rounded once, to 2^-9 of themselves. */
TEST(attention_blocks)
{
    static const int64_t lengths[] = {1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 193, 300};
    static const int64_t dims[] = {3, 5, 32, 40, 64, 72, 96, 128, 130, 256};
    static const int64_t groups[] = {1, 2, 8};
    for (int64_t kind = 0; kind <= 10; kind += 10) {
        const double tolerance = kind ? 6e-3 : 4e-6;
        for (int l = 0; l < 13; l++)
            COMPARE(tolerance, 0, case_attention, kind, 1, groups[l % 2], 8, l % 3 ? 1 + lengths[l] / 3 : 0, 0, 3,
                    lengths[l]);
        for (int d = 0; d < 10; d++) {
            COMPARE(tolerance, 0, case_attention, kind, 1, groups[d % 3], dims[d], 0, 0, 5, 37);
            COMPARE(tolerance, 0, case_attention, kind + 2, 2, 2, dims[d], 13, 3, 4, 17);
        }
        COMPARE(tolerance, 0, case_attention, kind, 1, 1, 4, 0, 0, 0, 1000);
        COMPARE(tolerance, 0, case_attention, kind, 1, 1, 4, 200, 20, 0, 600);
        COMPARE(tolerance, 0, case_attention, kind, 1, 40, 8, 0, 0, 0, 70);
    }
}

/* What each set of products that this machine has makes of it, told to the backend by name. */
static void check_attention_by(const char *products, const int64_t *p, double tolerance)
{
    dk_backend *backend = NULL, *reference = fx_reference(DK_F64);
    fx want = {0}, got = {0};
    dk_error err = {0};
    for (int32_t isa = DK_ISA_AVX512; !backend; isa--) backend = fx_cpu(isa, 2);
    int32_t rc = dk_backend_set_products(backend, products, &err);
    if (rc) CHECK_HAS(err.message, fx_missing());
    if (!rc && (p[0] < 10 || backend->precisions >> DK_PRECISION_BF16 & 1)) {
        fx_run(&want, reference, case_attention, p);
        fx_run(&got, backend, case_attention, p);
        double error = fx_error(&got, &want);
        if (!(error <= tolerance))
            FAIL("attention%s by %s: error %.3g above %.3g", fx_name(p), products, error, tolerance);
    }
    free(want.out);
    free(got.out);
    dk_backend_free(backend);
    dk_backend_free(reference);
}

TEST(attention_by_products)
{
    static const char *const products[] = {"amx", "avx512_bf16", "avx512", "avx2", "portable", "cblas"};
    for (int i = 0; i < 6; i++)
        for (int64_t kind = 0; kind <= 10; kind += 10) {
            const double tolerance = kind ? 6e-3 : 4e-6;
            check_attention_by(products[i], (const int64_t[8]){kind, 2, 3, 40, 0, 0, 3, 150}, tolerance);
            check_attention_by(products[i], (const int64_t[8]){kind + 2, 1, 2, 130, 50, 5, 0, 30}, tolerance);
        }
}

/* p: rows, width, gap of x, gap of y */
static void case_elementwise(fx *f)
{
    dk_view x = fx_input_2d(f, 1, -1, 1, f->p[0], f->p[1], f->p[2]),
            y = fx_input_2d(f, 2, -1, 1, f->p[0], f->p[1], f->p[3]);
    dk_view z = fx_view(f, f->backend->real, 2, x.shape, 0), few = dk_view_rows(z, 0, f->p[0] / 2);
    OPS(f)->add(&f->queue, x, y, z);
    fx_out(f, z);
    OPS(f)->add(&f->queue, z, y, z);
    OPS(f)->axpy(&f->queue, 0.3, x, z);
    OPS(f)->scale(&f->queue, z, -1.7);
    OPS(f)->axpy(&f->queue, 2.5, z, y);
    fx_out(f, y);
    int64_t n = f->p[0] / 2;
    dk_view rows = fx_ids(f, 5, n, f->p[0]), distinct = fx_view(f, DK_I32, 1, &n, 0);
    double *ids = calloc((size_t)n + 1, sizeof *ids);
    for (int64_t i = 0; i < n; i++) ids[i] = (double)(f->p[0] - 1 - 2 * i);
    fx_write(f, distinct, ids);
    free(ids);
    OPS(f)->gather_rows(&f->queue, x, rows, few);
    fx_out(f, few);
    OPS(f)->scatter_rows(&f->queue, few, distinct, y, 1);
    fx_out(f, y);
    OPS(f)->scatter_rows(&f->queue, few, distinct, x, 0);
    fx_out(f, x);
    int64_t one = 1;
    dk_view sum = fx_input_1d(f, 6, DK_F64, 1, 2, 1), factor = fx_view(f, DK_F64, 1, &one, 0),
            norm = fx_view(f, DK_F64, 1, &one, 0);
    OPS(f)->sum_squares(&f->queue, x, sum);
    OPS(f)->clip_factor(&f->queue, sum, 4, 0.5, factor, norm);
    fx_out(f, factor);
    fx_out(f, norm);
    OPS(f)->clip_factor(&f->queue, sum, 4, 0, factor, norm);
    fx_out(f, factor);
    OPS(f)->fill(&f->queue, y, 0.25);
    fx_out(f, y);
}

/* p: rows, experts, used, alone, gap, whole numbers (ties) */
static void case_route(fx *f)
{
    int64_t shape[2] = {f->p[0], f->p[2]}, n = f->p[0] * f->p[2];
    dk_view z = fx_input_2d(f, 1, -4, 4, f->p[0], f->p[1], f->p[4]), x = fx_input_2d(f, 2, -1, 1, f->p[0], 37, f->p[4]),
            y = fx_input_2d(f, 3, -1, 1, f->p[0], 37, 0);
    dk_view chosen = fx_view(f, DK_I32, 2, shape, 0), weights = fx_view(f, f->backend->real, 2, shape, 0);
    double *values = fx_read(f, z), *ids = calloc((size_t)f->p[0] + 1, sizeof *ids);
    for (int64_t i = 0; f->p[5] && i < f->p[0] * f->p[1]; i++) values[i] = floor(values[i] / 2);
    fx_write(f, z, values);
    OPS(f)->route(&f->queue, z, (int32_t)f->p[3], chosen, weights);
    fx_out(f, chosen);
    fx_out(f, weights);
    double *got = fx_read(f, chosen);
    for (int64_t i = 0; i < n; i++) { /* none left out is higher, or as high with a lower id */
        const double *row = values + i / f->p[2] * f->p[1];
        int64_t id = (int64_t)got[i];
        for (int64_t e = 0, seen = 0; e < f->p[1]; e++, seen = 0) {
            for (int64_t k = i / f->p[2] * f->p[2]; k < (i / f->p[2] + 1) * f->p[2]; k++) seen += (int64_t)got[k] == e;
            CHECK(seen || row[e] < row[id] || (!(row[e] > row[id]) && e > id));
        }
    }
    for (int64_t i = 0; i < f->p[0]; i++) ids[i] = (double)(f->p[0] - 1 - i);
    dk_view rows = fx_view(f, DK_I32, 1, &f->p[0], 0);
    fx_write(f, rows, ids);
    OPS(f)->scatter_weighted(&f->queue, x, rows, fx_input_1d(f, 4, 0, -1, 1, f->p[0]), y);
    fx_out(f, y);
    free(values);
    free(ids);
    free(got);
}

TEST(route)
{
    COMPARE(1e-6, 0, case_route, 1, 1, 1, 1, 0, 0);
    COMPARE(1e-6, 0, case_route, 300, 8, 2, 1, 3, 0);
    COMPARE(1e-6, 0, case_route, 300, 8, 8, 0, 0, 1);
    COMPARE(1e-6, 0, case_route, 40, 128, 8, 0, 0, 0);
    COMPARE(1e-6, 0, case_route, 40, 60, 4, 1, 5, 1);
}

TEST(elementwise)
{
    COMPARE(1e-6, 0, case_elementwise, 3, 1, 0, 0);
    COMPARE(1e-6, 0, case_elementwise, 9, 37, 3, 0);
    COMPARE(1e-6, 0, case_elementwise, 8, 40000, 0, 0);
    COMPARE(1e-6, 0, case_elementwise, 400, 200, 0, 6);
}

/* p: rows, width, gap, steps */
static void run_adamw(fx *f, dk_dtype moments)
{
    dk_view p = fx_input_2d(f, 1, -1, 1, f->p[0], f->p[1], f->p[2]), factor = fx_input_1d(f, 3, DK_F64, 0.2, 0.4, 1);
    dk_view m = fx_view(f, moments, 2, p.shape, f->p[2]), v = fx_view(f, moments, 2, p.shape, 0);
    dk_adamw_args args = {.learning_rate = 1e-2, .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.1};
    for (args.step = 1; args.step <= f->p[3]; args.step++) {
        dk_view g = fx_input_2d(f, 10 + (int)args.step, -1, 1, f->p[0], f->p[1], 0);
        OPS(f)->adamw(&f->queue, &args, args.step == 2 ? dk_view_none() : factor, p, g, m, v);
    }
    fx_out(f, p);
    fx_out(f, m);
    fx_out(f, v);
}

static void case_adamw(fx *f) { run_adamw(f, f->backend->real); }

/* Sums differ in their last bits, so a moment may be rounded to the next number of 8 bits. */
static void case_adamw_bf16(fx *f) { run_adamw(f, DK_BF16); }

TEST(adamw)
{
    COMPARE(1e-6, 0, case_adamw, 1, 5, 0, 4);
    COMPARE(1e-6, 0, case_adamw, 70, 533, 3, 4);
    COMPARE(1e-6, 0, case_adamw, 40, 1000, 0, 4);
    COMPARE(2e-2, 0, case_adamw_bf16, 1, 5, 0, 4);
    COMPARE(2e-2, 0, case_adamw_bf16, 70, 533, 3, 4);
    COMPARE(2e-2, 0, case_adamw_bf16, 40, 1000, 0, 4);
}

/* p: dtype of x, dtype of y, columns, turned */
static void case_convert(fx *f)
{
    int64_t shape[2] = {5, f->p[2]}, back[2] = {f->p[2], 5};
    dk_view x = fx_input(f, 1, (int)f->p[0], -300, 300, 2, shape, 3),
            y = fx_view(f, (dk_dtype)f->p[1], 2, f->p[3] ? back : shape, 2);
    if (f->p[3]) {
        dk_view turned = y;
        turned.shape[0] = y.shape[1], turned.shape[1] = y.shape[0];
        turned.stride[0] = y.stride[1], turned.stride[1] = y.stride[0];
        OPS(f)->convert(&f->queue, x, turned);
    } else {
        OPS(f)->convert(&f->queue, x, y);
    }
    fx_out(f, y);
}

TEST(convert)
{
    static const int64_t dtypes[] = {DK_F32, DK_F64, DK_F16, DK_BF16};
    for (int x = 0; x < 4; x++)
        for (int y = 0; y < 4; y++)
            for (int64_t turned = 0; turned < 2; turned++)
                COMPARE(0, 0, case_convert, dtypes[x], dtypes[y], 700, turned);
}

/* Where a decoder with a cache asks for the last queries only, it gets the rows of the whole. p: dim, window, cap, rows
 * at a time */
static void case_cache(fx *f)
{
    enum { KEYS = 600, SPARE = 9 }; /* pieces of 256 */
    int64_t dim = f->p[0], q_shape[3] = {2 * KEYS, 4, dim}, k_shape[3] = {2 * KEYS + SPARE, 2, dim};
    int64_t offsets[3] = {0, KEYS, 2 * KEYS};
    dk_attention_args whole = {
        .sequences = 2, .query_offsets = offsets, .window = f->p[1], .scale = 0.3, .softcap = (double)f->p[2]};
    dk_view q = fx_input(f, 1, 0, -2, 2, 3, q_shape, 0), k = fx_input(f, 2, 0, -2, 2, 3, k_shape, 0),
            v = fx_input(f, 3, 0, -1, 1, 3, k_shape, 0);
    dk_view y = fx_view(f, f->backend->real, 3, q_shape, 0), part = fx_view(f, f->backend->real, 3, q_shape, 0);
    OPS(f)->attention(&f->queue, &whole, q, dk_view_rows(k, SPARE, 2 * KEYS), dk_view_rows(v, SPARE, 2 * KEYS), y,
                      dk_view_none());
    for (int64_t at = 0; at < KEYS; at += f->p[3]) {
        int64_t n = KEYS - at < f->p[3] ? KEYS - at : f->p[3];
        for (int64_t s = 0; s < 2; s++) {
            int64_t queries[2] = {0, n}, first = SPARE + s * KEYS, count = at + n;
            dk_attention_args args = whole;
            args.sequences = 1;
            args.query_offsets = queries;
            args.key_first = &first;
            args.key_count = &count;
            OPS(f)->attention(&f->queue, &args, dk_view_rows(q, s * KEYS + at, n), k, v,
                              dk_view_rows(part, s * KEYS + at, n), dk_view_none());
        }
    }
    double *a = fx_read(f, y), *b = fx_read(f, part), worst = 0;
    for (int64_t i = 0; i < fx_count(y); i++) worst = test_worst(worst, fabs(a[i] - b[i]));
    CHECK_NEAR(worst, 0, 2e-6);
    fx_out(f, part);
    free(a);
    free(b);
}

TEST(cache)
{
    COMPARE(4e-6, 0, case_cache, 16, 0, 0, 1);
    COMPARE(4e-6, 0, case_cache, 20, 40, 0, 1);
    COMPARE(4e-6, 0, case_cache, 16, 40, 3, 7);
    COMPARE(4e-6, 0, case_cache, 16, 0, 0, 64);
}

TEST_MAIN(TEST_CASE(linear) TEST_CASE(norm) TEST_CASE(glu) TEST_CASE(rope) TEST_CASE(embed) TEST_CASE(log_softmax)
              TEST_CASE(log_softmax_precision) TEST_CASE(attention) TEST_CASE(attention_blocks)
                  TEST_CASE(attention_by_products) TEST_CASE(route) TEST_CASE(elementwise) TEST_CASE(adamw)
                      TEST_CASE(convert) TEST_CASE(cache))
