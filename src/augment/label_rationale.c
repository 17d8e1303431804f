/* label_rationale.c - label: rationale. The teacher thinks step by step, then writes the answer on a line of its own;
 * thoughts and answer become two targets with weights of their own (Hsieh et al., Distilling Step-by-Step, 2023): two
 * messages of the assistant, each behind a user's. What has no such line is kept aside, never guessed. */
#include <string.h>

#include "augment/ask.h"
#include "augment/questions.h"
#include "augment/template.h"

typedef struct label_rationale {
    const di_step *step;
    di_asker asker;
    di_template *template;
    const char *marker, *asks; /* "Answer:", and what a user says before the answer */
    double rationale_weight, answer_weight;
    dk_strbuf question, filled;
} label_rationale;

static void free_state(void *state)
{
    label_rationale *l = state;
    di_asker_close(&l->asker);
    di_template_free(l->template);
    dk_strbuf_free(&l->question);
    dk_strbuf_free(&l->filled);
    dk_free(l->step->host, l);
}

static int32_t prompt(void *state, const di_record *record, di_ids *out, int32_t *what, const char **why, dk_error *err)
{
    label_rationale *l = state;
    const char *missing;
    int32_t rc;
    dk_strbuf_clear(&l->question);
    dk_strbuf_clear(&l->filled);
    if (di_record_what(record) != DI_RECORD_TEXT) DK_TRY(di_question_of(record, &l->question, err));
    if (!l->question.size) {
        *what = DI_DROPPED;
        *why = "no_prompt";
        return DK_OK;
    }
    const di_template_value values[] = {{"text", l->question.data, l->question.size},
                                        {"marker", l->marker, strlen(l->marker)}};
    DK_TRY(di_template_fill(l->template, record, values, 2, &l->filled, &missing, err));
    if (missing) *what = DI_DROPPED, *why = missing;
    else rc = di_prompt_user(l->step, l->filled.data, l->filled.size, out, err);
out:
    return rc;
}

static dk_slice trimmed(const char *text, size_t size)
{
    while (size && memchr(" \t\r\n", text[0], 4)) text++, size--;
    while (size && memchr(" \t\r\n", text[size - 1], 4)) size--;
    return (dk_slice){text, size};
}

/* The last line that begins with the marker: what stands before it, and behind the marker on it. */
static int32_t cut(const label_rationale *l, const di_answer *answer, dk_slice *thoughts, dk_slice *result)
{
    const char *text = answer->text.data, *found = NULL;
    const size_t size = answer->text.size, marker = strlen(l->marker);
    for (size_t at = 0; at + marker <= size;) {
        if (!memcmp(text + at, l->marker, marker)) found = text + at;
        const char *end = memchr(text + at, '\n', size - at);
        if (!end) break;
        at = (size_t)(end - text) + 1;
    }
    if (!found) return 0;
    const char *behind = found + marker, *end = memchr(behind, '\n', size - (size_t)(behind - text));
    *thoughts = trimmed(text, (size_t)(found - text));
    *result = trimmed(behind, (size_t)((end ? end : text + size) - behind));
    return thoughts->size && result->size;
}

static void add_message(dk_strbuf *out, const char *role, dk_slice content, double weight)
{
    dk_strbuf_printf(out, "%s{\"role\":\"%s\",\"content\":", out->size > 1 ? "," : "", role);
    dk_strbuf_json(out, content.data, content.size);
    if (weight != 1) dk_strbuf_puts(out, ",\"weight\":");
    if (weight != 1) dk_strbuf_f64(out, weight);
    dk_strbuf_puts(out, "}");
}

static int32_t take(void *state, di_record *child, const di_answer *answer, const char **why, dk_error *err)
{
    label_rationale *l = state;
    dk_slice thoughts, result;
    dk_strbuf json;
    int32_t rc;
    dk_strbuf_init(&json, child->host);
    dk_strbuf_clear(&l->question);
    DK_TRY(di_question_of(child, &l->question, err));
    if (!cut(l, answer, &thoughts, &result)) {
        rc = di_record_set_text(child, "said", answer->text.data, answer->text.size, err);
        *why = "no_answer_line";
        goto out;
    }
    dk_strbuf_puts(&json, "[");
    add_message(&json, "user", (dk_slice){l->question.data, l->question.size}, 1);
    add_message(&json, "assistant", thoughts, l->rationale_weight);
    add_message(&json, "user", (dk_slice){l->asks, strlen(l->asks)}, 1);
    add_message(&json, "assistant", result, l->answer_weight);
    dk_strbuf_puts(&json, "]");
    DK_TRY(dk_strbuf_check(&json, err));
    di_record_remove(child, "prompt");
    di_record_remove(child, "completion");
    rc = di_record_set_json(child, "messages", json.data, json.size, err);
out:
    dk_strbuf_free(&json);
    return rc;
}

static int32_t create(const di_step *step, void **state, dk_error *err)
{
    static const char *const known[] = {"text", "marker", NULL};
    const int32_t portuguese = di_options_is(step->options, "language", "pt");
    const char *marker = di_options_text(step->options, "marker");
    label_rationale *l = NULL;
    int32_t rc;
    DK_TRY(dk_new(step->host, 1, &l, err));
    l->step = step;
    dk_strbuf_init(&l->question, step->host);
    dk_strbuf_init(&l->filled, step->host);
    l->marker = marker ? marker : portuguese ? "Resposta:" : "Answer:";
    l->asks = portuguese ? "Qual \xc3\xa9 a resposta?" : "What is the answer?";
    l->rationale_weight = di_options_f64(step->options, "rationale_weight");
    l->answer_weight = di_options_f64(step->options, "answer_weight");
    DK_TRY(di_template_open(step, "rationale", known, &l->template, err));
    l->asker = (di_asker){.step = step,
                          .state = l,
                          .template_hash = di_template_hash(l->template),
                          .whole_only = 1,
                          .keeps_aside = 1,
                          .prompt = prompt,
                          .take = take};
    DK_TRY(di_generator_create(step, 0, &l->asker.generator, err));
    *state = l;
    return DK_OK;
out:
    if (l) free_state(l);
    return rc;
}

static int32_t apply(void *state, di_record **in, int64_t count, di_flow *flow, dk_error *err)
{
    return di_asker_apply(&((label_rationale *)state)->asker, in, count, flow, err);
}

static int32_t show(void *state, const di_record *record, dk_strbuf *out, dk_error *err)
{
    return di_asker_show(&((label_rationale *)state)->asker, record, out, err);
}

const di_operator_functions di_label_rationale = {.create = create, .free = free_state, .apply = apply, .show = show};
