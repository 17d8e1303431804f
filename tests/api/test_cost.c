/* What a meter tells of work: the tokens and operations of passes against what a trainer counts by its own formula, and
 * what a run's result has of them. */
#include "small.h"

static double number_at(const distill_report *report, const char *key)
{
    double value = -1;
    distill_error err;
    CHECK_OK(distill_report_get_f64(report, key, &value, &err));
    return value;
}

static distill_cost read_meter(distill_meter *meter)
{
    distill_cost cost;
    distill_error err;
    DISTILL_INIT(&cost);
    CHECK_OK(distill_meter_read(meter, &cost, &err));
    return cost;
}

/* A step: the teacher's tokens once, the student's once; backward is twice its forward. */
TEST(passes_of_a_step)
{
    small s;
    distill_error err;
    distill_meter *meter = NULL;
    distill_report *report = NULL;
    REQUIRE(small_models("cost"));
    REQUIRE_OK(small_parts(&s, NULL, "cost: {powercap: nowhere}\n", &err));
    distill_dataset_free(s.eval);
    s.eval = NULL;
    REQUIRE_OK(distill_trainer_create(s.env, s.teacher, s.student, s.train, NULL, s.options, &s.trainer, &err));
    REQUIRE_OK(distill_meter_start(s.env, s.options, &meter, &err));
    for (int i = 0; i < 3; i++) REQUIRE_OK(distill_trainer_step(s.trainer, NULL, &err));
    const distill_cost cost = read_meter(meter);
    REQUIRE_OK(distill_trainer_report(s.trainer, &report, &err));
    CHECK_INT(cost.tokens, 3 * 4 * SMALL_LENGTH * 2);
    const double told = number_at(report, "training.flops");
    CHECK(told > 0);
    CHECK_NEAR(cost.flops / told, 1, 0.07); /* rows without a label go through no head */
    CHECK(cost.seconds > 0 && cost.cpu_seconds > 0 && cost.peak_bytes > 0);
    CHECK_INT(cost.energy, DISTILL_ENERGY_NONE);
    CHECK(cost.joules == -1 && cost.eur == -1 && cost.usd == -1 && cost.idle_watts == -1);
    distill_report_free(report);
    distill_meter_free(meter);
    small_close(&s);
}

TEST(cost_of_an_evaluation)
{
    small s;
    distill_error err;
    distill_report *report = NULL;
    REQUIRE(small_models("cost"));
    REQUIRE_OK(small_parts(&s, NULL, "cost: {powercap: nowhere, watts_per_core: 10, eur_per_kwh: 0.3}\n", &err));
    REQUIRE_OK(distill_evaluate(s.student, s.teacher, s.eval, s.options, &report, &err));
    CHECK_NEAR(number_at(report, "cost.model_tokens"), SMALL_EVAL * SMALL_LENGTH * 2, 0);
    CHECK_NEAR(number_at(report, "cost.joules"), 10 * number_at(report, "cost.cpu_seconds"), 1e-12);
    CHECK_NEAR(number_at(report, "cost.eur"), number_at(report, "cost.joules") / 3.6e6 * 0.3, 1e-15);
    distill_report_free(report);
    small_close(&s);
}

static int32_t count_token(void *user, int64_t sequence, int32_t id, double log_prob, const char *text, size_t size,
                           int32_t finished)
{
    (void)sequence, (void)id, (void)log_prob, (void)text, (void)size, (void)finished;
    ++*(int64_t *)user;
    return DISTILL_CB_OK;
}

/* Generating reads the prompt once and each token after it once. */
TEST(tokens_of_a_text)
{
    small s;
    distill_error err;
    distill_meter *meter = NULL;
    const int32_t ids[] = {3, 7, 11, 2, 9};
    const int64_t offsets[] = {0, 5};
    distill_batch prompt;
    int64_t written = 0;
    DISTILL_INIT(&prompt);
    prompt.ids = ids;
    prompt.offsets = offsets;
    prompt.sequences = 1;
    REQUIRE(small_models("cost"));
    REQUIRE_OK(small_parts(&s, NULL,
                           "cost: {powercap: nowhere, usd_per_million_tokens: 4}\ngenerate: {max_tokens: 8}\n", &err));
    REQUIRE_OK(distill_meter_start(s.env, s.options, &meter, &err));
    REQUIRE_OK(distill_teacher_generate(s.teacher, &prompt, s.options, count_token, &written, &err));
    const distill_cost cost = read_meter(meter);
    CHECK(written > 1);
    CHECK_INT(cost.tokens, 5 + written - 1); /* nobody asks what follows the last one */
    CHECK_NEAR(cost.usd, 4e-6 * (double)cost.tokens, 1e-15);
    distill_meter_free(meter);
    small_close(&s);
}

TEST(bad_arguments)
{
    distill_env *env = NULL;
    distill_options *options = NULL;
    distill_meter *meter = NULL;
    distill_cost cost;
    distill_error err;
    REQUIRE_OK(distill_env_create(NULL, &env, &err));
    REQUIRE_OK(distill_options_create(env, &options, &err));
    CHECK_INT(distill_meter_start(NULL, NULL, &meter, &err), DISTILL_E_INVALID);
    CHECK_INT(distill_meter_start(env, NULL, NULL, &err), DISTILL_E_INVALID);
    CHECK_INT(distill_options_set(options, "cost.watts_per_core", "-3", &err), DISTILL_E_OPTION);
    REQUIRE_OK(distill_options_set(options, "cost.idle_seconds", "0", &err));
    REQUIRE_OK(distill_meter_start(env, options, &meter, &err));
    CHECK_INT(distill_meter_read(meter, NULL, &err), DISTILL_E_INVALID);
    memset(&cost, 0, sizeof cost);
    CHECK_INT(distill_meter_read(meter, &cost, &err), DISTILL_E_INVALID);
    distill_env_free(env); /* the meter keeps what it needs */
    distill_options_free(options);
    DISTILL_INIT(&cost);
    CHECK_OK(distill_meter_read(meter, &cost, &err));
    distill_meter_free(meter);
    distill_meter_free(NULL);
}

TEST_MAIN(TEST_CASE(passes_of_a_step) TEST_CASE(cost_of_an_evaluation) TEST_CASE(tokens_of_a_text)
              TEST_CASE(bad_arguments))
