/* expand_magpie.c - expand: magpie. An instruct model goes on behind the bare beginning of a user's message, and so
 * writes what its users ask (Xu et al., Magpie, 2024). Samples of a file pass. */
#include "augment/ask.h"
#include "augment/questions.h"

typedef struct expand_magpie {
    const di_step *step;
    di_asker asker;
    di_ids bare;
    int64_t makes;
} expand_magpie;

static void free_state(void *state)
{
    expand_magpie *m = state;
    di_asker_close(&m->asker);
    dk_free(m->step->host, m->bare.ids);
    dk_free(m->step->host, m);
}

static int32_t prompt(void *state, const di_record *record, di_ids *out, int32_t *what, const char **why, dk_error *err)
{
    expand_magpie *m = state;
    int32_t rc = DK_OK;
    (void)why;
    if (record->field_count) *what = DI_PASSED_ON;
    else rc = di_prompt_bare_user(m->step, out, err);
    return rc;
}

static int32_t take(void *state, di_record *child, const di_answer *answer, const char **why, dk_error *err)
{
    const dk_slice words = di_answer_words(answer);
    (void)state;
    if (!words.size) *why = "empty";
    return words.size ? di_question_set(child, words.data, words.size, err) : DK_OK;
}

static int32_t create(const di_step *step, void **state, dk_error *err)
{
    expand_magpie *m = NULL;
    int32_t rc;
    DK_TRY(dk_new(step->host, 1, &m, err));
    m->step = step;
    m->makes = di_options_i64(step->options, "n");
    m->asker = (di_asker){.step = step, .state = m, .whole_only = 1, .prompt = prompt, .take = take};
    if (!m->makes) DK_TRY(di_step_fail(step, err, "n is missing: how many samples it makes"));
    if ((rc = di_prompt_bare_user(step, &m->bare, err)))
        DK_TRY(di_step_fail(step, err, "%s", err ? err->message : "the chat template cannot be used"));
    DK_TRY(di_generator_create(step, 0, &m->asker.generator, err));
    *state = m;
    return DK_OK;
out:
    if (m) free_state(m);
    return rc;
}

static int32_t apply(void *state, di_record **in, int64_t count, di_flow *flow, dk_error *err)
{
    return di_asker_apply(&((expand_magpie *)state)->asker, in, count, flow, err);
}

static int32_t show(void *state, const di_record *record, dk_strbuf *out, dk_error *err)
{
    return di_asker_show(&((expand_magpie *)state)->asker, record, out, err);
}

static int64_t makes(void *state) { return ((expand_magpie *)state)->makes; }

const di_operator_functions di_expand_magpie = {
    .create = create, .free = free_state, .apply = apply, .makes = makes, .show = show};
