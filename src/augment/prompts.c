/* prompts.c - texts and messages as ids. */
#include "augment/prompts.h"

#include <stdio.h>
#include <string.h>

static int32_t append_id(const di_step *step, int64_t id, di_ids *out, dk_error *err)
{
    if (id < 0) return DK_OK;
    if (out->count == out->capacity) {
        const int64_t capacity = out->capacity ? 2 * out->capacity : 256;
        int32_t *grown = dk_realloc(step->host, out->ids, (uint64_t)capacity, sizeof *grown);
        if (!grown) return dk_fail_nomem(err, (uint64_t)capacity * sizeof *grown);
        out->ids = grown;
        out->capacity = capacity;
    }
    out->ids[out->count++] = (int32_t)id;
    return DK_OK;
}

int32_t di_is_of_sample(int32_t rc)
{
    return rc == DK_E_FORMAT || rc == DK_E_INVALID || rc == DK_E_UNSUPPORTED || rc == DK_E_MISMATCH;
}

/* What is about the sample is said in out, and is no error of the run. */
static int32_t settle(int32_t rc, dk_error *problem, di_ids *out, dk_error *err)
{
    if (di_is_of_sample(rc)) {
        snprintf(out->refused, sizeof out->refused, "%s", problem->message);
        return DK_OK;
    }
    if (rc && err) *err = *problem;
    return rc;
}

static int32_t put_text(const di_step *step, const char *text, size_t size, di_ids *out, dk_error *err)
{
    const di_encoder *encoder = step->encoder;
    int32_t rc;
    DK_TRY(append_id(step, encoder->bos, out, err));
    rc = dk_tokenizer_append(step->tokenizer, step->host, text, size, encoder->text_flags, &out->ids, &out->capacity,
                             &out->count, err);
out:
    return rc;
}

int32_t di_prompt_text(const di_step *step, const char *text, size_t size, di_ids *out, dk_error *err)
{
    dk_error problem;
    *out->refused = 0;
    return settle(put_text(step, text, size, out, &problem), &problem, out, err);
}

/* ---- messages ---- */

/* Bytes [0, size) of the chat, of which what messages say is plain text where data.special_in_text says so. */
static int32_t encode(const di_step *step, const dk_chat *chat, size_t size, di_ids *out, dk_error *err)
{
    const int32_t plain = (step->encoder->text_flags & DK_ENCODE_PLAIN) != 0;
    int64_t spans = 0;
    while (spans < chat->content_count && chat->contents[spans].end <= size) spans++;
    const dk_marked_text text = {
        .text = chat->text, .size = size, .plain = plain ? chat->contents : NULL, .plain_count = plain ? spans : 0};
    return dk_tokenizer_append_marked(step->tokenizer, step->host, &text, &out->ids, &out->capacity, &out->count, NULL,
                                      err);
}

/* bare: what stands before the words of the first message that has some. */
static int32_t render(const di_step *step, const char *json, size_t size, int32_t bare, di_ids *out, dk_error *err)
{
    dk_document *document = NULL;
    dk_chat chat = {0};
    int32_t rc;
    DK_TRY(dk_json_parse(step->host, json, size, "messages", &document, err));
    const dk_node *list = dk_document_root(document);
    if (list->type != DK_NODE_LIST || !list->size)
        DK_TRY(dk_fail(err, DK_E_FORMAT, "\"messages\" must be a list of at least one message"));
    const dk_chat_talk talk = {
        .messages = list->items, .count = (int64_t)list->size, .prompt = !bare, .date = step->date};
    DK_TRY(dk_chat_render(step->host, step->chat, &talk, &chat, err));
    if (bare && !chat.content_count)
        DK_TRY(dk_fail(err, DK_E_UNSUPPORTED,
                       "the chat template changes what a user says: where it would begin is not "
                       "known"));
    rc = encode(step, &chat, bare ? chat.contents[chat.content_count - 1].begin : chat.size, out, err);
out:
    dk_chat_free(&chat);
    dk_document_free(document);
    return rc;
}

int32_t di_prompt_messages(const di_step *step, const char *json, size_t size, di_ids *out, dk_error *err)
{
    dk_error problem;
    *out->refused = 0;
    return settle(render(step, json, size, 0, out, &problem), &problem, out, err);
}

void di_messages_of_user(const char *text, size_t size, dk_strbuf *out)
{
    dk_strbuf_puts(out, "[{\"role\":\"user\",\"content\":");
    dk_strbuf_json(out, text, size);
    dk_strbuf_puts(out, "}]");
}

static int32_t render_user(const di_step *step, const char *text, size_t size, int32_t bare, di_ids *out, dk_error *err)
{
    dk_strbuf json;
    int32_t rc;
    dk_strbuf_init(&json, step->host);
    di_messages_of_user(text, size, &json);
    DK_TRY(dk_strbuf_check(&json, err));
    rc = render(step, json.data, json.size, bare, out, err);
out:
    dk_strbuf_free(&json);
    return rc;
}

int32_t di_prompt_user(const di_step *step, const char *text, size_t size, di_ids *out, dk_error *err)
{
    dk_error problem;
    *out->refused = 0;
    return settle(render_user(step, text, size, 0, out, &problem), &problem, out, err);
}

int32_t di_prompt_bare_user(const di_step *step, di_ids *out, dk_error *err)
{
    static const char any[] = "Hello";
    return render_user(step, any, sizeof any - 1, 1, out, err);
}
