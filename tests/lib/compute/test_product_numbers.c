/* What is no ordinary number, in the operands of products and beside them: NaN of any payload, infinities, signed zeros
 * and denormals reach what IEEE says they reach and nothing else, by each kernel of this machine, with each kind of
 * weight, for any number of rows. Gaps between rows hold NaN. */
#include "compute_fixture.h"

#include "compute/half.h"
#include "compute/quant_blocks.h"

#define UNIT 0x1p-24

typedef struct scene {
    const char *name; /* of products */
    dk_precision precision;
    dk_dtype dtype; /* of the weight */
    int64_t rows, in, out;
    int32_t in_out, keep, trained, gap, from; /* from = floats that the first row begins behind its buffer's start */
    uint64_t seed;
} scene;

typedef struct ground {
    fx f;
    dk_linear *linear;
    dk_parameter weight, *w[1];
    dk_view x, y, dx, dy;
    float *xs, *dys, *ws; /* without gaps; ws [out, in] */
} ground;

static uint64_t draw(uint64_t *state, uint64_t bound)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (*state >> 33) % bound;
}

static float uniform(uint64_t *state) { return (float)((double)draw(state, 1u << 24) / (1 << 23) - 1); }

/* A view whose surroundings are NaN. */
static dk_view take(ground *g, dk_dtype dtype, int64_t rows, int64_t columns, int32_t from, int32_t gap)
{
    const int64_t step = columns + gap, bytes = dk_dtype_bytes(dtype, rows * step) + from * 4 + 64;
    fx *f = &g->f;
    if (OPS(f)->buffer_create(f->backend, bytes, &f->buffers[f->buffer_count], NULL)) abort();
    dk_view view = dk_view_2d(f->buffers[f->buffer_count++], from * (dtype == DK_F32 ? 4 : 0), dtype, rows, columns);
    view.stride[0] = step;
    dk_view all = dk_view_1d(view.buffer, 0, DK_U8, bytes);
    memset(OPS(f)->map(all), 0xff, (size_t)bytes);
    return view;
}

static const uint32_t odd[] = {0x7fc00000u, 0x7fffffffu, 0xffffffffu, 0x7f800001u, 0xff80ffffu, 0x7f800000u,
                               0xff800000u, 0x7f800000u, 0xff800000u, 0x00000000u, 0x80000000u};
enum { ODD = sizeof odd / sizeof *odd };

/* [lines, columns] with a few lines that have something odd in them. */
static float *numbers(uint64_t seed, int64_t lines, int64_t columns)
{
    float *values = malloc((size_t)(lines * columns + 1) * sizeof *values);
    uint64_t state = seed * 977 + 5;
    for (int64_t i = 0; i < lines * columns; i++) values[i] = uniform(&state);
    for (int64_t l = 0; l < lines; l++) {
        const uint64_t way = draw(&state, 6);
        for (int64_t i = 0; way == 2 && i < columns; i++) values[l * columns + i] *= 0x1p-135f;
        if (way > 1) continue;
        for (uint64_t n = draw(&state, 3); n < 3; n++)
            values[l * columns + (int64_t)draw(&state, (uint64_t)columns)] = dk_float_from_bits(odd[draw(&state, ODD)]);
    }
    return values;
}

static void put_rows(dk_view view, const float *values, int32_t turned)
{
    for (int64_t r = 0; r < view.shape[0]; r++)
        for (int64_t c = 0; c < view.shape[1]; c++) {
            float value = turned ? values[c * view.shape[0] + r] : values[r * view.shape[1] + c];
            uint8_t *at = (uint8_t *)dk_buffer_map(view) + (r * view.stride[0] + c) * (view.dtype == DK_F32 ? 4 : 2);
            uint16_t half = view.dtype == DK_BF16 ? dk_narrow_bf16(value) : dk_narrow_f16(value);
            if (view.dtype == DK_F32) memcpy(at, &value, 4);
            else memcpy(at, &half, 2);
        }
}

/* Blocks as they come, with scales that are no numbers in some. */
static void put_blocks(dk_view view, uint64_t seed)
{
    static const uint16_t halves[] = {0x7e00u, 0x7c00u, 0xfc00u, 0x7c01u, 0x0000u, 0x8000u, 0x0001u};
    const dk_dtype_info *type = dk_dtype_find(view.dtype);
    uint64_t state = seed * 31 + 7;
    const int64_t blocks = view.shape[0] * view.shape[1] / type->block;
    uint8_t *at = dk_buffer_map(view);
    for (int64_t b = 0; b < blocks; b++, at += type->bytes) {
        for (int32_t i = 0; i < type->bytes; i++) at[i] = (uint8_t)draw(&state, 256);
        uint16_t scale = draw(&state, 8) ? (uint16_t)(0x2c00u + draw(&state, 1024)) : halves[draw(&state, 7)];
        uint16_t least = draw(&state, 8) ? (uint16_t)(0xa800u + draw(&state, 1024)) : halves[draw(&state, 7)];
        int32_t place = 0; /* of the scale in a block */
        if (view.dtype == DK_Q2_K) place = 80;
        if (view.dtype == DK_Q3_K) place = 108;
        if (view.dtype == DK_Q6_K) place = 208;
        memcpy(at + place, &scale, 2);
        if (view.dtype == DK_Q4_1 || view.dtype == DK_Q5_1 || view.dtype == DK_Q4_K || view.dtype == DK_Q5_K)
            memcpy(at + 2, &least, 2);
        if (view.dtype == DK_Q2_K) memcpy(at + 82, &least, 2);
        if (view.dtype == DK_MXFP4) at[0] = (uint8_t)(draw(&state, 8) ? 120 + draw(&state, 10) : 3 + draw(&state, 3));
    }
}

/* [out, in] as the floats that they are. */
static float *weights_of(const ground *g, const scene *s)
{
    float *values = malloc((size_t)(s->in * s->out) * sizeof *values);
    const uint8_t *at = dk_buffer_map(g->weight.value);
    const int64_t step = g->weight.value.stride[0];
    for (int64_t o = 0; o < s->out; o++) {
        if (dk_dtype_find(s->dtype)->block > 1) {
            CHECK(dk_blocks_widen(s->dtype, at + dk_dtype_bytes(s->dtype, o * step), values + o * s->in, s->in));
            continue;
        }
        for (int64_t i = 0; i < s->in; i++) {
            const int64_t place = s->in_out ? i * step + o : o * step + i;
            float *to = values + o * s->in + i;
            if (s->dtype == DK_F32) *to = ((const float *)(const void *)at)[place];
            if (s->dtype == DK_BF16) *to = dk_widen_bf16(((const uint16_t *)(const void *)at)[place]);
            if (s->dtype == DK_F16) *to = dk_widen_f16(((const uint16_t *)(const void *)at)[place]);
        }
    }
    return values;
}

static int begin(ground *g, dk_backend *backend, const scene *s)
{
    dk_error err;
    fx *f = &g->f;
    const int32_t blocks = dk_dtype_find(s->dtype)->block > 1;
    *g = (ground){.f = {.backend = backend}, .w = {&g->weight}};
    CHECK_OK(dk_queue_open(&f->queue, backend, &err));
    g->xs = numbers(s->seed, s->rows, s->in);
    g->dys = numbers(s->seed + 1, s->rows, s->out);
    g->x = take(g, DK_F32, s->rows, s->in, s->from, s->gap);
    g->dy = take(g, DK_F32, s->rows, s->out, s->from, s->gap);
    g->y = take(g, DK_F32, s->rows, s->out, s->from, s->gap);
    g->dx = take(g, DK_F32, s->rows, s->in, s->from, s->gap);
    put_rows(g->x, g->xs, 0);
    put_rows(g->dy, g->dys, 0);
    g->weight = (dk_parameter){.name = "w", .frozen = !s->trained};
    g->weight.value = take(g, s->dtype, s->in_out ? s->in : s->out, s->in_out ? s->out : s->in, 0, blocks ? 0 : s->gap);
    if (s->trained) g->weight.gradient = take(g, DK_F32, g->weight.value.shape[0], g->weight.value.shape[1], 0, s->gap);
    if (blocks) put_blocks(g->weight.value, s->seed);
    else {
        float *values = numbers(s->seed + 2, s->out, s->in);
        put_rows(g->weight.value, values, s->in_out);
        free(values);
    }
    g->ws = weights_of(g, s);
    dk_linear_spec spec = {.weights = g->w, .count = 1, .in_out = s->in_out, .precisions = 1u << s->precision};
    spec.uses = s->precision == DK_PRECISION_INT8 ? DK_USE_FORWARD : DK_USE_ALL;
    if (OPS(f)->linear_create(backend, &spec, &g->linear, &err)) {
        FAIL("%s", err.message);
        return 0;
    }
    if (s->keep) CHECK_OK(OPS(f)->linear_keep(backend, g->linear, s->precision, &err));
    return 1;
}

static void end(ground *g)
{
    dk_error err = {0};
    CHECK_OK(dk_queue_wait(&g->f.queue, &err));
    if (g->linear) OPS(&g->f)->linear_free(g->f.backend, g->linear);
    for (int i = 0; i < g->f.buffer_count; i++) OPS(&g->f)->buffer_free(g->f.backend, g->f.buffers[i]);
    dk_queue_close(&g->f.queue);
    free(g->xs);
    free(g->dys);
    free(g->ws);
}

static double operand(const scene *s, float value)
{
    return (double)(s->precision == DK_PRECISION_BF16 ? dk_widen_bf16(dk_narrow_bf16(value)) : value);
}

/* sum of a[i * step_a] b[i * step_b], and of magnitudes */
typedef struct sum {
    double value, size;
} sum;

static sum sum_of(const scene *s, const float *a, int64_t step_a, const float *b, int64_t step_b, int64_t n)
{
    sum all = {0};
    for (int64_t i = 0; i < n; i++) {
        const double term = operand(s, a[i * step_a]) * operand(s, b[i * step_b]);
        all.value += term;
        all.size += fabs(term);
    }
    return all;
}

static void check(const scene *s, const char *what, int64_t row, int64_t column, sum want, double off, int64_t n,
                  float got)
{
    const double tiny = s->precision == DK_PRECISION_BF16 ? 3 * 0x1p-126 : 0x1p-149,
                 bound = off + 1.01 * (double)(n + 8) * UNIT * want.size + (double)n * tiny;
    int fine = isnan(want.value)   ? s->precision == DK_PRECISION_INT8 ? !isfinite(got) : isnan(got)
                 : isinf(want.value) ? (double)got == want.value
                                   : fabs((double)got - want.value) <= bound;
    if (!fine)
        FAIL("%s, %s, %s of %lld x %lld x %lld%s%s%s, gap %d, seed %lld: %s[%lld, %lld] is %g, not %g", s->name,
             dk_precision_name(s->precision), dk_dtype_name(s->dtype), (long long)s->rows, (long long)s->in,
             (long long)s->out, s->in_out ? ", in_out" : "", s->keep ? ", kept" : "", s->trained ? ", trained" : "",
             s->gap, (long long)s->seed, what, (long long)row, (long long)column, (double)got, want.value);
}

static float at(dk_view view, int64_t row, int64_t column)
{
    return ((const float *)dk_buffer_map(view))[row * view.stride[0] + column];
}

/* What rounding activations to 8 bits may move a sum by. */
static double rounding(const scene *s, const float *x, const float *w)
{
    double off = 0;
    if (s->precision != DK_PRECISION_INT8) return 0;
    for (int64_t b = 0; b < s->in; b += 32) {
        double most = 0, weights = 0;
        for (int64_t i = b; i < b + 32; i++) {
            most = fmax(most, fabs((double)x[i]));
            weights += fabs((double)w[i]);
        }
        off += weights * most / 250;
    }
    return off * 1.001;
}

static void check_forward(ground *g, const scene *s)
{
    OPS(&g->f)->linear_forward(&g->f.queue, g->linear, s->precision, g->x, g->y);
    for (int64_t r = 0; r < s->rows; r++)
        for (int64_t o = 0; o < s->out; o++) {
            const float *x = g->xs + r * s->in, *w = g->ws + o * s->in;
            check(s, "y", r, o, sum_of(s, x, 1, w, 1, s->in), rounding(s, x, w), s->in, at(g->y, r, o));
        }
}

static void check_input(ground *g, const scene *s)
{
    OPS(&g->f)->linear_backward_input(&g->f.queue, g->linear, s->precision, g->dy, g->dx, 0);
    for (int64_t r = 0; r < s->rows; r++)
        for (int64_t i = 0; i < s->in; i++)
            check(s, "dx", r, i, sum_of(s, g->dys + r * s->out, 1, g->ws + i, s->in, s->out), 0, s->out,
                  at(g->dx, r, i));
}

static void check_weight(ground *g, const scene *s)
{
    OPS(&g->f)->clear(&g->f.queue, &g->weight);
    OPS(&g->f)->linear_backward_weight(&g->f.queue, g->linear, s->precision, g->x, g->dy);
    OPS(&g->f)->settle(&g->f.queue, &g->weight);
    for (int64_t o = 0; o < s->out; o++)
        for (int64_t i = 0; i < s->in; i++)
            check(s, "dW", o, i, sum_of(s, g->dys + o, s->out, g->xs + i, s->in, s->rows), 0, s->rows,
                  s->in_out ? at(g->weight.gradient, i, o) : at(g->weight.gradient, o, i));
}

static void run(dk_backend *backend, const scene *s)
{
    ground g;
    if (begin(&g, backend, s)) {
        check_forward(&g, s);
        if (s->precision != DK_PRECISION_INT8) check_input(&g, s);
        if (s->trained) check_weight(&g, s);
        /* nothing is written beside what was asked for */
        for (int64_t r = 0; r + 1 < s->rows; r++)
            for (int32_t i = 0; i < s->gap; i++) CHECK(isnan(at(g.y, r, s->out + i)) && isnan(at(g.dx, r, s->in + i)));
    }
    end(&g);
}

static const dk_dtype floats[] = {DK_F32, DK_F16, DK_BF16};
static const dk_dtype blocks[] = {DK_Q8_0, DK_Q4_0, DK_Q4_1, DK_Q5_0, DK_Q5_1,   DK_Q2_K,
                                  DK_Q3_K, DK_Q4_K, DK_Q5_K, DK_Q6_K, DK_IQ4_NL, DK_MXFP4};

static void check_all(dk_backend *backend, const char *name, dk_precision precision, int64_t first, int64_t step)
{
    static const int64_t sizes[] = {1, 2, 3, 16, 17, 31, 32, 33, 45, 63, 64, 65, 70, 97, 129, 257, 300, 513};
    uint64_t state = 11 + (uint64_t)precision;
    for (int64_t rows = first; rows <= 70; rows += step)
        for (int kind = 0; kind < 4 + 12; kind++) {
            scene s = {.name = name, .precision = precision, .rows = rows, .seed = draw(&state, 1000000)};
            s.in = sizes[draw(&state, 18)];
            s.out = sizes[draw(&state, 14)];
            s.keep = (int32_t)draw(&state, 2);
            s.gap = (int32_t)draw(&state, 3) * 3;
            s.from = (int32_t)draw(&state, 4);
            s.trained = kind == 3;
            s.dtype = kind < 4 ? floats[kind % 3] : blocks[kind - 4];
            if (kind < 4) s.in_out = (int32_t)draw(&state, 2);
            else s.in = (s.in % 3 + 1) * dk_dtype_find(s.dtype)->block;
            if (precision == DK_PRECISION_INT8 && s.dtype != DK_Q8_0 && s.dtype != DK_Q4_0 && s.dtype != DK_Q4_1)
                continue;
            run(backend, &s);
        }
}

/* Every fifth number of rows, other ones of each precision; gives up where the machine or the build has none of it. */
static void check_kernel(const char *name)
{
    int found = 0;
    for (int p = DK_PRECISION_FULL; p <= DK_PRECISION_INT8; p++) {
        dk_backend *backend = fx_cpu(DK_ISA_PORTABLE, 2);
        dk_error err;
        for (int32_t isa = DK_ISA_AVX2; isa <= DK_ISA_AVX512; isa++) {
            dk_backend *better = fx_cpu(isa, 2);
            if (!better) break;
            dk_backend_free(backend);
            backend = better;
        }
        if (!dk_backend_set_products(backend, name, &err) && backend->precisions >> p & 1) {
            found = 1;
            check_all(backend, name, (dk_precision)p, p + 1, 5);
        }
        dk_backend_free(backend);
    }
    if (!found) SKIP("untested: this machine or this build has not its instructions");
}

TEST(cblas) { check_kernel("cblas"); }
TEST(portable) { check_kernel("portable"); }
TEST(avx2) { check_kernel("avx2"); }
TEST(avx512) { check_kernel("avx512"); }
TEST(avx512_bf16) { check_kernel("avx512_bf16"); }
TEST(amx) { check_kernel("amx"); }

TEST_MAIN(TEST_CASE(cblas) TEST_CASE(portable) TEST_CASE(avx2) TEST_CASE(avx512) TEST_CASE(avx512_bf16) TEST_CASE(amx))
