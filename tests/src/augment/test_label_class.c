/* label: class against the teacher's own scores of the choices. */
#include "augment_fixture.h"
#include "teacher/choices.h"

static const char *const own = TEST_DATA "/../../examples/quickstart/teacher";

static void open_classes(bench *b, const char *name, const char *more, const char *seeds)
{
    char steps[400];
    snprintf(steps, sizeof steps, "[{label: class, classes: [boat, tree, person]%s}]", more);
    open_bench(b, name, steps, seeds);
    CHECK_OK(di_teacher_open(b->backend, own, 1, &b->teacher, &err));
}

/* Shares of the three behind a prompt. */
static void shares_of(bench *b, const char *prompt, int32_t spaced, int32_t per_token, double shares[3])
{
    static const char *const names[2][3] = {{"boat", "tree", "person"}, {" boat", " tree", " person"}};
    dk_slice texts[3];
    di_choices *choices = NULL;
    int32_t ids[128];
    int64_t count;
    for (int i = 0; i < 3; i++) texts[i] = (dk_slice){names[spaced][i], strlen(names[spaced][i])};
    REQUIRE_OK(
        dk_tokenizer_encode(di_teacher_tokenizer(b->teacher), prompt, strlen(prompt), 0, ids, 128, &count, &err));
    REQUIRE_OK(di_choices_create(b->teacher, texts, 3, &choices, &err));
    CHECK_OK(di_choices_score(choices, ids, count, shares, &err));
    di_choices_share(shares, per_token ? di_choices_lengths(choices) : NULL, 3, shares);
    di_choices_free(choices);
}

static double number_behind(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    return at ? strtod(at + strlen(key), NULL) : -1;
}

static void check_shares(const char *line, const double shares[3])
{
    CHECK_NEAR(number_behind(line, "\"probabilities\":{\"boat\":"), shares[0], 1e-9);
    CHECK_NEAR(number_behind(line, ",\"tree\":"), shares[1], 1e-9);
    CHECK_NEAR(number_behind(line, ",\"person\":"), shares[2], 1e-9);
    CHECK_NEAR(shares[0] + shares[1] + shares[2], 1, 1e-9);
}

TEST(prompts_get_the_likeliest_class)
{
    static const char *const names[] = {" boat", " tree", " person"};
    bench b;
    double shares[3] = {0};
    char wanted[64];
    for (int per_token = 0; per_token < 2; per_token++) {
        open_classes(&b, "prompt", per_token ? ", per_token: true" : "", "{\"prompt\": \"a tall perennial woody\"}\n");
        REQUIRE_OK(run_bench(&b));
        shares_of(&b, "a tall perennial woody", 1, per_token, shares);
        check_shares(read_text_of(b.out), shares);
        int best = 0;
        for (int i = 1; i < 3; i++) best = shares[i] > shares[best] ? i : best;
        snprintf(wanted, sizeof wanted, "\"completion\":\"%s\"", names[best]);
        CHECK_HAS(read_text_of(b.out), wanted);
        CHECK_NEAR(number_behind(read_text_of(b.out), "\"class_probability\":"), shares[best], 1e-9);
        CHECK_HAS(read_text_of(b.out), "\"operator\":\"label class\"");
        close_bench(&b);
    }
}

TEST(texts_keep_their_words)
{
    bench b;
    double shares[3] = {0};
    open_classes(&b, "text", "", "{\"text\": \"used by fishermen: a \", \"n\": 1}\n{\"prompt\": \"\"}\n");
    REQUIRE_OK(run_bench(&b));
    shares_of(&b, "used by fishermen: a ", 0, 0, shares); /* behind a space a class stands as it is */
    check_shares(read_text_of(b.out), shares);
    CHECK_HAS(read_text_of(b.out), "{\"id\":\"#1\",\"text\":\"used by fishermen: a \",\"n\":1,\"probabilities\":{");
    CHECK(!strstr(read_text_of(b.out), "completion"));
    CHECK_HAS(b.report.data, "\"counts\":{\"no_question\":1}");
    close_bench(&b);
}

TEST(conversations_are_asked_by_the_template)
{
    bench b;
    double shares[3] = {0};
    static const char *const question = "<|im_start|>user\nWhich of these fits the text below best: boat, tree, "
                                        "person?\n\nit floats\n\nAnswer with one of "
                                        "them alone.<|im_end|>\n<|im_start|>assistant\n";
    open_classes(&b, "chat", ", chat: true",
                 "{\"messages\": [{\"role\": \"user\", \"content\": \"it floats\"}]}\n{\"text\": \"it floats\"}\n");
    CHECK_OK(di_options_set(b.options, "data.chat_template", "chatml", &err));
    REQUIRE_OK(run_bench(&b));
    shares_of(&b, question, 0, 0, shares);
    check_shares(read_text_of(b.out), shares);
    check_shares(strstr(read_text_of(b.out), "\"text\""), shares);
    CHECK_HAS(read_text_of(b.out), "{\"role\":\"assistant\",\"content\":\"");
    close_bench(&b);
}

TEST(what_cannot_be_a_class)
{
    static const char *const cases[][2] = {
        {"[{label: class}]", "classes is missing"},
        {"[{label: class, classes: [a]}]", "at least two answers"},
        {"[{label: class, classes: [a, a]}]", "augment.steps.0 (label class): classes: "},
        {"[{label: class, classes: [a, b], chat: true}]", "chat: messages need a chat template"},
        {"[{label: class, classes: [a, b], samples: 2}]", "augment.steps.0.samples is not read by label class"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bench b;
        open_bench(&b, "cannot", cases[i][0], "{\"text\": \"a\"}\n");
        CHECK_OK(di_teacher_open(b.backend, own, 1, &b.teacher, &err));
        CHECK(run_bench(&b) != DK_OK);
        CHECK_HAS(err.message, cases[i][1]);
        close_bench(&b);
    }
}

TEST_MAIN(TEST_CASE(prompts_get_the_likeliest_class) TEST_CASE(texts_keep_their_words)
              TEST_CASE(conversations_are_asked_by_the_template) TEST_CASE(what_cannot_be_a_class))
