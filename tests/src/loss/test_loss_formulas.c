/* Every built-in loss and every corner of its options against its formula in long double: values, and gradients against
 * central differences with the detached parts held, at temperatures from 0.05 to 100, far apart and almost the same, on
 * dense teachers and on a few ids and the rest, for every instruction set. */
#include "loss_fixture.h"
#include "loss_formulas.h"

static float z[FORMULA_MAX], p[FORMULA_MAX], got[FORMULA_MAX];
static row r;

static void set_student(double temperature)
{
    for (int64_t i = 0; i < r.n; i++) r.uq[i] = (real)z[i] / (real)temperature;
    log_softmax_real(r.uq, r.n, r.lq);
}

static void set_row(int64_t n, double temperature, int32_t label)
{
    r.n = n;
    r.label = label;
    for (int64_t i = 0; i < n; i++) r.up[i] = (real)p[i] / (real)temperature;
    log_softmax_real(r.up, n, r.lp);
    set_student(temperature);
    memcpy(r.fixed, r.lq, sizeof r.fixed);
}

/* d/dz_i by differences of u_i */
static real slope_at(const loss_case *c, int64_t i, double temperature)
{
    const real at = r.uq[i], h = c->flags & KINKED ? 1e-9L : 1e-5L;
    r.uq[i] = at + h;
    log_softmax_real(r.uq, r.n, r.lq);
    const real high = c->value(&r, c->options);
    r.uq[i] = at - h;
    log_softmax_real(r.uq, r.n, r.lq);
    const real low = c->value(&r, c->options);
    r.uq[i] = at;
    log_softmax_real(r.uq, r.n, r.lq);
    return (high - low) / (2 * h) / (real)temperature;
}

static void check(fixture *f, const loss_case *c, const di_loss *loss, int64_t n, double temperature, const char *what)
{
    const double used = c->flags & PLAIN ? 1 : temperature;
    int32_t label = (int32_t)(n / 3);
    real top = 0, off = 0;
    dense_call d;
    dk_error err;
    set_row(n, used, label);
    set_dense(&d, z, 1, n, p, n);
    with_labels(&d, &label);
    CHECK_OK(di_loss_eval(f->backend, loss, &d.args, &err));
    const double alone = d.args.sum;
    with_gradient(&d, got);
    CHECK_OK(di_loss_eval(f->backend, loss, &d.args, &err));
    CHECK_NEAR(d.args.sum, alone, 0); /* the value does not hang on who wants the gradient */
    const real value = c->value(&r, c->options);
    if (!(fabsl((real)d.args.sum - value) <= (c->flags & ROUGH ? 4e-6L : 1e-6L) * fabsl(value) + 1e-13L))
        FAIL("%s, %s, n %lld, T %g: value %.9g, not %.9Lg", c->yaml, what, (long long)n, temperature, d.args.sum,
             value);
    for (int64_t i = 0; i < n; i++) top = fmaxl(top, fabsl((real)got[i]));
    for (int64_t i = 0; i<n; i += n> 40 ? 23 : 1) {
        const real slope = slope_at(c, i, used);
        top = fmaxl(top, fabsl(slope));
        off = fmaxl(off, fabsl((real)got[i] - slope));
    }
    if (!(off * (real)used <= (c->flags & ROUGH ? 4e-6L : 2e-6L) * top * (real)used + 3e-9L))
        FAIL("%s, %s, n %lld, T %g: gradient off by %.2Lg, its largest is %.2Lg", c->yaml, what, (long long)n,
             temperature, off, top);
}

static void fill_logits(int64_t n, double apart, uint64_t stream)
{
    randomize(p, n, 2, stream);
    for (int64_t i = 0; i < n; i++)
        z[i] = (float)((double)p[i] + apart * dk_random_normal(7, stream + 100, (uint64_t)i));
}

TEST(dense)
{
    static const double temperatures[] = {0.05, 0.5, 1, 2, 10, 100}, apart[] = {1e-3, 0.3, 3};
    static const int64_t widths[] = {2, 3, 17, 33, 300, 64};
    fixture f;
    open_fixture(&f);
    for (int k = 0; k < LOSS_CASES; k++)
        for (size_t t = 0; t < sizeof temperatures / sizeof *temperatures; t++) {
            di_loss *loss = loss_of(&f, loss_cases[k].yaml, temperatures[t]);
            for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
                for (size_t a = 0; a < sizeof apart / sizeof *apart; a++) {
                    fill_logits(widths[w], apart[a], w * 10 + a);
                    check(&f, &loss_cases[k], loss, widths[w], temperatures[t], "dense");
                }
            di_loss_release(loss);
        }
    close_fixture(&f);
}

TEST(instruction_sets)
{
    fixture f;
    open_fixture(&f);
    const int32_t best = f.backend->isa;
    for (f.backend->isa = DK_ISA_PORTABLE; f.backend->isa <= best; f.backend->isa++)
        for (int k = 0; k < LOSS_CASES; k++) {
            di_loss *loss = loss_of(&f, loss_cases[k].yaml, 1.5);
            fill_logits(41, 1, 5);
            check(&f, &loss_cases[k], loss, 41, 1.5, "dense");
            fill_logits(203, 1, 5); /* where vectors of floats serve */
            check(&f, &loss_cases[k], loss, 203, 1.5, "dense");
            di_loss_release(loss);
        }
    close_fixture(&f);
}

/* Logits of +-1e4, and what each loss makes of them: what cancels there would be lost. */
TEST(far)
{
    static const double temperatures[] = {0.7, 1, 100};
    fixture f;
    open_fixture(&f);
    for (int k = 0; k < LOSS_CASES; k++)
        for (size_t t = 0; t < sizeof temperatures / sizeof *temperatures; t++) {
            if (loss_cases[k].flags & OVERFLOWS) continue;
            di_loss *loss = loss_of(&f, loss_cases[k].yaml, temperatures[t]);
            for (int64_t i = 0; i < 300; i++) {
                z[i] = (float)fmin(fmax(5e3 * dk_random_normal(8, t, (uint64_t)i), -1e4), 1e4);
                p[i] = (float)fmin(fmax(5e3 * dk_random_normal(9, t, (uint64_t)i), -1e4), 1e4);
            }
            check(&f, &loss_cases[k], loss, 33, temperatures[t], "far");
            check(&f, &loss_cases[k], loss, 300, temperatures[t], "far");
            di_loss_release(loss);
        }
    close_fixture(&f);
}

/* Sure of one token, the same or another; where a loss is infinite in the limit this is where floats fail. */
TEST(sharp)
{
    fixture f;
    open_fixture(&f);
    for (int k = 0; k < LOSS_CASES; k++) {
        di_loss *loss = loss_of(&f, loss_cases[k].yaml, 1);
        for (int where = 0; where < 4; where++) {
            const int64_t n = where < 2 ? 33 : 300; /* in doubles, and in floats */
            fill_logits(n, 0.2, 5);
            z[where % 2 * 30] += 25;
            p[0] += 25;
            check(&f, &loss_cases[k], loss, n, 1, "sharp");
        }
        di_loss_release(loss);
    }
    close_fixture(&f);
}

/* ---- a few ids and the rest: the same formulas over k + 1 outcomes ---- */

enum { K = 6 };
typedef struct buckets {
    int32_t ids[K];
    float log_p[K], tail;
    real lp[K + 1];
} buckets;

static int64_t bucket_of(const buckets *b, int64_t id)
{
    for (int64_t j = 0; j < K; j++)
        if (b->ids[j] == id) return j;
    return K;
}

/* r's student and teacher over the buckets, from logits u of n ids. */
static void bucket_student(const buckets *b, const real *u, int64_t n, real *out)
{
    static real lq[FORMULA_MAX];
    real sums[K + 1] = {0};
    log_softmax_real(u, n, lq);
    for (int64_t i = 0; i < n; i++) sums[bucket_of(b, i)] += expl(lq[i]);
    for (int64_t j = 0; j <= K; j++) out[j] = logl(sums[j]);
}

static const buckets *listed_now; /* those that r is of */

/* adaptive_kl of k + 1 outcomes: the head is of the ids, by their log p and, of equal ones, the lowest id first; the
 * rest is in the tail. */
static real f_adaptive_listed(const row *of, const double *o)
{
    int32_t taken[K] = {0};
    real mass = 0, head = 0, all = 0;
    for (int count = 0; count < K; count++) {
        int best = -1;
        for (int j = 0; j < K; j++) {
            const int64_t id = listed_now->ids[j];
            if (taken[j]) continue;
            if (best < 0 || of->lp[j] > of->lp[best] || (of->lp[j] == of->lp[best] && id < listed_now->ids[best]))
                best = j;
        }
        mass += expl(of->lp[best]);
        if (count && mass > (real)o[0] + 1e-12L) break;
        taken[best] = 1;
    }
    for (int j = 0; j <= K; j++) {
        const real gap = fabsl(expl(of->lp[j]) - expl(of->fixed[j]));
        all += gap;
        head += j < K && taken[j] ? gap : 0;
    }
    const real w = head / all;
    return w * kl_of(of->lp, of->lq, K + 1) + (1 - w) * kl_of(of->lq, of->lp, K + 1);
}

static void check_buckets(fixture *f, const loss_case *c, int64_t n, double temperature, double apart, int tied)
{
    static real u[FORMULA_MAX], lp[FORMULA_MAX];
    const int64_t shape[2] = {1, K};
    di_loss *loss = loss_of(f, c->yaml, temperature);
    real listed = 0, top = 0, off = 0;
    buckets b;
    dense_call d;
    dk_error err;
    fill_logits(n, apart, 11);
    for (int64_t j = 1; tied && j < K; j++) p[(j * 5 + 3) % n] = p[8 % n]; /* all but the first alike */
    listed_now = &b;
    for (int64_t i = 0; i < n; i++) u[i] = (real)p[i] / (real)temperature;
    log_softmax_real(u, n, lp);
    for (int64_t j = 0; j < K; j++) {
        b.ids[j] = (int32_t)((j * 5 + 3) % n);
        b.log_p[j] = (float)lp[b.ids[j]];
        r.lp[j] = (real)b.log_p[j];
        listed += expl(r.lp[j]);
    }
    r.n = K + 1;
    r.lp[K] = logl(1 - listed);
    for (int64_t i = 0; i < n; i++) u[i] = (real)z[i] / (real)temperature;
    bucket_student(&b, u, n, r.lq);
    memcpy(r.fixed, r.lq, sizeof r.fixed);
    const real value = c->value(&r, c->options);
    distill_tensor values = di_tensor_of(b.log_p, DISTILL_FLOAT, 32, 2, shape),
                   ids = di_tensor_of(b.ids, DISTILL_INT, 32, 2, shape);
    set_dense(&d, z, 1, n, NULL, 0);
    d.teacher.kind = DISTILL_TOPK;
    d.teacher.temperature = temperature;
    d.teacher.values = &values;
    d.teacher.ids = &ids;
    d.args.teacher = &d.teacher;
    with_gradient(&d, got);
    CHECK_OK(di_loss_eval(f->backend, loss, &d.args, &err));
    if (!(fabsl((real)d.args.sum - value) <= 1e-6L * fabsl(value) + 1e-13L))
        FAIL("%s, top-k, n %lld, T %g: value %.9g, not %.9Lg", c->yaml, (long long)n, temperature, d.args.sum, value);
    for (int64_t i = 0; i < n; i++) {
        const real at = u[i], h = c->flags & KINKED ? 1e-9L : 1e-5L;
        u[i] = at + h;
        bucket_student(&b, u, n, r.lq);
        const real high = c->value(&r, c->options);
        u[i] = at - h;
        bucket_student(&b, u, n, r.lq);
        const real slope = (high - c->value(&r, c->options)) / (2 * h);
        u[i] = at;
        top = fmaxl(top, fabsl(slope));
        off = fmaxl(off, fabsl((real)got[i] * (real)temperature - slope));
    }
    if (!(off <= 2e-6L * top + 3e-9L))
        FAIL("%s, top-k, n %lld, T %g: gradient off by %.2Lg of %.2Lg", c->yaml, (long long)n, temperature, off, top);
    di_loss_release(loss);
}

TEST(ids_and_the_rest)
{
    fixture f;
    open_fixture(&f);
    for (int k = 0; k < LOSS_CASES; k++) {
        if (!(loss_cases[k].flags & ON_TOPK)) continue;
        check_buckets(&f, &loss_cases[k], 33, 1, 1, 0);
        check_buckets(&f, &loss_cases[k], 50, 2, 0.01, 0);
        check_buckets(&f, &loss_cases[k], 9, 0.5, 0.3, 0);
        check_buckets(&f, &loss_cases[k], 9, 100, 3, 0);
    }
    close_fixture(&f);
}

/* Heads of one id, of some of equal ones, of all ids; the rest may be likelier than any of them. */
TEST(head_of_ids_and_the_rest)
{
    static const double masses[] = {0.001, 0.1, 0.25, 0.5, 0.9, 0.999};
    fixture f;
    open_fixture(&f);
    for (size_t m = 0; m < sizeof masses / sizeof *masses; m++)
        for (int tied = 0; tied < 2; tied++) {
            char yaml[96];
            snprintf(yaml, sizeof yaml, "adaptive_kl, adaptive_kl.head_mass: %g", masses[m]);
            const loss_case of_ids = {yaml, f_adaptive_listed, {masses[m]}, 0};
            check_buckets(&f, &of_ids, 33, 1, 1, tied);
            check_buckets(&f, &of_ids, 9, 0.5, 0.3, tied);
            check_buckets(&f, &of_ids, 50, 2, 0.3, tied);
        }
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(dense) TEST_CASE(instruction_sets) TEST_CASE(far) TEST_CASE(sharp) TEST_CASE(ids_and_the_rest)
              TEST_CASE(head_of_ids_and_the_rest))
