/* keep_balance.c - keep: balance. No value of a field more often than it may be. */
#include "augment/curate/balance.h"
#include "augment/remembering.h"

static int32_t check(const di_step *step, dk_error *err)
{
    if (!di_options_text(step->options, "field")) return di_step_fail(step, err, "field is missing: whose values?");
    if (!di_options_i64(step->options, "max") && !(di_options_f64(step->options, "share") > 0))
        return di_step_fail(step, err, "neither max nor share is given: it would keep everything");
    return DK_OK;
}

static int32_t open_index(const di_step *step, const char *path, const di_kept_state *at, void **index, dk_error *err)
{
    const di_balance_rules rules = {di_options_i64(step->options, "max"), di_options_f64(step->options, "share")};
    di_balance *balance = NULL;
    int32_t rc = di_balance_open(step->host, path, rules, at, &balance, err);
    *index = balance;
    return rc;
}

static void close_index(void *index) { di_balance_close(index); }

static int32_t flush(void *index, di_kept_state *state, dk_error *err) { return di_balance_flush(index, state, err); }

static int32_t judge(void *index, const char *text, size_t size, di_record *record, di_flow *flow, const char **why,
                     dk_error *err)
{
    int32_t kept, rc = di_balance_add(index, text, size, &kept, err);
    (void)record;
    (void)flow;
    *why = kept ? NULL : "too_many";
    return rc;
}

static int32_t create(const di_step *step, void **state, dk_error *err)
{
    static const di_remembering_kind kind = {"balance", check, open_index, close_index, flush, judge};
    return di_remembering_create(step, &kind, state, err);
}

const di_operator_functions di_keep_balance = DI_REMEMBERING(create);
