#include "chat/chat.h"
#include "test.h"
#include "test_files.h"

static dk_host *host;
static dk_error err;

/* Quotes in lines are ' to be readable. */
static dk_document *parse(const char *messages)
{
    static char json[8192];
    dk_document *document = NULL;
    if (!host) dk_host_create(NULL, &host, &err);
    snprintf(json, sizeof json, "%s", messages);
    for (char *at = json; *at; at++)
        if (*at == '\'') *at = '"';
    if (dk_json_parse(host, json, strlen(json), "talk", &document, &err)) FAIL("%s", err.message);
    return document;
}

enum { PROMPT = 1, OPEN = 2, ALL = 4 }; /* ALL: the text alone, no answers are looked for */

/* The text with what is learnt between { and }; or the message of an error. */
static const char *show(const dk_chat_template *chat, int32_t how, const char *messages)
{
    static char out[8192];
    dk_document *document = parse(messages);
    const dk_node *list = dk_document_root(document);
    dk_chat_talk talk = {.messages = list->items, .count = (int64_t)list->size};
    dk_chat text = {0};
    dk_chat_answer *answers = NULL;
    int64_t count = 0;
    size_t used = 0;
    talk.prompt = how == PROMPT;
    talk.open_last = how == OPEN;
    dk_error_clear(&err);
    int32_t rc = dk_chat_render(host, chat, &talk, &text, &err);
    if (!rc && !how) rc = dk_chat_learnt(host, chat, &talk, &text, NULL, &answers, &count, &err);
    for (size_t i = 0; !rc && i <= text.size && used + 4 < sizeof out; i++) {
        for (int64_t k = 0; k < count; k++) {
            if (answers[k].span.end == i) out[used++] = '}';
            if (answers[k].span.begin == i) out[used++] = '{';
        }
        out[used++] = text.text[i];
    }
    dk_free(host, answers);
    dk_chat_free(&text);
    dk_document_free(document);
    return rc ? err.message : (out[used - 1] = 0, out);
}

static const char *show_by_name(const char *name, int32_t how, const char *messages)
{
    dk_chat_template *chat;
    if (!host) dk_host_create(NULL, &host, &err);
    if (dk_chat_by_name(host, name, NULL, &chat, &err)) return err.message;
    const char *text = show(chat, how, messages);
    dk_chat_template_release(chat);
    return text;
}

/* A tokenizer that knows <|end|> and <|user|> and <|answer|> as special tokens. */
static dk_tokenizer *special_tokenizer(void)
{
    static const char *const texts[] = {"a", "<|end|>", "<|user|>", "<|answer|>"};
    static const int32_t types[] = {DK_TOKEN_NORMAL, DK_TOKEN_CONTROL, DK_TOKEN_CONTROL, DK_TOKEN_CONTROL};
    dk_slice tokens[4];
    dk_vocabulary vocabulary;
    dk_tokenizer *tok = NULL;
    if (!host) dk_host_create(NULL, &host, &err);
    for (int32_t i = 0; i < 4; i++) tokens[i] = (dk_slice){texts[i], strlen(texts[i])};
    dk_vocabulary_init(&vocabulary);
    vocabulary.kind = DK_VOCABULARY_BPE;
    vocabulary.pre = "gpt-2";
    vocabulary.tokens = tokens;
    vocabulary.types = types;
    vocabulary.count = 4;
    vocabulary.eos = 1;
    if (dk_tokenizer_from_vocabulary(host, &vocabulary, &tok, &err)) FAIL("%s", err.message);
    return tok;
}

static const char *show_own(const char *jinja, int32_t how, const char *messages)
{
    dk_tokenizer *tok = special_tokenizer();
    dk_chat_template *chat;
    const char *text = err.message;
    if (!dk_chat_open(host, "own", jinja, strlen(jinja), tok, &chat, &err)) {
        text = show(chat, how, messages);
        dk_chat_template_release(chat);
    }
    dk_tokenizer_release(tok);
    return text;
}

#define Q "{'role': 'user', 'content': 'Hi'}"
#define S "{'role': 'system', 'content': 'S'}"
#define A(text) "{'role': 'assistant', 'content': '" text "'}"
#define TALK "{'role': 'user', 'content': 'Hi'}, " A("Yes.") ", {'role': 'user', 'content': 'So?'}, " A(" Ok ")

TEST(by_name)
{
    CHECK_STR(show_by_name("chatml", 0, "[" S ", " TALK "]"),
              "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n{Yes.<|im_end|>}"
              "\n<|im_start|>user\nSo?<|im_end|>\n<|im_start|>assistant\n{ Ok <|im_end|>}\n");
    CHECK_STR(show_by_name("chatml", PROMPT, "[" Q "]"), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
    CHECK_STR(show_by_name("llama2", 0, "[" S ", " TALK "]"),
              "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nHi [/INST]{ Yes. </s>}<s>[INST] So? [/INST]{ Ok </s>}");
    CHECK_STR(show_by_name("llama2", 0, "[" S ", {'role': 'user', 'content': '  '}, " A("x") "]"),
              "<s>[INST] <<SYS>>\nS\n<</SYS>> [/INST]{ x </s>}");
    CHECK_STR(show_by_name("llama3", 0, "[" TALK "]"),
              "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|"
              "end_header_id|>\n\n{Yes.<|eot_id|>}<|start_header_id|>user<|end_header_id|>\n\nSo?<|eot_id|><|"
              "start_header_id|>assistant<|end_header_id|>\n\n{Ok<|eot_id|>}");
    CHECK_STR(show_by_name("llama3", PROMPT, "[" A("x") "]"),
              "<|begin_of_text|><|start_header_id|>assistant<|end_header_id|>\n\nx<|eot_id|>"
              "<|start_header_id|>assistant<|end_header_id|>\n\n");
    CHECK_STR(show_by_name("mistral", 0, "[" S ", " Q ", " A("Yes.") "]"), "<s>[INST] S\n\nHi [/INST]{ Yes.</s>}");
    CHECK_HAS(show_by_name("alpaca", 0, "[" Q "]"), "'alpaca' is unknown, known are chatml, llama2, llama3, mistral");
}

#define ANY "{% for m in messages %}{{ m.role + ':' + m.content + ';' }}{% endfor %}"

TEST(wrong_conversations)
{
    CHECK_HAS(show_by_name("mistral", 0, "[" Q ", " Q "]"),
              "message 2 has the role 'user', but must be assistant: turns alternate");
    CHECK_HAS(show_by_name("mistral", 0, "[" Q ", {'role': 'tool', 'content': 'b'}]"), "message 2 has the role 'tool'");
    CHECK_HAS(show_by_name("chatml", 0, "[]"), "a chat of 0 messages, must be at least 1");
    CHECK_HAS(show_by_name("chatml", 0, "[1]"), "message 1 must be an object");
    CHECK_HAS(show_own(ANY, 0, "[" Q ", {'role': 'asistant', 'content': 'b'}]"),
              "message 2 has the role 'asistant', which the chat template does not name");
    CHECK_HAS(show_own(ANY, 0, "[{'content': 'b'}]"), "message 1 has no \"role\"");
    CHECK_HAS(show_own(ANY, 0, "[{'role': 5, 'content': 'b'}]"), "the role of message 1 is no text");
    CHECK_HAS(show_own(ANY, 0, "[" Q ", {'role': 'user'}]"), "message 2 has no \"content\"; own line 1: 'content' is");
    CHECK_HAS(show_own(ANY, 0, "[{'role': 'user', 'content': 5}]"), "message 1 has a \"content\" that is neither");
    CHECK_STR(show_own(ANY "{% if 'document' %}{% endif %}", 0, "[{'role': 'document 1', 'content': 'b'}]"),
              "document 1:b;"); /* the template names it */
    CHECK_HAS(show_own("{{ messages[0].content }}{{ messages | nope }}", 0, "[" Q "]"), "own line 1: filter 'nope'");
    CHECK_HAS(show_own("{{ sep_token }}", 0, "[" Q "]"), "own: the template reads sep_token, which is not known here");
}

static const char *of_json(const char *json)
{
    static char text[2000];
    dk_tokenizer *tok = special_tokenizer();
    dk_chat chat = {0};
    char own[2000];
    snprintf(own, sizeof own, "%s", json);
    for (char *at = own; *at; at++)
        if (*at == '\'') *at = '"';
    const int32_t rc = dk_chat_of_json(host, tok, own, 0, 0, &chat, &err);
    snprintf(text, sizeof text, "%s", rc ? err.message : chat.text);
    dk_chat_free(&chat);
    dk_tokenizer_release(tok);
    return text;
}

#define WITH(template) "'chat_template': '" template "'}"

TEST(what_a_chat_says_and_nobody_reads_is_refused)
{
    static const char all[] = "{% for m in messages %}{{ m | tojson }}{% endfor %}";
    CHECK_STR(of_json("{'messages': [" Q "], " WITH("{% for m in messages %}{{ m.content }}{% endfor %}")), "Hi");
    CHECK_STR(
        of_json("{'messages': [" Q "], " WITH("chatm")),
        "\"chat_template\": 'chatm' is no name (chatml, llama2, llama3, mistral), and as a template it never reads "
        "messages");
    CHECK_HAS(of_json("{'messages': [" Q "], " WITH("x{{ message }}\\ny")), "'x{{ message }}...' is no name");
    CHECK_HAS(of_json("{'messages': [" Q "], 'chat_template': 3}"), "must be a name or the text of a template");
    CHECK_HAS(show_own("{{ bos_token }}", 0, "[" Q "]"), "as a template it never reads messages");
    CHECK_HAS(of_json("[]"), "the list of messages is empty, and a chat has at least one");
    CHECK_HAS(of_json("{'messages': []}"), "the list of messages is empty, and a chat has at least one");
    CHECK_HAS(of_json("{'messages': 3}"), "a chat must be a list of messages");
    CHECK_HAS(of_json("{'messages': [" Q "], " WITH("{% if messages | length > 1 %}x{% endif %}")),
              "the chat template makes no text of this message");
    CHECK_HAS(of_json("{'messages': [" Q ", {'role': 'user', 'content': 'b', 'contents': 'c'}], " WITH("chatml")),
              "message 2: the chat template does not read \"contents\": leave it out");
    CHECK_HAS(of_json("{'messages': [{'role': 'user', 'content': 'b', 'thinking': 'c'}], " WITH("chatml")),
              "\"thinking\"");
    CHECK_STR(of_json("{'messages': [{'role': 'user', 'content': 'b', 'thinking': 'c'}], " WITH(
                  "{{ messages[0].reasoning_content }}")),
              "c");
    CHECK_HAS(
        of_json("{'messages': [{'role': 'user', 'content': 'b', 'tool_calls': [], 'name': null}], " WITH("chatml")),
        "b<|im_end|>");
    char json[300]; /* a template that takes messages whole reads every key */
    snprintf(json, sizeof json, "{'messages': [{'role': 'user', 'content': 'b', 'odd': 'c'}], 'chat_template': '%s'}",
             all);
    CHECK_HAS(of_json(json), "\"odd\": \"c\"");
}

#define OWN                                                                                                           \
    "{% for m in messages %}<|{{ 'answer' if m.role == 'assistant' else 'user' }}|>\n{{ m.content | trim }}<|end|>\n" \
    "{% endfor %}"
#define BEGINS "{% if add_generation_prompt %}<|answer|>\n{% endif %}"

TEST(answers_are_found_by_prefixes)
{
    CHECK_STR(show_own(OWN BEGINS, 0, "[" TALK "]"),
              "<|user|>\nHi<|end|>\n<|answer|>\n{Yes.<|end|>}\n<|user|>\nSo?<|end|>\n<|answer|>\n{Ok<|end|>}\n");
    CHECK_STR(show_own(OWN BEGINS, 0, "[" Q ", " A("") ", " Q ", " A(" ") "]"),
              "<|user|>\nHi<|end|>\n<|answer|>\n{<|end|>}\n<|user|>\nHi<|end|>\n<|answer|>\n{<|end|>}\n");
    CHECK_STR(show_own(OWN "{% if add_generation_prompt %}<|answer|>\n{% else %}<|end|>{% endif %}", 0, "[" TALK "]"),
              "<|user|>\nHi<|end|>\n<|answer|>\n{Yes.<|end|>}\n<|user|>\nSo?<|end|>\n<|answer|>\n{Ok<|end|>}\n<|end|>");
    /* an end that is no special token is learnt whole */
    CHECK_STR(show_own("{% for m in messages %}{{ m.role }}: {{ m.content }};{% endfor %}{% if add_generation_prompt "
                       "%}assistant: {% endif %}",
                       0, "[" TALK "]"),
              "user: Hi;assistant: {Yes.;}user: So?;assistant: { Ok ;}");
}

/* Qwen3's way: an answer that is not the last one loses its thought, and the last one gets an empty one. */
TEST(a_thought_belongs_to_its_answer)
{
    static const char own[] = "{% for m in messages %}{% if m.role == 'assistant' %}<|answer|>\n{% if loop.last "
                              "%}<think>{{ m.reasoning_content }}</think>\n{% endif %}{{ m.content }}<|end|>\n{% else "
                              "%}<|user|>{{ m.content }}<|end|>\n{% endif %}{% endfor %}" BEGINS;
    CHECK_STR(
        show_own(own, 0, "[" Q ", " A("a") ", " Q ", {'role': 'assistant', 'content': 'b', 'thinking': 'hm'}]"),
        "<|user|>Hi<|end|>\n<|answer|>\n{a<|end|>}\n<|user|>Hi<|end|>\n<|answer|>\n{<think>hm</think>\nb<|end|>}\n");
}

TEST(answers_that_cannot_be_told_are_refused)
{
    static const char counts[] = "{{ messages | length }}" OWN BEGINS;
    static const char closes[] = "{% for m in messages %}{{ m.content }}{{ ';' if loop.last else ',' }}{% endfor %}";
    CHECK_HAS(show_own(counts, 0, "[" TALK "]"), "message 2: where the answer begins cannot be told");
    CHECK_HAS(show_own(closes, 0, "[" TALK "]"), "message 2: where the answer begins cannot be told");
    CHECK_HAS(show_own(OWN BEGINS, 0, "[" A("x") "]"), "message 1 is an answer, with nothing in front of it");
    CHECK_HAS(
        show_own("{% if messages[-1].role == 'user' %}{{ raise_exception('no') }}{% endif %}" OWN, 0, "[" TALK "]"),
        "the first 1 messages, of which an answer follows: own line 1: the template says: no");
}

TEST(marked_answers)
{
    static const char own[] = "{% for m in messages %}{% if m.role == 'assistant' %}A:{% generation %}{{ m.content "
                              "}}.{% endgeneration %}{% else %}{{ m.content }}{% endif %};{% endfor %}";
    CHECK_STR(show_own(own, 0, "[" Q ", " A("x") ", " Q ", " A("") "]"), "Hi;A:{x.};Hi;A:{.};");
}

TEST(parts_nulls_and_names_of_reasoning)
{
    static const char parts[] = "[{'role': 'user', 'content': [{'type': 'text', 'text': 'a'}, {'type': 'text', 'text': "
                                "'b'}]}]";
    static const char knows[] = "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for p "
                                "in m.content %}[{{ p.text }}]{% endfor %}{% endif %}{% endfor %}";
    CHECK_STR(show_own("{{ messages[0].content }}", ALL, parts), "ab");
    CHECK_STR(show_own(knows, ALL, parts), "[a][b]");
    CHECK_STR(show_own("{{ messages[0].keys() | join(',') }}", ALL,
                       "[{'role': 'assistant', 'content': null, 'reasoning': 'r', 'name': null}]"),
              "thinking,role,reasoning,reasoning_content");
}

TEST(the_last_message_goes_on)
{
    CHECK_STR(show_by_name("chatml", OPEN, "[" Q ", " A("Ye ") "]"),
              "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYe ");
    CHECK_STR(show_by_name("llama3", OPEN, "[" A("Ye ") "]"),
              "<|begin_of_text|><|start_header_id|>assistant<|end_header_id|>\n\nYe");
    CHECK_HAS(show_own("{{ messages[0].content }}", OPEN, "[" Q ", " A("x") "]"), "leaves out how it ends");
    CHECK_HAS(show_own("{{ messages[0].content }}", OPEN, "[{'role': 'user'}]"), "has no content that could go on");
}

TEST(what_is_left_out_is_counted)
{
    dk_tokenizer *tok = special_tokenizer();
    dk_chat_template *chat;
    dk_document *document = parse("[" S ", " Q ", " A("x") ", {'role': 'tool', 'content': 'y'}]");
    const dk_node *list = dk_document_root(document);
    const dk_chat_talk talk = {.messages = list->items, .count = (int64_t)list->size};
    dk_chat text;
    REQUIRE_OK(dk_chat_open(host, "own", "{{ messages[1].content }}", 25, tok, &chat, &err));
    REQUIRE_OK(dk_chat_render(host, chat, &talk, &text, &err));
    CHECK_INT(text.absent, 1);
    CHECK_INT(text.absent_count, 2); /* answers are not counted: their thoughts may go */
    CHECK(text.content_count == 1 && text.contents[0].begin == 0 && text.contents[0].end == 2);
    CHECK(dk_chat_reads(chat, "content") && !dk_chat_reads(chat, "conten") && !dk_chat_reads(chat, "tools"));
    dk_chat_free(&text);
    dk_chat_template_release(chat);
    dk_document_free(document);
    dk_tokenizer_release(tok);
}

TEST(real_templates)
{
    const char *assets = test_assets();
    dk_tokenizer *tok;
    dk_chat_template *chat;
    if (!assets) SKIP("DISTILL_TEST_ASSETS is not set");
    if (!host) dk_host_create(NULL, &host, &err);
    REQUIRE_OK(dk_tokenizer_open(host, test_path(assets, "tokenizers/qwen2_5"), &tok, &err));
    REQUIRE_OK(dk_chat_of_tokenizer(host, tok, &chat, &err));
    CHECK_STR(show(chat, 0, "[" Q ", " A("Yes.") "]"),
              "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful "
              "assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n{Yes.<|im_end|>}\n");
    dk_chat_template_release(chat);
    dk_tokenizer_release(tok);
    REQUIRE_OK(dk_tokenizer_open(host, test_path(assets, "tokenizers/qwen3"), &tok, &err));
    REQUIRE_OK(dk_chat_of_tokenizer(host, tok, &chat, &err));
    CHECK_STR(show(chat, 0, "[" Q ", " A("<think>\\nhm\\n</think>\\n\\na") ", " Q ", " A("b") "]"),
              "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n{a<|im_end|>}\n<|im_start|>user\nHi<|im_end|>\n<|"
              "im_start|>assistant\n{<think>\n\n</think>\n\nb<|im_end|>}\n");
    dk_chat_template_release(chat);
    dk_tokenizer_release(tok);
    REQUIRE_OK(dk_tokenizer_open(host, test_path(assets, "tokenizers/mistral_nemo"), &tok, &err));
    REQUIRE_OK(dk_chat_of_tokenizer(host, tok, &chat, &err));
    CHECK_STR(show(chat, ALL, "[" S ", " Q "]"), "<s>[INST]S\n\nHi[/INST]");
    CHECK_STR(show(chat, 0, "[" Q ", " A("Yes.") "]"), "<s>[INST]Hi[/INST]{Yes.</s>}");
    dk_chat_template_release(chat);
    dk_tokenizer_release(tok);
    REQUIRE_OK(dk_tokenizer_open(host, test_path(assets, "tokenizers/gpt2"), &tok, &err));
    CHECK_INT(dk_chat_of_tokenizer(host, tok, &chat, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "has no chat template");
    dk_tokenizer_release(tok);
}

TEST_MAIN(TEST_CASE(by_name) TEST_CASE(wrong_conversations) TEST_CASE(what_a_chat_says_and_nobody_reads_is_refused)
              TEST_CASE(answers_are_found_by_prefixes) TEST_CASE(a_thought_belongs_to_its_answer)
                  TEST_CASE(answers_that_cannot_be_told_are_refused) TEST_CASE(marked_answers)
                      TEST_CASE(parts_nulls_and_names_of_reasoning) TEST_CASE(the_last_message_goes_on)
                          TEST_CASE(what_is_left_out_is_counted) TEST_CASE(real_templates))
