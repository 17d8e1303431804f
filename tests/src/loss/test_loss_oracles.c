/* The built-in losses against golden values and against what other projects' own code gives on [34, 97] logits with
 * masked rows: values and gradients. */
#include "loss_fixture.h"
#include "npz.h"

enum { N = 5, ROWS = 34, VOCAB = 97, K = 8 };

/* ---- golden values, worked out by hand and checked by differences ---- */

typedef struct golden {
    const char *yaml;
    double value, gradient[N]; /* all 0 = not given */
} golden;

static const golden goldens[] = {
    {"{type: forward_kl}", 0.228151, {.145223, -.140260, -.092146, .076665, .010518}},
    {"{type: reverse_kl}", 0.236112, {.182843, -.078314, -.228522, .112636, .011357}},
    {"{type: jsd, jsd.teacher_weight: 0.1}", 0.020125, {0}},
    {"{type: jsd, jsd.teacher_weight: 0.5}", 0.054705, {.037982, -.023191, -.038426, .021024, .002611}},
    {"{type: jsd, jsd.teacher_weight: 0.9}", 0.020710, {0}},
    {"{type: skew_forward_kl}", 0.178172, {.116999, -.090552, -.097568, .062807, .008314}},
    {"{type: skew_reverse_kl}", 0.182199, {.134347, -.066139, -.154643, .077601, .008833}},
    {"{type: skew_reverse_kl, skew.detach: true}", 0.182199, {.156498, -.071830, -.187876, .093193, .010015}},
    {"{type: tvd}", 0.232406, {.145522, -.017160, -.209048, .068740, .011945}},
    {"{type: alpha_beta}", 0.288379, {.196510, -.114307, -.227451, .127869, .017379}},
    {"{type: adaptive_kl}", 0.234533, {0}},
    {"{type: forward_kl, temperature: 2, t_squared: off}", 0.099031, {.045129, -.063043, -.029930, .037233, .010610}},
    {"{type: reverse_kl, temperature: 2, t_squared: off}", 0.095373, {0}},
    {"{type: jsd, temperature: 2, t_squared: off}", 0.023914, {0}},
    {"{type: skew_forward_kl, temperature: 2, t_squared: off}", 0.078697, {0}},
    {"{type: skew_reverse_kl, temperature: 2, t_squared: off}", 0.077032, {0}},
    {"{type: tvd, temperature: 2}", 0.185945, {0}}, /* T squared is off */
    {"{type: alpha_beta, temperature: 2, t_squared: off}", 0.114790, {0}},
    {"{type: jsd, temperature: 2}", 4 * 0.023914, {0}}, /* and on */
};

TEST(golden_values)
{
    static float student[N] = {1.0f, -0.5f, 2.0f, 0.25f, -1.5f}, teacher[N] = {0.3f, 1.2f, 2.5f, -0.7f, -2.0f}, got[N];
    fixture f;
    dense_call c;
    dk_error err;
    open_fixture(&f);
    for (size_t i = 0; i < sizeof goldens / sizeof *goldens; i++) {
        const golden *want = &goldens[i];
        di_loss *loss = make_loss(&f, NULL, want->yaml);
        set_dense(&c, student, 1, N, teacher, N);
        with_gradient(&c, got);
        CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
        if (!(fabs(c.args.sum - want->value) <= 3e-6)) FAIL("%s: %.7f, not %.6f", want->yaml, c.args.sum, want->value);
        for (int k = 0; want->gradient[0] != 0 && k < N; k++)
            if (!(fabs((double)got[k] - want->gradient[k]) <= 1.5e-6))
                FAIL("%s: gradient %d is %.7f, not %.6f", want->yaml, k, (double)got[k], want->gradient[k]);
        di_loss_release(loss);
    }
    close_fixture(&f);
}

/* ---- other projects ---- */

enum { DENSE, TOPK };
typedef struct oracle {
    const char *file, *name, *yaml;
    double entropy; /* the result lacks so much of the teacher's entropy: a cross-entropy in place of a divergence */
    int kind;
} oracle;

#define T2 "temperature: 2, t_squared: off"
static const oracle oracles[] = {
    {"torch_plain", "torch_ce_mean", "{type: cross_entropy}", 0, DENSE},
    {"torch_plain", "torch_hinton_kd_alpha0.5_T1", "{type: forward_kl, hard_label_weight: 0.5}", 0, DENSE},
    {"torch_plain", "torch_hinton_kd_alpha0.5_T2", "{type: forward_kl, hard_label_weight: 0.5, temperature: 2}", 0,
     DENSE},
    {"torch_plain", "torch_hinton_kd_alpha0.5_T2",
     "[{type: forward_kl, temperature: 2, weight: 0.5}, {type: cross_entropy, weight: 0.5}]", 0, DENSE},
    {"torch_plain", "torch_logit_mse_T1", "{type: logit_mse}", 0, DENSE},
    {"torch_plain", "torch_logit_mse_T2", "{type: logit_mse, temperature: 2}", 0, DENSE},
    {"trl_gkd", "trl_gkd_beta0_T1_batchmean", "{type: forward_kl}", 0, DENSE},
    {"trl_gkd", "trl_gkd_beta0.1_T1_batchmean", "{type: jsd, jsd.teacher_weight: 0.1}", 0, DENSE},
    {"trl_gkd", "trl_gkd_beta0.5_T1_batchmean", "{type: jsd}", 0, DENSE},
    {"trl_gkd", "trl_gkd_beta0.9_T1_batchmean", "{type: jsd, jsd.teacher_weight: 0.9}", 0, DENSE},
    {"trl_gkd", "trl_gkd_beta1_T1_batchmean", "{type: reverse_kl}", 0, DENSE},
    {"trl_gkd", "trl_gkd_beta0_T2_batchmean", "{type: forward_kl, " T2 "}", 0, DENSE},
    {"trl_gkd", "trl_gkd_beta0.1_T2_batchmean", "{type: jsd, jsd.teacher_weight: 0.1, " T2 "}", 0, DENSE},
    {"trl_gkd", "trl_gkd_beta0.9_T2_batchmean", "{type: jsd, jsd.teacher_weight: 0.9, " T2 "}", 0, DENSE},
    {"trl_gkd", "trl_gkd_beta1_T2_batchmean", "{type: reverse_kl, " T2 "}", 0, DENSE},
    {"trl_distillation", "trl_distillation_beta0.5_T2_batchmean", "{type: jsd, " T2 "}", 0, DENSE},
    {"trl_distillation", "trl_distillation_beta1_T2_batchmean", "{type: reverse_kl, " T2 "}", 0, DENSE},
    {"trl_minillm", "trl_minillm_single_step_T1", "{type: reverse_kl}", 0, DENSE},
    {"trl_minillm", "trl_minillm_single_step_T2", "{type: reverse_kl, " T2 "}", 0, DENSE},
    {"distillkit", "distillkit_kl_dense_T1", "{type: forward_kl}", 0, DENSE},
    {"distillkit", "distillkit_kl_dense_T2", "{type: forward_kl, temperature: 2}", 0, DENSE},
    {"distillkit", "distillkit_jsd_dense_T1", "{type: jsd}", 0, DENSE},
    {"distillkit", "distillkit_jsd_dense_T2", "{type: jsd, temperature: 2}", 0, DENSE},
    {"distillkit", "distillkit_tvd_dense_T1", "{type: tvd}", 0, DENSE},
    {"distillkit", "distillkit_tvd_dense_T2", "{type: tvd, temperature: 2, t_squared: on}", 0, DENSE},
    {"distillkit", "distillkit_kl_topk8_logprobs_symuniform_T1", "{type: forward_kl}", 0, TOPK},
    {"distillkit", "distillkit_jsd_topk8_logprobs_symuniform_T1", "{type: jsd}", 0, TOPK},
    {"distillkit", "distillkit_tvd_topk8_logprobs_symuniform_T1", "{type: tvd}", 0, TOPK},
    {"distillkit", "distillkit_hinge_margin0.1", "{type: rank_hinge, rank_hinge.margin: 0.1}", 0, TOPK},
    {"distillkit", "distillkit_hinge_marginNone", "{type: rank_hinge}", 0, TOPK},
    {"distillkit", "distillkit_hinge_marginNone", "{type: rank_hinge}", 0, DENSE},
    {"distillkit", "distillkit_logistic_ranking", "{type: rank_logistic}", 0, TOPK},
    {"distillkit", "distillkit_logistic_ranking", "{type: rank_logistic}", 0, DENSE},
    {"distillm", "distillm_forward_kl_T1", "{type: forward_kl}", 1, DENSE},
    {"distillm", "distillm_forward_kl_T2", "{type: forward_kl, " T2 "}", 1, DENSE},
    {"distillm", "distillm_reverse_kl_T2", "{type: reverse_kl, " T2 "}", 0, DENSE},
    {"distillm", "distillm_symmetric_kl_lam0.1_T1", "{type: symmetric_kl, symmetric_kl.reverse_weight: 0.1}", 0.9,
     DENSE},
    {"distillm", "distillm_symmetric_kl_lam0.5_T1", "{type: symmetric_kl}", 0.5, DENSE},
    {"distillm", "distillm_symmetric_kl_lam0.9_T2", "{type: symmetric_kl, symmetric_kl.reverse_weight: 0.9, " T2 "}",
     0.1, DENSE},
    {"distillm", "distillm_js_distance_lam0.1_T1", "{type: jsd, jsd.teacher_weight: 0.9}", 0, DENSE},
    {"distillm", "distillm_tv_distance_T1", "{type: tvd}", 0, DENSE},
    {"distillm", "distillm_tv_distance_T2", "{type: tvd, temperature: 2}", 0, DENSE},
    {"distillm", "distillm_skewed_forward_kl_lam0.1_T1", "{type: skew_forward_kl}", 1, DENSE},
    {"distillm", "distillm_skewed_forward_kl_lam0.5_T2", "{type: skew_forward_kl, skew.lambda: 0.5, " T2 "}", 1, DENSE},
    {"distillm", "distillm_skewed_forward_kl_lam0.9_T1", "{type: skew_forward_kl, skew.lambda: 0.9}", 1, DENSE},
    {"distillm", "distillm_skewed_reverse_kl_lam0.1_T1", "{type: skew_reverse_kl}", 0, DENSE},
    {"distillm", "distillm_skewed_reverse_kl_lam0.5_T2", "{type: skew_reverse_kl, skew.lambda: 0.5, " T2 "}", 0, DENSE},
    {"distillm", "distillm_skewed_reverse_kl_lam0.9_T1", "{type: skew_reverse_kl, skew.lambda: 0.9}", 0, DENSE},
    {"liger", "liger_ce_smooth0.1_z0.0001_mean",
     "{type: cross_entropy, cross_entropy: {label_smoothing: 0.1, z_loss: 1e-4}}", 0, DENSE},
    {"liger", "liger_ce_smooth0.1_z0_mean", "{type: cross_entropy, cross_entropy.label_smoothing: 0.1}", 0, DENSE},
    {"liger", "liger_ce_smooth0_z0.0001_mean", "{type: cross_entropy, cross_entropy.z_loss: 1e-4}", 0, DENSE},
    {"liger", "liger_chunked_jsd_hard0.5_soft0.5_beta0.1_T2",
     "{type: jsd, jsd.teacher_weight: 0.1, hard_label_weight: 0.5, " T2 "}", 0, DENSE},
    {"liger", "liger_chunked_jsd_hard0.5_soft0.5_beta1_T1", "{type: reverse_kl, hard_label_weight: 0.5}", 0, DENSE},
    {"lmops_minillm", "lmops_kd_T1", "{type: forward_kl}", 1, DENSE},
    {"lmops_minillm", "lmops_single_step_reg", "{type: reverse_kl}", 0, DENSE},
};

static float student[ROWS * VOCAB], teacher[ROWS * VOCAB], got[ROWS * VOCAB], log_p[ROWS * K];
static int32_t labels[ROWS], ids[ROWS * K];

/* Mean over the rows that count, at a temperature. */
static double teacher_entropy(double temperature)
{
    double sum = 0, count = 0;
    for (int r = 0; r < ROWS; r++) {
        double z[VOCAB], lp[VOCAB];
        for (int v = 0; v < VOCAB; v++) z[v] = (double)teacher[r * VOCAB + v];
        softmax64(z, VOCAB, temperature, lp);
        for (int v = 0; labels[r] >= 0 && v < VOCAB; v++) sum -= exp(lp[v]) * lp[v];
        count += labels[r] >= 0;
    }
    return sum / count;
}

static void read_inputs(void)
{
    npz_file inputs;
    REQUIRE(npz_open(test_path(test_assets(), "oracle/losses/inputs.npz"), &inputs));
    npz_array z = npz_get(&inputs, "student_logits"), p = npz_get(&inputs, "teacher_logits"),
              y = npz_get(&inputs, "labels"), i = npz_get(&inputs, "teacher_topk_ids"),
              l = npz_get(&inputs, "teacher_topk_logprobs");
    for (int k = 0; k < ROWS * VOCAB; k++) {
        student[k] = (float)z.values[k];
        teacher[k] = (float)p.values[k];
    }
    for (int k = 0; k < ROWS * K; k++) {
        ids[k] = (int32_t)i.values[k];
        log_p[k] = (float)l.values[k];
    }
    for (int k = 0; k < ROWS; k++) labels[k] = (int32_t)y.values[k];
    free(z.values), free(p.values), free(y.values), free(i.values), free(l.values);
    npz_close(&inputs);
}

static void set_oracle(dense_call *c, int kind, distill_tensor tensors[2], int64_t shape[2])
{
    set_dense(c, student, ROWS, VOCAB, teacher, VOCAB);
    with_labels(c, labels);
    with_gradient(c, got);
    if (kind == DENSE) return;
    shape[0] = ROWS;
    shape[1] = K;
    tensors[0] = di_tensor_of(log_p, DISTILL_FLOAT, 32, 2, shape);
    tensors[1] = di_tensor_of(ids, DISTILL_INT, 32, 2, shape);
    c->teacher.kind = DISTILL_TOPK;
    c->teacher.values = &tensors[0];
    c->teacher.ids = &tensors[1];
}

static void check_oracle(fixture *f, const oracle *o)
{
    di_loss *loss = make_loss(f, NULL, o->yaml);
    distill_tensor tensors[2];
    int64_t shape[2];
    npz_file results;
    char path[128], key[128];
    double top = 0;
    dk_error err;
    dense_call c;
    snprintf(path, sizeof path, "oracle/losses/%s.npz", o->file);
    REQUIRE(npz_open(test_path(test_assets(), path), &results));
    snprintf(key, sizeof key, "%s/value64", o->name);
    npz_array value = npz_get(&results, key);
    snprintf(key, sizeof key, "%s/grad", o->name);
    npz_array gradient = npz_get(&results, key);
    set_oracle(&c, o->kind, tensors, shape);
    CHECK_OK(di_loss_eval(f->backend, loss, &c.args, &err));
    const double want = value.values[0] - o->entropy * teacher_entropy(strstr(o->yaml, "temperature: 2") ? 2 : 1);
    if (!(fabs(c.args.sum / c.args.weight_sum - want) <= 2e-6 * (1 + fabs(want))))
        FAIL("%s, %s: %.8f, not %.8f", o->name, o->yaml, c.args.sum / c.args.weight_sum, want);
    for (int i = 0; i < ROWS * VOCAB; i++)
        top = test_worst(top, fabs((double)got[i] / c.args.weight_sum - gradient.values[i]));
    if (!(top <= 1e-6)) FAIL("%s, %s: gradient off by %.3g", o->name, o->yaml, top);
    free(value.values), free(gradient.values);
    npz_close(&results);
    di_loss_release(loss);
}

TEST(other_projects)
{
    fixture f;
    if (!test_assets()) SKIP("DISTILL_TEST_ASSETS is not set");
    read_inputs();
    open_fixture(&f);
    for (size_t i = 0; i < sizeof oracles / sizeof *oracles; i++) check_oracle(&f, &oracles[i]);
    close_fixture(&f);
}

/* Liger's cosine is a mean over all rows, masked ones too, beside a cross-entropy over the others. */
TEST(cosine_of_logits)
{
    static float hard[ROWS * VOCAB];
    double top = 0;
    npz_file results;
    fixture f;
    dense_call c;
    dk_error err;
    if (!test_assets()) SKIP("DISTILL_TEST_ASSETS is not set");
    read_inputs();
    REQUIRE(npz_open(test_path(test_assets(), "oracle/losses/liger.npz"), &results));
    npz_array value = npz_get(&results, "liger_chunked_cosine_hard0.5_soft0.5_T1/value64"),
              gradient = npz_get(&results, "liger_chunked_cosine_hard0.5_soft0.5_T1/grad");
    open_fixture(&f);
    di_loss *cosine = make_loss(&f, NULL, "{type: logit_cosine}"),
            *labelled = make_loss(&f, NULL, "{type: cross_entropy}");
    set_dense(&c, student, ROWS, VOCAB, NULL, 0);
    with_labels(&c, labels);
    with_gradient(&c, hard);
    CHECK_OK(di_loss_eval(f.backend, labelled, &c.args, &err));
    const double count = c.args.weight_sum, ce = c.args.sum / count;
    set_dense(&c, student, ROWS, VOCAB, teacher, VOCAB);
    with_gradient(&c, got);
    CHECK_OK(di_loss_eval(f.backend, cosine, &c.args, &err));
    CHECK_NEAR(0.5 * ce + 0.5 * c.args.sum / ROWS, value.values[0], 1e-5);
    for (int i = 0; i < ROWS * VOCAB; i++)
        top = test_worst(top, fabs(0.5 * (double)hard[i] / count + 0.5 * (double)got[i] / ROWS - gradient.values[i]));
    if (!(top <= 1e-6)) FAIL("gradient off by %.3g", top);
    free(value.values), free(gradient.values);
    npz_close(&results);
    di_loss_release(cosine);
    di_loss_release(labelled);
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(golden_values) TEST_CASE(other_projects) TEST_CASE(cosine_of_logits))
