/* expand_template.c - expand: paraphrase, evol_instruct, self_instruct, persona, topic. A template asks the teacher for
 * another question or text, which takes the place of the sample's own:
 *
 *   paraphrase     the same in other words
 *   evol_instruct  a harder task (deeper) or one of the same field (broader): Xu et al., WizardLM, 2023
 *   self_instruct  one more task like some that are shown: Wang et al., Self-Instruct, 2022
 *   persona        what somebody else would ask
 *   topic          made of nothing but a topic */
#include <stdio.h>
#include <string.h>

#include "augment/ask.h"
#include "augment/questions.h"
#include "augment/template.h"
#include "augment/text_pool.h"

typedef struct recipe_of { /* what one of them is */
    const char *name;
    const char *pool; /* option with the texts that one is drawn of, and field of the template; NULL = none */
    const char *field;
    int32_t examples; /* shows some of the other samples */
} recipe_of;
static const recipe_of recipes[] = {{"paraphrase", NULL, NULL, 0},
                                    {"evol_instruct", NULL, NULL, 0},
                                    {"self_instruct", NULL, "examples", 1},
                                    {"persona", "personas", "persona", 0},
                                    {"topic", "topics", "topic", 0}};

typedef struct expand_template {
    const di_step *step;
    const recipe_of *how;
    di_asker asker;
    di_template *template;
    di_text_pool pool;
    int64_t examples, makes;
    dk_strbuf question, shown, filled;
} expand_template;

static void free_state(void *state)
{
    expand_template *e = state;
    di_asker_close(&e->asker);
    di_template_free(e->template);
    di_text_pool_close(&e->pool);
    dk_strbuf_free(&e->question);
    dk_strbuf_free(&e->shown);
    dk_strbuf_free(&e->filled);
    dk_free(e->step->host, e);
}

/* ---- questions ---- */

static void number_example(dk_strbuf *out, int64_t number, const char *text)
{
    dk_strbuf_printf(out, "%s%lld. ", number > 1 ? "\n" : "", (long long)number);
    dk_strbuf_puts(out, text);
}

/* The sample's own question, and others that are drawn, each once. */
static void show_examples(expand_template *e, const di_record *record)
{
    int64_t drawn[32], count = 0;
    number_example(&e->shown, 1, e->question.data);
    for (uint64_t k = 0; k < 64 && count + 1 < e->examples && count < 32; k++) {
        const char *text = di_text_pool_draw(&e->pool, e->step, record, k);
        int64_t at = 0, seen = !strcmp(text, e->question.data);
        while (e->pool.texts[at] != text) at++;
        for (int64_t i = 0; i < count; i++) seen |= drawn[i] == at || !strcmp(e->pool.texts[drawn[i]], text);
        if (seen) continue;
        drawn[count++] = at;
        number_example(&e->shown, count + 1, text);
    }
}

static int32_t prompt(void *state, const di_record *record, di_ids *out, int32_t *what, const char **why, dk_error *err)
{
    expand_template *e = state;
    di_template_value values[2];
    const char *missing = NULL;
    int32_t rc;
    dk_strbuf_clear(&e->question);
    dk_strbuf_clear(&e->shown);
    dk_strbuf_clear(&e->filled);
    DK_TRY(di_question_of(record, &e->question, err));
    const int32_t blank = !record->field_count;
    if (e->makes ? !blank : !e->question.size) {
        *what = e->makes || e->asker.passes_on ? DI_PASSED_ON : DI_DROPPED;
        *why = e->makes ? NULL : "no_question";
        return DK_OK;
    }
    values[0] = (di_template_value){"text", e->question.data, e->question.size};
    if (e->how->examples) show_examples(e, record);
    else if (e->how->pool) dk_strbuf_puts(&e->shown, di_text_pool_draw(&e->pool, e->step, record, 0));
    DK_TRY(dk_strbuf_check(&e->shown, err));
    values[1] = (di_template_value){e->how->field ? e->how->field : "", e->shown.data, e->shown.size};
    DK_TRY(di_template_fill(e->template, record, values, 2, &e->filled, &missing, err));
    if (missing) {
        *what = e->asker.passes_on ? DI_PASSED_ON : DI_DROPPED;
        *why = missing;
        return DK_OK;
    }
    rc = di_prompt_user(e->step, e->filled.data, e->filled.size, out, err);
out:
    return rc;
}

/* ---- answers ---- */

static int32_t take(void *state, di_record *child, const di_answer *answer, const char **why, dk_error *err)
{
    expand_template *e = state;
    const dk_slice words = di_answer_words(answer);
    int32_t rc;
    dk_strbuf_clear(&e->question);
    DK_TRY(di_question_of(child, &e->question, err));
    if (!words.size) *why = "empty";
    else if (words.size == e->question.size && !memcmp(words.data, e->question.data, words.size)) *why = "unchanged";
    else DK_TRY(di_question_set(child, words.data, words.size, err));
out:
    return rc;
}

/* ---- making one ---- */

static int32_t open_pool(expand_template *e, dk_error *err)
{
    const char *in = e->step->in, *from = di_options_text(e->step->options, "from");
    if (e->how->examples) {
        e->examples = di_options_i64(e->step->options, "examples");
        if (!from && !in) return di_step_fail(e->step, err, "from is missing: the samples that examples are of");
        return di_text_pool_of_samples(e->step, from ? from : in, &e->pool, err);
    }
    return e->how->pool ? di_text_pool_open(e->step, e->how->pool, &e->pool, err) : DK_OK;
}

static int32_t open_template(expand_template *e, dk_error *err)
{
    const char *known[3] = {"text", e->how->field, NULL}, *name = e->how->name;
    char evol[32];
    int32_t rc;
    if (!strcmp(name, "topic")) known[0] = "topic", known[1] = NULL;
    if (!strcmp(name, "evol_instruct")) {
        snprintf(evol, sizeof evol, "evol_%s", di_options_text(e->step->options, "direction"));
        name = evol;
    }
    DK_TRY(di_template_open(e->step, name, known, &e->template, err));
    e->asker.template_hash = di_template_hash(e->template);
out:
    return rc;
}

static int32_t create(const di_step *step, void **state, dk_error *err)
{
    expand_template *e = NULL;
    int32_t rc;
    DK_TRY(dk_new(step->host, 1, &e, err));
    e->step = step;
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++)
        if (!strcmp(recipes[i].name, step->name)) e->how = &recipes[i];
    dk_strbuf_init(&e->question, step->host);
    dk_strbuf_init(&e->shown, step->host);
    dk_strbuf_init(&e->filled, step->host);
    if (!strcmp(step->name, "topic")) {
        e->makes = di_options_i64(step->options, "n");
        if (!e->makes) DK_TRY(di_step_fail(step, err, "n is missing: how many samples it makes"));
    }
    e->asker = (di_asker){.step = step,
                          .state = e,
                          .whole_only = 1,
                          .passes_on = !e->makes && di_options_flag(step->options, "originals"),
                          .prompt = prompt,
                          .take = take};
    DK_TRY(open_template(e, err));
    DK_TRY(open_pool(e, err));
    DK_TRY(di_generator_create(step, 0, &e->asker.generator, err));
    *state = e;
    return DK_OK;
out:
    if (e) free_state(e);
    return rc;
}

static int32_t apply(void *state, di_record **in, int64_t count, di_flow *flow, dk_error *err)
{
    return di_asker_apply(&((expand_template *)state)->asker, in, count, flow, err);
}

static int32_t show(void *state, const di_record *record, dk_strbuf *out, dk_error *err)
{
    return di_asker_show(&((expand_template *)state)->asker, record, out, err);
}

static int64_t makes(void *state) { return ((expand_template *)state)->makes; }

const di_operator_functions di_expand_template = {
    .create = create, .free = free_state, .apply = apply, .makes = makes, .show = show};
