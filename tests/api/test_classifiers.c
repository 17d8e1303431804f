/* Classifiers through the public functions: lines of the host's, many texts at once, wrong arguments, and a stop from
 * another handle. */
#include "distill.h"
#include "test.h"

static const char *const lines[] = {"{\"text\": \"red apple\", \"probabilities\": {\"fruit\": 0.9, \"tool\": 0.1}}",
                                    "{\"text\": \"steel hammer\", \"probabilities\": {\"fruit\": 0.2, \"tool\": 0.8}}",
                                    "{\"prompt\": \"yellow pear\", \"label\": \"fruit\", \"weight\": 2}"};
enum { LINES = (int)(sizeof lines / sizeof *lines), TEXTS = 200 };

typedef struct fixture {
    distill_env *env;
    distill_options *options;
    distill_sample samples[LINES];
} fixture;

static int fixture_open(fixture *f)
{
    static const char recipe[] = "classifier: {ngrams: {bits: 10}}\nloss: forward_kl\n"
                                 "train: {steps: 60, batch_size: 4, learning_rate: 0.05, weight_decay: 0}\n";
    distill_error err;
    if (distill_env_create(NULL, &f->env, &err) || distill_options_create(f->env, &f->options, &err) ||
        distill_options_parse(f->options, recipe, sizeof recipe - 1, "recipe", &err)) {
        FAIL("%s", err.message);
        return 0;
    }
    for (int i = 0; i < LINES; i++) {
        DISTILL_INIT(&f->samples[i]);
        f->samples[i].kind = DISTILL_SAMPLE_JSON;
        f->samples[i].text = lines[i];
        f->samples[i].size = (int64_t)strlen(lines[i]);
    }
    return 1;
}

static void fixture_close(fixture *f)
{
    distill_options_free(f->options);
    distill_env_free(f->env);
}

static int32_t train(fixture *f, distill_classifier **out, distill_error *err)
{
    return distill_classifier_train(f->env, f->samples, LINES, f->options, 0, NULL, NULL, out, NULL, err);
}

TEST(learns_and_answers)
{
    float p[2];
    double value = 0;
    distill_verdict verdict;
    distill_classifier *c = NULL;
    distill_report *report = NULL;
    distill_error err;
    fixture f;
    REQUIRE(fixture_open(&f));
    REQUIRE_OK(train(&f, &c, &err));
    CHECK_STR(distill_classifier_class_name(c, 0), "fruit");
    CHECK_STR(distill_classifier_class_name(c, 1), "tool");
    CHECK(!distill_classifier_class_name(c, 2) && !distill_classifier_class_name(c, -1));
    DISTILL_INIT(&verdict);
    REQUIRE_OK(distill_classifier_predict(c, "an apple", 8, p, 2, &verdict, &err));
    CHECK_INT(verdict.answer, 0);
    CHECK_INT(verdict.sure, 0); /* nothing was held out, so nothing is promised */
    CHECK_NEAR((double)(p[0] + p[1]), 1, 1e-6);
    CHECK_OK(distill_classifier_get_f64(c, "threshold", &value, &err));
    CHECK(value > 1);
    CHECK_INT(distill_classifier_get_f64(c, "colour", &value, &err), DISTILL_E_NOT_FOUND);
    CHECK_HAS(err.message, "classes, inputs");
    CHECK_OK(distill_classifier_report(c, &report, &err));
    CHECK_OK(distill_report_get_f64(report, "inputs.bits", &value, &err));
    CHECK_NEAR(value, 10, 0);
    distill_report_free(report);
    distill_classifier_free(c);
    fixture_close(&f);
}

TEST(many_are_as_one_by_one)
{
    static char texts[TEXTS][40];
    static float many[TEXTS * 2], one[2];
    const char *pointers[TEXTS];
    distill_verdict verdicts[TEXTS], verdict;
    distill_classifier *c = NULL;
    distill_error err;
    fixture f;
    REQUIRE(fixture_open(&f));
    REQUIRE_OK(train(&f, &c, &err));
    DISTILL_INIT(&verdict);
    for (int i = 0; i < TEXTS; i++) {
        snprintf(texts[i], sizeof texts[i], "apple %d hammer %d", i, i * i);
        pointers[i] = texts[i];
        DISTILL_INIT(&verdicts[i]);
    }
    REQUIRE_OK(distill_classifier_predict_many(c, pointers, NULL, TEXTS, many, verdicts, &err));
    for (int i = 0; i < TEXTS; i++) {
        REQUIRE_OK(distill_classifier_predict(c, texts[i], strlen(texts[i]), one, 2, &verdict, &err));
        CHECK(!memcmp(one, many + 2 * i, sizeof one) && verdict.answer == verdicts[i].answer &&
              verdict.confidence == verdicts[i].confidence);
    }
    pointers[150] = " ";
    CHECK_INT(distill_classifier_predict_many(c, pointers, NULL, TEXTS, many, NULL, &err), DISTILL_E_INVALID);
    CHECK_HAS(err.message, "texts[150]: a text of 1 bytes has no word");
    CHECK_INT(err.position, 150);
    pointers[3] = NULL;
    CHECK_INT(distill_classifier_predict_many(c, pointers, NULL, TEXTS, many, NULL, &err), DISTILL_E_INVALID);
    CHECK_INT(err.position, 3);
    CHECK_OK(distill_classifier_predict_many(c, NULL, NULL, 0, NULL, NULL, &err));
    distill_classifier_free(c);
    fixture_close(&f);
}

TEST(wrong_arguments)
{
    float p[2] = {7, 7};
    double q[2];
    distill_classifier *c = NULL, *other = NULL;
    distill_error err;
    fixture f;
    REQUIRE(fixture_open(&f));
    REQUIRE_OK(train(&f, &c, &err));
    CHECK_INT(distill_classifier_predict(c, "a", 1, p, 1, NULL, &err), DISTILL_E_BUFFER);
    CHECK_HAS(err.message, "room for 1, there are 2 classes");
    CHECK_INT(distill_classifier_predict(c, NULL, 1, p, 2, NULL, &err), DISTILL_E_INVALID);
    CHECK_INT(distill_classifier_predict(c, "", 0, p, 2, NULL, &err), DISTILL_E_INVALID);
    CHECK_INT(distill_classifier_predict(NULL, "a", 1, p, 2, NULL, &err), DISTILL_E_INVALID);
    CHECK_NEAR((double)p[0], 7, 0);
    CHECK_INT(distill_classifier_ask(c, NULL, "a", 1, NULL, q, 2, &err), DISTILL_E_INVALID);
    CHECK_HAS(err.message, "teacher is NULL");
    CHECK_INT(distill_classifier_train(f.env, f.samples, 0, f.options, 0, NULL, NULL, &other, NULL, &err),
              DISTILL_E_INVALID);
    CHECK_INT(distill_classifier_train(f.env, f.samples, 1, f.options, 8, NULL, NULL, &other, NULL, &err),
              DISTILL_E_INVALID);
    f.samples[1].kind = DISTILL_SAMPLE_TEXT;
    CHECK_INT(train(&f, &other, &err), DISTILL_E_INVALID);
    CHECK_HAS(err.message, "samples[1]");
    f.samples[1].kind = DISTILL_SAMPLE_JSON;
    f.samples[1].text = "{\"text\": \"b\", \"label\": 7}";
    f.samples[1].size = (int64_t)strlen(f.samples[1].text);
    CHECK_INT(train(&f, &other, &err), DISTILL_E_FORMAT);
    CHECK_HAS(err.message, "samples:2: label is 7, not in [0, 2)");
    CHECK(other == NULL);
    CHECK_INT(distill_classifier_open(f.env, TEST_TMP "/nowhere", NULL, &other, &err), DISTILL_E_NOT_FOUND);
    distill_env_cancel(f.env, 1);
    f.samples[1] = f.samples[0];
    CHECK_INT(train(&f, &other, &err), DISTILL_E_CANCELLED);
    distill_env_cancel(f.env, 0);
    distill_classifier_free(c);
    distill_classifier_free(NULL);
    fixture_close(&f);
}

/* A recipe for a classifier is none for a trainer, and says so. */
TEST(trainers_refuse_it)
{
    distill_trainer *trainer = NULL;
    distill_error err;
    fixture f;
    REQUIRE(fixture_open(&f));
    CHECK_INT(distill_trainer_create(f.env, NULL, NULL, NULL, NULL, f.options, &trainer, &err), DISTILL_E_OPTION);
    CHECK_HAS(err.message, "distill classify train");
    fixture_close(&f);
}

TEST_MAIN(TEST_CASE(learns_and_answers) TEST_CASE(many_are_as_one_by_one) TEST_CASE(wrong_arguments)
              TEST_CASE(trainers_refuse_it))
