/* keep_score.c - keep: score. Samples whose score, or a field that is a number, lies in bounds. */
#include "augment/look.h"

typedef struct keep_score {
    const di_step *step;
    const char *by;
    int32_t has_low, has_high;
    double low, high;
} keep_score;

static void free_state(void *state)
{
    keep_score *k = state;
    dk_free(k->step->host, k);
}

static int32_t create(const di_step *step, void **state, dk_error *err)
{
    const di_options *o = step->options;
    keep_score *k = NULL;
    int32_t rc;
    if (!di_options_text(o, "by")) return di_step_fail(step, err, "by is missing: the name of a score or of a field");
    if (!di_options_is_set(o, "at_least") && !di_options_is_set(o, "at_most"))
        return di_step_fail(step, err, "neither at_least nor at_most is given: it would keep everything");
    DK_TRY(dk_new(step->host, 1, &k, err));
    *k = (keep_score){step,
                      di_options_text(o, "by"),
                      di_options_is_set(o, "at_least"),
                      di_options_is_set(o, "at_most"),
                      di_options_f64(o, "at_least"),
                      di_options_f64(o, "at_most")};
    if (k->has_low && k->has_high && k->low > k->high) {
        free_state(k);
        return di_step_fail(step, err, "at_least is above at_most: it would keep nothing");
    }
    *state = k;
out:
    return rc;
}

static int32_t apply(void *state, di_record **in, int64_t count, di_flow *flow, dk_error *err)
{
    const keep_score *k = state;
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < count; i++) {
        double number;
        const char *why = !di_record_number(in[i], k->by, &number) ? "no_such_score"
                          : k->has_low && number < k->low          ? "too_low"
                          : k->has_high && number > k->high        ? "too_high"
                                                                   : NULL;
        DK_TRY(di_keep_or_drop(flow, &in[i], why, err));
    }
out:
    return rc;
}

const di_operator_functions di_keep_score = {.create = create, .free = free_state, .apply = apply};
