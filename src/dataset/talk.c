/* talk.c - a list of messages becomes tokens, as the chat template says. */
#include <stdio.h>
#include <string.h>

#include "dataset/sample.h"

typedef struct talk {
    const di_encoder *encoder;
    const char *place;
    dk_chat_message *messages; /* [count] */
    double *weights;           /* [count] of an answer */
    char **joined;             /* [count] contents that came in parts; NULL = as they are */
    int64_t count;
} talk;

static const di_key refused[] = {
    {"name", "write it into the content"},
    {"tool_calls", "write the call into the content, as the template would"},
    {"function_call", "write the call into the content, as the template would"},
    {"tool_call_id", "write the result into the content, as the template would"},
    {"tools", "write them into a system message, as the template would"},
    {"thinking", "write it into the content, as the template would"},
    {"reasoning", "write it into the content, as the template would"},
    {"reasoning_content", "write it into the content, as the template would"},
    {"refusal", "write it into the content"},
    {"images", "only text is learnt"},
    {"image", "only text is learnt"},
    {"audio", "only text is learnt"},
    {"prefix", "give the conversation as prompt and completion"},
    {"channel", "write it into the content, as the template would"},
    {"recipient", "write it into the content, as the template would"},
    {"loss", "set \"weight\" to 0 or more"},
    {"loss_weight", "call it \"weight\""},
    {"mask", "set \"weight\" to 0 or more"},
    {"train", "set \"weight\" to 0 or more"},
    {"training", "set \"weight\" to 0 or more"},
    {"trainable", "set \"weight\" to 0 or more"},
    {"learn", "set \"weight\" to 0 or more"},
    {NULL, NULL},
};

/* ---- reading ---- */

static int32_t read_role(const dk_node *role, const char *place, size_t number, dk_slice *out, dk_error *err)
{
    static const char *const known[] = {"system", "user", "assistant"};
    const char *way = "";
    for (int i = 0; i < 3; i++) {
        if (!dk_node_is_text(role, known[i])) continue;
        *out = (dk_slice){role->text, role->size};
        return DK_OK;
    }
    if (dk_node_is_text(role, "developer")) way = ": call it system";
    if (dk_node_is_text(role, "tool") || dk_node_is_text(role, "function"))
        way = ": render the conversation yourself and give it as prompt and completion";
    return dk_fail(err, DK_E_FORMAT, "%s: message %zu has the role \"%.32s\"; known are system, user and assistant%s",
                   place, number, role->text, way);
}

/* [{"type": "text", "text": ...}, ...] is one text. */
static int32_t join_parts(talk *t, const dk_node *list, size_t number, dk_error *err)
{
    dk_strbuf text;
    int32_t rc = DK_OK;
    dk_strbuf_init(&text, t->encoder->host);
    for (size_t i = 0; i < list->size; i++) {
        const dk_node *part = list->items[i], *type = di_member(part, "type"), *value = di_member(part, "text");
        if (!value || value->type != DK_NODE_TEXT || (type && !dk_node_is_text(type, "text"))) {
            rc = dk_fail(err, DK_E_FORMAT,
                         "%s: message %zu: part %zu of \"content\" has type \"%.32s\"; only text is "
                         "learnt, as {\"type\": \"text\", \"text\": ...}",
                         t->place, number, i + 1, type && type->type == DK_NODE_TEXT ? type->text : "?");
            goto out;
        }
        dk_strbuf_append(&text, value->text, value->size);
    }
    DK_TRY(dk_strbuf_check(&text, err));
    if (!(t->joined[t->count] = dk_strndup(t->encoder->host, text.data ? text.data : "", text.size))) {
        rc = dk_fail_nomem(err, text.size);
        goto out;
    }
    t->messages[t->count].content = (dk_slice){t->joined[t->count], text.size};
out:
    dk_strbuf_free(&text);
    return rc;
}

static int32_t read_message(talk *t, const dk_node *node, size_t number, di_encoded *out, dk_error *err)
{
    static const char *const used[] = {"role", "content", "weight", NULL};
    const dk_node *role = di_member(node, "role"), *content = di_member(node, "content");
    const dk_node *weight = di_member(node, "weight");
    char what[48];
    int32_t rc;
    if (!node || node->type != DK_NODE_MAP)
        return dk_fail(err, DK_E_FORMAT, "%s: message %zu must be an object with role and content", t->place, number);
    snprintf(what, sizeof what, "message %zu: ", number);
    DK_TRY(di_check_keys(node, used, refused, t->place, what, out, err));
    if (!role || role->type != DK_NODE_TEXT || !content ||
        (content->type != DK_NODE_TEXT && content->type != DK_NODE_LIST))
        return dk_fail(err, DK_E_FORMAT, "%s: message %zu needs \"role\" and \"content\", both text", t->place, number);
    DK_TRY(read_role(role, t->place, number, &t->messages[t->count].role, err));
    if (weight && !dk_node_is_text(role, "assistant"))
        return dk_fail(err, DK_E_FORMAT,
                       "%s: message %zu: \"weight\" goes with assistant messages, the only ones that are learnt",
                       t->place, number);
    DK_TRY(di_read_weight(weight, t->place, what, &t->weights[t->count], err));
    if (content->type == DK_NODE_LIST) DK_TRY(join_parts(t, content, number, err));
    else t->messages[t->count].content = (dk_slice){content->text, content->size};
    t->count++;
out:
    return rc;
}

static int32_t read_list(talk *t, const dk_node *list, const char *field, di_encoded *out, dk_error *err)
{
    int32_t rc = DK_OK;
    if (list->type != DK_NODE_LIST || !list->size)
        return dk_fail(err, DK_E_FORMAT, "%s: \"%s\" must be a list of at least one message", t->place, field);
    for (size_t i = 0; i < list->size; i++) DK_TRY(read_message(t, list->items[i], i + 1, out, err));
out:
    return rc;
}

/* ---- tokens ---- */

/* What messages say is ordinary text: the special tokens of the template are put between runs of plain text. */
typedef struct runs {
    const talk *talk;
    const dk_chat *chat;
    size_t done;    /* bytes of the chat that have tokens */
    size_t open;    /* begin of the run that `done` lies in */
    int32_t behind; /* a special token stands in front of the run */
} runs;

static int32_t end_run(runs *r, size_t stop, int32_t learn, di_encoded *out, dk_error *err)
{
    uint32_t flags = DK_ENCODE_PLAIN | (r->behind ? DK_ENCODE_BEHIND : 0);
    int32_t rc = di_encode_segment(r->talk->encoder, r->chat->text.data + r->done, stop - r->done, r->done - r->open,
                                   flags, learn, out, err);
    r->done = stop;
    return rc;
}

/* The next special token of the template in [at, stop): not one that reaches into what a message says. */
static int64_t next_marker(const runs *r, size_t at, size_t stop, size_t *begin, size_t *end)
{
    const dk_chat *chat = r->chat;
    for (int64_t i = 0; i <= chat->content_count && at < stop; i++) {
        size_t limit = i < chat->content_count ? chat->contents[i].begin : chat->text.size;
        if (limit > stop) limit = stop;
        int64_t id =
            at < limit ? dk_tokenizer_next_special(r->talk->encoder->tokenizer, chat->text.data, limit, at, begin, end)
                       : -1;
        if (id >= 0) return id;
        if (i < chat->content_count && chat->contents[i].end > at) at = chat->contents[i].end;
    }
    return -1;
}

static int32_t encode_runs(runs *r, size_t stop, int32_t learn, di_encoded *out, dk_error *err)
{
    size_t begin, end;
    int64_t id;
    int32_t rc;
    while ((id = next_marker(r, r->done, stop, &begin, &end)) >= 0) {
        DK_TRY(end_run(r, begin, learn, out, err));
        DK_TRY(di_encode_id(out, id, learn, err));
        r->done = r->open = end;
        r->behind = 1;
    }
    DK_TRY(end_run(r, stop, learn, out, err));
out:
    return rc;
}

static int32_t encode_chat(const talk *t, const dk_chat *chat, di_encoded *out, dk_error *err)
{
    const int32_t plain = (t->encoder->text_flags & DK_ENCODE_PLAIN) != 0;
    runs r = {.talk = t, .chat = chat};
    size_t at = 0, before = 0;
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < chat->content_count; i++)
        di_note_special(t->encoder, chat->text.data + chat->contents[i].begin,
                        chat->contents[i].end - chat->contents[i].begin, out);
    for (int64_t i = 0; i < chat->count; i++) {
        const dk_chat_segment *segment = &chat->segments[i];
        int32_t learn = segment->has_loss || t->encoder->prompt_loss;
        int64_t first = out->count;
        if (plain) DK_TRY(encode_runs(&r, at + segment->size, learn, out, err));
        else DK_TRY(di_encode_segment(t->encoder, chat->text.data + at, segment->size, before, 0, learn, out, err));
        if (segment->has_loss) DK_TRY(di_encoded_weigh(out, first, t->weights[segment->message], err));
        at += segment->size;
        before = segment->size;
    }
out:
    return rc;
}

static int32_t create(talk *t, int64_t most, dk_error *err)
{
    dk_host *host = t->encoder->host;
    int32_t rc;
    DK_TRY(dk_new(host, most, &t->messages, err));
    DK_TRY(dk_new(host, most, &t->weights, err));
    DK_TRY(dk_new(host, most, &t->joined, err));
out:
    return rc;
}

static void destroy(talk *t)
{
    for (int64_t i = 0; t->joined && i < t->count; i++) dk_free(t->encoder->host, t->joined[i]);
    dk_free(t->encoder->host, t->joined);
    dk_free(t->encoder->host, t->weights);
    dk_free(t->encoder->host, t->messages);
}

static int32_t read_lists(talk *t, const dk_node *list, const dk_node *completion, di_encoded *out, dk_error *err)
{
    int32_t rc;
    if (list->type == DK_NODE_LIST)
        DK_TRY(create(t, (int64_t)(list->size + (completion ? completion->size : 0)) + 1, err));
    DK_TRY(read_list(t, list, completion ? "prompt" : "messages", out, err));
    if (!completion) goto out;
    for (int64_t i = 0; i < t->count && !t->encoder->prompt_loss; i++) t->weights[i] = 0;
    DK_TRY(read_list(t, completion, "completion", out, err));
out:
    return rc;
}

int32_t di_encode_talk(const di_encoder *encoder, const dk_node *list, const dk_node *completion, const char *place,
                       di_encoded *out, dk_error *err)
{
    talk t = {.encoder = encoder, .place = place};
    dk_chat chat = {0};
    int32_t rc;
    DK_TRY(read_lists(&t, list, completion, out, err));
    if (!encoder->tokenizer) goto out;
    if (encoder->chat_problem.code) {
        rc = dk_fail(err, encoder->chat_problem.code, "%s: %s", place, encoder->chat_problem.message);
        goto out;
    }
    rc = dk_chat_render(encoder->host, &encoder->chat, t.messages, t.count, &chat, err);
    if (rc != DK_OK) {
        dk_error_context(err, "%s", place);
        goto out;
    }
    DK_TRY(encode_chat(&t, &chat, out, err));
out:
    dk_chat_free(&chat);
    destroy(&t);
    return rc;
}
