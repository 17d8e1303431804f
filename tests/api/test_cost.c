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

/* ---- sessions ---- */

static const int32_t begun[] = {3, 7, 11, 2, 9};

static int32_t open_pair(small *s, int drafted, distill_session *out[2], distill_error *err)
{
    distill_teacher *draft = NULL;
    int32_t rc = distill_teacher_from_student(s->student, &draft, err);
    if (!rc) rc = distill_session_create(s->teacher, drafted ? draft : NULL, s->options, &out[0], err);
    distill_teacher_free(draft);
    if (!rc) rc = distill_session_append(out[0], begun, 5, err);
    if (!rc) rc = distill_session_fork(out[0], &out[1], err);
    return rc ? rc : distill_session_append(out[1], begun, 3, err);
}

static distill_session_stats stats_of(const distill_session *session)
{
    distill_session_stats stats;
    distill_error err;
    DISTILL_INIT(&stats);
    CHECK_OK(distill_session_get_stats(session, &stats, &err));
    return stats;
}

/* Two that write side by side, with a draft and without: together they have read and computed what a meter counts. */
TEST(sessions_side_by_side)
{
    for (int drafted = 0; drafted < 2; drafted++) {
        small s;
        distill_error err;
        distill_meter *meter = NULL;
        distill_session *pair[2] = {NULL, NULL};
        distill_token outs[2];
        int32_t rc;
        REQUIRE(small_models("cost"));
        REQUIRE_OK(small_open(&s,
                              SMALL_BASE "cost: {powercap: nowhere, watts_per_core: 10, eur_per_kwh: 0.3, "
                                         "usd_per_million_tokens: 2}\ngenerate: {max_tokens: 20}\n"
                                         "session: {places: 2, draft_tokens: 3}\n",
                              &err));
        REQUIRE_OK(distill_meter_start(s.env, s.options, &meter, &err));
        REQUIRE_OK(open_pair(&s, drafted, pair, &err));
        for (int i = 0; i < 2; i++) DISTILL_INIT(&outs[i]);
        while ((rc = distill_session_next_many(pair, 2, outs, &err)) == DISTILL_OK) continue;
        CHECK_INT(rc, DISTILL_E_END);
        const distill_cost cost = read_meter(meter);
        const distill_session_stats a = stats_of(pair[0]), b = stats_of(pair[1]);
        CHECK(a.tokens > 3 && b.tokens > 3);
        CHECK_INT(a.model_tokens + b.model_tokens, cost.tokens);
        CHECK(cost.tokens >= a.tokens + b.tokens + 5 && (drafted == (a.drafted > 0)));
        CHECK_NEAR((a.flops + b.flops) / cost.flops, 1, 3e-3); /* a meter's sum is of whole thousands */
        CHECK(a.cpu_seconds > 0 && a.seconds > 0 && a.seconds <= cost.seconds);
        CHECK(a.cpu_seconds + b.cpu_seconds <= cost.cpu_seconds);
        CHECK(a.energy == DISTILL_ENERGY_ESTIMATED && b.energy == DISTILL_ENERGY_ESTIMATED);
        CHECK_NEAR(b.joules, 10 * b.cpu_seconds, 1e-12);
        CHECK_NEAR(b.eur, b.joules / 3.6e6 * 0.3, 1e-18);
        CHECK_NEAR(b.usd, 2e-6 * (double)b.model_tokens, 1e-15);
        CHECK_OK(distill_session_truncate(pair[1], 0, &err));
        const distill_session_stats none = stats_of(pair[1]);
        CHECK(none.model_tokens == 0 && none.flops == 0 && none.seconds == 0 && none.joules == 0);
        for (int i = 0; i < 2; i++) distill_session_free(pair[i]);
        distill_meter_free(meter);
        small_close(&s);
    }
}

static int put_counter(const char *folder, long long joules)
{
    char path[700], text[64];
    snprintf(path, sizeof path, "%s/intel-rapl:0/energy_uj", folder);
    snprintf(text, sizeof text, "%lld\n", joules * 1000000);
    return small_write(path, text);
}

static int make_counter(char *folder, size_t size)
{
    char path[700];
    snprintf(folder, size, "%s/powercap", small_folder);
    (void)mkdir(folder, 0700);
    snprintf(path, sizeof path, "%s/intel-rapl:0", folder);
    (void)mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/intel-rapl:0/name", folder);
    if (!small_write(path, "package-0\n") || !put_counter(folder, 100)) return 0;
    snprintf(path, sizeof path, "%s/intel-rapl:0/max_energy_range_uj", folder);
    return small_write(path, "1000000000000\n");
}

/* What counters move on by while two answer is theirs once, and nobody's while none does. */
TEST(measured_energy_is_shared)
{
    small s;
    char folder[600], yaml[1200];
    distill_error err;
    distill_session *pair[2] = {NULL, NULL};
    distill_token outs[2];
    REQUIRE(small_models("cost"));
    REQUIRE(make_counter(folder, sizeof folder));
    snprintf(yaml, sizeof yaml,
             "%scost: {powercap: '%s', idle_seconds: 0}\ngenerate: {max_tokens: 20}\nsession: {places: 2}\n",
             SMALL_BASE, folder);
    REQUIRE_OK(small_open(&s, yaml, &err));
    REQUIRE_OK(open_pair(&s, 0, pair, &err));
    for (int i = 0; i < 2; i++) DISTILL_INIT(&outs[i]);
    REQUIRE(put_counter(folder, 107)); /* before anybody answers */
    CHECK_OK(distill_session_next_many(pair, 2, outs, &err));
    CHECK_INT(stats_of(pair[0]).energy, DISTILL_ENERGY_NONE);
    CHECK(stats_of(pair[0]).joules == -1);
    REQUIRE(put_counter(folder, 137));
    while (distill_session_next_many(pair, 2, outs, &err) == DISTILL_OK) continue;
    const distill_session_stats a = stats_of(pair[0]), b = stats_of(pair[1]);
    CHECK(a.energy == DISTILL_ENERGY_MEASURED && b.energy == DISTILL_ENERGY_MEASURED);
    CHECK_NEAR(a.joules + b.joules, 30, 1e-9);
    CHECK(a.joules > 5 && b.joules > 5 && a.eur == -1);
    REQUIRE(put_counter(folder, 200)); /* behind their answers */
    CHECK_NEAR(stats_of(pair[0]).joules + stats_of(pair[1]).joules, 30, 1e-9);
    for (int i = 0; i < 2; i++) distill_session_free(pair[i]);
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
              TEST_CASE(sessions_side_by_side) TEST_CASE(measured_energy_is_shared) TEST_CASE(bad_arguments))
