/* test_dataset_samples.c - JSONL: text, prompts, messages; what is learnt of each, token by token; what is too long;
 * what is wrong. */
#include "dataset_fixture.h"

/* Learnt tokens of a file of JSONL, one sequence per window. */
static void check_jsonl(const char *lines, const char *const *settings, const char *learnt, const char *all)
{
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    REQUIRE(fixture_open(&f, settings));
    REQUIRE_OK(di_dataset_open(f.host, fixture_file("samples.jsonl", lines), f.tokenizer, f.options, &dataset, &err));
    di_batch *batch = fixture_all(dataset);
    CHECK_STR(fixture_learnt(batch, 0), learnt);
    if (all) CHECK_STR(fixture_learnt(batch, 1), all);
    di_batch_free(batch);
    di_dataset_release(dataset);
    fixture_close(&f);
}

TEST(text_is_learnt_whole)
{
    check_jsonl("{\"text\": \"abc\"}\n\n{\"text\": \"d\\u00e9\", \"id\": 7}\r\n", OPTIONS("data.pack=false"),
                "_bc<|endoftext|>|_\xc3\xa9<|endoftext|>", "abc<|endoftext|>|d\xc3\xa9<|endoftext|>");
}

TEST(only_completions_are_learnt)
{
    const char *line = "{\"prompt\": \"Q: hi A:\", \"completion\": \" yo\"}\n";
    check_jsonl(line, OPTIONS("data.pack=false"), "________ yo<|endoftext|>", "Q: hi A: yo<|endoftext|>");
    check_jsonl(line, OPTIONS("data.pack=false", "data.prompt_loss=true"), "_: hi A: yo<|endoftext|>", NULL);
    check_jsonl("{\"prompt\": \"\", \"completion\": \"xyz\"}", OPTIONS("data.pack=false"), "_yz<|endoftext|>", NULL);
}

TEST(masks_go_by_position_not_by_id)
{
    /* The end token, which pads too, stands in the prompt (not learnt) and behind the completion (learnt). */
    check_jsonl("{\"prompt\": \"a<|endoftext|>b\", \"completion\": \"c<|endoftext|>d\"}", OPTIONS("data.pack=false"),
                "___c<|endoftext|>d<|endoftext|>", "a<|endoftext|>bc<|endoftext|>d<|endoftext|>");
}

#define TALK                                                                                                      \
    "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}, {\"role\": \"assistant\", \"content\": \"yo\"}, " \
    "{\"role\": \"user\", \"content\": \"ok\"}, "                                                                 \
    "{\"role\": \"assistant\", \"content\": \"ho\"}]}\n"

TEST(chatml_learns_assistant_turns_with_their_end)
{
    check_jsonl(TALK, OPTIONS("data.chat_template=chatml"),
                "_____________________yo<|im_end|>______________________ho<|im_end|>_", NULL);
}

/* What is learnt of a conversation is the assistant's turns and nothing else, whatever stands around. */
static void check_talk(const char *template, const char *first, const char *second, const char *opening)
{
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    char setting[64], learnt[256];
    size_t at = 0;
    snprintf(setting, sizeof setting, "data.chat_template=%s", template);
    REQUIRE(fixture_open(&f, OPTIONS(setting)));
    /* one that puts BOS in front of texts: the template spells its own, or has none */
    dk_tokenizer_release(f.tokenizer);
    REQUIRE((f.tokenizer = fixture_tokenizer(f.host, S_BEGIN, S_END, NULL, &err)) != NULL);
    REQUIRE_OK(di_dataset_open(f.host, fixture_file("turns.jsonl", TALK), f.tokenizer, f.options, &dataset, &err));
    di_batch *batch = fixture_all(dataset);
    const char *marked = fixture_learnt(batch, 0);
    for (const char *p = marked; *p; p++) { /* runs of '_' become one */
        if (*p == '_' && at && learnt[at - 1] == '_') continue;
        learnt[at++] = *p;
    }
    learnt[at] = 0;
    if (at && learnt[at - 1] == '_') learnt[--at] = 0;
    char want[256];
    snprintf(want, sizeof want, "_%s_%s", first, second);
    CHECK_STR(learnt, want);
    const char *whole = fixture_learnt(batch, 1);
    if (strncmp(whole, opening, strlen(opening)) != 0)
        FAIL("%s: begins \"%.40s\", not \"%s\"", template, whole, opening);
    di_batch_free(batch);
    di_dataset_release(dataset);
    fixture_close(&f);
}

TEST(every_template_learns_assistant_turns_alone)
{
    check_talk("chatml", "yo<|im_end|>", "ho<|im_end|>", "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyo");
    check_talk("llama3", "yo<|eot_id|>", "ho<|eot_id|>", "<s><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>");
    check_talk("llama2", " yo </s>", " ho </s>", "<s>[INST] hi [/INST] yo");
    check_talk("mistral", " yo</s>", " ho</s>", "<s>[INST] hi [/INST] yo");
}

TEST(the_tokenizers_own_template_is_rendered_as_it_is)
{
    static const char chatml[] = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
                                 "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
                                 "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    REQUIRE(fixture_open(&f, NULL));
    dk_tokenizer_release(f.tokenizer);
    REQUIRE((f.tokenizer = fixture_tokenizer(f.host, -1, END_ID, chatml, &err)) != NULL);
    REQUIRE_OK(di_dataset_open(f.host, fixture_file("own.jsonl", TALK), f.tokenizer, f.options, &dataset, &err));
    di_dataset_release(dataset);
    dataset = NULL;
    dk_tokenizer_release(f.tokenizer);
    REQUIRE((f.tokenizer = fixture_tokenizer(f.host, -1, END_ID, "{{ messages | tojson }}", &err)) != NULL);
    CHECK_INT(di_dataset_open(f.host, fixture_file("own.jsonl", TALK), f.tokenizer, f.options, &dataset, &err),
              DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "own.jsonl:1: message 2: where the answer begins cannot be told");
    dk_tokenizer_release(f.tokenizer);
    REQUIRE((f.tokenizer = fixture_tokenizer(f.host, -1, END_ID, "{{ messages | nonsense }}", &err)) != NULL);
    CHECK_INT(di_dataset_open(f.host, fixture_file("own.jsonl", TALK), f.tokenizer, f.options, &dataset, &err),
              DK_E_FORMAT);
    CHECK_HAS(err.message, "own.jsonl:1: chat template line 1: filter 'nonsense' is not known here");
    fixture_close(&f);
}

/* ---- what is too long ---- */

static void check_long(const char *how, const char *all, int64_t skipped, int64_t truncated)
{
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    char setting[64];
    snprintf(setting, sizeof setting, "data.too_long=%s", how);
    REQUIRE(fixture_open(&f, OPTIONS(setting, "data.sequence_length=6", "data.pack=false")));
    const char *path =
        fixture_file("too_long.jsonl",
                     "{\"prompt\": \"ab\", \"completion\": \"cdefgh\"}\n{\"prompt\": \"x\", \"completion\": \"yz\"}\n");
    REQUIRE_OK(di_dataset_open(f.host, path, f.tokenizer, f.options, &dataset, &err));
    di_batch *batch = fixture_all(dataset);
    CHECK_STR(fixture_learnt(batch, 1), all);
    CHECK_INT(fixture_number(dataset, "skipped"), skipped);
    CHECK_INT(fixture_number(dataset, "truncated"), truncated);
    CHECK_INT(fixture_number(dataset, "samples"), 2);
    di_batch_free(batch);
    di_dataset_release(dataset);
    fixture_close(&f);
}

TEST(what_is_too_long_is_cut_skipped_or_refused)
{
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    check_long("truncate_right", "abcdef|xyz<|endoftext|>", 0, 1);
    check_long("truncate_left", "defgh<|endoftext|>|xyz<|endoftext|>", 0, 1);
    check_long("skip", "xyz<|endoftext|>", 1, 0);
    REQUIRE(fixture_open(&f, OPTIONS("data.too_long=error", "data.sequence_length=6")));
    const char *path = fixture_file("refused.jsonl", "{\"text\": \"ab\"}\n\n{\"text\": \"abcdefg\"}\n");
    CHECK_INT(di_dataset_open(f.host, path, f.tokenizer, f.options, &dataset, &err), DK_E_INVALID);
    CHECK_HAS(err.message,
              "refused.jsonl:3: the sample has 8 tokens, data.sequence_length is 6: raise it, or set data.too_long to");
    CHECK_INT(err.position, 3);
    fixture_close(&f);
}

TEST(plain_text_is_cut_into_windows_by_default)
{
    check_jsonl("{\"text\": \"abcdefgh\"}", OPTIONS("data.sequence_length=5"), "_bcde|_gh<|endoftext|>", NULL);
    check_jsonl("{\"text\": \"abcdefgh\"}", OPTIONS("data.sequence_length=5", "data.too_long=truncate_left"),
                "_fgh<|endoftext|>", NULL);
}

TEST(a_sample_without_a_label_is_dropped)
{
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    REQUIRE(fixture_open(&f, OPTIONS("data.sequence_length=4")));
    /* Truncated on the right, nothing of the completion is left of the first. */
    const char *path =
        fixture_file("dropped.jsonl",
                     "{\"prompt\": \"abcdef\", \"completion\": \"g\"}\n{\"prompt\": \"x\", \"completion\": \"y\"}\n");
    REQUIRE_OK(di_dataset_open(f.host, path, f.tokenizer, f.options, &dataset, &err));
    CHECK_INT(fixture_number(dataset, "windows"), 1);
    CHECK_INT(fixture_number(dataset, "dropped"), 1);
    CHECK_INT(fixture_number(dataset, "learnt"), 2);
    di_dataset_release(dataset);
    dataset = NULL;
    path = fixture_file("nothing.jsonl", "{\"prompt\": \"abcdef\", \"completion\": \"g\"}\n");
    CHECK_INT(di_dataset_open(f.host, path, f.tokenizer, f.options, &dataset, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "no sample with a token to learn in ");
    fixture_close(&f);
}

static const char *reasons(const di_dataset *dataset)
{
    static const char *const keys[] = {"samples",   "skipped",     "truncated",   "split",
                                       "no_labels", "lost_labels", "lost_tokens", "lost_learnt"};
    static char out[128];
    size_t at = 0;
    for (int i = 0; i < 8; i++)
        at += (size_t)snprintf(out + at, sizeof out - at, "%lld ", (long long)fixture_number(dataset, keys[i]));
    return out;
}

static char told[1024];
static void keep(void *user, int32_t level, const char *component, const char *message)
{
    (void)user, (void)component;
    snprintf(told, sizeof told, "%d %s", (int)level, strrchr(message, '/') ? strrchr(message, '/') + 1 : message);
}

/* A sample each that fits, whose prompt fills the window, whose completion is cut, that is text, that has nothing to
 * learn. */
static void check_reasons(const char *how, const char *want, const char *log)
{
    static const char lines[] =
        "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": \"abcdefgh\", \"completion\": \"ij\"}\n"
        "{\"prompt\": \"a\", \"completion\": \"bcdefghij\"}\n{\"text\": \"abcdefghij\"}\n"
        "{\"prompt\": \"a\", \"completion\": \"b\", \"weight\": 0}\n";
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    dk_strbuf json;
    char setting[64];
    snprintf(setting, sizeof setting, "data.too_long=%s", how);
    REQUIRE(fixture_open(&f, OPTIONS(setting, "data.sequence_length=6")));
    dk_host_set_logger(f.host, DK_LOG_INFO, keep, NULL, NULL);
    REQUIRE_OK(di_dataset_open(f.host, fixture_file("reasons.jsonl", lines), f.tokenizer, f.options, &dataset, &err));
    CHECK_STR(reasons(dataset), want);
    CHECK_STR(told, log);
    dk_strbuf_init(&json, f.host);
    di_dataset_describe(dataset, NULL, &json);
    CHECK_HAS(json.data, "\"samples\":5,");
    CHECK_HAS(json.data, strcmp(how, "skip") ? "\"skipped\":{\"too_long\":0}" : "\"skipped\":{\"too_long\":3}");
    dk_strbuf_free(&json);
    di_dataset_release(dataset);
    fixture_close(&f);
}

TEST(what_is_not_learnt_from_is_counted_by_reason_and_told)
{
    check_reasons(
        "truncate_right", "5 0 2 1 2 1 10 8 ",
        "2 reasons.jsonl: of 5 samples 3 are learnt from (data.sequence_length is 6): 1 without a token to learn, "
        "1 that lost all that is to be learnt when they were truncated, 2 truncated, 1 cut into several windows, "
        "10 tokens gone, 8 of these to be learnt");
    check_reasons(
        "truncate_left", "5 0 3 0 1 0 15 9 ",
        "2 reasons.jsonl: of 5 samples 4 are learnt from (data.sequence_length is 6): 1 without a token to learn, "
        "3 truncated, 15 tokens gone, 9 of these to be learnt");
    check_reasons(
        "skip", "5 3 0 0 1 0 33 24 ",
        "2 reasons.jsonl: of 5 samples 1 are learnt from (data.sequence_length is 6): 3 skipped as too long, 1 "
        "without a token to learn, 33 tokens gone, 24 of these to be learnt");
}

TEST(a_prompt_that_fills_the_window_loses_the_prompt_first_on_the_left)
{
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    const char *path = fixture_file("prompt.jsonl", "{\"prompt\": \"abcdefgh\", \"completion\": \"ij\"}\n");
    REQUIRE(fixture_open(&f, OPTIONS("data.too_long=truncate_left", "data.sequence_length=6")));
    REQUIRE_OK(di_dataset_open(f.host, path, f.tokenizer, f.options, &dataset, &err));
    di_batch *batch = fixture_all(dataset);
    CHECK_STR(fixture_learnt(batch, 1), "fghij<|endoftext|>");
    CHECK_STR(reasons(dataset), "1 0 1 0 0 0 5 0 ");
    di_batch_free(batch);
    di_dataset_release(dataset);
    fixture_close(&f);
}

TEST(no_usable_sample_is_an_error_with_the_counts)
{
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    const char *path = fixture_file("none.jsonl", "{\"prompt\": \"abcdefgh\", \"completion\": \"ij\"}\n"
                                                  "{\"text\": \"a\", \"weight\": 0}\n");
    REQUIRE(fixture_open(&f, OPTIONS("data.sequence_length=6")));
    CHECK_INT(di_dataset_open(f.host, path, f.tokenizer, f.options, &dataset, &err), DK_E_INVALID);
    CHECK_HAS(err.message,
              "none.jsonl: of 2 samples, 0 are longer than data.sequence_length 6 and skipped, 1 lost all that "
              "is to be learnt when they were truncated to it, 1 have nothing to learn");
    fixture_close(&f);
}

/* ---- what is wrong ---- */

static void check_wrong(const char *lines, int32_t code, const char *part)
{
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    REQUIRE(fixture_open(&f, NULL));
    CHECK_INT(di_dataset_open(f.host, fixture_file("wrong.jsonl", lines), f.tokenizer, f.options, &dataset, &err),
              code);
    CHECK_HAS(err.message, part);
    CHECK(dataset == NULL);
    fixture_close(&f);
}

TEST(wrong_lines_are_named)
{
    check_wrong("{\"text\": \"a\"}\n{\"text\": \n", DK_E_FORMAT, "wrong.jsonl:2: ");
    check_wrong("{\"text\": \"a\"}\n{\"text\": \"b\xff\"}\n", DK_E_FORMAT, "wrong.jsonl:2: ");
    check_wrong("[1, 2]", DK_E_FORMAT, "wrong.jsonl, sample 1: a sample must be a JSON object");
    check_wrong("7", DK_E_FORMAT, "wrong.jsonl:1: a sample must be a JSON object");
    check_wrong("{\"words\": \"a\"}", DK_E_FORMAT, "wrong.jsonl:1: a sample has exactly one of \"text\"");
    check_wrong("{\"text\": \"a\", \"messages\": []}", DK_E_FORMAT, "this one has more");
    check_wrong("{\"text\": 3}", DK_E_FORMAT, "wrong.jsonl:1: \"text\" must be text");
    check_wrong("{\"prompt\": \"a\"}", DK_E_FORMAT, "wrong.jsonl:1: \"completion\" is missing");
    check_wrong("{\"completion\": \"a\"}", DK_E_FORMAT, "\"prompt\" is missing");
    check_wrong("{\"messages\": []}", DK_E_FORMAT, "must be a list of at least one message");
    check_wrong("{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}", DK_E_OPTION,
                "the tokenizer has none: set data.chat_template to the format that the model was trained with");
}

static void check_wrong_talk(const char *line, const char *part)
{
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    REQUIRE(fixture_open(&f, OPTIONS("data.chat_template=chatml")));
    CHECK_INT(di_dataset_open(f.host, fixture_file("wrong_talk.jsonl", line), f.tokenizer, f.options, &dataset, &err),
              DK_E_FORMAT);
    CHECK_HAS(err.message, part);
    fixture_close(&f);
}

TEST(wrong_messages_are_named)
{
    check_wrong_talk("\n{\"messages\": [{\"role\": \"robot\", \"content\": \"a\"}]}",
                     "wrong_talk.jsonl:2: message 1 has the role \"robot\", which the chat template does not read; "
                     "known are system, user and assistant");
    check_wrong_talk("{\"messages\": [{\"role\": \"user\"}]}", "message 1 needs \"role\" and \"content\"");
    check_wrong_talk("{\"messages\": [\"hi\"]}", "message 1 must be an object");
}

TEST(formats_are_told_apart)
{
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    REQUIRE(fixture_open(&f, NULL));
    REQUIRE_OK(di_dataset_open(f.host, fixture_file("unnamed", " {\"text\": \"abc\"}\n"), f.tokenizer, f.options,
                               &dataset, &err));
    CHECK_INT(fixture_number(dataset, "tokens"), 4);
    di_dataset_release(dataset);
    dataset = NULL;
    REQUIRE_OK(di_options_set(f.options, "data.format", "text", &err));
    REQUIRE_OK(di_dataset_open(f.host, fixture_file("unnamed", "{\"text\": \"abc\"}"), f.tokenizer, f.options, &dataset,
                               &err));
    CHECK_INT(fixture_number(dataset, "tokens"), 16);
    di_dataset_release(dataset);
    dataset = NULL;
    REQUIRE_OK(di_options_set(f.options, "data.format", "tokens", &err));
    CHECK_INT(
        di_dataset_open(f.host, fixture_file("unnamed", "{\"text\": \"abc\"}"), f.tokenizer, f.options, &dataset, &err),
        DK_E_FORMAT);
    CHECK_HAS(err.message, "is no token file");
    fixture_close(&f);
}

TEST_MAIN(TEST_CASE(text_is_learnt_whole) TEST_CASE(only_completions_are_learnt)
              TEST_CASE(masks_go_by_position_not_by_id) TEST_CASE(chatml_learns_assistant_turns_with_their_end)
                  TEST_CASE(every_template_learns_assistant_turns_alone)
                      TEST_CASE(the_tokenizers_own_template_is_rendered_as_it_is)
                          TEST_CASE(what_is_too_long_is_cut_skipped_or_refused)
                              TEST_CASE(plain_text_is_cut_into_windows_by_default)
                                  TEST_CASE(a_sample_without_a_label_is_dropped)
                                      TEST_CASE(what_is_not_learnt_from_is_counted_by_reason_and_told)
                                          TEST_CASE(a_prompt_that_fills_the_window_loses_the_prompt_first_on_the_left)
                                              TEST_CASE(no_usable_sample_is_an_error_with_the_counts)
                                                  TEST_CASE(wrong_lines_are_named) TEST_CASE(wrong_messages_are_named)
                                                      TEST_CASE(formats_are_told_apart))
