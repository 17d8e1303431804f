/* Operators that ask for a judgement: a host that says what the test wants to hear, and the quickstart's teacher, which
 * judges nothing. */
#include "augment_fixture.h"
#include "target/target.h"

static const char *const own = TEST_DATA "/../../examples/quickstart/teacher";

typedef struct speaker { /* answers number 0, 1, ... are texts[number % count] */
    const char *texts[8];
    int64_t count, answers;
    int64_t samples; /* of the first prompt; 0 = 1 */
} speaker;

static int32_t say(void *user, const distill_batch *prompts, const distill_options *options, distill_token_fn emit,
                   void *emit_user)
{
    speaker *s = user;
    const int64_t samples = s->samples && !s->answers ? s->samples : 1;
    (void)prompts, (void)options;
    for (int64_t i = 0; i < samples; i++) {
        const char *text = s->texts[s->answers++ % s->count];
        if (emit(emit_user, i, 300, -1, text, strlen(text), 0) || emit(emit_user, i, 0, -1, "", 0, 1))
            return DISTILL_CB_CANCEL;
    }
    return DISTILL_CB_OK;
}

static void with_speaker(bench *b, speaker *s)
{
    int64_t shape[2] = {1, 2048};
    distill_tensor values = di_tensor_of(NULL, DISTILL_FLOAT, 32, 2, shape);
    distill_target form;
    distill_teacher_callbacks table;
    DISTILL_INIT(&form);
    form.kind = DISTILL_DENSE, form.values = &values, form.vocab_valid = 2048, form.temperature = 1;
    DISTILL_INIT(&table);
    table.user = s, table.generate = say, table.form = &form;
    CHECK_OK(di_teacher_from_callbacks(b->backend, &table, NULL, &b->teacher, &err));
    CHECK_OK(di_options_set_str(b->options, "augment.tokenizer", own, &err));
    CHECK_OK(di_options_set(b->options, "data.chat_template", "chatml", &err));
}

static const char *aside_of(const bench *b)
{
    char path[1200];
    snprintf(path, sizeof path, "%s.aside.jsonl", b->out);
    return read_text_of(path);
}

static int32_t plan(bench *b)
{
    const di_augment_args args = {
        .backend = b->backend, .teacher = b->teacher, .options = b->options, .in = b->in, .dry_run = 1};
    dk_strbuf_clear(&b->report);
    return di_augment(&args, &b->report, &err);
}

static const char *const answered =
    "{\"prompt\": \"name a boat\", \"completion\": \"a raft\"}\n"
    "{\"messages\": [{\"role\": \"user\", \"content\": \"name a tree\"}, {\"role\": \"assistant\", \"content\": "
    "\"an oak\"}]}\n"
    "{\"prompt\": \"name a bird\", \"completion\": \"no\"}\n{\"prompt\": \"no answer yet\"}\n";

TEST(what_a_judge_is_asked)
{
    static const char *const cases[][2] = {
        {"{feedback: judge}", "Task:\\nname a boat\\n\\nAnswer:\\na raft\\n\\nHow good is the answer"},
        {"{feedback: judge}",
         "a number from 1 (useless) to 10 (could not be better), and nothing behind it.<|im_end|>"},
        {"{feedback: judge}", "Task:\\nname a tree\\n\\nAnswer:\\nan oak\\n"},
        {"{feedback: judge, language: pt, low: 0, high: 5}",
         "diga \\\"Nota:\\\" e um n\xc3\xbamero de 0 (in\xc3\xbatil) a 5 "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bench b;
        speaker s = {{"Score: 1"}, 1, 0, 0};
        char steps[128];
        snprintf(steps, sizeof steps, "[%s]", cases[i][0]);
        open_bench(&b, "asked", steps, answered);
        with_speaker(&b, &s);
        CHECK_OK(plan(&b));
        CHECK_HAS(b.report.data, cases[i][1]);
        close_bench(&b);
    }
}

TEST(scores_are_parsed_and_never_guessed)
{
    bench b;
    speaker s = {{"Right and clear.\nScore: 9/10", "Nota: 4", "It is about a 7 I think"}, 3, 0, 0};
    open_bench(&b, "judge", "[{feedback: judge}]", answered);
    with_speaker(&b, &s);
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(read_text_of(b.out),
              "{\"id\":\"#1\",\"prompt\":\"name a boat\",\"completion\":\"a raft\",\"provenance\":");
    CHECK_HAS(read_text_of(b.out), "{\"operator\":\"feedback judge\",\"teacher\":\"");
    CHECK_HAS(read_text_of(b.out), "\"scores\":{\"judge\":9}");
    CHECK_HAS(read_text_of(b.out), "\"scores\":{\"judge\":4}");
    CHECK_HAS(b.report.data, "\"in\":4,\"out\":2,\"counts\":{\"unparsed\":1,\"no_answer\":1}");
    CHECK_HAS(aside_of(&b), "\"judgement\":\"It is about a 7 I think\"");
    CHECK_HAS(aside_of(&b), "no answer yet");
    close_bench(&b);
}

TEST(best_of_several_by_a_judge)
{
    bench b;
    speaker s = {{"first", "second", "third", "Score: 3", "Score: 8", "Score: 8"}, 6, 0, 3};
    open_bench(&b, "best", "[{label: answer, samples: 3, temperature: 1}, {feedback: judge}, {keep: best, by: judge}]",
               "{\"id\": \"q\", \"prompt\": \"say a number\"}\n");
    with_speaker(&b, &s);
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(read_text_of(b.out), "{\"id\":\"q/1.1\",\"prompt\":\"say a number\",\"completion\":\"second\"");
    CHECK_HAS(b.report.data, "\"operator\":\"keep best\",\"in\":3,\"out\":1,\"counts\":{\"not_the_best\":2}");
    close_bench(&b);
}

/* Three answers, three pairs, each asked in both orders. */
TEST(pairs_of_better_and_worse)
{
    bench b;
    /* x y: A twice said right; x z: B; y z: hangs on the order */
    speaker s = {{"x", "y", "z", "Verdict: A", "Verdict: B", "[[B]]", "[[A]]", "Verdict: A"}, 8, 0, 3};
    open_bench(&b, "rank", "[{label: answer, samples: 3, temperature: 1}, {feedback: rank}]",
               "{\"id\": \"q\", \"prompt\": \"say a letter\"}\n");
    with_speaker(&b, &s);
    REQUIRE_OK(run_bench(&b)); /* the ninth is "x" again */
    CHECK_HAS(read_text_of(b.out),
              "{\"id\":\"q/1.0/2.0\",\"prompt\":\"say a letter\",\"chosen\":\"x\",\"rejected\":\"y\"");
    CHECK_HAS(read_text_of(b.out),
              "{\"id\":\"q/1.2/2.1\",\"prompt\":\"say a letter\",\"chosen\":\"z\",\"rejected\":\"x\"");
    CHECK(!strstr(read_text_of(b.out), "completion"));
    CHECK_HAS(b.report.data, "\"operator\":\"feedback rank\",\"in\":3,\"out\":2,\"counts\":{\"unparsed\":1}");
    CHECK_HAS(aside_of(&b), "\"judgement\":\"Verdict: A\",\"judgement_turned\":\"x\"");
    close_bench(&b);
}

TEST(ties_and_orders)
{
    bench b;
    speaker s = {{"x", "y", "Verdict: A", "Verdict: A"}, 4, 0, 2};
    speaker tie = {{"x", "y", "empate", "Verdict: tie"}, 4, 0, 2};
    speaker same = {{"x", "x"}, 2, 0, 2};
    static const char *const steps = "[{label: answer, samples: 2, temperature: 1}, {feedback: rank, language: pt}]";
    static const char *const seed = "{\"id\": \"q\", \"prompt\": \"say a letter\"}\n";
    open_bench(&b, "order", steps, seed);
    with_speaker(&b, &s);
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(b.report.data, "\"in\":2,\"out\":0,\"counts\":{\"hangs_on_order\":1}");
    close_bench(&b);
    open_bench(&b, "tie", steps, seed);
    with_speaker(&b, &tie);
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(b.report.data, "\"counts\":{\"tied\":1}");
    close_bench(&b);
    open_bench(&b, "same", steps, seed);
    with_speaker(&b, &same);
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(b.report.data, "\"counts\":{\"same_answer\":1}");
    CHECK_INT(same.answers, 2);
    close_bench(&b);
    open_bench(&b, "alone", "[{feedback: rank}]", answered);
    with_speaker(&b, &same);
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(b.report.data, "\"counts\":{\"no_other_answer\":4}");
    close_bench(&b);
}

TEST(conversations_become_pairs)
{
    bench b;
    speaker s = {{"x", "y", "Verdict: B", "Verdict: A"}, 4, 0, 2};
    open_bench(&b, "talk", "[{label: answer, samples: 2, temperature: 1}, {feedback: rank}]",
               "{\"id\": \"q\", \"messages\": [{\"role\": \"user\", \"content\": \"say a letter\"}]}\n");
    with_speaker(&b, &s);
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(read_text_of(b.out), "\"prompt\":[{\"role\":\"user\",\"content\":\"say a letter\"}]");
    CHECK_HAS(read_text_of(b.out), "\"chosen\":[{\"role\":\"assistant\",\"content\":\"y\"}]");
    CHECK_HAS(read_text_of(b.out), "\"rejected\":[{\"role\":\"assistant\",\"content\":\"x\"}]");
    CHECK(!strstr(read_text_of(b.out), "\"messages\""));
    close_bench(&b);
}

/* A model that was never taught to judge gives words, which are kept aside; the run ends with the same bytes again. */
TEST(a_model_that_judges_nothing)
{
    static char before[1 << 16];
    bench b;
    open_bench(&b, "model", "[{feedback: judge, max_new_tokens: 8, temperature: 0}]", answered);
    CHECK_OK(di_teacher_open(b.backend, own, 1, &b.teacher, &err));
    CHECK_OK(di_options_set(b.options, "data.chat_template", "chatml", &err));
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(b.report.data, "\"in\":4,\"out\":0,\"counts\":{\"unparsed\":3,\"no_answer\":1}");
    CHECK_HAS(aside_of(&b), "\"judgement\":\"");
    snprintf(before, sizeof before, "%s", aside_of(&b));
    CHECK_OK(di_options_set(b.options, "augment.overwrite", "true", &err));
    REQUIRE_OK(run_bench(&b));
    CHECK_STR(aside_of(&b), before);
    close_bench(&b);
}

TEST(what_is_wrong_is_said_at_once)
{
    bench b;
    speaker s = {{"x"}, 1, 0, 0};
    char path[1200], steps[1400];
    snprintf(path, sizeof path, "%s/template.txt", TEST_TMP);
    write_text(path, "Is {{answr}} good?");
    snprintf(steps, sizeof steps, "[{feedback: judge, template: '%s'}]", path);
    open_bench(&b, "wrong", steps, answered);
    with_speaker(&b, &s);
    CHECK_INT(run_bench(&b), DK_E_OPTION);
    CHECK_HAS(err.message, "{{answr}} is no field here");
    CHECK_OK(di_options_set(b.options, "augment.steps", "[{feedback: judge, low: 5, high: 5}]", &err));
    CHECK_INT(run_bench(&b), DK_E_OPTION);
    CHECK_HAS(err.message, "low 5 is not below high 5");
    CHECK_OK(di_options_set(b.options, "augment.steps", "[{feedback: rank, samples: 2}]", &err));
    CHECK_INT(run_bench(&b), DK_E_OPTION);
    CHECK_HAS(err.message, "samples is not read by feedback rank");
    close_bench(&b);
    open_bench(&b, "chat", "[{feedback: judge}]", answered); /* a teacher without a chat template */
    CHECK_OK(di_teacher_open(b.backend, own, 1, &b.teacher, &err));
    CHECK(run_bench(&b) != DK_OK);
    CHECK_HAS(err.message, "chat");
    close_bench(&b);
}

TEST_MAIN(TEST_CASE(what_a_judge_is_asked) TEST_CASE(scores_are_parsed_and_never_guessed)
              TEST_CASE(best_of_several_by_a_judge) TEST_CASE(pairs_of_better_and_worse) TEST_CASE(ties_and_orders)
                  TEST_CASE(conversations_become_pairs) TEST_CASE(a_model_that_judges_nothing)
                      TEST_CASE(what_is_wrong_is_said_at_once))
