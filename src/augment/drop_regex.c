/* drop_regex.c - drop: regex. Samples whose words match a pattern, or with invert those that do not. */
#include "augment/operator.h"

#include <string.h>

#include "text/regex.h"

typedef struct drop_regex {
    const di_step *step;
    const char *field; /* NULL = the words that are learnt */
    dk_regex *regex;
    dk_regex_state *matching;
    int32_t invert;
    dk_strbuf text;
} drop_regex;

static void free_state(void *state)
{
    drop_regex *d = state;
    dk_regex_state_free(d->matching);
    dk_regex_free(d->regex);
    dk_strbuf_free(&d->text);
    dk_free(d->step->host, d);
}

static int32_t create(const di_step *step, void **state, dk_error *err)
{
    const char *pattern = di_options_text(step->options, "pattern");
    drop_regex *d = NULL;
    int32_t rc;
    if (!pattern || !*pattern) return di_step_fail(step, err, "pattern is missing");
    DK_TRY(dk_new(step->host, 1, &d, err));
    d->step = step;
    dk_strbuf_init(&d->text, step->host);
    d->field = di_options_text(step->options, "field");
    d->invert = di_options_flag(step->options, "invert");
    if ((rc = dk_regex_compile(step->host, pattern, strlen(pattern), &d->regex, err))) {
        if (rc != DK_E_NOMEM) dk_error_context(err, "augment.steps.%lld.pattern", (long long)step->number - 1);
        goto out;
    }
    DK_TRY(dk_regex_state_create(step->host, &d->matching, err));
    *state = d;
    return DK_OK;
out:
    if (d) free_state(d);
    return rc;
}

static int32_t find(drop_regex *d, const di_record *record, int32_t *found, dk_error *err)
{
    size_t size = 0, begin, end;
    const char *text = d->field ? di_record_text(record, d->field, &size) : NULL;
    int32_t rc;
    *found = 0;
    if (d->field && !text) return DK_OK;
    if (!d->field) {
        dk_strbuf_clear(&d->text);
        DK_TRY(di_record_words(record, &d->text, err));
        text = d->text.data ? d->text.data : "";
        size = d->text.size;
    }
    DK_TRY(dk_regex_find(d->regex, d->matching, text, size, 0, &begin, &end, err));
    *found = begin != SIZE_MAX;
out:
    return rc;
}

static int32_t apply(void *state, di_record **in, int64_t count, di_flow *flow, dk_error *err)
{
    drop_regex *d = state;
    int32_t rc = DK_OK, found;
    for (int64_t i = 0; i < count; i++) {
        if ((rc = find(d, in[i], &found, err))) {
            dk_error_context(err, "sample %s", in[i]->id);
            goto out;
        }
        if (found != d->invert) DK_TRY(di_flow_drop(flow, &in[i], found ? "matches" : "does_not_match", err));
        else DK_TRY(di_flow_emit(flow, &in[i], err));
    }
out:
    return rc;
}

const di_operator_functions di_drop_regex = {.create = create, .free = free_state, .apply = apply};
