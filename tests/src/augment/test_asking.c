/* Operators that ask a teacher, with the quickstart's: 2,048 ids, a context of 512, trained on glosses of WordNet. */
#include <unistd.h>

#include "augment_fixture.h"

static void with_teacher(bench *b)
{
    CHECK_OK(di_teacher_open(b->backend, TEST_DATA "/../../examples/quickstart/teacher", 1, &b->teacher, &err));
}

static const char *const texts = "{\"id\": \"a\", \"text\": \"a small boat\", \"topic\": \"sea\"}\n"
                                 "{\"id\": \"b\", \"text\": \"the act of\"}\n"
                                 "{\"id\": \"c\", \"text\": \"a tree that\"}\n";

/* The line of the result whose id this is, in a buffer of its own; "" = there is none. */
static const char *line_of(const bench *b, const char *id)
{
    static char lines[4][8192];
    static int next;
    char begin[64], *out = lines[next++ % 4];
    snprintf(begin, sizeof begin, "{\"id\":\"%s\",", id);
    const char *at = strstr(read_text_of(b->out), begin);
    snprintf(out, sizeof lines[0], "%.*s", at ? (int)strcspn(at, "\n") : 0, at ? at : "");
    return out;
}

TEST(texts_go_on)
{
    bench b, alone;
    open_bench(&b, "continue", "[{expand: continue, samples: 2, max_new_tokens: 12, temperature: 0.9}]", texts);
    with_teacher(&b);
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(b.report.data, "\"samples\":3,\"written\":9,");
    CHECK_HAS(line_of(&b, "a"), "\"text\":\"a small boat\",\"topic\":\"sea\"");
    const char *first = line_of(&b, "a/1.0"), *second = line_of(&b, "a/1.1");
    CHECK_HAS(first, "\"text\":\"a small boat ");
    CHECK_HAS(first, "\"topic\":\"sea\"");
    CHECK_HAS(first, "\"operators\":[{\"operator\":\"expand continue\",\"teacher\":\"");
    CHECK_HAS(first, "\"seed\":1}],\"parents\":[\"a\"]");
    CHECK(strcmp(strstr(first, "\"text\""), strstr(second, "\"text\"")) != 0);
    /* What a sample becomes hangs on its id and words, not on those that pass beside it. */
    open_bench(&alone, "alone", "[{expand: continue, samples: 2, max_new_tokens: 12, temperature: 0.9}]",
               "{\"id\": \"z\", \"text\": \"other words\"}\n{\"id\": \"b\", \"text\": \"the act of\"}\n");
    with_teacher(&alone);
    REQUIRE_OK(run_bench(&alone));
    CHECK_STR(line_of(&alone, "b/1.0"), line_of(&b, "b/1.0"));
    CHECK_STR(line_of(&alone, "b/1.1"), line_of(&b, "b/1.1"));
    /* Another seed writes other words. */
    char before[8192];
    snprintf(before, sizeof before, "%s", line_of(&alone, "b/1.0"));
    CHECK_OK(di_options_set(alone.options, "augment.seed", "2", &err));
    CHECK_OK(di_options_set(alone.options, "augment.overwrite", "true", &err));
    CHECK_OK(run_bench(&alone));
    CHECK(strcmp(line_of(&alone, "b/1.0"), before) != 0);
    close_bench(&alone);
    close_bench(&b);
}

TEST(a_prefix_goes_on_alone)
{
    bench b;
    open_bench(&b, "prefix",
               "[{expand: continue, prefix_tokens: 2, max_new_tokens: 8, temperature: 0, originals: false}]",
               "{\"text\": \"a small boat used by fishermen\"}\n");
    with_teacher(&b);
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(read_text_of(b.out), "\"text\":\"a small");
    CHECK(!strstr(read_text_of(b.out), "fishermen"));
    CHECK_HAS(b.report.data, "\"written\":1,");
    close_bench(&b);
}

typedef struct heard {
    char text[512];
} heard;

static int32_t hear(void *user, int64_t sequence, int32_t id, double log_prob, const char *text, size_t size,
                    int32_t finished)
{
    heard *h = user;
    (void)sequence, (void)id, (void)log_prob, (void)finished;
    snprintf(h->text + strlen(h->text), sizeof h->text - strlen(h->text), "%.*s", (int)size, text);
    return DISTILL_CB_OK;
}

/* The greedy answer is what distill_teacher_generate gives for the same tokens. */
TEST(prompts_are_answered)
{
    bench b;
    heard h = {""};
    int32_t ids[64];
    int64_t offsets[2] = {0, 0};
    distill_batch batch;
    char wanted[600];
    open_bench(&b, "answer", "[{label: answer, max_new_tokens: 7, temperature: 0}]",
               "{\"prompt\": \"the quality of being\", \"n\": 1}\n"
               "{\"prompt\": \"p\", \"completion\": \"c\"}\n"
               "{\"text\": \"no prompt\"}\n");
    with_teacher(&b);
    REQUIRE_OK(dk_tokenizer_encode(di_teacher_tokenizer(b.teacher), "the quality of being", 20, 0, ids, 64, &offsets[1],
                                   &err));
    DISTILL_INIT(&batch);
    batch.ids = ids, batch.offsets = offsets, batch.sequences = 1;
    CHECK_OK(di_options_set(b.options, "generate", "{temperature: 0, max_tokens: 7}", &err));
    CHECK_OK(di_teacher_generate(b.teacher, &batch, b.options, NULL, hear, &h, &err));
    CHECK_OK(di_options_set(b.options, "generate", NULL, &err));
    REQUIRE_OK(run_bench(&b));
    snprintf(wanted, sizeof wanted,
             "{\"id\":\"#1/1.0\",\"prompt\":\"the quality of being\",\"n\":1,\"completion\":\"%s\",", h.text);
    CHECK(strlen(h.text) > 5);
    CHECK_HAS(read_text_of(b.out), wanted);
    CHECK_HAS(read_text_of(b.out), "{\"id\":\"#2\",\"prompt\":\"p\",\"completion\":\"c\",");
    CHECK_HAS(b.report.data, "\"labelled_already\":1,\"no_prompt\":1");
    CHECK_HAS(b.report.data, "\"samples\":3,\"written\":2,\"tokens\":7,");
    close_bench(&b);
}

TEST(conversations_are_answered)
{
    bench b;
    open_bench(&b, "chat", "[{label: answer, max_new_tokens: 6, temperature: 0, chat: true}]",
               "{\"messages\": [{\"role\": \"user\", \"content\": \"a boat\"}]}\n{\"prompt\": \"a tree\"}\n");
    with_teacher(&b);
    CHECK_OK(di_options_set(b.options, "data.chat_template", "chatml", &err));
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(line_of(&b, "#1/1.0"),
              "\"messages\":[{\"role\":\"user\",\"content\":\"a boat\"},{\"role\":\"assistant\",\"content\":\"");
    CHECK_HAS(line_of(&b, "#2/1.0"),
              "\"messages\":[{\"role\":\"user\",\"content\":\"a tree\"},{\"role\":\"assistant\",\"content\":\"");
    CHECK(!strstr(line_of(&b, "#2/1.0"), "\"prompt\""));
    close_bench(&b);
}

static void write_glosses(const char *path, int count)
{
    static const char *const words[] = {"a small boat", "the act of", "a tree that", "of or relating to",
                                        "someone who"};
    FILE *file = fopen(path, "wb");
    for (int i = 0; file && i < count; i++) fprintf(file, "{\"text\": \"%s %d\"}\n", words[i % 5], i);
    if (!file || fclose(file)) exit(3);
}

TEST(a_budget_ends_a_run_and_a_larger_one_goes_on)
{
    static char whole[1 << 18];
    bench b;
    char state[1200];
    open_bench(&b, "budget", "[{expand: continue, max_new_tokens: 4}]", "");
    with_teacher(&b);
    write_glosses(b.in, 80);
    CHECK_OK(di_options_set(b.options, "augment.budget.tokens", "1e6", &err));
    REQUIRE_OK(run_bench(&b));
    snprintf(whole, sizeof whole, "%s", read_text_of(b.out));
    CHECK_HAS(b.report.data, "\"ended\":\"whole\"");
    unlink(b.out);
    CHECK_OK(di_options_set(b.options, "augment.budget.tokens", "100", &err));
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(b.report.data, "\"ended\":\"tokens\"");
    CHECK_HAS(b.report.data, "\"written\":64,\"tokens\":"); /* 32 samples and what came of them */
    snprintf(state, sizeof state, "%s.state", b.out);
    CHECK(dk_path_exists(b.out) == 1 && dk_path_exists(state) == 1);
    REQUIRE_OK(run_bench(&b)); /* the same budget is over at once, and nothing changes */
    CHECK(strlen(read_text_of(b.out)) < strlen(whole) &&
          !strncmp(read_text_of(b.out), whole, strlen(read_text_of(b.out))));
    CHECK_HAS(b.report.data, "\"written\":64,");
    CHECK_OK(di_options_set(b.options, "augment.budget.tokens", "1e6", &err));
    REQUIRE_OK(run_bench(&b));
    CHECK(!strcmp(read_text_of(b.out), whole));
    CHECK_HAS(b.report.data, "\"ended\":\"whole\"");
    CHECK(!dk_path_exists(state));
    CHECK_OK(di_options_set(b.options, "augment.overwrite", "true", &err));
    CHECK_OK(di_options_set(b.options, "augment.budget", "{minutes: 1e-6}", &err));
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(b.report.data, "\"ended\":\"minutes\"");
    close_bench(&b);
}

/* Whatever time cuts, and however often a run goes on: a budget of tokens ends at the same sample. */
TEST(a_budget_of_tokens_is_the_same_beside_one_of_minutes)
{
    static char whole[1 << 18];
    char minutes[32];
    int runs = 0;
    bench b;
    open_bench(&b, "budgets", "[{expand: continue, max_new_tokens: 8}]", "");
    with_teacher(&b);
    write_glosses(b.in, 400);
    CHECK_OK(di_options_set(b.options, "augment.budget.tokens", "1500", &err));
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(b.report.data, "\"ended\":\"tokens\"");
    snprintf(whole, sizeof whole, "%s", read_text_of(b.out));
    CHECK_OK(di_options_set(b.options, "augment.overwrite", "true", &err));
    for (double m = 2e-4; m < 10; m *= 1.2, runs++) {
        snprintf(minutes, sizeof minutes, "%.9f", m);
        CHECK_OK(di_options_set(b.options, "augment.budget.minutes", minutes, &err));
        REQUIRE_OK(run_bench(&b));
        if (!strstr(b.report.data, "\"ended\":\"minutes\"")) break;
        CHECK_OK(di_options_set(b.options, "augment.overwrite", "false", &err));
    }
    CHECK_HAS(b.report.data, "\"ended\":\"tokens\"");
    CHECK(runs > 0 && !strcmp(read_text_of(b.out), whole));
    close_bench(&b);
}

/* A vote needs them all: a budget that is over before it leaves nothing but what goes on. */
TEST(a_budget_may_end_before_a_vote)
{
    static char whole[1 << 18];
    static const char *const steps = "[{label: answer, max_new_tokens: 3}, {vote: dawid_skene, classes: [x, y]}]";
    bench b;
    open_bench(&b, "budget_vote", steps, "");
    with_teacher(&b);
    FILE *file = fopen(b.in, "wb");
    for (int i = 0; file && i < 70; i++)
        fprintf(file, "{\"prompt\": \"the act %d\", \"votes\": [\"%s\", \"x\", \"%s\"]}\n", i, i % 2 ? "x" : "y",
                i % 3 ? "x" : "y");
    if (!file || fclose(file)) exit(3);
    REQUIRE_OK(run_bench(&b));
    snprintf(whole, sizeof whole, "%s", read_text_of(b.out));
    unlink(b.out);
    CHECK_OK(di_options_set(b.options, "augment.budget.tokens", "50", &err));
    for (int again = 0; again < 2; again++) { /* the same budget is over at once */
        REQUIRE_OK(run_bench(&b));
        CHECK_HAS(b.report.data, "\"ended\":\"tokens\"");
        CHECK(!dk_path_exists(b.out));
    }
    CHECK_OK(di_options_set(b.options, "augment.budget.tokens", "0", &err));
    REQUIRE_OK(run_bench(&b));
    CHECK(!strcmp(read_text_of(b.out), whole));
    close_bench(&b);
}

TEST(answers_that_are_none_are_counted)
{
    bench b;
    char *text = calloc(1, 4000), *seed = calloc(1, 9000);
    for (int i = 0; i < 900; i++) strcat(text, "sea ");
    snprintf(seed, 9000, "{\"text\": \"%s\"}\n{\"text\": \"the act of\"}\n", text);
    open_bench(&b, "none", "[{expand: continue, max_new_tokens: 20, temperature: 0}]", seed);
    with_teacher(&b);
    CHECK_OK(di_options_set(b.options, "generate.logit_bias", "{300: 100}", &err)); /* one token over and over */
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(b.report.data, "\"prompt_fills_context\":1");
    CHECK_HAS(b.report.data, "\"endless_repetition\":1");
    CHECK_HAS(b.report.data, "\"written\":2,"); /* both texts went on as they were */
    close_bench(&b);
    /* an answer that ends at once */
    open_bench(&b, "empty", "[{label: answer, max_new_tokens: 8, temperature: 0, stop: [' ', a, e, i, o, u]}]",
               "{\"prompt\": \"the quality of being\"}\n");
    with_teacher(&b);
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(b.report.data, "\"counts\":{\"empty\":1}");
    CHECK_HAS(b.report.data, "\"written\":0,");
    close_bench(&b);
    free(text);
    free(seed);
}

TEST(what_cannot_be_asked_is_counted_and_the_rest_goes_on)
{
    bench b;
    open_bench(&b, "no_words", "[{label: answer, max_new_tokens: 4, temperature: 0}]",
               "{\"prompt\": \"\"}\n{\"prompt\": \"the quality of being\"}\n");
    with_teacher(&b);
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(b.report.data, "\"counts\":{\"empty_prompt\":1,\"cut\":1}");
    CHECK_HAS(b.report.data, "\"written\":1,");
    close_bench(&b);
    /* originals: false: only what was made goes on */
    open_bench(&b, "not_text", "[{expand: continue, max_new_tokens: 4, temperature: 0, originals: false}]",
               "{\"prompt\": \"the\"}\n{\"text\": \"the quality of being\"}\n");
    with_teacher(&b);
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(b.report.data, "\"counts\":{\"no_text\":1,\"cut\":1}");
    CHECK_HAS(b.report.data, "\"written\":1,");
    CHECK_HAS(line_of(&b, "#2/1.0"), "the quality of being");
    close_bench(&b);
}

TEST(what_a_teacher_cannot_is_said_at_once)
{
    static const char *const cases[][2] = {
        {"[{label: answer, samples: 2, temperature: 0}]", "samples 2 at temperature 0"},
        {"[{label: answer, chat: true}]", "(label answer): chat: messages need a chat template"},
        {"[{label: answer, keep_logprobs: 4000}]", "keep_logprobs 4000 of a model with 2048 ids"},
        {"[{expand: continue, chat: true}]", "augment.steps.0.chat is not read by expand continue"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bench b;
        open_bench(&b, "cannot", cases[i][0], "{\"prompt\": \"p\"}\n");
        with_teacher(&b);
        CHECK(run_bench(&b) != DK_OK);
        CHECK_HAS(err.message, cases[i][1]);
        close_bench(&b);
    }
    bench b;
    open_bench(&b, "cannot", "[{label: answer}]", "{\"prompt\": \"p\"}\n");
    CHECK_INT(run_bench(&b), DK_E_OPTION);
    CHECK_HAS(err.message, "teacher.path is missing");
    close_bench(&b);
}

/* ---- a teacher of callbacks ---- */

typedef struct asked {
    int64_t calls, seeds[8], ids[8];
    int32_t code;
} asked;

/* Writes "abc" by ids alone; its options are a tree, as the host's handle would be. */
static int32_t write_letters(void *user, const distill_batch *prompts, const distill_options *options,
                             distill_token_fn emit, void *emit_user)
{
    asked *a = user;
    const di_options *tree = (const di_options *)(const void *)options;
    CHECK_INT(prompts->sequences, 1);
    a->seeds[a->calls % 8] = di_options_i64(tree, "generate.seed");
    a->ids[a->calls++ % 8] = prompts->offsets[1];
    if (a->code) return a->code;
    for (int32_t i = 0; i < 3; i++)
        if (emit(emit_user, 0, 500 + i, -1, "", 0, i == 2)) return DISTILL_CB_CANCEL;
    return DISTILL_CB_OK;
}

TEST(a_host_may_be_the_teacher)
{
    static const char *const own = TEST_DATA "/../../examples/quickstart/teacher";
    asked a = {0};
    int64_t shape[2] = {1, 2048};
    distill_tensor values = di_tensor_of(NULL, DISTILL_FLOAT, 32, 2, shape);
    distill_target form;
    distill_teacher_callbacks table;
    bench b;
    DISTILL_INIT(&form);
    form.kind = DISTILL_DENSE, form.values = &values, form.vocab_valid = 2048, form.temperature = 1;
    DISTILL_INIT(&table);
    table.user = &a, table.generate = write_letters, table.form = &form, table.identity = "letters 1";
    open_bench(&b, "hosted", "[{label: answer, max_new_tokens: 3, temperature: 1}]",
               "{\"prompt\": \"the\"}\n{\"prompt\": \"the act\"}\n");
    REQUIRE_OK(di_teacher_from_callbacks(b.backend, &table, NULL, &b.teacher, &err));
    CHECK_INT(run_bench(&b), DK_E_OPTION);
    CHECK_HAS(err.message, "augment.tokenizer is missing");
    CHECK_OK(di_options_set_str(b.options, "augment.tokenizer", own, &err));
    di_options *writing = NULL;
    REQUIRE_OK(di_options_copy(b.options, b.host, -1, &writing, &err));
    const di_augment_args args = {.backend = b.backend,
                                  .teacher = b.teacher,
                                  .options = b.options,
                                  .in = b.in,
                                  .out = b.out,
                                  .writing = writing,
                                  .user_options = (const distill_options *)(const void *)writing};
    REQUIRE_OK(di_augment(&args, &b.report, &err));
    CHECK_INT(a.calls, 2);
    CHECK(a.seeds[0] != a.seeds[1] && a.ids[0] < a.ids[1]); /* a prompt a call, each by a seed of its own */
    CHECK_HAS(b.report.data, "\"written\":2,\"tokens\":6,");
    dk_strbuf text;
    dk_strbuf_init(&text, b.host);
    dk_tokenizer *tokenizer = NULL;
    REQUIRE_OK(dk_tokenizer_open(b.host, own, &tokenizer, &err));
    CHECK_OK(dk_tokenizer_decode_to(tokenizer, (const int32_t[3]){500, 501, 502}, 3, 0, &text, &err));
    CHECK_HAS(read_text_of(b.out), text.data);
    /* What it fails with is told, and nothing is lost. */
    a.code = 77;
    CHECK_OK(di_options_set(b.options, "augment.overwrite", "true", &err));
    CHECK_INT(di_augment(&args, &b.report, &err), DK_E_CALLBACK);
    CHECK_INT(err.user_code, 77);
    dk_tokenizer_release(tokenizer);
    dk_strbuf_free(&text);
    di_options_free(writing);
    close_bench(&b);
}

typedef struct told {
    int64_t calls, done, tokens;
} told;

static int32_t listen(void *user, const distill_progress *now)
{
    told *t = user;
    t->calls++;
    t->done = now->done;
    t->tokens = now->tokens;
    return now->tokens >= 6 ? DISTILL_CB_CANCEL : DISTILL_CB_OK;
}

static int32_t write_slowly(void *user, const distill_batch *prompts, const distill_options *options,
                            distill_token_fn emit, void *emit_user)
{
    usleep(300000);
    return write_letters(user, prompts, options, emit, emit_user);
}

/* Twenty prompts of one chunk that take six seconds: heard of, and stopped, long before. */
TEST(a_chunk_at_work_says_how_far_it_is)
{
    int64_t shape[2] = {1, 2048};
    distill_tensor values = di_tensor_of(NULL, DISTILL_FLOAT, 32, 2, shape);
    distill_target form;
    distill_teacher_callbacks table;
    asked a = {0};
    told news = {0};
    bench b;
    char seeds[800] = "";
    DISTILL_INIT(&form);
    form.kind = DISTILL_DENSE, form.values = &values, form.vocab_valid = 2048, form.temperature = 1;
    DISTILL_INIT(&table);
    table.user = &a, table.generate = write_slowly, table.form = &form, table.identity = "letters 2";
    for (int i = 0; i < 20; i++) snprintf(seeds + strlen(seeds), 40, "{\"prompt\": \"the act %d\"}\n", i);
    open_bench(&b, "slow", "[{label: answer, max_new_tokens: 3, temperature: 1}]", seeds);
    REQUIRE_OK(di_teacher_from_callbacks(b.backend, &table, NULL, &b.teacher, &err));
    CHECK_OK(di_options_set_str(b.options, "augment.tokenizer", TEST_DATA "/../../examples/quickstart/teacher", &err));
    di_options *writing = NULL;
    REQUIRE_OK(di_options_copy(b.options, b.host, -1, &writing, &err));
    const di_augment_args args = {.backend = b.backend,
                                  .teacher = b.teacher,
                                  .options = b.options,
                                  .in = b.in,
                                  .out = b.out,
                                  .fn = listen,
                                  .user = &news,
                                  .writing = writing,
                                  .user_options = (const distill_options *)(const void *)writing};
    CHECK_INT(di_augment(&args, &b.report, &err), DK_E_CANCELLED);
    CHECK_HAS(err.message, "stopped behind sample 0;");
    CHECK_INT(news.done, 0);
    CHECK(news.calls >= 1 && news.tokens >= 6 && a.calls < 20);
    di_options_free(writing);
    close_bench(&b);
}

TEST_MAIN(TEST_CASE(texts_go_on) TEST_CASE(a_prefix_goes_on_alone) TEST_CASE(prompts_are_answered)
              TEST_CASE(conversations_are_answered) TEST_CASE(a_budget_ends_a_run_and_a_larger_one_goes_on)
                  TEST_CASE(a_budget_of_tokens_is_the_same_beside_one_of_minutes)
                      TEST_CASE(a_budget_may_end_before_a_vote) TEST_CASE(answers_that_are_none_are_counted)
                          TEST_CASE(what_cannot_be_asked_is_counted_and_the_rest_goes_on)
                              TEST_CASE(what_a_teacher_cannot_is_said_at_once) TEST_CASE(a_host_may_be_the_teacher)
                                  TEST_CASE(a_chunk_at_work_says_how_far_it_is))
