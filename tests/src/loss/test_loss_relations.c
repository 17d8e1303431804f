/* What must not change a loss, or must change it in a known way, and what must hold of it on the worst of inputs: one
 * table of relations, which losses each applies to, and rows at the ends of what floats can say. */
#include "compute/half.h"
#include "loss_fixture.h"
#include "loss_formulas.h"

enum { R = 5, V = 73 }; /* wide enough for vectors of floats */
static float z[R * V], p[R * V], g[R * V], other_z[R * (V + 9)], other_p[R * V], other_g[R * (V + 9)];
static int32_t labels[R], other_labels[R];

static double eval(fixture *f, const di_loss *loss, float *student, int64_t width, float *teacher, int32_t *y,
                   float *out)
{
    dense_call c;
    dk_error err;
    set_dense(&c, student, R, width, teacher, V);
    with_labels(&c, y);
    with_gradient(&c, out);
    CHECK_OK(di_loss_eval(f->backend, loss, &c.args, &err));
    return c.args.sum;
}

/* Multiples of 1/1024, so that sums with whole numbers and products with 2 are exact. */
static void fill(void)
{
    for (int i = 0; i < R * V; i++) {
        p[i] = roundf(1024 * 2 * (float)dk_random_normal(3, 1, (uint64_t)i)) / 1024;
        z[i] = p[i] + roundf(1024 * (float)dk_random_normal(3, 2, (uint64_t)i)) / 1024;
    }
    for (int r = 0; r < R; r++) labels[r] = (r * 7 + 2) % V;
}

static void expect(const char *relation, const loss_case *c, double value, double want, const float *gradient,
                   const float *original, double factor)
{
    double top = 0, off = 0;
    if (!(fabs(value - want) <= 3e-7 * fabs(want) + 1e-12)) /* forward_kl and cross_entropy add up floats */
        FAIL("%s, %s: value %.12g, not %.12g", relation, c->yaml, value, want);
    for (int i = 0; gradient && i < R * V; i++) {
        top = fmax(top, fabs(factor * (double)original[i]));
        off = test_worst(off, fabs((double)gradient[i] - factor * (double)original[i]));
    }
    if (!(off <= 2e-6 * top + 1e-9)) FAIL("%s, %s: gradient off by %.3g of %.3g", relation, c->yaml, off, top);
}

static void shifted(fixture *f, const loss_case *c, const di_loss *loss, double value)
{
    for (int i = 0; i < R * V; i++) other_z[i] = z[i] + 64, other_p[i] = p[i] - 32;
    expect("shift", c, eval(f, loss, other_z, V, other_p, labels, other_g), value, other_g, g, 1);
}

static void permuted(fixture *f, const loss_case *c, const di_loss *loss, double value)
{
    static float back[R * V];
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) {
            const int to = (v * 10 + 3) % V;
            other_z[r * V + to] = z[r * V + v];
            other_p[r * V + to] = p[r * V + v];
            if (v == labels[r]) other_labels[r] = to;
        }
    const double got = eval(f, loss, other_z, V, other_p, other_labels, other_g);
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) back[r * V + v] = other_g[r * V + (v * 10 + 3) % V];
    expect("permutation", c, got, value, back, g, 1);
}

/* Logits and temperature twice as large. */
static void scaled(fixture *f, const loss_case *c, const di_loss *loss, double value)
{
    di_loss *hot = loss_of(f, c->yaml, 3);
    (void)loss;
    for (int i = 0; i < R * V; i++) other_z[i] = 2 * z[i], other_p[i] = 2 * p[i];
    expect("scale", c, eval(f, hot, other_z, V, other_p, labels, other_g), value, other_g, g, 0.5);
    di_loss_release(hot);
}

static void padded(fixture *f, const loss_case *c, const di_loss *loss, double value)
{
    static float cut[R * V];
    for (int i = 0; i < R * (V + 9); i++) other_z[i] = NAN;
    for (int r = 0; r < R; r++) memcpy(other_z + r * (V + 9), z + r * V, V * sizeof *z);
    const double got = eval(f, loss, other_z, V + 9, p, labels, other_g);
    for (int r = 0; r < R; r++) {
        memcpy(cut + r * V, other_g + r * (V + 9), V * sizeof *cut);
        for (int v = V; v < V + 9; v++) CHECK_NEAR((double)other_g[r * (V + 9) + v], 0, 0);
    }
    expect("padding", c, got, value, cut, g, 1);
}

/* Row by row, as chunks and accumulation do: the same bits. */
static void row_by_row(fixture *f, const loss_case *c, const di_loss *loss, double value)
{
    double sum = 0;
    for (int r = 0; r < R; r++) {
        dense_call d;
        dk_error err;
        set_dense(&d, z + r * V, 1, V, p + r * V, V);
        with_labels(&d, labels + r);
        with_gradient(&d, other_g + r * V);
        CHECK_OK(di_loss_eval(f->backend, loss, &d.args, &err));
        sum += d.args.sum;
    }
    if (sum != value || memcmp(other_g, g, sizeof g)) FAIL("row by row, %s: other bits", c->yaml);
}

/* A masked row full of NaN, and weights. */
static void masked(fixture *f, const loss_case *c, const di_loss *loss, double value)
{
    float weights[R] = {1, 1, 0, 2, 1}, rows[R];
    dense_call d;
    dk_error err;
    memcpy(other_z, z, sizeof z);
    memcpy(other_labels, labels, sizeof labels);
    other_labels[1] = -100;
    for (int v = 0; v < V; v++) other_z[V + v] = other_z[2 * V + v] = NAN;
    set_dense(&d, other_z, R, V, p, V);
    with_labels(&d, other_labels);
    with_weights(&d, weights);
    with_gradient(&d, other_g);
    with_rows(&d, rows);
    CHECK_OK(di_loss_eval(f->backend, loss, &d.args, &err));
    CHECK_NEAR(d.args.sum, (double)rows[0] + 2 * (double)rows[3] + (double)rows[4], 1e-5 * (1 + fabs(d.args.sum)));
    CHECK_NEAR(d.args.weight_sum, 4, 0);
    for (int i = 0; i < R * V; i++) {
        const double factor = i / V == 3 ? 2 : i / V == 1 || i / V == 2 ? 0 : 1;
        if (!(fabs((double)other_g[i] - factor * (double)g[i]) <= 1e-6 * fabs((double)g[i])))
            FAIL("masks, %s: gradient %d", c->yaml, i);
    }
    (void)value;
    for (int r = 0; r < R; r++) other_labels[r] = -1;
    with_labels(&d, other_labels);
    CHECK_OK(di_loss_eval(f->backend, loss, &d.args, &err));
    CHECK_NEAR(d.args.sum, 0, 0);
    CHECK_INT(d.args.count, 0);
    for (int i = 0; i < R * V; i++) CHECK_NEAR((double)other_g[i], 0, 0);
}

/* The student's logits as hidden states of width V and a head that is the identity. */
static void through_a_head(fixture *f, const loss_case *c, const di_loss *loss, double value)
{
    static float head[V * V];
    const int64_t shape[2] = {V, V};
    distill_tensor heads = di_tensor_of(head, DISTILL_FLOAT, 32, 2, shape);
    dense_call d;
    dk_error err;
    for (int i = 0; i < V; i++) head[i * V + i] = 1;
    set_dense(&d, z, R, V, p, V);
    d.student.kind = DISTILL_HIDDEN;
    d.student.head = &heads;
    with_labels(&d, labels);
    with_gradient(&d, other_g);
    CHECK_OK(di_loss_eval(f->backend, loss, &d.args, &err));
    expect("through a head", c, d.args.sum, value, other_g, g, 1);
}

/* The same in strips of one row and of a few, as the limit of memory says: a head's gradient adds up by strips. */
static void in_strips(fixture *f, const loss_case *c, const di_loss *loss, double value)
{
    static float head[V * V], grad_head[2][V * V];
    const int64_t shape[2] = {V, V};
    const distill_tensor heads = di_tensor_of(head, DISTILL_FLOAT, 32, 2, shape),
                         grads[2] = {di_tensor_of(grad_head[0], DISTILL_FLOAT, 32, 2, shape),
                                     di_tensor_of(grad_head[1], DISTILL_FLOAT, 32, 2, shape)};
    int64_t least = 0;
    for (int i = 0; i < V; i++) head[i * V + i] = 1;
    for (int step = -2; step < 4; step++) {
        dense_call d;
        dk_error err;
        double top = 0, off = 0;
        set_dense(&d, z, R, V, p, V);
        d.student.kind = DISTILL_HIDDEN;
        d.student.head = &heads;
        with_labels(&d, labels);
        with_gradient(&d, other_g);
        d.args.grad_head = &grads[step >= 0];
        d.args.memory = step == -2   ? 0
                        : step == -1 ? 1
                                     : least + step * 900; /* all at once; too little; one row and more */
        const int32_t rc = di_loss_eval(f->backend, loss, &d.args, &err);
        CHECK_INT(rc, step == -1 ? DK_E_OPTION : DK_OK);
        if (step == -1) least = atoll(strstr(err.message, "at least ") + strlen("at least "));
        if (step < 0) continue;
        expect("in strips", c, d.args.sum, value, other_g, g, 1);
        for (int i = 0; i < V * V; i++) {
            top = fmax(top, fabs((double)grad_head[0][i]));
            off = test_worst(off, fabs((double)grad_head[1][i] - (double)grad_head[0][i]));
        }
        if (!(off <= 2e-6 * top + 1e-9)) FAIL("in strips, %s: head off by %.3g of %.3g", c->yaml, off, top);
    }
}

/* Rows of 16-bit floats, with a stride: as the floats that they are. */
static void narrow(fixture *f, const loss_case *c, const di_loss *loss, double value)
{
    static uint16_t bits[2][2 * R * V];
    static float given[2][R * V], *const rows[2] = {z, p};
    const int64_t strides[2] = {2 * V, 2};
    for (int32_t half = 0; half < 2; half++) {
        const int32_t code = half ? DISTILL_FLOAT : DISTILL_BFLOAT;
        dense_call d;
        dk_error err;
        for (int i = 0; i < 2 * R * V; i++) {
            uint16_t *to = &bits[i / (R * V)][2 * (i % (R * V))];
            to[0] =
                half ? dk_narrow_f16(rows[i / (R * V)][i % (R * V)]) : dk_narrow_bf16(rows[i / (R * V)][i % (R * V)]);
            to[1] = half ? 0x7e00 : 0x7fc0; /* NaN between them */
            given[i / (R * V)][i % (R * V)] = half ? dk_widen_f16(to[0]) : dk_widen_bf16(to[0]);
        }
        const double want = eval(f, loss, given[0], V, given[1], labels, other_p);
        set_dense(&d, z, R, V, p, V);
        d.student_values = di_tensor_of(bits[0], code, 16, 2, d.shape);
        d.teacher_values = di_tensor_of(bits[1], code, 16, 2, d.shape);
        d.student_values.strides = d.teacher_values.strides = strides;
        with_labels(&d, labels);
        with_gradient(&d, other_g);
        CHECK_OK(di_loss_eval(f->backend, loss, &d.args, &err));
        expect(half ? "f16 with strides" : "bf16 with strides", c, d.args.sum, want, other_g, other_p, 1);
    }
    (void)value;
}

/* Added to what is there, and in the place of the logits. */
static void added(fixture *f, const loss_case *c, const di_loss *loss, double value)
{
    dense_call d;
    dk_error err;
    memcpy(other_g, g, sizeof g);
    set_dense(&d, z, R, V, p, V);
    with_labels(&d, labels);
    with_gradient(&d, other_g);
    d.args.flags = DISTILL_ADD_VALUES;
    d.args.grad_scale = 0.5;
    CHECK_OK(di_loss_eval(f->backend, loss, &d.args, &err));
    expect("accumulation", c, d.args.sum, value, other_g, g, 1.5);
    memcpy(other_z, z, sizeof z);
    set_dense(&d, other_z, R, V, p, V);
    with_labels(&d, labels);
    with_gradient(&d, other_z);
    CHECK_OK(di_loss_eval(f->backend, loss, &d.args, &err));
    expect("in place", c, d.args.sum, value, other_z, g, 1);
}

static void same(fixture *f, const loss_case *c, const di_loss *loss, double value)
{
    memcpy(other_z, p, sizeof p);
    const double got = eval(f, loss, other_z, V, p, labels, other_g);
    if (!(fabs(got) <= 1e-13)) FAIL("p = q, %s: %.3g", c->yaml, got);
    for (int i = 0; i < R * V; i++)
        if (!(fabs((double)other_g[i]) <= 3e-8)) FAIL("p = q, %s: gradient %.3g", c->yaml, (double)other_g[i]);
    (void)value;
}

typedef struct relation {
    void (*check)(fixture *f, const loss_case *c, const di_loss *loss, double value);
    int needs, not_with; /* flags of a loss */
} relation;

static const relation relations[] = {{shifted, 0, NO_SHIFT}, {permuted, 0, 0},       {scaled, 0, PLAIN},
                                     {padded, 0, 0},         {row_by_row, 0, 0},     {masked, 0, 0},
                                     {through_a_head, 0, 0}, {in_strips, 0, 0},      {narrow, 0, 0},
                                     {added, 0, 0},          {same, SAME_IS_ZERO, 0}};

TEST(relations_hold)
{
    fixture f;
    open_fixture(&f);
    fill();
    for (int k = 0; k < LOSS_CASES; k++) {
        di_loss *loss = loss_of(&f, loss_cases[k].yaml, 1.5);
        const double value = eval(&f, loss, z, V, p, labels, g);
        for (size_t i = 0; i < sizeof relations / sizeof *relations; i++)
            if ((loss_cases[k].flags & relations[i].needs) == relations[i].needs &&
                !(loss_cases[k].flags & relations[i].not_with))
                relations[i].check(&f, &loss_cases[k], loss, value);
        di_loss_release(loss);
    }
    close_fixture(&f);
}

/* ---- limits: pairs that are the same loss ---- */

TEST(limits)
{
    static const char *const pairs[][2] = {
        {"alpha_beta, alpha_beta: {alpha: 1, beta: 0}", "forward_kl"},
        {"alpha_beta, alpha_beta: {alpha: 0, beta: 1}", "reverse_kl"},
        {"alpha_beta, alpha_beta: {alpha: 1, beta: 1e-9}", "forward_kl"},
        {"alpha_beta, alpha_beta: {alpha: 1e-9, beta: 1}", "reverse_kl"},
        {"alpha_beta, alpha_beta: {alpha: 1e-9, beta: 0.5}", "alpha_beta, alpha_beta: {alpha: 0, beta: 0.5}"},
        {"alpha_beta, alpha_beta: {alpha: 0.5, beta: 1e-9}", "alpha_beta, alpha_beta: {alpha: 0.5, beta: 0}"},
        {"alpha_beta, alpha_beta: {alpha: 0.3, beta: -0.3000000001}",
         "alpha_beta, alpha_beta: {alpha: 0.3, beta: -0.3}"},
        {"alpha_beta, alpha_beta: {alpha: 1e-9, beta: 1e-9}", "alpha_beta, alpha_beta: {alpha: 0, beta: 0}"},
        {"jsd, jsd: {teacher_weight: 0, normalised: true}", "forward_kl"},
        {"jsd, jsd: {teacher_weight: 1, normalised: true}", "reverse_kl"},
        {"jsd, jsd: {teacher_weight: 1e-6, normalised: true}", "forward_kl"},
        {"jsd, jsd: {teacher_weight: 0.999999, normalised: true}", "reverse_kl"},
        {"skew_forward_kl, skew.lambda: 0", "forward_kl"},
        {"skew_forward_kl, skew.lambda: 1e-6", "forward_kl"},
        {"skew_reverse_kl, skew.lambda: 0", "reverse_kl"},
        {"skew_reverse_kl, skew: {lambda: 0, detach: true}", "reverse_kl"},
        {"taid, taid.t: 1", "forward_kl"},
        {"symmetric_kl, symmetric_kl.reverse_weight: 0", "forward_kl"},
        {"symmetric_kl, symmetric_kl.reverse_weight: 1", "reverse_kl"},
        {"adaptive_kl, adaptive_kl.head_mass: 1", "forward_kl"}, /* all of it is head */
    };
    fixture f;
    open_fixture(&f);
    fill();
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        di_loss *a = loss_of(&f, pairs[i][0], 1.5), *b = loss_of(&f, pairs[i][1], 1.5);
        double top = 0;
        const double x = eval(&f, a, z, V, p, labels, g), y = eval(&f, b, z, V, p, labels, other_g);
        for (int k = 0; k < R * V; k++) top = test_worst(top, fabs((double)g[k] - (double)other_g[k]));
        if (!(fabs(x - y) <= 1e-4 * y) || !(top <= 2e-5)) FAIL("%s: %.9g, not %.9g; %.3g", pairs[i][0], x, y, top);
        di_loss_release(a);
        di_loss_release(b);
    }
    close_fixture(&f);
}

/* 1 - exp(-acceptance) is the total variation distance; dkd with weights 1 and 1 - p[label] is forward KL. */
TEST(identities)
{
    fixture f;
    open_fixture(&f);
    fill();
    di_loss *accept = loss_of(&f, "acceptance", 1), *apart = loss_of(&f, "tvd", 1),
            *forward = loss_of(&f, "forward_kl", 1);
    for (int r = 0; r < R; r++) {
        dense_call c;
        dk_error err;
        double u[V], lp[V], values[3];
        char yaml[160];
        for (int v = 0; v < V; v++) u[v] = (double)p[r * V + v];
        softmax64(u, V, 1, lp);
        snprintf(yaml, sizeof yaml, "dkd, dkd: {target_weight: 1, non_target_weight: %.17g}", 1 - exp(lp[labels[r]]));
        di_loss *decoupled = loss_of(&f, yaml, 1), *all[] = {accept, apart, decoupled};
        set_dense(&c, z + r * V, 1, V, p + r * V, V);
        with_labels(&c, labels + r);
        with_gradient(&c, g);
        for (int k = 0; k < 3; k++) {
            CHECK_OK(di_loss_eval(f.backend, all[k], &c.args, &err));
            values[k] = c.args.sum;
        }
        CHECK_NEAR(1 - exp(-values[0]), values[1], 1e-12);
        with_gradient(&c, other_g);
        CHECK_OK(di_loss_eval(f.backend, forward, &c.args, &err));
        CHECK_NEAR(values[2], c.args.sum, 1e-6);
        for (int v = 0; v < V; v++) CHECK_NEAR((double)g[v], (double)other_g[v], 1e-6);
        di_loss_release(decoupled);
    }
    di_loss_release(accept);
    di_loss_release(apart);
    di_loss_release(forward);
    close_fixture(&f);
}

/* dkd has nothing to say of a label that the vocabulary lacks: the row adds 0 and is counted. Beside a loss that wants
 * the label it is refused, as it is by one that does not look. */
TEST(label_beyond_the_vocabulary)
{
    static const char *const refusing[] = {"[{type: dkd}, {type: cross_entropy}]", "{type: forward_kl}"};
    fixture f;
    dense_call c;
    dk_error err;
    double rows[2];
    float values[R];
    open_fixture(&f);
    fill();
    di_loss *loss = loss_of(&f, "dkd", 1);
    for (int beyond = 0; beyond < 2; beyond++) {
        if (beyond) labels[3] = V + 4;
        set_dense(&c, z, R, V, p, V);
        with_labels(&c, labels);
        with_gradient(&c, g);
        c.row_values = di_tensor_of(values, DISTILL_FLOAT, 32, 1, c.shape);
        c.args.row_values = &c.row_values;
        CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
        CHECK_INT(c.args.floored, beyond);
        CHECK_INT(c.args.count, R);
        rows[beyond] = c.args.sum;
        if (!beyond) rows[0] -= (double)values[3];
    }
    CHECK_NEAR(rows[1], rows[0], 1e-5);
    CHECK_NEAR((double)values[3], 0, 0);
    for (int i = 0; i < V; i++) CHECK_NEAR((double)g[3 * V + i], 0, 0);
    di_loss_release(loss);
    for (int i = 0; i < 2; i++) {
        loss = make_loss(&f, NULL, refusing[i]);
        CHECK_INT(di_loss_eval(f.backend, loss, &c.args, &err), DK_E_INVALID);
        CHECK_HAS(err.message, "entry 3 is 77, outside the 73 ids");
        di_loss_release(loss);
    }
    close_fixture(&f);
}

/* The label has all of p: nothing is left to compare among the rest. */
TEST(sure_label)
{
    fixture f;
    dense_call c;
    dk_error err;
    int32_t label = 1;
    float student[3] = {0.5f, 1, -1}, teacher[3] = {-INFINITY, 0, -INFINITY}, got[3];
    double u[3] = {0.5, 1, -1}, lq[3];
    open_fixture(&f);
    di_loss *loss = loss_of(&f, "dkd, dkd.non_target_weight: 1000", 1);
    softmax64(u, 3, 1, lq);
    set_dense(&c, student, 1, 3, teacher, 3);
    with_labels(&c, &label);
    with_gradient(&c, got);
    CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
    CHECK_NEAR(c.args.sum, -lq[1], 1e-7);
    for (int i = 0; i < 3; i++) CHECK_NEAR((double)got[i], exp(lq[i]) - (i == 1), 1e-6);
    di_loss_release(loss);
    close_fixture(&f);
}

/* Equal probabilities at the cut of adaptive_kl's head: the lowest ids are in. */
TEST(ties_of_the_head)
{
    static const double masses[] = {0.01, 0.25, 0.3, 0.5, 0.77, 0.9999};
    static row r;
    fixture f;
    open_fixture(&f);
    for (int shape = 0; shape < 4; shape++)
        for (size_t m = 0; m < sizeof masses / sizeof *masses; m++) {
            static float student[300], teacher[300];
            const int64_t n = shape == 0 ? 4 : 300;
            const double options[4] = {masses[m]};
            char yaml[96];
            dense_call c;
            dk_error err;
            randomize(student, n, 1, 9);
            for (int64_t i = 0; i < n; i++) { /* equal; a few values; -0 and 0; some are out */
                teacher[i] = shape == 0   ? 1
                             : shape == 1 ? (float)(i * 7 % 5)
                             : shape == 2 ? (i & 1 ? -0.0f : 0.0f)
                                          : (float)(i % 3);
                if (shape == 3 && i % 4 == 0) teacher[i] = -INFINITY;
            }
            snprintf(yaml, sizeof yaml, "adaptive_kl, adaptive_kl.head_mass: %g", masses[m]);
            di_loss *loss = loss_of(&f, yaml, 1);
            r.n = n;
            for (int64_t i = 0; i < n; i++) r.uq[i] = (real)student[i], r.up[i] = (real)teacher[i];
            log_softmax_real(r.uq, n, r.lq);
            log_softmax_real(r.up, n, r.lp);
            memcpy(r.fixed, r.lq, sizeof r.fixed);
            for (int64_t i = 0; i < n; i++) /* as loss.log_floor has it */
                if (r.lp[i] == -INFINITY) r.lp[i] = -100;
            set_dense(&c, student, 1, n, teacher, n);
            CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
            const real want = f_adaptive(&r, options);
            if (!(fabsl((real)c.args.sum - want) <= 1e-6L * want))
                FAIL("shape %d, mass %g: %.12g, not %.12Lg", shape, masses[m], c.args.sum, want);
            di_loss_release(loss);
        }
    close_fixture(&f);
}

/* Rows in which the head is sought among what a sample holds likely, and such where it is not there. */
enum { LONG = 32000 };
static float long_p[LONG], long_z[LONG];
static real long_lp[LONG], long_lq[LONG];

static int by_likelihood(const void *a, const void *b)
{
    const int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
    if (long_p[i] != long_p[j]) return long_p[i] > long_p[j] ? -1 : 1;
    return i < j ? -1 : 1;
}

static real long_adaptive(int64_t n, double head_mass)
{
    static int32_t order[LONG];
    real mass = 0, head = 0, all = 0, forward = 0, reverse = 0;
    int32_t inside = 1;
    for (int64_t i = 0; i < n; i++) order[i] = (int32_t)i;
    qsort(order, (size_t)n, sizeof *order, by_likelihood);
    for (int64_t k = 0; k < n; k++) {
        const real lp = long_lp[order[k]], lq = long_lq[order[k]], q = expl(lq), gap = fabsl(expl(lp) - q);
        mass += expl(lp);
        inside = inside && (k == 0 || mass <= (real)head_mass + 1e-12L);
        all += gap;
        if (inside) head += gap;
        forward += expl(lp) * (lp - lq);
        reverse += q * (lq - lp);
    }
    return head / all * forward + (1 - head / all) * reverse;
}

enum { ROUND, BELL, PEAKED, FLAT, EQUAL, LONG_SHAPES };

static void fill_long(int shape, int64_t n)
{
    static real u[LONG];
    randomize(long_p, n, shape == FLAT ? 0.1 : 2, 31);
    for (int64_t i = 0; i < n; i++) {
        if (shape == ROUND) long_p[i] = rintf(4 * long_p[i]) / 4;
        if (shape == EQUAL) long_p[i] = i % 2 ? 0.0f : -0.0f;
        long_z[i] = long_p[i] + 0.5f * (float)dk_random_normal(32, 1, (uint64_t)i);
    }
    if (shape == PEAKED) long_p[n / 3] = 14, long_p[n / 2] = 13, long_p[17] = 14;
    for (int64_t i = 0; i < n; i++) u[i] = (real)long_p[i];
    log_softmax_real(u, n, long_lp);
    for (int64_t i = 0; i < n; i++) u[i] = (real)long_z[i];
    log_softmax_real(u, n, long_lq);
}

TEST(head_of_long_rows)
{
    static const double masses[] = {1e-6, 0.1, 0.4, 0.5, 0.9, 0.9999};
    static const int64_t widths[] = {5000, 8191, 8193, LONG};
    fixture f;
    open_fixture(&f);
    const int32_t best = f.backend->isa;
    for (int shape = 0; shape < LONG_SHAPES; shape++)
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
            fill_long(shape, widths[w]);
            for (size_t m = 0; m < sizeof masses / sizeof *masses; m++) {
                const real want = long_adaptive(widths[w], masses[m]);
                char yaml[96];
                snprintf(yaml, sizeof yaml, "adaptive_kl, adaptive_kl.head_mass: %g", masses[m]);
                di_loss *loss = loss_of(&f, yaml, 1);
                for (f.backend->isa = DK_ISA_PORTABLE; f.backend->isa <= best; f.backend->isa++) {
                    dense_call c;
                    dk_error err;
                    set_dense(&c, long_z, 1, widths[w], long_p, widths[w]);
                    CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
                    if (!(fabsl((real)c.args.sum - want) <= 2e-6L * want))
                        FAIL("shape %d, n %d, mass %g: %.12g, not %.12Lg", shape, (int)widths[w], masses[m], c.args.sum,
                             want);
                }
                f.backend->isa = best;
                di_loss_release(loss);
            }
        }
    close_fixture(&f);
}

/* ---- the worst of rows: finite, never negative, and 0 where both are the same ---- */

enum { WIDEST = 262144 };
static float wide_z[WIDEST], wide_p[WIDEST], wide_g[WIDEST];

enum { FAR_APART, OPPOSITE, EXCLUDED, ONE_LEFT, EVEN, SAME_FAR, SAME_EXCLUDED, SHAPES };
static void fill_worst(int shape, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const double noise = dk_random_normal(11, (uint64_t)shape, (uint64_t)i);
        wide_z[i] = (float)(shape == EVEN ? 0 : fmax(-1e4, fmin(1e4, (shape == EXCLUDED ? 3 : 5e3) * noise)));
        wide_p[i] =
            shape == OPPOSITE ? -wide_z[i] : (float)fmax(-1e4, fmin(1e4, 5e3 * dk_random_normal(12, 1, (uint64_t)i)));
        if (shape == EVEN) wide_p[i] = 0;
        if (shape == EXCLUDED && i % 2) wide_p[i] = -INFINITY;
        if (shape == ONE_LEFT && i != n / 2) wide_p[i] = -INFINITY;
        if (shape == SAME_FAR) wide_z[i] = wide_p[i];
        if (shape == SAME_EXCLUDED) wide_z[i] = wide_p[i] = i % 3 == 1 ? -INFINITY : (float)(3 * noise);
    }
}

static void check_worst(fixture *f, const loss_case *c, const di_loss *loss, int shape, int64_t n, double temperature)
{
    const int is_same = shape == EVEN || shape == SAME_FAR || shape == SAME_EXCLUDED;
    const int cross = !strncmp(c->yaml, "cross_entropy", 13);
    int32_t label = 0;
    dense_call d;
    dk_error err;
    if (cross && shape == SAME_EXCLUDED) return; /* what the student excludes is in its smoothed target */
    set_dense(&d, wide_z, 1, n, wide_p, n);
    with_labels(&d, &label);
    with_gradient(&d, wide_g);
    const int32_t rc = di_loss_eval(f->backend, loss, &d.args, &err);
    if (rc == DK_E_NUMERIC && c->flags & OVERFLOWS) return; /* powers of p/q: larger than a double, and said so */
    if (rc || !isfinite(d.args.sum) || !(d.args.sum >= 0))
        FAIL("%s, shape %d, n %lld, T %g: %d, %g %s", c->yaml, shape, (long long)n, temperature, rc, d.args.sum,
             rc ? err.message : "");
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(wide_g[i]) ||
            (is_same && c->flags & SAME_IS_ZERO && !(fabs((double)wide_g[i]) <= 1e-7 / temperature))) {
            FAIL("%s, shape %d, n %lld, T %g: gradient %lld is %g", c->yaml, shape, (long long)n, temperature,
                 (long long)i, (double)wide_g[i]);
            return;
        }
    if (is_same && c->flags & SAME_IS_ZERO && !(d.args.sum <= 1e-12))
        FAIL("%s, shape %d, n %lld, T %g: p = q gives %g", c->yaml, shape, (long long)n, temperature, d.args.sum);
}

TEST(worst_rows)
{
    static const double temperatures[] = {0.05, 1, 100};
    static const int64_t widths[] = {2, 5, 64, 1000, WIDEST};
    fixture f;
    open_fixture(&f);
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
        for (int shape = 0; shape < SHAPES; shape++) {
            fill_worst(shape, widths[w]);
            for (int k = 0; k < LOSS_CASES; k++)
                for (int t = 0; t < 3; t++) {
                    if (widths[w] == WIDEST && (t != 1 || shape == SAME_FAR || shape == ONE_LEFT)) continue;
                    di_loss *loss = loss_of(&f, loss_cases[k].yaml, temperatures[t]);
                    check_worst(&f, &loss_cases[k], loss, shape, widths[w], temperatures[t]);
                    di_loss_release(loss);
                }
        }
    close_fixture(&f);
}

/* p = 0 adds exactly what the formula says in the limit: nothing, or what q alone gives. */
TEST(excluded_by_the_teacher)
{
    enum { M = 9 };
    static row r;
    float student[M], teacher[M];
    fixture f;
    open_fixture(&f);
    for (int k = 0; k < LOSS_CASES; k++) {
        const loss_case *c = &loss_cases[k];
        dense_call d;
        dk_error err;
        if (!(c->flags & BOUNDED) || c->flags & NO_SHIFT) continue;
        di_loss *loss = loss_of(&f, c->yaml, 1);
        randomize(student, M, 2, 21);
        randomize(teacher, M, 2, 22);
        teacher[1] = teacher[4] = student[4] = -INFINITY;
        r.n = M;
        for (int i = 0; i < M; i++) r.uq[i] = (real)student[i], r.up[i] = (real)teacher[i];
        log_softmax_real(r.uq, M, r.lq);
        log_softmax_real(r.up, M, r.lp);
        memcpy(r.fixed, r.lq, sizeof r.fixed);
        set_dense(&d, student, 1, M, teacher, M);
        CHECK_OK(di_loss_eval(f.backend, loss, &d.args, &err));
        CHECK_INT(d.args.floored, 0);
        const real want = c->value(&r, c->options);
        if (!(fabsl((real)d.args.sum - want) <= 1e-6L * want)) FAIL("%s: %.12g, not %.12Lg", c->yaml, d.args.sum, want);
        di_loss_release(loss);
    }
    close_fixture(&f);
}

/* A student that excludes what the teacher holds possible: an error that names the row. */
TEST(excluded_by_the_student)
{
    fixture f;
    open_fixture(&f);
    for (int k = 0; k < LOSS_CASES; k++) {
        di_loss *loss = loss_of(&f, loss_cases[k].yaml, 1);
        dense_call d;
        dk_error err;
        fill();
        z[3 * V + labels[3]] = -INFINITY;
        set_dense(&d, z, R, V, p, V);
        with_labels(&d, labels);
        with_gradient(&d, g);
        CHECK_INT(di_loss_eval(f.backend, loss, &d.args, &err), DK_E_NUMERIC);
        CHECK_HAS(err.message, "row 3");
        z[3 * V + labels[3]] = NAN;
        CHECK_INT(di_loss_eval(f.backend, loss, &d.args, &err), DK_E_NUMERIC);
        CHECK_HAS(err.message, "row 3");
        fill();
        p[2 * V + 5] = NAN;
        if (strncmp(loss_cases[k].yaml, "cross_entropy", 13)) {
            CHECK_INT(di_loss_eval(f.backend, loss, &d.args, &err), DK_E_NUMERIC);
            CHECK_HAS(err.message, "row 2");
        }
        di_loss_release(loss);
    }
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(relations_hold) TEST_CASE(limits) TEST_CASE(identities) TEST_CASE(label_beyond_the_vocabulary)
              TEST_CASE(sure_label) TEST_CASE(ties_of_the_head) TEST_CASE(head_of_long_rows) TEST_CASE(worst_rows)
                  TEST_CASE(excluded_by_the_teacher) TEST_CASE(excluded_by_the_student))
