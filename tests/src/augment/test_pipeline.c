#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "augment/hosted_list.h"
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
        {"[{keep: length, min: 2}]",
         "{\"text\": \"a\", \"provenance\": {\"kept\": {\"k\": 1, \"ids\": [1], \"top_ids\": [1], \"top\": [-1]}}}\n",
         "seeds.jsonl:1: \"provenance\" has \"kept\", which only an unfinished run writes"},
        {"[{keep: length, min: 2}]", "{\"messages\": \"hi\"}\n", "seeds.jsonl:1: a sample has exactly one of"},
        {"[{keep: length, min: 2}]", "{\"messages\": {\"role\": \"user\"}}\n",
         "seeds.jsonl:1: a sample has exactly one of"},
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
    /* neither another recipe nor other seeds go on with it, nor what makes other scores and targets */
    CHECK_OK(di_options_set(b.options, "data.prompt_loss", "true", &err));
    CHECK_INT(run_bench(&b), DK_E_MISMATCH);
    CHECK_OK(di_options_set(b.options, "data.prompt_loss", "false", &err));
    CHECK_OK(di_options_set(b.options, "data.sequence_length", "77", &err));
    CHECK_INT(run_bench(&b), DK_E_MISMATCH);
    CHECK_OK(di_options_set(b.options, "data.sequence_length", NULL, &err));
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

TEST(blank_lines_are_no_samples)
{
    bench b;
    stopper s = {0, 0, 0};
    open_bench(&b, "blank", "[{keep: length, min: 1}]", "");
    FILE *file = fopen(b.in, "wb");
    for (int i = 0; file && i < 70; i++) fprintf(file, "\n{\"text\": \"%d\"}\n  \n", i);
    if (!file || fclose(file)) exit(3);
    const di_augment_args args = {
        .backend = b.backend, .options = b.options, .in = b.in, .out = b.out, .fn = stop_at, .user = &s};
    CHECK_INT(run_stopped(&b, 2, DISTILL_CB_CANCEL), DK_E_CANCELLED);
    CHECK_HAS(err.message, "stopped behind sample 64;");
    REQUIRE_OK(di_augment(&args, &b.report, &err)); /* stop_at checks done against total */
    CHECK_INT(s.calls, 1);
    CHECK_HAS(b.report.data, "\"samples\":70,\"written\":70,");
    close_bench(&b);
}

static int64_t size_of(const char *path)
{
    struct stat info;
    return stat(path, &info) ? -1 : (int64_t)info.st_size;
}

/* Far apart, and remembered on disk: which sample has it, too, is looked up. */
TEST(an_id_that_stands_twice_is_found_among_many)
{
    bench b;
    open_bench(&b, "twice", "[{keep: length, min: 1}]", "");
    FILE *file = fopen(b.in, "wb");
    for (int i = 1; file && i <= 20000; i++) fprintf(file, "{\"id\": \"k%d\", \"text\": \"a\"}\n\n", i);
    if (!file || fclose(file)) exit(3);
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(b.report.data, "\"written\":20000,");
    file = fopen(b.in, "ab");
    if (!file || fputs("{\"id\": \"k17\", \"text\": \"b\"}\n", file) < 0 || fclose(file)) exit(3);
    unlink(b.out);
    CHECK_INT(run_bench(&b), DK_E_FORMAT);
    CHECK_HAS(err.message, ":40001: id \"k17\" is that of sample 33, too");
    close_bench(&b);
}

TEST(a_file_has_one_run_at_work)
{
    bench b;
    char path[1200];
    open_bench(&b, "busy", "[{drop: duplicate}]", "");
    write_many(b.in);
    CHECK_INT(run_stopped(&b, 2, DISTILL_CB_CANCEL), DK_E_CANCELLED);
    snprintf(path, sizeof path, "%s.aside.jsonl", b.out);
    const int other = open(path, O_RDWR); /* as a run of another process has it */
    CHECK(other >= 0 && !flock(other, LOCK_EX | LOCK_NB));
    snprintf(path, sizeof path, "%s.step1.same", b.out);
    FILE *file = fopen(path, "ab"); /* what that run wrote behind its last commit */
    if (file) fputs("0123456789abcdef", file), fclose(file);
    const int64_t before = size_of(path);
    CHECK_INT(run_bench(&b), DK_E_BUSY);
    CHECK_HAS(err.message, "another process writes it");
    CHECK_OK(di_options_set(b.options, "augment.overwrite", "true", &err));
    CHECK_INT(run_bench(&b), DK_E_BUSY);
    CHECK_INT(size_of(path), before); /* it was left as it is */
    if (other >= 0) close(other);
    CHECK_OK(run_bench(&b));
    close_bench(&b);
}

TEST(what_is_read_is_not_written_over)
{
    bench b;
    open_bench(&b, "same", "[{keep: length, min: 1}]", seeds);
    CHECK_OK(di_options_set(b.options, "augment.overwrite", "true", &err));
    memcpy(b.out, b.in, sizeof b.out);
    snprintf(b.in, sizeof b.in, "%s/same/./seeds.jsonl", TEST_TMP);
    CHECK_INT(run_bench(&b), DK_E_OPTION);
    CHECK_HAS(err.message, "is augment.in, too");
    snprintf(b.out, sizeof b.out, "%s/same/link", TEST_TMP);
    unlink(b.out);
    CHECK(!symlink("seeds.jsonl", b.out));
    CHECK_INT(run_bench(&b), DK_E_OPTION);
    CHECK_STR(read_text_of(b.in), seeds);
    close_bench(&b);
}

/* ---- an operator of the host's ---- */

typedef struct says {
    const char *lines[2]; /* it gives for a sample */
    distill_emit_fn emit;
    void *emit_user;
} says;

static int32_t say(void *user, const distill_sample *sample, distill_emit_fn emit, void *emit_user)
{
    says *s = user;
    int32_t rc = DISTILL_CB_OK;
    distill_sample out = *sample;
    s->emit = emit, s->emit_user = emit_user;
    for (int i = 0; i < 2 && s->lines[i] && !rc; i++) {
        out.text = s->lines[i];
        out.size = (int64_t)strlen(out.text);
        rc = emit(emit_user, &out);
    }
    return rc;
}

/* Behind the return of apply there is no sample that it could come of. */
static int32_t emit_late(void *user, const distill_progress *now)
{
    const says *s = user;
    distill_sample sample;
    (void)now;
    DISTILL_INIT(&sample);
    sample.kind = DISTILL_SAMPLE_TEXT;
    sample.text = "late";
    sample.size = 4;
    CHECK_INT(s->emit(s->emit_user, &sample), DISTILL_CB_CANCEL);
    return DISTILL_CB_OK;
}

static int32_t run_said(bench *b, says *s)
{
    const distill_operator_callbacks table = {.struct_size = sizeof table, .user = s, .apply = say};
    di_hosted_list *list = NULL;
    if (di_hosted_list_create(b->host, &list, &err)) exit(3);
    CHECK_OK(di_hosted_list_add(list, "say", &table, &err));
    const di_augment_args args = {.backend = b->backend,
                                  .options = b->options,
                                  .hosted = list,
                                  .in = b->in,
                                  .out = b->out,
                                  .fn = emit_late,
                                  .user = s};
    dk_strbuf_clear(&b->report);
    const int32_t rc = di_augment(&args, &b->report, &err);
    di_hosted_list_free(list);
    return rc;
}

TEST(what_a_host_says_of_a_sample_keeps_its_origin)
{
    static const char *const given =
        "{\"id\": \"a/1.0\", \"text\": \"x\", \"provenance\": {\"operators\": [{\"operator\": \"expand "
        "continue\", \"seed\": 5}], \"parents\": [\"a\"], \"scores\": {\"s\": 2}}}\n";
    says words = {.lines = {"{\"id\": \"a/1.0\", \"text\": \"y\"}"}},
         twice = {.lines = {"{\"id\": \"a/1.0\", \"text\": \"y\"}", "{\"id\": \"a/1.0\", \"text\": \"z\"}"}},
         kept = {.lines = {"{\"id\": \"a/1.0\", \"text\": \"y\", \"provenance\": {\"kept\": {\"k\": 1, \"ids\": [1], "
                           "\"top_ids\": [1], \"top\": [-1]}}}"}};
    bench b;
    open_bench(&b, "says", "[{name: say}]", given);
    CHECK_OK(run_said(&b, &words));
    CHECK(!strstr(read_text_of(b.out), "late"));
    CHECK_HAS(read_text_of(b.out), "\"text\":\"y\",\"provenance\":{\"operators\":[{\"operator\":\"expand continue\"");
    CHECK_HAS(read_text_of(b.out), "\"parents\":[\"a\"],\"scores\":{\"s\":2");
    CHECK_OK(di_options_set(b.options, "augment.overwrite", "true", &err));
    CHECK_INT(run_said(&b, &twice), DK_E_INVALID);
    CHECK_HAS(err.message, "operator say: sample a/1.0: it emitted the id of the sample twice");
    CHECK_INT(run_said(&b, &kept), DK_E_FORMAT);
    CHECK_HAS(err.message, "\"kept\" in its provenance");
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
              TEST_CASE(blank_lines_are_no_samples) TEST_CASE(an_id_that_stands_twice_is_found_among_many)
                  TEST_CASE(a_file_has_one_run_at_work) TEST_CASE(what_is_read_is_not_written_over)
                      TEST_CASE(what_a_host_says_of_a_sample_keeps_its_origin)
                          TEST_CASE(what_is_wrong_is_said_before_the_first_sample)
                              TEST_CASE(a_run_that_is_stopped_goes_on_to_the_same_bytes)
                                  TEST_CASE(a_run_that_is_stopped_around_a_barrier_goes_on_to_the_same_bytes))
