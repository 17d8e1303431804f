/* drop_duplicate.c - drop: duplicate. Samples whose text was kept before. */
#include "augment/curate/near.h"
#include "augment/remembering.h"

static int32_t open_index(const di_step *step, const char *path, const di_kept_state *at, void **index, dk_error *err)
{
    const di_options *o = step->options;
    const int32_t both = di_options_is(o, "ignore", "spaces_and_case");
    const di_same_rules rules = {both || di_options_is(o, "ignore", "spaces"),
                                 both || di_options_is(o, "ignore", "case")};
    di_same *same = NULL;
    int32_t rc = di_same_open(step->host, path, rules, at, &same, err);
    *index = same;
    return rc;
}

static void close_index(void *index) { di_same_close(index); }

static int32_t flush(void *index, di_kept_state *state, dk_error *err) { return di_same_flush(index, state, err); }

static int32_t judge(void *index, const char *text, size_t size, di_record *record, di_flow *flow, const char **why,
                     dk_error *err)
{
    int64_t before;
    int32_t rc = di_same_add(index, text, size, &before, err);
    (void)record;
    (void)flow;
    *why = before < 0 ? NULL : "duplicate";
    return rc;
}

static int32_t create(const di_step *step, void **state, dk_error *err)
{
    static const di_remembering_kind kind = {"same", NULL, open_index, close_index, flush, judge};
    return di_remembering_create(step, &kind, state, err);
}

const di_operator_functions di_drop_duplicate = DI_REMEMBERING(create);
