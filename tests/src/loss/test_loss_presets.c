/* Losses as other tools have them: their numbers, divisor included; that they stand alone, and who takes them. */
#include "loss/builtin.h"
#include "loss_fixture.h"
#include "preset_goldens.h"

enum { ROWS = GOLDEN_ROWS, N = GOLDEN_VOCAB };
static float gradient[ROWS * N], listed[ROWS * GOLDEN_K];
static int32_t ids[ROWS * GOLDEN_K];

/* The teacher's k likeliest ids of a row, at a temperature. */
static void list_row(int64_t row, int64_t k, double temperature)
{
    double z[N], log_p[N];
    int32_t used[N] = {0};
    for (int i = 0; i < N; i++) z[i] = (double)golden_teacher[row * N + i];
    softmax64(z, N, temperature, log_p);
    for (int64_t j = 0; j < k; j++) {
        int32_t best = -1;
        for (int32_t i = 0; i < N; i++)
            if (!used[i] && (best < 0 || z[i] > z[best])) best = i;
        used[best] = 1;
        ids[row * k + j] = best;
        listed[row * k + j] = (float)log_p[best];
    }
}

typedef struct preset_call {
    dense_call c;
    distill_tensor values, ids;
    int64_t shape[2];
} preset_call;

static void set_call(preset_call *p, const preset_golden *want)
{
    set_dense(&p->c, golden_student, ROWS, N, golden_teacher, N);
    with_labels(&p->c, golden_labels);
    with_gradient(&p->c, gradient);
    p->c.args.divisor = want->divisor;
    if (!want->k) return;
    for (int64_t row = 0; row < ROWS; row++) list_row(row, want->k, want->made_at);
    p->shape[0] = ROWS;
    p->shape[1] = want->k;
    p->values = di_tensor_of(listed, DISTILL_FLOAT, 32, 2, p->shape);
    p->ids = di_tensor_of(ids, DISTILL_INT, 32, 2, p->shape);
    p->c.teacher.kind = DISTILL_TOPK;
    p->c.teacher.values = &p->values;
    p->c.teacher.ids = &p->ids;
    p->c.teacher.temperature = want->made_at;
}

static di_loss *make_preset(fixture *f, const preset_golden *want)
{
    char yaml[160];
    snprintf(yaml, sizeof yaml, "{type: %s%s%s}", want->preset, *want->options ? ", " : "", want->options);
    return make_loss(f, NULL, yaml);
}

static void check_golden(fixture *f, const preset_golden *want)
{
    di_loss *loss = make_preset(f, want);
    preset_call p;
    dk_error err;
    set_call(&p, want);
    CHECK_OK(di_loss_eval(f->backend, loss, &p.c.args, &err));
    if (!(fabs(p.c.args.sum - want->value) <= 2e-6 * fmax(1, fabs(want->value))))
        FAIL("%s {%s}, %d ids: %.8f, not %.8f", want->preset, want->options, (int)want->k, p.c.args.sum, want->value);
    for (int i = 0; i < ROWS * N; i++)
        if (!(fabsf(gradient[i] - want->gradient[i]) <= 1e-6f))
            FAIL("%s {%s}, %d ids: gradient %d is %.8f, not %.8f", want->preset, want->options, (int)want->k, i,
                 (double)gradient[i], (double)want->gradient[i]);
    CHECK_INT(p.c.args.count, 4);
    CHECK_NEAR(p.c.args.weight_sum, 1, 0);
    di_loss_release(loss);
}

TEST(numbers_of_the_tools)
{
    fixture f;
    open_fixture(&f);
    for (size_t i = 0; i < sizeof preset_goldens / sizeof *preset_goldens; i++) check_golden(&f, &preset_goldens[i]);
    close_fixture(&f);
}

/* Of the peers' map: five logits, one row. */
TEST(numbers_of_the_literature)
{
    static const struct {
        const char *preset;
        int64_t k;
        double value, gradient[5];
    } wants[] = {
        {"distillkit", 1, 0.503158, {0}},
        {"distillkit", 2, 0.519147, {0.222427, -0.164535, -0.181217, 0.105067, 0.018258}},
        {"{type: distillkit, distillkit.symmetric_uniform: true}", 1, 0.018375, {0}},
        {"{type: distillkit, distillkit.symmetric_uniform: true}",
         2,
         0.227228,
         {0.149510, -0.140260, -0.092146, 0.070623, 0.012273}},
        {"{type: msswift-topk, msswift_topk.beta: 0}", 1, 0, {0}},
        {"{type: msswift-topk, msswift_topk.beta: 0}", 2, 0.094879, {0, -0.138307, 0.138307, 0, 0}},
        {"verl-trunc", 1, 0.098835, {0}},
        {"verl-trunc", 2, 0.353640, {0.197216, -0.145886, -0.160676, 0.093158, 0.016188}},
    };
    static float student[5] = {1.0f, -0.5f, 2.0f, 0.25f, -1.5f}, got[5], log_p[2];
    static const double teacher[5] = {0.3, 1.2, 2.5, -0.7, -2.0};
    static int32_t best[2] = {2, 1}, label = 0;
    double log_ps[5];
    fixture f;
    open_fixture(&f);
    softmax64(teacher, 5, 1, log_ps);
    for (int j = 0; j < 2; j++) log_p[j] = (float)log_ps[best[j]];
    for (size_t i = 0; i < sizeof wants / sizeof *wants; i++) {
        const int64_t shape[2] = {1, wants[i].k};
        distill_tensor values = di_tensor_of(log_p, DISTILL_FLOAT, 32, 2, shape),
                       of = di_tensor_of(best, DISTILL_INT, 32, 2, shape);
        di_loss *loss = make_loss(&f, NULL, wants[i].preset);
        dense_call c;
        dk_error err;
        set_dense(&c, student, 1, 5, NULL, 5);
        with_labels(&c, &label);
        with_gradient(&c, got);
        c.teacher.kind = DISTILL_TOPK;
        c.teacher.values = &values;
        c.teacher.ids = &of;
        c.args.teacher = &c.teacher;
        CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
        CHECK_NEAR(c.args.sum, wants[i].value, 1e-6);
        for (int k = 0; wants[i].k == 2 && k < 5; k++) CHECK_NEAR((double)got[k], wants[i].gradient[k], 1e-6);
        for (int k = 0; i == 4 && k < 5; k++) CHECK_NEAR((double)got[k], 0, 1e-9);
        di_loss_release(loss);
    }
    close_fixture(&f);
}

static void refuse(fixture *f, const char *yaml, const char *why)
{
    di_loss *loss = NULL;
    dk_error err;
    CHECK_OK(di_options_set(f->options, "loss", NULL, &err));
    int32_t rc = di_options_set(f->options, "loss", yaml, &err);
    if (!rc) rc = di_loss_create(f->registry, NULL, f->options, &loss, &err);
    if (rc == DK_OK) FAIL("%s is taken", yaml);
    else if (!strstr(err.message, why)) FAIL("%s: \"%s\", without \"%s\"", yaml, err.message, why);
    di_loss_release(loss);
}

TEST(a_preset_stands_alone)
{
    distill_loss_callbacks table;
    fixture f;
    dk_error err;
    open_fixture(&f);
    refuse(&f, "{type: trl-gkd, hard_label_weight: 0.5}", "loss trl-gkd is all that TRL 1.16, GKDTrainer computes");
    refuse(&f, "{type: trl-gkd, hard_label_weight: {schedule: linear, from: 0, to: 1, steps: 4}}", "it stands alone");
    refuse(&f, "[{type: verl-trunc}, {type: cross_entropy}]", "it stands alone");
    refuse(&f, "[{type: verl-trunc, weight: 2}]", "it stands alone");
    refuse(&f, "{type: trl-gkd, hard_label_weight: 1}", "it stands alone"); /* weights of 0 may be raised later */
    refuse(&f, "[{type: forward_kl}, {type: trl-gkd, weight: 0}]", "it stands alone");
    refuse(&f, "{type: trl-gkd, temperature: 2}", "loss.temperature is not used by trl-gkd");
    refuse(&f, "{type: verl-trunc, temperature: 2}", "loss.temperature is not used by verl-trunc");
    refuse(&f, "{type: distillkit, t_squared: off}", "loss distillkit: loss.t_squared is always on there");
    refuse(&f, "{type: msswift-topk, t_squared: on}", "loss msswift-topk: loss.t_squared is never on there");
    refuse(&f, "{type: jsd, trl_gkd.beta: 0.3}", "loss.trl_gkd.beta");
    DISTILL_INIT(&table);
    table.eval = di_builtin_at(0)->eval[0];
    table.targets = 1 << DISTILL_DENSE;
    table.fallback = "trl-gkd";
    CHECK_INT(di_registry_add(f.registry, "mine", &table, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "trl-gkd is a loss as another tool has it, which no rows can fall back to");
    close_fixture(&f);
}

TEST(calls_that_a_preset_refuses)
{
    static const preset_golden plain = {"trl-gkd", "", 0, 1, 0, 0, {0}};
    float weights[ROWS] = {1, 1, 0.5f, 1, 1, 1};
    preset_call p;
    dk_error err;
    fixture f;
    open_fixture(&f);
    di_loss *trl = make_preset(&f, &plain), *swift = make_loss(&f, NULL, "msswift-topk"),
            *jsd = make_loss(&f, NULL, "jsd");
    set_call(&p, &plain);
    with_weights(&p.c, weights);
    CHECK_INT(di_loss_eval(f.backend, trl, &p.c.args, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "args.weights: entry 2 is 0.5; with loss trl-gkd rows count (1) or they do not (0)");
    weights[2] = 0;
    CHECK_OK(di_loss_eval(f.backend, trl, &p.c.args, &err));
    CHECK_INT(p.c.args.count, 3);
    for (int i = 0; i < ROWS; i++) weights[i] = 0;
    CHECK_OK(di_loss_eval(f.backend, trl, &p.c.args, &err));
    CHECK_NEAR(p.c.args.sum, 0, 0);
    for (int i = 0; i < ROWS * N; i++) CHECK_NEAR((double)gradient[i], 0, 0);
    CHECK_INT(di_loss_eval(f.backend, swift, &p.c.args, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "loss msswift-topk does not take a teacher that gives DENSE");
    p.c.args.divisor = -1;
    CHECK_INT(di_loss_eval(f.backend, trl, &p.c.args, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "args.divisor must be above 0");
    p.c.args.divisor = 4;
    CHECK_INT(di_loss_eval(f.backend, jsd, &p.c.args, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "args.divisor is of presets");
    CHECK_INT(di_preset_refuse(trl, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "only a call on rows (distill_loss_eval) takes it; for training take jsd");
    CHECK_OK(di_preset_refuse(jsd, &err));
    di_loss_release(trl);
    di_loss_release(swift);
    di_loss_release(jsd);
    close_fixture(&f);
}

/* What the tool makes infinite or cuts off. */
TEST(a_student_that_excludes_an_id)
{
    static const char *const presets[] = {"distillkit", "{type: distillkit, distillkit.symmetric_uniform: true}",
                                          "{type: msswift-topk, msswift_topk.beta: 0}", "verl-trunc"};
    static const preset_golden two = {"", "", 2, 1, 0, 0, {0}};
    float kept;
    preset_call p;
    fixture f;
    dk_error err;
    open_fixture(&f);
    set_call(&p, &two);
    kept = golden_student[3 * N + ids[3 * 2]];
    golden_student[3 * N + ids[3 * 2]] = -INFINITY;
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        di_loss *loss = make_loss(&f, NULL, presets[i]);
        CHECK_INT(di_loss_eval(f.backend, loss, &p.c.args, &err), DK_E_NUMERIC);
        CHECK_HAS(err.message, "value of row 3 is inf");
        di_loss_release(loss);
    }
    di_loss *floored = make_loss(&f, NULL, "{type: verl-trunc, verl_trunc.log_prob_min_clamp: -10}");
    CHECK_OK(di_loss_eval(f.backend, floored, &p.c.args, &err));
    CHECK(isfinite(p.c.args.sum) && p.c.args.sum > 0);
    di_loss_release(floored);
    golden_student[3 * N + ids[3 * 2]] = kept;
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(numbers_of_the_tools) TEST_CASE(numbers_of_the_literature) TEST_CASE(a_preset_stands_alone)
              TEST_CASE(calls_that_a_preset_refuses) TEST_CASE(a_student_that_excludes_an_id))
