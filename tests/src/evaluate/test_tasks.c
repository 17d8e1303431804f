/* Questions with known answers: the files, what is refused in them, and which choice is likeliest by
 * which rule. */
#include "../teacher/model_fixture.h"
#include "evaluate/tasks.h"

static fixture f;

static const char *write_lines(const char *text)
{
    static char path[600];
    snprintf(path, sizeof path, "%s/tasks.jsonl", f.folder);
    put_text(path, text);
    return path;
}

TEST(questions_of_files)
{
    di_task_file file = {0};
    dk_error err;
    open_fixture(&f, "tasks_files");
    REQUIRE_OK(
        di_task_file_open(f.host,
                          write_lines("{\"question\":\"q\",\"choices\":[\"a\",\"b\"],\"answer\":1,\"id\":3}\n\n"
                                      "{\"prompt\":\"p\",\"choices\":[\"a\",\"A\",\"c\"],\"answer\":\"C\"}\n"
                                      "{\"prompt\":\"p\",\"choices\":[\"B\",\"c\"],\"answer\":\"B\",\"id\":4}\n"),
                          DI_TASK_CHOICES, 0, &file, &err));
    REQUIRE(file.count == 3);
    CHECK_INT(file.tasks[0].right, 1);
    CHECK_INT(file.tasks[1].right, 2); /* its letter */
    CHECK_INT(file.tasks[2].right, 0); /* its text, before its letter */
    CHECK_INT(file.tasks[1].number, 3);
    REQUIRE(file.unused_count == 1);
    CHECK_STR(file.unused[0], "id");
    CHECK_INT(file.unused_counts[0], 2);
    di_task_file_close(&file);
    REQUIRE_OK(di_task_file_open(f.host,
                                 write_lines("{\"question\":\"q\",\"answer\":\"so 3 * 24 = 72\\n#### 72\"}\n"
                                             "{\"question\":\"q\",\"answer\":-1.5}\n{\"no\":1}\n"),
                                 DI_TASK_NUMERIC, 2, &file, &err));
    REQUIRE(file.count == 2);
    CHECK_NEAR(file.tasks[0].value, 72, 0);
    CHECK_NEAR(file.tasks[1].value, -1.5, 0);
    di_task_file_close(&file);
    close_fixture(&f);
}

TEST(bad_questions)
{
    static const struct {
        di_task_kind kind;
        const char *line, *says;
    } cases[] = {
        {DI_TASK_CHOICES, "{\"choices\":[\"a\",\"b\"],\"answer\":0}", "neither question nor prompt"},
        {DI_TASK_CHOICES, "{\"question\":\"a\",\"prompt\":\"b\"}", "both question and prompt"},
        {DI_TASK_CHOICES, "{\"question\":\" \",\"choices\":[\"a\",\"b\"],\"answer\":0}", "the question is empty"},
        {DI_TASK_CHOICES, "{\"question\":\"a\",\"choices\":\"b\",\"answer\":0}", "choices is no list"},
        {DI_TASK_CHOICES, "{\"question\":\"a\",\"choices\":[\"b\"],\"answer\":0}", "1 choices: there are at least two"},
        {DI_TASK_CHOICES, "{\"question\":\"a\",\"choices\":[\"b\",2],\"answer\":0}", "choice 1 is no text"},
        {DI_TASK_CHOICES, "{\"question\":\"a\",\"choices\":[\"b\",\"b\"],\"answer\":0}",
         "choices 0 and 1 are the same"},
        {DI_TASK_CHOICES, "{\"question\":\"a\",\"choices\":[\"b\",\"c\"],\"answer\":2}", "answer is 2, not in [0, 2)"},
        {DI_TASK_CHOICES, "{\"question\":\"a\",\"choices\":[\"b\",\"c\"],\"answer\":\"d\"}", "\"d\" is none of the 2"},
        {DI_TASK_CHOICES, "{\"question\":\"a\",\"choices\":[\"b\",\"c\"]}", "answer is missing"},
        {DI_TASK_NUMERIC, "{\"question\":\"a\",\"answer\":\"none\"}", "has no plain number"},
        {DI_TASK_EXACT, "{\"question\":\"a\",\"answer\":[]}", "neither a text nor a number"},
        {DI_TASK_EXACT, "[1]", "is a JSON array"},
    };
    open_fixture(&f, "tasks_bad");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        di_task_file file = {0};
        dk_error err;
        CHECK_INT(di_task_file_open(f.host, write_lines(cases[i].line), cases[i].kind, 0, &file, &err), DK_E_FORMAT);
        CHECK_HAS(err.message, cases[i].says);
    }
    close_fixture(&f);
}

static double number_at(const char *json, const char *key)
{
    const char *at = strstr(json, key);
    return at ? strtod(at + strlen(key), NULL) : -1;
}

/* A model with random weights: what it holds likeliest is asked of it, and then called right. */
TEST(likeliest_choices)
{
    di_teacher *teacher = NULL;
    dk_tokenizer *tokenizer = NULL;
    dk_error err;
    dk_strbuf json;
    char line[200];
    open_fixture(&f, "tasks_likeliest");
    dk_model *model = fresh_model(&f);
    REQUIRE_OK(tiny_tokenizer(&f, &tokenizer, &err));
    REQUIRE_OK(di_teacher_from_model(f.backend, model, tokenizer, NULL, NULL, NULL, &teacher, &err));
    di_options *options = NULL, *writing = NULL;
    REQUIRE_OK(di_options_create(f.host, &options, &err));
    REQUIRE_OK(di_options_create(f.host, &writing, &err));
    int right = 0;
    dk_strbuf_init(&json, f.host);
    for (int answer = 0; answer < 3; answer++) {
        snprintf(line, sizeof line, "{\"question\":\"ab\",\"choices\":[\"a\",\"bc\",\"cefg\"],\"answer\":%d}\n",
                 answer);
        REQUIRE_OK(di_options_set_str(options, "tasks.choices", write_lines(line), &err));
        const di_tasks_args args = {.host = f.host, .model = teacher, .options = options, .writing = writing};
        dk_strbuf_clear(&json);
        REQUIRE_OK(di_tasks_evaluate(&args, &json, &err));
        CHECK_NEAR(number_at(json.data, "\"chance\":"), 1 / 3.0, 1e-15);
        right += number_at(json.data, "\"accuracy\":") == 1;
    }
    CHECK_INT(right, 1); /* one of the three is the likeliest */
    REQUIRE_OK(di_options_set(options, "tasks.choices", NULL, &err));
    const di_tasks_args none = {.host = f.host, .model = teacher, .options = options, .writing = writing};
    CHECK_INT(di_tasks_evaluate(&none, &json, &err), DK_E_OPTION);
    dk_strbuf_free(&json);
    di_options_free(options);
    di_options_free(writing);
    di_teacher_release(teacher);
    dk_tokenizer_release(tokenizer);
    dk_model_free(model);
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(questions_of_files) TEST_CASE(bad_questions) TEST_CASE(likeliest_choices))
