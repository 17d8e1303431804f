/* The files beside a tokenizer.json. The ids are those of transformers 5.24. */
#include "../base/fail_alloc.h"
#include "base/file.h"
#include "test_files.h"
#include "text/tokenizer.h"

static dk_host *host;
static dk_error err;
static char said[4096];

static void listen(void *user, int32_t level, const char *component, const char *message)
{
    size_t used = strlen(said);
    (void)user, (void)component;
    if (level == DK_LOG_WARN) snprintf(said + used, sizeof said - used, "%s\n", message);
}

static void setup(void)
{
    if (!host && dk_host_create(NULL, &host, &err)) exit(3);
    dk_host_set_logger(host, DK_LOG_WARN, listen, NULL, NULL);
    dk_error_clear(&err);
    said[0] = 0;
}

#define TOKENIZER(more)                                                                                             \
    "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":5,\"content\":\"<s>\",\"special\":true},{\"id\":6,\"content\":" \
    "\"<x>\",\"normalized\":false}]," more "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"ab\":" \
    "3,\" \":4},\"merges\":[\"a b\"]}}"

/* A folder with tokenizer.json and up to two files more. */
static const char *folder_of(const char *json, const char *config, const char *name, const char *other)
{
    const char *folder = test_folder("tokenizer_config");
    CHECK(write_text(path_in(folder, "tokenizer.json"), json));
    if (config) CHECK(write_text(path_in(folder, "tokenizer_config.json"), config));
    if (name) CHECK(write_text(path_in(folder, name), other));
    return folder;
}

typedef struct wanted {
    const char *text;
    int32_t ids[6];
    int64_t count, eos, pad, size;
    const char *note; /* part of what is logged; NULL = nothing is */
} wanted;

static void check_opened(const char *folder, const wanted *want)
{
    dk_tokenizer *tok = NULL;
    int32_t ids[16];
    int64_t count = 0;
    said[0] = 0;
    REQUIRE_OK(dk_tokenizer_open(host, folder, &tok, &err));
    CHECK_OK(dk_tokenizer_encode(tok, want->text, strlen(want->text), DK_ENCODE_SPECIAL, ids, 16, &count, &err));
    CHECK_INT(count, want->count);
    for (int64_t i = 0; i < count && i < want->count; i++)
        if (ids[i] != want->ids[i]) FAIL("%s: id %d is %d, not %d", want->text, (int)i, ids[i], want->ids[i]);
    CHECK_INT(dk_tokenizer_eos(tok), want->eos);
    CHECK_INT(dk_tokenizer_pad(tok), want->pad);
    CHECK_INT(dk_tokenizer_vocab_size(tok), want->size);
    if (want->note) CHECK_HAS(said, want->note);
    else CHECK_STR(said, "");
    dk_tokenizer_release(tok);
}

/* What a saved copy of the folder says is the same. */
static void check(const char *config, const char *name, const char *other, wanted want)
{
    dk_tokenizer *tok = NULL;
    const char *folder = folder_of(TOKENIZER(""), config, name, other), *copy;
    check_opened(folder, &want);
    REQUIRE_OK(dk_tokenizer_open(host, folder, &tok, &err));
    copy = test_folder("tokenizer_config_copy");
    CHECK_OK(dk_tokenizer_save(tok, copy, &err));
    dk_tokenizer_release(tok);
    check_opened(copy, &want);
}

static void check_refused(const char *config, const char *name, const char *other, int32_t code, const char *part)
{
    dk_tokenizer *tok = NULL;
    CHECK_INT(dk_tokenizer_open(host, folder_of(TOKENIZER(""), config, name, other), &tok, &err), code);
    CHECK_HAS(err.message, part);
    CHECK(!tok);
}

TEST(tokens_that_only_the_config_names)
{
    setup();
    check("{\"added_tokens_decoder\":{\"7\":{\"content\":\"cb\",\"lstrip\":true,\"normalized\":false}}}", NULL, NULL,
          (wanted){"ab cbc<s>", {3, 7, 2, 5}, 4, -1, -1, 8, "'cb' is not in tokenizer.json; it becomes token 7"});
    check("{\"eos_token\":\"c\",\"pad_token\":\"<pad>\"}", NULL, NULL,
          (wanted){"abc<pad>", {3, 2, 7}, 3, 2, 7, 8, "'<pad>' is not in tokenizer.json; it becomes token 7"});
    check("{\"pad_token\":{\"__type\":\"AddedToken\",\"content\":\"<p>\",\"lstrip\":true,\"special\":true}}", NULL,
          NULL, (wanted){"a <p>b", {0, 7, 1}, 3, -1, 7, 8, "'<p>'"});
    check("{\"extra_special_tokens\":[\"<e1>\",\"<e2>\"]}", NULL, NULL,
          (wanted){"<e2>a<e1>", {8, 0, 7}, 3, -1, -1, 9, "'<e2>'"});
    check("{\"extra_special_tokens\":{\"audio_token\":\"<aud>\"},\"image_token\":\"<img>\"}", NULL, NULL,
          (wanted){"<aud>a<img>", {8, 0, 7}, 3, -1, -1, 9, "'<aud>'"});
    check("{\"model_specific_special_tokens\":{\"audio_token\":\"<aud>\",\"b_token\":{\"content\":\"<b>\"}}}", NULL,
          NULL, (wanted){"<b>a<aud>", {8, 0, 7}, 3, -1, -1, 9, "'<aud>'"});
    check("{\"additional_special_tokens\":[\"<e1>\"]}", NULL, NULL, (wanted){"a<e1>", {0, 7}, 2, -1, -1, 8, "'<e1>'"});
    check("{\"eos_token\":\"<s>\"}", NULL, NULL, (wanted){"a<s>", {0, 5}, 2, 5, -1, 7, NULL});
}

TEST(flags_of_the_config_hold)
{
    dk_tokenizer *tok = NULL;
    setup();
    check("{\"added_tokens_decoder\":{\"6\":{\"content\":\"<x>\",\"special\":true,\"lstrip\":true,\"rstrip\":true}}}",
          NULL, NULL, (wanted){"a <x> b", {0, 6, 1}, 3, -1, -1, 7, "'<x>' has other flags than before"});
    REQUIRE_OK(dk_tokenizer_open(host, folder_of(TOKENIZER(""), "{\"cls_token\":\"<x>\"}", NULL, NULL), &tok, &err));
    CHECK(dk_tokenizer_is_special(tok, 6)); /* it has a name */
    dk_tokenizer_release(tok);
    check("{\"split_special_tokens\":true,\"eos_token\":\"ab\"}", NULL, NULL,
          (wanted){"aab<x>", {0, 3, 6}, 3, 3, -1, 7, NULL});
    check("{\"split_special_tokens\":true,\"pad_token\":\"ba\"}", NULL, NULL,
          (wanted){"ba", {1, 0}, 2, -1, 7, 8, "'ba'"});
}

TEST(older_files)
{
    setup();
    check("{}", "added_tokens.json", "{\"<y>\":7}", (wanted){"a<y>b", {0, 7, 1}, 3, -1, -1, 8, "'<y>'"});
    check(NULL, "special_tokens_map.json", "{\"eos_token\":{\"content\":\"c\"}}",
          (wanted){"ac", {0, 2}, 2, 2, -1, 7, NULL});
    check("{\"eos_token\":\"<s>\"}", "special_tokens_map.json", "\xef\xbb\xbf{\"eos_token\":\"c\"}",
          (wanted){"ac", {0, 2}, 2, 2, -1, 7, "eos_token is not what"});
    check("{\"eos_token\":\"<s>\",\"added_tokens_decoder\":{}}", "special_tokens_map.json", "{\"eos_token\":\"c\"}",
          (wanted){"ac", {0, 2}, 2, 5, -1, 7, "tokenizer_config.json is used, as in transformers"});
    check("{\"added_tokens_decoder\":{}}", "added_tokens.json", "{\"<y>\":7}",
          (wanted){"a", {0}, 1, -1, -1, 7, "added_tokens.json: is not used"});
    check("{\"eos_token\":\"<s>\",\"additional_special_tokens\":[\"<x>\"]}", "special_tokens_map.json",
          "{\"eos_token\":\"<s>\",\"additional_special_tokens\":[\"<x>\"]}", (wanted){"a", {0}, 1, 5, -1, 7, NULL});
}

TEST(refused_by_name)
{
    setup();
    check_refused("{\"added_tokens_decoder\":{\"9\":{\"content\":\"<y>\"}}}", NULL, NULL, DK_E_FORMAT,
                  "added token '<y>' has id 9, but the vocabulary gives it 7");
    check_refused("{\"added_tokens_decoder\":{\"x\":{\"content\":\"<y>\"}}}", NULL, NULL, DK_E_FORMAT, "'x' is no id");
    check_refused("{\"added_tokens_decoder\":[]}", NULL, NULL, DK_E_FORMAT, "must be an object of id: token");
    check_refused("{\"added_tokens_decoder\":{\"7\":\"<y>\"}}", NULL, NULL, DK_E_FORMAT, "added_tokens_decoder[7]");
    check_refused("{\"eos_token\":5}", NULL, NULL, DK_E_FORMAT, "eos_token must be a token's text");
    check_refused("{\"eos_token\":{}}", NULL, NULL, DK_E_FORMAT, "eos_token must be a token's text");
    check_refused("{\"extra_special_tokens\":\"<e>\"}", NULL, NULL, DK_E_FORMAT, "must be a list of tokens");
    check_refused("{\"model_specific_special_tokens\":[\"<e>\"]}", NULL, NULL, DK_E_FORMAT,
                  "must be an object of name");
    check_refused("{}", "added_tokens.json", "{\"<y>\":\"7\"}", DK_E_FORMAT, "'<y>' has no id");
    check_refused("{}", "special_tokens_map.json", "[]", DK_E_FORMAT, "special_tokens_map.json: is not a JSON object");
    check_refused("[]", NULL, NULL, DK_E_FORMAT, "tokenizer_config.json: is not a JSON object");
    check_refused("{\"clean_up_tokenization_spaces\":true,"
                  "\"clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output\":true}",
                  NULL, NULL, DK_E_UNSUPPORTED, "clean_up_tokenization_spaces is forced on BPE");
}

static void check_note(const char *json, const char *config, const char *name, const char *other, const char *part)
{
    dk_tokenizer *tok = NULL;
    const char *folder = folder_of(json, config, name, other);
    said[0] = 0;
    REQUIRE_OK(dk_tokenizer_open(host, folder, &tok, &err));
    if (part) CHECK_HAS(said, part);
    else CHECK_STR(said, "");
    CHECK_INT(dk_tokenizer_notes(tok)->size, strlen(said));
    dk_tokenizer_release(tok);
}

TEST(what_is_not_used_is_named)
{
    setup();
    const char *plain = TOKENIZER("");
    check_note(plain, "{\"clean_up_tokenization_spaces\":true,\"legacy\":false,\"model_max_length\":1e30}", NULL, NULL,
               NULL);
    check_note(plain, "{\"add_bos_token\":true}", NULL, NULL,
               "add_bos_token is true, but tokenizer.json does not do so; tokenizer.json is followed");
    check_note(plain, "{\"add_eos_token\":false,\"add_bos_token\":false}", NULL, NULL, NULL);
    check_note(plain, "{\"add_prefix_space\":true}", NULL, NULL, "add_prefix_space is true");
    check_note(TOKENIZER("\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true},"),
               "{\"add_prefix_space\":true}", NULL, NULL, NULL);
    check_note(TOKENIZER("\"truncation\":{\"max_length\":4},"), NULL, NULL, NULL, "truncation is not applied");
    check_note(TOKENIZER("\"padding\":{\"length\":4},"), NULL, NULL, NULL, "padding is not applied");
    check_note(plain, "{\"do_lower_case\":true,\"odd\":1,\"nothing\":null}", NULL, NULL,
               "not used: do_lower_case, odd\n");
    check_note(plain, "{\"chat_template\":\"a\"}", "chat_template.jinja", "b", "chat_template is not used");
    check_note(plain, "{\"chat_template\":\"a\"}", "chat_template.jinja", "a", NULL);
    check_note(plain, "{\"chat_template\":3}", NULL, NULL, "chat_template is no text and no list of named ones");
    check_note(plain, "{\"chat_template\":[{\"name\":\"rag\",\"template\":\"x\"}]}", NULL, NULL,
               "none by the name of default");
    check_note(plain,
               "{\"chat_template\":[{\"name\":\"default\",\"template\":\"x\"},{\"name\":\"rag\",\"template\":\"x\"}]}",
               NULL, NULL, "the chat template named rag is not used");
    check_note(
        plain,
        "{\"chat_template\":[{\"name\":\"default\",\"template\":\"x\"},{\"name\":\"tool_use\",\"template\":\"y\"}]}",
        NULL, NULL, NULL);
    check_note(plain, "{}", "chat_template.json", "{}", "has no chat_template that is a text");
    check_note(plain, "{}", "chat_template.json", "{\"chat_template\":\"a\"}", NULL);
    check_note(plain, "{\"chat_template\":\"a\"}", "chat_template.json", "{\"chat_template\":\"a\"}", NULL);
    check_note(plain, "{\"chat_template\":\"b\"}", "chat_template.json", "{\"chat_template\":\"a\"}",
               "is not used; the template of the other files is");
    check_note(plain, "{\"extra_special_tokens\":[\"<x>\"],\"additional_special_tokens\":[\"<s>\"]}", NULL, NULL,
               "additional_special_tokens beside extra_special_tokens is not used");
}

/* ---- chat templates in files of their own ---- */
TEST(template_files)
{
    setup();
    dk_tokenizer *tok = NULL, *again = NULL;
    static char folder[1024], copy[1024];
    snprintf(folder, sizeof folder, "%s",
             folder_of(TOKENIZER(""),
                       "{\"eos_token\":\"<s>\",\"chat_template\":[{\"name\":\"default\","
                       "\"template\":\"d\"},{\"name\":\"tool_use\",\"template\":\"t\"}]}",
                       NULL, NULL));
    CHECK_OK(dk_dir_create(host, test_path(folder, "additional_chat_templates"), &err));
    CHECK_OK(dk_file_replace(host, test_path(folder, "additional_chat_templates/tool_use.jinja"), "tools", 5, &err));
    CHECK_OK(dk_file_replace(host, test_path(folder, "additional_chat_templates/rag.jinja"), "rag", 3, &err));
    REQUIRE_OK(dk_tokenizer_open(host, folder, &tok, &err));
    CHECK_STR(dk_tokenizer_chat_template(tok), "d");
    CHECK_STR(dk_tokenizer_tool_template(tok), "tools");
    CHECK_HAS(dk_tokenizer_notes(tok)->data, "additional_chat_templates beside it: rag.jinja not used");
    snprintf(copy, sizeof copy, "%s", test_folder("template_copy"));
    REQUIRE_OK(dk_tokenizer_save(tok, copy, &err));
    REQUIRE_OK(dk_tokenizer_open(host, copy, &again, &err));
    CHECK_STR(dk_tokenizer_tool_template(again), "tools");
    dk_tokenizer_release(again);
    snprintf(copy, sizeof copy, "%s", test_folder("template_other"));
    REQUIRE_OK(dk_tokenizer_save_with(tok, "another \"one\"", copy, &err)); /* in the place of all */
    CHECK_INT(dk_path_exists(test_path(copy, "additional_chat_templates")), 0);
    CHECK_OK(dk_dir_remove(host, test_path(copy, "chat_template.jinja"), &err));
    REQUIRE_OK(dk_tokenizer_open(host, copy, &again, &err));
    CHECK_STR(dk_tokenizer_chat_template(again), "another \"one\"");
    CHECK(!dk_tokenizer_tool_template(again));
    CHECK_INT(dk_tokenizer_eos(again), dk_tokenizer_eos(tok));
    dk_tokenizer_release(again);
    dk_tokenizer_release(tok);
    snprintf(folder, sizeof folder, "%s",
             folder_of(TOKENIZER(""), "{}", "chat_template.json", "{\"chat_template\":\"old\"}"));
    REQUIRE_OK(dk_tokenizer_open(host, folder, &tok, &err));
    CHECK_STR(dk_tokenizer_chat_template(tok), "old");
    dk_tokenizer_release(tok);
}

static int32_t open_once(void *context, dk_host *from, dk_error *error)
{
    dk_tokenizer *tok = NULL;
    int32_t rc = dk_tokenizer_open(from, context, &tok, error);
    dk_tokenizer_release(tok);
    return rc;
}

TEST(every_allocation_may_fail)
{
    setup();
    static char folder[1024];
    snprintf(folder, sizeof folder, "%s",
             folder_of(TOKENIZER(""),
                       "{\"eos_token\":\"c\",\"extra_special_tokens\":[\"<e>\"],\"add_bos_token\":true,\"odd\":1}",
                       "added_tokens.json", "{\"<y>\":7}"));
    CHECK(fail_every_alloc(open_once, folder) > 4);
}

TEST_MAIN(TEST_CASE(tokens_that_only_the_config_names) TEST_CASE(flags_of_the_config_hold) TEST_CASE(older_files)
              TEST_CASE(refused_by_name) TEST_CASE(what_is_not_used_is_named) TEST_CASE(template_files)
                  TEST_CASE(every_allocation_may_fail))
