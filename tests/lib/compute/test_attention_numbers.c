/* A key or value that is NaN or infinite reaches the queries that see it, and no other one: bits of those before it, of
 * those behind whose window has left it, and of other sequences are what they are without it. */
#include "compute_fixture.h"

enum { HEADS = 4, KEY_HEADS = 2, OTHER = 37 };

typedef struct scene {
    dk_precision precision;
    int64_t keys, queries, dim, window; /* keys of the first sequence, and how many of them are queries */
    double softcap;
    int32_t paged, dtype; /* dtype of k and v; 0 = F32 */
    int32_t what;         /* 1: a key is odd, 2: a value */
    int64_t odd; /* which one of the first sequence; -1 = none. From `keys` on: what lies in the page behind it */
    double with;
} scene;

/* Key i of sequence s stands in row ... */
static const int32_t pages[2][6] = {{3, 7, 1, 9, 5, 0}, {2, 4, 6, 8, 10, 11}};
static int64_t row_of(const scene *s, int64_t sequence, int64_t key)
{
    if (!s->paged) return sequence * s->keys + key;
    return pages[sequence][key / DK_PAGE] * DK_PAGE + key % DK_PAGE;
}

static void put(fx *f, dk_view view, int64_t row, double value)
{
    const int64_t width = view.shape[1] * view.shape[2];
    double *values = fx_read(f, view);
    for (int64_t i = 0; i < width; i++) values[row * width + i] = value;
    fx_write(f, view, values);
    free(values);
}

/* y of the first sequence's queries, then of the other's. */
static double *attend(dk_backend *backend, const scene *s)
{
    fx f = {.backend = backend};
    dk_error err = {0};
    CHECK_OK(dk_queue_open(&f.queue, backend, &err));
    const int64_t queries = s->queries + OTHER, rows = s->paged ? 12 * DK_PAGE : queries,
                  offsets[] = {0, s->queries, queries}, counts[] = {s->keys, OTHER},
                  q_shape[] = {queries, HEADS, s->dim}, k_shape[] = {rows, KEY_HEADS, s->dim};
    const int32_t *const of[] = {pages[0], pages[1]};
    dk_view q = fx_input(&f, 1, 0, -2, 2, 3, q_shape, 0), k = fx_input(&f, 2, s->dtype, -2, 2, 3, k_shape, 0),
            v = fx_input(&f, 3, s->dtype, -1, 1, 3, k_shape, 0), y = fx_view(&f, DK_F32, 3, q_shape, 0);
    if (s->odd >= 0) put(&f, s->what == 1 ? k : v, row_of(s, 0, s->odd), s->with);
    dk_attention_args args = {.sequences = 2,
                              .query_offsets = offsets,
                              .key_count = s->paged ? counts : NULL,
                              .key_pages = s->paged ? of : NULL,
                              .window = s->window,
                              .scale = 0.3,
                              .softcap = s->softcap,
                              .precision = s->precision};
    OPS(&f)->attention(&f.queue, &args, q, k, v, y, dk_view_none());
    double *out = fx_read(&f, y);
    CHECK_OK(dk_queue_wait(&f.queue, &err));
    for (int i = 0; i < f.buffer_count; i++) OPS(&f)->buffer_free(backend, f.buffers[i]);
    dk_queue_close(&f.queue);
    return out;
}

static int sees(const scene *s, int64_t query)
{
    const int64_t position = s->keys - s->queries + query;
    return query < s->queries && s->odd < s->keys && s->odd <= position &&
           (!s->window || s->odd > position - s->window);
}

static int is_right(const scene *s, int64_t query, const double *y, const double *without)
{
    const int64_t width = HEADS * s->dim;
    if (!sees(s, query)) return memcmp(y, without, (size_t)width * sizeof *y) == 0;
    for (int64_t i = 0; i < width; i++)
        if (s->what == 2 ? isfinite(y[i]) : isnan(s->with) && !isnan(y[i])) return 0;
    return 1;
}

static void check(dk_backend *backend, scene s)
{
    const scene none = {.precision = s.precision,
                        .keys = s.keys,
                        .queries = s.queries,
                        .dim = s.dim,
                        .window = s.window,
                        .softcap = s.softcap,
                        .paged = s.paged,
                        .dtype = s.dtype,
                        .odd = -1};
    const int64_t places[] = {0, s.keys / 2, s.keys - 1, s.keys};
    const double with[] = {NAN, INFINITY};
    double *without = attend(backend, &none);
    for (int i = 0; i < 2 * 4 * 2; i++) {
        s.what = i % 2 + 1;
        s.odd = places[i / 2 % 4];
        s.with = with[i / 8];
        if (s.odd == s.keys && (!s.paged || s.keys % DK_PAGE == 0)) continue; /* nothing of it lies there */
        double *y = attend(backend, &s);
        for (int64_t r = 0; r < s.queries + OTHER; r++)
            if (!is_right(&s, r, y + r * HEADS * s.dim, without + r * HEADS * s.dim)) {
                FAIL(
                    "%s, %s: %d keys, %d queries, dim %d, window %d, cap %g, paged %d, dtype %d: %s %d is %g, query %d",
                    backend->name, backend->products, (int)s.keys, (int)s.queries, (int)s.dim, (int)s.window, s.softcap,
                    s.paged, s.dtype, s.what == 1 ? "key" : "value", (int)s.odd, s.with, (int)r);
                break;
            }
        free(y);
    }
    free(without);
}

static void check_backend(dk_backend *backend)
{
    static const int64_t keys[] = {1, 65, 130}, dims[] = {5, 64};
    for (int p = DK_PRECISION_FULL; p <= DK_PRECISION_BF16; p++)
        for (int i = 0; i < 3 * 3 && backend->precisions >> p & 1; i++) {
            const int way = i % 3;
            check(backend, (scene){.precision = (dk_precision)p,
                                   .keys = keys[i / 3],
                                   .queries = keys[i / 3],
                                   .dim = dims[i % 2],
                                   .window = way == 1 ? 20 : 0,
                                   .softcap = way == 2 ? 3 : 0});
        }
    for (int i = 0; i < 3 * 2 * 3; i++) { /* one query, few and many, in pages */
        const int64_t count = keys[i / 6], asked[] = {1, 3, 70};
        check(backend, (scene){.keys = count,
                               .queries = asked[i % 3] < count ? asked[i % 3] : count,
                               .dim = dims[i % 2],
                               .window = i % 4 ? 20 : 0,
                               .paged = 1,
                               .dtype = i / 3 % 2 ? DK_BF16 : DK_F32});
    }
    dk_backend_free(backend);
}

TEST(reference) { check_backend(fx_reference(DK_F32)); }

TEST(cpu)
{
    for (int32_t isa = DK_ISA_PORTABLE; isa <= DK_ISA_AVX512; isa++) {
        dk_backend *backend = fx_cpu(isa, 2);
        if (backend) check_backend(backend);
    }
}

TEST(rounded) /* by the instructions that auto leaves out */
{
    static const char *const names[] = {"avx512_bf16", "avx512"};
    for (int i = 0; i < 2; i++) {
        dk_backend *backend = fx_cpu(DK_ISA_AVX512, 2);
        dk_error err;
        if (backend && !dk_backend_set_products(backend, names[i], &err)) check_backend(backend);
        else dk_backend_free(backend);
    }
}

TEST_MAIN(TEST_CASE(reference) TEST_CASE(cpu) TEST_CASE(rounded))
