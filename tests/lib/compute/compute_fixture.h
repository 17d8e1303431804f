/* compute_fixture.h - one case of an op, run on any backend.
 *
 * A case makes its inputs with fx_input (random, the same on every backend), runs ops, and hands over what came out:
 * fx_out (compared), fx_loss (the scalar that is differentiated), fx_gradient (what backward says about an input).
 * fx_compare runs it on every CPU backend of this machine against the double reference, with one thread and with
 * three; fx_differentiate checks the reference's gradients against central differences. */
#ifndef TESTS_COMPUTE_FIXTURE_H
#define TESTS_COMPUTE_FIXTURE_H

#include "test.h"

#include "base/random.h"
#include "compute/compute.h"
#include "compute/cpu/cpu.h"

#define FX_MAX 64

typedef struct fx {
    dk_backend *backend;
    dk_queue queue;
    const int64_t *p; /* parameters of the case */
    dk_buffer *buffers[FX_MAX];
    int buffer_count;
    double *out;
    int64_t count, room;
    int64_t ends[FX_MAX]; /* of what fx_out added: each is measured against its own largest entry */
    int out_count;
    double loss;
    struct {
        int seed;
        int64_t first, count; /* in out */
    } gradients[FX_MAX];
    int gradient_count;
    int moved_seed; /* the input that is moved by epsilon at one entry */
    int64_t moved_entry;
    double epsilon;
} fx;
typedef void (*fx_case)(fx *f);
#define OPS(f) (f)->backend->ops

static inline dk_view fx_view(fx *f, dk_dtype dtype, int32_t rank, const int64_t *shape, int64_t gap)
{
    int64_t wide[3] = {0}, bytes = (int64_t)dk_dtype_size(dtype);
    dk_error err;
    for (int32_t d = 0; d < rank; d++) {
        wide[d] = shape[d] + (d == rank - 1 ? gap : 0);
        bytes *= wide[d];
    }
    if (f->buffer_count == FX_MAX || OPS(f)->buffer_create(f->backend, bytes, &f->buffers[f->buffer_count], &err))
        abort();
    dk_view view = dk_view_make(f->buffers[f->buffer_count++], 0, dtype, rank, wide);
    return dk_view_columns(view, gap / 2, shape[rank - 1]);
}

static inline int64_t fx_count(dk_view view)
{
    int64_t count = 1;
    for (int32_t d = 0; d < view.rank; d++) count *= view.shape[d];
    return count;
}

static inline void fx_write(fx *f, dk_view view, const double *values)
{
    int64_t n = fx_count(view);
    void *host = calloc((size_t)n + 1, 8);
    for (int64_t i = 0; i < n; i++) {
        switch (view.dtype) {
        case DK_F32:
            ((float *)host)[i] = (float)values[i];
            break;
        case DK_F64:
            ((double *)host)[i] = values[i];
            break;
        case DK_F16:
            ((uint16_t *)host)[i] = dk_f32_to_f16((float)values[i]);
            break;
        case DK_BF16:
            ((uint16_t *)host)[i] = dk_f32_to_bf16((float)values[i]);
            break;
        case DK_I32:
            ((int32_t *)host)[i] = (int32_t)values[i];
            break;
        default:
            abort();
        }
    }
    OPS(f)->copy_in(&f->queue, view, host);
    free(host);
}

static inline double *fx_read(fx *f, dk_view view)
{
    int64_t n = fx_count(view);
    double *values = calloc((size_t)n + 1, sizeof *values);
    void *host = calloc((size_t)n + 1, 8);
    OPS(f)->copy_out(&f->queue, view, host);
    for (int64_t i = 0; i < n; i++) {
        switch (view.dtype) {
        case DK_F32:
            values[i] = (double)((float *)host)[i];
            break;
        case DK_F64:
            values[i] = ((double *)host)[i];
            break;
        case DK_F16:
            values[i] = (double)dk_f16_to_f32(((uint16_t *)host)[i]);
            break;
        case DK_BF16:
            values[i] = (double)dk_bf16_to_f32(((uint16_t *)host)[i]);
            break;
        case DK_I32:
            values[i] = ((int32_t *)host)[i];
            break;
        default:
            abort();
        }
    }
    free(host);
    return values;
}

/* dtype 0 = the backend's real, with values that a float holds exactly. */
static inline dk_view fx_input(fx *f, int seed, int dtype, double low, double high, int32_t rank, const int64_t *shape,
                               int64_t gap)
{
    dk_view view = fx_view(f, dtype ? (dk_dtype)dtype : f->backend->real, rank, shape, gap);
    int64_t n = fx_count(view);
    double *values = calloc((size_t)n + 1, sizeof *values);
    for (int64_t i = 0; i < n; i++)
        values[i] =
            (double)(float)(low + (high - low) * dk_random_uniform((uint64_t)seed, DK_STREAM_TEST, (uint64_t)i));
    if (seed == f->moved_seed && f->moved_entry < n) values[f->moved_entry] += f->epsilon;
    fx_write(f, view, values);
    free(values);
    return view;
}

static inline dk_view fx_input_2d(fx *f, int seed, double low, double high, int64_t rows, int64_t columns, int64_t gap)
{
    int64_t shape[2] = {rows, columns};
    return fx_input(f, seed, 0, low, high, 2, shape, gap);
}

static inline dk_view fx_input_1d(fx *f, int seed, int dtype, double low, double high, int64_t n)
{
    return fx_input(f, seed, dtype, low, high, 1, &n, 0);
}

static inline dk_view fx_ids(fx *f, int seed, int64_t n, int64_t bound)
{
    return fx_input_1d(f, seed, DK_I32, 0, (double)bound - 1e-3, n);
}

static inline void fx_out(fx *f, dk_view view)
{
    int64_t n = fx_count(view);
    double *values = fx_read(f, view);
    while (f->count + n > f->room) {
        f->room = 2 * f->room + n;
        f->out = realloc(f->out, (size_t)f->room * sizeof *f->out);
    }
    if (n) memcpy(f->out + f->count, values, (size_t)n * sizeof *values);
    f->count += n;
    if (f->out_count == FX_MAX) abort();
    f->ends[f->out_count++] = f->count;
    free(values);
}

static inline void fx_loss(fx *f, dk_view y, dk_view weights)
{
    double *a = fx_read(f, y), *b = fx_read(f, weights);
    for (int64_t i = 0; i < fx_count(y); i++) f->loss += a[i] * b[i];
    fx_out(f, y);
    free(a);
    free(b);
}

static inline void fx_gradient(fx *f, int seed, dk_view gradient)
{
    f->gradients[f->gradient_count].seed = seed;
    f->gradients[f->gradient_count].first = f->count;
    f->gradients[f->gradient_count++].count = fx_count(gradient);
    fx_out(f, gradient);
}

static inline void fx_run(fx *f, dk_backend *backend, fx_case run, const int64_t *p)
{
    dk_error err = {0};
    f->backend = backend;
    f->p = p;
    (void)dk_queue_open(&f->queue, backend, NULL);
    run(f);
    CHECK_OK(dk_queue_wait(&f->queue, &err));
    for (int i = 0; i < f->buffer_count; i++) OPS(f)->buffer_free(backend, f->buffers[i]);
}

static inline dk_host *fx_host(int64_t threads)
{
    dk_host *host = NULL;
    dk_error err;
    if (dk_host_create(NULL, &host, &err) || dk_host_set_threads(host, threads, NULL, NULL, NULL, &err)) abort();
    return host;
}

static inline dk_backend *fx_reference(dk_dtype real)
{
    dk_backend *backend = NULL;
    dk_host *host = fx_host(1);
    dk_error err;
    if (dk_backend_reference(host, real, &backend, &err)) abort();
    dk_host_release(host);
    return backend;
}

static inline dk_backend *fx_cpu(int32_t isa, int64_t threads) /* NULL = not on this machine */
{
    dk_backend *backend = NULL;
    dk_host *host = fx_host(threads);
    dk_error err;
    if (dk_backend_cpu_isa(host, isa, &backend, &err) && err.code != DK_E_UNSUPPORTED) abort();
    dk_host_release(host);
    return backend;
}

/* 1 = a build that forms products by CBLAS alone. */
static inline int fx_alone(void)
{
    dk_backend *backend = fx_cpu(DK_ISA_PORTABLE, 1);
    dk_error err = {0};
    int alone = dk_backend_set_products(backend, "portable", &err) != DK_OK;
    if (alone) CHECK_STR(err.message, "products 'portable': this build forms them by cblas alone");
    dk_backend_free(backend);
    return alone;
}

/* What is said of products that are not there. */
static inline const char *fx_missing(void)
{
    return fx_alone() ? "this build forms them by cblas alone" : "this machine or this build has not its instructions";
}

/* Products by a set that has no name. */
static inline void fx_take_products(dk_backend *backend, const dk_product_set *set)
{
    ((dk_cpu *)backend->state)->products = set;
    backend->precisions |= 1u << DK_PRECISION_BF16;
    backend->invariant_rows = INT64_MAX;
}

static inline const char *fx_name(const int64_t *p)
{
    static char text[200];
    int at = 0;
    text[0] = 0;
    for (int i = 0; p && i < 8; i++) at += snprintf(text + at, sizeof text - (size_t)at, " %lld", (long long)p[i]);
    return text;
}

/* Largest error of got, in units of the largest entry of the same output (at least 0.1). Infinities must be the
 * same. */
static inline double fx_error(const fx *got, const fx *want)
{
    double worst = 0;
    if (got->count != want->count) return INFINITY;
    for (int o = 0; o < want->out_count; o++) {
        double largest = 0.1, error = 0;
        for (int64_t i = o ? want->ends[o - 1] : 0; i < want->ends[o]; i++) {
            if (isfinite(want->out[i])) largest = fmax(largest, fabs(want->out[i]));
            if (got->out[i] == want->out[i] || (isnan(got->out[i]) && isnan(want->out[i]))) continue;
            double e = fabs(got->out[i] - want->out[i]);
            error = isfinite(e) ? fmax(error, e) : INFINITY;
        }
        worst = test_worst(worst, error / largest);
    }
    return worst;
}

/* products: CBLAS is in it, so bits may depend on its own threads and are not compared. */
static inline void fx_compare(const char *name, fx_case run, const int64_t *p, double tolerance, int products)
{
    dk_backend *reference = fx_reference(DK_F64);
    fx want = {0};
    fx_run(&want, reference, run, p);
    for (int32_t isa = DK_ISA_PORTABLE; isa <= DK_ISA_AVX512; isa++) {
        dk_backend *one = fx_cpu(isa, 1), *three = fx_cpu(isa, 3);
        fx got = {0}, again = {0};
        if (one) {
            fx_run(&got, one, run, p);
            fx_run(&again, three, run, p);
            double error = fx_error(&got, &want);
            if (!(error <= tolerance))
                FAIL("%s%s on %s: error %.3g above %.3g", name, fx_name(p), one->name, error, tolerance);
            if (!products &&
                (got.count != again.count || memcmp(got.out, again.out, (size_t)got.count * sizeof *got.out)))
                FAIL("%s%s on %s: other bits with three threads", name, fx_name(p), one->name);
        }
        free(got.out);
        free(again.out);
        dk_backend_free(one);
        dk_backend_free(three);
    }
    free(want.out);
    dk_backend_free(reference);
}

static inline void fx_differentiate(const char *name, fx_case run, const int64_t *p, double tolerance)
{
    dk_backend *reference = fx_reference(DK_F64);
    fx base = {0};
    fx_run(&base, reference, run, p);
    CHECK(base.gradient_count > 0);
    for (int g = 0; g < base.gradient_count; g++) {
        const double *gradient = base.out + base.gradients[g].first;
        int64_t n = base.gradients[g].count, step = n > 40 ? n / 37 : 1;
        double largest = 1e-3;
        for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs(gradient[i]));
        for (int64_t i = 0; i < n; i += step) {
            fx up = {.moved_seed = base.gradients[g].seed, .moved_entry = i, .epsilon = 1e-5}, down = up;
            down.epsilon = -1e-5;
            fx_run(&up, reference, run, p);
            fx_run(&down, reference, run, p);
            double slope = (up.loss - down.loss) / 2e-5;
            if (!(fabs(slope - gradient[i]) <= tolerance * largest))
                FAIL("%s%s: gradient of input %d at %lld is %.10g, the difference quotient %.10g", name, fx_name(p),
                     base.gradients[g].seed, (long long)i, gradient[i], slope);
            free(up.out);
            free(down.out);
        }
    }
    free(base.out);
    dk_backend_free(reference);
}

#endif
