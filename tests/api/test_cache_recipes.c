/* Caches of the teachers of a recipe, and how they compose: filled by one, part of a blend, around a blend. */
#include "small.h"

enum { SCORED = 7 };
static distill_error err;

/* A second model beside the teacher, and no caches of an earlier run. */
static int begin(void)
{
    static const char *const caches[] = {"a.dtc", "b.dtc", "c.dtc", "both.dtc"};
    small s = {0};
    if (!small_models("cache_recipes")) return 0;
    for (size_t i = 0; i < sizeof caches / sizeof *caches; i++) {
        remove(test_path(small_folder, caches[i]));
        remove(small_text("%s/%s.index", small_folder, caches[i]));
    }
    int32_t rc = small_env(&s, NULL, "student: {init_std: 0.3}\ntrain: {seed: 8}\n", &err);
    if (!rc)
        rc = distill_student_create(s.env, test_path(small_folder, "teacher.json"), NULL, s.options, &s.student, &err);
    if (!rc) rc = distill_student_save(s.student, test_path(small_folder, "other"), s.options, &err);
    small_close(&s);
    return rc == DISTILL_OK;
}

/* Logits or log-probabilities of a few rows by the teacher of a recipe; NULL = it is opened alone. */
static int32_t score(const char *teachers, float *out)
{
    static const char *const models = "teachers:\n  one: {path: %s/teacher}\n  two: {path: %s/other}\n";
    int64_t offsets[2] = {0, SCORED + 1}, shape[2] = {SCORED, SMALL_VOCAB};
    int32_t ids[SCORED + 1];
    distill_tensor values = {.data = out,
                             .device_type = DISTILL_CPU,
                             .ndim = 2,
                             .dtype_code = DISTILL_FLOAT,
                             .dtype_bits = 32,
                             .dtype_lanes = 1,
                             .shape = shape};
    distill_batch batch;
    distill_target target;
    char recipe[2048];
    small s;
    memset(&s, 0, sizeof s);
    snprintf(recipe, sizeof recipe, models, small_folder, small_folder);
    for (const char *at = teachers; *at; at++) { /* $ = the folder */
        const size_t used = strlen(recipe);
        snprintf(recipe + used, sizeof recipe - used, "%.*s", *at == '$' ? 500 : 1, *at == '$' ? small_folder : at);
    }
    int32_t rc = small_env(&s, NULL, recipe, &err);
    if (!rc) rc = distill_teacher_open(s.env, NULL, s.options, &s.teacher, &err);
    if (!rc && out) {
        small_ids(ids, SCORED + 1, 5);
        DISTILL_INIT(&batch);
        DISTILL_INIT(&target);
        batch.ids = ids;
        batch.offsets = offsets;
        batch.sequences = 1;
        target.kind = DISTILL_DENSE;
        target.values = &values;
        rc = distill_teacher_score(s.teacher, &batch, &target, &err);
    }
    small_close(&s);
    return rc;
}

TEST(a_cache_is_filled_by_the_teacher_it_names)
{
    static float live[SCORED * SMALL_VOCAB], got[SCORED * SMALL_VOCAB];
    static const char *const recipes[] = {
        "teacher: {cache: $/c.dtc, tier: hidden, from: one}\n", /* fills */
        "teacher: {cache: $/c.dtc, from: one}\n",               /* reads; the tier is the file's */
        "teacher: {cache: {path: $/c.dtc, from: one}}\n",
        "teacher: {cache: $/c.dtc, from: $/teacher}\n",
        "teacher: {path: one, cache: $/c.dtc}\n",
        "  big: {cache: $/a.dtc, tier: hidden, from: one}\nteacher: big\n",
        "  big: {path: $/teacher, cache: $/a.dtc}\nteacher: big\n",
    };
    REQUIRE(begin());
    REQUIRE_OK(score("teacher: one\n", live));
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++) {
        memset(got, 0, sizeof got);
        REQUIRE_OK(score(recipes[i], got));
        CHECK(memcmp(got, live, sizeof got) == 0);
    }
}

TEST(cached_teachers_are_blended)
{
    static float live[SCORED * SMALL_VOCAB], got[SCORED * SMALL_VOCAB];
    static const char *const recipes[] = {
        "  a: {cache: {path: $/a.dtc, tier: hidden}, path: one}\n  b: {cache: $/b.dtc, tier: full, from: two}\n"
        "teacher: {blend: {of: [a, b], weights: [0.7, 0.3]}}\n",
        "  b: {cache: $/b.dtc}\nteacher: {blend: {of: [b, one], weights: [0.3, 0.7]}}\n", /* the file alone */
    };
    REQUIRE(begin());
    REQUIRE_OK(score("teacher: {blend: {of: [one, two], weights: [0.7, 0.3]}}\n", live));
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++) {
        REQUIRE_OK(score(recipes[i], got));
        for (int v = 0; v < SCORED * SMALL_VOCAB; v++) CHECK_NEAR((double)got[v], (double)live[v], 0.01);
    }
}

TEST(a_blend_is_cached)
{
    static const char *const fills =
        "  both: {blend: {of: [one, two]}, cache: $/both.dtc, tier: top_k}\nteacher: both\n";
    float none[SCORED * SMALL_VOCAB];
    REQUIRE(begin());
    REQUIRE_OK(score(fills, NULL));
    CHECK_INT(score(fills, none), DISTILL_E_UNSUPPORTED);
    CHECK_HAS(err.message, "TOPK");
    CHECK_INT(score("  both: {blend: {of: [one, two]}, cache: $/both.dtc, tier: full}\nteacher: both\n", NULL),
              DISTILL_E_UNSUPPORTED);
    CHECK_INT(score("  both: {blend: {of: [one, two], weights: [0.4, 0.6]}, cache: $/both.dtc}\nteacher: both\n", NULL),
              DISTILL_E_MISMATCH);
    CHECK_HAS(err.message, "holds targets of the teacher");
}

static double plan_number(distill_report *report, const char *key)
{
    double value = -1;
    CHECK_OK(distill_report_get_f64(report, key, &value, &err));
    return value;
}

/* All files of a recipe are predicted, the ones inside of others, too, and none is made; then they come out so. */
TEST(a_plan_is_of_all_caches)
{
    static const char *const recipe =
        "teachers:\n  one: {path: %s/teacher, cache: {path: %s/a.dtc, tier: hidden}}\n"
        "  two: {path: %s/other, cache: {path: %s/b.dtc, tier: full}}\n"
        "teacher: {blend: {of: [one, two]}, cache: {path: %s/both.dtc, tier: top_k, k: 8}}\n";
    static const char *const files[3] = {"both.dtc", "a.dtc", "b.dtc"};
    distill_report *plan = NULL, *made = NULL;
    double total = 0;
    small s;
    REQUIRE(begin());
    memset(&s, 0, sizeof s);
    REQUIRE_OK(small_env(
        &s, NULL, small_text(recipe, small_folder, small_folder, small_folder, small_folder, small_folder), &err));
    REQUIRE_OK(small_dataset_seeded(&s, SMALL_SEQUENCES, 100, &s.train, &err));
    REQUIRE_OK(distill_cache_plan(s.env, NULL, s.train, NULL, s.options, &plan, &err));
    for (int i = 0; i < 3; i++) CHECK(!small_exists(test_path(small_folder, files[i])));
    REQUIRE_OK(distill_cache_build(s.env, NULL, s.train, NULL, s.options, NULL, NULL, &made, &err));
    for (int i = 0; i < 3; i++) {
        const double bytes = plan_number(made, small_text("caches.%d.bytes", i));
        CHECK(small_exists(test_path(small_folder, files[i])));
        CHECK_NEAR(plan_number(plan, small_text("caches.%d.bytes", i)), bytes, 0.05 * bytes);
        CHECK_NEAR(plan_number(plan, small_text("caches.%d.missing", i)), SMALL_SEQUENCES * 16, 0);
        total += plan_number(plan, small_text("caches.%d.bytes", i));
    }
    CHECK_NEAR(plan_number(plan, "bytes"), total, 0);
    CHECK_NEAR(plan_number(plan, "missing"), plan_number(made, "added"), 0);
    CHECK_NEAR(plan_number(plan, "rows"), SMALL_SEQUENCES * 16, 0);
    distill_report_free(plan);
    REQUIRE_OK(distill_cache_plan(s.env, NULL, s.train, NULL, s.options, &plan, &err));
    CHECK_NEAR(plan_number(plan, "missing"), 0, 0);
    distill_report_free(plan);
    distill_report_free(made);
    small_close(&s);
}

TEST(what_a_recipe_cannot_mean_is_refused)
{
    static const char *const cases[][2] = {
        {"  a: {path: one, cache: {tier: hidden}}\nteacher: a\n", "teachers.a.cache.path is not given"},
        {"teacher: {path: one, cache: $/c.dtc, from: one}\n", "teacher.cache.from and a teacher beside it"},
        {"teacher: {cache: {path: $/c.dtc}, tier: hidden, from: one}\n", "stands beside teacher.cache, which is a map"},
        {"teacher: {cache: $/c.dtc, tier: topk, from: one}\n", "teacher.cache.tier \"topk\" is none of"},
        {"teacher: {cache: $/c.dtc, teir: hidden}\n", "teacher.teir is not an option"},
        {"  a: {cache: $/a.dtc, from: b}\n  b: {blend: {of: [a, one]}}\nteacher: a\n", "a -> b -> a"},
        {"  a: {cache: $/none.dtc}\nteacher: a\n", "there is no target cache, and no teacher to make one of"},
        {"  a: {cache: $/a.dtc, k: 3, from: one}\nteacher: a\n", "teachers.a.k is not an option"},
        {"  a: {cache: {path: $/a.dtc, tier: top_k, k: 99, from: one}}\nteacher: a\n",
         "teachers.a.cache.k is 99, above the 64 ids"},
    };
    REQUIRE(begin());
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK(score(cases[i][0], NULL) < 0);
        CHECK_HAS(err.message, cases[i][1]);
        CHECK(!strchr(err.message, '\n'));
    }
}

TEST(a_sequence_that_is_missing_is_named)
{
    static float got[SCORED * SMALL_VOCAB];
    REQUIRE(begin());
    REQUIRE_OK(score("teacher: {cache: $/b.dtc, tier: full, from: two}\n", NULL)); /* nothing was asked of it */
    CHECK_INT(score("teacher: {cache: $/b.dtc}\n", got), DISTILL_E_NOT_FOUND);
    CHECK_HAS(err.message, "b.dtc: lacks sequence ");
    CHECK_HAS(err.message, "of 8 tokens");
}

TEST_MAIN(TEST_CASE(a_cache_is_filled_by_the_teacher_it_names) TEST_CASE(cached_teachers_are_blended)
              TEST_CASE(a_blend_is_cached) TEST_CASE(a_plan_is_of_all_caches)
                  TEST_CASE(what_a_recipe_cannot_mean_is_refused) TEST_CASE(a_sequence_that_is_missing_is_named))
