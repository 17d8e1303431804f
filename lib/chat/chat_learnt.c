/* Which bytes of a rendered talk are answers. */
#include "chat/chat_parts.h"

#include <string.h>

typedef struct search {
    dk_host *host;
    const dk_chat_template *chat;
    const dk_chat_talk *talk;
    const dk_chat *whole;
    dk_chat_answer *answers;
    int64_t count;
    dk_error *err;
} search;

static int32_t is_answer(const dk_chat_talk *talk, int64_t i)
{
    return dk_node_is_text(dk_node_get(talk->messages[i], "role"), "assistant");
}

/* ---- marked by the template ---- */

/* The message whose text stands in the span; -1 = the template's alone. */
static int64_t message_in(const dk_chat *whole, dk_jinja_span span)
{
    for (size_t i = span.begin; i < span.end; i++)
        if (whole->output.origins[i] && whole->output.origins[i] != DK_CHAT_TOOLS) return whole->output.origins[i] - 1;
    return -1;
}

static int64_t nth_answer(const dk_chat_talk *talk, int64_t n)
{
    for (int64_t i = 0; i < talk->count; i++)
        if (is_answer(talk, i) && n-- == 0) return i;
    return -1;
}

/* A span that says nothing belongs to the answer of its number, where there are as many spans as answers. */
static int32_t take_marked(search *s, const uint8_t *wanted)
{
    const dk_jinja_output *output = &s->whole->output;
    int64_t answers = 0;
    for (int64_t i = 0; i < s->talk->count; i++) answers += is_answer(s->talk, i);
    for (int64_t i = 0; i < output->generation_count; i++) {
        const dk_jinja_span span = output->generations[i];
        int64_t message = answers == output->generation_count ? nth_answer(s->talk, i) : message_in(s->whole, span);
        if (message < 0)
            return dk_fail(s->err, DK_E_INVALID,
                           "the template marks bytes %zu to %zu as an answer, in which no message says anything",
                           span.begin, span.end);
        if (!wanted || wanted[message]) s->answers[s->count++] = (dk_chat_answer){{span.begin, span.end}, message};
    }
    return DK_OK;
}

/* ---- found by rendering prefixes ---- */

/* Without a message behind it, a template may find the talk wrong. */
static int32_t render_prefix(const search *s, int64_t count, int32_t prompt, dk_chat *out)
{
    dk_chat_talk talk = *s->talk;
    talk.count = count;
    talk.prompt = prompt;
    talk.open_last = 0;
    int32_t rc = dk_chat_render(s->host, s->chat, &talk, out, s->err);
    if (rc) dk_error_context(s->err, "the first %lld messages, of which an answer follows", (long long)count);
    return rc;
}

static size_t common(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t same = 0;
    while (same < a_size && same < b_size && a[same] == b[same]) same++;
    return same;
}

/* Where the last character of message i ends in text[from, ...); from when there is none. */
static size_t content_end(const dk_chat *text, int64_t i, size_t from)
{
    for (size_t at = text->size; at > from; at--)
        if (text->output.origins[at - 1] == i + 1) return at;
    return from;
}

/* The end of the first row of special tokens that touch each other; 0 = there is none. */
static size_t closing_end(const dk_tokenizer *tok, const char *text, size_t size)
{
    size_t begin, end, next;
    if (!tok || dk_tokenizer_next_special(tok, text, size, 0, &begin, &end) < 0) return 0;
    while (end < size && dk_tokenizer_next_special(tok, text, size, end, &begin, &next) >= 0 && begin == end)
        end = next;
    return end;
}

static int32_t refuse(const search *s, int64_t i, const char *what)
{
    return dk_fail(
        s->err, DK_E_UNSUPPORTED,
        "message %lld: where the answer %s cannot be told, since the template writes it otherwise when other "
        "messages follow; give it weight 0, or use a template that marks answers with {%% generation %%}",
        (long long)i + 1, what);
}

/* alone: the talk that ends with message i; its text up to begin is that of the whole. */
static int32_t end_of(const search *s, int64_t i, size_t begin, const dk_chat *alone, size_t *end)
{
    const dk_chat *whole = s->whole;
    const int32_t is_prefix = alone->size <= whole->size && !memcmp(alone->text, whole->text, alone->size);
    const size_t said = content_end(whole, i, begin), said_alone = content_end(alone, i, begin);
    const size_t tail = alone->size - said_alone;
    const size_t same = common(alone->text + said_alone, tail, whole->text + said, whole->size - said);
    const size_t closing = closing_end(s->chat->tok, alone->text + said_alone, tail);
    *end = closing ? said + closing : alone->size;
    return closing ? closing <= same : is_prefix;
}

static int32_t find_end(const search *s, int64_t i, size_t begin, size_t *end)
{
    dk_chat alone = {0};
    int32_t rc;
    DK_TRY(render_prefix(s, i + 1, 0, &alone));
    if (alone.size < begin || memcmp(alone.text, s->whole->text, begin) != 0) rc = refuse(s, i, "begins");
    else if (!end_of(s, i, begin, &alone, end)) rc = refuse(s, i, "ends");
out:
    dk_chat_free(&alone);
    return rc;
}

static int32_t find_answer(search *s, int64_t i)
{
    dk_chat before = {0};
    size_t begin, end = 0;
    int32_t rc;
    if (!i) return dk_fail(s->err, DK_E_INVALID, "message 1 is an answer, with nothing in front of it");
    DK_TRY(render_prefix(s, i, 1, &before));
    begin = before.size;
    if (begin > s->whole->size || memcmp(before.text, s->whole->text, begin) != 0) rc = refuse(s, i, "begins");
    else if (!(rc = find_end(s, i, begin, &end))) s->answers[s->count++] = (dk_chat_answer){{begin, end}, i};
out:
    dk_chat_free(&before);
    return rc;
}

int32_t dk_chat_learnt(dk_host *host, const dk_chat_template *chat, const dk_chat_talk *talk, const dk_chat *whole,
                       const uint8_t *wanted, dk_chat_answer **answers, int64_t *count, dk_error *err)
{
    search s = {.host = host, .chat = chat, .talk = talk, .whole = whole, .err = err};
    int32_t rc;
    s.chat = chat = dk_chat_chosen(chat, talk);
    DK_TRY(dk_new(host, talk->count + whole->output.generation_count + 1, &s.answers, err));
    if (dk_jinja_has_generation(chat->jinja)) DK_TRY(take_marked(&s, wanted));
    else
        for (int64_t i = 0; i < talk->count; i++)
            if (is_answer(talk, i) && (!wanted || wanted[i])) DK_TRY(find_answer(&s, i));
    *answers = s.answers;
    *count = s.count;
    return DK_OK;
out:
    dk_free(host, s.answers);
    return rc;
}
