/* label_answer.c - label: answer. A prompt gets a completion, a conversation that ends with a user's message the next
 * one of the assistant; with keep_logprobs beside what the teacher says of its own tokens. */
#include "augment/ask.h"
#include "augment/targets.h"

#include <string.h>

typedef struct label_answer {
    const di_step *step;
    di_asker asker;
    int64_t keep, length;
    int32_t only_matched; /* answers of which training would see other tokens are dropped */
    di_encoded scratch;
    int64_t unmatched; /* of the chunk: training learns a token of theirs that has no target */
    int32_t chat;      /* prompts are a user's words, and become conversations */
} label_answer;

static void free_state(void *state)
{
    label_answer *l = state;
    di_asker_close(&l->asker);
    di_encoded_free(&l->scratch);
    dk_free(l->step->host, l);
}

/* ---- questions ---- */

static int32_t ends_with_user(const di_record *record, int32_t *out, dk_error *err)
{
    const di_field *field = di_record_field(record, "messages");
    dk_document *document = NULL;
    int32_t rc;
    *out = 0;
    if (field->is_text) return DK_OK;
    DK_TRY(dk_json_parse(record->host, field->data, field->size, "messages", &document, err));
    const dk_node *list = dk_document_root(document),
                  *last = list->type == DK_NODE_LIST && list->size ? list->items[list->size - 1] : NULL;
    *out = dk_node_is_text(dk_node_get(last, "role"), "user");
out:
    dk_document_free(document);
    return rc;
}

static int32_t prompt_of_messages(label_answer *l, const di_record *record, di_ids *out, int32_t *what,
                                  const char **why, dk_error *err)
{
    const di_field *field = di_record_field(record, "messages");
    int32_t asks, rc;
    DK_TRY(ends_with_user(record, &asks, err));
    if (!asks) {
        *what = DI_PASSED_ON;
        *why = "labelled_already";
        return DK_OK;
    }
    if (!l->step->chat)
        DK_TRY(dk_fail(err, l->step->encoder->chat_problem.code, "%s", l->step->encoder->chat_problem.message));
    rc = di_prompt_messages(l->step, field->data, field->size, out, err);
out:
    return rc;
}

static int32_t prompt(void *state, const di_record *record, di_ids *out, int32_t *what, const char **why, dk_error *err)
{
    label_answer *l = state;
    size_t size = 0;
    const char *text = di_record_text(record, "prompt", &size);
    const di_record_kind kind = di_record_what(record);
    if (kind == DI_RECORD_MESSAGES) return prompt_of_messages(l, record, out, what, why, err);
    if (kind == DI_RECORD_PROMPT && text && l->chat) return di_prompt_user(l->step, text, size, out, err);
    if (kind == DI_RECORD_PROMPT && text) return di_prompt_text(l->step, text, size, out, err);
    *what = kind == DI_RECORD_PAIR || kind == DI_RECORD_PREFERENCE ? DI_PASSED_ON : DI_DROPPED;
    *why = *what == DI_PASSED_ON ? "labelled_already" : "no_prompt";
    return DK_OK;
}

/* ---- answers ---- */

/* The list of messages as it stands, or the prompt as the first of one, and the answer behind it. */
static int32_t add_message(di_record *child, const di_answer *answer, dk_error *err)
{
    const di_field *messages = di_record_field(child, "messages"), *prompt = di_record_field(child, "prompt");
    dk_strbuf json;
    int32_t rc;
    dk_strbuf_init(&json, child->host);
    if (messages) dk_strbuf_append(&json, messages->data, messages->size);
    else di_messages_of_user(prompt->data, prompt->size, &json);
    if (!json.failed && json.size) json.size--; /* its ] */
    dk_strbuf_puts(&json, ",{\"role\":\"assistant\",\"content\":");
    dk_strbuf_json(&json, answer->text.data, answer->text.size);
    dk_strbuf_puts(&json, "}]");
    DK_TRY(dk_strbuf_check(&json, err));
    rc = di_record_set_json(child, "messages", json.data, json.size, err);
    if (!rc && !messages) di_record_remove(child, "prompt");
out:
    dk_strbuf_free(&json);
    return rc;
}

static int32_t keep_said(const label_answer *l, di_record *child, const di_answer *answer, dk_error *err)
{
    const int64_t cells = answer->count * l->keep;
    di_kept *kept = NULL;
    int32_t rc;
    if (!l->keep) return DK_OK;
    DK_TRY(dk_new(child->host, 1, &kept, err));
    child->kept = kept;
    kept->count = answer->count;
    kept->k = l->keep;
    DK_TRY(dk_new(child->host, answer->count, &kept->ids, err));
    DK_TRY(dk_new(child->host, cells, &kept->top_ids, err));
    DK_TRY(dk_new(child->host, cells, &kept->top, err));
    memcpy(kept->ids, answer->ids, (size_t)answer->count * sizeof *kept->ids);
    memcpy(kept->top_ids, answer->top_ids, (size_t)cells * sizeof *kept->top_ids);
    memcpy(kept->top, answer->top, (size_t)cells * sizeof *kept->top);
out:
    return rc;
}

static int32_t take(void *state, di_record *child, const di_answer *answer, const char **why, dk_error *err)
{
    label_answer *l = state;
    di_matched matched;
    int32_t rc;
    if (l->chat || di_record_field(child, "messages")) DK_TRY(add_message(child, answer, err));
    else DK_TRY(di_record_set_text(child, "completion", answer->text.data, answer->text.size, err));
    DK_TRY(keep_said(l, child, answer, err));
    if (!l->keep) goto out;
    DK_TRY(di_targets_match(l->step->encoder, child, l->length, &l->scratch, &matched, err));
    if (matched.why && l->only_matched) *why = matched.why;
    else if (matched.why) l->unmatched++;
out:
    return rc;
}

static int32_t create(const di_step *step, void **state, dk_error *err)
{
    label_answer *l = NULL;
    int32_t rc;
    DK_TRY(dk_new(step->host, 1, &l, err));
    l->step = step;
    l->keep = di_options_i64(step->options, "keep_logprobs");
    l->length = di_options_i64(step->recipe, "data.sequence_length");
    l->only_matched = di_options_flag(step->options, "only_matched");
    di_encoded_init(&l->scratch, step->host);
    if (l->only_matched && !l->keep) DK_TRY(di_step_fail(step, err, "only_matched goes with keep_logprobs"));
    l->chat = di_options_flag(step->options, "chat");
    l->asker = (di_asker){.step = step, .state = l, .prompt = prompt, .take = take};
    if (l->chat && !step->chat) DK_TRY(di_step_fail(step, err, "chat: %s", step->encoder->chat_problem.message));
    DK_TRY(di_generator_create(step, l->keep, &l->asker.generator, err));
    *state = l;
    return DK_OK;
out:
    if (l) free_state(l);
    return rc;
}

static int32_t apply(void *state, di_record **in, int64_t count, di_flow *flow, dk_error *err)
{
    label_answer *l = state;
    int32_t rc = di_asker_apply(&l->asker, in, count, flow, err);
    if (!rc && l->unmatched) rc = di_flow_count(flow, "unmatched", l->unmatched, err);
    l->unmatched = 0;
    return rc;
}

static int32_t show(void *state, const di_record *record, dk_strbuf *out, dk_error *err)
{
    return di_asker_show(&((label_answer *)state)->asker, record, out, err);
}

const di_operator_functions di_label_answer = {.create = create, .free = free_state, .apply = apply, .show = show};
