/* keep_verified.c - keep: verified. Answers that are right: the same number, or the same words, as a field of the
 * sample has. With several answers to a prompt before it that is rejection sampling. A host's verifier is an operator
 * of its own, by name. */
#include "augment/curate/answers.h"
#include "augment/look.h"

typedef struct keep_verified {
    const di_step *step;
    di_look look;
    const char *against;
    int32_t numeric;
    double tolerance;
} keep_verified;

static void free_state(void *state)
{
    keep_verified *k = state;
    di_look_free(&k->look);
    dk_free(k->step->host, k);
}

static int32_t create(const di_step *step, void **state, dk_error *err)
{
    keep_verified *k = NULL;
    int32_t rc;
    if (!di_options_text(step->options, "against"))
        return di_step_fail(step, err, "against is missing: the field with the right answer");
    DK_TRY(dk_new(step->host, 1, &k, err));
    k->step = step;
    di_look_init(&k->look, step, 0);
    k->against = di_options_text(step->options, "against");
    k->numeric = di_options_is(step->options, "compare", "numeric");
    k->tolerance = di_options_f64(step->options, "tolerance");
    *state = k;
out:
    return rc;
}

/* What cannot be compared is kept aside: *aside says why. */
static int32_t is_right(keep_verified *k, const di_record *record, const char **aside, int32_t *right, dk_error *err)
{
    const di_field *reference = di_record_field(record, k->against);
    const char *text;
    size_t size;
    double got, wanted;
    int32_t rc;
    *right = 0;
    *aside = "no_reference";
    if (!reference) return DK_OK;
    DK_TRY(di_look_at(&k->look, record, &text, &size, err));
    *aside = "no_such_field";
    if (!text) return DK_OK;
    *aside = NULL;
    if (!k->numeric) *right = di_same_answer(text, size, reference->data, reference->size);
    else if (!di_find_number(reference->data, reference->size, &wanted)) *aside = "reference_without_a_number";
    else if (!di_find_number(text, size, &got)) *aside = "unparsed";
    else *right = di_same_number(got, wanted, k->tolerance);
out:
    return rc;
}

static int32_t apply(void *state, di_record **in, int64_t count, di_flow *flow, dk_error *err)
{
    keep_verified *k = state;
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < count; i++) {
        const char *aside;
        int32_t right;
        DK_TRY(is_right(k, in[i], &aside, &right, err));
        DK_TRY(aside ? di_flow_aside(flow, &in[i], aside, err)
                     : di_keep_or_drop(flow, &in[i], right ? NULL : "wrong", err));
    }
out:
    return rc;
}

const di_operator_functions di_keep_verified = {.create = create, .free = free_state, .apply = apply};
