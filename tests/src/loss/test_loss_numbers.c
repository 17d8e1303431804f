/* Values and gradients to 1e-6 of what the formulas say in long double, relatively, at every temperature, where the two
 * models are far apart and where they are almost one, for every kind of target and every instruction set. */
#include "loss_fixture.h"

enum { N_MAX = 2051, K = 8, W = 4 };
static const double temperatures[] = {0.05, 0.3, 1, 2, 10, 100};
static const int64_t widths[] = {K + 1, 33, 700, N_MAX};
static float z[N_MAX], p[N_MAX], got[N_MAX], log_p[K], counts[K], tail;
static int32_t ids[K];
static long double want[N_MAX]; /* dL/dz */

static void log_softmax_l(const float *x, int64_t n, double temperature, long double *out)
{
    long double top = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) top = (long double)x[i] > top ? (long double)x[i] : top;
    for (int64_t i = 0; i < n; i++) sum += expl(((long double)x[i] - top) / (long double)temperature);
    for (int64_t i = 0; i < n; i++) out[i] = ((long double)x[i] - top) / (long double)temperature - logl(sum);
}

static int64_t place_of(int64_t id)
{
    for (int64_t j = 0; j < K; j++)
        if (ids[j] == id) return j;
    return -1;
}

/* Sum of p (log p - log q) over the outcomes, and (q - p)/T by z; a bucket shares its slope out by q. */
static long double reference(int32_t kind, int64_t n, double temperature)
{
    static long double log_q[N_MAX], lp[N_MAX];
    long double value = 0, listed = 0, rest = 0, drawn = 0, outside = 1;
    log_softmax_l(z, n, temperature, log_q);
    if (kind == DISTILL_DENSE) {
        log_softmax_l(p, n, temperature, lp);
        for (int64_t i = 0; i < n; i++) {
            value += expl(lp[i]) * (lp[i] - log_q[i]);
            want[i] = expl(lp[i]) * expm1l(log_q[i] - lp[i]) / (long double)temperature;
        }
        return value;
    }
    for (int64_t j = 0; j < K; j++) drawn += (long double)counts[j];
    for (int64_t j = 0; j < K; j++)
        lp[j] = kind == DISTILL_TOPK      ? (long double)log_p[j]
                : kind == DISTILL_SAMPLED ? logl((long double)counts[j] / drawn)
                : j == 0                  ? 0
                                          : -INFINITY;
    for (int64_t j = 0; j < K; j++) listed += expl(lp[j]);
    if (kind == DISTILL_TOPK) rest = 1 - listed;
    for (int64_t i = 0; i < n; i++)
        if (place_of(i) < 0) outside += expl(log_q[i]) - 0;
    outside -= 1;
    for (int64_t i = 0; i < n; i++) {
        const int64_t j = place_of(i);
        const long double mine = j >= 0 ? expl(lp[j]) : rest * expl(log_q[i] - logl(outside));
        if (j >= 0 && mine > 0) value += mine * ((kind == DISTILL_SAMPLED ? 0 : lp[j]) - log_q[i]);
        want[i] = (mine > 0 ? mine * expm1l(log_q[i] - logl(mine)) : expl(log_q[i])) / (long double)temperature;
    }
    return value + (rest > 0 ? rest * (logl(rest) - logl(outside)) : 0);
}

static void compare(const char *what, double value, int64_t n, double temperature, long double reference_value)
{
    long double top = 0, off = 0;
    if (!(value >= 0)) FAIL("%s, n %lld, T %g: value %g is negative", what, (long long)n, temperature, value);
    if (!(fabsl((long double)value - reference_value) <=
          1e-6L * fabsl(reference_value) + (reference_value < 1e-11L ? 1e-13L : 0)))
        FAIL("%s, n %lld, T %g: value %.9g, not %.9Lg (off by %.2Lg of it)", what, (long long)n, temperature, value,
             reference_value, fabsl((long double)value / reference_value - 1));
    for (int64_t i = 0; i < n; i++) {
        top = fmaxl(top, fabsl(want[i]));
        off = fmaxl(off, fabsl((long double)got[i] - want[i]));
    }
    if (!(off * (long double)temperature <= 1e-6L * top * (long double)temperature + 1e-11L))
        FAIL("%s, n %lld, T %g: gradient off by %.2Lg, its largest is %.2Lg", what, (long long)n, temperature, off,
             top);
}

typedef struct sparse_call {
    dense_call c;
    int64_t shape[2];
    distill_tensor values, ids, tail;
} sparse_call;

static void set_sparse(sparse_call *s, int32_t kind, int64_t n, double temperature, int with_tail)
{
    set_dense(&s->c, z, 1, n, NULL, 0);
    s->shape[0] = 1;
    s->shape[1] = kind == DISTILL_ONE_HOT ? 1 : K;
    s->values = di_tensor_of(kind == DISTILL_TOPK ? log_p : counts, DISTILL_FLOAT, 32, 2, s->shape);
    s->ids = di_tensor_of(ids, DISTILL_INT, 32, kind == DISTILL_ONE_HOT ? 1 : 2, s->shape);
    s->tail = di_tensor_of(&tail, DISTILL_FLOAT, 32, 1, s->shape);
    s->c.teacher.kind = kind;
    s->c.teacher.temperature = kind == DISTILL_ONE_HOT ? 0 : temperature;
    s->c.teacher.values = kind == DISTILL_ONE_HOT ? NULL : &s->values;
    s->c.teacher.ids = &s->ids;
    s->c.teacher.tail = with_tail ? &s->tail : NULL;
    s->c.args.teacher = &s->c.teacher;
    with_gradient(&s->c, got);
}

static di_loss *loss_at(fixture *f, double temperature)
{
    char yaml[96];
    snprintf(yaml, sizeof yaml, "{type: forward_kl, temperature: %.17g, t_squared: off}", temperature);
    return make_loss(f, NULL, yaml);
}

/* Student = teacher + apart * noise. */
static void fill_rows(int64_t n, double apart, uint64_t stream)
{
    randomize(p, n, 2, stream);
    for (int64_t i = 0; i < n; i++)
        z[i] = (float)((double)p[i] + apart * dk_random_normal(7, stream + 100, (uint64_t)i));
}

static void check_dense(fixture *f, const di_loss *loss, int64_t n, double temperature)
{
    dense_call c;
    dk_error err;
    set_dense(&c, z, 1, n, p, n);
    CHECK_OK(di_loss_eval(f->backend, loss, &c.args, &err));
    const double alone = c.args.sum;
    with_gradient(&c, got);
    CHECK_OK(di_loss_eval(f->backend, loss, &c.args, &err));
    CHECK_NEAR(c.args.sum, alone, 0); /* the value does not hang on who wants the gradient */
    compare("dense", c.args.sum, n, temperature, reference(DISTILL_DENSE, n, temperature));
}

TEST(dense)
{
    static const double apart[] = {1e-4, 1e-3, 1e-2, 0.3, 3};
    fixture f;
    open_fixture(&f);
    const int32_t best = f.backend->isa;
    for (f.backend->isa = DK_ISA_PORTABLE; f.backend->isa <= best; f.backend->isa++)
        for (size_t t = 0; t < sizeof temperatures / sizeof *temperatures; t++) {
            di_loss *loss = loss_at(&f, temperatures[t]);
            for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
                for (size_t a = 0; a < sizeof apart / sizeof *apart; a++) {
                    fill_rows(widths[w], apart[a], w * 10 + a);
                    check_dense(&f, loss, widths[w], temperatures[t]);
                }
            di_loss_release(loss);
        }
    close_fixture(&f);
}

/* A student and a teacher that are sure of the same token, or of different ones: the rest is 1e-13 of the mass. */
TEST(sharp)
{
    fixture f;
    open_fixture(&f);
    di_loss *loss = loss_at(&f, 1);
    for (int where = 0; where < 2; where++) {
        fill_rows(700, 0.2, 5);
        z[where * 300] += 40;
        p[0] += 40;
        check_dense(&f, loss, 700, 1);
    }
    di_loss_release(loss);
    close_fixture(&f);
}

static void fill_target(int64_t n, double temperature, int32_t kind)
{
    static long double lp[N_MAX];
    long double listed = 0, drawn = 0;
    log_softmax_l(p, n, temperature, lp);
    for (int64_t j = 0; j < K; j++) {
        ids[j] = (int32_t)((j * 5 + 3) % n);
        log_p[j] = (float)lp[ids[j]];
        listed += expl((long double)log_p[j]);
        counts[j] = (float)(1 + j * j);
        drawn += (long double)counts[j];
    }
    tail = (float)logl(1 - listed);
    for (int64_t j = 0; kind == DISTILL_SAMPLED && j < K; j++) /* near what was drawn, so that this cancels too */
        z[ids[j]] = (float)(20 * temperature + temperature * (double)logl((long double)counts[j] / drawn));
}

static void check_sparse(fixture *f, int32_t kind, int64_t n, double temperature, double apart, uint64_t stream)
{
    di_loss *loss = loss_at(f, kind == DISTILL_ONE_HOT ? 1 : temperature);
    sparse_call s;
    dk_error err;
    fill_rows(n, apart, stream);
    fill_target(n, temperature, kind);
    for (int with_tail = 0; with_tail < 2; with_tail++) {
        if (with_tail && (kind != DISTILL_TOPK || temperature < 1)) continue; /* the float tail is what rounds */
        set_sparse(&s, kind, n, temperature, with_tail);
        CHECK_OK(di_loss_eval(f->backend, loss, &s.c.args, &err));
        const long double value = reference(kind, n, kind == DISTILL_ONE_HOT ? 1 : temperature);
        if (with_tail) CHECK_NEAR(s.c.args.sum, (double)value, 1e-6 * (1 + (double)value));
        else compare(di_kind_name(kind), s.c.args.sum, n, temperature, value);
    }
    di_loss_release(loss);
}

TEST(sparse)
{
    static const int32_t kinds[] = {DISTILL_TOPK, DISTILL_SAMPLED, DISTILL_ONE_HOT};
    static const double apart[] = {1e-4, 1e-3, 0.3, 3};
    fixture f;
    open_fixture(&f);
    const int32_t best = f.backend->isa;
    for (f.backend->isa = DK_ISA_PORTABLE; f.backend->isa <= best; f.backend->isa++)
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
            for (size_t t = 0; t < sizeof temperatures / sizeof *temperatures; t++)
                for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
                    for (size_t a = 0; a < sizeof apart / sizeof *apart; a++)
                        check_sparse(&f, kinds[k], widths[w], temperatures[t], apart[a], w * 10 + a);
    close_fixture(&f);
}

/* All of the student's mass is on the ids but 1e-40 of it, and the teacher has a tail: once infinite, or NaN. */
TEST(sharp_student_sparse_teacher)
{
    enum { N = 100 };
    fixture f;
    sparse_call s;
    dk_error err;
    open_fixture(&f);
    di_loss *loss = loss_at(&f, 1);
    for (int i = 0; i < N; i++) z[i] = (float)i * -0.01f;
    for (int j = 0; j < K; j++) {
        ids[j] = 10 + j;
        log_p[j] = logf(0.1f);
        z[ids[j]] = 90 + (float)j;
    }
    set_sparse(&s, DISTILL_TOPK, N, 1, 0);
    CHECK_OK(di_loss_eval(f.backend, loss, &s.c.args, &err));
    compare("sharp", s.c.args.sum, N, 1, reference(DISTILL_TOPK, N, 1));
    CHECK_INT(s.c.args.floored, 0);
    CHECK((double)got[0] < -1e-3); /* what lies outside is pulled up */
    di_loss_release(loss);
    close_fixture(&f);
}

/* The student's label at 1 - 1e-9: its loss and gradient are what is left, not the rounding of 1. */
TEST(sure_cross_entropy)
{
    fixture f;
    dense_call c;
    dk_error err;
    int32_t label = 3;
    open_fixture(&f);
    di_loss *loss = make_loss(&f, "cross_entropy", NULL);
    for (double gap = 0; gap < 60; gap += 1.5) {
        for (int i = 0; i < 50; i++) z[i] = (float)i * -0.1f;
        z[label] = (float)gap;
        ids[0] = label;
        for (int j = 1; j < K; j++) ids[j] = -1;
        set_dense(&c, z, 1, 50, NULL, 0);
        with_labels(&c, &label);
        with_gradient(&c, got);
        CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
        compare("cross_entropy", c.args.sum, 50, 1, reference(DISTILL_ONE_HOT, 50, 1));
    }
    di_loss_release(loss);
    close_fixture(&f);
}

/* Hidden states and heads whose products are exact: the fused loss is the dense one to the same 1e-6. */
TEST(hidden)
{
    static float head[N_MAX * W], state[W], grad_state[W];
    fixture f;
    dk_error err;
    open_fixture(&f);
    for (size_t t = 0; t < sizeof temperatures / sizeof *temperatures; t++) {
        const int64_t n = 700, state_shape[2] = {1, W}, head_shape[2] = {n, W};
        long double slope[W] = {0}, size[W] = {0};
        di_loss *loss = loss_at(&f, temperatures[t]);
        dense_call c;
        for (int i = 0; i < W; i++) state[i] = (float)(i * 3 - 4) / 8;
        for (int64_t i = 0; i < n * W; i++) head[i] = (float)((i * 7919 + 13) % 33 - 16) / 16;
        for (int64_t i = 0; i < n; i++) {
            z[i] = 0;
            for (int k = 0; k < W; k++) z[i] += head[i * W + k] * state[k];
        }
        randomize(p, n, 2, 9);
        set_dense(&c, z, 1, n, p, n);
        distill_tensor states = di_tensor_of(state, DISTILL_FLOAT, 32, 2, state_shape),
                       heads = di_tensor_of(head, DISTILL_FLOAT, 32, 2, head_shape),
                       slopes = di_tensor_of(grad_state, DISTILL_FLOAT, 32, 2, state_shape);
        c.student.kind = DISTILL_HIDDEN;
        c.student.values = &states;
        c.student.head = &heads;
        c.args.grad_values = &slopes;
        CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
        const long double value = reference(DISTILL_DENSE, n, temperatures[t]);
        CHECK_NEAR(c.args.sum, (double)value, 1e-6 * (double)value);
        for (int64_t i = 0; i < n; i++)
            for (int k = 0; k < W; k++) {
                slope[k] += want[i] * (long double)head[i * W + k];
                size[k] += fabsl(want[i] * (long double)head[i * W + k]);
            }
        for (int k = 0; k < W; k++) /* what a sum in float can promise of numbers that cancel */
            CHECK_NEAR((double)grad_state[k], (double)slope[k],
                       1e-6 * (double)fabsl(slope[k]) + 1e-7 * (double)size[k]);
        di_loss_release(loss);
    }
    close_fixture(&f);
}

/* The references' gradients are those of their values: central differences in long double. */
TEST(finite_differences_of_the_references)
{
    static const int32_t kinds[] = {DISTILL_DENSE, DISTILL_TOPK, DISTILL_SAMPLED, DISTILL_ONE_HOT};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (size_t t = 0; t < sizeof temperatures / sizeof *temperatures; t++) {
            const double temperature = temperatures[t];
            fill_rows(33, 0.3, 4);
            fill_target(33, temperature, kinds[k]);
            for (int i = 0; i < 33; i += 4) {
                const float at = z[i], step = (float)(temperature / 1024);
                z[i] = at + step;
                const float up = z[i];
                long double high = reference(kinds[k], 33, temperature);
                z[i] = at - step;
                const float down = z[i];
                long double low = reference(kinds[k], 33, temperature);
                z[i] = at;
                reference(kinds[k], 33, temperature);
                CHECK_NEAR((double)want[i] * temperature,
                           (double)((high - low) / ((long double)up - (long double)down)) * temperature, 1e-5);
            }
        }
}

/* ---- where a loss is infinite: the teacher's zeros are raised and counted, the student's are refused ---- */

TEST(floored)
{
    fixture f;
    dense_call c;
    sparse_call s;
    dk_error err;
    int32_t label = 1;
    open_fixture(&f);
    di_loss *loss = make_loss(&f, "reverse_kl", "{type: reverse_kl, log_floor: -50}"),
            *hard = make_loss(&f, "cross_entropy", "{type: cross_entropy}");
    float student[3] = {0, 0, 0}, teacher[3] = {0, -INFINITY, 0};
    set_dense(&c, student, 1, 3, teacher, 3);
    with_gradient(&c, got);
    CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
    CHECK_NEAR(c.args.sum, log(1.0 / 3) + 2.0 / 3 * log(2) + 50.0 / 3, 1e-5); /* sum q (log q - log p) */
    CHECK_INT(c.args.floored, 1);
    CHECK_NEAR((double)got[1], (50 - (2 * log(2) + 50) / 3) / 3, 1e-5);
    set_dense(&c, teacher, 1, 3, student, 3);
    CHECK_INT(di_loss_eval(f.backend, loss, &c.args, &err), DK_E_NUMERIC);
    CHECK_HAS(err.message, "row 0");
    with_labels(&c, &label);
    CHECK_INT(di_loss_eval(f.backend, hard, &c.args, &err), DK_E_NUMERIC);
    CHECK_HAS(err.message, "row 0");
    for (int i = 0; i < 20; i++) z[i] = i < K ? 1 : -INFINITY; /* a tail that the student excludes */
    for (int j = 0; j < K; j++) ids[j] = j, log_p[j] = logf(0.1f);
    set_sparse(&s, DISTILL_TOPK, 20, 1, 0);
    CHECK_INT(di_loss_eval(f.backend, loss, &s.c.args, &err), DK_E_NUMERIC);
    CHECK_HAS(err.message, "row 0");
    for (int j = 0; j < K; j++) log_p[j] = logf(0.125f); /* and that the teacher excludes, too */
    CHECK_OK(di_loss_eval(f.backend, loss, &s.c.args, &err));
    CHECK_NEAR(s.c.args.sum, 0, 1e-7);
    di_loss_release(loss);
    di_loss_release(hard);
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(dense) TEST_CASE(sharp) TEST_CASE(sparse) TEST_CASE(sharp_student_sparse_teacher)
              TEST_CASE(sure_cross_entropy) TEST_CASE(hidden) TEST_CASE(finite_differences_of_the_references)
                  TEST_CASE(floored))
