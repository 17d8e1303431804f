/* expand_back_translation.c - expand: back_translation. A question or text goes into another language and comes back in
 * other words: two answers of the teacher, one behind the other. */
#include <string.h>

#include "augment/ask.h"
#include "augment/questions.h"
#include "augment/template.h"

typedef struct leg { /* one way */
    struct back_translation *whole;
    di_asker asker;
    const char *language; /* that it goes into */
} leg;
typedef struct back_translation {
    const di_step *step;
    leg there, back;
    di_template *template;
    dk_strbuf question, filled;
    di_flow between; /* what went into the other language */
    di_reasons none;
    int32_t originals;
} back_translation;

static void free_state(void *state)
{
    back_translation *b = state;
    dk_host *host = b->step->host;
    di_asker_close(&b->there.asker);
    di_asker_close(&b->back.asker);
    di_template_free(b->template);
    dk_strbuf_free(&b->question);
    dk_strbuf_free(&b->filled);
    di_flow_clear(&b->between);
    dk_free(host, b->between.records);
    dk_free(host, b);
}

static int32_t prompt(void *state, const di_record *record, di_ids *out, int32_t *what, const char **why, dk_error *err)
{
    const leg *l = state;
    back_translation *b = l->whole;
    const char *missing;
    int32_t rc;
    dk_strbuf_clear(&b->question);
    dk_strbuf_clear(&b->filled);
    DK_TRY(di_question_of(record, &b->question, err));
    if (!b->question.size) {
        *what = DI_DROPPED;
        *why = "no_question";
        return DK_OK;
    }
    const di_template_value values[] = {{"text", b->question.data, b->question.size},
                                        {"language", l->language, strlen(l->language)}};
    DK_TRY(di_template_fill(b->template, record, values, 2, &b->filled, &missing, err));
    if (missing) *what = DI_DROPPED, *why = missing;
    else rc = di_prompt_user(b->step, b->filled.data, b->filled.size, out, err);
out:
    return rc;
}

static int32_t take(void *state, di_record *child, const di_answer *answer, const char **why, dk_error *err)
{
    const dk_slice words = di_answer_words(answer);
    (void)state;
    if (!words.size) *why = "empty";
    return words.size ? di_question_set(child, words.data, words.size, err) : DK_OK;
}

static int32_t open_leg(back_translation *b, leg *l, const char *language, dk_error *err)
{
    l->whole = b;
    l->language = language;
    l->asker = (di_asker){.step = b->step,
                          .state = l,
                          .template_hash = di_template_hash(b->template),
                          .whole_only = 1,
                          .prompt = prompt,
                          .take = take};
    return di_generator_create(b->step, 0, &l->asker.generator, err);
}

static int32_t create(const di_step *step, void **state, dk_error *err)
{
    static const char *const known[] = {"text", "language", NULL};
    const int32_t portuguese = di_options_is(step->options, "language", "pt");
    const char *pivot = di_options_text(step->options, "pivot"), *own = di_options_text(step->options, "own");
    back_translation *b = NULL;
    int32_t rc;
    DK_TRY(dk_new(step->host, 1, &b, err));
    b->step = step;
    b->originals = di_options_flag(step->options, "originals");
    b->between.host = step->host;
    dk_strbuf_init(&b->question, step->host);
    dk_strbuf_init(&b->filled, step->host);
    DK_TRY(di_template_open(step, "translate", known, &b->template, err));
    DK_TRY(open_leg(b, &b->there, pivot ? pivot : portuguese ? "ingl\xc3\xaas" : "French", err));
    DK_TRY(open_leg(b, &b->back, own ? own : portuguese ? "portugu\xc3\xaas" : "English", err));
    di_generator_set_samples(b->back.asker.generator, 1);
    *state = b;
    return DK_OK;
out:
    if (b) free_state(b);
    return rc;
}

/* The one in the other language is no sample: what came back stands in its place. */
static int32_t step_back(di_record *record, dk_error *err)
{
    char *id = dk_strdup(record->host, di_record_parent(record));
    if (!id) return dk_fail_nomem(err, 64);
    dk_free(record->host, record->id);
    record->id = id;
    dk_free(record->host, record->parents[--record->parent_count]);
    return DK_OK;
}

static int32_t apply(void *state, di_record **in, int64_t count, di_flow *flow, dk_error *err)
{
    back_translation *b = state;
    int32_t rc;
    b->between.reasons = flow->reasons;
    b->between.aside = flow->aside;
    DK_TRY(di_asker_apply(&b->there.asker, in, count, &b->between, err));
    for (int64_t i = 0; b->originals && i < count; i++) DK_TRY(di_flow_emit(flow, &in[i], err));
    const int64_t made = flow->count;
    DK_TRY(di_asker_apply(&b->back.asker, b->between.records, b->between.count, flow, err));
    for (int64_t i = made; i < flow->count; i++) DK_TRY(step_back(flow->records[i], err));
out:
    flow->tokens += b->between.tokens;
    b->between.tokens = 0;
    di_flow_clear(&b->between);
    return rc;
}

static int32_t show(void *state, const di_record *record, dk_strbuf *out, dk_error *err)
{
    return di_asker_show(&((back_translation *)state)->there.asker, record, out, err);
}

const di_operator_functions di_expand_back_translation = {
    .create = create, .free = free_state, .apply = apply, .show = show};
