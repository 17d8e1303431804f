/* Kinds of teachers in each other, from C and from recipes: routes of caches, caches of routes, a cache of a blend that
 * a function is part of. What is read from files is what the teachers said. */
#include <math.h>

#include "small.h"

enum { SCORED = 7, ROWS = 2 * SCORED };
static distill_error err;

/* A second model beside the teacher, and no caches of an earlier run. */
static int begin(void)
{
    static const char *const caches[] = {"a.dtc", "b.dtc", "both.dtc"};
    small s = {0};
    if (!small_models("compositions")) return 0;
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

/* One text, from source a and from source b. */
static int32_t score(const distill_teacher *teacher, float *out)
{
    static const char *const sources[2] = {"a", "b"};
    const int64_t offsets[3] = {0, SCORED + 1, 2 * (SCORED + 1)}, shape[2] = {ROWS, SMALL_VOCAB};
    int32_t ids[2 * (SCORED + 1)];
    distill_tensor values = {.data = out,
                             .device_type = DISTILL_CPU,
                             .ndim = 2,
                             .dtype_code = DISTILL_FLOAT,
                             .dtype_bits = 32,
                             .dtype_lanes = 1,
                             .shape = shape};
    distill_batch batch;
    distill_target target;
    small_ids(ids, SCORED + 1, 5);
    memcpy(ids + SCORED + 1, ids, sizeof ids / 2);
    DISTILL_INIT(&batch);
    DISTILL_INIT(&target);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = 2;
    batch.sources = sources;
    target.kind = DISTILL_DENSE;
    target.values = &values;
    return distill_teacher_score(teacher, &batch, &target, &err);
}

/* The teacher of a recipe, in which $ is the folder. */
static int32_t score_recipe(const char *text, float *out)
{
    char recipe[2048] = "";
    small s;
    memset(&s, 0, sizeof s);
    for (const char *at = text; *at; at++) {
        const size_t used = strlen(recipe);
        snprintf(recipe + used, sizeof recipe - used, "%.*s", *at == '$' ? 500 : 1, *at == '$' ? small_folder : at);
    }
    int32_t rc = small_env(&s, NULL, recipe, &err);
    if (!rc) rc = distill_teacher_open(s.env, NULL, s.options, &s.teacher, &err);
    if (!rc) rc = score(s.teacher, out);
    small_close(&s);
    return rc;
}

#define MODELS "teachers:\n  one: {path: $/teacher}\n  two: {path: $/other}\n"

/* The rows of source a as the teacher says them, those of source b as the other model does. */
static int32_t score_each(float *out)
{
    static float one[ROWS * SMALL_VOCAB], two[ROWS * SMALL_VOCAB];
    int32_t rc = score_recipe(MODELS "teacher: one\n", one);
    if (!rc) rc = score_recipe(MODELS "teacher: two\n", two);
    memcpy(out, one, sizeof one / 2);
    memcpy(out + SCORED * SMALL_VOCAB, two + SCORED * SMALL_VOCAB, sizeof two / 2);
    return rc;
}

/* Logits in f16 serve every temperature, and so do not keep their constant. */
static void check_rows(const float *got, const float *want, double bound)
{
    for (int r = 0; r < ROWS; r++) {
        double sums[2] = {0, 0};
        for (int v = 0; v < SMALL_VOCAB; v++) {
            sums[0] += exp((double)got[r * SMALL_VOCAB + v]);
            sums[1] += exp((double)want[r * SMALL_VOCAB + v]);
        }
        for (int v = 0; v < SMALL_VOCAB; v++)
            CHECK_NEAR((double)got[r * SMALL_VOCAB + v] - log(sums[0]),
                       (double)want[r * SMALL_VOCAB + v] - log(sums[1]), bound);
    }
}

static int64_t inspected(const char *path, const char *key)
{
    small s = {0};
    distill_report *report = NULL;
    double value = -1;
    if (!small_env(&s, NULL, NULL, &err) && !distill_inspect(s.env, path, &report, &err))
        CHECK_OK(distill_report_get_f64(report, key, &value, &err));
    distill_report_free(report);
    small_close(&s);
    return (int64_t)value;
}

/* CBLAS gives a row other bits beside other rows. */
static int rows_are_alike(void)
{
    const char *products = getenv("TEST_PRODUCTS");
    return small_own_products() && !(products && !strcmp(products, "cblas"));
}

/* ---- in recipes ---- */

TEST(cached_members_are_routed)
{
    static float want[ROWS * SMALL_VOCAB], filled[ROWS * SMALL_VOCAB], got[ROWS * SMALL_VOCAB];
    static const char *const recipes[] = {
        MODELS "  a: {cache: {path: $/a.dtc, tier: hidden}, path: one}\n  b: {cache: $/b.dtc, tier: full, from: two}\n"
               "teacher: {route: {of: [a, b]}}\n",                                                          /* fills */
        MODELS "  a: {cache: $/a.dtc, from: one}\n  b: {cache: $/b.dtc}\nteacher: {route: {of: [a, b]}}\n", /* reads */
    };
    REQUIRE(begin());
    REQUIRE_OK(score_each(want));
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++) {
        REQUIRE_OK(score_recipe(recipes[i], got));
        CHECK(!rows_are_alike() || !memcmp(got, want, sizeof got / 2)); /* hidden states are exact */
        check_rows(got, want, 0.01);
        if (!i) memcpy(filled, got, sizeof got);
    }
    CHECK(!memcmp(got, filled, sizeof got));
    CHECK_INT(inspected(test_path(small_folder, "a.dtc"), "sequences"), 1); /* each keeps its samples alone */
    CHECK_INT(inspected(test_path(small_folder, "b.dtc"), "sequences"), 1);
}

TEST(a_route_is_cached)
{
    static float want[ROWS * SMALL_VOCAB], filled[ROWS * SMALL_VOCAB], got[ROWS * SMALL_VOCAB];
    static const char *const recipes[] = {
        MODELS "teacher: {route: {of: [one, two], map: {a: one, b: two}}, cache: {path: $/both.dtc, tier: full}}\n",
        MODELS "  r: {route: {of: [one, two], map: {a: one, b: two}}, cache: $/both.dtc}\nteacher: r\n",
        "teacher: {cache: $/both.dtc}\n", /* the file alone */
    };
    REQUIRE(begin());
    REQUIRE_OK(score_each(want));
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++) {
        REQUIRE_OK(score_recipe(recipes[i], got));
        check_rows(got, want, 0.01);
        if (!i) memcpy(filled, got, sizeof got);
        CHECK(!memcmp(got, filled, sizeof got));
        CHECK_INT(inspected(test_path(small_folder, "both.dtc"), "sequences"), 2); /* one text of two sources */
        CHECK_INT(inspected(test_path(small_folder, "both.dtc"), "rows"), ROWS);
    }
}

/* ---- from C ---- */

static int32_t open_cached(small *s, const char *name, const char *tier, const distill_teacher *from,
                           distill_teacher **out)
{
    int32_t rc = distill_options_set(s->options, "teacher.cache.tier", tier, &err);
    return rc ? rc : distill_teacher_cached(s->env, test_path(small_folder, name), from, s->options, out, &err);
}

TEST(handles_of_caches_are_routed)
{
    static float want[ROWS * SMALL_VOCAB], got[ROWS * SMALL_VOCAB];
    distill_teacher *other = NULL, *route = NULL;
    distill_member members[2];
    small s;
    REQUIRE(begin());
    REQUIRE_OK(score_each(want));
    for (int from_files = 0; from_files < 2; from_files++) {
        REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
        REQUIRE_OK(distill_teacher_open(s.env, test_path(small_folder, "other"), s.options, &other, &err));
        for (int i = 0; i < 2; i++) DISTILL_INIT(&members[i]);
        members[0].name = "a";
        members[1].name = "b";
        distill_teacher *kept[2] = {NULL, NULL};
        REQUIRE_OK(open_cached(&s, "a.dtc", "full", from_files ? NULL : s.teacher, &kept[0]));
        REQUIRE_OK(open_cached(&s, "b.dtc", "full", from_files ? NULL : other, &kept[1]));
        for (int i = 0; i < 2; i++) members[i].teacher = kept[i];
        REQUIRE_OK(distill_teacher_route(s.env, members, 2, NULL, NULL, NULL, NULL, &route, &err));
        for (int i = 0; i < 2; i++) distill_teacher_free(kept[i]);
        REQUIRE_OK(score(route, got));
        check_rows(got, want, 0.01);
        distill_teacher_free(route);
        distill_teacher_free(other);
        small_close(&s);
    }
}

/* ---- a cache of a blend that a function is part of ---- */

static int calls;

static int32_t speak(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    const int64_t stride = out->values->strides ? out->values->strides[0] : SMALL_VOCAB;
    (void)user;
    calls++;
    for (int64_t r = 0; r < count; r++)
        for (int64_t v = 0; v < SMALL_VOCAB; v++)
            ((float *)out->values->data)[r * stride + v] =
                0.1f * (float)((batch->ids[batch->rows[first + r]] * 7 + v * 5) % 23);
    return DISTILL_CB_OK;
}

static int32_t open_function(small *s, distill_teacher **out)
{
    int64_t shape[2] = {1, SMALL_VOCAB};
    distill_tensor values = {.device_type = DISTILL_CPU,
                             .ndim = 2,
                             .dtype_code = DISTILL_FLOAT,
                             .dtype_bits = 32,
                             .dtype_lanes = 1,
                             .shape = shape};
    distill_target form;
    distill_teacher_callbacks table;
    DISTILL_INIT(&form);
    DISTILL_INIT(&table);
    form.kind = DISTILL_DENSE;
    form.values = &values;
    table.score = speak;
    table.form = &form;
    return distill_teacher_from_callbacks(s->env, &table, s->options, out, &err);
}

/* s->teacher becomes blend(a, b, function). */
static int32_t blend_three(small *s)
{
    static const double weights[3] = {0.5, 0.3, 0.2};
    distill_teacher *parts[3] = {s->teacher, NULL, NULL};
    distill_member members[3];
    s->teacher = NULL;
    int32_t rc = distill_teacher_open(s->env, test_path(small_folder, "other"), s->options, &parts[1], &err);
    if (!rc) rc = open_function(s, &parts[2]);
    for (int i = 0; i < 3; i++) {
        DISTILL_INIT(&members[i]);
        members[i].teacher = parts[i];
        members[i].weight = weights[i];
    }
    if (!rc) rc = distill_teacher_blend(s->env, members, 3, NULL, &s->teacher, &err);
    for (int i = 0; i < 3; i++) distill_teacher_free(parts[i]);
    return rc;
}

typedef enum { LIVE, BY_CALL, BY_RECIPE, FILE_ALONE } keeping;

/* What each step's loss was. */
static int32_t train(keeping how, small *s, double losses[3])
{
    static const char *const recipe = "loss: {type: forward_kl, temperature: 2}\n"
                                      "teacher: {cache: {tier: top_k, k: 64, temperature: 2}}\n";
    distill_teacher *kept = NULL;
    distill_progress p;
    int32_t rc = small_parts(s, NULL, recipe, &err);
    calls = 0;
    if (!rc && how != FILE_ALONE) rc = blend_three(s);
    if (!rc && how == BY_RECIPE)
        rc = distill_options_set(s->options, "teacher.cache.path", test_path(small_folder, "both.dtc"), &err);
    if (!rc && (how == BY_CALL || how == FILE_ALONE)) {
        rc = open_cached(s, "both.dtc", "top_k", how == BY_CALL ? s->teacher : NULL, &kept);
        distill_teacher_free(s->teacher);
        s->teacher = kept;
    }
    if (!rc) rc = distill_trainer_create(s->env, s->teacher, s->student, s->train, NULL, s->options, &s->trainer, &err);
    for (int i = 0; !rc && i < 3; i++) {
        DISTILL_INIT(&p);
        rc = distill_trainer_step(s->trainer, &p, &err);
        losses[i] = p.loss;
    }
    return rc;
}

/* Filled by a handle or by what the recipe says of the cache, and read without anybody: the same training. */
TEST(a_blend_with_a_function_is_cached)
{
    small live, filled, read;
    double losses[3][3];
    for (keeping how = BY_CALL; how <= BY_RECIPE; how++) {
        REQUIRE(begin());
        REQUIRE_OK(train(LIVE, &live, losses[0]));
        CHECK(calls > 0);
        REQUIRE_OK(train(how, &filled, losses[1]));
        CHECK(calls > 0);
        distill_trainer_free(filled.trainer);
        filled.trainer = NULL;
        distill_teacher_free(filled.teacher);
        filled.teacher = NULL;
        REQUIRE_OK(train(FILE_ALONE, &read, losses[2]));
        CHECK_INT(calls, 0);
        CHECK(small_same_bits(filled.student, read.student));
        for (int i = 0; i < 3; i++) CHECK_NEAR(losses[1][i], losses[0][i], 0.02); /* values are quantised */
        small_close(&live);
        small_close(&filled);
        small_close(&read);
    }
}

/* ---- side by side ---- */

static int64_t loops; /* that the process was given; loops inside of one are not */

static int32_t in_this_thread(void *user, int64_t n, distill_body_fn body, void *context)
{
    (void)user;
    loops++;
    for (int64_t i = 0; i < n; i++) body(context, i, i + 1);
    return 0;
}

/* teacher.parallel through handles: the process is given the passes of members as one loop; the bits are the same. */
TEST(members_side_by_side)
{
    static float in_turn[ROWS * SMALL_VOCAB], together[ROWS * SMALL_VOCAB];
    REQUIRE(begin());
    for (int routed = 0; routed < 2; routed++) {
        int64_t counted[2] = {0, 0};
        for (int parallel = 0; parallel < 2; parallel++) {
            distill_env *env = NULL;
            distill_options *options = NULL;
            distill_member members[2];
            distill_teacher *teachers[2] = {NULL, NULL}, *whole = NULL;
            REQUIRE_OK(distill_env_create(NULL, &env, &err));
            REQUIRE_OK(distill_env_set_threads(env, 2, in_this_thread, NULL, NULL, &err));
            REQUIRE_OK(distill_options_create(env, &options, &err));
            if (parallel) REQUIRE_OK(distill_options_set(options, "teacher.parallel", "true", &err));
            for (int i = 0; i < 2; i++) {
                REQUIRE_OK(distill_teacher_open(env, test_path(small_folder, i ? "other" : "teacher"), NULL,
                                                &teachers[i], &err));
                DISTILL_INIT(&members[i]);
                members[i].teacher = teachers[i];
                members[i].name = i ? "b" : "a";
            }
            if (routed) REQUIRE_OK(distill_teacher_route(env, members, 2, NULL, NULL, NULL, options, &whole, &err));
            else REQUIRE_OK(distill_teacher_blend(env, members, 2, options, &whole, &err));
            loops = 0;
            REQUIRE_OK(score(whole, parallel ? together : in_turn));
            counted[parallel] = loops;
            distill_teacher_free(whole);
            for (int i = 0; i < 2; i++) distill_teacher_free(teachers[i]);
            distill_options_free(options);
            distill_env_free(env);
        }
        CHECK(!memcmp(in_turn, together, sizeof in_turn));
        CHECK(counted[1] > 0 && counted[1] < counted[0]);
    }
}

TEST_MAIN(TEST_CASE(members_side_by_side) TEST_CASE(cached_members_are_routed) TEST_CASE(a_route_is_cached)
              TEST_CASE(handles_of_caches_are_routed) TEST_CASE(a_blend_with_a_function_is_cached))
