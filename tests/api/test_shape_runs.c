/* A student cut from its teacher and distilled in the same recipe: the report has what each cut cost, the choice is in
 * the checkpoint, and a run that goes on ends with the bits of one that was not interrupted. */
#include "small.h"

#define SHAPED                                                                                               \
    "student: {from: teacher, layers: 'auto:2', heads: 2, intermediate_size: 40, calibration_tokens: 200}\n" \
    "train: {checkpoint_every: 2, checkpoint_minutes: 0}\n"

static char log_text[1 << 16];

static void keep_log(void *user, int32_t level, const char *source, const char *message)
{
    (void)user, (void)level, (void)source;
    if (strlen(log_text) + strlen(message) + 2 < sizeof log_text) strcat(strcat(log_text, message), "\n");
}

static int32_t open_run(small *s, const char *output, const char *more, distill_error *err)
{
    memset(s, 0, sizeof *s);
    log_text[0] = 0;
    int32_t rc = small_env(s, NULL, SHAPED, err);
    if (!rc) rc = distill_env_set_logger(s->env, DISTILL_LOG_INFO, keep_log, NULL, NULL, err);
    if (!rc && more) rc = distill_options_parse(s->options, more, strlen(more), "more", err);
    if (!rc) rc = distill_options_set_str(s->options, "output.path", output, err);
    if (!rc) rc = distill_teacher_open(s->env, test_path(small_folder, "teacher"), s->options, &s->teacher, err);
    if (!rc) rc = small_dataset_seeded(s, SMALL_SEQUENCES, 100, &s->train, err);
    if (!rc) rc = small_dataset_seeded(s, SMALL_EVAL, 900, &s->eval, err);
    if (!rc) rc = distill_trainer_create(s->env, s->teacher, NULL, s->train, s->eval, s->options, &s->trainer, err);
    return rc;
}

static int32_t stop_after_three(void *user, const distill_progress *p)
{
    (void)user;
    return p->step >= 3 && p->phase == DISTILL_PHASE_TRAINING ? DISTILL_CB_CANCEL : DISTILL_CB_OK;
}

static double number(small *s, const char *key)
{
    distill_report *report = NULL;
    distill_error err;
    double out = -1;
    CHECK_OK(distill_trainer_report(s->trainer, &report, &err));
    if (distill_report_get_f64(report, key, &out, &err)) FAIL("%s: %s", key, err.message);
    distill_report_free(report);
    return out;
}

TEST(distilled_and_resumed)
{
    small whole, part, again;
    distill_error err;
    distill_student *a = NULL, *b = NULL;
    if (!small_models("shape_runs")) return;
    REQUIRE_OK(open_run(&whole, test_path(small_folder, "whole"), NULL, &err));
    CHECK_HAS(log_text, "student.layers auto:2 by influence keeps blocks ");
    CHECK_HAS(log_text, "widths by importance: ");
    REQUIRE_OK(distill_trainer_run(whole.trainer, &err));
    CHECK(number(&whole, "shape.layers.parameters_before") > number(&whole, "shape.layers.parameters_after"));
    CHECK_NEAR(number(&whole, "shape.layers.parameters_after"), number(&whole, "shape.width.parameters_before"), 0);
    CHECK_NEAR(number(&whole, "shape.width.parameters_after"), number(&whole, "student.parameters"), 0);
    CHECK(number(&whole, "shape.layers.forward_kl") > 0);
    CHECK(number(&whole, "shape.width.perplexity_after") > 1);
    CHECK_NEAR(number(&whole, "shape.width.intermediate_size_after"), 40, 0);

    REQUIRE_OK(open_run(&part, test_path(small_folder, "part"), NULL, &err));
    CHECK_OK(distill_trainer_on_progress(part.trainer, stop_after_three, NULL, NULL, &err));
    CHECK_INT(distill_trainer_run(part.trainer, &err), DISTILL_E_CANCELLED);
    REQUIRE_OK(open_run(&again, test_path(small_folder, "part"), NULL, &err));
    CHECK_HAS(log_text, "the student's shape is that of the checkpoint: 2 blocks");
    CHECK(!strstr(log_text, "keeps blocks"));
    REQUIRE_OK(distill_trainer_resume(again.trainer, &err));
    REQUIRE_OK(distill_trainer_run(again.trainer, &err));
    CHECK_NEAR(number(&again, "shape.layers.forward_kl"), number(&whole, "shape.layers.forward_kl"), 0);
    CHECK_OK(distill_trainer_student(whole.trainer, &a, &err));
    CHECK_OK(distill_trainer_student(again.trainer, &b, &err));
    CHECK(small_same_bits(a, b));
    distill_student_free(a);
    distill_student_free(b);
    small_close(&whole);
    small_close(&part);
    small_close(&again);
}

/* What would be another student is not gone on with. */
TEST(another_shape_is_refused)
{
    small s;
    distill_error err;
    if (!small_models("shape_runs")) return;
    REQUIRE_OK(open_run(&s, test_path(small_folder, "other"), "train: {steps: 2, checkpoint_every: 1}", &err));
    REQUIRE_OK(distill_trainer_run(s.trainer, &err));
    small_close(&s);
    REQUIRE_OK(open_run(&s, test_path(small_folder, "other"), "student: {heads: 4}", &err));
    CHECK_INT(distill_trainer_resume(s.trainer, &err), DISTILL_E_MISMATCH);
    CHECK_HAS(err.message, "it is a checkpoint of another student");
    small_close(&s);
    REQUIRE_OK(open_run(&s, test_path(small_folder, "other"), "student: {importance: mean}", &err));
    CHECK(!strstr(log_text, "is that of the checkpoint"));
    CHECK_INT(distill_trainer_resume(s.trainer, &err), DISTILL_E_MISMATCH);
    CHECK_HAS(err.message, "student.importance");
    small_close(&s);
    CHECK_INT(open_run(&s, test_path(small_folder, "other"), "student: {layers: 'auto:4'}", &err), DISTILL_E_OPTION);
    CHECK_HAS(err.message, "student.layers auto:4: the teacher has 3 blocks, give N in [1, 3]");
    small_close(&s);
}

/* Without a trainer, by the text that the options name. */
TEST(derived_by_hand)
{
    small s = {0};
    distill_error err;
    distill_student *student = NULL;
    if (!small_models("shape_runs")) return;
    REQUIRE_OK(small_env(&s, NULL, "student: {layers: 'auto:1'}", &err));
    REQUIRE_OK(distill_teacher_open(s.env, test_path(small_folder, "teacher"), s.options, &s.teacher, &err));
    CHECK_INT(distill_student_derive(s.teacher, s.options, &student, &err), DISTILL_E_OPTION);
    CHECK_HAS(err.message, "data.train is not set");
    CHECK(!student);
    small_close(&s);
}

TEST_MAIN(TEST_CASE(distilled_and_resumed) TEST_CASE(another_shape_is_refused) TEST_CASE(derived_by_hand))
