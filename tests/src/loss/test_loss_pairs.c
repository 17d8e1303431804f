/* dpo and its forms on a caller's rows: values and gradients against finite differences in double, through a head with
 * bias, scale and soft-cap, in strips, by threads, on 16-bit floats, with extreme logits; and what is refused. */
#include "compute/half.h"
#include "loss_fixture.h"

enum { R = 30, V = 23, W = 7, SEQUENCES = 6 };
static const int64_t lengths[SEQUENCES] = {5, 7, 1, 9, 2, 6};
static float hidden[R * W], head[V * W], bias[V], weights[R], row_values[R];
static float grad_hidden[2][R * W], grad_head[2][V * W], grad_bias[2][V];
static float reference[SEQUENCES], preference[SEQUENCES];
static int32_t labels[R], sequences[R];

static void fill(void)
{
    randomize(hidden, R * W, 1, 41);
    randomize(head, V * W, 0.7, 42);
    randomize(bias, V, 0.5, 43);
    randomize(reference, SEQUENCES, 3, 44);
    randomize(preference, SEQUENCES, 2, 45);
    for (int64_t s = 0, r = 0; s < SEQUENCES; s++) {
        reference[s] -= 3 * (float)lengths[s];
        for (int64_t i = 0; i < lengths[s]; i++, r++) {
            sequences[r] = (int32_t)s;
            labels[r] = (int32_t)(r * 11 % V);
            weights[r] = s / 2 == 1 ? 2.5f : 1; /* of a pair */
        }
    }
    labels[3] = labels[8] = -100;
    weights[25] = 0;
}

typedef struct call {
    dense_call c;
    int64_t shape[2], head_shape[2], sequence_shape[1];
    distill_tensor hidden, head, bias, sequences, reference, preference, grad_hidden, grad_head, grad_bias;
} call;

static void set_call(call *k, int out, int soft)
{
    set_dense(&k->c, hidden, R, W, NULL, 0);
    k->shape[0] = R;
    k->shape[1] = k->head_shape[1] = W;
    k->head_shape[0] = V;
    k->sequence_shape[0] = SEQUENCES;
    k->hidden = di_tensor_of(hidden, DISTILL_FLOAT, 32, 2, k->shape);
    k->head = di_tensor_of(head, DISTILL_FLOAT, 32, 2, k->head_shape);
    k->bias = di_tensor_of(bias, DISTILL_FLOAT, 32, 1, k->head_shape);
    k->sequences = di_tensor_of(sequences, DISTILL_INT, 32, 1, k->shape);
    k->reference = di_tensor_of(reference, DISTILL_FLOAT, 32, 1, k->sequence_shape);
    k->preference = di_tensor_of(preference, DISTILL_FLOAT, 32, 1, k->sequence_shape);
    k->grad_hidden = di_tensor_of(grad_hidden[out], DISTILL_FLOAT, 32, 2, k->shape);
    k->grad_head = di_tensor_of(grad_head[out], DISTILL_FLOAT, 32, 2, k->head_shape);
    k->grad_bias = di_tensor_of(grad_bias[out], DISTILL_FLOAT, 32, 1, k->head_shape);
    k->c.student.kind = DISTILL_HIDDEN;
    k->c.student.values = &k->hidden;
    k->c.student.head = &k->head;
    k->c.student.bias = &k->bias;
    k->c.student.logit_scale = 0.8;
    k->c.student.softcap = 4;
    with_labels(&k->c, labels);
    with_weights(&k->c, weights);
    with_rows(&k->c, row_values);
    k->c.args.sequences = &k->sequences;
    k->c.args.reference = &k->reference;
    if (soft) k->c.args.preference = &k->preference;
    k->c.args.grad_values = &k->grad_hidden;
    k->c.args.grad_head = &k->grad_head;
    k->c.args.grad_bias = &k->grad_bias;
}

static double log_q64(int64_t r, const double *h)
{
    double z[V], log_q[V];
    for (int v = 0; v < V; v++) {
        z[v] = (double)bias[v];
        for (int w = 0; w < W; w++) z[v] += h[r * W + w] * (double)head[v * W + w];
        z[v] = 4 * tanh(0.8 * z[v] / 4);
    }
    softmax64(z, V, 1, log_q);
    return log_q[labels[r]];
}

typedef struct form {
    const char *yaml;
    int kind, soft;
    double beta, smoothing, teacher_beta;
} form;
static const form forms[] = {
    {"{type: dpo}", 0, 0, 0.1, 0, 1},
    {"{type: dpo, dpo.beta: 0.7, dpo.label_smoothing: 0.1}", 0, 0, 0.7, 0.1, 1},
    {"{type: dpo, dpo.beta: 0.4, dpo.label: teacher, dpo.teacher_beta: 0.5}", 0, 1, 0.4, 0, 0.5},
    {"{type: dpo, dpo.beta: 0.2, dpo.label: teacher, dpo.label_smoothing: 0.2}", 0, 1, 0.2, 0.2, 1},
    {"{type: dpo, dpo.beta: 0.3, dpo.form: hinge, dpo.label_smoothing: 0.15}", 1, 0, 0.3, 0.15, 1},
    {"{type: dpo, dpo.beta: 0.3, dpo.form: ipo}", 2, 0, 0.3, 0, 1},
    {"{type: dpo, dpo.beta: 0.5, dpo.form: ipo, dpo.label: teacher}", 2, 1, 0.5, 0, 1},
};
enum { FORMS = sizeof forms / sizeof *forms };

/* As docs/preference-pairs.md has it, in double. */
static double wanted(const form *f, const double *h)
{
    double sum = 0, log_q[SEQUENCES] = {0}, count[SEQUENCES] = {0};
    for (int64_t r = 0; r < R; r++) {
        if (labels[r] < 0 || weights[r] == 0) continue;
        log_q[sequences[r]] += log_q64(r, h);
        count[sequences[r]]++;
    }
    for (int s = 0; s < SEQUENCES; s += 2) {
        const double weight = s / 2 == 1 ? 2.5 : 1, c = log_q[s] - (double)reference[s],
                     d = log_q[s + 1] - (double)reference[s + 1], m = f->beta * (c - d),
                     given = f->soft
                                 ? 1 / (1 + exp(-f->teacher_beta * ((double)preference[s] - (double)preference[s + 1])))
                                 : 1,
                     p = (1 - f->smoothing) * given + f->smoothing * (1 - given);
        if (f->kind == 0) sum += weight * (p * log(1 + exp(-m)) + (1 - p) * log(1 + exp(m)));
        if (f->kind == 1) sum += weight * (p * fmax(0, 1 - m) + (1 - p) * fmax(0, 1 + m));
        if (f->kind == 2) sum += weight * pow(c / count[s] - d / count[s + 1] - (2 * p - 1) / (2 * f->beta), 2);
    }
    return sum;
}

static void check_differences(const form *f, const float *gradient)
{
    double h[R * W];
    for (int i = 0; i < R * W; i++) h[i] = (double)hidden[i];
    for (int i = 0; i < R * W; i += 2) {
        const double at = h[i], step = 1e-5;
        h[i] = at + step;
        const double high = wanted(f, h);
        h[i] = at - step;
        const double want = (high - wanted(f, h)) / (2 * step);
        CHECK_NEAR((double)gradient[i], want, 2e-5 * (1 + fabs(want)));
        h[i] = at;
    }
}

TEST(against_finite_differences)
{
    fixture f;
    dk_error err;
    open_fixture(&f);
    fill();
    for (int i = 0; i < FORMS; i++) {
        double h[R * W], shared = 0;
        call k;
        di_loss *loss = make_loss(&f, NULL, forms[i].yaml);
        for (int j = 0; j < R * W; j++) h[j] = (double)hidden[j];
        set_call(&k, 0, forms[i].soft);
        CHECK_OK(di_loss_eval(f.backend, loss, &k.c.args, &err));
        const double want = wanted(&forms[i], h);
        CHECK_NEAR(k.c.args.sum, want, 2e-6 * (1 + want));
        CHECK_NEAR(k.c.args.weight_sum, 4.5, 0); /* of the pairs */
        CHECK_INT(k.c.args.count, R - 3);
        for (int r = 0; r < R; r++) shared += (double)row_values[r] * (double)weights[r];
        CHECK_NEAR(shared, want, 2e-5 * (1 + want)); /* rows share the value of their pair */
        CHECK_NEAR((double)row_values[3], 0, 0);
        check_differences(&forms[i], grad_hidden[0]);
        di_loss_release(loss);
    }
    close_fixture(&f);
}

TEST(strips_and_threads)
{
    fixture f;
    dk_error err;
    call k;
    open_fixture(&f);
    const int own = strcmp(f.backend->products, "cblas") != 0; /* a CBLAS's bits hang on how many rows there are */
    fill();
    di_loss *loss = make_loss(&f, NULL, forms[1].yaml);
    set_call(&k, 0, 0);
    CHECK_OK(di_loss_eval(f.backend, loss, &k.c.args, &err));
    const double sum = k.c.args.sum;
    for (int64_t memory = 16 << 10; memory < 1 << 17; memory += 9000) {
        set_call(&k, 1, 0);
        k.c.args.memory = memory;
        CHECK_OK(di_loss_eval(f.backend, loss, &k.c.args, &err));
        CHECK_NEAR(k.c.args.sum, sum, own ? 1e-12 : 1e-6 * sum);
        if (own) CHECK(memcmp(grad_hidden[0], grad_hidden[1], sizeof grad_hidden[0]) == 0);
        for (int i = 0; i < R * W; i++) CHECK_NEAR((double)grad_hidden[1][i], (double)grad_hidden[0][i], 1e-5);
        for (int i = 0; i < V * W; i++) CHECK_NEAR((double)grad_head[1][i], (double)grad_head[0][i], 1e-5);
        for (int i = 0; i < V; i++) CHECK_NEAR((double)grad_bias[1][i], (double)grad_bias[0][i], 1e-5);
    }
    di_loss_release(loss);
    close_fixture(&f);
    open_fixture(&f);
    CHECK_OK(dk_host_set_threads(f.host, 4, NULL, NULL, NULL, &err));
    loss = make_loss(&f, NULL, forms[1].yaml);
    set_call(&k, 1, 0);
    CHECK_OK(di_loss_eval(f.backend, loss, &k.c.args, &err));
    CHECK(k.c.args.sum == sum);
    CHECK(memcmp(grad_hidden[0], grad_hidden[1], sizeof grad_hidden[0]) == 0);
    CHECK(memcmp(grad_head[0], grad_head[1], sizeof grad_head[0]) == 0);
    di_loss_release(loss);
    close_fixture(&f);
}

/* Logits as they are, in bf16; without a reference it counts as 0. */
TEST(dense_rows)
{
    static float z[R * V], gradient[R * V];
    static uint16_t half[R * V];
    fixture f;
    dk_error err;
    open_fixture(&f);
    fill();
    randomize(z, R * V, 2, 46);
    for (int i = 0; i < R * V; i++) {
        half[i] = dk_f32_to_bf16(z[i]);
        z[i] = dk_bf16_to_f32(half[i]);
    }
    double sums[2];
    for (int i = 0; i < 2; i++) {
        call k;
        di_loss *loss = make_loss(&f, NULL, forms[0].yaml);
        set_call(&k, 0, 0);
        set_dense(&k.c, z, R, V, NULL, 0);
        if (i) k.c.student_values = di_tensor_of(half, DISTILL_BFLOAT, 16, 2, k.c.shape);
        with_labels(&k.c, labels);
        with_gradient(&k.c, gradient);
        k.c.args.sequences = &k.sequences;
        CHECK_OK(di_loss_eval(f.backend, loss, &k.c.args, &err));
        sums[i] = k.c.args.sum;
        di_loss_release(loss);
    }
    CHECK_NEAR(sums[1], sums[0], 1e-9);
    double log_q[V], margin = 0, total = 0;
    for (int s = 0; s < SEQUENCES; s += 2) {
        margin = 0;
        for (int r = 0; r < R; r++) {
            double row[V];
            if (sequences[r] / 2 != s / 2 || labels[r] < 0) continue;
            for (int v = 0; v < V; v++) row[v] = (double)z[r * V + v];
            softmax64(row, V, 1, log_q);
            margin += (sequences[r] == s ? 0.1 : -0.1) * log_q[labels[r]];
        }
        total += log(1 + exp(-margin));
    }
    CHECK_NEAR(sums[0], total, 2e-6 * total);
    close_fixture(&f);
}

/* Margins of thousands of nats: finite, and the gradient has its limit. */
TEST(far_apart)
{
    static float z[2 * 4], gradient[2 * 4];
    static int32_t of[2] = {0, 1}, label[2] = {0, 0};
    fixture f;
    dk_error err;
    open_fixture(&f);
    for (int i = 0; i < FORMS; i++)
        for (int way = 0; way < 2; way++) {
            call k;
            float far[2] = {-10, -10};
            if (forms[i].soft) continue;
            di_loss *loss = make_loss(&f, NULL, forms[i].yaml);
            for (int r = 0; r < 2; r++)
                for (int v = 0; v < 4; v++) z[r * 4 + v] = v ? 0 : (r == way ? -1e4f : 1e4f);
            set_dense(&k.c, z, 2, 4, NULL, 0);
            k.sequence_shape[0] = 2;
            k.sequences = di_tensor_of(of, DISTILL_INT, 32, 1, k.sequence_shape);
            k.reference = di_tensor_of(far, DISTILL_FLOAT, 32, 1, k.sequence_shape);
            with_labels(&k.c, label);
            with_gradient(&k.c, gradient);
            k.c.args.sequences = &k.sequences;
            k.c.args.reference = &k.reference;
            CHECK_OK(di_loss_eval(f.backend, loss, &k.c.args, &err));
            CHECK(isfinite(k.c.args.sum) && k.c.args.sum >= 0);
            for (int j = 0; j < 8; j++) CHECK(isfinite(gradient[j]));
            if (i == 0 && way == 0) CHECK_NEAR((double)gradient[0], -0.1, 1e-6); /* chosen is all but impossible */
            if (i == 0 && way == 1) CHECK_NEAR((double)gradient[0], 0, 0);
            di_loss_release(loss);
        }
    close_fixture(&f);
}

TEST(what_is_refused)
{
    fixture f;
    dk_error err;
    call k;
    di_loss *loss;
    open_fixture(&f);
    fill();
#define REFUSED(code, what)                                              \
    do {                                                                 \
        CHECK_INT(di_loss_eval(f.backend, loss, &k.c.args, &err), code); \
        CHECK_HAS(err.message, what);                                    \
        set_call(&k, 0, 0);                                              \
    } while (0)
    loss = make_loss(&f, NULL, "[{type: dpo}, {type: cross_entropy}]");
    set_call(&k, 0, 0);
    REFUSED(DK_E_UNSUPPORTED, "takes a loss that compares pairs alone");
    di_loss_release(loss);
    loss = make_loss(&f, NULL, "cross_entropy");
    REFUSED(DK_E_INVALID, "args.reference goes with a loss that compares pairs");
    di_loss_release(loss);
    loss = make_loss(&f, NULL, forms[2].yaml);
    REFUSED(DK_E_INVALID, "loss.dpo.label teacher: args.preference is NULL");
    di_loss_release(loss);
    loss = make_loss(&f, NULL, forms[0].yaml);
    k.c.args.preference = &k.preference;
    REFUSED(DK_E_INVALID, "args.preference goes with loss.dpo.label teacher");
    k.c.args.sequences = NULL;
    REFUSED(DK_E_INVALID, "loss dpo compares pairs: args.sequences numbers their rows, 2i for chosen");
    k.c.args.labels = NULL;
    REFUSED(DK_E_INVALID, "loss dpo needs labels");
    k.sequence_shape[0] = 4;
    REFUSED(DK_E_INVALID, "args.reference");
    weights[2] = 3;
    REFUSED(DK_E_INVALID, "args.weights: rows of the pair of sequences 0 and 1 weigh 1 and 3; a pair has one weight");
    weights[2] = 1;
    weights[12] = 0; /* all of sequence 2 */
    REFUSED(DK_E_INVALID, "args.sequences: sequence 2 has no row that counts");
    weights[12] = 2.5f;
    reference[1] = NAN;
    REFUSED(DK_E_NUMERIC, "args.reference: entry 1 is not finite");
    reference[1] = 0;
    for (int r = 24; r < R; r++) sequences[r] = 4;
    k.sequence_shape[0] = 5;
    REFUSED(DK_E_INVALID, "the last one has no rejected side");
    fill();
    CHECK_OK(di_loss_eval(f.backend, loss, &k.c.args, &err));
    di_loss_release(loss);
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(against_finite_differences) TEST_CASE(strips_and_threads) TEST_CASE(dense_rows) TEST_CASE(far_apart)
              TEST_CASE(what_is_refused))
