/* Several runs as one call: stopped at any moment, the same call ends it bit for bit; what it says of itself on the
 * way and at the end. */
#include "small.h"

enum { STEPS = 4 };

/* 64 characters, a token each. */
static int write_tokenizer(const char *folder)
{
    char text[2000] = "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},\"decoder\":"
                      "{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{";
    int id = 0;
    for (char c = '!'; id < SMALL_VOCAB; c++)
        if (c != '"' && c != '\\') snprintf(text + strlen(text), 16, "%s\"%c\":%d", id ? "," : "", c, id), id++;
    strcat(text, "}}}\n");
    return small_write(test_path(folder, "tokenizer.json"), text);
}

static int prepare(void)
{
    char text[8000] = "";
    uint32_t seed = 9;
    if (!small_models("stages_in_c")) return 0;
    for (int i = 0; i < 40; i++) {
        char line[40] = "";
        for (int k = 0; k < 8 + i % 7; k++) line[k] = (char)('A' + small_random(&seed) % 20);
        snprintf(text + strlen(text), 64, "{\"text\": \"%s\"}\n", line);
    }
    return write_tokenizer(small_folder) && write_tokenizer(test_path(small_folder, "teacher")) &&
           small_write(test_path(small_folder, "data.jsonl"), text);
}

typedef struct watch {
    int64_t calls, stop_at; /* 0 = never */
    int64_t seen[3];        /* steps of each stage */
    int32_t wrong;
} watch;

static int32_t on_progress(void *user, const distill_progress *p)
{
    static const char *const names[] = {"", "middle", "last"};
    watch *w = user;
    w->calls++;
    if (p->stages != 2 || p->stage < 1 || p->stage > 2 || strcmp(p->stage_name, names[p->stage]) != 0) w->wrong = 1;
    else if (p->phase == DISTILL_PHASE_TRAINING) w->seen[p->stage]++;
    return w->stop_at && w->calls >= w->stop_at ? DISTILL_CB_CANCEL : DISTILL_CB_OK;
}

static int32_t run(const char *out, int32_t flags, const char *more, watch *w, distill_report **report,
                   distill_error *err)
{
    small s = {0};
    const char *recipe = small_text("teacher: '%s/teacher'\n"
                                    "data: {train: '%s/data.jsonl', eval_fraction: 0.1}\n"
                                    "train: {steps: %d, checkpoint_every: 2, eval_every: 2, keep_best: true}\n"
                                    "output: '%s'\n"
                                    "stages:\n"
                                    "- {name: middle, student: {config: '%s/student.json', init_std: 0.3}}\n"
                                    "- {name: last, teacher: stages.middle, student: {from: teacher, layers: [1]}}\n",
                                    small_folder, small_folder, STEPS, out, small_folder);
    int32_t rc = small_env(&s, NULL, recipe, err);
    *report = NULL;
    if (!rc && more) rc = distill_options_parse(s.options, more, strlen(more), "more", err);
    if (!rc) rc = distill_run(s.env, s.options, flags, w ? on_progress : NULL, w, report, err);
    small_close(&s);
    return rc;
}

static int same_files(const char *a, const char *b)
{
    static const char *const names[] = {"middle/model.safetensors", "last/model.safetensors", "last/config.json"};
    int same = 1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t x_size = 0, y_size = 0;
        char *x = small_read(small_text("%s/%s", a, names[i]), &x_size),
             *y = small_read(small_text("%s/%s", b, names[i]), &y_size);
        same = same && x && y && x_size == y_size && memcmp(x, y, x_size) == 0;
        free(x);
        free(y);
    }
    return same;
}

static char whole_out[600];
static int64_t whole_calls;

TEST(whole)
{
    watch w = {0};
    distill_error err;
    distill_report *report;
    double value = 0;
    REQUIRE(prepare());
    snprintf(whole_out, sizeof whole_out, "%s/whole", small_folder);
    REQUIRE_OK(run(whole_out, 0, NULL, &w, &report, &err));
    whole_calls = w.calls;
    CHECK_INT(w.wrong, 0);
    CHECK_INT(w.seen[1], STEPS);
    CHECK_INT(w.seen[2], STEPS);
    CHECK_OK(distill_report_get_f64(report, "stages.last.training.steps", &value, &err));
    CHECK_NEAR(value, STEPS, 0);
    CHECK_OK(distill_report_get_f64(report, "stages.middle.student.forward_kl", &value, &err));
    CHECK(value > 0);
    distill_report_free(report);
    watch idle = {0};
    REQUIRE_OK(run(whole_out, 0, NULL, &idle, &report, &err)); /* nothing is left to do */
    CHECK_INT(idle.calls, 0);
    distill_report_free(report);
}

TEST(stopped_at_any_moment)
{
    distill_error err;
    distill_report *report;
    char out[600];
    REQUIRE(whole_calls > 10);
    for (int64_t stop = 1; stop <= whole_calls; stop++) {
        watch w = {.stop_at = stop};
        snprintf(out, sizeof out, "%s/stopped%d", small_folder, (int)stop);
        int32_t rc = run(out, 0, NULL, &w, &report, &err);
        distill_report_free(report);
        if (rc != DISTILL_E_CANCELLED && rc != DISTILL_OK) FAIL("stopped at %d: %d %s", (int)stop, rc, err.message);
        if (rc == DISTILL_E_CANCELLED) CHECK_HAS(err.message, "stages.");
        REQUIRE_OK(run(out, 0, NULL, NULL, &report, &err));
        distill_report_free(report);
        if (!same_files(out, whole_out)) FAIL("stopped at call %d of %d: other bits", (int)stop, (int)whole_calls);
    }
}

/* Twice in a row, in both stages. */
TEST(stopped_again_and_again)
{
    distill_error err;
    distill_report *report = NULL;
    char out[600];
    int32_t rc = DISTILL_E_CANCELLED;
    int tries = 0;
    snprintf(out, sizeof out, "%s/again", small_folder);
    while (rc == DISTILL_E_CANCELLED && tries++ < 60) {
        watch w = {.stop_at = 2 + tries};
        rc = run(out, 0, NULL, &w, &report, &err);
    }
    if (rc) FAIL("%d %s", rc, err.message);
    CHECK(tries > 2);
    CHECK(same_files(out, whole_out));
    distill_report_free(report);
}

TEST(changed)
{
    distill_error err;
    distill_report *report;
    watch w = {0};
    CHECK_INT(run(whole_out, 0, "train: {learning_rate: 0.02}\n", &w, &report, &err), DISTILL_E_MISMATCH);
    CHECK_HAS(err.message, "stages.middle was finished in ");
    CHECK_HAS(err.message, "train.learning_rate changed: 0.01 -> 0.02");
    CHECK_INT(w.calls, 0);
    REQUIRE_OK(run(whole_out, DISTILL_RUN_AGAIN, "train: {learning_rate: 0.02}\n", &w, &report, &err));
    CHECK_INT(w.seen[1], STEPS);
    CHECK_INT(w.seen[2], STEPS);
    distill_report_free(report);
    CHECK_INT(run(whole_out, 8, NULL, NULL, &report, &err), DISTILL_E_INVALID);
    CHECK_HAS(err.message, "flags 0x8");
}

/* Stages share an env, and so what forms products. */
TEST(products)
{
    distill_error err;
    distill_report *report;
    watch w = {0};
    char out[600];
    snprintf(out, sizeof out, "%s/products", small_folder);
    const char *stages = "compute: {products: cblas}\nstages:\n"
                         "- {name: middle, student: {config: '%s/student.json', init_std: 0.3}}\n"
                         "- {name: last, teacher: stages.middle, student: {from: teacher, layers: [1]},"
                         " compute: {products: %s}}\n";
    CHECK_INT(run(out, 0, small_text(stages, small_folder, "portable"), &w, &report, &err),
              small_own_products() ? DISTILL_E_OPTION : DISTILL_E_UNSUPPORTED);
    CHECK_HAS(err.message, small_own_products() ? "compute.products portable: stages share what forms products, cblas; "
                                                  "say it beside them"
                                                : "stages.last: products 'portable': this build forms them by cblas");
    CHECK_INT(w.calls, 0);
    REQUIRE_OK(run(out, 0, small_text(stages, small_folder, "cblas"), &w, &report, &err));
    CHECK_INT(w.seen[2], STEPS);
    distill_report_free(report);
}

/* A trainer makes one run. */
TEST(trainer)
{
    small s;
    distill_error err;
    REQUIRE_OK(small_parts(&s, NULL, "stages: [{name: a}, {name: b}]\n", &err));
    CHECK_INT(distill_trainer_create(s.env, s.teacher, s.student, s.train, NULL, s.options, &s.trainer, &err),
              DISTILL_E_OPTION);
    CHECK_HAS(err.message, "this recipe has 2: distill_run");
    small_close(&s);
}

/* A recipe without stages is one run, which goes on only where that is asked for. */
TEST(alone)
{
    small s = {0};
    distill_error err;
    distill_report *report = NULL;
    watch w = {.stop_at = 2};
    char out[600];
    double steps = 0;
    snprintf(out, sizeof out, "%s/alone", small_folder);
    REQUIRE_OK(small_env(&s, NULL,
                         small_text("teacher: '%s/teacher'\nstudent: {from: teacher, layers: [0, 2]}\n"
                                    "data: '%s/data.jsonl'\noutput: '%s'\n",
                                    small_folder, small_folder, out),
                         &err));
    CHECK_INT(distill_run(s.env, s.options, 0, on_progress, &w, &report, &err), DISTILL_E_CANCELLED);
    CHECK_INT(distill_run(s.env, s.options, 0, NULL, NULL, &report, &err), DISTILL_E_INVALID);
    CHECK_HAS(err.message, "already holds a run");
    CHECK_INT(distill_run(s.env, s.options, DISTILL_RUN_AGAIN, NULL, NULL, &report, &err), DISTILL_E_INVALID);
    CHECK_OK(distill_run(s.env, s.options, DISTILL_RUN_RESUME, NULL, NULL, &report, &err));
    CHECK_OK(distill_report_get_f64(report, "training.steps", &steps, &err));
    CHECK_NEAR(steps, 6, 0);
    distill_report_free(report);
    small_close(&s);
}

TEST_MAIN(TEST_CASE(whole) TEST_CASE(stopped_at_any_moment) TEST_CASE(stopped_again_and_again) TEST_CASE(changed)
              TEST_CASE(products) TEST_CASE(trainer) TEST_CASE(alone))
