/* Terms of a loss: options of their own name, numbers that are schedules, targets that they take, what is refused and
 * why. */
#include "loss_fixture.h"

enum { N = 6 };
static float z[N] = {1, -0.5f, 2, 0.25f, -1.5f, 0}, p[N] = {0.3f, 1.2f, 2.5f, -0.7f, -2, 1}, got[N];

static void refuse(fixture *f, const char *name, const char *yaml, const char *why)
{
    di_loss *loss = NULL;
    dk_error err;
    CHECK_OK(di_options_set(f->options, "loss", NULL, &err));
    CHECK_OK(di_options_set(f->options, "loss", yaml, &err));
    const int32_t rc = di_loss_create(f->registry, name, f->options, &loss, &err);
    if (rc == DK_OK) FAIL("%s is taken", yaml);
    else if (!strstr(err.message, why)) FAIL("%s: \"%s\", without \"%s\"", yaml, err.message, why);
    di_loss_release(loss);
}

TEST(options_have_an_owner)
{
    fixture f;
    open_fixture(&f);
    refuse(&f, NULL, "{type: jsd, jsd.teacher_weight: 0}", "loss.jsd.teacher_weight is 0, where the divergence is 0");
    refuse(&f, NULL, "{type: jsd, jsd.teacher_weight: 0}", "forward_kl, or set loss.jsd.normalised");
    refuse(&f, NULL, "{type: jsd, jsd.teacher_weight: 1}", "reverse_kl, or set loss.jsd.normalised");
    refuse(&f, NULL, "{type: jsd, jsd.teacher_weight: {schedule: linear, from: 0.5, to: 1, steps: 9}}", "reverse_kl");
    refuse(&f, NULL, "{type: jsd, skew.lambda: 0.2}",
           "loss.skew.lambda is an option of skew_forward_kl, and the loss is jsd");
    refuse(&f, NULL, "{type: skew_forward_kl, skew.detach: true}", "loss.skew.detach is an option of skew_reverse_kl");
    refuse(&f, NULL, "{type: forward_kl, cross_entropy.z_loss: 0.1}",
           "loss.cross_entropy.z_loss is an option of cross_entropy");
    refuse(&f, NULL, "[{type: tvd}, {type: jsd, taid.t: 0.2}]",
           "loss.taid.t is an option of taid, and the loss is jsd");
    refuse(&f, "jsd", "[{type: tvd}, {type: jsd, taid.t: 0.2}]", "loss.taid.t is an option of taid");
    refuse(&f, "tvd", "{jsd.teacher_weight: 0.2}", "loss.jsd.teacher_weight is an option of jsd, and the loss is tvd");
    di_loss_release(make_loss(&f, NULL, "{type: forward_kl, hard_label_weight: 0.5, cross_entropy.z_loss: 0.1}"));
    di_loss_release(make_loss(&f, NULL, "{type: skew_reverse_kl, skew.detach: true, skew.lambda: 0.2}"));
    di_loss_release(make_loss(&f, "jsd", "{jsd.teacher_weight: 0.2}"));
    di_loss_release(make_loss(&f, "jsd", "[{type: tvd}, {type: jsd, jsd.teacher_weight: 0.2}]"));
    CHECK(di_options_set(f.options, "loss", "{type: jsd, jsd.teacher_weight: 1.5}", &f.err) != DK_OK);
    CHECK_HAS(f.err.message, "loss.jsd.teacher_weight");
    CHECK(di_options_set(f.options, "loss", "{type: jsd, jsd.teacher_wieght: 0.5}", &f.err) != DK_OK);
    CHECK_HAS(f.err.message, "teacher_weight");
    close_fixture(&f);
}

static double eval_at(fixture *f, const di_loss *loss, int64_t step, float *gradient)
{
    int32_t label = 3;
    dense_call c;
    dk_error err;
    set_dense(&c, z, 1, N, p, N);
    with_labels(&c, &label);
    if (gradient) with_gradient(&c, gradient);
    c.args.step = step;
    CHECK_OK(di_loss_eval(f->backend, loss, &c.args, &err));
    return c.args.sum;
}

/* Any number of terms is their weighted sum. */
TEST(sums)
{
    static const char *const parts[] = {"{type: jsd, jsd.teacher_weight: 0.3, temperature: 2}",
                                        "{type: cross_entropy}",
                                        "{type: logit_mse}",
                                        "{type: tvd, temperature: 3}",
                                        "{type: reverse_kl}",
                                        "{type: cross_entropy, cross_entropy.z_loss: 0.1}"};
    static const double weights[] = {0.7, 0.3, 0.01, 2, 0.5, 0.25};
    double sum = 0, gradient[N] = {0};
    fixture f;
    open_fixture(&f);
    for (int i = 0; i < 6; i++) {
        di_loss *loss = make_loss(&f, NULL, parts[i]);
        sum += weights[i] * eval_at(&f, loss, 0, got);
        for (int k = 0; k < N; k++) gradient[k] += weights[i] * (double)got[k];
        di_loss_release(loss);
    }
    di_loss *all =
        make_loss(&f, NULL,
                  "[{type: jsd, jsd.teacher_weight: 0.3, temperature: 2, weight: 0.7}, {type: cross_entropy, "
                  "weight: 0.3}, {type: logit_mse, weight: 0.01}, {type: tvd, temperature: 3, weight: 2}, {type: "
                  "reverse_kl, weight: 0.5}, {type: cross_entropy, cross_entropy.z_loss: 0.1, weight: 0.25}]");
    CHECK_NEAR(eval_at(&f, all, 0, got), sum, 1e-6);
    for (int k = 0; k < N; k++) CHECK_NEAR((double)got[k], gradient[k], 1e-6);
    di_loss_release(all);
    close_fixture(&f);
}

/* A number that is a schedule is at every step what the number there gives. */
TEST(schedules)
{
    static const char scheduled[] =
        "[{type: taid, weight: {schedule: linear, from: 1, to: 0.5, steps: 4}, temperature: {schedule: cosine, from: "
        "4, "
        "to: 1, steps: 8}, taid.t: {schedule: linear, from: 0.4, to: 1, steps: 6}}, {type: jsd, weight: {schedule: "
        "step, "
        "from: 0, to: 2, steps: 3}, jsd.teacher_weight: {schedule: linear, from: 0.1, to: 0.9, steps: 8}}]";
    static const int64_t steps[] = {0, 1, 2, 3, 5, 8, 100};
    fixture f;
    open_fixture(&f);
    di_loss *loss = make_loss(&f, NULL, scheduled);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        const double s = (double)steps[i], pi = 3.14159265358979323846;
        float want[N];
        char yaml[400];
        const double w = 1 - 0.5 * fmin(s / 4, 1), heat = 4 - 3 * 0.5 * (1 - cos(pi * fmin(s / 8, 1)));
        snprintf(yaml, sizeof yaml,
                 "[{type: taid, weight: %.17g, temperature: %.17g, taid.t: %.17g}, {type: jsd, weight: %d, "
                 "jsd.teacher_weight: %.17g}]",
                 w, heat, 0.4 + 0.6 * fmin(s / 6, 1), steps[i] < 3 ? 0 : 2, 0.1 + 0.8 * fmin(s / 8, 1));
        di_loss *plain = make_loss(&f, NULL, yaml);
        CHECK_NEAR(eval_at(&f, loss, steps[i], got), eval_at(&f, plain, 0, want), 1e-9);
        for (int k = 0; k < N; k++) CHECK_NEAR((double)got[k], (double)want[k], 1e-7);
        di_loss_release(plain);
    }
    dk_strbuf text;
    dk_strbuf_init(&text, f.host);
    di_loss_describe(loss, &text);
    CHECK_STR(text.data, "1..0.5*taid(T=4..1) + 0..2*jsd");
    dk_strbuf_free(&text);
    di_loss_release(loss);
    loss = make_loss(&f, NULL, "{type: forward_kl, hard_label_weight: {schedule: linear, from: 1, to: 0, steps: 4}}");
    di_loss *hard = make_loss(&f, NULL, "{type: cross_entropy}"), *soft = make_loss(&f, NULL, "{type: forward_kl}");
    const double a = eval_at(&f, hard, 0, NULL), b = eval_at(&f, soft, 0, NULL);
    CHECK_NEAR(eval_at(&f, loss, 0, NULL), a, 1e-9);
    CHECK_NEAR(eval_at(&f, loss, 1, NULL), 0.75 * a + 0.25 * b, 1e-9);
    CHECK_NEAR(eval_at(&f, loss, 9, NULL), b, 1e-9);
    di_loss_release(loss);
    di_loss_release(hard);
    di_loss_release(soft);
    close_fixture(&f);
}

/* A term whose weight is 0 at a step adds nothing to the others there, wherever it stands. */
TEST(weights_from_zero)
{
    static const char *const scheduled[] = {
        "{type: forward_kl, hard_label_weight: {schedule: linear, from: 0, to: 1, steps: 4}}",
        "[{type: jsd, weight: {schedule: linear, from: 0, to: 1, steps: 4}}, {type: forward_kl}]",
        "[{type: tvd, weight: 0}, {type: jsd, weight: 0}, {type: forward_kl}]",
        "[{type: forward_kl}, {type: jsd, temperature: 2, weight: {schedule: linear, from: 0, to: 1, steps: 4}}]",
        "[{type: jsd, temperature: 2, weight: {schedule: step, from: 0, to: 1, steps: 4}}, {type: forward_kl}]",
    };
    float want[N];
    fixture f;
    open_fixture(&f);
    di_loss *alone = make_loss(&f, NULL, "{type: forward_kl}");
    const double value = eval_at(&f, alone, 0, want);
    for (size_t i = 0; i < sizeof scheduled / sizeof *scheduled; i++) {
        di_loss *loss = make_loss(&f, NULL, scheduled[i]);
        CHECK_NEAR(eval_at(&f, loss, 0, got), value, 1e-9);
        for (int k = 0; k < N; k++) CHECK_NEAR((double)got[k], (double)want[k], 1e-7);
        di_loss_release(loss);
    }
    di_loss *both = make_loss(&f, NULL,
                              "[{type: cross_entropy, weight: {schedule: step, from: 0, to: 1, steps: 4}}, "
                              "{type: forward_kl, weight: {schedule: step, from: 0, to: 1, steps: 4}}]");
    CHECK_NEAR(eval_at(&f, both, 0, got), 0, 0);
    for (int k = 0; k < N; k++) CHECK_NEAR((double)got[k], 0, 0);
    di_loss_release(both);
    di_loss_release(alone);
    close_fixture(&f);
}

/* T squared: as usual for the loss, on, off. */
TEST(temperature_squared)
{
    static const char *const names[] = {
        "forward_kl",   "reverse_kl",  "symmetric_kl", "jsd", "skew_forward_kl", "skew_reverse_kl", "alpha_beta",
        "taid",         "adaptive_kl", "dkd",          "tvd", "logit_mse",       "acceptance",      "rank_hinge",
        "rank_logistic"};
    fixture f;
    open_fixture(&f);
    for (int i = 0; i < 15; i++) {
        double values[3];
        char yaml[96];
        for (int k = 0; k < 3; k++) {
            snprintf(yaml, sizeof yaml, "{type: %s, temperature: 3, t_squared: %s}", names[i],
                     k == 0   ? "auto"
                     : k == 1 ? "on"
                              : "off");
            di_loss *loss = make_loss(&f, NULL, yaml);
            values[k] = eval_at(&f, loss, 0, NULL);
            di_loss_release(loss);
        }
        CHECK_NEAR(values[1], 9 * values[2], 1e-9);
        if (values[0] != values[i < 10 ? 1 : 2]) FAIL("%s: %g", names[i], values[0]);
    }
    close_fixture(&f);
}

/* ---- targets ---- */

static int32_t check_kind(fixture *f, const char *name, int32_t kind, double temperature, dk_error *err)
{
    char yaml[96];
    snprintf(yaml, sizeof yaml, "{type: %s}", name);
    di_loss *loss = make_loss(f, NULL, yaml);
    const int32_t rc = di_loss_check(loss, kind, temperature, 1, err);
    di_loss_release(loss);
    return rc;
}

TEST(kinds_and_reasons)
{
    static const struct {
        const char *name;
        int32_t kind;
        const char *why; /* NULL = taken */
    } table[] = {
        {"forward_kl", DISTILL_SAMPLED, NULL},
        {"forward_kl", DISTILL_ONE_HOT, NULL},
        {"reverse_kl", DISTILL_TOPK, NULL},
        {"jsd", DISTILL_ONE_HOT, NULL},
        {"acceptance", DISTILL_TOPK, NULL},
        {"rank_hinge", DISTILL_TOPK, NULL},
        {"jsd", DISTILL_SAMPLED, "SAMPLED: it is not linear in the teacher's probabilities"},
        {"reverse_kl", DISTILL_SAMPLED, "not linear"},
        {"reverse_kl", DISTILL_ONE_HOT, "ONE_HOT: it is infinite where the teacher gives a token no probability"},
        {"logit_mse", DISTILL_TOPK, "TOPK: it compares logits"},
        {"dkd", DISTILL_TOPK, "TOPK: the label may lie outside of the ids that it lists; it takes DENSE, HIDDEN"},
    };
    fixture f;
    dk_error err;
    open_fixture(&f);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const int32_t rc = check_kind(&f, table[i].name, table[i].kind, 1, &err);
        if (!table[i].why) CHECK_OK(rc);
        else CHECK_INT(rc, DK_E_UNSUPPORTED);
        if (table[i].why) CHECK_HAS(err.message, table[i].why);
    }
    CHECK_INT(check_kind(&f, "jsd", DISTILL_TOPK, 2, &err), DK_E_MISMATCH);
    CHECK_HAS(err.message, "set loss.temperature to 2");
    di_loss *loss = make_loss(&f, NULL, "{type: jsd, temperature: {schedule: linear, from: 2, to: 1, steps: 3}}");
    CHECK_INT(di_loss_check(loss, DISTILL_TOPK, 2, 1, &err), DK_E_MISMATCH); /* not at every step */
    di_loss_release(loss);
    loss = make_loss(&f, NULL, "{type: dkd}");
    CHECK_INT(di_loss_check(loss, DISTILL_DENSE, 1, 0, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "loss dkd needs labels");
    di_loss_release(loss);
    close_fixture(&f);
}

/* One-hot is a teacher that is sure. */
TEST(one_hot)
{
    static const char *const names[] = {"jsd", "skew_forward_kl", "skew_reverse_kl", "tvd", "acceptance"};
    fixture f;
    int32_t label = 3;
    dk_error err;
    open_fixture(&f);
    for (int i = 0; i < 5; i++) {
        char yaml[64];
        float sure[N], want[N];
        dense_call c;
        const int64_t shape[1] = {1};
        distill_tensor ids = di_tensor_of(&label, DISTILL_INT, 32, 1, shape);
        snprintf(yaml, sizeof yaml, "{type: %s}", names[i]);
        di_loss *loss = make_loss(&f, NULL, yaml);
        for (int k = 0; k < N; k++) sure[k] = k == label ? 0 : -INFINITY;
        set_dense(&c, z, 1, N, sure, N);
        with_gradient(&c, want);
        CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
        const double dense = c.args.sum;
        set_dense(&c, z, 1, N, NULL, 0);
        c.teacher.kind = DISTILL_ONE_HOT;
        c.teacher.values = NULL;
        c.teacher.ids = &ids;
        c.args.teacher = &c.teacher;
        with_gradient(&c, got);
        CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
        CHECK_NEAR(c.args.sum, dense, 1e-9);
        for (int k = 0; k < N; k++) CHECK_NEAR((double)got[k], (double)want[k], 1e-7);
        di_loss_release(loss);
    }
    close_fixture(&f);
}

/* The mean of value and gradient over all draws of two tokens is that of the distribution, less its entropy. */
TEST(draws_are_unbiased)
{
    double log_p[N], logits[N], entropy = 0, mean = 0, gradient[N] = {0};
    float want[N];
    fixture f;
    open_fixture(&f);
    di_loss *loss = make_loss(&f, NULL, "{type: forward_kl}");
    for (int k = 0; k < N; k++) logits[k] = (double)p[k];
    softmax64(logits, N, 1, log_p);
    for (int k = 0; k < N; k++) entropy -= exp(log_p[k]) * log_p[k];
    const double dense = eval_at(&f, loss, 0, want);
    for (int a = 0; a < N; a++)
        for (int b = 0; b < N; b++) {
            const double chance = exp(log_p[a] + log_p[b]);
            const int64_t shape[2] = {1, 2};
            int32_t ids[2] = {a, a == b ? -1 : b};
            float counts[2] = {a == b ? 2 : 1, a == b ? 0 : 1};
            distill_tensor id_tensor = di_tensor_of(ids, DISTILL_INT, 32, 2, shape),
                           values = di_tensor_of(counts, DISTILL_FLOAT, 32, 2, shape);
            dense_call c;
            dk_error err;
            set_dense(&c, z, 1, N, NULL, 0);
            c.teacher.kind = DISTILL_SAMPLED;
            c.teacher.values = &values;
            c.teacher.ids = &id_tensor;
            c.args.teacher = &c.teacher;
            with_gradient(&c, got);
            CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
            mean += chance * c.args.sum;
            for (int k = 0; k < N; k++) gradient[k] += chance * (double)got[k];
        }
    CHECK_NEAR(mean, dense + entropy, 1e-6);
    for (int k = 0; k < N; k++) CHECK_NEAR(gradient[k], (double)want[k], 1e-6);
    di_loss_release(loss);
    close_fixture(&f);
}

static int32_t never(void *self, int64_t first, int64_t count, int64_t n, const double *temperatures,
                     const dk_view *strips, dk_error *err)
{
    (void)self, (void)first, (void)count, (void)n, (void)temperatures, (void)strips;
    return dk_fail(err, DK_E_INTERNAL, "asked");
}

/* Log-probabilities have no offset that a logit could be compared with. */
TEST(logits_of_a_blend)
{
    static const char *const names[] = {"logit_mse", "logit_cosine"};
    const di_source student = {.kind = DISTILL_DENSE, .width = N, .vocab_valid = N, .temperature = 1},
                    blend = {.kind = DISTILL_DENSE, .width = N, .vocab_valid = N, .temperature = 1, .rows_at = never};
    const di_loss_batch batch = {.student = &student, .teacher = &blend, .rows = 1};
    fixture f;
    open_fixture(&f);
    for (int i = 0; i < 2; i++) {
        char yaml[64];
        di_workspace *workspace = NULL;
        di_loss_sums sums = {0};
        dk_error err;
        snprintf(yaml, sizeof yaml, "[{type: tvd}, {type: %s}]", names[i]);
        di_loss *loss = make_loss(&f, NULL, yaml);
        const di_workspace_spec plan = {
            .memory = 1 << 16, .limit = "memory", .student_width = N, .teacher_width = N, .max_rows = 1};
        REQUIRE_OK(di_workspace_create(f.backend, loss, &plan, &workspace, &err));
        CHECK_INT(di_loss_run(loss, workspace, &batch, NULL, &sums, &err), DK_E_UNSUPPORTED);
        CHECK_HAS(err.message, names[i]);
        CHECK_HAS(err.message, "but for an offset per row");
        di_workspace_free(workspace);
        di_loss_release(loss);
    }
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(options_have_an_owner) TEST_CASE(sums) TEST_CASE(schedules) TEST_CASE(weights_from_zero)
              TEST_CASE(temperature_squared) TEST_CASE(kinds_and_reasons) TEST_CASE(one_hot)
                  TEST_CASE(draws_are_unbiased) TEST_CASE(logits_of_a_blend))
