/* Operators that keep or drop by the words alone. */
#include <unistd.h>

#include "augment_fixture.h"

/* The ids of the lines of the result: "#1 #3". */
static const char *ids_of(const char *path)
{
    static char ids[4096];
    size_t used = 0;
    ids[0] = 0;
    for (const char *at = read_text_of(path); (at = strstr(at, "{\"id\":\"")); at++) {
        const char *begin = at + 7;
        used += (size_t)snprintf(ids + used, sizeof ids - used, "%s%.*s", used ? " " : "", (int)strcspn(begin, "\""),
                                 begin);
    }
    return ids;
}

static void check_run(const char *name, const char *steps, const char *seeds, const char *ids, const char *counts)
{
    bench b;
    open_bench(&b, name, steps, seeds);
    CHECK_OK(run_bench(&b));
    CHECK_STR(ids_of(b.out), ids);
    if (b.report.data) CHECK_HAS(b.report.data, counts);
    char left[1200], command[1300];
    snprintf(left, sizeof left, "%s.step*", b.out); /* what was remembered goes with the run */
    snprintf(command, sizeof command, "ls %s > /dev/null 2>&1", left);
    CHECK(system(command) != 0);
    close_bench(&b);
}

TEST(duplicates)
{
    static const char *const seeds = "{\"text\": \"One two\"}\n{\"text\": \"one  TWO \"}\n{\"text\": \"One two\"}\n"
                                     "{\"prompt\": \"p\", \"completion\": \"one two\"}\n{\"text\": \"three\"}\n";
    check_run("same", "[{drop: duplicate}]", seeds, "#1 #4 #5", "\"counts\":{\"duplicate\":2}");
    check_run("same", "[{drop: duplicate, field: text}]", seeds, "#1 #5", "\"duplicate\":2,\"no_such_field\":1");
    check_run("same", "[{drop: duplicate, ignore: nothing}]", seeds, "#1 #2 #4 #5", "\"counts\":{\"duplicate\":1}");
    check_run("same", "[{drop: duplicate, ignore: case}]",
              "{\"text\": \"One two\"}\n{\"text\": \"one  two\"}\n{\"text\": \"ONE TWO\"}\n", "#1 #2",
              "\"counts\":{\"duplicate\":1}");
    check_run("same", "[{drop: duplicate, field: prompt}]", seeds, "#4", "\"counts\":{\"no_such_field\":4}");
    /* the same answer to another question is no duplicate */
    check_run("asked", "[{drop: duplicate}, {drop: near_duplicate}]",
              "{\"prompt\": \"the capital of France?\", \"completion\": \"Paris.\"}\n"
              "{\"prompt\": \"where was Proust born?\", \"completion\": \"Paris.\"}\n"
              "{\"prompt\": \"the capital of  France?\", \"completion\": \"paris.\"}\n"
              "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}, {\"role\": \"assistant\", \"content\": "
              "\"Paris.\"}]}\n"
              "{\"messages\": [{\"role\": \"user\", \"content\": \"y\"}, {\"role\": \"assistant\", \"content\": "
              "\"Paris.\"}]}\n"
              "{\"messages\": [{\"role\": \"user\", \"content\": \"y\"}, {\"role\": \"assistant\", \"content\": "
              "\"Paris.\"}]}\n",
              "#1 #2 #4 #5", "\"counts\":{\"duplicate\":2}");
}

TEST(near_duplicates)
{
    static const char *const seeds =
        "{\"text\": \"the quick brown fox jumps over the lazy dog near the river bank at dawn every single day\"}\n"
        "{\"text\": \"The quick, brown fox jumps over the lazy dog near the river bank at dawn every single day!\"}\n"
        "{\"text\": \"a text about something else that has nothing to do with foxes or with dogs\"}\n";
    check_run("near", "[{drop: near_duplicate, jaccard: 0.8}]", seeds, "#1 #3", "\"counts\":{\"near_duplicate\":1}");
    check_run("near", "[{drop: near_duplicate, shingle: characters, ngram: 4}]", seeds, "#1 #3", "near_duplicate");
}

TEST(overlap_with_what_stays_unseen)
{
    static const char *const seeds =
        "{\"text\": \"I read: one two three four five six, and more\"}\n{\"text\": \"one two three four five\"}\n"
        "{\"prompt\": \"c1 c2 c3 c4 c5 c6?\", \"completion\": \"yes\"}\n{\"messages\": [{\"role\": \"user\", "
        "\"content\": \"m1 m2 m3 m4 m5 m6\"}, {\"role\": \"assistant\", \"content\": \"no\"}]}\n{\"text\": \"free\"}\n";
    char steps[1400], path[1200];
    snprintf(path, sizeof path, "%s/unseen.jsonl", TEST_TMP);
    write_text(path,
               "{\"text\": \"One, two; three four FIVE six seven\"}\n{\"prompt\": \"c1 c2 c3 c4 c5 c6\", "
               "\"completion\": \"a\"}\n{\"messages\": [{\"role\": \"user\", \"content\": \"m1 m2 m3 m4 m5 m6\"}, "
               "{\"role\": \"assistant\", \"content\": \"b\"}]}\n");
    snprintf(steps, sizeof steps, "[{drop: overlap, with: '%s', ngram: 6}]", path);
    check_run("overlap", steps, seeds, "#2 #5", "\"counts\":{\"overlaps\":3}");
    snprintf(steps, sizeof steps, "[{drop: overlap, with: '%s', ngram: 6, field: completion}]", path);
    check_run("overlap", steps, seeds, "#1 #2 #3 #4 #5", "\"counts\":{}");
    snprintf(steps, sizeof steps, "[{drop: overlap, with: '%s'}]", path); /* 13: texts that are shorter count whole */
    check_run("overlap", steps, seeds, "#1 #2 #5", "\"counts\":{\"overlaps\":2}");
}

TEST(novelty)
{
    static const char *const seeds =
        "{\"prompt\": \"write a poem about the sea\"}\n{\"prompt\": \"write a poem about a sea\"}\n"
        "{\"prompt\": \"add the numbers\"}\n";
    check_run("novelty", "[{keep: novelty}]", seeds, "#1 #3", "\"counts\":{\"not_new\":1}");
    check_run("novelty", "[{keep: novelty, rouge_l: 0.9}]", seeds, "#1 #2 #3", "\"counts\":{}");
    bench b;
    open_bench(&b, "novelty", "[{keep: novelty, rouge_l: 0.9}]", seeds);
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(read_text_of(b.out), "\"scores\":{\"nearest_rouge_l\":0.8333333333333334}");
    close_bench(&b);
}

TEST(quality)
{
    static const char *const seeds =
        "{\"text\": \"The sea was calm that morning, and the boats left before the sun rose.\"}\n"
        "{\"text\": \"same line\\nsame line\\nsame line\"}\n{\"text\": \"12345 67890\"}\n";
    check_run("quality", "[{keep: quality}]", seeds, "#1 #3", "\"counts\":{\"duplicate_lines\":1}");
    check_run("quality",
              "[{keep: quality, bounds: ['letters >= 0.5', 'duplicate_lines off', 'duplicate_line_chars off']}]", seeds,
              "#1 #2", "\"counts\":{\"letters\":1}");
}

TEST(balance_and_scores)
{
    static const char *const seeds =
        "{\"text\": \"a\", \"topic\": \"x\", \"n\": 1}\n{\"text\": \"b\", \"topic\": \"x\"}\n"
        "{\"text\": \"c\", \"topic\": \"y\", \"n\": 2.5}\n{\"text\": \"d\", \"topic\": \"x\", "
        "\"n\": 3}\n{\"text\": \"e\", \"n\": 9}\n";
    check_run("balance", "[{keep: balance, field: topic, max: 2}]", seeds, "#1 #2 #3",
              "\"counts\":{\"too_many\":1,\"no_such_field\":1}");
    check_run("balance", "[{keep: balance, field: topic, share: 0.4}]", seeds, "#1 #3 #4", "\"too_many\":1");
    check_run("score", "[{keep: score, by: n, at_least: 2, at_most: 3}]", seeds, "#3 #4",
              "\"counts\":{\"too_low\":1,\"no_such_score\":1,\"too_high\":1}");
}

TEST(what_is_wrong_is_said_at_once)
{
    static const struct {
        const char *steps, *says;
    } cases[] = {
        {"[{drop: overlap}]", "augment.steps.0 (drop overlap): with is missing"},
        {"[{drop: overlap, with: /no/such/file}]", "/no/such/file"},
        {"[{keep: balance, max: 3}]", "field is missing"},
        {"[{keep: balance, field: a}]", "neither max nor share"},
        {"[{keep: score, at_least: 1}]", "by is missing"},
        {"[{keep: score, by: n}]", "neither at_least nor at_most"},
        {"[{keep: score, by: n, at_least: 3, at_most: 2}]", "at_least is above at_most"},
        {"[{keep: quality, bounds: ['letter >= 1']}]", "bounds.0: \"letter\" is no measure of quality"},
        {"[{drop: near_duplicate, with: a}]", "augment.steps.0.with is not read by drop near_duplicate"},
        {"[{drop: duplicate, ignore: accents}]", "accents"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bench b;
        const char *folder = test_folder("wrong");
        memset(&b, 0, sizeof b);
        REQUIRE_OK(dk_host_create(NULL, &b.host, &err));
        REQUIRE_OK(dk_backend_cpu(b.host, &b.backend, &err));
        REQUIRE_OK(di_options_create(b.host, &b.options, &err));
        snprintf(b.in, sizeof b.in, "%s/in.jsonl", folder);
        snprintf(b.out, sizeof b.out, "%s/out.jsonl", folder);
        write_text(b.in, "{\"text\": \"a\"}\n");
        CHECK(di_options_set(b.options, "augment.steps", cases[i].steps, &err) || run_bench(&b));
        CHECK_HAS(err.message, cases[i].says);
        close_bench(&b);
    }
    bench b;
    open_bench(&b, "short", "[{keep: quality}]", "{\"text\": \"a\"}\n");
    char steps[1300];
    snprintf(steps, sizeof steps, "[{drop: overlap, with: '%s'}]", b.in);
    REQUIRE_OK(di_options_set(b.options, "augment.steps", steps, &err));
    CHECK(run_bench(&b) != DK_OK);
    CHECK_HAS(err.message, "has no text of 5 words or more");
    close_bench(&b);
}

/* ---- runs that are stopped ---- */

typedef struct stopper {
    int64_t calls, at;
} stopper;

static int32_t stop_at(void *user, const distill_progress *now)
{
    stopper *s = user;
    (void)now;
    return ++s->calls == s->at ? DISTILL_CB_CANCEL : DISTILL_CB_OK;
}

static int32_t run_stopped(bench *b, int64_t at)
{
    stopper s = {0, at};
    const di_augment_args args = {
        .backend = b->backend, .options = b->options, .in = b->in, .out = b->out, .fn = stop_at, .user = &s};
    dk_strbuf_clear(&b->report);
    return di_augment(&args, &b->report, &err);
}

/* Every third text comes again, now whole, now with a word changed, 200 or 40 texts later. */
static void write_many(const char *path)
{
    FILE *file = fopen(path, "wb");
    for (int i = 0; file && i < 600; i++) {
        const int of = i % 3 ? i : i > 240 ? i - 200 : i > 60 ? i - 40 : i;
        fprintf(file, "{\"text\": \"");
        for (int w = 0; w < 20; w++) fprintf(file, "w%d ", w == 7 && i % 2 ? -i : (of * 31 + w * w * 17) % 997);
        fprintf(file, "\", \"topic\": \"t%d\"}\n", of * of % 7);
    }
    if (!file || fclose(file)) exit(3);
}

TEST(a_run_that_is_stopped_goes_on_to_the_same_bytes)
{
    static char whole[1 << 20];
    bench b;
    open_bench(&b, "stopped",
               "[{drop: duplicate}, {drop: near_duplicate, jaccard: 0.7}, {keep: novelty, rouge_l: 0.9, window: 50}, "
               "{keep: balance, field: topic, share: 0.2}]",
               "");
    write_many(b.in);
    REQUIRE_OK(run_bench(&b));
    snprintf(whole, sizeof whole, "%s", read_text_of(b.out));
    CHECK_HAS(b.report.data, "\"operator\":\"drop duplicate\",\"in\":600,\"out\":");
    CHECK_HAS(b.report.data, "\"near_duplicate\":");
    CHECK_HAS(b.report.data, "\"too_many\":");
    CHECK(strstr(b.report.data, "\"in\":600,\"out\":600") == NULL);
    unlink(b.out);
    for (int stops = 1; stops <= 4; stops++) {
        char command[1400];
        CHECK_INT(run_stopped(&b, stops), DK_E_CANCELLED);
        /* what a killed process wrote behind its last commit */
        snprintf(command, sizeof command, "for f in '%s'.step*; do printf 'half a record' >> \"$f\"; done", b.out);
        CHECK(system(command) == 0);
    }
    CHECK_OK(run_bench(&b));
    CHECK(!strcmp(read_text_of(b.out), whole));
    /* a file that was changed is no record of what was kept */
    unlink(b.out);
    CHECK_INT(run_stopped(&b, 2), DK_E_CANCELLED);
    char path[1200];
    snprintf(path, sizeof path, "%s.step2.near", b.out);
    FILE *file = fopen(path, "r+b");
    REQUIRE(file != NULL);
    fseek(file, 40, SEEK_SET);
    fputs("other", file);
    fclose(file);
    CHECK_INT(run_bench(&b), DK_E_FORMAT);
    CHECK_HAS(err.message, "records were changed; begin anew");
    close_bench(&b);
}

TEST_MAIN(TEST_CASE(duplicates) TEST_CASE(near_duplicates) TEST_CASE(overlap_with_what_stays_unseen) TEST_CASE(novelty)
              TEST_CASE(quality) TEST_CASE(balance_and_scores) TEST_CASE(what_is_wrong_is_said_at_once)
                  TEST_CASE(a_run_that_is_stopped_goes_on_to_the_same_bytes))
