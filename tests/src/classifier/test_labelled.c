/* Texts with probabilities: what lines may say, what the classes are, and that what is wrong is told in one line with
 * its place; options that a classifier does not read. */
#include "classifier_fixture.h"

static int32_t train_on(fixture *f, const char *lines, dk_error *err)
{
    di_classifier *c = NULL;
    dk_strbuf json;
    dk_strbuf_init(&json, f->host);
    write_text(f, "train.jsonl", lines);
    set_path(f, "data.train", "train.jsonl");
    set(f, "train.steps", "1");
    set(f, "classifier.ngrams.bits", "6");
    const int32_t rc = train(f, 0, &c, &json, err);
    di_classifier_free(c);
    dk_strbuf_free(&json);
    return rc;
}

TEST(bad_lines)
{
    static const struct {
        const char *lines, *says;
        int32_t code;
    } cases[] = {
        {"", "has no text", DK_E_FORMAT},
        {"\n\n", "has no text", DK_E_FORMAT},
        {"[1]\n", "is a JSON array", DK_E_FORMAT},
        {"\x1f\x8b!", "packed by gzip", DK_E_FORMAT},
        {"{\"text\": \"a\", \"label\": \"x\"}\nnonsense\n", "train.jsonl:2: ", DK_E_FORMAT},
        {"{\"text\": \"a\", \"label\": \"x\"}\n\n3\n", "train.jsonl:3: a JSON object", DK_E_FORMAT},
        {"{\"text\": \"a\", \"label\": \"x\"}\n", "name 1 class: a classifier has at least 2", DK_E_INVALID},
        {"{\"text\": \"a\"}\n", "name 0 classes", DK_E_INVALID},
        {"{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": \"b\", \"label\": \"y\"}\n{\"text\": \"c\"}\n",
         "train.jsonl:3: neither probabilities nor label", DK_E_FORMAT},
        {"{\"text\": \"a\", \"label\": \"x\"}\n{\"label\": \"y\"}\n", "train.jsonl:2: neither text nor prompt",
         DK_E_FORMAT},
        {"{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": \" \\n\", \"label\": \"y\"}\n", ":2: the text is empty",
         DK_E_FORMAT},
        {"{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": \"\\u3000 \\u00a0\", \"label\": \"y\"}\n",
         ":2: the text is empty", DK_E_FORMAT},
        {"{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": \"b\", \"label\": \"y\"}\n"
         "{\"text\": \"c\", \"label\": \"x\\u0000y\"}\n",
         ":3: label has a NUL", DK_E_FORMAT},
        {"{\"text\": \"a\", \"prompt\": \"b\", \"probabilities\": [0.5, 0.5]}\n", ":1: both text and prompt",
         DK_E_FORMAT},
        {"{\"messages\": [], \"probabilities\": [0.5, 0.5]}\n", ":1: messages: a classifier reads one text",
         DK_E_FORMAT},
        {"{\"text\": \"a\", \"probabilities\": [0.5, 0.4]}\n", ":1: probabilities sum to 0.9, not to 1", DK_E_FORMAT},
        {"{\"text\": \"a\", \"probabilities\": [1.5, -0.5]}\n", "is 1.5, not in [0, 1]", DK_E_FORMAT},
        {"{\"text\": \"a\", \"probabilities\": {\"x\": 1, \"y\": \"0\"}}\n", "of \"y\" is no number", DK_E_FORMAT},
        {"{\"text\": \"a\", \"probabilities\": {\"x\": NaN, \"y\": 1}}\n", "train.jsonl:1: ", DK_E_FORMAT},
        {"{\"text\": \"a\", \"probabilities\": {\"x\": 0.5, \"x\": 0.5}}\n", "train.jsonl:1: ", DK_E_FORMAT},
        {"{\"text\": \"a\", \"probabilities\": [0.5, 0.5]}\n{\"text\": \"a\", \"probabilities\": [1]}\n",
         ":2: probabilities has 1 numbers for 2 classes", DK_E_FORMAT},
        {"{\"text\": \"a\", \"probabilities\": 3, \"label\": 1}\n", "probabilities is no map", DK_E_FORMAT},
        {"{\"text\": \"a\", \"label\": 1}\n{\"text\": \"b\", \"label\": -1}\n", ":2: label is -1, not in [0, 2)",
         DK_E_FORMAT},
        {"{\"text\": \"a\", \"label\": 1}\n{\"text\": \"b\", \"label\": 0.5}\n", ":2: label is neither", DK_E_FORMAT},
        {"{\"text\": \"a\", \"label\": 1, \"weight\": 0}\n", ":1: weight is no number above 0", DK_E_FORMAT},
        {"{\"text\": 5, \"label\": 1}\n", ":1: text is no text", DK_E_FORMAT},
        {"{\"text\": \"a\", \"label\": 1000000}\n", "number 1000001 classes: at most 65536", DK_E_FORMAT},
        {"{\"text\": \"a\", \"probabilities\": {\"\": 0.5, \"y\": 0.5}}\n", "has an empty name", DK_E_INVALID},
    };
    fixture f;
    dk_error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture_open(&f, "bad");
        const int32_t rc = train_on(&f, cases[i].lines, &err);
        if (rc != cases[i].code || !strstr(err.message, cases[i].says) || strchr(err.message, '\n'))
            FAIL("case %d: %d \"%s\", not %d \"%s\"", (int)i, (int)rc, err.message, (int)cases[i].code, cases[i].says);
        fixture_close(&f);
    }
}

TEST(classes_that_are_named)
{
    static const char lines[] = "{\"text\": \"a\", \"label\": \"dog\"}\n{\"prompt\": \"b\", \"label\": \"cat\"}\n";
    fixture f;
    dk_error err;
    fixture_open(&f, "named");
    set(&f, "classifier.classes", "[dog, cat, cow]");
    CHECK_OK(train_on(&f, lines, &err));
    set(&f, "classifier.classes", "[dog, cow]");
    CHECK_INT(train_on(&f, lines, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "train.jsonl:2: \"cat\" is none of the 2 classes (dog, cow)");
    set(&f, "classifier.classes", "[dog, cat, dog]");
    CHECK_INT(train_on(&f, lines, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "\"dog\" is named twice");
    fixture_close(&f);
}

TEST(options_that_are_not_read)
{
    static const char lines[] = "{\"text\": \"a\", \"label\": \"dog\"}\n{\"text\": \"b\", \"label\": \"cat\"}\n";
    static const struct {
        const char *key, *value, *says;
    } cases[] = {{"train.precision", "bf16", "train.precision is of matrix products"},
                 {"train.keep_best", "true", "train.keep_best would choose weights"},
                 {"data.sequence_length", "99", "data.sequence_length is of tokens"},
                 {"train.on_policy.lambda", "0.5", "train.on_policy.lambda is of students that write"},
                 {"train.eval_teachers", "never", "train.eval_teachers is of several teachers"},
                 {"data.chat_date", "2024-01-01", "data.chat_date is of messages"},
                 {"data.special_in_text", "plain", "data.special_in_text is of tokens"},
                 {"data.preferences", "chosen", "data.preferences is of pairs"},
                 {"data.format", "text", "data.format is text: a classifier reads JSONL"},
                 {"data.eval", "[{path: a, source: b}]", "data.eval.0.source is of language models"},
                 {"data.eval", "[{path: a}, {path: b, format: tokens}]", "data.eval.1.format is tokens"},
                 {"output.type", "q8_0", "classifier.type says"},
                 {"loss.type", "hidden_mse", "loss on features"},
                 {"loss.type", "trl-gkd", "trl-gkd"},
                 {"classifier.ngrams.characters_from", "6", "above classifier.ngrams.characters"},
                 {"classifier.inputs", "embedding", "classifier.embedding.path is not set"},
                 {"classifier.question", "\"What is it?\"", "has no {text}"},
                 {"classifier.agreement", "0.9", "data.eval"},
                 {"classifier.hidden", "5000", ""}};
    fixture f;
    dk_error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture_open(&f, "unread");
        if (di_options_set(f.options, cases[i].key, cases[i].value, &err) == DK_OK) {
            if (!strcmp(cases[i].key, "classifier.inputs")) di_options_set(f.options, "classifier.ngrams", NULL, NULL);
            write_text(&f, "train.jsonl", lines);
            set_path(&f, "data.train", "train.jsonl");
            di_classifier *c = NULL;
            dk_strbuf json;
            dk_strbuf_init(&json, f.host);
            const int32_t rc = train(&f, 0, &c, &json, &err);
            if (rc == DK_OK || !strstr(err.message, cases[i].says))
                FAIL("%s: %d \"%s\", without \"%s\"", cases[i].key, (int)rc, err.message, cases[i].says);
            di_classifier_free(c);
            dk_strbuf_free(&json);
        }
        fixture_close(&f);
    }
}

/* What held-out texts share with training is left out; keys that nothing reads are counted; a true label beside
 * probabilities is one for losses of labels. */
TEST(what_is_counted)
{
    di_classifier *c = NULL;
    dk_strbuf json;
    dk_error err;
    fixture f;
    fixture_open(&f, "counted");
    dk_strbuf_init(&json, f.host);
    write_text(&f, "train.jsonl",
               "{\"text\": \"a b\", \"probabilities\": [0.6, 0.4], \"label\": 1, \"id\": 5, \"source\": \"x\"}\n"
               "{\"text\": \"c d\", \"label\": 0, \"id\": 6}\n");
    write_text(&f, "eval.jsonl", "{\"text\": \"a b\", \"label\": 0}\n{\"text\": \"e\", \"label\": 0}\n");
    set_path(&f, "data.train", "train.jsonl");
    set_path(&f, "data.eval", "eval.jsonl");
    set(&f, "train.steps", "2");
    set(&f, "loss.hard_label_weight", "0.5");
    REQUIRE_OK(train(&f, 0, &c, &json, &err));
    CHECK_HAS(json.data, "\"held_out\":1,\"seen_in_training\":1,\"without_inputs\":0,"
                         "\"unused_keys\":{\"id\":2,\"source\":1}");
    CHECK_HAS(json.data, "cannot be promised: 1 held-out texts, at least 59 are needed");
    CHECK(c->promise.threshold > 1);
    di_classifier_free(c);
    dk_strbuf_free(&json);
    fixture_close(&f);
}

TEST_MAIN(TEST_CASE(bad_lines) TEST_CASE(classes_that_are_named) TEST_CASE(options_that_are_not_read)
              TEST_CASE(what_is_counted))
