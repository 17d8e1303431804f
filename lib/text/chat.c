#include "text/chat.h"

#include "text/codepoint.h"

#include <stdio.h>
#include <string.h>

/* While rendering, segments hold offsets: the text still moves. */
typedef struct rendering {
    dk_host *host;
    const dk_chat_template *chat;
    const dk_chat_message *messages;
    int64_t count, at; /* at: the message under work */
    dk_chat out;
    dk_error *err;
} rendering;

void dk_chat_free(dk_chat *chat)
{
    if (!chat->text.host) return;
    dk_free(chat->text.host, chat->segments);
    dk_free(chat->text.host, chat->contents);
    dk_strbuf_free(&chat->text);
    memset(chat, 0, sizeof *chat);
}

static void put(rendering *r, int32_t has_loss, const char *text, size_t size)
{
    dk_chat *out = &r->out;
    int64_t message = has_loss ? r->at : -1;
    if (!size) return;
    dk_strbuf_append(&out->text, text, size);
    if (out->count && out->segments[out->count - 1].message == message) {
        out->segments[out->count - 1].size += size;
    } else { /* capacity was planned: a message makes at most two changes of loss */
        out->segments[out->count++] = (dk_chat_segment){NULL, size, has_loss, message};
    }
}

/* What a message says; at most two pieces of each (planned too). */
static void put_content(rendering *r, int32_t has_loss, dk_slice text)
{
    dk_chat *out = &r->out;
    if (!text.size) return;
    out->contents[out->content_count++] = (dk_chat_content){out->text.size, out->text.size + text.size};
    put(r, has_loss, text.data, text.size);
}

static void puts_part(rendering *r, int32_t has_loss, const char *text) { put(r, has_loss, text, strlen(text)); }

static int32_t is_role(const dk_chat_message *message, const char *role)
{
    return message->role.size == strlen(role) && !memcmp(message->role.data, role, message->role.size);
}

static int32_t is_python_space(uint32_t c) { return dk_is_space(c) || (c >= 0x1c && c <= 0x1f); }

static dk_slice trim(dk_slice text)
{
    uint32_t c;
    if (dk_valid_prefix(text.data, text.size) != text.size) return text;
    while (text.size && (dk_codepoint(text.data, &c), is_python_space(c))) {
        size_t length = dk_codepoint_size(text.data);
        text.data += length;
        text.size -= length;
    }
    while (text.size) {
        size_t at = dk_codepoint_before(text.data, text.size);
        dk_codepoint(text.data + at, &c);
        if (!is_python_space(c)) break;
        text.size = at;
    }
    return text;
}

static dk_slice content_of(const rendering *r, int64_t i)
{
    dk_slice text = r->messages[i].content;
    return r->chat->variant & DK_CHAT_TRIM ? trim(text) : text;
}

static int32_t bad_message(rendering *r, int64_t i, const char *expected)
{
    dk_slice role = r->messages[i].role;
    return dk_fail(r->err, DK_E_INVALID, "message %lld has role '%.*s', but %s expects %s", (long long)i + 1,
                   (int)(role.size < 30 ? role.size : 30), role.data, dk_chat_name(r->chat), expected);
}

static int32_t check_roles(rendering *r)
{
    for (int64_t i = 0; i < r->count; i++)
        if (!is_role(&r->messages[i], "system") && !is_role(&r->messages[i], "user") &&
            !is_role(&r->messages[i], "assistant"))
            return bad_message(r, i, "system, user or assistant");
    return DK_OK;
}

/* ---- chatml ---- */
static int64_t find_text(dk_slice text, const char *what)
{
    size_t size = strlen(what);
    for (size_t at = 0; at + size <= text.size; at++)
        if (!memcmp(text.data + at, what, size)) return (int64_t)at;
    return -1;
}

static dk_slice strip_lines(dk_slice text, int32_t left, int32_t right)
{
    while (left && text.size && text.data[0] == '\n') text.data++, text.size--;
    while (right && text.size && text.data[text.size - 1] == '\n') text.size--;
    return text;
}

/* Cuts an answer at its last </think> (Qwen3's template). */
static void split_thought(dk_slice *content, dk_slice *thought)
{
    int64_t first = find_text(*content, "</think>"), open, close;
    *thought = (dk_slice){content->data, 0};
    if (first < 0) return;
    *thought = strip_lines((dk_slice){content->data, (size_t)first}, 0, 1);
    while ((open = find_text(*thought, "<think>")) >= 0) {
        thought->data += open + 7;
        thought->size -= (size_t)open + 7;
    }
    *thought = strip_lines(*thought, 1, 0);
    while ((close = find_text(*content, "</think>")) >= 0) {
        content->data += close + 8;
        content->size -= (size_t)close + 8;
    }
    *content = strip_lines(*content, 1, 0);
}

static int64_t last_question(const rendering *r)
{
    for (int64_t i = r->count - 1; i >= 0; i--) {
        dk_slice text = r->messages[i].content;
        int32_t is_result = text.size >= 31 && !memcmp(text.data, "<tool_response>", 15) &&
                            !memcmp(text.data + text.size - 16, "</tool_response>", 16);
        if (is_role(&r->messages[i], "user") && !is_result) return i;
    }
    return r->count - 1;
}

static void chatml_thinking_answer(rendering *r, int64_t i, int64_t question)
{
    dk_slice content = content_of(r, i), thought;
    split_thought(&content, &thought);
    if (i > question && (i + 1 == r->count || thought.size)) {
        thought = strip_lines(thought, 1, 1);
        content = strip_lines(content, 1, 0);
        puts_part(r, 1, "<think>\n");
        put_content(r, 1, thought);
        puts_part(r, 1, "\n</think>\n\n");
    }
    put_content(r, 1, content);
}

static int32_t render_chatml(rendering *r, int32_t prompt)
{
    const dk_chat_template *chat = r->chat;
    int64_t question = last_question(r);
    if (chat->variant & DK_CHAT_BOS) puts_part(r, 0, chat->bos);
    if (*chat->default_system && !(r->count && is_role(&r->messages[0], "system"))) {
        puts_part(r, 0, "<|im_start|>system\n");
        puts_part(r, 0, chat->default_system);
        puts_part(r, 0, "<|im_end|>\n");
    }
    for (int64_t i = 0; i < r->count; i++) {
        int32_t answer = is_role(&r->messages[i], "assistant");
        dk_slice content = content_of(r, i);
        r->at = i;
        puts_part(r, 0, "<|im_start|>");
        put(r, 0, r->messages[i].role.data, r->messages[i].role.size);
        puts_part(r, 0, "\n");
        if (answer && chat->variant & DK_CHAT_THINK) chatml_thinking_answer(r, i, question);
        else put_content(r, answer, content);
        puts_part(r, answer, "<|im_end|>");
        puts_part(r, 0, "\n");
    }
    if (prompt) puts_part(r, 0, "<|im_start|>assistant\n");
    return DK_OK;
}

/* ---- llama3 ---- */
static void llama3_header(rendering *r, const char *role, size_t size)
{
    puts_part(r, 0, "<|start_header_id|>");
    put(r, 0, role, size);
    puts_part(r, 0, "<|end_header_id|>\n\n");
}

static int32_t render_llama3(rendering *r, int32_t prompt)
{
    int64_t first = 0;
    puts_part(r, 0, r->chat->bos);
    if (r->chat->variant & DK_CHAT_DATES) {
        llama3_header(r, "system", 6);
        puts_part(r, 0, "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n");
        if (r->count && is_role(&r->messages[0], "system")) {
            dk_slice text = content_of(r, first++);
            put_content(r, 0, text);
        }
        puts_part(r, 0, "<|eot_id|>");
    }
    for (int64_t i = first; i < r->count; i++) {
        int32_t answer = is_role(&r->messages[i], "assistant");
        dk_slice content = content_of(r, i);
        r->at = i;
        llama3_header(r, r->messages[i].role.data, r->messages[i].role.size);
        put_content(r, answer, content);
        puts_part(r, answer, "<|eot_id|>");
    }
    if (prompt) llama3_header(r, "assistant", 9);
    return DK_OK;
}

/* ---- llama2 and mistral: turns alternate, the system text stands inside a user's message ---- */
static int32_t check_turns(rendering *r, int64_t first)
{
    for (int64_t i = first; i < r->count; i++) {
        const char *role = (i - first) % 2 ? "assistant" : "user";
        if (!is_role(&r->messages[i], role))
            return bad_message(r, i, role[0] == 'u' ? "user (turns alternate)" : "assistant (turns alternate)");
    }
    return DK_OK;
}

/* System text and first question are stripped as one text. */
static void llama2_system(rendering *r, dk_slice question)
{
    dk_slice system = r->messages[0].content, bare = trim(question);
    puts_part(r, 0, "<<SYS>>\n");
    put_content(r, 0, system);
    puts_part(r, 0, "\n<</SYS>>");
    if (!bare.size) return;
    puts_part(r, 0, "\n\n");
    put_content(r, 0, (dk_slice){question.data, (size_t)(bare.data + bare.size - question.data)});
}

static int32_t render_llama2(rendering *r)
{
    int64_t first = r->count && is_role(&r->messages[0], "system");
    int32_t rc = check_turns(r, first);
    for (int64_t i = first; i < r->count && !rc; i++) {
        dk_slice content = r->messages[i].content;
        r->at = i;
        if ((i - first) % 2) {
            content = trim(content);
            puts_part(r, 1, " ");
            put_content(r, 1, content);
            puts_part(r, 1, " ");
            puts_part(r, 1, r->chat->eos);
            continue;
        }
        puts_part(r, 0, r->chat->bos);
        puts_part(r, 0, "[INST] ");
        if (i == first && first) {
            llama2_system(r, content);
        } else {
            content = trim(content);
            put_content(r, 0, content);
        }
        puts_part(r, 0, " [/INST]");
    }
    return rc;
}

static void mistral_question(rendering *r, int64_t i, int32_t with_system)
{
    int32_t variant = r->chat->variant;
    dk_slice content = content_of(r, i), system = r->messages[0].content;
    puts_part(r, 0, variant & DK_CHAT_BEFORE_OPEN ? " [INST]" : "[INST]");
    if (variant & DK_CHAT_AFTER_OPEN) puts_part(r, 0, " ");
    if (with_system) {
        put_content(r, 0, system);
        puts_part(r, 0, "\n\n");
    }
    put_content(r, 0, content);
    puts_part(r, 0, variant & DK_CHAT_BEFORE_CLOSE ? " [/INST]" : "[/INST]");
}

static int32_t render_mistral(rendering *r)
{
    int32_t variant = r->chat->variant;
    int64_t first = r->count && is_role(&r->messages[0], "system");
    if (first && variant & DK_CHAT_NO_SYSTEM) return bad_message(r, 0, "no system message (its template refuses them)");
    int32_t rc = check_turns(r, first);
    puts_part(r, 0, r->chat->bos);
    for (int64_t i = first; i < r->count && !rc; i++) {
        r->at = i;
        if ((i - first) % 2) {
            dk_slice content = content_of(r, i);
            if (variant & DK_CHAT_BEFORE_ANSWER) puts_part(r, 1, " ");
            put_content(r, 1, content);
            puts_part(r, 1, r->chat->eos);
            if (variant & DK_CHAT_AFTER_EOS) puts_part(r, 0, " ");
        } else {
            int64_t place = variant & DK_CHAT_SYSTEM_LAST ? r->count - 1 : first;
            mistral_question(r, i, first && i == place);
        }
    }
    return rc;
}

static int32_t render(dk_host *host, const dk_chat_template *chat, const dk_chat_message *messages, int64_t count,
                      int32_t prompt, dk_chat *out, dk_error *err)
{
    int32_t rc;
    rendering r = {.host = host, .chat = chat, .messages = messages, .count = count, .err = err};
    if (count < 1) return dk_fail(err, DK_E_INVALID, "a chat of %lld messages, must be at least 1", (long long)count);
    dk_strbuf_init(&r.out.text, host);
    DK_TRY(dk_new(host, 2 * count + 4, &r.out.segments, err));
    DK_TRY(dk_new(host, 2 * count + 2, &r.out.contents, err));
    DK_TRY(check_roles(&r));
    switch (chat->id) {
    case DK_CHAT_CHATML:
        rc = render_chatml(&r, prompt);
        break;
    case DK_CHAT_LLAMA3:
        rc = render_llama3(&r, prompt);
        break;
    case DK_CHAT_LLAMA2:
        rc = render_llama2(&r);
        break;
    case DK_CHAT_MISTRAL:
        rc = render_mistral(&r);
        break;
    default:
        rc = dk_fail(err, DK_E_INVALID, "chat template %d is unknown", (int)chat->id);
    }
    if (rc) goto out;
    DK_TRY(dk_strbuf_check(&r.out.text, err));
    size_t at = 0;
    for (int64_t i = 0; i < r.out.count; at += r.out.segments[i++].size) {
        r.out.segments[i].text = r.out.text.data + at;
        if (prompt) r.out.segments[i].has_loss = 0, r.out.segments[i].message = -1;
    }
    r.out.spells_bos = chat->id != DK_CHAT_CHATML || chat->variant & DK_CHAT_BOS;
    *out = r.out;
    return DK_OK;
out:
    dk_chat_free(&r.out);
    return rc;
}

int32_t dk_chat_render(dk_host *host, const dk_chat_template *chat, const dk_chat_message *messages, int64_t count,
                       dk_chat *out, dk_error *err)
{
    return render(host, chat, messages, count, 0, out, err);
}

int32_t dk_chat_prompt(dk_host *host, const dk_chat_template *chat, const dk_chat_message *messages, int64_t count,
                       dk_chat *out, dk_error *err)
{
    return render(host, chat, messages, count, 1, out, err);
}
