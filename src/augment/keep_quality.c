/* keep_quality.c - keep: quality. Samples whose text looks like one, whatever its language. */
#include "augment/curate/quality.h"
#include "augment/look.h"

typedef struct keep_quality {
    const di_step *step;
    di_look look;
    di_quality quality;
    di_quality_bounds bounds;
} keep_quality;

static void free_state(void *state)
{
    keep_quality *k = state;
    di_look_free(&k->look);
    di_quality_free(&k->quality);
    dk_free(k->step->host, k);
}

static int32_t create(const di_step *step, void **state, dk_error *err)
{
    keep_quality *k = NULL;
    int32_t rc;
    DK_TRY(dk_new(step->host, 1, &k, err));
    k->step = step;
    di_look_init(&k->look, step, 0);
    di_quality_init(&k->quality, step->host);
    di_quality_defaults(&k->bounds);
    for (int64_t i = 0; i < di_options_list_size(step->options, "bounds"); i++) {
        dk_error wrong;
        if (di_quality_set(&k->bounds, di_options_list_text(step->options, "bounds", i), &wrong))
            DK_TRY(di_step_fail(step, err, "bounds.%lld: %s", (long long)i, wrong.message));
    }
    *state = k;
    return DK_OK;
out:
    if (k) free_state(k);
    return rc;
}

static int32_t apply(void *state, di_record **in, int64_t count, di_flow *flow, dk_error *err)
{
    keep_quality *k = state;
    double measured[DI_QUALITIES];
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < count; i++) {
        const char *text, *why = "no_such_field";
        size_t size;
        DK_TRY(di_look_at(&k->look, in[i], &text, &size, err));
        if (text) {
            DK_TRY(di_quality_measure_text(&k->quality, text, size, measured, err));
            const di_quality_measure fails = di_quality_fails(&k->bounds, measured);
            why = fails < DI_QUALITIES ? di_quality_name(fails) : NULL;
        }
        DK_TRY(di_keep_or_drop(flow, &in[i], why, err));
    }
out:
    return rc;
}

const di_operator_functions di_keep_quality = {.create = create, .free = free_state, .apply = apply};
