/* feedback_rank.c - feedback: rank. Of the answers to one prompt the teacher says for each two which is better, asked
 * in both orders; where it says the same twice, a sample with prompt, chosen and rejected comes out. */
#include <string.h>

#include "augment/curate/answers.h"
#include "augment/exchange.h"
#include "augment/generator.h"
#include "augment/template.h"

typedef struct match {
    int64_t a, b;     /* records */
    int64_t place[2]; /* of the question, A first and B first; -1 = it does not fit */
} match;

typedef struct feedback_rank {
    const di_step *step;
    di_template *template;
    di_generator *generator;
    dk_strbuf asked, answers[2], filled;
    di_ids ids;
    match *matches; /* [count] of the chunk */
    int64_t count, capacity, asked_count;
    int64_t answers_most; /* to one prompt that are compared */
} feedback_rank;

static void free_state(void *state)
{
    feedback_rank *f = state;
    di_template_free(f->template);
    di_generator_free(f->generator);
    dk_strbuf_free(&f->asked);
    dk_strbuf_free(&f->answers[0]);
    dk_strbuf_free(&f->answers[1]);
    dk_strbuf_free(&f->filled);
    dk_free(f->step->host, f->ids.ids);
    dk_free(f->step->host, f->matches);
    dk_free(f->step->host, f);
}

static int32_t create(const di_step *step, void **state, dk_error *err)
{
    static const char *const known[] = {"prompt", "a", "b", NULL};
    feedback_rank *f = NULL;
    int32_t rc;
    DK_TRY(dk_new(step->host, 1, &f, err));
    f->step = step;
    f->answers_most = di_options_i64(step->options, "answers");
    dk_strbuf_init(&f->asked, step->host);
    dk_strbuf_init(&f->answers[0], step->host);
    dk_strbuf_init(&f->answers[1], step->host);
    dk_strbuf_init(&f->filled, step->host);
    DK_TRY(di_template_open(step, "rank", known, &f->template, err));
    DK_TRY(di_generator_create(step, 0, &f->generator, err));
    *state = f;
    return DK_OK;
out:
    if (f) free_state(f);
    return rc;
}

/* ---- questions ---- */

/* The words of both go into f->answers; *fits 0 = they cannot be compared, and why is counted. */
static int32_t read_two(feedback_rank *f, const di_record *a, const di_record *b, int32_t *fits, const char **why,
                        dk_error *err)
{
    int32_t first, second, rc;
    dk_strbuf_clear(&f->answers[0]);
    dk_strbuf_clear(&f->answers[1]);
    dk_strbuf_clear(&f->asked);
    *fits = 0;
    *why = "no_answer";
    DK_TRY(di_exchange_of(b, &f->asked, &f->answers[1], &second, err));
    dk_strbuf_clear(&f->asked);
    DK_TRY(di_exchange_of(a, &f->asked, &f->answers[0], &first, err));
    if (!first || !second) goto out;
    *why = "same_answer";
    *fits = f->answers[0].size != f->answers[1].size ||
            memcmp(f->answers[0].data, f->answers[1].data, f->answers[0].size) != 0;
out:
    return rc;
}

static int32_t make_prompt(feedback_rank *f, const di_record *record, int32_t turned, const char **missing,
                           dk_error *err)
{
    const dk_strbuf *first = &f->answers[turned], *second = &f->answers[!turned];
    const di_template_value values[] = {{"prompt", f->asked.data ? f->asked.data : "", f->asked.size},
                                        {"a", first->data, first->size},
                                        {"b", second->data, second->size}};
    int32_t rc;
    dk_strbuf_clear(&f->filled);
    f->ids.count = 0;
    *f->ids.refused = 0;
    DK_TRY(di_template_fill(f->template, record, values, 3, &f->filled, missing, err));
    if (!*missing) rc = di_prompt_user(f->step, f->filled.data, f->filled.size, &f->ids, err);
out:
    return rc;
}

static int32_t ask(feedback_rank *f, const di_record *record, int32_t turned, int64_t *place, const char **why,
                   dk_error *err)
{
    int32_t rc;
    *place = -1;
    DK_TRY(make_prompt(f, record, turned, why, err));
    if (!*why && *f->ids.refused) *why = "refused";
    if (*why) goto out;
    rc = di_generator_add(f->generator, record, &f->ids, err);
    if (!rc) *place = f->asked_count++;
    if (rc != DK_E_END) goto out;
    dk_error_clear(err);
    *why = "prompt_fills_context";
    rc = DK_OK;
out:
    return rc;
}

static int32_t make_room(feedback_rank *f, dk_error *err)
{
    if (f->count < f->capacity) return DK_OK;
    const int64_t capacity = f->capacity ? 2 * f->capacity : 64;
    match *grown = dk_realloc(f->step->host, f->matches, (uint64_t)capacity, sizeof *grown);
    if (!grown) return dk_fail_nomem(err, (uint64_t)capacity * sizeof *grown);
    f->matches = grown;
    f->capacity = capacity;
    return DK_OK;
}

static int32_t add_match(feedback_rank *f, di_record *const *in, int64_t a, int64_t b, di_flow *flow, dk_error *err)
{
    match next = {a, b, {-1, -1}};
    const char *why = NULL;
    int32_t fits, rc;
    DK_TRY(make_room(f, err));
    DK_TRY(read_two(f, in[a], in[b], &fits, &why, err));
    if (!fits) return di_flow_count(flow, why, 1, err);
    for (int32_t turned = 0; turned < 2; turned++) {
        why = NULL;
        DK_TRY(ask(f, in[a], turned, &next.place[turned], &why, err));
        if (why) return di_flow_count(flow, why, 1, err); /* the other order is as long */
    }
    f->matches[f->count++] = next;
out:
    return rc;
}

static int32_t are_siblings(const di_record *a, const di_record *b)
{
    const char *first = di_record_parent(a), *second = di_record_parent(b);
    return first && second && !strcmp(first, second);
}

/* Record b against the siblings in front of it. */
static int32_t add_matches_of(feedback_rank *f, di_record *const *in, int64_t count, int64_t b, di_flow *flow,
                              dk_error *err)
{
    int64_t before = 0, behind = 0;
    int32_t rc = DK_OK;
    for (int64_t a = 0; a < b; a++) before += are_siblings(in[a], in[b]);
    for (int64_t i = b + 1; i < count && !before && !behind; i++) behind += are_siblings(in[i], in[b]);
    if (!before && !behind) return di_flow_count(flow, "no_other_answer", 1, err);
    if (before >= f->answers_most) return di_flow_count(flow, "not_compared", 1, err);
    for (int64_t a = 0; a < b; a++)
        if (are_siblings(in[a], in[b])) DK_TRY(add_match(f, in, a, b, flow, err));
out:
    return rc;
}

/* ---- verdicts ---- */

static di_verdict verdict_at(const feedback_rank *f, int64_t place)
{
    const di_answer *said = di_generator_answer(f->generator, place, 0);
    return di_find_verdict(said->text.data ? said->text.data : "", said->text.size);
}

static int32_t make_pair(feedback_rank *f, const di_record *better, const di_record *worse, int64_t number,
                         di_flow *flow, dk_error *err)
{
    const di_made made = {.verb = f->step->verb,
                          .name = f->step->name,
                          .teacher = f->step->teacher_hash,
                          .template_hash = di_template_hash(f->template),
                          .seed = f->step->seed};
    di_record *pair = NULL;
    int32_t rc;
    DK_TRY(di_record_child(better, f->step->number, number, &pair, err));
    DK_TRY(di_exchange_pair(pair, worse, err));
    DK_TRY(di_record_add_operator(pair, &made, err));
    return di_flow_emit(flow, &pair, err);
out:
    di_record_free(pair);
    return rc;
}

/* What was said of the two is kept aside with them. */
static int32_t put_aside(feedback_rank *f, const match *m, di_record *const *in, int64_t number, di_flow *flow,
                         dk_error *err)
{
    di_record *pair = NULL;
    int32_t rc;
    DK_TRY(di_record_child(in[m->a], f->step->number, number, &pair, err));
    DK_TRY(di_exchange_pair(pair, in[m->b], err));
    for (int32_t turned = 0; turned < 2; turned++) {
        const di_answer *said = di_generator_answer(f->generator, m->place[turned], 0);
        DK_TRY(di_record_set_text(pair, turned ? "judgement_turned" : "judgement",
                                  said->text.data ? said->text.data : "", said->text.size, err));
    }
    return di_flow_aside(flow, &pair, "unparsed", err);
out:
    di_record_free(pair);
    return rc;
}

static int32_t settle_match(feedback_rank *f, const match *m, di_record *const *in, int64_t number, di_flow *flow,
                            dk_error *err)
{
    const di_verdict first = verdict_at(f, m->place[0]), second = verdict_at(f, m->place[1]);
    if (first == DI_VERDICT_NONE || second == DI_VERDICT_NONE) return put_aside(f, m, in, number, flow, err);
    if (first == DI_VERDICT_TIE && second == DI_VERDICT_TIE) return di_flow_count(flow, "tied", 1, err);
    if (first == DI_VERDICT_A && second == DI_VERDICT_B) return make_pair(f, in[m->a], in[m->b], number, flow, err);
    if (first == DI_VERDICT_B && second == DI_VERDICT_A) return make_pair(f, in[m->b], in[m->a], number, flow, err);
    return di_flow_count(flow, "hangs_on_order", 1, err);
}

static int32_t apply(void *state, di_record **in, int64_t count, di_flow *flow, dk_error *err)
{
    feedback_rank *f = state;
    int32_t rc = DK_OK;
    f->count = f->asked_count = 0;
    for (int64_t b = 0; b < count; b++) DK_TRY(add_matches_of(f, in, count, b, flow, err));
    if (f->asked_count) DK_TRY(di_generator_run(f->generator, flow, err));
    for (int64_t i = 0, number = 0; i < f->count; i++, number++) {
        if (i && strcmp(di_record_parent(in[f->matches[i].a]), di_record_parent(in[f->matches[i - 1].a])) != 0)
            number = 0;
        DK_TRY(settle_match(f, &f->matches[i], in, number, flow, err));
    }
out:
    return rc;
}

const di_operator_functions di_feedback_rank = {.create = create, .free = free_state, .apply = apply};
