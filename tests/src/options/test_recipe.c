#include "base/file.h"
#include "options/options.h"
#include "test.h"

static dk_host *host;
static dk_error err;
static di_options *options;

static int setup(void)
{
    if (!host) dk_host_create(NULL, &host, &err);
    di_options_free(options);
    options = NULL;
    return di_options_create(host, &options, &err) == DK_OK;
}

static int32_t parse(const char *yaml)
{
    return di_options_parse(options, yaml, strlen(yaml), "recipe.yaml", NULL, &err);
}

static void check_error(const char *yaml, const char *message, int64_t line)
{
    REQUIRE(setup());
    CHECK_INT(di_options_set_i64(options, "train.steps", 3, &err), 0);
    CHECK(parse(yaml) != DK_OK);
    CHECK_STR(err.message, message);
    CHECK_INT(err.position, line);
    CHECK_INT(di_options_i64(options, "train.steps"), 3);
}

static const char *const sample =
    "teacher: {path: teacher/}\n"
    "student: {from: teacher, layers: [0, 2, 5]}\n"
    "data:    {train: train.jsonl, eval: /abs/valid.jsonl, sequence_length: 256}\n"
    "loss:    {type: forward_kl, temperature: 2.0, hard_label_weight: 0.5}\n"
    "train:   {steps: 2000, batch_size: 8, learning_rate: 6.0e-4, schedule: cosine, warmup_steps: 50, seed: 1}\n"
    "output:  out/\n";

TEST(a_recipe)
{
    REQUIRE(setup());
    REQUIRE_OK(parse(sample));
    CHECK_STR(di_options_text(options, "teacher.path"), "teacher/");
    CHECK_STR(di_options_text(options, "student.from"), "teacher");
    CHECK_INT(di_options_list_size(options, "student.layers"), 3);
    CHECK_INT(di_options_i64(options, "data.sequence_length"), 256);
    CHECK(di_options_f64(options, "train.learning_rate") == 6e-4);
    CHECK(di_options_f64(options, "loss.hard_label_weight") == 0.5);
    CHECK_STR(di_options_text(options, "output.path"), "out/");
    REQUIRE_OK(parse("train: {steps: 10}\noutput:\n")); /* merges; an empty section is back at its defaults */
    CHECK_INT(di_options_i64(options, "train.steps"), 10);
    CHECK_INT(di_options_i64(options, "train.warmup_steps"), 50);
    CHECK(!di_options_text(options, "output.path"));
    REQUIRE_OK(parse(""));
    REQUIRE_OK(parse("loss:\n  - type: forward_kl\n    weight: 0.9\n  - {type: cross_entropy, weight: 0.1}\n"));
    CHECK_INT(di_options_list_size(options, "loss"), 2);
    CHECK(!di_options_is_set(options, "loss.hard_label_weight"));
}

TEST(paths_follow_the_recipe)
{
    char folder[512], path[600], want[600];
    REQUIRE(setup());
    REQUIRE(snprintf(folder, sizeof folder, "%s", test_folder("recipe")) < (int)sizeof folder);
    snprintf(path, sizeof path, "%s/r.yaml", folder);
    REQUIRE_OK(dk_file_replace(host, path, sample, strlen(sample), &err));
    REQUIRE_OK(di_options_load(options, path, &err));
    snprintf(want, sizeof want, "%s/teacher/", folder);
    CHECK_STR(di_options_text(options, "teacher.path"), want);
    snprintf(want, sizeof want, "%s/out/", folder);
    CHECK_STR(di_options_text(options, "output.path"), want);
    CHECK_STR(di_options_text(options, "data.eval.path"), "/abs/valid.jsonl");
    CHECK_STR(di_options_text(options, "student.from"), "teacher"); /* not a path */
    CHECK_OK(di_options_set(options, "output", "here", &err));
    CHECK_STR(di_options_text(options, "output.path"), "here");
    CHECK_INT(di_options_load(options, "/no/such.yaml", &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "/no/such.yaml: cannot be opened");
    REQUIRE_OK(dk_file_replace(host, path, "train:\n  steps: -4\n", 19, &err));
    CHECK_INT(di_options_load(options, path, &err), DK_E_OPTION);
    CHECK_HAS(err.message, "recipe/r.yaml:2: train.steps -4 is not in [0, 1000000000000]");
    REQUIRE_OK(di_options_parse(options, "teacher: t\n", 11, "r", ".", &err));
    CHECK_STR(di_options_text(options, "teacher.path"), "t");
}

TEST(errors_have_lines)
{
    check_error("train:\n  steps: 5\n  stpes: 6\n",
                "recipe.yaml:3: train.stpes is not an option; did you mean train.steps?", 3);
    check_error("train:\n  steps: 5\n  beta1:\n    2\n", "recipe.yaml:4: train.beta1 2 is not in [0, 1)", 4);
    check_error("train: {steps: 5}\nlearning_rate: 1\n",
                "recipe.yaml:2: learning_rate is not an option; did you mean train.learning_rate?", 2);
    check_error("train: 5\n", "recipe.yaml:1: train is a section: give it as a map, train: {key: value}", 1);
    check_error(
        "loss:\n  - type: a\n  - weight: -1\n",
        "recipe.yaml:3: loss.1.weight -1 is neither 0 nor in [1e-06, 1000000]: weight of a term in a list of losses",
        3);
    check_error("loss:\n  - [a]\n", "recipe.yaml:2: loss.0 is a section: give it as a map, loss.0: {key: value}", 2);
    check_error("loss:\n  - type: a\n    hard_label_weight: 0.5\n",
                "recipe.yaml:3: loss.0.hard_label_weight belongs to a single loss; in a list give each its weight", 3);
    check_error("[a]\n", "recipe.yaml: a recipe is a map of sections, as in \"train: {steps: 100}\"", -1);
    check_error("train: {steps: 1, steps: 2}\n", "recipe.yaml:1: key \"steps\" occurs twice", 1);
    check_error("train: &a {steps: 1}\n", "recipe.yaml:1: anchors are not supported; write the value out", 1);
    check_error("student:\n  layers:\n    - 1\n    - x\n", "recipe.yaml:3: student.layers \"x\" is not an integer", 3);
    check_error("\"tr\\0ain\": 1\n", "recipe.yaml:1: a key cannot contain a NUL character", 1);
    CHECK_INT(di_options_parse(options, "train: 5", 8, "r", NULL, NULL), DK_E_OPTION);
    di_options_free(options);
    options = NULL;
}

TEST_MAIN(TEST_CASE(a_recipe) TEST_CASE(paths_follow_the_recipe) TEST_CASE(errors_have_lines))
