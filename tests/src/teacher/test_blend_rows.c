/* Rows of blends on every instruction set against log-sum-exp in double, where members disagree by hundreds of nats and
 * weigh next to nothing: p in the strip may underflow, its logarithm may not. */
#include <math.h>

#include "base/random.h"
#include "compute/compute.h"
#include "teacher/blend_rows.h"
#include "test.h"

enum { WIDTH = 397, MEMBERS = 3 };

/* Near ones, far ones, and some that are ruled out. */
static void fill(float *z, uint64_t member, double spread)
{
    for (uint64_t i = 0; i < WIDTH; i++) {
        z[i] = (float)(spread * dk_random_normal(5, member, i));
        if (dk_random_uniform(6, member, i) < 0.05) z[i] = -INFINITY;
    }
}

static double highest_of(const float *z)
{
    double top = -INFINITY;
    for (int i = 0; i < WIDTH; i++) top = fmax(top, (double)z[i]);
    return top;
}

static double log_total(const float *z, double temperature)
{
    const double top = highest_of(z);
    double total = 0;
    for (int i = 0; i < WIDTH; i++) total += exp(((double)z[i] - top) / temperature);
    return top / temperature + log(total);
}

static void check_mix(const di_blend_rows *kernels, float z[MEMBERS][WIDTH], const double *weights, double temperature)
{
    float sum[WIDTH], shares[WIDTH];
    double totals[MEMBERS], moment = 0;
    for (int m = 0; m < MEMBERS; m++) {
        float *out = m ? shares : sum;
        const float top = kernels->highest(z[m], WIDTH);
        CHECK_NEAR((double)top, highest_of(z[m]), 0);
        memcpy(out, z[m], sizeof sum);
        totals[m] = kernels->shares(out, out, WIDTH, top, (float)(1 / temperature), m == 1 ? &moment : NULL);
        CHECK_NEAR(totals[m], exp(log_total(z[m], temperature) - (double)top / temperature), 2e-6 * totals[m]);
        if (m == 1) kernels->mix(sum, shares, WIDTH, weights[0] / totals[0], weights[1] / totals[1]);
        if (m == 2) kernels->mix_last(sum, shares, WIDTH, 1, weights[2] / totals[2]);
    }
    for (int i = 0; i < WIDTH; i++) {
        double terms[MEMBERS], top = -INFINITY, want = 0;
        for (int m = 0; m < MEMBERS; m++) {
            terms[m] = log(weights[m]) + (double)z[m][i] / temperature - log_total(z[m], temperature);
            top = fmax(top, terms[m]);
        }
        for (int m = 0; m < MEMBERS; m++) want += exp(terms[m] - top);
        want = top > -INFINITY ? top + log(want) : -INFINITY;
        if (want == -INFINITY) CHECK(sum[i] == -INFINITY);
        else CHECK_NEAR((double)sum[i], want, 1e-6 + 3e-7 * fabs(want));
    }
}

static int32_t best_isa(void)
{
    dk_host *host = NULL;
    dk_backend *backend = NULL;
    if (dk_host_create(NULL, &host, NULL) || dk_backend_cpu(host, &backend, NULL)) exit(3);
    const int32_t isa = backend->isa;
    dk_backend_free(backend);
    dk_host_release(host);
    return isa;
}

TEST(mixtures)
{
    static const double weights[][MEMBERS] = {{0.5, 0.3, 0.2}, {1e-30, 1e-9, 1}, {1 - 2e-12, 1e-12, 1e-12}},
                        spreads[] = {1, 12, 60, 400}, temperatures[] = {1, 2, 0.25};
    static float z[MEMBERS][WIDTH];
    const int32_t best = best_isa();
    for (int32_t isa = DK_ISA_PORTABLE; isa <= best; isa++)
        for (size_t s = 0; s < sizeof spreads / sizeof *spreads; s++) {
            for (uint64_t m = 0; m < MEMBERS; m++) fill(z[m], m, spreads[s]);
            for (size_t w = 0; w < sizeof weights / sizeof *weights; w++)
                for (size_t t = 0; t < sizeof temperatures / sizeof *temperatures; t++)
                    check_mix(di_blend_rows_for(isa), z, weights[w], temperatures[t]);
        }
}

TEST(what_is_no_logit)
{
    static float z[WIDTH];
    const int32_t best = best_isa();
    for (int32_t isa = DK_ISA_PORTABLE; isa <= best; isa++)
        for (int i = 0; i < WIDTH; i += 36) {
            fill(z, 1, 1);
            z[i] = NAN;
            CHECK(di_blend_rows_for(isa)->highest(z, WIDTH) == INFINITY);
            z[i] = INFINITY;
            CHECK(di_blend_rows_for(isa)->highest(z, WIDTH) == INFINITY);
        }
}

TEST_MAIN(TEST_CASE(mixtures) TEST_CASE(what_is_no_logit))
