/* What forms matrix products: by the env, by a recipe, one choice for all models of an env. */
#include "small.h"

static const char *const kernels[] = {"amx", "avx512_bf16", "avx512", "avx2", "portable"};

static const char *products_of(const distill_env *env)
{
    static char json[1 << 15], out[32];
    distill_report *report = NULL;
    size_t needed = 0;
    distill_error err;
    *out = '\0';
    if (distill_inspect(env, NULL, &report, &err)) return "no report";
    if (!distill_report_json(report, json, sizeof json, &needed, &err) && strstr(json, "\"products\""))
        sscanf(strstr(json, "\"products\""), "\"products\": \"%31[^\"]", out);
    if (!*out && strstr(json, "\"products\"")) sscanf(strstr(json, "\"products\""), "\"products\":\"%31[^\"]", out);
    distill_report_free(report);
    return out;
}

static const char *missing(void)
{
    return small_own_products() ? "this machine or this build has not its instructions" : "by cblas alone";
}

TEST(of_an_env)
{
    distill_error err;
    small s = {0};
    REQUIRE(small_models("env_products"));
    REQUIRE_OK(small_env(&s, NULL, NULL, &err));
    CHECK_INT(distill_env_set_products(s.env, "neon", &err), DISTILL_E_INVALID);
    CHECK_HAS(err.message, "products 'neon' is not one of auto|cblas|amx|avx512_bf16|avx512|avx2|portable");
    CHECK_INT(distill_env_set_products(s.env, NULL, &err), DISTILL_E_INVALID);
    CHECK_INT(distill_env_set_products(NULL, "cblas", &err), DISTILL_E_INVALID);
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        int32_t rc = distill_env_set_products(s.env, kernels[i], &err);
        if (rc == DISTILL_OK) CHECK_STR(products_of(s.env), kernels[i]);
        else CHECK_INT(rc, DISTILL_E_UNSUPPORTED);
        if (rc) CHECK_HAS(err.message, missing());
    }
    CHECK_OK(distill_env_set_products(s.env, "cblas", &err));
    CHECK_STR(products_of(s.env), "cblas");
    REQUIRE_OK(small_handles(&s, &err));
    CHECK_OK(distill_env_set_products(s.env, "cblas", &err)); /* as it is */
    CHECK_INT(distill_env_set_products(s.env, "portable", &err),
              small_own_products() ? DISTILL_E_STAGE : DISTILL_E_UNSUPPORTED);
    CHECK_HAS(err.message, small_own_products()
                               ? "opened with products by cblas, so they cannot be by portable any more"
                               : "by cblas alone");
    CHECK_STR(products_of(s.env), "cblas");
    small_close(&s);
}

TEST(of_a_recipe)
{
    distill_error err;
    small s = {0};
    REQUIRE(small_models("env_products"));
    if (!small_own_products()) SKIP("this build forms products by cblas alone");
    REQUIRE_OK(small_open(&s, "compute: {products: portable}\n", &err));
    CHECK_STR(products_of(s.env), "portable");
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    distill_trainer_free(s.trainer);
    s.trainer = NULL;
    CHECK_OK(distill_options_set(s.options, "compute.products", "cblas", &err));
    CHECK_INT(distill_trainer_create(s.env, s.teacher, s.student, s.train, s.eval, s.options, &s.trainer, &err),
              DISTILL_E_STAGE);
    CHECK_HAS(err.message, "compute.products: the env's first model");
    CHECK_INT(distill_options_set(s.options, "compute.products", "avx3", &err), DISTILL_E_OPTION);
    CHECK_HAS(err.message, "compute.products \"avx3\" is none of auto|cblas|amx|");
    small_close(&s);
}

/* Where nothing was opened, nothing was chosen. */
TEST(of_what_was_not_opened)
{
    distill_error err;
    small s = {0};
    char before[32];
    REQUIRE(small_models("env_products"));
    if (!small_own_products()) SKIP("this build forms products by cblas alone");
    REQUIRE_OK(small_env(&s, NULL, "compute: {products: portable}\n", &err));
    CHECK_OK(distill_env_set_products(s.env, "cblas", &err));
    snprintf(before, sizeof before, "%s", products_of(s.env));
    CHECK(distill_teacher_open(s.env, test_path(small_folder, "nothing"), s.options, &s.teacher, &err));
    CHECK_STR(products_of(s.env), before);
    CHECK_INT(distill_teacher_open(s.env, NULL, s.options, &s.teacher, &err), DISTILL_E_OPTION);
    CHECK_HAS(err.message, "teacher.path is not set");
    CHECK(distill_student_open(s.env, test_path(small_folder, "nothing"), s.options, &s.student, &err));
    CHECK_STR(products_of(s.env), before);
    CHECK_OK(distill_env_set_products(s.env, "portable", &err));
    CHECK_OK(distill_env_set_products(s.env, "cblas", &err));
    REQUIRE_OK(distill_teacher_open(s.env, test_path(small_folder, "teacher"), s.options, &s.teacher, &err));
    CHECK(distill_student_open(s.env, test_path(small_folder, "nothing"), s.options, &s.student, &err));
    CHECK_STR(products_of(s.env), "portable"); /* the one that is open stays what it is */
    CHECK_INT(distill_env_set_products(s.env, "cblas", &err), DISTILL_E_STAGE);
    small_close(&s);
}

/* The same run by any of them: sums in another order, and nothing else. */
TEST(all_train_alike)
{
    distill_error err;
    small first = {0}, s;
    REQUIRE(small_models("env_products"));
    REQUIRE_OK(small_open(&first, "compute: {products: cblas}\n", &err));
    CHECK_OK(distill_trainer_run(first.trainer, &err));
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        int32_t rc = small_open(&s, small_text("compute: {products: %s}\n", kernels[i]), &err);
        if (rc == DISTILL_OK) {
            CHECK_OK(distill_trainer_run(s.trainer, &err));
            CHECK_NEAR(small_distance(first.student, s.student), 0, 1e-3);
        } else {
            CHECK_INT(rc, DISTILL_E_OPTION);
            CHECK_HAS(err.message, missing());
        }
        small_close(&s);
    }
    small_close(&first);
}

TEST_MAIN(TEST_CASE(of_an_env) TEST_CASE(of_a_recipe) TEST_CASE(of_what_was_not_opened) TEST_CASE(all_train_alike))
