/* The built-in losses against golden values, finite differences in double, and what must not change
 * them. */
#include "loss_fixture.h"

enum { N = 5 };
static float golden_student[N] = {1.0f, -0.5f, 2.0f, 0.25f, -1.5f},
             golden_teacher[N] = {0.3f, 1.2f, 2.5f, -0.7f, -2.0f};

/* Teacher known on its k best ids, with and without a stated tail. */
static void check_topk(fixture *f, int64_t k, int32_t *ids, double value, const double *gradient)
{
    di_loss *loss = make_loss(f, "forward_kl", "{type: forward_kl}");
    double logits[N], log_p[N], left = 0;
    float values[N], tail, got[N];
    int64_t shape[2] = {1, k};
    distill_tensor value_tensor = di_tensor_of(values, DISTILL_FLOAT, 32, 2, shape),
                   id_tensor = di_tensor_of(ids, DISTILL_INT, 32, 2, shape);
    distill_tensor tail_tensor = di_tensor_of(&tail, DISTILL_FLOAT, 32, 1, shape);
    dk_error err;
    dense_call c;
    for (int i = 0; i < N; i++) logits[i] = (double)golden_teacher[i];
    softmax64(logits, N, 1, log_p);
    for (int64_t j = 0; j < k; j++) {
        values[j] = (float)log_p[ids[j] < 0 ? 0 : ids[j]];
        left += ids[j] < 0 ? 0 : exp(log_p[ids[j]]);
    }
    tail = (float)log(1 - left);
    set_dense(&c, golden_student, 1, N, NULL, 0);
    c.teacher.kind = DISTILL_TOPK;
    c.teacher.values = &value_tensor;
    c.teacher.ids = &id_tensor;
    c.args.teacher = &c.teacher;
    with_gradient(&c, got);
    for (int with_tail = 0; with_tail < 2; with_tail++) {
        c.teacher.tail = with_tail ? &tail_tensor : NULL;
        CHECK_OK(di_loss_eval(f->backend, loss, &c.args, &err));
        CHECK_NEAR(c.args.sum, value, 2e-6);
        for (int i = 0; gradient && i < N; i++) CHECK_NEAR((double)got[i], gradient[i], 2e-6);
    }
    c.args.grad_values = NULL; /* the value does not hang on who wants the gradient */
    CHECK_OK(di_loss_eval(f->backend, loss, &c.args, &err));
    CHECK_NEAR(c.args.sum, value, 2e-6);
    di_loss_release(loss);
}

TEST(golden_topk_tail)
{
    static const double gradient[N] = {.149510, -.140260, -.092146, .070623, .012273};
    static int32_t two[] = {2, 1}, one[] = {2}, padded[] = {2, -1, 1};
    fixture f;
    open_fixture(&f);
    check_topk(&f, 1, one, 0.018375, NULL);
    check_topk(&f, 2, two, 0.227228, gradient);
    check_topk(&f, 3, padded, 0.227228, gradient);
    close_fixture(&f);
}

/* All ids listed is the dense loss; counts are their empirical distribution; one-hot is cross-entropy. */
TEST(sparse_kinds)
{
    fixture f;
    open_fixture(&f);
    di_loss *loss = make_loss(&f, "forward_kl", "{type: forward_kl}");
    double logits[N], log_p[N], log_q[N];
    int32_t ids[N] = {4, 0, 3, 1, 2}, label = 3;
    float values[N], counts[N] = {1, 0, 3, 0, 0}, got[N];
    int64_t shape[2] = {1, N};
    distill_tensor value_tensor = di_tensor_of(values, DISTILL_FLOAT, 32, 2, shape),
                   id_tensor = di_tensor_of(ids, DISTILL_INT, 32, 2, shape);
    dk_error err;
    dense_call c;
    for (int i = 0; i < N; i++) logits[i] = (double)golden_teacher[i];
    softmax64(logits, N, 1, log_p);
    for (int j = 0; j < N; j++) values[j] = (float)log_p[ids[j]];
    set_dense(&c, golden_student, 1, N, NULL, 0);
    c.args.teacher = &c.teacher;
    c.teacher.kind = DISTILL_TOPK;
    c.teacher.values = &value_tensor;
    c.teacher.ids = &id_tensor;
    with_gradient(&c, got);
    CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
    CHECK_NEAR(c.args.sum, 0.228151, 1e-6);
    CHECK_NEAR((double)got[0], .145223, 1e-6);

    for (int i = 0; i < N; i++) logits[i] = (double)golden_student[i];
    softmax64(logits, N, 1, log_q);
    c.teacher.kind = DISTILL_SAMPLED;
    value_tensor.data = counts;
    CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
    CHECK_NEAR(c.args.sum, -0.25 * log_q[4] - 0.75 * log_q[3], 1e-6); /* the teacher's entropy is not known */
    CHECK_NEAR((double)got[3], exp(log_q[3]) - 0.75, 1e-6);

    distill_tensor label_tensor = di_tensor_of(&label, DISTILL_INT, 32, 1, shape);
    c.teacher.kind = DISTILL_ONE_HOT;
    c.teacher.values = NULL;
    c.teacher.ids = &label_tensor;
    CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
    CHECK_NEAR(c.args.sum, -log_q[3], 1e-6);
    di_loss_release(loss);
    loss = make_loss(&f, "cross_entropy", NULL);
    CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err)); /* labels come from the one-hot target */
    CHECK_NEAR(c.args.sum, -log_q[3], 1e-6);
    CHECK_NEAR((double)got[3], exp(log_q[3]) - 1, 1e-6);
    di_loss_release(loss);
    close_fixture(&f);
}

/* Central differences of the plain double formula, for widths around every vector length and block. */
TEST(finite_differences)
{
    static const int64_t widths[] = {1, 2, 7, 16, 33, 1024, 1025, 2051};
    static const double temperatures[] = {0.05, 0.5, 1, 2, 8, 100};
    static float student[2051], teacher[2051], got[2051];
    static double z[2051], p[2051];
    fixture f;
    dk_error err;
    open_fixture(&f);
    for (size_t t = 0; t < sizeof temperatures / sizeof *temperatures; t++) {
        const double temperature = temperatures[t], h = 1e-4 * temperature;
        char yaml[96];
        snprintf(yaml, sizeof yaml, "{type: forward_kl, temperature: %g, t_squared: off}", temperature);
        di_loss *loss = make_loss(&f, NULL, yaml);
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
            const int64_t n = widths[w];
            dense_call c;
            randomize(student, n, 2, 1);
            randomize(teacher, n, 2, 2);
            for (int64_t i = 0; i < n; i++) z[i] = (double)student[i], p[i] = (double)teacher[i];
            set_dense(&c, student, 1, n, teacher, n);
            with_gradient(&c, got);
            CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
            CHECK_NEAR(c.args.sum, forward_kl64(z, p, n, temperature), 4e-6 * (1 + c.args.sum));
            for (int64_t i = 0; i<n; i += n> 64 ? 37 : 1) {
                const double at = z[i];
                z[i] = at + h;
                double high = forward_kl64(z, p, n, temperature);
                z[i] = at - h;
                double low = forward_kl64(z, p, n, temperature);
                z[i] = at;
                CHECK_NEAR((double)got[i] * temperature, (high - low) / (2 * h) * temperature, 4e-6);
            }
        }
        di_loss_release(loss);
    }
    close_fixture(&f);
}

/* ---- what must not change anything, or must change it in a known way ---- */

enum { R = 6, V = 37 };
static float z_[R * V], p_[R * V], g1[R * V], g2[R * (V + 9)];

static double eval(fixture *f, const di_loss *loss, dense_call *c)
{
    dk_error err;
    CHECK_OK(di_loss_eval(f->backend, loss, &c->args, &err));
    return c->args.sum;
}

TEST(invariances)
{
    static float shifted[R * V], wide[R * (V + 9)], rows[R];
    fixture f;
    dense_call c;
    open_fixture(&f);
    di_loss *loss = make_loss(&f, NULL, "{type: forward_kl, temperature: 1.5}");
    randomize(z_, R * V, 3, 3);
    randomize(p_, R * V, 3, 4);
    set_dense(&c, z_, R, V, p_, V);
    with_gradient(&c, g1);
    with_rows(&c, rows);
    double value = eval(&f, loss, &c), sum = 0;
    for (int r = 0; r < R; r++) sum += (double)rows[r];
    CHECK_NEAR(sum, value, 1e-5);
    for (int r = 0; r < R; r++) { /* gradients of logits sum to zero */
        double total = 0;
        for (int v = 0; v < V; v++) total += (double)g1[r * V + v];
        CHECK_NEAR(total, 0, 2e-6);
    }

    for (int i = 0; i < R * V; i++) shifted[i] = z_[i] + 64;
    set_dense(&c, shifted, R, V, p_, V);
    with_gradient(&c, g2);
    CHECK_NEAR(eval(&f, loss, &c), value, 1e-4);
    for (int i = 0; i < R * V; i++) CHECK_NEAR((double)g2[i], (double)g1[i], 1e-5);

    for (int i = 0; i < R * (V + 9); i++) wide[i] = NAN; /* padding of the student's vocabulary */
    for (int r = 0; r < R; r++) memcpy(wide + r * (V + 9), z_ + r * V, V * sizeof *wide);
    memset(g2, 0x55, sizeof g2);
    set_dense(&c, wide, R, V + 9, p_, V);
    with_gradient(&c, g2);
    CHECK_NEAR(eval(&f, loss, &c), value, 0); /* the same bits */
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V + 9; v++) CHECK_NEAR((double)g2[r * (V + 9) + v], v < V ? (double)g1[r * V + v] : 0, 0);

    set_dense(&c, wide, R, V + 9, wide, V + 9); /* p = q, stated width */
    c.student.vocab_valid = V;
    with_gradient(&c, g2);
    CHECK_NEAR(eval(&f, loss, &c), 0, 0);
    for (int i = 0; i < R * (V + 9); i++) CHECK_NEAR((double)g2[i], 0, 1e-7);
    di_loss_release(loss);
    close_fixture(&f);
}

TEST(masks)
{
    static float dirty[R * V];
    int32_t labels[R] = {1, -100, 5, 0, -1, 36}, none[R] = {-1, -1, -1, -1, -1, -1};
    float weights[R] = {1, 1, 0, 2, 1, 0.5f}, rows[R];
    fixture f;
    dense_call c;
    open_fixture(&f);
    di_loss *loss = make_loss(&f, NULL, "{type: forward_kl, temperature: 2, hard_label_weight: 0.3}");
    randomize(z_, R * V, 3, 3);
    randomize(p_, R * V, 3, 4);
    set_dense(&c, z_, R, V, p_, V);
    with_labels(&c, labels);
    with_weights(&c, weights);
    with_gradient(&c, g1);
    double value = eval(&f, loss, &c);
    CHECK_INT(c.args.count, 3);
    CHECK_NEAR(c.args.weight_sum, 3.5, 0);

    memcpy(dirty, z_, sizeof dirty);
    for (int r = 0; r < R; r++) /* whatever stands in masked rows, and nothing of it comes out */
        for (int v = 0; v < V; v++)
            if (labels[r] < 0 || weights[r] == 0) dirty[r * V + v] = v & 1 ? NAN : INFINITY;
    set_dense(&c, dirty, R, V, p_, V);
    with_labels(&c, labels);
    with_weights(&c, weights);
    with_gradient(&c, g2);
    with_rows(&c, rows);
    CHECK_NEAR(eval(&f, loss, &c), value, 0);
    for (int i = 0; i < R * V; i++) CHECK_NEAR((double)g2[i], (double)g1[i], 0);
    CHECK_NEAR((double)rows[1], 0, 0);
    CHECK_NEAR((double)rows[0] + 2 * (double)rows[3] + 0.5 * (double)rows[5], value, 1e-5);

    with_labels(&c, none);
    CHECK_NEAR(eval(&f, loss, &c), 0, 0);
    CHECK_INT(c.args.count, 0);
    CHECK_NEAR(c.args.weight_sum, 0, 0);
    for (int i = 0; i < R * V; i++) CHECK_NEAR((double)g2[i], 0, 0);
    di_loss_release(loss);
    close_fixture(&f);
}

/* The gradient may be written over the logits that it is of, or over the hidden states. */
TEST(in_place)
{
    enum { WIDTH = 5 };
    static float inside[R * V], head[V * WIDTH];
    const int64_t head_shape[2] = {V, WIDTH}, state_shape[2] = {R, WIDTH};
    int32_t labels[R] = {1, -100, 5, 0, -1, 36};
    fixture f;
    dense_call c;
    open_fixture(&f);
    di_loss *loss = make_loss(&f, NULL, "{type: forward_kl, temperature: 2, hard_label_weight: 0.3}");
    randomize(z_, R * V, 3, 3);
    randomize(p_, R * V, 3, 4);
    randomize(head, V * WIDTH, 1, 5);
    for (int hidden = 0; hidden < 2; hidden++) {
        const int64_t count = R * (hidden ? WIDTH : V);
        distill_tensor heads = di_tensor_of(head, DISTILL_FLOAT, 32, 2, head_shape);
        double values[2];
        memcpy(inside, z_, sizeof inside);
        for (int in_place = 0; in_place < 2; in_place++) {
            set_dense(&c, inside, R, V, p_, V);
            with_labels(&c, labels);
            with_gradient(&c, in_place ? inside : g1);
            if (hidden) {
                c.student_values = di_tensor_of(inside, DISTILL_FLOAT, 32, 2, state_shape);
                c.gradient = di_tensor_of(in_place ? inside : g1, DISTILL_FLOAT, 32, 2, state_shape);
                c.student.kind = DISTILL_HIDDEN;
                c.student.head = &heads;
            }
            values[in_place] = eval(&f, loss, &c);
        }
        CHECK_NEAR(values[1], values[0], 0);
        for (int64_t i = 0; i < count; i++) CHECK_NEAR((double)inside[i], (double)g1[i], 0);
    }
    di_loss_release(loss);
    close_fixture(&f);
}

TEST(extremes)
{
    fixture f;
    dense_call c;
    dk_error err;
    open_fixture(&f);
    di_loss *loss = make_loss(&f, "forward_kl", "{type: forward_kl}");
    float far_z[4] = {1e4f, -1e4f, 0, 5}, far_p[4] = {-1e4f, 1e4f, 0, 5}, got[4];
    set_dense(&c, far_z, 1, 4, far_p, 4);
    with_gradient(&c, got);
    CHECK_NEAR(eval(&f, loss, &c), 2e4, 1e-2);
    CHECK_NEAR((double)got[0], 1, 1e-6);
    CHECK_NEAR((double)got[1], -1, 1e-6);

    float some[4] = {0, 1, -INFINITY, 2}, other[4] = {0, 1, 3, 2}; /* p = 0 adds exactly nothing */
    double log_q[4], q[4] = {0, 1, 3, 2}, p[3] = {0, 1, 2}, log_p[3], want = 0;
    softmax64(q, 4, 1, log_q);
    softmax64(p, 3, 1, log_p);
    want = exp(log_p[0]) * (log_p[0] - log_q[0]) + exp(log_p[1]) * (log_p[1] - log_q[1]) +
           exp(log_p[2]) * (log_p[2] - log_q[3]);
    set_dense(&c, other, 1, 4, some, 4);
    with_gradient(&c, got);
    CHECK_NEAR(eval(&f, loss, &c), want, 1e-6);
    CHECK_NEAR((double)got[2], exp(log_q[2]), 1e-6);
    set_dense(&c, some, 1, 4, some, 4); /* 0 log 0/0 */
    with_gradient(&c, got);
    CHECK_NEAR(eval(&f, loss, &c), 0, 0);

    set_dense(&c, some, 1, 4, other, 4); /* the student excludes what the teacher says */
    CHECK_INT(di_loss_eval(f.backend, loss, &c.args, &err), DK_E_NUMERIC);
    CHECK_HAS(err.message, "loss forward_kl: value of row 0 is inf: the student gives id 2 the probability 0");
    other[1] = NAN;
    set_dense(&c, other, 1, 4, other, 4);
    CHECK_INT(di_loss_eval(f.backend, loss, &c.args, &err), DK_E_NUMERIC);
    CHECK_HAS(err.message, "forward_kl");
    CHECK_HAS(err.message, "row 0");
    di_loss_release(loss);
    close_fixture(&f);
}

/* 8 x 1 = 1 x 8, and a target that carries a temperature is used at it. */
TEST(accumulation_and_temperature)
{
    static float tempered[R * V];
    fixture f;
    dense_call c;
    open_fixture(&f);
    di_loss *loss = make_loss(&f, NULL, "{type: forward_kl, temperature: 2}");
    randomize(z_, R * V, 3, 3);
    randomize(p_, R * V, 3, 4);
    set_dense(&c, z_, R, V, p_, V);
    with_gradient(&c, g1);
    double value = eval(&f, loss, &c), sum = 0;
    for (int r = 0; r < R; r++) {
        set_dense(&c, z_ + r * V, 1, V, p_ + r * V, V);
        with_gradient(&c, g2 + r * V);
        sum += eval(&f, loss, &c);
    }
    CHECK_NEAR(sum, value, 0);
    for (int i = 0; i < R * V; i++) CHECK_NEAR((double)g2[i], (double)g1[i], 0);

    for (int i = 0; i < R * V; i++) tempered[i] = p_[i] / 2;
    set_dense(&c, z_, R, V, tempered, V);
    c.teacher.temperature = 2;
    CHECK_NEAR(eval(&f, loss, &c), value, 1e-5);
    c.args.grad_scale = 0.25;
    with_gradient(&c, g2);
    memcpy(g2, g1, sizeof g1);
    c.args.flags = DISTILL_ADD_VALUES;
    eval(&f, loss, &c);
    for (int i = 0; i < R * V; i++) CHECK_NEAR((double)g2[i], 1.25 * (double)g1[i], 1e-5);
    di_loss_release(loss);
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(golden_topk_tail) TEST_CASE(sparse_kinds) TEST_CASE(finite_differences) TEST_CASE(invariances)
              TEST_CASE(masks) TEST_CASE(in_place) TEST_CASE(extremes) TEST_CASE(accumulation_and_temperature))
