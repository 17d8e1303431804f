/* What a run says of its teacher's members: metrics.jsonl per step, result.json in all, the same after a resume. */
#include "small.h"

enum { STEPS = 6, STEP_TOKENS = 4 * (SMALL_LENGTH - 1) };

static int32_t open_run(small *s, const char *out, distill_error *err)
{
    distill_member members[2];
    distill_teacher *blend = NULL;
    int32_t rc = small_parts(s, NULL, small_text("output: '%s'\n", out), err);
    for (int i = 0; i < 2; i++) DISTILL_INIT(&members[i]);
    members[0].teacher = members[1].teacher = s->teacher;
    members[0].name = "one";
    members[1].name = "two";
    members[0].weight = 0.75;
    members[1].weight = 0.25;
    if (!rc) rc = distill_teacher_blend(s->env, members, 2, s->options, &blend, err);
    if (!rc) {
        distill_teacher_free(s->teacher);
        s->teacher = blend;
        rc = distill_trainer_create(s->env, s->teacher, s->student, s->train, s->eval, s->options, &s->trainer, err);
    }
    return rc;
}

static int32_t stop_at(void *user, const distill_progress *p)
{
    const int64_t *step = user;
    return p->phase == DISTILL_PHASE_TRAINING && p->step == *step ? DISTILL_CB_CANCEL : DISTILL_CB_OK;
}

static void check_files(const char *out)
{
    char *metrics = small_read(test_path(out, "metrics.jsonl"), NULL),
         *result = small_read(test_path(out, "result.json"), NULL);
    const char *step = small_text("\"members\":{\"one\":{\"tokens\":%d,\"weight\":0.75},\"two\":{\"tokens\":%d,",
                                  STEP_TOKENS, STEP_TOKENS);
    const char *all = small_text("\"members\":{\"one\":{\"tokens\":%d,\"weight\":0.75},\"two\":{\"tokens\":%d,",
                                 STEPS * STEP_TOKENS, STEPS * STEP_TOKENS);
    int lines = 0;
    for (const char *at = metrics; at && (at = strstr(at, step)); at++) lines++;
    CHECK_INT(lines, STEPS);
    CHECK_HAS(result, all);
    free(metrics);
    free(result);
}

TEST(counted)
{
    small s;
    distill_error err;
    char out[600];
    int64_t at = 3;
    REQUIRE(small_models("members"));
    snprintf(out, sizeof out, "%s/whole", small_folder);
    REQUIRE_OK(open_run(&s, out, &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    check_files(out);
    small_close(&s);

    snprintf(out, sizeof out, "%s/resumed", small_folder);
    REQUIRE_OK(open_run(&s, out, &err));
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, stop_at, &at, NULL, &err));
    CHECK_INT(distill_trainer_run(s.trainer, &err), DISTILL_E_CANCELLED);
    small_close(&s);
    REQUIRE_OK(open_run(&s, out, &err));
    CHECK_OK(distill_trainer_resume(s.trainer, &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    check_files(out);
    small_close(&s);
}

/* A window that is given up in the middle is not counted. */
TEST(given_up)
{
    small s;
    distill_error err;
    distill_forward forward;
    char out[600];
    REQUIRE(small_models("members"));
    snprintf(out, sizeof out, "%s/given_up", small_folder);
    REQUIRE_OK(open_run(&s, out, &err));
    DISTILL_INIT(&forward);
    CHECK_OK(distill_trainer_forward(s.trainer, 0, &forward, &err));
    CHECK_OK(distill_trainer_backward(s.trainer, NULL, 0, &err));
    distill_trainer_cancel(s.trainer, 1);
    CHECK_INT(distill_trainer_forward(s.trainer, 0, &forward, &err), DISTILL_E_CANCELLED);
    distill_trainer_cancel(s.trainer, 0);
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    check_files(out);
    small_close(&s);
}

/* ---- one teacher after another ---- */

#define TURNS "teacher: {schedule: [{until: 3}, {fade: 2}]}\n"

/* recipe NULL = the first teacher alone; names NULL = their numbers */
static int32_t open_named(small *s, const char *yaml, const char *recipe, const char *const names[2],
                          distill_error *err)
{
    distill_member members[2];
    distill_teacher *other = NULL, *both = NULL;
    distill_options *options = NULL;
    int32_t rc = small_parts(s, NULL, yaml, err);
    if (!rc) rc = distill_teacher_open(s->env, test_path(small_folder, "other"), s->options, &other, err);
    if (!rc) rc = distill_options_create(s->env, &options, err);
    if (!rc && recipe) rc = distill_options_parse(options, recipe, strlen(recipe), "recipe", err);
    for (int i = 0; i < 2; i++) DISTILL_INIT(&members[i]);
    members[0].teacher = s->teacher;
    members[1].teacher = other;
    for (int i = 0; names && i < 2; i++) members[i].name = names[i];
    if (!rc && recipe) rc = distill_teacher_blend(s->env, members, 2, options, &both, err);
    if (!rc && recipe) {
        distill_teacher_free(s->teacher);
        s->teacher = both;
    }
    distill_teacher_free(other);
    distill_options_free(options);
    if (!rc)
        rc = distill_trainer_create(s->env, s->teacher, s->student, s->train, s->eval, s->options, &s->trainer, err);
    return rc;
}

static int32_t open_turns(small *s, const char *yaml, const char *recipe, distill_error *err)
{
    return open_named(s, yaml, recipe, NULL, err);
}

static int make_other(void)
{
    small s = {0};
    distill_error err;
    if (!small_models("members")) return 0;
    int32_t rc = small_env(&s, NULL, "student: {init_std: 0.3}\ntrain: {seed: 8}\n", &err);
    if (!rc)
        rc = distill_student_create(s.env, test_path(small_folder, "teacher.json"), NULL, s.options, &s.student, &err);
    if (!rc) rc = distill_student_save(s.student, test_path(small_folder, "other"), s.options, &err);
    if (rc) FAIL("the other teacher: %d %s", rc, err.message);
    small_close(&s);
    return !rc;
}

/* Before the fade it is the first teacher, bit for bit; resumed in the midst of it, the same as if nothing had been. */
TEST(in_turn)
{
    small alone, turns, again;
    distill_error err;
    distill_progress progress;
    char out[600];
    REQUIRE(make_other());
    REQUIRE_OK(open_turns(&alone, NULL, NULL, &err));
    REQUIRE_OK(open_turns(&turns, NULL, TURNS, &err));
    for (int step = 0; step < 4; step++) {
        DISTILL_INIT(&progress);
        CHECK_OK(distill_trainer_step(alone.trainer, &progress, &err));
        CHECK_OK(distill_trainer_step(turns.trainer, &progress, &err));
        CHECK_INT(small_same_bits(alone.student, turns.student), step < 3);
    }
    CHECK_OK(distill_trainer_step(turns.trainer, &progress, &err));
    CHECK_OK(distill_trainer_step(turns.trainer, &progress, &err));
    small_close(&alone);

    for (int stop = 1; stop < 6; stop++) {
        const char *yaml = small_text("output: {path: '%s', overwrite: true}\n", test_path(small_folder, "turns"));
        int64_t at = stop;
        snprintf(out, sizeof out, "%s/turns", small_folder);
        REQUIRE_OK(open_turns(&again, yaml, TURNS, &err));
        REQUIRE_OK(distill_trainer_on_progress(again.trainer, stop_at, &at, NULL, &err));
        CHECK_INT(distill_trainer_run(again.trainer, &err), DISTILL_E_CANCELLED);
        small_close(&again);
        REQUIRE_OK(open_turns(&again, yaml, TURNS, &err));
        CHECK_OK(distill_trainer_resume(again.trainer, &err));
        CHECK_OK(distill_trainer_run(again.trainer, &err));
        CHECK(small_same_bits(again.student, turns.student));
        small_close(&again);
    }
    small_close(&turns);
    char *result = small_read(test_path(out, "result.json"), NULL);
    const char *want = small_text("\"members\":{\"0\":{\"tokens\":%d,\"weight\":", 5 * STEP_TOKENS);
    CHECK_HAS(result, want);
    CHECK_HAS(result, small_text("\"1\":{\"tokens\":%d,\"weight\":", 3 * STEP_TOKENS));
    free(result);
}

static int32_t find_number(const char *text, const char *key, double *out)
{
    const char *at = text ? strstr(text, key) : NULL;
    if (at) *out = atof(at + strlen(key));
    return at != NULL;
}

static double flops_of(const char *yaml, const char *recipe)
{
    small s;
    distill_error err;
    double flops = -1;
    char out[600];
    snprintf(out, sizeof out, "%s/flops", small_folder);
    CHECK_OK(open_turns(&s, small_text("output: {path: '%s', overwrite: true}\n%s", out, yaml), recipe, &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    small_close(&s);
    char *result = small_read(test_path(out, "result.json"), NULL);
    CHECK(find_number(result, "\"flops\":", &flops));
    free(result);
    return flops;
}

/* Who was not asked has not cost anything: of six steps the one has five and the other three. */
TEST(flops_of_those_who_were_asked)
{
    REQUIRE(make_other());
    const double student = flops_of("loss: {type: cross_entropy}\n", NULL), alone = flops_of("", NULL),
                 each = alone - student, bound = 1e-9 * alone;
    CHECK(each > 0.1 * student);
    CHECK_NEAR(flops_of("", "teacher: {blend: {mode: log_linear}}\n"), student + 2 * each, bound);
    CHECK_NEAR(flops_of("", TURNS), student + (5 + 3) / 6.0 * each, bound);
    CHECK_NEAR(flops_of("train: {micro_batch_size: 1}\n", TURNS), student + (5 + 3) / 6.0 * each, bound);
    CHECK_NEAR(flops_of("", "teacher: {schedule: [{until: 2}, {}]}\n"), alone, bound);
}

/* ---- what is best where the teacher is another one at each evaluation ---- */

/* The key's number in each line of an evaluation; the least of them, or -1. */
static double least_of(const char *metrics, const char *key)
{
    double least = -1, value;
    for (const char *at = metrics; at && (at = strstr(at, "\"eval\":{")); at++)
        if (find_number(at, key, &value) && (least < 0 || value < least)) least = value;
    return least;
}

TEST(best_by_likelihood_where_the_teacher_changes)
{
    small s;
    distill_error err;
    char out[600];
    REQUIRE(make_other());
    snprintf(out, sizeof out, "%s/best", small_folder);
    for (int changes = 0; changes < 2; changes++) {
        double best = -1;
        const char *yaml =
            small_text("output: {path: '%s', overwrite: true}\ntrain: {eval_every: 1, keep_best: true}\n", out);
        REQUIRE_OK(open_turns(&s, yaml, changes ? TURNS : NULL, &err));
        REQUIRE_OK(distill_trainer_run(s.trainer, &err));
        small_close(&s);
        char *result = small_read(test_path(out, "result.json"), NULL),
             *metrics = small_read(test_path(out, "metrics.jsonl"), NULL);
        CHECK_HAS(result, changes ? "\"best_by\":\"nats\"" : "\"best_by\":\"forward_kl\"");
        CHECK(find_number(result, "\"best_value\":", &best));
        const double least = least_of(metrics, changes ? "\"perplexity\":" : "\"forward_kl\":");
        CHECK_NEAR(best, changes ? log(least) : least, 1e-9);
        free(result);
        free(metrics);
    }
}

/* Weights of the loss under which no teacher is imitated any more: evaluations are compared anew, and it is said. */
TEST(another_measure_is_told)
{
    small s;
    distill_error err;
    int64_t at = 3;
    char out[600], yaml[800];
    REQUIRE(make_other());
    snprintf(out, sizeof out, "%s/measure", small_folder);
    snprintf(yaml, sizeof yaml, "output: {path: '%s', overwrite: true}\ntrain: {eval_every: 1, keep_best: true}\n",
             out);
    REQUIRE_OK(open_turns(&s, yaml, NULL, &err));
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, stop_at, &at, NULL, &err));
    CHECK_INT(distill_trainer_run(s.trainer, &err), DISTILL_E_CANCELLED);
    small_close(&s);
    REQUIRE_OK(open_turns(&s, small_text("%sloss: {hard_label_weight: 1}\n", yaml), NULL, &err));
    REQUIRE_OK(distill_trainer_resume(s.trainer, &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    small_close(&s);
    char *result = small_read(test_path(out, "result.json"), NULL);
    CHECK_HAS(result, "was so by its forward_kl");
    CHECK_HAS(result, "\"best_by\":\"nats\"");
    free(result);
}

/* Another schedule is another teacher: it is said. */
TEST(another_schedule_is_told)
{
    small s;
    distill_error err;
    char out[600];
    int64_t at = 2;
    REQUIRE(make_other());
    snprintf(out, sizeof out, "%s/another", small_folder);
    REQUIRE_OK(
        open_turns(&s, small_text("output: '%s'\n", out), "teacher: {schedule: [{until: 3}, {fade: 2}]}\n", &err));
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, stop_at, &at, NULL, &err));
    CHECK_INT(distill_trainer_run(s.trainer, &err), DISTILL_E_CANCELLED);
    small_close(&s);
    REQUIRE_OK(
        open_turns(&s, small_text("output: '%s'\n", out), "teacher: {schedule: [{until: 4}, {fade: 2}]}\n", &err));
    CHECK_OK(distill_trainer_resume(s.trainer, &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    small_close(&s);
    char *result = small_read(test_path(out, "result.json"), NULL);
    CHECK_HAS(result, "\"changes\":[{\"step\":2,\"what\":\"the schedules of the teacher\",\"from\":");
    CHECK_HAS(result, "\\\"after\\\":3,\\\"steps\\\":3,\\\"to\\\":0}");
    free(result);
}

/* ---- learned weights ---- */

#define LEARNED "teacher: {blend: {mode: log_linear, weighting: learned, learn: {every: 2, rate: 0.3, tokens: 40}}}\n"

/* The weights of result.json behind "learned". */
static void learned_of(const char *out, char text[300])
{
    char *result = small_read(test_path(out, "result.json"), NULL);
    const char *at = result ? strstr(result, "\"learned\":{") : NULL;
    snprintf(text, 300, "%.*s", at ? (int)strcspn(at, "}") : 0, at ? at : "");
    free(result);
}

static int32_t run_learned(const char *name, int64_t stop, small *s, distill_error *err)
{
    const char *yaml = small_text("output: '%s/%s'\ntrain: {eval_every: 3}\n", small_folder, name);
    int32_t rc = open_turns(s, yaml, LEARNED, err);
    if (!rc && stop) {
        CHECK_INT(distill_trainer_on_progress(s->trainer, stop_at, &stop, NULL, err), DISTILL_OK);
        CHECK_INT(distill_trainer_run(s->trainer, err), DISTILL_E_CANCELLED);
        small_close(s);
        rc = open_turns(s, yaml, LEARNED, err);
        if (!rc) rc = distill_trainer_resume(s->trainer, err);
    }
    return rc ? rc : distill_trainer_run(s->trainer, err);
}

/* Updates before steps 3 and 5; whatever the step a run stopped at, it goes on bit for bit. */
TEST(learned)
{
    small whole, again;
    distill_error err;
    char want[300], got[300];
    double one = 0, two = 0;
    REQUIRE(make_other());
    REQUIRE_OK(run_learned("learned", 0, &whole, &err));
    learned_of(test_path(small_folder, "learned"), want);
    CHECK_HAS(want, "\"updates\":2,\"nats\":");
    const char *weights = strstr(want, "\"weights\":{\"0\":"), *second = strstr(want, "\"1\":");
    REQUIRE(weights && second);
    one = atof(weights + 15), two = atof(second + 4);
    CHECK(one > 0.01 && two > 0.01 && fabs(one - 0.5) > 1e-4);
    CHECK_NEAR(one + two, 1, 1e-12);
    char *metrics = small_read(test_path(test_path(small_folder, "learned"), "metrics.jsonl"), NULL);
    CHECK_HAS(metrics, "{\"step\":3,\"learned\":{\"updates\":1,");
    CHECK_HAS(metrics, "{\"step\":5,\"learned\":{\"updates\":2,");
    free(metrics);
    for (int64_t stop = 1; stop < 6; stop++) {
        char name[40];
        snprintf(name, sizeof name, "learned%d", (int)stop);
        REQUIRE_OK(run_learned(name, stop, &again, &err));
        learned_of(test_path(small_folder, name), got);
        CHECK_STR(got, want);
        CHECK(small_same_bits(again.student, whole.student));
        small_close(&again);
    }
    distill_trainer_free(whole.trainer);
    whole.trainer = NULL;
    CHECK_INT(distill_trainer_create(whole.env, whole.teacher, whole.student, whole.train, NULL, whole.options,
                                     &whole.trainer, &err),
              DISTILL_E_OPTION);
    CHECK_HAS(err.message, "held out: give data.eval");
    small_close(&whole);
}

/* Weights belong to names. With a member that is new they begin as they are given, which is said. */
TEST(learned_by_name)
{
    static const char *const before[2] = {"a", "b"}, *const turned[2] = {"b", "a"}, *const renamed[2] = {"z", "b"};
    small s;
    distill_error err;
    char *first, *result;
    double a = 0, b = 0, value = 0;
    REQUIRE(make_other());
    for (int other = 0; other < 2; other++) {
        int64_t at = 3;
        const char *yaml = small_text("output: {path: '%s/by_name', overwrite: true}\n", small_folder);
        REQUIRE_OK(open_named(&s, yaml, LEARNED, before, &err));
        REQUIRE_OK(distill_trainer_on_progress(s.trainer, stop_at, &at, NULL, &err));
        CHECK_INT(distill_trainer_run(s.trainer, &err), DISTILL_E_CANCELLED);
        small_close(&s);
        first = small_read(test_path(test_path(small_folder, "by_name"), "checkpoints/step-00000003/state.json"), NULL);
        const char *learned = first ? strstr(first, "\"learned\":{") : NULL;
        CHECK(find_number(learned, "\"a\":", &a) && find_number(learned, "\"b\":", &b));
        CHECK(fabs(a - b) > 1e-4);
        CHECK_NEAR(a + b, 1, 1e-12);
        free(first);
        REQUIRE_OK(open_named(&s, yaml, LEARNED, other ? renamed : turned, &err));
        REQUIRE_OK(distill_trainer_resume(s.trainer, &err));
        REQUIRE_OK(distill_trainer_run(s.trainer, &err));
        small_close(&s);
        result = small_read(test_path(test_path(small_folder, "by_name"), "result.json"), NULL);
        learned = result ? strstr(result, "\"learned\":{") : NULL;
        CHECK(find_number(learned, "\"updates\":", &value));
        CHECK_NEAR(value, other ? 1 : 2, 0);
        CHECK_INT(strstr(result, "weights were learned of other members") != NULL, other);
        free(result);
    }
}

TEST_MAIN(TEST_CASE(counted) TEST_CASE(given_up) TEST_CASE(in_turn) TEST_CASE(flops_of_those_who_were_asked)
              TEST_CASE(best_by_likelihood_where_the_teacher_changes) TEST_CASE(another_measure_is_told)
                  TEST_CASE(another_schedule_is_told) TEST_CASE(learned) TEST_CASE(learned_by_name))
