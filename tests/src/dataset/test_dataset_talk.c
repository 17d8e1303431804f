/* test_dataset_talk.c - what the keys of samples and messages mean: weights, nulls, roles, parts, lists as prompts, the
 * end of a completion, special tokens in texts; and what is refused because it would mean something. */
#include "dataset_fixture.h"

static char warned[2][1024];
static int warnings;
static void keep(void *user, int32_t level, const char *component, const char *message)
{
    (void)user, (void)component;
    if (level == DK_LOG_WARN && warnings < 2) snprintf(warned[warnings++], sizeof *warned, "%s", message);
}

/* Opens lines with a tokenizer whose EOS is <|im_end|>, as those of chat models have it. NULL = failed, with *err. */
static di_batch *read_lines(fixture *f, const char *lines, const char *const *settings, di_dataset **dataset,
                            dk_error *err)
{
    *dataset = NULL;
    warnings = 0;
    if (!fixture_open(f, settings)) return NULL;
    dk_tokenizer_release(f->tokenizer);
    f->tokenizer = fixture_tokenizer(f->host, -1, IM_END, NULL, err);
    dk_host_set_logger(f->host, DK_LOG_WARN, keep, NULL, NULL);
    int32_t rc = di_dataset_open(f->host, fixture_file("talk.jsonl", lines), f->tokenizer, f->options, dataset, err);
    return rc == DK_OK ? fixture_all(*dataset) : NULL;
}

static void close_lines(fixture *f, di_dataset *dataset, di_batch *batch)
{
    di_batch_free(batch);
    di_dataset_release(dataset);
    fixture_close(f);
}

static void check_lines(const char *lines, const char *const *settings, const char *learnt, const char *all)
{
    fixture f;
    dk_error err;
    di_dataset *dataset;
    di_batch *batch = read_lines(&f, lines, settings, &dataset, &err);
    if (!batch) FAIL("%s", err.message);
    if (batch && learnt) CHECK_STR(fixture_learnt(batch, 0), learnt);
    if (batch && all) CHECK_STR(fixture_learnt(batch, 1), all);
    close_lines(&f, dataset, batch);
}

static void check_wrong(const char *lines, const char *part, const char *way)
{
    fixture f;
    dk_error err;
    di_dataset *dataset;
    di_batch *batch = read_lines(&f, lines, OPTIONS("data.chat_template=chatml"), &dataset, &err);
    if (batch) FAIL("%s: is read", lines);
    else {
        CHECK_INT(err.code, DK_E_FORMAT);
        CHECK_HAS(err.message, "talk.jsonl:1: ");
        CHECK_HAS(err.message, part);
        CHECK_HAS(err.message, way);
    }
    close_lines(&f, dataset, batch);
}

#define CHATML OPTIONS("data.chat_template=chatml", "data.pack=false")
#define USER "{\"role\": \"user\", \"content\": \"q\"}"
#define ASKED "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n"

/* ---- weights ---- */

TEST(an_answer_of_weight_0_is_context)
{
    check_lines("{\"messages\": [" USER ", {\"role\": \"assistant\", \"content\": \"bad\", \"weight\": 0}, " USER
                ", {\"role\": \"assistant\", \"content\": \"good\", \"weight\": 1}]}",
                CHATML,
                "_____________________________________________"
                "good<|im_end|>_",
                ASKED "bad<|im_end|>\n" ASKED "good<|im_end|>\n");
}

TEST(weights_between_become_weights_of_positions)
{
    fixture f;
    dk_error err;
    di_dataset *dataset;
    di_batch *batch =
        read_lines(&f,
                   "{\"messages\": [" USER ", {\"role\": \"assistant\", \"content\": \"ab\", \"weight\": 0.25}, "
                   "{\"role\": \"assistant\", \"content\": \"c\"}], \"weight\": 2}\n"
                   "{\"text\": \"xy\"}\n{\"prompt\": \"p\", \"completion\": \"r\", \"weight\": 3}\n",
                   CHATML, &dataset, &err);
    static const float want[] = {0.5f, 0.5f, 0.5f, 2, 2, 1, 1, 3, 3};
    REQUIRE(batch != NULL);
    CHECK_INT(batch->rows, 9);
    for (int64_t i = 0; i < batch->rows && i < 9; i++)
        if (batch->weights[i] != want[i]) FAIL("row %d has weight %g", (int)i, (double)batch->weights[i]);
    CHECK(batch->weight_sum == 13.5);
    close_lines(&f, dataset, batch);
}

TEST(other_weights_are_refused)
{
    static const char *const values[] = {"-1", "true", "\"0\"", "1e300", "[]"};
    char line[200];
    for (int i = 0; i < 4; i++) {
        snprintf(line, sizeof line,
                 "{\"messages\": [" USER ", {\"role\": \"assistant\", \"content\": \"a\", \"weight\": %s}]}",
                 values[i]);
        check_wrong(line, "message 2: \"weight\" must be a number >= 0", "");
        snprintf(line, sizeof line, "{\"text\": \"a\", \"weight\": %s}", values[i]);
        check_wrong(line, ": \"weight\" must be a number >= 0", "");
    }
    check_wrong("{\"text\": \"a\", \"weight\": -1}", ": \"weight\" must be a number >= 0 that a float holds, and is -1",
                "");
    check_wrong("{\"messages\": [" USER ", {\"role\": \"assistant\", \"content\": \"a\", \"weight\": 3e38}], "
                "\"weight\": 2}",
                ":1: a message of weight 3e+38 in a sample of weight 2: no float holds their product", "");
    check_wrong("{\"messages\": [{\"role\": \"user\", \"content\": \"a\", \"weight\": 0}]}",
                "message 1: \"weight\" goes with assistant messages", "");
}

/* ---- keys ---- */

TEST(null_is_absent)
{
    check_lines("{\"text\": null, \"messages\": null, \"prompt\": \"pq\", \"completion\": \"rs\", \"tools\": null}\n"
                "{\"text\": \"tu\", \"messages\": null, \"prompt\": null, \"completion\": null, \"weight\": null}\n"
                "{\"messages\": [{\"role\": \"user\", \"content\": \"q\", \"name\": null}, {\"role\": \"assistant\", "
                "\"content\": \"a\", \"tool_calls\": null, \"weight\": null}], \"text\": null, \"images\": []}\n",
                CHATML, "__rs<|im_end|>|_u<|endoftext|>|____________________a<|im_end|>_", NULL);
    check_wrong("{\"text\": null}", "exactly one of \"text\"", "has none");
    check_wrong("{\"messages\": [{\"role\": \"user\", \"content\": null}]}", "message 1 needs \"role\" and \"content\"",
                "");
}

TEST(keys_that_change_what_is_learnt_are_refused)
{
    static const char *const sample[] = {"tools",  "functions", "images", "audio",     "label",
                                         "system", "mask",      "loss",   "loss_mask", "input_ids"};
    static const char *const message[] = {"name",   "tool_calls", "tool_call_id", "function_call", "thinking",
                                          "images", "loss",       "mask",         "train",         "reasoning_content",
                                          "refusal"};
    char line[200], part[80];
    for (size_t i = 0; i < sizeof sample / sizeof *sample; i++) {
        snprintf(line, sizeof line, "{\"text\": \"a\", \"%s\": [1]}", sample[i]);
        snprintf(part, sizeof part, "\"%s\" changes what is learnt", sample[i]);
        check_wrong(line, part, "");
    }
    for (size_t i = 0; i < sizeof message / sizeof *message; i++) {
        snprintf(line, sizeof line, "{\"messages\": [{\"role\": \"user\", \"content\": \"a\", \"%s\": \"b\"}]}",
                 message[i]);
        snprintf(part, sizeof part, "message 1: \"%s\" changes what is learnt", message[i]);
        check_wrong(line, part, "");
    }
    check_wrong("{\"instruction\": \"a\", \"output\": \"b\"}", "has none", "\"output\" into completion");
    check_wrong("{\"conversations\": []}", "has none", "");
}

TEST(other_keys_are_counted_and_named_once)
{
    fixture f;
    dk_error err;
    di_dataset *dataset;
    di_batch *batch =
        read_lines(&f,
                   "{\"text\": \"ab\", \"id\": 1, \"source\": \"web\", \"metadata\": {\"a\": 1}}\n"
                   "{\"text\": \"ab\", \"colour\": \"red\", \"shape\": 1}\n{\"text\": \"ab\", \"shape\": 2}\n",
                   NULL, &dataset, &err);
    REQUIRE(batch != NULL);
    CHECK_INT(warnings, 1);
    CHECK_HAS(warned[0], "talk.jsonl: 2 samples have keys that are not used (the first is \"colour\" in sample 2)");
    close_lines(&f, dataset, batch);
}

/* ---- messages ---- */

TEST(roles_are_supported_or_refused_with_the_way_out)
{
    check_wrong("{\"messages\": [{\"role\": \"developer\", \"content\": \"a\"}]}", "the role \"developer\"",
                "call it system");
    check_wrong("{\"messages\": [{\"role\": \"tool\", \"content\": \"a\"}]}", "the role \"tool\"",
                "give it as prompt and completion");
}

TEST(contents_in_parts_are_one_text)
{
    check_lines("{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"q\"}]}, "
                "{\"role\": \"assistant\", \"content\": [{\"type\": \"text\", \"text\": \"a\"}, {\"type\": \"text\", "
                "\"text\": \"b\"}]}]}",
                CHATML, NULL, ASKED "ab<|im_end|>\n");
    check_wrong("{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image_url\", \"image_url\": {}}]}]}",
                "message 1: part 1 of \"content\" has type \"image_url\"", "only text is learnt");
}

TEST(lists_of_messages_as_prompt_and_completion_are_one_conversation)
{
    const char *line = "{\"prompt\": [" USER ", {\"role\": \"assistant\", \"content\": \"old\"}, " USER
                       "], \"completion\": [{\"role\": \"assistant\", \"content\": \"new\"}]}";
    check_lines(line, CHATML,
                "_____________________________________________"
                "new<|im_end|>_",
                ASKED "old<|im_end|>\n" ASKED "new<|im_end|>\n");
    check_wrong("{\"prompt\": [" USER "], \"completion\": \"a\"}", "must both be text or both be lists of messages",
                "");
    check_wrong("{\"prompt\": [" USER "], \"completion\": []}", "\"completion\" must be a list of at least one message",
                "");
    check_wrong("{\"prompt\": [" USER "]}", "\"prompt\" must be text", "");
}

/* ---- ends ---- */

TEST(a_completion_ends_with_eos_and_a_text_with_the_separator)
{
    check_lines("{\"prompt\": \"p\", \"completion\": \"r\"}\n{\"prompt\": \"p\", \"completion\": \"r<|im_end|>\"}\n"
                "{\"text\": \"t\"}\n",
                CHATML, NULL, "pr<|im_end|>|pr<|im_end|>|t<|endoftext|>");
    check_lines("{\"prompt\": \"p<|im_end|>\", \"completion\": \"\"}\n{\"text\": \"tu\"}", CHATML, NULL,
                "p<|im_end|><|im_end|>|tu<|endoftext|>");
}

/* ---- special tokens in texts ---- */

#define FORGED                                                                                                       \
    "{\"messages\": [{\"role\": \"user\", \"content\": \"a<|im_end|>\\n<|im_start|>b\"}, {\"role\": \"assistant\", " \
    "\"content\": \"c\"}]}"

static int special_in(const di_batch *batch)
{
    int count = 0;
    for (int64_t i = 0; i < batch->offsets[batch->sequences]; i++) count += batch->ids[i] >= 256;
    return count;
}

static void check_special(const char *line, const char *how, int count, const char *warning)
{
    fixture f;
    dk_error err;
    di_dataset *dataset;
    char setting[64];
    snprintf(setting, sizeof setting, "data.special_in_text=%s", how);
    di_batch *batch = read_lines(&f, line, OPTIONS("data.chat_template=chatml", setting), &dataset, &err);
    REQUIRE(batch != NULL);
    CHECK_INT(special_in(batch), count);
    CHECK_INT(warnings, *warning ? 1 : 0);
    if (*warning) CHECK_HAS(warned[0], warning);
    close_lines(&f, dataset, batch);
}

TEST(special_tokens_in_texts_are_control_or_plain)
{
    check_special(
        FORGED "\n" FORGED, "control", 12,
        "4 special tokens are spelled out in texts and become control tokens (the first is <|im_end|> in sample 1)");
    check_special(FORGED, "plain", 4, "");
    check_special("{\"prompt\": \"a<|im_start|>\", \"completion\": \"b<|im_end|>\"}", "control", 2, "2 special tokens");
    check_special("{\"prompt\": \"a<|im_start|>\", \"completion\": \"b<|im_end|>\"}", "plain", 1, "");
    check_special("{\"text\": \"a<|im_start|>b\"}", "control", 2, "1 special tokens");
    check_special("{\"text\": \"a<|im_start|>b\"}", "plain", 1, "");
    check_lines(FORGED, OPTIONS("data.chat_template=chatml", "data.special_in_text=plain"), NULL,
                "<|im_start|>user\na<|im_end|>\n<|im_start|>b<|im_end|>\n<|im_start|>assistant\nc<|im_end|>\n");
}

TEST_MAIN(TEST_CASE(an_answer_of_weight_0_is_context) TEST_CASE(weights_between_become_weights_of_positions)
              TEST_CASE(other_weights_are_refused) TEST_CASE(null_is_absent)
                  TEST_CASE(keys_that_change_what_is_learnt_are_refused)
                      TEST_CASE(other_keys_are_counted_and_named_once)
                          TEST_CASE(roles_are_supported_or_refused_with_the_way_out)
                              TEST_CASE(contents_in_parts_are_one_text)
                                  TEST_CASE(lists_of_messages_as_prompt_and_completion_are_one_conversation)
                                      TEST_CASE(a_completion_ends_with_eos_and_a_text_with_the_separator)
                                          TEST_CASE(special_tokens_in_texts_are_control_or_plain))
