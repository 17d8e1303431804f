#include "dataset/prompt_ids.h"

#include "chat/chat.h"

/* What a user says, as text in the model's template, up to where the answer begins. */
static int32_t in_chat(dk_host *host, const dk_tokenizer *tokenizer, const char *text, size_t size, dk_chat *out,
                       dk_error *err)
{
    dk_strbuf messages;
    int32_t rc;
    dk_strbuf_init(&messages, host);
    dk_strbuf_puts(&messages, "[{\"role\":\"user\",\"content\":");
    dk_strbuf_json(&messages, text, size);
    dk_strbuf_puts(&messages, "}]");
    DK_TRY(dk_strbuf_check(&messages, err));
    DK_TRY(dk_chat_of_json(host, tokenizer, messages.data, 1, 0, out, err));
out:
    dk_strbuf_free(&messages);
    return rc;
}

int32_t di_prompt_ids(dk_host *host, const dk_tokenizer *tokenizer, const char *text, size_t size, int32_t chat,
                      int32_t **ids, int64_t *cap, int64_t *count, dk_error *err)
{
    dk_chat said = {0};
    int32_t rc;
    if (!chat)
        return dk_tokenizer_append(tokenizer, host, text, size, DK_ENCODE_SPECIAL | DK_ENCODE_PLAIN, ids, cap, count,
                                   err);
    DK_TRY(in_chat(host, tokenizer, text, size, &said, err));
    const dk_marked_text marked = {
        .text = said.text, .size = said.size, .plain = said.contents, .plain_count = said.content_count};
    DK_TRY(dk_tokenizer_append_marked(tokenizer, host, &marked, ids, cap, count, NULL, err));
out:
    dk_chat_free(&said);
    return rc;
}
