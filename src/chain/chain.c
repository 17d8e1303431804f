/* chain.c - the runs of a chain: what is finished stays, what was interrupted goes on. */
#include <string.h>

#include "base/file.h"
#include "base/ranks.h"
#include "chain/chain_parts.h"

typedef struct chain {
    const di_chain_args *args;
    dk_host *host;
    di_stages stages;
} chain;

/* ---- one run ---- */

static int32_t make_run(const chain *c, const di_options *options, int64_t number, const char *name, di_run **out,
                        dk_error *err)
{
    const di_parts parts = {.backend = c->args->backend, .registry = c->args->registry};
    int32_t rc = di_run_open(&parts, options, out, err);
    if (rc != DK_OK) return rc;
    if (name) di_run_set_stage(*out, number, c->stages.count, name);
    di_trainer_on_progress(di_run_trainer(*out), c->args->fn, c->args->user, NULL);
    return DK_OK;
}

static int32_t run_alone(const chain *c, const di_options *options, dk_strbuf *json, dk_error *err)
{
    di_run *run = NULL;
    int32_t rc;
    if (c->args->again)
        return dk_fail(err, DK_E_INVALID,
                       "a recipe without stages is not made again: set output.overwrite to true instead");
    DK_TRY(make_run(c, options, 0, NULL, &run, err));
    if (c->args->resume) DK_TRY(di_run_resume(run, err));
    DK_TRY(di_run_loop(run, err));
    DK_TRY(di_run_report(run, json, err));
out:
    di_run_free(run);
    return rc;
}

/* ---- a stage ---- */

static int32_t fail_changed(const di_stage *stage, const char *what, int32_t finished, dk_error *err)
{
    return dk_fail(err, DK_E_MISMATCH,
                   "stages.%s was %s in %s, and %s: give another output.path, or make it again (DISTILL_RUN_AGAIN, "
                   "--again)",
                   stage->name, finished ? "finished" : "begun", stage->output, what);
}

static int32_t fail_foreign(const di_stage *stage, dk_error *err)
{
    return dk_fail(err, DK_E_INVALID,
                   "stages.%s: %s already holds a run or a model that is no stage's: give another output.path, or set "
                   "output.overwrite to true",
                   stage->name, stage->output);
}

/* May this state go on? *anew: what is there is given up. */
static int32_t judge(const chain *c, const di_stage *stage, di_stage_state state, int32_t *anew, dk_error *err)
{
    const int32_t allowed = c->args->again || di_options_flag(stage->options, "output.overwrite");
    dk_strbuf what;
    int32_t rc = DK_OK;
    *anew = state == DI_STAGE_FOREIGN;
    dk_strbuf_init(&what, c->host);
    if (state == DI_STAGE_FOREIGN && !di_options_flag(stage->options, "output.overwrite"))
        rc = fail_foreign(stage, err);
    if (state == DI_STAGE_FOREIGN || state == DI_STAGE_NEW) goto out;
    DK_TRY(di_stage_difference(&c->stages, stage, &what, err));
    *anew = what.size > 0;
    if (*anew && !allowed) rc = fail_changed(stage, what.data, state == DI_STAGE_FINISHED, err);
    else if (*anew) dk_log(c->host, DK_LOG_WARN, "chain", "stages.%s is made again: %s", stage->name, what.data);
out:
    dk_strbuf_free(&what);
    return rc;
}

/* The result goes first: without it nothing there counts as finished. */
static int32_t give_up(const chain *c, const di_stage *stage, dk_error *err)
{
    static const char *const names[] = {"result.json", "checkpoints", "metrics.jsonl"};
    int32_t rc = DK_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && rc == DK_OK; i++) {
        char *path = dk_path_join(c->host, stage->output, names[i]);
        rc = path ? dk_dir_remove(c->host, path, err) : dk_fail_nomem(err, strlen(stage->output));
        dk_free(c->host, path);
    }
    return rc;
}

/* From its checkpoint, or anew where none is whole. */
static int32_t begin(const chain *c, int64_t index, int32_t resume, di_run **run, dk_error *err)
{
    const di_stage *stage = &c->stages.stages[index];
    di_options *options = NULL;
    int32_t rc;
    DK_TRY(di_options_copy(stage->options, c->host, -1, &options, err));
    if (!resume) DK_TRY(give_up(c, stage, err));
    if (!resume) DK_TRY(di_stage_record_write(&c->stages, stage, err));
    if (!resume) DK_TRY(di_options_set(options, "output.overwrite", "true", err)); /* what was there is ours by now */
    DK_TRY(make_run(c, options, index + 1, stage->name, run, err));
    if (resume) DK_TRY(di_run_resume(*run, err));
out:
    if (rc != DK_OK) {
        di_run_free(*run);
        *run = NULL;
    }
    di_options_free(options);
    return rc;
}

static int32_t run_stage(const chain *c, int64_t index, dk_error *err)
{
    const di_stage *stage = &c->stages.stages[index];
    const long long number = (long long)index + 1, count = (long long)c->stages.count;
    di_stage_state state;
    di_run *run = NULL;
    int32_t anew = 0, rc;
    DK_TRY(di_stage_look(&c->stages, stage, &state, err));
    DK_TRY(judge(c, stage, state, &anew, err));
    if (state == DI_STAGE_FINISHED && !anew) {
        dk_log(c->host, DK_LOG_INFO, "chain", "stage %lld of %lld, %s: is finished in %s", number, count, stage->name,
               stage->output);
        return DK_OK;
    }
    const int32_t resume = state == DI_STAGE_BEGUN && !anew;
    dk_log(c->host, DK_LOG_INFO, "chain", "stage %lld of %lld, %s: %s in %s", number, count, stage->name,
           resume ? "goes on" : "begins", stage->output);
    rc = begin(c, index, resume, &run, err);
    if (rc == DK_E_NOT_FOUND && resume) rc = begin(c, index, 0, &run, err);
    if (rc != DK_OK) goto out;
    DK_TRY(di_run_loop(run, err));
out:
    di_run_free(run);
    return rc;
}

/* ---- all of them ---- */

/* What stands already is judged before anything runs, as far as it does not hang on what is still to be made. */
static int32_t judge_all(const chain *c, dk_error *err)
{
    int32_t open[DI_STAGES_MAX] = {0}, anew, rc = DK_OK;
    for (int64_t i = 0; i < c->stages.count; i++) {
        const di_stage *stage = &c->stages.stages[i];
        di_stage_state state;
        DK_TRY(di_stage_look(&c->stages, stage, &state, err));
        for (int64_t k = 0; k < stage->input_count; k++) open[i] |= open[stage->inputs[k].stage];
        if (open[i] && state != DI_STAGE_FOREIGN) continue;
        DK_TRY(judge(c, stage, state, &anew, err));
        open[i] |= anew || state != DI_STAGE_FINISHED;
    }
out:
    return rc;
}

static void tell_idle(const chain *c, const di_options *options)
{
    for (int64_t i = 0; i < di_options_list_size(options, "teachers"); i++) {
        const char *name = di_options_name(di_options_item(options, "teachers", i));
        int32_t used = 0;
        for (int64_t k = 0; k < c->stages.count; k++) used |= di_stage_uses(c->stages.stages[k].options, name);
        if (!used) dk_log(c->host, DK_LOG_WARN, "chain", "teachers.%s is not used: no stage names it", name);
    }
}

static int32_t report(const chain *c, dk_strbuf *json, dk_error *err)
{
    int32_t rc = DK_OK;
    dk_strbuf_printf(json, "{\"version\":\"%s\",\"stages\":{", DISTILL_VERSION);
    for (int64_t i = 0; i < c->stages.count && rc == DK_OK; i++) {
        const di_stage *stage = &c->stages.stages[i];
        char *path = dk_path_join(c->host, stage->output, "result.json"), *text = NULL;
        size_t size = 0;
        rc = path ? dk_file_read(c->host, path, (uint64_t)64 << 20, &text, &size, err) : dk_fail_nomem(err, 64);
        while (rc == DK_OK && size && text[size - 1] == '\n') size--;
        dk_strbuf_printf(json, "%s\"%s\":", i ? "," : "", stage->name);
        if (rc == DK_OK) dk_strbuf_append(json, text, size);
        dk_free(c->host, text);
        dk_free(c->host, path);
    }
    dk_strbuf_puts(json, "}}\n");
    return rc == DK_OK ? dk_strbuf_check(json, err) : rc;
}

int32_t di_chain_run(const di_chain_args *args, const di_options *options, dk_strbuf *json, dk_error *err)
{
    chain c = {.args = args, .host = args->backend->host};
    dk_error own;
    int32_t rc;
    if (!err) err = &own;
    if (!di_options_is_set(options, "stages")) return run_alone(&c, options, json, err);
    DK_TRY(dk_ranks_refuse(c.host, "a recipe of stages", err));
    DK_TRY(di_stages_read(c.host, options, &c.stages, err));
    DK_TRY(di_stages_check(args, &c.stages, err));
    tell_idle(&c, options);
    DK_TRY(judge_all(&c, err));
    for (int64_t i = 0; i < c.stages.count; i++) {
        rc = run_stage(&c, i, err);
        if (rc != DK_OK && strncmp(err->message, "stages.", 7) != 0)
            dk_error_context(err, "stages.%s", c.stages.stages[i].name);
        if (rc != DK_OK) goto out;
    }
    DK_TRY(report(&c, json, err));
out:
    di_stages_free(&c.stages);
    return rc;
}
