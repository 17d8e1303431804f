/* train.on_policy with every kind of teacher and student: each makes steps, or is refused by name before the first. */
#include "small.h"

#define OWN "train.on_policy: {lambda: 1, max_new_tokens: 8, prompt_tokens: 5}\n"

static int32_t open_recipe(small *s, const char *yaml, const char *gguf, distill_error *err)
{
    memset(s, 0, sizeof *s);
    int32_t rc = small_env(s, NULL, yaml, err);
    if (!rc && !gguf)
        rc =
            distill_student_create(s->env, test_path(small_folder, "student.json"), NULL, s->options, &s->student, err);
    if (!rc && gguf) rc = distill_student_open(s->env, gguf, s->options, &s->student, err);
    if (!rc) rc = small_dataset_seeded(s, SMALL_SEQUENCES, 100, &s->train, err);
    if (!rc) rc = small_dataset_seeded(s, SMALL_EVAL, 900, &s->eval, err);
    if (!rc) rc = distill_trainer_create(s->env, NULL, s->student, s->train, s->eval, s->options, &s->trainer, err);
    return rc;
}

static void makes_steps(const char *yaml)
{
    small s;
    distill_error err;
    distill_progress now;
    DISTILL_INIT(&now);
    if (open_recipe(&s, yaml, NULL, &err)) FAIL("%s: %s", yaml, err.message);
    for (int i = 0; s.trainer && i < 3; i++)
        if (distill_trainer_step(s.trainer, &now, &err)) FAIL("%s: step %d: %s", yaml, i, err.message);
    if (s.trainer && (now.generated < 3 * 4 || !isfinite(now.loss))) FAIL("%s: nothing was written", yaml);
    small_close(&s);
}

static void refused(const char *yaml, const char *part)
{
    small s;
    distill_error err;
    if (!open_recipe(&s, yaml, NULL, &err)) FAIL("%s is not refused", yaml);
    else CHECK_HAS(err.message, part);
    small_close(&s);
}

static const char *two(const char *teacher, const char *more)
{
    return small_text("teachers: {a: {path: '%s/teacher'}, b: {path: '%s/teacher', temperature: 2}%s}\n"
                      "teacher: {%s}\n" OWN,
                      small_folder, small_folder, more, teacher);
}

TEST(teachers)
{
    static const char *const makes[] = {
        "blend: {of: [a, b]}",
        "blend: {of: [a, b], mode: log_linear, weights: [0.3, 0.7]}",
        "blend: {of: [a, b], mode: max_confidence}",
        "blend: {of: [a, b], mode: min_entropy}",
        "blend: {of: [a, b], mode: stochastic, draw: token}",
        "blend: {of: [a, b], weighting: entropy}",
        "blend: {of: [a, b], weighting: learned, learn: {every: 1, tokens: 64}}",
        "blend: {of: [a, b], weights: [{schedule: linear, from: 1, to: 0, steps: 2}, {schedule: linear, from: 0, to: "
        "1, "
        "steps: 2}]}",
        "schedule: [{teacher: a, until: 1}, {teacher: b}]",
        "route: {by: source, of: [a, b], default: a}",
        "route: {by: prompt_perplexity, of: [a, b]}",
        "path: a, prefix: {ids: [3, 5]}",
        "path: a, temperature: 0.5",
    };
    REQUIRE(small_models("on_policy_teachers"));
    for (size_t i = 0; i < sizeof makes / sizeof *makes; i++) makes_steps(two(makes[i], ""));
    makes_steps(two("blend: {of: [a, own]}", ", own: {self: average, average.decay: 0.5}"));
    makes_steps("teacher: {self: student, prefix: {ids: [3, 5]}}\n" OWN);
    refused(two("blend: {of: [a, b], mode: min_cross_entropy}", ""), "goes by the true next token");
    refused(two("blend: {of: [a, b], weighting: label}", ""), "goes by the true");
    refused(two("route: {by: tag, of: [a, b]}", ""), "");
}

/* The student is opened from a GGUF file: it writes and learns like any other; a quantised one is what training says.
 * */
TEST(students_of_gguf_files)
{
    static const char *const types[] = {"f32", "q8_0"};
    REQUIRE(small_models("on_policy_teachers"));
    for (int i = 0; i < 2; i++) {
        small s = {0};
        distill_error err;
        distill_progress now;
        char folder[600], file[700];
        DISTILL_INIT(&now);
        snprintf(folder, sizeof folder, "%s/gguf_%s", small_folder, types[i]);
        snprintf(file, sizeof file, "%s/model.gguf", folder);
        REQUIRE_OK(small_parts(&s, NULL, small_text("output: {format: gguf, type: %s}\n", types[i]), &err));
        int32_t rc = distill_student_save(s.student, folder, s.options, &err);
        if (rc) FAIL("%s: %s", types[i], err.message);
        small_close(&s);
        if (rc) continue;
        rc = open_recipe(&s, small_text("teacher: {path: '%s/teacher'}\n" OWN, small_folder), file, &err);
        if (!rc) rc = distill_trainer_step(s.trainer, &now, &err);
        if (rc) FAIL("%s: %s", types[i], err.message);
        else CHECK(now.generated > 0);
        small_close(&s);
    }
}

TEST_MAIN(TEST_CASE(teachers) TEST_CASE(students_of_gguf_files))
