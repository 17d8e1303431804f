/* Who a teacher is, member by member: in checkpoints, results and what inspect says of them; and which member is
 * another when a run goes on. */
#include "small.h"

static int other_teachers(void)
{
    static const char *const names[] = {"b", "c"};
    for (int i = 0; i < 2; i++) {
        small s = {0};
        distill_error err;
        if (!small_config("deeper.json", 3)) return 0;
        int32_t rc = small_env(&s, NULL, small_text("student: {init_std: 0.3}\ntrain: {seed: %d}\n", 50 + i), &err);
        if (!rc)
            rc = distill_student_create(s.env, test_path(small_folder, "deeper.json"), NULL, s.options, &s.student,
                                        &err);
        if (!rc) rc = distill_student_save(s.student, test_path(small_folder, names[i]), s.options, &err);
        small_close(&s);
        if (rc) return 0;
    }
    return 1;
}

/* A trainer whose teacher is linear(pt: teacher/, en: folder of that name) with this weight of pt. */
static int32_t open_blend(small *s, const char *out, const char *second, double weight, distill_error *err)
{
    distill_member members[2];
    distill_teacher *en = NULL, *blend = NULL;
    int32_t rc = small_parts(s, NULL, small_text("output: '%s'\ntrain: {steps: 8, checkpoint_every: 3}\n", out), err);
    if (!rc) rc = distill_teacher_open(s->env, test_path(small_folder, second), s->options, &en, err);
    for (int i = 0; i < 2; i++) DISTILL_INIT(&members[i]);
    members[0].name = "pt";
    members[0].teacher = s->teacher;
    members[0].weight = weight;
    members[1].name = "en";
    members[1].teacher = en;
    members[1].weight = 1 - weight;
    if (!rc) rc = distill_teacher_blend(s->env, members, 2, s->options, &blend, err);
    distill_teacher_free(en);
    distill_teacher_free(s->teacher);
    s->teacher = blend;
    if (!rc)
        rc = distill_trainer_create(s->env, s->teacher, s->student, s->train, s->eval, s->options, &s->trainer, err);
    return rc;
}

static int32_t stop_at_3(void *user, const distill_progress *p)
{
    (void)user;
    return p->phase == DISTILL_PHASE_TRAINING && p->step == 3 ? DISTILL_CB_CANCEL : DISTILL_CB_OK;
}

/* The hash that follows `after` in text. */
static void hash_behind(const char *text, const char *after, char out[65])
{
    const char *at = text ? strstr(text, after) : NULL, *hash = at ? strstr(at, "\"hash\":\"") : NULL;
    snprintf(out, 65, "%.64s", hash ? hash + 8 : "");
}

TEST(members)
{
    small s;
    distill_error err;
    char out[600], alone[600], pt[65], en[65], whole[65], single[65];
    REQUIRE(small_models("manifest"));
    REQUIRE(other_teachers());
    snprintf(out, sizeof out, "%s", test_path(small_folder, "run"));
    snprintf(alone, sizeof alone, "%s", test_path(small_folder, "alone"));
    REQUIRE_OK(open_blend(&s, out, "b", 0.75, &err));
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, stop_at_3, NULL, NULL, &err));
    CHECK_INT(distill_trainer_run(s.trainer, &err), DISTILL_E_CANCELLED);
    small_close(&s);
    char *state = small_read(test_path(out, "checkpoints/step-00000003/state.json"), NULL);
    REQUIRE(state);
    CHECK_HAS(state, "\"teacher\":{\"kind\":\"blend\",\"path\":\"\",\"hash\":\"");
    CHECK_HAS(state, "\"mode\":\"linear\",\"weighting\":\"static\",\"members\":[{\"name\":\"en\",\"weight\":0.25,");
    CHECK_HAS(state, "{\"name\":\"pt\",\"weight\":0.75,\"temperature\":1,\"kind\":\"model\",\"path\":");
    const char *manifest = strstr(state, "\"teacher\":{\"kind\"");
    hash_behind(manifest, "\"kind\":\"blend\"", whole);
    hash_behind(manifest, "\"name\":\"en\"", en);
    hash_behind(manifest, "\"name\":\"pt\"", pt);
    CHECK(strlen(pt) == 64 && strcmp(pt, en) != 0 && strcmp(pt, whole) != 0);
    free(state);
    REQUIRE_OK(small_open(&s, small_text("output: '%s'\ntrain: {steps: 3}\n", alone), &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err)); /* a member's hash is that of the teacher alone */
    char *result = small_read(test_path(alone, "result.json"), NULL);
    hash_behind(result, "\"manifest\":{\"kind\":\"model\"", single);
    CHECK(strcmp(single, pt) == 0);
    free(result);
    small_close(&s);
}

static void inspected(const char *path, const char *part, const char *other)
{
    small s = {0};
    distill_error err;
    distill_report *report = NULL;
    char text[4000] = "";
    REQUIRE_OK(small_env(&s, NULL, NULL, &err));
    REQUIRE_OK(distill_inspect(s.env, path, &report, &err));
    CHECK_OK(distill_report_json(report, text, sizeof text, NULL, &err));
    CHECK_HAS(text, part);
    CHECK_HAS(text, other);
    CHECK_HAS(text, "\"whole\":true");
    distill_report_free(report);
    small_close(&s);
}

/* Going on with the same members is silent; with another one, it is named; so is a weight. */
TEST(changes)
{
    small s;
    distill_error err;
    char out[600];
    REQUIRE(small_models("manifest"));
    snprintf(out, sizeof out, "%s", test_path(small_folder, "run"));
    inspected(out, "{\"kind\":\"run\",\"run\":{\"finished\":false,\"step\":3,\"teacher\":{\"kind\":\"blend\"",
              "\"name\":\"pt\"");
    inspected(test_path(out, "checkpoints/step-00000003"), "\"kind\":\"checkpoint\"",
              "\"teacher\":{\"kind\":\"blend\"");
    REQUIRE_OK(open_blend(&s, out, "c", 0.5, &err));
    REQUIRE_OK(distill_trainer_resume(s.trainer, &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    small_close(&s);
    char *result = small_read(test_path(out, "result.json"), NULL);
    const char *changes = result ? strstr(result, "\"changes\":[{") : NULL;
    REQUIRE(changes);
    CHECK_HAS(changes, "\"what\":\"the teacher en\",\"from\":\"");
    CHECK_HAS(changes, "/b (");
    CHECK_HAS(changes, "/c (");
    CHECK_HAS(changes, "\"what\":\"the weight of the teacher en\",\"from\":\"0.25\",\"to\":\"0.5\"");
    CHECK_HAS(changes, "\"what\":\"the weight of the teacher pt\",\"from\":\"0.75\",\"to\":\"0.5\"");
    CHECK(!strstr(changes, "\"what\":\"the teacher pt\""));
    CHECK(!strstr(changes, "\"what\":\"the teacher\""));
    CHECK_HAS(result, "\"manifest\":{\"kind\":\"blend\"");
    free(result);
    inspected(out, "\"run\":{\"finished\":true", "\"teacher\":{\"kind\":\"blend\"");
    REQUIRE_OK(open_blend(&s, out, "c", 0.5, &err));
    REQUIRE_OK(distill_trainer_resume(s.trainer, &err)); /* from step 6, which knows of one change and makes none */
    char text[32768];
    distill_report *report = NULL;
    REQUIRE_OK(distill_trainer_report(s.trainer, &report, &err));
    REQUIRE_OK(distill_report_json(report, text, sizeof text, NULL, &err));
    const char *second = strstr(text, "the teacher en");
    CHECK(second && !strstr(strstr(second, "\"to\""), "\"step\":6"));
    distill_report_free(report);
    small_close(&s);
}

/* A teacher that became a blend is another as a whole. */
TEST(whole)
{
    small s;
    distill_error err;
    char out[600];
    REQUIRE(small_models("manifest"));
    snprintf(out, sizeof out, "%s", test_path(small_folder, "whole"));
    REQUIRE_OK(small_open(&s, small_text("output: '%s'\ntrain: {steps: 8, checkpoint_every: 3}\n", out), &err));
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, stop_at_3, NULL, NULL, &err));
    CHECK_INT(distill_trainer_run(s.trainer, &err), DISTILL_E_CANCELLED);
    small_close(&s);
    REQUIRE_OK(open_blend(&s, out, "b", 0.5, &err));
    REQUIRE_OK(distill_trainer_resume(s.trainer, &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    small_close(&s);
    char *result = small_read(test_path(out, "result.json"), NULL);
    REQUIRE(result);
    CHECK_HAS(result, "\"what\":\"the teacher\",\"from\":\"");
    CHECK_HAS(result, "\"to\":\"a blend of 2 (");
    free(result);
}

TEST_MAIN(TEST_CASE(members) TEST_CASE(changes) TEST_CASE(whole))
