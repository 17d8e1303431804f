#include <unistd.h>

#include "augment_fixture.h"

static const char *const seeds = "{\"text\": \"one two three\", \"topic\": \"count\"}\n"
                                 "\n"
                                 "{\"text\": \"x\"}\n"
                                 "{\"prompt\": \"how many?\", \"completion\": \"four and five\"}\n"
                                 "{\"messages\": [{\"role\": \"user\", \"content\": \"six seven\"}]}\n";

TEST(records_pass_and_are_counted)
{
    bench b;
    open_bench(&b, "pass", "[{keep: length, min: 2, unit: words}, {drop: regex, pattern: '^four'}]", seeds);
    REQUIRE_OK(run_bench(&b));
    CHECK_STR(
        read_text_of(b.out),
        "{\"id\":\"#1\",\"text\":\"one two three\",\"topic\":\"count\",\"provenance\":{\"operators\":[],\"parents\":"
        "[],\"scores\":{}}}\n"
        "{\"id\":\"#5\",\"messages\":[{\"role\":\"user\",\"content\":\"six seven\"}],\"provenance\":{\"operators\":"
        "[],\"parents\":[],\"scores\":{}}}\n");
    CHECK_HAS(b.report.data, "\"samples\":4,\"written\":2,\"tokens\":0");
    CHECK_HAS(b.report.data, "\"ended\":\"whole\"");
    CHECK_HAS(b.report.data, "{\"operator\":\"keep length\",\"in\":4,\"out\":3,\"counts\":{\"too_short\":1}}");
    CHECK_HAS(b.report.data, "{\"operator\":\"drop regex\",\"in\":3,\"out\":2,\"counts\":{\"matches\":1}}");
    CHECK(!dk_path_exists(test_path(b.out, "x")));
    /* what is there is not written over unless that is said */
    CHECK_INT(run_bench(&b), DK_E_STAGE);
    CHECK_HAS(err.message, "augment.overwrite");
    CHECK_OK(di_options_set(b.options, "augment.overwrite", "true", &err));
    CHECK_OK(run_bench(&b));
    close_bench(&b);
}

TEST(text_is_cut_into_documents)
{
    bench b;
    open_bench(&b, "text", "[{keep: length, max: 5}]", "");
    snprintf(b.in, sizeof b.in, "%s/text/seeds.txt", TEST_TMP);
    write_text(
        b.in, "abc\n<|endoftext|>\n\n<|endoftext|>\nthis is long<|endoftext|>\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9");
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(read_text_of(b.out), "{\"id\":\"#1\",\"text\":\"abc\",");
    CHECK_HAS(read_text_of(b.out), "{\"id\":\"#4\",\"text\":\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\",");
    CHECK_HAS(b.report.data, "\"counts\":{\"too_long\":1}");
    close_bench(&b);
}

typedef struct wrong {
    const char *steps, *seeds, *says;
} wrong;

TEST(what_is_wrong_is_said_before_the_first_sample)
{
    static const char *const good = "{\"text\": \"a\"}\n";
    const wrong cases[] = {
        {"[{keep: lenght, min: 2}]", good, "augment.steps.0.keep \"lenght\" is not one of length"},
        {"[{keep: lenght, min: 2}]", good, "did you mean length?"},
        {"[{keep: length, pattern: a}]", good,
         "augment.steps.0.pattern is not read by keep length, which reads min|max"},
        {"[{keep: length, min: 2}, {drop: regex, pattern: a, max: 2}]", good,
         "augment.steps.1.max is not read by drop"},
        {"[{keep: length}]", good, "augment.steps.0 (keep length): neither min nor max"},
        {"[{keep: length, min: 3, max: 2}]", good, "min 3 is above max 2"},
        {"[{keep: length, min: 3, unit: tokens}]", good, "needs a tokenizer"},
        {"[{drop: regex}]", good, "pattern is missing"},
        {"[{drop: regex, pattern: '('}]", good, "augment.steps.0.pattern"},
        {"[{keep: length, drop: regex}]", good, "has both keep and drop"},
        {"[{min: 2}]", good, "names no operator"},
        {"[{name: mine}]", good, "\"mine\" is no operator that this program added"},
        {"[{keep: length, min: 2}]", "{\"a\": 1}\n", "seeds.jsonl:1: a sample has exactly one of"},
        {"[{keep: length, min: 2}]", "{}\n", "seeds.jsonl:1: a sample has exactly one of"},
        {"[{keep: length, min: 2}]", "{\"text\": \"a\"}\n{\"text\": \n", "seeds.jsonl:2: "},
        {"[{keep: length, min: 2}]", "{\"id\": 3, \"text\": \"a\"}\n{\"id\": \"3\", \"text\": \"b\"}\n",
         "seeds.jsonl:2: id \"3\" is that of sample 1, too"},
        {"[{keep: length, min: 2}]", "{\"text\": \"a\"}\n{\"text\": \"b\"}\n{\"id\": \"#2\", \"text\": \"c\"}\n",
         "seeds.jsonl:3: id \"#2\" is that of sample 2, too"},
        {"[{keep: length, min: 2}]", "{\"id\": \"#2\", \"text\": \"c\"}\n{\"text\": \"b\"}\n",
         "seeds.jsonl:2: id \"#2\" is that of sample 1, too"},
        {"[{keep: length, min: 2}]", "", "has no samples"},
        {"[{keep: length, min: 2}]", "\x1f\x8b\b", "is compressed"},
        {"[{keep: length, min: 2}]", "[\n  {\"text\": \"a\"}]\n", "is one JSON array"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bench b;
        open_bench(&b, "wrong", cases[i].steps, cases[i].seeds);
        CHECK(run_bench(&b) != DK_OK);
        CHECK_HAS(err.message, cases[i].says);
        CHECK(!dk_path_exists(b.out));
        close_bench(&b);
    }
}

/* ---- runs that are stopped ---- */

enum { MANY = 1000 };

static void write_many(const char *path)
{
    FILE *file = fopen(path, "wb");
    for (int i = 0; file && i < MANY; i++) fprintf(file, "{\"text\": \"%0*d\", \"n\": %d}\n", i % 7 + 1, i, i);
    if (!file || fclose(file)) exit(3);
}

typedef struct stopper {
    int64_t calls, at;
    int32_t code;
} stopper;

static int32_t stop_at(void *user, const distill_progress *now)
{
    stopper *s = user;
    CHECK_INT(now->phase, DISTILL_PHASE_AUGMENTING);
    CHECK(now->done <= now->total);
    return ++s->calls == s->at ? s->code : DISTILL_CB_OK;
}

static int32_t run_stopped(bench *b, int64_t at, int32_t code)
{
    stopper s = {0, at, code};
    const di_augment_args args = {
        .backend = b->backend, .options = b->options, .in = b->in, .out = b->out, .fn = stop_at, .user = &s};
    dk_strbuf_clear(&b->report);
    return di_augment(&args, &b->report, &err);
}

TEST(a_run_that_is_stopped_goes_on_to_the_same_bytes)
{
    static char whole[1 << 20];
    bench b;
    char partial[1200], state[1200];
    open_bench(&b, "stopped", "[{drop: regex, pattern: '9$'}, {keep: length, min: 4}]", "");
    write_many(b.in);
    REQUIRE_OK(run_bench(&b));
    snprintf(whole, sizeof whole, "%s", read_text_of(b.out));
    snprintf(partial, sizeof partial, "%s.partial", b.out);
    snprintf(state, sizeof state, "%s.state", b.out);
    unlink(b.out);
    for (int stops = 1; stops <= 5; stops++) { /* each run stops behind another few chunks */
        CHECK_INT(run_stopped(&b, stops, DISTILL_CB_CANCEL), DK_E_CANCELLED);
        CHECK_HAS(err.message, "goes on from there");
        CHECK(!dk_path_exists(b.out) && dk_path_exists(partial) && dk_path_exists(state));
        FILE *file = fopen(partial, "ab"); /* what a killed process wrote behind its last commit */
        if (file) fputs("{\"id\": half of a li", file), fclose(file);
    }
    CHECK_INT(run_stopped(&b, 1, 77), DK_E_CALLBACK);
    CHECK_INT(err.user_code, 77);
    CHECK_OK(di_options_set(b.options, "augment.resume", "false", &err));
    CHECK_INT(run_bench(&b), DK_E_STAGE);
    CHECK_HAS(err.message, "--resume");
    CHECK_OK(di_options_set(b.options, "augment.resume", "true", &err));
    /* neither another recipe nor other seeds go on with it */
    CHECK_OK(di_options_set(b.options, "augment.seed", "2", &err));
    CHECK_INT(run_bench(&b), DK_E_MISMATCH);
    CHECK_HAS(err.message, "another recipe");
    CHECK_OK(di_options_set(b.options, "augment.seed", "1", &err));
    FILE *file = fopen(b.in, "ab");
    if (file) fputs("{\"text\": \"more\"}\n", file), fclose(file);
    CHECK_INT(run_bench(&b), DK_E_MISMATCH);
    CHECK_HAS(err.message, "another input");
    write_many(b.in);
    CHECK_OK(run_bench(&b));
    CHECK(!strcmp(read_text_of(b.out), whole));
    CHECK(!dk_path_exists(partial) && !dk_path_exists(state));
    CHECK_HAS(b.report.data, "\"operator\":\"drop regex\",\"in\":1000,\"out\":900,");
    close_bench(&b);
}

/* A vote sees everything before it passes anything: what goes into it lies beside the result meanwhile. */
TEST(a_run_that_is_stopped_around_a_barrier_goes_on_to_the_same_bytes)
{
    static char whole[1 << 20];
    bench b;
    char before[1200];
    int32_t rc = DK_E_CANCELLED, stopped = 0, between = 0;
    open_bench(&b, "barrier",
               "[{drop: regex, pattern: '9$'}, {vote: dawid_skene, classes: [x, y]}, {keep: length, min: 4}]", "");
    FILE *file = fopen(b.in, "wb");
    for (int i = 0; file && i < 400; i++)
        fprintf(file, "{\"text\": \"%0*d\", \"votes\": [\"%s\", \"%s\", \"%s\"]}\n", i % 7 + 1, i, i % 3 ? "x" : "y",
                i % 2 ? "x" : "y", i % 5 ? "x" : "y");
    if (!file || fclose(file)) exit(3);
    REQUIRE_OK(run_bench(&b));
    snprintf(whole, sizeof whole, "%s", read_text_of(b.out));
    CHECK_HAS(b.report.data, "\"operator\":\"vote dawid_skene\",\"in\":360,\"out\":360,");
    unlink(b.out);
    snprintf(before, sizeof before, "%s.before2.jsonl", b.out);
    while (rc == DK_E_CANCELLED && stopped < 60) {
        rc = run_stopped(&b, 1 + stopped % 3, DISTILL_CB_CANCEL);
        stopped += rc == DK_E_CANCELLED;
        between += dk_path_exists(before) == 1;
    }
    CHECK_OK(rc);
    CHECK(stopped > 5 && between > 5);
    CHECK(!strcmp(read_text_of(b.out), whole));
    CHECK(!dk_path_exists(before));
    CHECK_HAS(b.report.data, "\"operator\":\"vote dawid_skene\",\"in\":360,\"out\":360,");
    close_bench(&b);
}

TEST_MAIN(TEST_CASE(records_pass_and_are_counted) TEST_CASE(text_is_cut_into_documents)
              TEST_CASE(what_is_wrong_is_said_before_the_first_sample)
                  TEST_CASE(a_run_that_is_stopped_goes_on_to_the_same_bytes)
                      TEST_CASE(a_run_that_is_stopped_around_a_barrier_goes_on_to_the_same_bytes))
