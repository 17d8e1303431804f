#include "augment/record.h"
#include "test.h"

static dk_host *host;
static dk_error err;

static di_record *parsed(const char *json)
{
    di_record *record = NULL;
    CHECK_OK(di_record_parse(host, json, strlen(json), "seeds.jsonl:3", "#3", &record, &err));
    if (!record) exit(3);
    return record;
}

static const char *line_of(const di_record *record, int32_t whole)
{
    static char text[4096];
    dk_strbuf line;
    dk_strbuf_init(&line, host);
    di_record_write(record, whole, &line);
    snprintf(text, sizeof text, "%.*s", (int)line.size, line.data);
    dk_strbuf_free(&line);
    return text;
}

TEST(fields_travel)
{
    di_record *record =
        parsed("{\"prompt\": \"2+2\\u0000?\", \"n\": 3, \"deep\": {\"a\": [1, 2.5, null]}, \"none\": null}");
    size_t size = 0;
    const char *prompt = di_record_text(record, "prompt", &size);
    CHECK_INT(size, 5);
    CHECK(prompt && !memcmp(prompt, "2+2\0?", 6));
    CHECK_INT(di_record_what(record), DI_RECORD_PROMPT);
    CHECK_STR(record->id, "#3");
    CHECK_OK(di_record_set_text(record, "completion", "4", 1, &err));
    CHECK_INT(di_record_what(record), DI_RECORD_PAIR);
    CHECK_STR(line_of(record, 0), "{\"id\":\"#3\",\"prompt\":\"2+2\\u0000?\",\"n\":3,\"deep\":{\"a\":[1,2.5,null]},"
                                  "\"none\":null,\"completion\":\"4\","
                                  "\"provenance\":{\"operators\":[],\"parents\":[],\"scores\":{}}}\n");
    di_record_remove(record, "deep");
    di_record_remove(record, "deep");
    CHECK(!di_record_field(record, "deep") && di_record_field(record, "completion"));
    di_record_free(record);
}

TEST(children_know_their_parents)
{
    di_record *seed = parsed("{\"id\": 7, \"text\": \"a\"}"), *child = NULL, *again = NULL, *back;
    const di_made made = {"expand", "continue", "abc", NULL, 5};
    double score = 0;
    CHECK_STR(seed->id, "7");
    CHECK_STR(di_record_root(seed), "7");
    CHECK(!di_record_parent(seed));
    CHECK_OK(di_record_child(seed, 1, 0, &child, &err));
    CHECK_OK(di_record_add_operator(child, &made, &err));
    CHECK_OK(di_record_set_score(child, "likelihood", -1.25, &err));
    CHECK_OK(di_record_child(child, 2, 3, &again, &err));
    CHECK_STR(again->id, "7/1.0/2.3");
    CHECK_STR(di_record_root(again), "7");
    CHECK_STR(di_record_parent(again), "7/1.0");
    CHECK(di_record_score(again, "likelihood", &score) && score == -1.25);
    CHECK_INT(di_record_set_score(again, "bad", (double)NAN, &err), DK_E_NUMERIC);
    back = parsed(line_of(again, 0)); /* the line of an earlier pipeline goes on as it was */
    CHECK_STR(di_record_root(back), "7");
    CHECK_STR(di_record_parent(back), "7/1.0");
    char first[4096];
    snprintf(first, sizeof first, "%s", line_of(again, 0));
    CHECK_STR(line_of(back, 0), first);
    CHECK_HAS(first, "\"operators\":[{\"operator\":\"expand continue\",\"teacher\":\"abc\",\"seed\":5}]");
    di_record_free(back);
    di_record_free(again);
    di_record_free(child);
    di_record_free(seed);
}

TEST(what_was_kept_comes_back)
{
    di_record *record = parsed("{\"prompt\": \"p\", \"completion\": \"c\"}"), *back;
    di_kept *kept = dk_calloc(host, 1, sizeof *kept);
    kept->count = 2, kept->k = 2;
    kept->ids = dk_calloc(host, 2, sizeof(int32_t));
    kept->top_ids = dk_calloc(host, 4, sizeof(int32_t));
    kept->top = dk_calloc(host, 4, sizeof(float));
    kept->ids[1] = 9, kept->top_ids[3] = 4;
    kept->top[0] = -0.1f, kept->top[3] = -INFINITY;
    record->kept = kept;
    CHECK(!strstr(line_of(record, 0), "kept"));
    back = parsed(line_of(record, 1));
    REQUIRE(back->kept);
    CHECK_INT(back->kept->count, 2);
    CHECK_INT(back->kept->ids[1], 9);
    CHECK_INT(back->kept->top_ids[3], 4);
    CHECK(back->kept->top[0] == -0.1f && back->kept->top[3] < -1e29f);
    di_record_free(back);
    di_record_free(record);
}

TEST(words_that_are_learnt)
{
    static const char *const cases[][2] = {
        {"{\"text\": \"t\"}", "t"},
        {"{\"prompt\": \"p\"}", "p"},
        {"{\"prompt\": \"p\", \"completion\": \"c\"}", "c"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"u\"}, {\"role\": \"assistant\", \"content\": \"m\"}]}",
         "m"},
        {"{\"prompt\": \"p\", \"chosen\": \"good\", \"rejected\": \"bad\"}", "good"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        di_record *record = parsed(cases[i][0]);
        dk_strbuf words;
        dk_strbuf_init(&words, host);
        CHECK_OK(di_record_words(record, &words, &err));
        CHECK_STR(words.data, cases[i][1]);
        dk_strbuf_free(&words);
        di_record_free(record);
    }
}

TEST(bad_lines)
{
    static const char *const cases[][2] = {
        {"[1]", "must be a JSON object"},
        {"{\"id\": 1.5, \"text\": \"a\"}", "\"id\" must be a text or a whole number"},
        {"{\"id\": \"\", \"text\": \"a\"}", "\"id\" must be"},
        {"{\"provenance\": 1}", "\"provenance\" is not"},
        {"{\"provenance\": {\"by\": 1}}", "\"provenance\" is not"},
        {"{\"provenance\": {\"scores\": {\"a\": \"b\"}}}", "\"provenance\" is not"},
        {"{\"provenance\": {\"kept\": {\"k\": 2}}}", "not whole"},
        {"{\"provenance\": {\"kept\": {\"k\": 1, \"ids\": \"ab\", \"top_ids\": \"ab\", \"top\": \"ab\"}}}",
         "not whole"},
        {"{\"provenance\": {\"kept\": {\"k\": 1, \"ids\": [1], \"top_ids\": [\"a\"], \"top\": [-1]}}}", "not whole"},
        {"{\"provenance\": {\"kept\": {\"k\": 1, \"ids\": [-1], \"top_ids\": [1], \"top\": [-1]}}}", "not whole"},
        {"{\"provenance\": {\"kept\": {\"k\": 1, \"ids\": [1.5], \"top_ids\": [1], \"top\": [-1]}}}", "not whole"},
        {"{\"provenance\": {\"kept\": {\"k\": \"1\", \"ids\": [1], \"top_ids\": [1], \"top\": [-1]}}}", "not whole"},
        {"{\"provenance\": {\"kept\": {\"k\": 4611686018427387904, \"ids\": [1, 2, 3, 4], \"top_ids\": [], \"top\": "
         "[]}}}",
         "not whole"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        di_record *record = NULL;
        CHECK_INT(di_record_parse(host, cases[i][0], strlen(cases[i][0]), "seeds.jsonl:3", "#3", &record, &err),
                  DK_E_FORMAT);
        CHECK_HAS(err.message, cases[i][1]);
        CHECK_HAS(err.message, "seeds.jsonl:3");
        CHECK(!record);
    }
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {TEST_CASE(fields_travel) TEST_CASE(children_know_their_parents) TEST_CASE(
        what_was_kept_comes_back) TEST_CASE(words_that_are_learnt) TEST_CASE(bad_lines)};
    if (dk_host_create(NULL, &host, &err)) return 3;
    const int failed = test_main(cases, (int)(sizeof cases / sizeof *cases), argc, argv);
    dk_host_release(host);
    return failed;
}
