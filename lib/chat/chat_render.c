#include "chat/chat_parts.h"

#include <string.h>

#define TAIL \
    "CONTINUE_FINAL_MESSAGE_TAG " /* as the reference has it: what a template does to it shows what it strips */

void dk_chat_free(dk_chat *chat)
{
    if (!chat->host) return;
    dk_free(chat->host, chat->contents);
    dk_jinja_output_free(&chat->output);
    memset(chat, 0, sizeof *chat);
}

static int32_t in_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

int32_t dk_chat_reads(const dk_chat_template *chat, const char *word)
{
    const size_t size = strlen(word);
    if (chat->with_tools && dk_chat_reads(chat->with_tools, word)) return 1;
    for (const char *at = chat->source; (at = strstr(at, word)); at += size)
        if ((at == chat->source || !in_word(at[-1])) && !in_word(at[size])) return 1;
    return 0;
}

static int32_t set_special(dk_jinja_context *context, const dk_tokenizer *tok, const char *name, int64_t id,
                           dk_error *err)
{
    size_t size;
    const char *text = id >= 0 ? dk_tokenizer_id_text(tok, id, &size) : NULL;
    return text ? dk_jinja_set_text(context, name, (dk_slice){text, size}, 0, err) : DK_OK;
}

static int32_t set_specials(dk_jinja_context *context, const dk_tokenizer *tok, dk_error *err)
{
    int32_t rc;
    DK_TRY(set_special(context, tok, "bos_token", dk_tokenizer_bos(tok), err));
    DK_TRY(set_special(context, tok, "eos_token", dk_tokenizer_eos(tok), err));
    DK_TRY(set_special(context, tok, "pad_token", dk_tokenizer_pad(tok), err));
    DK_TRY(set_special(context, tok, "unk_token", dk_tokenizer_unk(tok), err));
out:
    return rc;
}

static int32_t set_variables(dk_jinja_context *context, const dk_chat_talk *talk, dk_error *err)
{
    int32_t rc;
    DK_TRY(dk_jinja_set_none(context, "documents", err));
    DK_TRY(dk_jinja_set_none(context, "tools", err));
    DK_TRY(dk_jinja_set_bool(context, "add_generation_prompt", talk->prompt, err));
    if (talk->tools) DK_TRY(dk_jinja_set_node(context, "tools", talk->tools, DK_CHAT_TOOLS, NULL, err));
    for (size_t i = 0; talk->variables && i < talk->variables->size; i++) {
        const dk_node *item = talk->variables->items[i];
        DK_TRY(dk_jinja_set_node(context, item->key, item, DK_CHAT_TOOLS, NULL, err));
    }
out:
    return rc;
}

/* Most templates write any role as it is: what no model has learnt would pass in silence, a typing error too. One is
 * known where chat APIs have it, or where the template has its first word. */
static int32_t knows_role(const dk_chat_template *chat, const char *role)
{
    static const char *const usual[] = {"system", "developer", "user", "assistant", "tool", "function"};
    char word[64];
    size_t size = 0;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if (!strcmp(role, usual[i])) return 1;
    while (in_word(role[size]) && size + 1 < sizeof word) word[size] = role[size], size++;
    word[size] = 0;
    return size && dk_chat_reads(chat, word);
}

static int32_t check_role(const dk_chat_template *chat, const dk_node *message, int64_t number, dk_error *err)
{
    const dk_node *role = message->type == DK_NODE_MAP ? dk_node_get(message, "role") : NULL;
    if (message->type != DK_NODE_MAP || !dk_chat_reads(chat, "role")) return DK_OK;
    if (!role || role->type == DK_NODE_NULL)
        return dk_fail(err, DK_E_INVALID, "message %lld has no \"role\": user, assistant or system, say",
                       (long long)number);
    if (role->type != DK_NODE_TEXT || strlen(role->text) != role->size)
        return dk_fail(err, DK_E_INVALID, "the role of message %lld is no text", (long long)number);
    if (knows_role(chat, role->text)) return DK_OK;
    return dk_fail(err, DK_E_INVALID,
                   "message %lld has the role '%.40s', which the chat template does not name, and which is none of "
                   "system, developer, user, assistant, tool and function",
                   (long long)number, role->text);
}

static int32_t check_roles(const dk_chat_template *chat, const dk_chat_talk *talk, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < talk->count && !rc; i++) rc = check_role(chat, talk->messages[i], i + 1, err);
    return rc;
}

static int32_t check_talk(const dk_chat_template *chat, const dk_chat_talk *talk, dk_error *err)
{
    if (talk->count < 1)
        return dk_fail(err, DK_E_INVALID, "a chat of %lld messages, must be at least 1", (long long)talk->count);
    if (talk->count > DK_CHAT_MESSAGES)
        return dk_fail(err, DK_E_INVALID, "a chat of %lld messages, must be at most %d", (long long)talk->count,
                       DK_CHAT_MESSAGES);
    if (talk->open_last && talk->prompt)
        return dk_fail(err, DK_E_INVALID, "either the last message goes on, or an answer begins behind it");
    const dk_node *content = dk_node_get(talk->messages[talk->count - 1], "content");
    if (talk->open_last && (!content || (content->type != DK_NODE_TEXT && content->type != DK_NODE_LIST)))
        return dk_fail(err, DK_E_INVALID, "the last message has no content that could go on");
    if (talk->open_last && !dk_chat_reads(chat, "content"))
        return dk_fail(err, DK_E_INVALID, "the last message cannot go on: the template does not read \"content\"");
    return check_roles(chat, talk, err);
}

/* A template that failed names its own line; what was wrong is mostly a message without a text. */
static int32_t name_message(const dk_chat_talk *talk, int32_t rc, dk_error *err)
{
    for (int64_t i = 0; rc == DK_E_INVALID && err && i < talk->count; i++) {
        const dk_node *content = dk_node_get(talk->messages[i], "content");
        const int32_t absent = !content || content->type == DK_NODE_NULL;
        char said[sizeof err->message];
        if (!absent && (content->type == DK_NODE_TEXT || content->type == DK_NODE_LIST)) continue;
        memcpy(said, err->message, sizeof said);
        return dk_fail(err, rc, "message %lld has %s; %.400s", (long long)(i + 1),
                       absent ? "no \"content\"" : "a \"content\" that is neither a text nor a list of parts", said);
    }
    return rc;
}

static int32_t render(dk_host *host, const dk_chat_template *chat, const dk_chat_talk *talk, dk_jinja_output *out,
                      dk_error *err)
{
    dk_jinja_context *context;
    int32_t rc;
    DK_TRY(dk_jinja_context_create(chat->jinja, host, NULL, talk->date, &context, err));
    rc = chat->tok ? set_specials(context, chat->tok, err) : DK_OK;
    if (!rc) rc = set_variables(context, talk, err);
    for (int64_t i = 0; i < talk->count && !rc; i++)
        rc = dk_chat_add_message(context, host, talk->messages[i], chat->takes_parts,
                                 talk->open_last && i + 1 == talk->count ? TAIL : NULL, (uint16_t)(i + 1), err);
    if (!rc && (rc = dk_jinja_render(context, out, err))) rc = name_message(talk, rc, err);
    dk_jinja_context_free(context);
out:
    return rc;
}

/* ---- a last message that goes on ---- */

static size_t find_last(const dk_jinja_output *out, const char *what, size_t size)
{
    for (size_t at = out->size >= size ? out->size - size + 1 : 0; at-- > 0;)
        if (!memcmp(out->text + at, what, size)) return at;
    return SIZE_MAX;
}

static int32_t is_space(char c) { return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x1f); }

static int32_t cut_tail(dk_jinja_output *out, dk_error *err)
{
    const size_t size = sizeof TAIL - 1;
    size_t at = find_last(out, TAIL, size - 1);
    if (at == SIZE_MAX)
        return dk_fail(err, DK_E_INVALID, "the last message cannot go on: the template leaves out how it ends");
    if (at + size > out->size || memcmp(out->text + at, TAIL, size) != 0)
        while (at && is_space(out->text[at - 1])) at--; /* a template that strips contents */
    out->size = at;
    out->text[at] = 0;
    return DK_OK;
}

/* ---- what came from where ---- */

static int32_t find_contents(dk_chat *chat, dk_error *err)
{
    const uint16_t *origins = chat->output.origins;
    int64_t count = 0;
    int32_t rc;
    for (size_t i = 0; i < chat->size; i++) count += origins[i] && (!i || !origins[i - 1]);
    DK_TRY(dk_new(chat->host, count + 1, &chat->contents, err));
    for (size_t i = 0; i < chat->size; i++) {
        if (!origins[i]) continue;
        if (!i || !origins[i - 1]) chat->contents[chat->content_count++] = (dk_text_span){i, i};
        chat->contents[chat->content_count - 1].end = i + 1;
    }
out:
    return rc;
}

static int32_t says_something(const dk_node *message)
{
    const dk_node *content = dk_node_get(message, "content");
    if (!content || dk_node_is_text(dk_node_get(message, "role"), "assistant")) return 0;
    if (content->type == DK_NODE_LIST) return content->size != 0;
    for (size_t i = 0; content->type == DK_NODE_TEXT && i < content->size; i++)
        if (!is_space(content->text[i])) return 1;
    return 0;
}

static int32_t find_absent(dk_chat *chat, const dk_chat_talk *talk, dk_error *err)
{
    uint8_t *seen;
    int32_t rc;
    DK_TRY(dk_new(chat->host, DK_CHAT_TOOLS + 1, &seen, err));
    for (size_t i = 0; i < chat->size; i++) seen[chat->output.origins[i]] = 1;
    for (int64_t i = 0; i < talk->count; i++) {
        if (seen[i + 1] || !says_something(talk->messages[i])) continue;
        if (!chat->absent_count++) chat->absent = i + 1;
    }
    dk_free(chat->host, seen);
out:
    return rc;
}

int32_t dk_chat_render(dk_host *host, const dk_chat_template *chat, const dk_chat_talk *talk, dk_chat *out,
                       dk_error *err)
{
    int32_t rc;
    *out = (dk_chat){.host = host};
    chat = dk_chat_chosen(chat, talk);
    DK_TRY(check_talk(chat, talk, err));
    DK_TRY(render(host, chat, talk, &out->output, err));
    if (talk->open_last) DK_TRY(cut_tail(&out->output, err));
    out->text = out->output.text;
    out->size = out->output.size;
    DK_TRY(find_contents(out, err));
    DK_TRY(find_absent(out, talk, err));
    return DK_OK;
out:
    dk_chat_free(out);
    return rc;
}
