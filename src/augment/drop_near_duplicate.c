/* drop_near_duplicate.c - drop: near_duplicate. Samples whose text is nearly one that was kept before, by MinHash. */
#include "augment/curate/near.h"
#include "augment/remembering.h"

enum { WORDS = 3, CHARACTERS = 5 }; /* of a shingle */

static int32_t open_index(const di_step *step, const char *path, const di_kept_state *at, void **index, dk_error *err)
{
    const int32_t characters = di_options_is(step->options, "shingle", "characters");
    const int32_t n = (int32_t)di_options_i64(step->options, "ngram");
    const di_shingles shingles = {characters, n ? n : characters ? CHARACTERS : WORDS};
    di_near *near = NULL;
    int32_t rc = di_near_open(step->host, path, di_options_f64(step->options, "jaccard"), shingles, step->backend->isa,
                              at, &near, err);
    *index = near;
    return rc;
}

static void close_index(void *index) { di_near_close(index); }

static int32_t flush(void *index, di_kept_state *state, dk_error *err) { return di_near_flush(index, state, err); }

static int32_t judge(void *index, const char *text, size_t size, di_record *record, di_flow *flow, const char **why,
                     dk_error *err)
{
    di_near_found found;
    int32_t rc;
    (void)record;
    DK_TRY(di_near_add(index, text, size, &found, err));
    *why = found.before < 0 ? NULL : "near_duplicate";
    if (found.crowded) DK_TRY(di_flow_count(flow, "crowded", 1, err)); /* more met it than were looked at */
out:
    return rc;
}

static int32_t create(const di_step *step, void **state, dk_error *err)
{
    static const di_remembering_kind kind = {"near", NULL, open_index, close_index, flush, judge};
    return di_remembering_create(step, &kind, state, err);
}

const di_operator_functions di_drop_near_duplicate = DI_REMEMBERING(create);
