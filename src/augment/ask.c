/* ask.c - samples are asked about in one batch, and what comes of it. */
#include "augment/ask.h"

#include <string.h>

void di_asker_close(di_asker *a)
{
    di_generator_free(a->generator);
    if (!a->step) return;
    dk_free(a->step->host, a->ids.ids);
    dk_free(a->step->host, a->prompts);
}

static int32_t make_room(di_asker *a, int64_t count, dk_error *err)
{
    if (count <= a->prompt_capacity) return DK_OK;
    int64_t *grown = dk_realloc(a->step->host, a->prompts, (uint64_t)count, sizeof *grown);
    if (!grown) return dk_fail_nomem(err, (uint64_t)count * sizeof *grown);
    a->prompts = grown;
    a->prompt_capacity = count;
    return DK_OK;
}

static int32_t prompt_of(di_asker *a, const di_record *record, int32_t *what, const char **why, dk_error *err)
{
    *what = DI_ASKED;
    *why = NULL;
    a->ids.count = 0;
    *a->ids.refused = 0;
    const int32_t rc = a->prompt(a->state, record, &a->ids, what, why, err);
    if (rc) dk_error_context(err, "sample %s", record->id);
    return rc;
}

/* What is not asked goes on or is dropped at its turn, so that the order stays. */
static int32_t add(di_asker *a, di_record *record, int64_t *next, int64_t *place, const char **why, dk_error *err)
{
    int32_t what, rc = prompt_of(a, record, &what, why, err);
    if (rc) return rc;
    *place = what == DI_PASSED_ON ? -1 : -2;
    if (what != DI_ASKED) return DK_OK;
    if (*a->ids.refused) {
        *why = "refused";
        if (a->passes_on) *place = -1;
        return DK_OK;
    }
    if (a->ids.count) {
        rc = di_generator_add(a->generator, record, &a->ids, err);
        if (!rc) *place = (*next)++;
        if (rc != DK_E_END) return rc;
    }
    *why = a->ids.count ? "prompt_fills_context" : "empty_prompt";
    if (a->passes_on) *place = -1;
    return DK_OK;
}

static int32_t make_child(di_asker *a, const di_record *record, int64_t prompt, int64_t sample, di_flow *flow,
                          dk_error *err)
{
    const di_answer *answer = di_generator_answer(a->generator, prompt, sample);
    const char *why = di_answer_problem(answer);
    const di_made made = {.verb = a->step->verb,
                          .name = a->step->name,
                          .teacher = a->step->teacher_hash,
                          .template_hash = a->template_hash,
                          .seed = a->step->seed};
    di_record *child = NULL;
    dk_error problem;
    int32_t rc;
    if (why) return di_flow_count(flow, why, 1, err);
    if (answer->finished == 2) DK_TRY(di_flow_count(flow, "cut", 1, err));
    if (answer->finished == 2 && a->whole_only) return DK_OK;
    DK_TRY(di_record_child(record, a->step->number, sample, &child, err));
    rc = a->take(a->state, child, answer, &why, &problem);
    if (di_is_of_sample(rc)) return di_flow_aside_because(flow, &child, "refused", problem.message, err);
    if (rc && err) *err = problem;
    DK_TRY(rc);
    if (why) return (a->keeps_aside ? di_flow_aside : di_flow_drop)(flow, &child, why, err);
    DK_TRY(di_record_add_operator(child, &made, err));
    return di_flow_emit(flow, &child, err);
out:
    di_record_free(child);
    return rc;
}

static int32_t finish(di_asker *a, di_record **record, int64_t prompt, di_flow *flow, dk_error *err)
{
    di_record *asked = *record;
    const int64_t samples = di_generator_samples(a->generator);
    int32_t rc = DK_OK;
    if (prompt == -1) return di_flow_emit(flow, record, err);
    if (prompt < 0) return DK_OK; /* counted already */
    if (a->passes_on) DK_TRY(di_flow_emit(flow, record, err));
    for (int64_t s = 0; s < samples; s++) DK_TRY(make_child(a, asked, prompt, s, flow, err));
out:
    return rc;
}

int32_t di_asker_apply(di_asker *a, di_record **in, int64_t count, di_flow *flow, dk_error *err)
{
    int64_t next = 0;
    int32_t rc;
    DK_TRY(make_room(a, count, err));
    for (int64_t i = 0; i < count; i++) {
        const char *why = NULL;
        DK_TRY(add(a, in[i], &next, &a->prompts[i], &why, err));
        if (why && *a->ids.refused && !a->passes_on)
            DK_TRY(di_flow_aside_because(flow, &in[i], why, a->ids.refused, err));
        else if (why) DK_TRY(di_flow_count(flow, why, 1, err));
    }
    if (next) DK_TRY(di_generator_run(a->generator, flow, err));
    for (int64_t i = 0; i < count; i++) DK_TRY(finish(a, &in[i], a->prompts[i], flow, err));
out:
    return rc;
}

int32_t di_asker_show(di_asker *a, const di_record *record, dk_strbuf *out, dk_error *err)
{
    const char *why;
    int32_t what, rc = prompt_of(a, record, &what, &why, err);
    if (rc || what != DI_ASKED) return rc;
    if (*a->ids.refused) return dk_strbuf_puts(out, a->ids.refused), dk_strbuf_check(out, err);
    return dk_tokenizer_decode_to(a->step->tokenizer, a->ids.ids, a->ids.count, 0, out, err);
}
