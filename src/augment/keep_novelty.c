/* keep_novelty.c - keep: novelty. Samples whose text is like none of the last that were kept, by ROUGE-L. */
#include "augment/curate/rouge.h"
#include "augment/remembering.h"

static int32_t open_index(const di_step *step, const char *path, const di_kept_state *at, void **index, dk_error *err)
{
    di_novelty *novelty = NULL;
    int32_t rc = di_novelty_open(step->host, path, di_options_f64(step->options, "rouge_l"),
                                 di_options_i64(step->options, "window"), at, &novelty, err);
    *index = novelty;
    return rc;
}

static void close_index(void *index) { di_novelty_close(index); }

static int32_t flush(void *index, di_kept_state *state, dk_error *err) { return di_novelty_flush(index, state, err); }

static int32_t judge(void *index, const char *text, size_t size, di_record *record, di_flow *flow, const char **why,
                     dk_error *err)
{
    double nearest;
    int32_t is_new, rc;
    (void)flow;
    DK_TRY(di_novelty_add(index, text, size, &nearest, &is_new, err));
    *why = is_new ? NULL : "not_new";
    if (is_new) DK_TRY(di_record_set_score(record, "nearest_rouge_l", nearest, err));
out:
    return rc;
}

static int32_t create(const di_step *step, void **state, dk_error *err)
{
    static const di_remembering_kind kind = {"novelty", NULL, open_index, close_index, flush, judge};
    return di_remembering_create(step, &kind, state, err);
}

const di_operator_functions di_keep_novelty = DI_REMEMBERING(create);
