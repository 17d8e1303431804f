/* Products by each kernel that this machine has, against sums in double within the bound that is proven for any order
 * of a kernel's sums; the same bits for any number of threads and of rows; what IEEE says of NaN and infinity. Kernels
 * of BF16 are tested by twins of their instructions as well, wherever the instructions are missing or not. */
#include "compute_fixture.h"

#include <sys/mman.h>

#include "base/log.h"
#include "base/processor.h"
#include "compute/cpu/product/micro/micro_list.h"

#define BLOCK 256 /* k that a kernel of floats sums before it adds to the rest */
#define UNIT 0x1p-24

typedef struct shape {
    int64_t rows, in, out[2]; /* out[1] 0 = one weight */
    int32_t in_out, dtype;    /* 0 = trained, F32 */
    int64_t gap;              /* floats between rows of x, y and their gradients */
    int32_t no_bias;
} shape;

typedef struct kernel {
    const char *name;
    dk_precision precision;
    const dk_product_set *twin; /* in the place of the named one */
    int32_t keep;               /* weights packed once */
} kernel;

typedef struct ground { /* one linear object, its operands and what they are in double */
    fx f;
    dk_linear *linear;
    dk_parameter weights[2], bias, *w[2], *b[2];
    dk_view x, y, dx, dy;
    double *xs, *dys, *ws[2], *bs;
    int64_t out;
    dk_precision precision;
    int32_t bits_alone; /* what comes out is held against another run: no sums in double */
} ground;

static dk_backend *backend_of(const kernel *k, int64_t threads)
{
    dk_backend *backend = fx_cpu(DK_ISA_AVX512, threads);
    for (int32_t isa = DK_ISA_AVX2; !backend; isa--) backend = fx_cpu(isa, threads);
    dk_error err = {0};
    if (k->twin) {
        fx_take_products(backend, k->twin);
        return backend;
    }
    if (!dk_backend_set_products(backend, k->name, &err)) return backend;
    CHECK_HAS(err.message, fx_missing());
    dk_backend_free(backend);
    return NULL;
}

/* What the kernel multiplies: BF16 where that is the precision. */
static double *read_operand(const ground *g, dk_view view)
{
    double *values = fx_read((fx *)(uintptr_t)&g->f, view);
    for (int64_t i = 0; g->precision == DK_PRECISION_BF16 && i < fx_count(view); i++)
        values[i] = (double)dk_bf16_to_f32(dk_f32_to_bf16((float)values[i]));
    return values;
}

static void begin(ground *g, const kernel *k, dk_backend *backend, const shape *s)
{
    fx *f = &g->f;
    dk_error err;
    *g = (ground){.f = {.backend = backend}, .w = {&g->weights[0], &g->weights[1]}, .b = {&g->bias}};
    g->precision = k->precision;
    CHECK_OK(dk_queue_open(&f->queue, backend, &err));
    g->out = s->out[0] + s->out[1];
    dk_linear_spec spec = {.weights = g->w, .biases = g->b, .count = s->out[1] ? 2 : 1, .in_out = s->in_out};
    spec.uses = DK_USE_ALL;
    spec.precisions = 1u << k->precision;
    for (int i = 0; i < spec.count; i++) {
        int64_t size[2] = {s->in_out ? s->in : s->out[i], s->in_out ? s->out[i] : s->in};
        g->weights[i] = (dk_parameter){.name = "w", .frozen = s->dtype != 0};
        g->weights[i].value = fx_input(f, 10 + i, s->dtype, -1, 1, 2, size, 0);
        if (!s->dtype) g->weights[i].gradient = fx_view(f, DK_F32, 2, size, 0);
        g->ws[i] = read_operand(g, g->weights[i].value);
    }
    if (s->no_bias) spec.biases = NULL;
    g->bias = (dk_parameter){.name = "b", .value = fx_input_1d(f, 12, 0, -1, 1, s->out[0])};
    g->bias.gradient = fx_view(f, DK_F32, 1, &s->out[0], 0);
    g->x = fx_input_2d(f, 1, -1, 1, s->rows, s->in, s->gap);
    g->dy = fx_input_2d(f, 2, -1, 1, s->rows, g->out, s->gap);
    g->y = fx_input_2d(f, 3, -9, 9, s->rows, g->out, s->gap);
    g->dx = fx_input_2d(f, 4, -9, 9, s->rows, s->in, s->gap);
    g->xs = read_operand(g, g->x);
    g->dys = read_operand(g, g->dy);
    g->bs = fx_read(f, g->bias.value);
    CHECK_OK(OPS(f)->linear_create(backend, &spec, &g->linear, &err));
    if (k->keep) CHECK_OK(OPS(f)->linear_keep(backend, g->linear, k->precision, &err));
}

static void end(ground *g)
{
    dk_error err = {0};
    CHECK_OK(dk_queue_wait(&g->f.queue, &err));
    OPS(&g->f)->linear_free(g->f.backend, g->linear);
    for (int i = 0; i < g->f.buffer_count; i++) OPS(&g->f)->buffer_free(g->f.backend, g->f.buffers[i]);
    double *all[] = {g->xs, g->dys, g->ws[0], g->ws[1], g->bs};
    for (int i = 0; i < 5; i++) free(all[i]);
}

/* One number of a result: a sum of k products, and what was there before. */
typedef struct sum {
    double value, size; /* size = the same sum of magnitudes */
    int64_t terms;
} sum;

static void add_term(sum *s, double a, double b)
{
    s->value += a * b;
    s->size += fabs(a * b);
    s->terms++;
}

/* Blocks of at most BLOCK sums, each rounded (twice where multiplication is not fused), added up: Higham 2002, 4.2. In
 * BF16 one sum goes through all of K, and what is below the least normal number may be lost each time. */
static void check_sum(const ground *g, const char *what, const sum *want, double got)
{
    int32_t whole = g->precision == DK_PRECISION_BF16;
    double roundings = (double)(want->terms < BLOCK || whole ? want->terms : BLOCK) + (double)(want->terms / BLOCK) + 4;
    double bound = 1.01 * roundings * UNIT * want->size + (whole ? 3 * (double)want->terms * 0x1p-126 : 1e-44);
    if (!(fabs(got - want->value) <= bound))
        FAIL("%s: %.9g, not %.9g: off by %.3g, the bound is %.3g", what, got, want->value, fabs(got - want->value),
             bound);
}

static double weight_at(const ground *g, const shape *s, int64_t out, int64_t in)
{
    int w = out >= s->out[0];
    int64_t o = w ? out - s->out[0] : out;
    return g->ws[w][s->in_out ? in * s->out[w] + o : o * s->in + in];
}

static void check_forward(ground *g, const shape *s)
{
    OPS(&g->f)->linear_forward(&g->f.queue, g->linear, g->precision, g->x, g->y);
    if (g->bits_alone) return;
    double *y = fx_read(&g->f, g->y);
    for (int64_t r = 0; r < s->rows; r++)
        for (int64_t o = 0; o < g->out; o++) {
            sum want = {0};
            for (int64_t i = 0; i < s->in; i++) add_term(&want, g->xs[r * s->in + i], weight_at(g, s, o, i));
            if (o < s->out[0]) add_term(&want, 1, g->bs[o]);
            check_sum(g, "y", &want, y[r * g->out + o]);
        }
    free(y);
}

static void check_input(ground *g, const shape *s, int32_t add)
{
    double *before = g->bits_alone ? NULL : fx_read(&g->f, g->dx);
    OPS(&g->f)->linear_backward_input(&g->f.queue, g->linear, g->precision, g->dy, g->dx, add);
    if (g->bits_alone) return;
    double *dx = fx_read(&g->f, g->dx);
    for (int64_t r = 0; r < s->rows; r++)
        for (int64_t i = 0; i < s->in; i++) {
            sum want = {0};
            for (int64_t o = 0; o < g->out; o++) add_term(&want, g->dys[r * g->out + o], weight_at(g, s, o, i));
            if (add) add_term(&want, 1, before[r * s->in + i]);
            check_sum(g, "dx", &want, dx[r * s->in + i]);
        }
    free(before);
    free(dx);
}

/* Twice, so that the second adds: then each sum is twice as large. */
static void check_weight(ground *g, const shape *s)
{
    for (int i = 0; i < 2; i++) OPS(&g->f)->linear_backward_weight(&g->f.queue, g->linear, g->precision, g->x, g->dy);
    if (g->bits_alone) return;
    for (int w = 0; !s->dtype && w < (s->out[1] ? 2 : 1); w++) {
        double *dw = fx_read(&g->f, g->weights[w].gradient);
        for (int64_t o = 0; o < s->out[w]; o++)
            for (int64_t i = 0; i < s->in; i++) {
                sum want = {0};
                for (int64_t r = 0; r < s->rows; r++)
                    add_term(&want, 2 * g->dys[r * g->out + o + (w ? s->out[0] : 0)], g->xs[r * s->in + i]);
                check_sum(g, "dW", &want, dw[s->in_out ? i * s->out[w] + o : o * s->in + i]);
            }
        free(dw);
    }
    double *db = fx_read(&g->f, g->bias.gradient), *dys = fx_read(&g->f, g->dy);
    for (int64_t o = 0; o < s->out[0]; o++) {
        sum want = {0};
        for (int64_t r = 0; r < s->rows; r++) add_term(&want, 2, dys[r * g->out + o]);
        check_sum(g, "db", &want, db[o]);
    }
    free(db);
    free(dys);
}

static void run_all(ground *g, const shape *s)
{
    check_forward(g, s);
    check_input(g, s, 0);
    check_input(g, s, 1);
    check_weight(g, s);
    fx_out(&g->f, g->y);
    fx_out(&g->f, g->dx);
    if (!s->dtype) fx_out(&g->f, g->weights[0].gradient);
}

static void check_shape(const kernel *k, const shape *s)
{
    ground one, more;
    dk_backend *backend = backend_of(k, 1);
    int before = test_failures;
    begin(&one, k, backend, s);
    run_all(&one, s);
    for (int64_t threads = 2; threads <= 4; threads++) {
        const kernel kept = {.name = k->name, .precision = k->precision, .twin = k->twin, .keep = threads == 4};
        dk_backend *other = backend_of(k, threads);
        begin(&more, &kept, other, s);
        more.bits_alone = 1;
        run_all(&more, s);
        if (one.f.count != more.f.count ||
            (one.f.count && memcmp(one.f.out, more.f.out, (size_t)one.f.count * sizeof *one.f.out)))
            FAIL("other bits with %d threads%s", (int)threads, kept.keep ? " and weights kept packed" : "");
        free(more.f.out);
        end(&more);
        dk_backend_free(other);
    }
    if (test_failures > before)
        FAIL("%s: rows %d, in %d, out %d + %d, in_out %d, dtype %d, gap %d", k->name, (int)s->rows, (int)s->in,
             (int)s->out[0], (int)s->out[1], (int)s->in_out, (int)s->dtype, (int)s->gap);
    free(one.f.out);
    end(&one);
    dk_backend_free(backend);
}

static void check_shapes(const kernel *k)
{
    static const int64_t sizes[][4] = {{1, 1, 1, 0},     {0, 5, 3, 0},      {1, 67, 130, 0},   {2, 33, 200, 7},
                                       {3, 40, 17, 140}, {15, 64, 33, 0},   {29, 1, 65, 1},    {40, 515, 1, 3},
                                       {97, 31, 70, 31}, {130, 257, 40, 0}, {600, 35, 37, 11}, {14, 96, 32, 32}};
    static const int32_t dtypes[] = {0, DK_F32, DK_F16, DK_BF16};
    for (int i = 0; i < 12; i++)
        for (int d = 0; d < 4; d++)
            for (int32_t in_out = 0; in_out < 2; in_out++) {
                shape s = {.rows = sizes[i][0], .in = sizes[i][1], .out = {sizes[i][2], sizes[i][3]}};
                if (d > 1 && i % 3) continue;
                s.in_out = in_out;
                s.dtype = dtypes[d];
                s.gap = d == 1 ? 0 : 5;
                check_shape(k, &s);
            }
    /* several blocks and slabs of K, in each of the three products */
    check_shape(k, &(shape){.rows = 5, .in = 2600, .out = {40, 0}});
    check_shape(k, &(shape){.rows = 2600, .in = 9, .out = {70, 2}, .gap = 3});
    check_shape(k, &(shape){.rows = 600, .in = 12, .out = {2600, 0}, .dtype = DK_BF16});
}

/* ---- the rows contract ---- */
static int same(fx *f, dk_view a, dk_view b)
{
    double *x = fx_read(f, a), *y = fx_read(f, b);
    int equal = memcmp(x, y, (size_t)fx_count(a) * sizeof *x) == 0;
    free(x);
    free(y);
    return equal;
}

static void check_rows(const kernel *k, int32_t in_out, int32_t dtype)
{
    static const int64_t pieces[] = {1, 2, 3, 5, 14, 31, 100, 333};
    shape s = {.rows = 620, .in = 300, .out = {90, 41}, .in_out = in_out, .dtype = dtype, .gap = 5};
    ground g;
    dk_backend *backend = backend_of(k, 2);
    begin(&g, k, backend, &s);
    CHECK(backend->invariant_rows == INT64_MAX);
    dk_view y = fx_view(&g.f, DK_F32, 2, g.y.shape, 0), dx = fx_view(&g.f, DK_F32, 2, g.dx.shape, 2);
    OPS(&g.f)->linear_forward(&g.f.queue, g.linear, g.precision, g.x, g.y);
    OPS(&g.f)->linear_backward_input(&g.f.queue, g.linear, g.precision, g.dy, g.dx, 0);
    for (int p = 0; p < 8; p++) {
        for (int64_t at = 0; at < s.rows; at += pieces[p]) {
            int64_t n = s.rows - at < pieces[p] ? s.rows - at : pieces[p];
            OPS(&g.f)->linear_forward(&g.f.queue, g.linear, g.precision, dk_view_rows(g.x, at, n),
                                      dk_view_rows(y, at, n));
            OPS(&g.f)->linear_backward_input(&g.f.queue, g.linear, g.precision, dk_view_rows(g.dy, at, n),
                                             dk_view_rows(dx, at, n), 0);
        }
        if (!same(&g.f, y, g.y)) FAIL("%s: pieces of %d rows have other bits than all", k->name, (int)pieces[p]);
        if (!same(&g.f, dx, g.dx)) FAIL("%s: dx of pieces of %d rows has other bits", k->name, (int)pieces[p]);
    }
    end(&g);
    dk_backend_free(backend);
}

/* ---- what follows a product ---- */
static void check_end(ground *g, const kernel *k, int32_t adds, int32_t keep, int32_t in_place)
{
    const dk_ops *ops = OPS(&g->f);
    const int64_t wide[2] = {g->y.shape[0], adds ? g->out : g->out / 2};
    dk_view onto = fx_input(&g->f, 20, 0, -3, 3, 2, wide, 7), want = fx_view(&g->f, DK_F32, 2, wide, 0),
            out = in_place ? onto : fx_view(&g->f, DK_F32, 2, wide, 3), y = fx_view(&g->f, DK_F32, 2, g->y.shape, 1);
    dk_linear_end end = {.onto = adds ? onto : dk_view_none(), .activation = DK_ACT_SILU, .out = out, .keep = keep};
    ops->linear_forward(&g->f.queue, g->linear, g->precision, g->x, g->y);
    if (adds) ops->add(&g->f.queue, onto, g->y, want);
    else
        ops->glu(&g->f.queue, DK_ACT_SILU, dk_view_columns(g->y, 0, wide[1]), dk_view_columns(g->y, wide[1], wide[1]),
                 want);
    ops->linear_forward_then(&g->f.queue, g->linear, g->precision, g->x, y, &end);
    if (!same(&g->f, want, out) || (keep && !same(&g->f, g->y, y)))
        FAIL("%s: %d rows, in %d, out %d + %d: finished at once they have other bits", k->name, (int)g->x.shape[0],
             (int)g->x.shape[1], (int)g->out, adds);
}

/* The same bits as product and op in turn: tails, K of several blocks, K too long for it, biases, few rows. */
static void check_ends(const kernel *k)
{
    static const int64_t sizes[][4] = {{1, 40, 33, 0},    {37, 300, 70, 0},  {600, 65, 35, 0},    {40, 2600, 40, 0},
                                       {1, 40, 33, 33},   {37, 300, 70, 70}, {600, 65, 232, 232}, {40, 2600, 40, 40},
                                       {70, 600, 64, 64}, {90, 30, 30, 12},  {0, 5, 4, 0}};
    for (int i = 0; i < 11 * 6; i++) {
        const int64_t *size = sizes[i / 6];
        const shape s = {.rows = size[0],
                         .in = size[1],
                         .out = {size[2], size[3]},
                         .in_out = i % 2,
                         .gap = 5,
                         .no_bias = i % 6 < 4,
                         .dtype = i % 3 ? 0 : DK_BF16};
        const kernel of = {.name = k->name, .precision = k->precision, .twin = k->twin, .keep = i % 6 > 1};
        dk_backend *backend = backend_of(k, i % 4 + 1);
        ground g;
        begin(&g, &of, backend, &s);
        for (int32_t way = 0; way < 3; way++) check_end(&g, k, !size[3], way == 1, way == 2 && !size[3]);
        end(&g);
        dk_backend_free(backend);
    }
}

/* ---- weights kept packed ---- */
static void put(dk_backend *backend, dk_view view, int64_t row, int64_t column, float value)
{
    ((float *)backend->ops->map(view))[row * view.stride[0] + column] = value;
}

/* What products take is what the weight is, after each refresh; and only of uses that the object was made for. */
static void check_kept(const kernel *k)
{
    const kernel kept = {.name = k->name, .precision = k->precision, .twin = k->twin, .keep = 1};
    const shape s = {.rows = 40, .in = 70, .out = {33, 9}, .gap = 5};
    ground g[2];
    dk_backend *backend = backend_of(k, 2);
    const int32_t native = k->precision == DK_PRECISION_BF16 && ((dk_cpu *)backend->state)->products->native;
    begin(&g[0], k, backend, &s);
    begin(&g[1], &kept, backend, &s);
    const int64_t bytes = OPS(&g[1].f)->linear_kept_bytes(backend, g[1].linear, k->precision);
    if (native) CHECK(bytes >= 2 * 2 * (33 + 9) * 70);
    else CHECK_INT(bytes, 0);
    CHECK_INT(OPS(&g[0].f)->linear_kept_bytes(backend, g[0].linear, k->precision), bytes);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 2; i++) {
            const dk_ops *ops = OPS(&g[i].f);
            for (int w = 0; w < 2; w++) {
                put(backend, g[i].weights[w].value, 2, 3, (float)round + 0.5f);
                if (round != 1 || w) ops->refresh(&g[i].f.queue, &g[i].weights[w]);
            }
            if (round == 1) ops->refresh(&g[i].f.queue, &g[i].weights[0]);
            ops->linear_forward(&g[i].f.queue, g[i].linear, k->precision, g[i].x, g[i].y);
            ops->linear_backward_input(&g[i].f.queue, g[i].linear, k->precision, g[i].dy, g[i].dx, 0);
        }
        if (!same(&g[0].f, g[0].y, g[1].y) || !same(&g[0].f, g[0].dx, g[1].dx))
            FAIL("%s: other bits with weights kept packed, round %d", k->name, round);
    }
    end(&g[0]);
    end(&g[1]);
    dk_backend_free(backend);
}

/* An update is adamw and refresh in turn, in weights, moments and every product that keeps a copy. */
static void check_update(const kernel *k)
{
    const kernel kept = {.name = k->name, .precision = k->precision, .twin = k->twin, .keep = 1};
    dk_adamw_args args = {.learning_rate = 0.1, .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.1};
    for (int way = 0; way < 4; way++) {
        const shape s = {.rows = 40, .in = 70, .out = {33, 65}, .in_out = way % 2, .gap = 5};
        const dk_dtype dtype = way / 2 ? DK_BF16 : DK_F32; /* of moments */
        ground g[2];
        dk_view moments[2][4];
        dk_backend *backend = backend_of(k, 3);
        for (int i = 0; i < 2; i++) {
            begin(&g[i], i ? &kept : k, backend, &s);
            for (int w = 0; w < 4; w++) moments[i][w] = fx_view(&g[i].f, dtype, 2, g[i].weights[w / 2].value.shape, 0);
        }
        for (args.step = 1; args.step < 4; args.step++)
            for (int i = 0; i < 2; i++) {
                const dk_ops *ops = OPS(&g[i].f);
                dk_queue *queue = &g[i].f.queue;
                ops->linear_backward_weight(queue, g[i].linear, k->precision, g[i].x, g[i].dy);
                for (int w = 0; w < 2; w++) {
                    dk_parameter *p = &g[i].weights[w];
                    dk_view m = moments[i][2 * w], v = moments[i][2 * w + 1];
                    if (i) ops->update(queue, &args, dk_view_none(), p, m, v);
                    else ops->adamw(queue, &args, dk_view_none(), p->value, p->gradient, m, v), ops->refresh(queue, p);
                    CHECK_INT(p->version, args.step);
                }
                ops->linear_forward(queue, g[i].linear, k->precision, g[i].x, g[i].y);
                ops->linear_backward_input(queue, g[i].linear, k->precision, g[i].dy, g[i].dx, 0);
            }
        CHECK(same(&g[0].f, g[0].y, g[1].y) && same(&g[0].f, g[0].dx, g[1].dx));
        for (int w = 0; w < 2; w++) CHECK(same(&g[0].f, g[0].weights[w].value, g[1].weights[w].value));
        for (int w = 0; w < 4; w++) CHECK(same(&g[0].f, moments[0][w], moments[1][w]));
        for (int i = 0; i < 2; i++) end(&g[i]);
        dk_backend_free(backend);
    }
}

/* ---- gradients ---- */
/* A gradient that was cleared is zeros to what adds to it and to whoever settles it, whatever lay there. */
static void check_clear(const kernel *k)
{
    for (int32_t in_out = 0; in_out < 2; in_out++) {
        const shape s = {.rows = 300, .in = 70, .out = {33, 9}, .in_out = in_out, .gap = 5};
        ground g[2];
        dk_backend *backend = backend_of(k, 2);
        for (int i = 0; i < 2; i++) {
            begin(&g[i], k, backend, &s);
            const dk_ops *ops = OPS(&g[i].f);
            dk_queue *queue = &g[i].f.queue;
            for (int w = 0; w < 2; w++) {
                ops->fill(queue, g[i].weights[w].gradient, i ? NAN : 0);
                if (i) ops->clear(queue, &g[i].weights[w]);
            }
            for (int round = 0; round < 2; round++)
                ops->linear_backward_weight(queue, g[i].linear, k->precision, g[i].x, g[i].dy);
            if (i) ops->clear(queue, &g[i].weights[1]), ops->settle(queue, &g[i].weights[1]);
            else ops->fill(queue, g[i].weights[1].gradient, 0);
            ops->settle(queue, &g[i].weights[0]); /* owes nothing */
        }
        for (int w = 0; w < 2; w++) CHECK(same(&g[0].f, g[0].weights[w].gradient, g[1].weights[w].gradient));
        /* one of two neighbours was cleared; no rows add nothing, and leave what is owed */
        for (int i = 0; i < 2; i++) {
            const dk_ops *ops = OPS(&g[i].f);
            dk_queue *queue = &g[i].f.queue;
            if (i) ops->clear(queue, &g[i].weights[1]);
            else ops->fill(queue, g[i].weights[1].gradient, 0);
            ops->linear_backward_weight(queue, g[i].linear, k->precision, dk_view_rows(g[i].x, 0, 0),
                                        dk_view_rows(g[i].dy, 0, 0));
            ops->linear_backward_weight(queue, g[i].linear, k->precision, g[i].x, g[i].dy);
        }
        for (int w = 0; w < 2; w++) CHECK(same(&g[0].f, g[0].weights[w].gradient, g[1].weights[w].gradient));
        for (int i = 0; i < 2; i++) end(&g[i]);
        dk_backend_free(backend);
    }
}

/* In precision bf16 a gradient may be rounded before: no bit differs. A trained bias sums it in full, and full products
 * multiply it so. */
static void check_halves(const kernel *k)
{
    static const int64_t sizes[][3] = {{1, 9, 5}, {37, 70, 64}, {64, 64, 96}, {300, 33, 2600}};
    dk_error err = {0};
    for (int i = 0; i < 8; i++) {
        const shape s = {.rows = sizes[i / 2][0],
                         .in = sizes[i / 2][1],
                         .out = {sizes[i / 2][2], i / 2 == 1 ? 33 : 0},
                         .in_out = i % 2,
                         .gap = 5,
                         .no_bias = 1};
        ground g;
        dk_backend *backend = backend_of(k, 2);
        begin(&g, k, backend, &s);
        const dk_ops *ops = OPS(&g.f);
        dk_view halves = fx_view(&g.f, DK_BF16, 2, g.dy.shape, 7), dx = fx_view(&g.f, DK_F32, 2, g.dx.shape, 0), dw[2];
        ops->convert(&g.f.queue, g.dy, halves);
        for (int way = 0; way < 2; way++) {
            for (int w = 0; w < (s.out[1] ? 2 : 1); w++) ops->clear(&g.f.queue, &g.weights[w]);
            ops->linear_backward_weight(&g.f.queue, g.linear, g.precision, g.x, way ? halves : g.dy);
            ops->linear_backward_input(&g.f.queue, g.linear, g.precision, way ? halves : g.dy, way ? dx : g.dx, 0);
            for (int w = 0; !way && w < (s.out[1] ? 2 : 1); w++) {
                dw[w] = fx_view(&g.f, DK_F32, 2, g.weights[w].gradient.shape, 0);
                ops->convert(&g.f.queue, g.weights[w].gradient, dw[w]);
            }
        }
        CHECK(same(&g.f, dx, g.dx));
        for (int w = 0; w < (s.out[1] ? 2 : 1); w++) CHECK(same(&g.f, dw[w], g.weights[w].gradient));
        ops->linear_forward(&g.f.queue, g.linear, g.precision, g.x, halves);
        CHECK_INT(dk_queue_wait(&g.f.queue, &err), DK_E_INTERNAL);
        CHECK_HAS(err.message, "linear_forward: y is bf16");
        end(&g);
        begin(&g, k, backend, &(shape){.rows = 2, .in = 3, .out = {4, 0}});
        ops->linear_backward_weight(&g.f.queue, g.linear, g.precision, g.x,
                                    fx_view(&g.f, DK_BF16, 2, g.dy.shape, 0)); /* with a bias */
        CHECK_INT(dk_queue_wait(&g.f.queue, &err), DK_E_INTERNAL);
        CHECK_HAS(err.message, "linear_backward_weight: y is bf16");
        end(&g);
        dk_backend_free(backend);
    }
}

/* ---- numbers that are not ---- */
static float at(dk_backend *backend, dk_view view, int64_t row, int64_t column)
{
    return ((float *)backend->ops->map(view))[row * view.stride[0] + column];
}

/* A NaN or an infinity reaches its own row of y and no other number; denormals are kept. */
static void check_ieee(const kernel *k)
{
    shape s = {.rows = 37, .in = 45, .out = {70, 0}};
    ground g;
    dk_backend *backend = backend_of(k, 1);
    begin(&g, k, backend, &s);
    for (int64_t i = 0; i < s.in; i++) put(backend, g.x, 3, i, 0x1p-140f), put(backend, g.weights[0].value, 4, i, 1);
    put(backend, g.x, 5, 44, NAN);
    put(backend, g.x, 7, 0, INFINITY);
    put(backend, g.x, 36, 2, 3e38f), put(backend, g.x, 36, 3, 3e38f);
    put(backend, g.weights[0].value, 4, 2, 4), put(backend, g.weights[0].value, 4, 3, -4);
    put(backend, g.weights[0].value, 69, 0, 0);
    memset(backend->ops->map(g.bias.value), 0, (size_t)s.out[0] * sizeof(float));
    backend->ops->linear_forward(&g.f.queue, g.linear, g.precision, g.x, g.y);
    for (int64_t r = 0; r < s.rows; r++)
        for (int64_t o = 0; o < s.out[0]; o++) {
            float y = at(backend, g.y, r, o);
            if (r == 5 ? !isnan(y) : r == 7 ? (o == 69 ? !isnan(y) : !isinf(y)) : r != 36 && !isfinite(y))
                FAIL("%s: y[%d, %d] is %g", k->name, (int)r, (int)o, (double)y);
        }
    if (k->precision == DK_PRECISION_FULL) CHECK(at(backend, g.y, 3, 4) == 43 * 0x1p-140f);
    CHECK(!isfinite(at(backend, g.y, 36, 4))); /* 1.2e39 is infinite on the way, as it is in any order of floats */
    end(&g);
    dk_backend_free(backend);
}

/* Rows so far apart that the step is no int, and memory between them that is never touched. */
static void check_far_rows(const kernel *k)
{
    const int64_t step = (INT64_C(1) << 31) + 64, bytes = (step + 64) * (int64_t)sizeof(float);
    void *memory =
        mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return;
    shape s = {.rows = 2, .in = 40, .out = {9, 0}};
    ground g;
    dk_backend *backend = backend_of(k, 1);
    dk_buffer *buffer = NULL;
    dk_error err;
    begin(&g, k, backend, &s);
    backend->ops->linear_forward(&g.f.queue, g.linear, g.precision, g.x, g.y);
    CHECK_OK(backend->ops->buffer_wrap(backend, memory, bytes, &buffer, &err));
    dk_view far = dk_view_2d(buffer, 0, DK_F32, 2, 40), y = fx_view(&g.f, DK_F32, 2, g.y.shape, 0);
    far.stride[0] = step;
    for (int64_t i = 0; i < 80; i++) put(backend, far, i / 40, i % 40, at(backend, g.x, i / 40, i % 40));
    backend->ops->linear_forward(&g.f.queue, g.linear, g.precision, far, y);
    if (strcmp(k->name, "cblas") == 0) {
        CHECK_INT(dk_queue_wait(&g.f.queue, &err), DK_E_UNSUPPORTED);
        CHECK_HAS(err.message, "a matrix of [2, 40], 2147483712 apart, is too large for CBLAS");
    } else {
        CHECK(same(&g.f, y, g.y));
    }
    end(&g);
    backend->ops->buffer_free(backend, buffer);
    dk_backend_free(backend);
    munmap(memory, (size_t)bytes);
}

static void check_kernel(const char *name, dk_precision precision)
{
    const kernel of = {.name = name, .precision = precision}, *k = &of;
    dk_backend *backend = backend_of(k, 1);
    if (!backend && fx_alone()) SKIP("this build forms products by cblas alone");
    if (!backend) SKIP("untested on this machine, which has not its instructions");
    CHECK_STR(backend->products, name);
    dk_backend_free(backend);
    check_shapes(k);
    for (int32_t in_out = 0; in_out < 2; in_out++) {
        check_rows(k, in_out, 0);
        check_rows(k, in_out, DK_BF16);
    }
    check_ends(k);
    check_kept(k);
    check_update(k);
    check_clear(k);
    if (precision == DK_PRECISION_BF16) check_halves(k);
    check_ieee(k);
    check_far_rows(k);
}

static void check_both(const char *name)
{
    check_kernel(name, DK_PRECISION_FULL);
    check_kernel(name, DK_PRECISION_BF16);
}

TEST(portable) { check_both("portable"); }
TEST(avx2) { check_both("avx2"); }
TEST(avx512) { check_both("avx512"); }
TEST(avx512_bf16) { check_kernel("avx512_bf16", DK_PRECISION_BF16); }
TEST(amx) { check_kernel("amx", DK_PRECISION_BF16); }

static int same_results(const kernel *one, const kernel *other, const shape *s)
{
    const kernel *kernels[2] = {one, other};
    ground g[2];
    for (int i = 0; i < 2; i++) {
        dk_backend *backend = backend_of(kernels[i], 1);
        begin(&g[i], kernels[i], backend, s);
        run_all(&g[i], s);
        end(&g[i]);
        dk_backend_free(backend);
    }
    int same_bits = g[0].f.count == g[1].f.count &&
                    (!g[0].f.count || !memcmp(g[0].f.out, g[1].f.out, (size_t)g[0].f.count * sizeof *g[0].f.out));
    free(g[0].f.out);
    free(g[1].f.out);
    return same_bits;
}

/* The twin within its bound, and where the processor has the instruction, bit for bit what that gives. */
static void check_twin(const char *name, const dk_micro *micro)
{
    const dk_product_set set = {.name = name, .micro = {micro, micro}, .isa = DK_ISA_PORTABLE, .native = 1};
    const kernel twin = {.name = name, .precision = DK_PRECISION_BF16, .twin = &set},
                 real = {.name = name, .precision = DK_PRECISION_BF16};
    static const shape shapes[] = {{.rows = 1, .in = 1, .out = {1, 0}},
                                   {.rows = 19, .in = 70, .out = {33, 9}, .gap = 5},
                                   {.rows = 40, .in = 35, .out = {40, 0}, .in_out = 1, .dtype = DK_BF16},
                                   {.rows = 15, .in = 600, .out = {20, 0}}};
    dk_backend *backend = backend_of(&real, 1);
    for (int i = 0; i < 4; i++) {
        check_shape(&twin, &shapes[i]);
        if (backend) CHECK(same_results(&twin, &real, &shapes[i]));
    }
    dk_backend_free(backend);
    check_ends(&twin);
    check_kept(&twin);
    check_update(&twin);
    check_halves(&twin);
    check_ieee(&twin);
}

TEST(avx512_bf16_twin) { check_twin("avx512_bf16", &dk_micro_avx512_bf16_twin); }
TEST(amx_twin) { check_twin("amx", &dk_micro_amx_twin); }

/* ---- weights in BF16 in full precision ---- */
static const dk_product_set halves_twin = {
    .name = "amx", .micro = {&dk_micro_portable, &dk_micro_amx_twin}, .halves = &dk_micro_amx_halves_twin, .native = 1};

/* Rows of one and of two tiles, few and many, with tails of all sides. */
static void check_halves_kernel(const kernel *k, const kernel *same_bits)
{
    static const int64_t sizes[][4] = {{1, 1, 1, 0},    {0, 5, 3, 0},      {1, 67, 130, 0},  {2, 33, 200, 7},
                                       {5, 600, 64, 0}, {16, 64, 33, 0},   {17, 256, 32, 0}, {33, 96, 65, 1},
                                       {64, 70, 40, 0}, {65, 515, 31, 33}, {97, 31, 70, 31}, {130, 257, 40, 0}};
    for (int i = 0; i < 12 * 2; i++) {
        const shape s = {.rows = sizes[i / 2][0],
                         .in = sizes[i / 2][1],
                         .out = {sizes[i / 2][2], sizes[i / 2][3]},
                         .in_out = i % 2,
                         .dtype = DK_BF16,
                         .gap = 5};
        check_shape(k, &s);
        if (same_bits) CHECK(same_results(k, same_bits, &s));
    }
}

/* What no third holds, of either side, comes out as of floats; and a weight that is a denormal is no zero. */
static void check_halves_ieee(const kernel *k, int64_t rows)
{
    const shape s = {.rows = rows, .in = 300, .out = {70, 0}, .dtype = DK_BF16, .no_bias = 1};
    for (int denormal = 0; denormal < 2; denormal++) {
        ground g;
        dk_backend *backend = backend_of(k, 1);
        begin(&g, k, backend, &s);
        uint16_t *w = backend->ops->map(g.weights[0].value);
        const int64_t step = g.weights[0].value.stride[0];
        for (int64_t i = 0; i < s.in; i++) {
            put(backend, g.x, 0, i, 0);
            if (rows > 1) put(backend, g.x, 1, i, i == 7 ? 0x1p-140f : 0);
            if (rows > 2) put(backend, g.x, 2, i, i == 9 ? INFINITY : i == 299 ? 0x1.234568p-110f : 0);
            if (rows > 3) put(backend, g.x, 3, i, i == 290 ? NAN : 1);
            if (rows > 4) put(backend, g.x, 4, i, 0x1p-70f);
            w[i] = 0x3f80, w[step + i] = 0, w[2 * step + i] = 0x2000; /* 1; 0; 2^-63 */
        }
        if (denormal) w[3 * step + 5] = 0x0040; /* 2^-127 */
        if (denormal && rows > 4) put(backend, g.x, 4, 5, 0x1p100f);
        backend->ops->linear_forward(&g.f.queue, g.linear, k->precision, g.x, g.y);
        for (int64_t o = 0; o < 70; o++) CHECK(at(backend, g.y, 0, o) == 0);
        if (rows > 1) CHECK(at(backend, g.y, 1, 0) == 0x1p-140f && at(backend, g.y, 1, 1) == 0);
        if (rows > 2) CHECK(isinf(at(backend, g.y, 2, 0)) && isnan(at(backend, g.y, 2, 1)));
        for (int64_t o = 0; o < 70 && rows > 3; o++) CHECK(isnan(at(backend, g.y, 3, o)));
        if (rows > 4 && !denormal) CHECK(at(backend, g.y, 4, 2) == 300 * 0x1p-133f);
        for (int64_t o = 3; o < 70 && rows > 4; o++) {
            double want = 0;
            for (int64_t i = 0; i < s.in; i++)
                want += (double)at(backend, g.x, 4, i) * (double)dk_bf16_to_f32(w[o * step + i]);
            CHECK(fabs((double)at(backend, g.y, 4, o) - want) <= 1e-5 * fabs(want) + 300 * 0x1p-94);
        }
        if (rows > 4 && denormal) CHECK((double)at(backend, g.y, 4, 3) >= 0x1p-28);
        end(&g);
        dk_backend_free(backend);
    }
}

TEST(amx_halves)
{
    static const int64_t rows[] = {1, 3, 5, 16, 40, 64, 70};
    const kernel of = {.name = "amx"}, others = {.name = "avx512"};
    dk_backend *backend = backend_of(&of, 1);
    if (!backend && fx_alone()) SKIP("this build forms products by cblas alone");
    if (!backend) SKIP("untested on this machine, which has not its instructions");
    dk_backend_free(backend);
    CHECK(!same_results(&of, &others, &(shape){.rows = 40, .in = 515, .out = {70, 0}, .dtype = DK_BF16}));
    for (int32_t in_out = 0; in_out < 2; in_out++) check_rows(&of, in_out, DK_BF16);
    for (int i = 0; i < 7; i++) check_halves_ieee(&of, rows[i]);
    check_halves_kernel(&of, NULL);
    check_ends(&of);
    check_ieee(&of);
}

TEST(amx_halves_twin)
{
    const kernel real = {.name = "amx"}, of = {.name = "amx", .twin = &halves_twin};
    dk_backend *backend = backend_of(&real, 1);
    dk_backend_free(backend);
    check_halves_kernel(&of, backend ? &real : NULL);
    for (int64_t rows = 5; rows < 80; rows += 65) check_halves_ieee(&of, rows);
}

static int32_t refuse(void) { return 0; }

typedef struct told {
    int count;
    char last[200];
} told;

static void listen(void *user, int32_t level, const char *component, const char *message)
{
    told *to = user;
    CHECK_INT(level, DK_LOG_WARN);
    CHECK_STR(component, "compute");
    snprintf(to->last, sizeof to->last, "%s", message);
    to->count++;
}

/* The processor has what the system forbids: by name it is an error, auto says once what it takes in its place. */
TEST(not_allowed)
{
    const dk_product_set set = {.name = "amx",
                                .micro = {&dk_micro_portable, &dk_micro_amx_twin},
                                .allow = refuse,
                                .native = 1,
                                .instead = "portable"};
    int64_t size[2] = {5, 7};
    for (int by_name = 0; by_name < 2; by_name++) {
        fx f = {.backend = fx_cpu(DK_ISA_PORTABLE, 1)};
        dk_linear *linear[2] = {NULL};
        told to = {0};
        dk_error err = {0};
        dk_host_set_logger(f.backend->host, DK_LOG_WARN, listen, &to, NULL);
        fx_take_products(f.backend, &set);
        ((dk_cpu *)f.backend->state)->by_name = by_name;
        dk_parameter weight = {.name = "w", .frozen = 1, .value = fx_input(&f, 1, DK_F32, -1, 1, 2, size, 0)};
        dk_parameter *weights[] = {&weight};
        dk_linear_spec spec = {.weights = weights, .count = 1, .uses = DK_USE_FORWARD};
        CHECK_OK(OPS(&f)->linear_create(f.backend, &spec, &linear[0], &err)); /* in full precision nothing is asked */
        OPS(&f)->linear_free(f.backend, linear[0]);
        CHECK_INT(to.count, 0);
        spec.precisions = 1u << DK_PRECISION_BF16;
        for (int i = 0; i < 2; i++) {
            int32_t rc = OPS(&f)->linear_create(f.backend, &spec, &linear[i], &err);
            CHECK_INT(rc, by_name ? DK_E_UNSUPPORTED : DK_OK);
        }
        CHECK_INT(to.count, by_name ? 0 : 1);
        CHECK_STR(to.last, by_name ? "" : "the system does not let this process use amx: products are by portable");
        if (by_name)
            CHECK_STR(err.message, "products 'amx': the processor has its instructions, but the system does not let "
                                   "this process use them; say portable or auto");
        for (int i = 0; i < 2 && !by_name; i++) OPS(&f)->linear_free(f.backend, linear[i]);
        for (int i = 0; i < f.buffer_count; i++) OPS(&f)->buffer_free(f.backend, f.buffers[i]);
        dk_backend_free(f.backend);
    }
}

TEST(cblas)
{
    const kernel of = {.name = "cblas"}, *k = &of;
    check_shape(k, &(shape){.rows = 40, .in = 67, .out = {31, 9}, .gap = 5});
    check_far_rows(k);
    dk_backend *backend = backend_of(k, 1);
    dk_error err = {0};
    CHECK_INT(dk_check_precision(backend, DK_PRECISION_BF16, "here", &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "has no products in precision bf16");
    dk_backend_free(backend);
}

/* A little of each, for a processor that is imitated. */
TEST(brief)
{
    static const char *const names[] = {"portable", "avx2", "avx512"};
    for (int i = 0; i < 6; i++) {
        const kernel of = {.name = names[i / 2], .precision = (dk_precision)(i % 2)}, *k = &of;
        dk_backend *backend = backend_of(k, 1);
        if (!backend) continue;
        dk_backend_free(backend);
        check_shape(k, &(shape){.rows = 3, .in = 40, .out = {17, 20}});
        check_shape(k, &(shape){.rows = 15, .in = 300, .out = {33, 0}, .dtype = DK_BF16, .gap = 5});
        check_shape(k, &(shape){.rows = 13, .in = 9, .out = {40, 0}, .in_out = 1});
    }
}

/* What auto takes is what the processor names, in order; a name that is none is told which there are. */
TEST(names)
{
    dk_error err = {0};
    for (int32_t isa = DK_ISA_PORTABLE; isa <= DK_ISA_AVX512; isa++) {
        const char *best[] = {"cblas", "avx2", "avx512"};
        if (dk_processor_has_avx512_bf16() && dk_processor_is_amd()) best[2] = "avx512_bf16";
        if (dk_processor_has_amx_bf16()) best[2] = "amx";
        dk_backend *backend = fx_cpu(isa, 1);
        if (!backend) continue;
        CHECK_STR(backend->products, fx_alone() ? "cblas" : best[isa]);
        CHECK(backend->invariant_rows == (isa && !fx_alone() ? INT64_MAX : DK_MATVEC_ROWS));
        CHECK_OK(dk_backend_set_products(backend, "cblas", &err));
        CHECK_INT(backend->invariant_rows, DK_MATVEC_ROWS);
        CHECK_INT(dk_backend_set_products(backend, "neon", &err), DK_E_INVALID);
        CHECK_STR(err.message, "products 'neon' is not one of " DK_PRODUCTS);
        CHECK_STR(backend->products, "cblas");
        if (isa < DK_ISA_AVX512) {
            CHECK_INT(dk_backend_set_products(backend, "avx512", &err), DK_E_UNSUPPORTED);
            CHECK_STR(err.message, fx_alone()
                                       ? "products 'avx512': this build forms them by cblas alone"
                                       : "products 'avx512': this machine or this build has not its instructions");
        }
        dk_backend_free(backend);
    }
}

TEST_MAIN(TEST_CASE(portable) TEST_CASE(avx2) TEST_CASE(avx512) TEST_CASE(avx512_bf16) TEST_CASE(amx)
              TEST_CASE(amx_halves) TEST_CASE(avx512_bf16_twin) TEST_CASE(amx_twin) TEST_CASE(amx_halves_twin)
                  TEST_CASE(not_allowed) TEST_CASE(cblas) TEST_CASE(brief) TEST_CASE(names))
