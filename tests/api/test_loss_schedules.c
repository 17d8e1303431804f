/* Weights, temperatures and numbers of losses that change over the steps of a run: what metrics and progress say of
 * them, that a run that goes on takes them up where they were, and that they are live. */
#include "small.h"

enum { STEPS = 8 };
static const char loss_text[] =
    "loss: [{type: jsd, weight: {schedule: linear, from: 1, to: 0.5, steps: 4}, temperature: {schedule: cosine, from: "
    "4, "
    "to: 1, steps: 6}, jsd.teacher_weight: {schedule: linear, from: 0.2, to: 0.8, steps: 6}}, {type: cross_entropy, "
    "weight: 0.25}]\n";

static const char *fresh(const char *name)
{
    const char *path = small_text("%s/%s", small_folder, name);
    char command[2200];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    return system(command) ? NULL : path;
}

static int32_t open_run(small *s, const char *out, const char *loss, distill_error *err)
{
    return small_open(s, small_text("output: '%s'\ntrain: {steps: %d, log_every: 1}\n%s", out, STEPS, loss), err);
}

typedef struct seen {
    int64_t stop_at, calls;
} seen;

static int32_t watch(void *user, const distill_progress *p)
{
    seen *s = user;
    if (p->phase != DISTILL_PHASE_TRAINING) return DISTILL_CB_OK;
    const double at = (double)(p->step - 1), weight = 1 - 0.5 * (at < 4 ? at / 4 : 1);
    s->calls++;
    CHECK_INT(p->term_count, 2);
    CHECK_STR(p->term_names[0], "jsd(T=4..1)");
    CHECK_STR(p->term_names[1], "cross_entropy");
    CHECK_NEAR(p->term_weights[0], weight, 1e-12);
    CHECK_NEAR(p->term_weights[1], 0.25, 0);
    CHECK_NEAR(weight * p->term_values[0] + 0.25 * p->term_values[1], p->loss, 1e-9);
    return p->step == s->stop_at ? DISTILL_CB_CANCEL : DISTILL_CB_OK;
}

TEST(they_advance_once_per_step_and_go_on)
{
    static const char *const weights[STEPS] = {"1", "0.875", "0.75", "0.625", "0.5", "0.5", "0.5", "0.5"};
    small whole, s;
    distill_error err;
    char out[600], wanted[96];
    seen all = {-1, 0}, half = {3, 0};
    int line = 0;
    REQUIRE(small_models("schedules"));
    snprintf(out, sizeof out, "%s", fresh("whole"));
    REQUIRE_OK(open_run(&whole, out, loss_text, &err));
    REQUIRE_OK(distill_trainer_on_progress(whole.trainer, watch, &all, NULL, &err));
    REQUIRE_OK(distill_trainer_run(whole.trainer, &err));
    CHECK(all.calls >= STEPS);
    char *metrics = small_read(test_path(out, "metrics.jsonl"), NULL);
    REQUIRE(metrics);
    for (char *at = strtok(metrics, "\n"); at && line < STEPS; at = strtok(NULL, "\n"), line++) {
        snprintf(wanted, sizeof wanted, "\"loss\":\"jsd(T=4..1)\",\"weight\":%s,\"value\":", weights[line]);
        CHECK_HAS(at, wanted);
    }
    CHECK_INT(line, STEPS);
    free(metrics);

    snprintf(out, sizeof out, "%s", fresh("stopped"));
    REQUIRE_OK(open_run(&s, out, loss_text, &err));
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, watch, &half, NULL, &err));
    CHECK_INT(distill_trainer_run(s.trainer, &err), DISTILL_E_CANCELLED);
    small_close(&s);
    REQUIRE_OK(open_run(&s, out, loss_text, &err));
    REQUIRE_OK(distill_trainer_resume(s.trainer, &err));
    half.stop_at = -1;
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, watch, &half, NULL, &err));
    REQUIRE_OK(distill_trainer_run(s.trainer, &err));
    CHECK(small_same_bits(s.student, whole.student));
    small_close(&s);
    small_close(&whole);
}

/* The constant beginning of a schedule is the number, and a later step is not. */
TEST(they_change_what_is_learned)
{
    small a, b;
    distill_error err;
    REQUIRE(small_models("schedules"));
    const char *number = "loss: {type: skew_forward_kl, temperature: 2, skew.lambda: 0.3}\n",
               *course =
                   "loss: {type: skew_forward_kl, temperature: 2, skew.lambda: {schedule: step, from: 0.3, to: 0.9, "
                   "steps: 2}}\n";
    REQUIRE_OK(small_open(&a, number, &err));
    REQUIRE_OK(small_open(&b, course, &err));
    for (int step = 0; step < 3; step++) {
        REQUIRE_OK(distill_trainer_step(a.trainer, NULL, &err));
        REQUIRE_OK(distill_trainer_step(b.trainer, NULL, &err));
        CHECK_INT(small_same_bits(a.student, b.student), step < 2);
    }
    small_close(&a);
    small_close(&b);
}

TEST(they_are_live)
{
    small s;
    distill_error err;
    distill_progress p;
    distill_options *change = NULL;
    REQUIRE(small_models("schedules"));
    REQUIRE_OK(small_open(&s, "loss: {type: jsd, jsd.teacher_weight: 0.3}\ntrain: {learning_rate: 0}\n", &err));
    DISTILL_INIT(&p);
    REQUIRE_OK(distill_trainer_step(s.trainer, &p, &err));
    REQUIRE_OK(distill_options_create(s.env, &change, &err));
    REQUIRE_OK(
        distill_options_set(change, "loss.jsd.teacher_weight", "{schedule: linear, from: 0, to: 0.5, steps: 9}", &err));
    CHECK_INT(distill_trainer_configure(s.trainer, change, &err), DISTILL_E_OPTION);
    CHECK_HAS(err.message, "forward_kl");
    REQUIRE_OK(distill_options_set(change, "loss.jsd.teacher_weight", "0.7", &err));
    REQUIRE_OK(distill_options_set(change, "loss.temperature", "2", &err));
    REQUIRE_OK(distill_trainer_configure(s.trainer, change, &err));
    REQUIRE_OK(distill_trainer_step(s.trainer, &p, &err));
    CHECK_STR(p.term_names[0], "jsd(T=2)");
    distill_options_free(change);
    small_close(&s);
}

TEST_MAIN(TEST_CASE(they_advance_once_per_step_and_go_on) TEST_CASE(they_change_what_is_learned)
              TEST_CASE(they_are_live))
