/* The rows contract of compute.h: what a row gives does not depend on the rows beside it. Bits are compared. */
#include "compute_fixture.h"

static dk_view values(fx *f, int seed, int dtype, int64_t rows, int64_t columns, int64_t gap)
{
    int64_t shape[2] = {rows, columns};
    return fx_input(f, seed, dtype, -1, 1, 2, shape, gap);
}

static int same_rows(fx *f, dk_view a, dk_view b)
{
    double *x = fx_read(f, a), *y = fx_read(f, b);
    int same = memcmp(x, y, (size_t)fx_count(a) * sizeof *x) == 0;
    free(x);
    free(y);
    return same;
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

/* Row r alone against row r among n, for few n and many: on either side of where another driver takes over. */
static const int64_t counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 14, 15, 17, 28, 33, 63, 64, 65, 97};
#define COUNTS ((int64_t)(sizeof counts / sizeof *counts))

static void compare_rows(fx *f, const dk_linear *linear, dk_precision precision, dk_view x, dk_view y, dk_view alone,
                         const char *what)
{
    int64_t most = x.shape[0];
    for (int64_t r = 0; r < most; r++)
        OPS(f)->linear_forward(&f->queue, linear, precision, dk_view_rows(x, r, 1), dk_view_rows(alone, r, 1));
    for (int64_t i = 0; i < COUNTS && counts[i] <= most; i++) {
        int64_t n = counts[i];
        OPS(f)->linear_forward(&f->queue, linear, precision, dk_view_rows(x, most - n, n), dk_view_rows(y, 0, n));
        if (!same_rows(f, dk_view_rows(alone, most - n, n), dk_view_rows(y, 0, n)))
            FAIL("%s, %s: %d rows of %s: other bits than alone", f->backend->name, dk_precision_name(precision), (int)n,
                 what);
    }
}

static void check_product(dk_backend *backend, int64_t in, int64_t out, int32_t in_out, int dtype)
{
    fx f;
    begin(&f, backend);
    int64_t last = counts[COUNTS - 1], most = backend->invariant_rows < last ? backend->invariant_rows : last;
    dk_parameter weight = {.name = "w", .frozen = 1}, bias = {.name = "b", .frozen = 1}, *w[] = {&weight},
                 *b[] = {&bias};
    weight.value = values(&f, 1, dtype, in_out ? in : out, in_out ? out : in, 0);
    bias.value = fx_input_1d(&f, 2, dtype, -1, 1, out);
    dk_linear_spec spec = {
        .weights = w, .biases = b, .count = 1, .in_out = in_out, .uses = DK_USE_ALL, .precisions = backend->precisions};
    dk_linear *linear = NULL;
    dk_error err;
    char what[64];
    (void)snprintf(what, sizeof what, "[%d, %d]%s, dtype %d", (int)in, (int)out, in_out ? "^T" : "", dtype);
    REQUIRE_OK(OPS(&f)->linear_create(backend, &spec, &linear, &err));
    dk_view x = values(&f, 3, 0, most, in, 5), y = values(&f, 4, 0, most, out, 3), one = values(&f, 5, 0, most, out, 0);
    for (int p = 0; p <= DK_PRECISION_BF16; p++)
        if (backend->precisions >> p & 1) compare_rows(&f, linear, (dk_precision)p, x, y, one, what);
    OPS(&f)->linear_free(backend, linear);
    end(&f);
}

static void check_products(dk_backend *backend)
{
    static const int64_t sizes[][2] = {{1, 1}, {7, 5}, {67, 130}, {256, 300}, {515, 33}};
    static const int dtypes[] = {DK_F32, DK_F16, DK_BF16};
    CHECK(backend->invariant_rows >= 1);
    for (int s = 0; s < 5; s++)
        for (int d = 0; d < 3; d++)
            for (int32_t in_out = 0; in_out < 2; in_out++)
                check_product(backend, sizes[s][0], sizes[s][1], in_out, dtypes[d]);
}

typedef struct keys {
    dk_view q, k, v, y, part;
    int64_t window;
    double softcap;
    dk_precision precision;
} keys;

/* Queries [from, from + n) of the sequence whose keys begin at row `first`. */
static void attend(fx *f, const keys *s, int64_t first, int64_t from, int64_t n, dk_view y)
{
    int64_t offsets[2] = {0, n}, seen = from + n;
    dk_attention_args args = {.sequences = 1,
                              .query_offsets = offsets,
                              .key_first = &first,
                              .key_count = &seen,
                              .window = s->window,
                              .scale = 0.3,
                              .softcap = s->softcap,
                              .precision = s->precision};
    OPS(f)->attention(&f->queue, &args, dk_view_rows(s->q, from, n), s->k, s->v, y, dk_view_none());
}

/* A whole prompt, pieces of it, and one query after the other give the same bits; so do neighbours in one call. */
static void check_attention(dk_backend *backend, dk_precision precision, int64_t count, int64_t dim, int64_t window,
                            double softcap)
{
    enum { OTHER = 300 };
    static const int64_t pieces[] = {1, 3, 64, 100};
    fx f;
    begin(&f, backend);
    int64_t q_shape[3] = {count + OTHER, 4, dim}, k_shape[3] = {count + OTHER, 2, dim};
    keys s = {.window = window, .softcap = softcap, .precision = precision};
    s.q = fx_input(&f, 1, 0, -2, 2, 3, q_shape, 0);
    s.k = fx_input(&f, 2, 0, -2, 2, 3, k_shape, 0);
    s.v = fx_input(&f, 3, 0, -1, 1, 3, k_shape, 0);
    s.y = fx_view(&f, backend->real, 3, q_shape, 0);
    s.part = fx_view(&f, backend->real, 3, q_shape, 0);
    attend(&f, &s, 0, 0, count, dk_view_rows(s.y, 0, count));
    for (int p = 0; p < 4; p++) {
        for (int64_t at = 0; at < count; at += pieces[p]) {
            int64_t n = count - at < pieces[p] ? count - at : pieces[p];
            attend(&f, &s, 0, at, n, dk_view_rows(s.part, at, n));
        }
        if (!same_rows(&f, dk_view_rows(s.y, 0, count), dk_view_rows(s.part, 0, count)))
            FAIL("%s, %s: dim %d, window %d: pieces of %d have other bits than the whole", backend->name,
                 dk_precision_name(precision), (int)dim, (int)window, (int)pieces[p]);
    }
    int64_t offsets[3] = {0, count, count + OTHER};
    dk_attention_args both = {.sequences = 2,
                              .query_offsets = offsets,
                              .window = window,
                              .scale = 0.3,
                              .softcap = softcap,
                              .precision = precision};
    OPS(&f)->attention(&f.queue, &both, s.q, s.k, s.v, s.part, dk_view_none());
    if (!same_rows(&f, dk_view_rows(s.y, 0, count), dk_view_rows(s.part, 0, count)))
        FAIL("%s: dim %d, window %d: other bits beside a longer sequence", backend->name, (int)dim, (int)window);
    end(&f);
}

/* Many keys are cut into pieces where one query alone would keep a thread waiting: eight at once, which are not, have
 * the bits of each. */
static void check_pieces(dk_backend *backend, int64_t count, int64_t dim, int64_t window)
{
    enum { TEXTS = 8 };
    int64_t offsets[TEXTS + 1], first[TEXTS] = {0}, keys_of[TEXTS];
    fx f;
    begin(&f, backend);
    int64_t q_shape[3] = {TEXTS, 6, dim}, k_shape[3] = {count, 2, dim};
    dk_view q = fx_input(&f, 1, 0, -2, 2, 3, q_shape, 0), k = fx_input(&f, 2, 0, -2, 2, 3, k_shape, 0),
            v = fx_input(&f, 3, 0, -1, 1, 3, k_shape, 0), y = fx_view(&f, backend->real, 3, q_shape, 0),
            one = fx_view(&f, backend->real, 3, q_shape, 0);
    for (int64_t s = 0; s <= TEXTS; s++) offsets[s] = s;
    for (int64_t s = 0; s < TEXTS; s++) keys_of[s] = count - 37 * s;
    dk_attention_args args = {.query_offsets = offsets, .key_first = first, .window = window, .scale = 0.3};
    args.sequences = TEXTS;
    args.key_count = keys_of;
    OPS(&f)->attention(&f.queue, &args, q, k, v, y, dk_view_none());
    args.sequences = 1;
    for (int64_t s = 0; s < TEXTS; s++) {
        args.key_count = keys_of + s;
        OPS(&f)->attention(&f.queue, &args, dk_view_rows(q, s, 1), k, v, dk_view_rows(one, s, 1), dk_view_none());
    }
    if (!same_rows(&f, y, one))
        FAIL("%s: %d keys, dim %d, window %d: one text has other bits than eight", backend->name, (int)count, (int)dim,
             (int)window);
    end(&f);
}

static void check_backend(dk_backend *backend)
{
    static const int64_t dims[] = {5, 16, 64};
    if (!backend) return;
    check_products(backend);
    int slow = backend->real == DK_F64; /* the reference */
    for (int p = 0; p <= DK_PRECISION_BF16; p++)
        for (int d = 0; d < (slow ? 1 : 3) && backend->precisions >> p & 1; d++) {
            check_attention(backend, (dk_precision)p, 210, dims[d], 0, 0);
            check_attention(backend, (dk_precision)p, 210, dims[d], 40, 0);
            check_attention(backend, (dk_precision)p, 210, dims[d], 100, 3);
        }
    if (!slow) check_attention(backend, DK_PRECISION_FULL, 600, 16, 0, 0);
    if (!slow) check_attention(backend, DK_PRECISION_FULL, 600, 20, 270, 0);
    for (int d = 0; d < 3; d++) {
        check_pieces(backend, 700, dims[d], 0);
        check_pieces(backend, 1025, dims[d], 300);
    }
    dk_backend_free(backend);
}

TEST(reference) { check_backend(fx_reference(DK_F64)); }

TEST(cpu)
{
    for (int32_t isa = DK_ISA_PORTABLE; isa <= DK_ISA_AVX512; isa++) check_backend(fx_cpu(isa, 2));
}

TEST_MAIN(TEST_CASE(reference) TEST_CASE(cpu))
