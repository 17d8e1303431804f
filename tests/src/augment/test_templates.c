/* Operators that ask with a template: what is asked, in both languages, and what becomes of the answers. The teacher is
 * the quickstart's, or a host that says what the test wants to hear. */
#include "augment_fixture.h"
#include "augment/template.h"

static const char *const own = TEST_DATA "/../../examples/quickstart/teacher";
static const char *const seeds = "{\"id\": \"a\", \"prompt\": \"name a boat\", \"topic\": \"sea\"}\n"
                                 "{\"id\": \"b\", \"prompt\": \"name a tree\", \"topic\": \"wood\"}\n"
                                 "{\"id\": \"c\", \"prompt\": \"name a bird\", \"topic\": \"air\"}\n";

typedef struct speaker { /* answers number 0, 1, ... are texts[number % count] */
    const char *texts[4];
    int64_t count, calls;
} speaker;

static int32_t say(void *user, const distill_batch *prompts, const distill_options *options, distill_token_fn emit,
                   void *emit_user)
{
    speaker *s = user;
    const char *text = s->texts[s->calls++ % s->count];
    (void)prompts, (void)options;
    if (emit(emit_user, 0, 300, -1, text, strlen(text), 0)) return DISTILL_CB_CANCEL;
    return emit(emit_user, 0, 0, -1, "", 0, 1) ? DISTILL_CB_CANCEL : DISTILL_CB_OK;
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

static int32_t plan(bench *b, const char *in)
{
    const di_augment_args args = {
        .backend = b->backend, .teacher = b->teacher, .options = b->options, .in = in, .dry_run = 1};
    dk_strbuf_clear(&b->report);
    return di_augment(&args, &b->report, &err);
}

TEST(what_is_asked)
{
    static const char *const cases[][2] = {
        {"{expand: paraphrase}", "other words. Keep its meaning, its language and about its length. Answer with the "
                                 "rewritten text alone.\\n\\nname a boat<|im_end|>"},
        {"{expand: paraphrase, language: pt}", "Reescreva o texto abaixo"},
        {"{expand: evol_instruct}", "so that it is harder"},
        {"{expand: evol_instruct, direction: broader}", "about something rarer"},
        {"{expand: evol_instruct, direction: broader, language: pt}", "sobre algo mais raro"},
        {"{expand: self_instruct, examples: 3}", "1. name a boat\\n2. name a "},
        {"{expand: self_instruct, language: pt}", "Aqui est\xc3\xa3o algumas tarefas"},
        {"{expand: persona, personas: [a sailor]}", "in the same situation: a sailor."},
        {"{expand: persona, personas: [um marinheiro], language: pt}",
         "na mesma situa\xc3\xa7\xc3\xa3o: um marinheiro."},
        {"{expand: back_translation}", "Translate the text below into French."},
        {"{expand: back_translation, language: pt}", "Traduza o texto abaixo para ingl\xc3\xaas."},
        {"{expand: back_translation, pivot: German}", "into German."},
        {"{label: rationale}", "on a line of its own that begins with \\\"Answer:\\\""},
        {"{label: rationale, language: pt}", "comece com \\\"Resposta:\\\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bench b;
        char steps[256];
        speaker s = {{"x"}, 1, 0};
        snprintf(steps, sizeof steps, "[%s]", cases[i][0]);
        open_bench(&b, "asked", steps, seeds);
        with_speaker(&b, &s);
        CHECK_OK(plan(&b, b.in));
        CHECK_HAS(b.report.data, cases[i][1]);
        CHECK_HAS(b.report.data, "<|im_start|>user\\n");
        CHECK_HAS(b.report.data, "<|im_start|>assistant\\n");
        close_bench(&b);
    }
}

TEST(new_questions_take_the_place_of_old_ones)
{
    bench b;
    speaker s = {{" \"name a raft\"\n", "name a tree", "name an owl"}, 3, 0};
    open_bench(&b, "new", "[{expand: paraphrase}]", seeds);
    with_speaker(&b, &s);
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(read_text_of(b.out), "{\"id\":\"a\",\"prompt\":\"name a boat\",\"topic\":\"sea\"");
    CHECK_HAS(read_text_of(b.out), "{\"id\":\"a/1.0\",\"prompt\":\"name a raft\",\"topic\":\"sea\"");
    CHECK_HAS(read_text_of(b.out), "{\"id\":\"c/1.0\",\"prompt\":\"name an owl\",\"topic\":\"air\"");
    CHECK(!strstr(read_text_of(b.out), "b/1.0"));
    CHECK_HAS(b.report.data, "\"counts\":{\"unchanged\":1}");
    CHECK_HAS(read_text_of(b.out), "\"template\":\"");
    close_bench(&b);
}

TEST(magpie_and_topics_are_made_of_nothing)
{
    bench b;
    speaker s = {{"What is a boat?"}, 1, 0};
    open_bench(&b, "magpie", "[{expand: magpie, n: 40}]", seeds);
    with_speaker(&b, &s);
    CHECK_OK(plan(&b, NULL));
    CHECK_HAS(b.report.data, "\"samples\":40,");
    CHECK_HAS(b.report.data, "\"prompts\":[\"<|im_start|>user\\n\","); /* the bare prefix, and nothing behind it */
    REQUIRE_OK(run_bench(&b));                                         /* seeds pass in front of what is made */
    CHECK_HAS(b.report.data, "\"samples\":43,\"written\":43,");
    CHECK_HAS(read_text_of(b.out), "{\"id\":\"a\",\"prompt\":\"name a boat\"");
    CHECK_HAS(read_text_of(b.out),
              "{\"id\":\"made#40/1.0\",\"messages\":[{\"role\":\"user\",\"content\":\"What is a boat?\"}],"
              "\"provenance\":{\"operators\":[{\"operator\":\"expand magpie\"");
    close_bench(&b);
    open_bench(&b, "topic", "[{expand: topic, n: 30, topics: [boats, trees]}, {label: answer}]", "");
    with_speaker(&b, &s);
    b.in[0] = 0;
    const di_augment_args args = {.backend = b.backend, .teacher = b.teacher, .options = b.options, .out = b.out};
    CHECK_OK(plan(&b, NULL));
    CHECK(strstr(b.report.data, "topic: boats.") && strstr(b.report.data, "topic: trees."));
    dk_strbuf_clear(&b.report);
    REQUIRE_OK(di_augment(&args, &b.report, &err));
    CHECK_HAS(b.report.data, "\"samples\":30,\"written\":30,");
    CHECK_HAS(read_text_of(b.out),
              "[{\"role\":\"user\",\"content\":\"What is a boat?\"},{\"role\":\"assistant\",\"content\":"
              "\"What is a boat?\"}]");
    close_bench(&b);
}

TEST(back_translation_keeps_what_came_back)
{
    bench b;
    speaker s = {{"nommez un bateau", "nommez un arbre", "nommez un oiseau"}, 3, 0};
    open_bench(&b, "back", "[{expand: back_translation, originals: false}]", seeds);
    with_speaker(&b, &s);
    REQUIRE_OK(run_bench(&b));
    CHECK_INT(s.calls, 6);
    CHECK_HAS(b.report.data, "\"written\":3,\"tokens\":12,");
    CHECK_HAS(read_text_of(b.out), "{\"id\":\"a/1.0\",\"prompt\":\"nommez un bateau\",\"topic\":\"sea\"");
    CHECK_HAS(read_text_of(b.out), "\"parents\":[\"a\"]");
    close_bench(&b);
}

TEST(thoughts_and_answers_are_two_targets)
{
    bench b;
    char aside[1200];
    speaker s = {{"It floats.\nAnswer: a raft\n", "I do not know.", "Answer: none\nIt flies.\nAnswer: an owl"}, 3, 0};
    open_bench(&b, "rationale", "[{label: rationale, rationale_weight: 0.5, answer_weight: 1}]", seeds);
    with_speaker(&b, &s);
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(
        read_text_of(b.out),
        "\"messages\":[{\"role\":\"user\",\"content\":\"name a boat\"},{\"role\":\"assistant\",\"content\":\"It "
        "floats.\",\"weight\":0.5},{\"role\":\"user\",\"content\":\"What is the answer?\"},{\"role\":\"assistant\","
        "\"content\":\"a raft\"}]");
    CHECK_HAS(read_text_of(b.out), "\"content\":\"an owl\"}]");
    CHECK_HAS(b.report.data, "\"counts\":{\"no_answer_line\":1}");
    snprintf(aside, sizeof aside, "%s.aside.jsonl", b.out);
    CHECK_HAS(read_text_of(aside),
              "{\"why\":\"no_answer_line\",\"sample\":{\"id\":\"b/1.0\",\"prompt\":\"name a tree\"");
    CHECK_HAS(read_text_of(aside), "\"said\":\"I do not know.\"");
    close_bench(&b);
}

static int32_t run_template(bench *b, const char *text, const char *more)
{
    char path[1200], steps[1600];
    speaker s = {{"x"}, 1, 0};
    open_bench(b, "template", "[{expand: paraphrase}]", seeds);
    with_speaker(b, &s);
    snprintf(path, sizeof path, "%s.txt", b->out);
    write_text(path, text);
    snprintf(steps, sizeof steps, "[{expand: paraphrase, template: '%s'%s}]", path, more);
    CHECK_OK(di_options_set(b->options, "augment.steps", steps, &err));
    return plan(b, b->in);
}

TEST(templates_of_ones_own)
{
    bench b;
    CHECK_OK(run_template(&b, "Of {{ sample.topic }}: {{text}}?\n", ""));
    CHECK_HAS(b.report.data, "<|im_start|>user\\nOf sea: name a boat?<|im_end|>");
    close_bench(&b);
    CHECK_INT(run_template(&b, "Say {{texts}}", ""), DK_E_OPTION);
    CHECK_HAS(err.message,
              "{{texts}} is no field here: there are text, and sample.KEY of the sample; did you mean text?");
    close_bench(&b);
    CHECK_INT(run_template(&b, "\n", ""), DK_E_OPTION);
    CHECK_HAS(err.message, "the template is empty");
    close_bench(&b);
    CHECK_INT(run_template(&b, "Say {{text}} and {{text }", ""), DK_E_OPTION);
    CHECK_HAS(err.message, "\"{{text }\" begins a field that no }} ends");
    close_bench(&b);
    CHECK_INT(run_template(&b, "{{sample.a_name_of_more_bytes_than_any_field_of_a_template_is_read_with}}", ""),
              DK_E_OPTION);
    CHECK_HAS(err.message, "no field's name is that long");
    close_bench(&b);
    CHECK_OK(run_template(&b, "Say {{sample.none}}", "")); /* a field that samples have not: they go on, counted */
    CHECK_HAS(b.report.data, "\"prompts\":[]");
    close_bench(&b);
}

TEST(every_language_has_every_template)
{
    int64_t en = 0, pt = 0;
    for (const di_shipped_template *s = di_shipped_templates; s->name; s++) {
        en += !strncmp(s->name, "en/", 3);
        pt += !strncmp(s->name, "pt/", 3);
        CHECK(s->size == strlen(s->text) && s->size > 20 && s->text[s->size - 1] == '\n');
        char other[64];
        snprintf(other, sizeof other, "%s/%s", strncmp(s->name, "en", 2) ? "en" : "pt", s->name + 3);
        const di_shipped_template *twin = di_shipped_templates;
        while (twin->name && strcmp(twin->name, other) != 0) twin++;
        if (!twin->name) FAIL("%s has no %s", s->name, other);
        for (const char *at = s->text; twin->name && (at = strstr(at, "{{")); at += 2) { /* and the same fields */
            char field[64];
            snprintf(field, sizeof field, "%.*s", (int)(strstr(at, "}}") - at) + 2, at);
            if (!strstr(twin->text, field)) FAIL("%s has not %s", other, field);
        }
    }
    CHECK_INT(en, 11);
    CHECK_INT(pt, 11);
}

TEST(what_cannot_be_asked)
{
    static const char *const cases[][2] = {
        {"[{expand: magpie}]", "n is missing"},
        {"[{expand: topic, n: 3}]", "topics is missing"},
        {"[{expand: persona, personas: [a], from: x}]", "both personas and from are given"},
        {"[{expand: persona, from: /nowhere/at/all}]", "/nowhere/at/all"},
        {"[{keep: length, min: 1}, {expand: magpie, n: 3}]", "makes samples of nothing, and is the first step or none"},
        {"[{expand: paraphrase, direction: deeper}]", "augment.steps.0.direction is not read by expand paraphrase"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bench b;
        speaker s = {{"x"}, 1, 0};
        open_bench(&b, "cannot", cases[i][0], seeds);
        with_speaker(&b, &s);
        CHECK(run_bench(&b) != DK_OK);
        CHECK_HAS(err.message, cases[i][1]);
        close_bench(&b);
    }
    bench b;
    open_bench(&b, "no_chat", "[{expand: paraphrase}]", seeds);
    CHECK_OK(di_teacher_open(b.backend, own, 1, &b.teacher, &err));
    CHECK_INT(run_bench(&b), DK_E_OPTION);
    CHECK_HAS(err.message, "messages need a chat template, and the tokenizer has none");
    close_bench(&b);
}

/* A real model, whose words make no sense here: what it writes passes through all of them. */
TEST(a_model_writes_them_all)
{
    bench b;
    open_bench(&b, "model",
               "[{expand: magpie, n: 3, max_new_tokens: 24, temperature: 1, stop: ['\\n', ';']}, {expand: paraphrase, "
               "max_new_tokens: 24, temperature: 1, stop: ['\\n', ';']}, {label: answer, max_new_tokens: 4}]",
               seeds);
    CHECK_OK(di_teacher_open(b.backend, own, 1, &b.teacher, &err));
    CHECK_OK(di_options_set(b.options, "data.chat_template", "chatml", &err));
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(b.report.data, "\"operator\":\"expand magpie\",\"in\":6,");
    CHECK_HAS(read_text_of(b.out), "expand paraphrase");
    CHECK_HAS(read_text_of(b.out), "\"role\":\"assistant\"");
    close_bench(&b);
}

TEST_MAIN(TEST_CASE(what_is_asked) TEST_CASE(new_questions_take_the_place_of_old_ones)
              TEST_CASE(magpie_and_topics_are_made_of_nothing) TEST_CASE(back_translation_keeps_what_came_back)
                  TEST_CASE(thoughts_and_answers_are_two_targets) TEST_CASE(templates_of_ones_own)
                      TEST_CASE(every_language_has_every_template) TEST_CASE(what_cannot_be_asked)
                          TEST_CASE(a_model_writes_them_all))
