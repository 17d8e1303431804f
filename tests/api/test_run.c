/* distill_trainer_run: what it leaves in the output folder, what it refuses, and the options that steer it. */
#include <unistd.h>

#include "small.h"

static const char *output_folder(const char *name)
{
    const char *path = small_text("%s/%s", small_folder, name);
    char command[2200];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    return system(command) ? NULL : path;
}

static int count_lines(const char *text, const char *part)
{
    int count = 0;
    for (const char *at = text; at && *at;) {
        const char *end = strchr(at, '\n'), *hit = strstr(at, part);
        if (hit && (!end || hit < end)) count++;
        at = end ? end + 1 : NULL;
    }
    return count;
}

static int32_t count_evaluations(void *user, const distill_progress *p)
{
    if (p->phase == DISTILL_PHASE_EVALUATING && p->total > 0 && p->done == 0) ++*(int *)user;
    return DISTILL_CB_OK;
}

/* The step of each {"step":N ... "loss":X line. */
static int losses_of(const char *text, double *loss, int cap)
{
    int count = 0;
    for (const char *at = text; at && *at && count < cap;) {
        const char *end = strchr(at, '\n'), *hit = strstr(at, "\"loss\":");
        if (hit && (!end || hit < end)) loss[count++] = atof(hit + 7);
        at = end ? end + 1 : NULL;
    }
    return count;
}

static double report_number(const distill_report *report, const char *key)
{
    double value = NAN;
    distill_error err;
    CHECK_OK(distill_report_get_f64(report, key, &value, &err));
    return value;
}

TEST(output)
{
    static const char *const files[] = {"config.json", "model.safetensors", "result.json", "metrics.jsonl"};
    small s;
    distill_error err;
    distill_report *report = NULL;
    distill_student *saved = NULL;
    double losses[200], value;
    char out[600];
    REQUIRE(small_models("run_output"));
    snprintf(out, sizeof out, "%s", output_folder("out"));
    REQUIRE_OK(small_open(&s, small_text("output: '%s'\ntrain: {steps: 150, learning_rate: 0.02}\n", out), &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (!small_exists(test_path(out, files[i]))) FAIL("no %s", files[i]);
    CHECK(!small_exists(test_path(out, "student.tmp")));
    CHECK(!small_exists(test_path(out, ".probe")));
    char *metrics = small_read(test_path(out, "metrics.jsonl"), NULL);
    CHECK_INT(losses_of(metrics, losses, 200), 150);
    CHECK(losses[149] < 0.8 * losses[0]);
    CHECK_HAS(metrics, "{\"step\":1,");
    CHECK_HAS(metrics, "{\"step\":150,");
    free(metrics);
    REQUIRE_OK(distill_trainer_report(s.trainer, &report, &err));
    CHECK_NEAR(report_number(report, "training.steps"), 150, 0);
    CHECK_NEAR(report_number(report, "training.tokens"), 150 * 4 * SMALL_LENGTH, 0);
    CHECK_NEAR(report_number(report, "training.samples"), SMALL_SEQUENCES, 0);
    CHECK_NEAR(report_number(report, "training.last_loss"), losses[149], 1e-9);
    CHECK_NEAR(report_number(report, "teacher.forward_kl"), 0, 0);
    CHECK_NEAR(report_number(report, "student.perplexity"), exp(report_number(report, "student.nats")),
               1e-9 * report_number(report, "student.perplexity"));
    CHECK(report_number(report, "student.forward_kl") > 0);
    CHECK(report_number(report, "student.forward_kl_p99") >= report_number(report, "student.forward_kl_median"));
    CHECK(report_number(report, "student.top1_agreement") >= 0 && report_number(report, "student.top1_agreement") <= 1);
    CHECK(report_number(report, "teacher.perplexity") > 1);
    CHECK_NEAR(report_number(report, "eval.tokens"), SMALL_EVAL * (SMALL_LENGTH - 1), 0);
    CHECK_INT(distill_report_get_f64(report, "student.nothing", &value, &err), DISTILL_E_NOT_FOUND);
    CHECK_HAS(err.message, "student.nothing");
    size_t needed = 0, size = 0;
    CHECK_OK(distill_report_json(report, NULL, 0, &needed, &err));
    char *json = malloc(needed), *file = small_read(test_path(out, "result.json"), &size);
    CHECK_INT(distill_report_json(report, json, needed - 1, NULL, &err), DISTILL_E_BUFFER);
    CHECK_OK(distill_report_json(report, json, needed, NULL, &err));
    CHECK_STR(json, file);
    free(json);
    free(file);
    distill_report_free(report);
    REQUIRE_OK(distill_student_open(s.env, out, NULL, &saved, &err));
    CHECK(small_same_bits(saved, s.student));
    distill_student_free(saved);
    CHECK_INT(distill_trainer_run(s.trainer, &err), DISTILL_E_END);
    small_close(&s);
}

/* The report measures what distill_evaluate measures. */
TEST(report_is_evaluate)
{
    static const char *const keys[] = {"perplexity", "forward_kl", "forward_kl_median", "forward_kl_p99",
                                       "top1_agreement"};
    small s;
    distill_error err;
    distill_report *report = NULL, *direct = NULL;
    REQUIRE(small_models("run_output"));
    REQUIRE_OK(small_open(&s, "train: {steps: 4}\n", &err));
    REQUIRE_OK(distill_trainer_run(s.trainer, &err));
    REQUIRE_OK(distill_trainer_report(s.trainer, &report, &err));
    REQUIRE_OK(distill_evaluate(s.student, s.teacher, s.eval, s.options, &direct, &err));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        CHECK_NEAR(report_number(report, small_text("student.%s", keys[i])), report_number(direct, keys[i]),
                   1e-6 * report_number(direct, keys[i]));
    CHECK_NEAR(report_number(report, "teacher.perplexity"), report_number(direct, "teacher_perplexity"),
               1e-6 * report_number(direct, "teacher_perplexity"));
    distill_report_free(direct);
    distill_report_free(report);
    small_close(&s);
}

TEST(occupied_output)
{
    small s;
    distill_error err;
    char out[600];
    REQUIRE(small_models("run_output"));
    snprintf(out, sizeof out, "%s", output_folder("occupied"));
    for (int i = 0; i < 3; i++) {
        REQUIRE_OK(small_open(&s,
                              small_text("output: {path: '%s', overwrite: %s}\ntrain: {steps: 2, seed: %d}\n", out,
                                         i == 2 ? "true" : "false", i + 1),
                              &err));
        int32_t rc = distill_trainer_run(s.trainer, &err);
        if (i == 1) {
            CHECK_INT(rc, DISTILL_E_INVALID);
            CHECK_HAS(err.message, out);
            CHECK_HAS(err.message, "output.overwrite");
            CHECK_HAS(err.message, "resume");
        } else if (rc) {
            FAIL("run %d: %d %s", i, rc, err.message);
        }
        small_close(&s);
    }
    char *metrics = small_read(test_path(out, "metrics.jsonl"), NULL),
         *result = small_read(test_path(out, "result.json"), NULL);
    CHECK_INT(count_lines(metrics, "\"loss\""), 2);
    CHECK_HAS(result, "\"seed\":3");
    free(metrics);
    free(result);
}

TEST(paths)
{
    static const char *const missing[] = {"none", "none.json", "none.txt"};
    small s;
    distill_error err;
    distill_trainer *trainer = NULL;
    REQUIRE(small_models("run_output"));
    for (size_t i = 0; i < sizeof missing / sizeof *missing; i++) {
        char yaml[900];
        int n = snprintf(yaml, sizeof yaml, i == 0 ? "teacher: '%s/none'\n" : "teacher: '%s/teacher'\n", small_folder);
        n += snprintf(yaml + n, sizeof yaml - (size_t)n,
                      i == 1 ? "student: {config: '%s/none.json'}\n" : "student: {config: '%s/student.json'}\n",
                      small_folder);
        snprintf(yaml + n, sizeof yaml - (size_t)n, "data: {train: '%s/none.txt'}\n", small_folder);
        REQUIRE_OK(small_parts(&s, NULL, yaml, &err));
        int32_t rc = distill_trainer_create(s.env, i == 0 ? NULL : s.teacher, i == 1 ? NULL : s.student,
                                            i == 2 ? NULL : s.train, NULL, s.options, &trainer, &err);
        if (rc != DISTILL_E_NOT_FOUND && rc != DISTILL_E_IO) FAIL("%s: %d %s", missing[i], rc, err.message);
        CHECK_HAS(err.message, missing[i]);
        CHECK(!trainer);
        small_close(&s);
    }
}

TEST(read_only_output)
{
    small s;
    distill_error err;
    char out[600];
    REQUIRE(small_models("run_output"));
    snprintf(out, sizeof out, "%s", output_folder("locked"));
    REQUIRE(mkdir(out, 0500) == 0);
    if (access(out, W_OK) == 0) snprintf(out, sizeof out, "/proc/locked"); /* root writes everywhere else */
    REQUIRE_OK(small_open(&s, small_text("output: '%s'\n", out), &err));
    int32_t rc = distill_trainer_run(s.trainer, &err);
    if (rc != DISTILL_E_IO && rc != DISTILL_E_NOT_FOUND) FAIL("%d %s", rc, err.message);
    CHECK_HAS(err.message, out);
    small_close(&s);
    snprintf(out, sizeof out, "%s/student.json/below", small_folder);
    REQUIRE_OK(small_open(&s, small_text("output: '%s'\n", out), &err));
    CHECK(distill_trainer_run(s.trainer, &err) != DISTILL_OK);
    CHECK_HAS(err.message, "student.json");
    small_close(&s);
}

TEST(evaluations)
{
    small s;
    distill_error err;
    char out[600];
    REQUIRE(small_models("run_output"));
    snprintf(out, sizeof out, "%s", output_folder("evaluations"));
    REQUIRE_OK(small_open(&s, small_text("output: '%s'\ntrain: {steps: 7, eval_every: 2, log_every: 3}\n", out), &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    char *metrics = small_read(test_path(out, "metrics.jsonl"), NULL);
    CHECK_INT(count_lines(metrics, "\"eval\""), 3);
    CHECK_HAS(metrics, "{\"step\":2,\"eval\":");
    CHECK_HAS(metrics, "{\"step\":6,\"eval\":");
    CHECK_INT(count_lines(metrics, "\"loss\""), 4); /* 1, 3, 6, 7 */
    free(metrics);
    small_close(&s);
}

/* An evaluation that is due after the last step is that of the saved files, made once. */
TEST(last_evaluation)
{
    small s;
    distill_error err;
    char out[600];
    double value = 0;
    distill_report *report = NULL;
    REQUIRE(small_models("run_output"));
    snprintf(out, sizeof out, "%s", output_folder("last_evaluation"));
    REQUIRE_OK(small_open(&s, small_text("output: '%s'\ntrain: {steps: 6, eval_every: 3}\n", out), &err));
    int evaluations = 0;
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, count_evaluations, &evaluations, NULL, &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    CHECK_INT(evaluations, 2);
    char *metrics = small_read(test_path(out, "metrics.jsonl"), NULL);
    CHECK_INT(count_lines(metrics, "\"eval\""), 2);
    CHECK_HAS(metrics, "{\"step\":6,\"eval\":");
    free(metrics);
    REQUIRE_OK(distill_trainer_report(s.trainer, &report, &err));
    CHECK_NEAR(report_number(report, "training.best_step"), 6, 0);
    CHECK_OK(distill_report_get_f64(report, "finished", &value, &err));
    CHECK_NEAR(value, 1, 0);
    distill_report_free(report);
    small_close(&s);
}

/* What the last evaluation would stumble over is said before the first step. */
TEST(held_out_at_create)
{
    small s;
    distill_error err;
    distill_options *longer = NULL;
    distill_batch batch;
    int32_t ids[80];
    int64_t offsets[2] = {0, 80};
    REQUIRE(small_models("run_output"));
    REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
    REQUIRE_OK(distill_options_create(s.env, &longer, &err));
    REQUIRE_OK(distill_options_set(longer, "data.sequence_length", "80", &err));
    small_ids(ids, 80, 3);
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = 1;
    distill_dataset_free(s.eval);
    s.eval = NULL;
    REQUIRE_OK(distill_dataset_from_tokens(s.env, &batch, longer, &s.eval, &err));
    int32_t rc = distill_trainer_create(s.env, s.teacher, s.student, s.train, s.eval, s.options, &s.trainer, &err);
    CHECK_INT(rc, DISTILL_E_MISMATCH);
    CHECK_HAS(err.message, "80 tokens");
    CHECK_HAS(err.message, "context is 64");
    CHECK_HAS(err.message, "data.sequence_length");
    distill_options_free(longer);
    small_close(&s);
}

/* With a huge learning rate training gets worse again; the best evaluation is what stays. */
TEST(keep_best_and_patience)
{
    small s;
    distill_error err;
    char out[600];
    distill_report *report = NULL;
    REQUIRE(small_models("run_output"));
    snprintf(out, sizeof out, "%s", output_folder("best"));
    REQUIRE_OK(small_open(
        &s,
        small_text(
            "output: '%s'\ntrain: {steps: 60, learning_rate: 1.5, schedule: constant, weight_decay: 0, eval_every: 1, "
            "keep_best: true, early_stop_patience: 3}\n",
            out),
        &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    REQUIRE_OK(distill_trainer_report(s.trainer, &report, &err));
    double step = report_number(report, "training.steps"), best_step = report_number(report, "training.best_step");
    CHECK(step < 60);
    CHECK_NEAR(step, best_step + 3, 0);
    double value = report_number(report, "training.best_value");
    CHECK_NEAR(report_number(report, "student.forward_kl"), value, 1e-5 * value);
    distill_report_free(report);
    small_close(&s);
}

static int32_t note_rate(void *user, const distill_progress *p)
{
    double *rates = user;
    if (p->phase == DISTILL_PHASE_TRAINING && p->step >= 1 && p->step <= 16) rates[p->step - 1] = p->learning_rate;
    return DISTILL_CB_OK;
}

static void run_rates(const char *schedule, double *rates)
{
    small s;
    distill_error err;
    REQUIRE_OK(
        small_open(&s, small_text("train: {steps: 8, warmup_steps: 2, learning_rate: 0.01, %s}\n", schedule), &err));
    CHECK_OK(distill_trainer_on_progress(s.trainer, note_rate, rates, NULL, &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    small_close(&s);
}

TEST(schedules)
{
    double r[16] = {0};
    REQUIRE(small_models("run_output"));
    run_rates("schedule: constant", r);
    for (int i = 2; i < 8; i++) CHECK_NEAR(r[i], 0.01, 1e-12);
    CHECK(r[0] < r[1] && r[1] <= 0.01);
    run_rates("schedule: linear", r);
    for (int i = 3; i < 8; i++) CHECK(r[i] < r[i - 1]);
    CHECK_NEAR(r[3] - r[4], r[5] - r[6], 1e-12);
    run_rates("schedule: cosine, min_learning_rate_ratio: 0.1", r);
    for (int i = 3; i < 8; i++) CHECK(r[i] < r[i - 1] && r[i] >= 0.001 - 1e-12);
    run_rates("schedule: wsd, decay_steps: 4", r);
    CHECK_NEAR(r[2], 0.01, 1e-12);
    CHECK_NEAR(r[3], 0.01, 1e-12);
    for (int i = 5; i < 8; i++) CHECK(r[i] < r[i - 1]);
    run_rates("schedule: inverse_sqrt", r);
    for (int i = 3; i < 8; i++) CHECK(r[i] < r[i - 1]);
}

TEST(epochs)
{
    small s;
    distill_error err;
    distill_progress p;
    int steps = 0, rc;
    REQUIRE(small_models("run_output"));
    memset(&s, 0, sizeof s);
    REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
    REQUIRE_OK(distill_options_set(s.options, "train.steps", NULL, &err));
    REQUIRE_OK(distill_options_set(s.options, "train.epochs", "1.5", &err));
    REQUIRE_OK(distill_trainer_create(s.env, s.teacher, s.student, s.train, NULL, s.options, &s.trainer, &err));
    DISTILL_INIT(&p);
    while ((rc = distill_trainer_step(s.trainer, &p, &err)) == DISTILL_OK && steps < 100) steps++;
    CHECK_INT(rc, DISTILL_E_END);
    CHECK_INT(steps, SMALL_SEQUENCES * 3 / 2 / 4);
    CHECK_INT(p.steps, steps);
    small_close(&s);
}

TEST(an_epoch_ends_with_a_smaller_batch)
{
    small s;
    distill_error err;
    distill_progress p;
    int32_t rc;
    char folder[600];
    REQUIRE(small_models("run_output"));
    snprintf(folder, sizeof folder, "%s", test_path(small_folder, "by_epoch"));
    memset(&s, 0, sizeof s);
    REQUIRE_OK(small_parts(&s, NULL, "train: {batch_size: 16}\n", &err));
    REQUIRE_OK(distill_options_set(s.options, "train.steps", NULL, &err));
    REQUIRE_OK(distill_options_set(s.options, "train.epochs", "2", &err));
    REQUIRE_OK(distill_trainer_create(s.env, s.teacher, s.student, s.train, NULL, s.options, &s.trainer, &err));
    DISTILL_INIT(&p);
    while ((rc = distill_trainer_step(s.trainer, &p, &err)) == DISTILL_OK)
        CHECK_INT(p.count, (p.step % 3 ? 16 : SMALL_SEQUENCES - 32) * (SMALL_LENGTH - 1));
    CHECK_INT(rc, DISTILL_E_END);
    CHECK_INT(p.steps, 6);
    CHECK_INT(p.tokens, 2 * SMALL_SEQUENCES * SMALL_LENGTH);
    REQUIRE_OK(distill_trainer_save(s.trainer, folder, &err));
    distill_trainer_free(s.trainer);
    s.trainer = NULL;
    REQUIRE_OK(distill_options_set(s.options, "train.steps", "6", &err));
    REQUIRE_OK(distill_trainer_create(s.env, s.teacher, s.student, s.train, NULL, s.options, &s.trainer, &err));
    CHECK_INT(distill_trainer_load(s.trainer, folder, &err), DISTILL_E_MISMATCH);
    CHECK_HAS(err.message, "was made with its length as train.epochs, now it is train.steps");
    small_close(&s);
}

static int frozen(const char *name) { return strstr(name, "embed_tokens") || strstr(name, "layers.0."); }

TEST(freeze)
{
    small s, fresh;
    distill_error err;
    const char *name;
    int kept = 0, moved = 0;
    REQUIRE(small_models("run_output"));
    const char *yaml = "student: {freeze: ['*embed_tokens*', '*layers.0.*']}\n";
    REQUIRE_OK(small_open(&s, yaml, &err));
    REQUIRE_OK(small_parts(&fresh, NULL, yaml, &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    for (int64_t i = 0; (name = distill_student_parameter_name(s.student, i)); i++) {
        distill_tensor a, b, g;
        REQUIRE_OK(distill_student_parameter(s.student, name, DISTILL_WEIGHT, &a, &err));
        REQUIRE_OK(distill_student_parameter(fresh.student, name, DISTILL_WEIGHT, &b, &err));
        int same = !memcmp(a.data, b.data, sizeof(float) * (size_t)small_elements(&a));
        if (same != !!frozen(name)) FAIL("%s %s", name, same ? "did not move" : "moved");
        kept += same;
        moved += !same;
        CHECK_INT(distill_student_parameter(s.student, name, DISTILL_GRADIENT, &g, &err),
                  frozen(name) ? DISTILL_E_NOT_FOUND : DISTILL_OK);
    }
    CHECK(kept > 5 && moved > 5);
    small_close(&fresh);
    small_close(&s);
}

/* Teacher and student from the recipe's paths, which are relative to it. */
TEST(recipe)
{
    small s = {0};
    distill_error err;
    char out[600];
    REQUIRE(small_models("run_output"));
    snprintf(out, sizeof out, "%s", output_folder("recipe_out"));
    REQUIRE(small_write(
        test_path(small_folder, "recipe.yaml"),
        "teacher: teacher\nstudent: {from: teacher, layers: [0, 2]}\ndata: {sequence_length: 17, pack: false}\n"
        "train: {steps: 3, batch_size: 2}\noutput: recipe_out\n"));
    REQUIRE_OK(distill_env_create(NULL, &s.env, &err));
    REQUIRE_OK(distill_options_create(s.env, &s.options, &err));
    REQUIRE_OK(distill_options_load(s.options, test_path(small_folder, "recipe.yaml"), &err));
    REQUIRE_OK(small_dataset_seeded(&s, SMALL_SEQUENCES, 1, &s.train, &err));
    REQUIRE_OK(distill_trainer_create(s.env, NULL, NULL, s.train, NULL, s.options, &s.trainer, &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    CHECK(small_exists(test_path(out, "result.json")));
    char *config = small_read(test_path(out, "config.json"), NULL);
    CHECK_HAS(config, "\"num_hidden_layers\"");
    free(config);
    small_close(&s);
}

TEST_MAIN(TEST_CASE(output) TEST_CASE(report_is_evaluate) TEST_CASE(occupied_output) TEST_CASE(paths)
              TEST_CASE(read_only_output) TEST_CASE(evaluations) TEST_CASE(last_evaluation)
                  TEST_CASE(held_out_at_create) TEST_CASE(keep_best_and_patience) TEST_CASE(schedules) TEST_CASE(epochs)
                      TEST_CASE(an_epoch_ends_with_a_smaller_batch) TEST_CASE(freeze) TEST_CASE(recipe))
