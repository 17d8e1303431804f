/* Losses over a ranking, up to 262,144 ids: all that they say is of probabilities of a few ids, and what is known of
 * these is the log-sum-exp of all. rank_hinge says nothing where the student leads by as much as the teacher, so that
 * what is left of its margins has to be known absolutely: its log-sum-exps are in doubles. */
#include "loss_fixture.h"

enum { WIDEST = 262144, BEST = 256 };
static float z[WIDEST], p[WIDEST], g[WIDEST];
static long double slope[BEST];
static int64_t best[BEST];

static long double log_sum(const float *x, int64_t n, double temperature)
{
    long double top = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) top = fmaxl(top, (long double)x[i]);
    for (int64_t i = 0; i < n; i++) sum += expl(((long double)x[i] - top) / (long double)temperature);
    return top / (long double)temperature + logl(sum);
}

static void find_best(int64_t n, int64_t count)
{
    for (int64_t k = 0; k < count; k++) {
        best[k] = -1;
        for (int64_t i = 0; i < n; i++) {
            const int64_t last = k ? best[k - 1] : -1;
            const int later = k == 0 || p[i] < p[last] || (p[i] == p[last] && i > last);
            if (later && (best[k] < 0 || p[i] > p[best[k]])) best[k] = i;
        }
    }
}

typedef struct answer {
    long double value, q[BEST], of_all, tilt,
        nearest; /* of_all: log-sum-exp; nearest: distance of a pair from its hinge */
} answer;

static void hinge(int64_t n, int64_t count, double temperature, answer *out)
{
    const long double lq = log_sum(z, n, temperature), lp = log_sum(p, n, temperature), t = (long double)temperature;
    long double of_p[BEST];
    int64_t pairs = 0;
    memset(out, 0, sizeof *out);
    memset(slope, 0, sizeof slope);
    out->nearest = INFINITY;
    out->of_all = lq;
    for (int64_t k = 0; k < count; k++) {
        of_p[k] = expl((long double)p[best[k]] / t - lp);
        out->q[k] = expl((long double)z[best[k]] / t - lq);
    }
    for (int64_t i = 0; i < count; i++)
        for (int64_t j = i + 1; j < count; j++) {
            if (!(p[best[i]] > p[best[j]])) continue;
            const long double left = (of_p[i] - of_p[j]) - (out->q[i] - out->q[j]);
            pairs++;
            out->nearest = fminl(out->nearest, fabsl(left));
            if (!(left > 0)) continue;
            out->value += left;
            slope[i] -= out->q[i];
            slope[j] += out->q[j];
        }
    for (int64_t k = 0; k < count; k++) out->tilt += slope[k] /= (long double)(pairs ? pairs : 1);
    out->value /= (long double)(pairs ? pairs : 1);
}

/* What doubles leave: a log-sum-exp of n terms in lanes of at least two adds n/2 roundings, and shifts of up to 2e4/T
 * are rounded once; probabilities are at most 1, and a pair has four. */
static double bound_of(int64_t n, double temperature) { return 4 * 2.3e-16 * ((double)n / 2 + 2e4 / temperature); }

static void check(fixture *f, int64_t n, int64_t count, double temperature, double apart)
{
    const double bound = bound_of(n, temperature);
    char text[64];
    dense_call d;
    dk_error err;
    answer want;
    double off = 0, most = 0;
    snprintf(text, sizeof text, "rank_hinge, rank_hinge.top_k: %d", (int)count);
    di_loss *loss = loss_of(f, text, temperature);
    find_best(n, count);
    hinge(n, count, temperature, &want);
    set_dense(&d, z, 1, n, p, n);
    with_gradient(&d, g);
    CHECK_OK(di_loss_eval(f->backend, loss, &d.args, &err));
    if (!(fabsl((long double)d.args.sum - want.value) <= (long double)bound))
        FAIL("n %lld, %d ids, T %g, %g apart: value %.17g, not %.17Lg; the bound is %g", (long long)n, (int)count,
             temperature, apart, d.args.sum, want.value, bound);
    for (int64_t i = 0; i < n && want.nearest > (long double)bound; i++) {
        long double slope_of = 0;
        for (int64_t k = 0; k < count; k++)
            if (best[k] == i) slope_of = slope[k];
        const long double share = expl((long double)z[i] / (long double)temperature - want.of_all) * want.tilt;
        const double exact = (double)((slope_of - share) / (long double)temperature);
        most = test_worst(most, fabs(exact));
        off = test_worst(off, fabs((double)g[i] - exact));
    }
    if (!(off <= 2e-7 * most + bound / temperature))
        FAIL("n %lld, %d ids, T %g, %g apart: a slope is off by %g, the largest is %g", (long long)n, (int)count,
             temperature, apart, off, most);
    di_loss_release(loss);
}

TEST(hinge_of_wide_rows)
{
    static const int64_t widths[] = {2, 64, 1000, 32000, 151936, WIDEST};
    static const double temperatures[] = {0.05, 1, 100}, aparts[] = {0, 1e-4, 1};
    fixture f;
    open_fixture(&f);
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
        for (size_t a = 0; a < sizeof aparts / sizeof *aparts; a++) {
            const int64_t n = widths[w];
            randomize(p, n, 3, w);
            for (int64_t i = 0; i < n; i++)
                z[i] = (float)((double)p[i] + aparts[a] * dk_random_normal(3, w, (uint64_t)i));
            for (size_t t = 0; t < sizeof temperatures / sizeof *temperatures; t++)
                check(&f, n, n < 8 ? n : 8, temperatures[t], aparts[a]);
        }
    close_fixture(&f);
}

/* As many as there may be, and logits of +-1e4. */
TEST(hinge_of_many_and_far)
{
    enum { N = 32000 };
    fixture f;
    open_fixture(&f);
    for (int far = 0; far < 2; far++)
        for (int64_t count = 64; count <= BEST; count *= 4) {
            randomize(p, N, far ? 3e3 : 2, 7);
            randomize(z, N, far ? 3e3 : 2, 8);
            for (int64_t i = 0; i < N; i++)
                p[i] = fmaxf(fminf(p[i], 1e4f), -1e4f), z[i] = fmaxf(fminf(z[i], 1e4f), -1e4f);
            check(&f, N, count, 1, far);
            check(&f, N, count, 100, far);
        }
    close_fixture(&f);
}

/* Rows that are near what they must not be taken for: equal logits and such an ulp apart, margins that are the same on
 * both sides, a student that is sure, a teacher that excludes ids. */
enum { TIES, ULPS, SHIFTED, SURE, EXCLUDED, SHAPES };

static void fill(int shape, int64_t n)
{
    randomize(p, n, 3, 21);
    for (int64_t i = 0; i < n; i++) {
        const float noise = (float)dk_random_normal(22, 1, (uint64_t)i);
        if (shape == TIES) p[i] = rintf(p[i]);
        if (shape == ULPS) p[i] = i % 7 ? p[i] : 12 + (float)(i % 11) * 0x1p-20f;
        if (shape == EXCLUDED && i % 3) p[i] = -INFINITY;
        if (shape == EXCLUDED) z[i] = i % 3 ? noise : p[i];
        else z[i] = shape == ULPS ? p[i] + (float)(i % 5 - 2) * 0x1p-20f : p[i];
        if (shape == SHIFTED) z[i] = rintf(p[i] * 0x1p10f) * 0x1p-10f + 512, p[i] = z[i] - 512;
    }
    if (shape == SURE) z[n / 2] = p[n / 2] + 1e4f;
}

TEST(hinge_of_rows_that_hang_on_little)
{
    static const int64_t widths[] = {48, 1000, 32000, 151936};
    static const double temperatures[] = {0.5, 1, 3};
    fixture f;
    open_fixture(&f);
    for (int shape = 0; shape < SHAPES; shape++)
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
            fill(shape, widths[w]);
            for (size_t t = 0; t < sizeof temperatures / sizeof *temperatures; t++)
                check(&f, widths[w], 16, temperatures[t], shape);
        }
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(hinge_of_wide_rows) TEST_CASE(hinge_of_many_and_far) TEST_CASE(hinge_of_rows_that_hang_on_little))
