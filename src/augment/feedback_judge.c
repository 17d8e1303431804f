/* feedback_judge.c - feedback: judge. The teacher is asked how good an answer is, and the score that it ends with
 * becomes score "judge" of the sample. What it says instead of a score is kept aside with the sample. */
#include <string.h>

#include "augment/curate/answers.h"
#include "augment/exchange.h"
#include "augment/generator.h"
#include "augment/template.h"

enum { NOT_ASKED = -1, TOO_LONG = -2, LACKS_FIELD = -3 }; /* places */

typedef struct feedback_judge {
    const di_step *step;
    di_template *template;
    di_generator *generator;
    double low, high;
    char low_text[32], high_text[32];
    dk_strbuf asked, answer, filled;
    di_ids ids;
} feedback_judge;

static void free_state(void *state)
{
    feedback_judge *f = state;
    di_template_free(f->template);
    di_generator_free(f->generator);
    dk_strbuf_free(&f->asked);
    dk_strbuf_free(&f->answer);
    dk_strbuf_free(&f->filled);
    dk_free(f->step->host, f->ids.ids);
    dk_free(f->step->host, f);
}

static int32_t create(const di_step *step, void **state, dk_error *err)
{
    static const char *const known[] = {"prompt", "answer", "low", "high", NULL};
    feedback_judge *f = NULL;
    int32_t rc;
    DK_TRY(dk_new(step->host, 1, &f, err));
    f->step = step;
    dk_strbuf_init(&f->asked, step->host);
    dk_strbuf_init(&f->answer, step->host);
    dk_strbuf_init(&f->filled, step->host);
    f->low = di_options_f64(step->options, "low");
    f->high = di_options_f64(step->options, "high");
    dk_format_f64(f->low, f->low_text);
    dk_format_f64(f->high, f->high_text);
    if (!(f->low < f->high)) DK_TRY(di_step_fail(step, err, "low %s is not below high %s", f->low_text, f->high_text));
    DK_TRY(di_template_open(step, "judge", known, &f->template, err));
    DK_TRY(di_generator_create(step, 0, &f->generator, err));
    *state = f;
    return DK_OK;
out:
    if (f) free_state(f);
    return rc;
}

/* *place 0: the prompt is in f->ids; else why not. */
static int32_t make_prompt(feedback_judge *f, const di_record *record, int64_t *place, dk_error *err)
{
    const char *missing = NULL;
    int32_t answered, rc;
    dk_strbuf_clear(&f->asked);
    dk_strbuf_clear(&f->answer);
    dk_strbuf_clear(&f->filled);
    f->ids.count = 0;
    *f->ids.refused = 0;
    *place = NOT_ASKED;
    DK_TRY(di_exchange_of(record, &f->asked, &f->answer, &answered, err));
    if (!answered) goto out;
    const di_template_value values[] = {{"prompt", f->asked.data ? f->asked.data : "", f->asked.size},
                                        {"answer", f->answer.data, f->answer.size},
                                        {"low", f->low_text, strlen(f->low_text)},
                                        {"high", f->high_text, strlen(f->high_text)}};
    DK_TRY(di_template_fill(f->template, record, values, 4, &f->filled, &missing, err));
    *place = missing ? LACKS_FIELD : 0;
    if (!missing) rc = di_prompt_user(f->step, f->filled.data, f->filled.size, &f->ids, err);
out:
    return rc;
}

static int32_t ask(feedback_judge *f, const di_record *record, int64_t *next, int64_t *place, dk_error *err)
{
    int32_t rc;
    DK_TRY(make_prompt(f, record, place, err));
    if (*place < 0 || *f->ids.refused) goto out;
    rc = di_generator_add(f->generator, record, &f->ids, err);
    *place = rc == DK_E_END ? TOO_LONG : (*next)++;
    if (rc == DK_E_END) {
        dk_error_clear(err);
        rc = DK_OK;
    }
out:
    return rc;
}

static int32_t take(feedback_judge *f, di_record **record, int64_t place, di_flow *flow, dk_error *err)
{
    const di_made made = {.verb = f->step->verb,
                          .name = f->step->name,
                          .teacher = f->step->teacher_hash,
                          .template_hash = di_template_hash(f->template),
                          .seed = f->step->seed};
    const di_answer *said = di_generator_answer(f->generator, place, 0);
    double score;
    int32_t rc;
    if (!di_find_score(said->text.data ? said->text.data : "", said->text.size, f->low, f->high, &score)) {
        DK_TRY(di_record_set_text(*record, "judgement", said->text.data ? said->text.data : "", said->text.size, err));
        return di_flow_aside(flow, record, "unparsed", err);
    }
    DK_TRY(di_record_set_score(*record, "judge", score, err));
    DK_TRY(di_record_add_operator(*record, &made, err));
    rc = di_flow_emit(flow, record, err);
out:
    return rc;
}

static int32_t finish(feedback_judge *f, di_record **record, int64_t place, di_flow *flow, dk_error *err)
{
    if (place >= 0) return take(f, record, place, flow, err);
    return di_flow_aside(flow, record,
                         place == TOO_LONG      ? "prompt_fills_context"
                         : place == LACKS_FIELD ? "no_such_field"
                                                : "no_answer",
                         err);
}

static int32_t apply(void *state, di_record **in, int64_t count, di_flow *flow, dk_error *err)
{
    feedback_judge *f = state;
    int64_t *places = NULL, next = 0;
    int32_t rc;
    DK_TRY(dk_new(f->step->host, count, &places, err));
    for (int64_t i = 0; i < count; i++) {
        DK_TRY(ask(f, in[i], &next, &places[i], err));
        if (*f->ids.refused) DK_TRY(di_flow_aside_because(flow, &in[i], "refused", f->ids.refused, err));
    }
    if (next) DK_TRY(di_generator_run(f->generator, flow, err));
    for (int64_t i = 0; i < count; i++)
        if (in[i]) DK_TRY(finish(f, &in[i], places[i], flow, err));
out:
    dk_free(f->step->host, places);
    return rc;
}

static int32_t show(void *state, const di_record *record, dk_strbuf *out, dk_error *err)
{
    feedback_judge *f = state;
    int64_t place;
    int32_t rc = make_prompt(f, record, &place, err);
    if (rc || place < 0) return rc;
    if (*f->ids.refused) return dk_strbuf_puts(out, f->ids.refused), dk_strbuf_check(out, err);
    return dk_tokenizer_decode_to(f->step->tokenizer, f->ids.ids, f->ids.count, 0, out, err);
}

const di_operator_functions di_feedback_judge = {.create = create, .free = free_state, .apply = apply, .show = show};
