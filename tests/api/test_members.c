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

static int32_t stop_at_3(void *user, const distill_progress *p)
{
    (void)user;
    return p->phase == DISTILL_PHASE_TRAINING && p->step == 3 ? DISTILL_CB_CANCEL : DISTILL_CB_OK;
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
    REQUIRE(small_models("members"));
    snprintf(out, sizeof out, "%s/whole", small_folder);
    REQUIRE_OK(open_run(&s, out, &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    check_files(out);
    small_close(&s);

    snprintf(out, sizeof out, "%s/resumed", small_folder);
    REQUIRE_OK(open_run(&s, out, &err));
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, stop_at_3, NULL, NULL, &err));
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

TEST_MAIN(TEST_CASE(counted) TEST_CASE(given_up))
