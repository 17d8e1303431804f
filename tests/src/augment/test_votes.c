/* Labels of several voters become one. */
#include <unistd.h>

#include "augment_fixture.h"

static const char *const seeds =
    "{\"text\": \"a\", \"votes\": [\"x\", \"y\", \"x\"]}\n"
    "{\"text\": \"b\", \"votes\": [{\"label\": \"y\", \"confidence\": 0.9}, \"x\", null]}\n"
    "{\"text\": \"c\", \"votes\": [{\"x\": 0.25, \"y\": 0.75}, {\"x\": 0.5, \"y\": 0.25}, {\"label\": null}]}\n"
    "{\"text\": \"d\", \"votes\": [null, null, null]}\n"
    "{\"text\": \"e\", \"votes\": [\"x\", \"z\", \"x\"]}\n"
    "{\"text\": \"f\", \"votes\": \"x\"}\n"
    "{\"text\": \"g\", \"votes\": [3, \"x\", \"x\"]}\n"
    "{\"text\": \"h\"}\n";

TEST(majority)
{
    bench b;
    char aside[1200];
    open_bench(&b, "majority", "[{vote: majority, classes: [x, y]}]", seeds);
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(read_text_of(b.out),
              "\"label\":\"x\",\"probabilities\":{\"x\":0.6666666666666666,\"y\":0.3333333333333333}");
    CHECK_HAS(read_text_of(b.out), "{\"id\":\"#2\",\"text\":\"b\",\"votes\":");
    CHECK_HAS(strstr(read_text_of(b.out), "\"#2\""),
              "\"label\":\"x\",\"probabilities\":{\"x\":0.5,\"y\":0.5}"); /* tied */
    CHECK_HAS(read_text_of(b.out), "\"operators\":[{\"operator\":\"vote majority\"");
    CHECK_HAS(b.report.data,
              "\"in\":8,\"out\":3,\"counts\":{\"tied\":2,\"no_votes\":2,\"unknown_class\":1,\"unreadable_vote\":2}");
    snprintf(aside, sizeof aside, "%s.aside.jsonl", b.out);
    CHECK_HAS(read_text_of(aside), "unknown_class");
    close_bench(&b);
}

TEST(confidence)
{
    bench b;
    open_bench(&b, "confidence", "[{vote: confidence, classes: [x, y]}]", seeds);
    REQUIRE_OK(run_bench(&b));
    /* 0.9 for y and 1 for x of 1.9 */
    CHECK_HAS(read_text_of(b.out),
              "\"label\":\"x\",\"probabilities\":{\"x\":0.5263157894736842,\"y\":0.4736842105263158}");
    /* (0.25 + 2/3) / 2 and (0.75 + 1/3) / 2 */
    CHECK_HAS(read_text_of(b.out), "\"label\":\"y\",\"probabilities\":{\"x\":0.45833333333333");
    close_bench(&b);
}

/* As large as a number can be, and by more than one voter. */
TEST(sure_beyond_measure)
{
    bench b;
    open_bench(&b, "sure", "[{vote: confidence, classes: [x, y]}]",
               "{\"text\": \"a\", \"votes\": [{\"label\": \"x\", \"confidence\": 1.5e308}, {\"label\": \"x\", "
               "\"confidence\": 1.5e308}, {\"label\": \"y\", \"confidence\": 1e308}]}\n"
               "{\"text\": \"b\", \"votes\": [{\"x\": 1.5e308, \"y\": 0.5e308}]}\n");
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(read_text_of(b.out), "\"label\":\"x\",\"probabilities\":{\"x\":0.75,\"y\":0.25}");
    CHECK_HAS(strchr(read_text_of(b.out), '\n'), "\"label\":\"x\",\"probabilities\":{\"x\":0.75,\"y\":0.25}");
    close_bench(&b);
}

TEST(fields_of_several_teachers)
{
    bench b;
    open_bench(&b, "fields", "[{vote: majority, classes: [x, y], fields: [by_a, by_b, by_c]}]",
               "{\"text\": \"a\", \"by_a\": \"y\", \"by_c\": {\"x\": 0.4, \"y\": 0.6}}\n");
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(read_text_of(b.out), "\"label\":\"y\",\"probabilities\":{\"x\":0,\"y\":1}");
    close_bench(&b);
}

static double number_behind(const char *text, const char *what)
{
    const char *at = text ? strstr(text, what) : NULL;
    return at ? strtod(at + strlen(what), NULL) : NAN;
}

/* Two ways to score the same classes stand for two teachers: their probabilities are averaged. */
TEST(labels_of_models_vote)
{
    bench b;
    open_bench(
        &b, "models",
        "[{label: class, classes: [boat, vessel], into: by_a}, {label: class, classes: [boat, vessel], per_token: "
        "true, into: by_b}, {vote: confidence, classes: [boat, vessel], fields: [by_a, by_b]}]",
        "{\"text\": \"a small\"}\n{\"prompt\": \"a large\"}\n");
    CHECK_OK(di_teacher_open(b.backend, TEST_DATA "/../../examples/quickstart/teacher", 1, &b.teacher, &err));
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(b.report.data, "\"operator\":\"vote confidence\",\"in\":2,\"out\":2,");
    CHECK(!strstr(read_text_of(b.out), "completion"));
    for (const char *line = read_text_of(b.out); *line; line = strchr(line, '\n') + 1) {
        const double first = number_behind(strstr(line, "\"by_a\":"), "\"boat\":"),
                     second = number_behind(strstr(line, "\"by_b\":"), "\"boat\":"),
                     both = number_behind(strstr(line, "\"probabilities\":"), "\"boat\":");
        CHECK(first > 0 && first < 1 && second > 0 && second < 1);
        CHECK_NEAR(both, (first + second) / 2, 1e-12);
    }
    close_bench(&b);
}

TEST(a_label_takes_no_words_place)
{
    bench b;
    open_bench(&b, "taken", "[{label: class, classes: [x, y], into: text}]", "{\"text\": \"a\"}\n");
    CHECK_OK(di_teacher_open(b.backend, TEST_DATA "/../../examples/quickstart/teacher", 1, &b.teacher, &err));
    CHECK_INT(run_bench(&b), DK_E_OPTION);
    CHECK_HAS(err.message, "into: \"text\" is what a sample says");
    close_bench(&b);
}

static void write_votes(const char *path, int count)
{
    FILE *file = fopen(path, "wb");
    for (int i = 0; file && i < count; i++) { /* two that agree, one that says the opposite, one that always says x */
        const char *is = i % 3 ? "x" : "y", *is_not = i % 3 ? "y" : "x";
        if (i % 10 == 9) fprintf(file, "{\"text\": \"%d\", \"votes\": [null, null, \"%s\", \"x\"]}\n", i, is_not);
        else fprintf(file, "{\"text\": \"%d\", \"votes\": [\"%s\", \"%s\", \"%s\", \"x\"]}\n", i, is, is, is_not);
    }
    if (!file || fclose(file)) exit(3);
}

/* Where only the two bad voters speak, the majority is wrong or tied, and who knows how they err is right. */
TEST(dawid_skene_turns_bad_voters_round)
{
    static char whole[1 << 16];
    bench b;
    char command[2600];
    open_bench(&b, "dawid_skene", "[{keep: length, min: 1}, {vote: dawid_skene, classes: [x, y]}]", "");
    write_votes(b.in, 200);
    REQUIRE_OK(run_bench(&b));
    snprintf(whole, sizeof whole, "%s", read_text_of(b.out));
    int right = 0;
    const char *line = whole;
    for (int i = 0; i < 200; i++, line = strchr(line, '\n') + 1) {
        const char *label = strstr(line, "\"label\":\"");
        REQUIRE(label != NULL);
        right += label[9] == (i % 3 ? 'x' : 'y');
    }
    CHECK_INT(right, 200);
    snprintf(command, sizeof command, "ls '%s'.step* '%s'.before* > /dev/null 2>&1", b.out, b.out);
    CHECK(system(command) != 0);
    close_bench(&b);
}

static int32_t stop_at(void *user, const distill_progress *now)
{
    int *left = user;
    (void)now;
    return --*left ? DISTILL_CB_OK : DISTILL_CB_CANCEL;
}

/* Behind the votes, where what stands before them is done with. */
TEST(a_run_that_is_stopped_behind_the_votes_goes_on)
{
    static char whole[1 << 17];
    bench b;
    open_bench(&b, "stopped", "[{drop: duplicate}, {vote: dawid_skene, classes: [x, y]}, {drop: near_duplicate}]", "");
    write_votes(b.in, 200);
    REQUIRE_OK(run_bench(&b));
    snprintf(whole, sizeof whole, "%s", read_text_of(b.out));
    CHECK(strlen(whole) > 10000);
    unlink(b.out);
    static const int stops[] = {2, 6, 3}; /* 7 chunks before the votes, as many behind them */
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        int left = stops[i];
        const di_augment_args args = {
            .backend = b.backend, .options = b.options, .in = b.in, .out = b.out, .fn = stop_at, .user = &left};
        CHECK_INT(di_augment(&args, &b.report, &err), DK_E_CANCELLED);
    }
    REQUIRE_OK(run_bench(&b));
    CHECK(!strcmp(read_text_of(b.out), whole));
    close_bench(&b);
}

TEST(voters_stay_the_same)
{
    bench b;
    open_bench(&b, "uneven", "[{vote: dawid_skene, classes: [x, y]}]",
               "{\"text\": \"a\", \"votes\": [\"x\", \"y\"]}\n{\"text\": \"b\", \"votes\": [\"x\"]}\n");
    CHECK_INT(run_bench(&b), DK_E_FORMAT);
    CHECK_HAS(err.message, "sample #2: has 1 votes where the samples before have 2");
    close_bench(&b);
    open_bench(&b, "nobody", "[{vote: dawid_skene, classes: [x, y]}]", "{\"text\": \"a\", \"votes\": [null]}\n");
    CHECK_OK(run_bench(&b));
    CHECK_HAS(b.report.data, "\"in\":1,\"out\":0,\"counts\":{\"no_votes\":1}");
    close_bench(&b);
}

TEST(classes_are_checked)
{
    static const struct {
        const char *steps, *says;
    } cases[] = {
        {"[{vote: majority}]", "classes lists 0 names"},
        {"[{vote: majority, classes: [x]}]", "classes lists 1 names"},
        {"[{vote: majority, classes: [x, y, x]}]", "classes names \"x\" twice"},
        {"[{vote: majority, classes: [x, y], field: a, fields: [b]}]", "both field, of a list of votes, and fields"},
        {"[{vote: majority, classes: [x, y], smoothing: 1}]", "smoothing is not read by vote majority"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bench b;
        open_bench(&b, "classes", cases[i].steps, seeds);
        CHECK_INT(run_bench(&b), DK_E_OPTION);
        CHECK_HAS(err.message, cases[i].says);
        close_bench(&b);
    }
}

TEST_MAIN(TEST_CASE(majority) TEST_CASE(confidence) TEST_CASE(sure_beyond_measure) TEST_CASE(fields_of_several_teachers)
              TEST_CASE(labels_of_models_vote) TEST_CASE(a_label_takes_no_words_place)
                  TEST_CASE(dawid_skene_turns_bad_voters_round)
                      TEST_CASE(a_run_that_is_stopped_behind_the_votes_goes_on) TEST_CASE(voters_stay_the_same)
                          TEST_CASE(classes_are_checked))
