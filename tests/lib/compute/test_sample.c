/* Sampling: the CPU backend draws what the reference draws, and both draw from the right distribution. */
#include "compute/cpu/sample_order.h"
#include "compute_fixture.h"

enum { VOCAB = 50, DRAWS = 20000 };

static int32_t sample(dk_backend *backend, const dk_sample_args *args, int64_t rows, int64_t vocab, int64_t width,
                      const float *logits, int32_t *ids, dk_error *err)
{
    dk_buffer *z_buffer, *id_buffer;
    dk_queue queue;
    if (backend->ops->buffer_create(backend, rows * width * 8, &z_buffer, err) ||
        backend->ops->buffer_create(backend, rows * 4, &id_buffer, err))
        abort();
    dk_view z = dk_view_2d(z_buffer, 0, backend->real, rows, width), out = dk_view_1d(id_buffer, 0, DK_I32, rows);
    (void)dk_queue_open(&queue, backend, NULL);
    double *wide = calloc((size_t)(rows * width), sizeof *wide);
    for (int64_t i = 0; i < rows * width; i++) wide[i] = (double)logits[i];
    backend->ops->copy_in(&queue, z, backend->real == DK_F64 ? (const void *)wide : logits);
    free(wide);
    backend->ops->sample(&queue, args, z, vocab, out);
    int32_t rc = dk_queue_wait(&queue, err);
    backend->ops->copy_out(&queue, out, ids);
    backend->ops->buffer_free(backend, z_buffer);
    backend->ops->buffer_free(backend, id_buffer);
    return rc;
}

TEST(distribution)
{
    static const struct {
        double temperature, top_p, min_p;
        int64_t top_k;
    } settings[] = {{1, 1, 0, 0},       {0.7, 1, 0, 5},       {1.5, 0.6, 0, 0}, {1, 0.8, 0, 7},
                    {3, 1e-9, 0, 0},    {1, 1, 0, VOCAB + 5}, {0.01, 1, 0, 0},  {1, 1, 0.3, 0},
                    {1.5, 0.6, 0.4, 0}, {1, 0.9, 0.05, 12},   {2, 1, 1, 0}};
    dk_backend *reference = fx_reference(DK_F64), *cpu = fx_cpu(DK_ISA_PORTABLE, 2);
    float *logits = calloc((size_t)DRAWS * VOCAB, sizeof *logits);
    uint64_t *counters = calloc(DRAWS, sizeof *counters);
    int32_t *a = calloc(DRAWS, sizeof *a), *b = calloc(DRAWS, sizeof *b);
    dk_error err;
    for (int64_t i = 0; i < DRAWS * VOCAB; i++)
        logits[i] = (float)(4 * dk_random_uniform(5, DK_STREAM_TEST, (uint64_t)(i % VOCAB)));
    for (uint64_t i = 0; i < DRAWS; i++) counters[i] = 3 * i + 7;
    for (int s = 0; s < 11; s++) {
        dk_sample_args args = {.temperature = settings[s].temperature,
                               .top_p = settings[s].top_p,
                               .min_p = settings[s].min_p,
                               .top_k = settings[s].top_k,
                               .seed = 9,
                               .counters = counters};
        REQUIRE_OK(sample(reference, &args, DRAWS, VOCAB - 3, VOCAB, logits, a, &err));
        REQUIRE_OK(sample(cpu, &args, DRAWS, VOCAB - 3, VOCAB, logits, b, &err));
        int64_t other = 0, count[VOCAB] = {0};
        for (int64_t i = 0; i < DRAWS; i++) {
            other += a[i] != b[i];
            count[b[i]]++;
        }
        CHECK(other <= 2); /* a draw on the edge of two candidates */
        double weight[VOCAB], total = 0;
        int order[VOCAB];
        for (int i = 0; i < VOCAB - 3; i++) {
            int at = i;
            for (; at > 0 && logits[order[at - 1]] < logits[i]; at--) order[at] = order[at - 1];
            order[at] = i;
        }
        int64_t keep = settings[s].top_k ? settings[s].top_k : VOCAB;
        if (keep > VOCAB - 3) keep = VOCAB - 3;
        for (int64_t i = 0; i < keep; i++)
            total += weight[i] = exp(((double)logits[order[i]] - (double)logits[order[0]]) / args.temperature);
        double kept = 0;
        int64_t n = 0;
        while (n < keep && (n == 0 || (kept < args.top_p * total && weight[n] >= args.min_p))) kept += weight[n++];
        int64_t inside = 0;
        for (int64_t i = 0; i < n; i++) {
            double p = weight[i] / kept;
            CHECK_NEAR((double)count[order[i]] / DRAWS, p, 5 * sqrt(p * (1 - p) / DRAWS) + 1e-12);
            inside += count[order[i]];
        }
        CHECK_INT(inside, DRAWS);
    }
    free(logits);
    free(counters);
    free(a);
    free(b);
    dk_backend_free(reference);
    dk_backend_free(cpu);
}

TEST(greedy_and_failures)
{
    const float rows[] = {1, 5, 5, 2, 9, /**/ 0, -1, -INFINITY, 0, 9, /**/ -INFINITY, 0, 0, 0, 0};
    const float bad[3][5] = {{0, 1, 2, 3, 9}, {0, 1, NAN, 3, 9}, {0, INFINITY, 2, 3, 9}};
    for (int32_t isa = -1; isa <= DK_ISA_AVX512; isa++) {
        dk_backend *backend = isa < 0 ? fx_reference(DK_F64) : fx_cpu(isa, 1);
        dk_sample_args args = {.top_p = 1};
        dk_error err = {0};
        int32_t ids[3];
        if (!backend) continue;
        REQUIRE_OK(sample(backend, &args, 2, 4, 5, rows, ids, &err));
        CHECK_INT(ids[0], 1); /* ties to the lowest id; column 4 lies behind vocab */
        CHECK_INT(ids[1], 0);
        CHECK_INT(sample(backend, &args, 2, 4, 5, bad[0], ids, &err), DK_E_NUMERIC);
        CHECK_HAS(err.message, "row 1");
        CHECK_INT(sample(backend, &args, 1, 4, 5, bad[2], ids, &err), DK_E_NUMERIC);
        CHECK_INT(sample(backend, &args, 1, 1, 5, &rows[10], ids, &err), DK_E_NUMERIC);
        args.temperature = 1e-39; /* below what a float can divide by: greedy, and no counters are needed */
        REQUIRE_OK(sample(backend, &args, 2, 4, 5, rows, ids, &err));
        CHECK_INT(ids[0], 1);
        args.temperature = INFINITY;
        CHECK_INT(sample(backend, &args, 1, 4, 5, rows, ids, &err), DK_E_INTERNAL);
        args.temperature = 1;
        CHECK_INT(sample(backend, &args, 1, 4, 5, bad[0], ids, &err), DK_E_INTERNAL);
        CHECK_HAS(err.message, "no counters");
        dk_backend_free(backend);
    }
}

/* Every backend against the rule, written down once more. */
TEST(adjust)
{
    static const int32_t first[] = {3, 3, 7, 49, 3, 12, 7}, second[] = {0, 1}, *const ids[] = {first, second};
    static const int64_t count[] = {7, 2}, own[] = {4, 2};
    static const int32_t bias_ids[] = {7, 2, 49};
    static const double bias[] = {1.5, -100, 5};
    for (int32_t isa = -1; isa <= DK_ISA_AVX512; isa++) {
        dk_backend *backend = isa < 0 ? fx_reference(DK_F64) : fx_cpu(isa, 1);
        if (!backend) continue;
        dk_adjust_args args = {.bias_ids = bias_ids,
                               .bias = bias,
                               .bias_count = 3,
                               .repetition = 1.25,
                               .presence = 0.5,
                               .ids = ids,
                               .count = count,
                               .own = own};
        dk_buffer *buffer;
        dk_queue queue;
        dk_error err = {0};
        REQUIRE_OK(backend->ops->buffer_create(backend, 2 * VOCAB * 8, &buffer, &err));
        dk_view z = dk_view_2d(buffer, 0, backend->real, 2, VOCAB);
        double wide[2 * VOCAB];
        float narrow[2 * VOCAB];
        (void)dk_queue_open(&queue, backend, NULL);
        for (int i = 0; i < 2 * VOCAB; i++) narrow[i] = (float)(wide[i] = i % 5 - 2.25);
        backend->ops->copy_in(&queue, z, isa < 0 ? (const void *)wide : (const void *)narrow);
        backend->ops->adjust(&queue, &args, z, VOCAB - 2);
        backend->ops->copy_out(&queue, z, isa < 0 ? (void *)wide : (void *)narrow);
        REQUIRE_OK(dk_queue_wait(&queue, &err));
        for (int i = 0; i < 2 * VOCAB; i++) {
            int row = i / VOCAB, id = i % VOCAB;
            double want = i % 5 - 2.25 + (id == 7 ? 1.5 : id == 2 ? -100 : 0);
            int read = row == 0 ? id == 3 || id == 7 || id == 12 : id < 2, wrote = row == 0 && read;
            if (read) want = want > 0 ? want / 1.25 : want * 1.25;
            if (wrote) want -= 0.5;
            CHECK_NEAR(isa < 0 ? wide[i] : (double)narrow[i], want, 2e-6);
        }
        args.repetition = 0;
        backend->ops->adjust(&queue, &args, z, VOCAB - 2);
        CHECK_INT(dk_queue_wait(&queue, &err), DK_E_INTERNAL);
        CHECK_HAS(err.message, "repetition or presence out of bounds");
        backend->ops->buffer_free(backend, buffer);
        dk_backend_free(backend);
    }
}

static const float *sorted_by;
static int by_logit(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return sorted_by[x] == sorted_by[y] ? x - y : sorted_by[x] < sorted_by[y] ? 1 : -1;
}

/* Buckets, what lies below all of them, ties within and across, and ids that nothing is left of. */
TEST(order)
{
    enum { IDS = 3000 };
    static const double temperatures[] = {1e-3, 0.3, 1, 40}, spreads[] = {0, 1, 30, 1e6};
    static float z[IDS];
    static int32_t sorted[IDS], ids[IDS], want[IDS];
    for (int t = 0; t < 4; t++)
        for (int s = 0; s < 4; s++) {
            dk_order order;
            float highest = -INFINITY;
            for (int i = 0; i < IDS; i++) {
                const double draw = dk_random_uniform(11, DK_STREAM_TEST, (uint64_t)i);
                z[i] = i % 97 == 5 ? -INFINITY : (float)(spreads[s] * floor(400 * draw) / 400);
                highest = z[i] > highest ? z[i] : highest;
                want[i] = i;
            }
            sorted_by = z;
            qsort(want, IDS, sizeof *want, by_logit);
            dk_order_open(&order, z, IDS, highest, temperatures[t], sorted, ids);
            CHECK_INT(dk_order_at(&order, 7), want[7]); /* no further than asked */
            CHECK_INT(order.ready, 8);
            for (int i = 0; i < IDS; i++)
                if (dk_order_at(&order, i) != want[i]) FAIL("spread %g: number %d is another", spreads[s], i);
        }
}

TEST_MAIN(TEST_CASE(order) TEST_CASE(adjust) TEST_CASE(distribution) TEST_CASE(greedy_and_failures))
