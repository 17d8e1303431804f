/* Ten optimiser steps through the public header against stored runs of torch: losses, gradient norms, final
 * parameters. */
#include "distill.h"
#include "npz.h"
#include "test.h"

typedef struct oracle {
    const char *name, *student, *teacher;
    const char *loss; /* options */
} oracle;

static const oracle runs[] = {
    {"train_ce_llama", "llama", NULL, "loss: {type: cross_entropy}"},
    {"train_ce_qwen3", "qwen3", NULL, "loss: {type: cross_entropy}"},
    {"distill_gkd_llama_to_llama3tied", "llama3_rope_tied", "llama",
     "loss: {type: gkd, temperature: 2, t_squared: off}"},
    {"distill_hinton_llama_to_llama3tied", "llama3_rope_tied", "llama",
     "loss: {type: forward_kl, temperature: 2, hard_label_weight: 0.5}"},
};

/* TRL's generalised JSD at beta 0.5, as a host's loss: M = (p + q)/2, value (KL(p||M) + KL(q||M))/2, d/dlog q = q
 * log(q/M)/2. */
static int32_t generalised_jsd(void *user, const distill_loss_rows *rows)
{
    (void)user;
    for (int64_t i = 0; i < rows->rows * rows->vocab; i++) {
        double log_q = (double)rows->student[i], log_p = (double)rows->teacher[i], p = exp(log_p), q = exp(log_q),
               log_m = log(0.5 * (p + q));
        rows->value[i / rows->vocab] += 0.5 * p * (log_p - log_m) + 0.5 * q * (log_q - log_m);
        if (rows->gradient) rows->gradient[i] = (float)(0.5 * q * (log_q - log_m));
    }
    return DISTILL_CB_OK;
}

static int32_t add_gkd(distill_env *env, distill_error *err)
{
    distill_loss_callbacks table;
    DISTILL_INIT(&table);
    table.flags = DISTILL_LOSS_LOG_PROBS | DISTILL_LOSS_MT;
    table.eval = generalised_jsd;
    table.targets = 1 << DISTILL_DENSE | 1 << DISTILL_HIDDEN;
    return distill_env_add_loss(env, "gkd", &table, err);
}

typedef struct data {
    int32_t *ids;
    int64_t *offsets, *rows;
    int64_t sequences, row_count;
} data;

static void load_data(const npz_file *file, data *d)
{
    npz_array ids = npz_get(file, "input_ids"), labels = npz_get(file, "labels");
    int64_t width = ids.shape[2];
    d->sequences = ids.shape[0] * ids.shape[1];
    d->ids = malloc(sizeof *d->ids * (size_t)ids.count);
    d->rows = malloc(sizeof *d->rows * (size_t)ids.count);
    d->offsets = malloc(sizeof *d->offsets * (size_t)(d->sequences + 1));
    d->row_count = 0;
    for (int64_t i = 0; i < ids.count; i++) {
        d->ids[i] = (int32_t)ids.values[i];
        if (i % width + 1 < width && labels.values[i + 1] >= 0) d->rows[d->row_count++] = i;
    }
    for (int64_t s = 0; s <= d->sequences; s++) d->offsets[s] = s * width;
    free(ids.values);
    free(labels.values);
}

static void check_parameters(const npz_file *file, distill_student *student, const char *name)
{
    distill_error err;
    const char *parameter;
    for (int64_t i = 0; (parameter = distill_student_parameter_name(student, i)); i++) {
        char key[300];
        distill_tensor t;
        double worst = 0;
        snprintf(key, sizeof key, "final/%s", parameter);
        npz_array want = npz_get(file, key);
        CHECK_OK(distill_student_parameter(student, parameter, DISTILL_WEIGHT, &t, &err));
        if (!want.values) {
            FAIL("%s: no %s", name, key);
            continue;
        }
        for (int64_t k = 0; k < want.count; k++)
            worst = test_worst(worst, fabs((double)((const float *)t.data)[k] - want.values[k]));
        if (!(worst <= 5e-6)) FAIL("%s: %s is off by %g", name, parameter, worst);
        free(want.values);
    }
}

static void check_run(const oracle *o, int micro_batch)
{
    char path[700], options_text[700];
    const char *assets = test_assets();
    npz_file file;
    data d;
    distill_error err;
    distill_env *env = NULL;
    distill_options *options = NULL;
    distill_teacher *teacher = NULL;
    distill_student *student = NULL;
    distill_dataset *dataset = NULL;
    distill_trainer *trainer = NULL;
    distill_batch tokens;
    snprintf(path, sizeof path, "%s/oracle/optim/%s.npz", assets, o->name);
    REQUIRE(npz_open(path, &file));
    load_data(&file, &d);
    REQUIRE_OK(distill_env_create(NULL, &env, &err));
    REQUIRE_OK(add_gkd(env, &err));
    REQUIRE_OK(distill_options_create(env, &options, &err));
    snprintf(options_text, sizeof options_text,
             "%s\ndata: {sequence_length: 17, pack: false, shuffle: false}\ntrain: {steps: 10, batch_size: 4, "
             "micro_batch_size: %d, learning_rate: 1e-3, schedule: cosine, "
             "warmup_steps: 2, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1, clip_norm: 1.0}\n",
             o->loss, micro_batch);
    REQUIRE_OK(distill_options_parse(options, options_text, strlen(options_text), "test", &err));
    snprintf(path, sizeof path, "%s/oracle/models/%s", assets, o->student);
    REQUIRE_OK(distill_student_open(env, path, options, &student, &err));
    if (o->teacher) {
        snprintf(path, sizeof path, "%s/oracle/models/%s", assets, o->teacher);
        REQUIRE_OK(distill_teacher_open(env, path, options, &teacher, &err));
    }
    DISTILL_INIT(&tokens);
    tokens.ids = d.ids;
    tokens.offsets = d.offsets;
    tokens.rows = d.rows;
    tokens.sequences = d.sequences;
    tokens.row_count = d.row_count;
    REQUIRE_OK(distill_dataset_from_tokens(env, &tokens, options, &dataset, &err));
    REQUIRE_OK(distill_trainer_create(env, teacher, student, dataset, NULL, options, &trainer, &err));
    npz_array losses = npz_get(&file, "loss"), norms = npz_get(&file, "grad_norm_before_clip"),
              rates = npz_get(&file, "lr");
    for (int64_t step = 0; step < losses.count; step++) {
        distill_progress p;
        DISTILL_INIT(&p);
        REQUIRE_OK(distill_trainer_step(trainer, &p, &err));
        CHECK_NEAR(p.loss, losses.values[step], 2e-5);
        CHECK_NEAR(p.grad_norm, norms.values[step], 2e-5 * norms.values[step] + 1e-6);
        CHECK_NEAR(p.learning_rate, rates.values[step], 1e-12);
    }
    CHECK_INT(distill_trainer_step(trainer, NULL, &err), DISTILL_E_END);
    check_parameters(&file, student, o->name);
    free(losses.values);
    free(norms.values);
    free(rates.values);
    npz_close(&file);
    free(d.ids);
    free(d.rows);
    free(d.offsets);
    distill_trainer_free(trainer);
    distill_dataset_free(dataset);
    distill_student_free(student);
    distill_teacher_free(teacher);
    distill_options_free(options);
    distill_env_free(env);
}

TEST(runs)
{
    if (!test_assets()) SKIP("DISTILL_TEST_ASSETS is not set");
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) check_run(&runs[i], 4);
}

/* One exact division per window: micro-batches change nothing but rounding. */
TEST(micro_batches)
{
    if (!test_assets()) SKIP("DISTILL_TEST_ASSETS is not set");
    check_run(&runs[3], 1);
    check_run(&runs[3], 3);
}

TEST_MAIN(TEST_CASE(runs) TEST_CASE(micro_batches))
