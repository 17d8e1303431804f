/* talk.c - a list of messages becomes tokens, as the chat template says. */
#include <stdio.h>
#include <string.h>

#include "dataset/sample.h"

typedef struct talk {
    const di_encoder *encoder;
    const char *place;
    const dk_node **messages; /* [count] */
    double *weights;          /* [count] of an answer */
    uint8_t *wanted;          /* [count] answers whose tokens are looked for */
    int64_t count;
} talk;

/* Keys that mean something where the chat template reads them, else are refused. */
static const di_key rendered[] = {
    {"name", "write it into the content"},
    {"tool_calls", "write the call into the content, as the template would"},
    {"function_call", "write the call into the content, as the template would"},
    {"tool_call_id", "write the result into the content, as the template would"},
    {"tools", "write them into a system message, as the template would"},
    {"thinking", "write it into the content, as the template would"},
    {"reasoning", "write it into the content, as the template would"},
    {"reasoning_content", "write it into the content, as the template would"},
    {"channel", "write it into the content, as the template would"},
    {"recipient", "write it into the content, as the template would"},
    {NULL, NULL},
};
static const di_key refused[] = {
    {"refusal", "write it into the content"},
    {"images", "only text is learnt"},
    {"image", "only text is learnt"},
    {"audio", "only text is learnt"},
    {"prefix", "give the conversation as prompt and completion"},
    {"loss", "set \"weight\" to 0 or more"},
    {"loss_weight", "call it \"weight\""},
    {"mask", "set \"weight\" to 0 or more"},
    {"train", "set \"weight\" to 0 or more"},
    {"training", "set \"weight\" to 0 or more"},
    {"trainable", "set \"weight\" to 0 or more"},
    {"learn", "set \"weight\" to 0 or more"},
    {NULL, NULL},
};

/* Without a tokenizer there is no template that could be asked. */
static int32_t reads(const di_encoder *encoder, const char *key)
{
    if (!encoder->tokenizer) return 1;
    return encoder->chat && dk_chat_reads_key(encoder->chat, key);
}

int32_t di_check_talk(const di_encoder *encoder, const dk_node *sample, const char *place, dk_error *err)
{
    static const char way[] = "changes what is learnt and is not supported: the chat template does not read it";
    const dk_node *tools = di_member(sample, "tools"), *variables = di_member(sample, "chat_template_kwargs");
    const dk_node *prompt = di_member(sample, "prompt"), *chosen = di_member(sample, "chosen");
    const int32_t talks = di_member(sample, "messages") || (prompt && prompt->type == DK_NODE_LIST) ||
                          (chosen && chosen->type == DK_NODE_LIST);
    if (tools && tools->size && (!talks || !reads(encoder, "tools")))
        return dk_fail(err, DK_E_FORMAT, "%s: \"tools\" %s", place, way);
    if (tools && tools->type != DK_NODE_LIST)
        return dk_fail(err, DK_E_FORMAT, "%s: \"tools\" must be a list of tools", place);
    if (variables && variables->type != DK_NODE_MAP)
        return dk_fail(err, DK_E_FORMAT, "%s: \"chat_template_kwargs\" must be an object", place);
    for (size_t i = 0; variables && i < variables->size; i++)
        if (!talks || !reads(encoder, variables->items[i]->key))
            return dk_fail(err, DK_E_FORMAT, "%s: \"chat_template_kwargs\": \"%.40s\" %s", place,
                           variables->items[i]->key, way);
    return DK_OK;
}

/* ---- reading ---- */

static int32_t check_role(const di_encoder *encoder, const dk_node *role, const char *place, size_t number,
                          dk_error *err)
{
    static const char *const known[] = {"system", "user", "assistant"};
    const char *way = "";
    for (int i = 0; i < 3; i++)
        if (dk_node_is_text(role, known[i])) return DK_OK;
    if (role->size && strlen(role->text) == role->size && reads(encoder, role->text)) return DK_OK;
    if (dk_node_is_text(role, "developer")) way = ": call it system";
    if (dk_node_is_text(role, "tool") || dk_node_is_text(role, "function"))
        way = ": render the conversation yourself and give it as prompt and completion";
    return dk_fail(err, DK_E_FORMAT,
                   "%s: message %zu has the role \"%.32s\", which the chat template does not read; known are system, "
                   "user and assistant%s",
                   place, number, role->text, way);
}

/* [{"type": "text", "text": ...}, ...] */
static int32_t check_parts(const dk_node *list, const char *place, size_t number, dk_error *err)
{
    for (size_t i = 0; i < list->size; i++) {
        const dk_node *part = list->items[i], *type = di_member(part, "type"), *value = di_member(part, "text");
        if (!value || value->type != DK_NODE_TEXT || (type && !dk_node_is_text(type, "text")))
            return dk_fail(err, DK_E_FORMAT,
                           "%s: message %zu: part %zu of \"content\" has type \"%.32s\"; only text is "
                           "learnt, as {\"type\": \"text\", \"text\": ...}",
                           place, number, i + 1, type && type->type == DK_NODE_TEXT ? type->text : "?");
    }
    return DK_OK;
}

static int32_t check_keys(const talk *t, const dk_node *node, const char *what, di_encoded *out, dk_error *err)
{
    const char *used[16] = {"role", "content", "weight"};
    di_key others[32];
    size_t use = 3, count = 0;
    for (const di_key *key = rendered; key->name; key++)
        if (reads(t->encoder, key->name)) used[use++] = key->name;
        else others[count++] = *key;
    for (const di_key *key = refused; key->name; key++) others[count++] = *key;
    used[use] = NULL;
    others[count] = (di_key){NULL, NULL};
    return di_check_keys(node, used, others, t->place, what, out, err);
}

/* A call or a thought may stand without content. */
static int32_t check_content(const talk *t, const dk_node *node, size_t number, dk_error *err)
{
    const dk_node *role = di_member(node, "role"), *content = di_member(node, "content");
    const int32_t calls = di_member(node, "tool_calls") && reads(t->encoder, "tool_calls");
    if (!role || role->type != DK_NODE_TEXT || (!content && !calls) ||
        (content && content->type != DK_NODE_TEXT && content->type != DK_NODE_LIST))
        return dk_fail(err, DK_E_FORMAT, "%s: message %zu needs \"role\" and \"content\", both text", t->place, number);
    if (content && content->type == DK_NODE_LIST) return check_parts(content, t->place, number, err);
    return DK_OK;
}

static int32_t read_message(talk *t, const dk_node *node, size_t number, di_encoded *out, dk_error *err)
{
    const dk_node *role = di_member(node, "role"), *weight = di_member(node, "weight");
    char what[48];
    int32_t rc;
    if (!node || node->type != DK_NODE_MAP)
        return dk_fail(err, DK_E_FORMAT, "%s: message %zu must be an object with role and content", t->place, number);
    snprintf(what, sizeof what, "message %zu: ", number);
    DK_TRY(check_keys(t, node, what, out, err));
    DK_TRY(check_content(t, node, number, err));
    DK_TRY(check_role(t->encoder, role, t->place, number, err));
    if (weight && !dk_node_is_text(role, "assistant"))
        return dk_fail(err, DK_E_FORMAT,
                       "%s: message %zu: \"weight\" goes with assistant messages, the only ones that are learnt",
                       t->place, number);
    DK_TRY(di_read_weight(weight, t->place, what, &t->weights[t->count], err));
    t->messages[t->count++] = node;
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

static int32_t append(const dk_chat_answer *answer, const talk *t, const int32_t *ids, int64_t count, di_encoded *out,
                      dk_error *err)
{
    const int64_t first = out->count;
    int32_t rc = di_encoded_append(out, ids, count, answer || t->encoder->prompt_loss, err);
    return rc || !answer ? rc : di_encoded_weigh(out, first, t->weights[answer->message], err);
}

/* ids [count] of the whole text; those of each answer lie in [places[2i], places[2i + 1]). */
static int32_t append_all(const talk *t, const dk_chat_answer *answers, int64_t answer_count, const int64_t *places,
                          const int32_t *ids, int64_t count, di_encoded *out, dk_error *err)
{
    int64_t done = 0;
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < answer_count; i++) {
        const int64_t begin = places[2 * i] > done ? places[2 * i] : done;
        if (places[2 * i + 1] <= begin) continue;
        DK_TRY(append(NULL, t, ids + done, begin - done, out, err));
        DK_TRY(append(&answers[i], t, ids + begin, places[2 * i + 1] - begin, out, err));
        done = places[2 * i + 1];
    }
    rc = append(NULL, t, ids + done, count - done, out, err);
out:
    return rc;
}

static int32_t encode_chat(const talk *t, const dk_chat *chat, const dk_chat_answer *answers, int64_t answer_count,
                           di_encoded *out, dk_error *err)
{
    const di_encoder *encoder = t->encoder;
    const int32_t plain = (encoder->text_flags & DK_ENCODE_PLAIN) != 0;
    dk_text_span *spans = NULL;
    int64_t *places = NULL, count = 0;
    int32_t rc;
    DK_TRY(dk_new(encoder->host, answer_count + 1, &spans, err));
    DK_TRY(dk_new(encoder->host, 2 * answer_count + 1, &places, err));
    for (int64_t i = 0; i < answer_count; i++) spans[i] = answers[i].span;
    for (int64_t i = 0; i < chat->content_count; i++)
        di_note_special(encoder, chat->text + chat->contents[i].begin, chat->contents[i].end - chat->contents[i].begin,
                        out);
    const dk_marked_text text = {
        chat->text, chat->size, plain ? chat->contents : NULL, plain ? chat->content_count : 0, spans, answer_count};
    DK_TRY(dk_tokenizer_append_marked(encoder->tokenizer, out->host, &text, &out->scratch, &out->scratch_capacity,
                                      &count, places, err));
    rc = append_all(t, answers, answer_count, places, out->scratch, count, out, err);
out:
    dk_free(encoder->host, spans);
    dk_free(encoder->host, places);
    return rc;
}

static void note_absent(const dk_chat *chat, di_encoded *out)
{
    if (chat->absent_count && !out->notes.absent) {
        out->notes.absent_number = out->number;
        out->notes.absent_message = chat->absent;
    }
    out->notes.absent += chat->absent_count;
}

static int32_t render(const talk *t, const dk_node *sample, di_encoded *out, dk_error *err)
{
    const di_encoder *encoder = t->encoder;
    const dk_chat_talk given = {.messages = t->messages,
                                .count = t->count,
                                .tools = di_member(sample, "tools"),
                                .variables = di_member(sample, "chat_template_kwargs"),
                                .date = &encoder->date};
    dk_chat_answer *answers = NULL;
    int64_t answer_count = 0;
    dk_chat chat = {0};
    int32_t rc;
    DK_TRY(dk_chat_render(encoder->host, encoder->chat, &given, &chat, err));
    DK_TRY(dk_chat_learnt(encoder->host, encoder->chat, &given, &chat, t->wanted, &answers, &answer_count, err));
    note_absent(&chat, out);
    rc = encode_chat(t, &chat, answers, answer_count, out, err);
out:
    dk_free(encoder->host, answers);
    dk_chat_free(&chat);
    return rc;
}

static int32_t create(talk *t, int64_t most, dk_error *err)
{
    dk_host *host = t->encoder->host;
    int32_t rc;
    DK_TRY(dk_new(host, most, &t->messages, err));
    DK_TRY(dk_new(host, most, &t->weights, err));
    DK_TRY(dk_new(host, most, &t->wanted, err));
out:
    return rc;
}

static void destroy(talk *t)
{
    dk_free(t->encoder->host, t->wanted);
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

/* An answer that is learnt anyway needs no search, unless it weighs more or less than the rest. */
static void choose_wanted(talk *t)
{
    for (int64_t i = 0; i < t->count; i++)
        t->wanted[i] = t->encoder->prompt_loss ? t->weights[i] != 1 : t->weights[i] != 0;
}

int32_t di_encode_talk(const di_encoder *encoder, const dk_node *sample, const dk_node *list, const dk_node *completion,
                       const char *place, di_encoded *out, dk_error *err)
{
    talk t = {.encoder = encoder, .place = place};
    int32_t rc;
    DK_TRY(read_lists(&t, list, completion, out, err));
    if (!encoder->tokenizer) goto out;
    if (!encoder->chat) {
        rc = dk_fail(err, encoder->chat_problem.code, "%s: %s", place, encoder->chat_problem.message);
        goto out;
    }
    choose_wanted(&t);
    rc = render(&t, sample, out, err);
    if (rc) dk_error_context(err, "%s", place);
out:
    destroy(&t);
    return rc;
}
