/* A run on several sources: mixed, counted, resumed bitwise, refused where the mix changed. */
#include "small.h"

enum { STEPS = 10 };

/* 64 characters, a token each. */
static int write_tokenizer(void)
{
    char text[2000] = "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},\"decoder\":"
                      "{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{";
    int id = 0;
    for (char c = '!'; id < SMALL_VOCAB; c++)
        if (c != '"' && c != '\\') snprintf(text + strlen(text), 16, "%s\"%c\":%d", id ? "," : "", c, id), id++;
    strcat(text, "}}}\n");
    return small_write(test_path(small_folder, "tokenizer.json"), text);
}

static int write_source(const char *name, int lines, uint32_t seed)
{
    char text[8000] = "";
    for (int i = 0; i < lines; i++) {
        char line[40] = "";
        for (int k = 0; k < 4 + i * 7 % 13; k++) line[k] = (char)('A' + small_random(&seed) % 20);
        snprintf(text + strlen(text), 64, "{\"text\": \"%s\"}\n", line);
    }
    return small_write(test_path(small_folder, name), text);
}

static const char *recipe(const char *mix, const char *out)
{
    return small_text("data:\n  train: [{path: '%s', source: pt}, {path: '%s'}]\n  mix: %s\n  eval_fraction: 0.1\n"
                      "train: {steps: %d}\noutput: '%s'\n",
                      small_text("%s/a.jsonl", small_folder), small_text("%s/en.jsonl", small_folder), mix, STEPS, out);
}

static int32_t open_sources(small *s, const char *mix, const char *out, distill_error *err)
{
    distill_tokenizer *tokenizer = NULL;
    memset(s, 0, sizeof *s);
    int32_t rc = small_env(s, NULL, recipe(mix, out), err);
    if (!rc) rc = distill_teacher_open(s->env, test_path(small_folder, "teacher"), s->options, &s->teacher, err);
    if (!rc) rc = distill_tokenizer_open(s->env, small_folder, &tokenizer, err);
    if (!rc)
        rc = distill_student_create(s->env, test_path(small_folder, "student.json"), tokenizer, s->options, &s->student,
                                    err);
    if (!rc) rc = distill_trainer_create(s->env, s->teacher, s->student, NULL, NULL, s->options, &s->trainer, err);
    distill_tokenizer_free(tokenizer);
    return rc;
}

static int prepare(void)
{
    return small_models("sources") && write_tokenizer() && write_source("a.jsonl", 60, 1) &&
           write_source("en.jsonl", 14, 2);
}

static int32_t stop_at_six(void *user, const distill_progress *p)
{
    (void)user;
    return p->phase == DISTILL_PHASE_TRAINING && p->step == 6 ? DISTILL_CB_CANCEL : DISTILL_CB_OK;
}

/* What stands behind "NAME":{ of the sources, and there behind "key":. */
static double number_of(const char *json, const char *name, const char *key)
{
    const char *sources = strstr(json, "\"sources\":{");
    const char *source = sources ? strstr(sources, small_text("\"%s\":{", name)) : NULL;
    const char *at = source ? strstr(source, small_text("\"%s\":", key)) : NULL;
    return at ? strtod(at + strlen(key) + 3, NULL) : -1;
}

TEST(a_run_on_two_sources_resumes_bitwise)
{
    small whole, s;
    distill_error err;
    char out[600], folder[600];
    REQUIRE(prepare());
    snprintf(out, sizeof out, "%s", test_path(small_folder, "whole"));
    snprintf(folder, sizeof folder, "%s", test_path(small_folder, "stopped"));
    REQUIRE_OK(open_sources(&whole, "{pt: 2, en: 1}", out, &err));
    REQUIRE_OK(distill_trainer_run(whole.trainer, &err));
    char *json = small_read(test_path(out, "result.json"), NULL);
    REQUIRE(json != NULL);
    CHECK(number_of(json, "pt", "samples") == 54 && number_of(json, "en", "samples") == 13);
    double pt = number_of(json, "pt", "seen_tokens"), en = number_of(json, "en", "seen_tokens");
    CHECK(fabs(pt - 2 * en) < 40 && en > 100);
    CHECK_NEAR(number_of(json, "pt", "share"), 2.0 / 3, 1e-12);
    CHECK(number_of(json, "en", "passes") > 1 && number_of(json, "pt", "passes") < 1);
    const char *eval = strstr(json, "},\"eval\":{\"tokens\":"); /* beside data.eval */
    REQUIRE(eval != NULL);
    CHECK(number_of(eval, "pt", "perplexity") > 1 && number_of(eval, "en", "perplexity") > 1);
    CHECK(number_of(eval, "pt", "forward_kl") > 0 && number_of(eval, "en", "forward_kl") > 0);
    CHECK(number_of(eval, "pt", "tokens") > number_of(eval, "en", "tokens"));
    free(json);

    REQUIRE_OK(open_sources(&s, "{pt: 2, en: 1}", folder, &err));
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, stop_at_six, NULL, NULL, &err));
    CHECK_INT(distill_trainer_run(s.trainer, &err), DISTILL_E_CANCELLED);
    small_close(&s);
    REQUIRE_OK(open_sources(&s, "{pt: 2, en: 1.5}", folder, &err)); /* another mix is another run */
    CHECK_INT(distill_trainer_resume(s.trainer, &err), DISTILL_E_MISMATCH);
    CHECK_HAS(err.message, "was made with data.mix pt: 2; en: 1, now it is pt: 2; en: 1.5:");
    small_close(&s);
    REQUIRE_OK(open_sources(&s, "{en: 10, pt: 20}", folder, &err)); /* the same shares, and yet not the same */
    CHECK_INT(distill_trainer_resume(s.trainer, &err), DISTILL_E_MISMATCH);
    small_close(&s);
    REQUIRE_OK(open_sources(&s, "{pt: 2, en: 1}", folder, &err));
    REQUIRE_OK(distill_trainer_resume(s.trainer, &err));
    REQUIRE_OK(distill_trainer_run(s.trainer, &err));
    CHECK(small_same_bits(s.student, whole.student));
    small_close(&s);
    small_close(&whole);
}

TEST(a_dataset_without_a_path_is_that_of_the_options)
{
    small s = {0};
    distill_error err;
    distill_tokenizer *tokenizer = NULL;
    int64_t samples = 0;
    REQUIRE(prepare());
    REQUIRE_OK(small_env(&s, NULL, recipe("{pt: 1, en: 0.5}", "x"), &err));
    REQUIRE_OK(distill_tokenizer_open(s.env, small_folder, &tokenizer, &err));
    REQUIRE_OK(distill_dataset_open(s.env, NULL, tokenizer, s.options, &s.train, &err));
    REQUIRE_OK(distill_dataset_get_i64(s.train, "samples", &samples, &err));
    CHECK_INT(samples, 74);
    REQUIRE_OK(distill_options_set(s.options, "data.mix", NULL, &err));
    REQUIRE_OK(distill_options_set(s.options, "data.train", NULL, &err));
    CHECK_INT(distill_dataset_open(s.env, NULL, tokenizer, s.options, &s.eval, &err), DISTILL_E_INVALID);
    CHECK_HAS(err.message, "path is NULL, and the options give no data.train");
    distill_tokenizer_free(tokenizer);
    small_close(&s);
}

TEST(what_is_wrong_with_a_mix_is_said_at_create)
{
    small s;
    distill_error err;
    char want[2048];
    REQUIRE(prepare());
    CHECK_INT(open_sources(&s, "{pt: 2, enn: 1}", "x", &err), DISTILL_E_OPTION);
    CHECK_HAS(err.message, "data.mix.enn is not a source of data.train (pt|en); did you mean en?");
    small_close(&s);
    snprintf(want, sizeof want, "%s", small_folder); /* where a run reads it does not write */
    CHECK_INT(open_sources(&s, "{pt: 2, en: 1}", want, &err), DISTILL_E_OPTION);
    CHECK_HAS(err.message, "the folder of ");
    small_close(&s);
}

TEST_MAIN(TEST_CASE(a_run_on_two_sources_resumes_bitwise) TEST_CASE(a_dataset_without_a_path_is_that_of_the_options)
              TEST_CASE(what_is_wrong_with_a_mix_is_said_at_create))
