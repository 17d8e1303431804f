/* label_class.c - label: class. Each of some classes is scored as the answer behind the question, so that the answer is
 * always one of them, with probabilities. A prompt gets the likeliest as its completion, messages as the assistant's; a
 * text keeps its words. */
#include <string.h>

#include "augment/exchange.h"
#include "augment/prompts.h"
#include "augment/questions.h"
#include "augment/template.h"
#include "teacher/choices.h"

typedef struct label_class {
    const di_step *step;
    di_template *template; /* NULL = the question is asked as it stands */
    int32_t chat, per_token;
    const char *into;       /* field of the probabilities, and of nothing else; NULL = probabilities, and an answer */
    int64_t count, longest; /* bytes of a class, which are at least its tokens */
    const char **classes;   /* [count] of the options */
    char **spaced;          /* [count] " CLASS" */
    di_choices *plain, *behind; /* as they stand, and behind a word */
    double *log_probs, *shares; /* [count] */
    dk_strbuf names, question, filled;
    di_ids ids;
} label_class;

static void free_state(void *state)
{
    label_class *l = state;
    dk_host *host = l->step->host;
    for (int64_t i = 0; l->spaced && i < l->count; i++) dk_free(host, l->spaced[i]);
    di_choices_free(l->plain);
    di_choices_free(l->behind);
    di_template_free(l->template);
    dk_strbuf_free(&l->names);
    dk_strbuf_free(&l->question);
    dk_strbuf_free(&l->filled);
    dk_free(host, (void *)(uintptr_t)l->classes);
    dk_free(host, l->spaced);
    dk_free(host, l->log_probs);
    dk_free(host, l->shares);
    dk_free(host, l->ids.ids);
    dk_free(host, l);
}

/* ---- questions ---- */

static int32_t fill(label_class *l, const di_record *record, const char **why, dk_error *err)
{
    const di_template_value values[] = {{"text", l->question.data, l->question.size},
                                        {"classes", l->names.data, l->names.size}};
    dk_strbuf_clear(&l->filled);
    if (l->template) return di_template_fill(l->template, record, values, 2, &l->filled, why, err);
    dk_strbuf_append(&l->filled, l->question.data, l->question.size);
    return dk_strbuf_check(&l->filled, err);
}

/* Messages are asked as they stand, without an answer that they end with, unless there is a template. */
static int32_t ask_messages(label_class *l, const di_record *record, dk_error *err)
{
    const dk_error *problem = &l->step->encoder->chat_problem;
    dk_strbuf json;
    int32_t rc;
    if (!l->step->chat) return dk_fail(err, problem->code, "%s", problem->message);
    dk_strbuf_init(&json, l->step->host);
    DK_TRY(di_messages_asked(record, &json, NULL, err));
    rc = di_prompt_messages(l->step, json.data, json.size, &l->ids, err);
out:
    dk_strbuf_free(&json);
    return rc;
}

/* *why: it is not asked. *spaced: the answer stands behind a word. */
static int32_t ask(label_class *l, const di_record *record, int32_t *spaced, const char **why, dk_error *err)
{
    const di_facts facts = di_teacher_facts(l->step->teacher);
    int32_t rc;
    *why = NULL;
    *spaced = 0;
    dk_strbuf_clear(&l->question);
    l->ids.count = 0;
    *l->ids.refused = 0;
    if (!l->template && di_record_what(record) == DI_RECORD_MESSAGES) return ask_messages(l, record, err);
    DK_TRY(di_question_of(record, &l->question, err));
    if (!l->question.size) return *why = "no_question", DK_OK;
    DK_TRY(fill(l, record, why, err));
    if (*why) return DK_OK;
    *spaced = !l->chat && !memchr(" \t\n", l->filled.data[l->filled.size - 1], 3);
    l->ids.count = 0;
    DK_TRY(l->chat ? di_prompt_user(l->step, l->filled.data, l->filled.size, &l->ids, err)
                   : di_prompt_text(l->step, l->filled.data, l->filled.size, &l->ids, err));
    if (facts.context_length > 0 && l->ids.count + l->longest > facts.context_length) *why = "prompt_fills_context";
out:
    return rc;
}

/* ---- answers ---- */

static int32_t set_probabilities(const label_class *l, di_record *record, dk_error *err)
{
    dk_strbuf json;
    int32_t rc;
    dk_strbuf_init(&json, record->host);
    for (int64_t i = 0; i < l->count; i++) {
        dk_strbuf_puts(&json, i ? "," : "{");
        dk_strbuf_json(&json, l->classes[i], strlen(l->classes[i]));
        dk_strbuf_puts(&json, ":");
        dk_strbuf_f64(&json, l->shares[i]);
    }
    dk_strbuf_puts(&json, "}");
    DK_TRY(dk_strbuf_check(&json, err));
    rc = di_record_set_json(record, l->into ? l->into : "probabilities", json.data, json.size, err);
out:
    dk_strbuf_free(&json);
    return rc;
}

/* Behind messages that wait for an answer; others have one and keep it. */
static int32_t add_message(di_record *record, const char *text, dk_error *err)
{
    int32_t answered, rc;
    dk_strbuf json;
    dk_strbuf_init(&json, record->host);
    DK_TRY(di_messages_asked(record, &json, &answered, err));
    if (answered) goto out;
    if (!json.failed && json.size) json.size--; /* its ] */
    dk_strbuf_puts(&json, ",{\"role\":\"assistant\",\"content\":");
    dk_strbuf_json(&json, text, strlen(text));
    dk_strbuf_puts(&json, "}]");
    DK_TRY(dk_strbuf_check(&json, err));
    rc = di_record_set_json(record, "messages", json.data, json.size, err);
out:
    dk_strbuf_free(&json);
    return rc;
}

static int64_t likeliest(const label_class *l)
{
    int64_t best = 0;
    for (int64_t i = 1; i < l->count; i++)
        if (l->shares[i] > l->shares[best]) best = i;
    return best;
}

static int32_t label(label_class *l, di_record *record, int32_t spaced, dk_error *err)
{
    di_choices *choices = spaced ? l->behind : l->plain;
    const di_record_kind kind = di_record_what(record);
    const di_made made = {.verb = l->step->verb,
                          .name = l->step->name,
                          .teacher = l->step->teacher_hash,
                          .template_hash = l->template ? di_template_hash(l->template) : NULL,
                          .seed = l->step->seed};
    int32_t rc;
    DK_TRY(di_choices_score(choices, l->ids.ids, l->ids.count, l->log_probs, err));
    di_choices_share(l->log_probs, l->per_token ? di_choices_lengths(choices) : NULL, l->count, l->shares);
    const int64_t best = likeliest(l);
    const char *text = spaced ? l->spaced[best] : l->classes[best];
    DK_TRY(set_probabilities(l, record, err));
    rc = di_record_add_operator(record, &made, err);
    if (rc || l->into) goto out;
    if (kind == DI_RECORD_PROMPT) DK_TRY(di_record_set_text(record, "completion", text, strlen(text), err));
    if (kind == DI_RECORD_MESSAGES) DK_TRY(add_message(record, l->classes[best], err));
    rc = di_record_set_score(record, "class_probability", l->shares[best], err);
out:
    return rc;
}

static int32_t apply(void *state, di_record **in, int64_t count, di_flow *flow, dk_error *err)
{
    label_class *l = state;
    int32_t rc = DK_OK, spaced = 0;
    for (int64_t i = 0; i < count; i++) {
        const char *why;
        DK_TRY(ask(l, in[i], &spaced, &why, err));
        if (*l->ids.refused) {
            DK_TRY(di_flow_aside_because(flow, &in[i], "refused", l->ids.refused, err));
            continue;
        }
        if (why) {
            DK_TRY(di_flow_drop(flow, &in[i], why, err));
            continue;
        }
        if ((rc = label(l, in[i], spaced, err))) {
            dk_error_context(err, "sample %s", in[i]->id);
            goto out;
        }
        DK_TRY(di_flow_emit(flow, &in[i], err));
        if (dk_host_cancelled(l->step->host)) return dk_fail(err, DK_E_CANCELLED, "label class: cancelled");
    }
out:
    return rc;
}

static int32_t show(void *state, const di_record *record, dk_strbuf *out, dk_error *err)
{
    label_class *l = state;
    const char *why;
    int32_t spaced, rc = ask(l, record, &spaced, &why, err);
    if (rc || why) return rc;
    if (*l->ids.refused) return dk_strbuf_puts(out, l->ids.refused), dk_strbuf_check(out, err);
    return dk_tokenizer_decode_to(l->step->tokenizer, l->ids.ids, l->ids.count, 0, out, err);
}

/* ---- making one ---- */

static int32_t read_classes(label_class *l, dk_error *err)
{
    const di_step *step = l->step;
    const int64_t count = di_options_list_size(step->options, "classes");
    int32_t rc;
    if (count < 2) return di_step_fail(step, err, "classes is missing: a list of at least two answers");
    DK_TRY(dk_new(step->host, count, &l->classes, err));
    DK_TRY(dk_new(step->host, count, &l->spaced, err));
    DK_TRY(dk_new(step->host, count, &l->log_probs, err));
    DK_TRY(dk_new(step->host, count, &l->shares, err));
    for (; l->count < count; l->count++) {
        const int64_t i = l->count;
        const char *name = l->classes[i] = di_options_list_text(step->options, "classes", i);
        if ((int64_t)strlen(name) + 1 > l->longest) l->longest = (int64_t)strlen(name) + 1;
        if (!*name) return di_step_fail(step, err, "classes has an empty text");
        dk_strbuf_printf(&l->names, "%s%s", i ? ", " : "", name);
        if (!(l->spaced[i] = dk_alloc(step->host, strlen(name) + 2, 1))) return dk_fail_nomem(err, strlen(name) + 2);
        l->spaced[i][0] = ' ';
        memcpy(l->spaced[i] + 1, name, strlen(name) + 1);
    }
    rc = dk_strbuf_check(&l->names, err);
out:
    return rc;
}

static int32_t open_choices(const label_class *l, char *const *spaced, di_choices **out, dk_error *err)
{
    dk_slice *texts = NULL;
    int32_t rc;
    DK_TRY(dk_new(l->step->host, l->count, &texts, err));
    for (int64_t i = 0; i < l->count; i++) {
        const char *text = spaced ? spaced[i] : l->classes[i];
        texts[i] = (dk_slice){text, strlen(text)};
    }
    if ((rc = di_choices_create(l->step->teacher, texts, l->count, out, err)) && rc != DK_E_NOMEM)
        rc = di_step_fail(l->step, err, "classes: %s", err ? err->message : "they cannot be told apart");
out:
    dk_free(l->step->host, texts);
    return rc;
}

static int32_t is_taken(const char *field)
{
    static const char *const taken[] = {"id",     "text",     "prompt",     "completion", "messages",
                                        "chosen", "rejected", "provenance", NULL};
    int32_t i = 0;
    while (taken[i] && strcmp(taken[i], field) != 0) i++;
    return taken[i] != NULL;
}

static int32_t create(const di_step *step, void **state, dk_error *err)
{
    static const char *const known[] = {"text", "classes", NULL};
    label_class *l = NULL;
    int32_t rc;
    DK_TRY(dk_new(step->host, 1, &l, err));
    l->step = step;
    dk_strbuf_init(&l->names, step->host);
    dk_strbuf_init(&l->question, step->host);
    dk_strbuf_init(&l->filled, step->host);
    l->chat = di_options_flag(step->options, "chat");
    l->per_token = di_options_flag(step->options, "per_token");
    l->into = di_options_text(step->options, "into");
    if (l->into && is_taken(l->into)) DK_TRY(di_step_fail(step, err, "into: \"%s\" is what a sample says", l->into));
    if (l->chat && !step->chat) DK_TRY(di_step_fail(step, err, "chat: %s", step->encoder->chat_problem.message));
    DK_TRY(read_classes(l, err));
    if (l->chat || di_options_is_set(step->options, "template"))
        DK_TRY(di_template_open(step, "classify", known, &l->template, err));
    DK_TRY(open_choices(l, NULL, &l->plain, err));
    DK_TRY(open_choices(l, l->spaced, &l->behind, err));
    *state = l;
    return DK_OK;
out:
    if (l) free_state(l);
    return rc;
}

const di_operator_functions di_label_class = {.create = create, .free = free_state, .apply = apply, .show = show};
