#include "test.h"
#include "text/chat.h"

static dk_host *host;
static dk_error err;

/* The conversation with its loss between { and }: pairs role, content, NULL at the end. */
static const char *show(const dk_chat_template *chat, int32_t prompt, const char *const *pairs)
{
    static char out[4096];
    dk_chat_message messages[16];
    dk_chat result = {0};
    int64_t count = 0;
    size_t used = 0;
    if (!host) dk_host_create(NULL, &host, &err);
    for (; pairs[2 * count]; count++) {
        messages[count].role = (dk_slice){pairs[2 * count], strlen(pairs[2 * count])};
        messages[count].content = (dk_slice){pairs[2 * count + 1], strlen(pairs[2 * count + 1])};
    }
    err.message[0] = 0;
    int32_t rc = (prompt ? dk_chat_prompt : dk_chat_render)(host, chat, messages, count, &result, &err);
    if (rc) return snprintf(out, sizeof out, "%d", rc), out;
    for (int64_t i = 0; i < result.count; i++)
        used += (size_t)snprintf(out + used, sizeof out - used, result.segments[i].has_loss ? "{%.*s}" : "%.*s",
                                 (int)result.segments[i].size, result.segments[i].text);
    CHECK_INT(result.spells_bos, chat->id != DK_CHAT_CHATML || (chat->variant & DK_CHAT_BOS) != 0);
    dk_chat_free(&result);
    return out;
}
#define SHOW(chat, prompt, ...) show(chat, prompt, (const char *const[]){__VA_ARGS__, NULL, NULL})
#define TALK "user", "Hi", "assistant", "Yes.", "user", "So?", "assistant", " Ok "

TEST(by_name)
{
    dk_chat_template chat;
    REQUIRE_OK(dk_chat_by_name("chatml", NULL, &chat, &err));
    CHECK_STR(SHOW(&chat, 0, "system", "S", TALK), "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|"
                                                   ">\n<|im_start|>assistant\n{Yes.<|im_end|>}\n<|im_start|>user\n"
                                                   "So?<|im_end|>\n<|im_start|>assistant\n{ Ok <|im_end|>}\n");
    CHECK_STR(SHOW(&chat, 1, "user", "Hi"), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
    REQUIRE_OK(dk_chat_by_name("llama2", NULL, &chat, &err));
    CHECK_STR(SHOW(&chat, 0, "system", "S", TALK),
              "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nHi [/INST]{ Yes. </s>}<s>[INST] So? [/INST]{ Ok </s>}");
    REQUIRE_OK(dk_chat_by_name("llama3", NULL, &chat, &err));
    CHECK_STR(SHOW(&chat, 0, TALK), "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|"
                                    "start_header_id|>assistant<|end_header_id|>\n\n"
                                    "{Yes.<|eot_id|>}<|start_header_id|>user<|end_header_id|>\n\nSo?<|eot_id|><|"
                                    "start_header_id|>assistant<|end_header_id|>\n\n{Ok<|eot_id|>}");
    CHECK_STR(SHOW(&chat, 1, "assistant", "x"),
              "<|begin_of_text|><|start_header_id|>assistant<|end_header_id|>\n\nx<|eot_id|>"
              "<|start_header_id|>assistant<|end_header_id|>\n\n");
    REQUIRE_OK(dk_chat_by_name("mistral", NULL, &chat, &err));
    CHECK_STR(SHOW(&chat, 0, "system", "S", "user", "Hi", "assistant", "Yes."), "<s>[INST] S\n\nHi [/INST]{ Yes.</s>}");
    CHECK_INT(dk_chat_by_name("alpaca", NULL, &chat, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "'alpaca' is unknown, known are chatml, llama2, llama3, mistral");
}

TEST(wrong_conversations)
{
    dk_chat_template chat;
    dk_chat out;
    REQUIRE_OK(dk_chat_by_name("mistral", NULL, &chat, &err));
    CHECK_STR(SHOW(&chat, 0, "user", "a", "user", "b"), "-100");
    CHECK_HAS(err.message, "message 2 has role 'user', but mistral expects assistant (turns alternate)");
    CHECK_STR(SHOW(&chat, 0, "user", "a", "tool", "b"), "-100");
    CHECK_HAS(err.message, "role 'tool', but mistral expects system, user or assistant");
    CHECK_INT(dk_chat_render(host, &chat, NULL, 0, &out, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "at least 1");
}

TEST(recognised)
{
    static const struct {
        const char *jinja, *name;
        int32_t variant;
        const char *system;
    } cases[] = {
        {"{% for m in messages %}{{'<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n'}}{% "
         "endfor %}",
         "chatml", 0, ""},
        {"{{ bos_token }}<|im_start|>system\\nBe \\'kind\\'.<|im_end|>\\n' {{ m['content'] | trim }}", "chatml",
         DK_CHAT_BOS | DK_CHAT_TRIM, "Be 'kind'."},
        {"{{ '<|im_start|>system\\n' + x + '<|im_end|>' }} reasoning_content </think>", "chatml", DK_CHAT_THINK, ""},
        {"'<|start_header_id|>' + m['content'] | trim + '<|eot_id|>'", "llama3", DK_CHAT_TRIM, ""},
        {"'<|start_header_id|>' {{ \"Cutting Knowledge Date: \" }} '<|eot_id|>'", "llama3", DK_CHAT_DATES, ""},
        {"'[INST] ' + '<<SYS>>\\n'", "llama2", 0, ""},
        {"'[INST] ' + message[ 'content' ] + ' [/INST]' ' ' + message[\"content\"] + eos_token + ' ' 'system'",
         "mistral", DK_CHAT_AFTER_OPEN | DK_CHAT_BEFORE_CLOSE | DK_CHAT_BEFORE_ANSWER | DK_CHAT_AFTER_EOS, ""},
        {"{% if loop.last and system_message is defined %}\"[INST]\" + \"[/INST]\" \"system\"", "mistral",
         DK_CHAT_SYSTEM_LAST, ""},
        {"'[INST]' + '[/INST]'", "mistral", DK_CHAT_NO_SYSTEM, ""},
    };
    dk_chat_template chat;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        REQUIRE_OK(dk_chat_recognise(cases[i].jinja, NULL, &chat, &err));
        CHECK_STR(dk_chat_name(&chat), cases[i].name);
        CHECK_INT(chat.variant, cases[i].variant);
        CHECK_STR(chat.default_system, cases[i].system);
    }
    CHECK_INT(dk_chat_recognise("{{ '### Instruction:' }}", NULL, &chat, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "none of the known ones: chatml, llama2, llama3, mistral");
}

TEST(default_system_and_thought)
{
    dk_chat_template chat;
    REQUIRE_OK(dk_chat_recognise("'<|im_start|>system\\nBe kind.<|im_end|>\\n'", NULL, &chat, &err));
    CHECK_STR(SHOW(&chat, 1, "user", "Hi"),
              "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
    CHECK_STR(SHOW(&chat, 1, "system", "S"), "<|im_start|>system\nS<|im_end|>\n<|im_start|>assistant\n");
    REQUIRE_OK(dk_chat_recognise("<|im_start|> <|im_end|> reasoning_content </think>", NULL, &chat, &err));
    CHECK_STR(
        SHOW(&chat, 0, "user", "q", "assistant", "<think>\nhm\n</think>\n\na", "user", "r", "assistant", "b"),
        "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n{a<|im_end|>}\n<|im_start|>user\nr<|im_end|>\n<|im_"
        "start|>assistant\n"
        "{<think>\n\n</think>\n\nb<|im_end|>}\n");
}

TEST(real_templates)
{
    const char *assets = test_assets();
    dk_tokenizer *tok;
    dk_chat_template chat;
    if (!assets) SKIP("DISTILL_TEST_ASSETS is not set");
    if (!host) dk_host_create(NULL, &host, &err);
    REQUIRE_OK(dk_tokenizer_open(host, test_path(assets, "tokenizers/qwen2_5"), &tok, &err));
    REQUIRE_OK(dk_chat_of_tokenizer(tok, &chat, &err));
    CHECK_STR(SHOW(&chat, 0, "user", "Hi", "assistant", "Yes."),
              "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful "
              "assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
              "<|im_start|>assistant\n{Yes.<|im_end|>}\n");
    dk_tokenizer_release(tok);
    REQUIRE_OK(dk_tokenizer_open(host, test_path(assets, "tokenizers/mistral_nemo"), &tok, &err));
    REQUIRE_OK(dk_chat_by_name("mistral", tok, &chat, &err));
    CHECK_STR(SHOW(&chat, 0, "system", "S", "user", "Hi"), "<s>[INST]S\n\nHi[/INST]");
    CHECK_STR(SHOW(&chat, 0, "user", "Hi", "assistant", "Yes."), "<s>[INST]Hi[/INST]{Yes.</s>}");
    dk_tokenizer_release(tok);
    REQUIRE_OK(dk_tokenizer_open(host, test_path(assets, "tokenizers/gpt2"), &tok, &err));
    CHECK_INT(dk_chat_of_tokenizer(tok, &chat, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "has no chat template");
    dk_tokenizer_release(tok);
}

TEST_MAIN(TEST_CASE(by_name) TEST_CASE(wrong_conversations) TEST_CASE(recognised) TEST_CASE(default_system_and_thought)
              TEST_CASE(real_templates))
