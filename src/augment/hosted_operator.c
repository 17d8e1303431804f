/* hosted_operator.c - an operator that the host added: samples go to it as JSON, and what it emits comes back. */
#include "augment/operator.h"

#include <string.h>

typedef struct hosted {
    const di_step *step;
    dk_strbuf line; /* of the sample under work */
    /* while it is applied */
    di_record **record;
    di_flow *flow;
    dk_error error;
    int32_t rc;
    int64_t emitted, same; /* of one sample; with its id */
} hosted;

static void free_state(void *state)
{
    hosted *h = state;
    dk_strbuf_free(&h->line);
    dk_free(h->step->host, h);
}

static int32_t create(const di_step *step, void **state, dk_error *err)
{
    hosted *h = NULL;
    const int32_t rc = dk_new(step->host, 1, &h, err);
    if (rc) return rc;
    h->step = step;
    dk_strbuf_init(&h->line, step->host);
    *state = h;
    return DK_OK;
}

static int32_t copy_fields(di_record *to, const di_record *from, dk_error *err)
{
    int32_t rc = DK_OK;
    while (to->field_count) di_record_remove(to, to->fields[0].key);
    for (int64_t i = 0; i < from->field_count; i++) {
        const di_field *field = &from->fields[i];
        DK_TRY(field->is_text ? di_record_set_text(to, field->key, field->data, field->size, err)
                              : di_record_set_json(to, field->key, field->data, field->size, err));
    }
out:
    return rc;
}

/* The fields of what was emitted, in a sample that came of the one that was given. */
static int32_t make_child(hosted *h, const di_record *given, di_record **out, dk_error *err)
{
    di_record *child = NULL;
    int32_t rc;
    DK_TRY(di_record_child(*h->record, h->step->number, h->emitted, &child, err));
    DK_TRY(copy_fields(child, given, err));
    for (int64_t i = 0; i < given->score_count; i++)
        DK_TRY(di_record_set_score(child, given->scores[i].name, given->scores[i].value, err));
    *out = child;
    child = NULL;
out:
    di_record_free(child);
    return rc;
}

static int32_t parse(const hosted *h, const distill_sample *sample, di_record **out, dk_error *err)
{
    int32_t rc;
    if (sample->kind == DISTILL_SAMPLE_JSON) {
        rc = di_record_parse(h->step->host, sample->text, (size_t)sample->size, "what it emitted", "", out, err);
        if (!rc && (*out)->kept)
            return dk_fail(err, DK_E_FORMAT, "what it emitted has \"kept\" in its provenance, which is not its own");
        if (!rc && di_record_what(*out) == DI_RECORD_OTHER)
            return dk_fail(err, DK_E_FORMAT,
                           "what it emitted has none of text, prompt, messages, or chosen and rejected");
        return rc;
    }
    if (sample->kind != DISTILL_SAMPLE_TEXT)
        return dk_fail(err, DK_E_INVALID, "what it emitted is of kind %d, neither TEXT nor JSON", (int)sample->kind);
    DK_TRY(di_record_create(h->step->host, "", out, err));
    rc = di_record_set_text(*out, "text", sample->text, (size_t)sample->size, err);
out:
    return rc;
}

/* Do both lines say the same? A host may write numbers and spaces in its own way. */
static int32_t says_same(const hosted *h, const dk_strbuf *line, int32_t *same, dk_error *err)
{
    const dk_strbuf *lines[2] = {&h->line, line};
    dk_document *document = NULL;
    dk_strbuf plain[2];
    int32_t rc = DK_OK;
    for (int i = 0; i < 2; i++) dk_strbuf_init(&plain[i], h->step->host);
    for (int i = 0; i < 2; i++) {
        DK_TRY(dk_json_parse(h->step->host, lines[i]->data, lines[i]->size, "a sample", &document, err));
        dk_node_write_json(dk_document_root(document), &plain[i]);
        dk_document_free(document);
        document = NULL;
        DK_TRY(dk_strbuf_check(&plain[i], err));
    }
    *same = plain[0].size == plain[1].size && memcmp(plain[0].data, plain[1].data, plain[0].size) == 0;
out:
    for (int i = 0; i < 2; i++) dk_strbuf_free(&plain[i]);
    return rc;
}

/* What comes back with the id of the sample is that sample, in other words or as it was; else it came of it. */
static int32_t take(hosted *h, const distill_sample *sample, dk_error *err)
{
    const di_made made = {.verb = h->step->verb, .name = h->step->name, .seed = h->step->seed};
    di_record *given = NULL, *made_of = NULL;
    dk_strbuf line;
    int32_t rc, same = 0;
    dk_strbuf_init(&line, h->step->host);
    DK_TRY(parse(h, sample, &given, err));
    if (!strcmp(given->id, (*h->record)->id)) {
        if (h->same++) DK_TRY(dk_fail(err, DK_E_INVALID, "it emitted the id of the sample twice, and ids must differ"));
        if (!given->parent_count && !given->operators.size && !given->score_count) /* it said words alone */
            DK_TRY(di_record_inherit(given, *h->record, err));
        given->generation = (*h->record)->generation;
        di_record_write(given, 0, &line);
        DK_TRY(dk_strbuf_check(&line, err));
        DK_TRY(says_same(h, &line, &same, err));
        made_of = given;
        given = NULL;
        if (same) { /* with what was kept of its words, and as it was written */
            DK_TRY(copy_fields(made_of, *h->record, err));
            made_of->kept = (*h->record)->kept;
            (*h->record)->kept = NULL;
        }
    } else DK_TRY(make_child(h, given, &made_of, err));
    if (!same) DK_TRY(di_record_add_operator(made_of, &made, err));
    h->emitted++;
    rc = di_flow_emit(h->flow, &made_of, err);
out:
    dk_strbuf_free(&line);
    di_record_free(made_of);
    di_record_free(given);
    return rc;
}

static int32_t emit(void *emit_user, const distill_sample *sample)
{
    hosted *h = emit_user;
    if (h->rc || !h->record) return DISTILL_CB_CANCEL; /* behind its return there is no sample to come of */
    h->rc = take(h, sample, &h->error);
    return h->rc ? DISTILL_CB_CANCEL : DISTILL_CB_OK;
}

static int32_t apply_one(hosted *h, dk_error *err)
{
    const distill_operator_callbacks *table = h->step->hosted;
    distill_sample sample;
    int32_t rc;
    dk_strbuf_clear(&h->line);
    di_record_write(*h->record, 0, &h->line);
    DK_TRY(dk_strbuf_check(&h->line, err));
    DISTILL_INIT(&sample);
    sample.kind = DISTILL_SAMPLE_JSON;
    sample.text = h->line.data;
    sample.size = (int64_t)h->line.size - 1; /* without the end of the line */
    h->rc = DK_OK;
    h->emitted = h->same = 0;
    const int32_t code = table->apply(table->user, &sample, emit, h);
    h->record = NULL;
    if (h->rc) {
        if (err) *err = h->error;
        return h->rc;
    }
    if (code == DISTILL_CB_CANCEL) return dk_fail(err, DK_E_CANCELLED, "stopped by it");
    if (code != DISTILL_CB_OK) {
        dk_fail(err, DK_E_CALLBACK, "it returned %d", (int)code);
        if (err) err->user_code = code;
        return DK_E_CALLBACK;
    }
    if (!h->emitted) rc = di_flow_count(h->flow, "not_emitted", 1, err);
out:
    return rc;
}

static int32_t apply(void *state, di_record **in, int64_t count, di_flow *flow, dk_error *err)
{
    hosted *h = state;
    int32_t rc = DK_OK;
    h->flow = flow;
    for (int64_t i = 0; i < count && !rc; i++) {
        h->record = &in[i];
        if ((rc = apply_one(h, err))) dk_error_context(err, "operator %s: sample %s", h->step->name, in[i]->id);
    }
    return rc;
}

const di_operator_functions di_hosted_operator_functions = {.create = create, .free = free_state, .apply = apply};
