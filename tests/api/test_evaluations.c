/* What the evaluations of a run say and what its loss's terms do: a teacher that is the student, a teacher that brings
 * a temperature, weights of terms that change while it runs. */
#include "small.h"

static double number_at(const distill_report *report, const char *key)
{
    double value = -1;
    distill_error err;
    CHECK_OK(distill_report_get_f64(report, key, &value, &err));
    return value;
}

static const char *fresh_folder(const char *name)
{
    const char *path = small_text("%s/%s", small_folder, name);
    char command[2200];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    return system(command) ? NULL : path;
}

/* The student teaches itself: it is the same model at every evaluation, not what it was at the first. */
TEST(own_teacher)
{
    small s;
    distill_error err;
    char out[600];
    REQUIRE(small_models("evaluations"));
    snprintf(out, sizeof out, "%s", fresh_folder("own"));
    REQUIRE_OK(small_parts(
        &s, NULL, small_text("output: '%s'\ntrain: {eval_every: 2}\nloss: {hard_label_weight: 0.5}\n", out), &err));
    distill_teacher_free(s.teacher);
    s.teacher = NULL;
    REQUIRE_OK(distill_teacher_from_student(s.student, &s.teacher, &err));
    REQUIRE_OK(distill_trainer_create(s.env, s.teacher, s.student, s.train, s.eval, s.options, &s.trainer, &err));
    REQUIRE_OK(distill_trainer_run(s.trainer, &err));
    char *metrics = small_read(test_path(out, "metrics.jsonl"), NULL), *at = metrics;
    int evaluations = 0;
    REQUIRE(metrics);
    while ((at = strstr(at, "\"forward_kl\":"))) {
        CHECK_NEAR(atof(at + strlen("\"forward_kl\":")), 0, 0);
        evaluations++;
        at++;
    }
    CHECK_INT(evaluations, 3);
    free(metrics);
    small_close(&s);
}

/* ---- terms ---- */

TEST(terms_of_a_run)
{
    small s;
    distill_error err;
    distill_report *report = NULL;
    distill_progress p;
    char out[600];
    REQUIRE(small_models("evaluations"));
    snprintf(out, sizeof out, "%s", fresh_folder("terms"));
    REQUIRE_OK(small_open(&s,
                          small_text("output: '%s'\nloss: [{type: forward_kl, temperature: 2, weight: 0.75}, "
                                     "{type: cross_entropy, weight: 0.5}]\n",
                                     out),
                          &err));
    REQUIRE_OK(distill_trainer_run(s.trainer, &err));
    char *metrics = small_read(test_path(out, "metrics.jsonl"), NULL),
         *result = small_read(test_path(out, "result.json"), NULL);
    int lines = 0;
    for (char *line = strtok(metrics, "\n"); line; line = strtok(NULL, "\n")) {
        const char *loss = strstr(line, "\"loss\":"),
                   *kl = strstr(line, "\"loss\":\"forward_kl(T=2)\",\"weight\":0.75"),
                   *ce = strstr(line, "\"loss\":\"cross_entropy\",\"weight\":0.5");
        REQUIRE(loss && kl && ce);
        const double sum = 0.75 * atof(strstr(kl, "\"value\":") + 8) + 0.5 * atof(strstr(ce, "\"value\":") + 8);
        CHECK_NEAR(atof(loss + 7), sum, 1e-9 * sum);
        lines++;
    }
    CHECK_INT(lines, 6);
    REQUIRE(result);
    CHECK_HAS(result, "\"terms\":[{\"loss\":\"forward_kl(T=2)\",\"weight\":0.75,\"value\":");
    CHECK_HAS(result, "{\"loss\":\"cross_entropy\",\"weight\":0.5,\"value\":");
    DISTILL_INIT(&p);
    CHECK_OK(distill_trainer_report(s.trainer, &report, &err));
    CHECK_NEAR(number_at(report, "training.last_loss"),
               0.75 * number_at(report, "training.terms.0.value") + 0.5 * number_at(report, "training.terms.1.value"),
               1e-9);
    distill_report_free(report);
    free(metrics);
    free(result);
    small_close(&s);
}

static int32_t stop_at_three(void *user, const distill_progress *p)
{
    (void)user;
    return p->phase == DISTILL_PHASE_TRAINING && p->step == 3 ? DISTILL_CB_CANCEL : DISTILL_CB_OK;
}

/* With a teacher: another weight takes effect with the next window, and a run that goes on takes it as no change. */
TEST(live_weight_of_a_run_that_goes_on)
{
    small s;
    distill_error err;
    char out[600];
    const char *yaml = "output: '%s'\ntrain: {learning_rate: 0}\nloss: {type: forward_kl, hard_label_weight: %g}\n";
    REQUIRE(small_models("evaluations"));
    snprintf(out, sizeof out, "%s", fresh_folder("live"));
    REQUIRE_OK(small_open(&s, small_text(yaml, out, 0.25), &err));
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, stop_at_three, NULL, NULL, &err));
    CHECK_INT(distill_trainer_run(s.trainer, &err), DISTILL_E_CANCELLED);
    REQUIRE_OK(distill_options_set(s.options, "loss.hard_label_weight", "0.75", &err));
    REQUIRE_OK(distill_trainer_configure(s.trainer, s.options, &err));
    small_close(&s);
    REQUIRE_OK(small_open(&s, small_text(yaml, out, 0.75), &err));
    REQUIRE_OK(distill_trainer_resume(s.trainer, &err)); /* not another loss */
    REQUIRE_OK(distill_trainer_run(s.trainer, &err));
    char *metrics = small_read(test_path(out, "metrics.jsonl"), NULL);
    int line = 0;
    REQUIRE(metrics);
    for (char *at = strtok(metrics, "\n"); at; at = strtok(NULL, "\n"), line++) {
        CHECK_HAS(at, line < 3 ? "\"loss\":\"cross_entropy\",\"weight\":0.25"
                               : "\"loss\":\"cross_entropy\",\"weight\":0.75");
        CHECK_HAS(at, line < 3 ? "\"loss\":\"forward_kl\",\"weight\":0.75" : "\"loss\":\"forward_kl\",\"weight\":0.25");
    }
    CHECK_INT(line, 6);
    char *result = small_read(test_path(out, "result.json"), NULL);
    REQUIRE(result);
    CHECK_HAS(result, "loss.hard_label_weight"); /* said: old -> new */
    free(metrics);
    free(result);
    small_close(&s);
}

/* ---- a teacher whose logits carry a temperature ---- */

typedef struct tempered {
    distill_teacher *model;
    double temperature;
} tempered;

/* Logits of the local model, divided by the temperature. */
static int32_t tempered_score(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    static float all[SMALL_SEQUENCES * SMALL_LENGTH * SMALL_VOCAB];
    const tempered *t = user;
    const int64_t rows = batch->row_count, shape[2] = {rows, SMALL_VOCAB};
    distill_tensor values = {0};
    distill_target target;
    values.data = all;
    values.device_type = DISTILL_CPU;
    values.ndim = 2;
    values.dtype_code = DISTILL_FLOAT;
    values.dtype_bits = 32;
    values.dtype_lanes = 1;
    values.shape = shape;
    DISTILL_INIT(&target);
    target.kind = DISTILL_DENSE;
    target.values = &values;
    if (distill_teacher_score(t->model, batch, &target, NULL)) return -1;
    for (int64_t i = 0; i < count * SMALL_VOCAB; i++)
        ((float *)out->values->data)[i] = (float)((double)all[first * SMALL_VOCAB + i] / t->temperature);
    return DISTILL_CB_OK;
}

/* The same teacher, whether its logits were divided or not: evaluation undoes what the target carries. */
TEST(temperature_of_a_dense_teacher)
{
    static const int64_t width[2] = {1, SMALL_VOCAB};
    small s;
    distill_error err;
    distill_report *plain = NULL, *divided = NULL;
    distill_teacher *guest = NULL;
    distill_teacher_callbacks table;
    distill_tensor values = {.device_type = DISTILL_CPU,
                             .ndim = 2,
                             .dtype_code = DISTILL_FLOAT,
                             .dtype_bits = 32,
                             .dtype_lanes = 1,
                             .shape = width};
    static float none[SMALL_VOCAB];
    distill_target form;
    REQUIRE(small_models("evaluations"));
    REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
    tempered state = {s.teacher, 4};
    values.data = none;
    DISTILL_INIT(&form);
    form.kind = DISTILL_DENSE;
    form.values = &values;
    form.temperature = state.temperature;
    DISTILL_INIT(&table);
    table.user = &state;
    table.score = tempered_score;
    table.form = &form;
    REQUIRE_OK(distill_teacher_from_callbacks(s.env, &table, s.options, &guest, &err));
    REQUIRE_OK(distill_evaluate(s.student, s.teacher, s.eval, s.options, &plain, &err));
    REQUIRE_OK(distill_evaluate(s.student, guest, s.eval, s.options, &divided, &err));
    static const char *const keys[] = {"forward_kl",         "forward_kl_median", "forward_kl_p99",
                                       "teacher_perplexity", "top1_agreement",    "perplexity"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        CHECK_NEAR(number_at(divided, keys[i]), number_at(plain, keys[i]), 1e-5 * number_at(plain, keys[i]));
    CHECK(number_at(plain, "forward_kl") > 0.01);
    distill_report_free(plain);
    distill_report_free(divided);
    distill_teacher_free(guest);
    small_close(&s);
}

TEST_MAIN(TEST_CASE(own_teacher) TEST_CASE(terms_of_a_run) TEST_CASE(live_weight_of_a_run_that_goes_on)
              TEST_CASE(temperature_of_a_dense_teacher))
