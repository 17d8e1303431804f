/* augment.c - a call: what is checked before the first token, how an unfinished run goes on, what is told then. */
#include "augment/augment.h"

#include <string.h>
#include <stdio.h>
#include <errno.h>

#include "augment/grown_file.h"
#include "augment/paths.h"
#include "augment/plan_augment.h"
#include "augment/runner.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/ranks.h"

typedef struct call {
    const di_augment_args *args;
    di_augment_args own; /* the same with options to write by */
    di_options *writing; /* own; NULL = the caller's */
    const char *in, *out;
    di_pipeline pipeline;
    di_runner runner;
} call;

static int32_t check_paths(call *c, dk_error *err)
{
    const di_options *options = c->args->options;
    c->in = c->args->in ? c->args->in : di_options_text(options, "augment.in");
    c->out = c->args->out ? c->args->out : di_options_text(options, "augment.out");
    if (c->args->dry_run && !c->out) c->out = "augmented.jsonl"; /* which nobody writes */
    if (!c->out || !*c->out) return dk_fail(err, DK_E_OPTION, "augment.out is missing: the file that is made");
    if (dk_path_exists(c->out) == 2) return dk_fail(err, DK_E_OPTION, "augment.out: %s is a folder", c->out);
    if (c->in && di_path_is_same(c->in, c->out))
        return dk_fail(err, DK_E_OPTION, "augment.out: %s is augment.in, too", c->out);
    return DK_OK;
}

static int32_t read_seeds(call *c, dk_error *err)
{
    di_runner *r = &c->runner;
    dk_host *host = c->args->backend->host;
    const char *temporary = di_options_text(c->args->options, "augment.temporary");
    char *folder = NULL;
    di_survey survey;
    int32_t rc;
    if (!c->in && !c->pipeline.makes)
        return dk_fail(err, DK_E_OPTION,
                       "augment.in is missing: only a step that makes samples of nothing (expand: magpie) goes "
                       "without it");
    DK_TRY(di_seeds_open(c->args->backend->host, c->in, c->pipeline.makes, c->args->options, &r->seeds, err));
    if (temporary) folder = dk_strdup(host, temporary);
    else folder = dk_path_folder(host, c->args->dry_run ? "/tmp/" : c->out); /* a dry run leaves OUT's */
    DK_TRY(folder ? DK_OK : dk_fail_nomem(err, strlen(c->out)));
    DK_TRY(di_seeds_survey(r->seeds, folder, &survey, err));
    r->samples = survey.samples;
    dk_hex(survey.hash, sizeof survey.hash, r->saved.input);
    if (!r->samples) rc = dk_fail(err, DK_E_FORMAT, "%s: has no samples", c->in);
out:
    dk_free(host, folder);
    return rc;
}

static int32_t open_call(call *c, dk_error *err)
{
    const di_augment_args *args = c->args;
    di_runner *r = &c->runner;
    int32_t rc;
    DK_TRY(di_options_check(args->options, 1 << DI_AUGMENT, err));
    DK_TRY(check_paths(c, err));
    c->own.in = c->in;
    DK_TRY(di_pipeline_open(args, c->out, &c->pipeline, err));
    DK_TRY(read_seeds(c, err));
    r->host = args->backend->host;
    r->pipeline = &c->pipeline;
    r->options = args->options;
    r->out = c->out;
    r->budget_tokens = di_options_i64(args->options, "augment.budget.tokens");
    r->budget_seconds = 60 * di_options_f64(args->options, "augment.budget.minutes");
    r->began = dk_seconds();
    r->fn = args->fn;
    r->user = args->user;
    DK_TRY(di_meter_start(r->host, args->options, !args->dry_run, &r->meter, err));
    if (c->pipeline.teacher) DK_TRY(di_teacher_hash(c->pipeline.teacher, r->saved.teacher, err));
    DK_TRY(di_pipeline_hash(&c->pipeline, args->options, r->saved.recipe, err));
    rc = di_runner_open(r, err);
out:
    return rc;
}

static void close_call(call *c)
{
    if (c->runner.host) di_runner_close(&c->runner);
    di_meter_end(&c->runner.meter);
    di_seeds_close(c->runner.seeds);
    di_pipeline_close(&c->pipeline);
    di_options_free(c->writing);
}

/* ---- going on ---- */

/* A killed run may have stood between the last commit and the renaming, or behind it. */
static int32_t go_on(call *c, dk_error *err)
{
    di_runner *r = &c->runner;
    int32_t rc;
    DK_TRY(di_saved_read(r->state, c->out, &c->pipeline, &r->saved, err));
    r->before = r->saved.seconds;
    r->tokens_before = r->saved.tokens;
    const int32_t last = di_pipeline_cut(&c->pipeline, r->saved.first) == c->pipeline.count,
                  in_place = last && *r->saved.ended && !dk_path_exists(r->partial);
    if (in_place && rename(c->out, r->partial))
        return dk_fail_errno(err, errno, "%s: is not there, and %s says that it was written", c->out, r->state);
    if (strcmp(r->saved.ended, "whole") != 0) *r->saved.ended = 0;
out:
    return rc;
}

static int32_t begin(call *c, dk_error *err)
{
    di_runner *r = &c->runner;
    int32_t rc;
    DK_TRY(di_path_clear(r->host, c->out, err));
    for (int64_t i = 0; i < c->pipeline.count; i++) {
        const di_link *link = &c->pipeline.links[i];
        if (link->functions->restore) DK_TRY(link->functions->restore(link->state, NULL, err));
    }
out:
    return rc;
}

/* What the first steps write: there where a run was killed before it could say how far it was. */
static int32_t was_begun(const call *c, int32_t *begun, dk_error *err)
{
    const int64_t cut = di_pipeline_cut(&c->pipeline, 0);
    char *path = NULL;
    int32_t rc = DK_OK;
    *begun = dk_path_exists(c->runner.partial) != 0;
    if (*begun || cut == c->pipeline.count) return DK_OK;
    DK_TRY(di_path_before(c->runner.host, c->out, cut + 1, &path, err));
    *begun = dk_path_exists(path) != 0;
out:
    dk_free(c->runner.host, path);
    return rc;
}

/* What stands beside a result that was moved: nobody said that it may go. */
static int32_t check_leftover(const call *c, const char *kind, dk_error *err)
{
    char *path = NULL;
    int32_t rc;
    DK_TRY(di_path_beside(c->runner.host, c->out, kind, &path, err));
    if (dk_path_exists(path))
        rc = dk_fail(err, DK_E_STAGE,
                     "%s: is there without %s, of an earlier run: move it, too, or let augment.overwrite (--overwrite) "
                     "replace it",
                     path, c->out);
out:
    dk_free(c->runner.host, path);
    return rc;
}

static int32_t check_leftovers(const call *c, dk_error *err)
{
    int32_t begun, rc;
    DK_TRY(was_begun(c, &begun, err));
    if (begun) goto out;
    DK_TRY(check_leftover(c, "targets", err));
    DK_TRY(check_leftover(c, "aside.jsonl", err));
out:
    return rc;
}

/* ---- by several ranks ---- */

static int32_t describe(const call *c, dk_ranks_item *items, dk_error *err)
{
    const di_augment_args *args = c->args;
    int32_t rc = DK_OK;
    if (c->pipeline.teacher) DK_TRY(di_teacher_hash(c->pipeline.teacher, items[0].value, err));
    DK_TRY(di_pipeline_hash(&c->pipeline, args->options, items[1].value, err));
    snprintf(items[2].value, sizeof items->value, "%s", args->backend->products);
out:
    return rc;
}

/* Rank 0 says how it ended. */
static int32_t stand_by(call *c, dk_error *err)
{
    di_augment_args *args = &c->own;
    int32_t rc;
    DK_TRY(di_options_check(args->options, 1 << DI_AUGMENT, err));
    DK_TRY(check_paths(c, err));
    args->in = c->in;
    rc = di_pipeline_open(args, c->out, &c->pipeline, err);
out:
    return rc;
}

/* The steps and models of all ranks are the same. */
static int32_t meet(call *c, int32_t rc, dk_error *err)
{
    dk_host *host = c->args->backend->host;
    dk_ranks_item items[] = {{.name = "teacher"},
                             {.name = "steps of the augmentation, or in the files that they name"},
                             {.name = "kernels of products (compute.products)"}};
    if (dk_ranks(host) == 1) return rc;
    if (rc == DK_OK) rc = describe(c, items, err);
    return dk_ranks_same(host, rc, items, sizeof items / sizeof *items, err);
}

static int32_t begin_or_go_on(call *c, dk_error *err)
{
    const di_options *options = c->args->options;
    const int32_t overwrite = di_options_flag(options, "augment.overwrite"),
                  unfinished = dk_path_exists(c->runner.state) == 1;
    int32_t rc;
    DK_TRY(di_grown_check_free(c->runner.aside, err)); /* a run at work has it open, whatever segment it is in */
    if (overwrite) return begin(c, err);
    if (unfinished && !di_options_flag(options, "augment.resume"))
        return dk_fail(err, DK_E_STAGE,
                       "%s: an unfinished run stands there: augment.resume (--resume) goes on with it, "
                       "augment.overwrite (--overwrite) begins anew",
                       c->runner.state);
    if (unfinished) return go_on(c, err);
    if (dk_path_exists(c->out))
        return dk_fail(err, DK_E_STAGE, "%s: is there already: augment.overwrite (--overwrite) replaces it", c->out);
    DK_TRY(check_leftovers(c, err));
    rc = begin(c, err);
out:
    return rc;
}

/* The cost is that of this run: what earlier ones took is in "tokens" and "seconds" alone. */
static int32_t tell_result(call *c, dk_strbuf *json, dk_error *err)
{
    const di_saved *s = &c->runner.saved;
    const di_cost cost = di_meter_read(&c->runner.meter);
    dk_strbuf_puts(json, "{\"kind\":\"augmentation\",\"out\":");
    dk_strbuf_json(json, c->out, strlen(c->out));
    dk_strbuf_printf(json,
                     ",\"samples\":%lld,\"written\":%lld,\"tokens\":%lld,\"seconds\":", (long long)c->runner.samples,
                     (long long)s->written, (long long)s->tokens);
    dk_strbuf_f64(json, s->seconds);
    dk_strbuf_printf(json, ",\"ended\":\"%s\",\"steps\":", s->ended);
    di_steps_json(&c->pipeline, json);
    dk_strbuf_puts(json, ",\"cost\":");
    di_cost_json(&c->runner.meter, &cost, json);
    dk_strbuf_puts(json, "}");
    return dk_strbuf_check(json, err);
}

static int32_t run(call *c, dk_strbuf *json, dk_error *err)
{
    int32_t rc;
    DK_TRY(begin_or_go_on(c, err));
    DK_TRY(di_runner_run(&c->runner, err));
    rc = tell_result(c, json, err);
out:
    return rc;
}

/* Rank 0 runs it, and the others answer what its steps ask of models. */
static int32_t run_together(call *c, dk_strbuf *json, dk_error *err)
{
    dk_host *host = c->args->backend->host;
    int32_t rc;
    if (dk_rank(host)) DK_TRY(di_rank_calls_serve(&c->pipeline.calls, err));
    else DK_TRY(di_rank_calls_end(&c->pipeline.calls, run(c, json, err), err));
    rc = dk_ranks_text(host, json, err);
out:
    return rc;
}

int32_t di_augment(const di_augment_args *args, dk_strbuf *json, dk_error *err)
{
    dk_host *host = args->backend->host;
    call c = {.args = &c.own, .own = *args};
    int32_t rc = DK_OK;
    if (args->dry_run) DK_TRY(dk_ranks_refuse(host, "a dry run of an augmentation", err));
    if (!args->writing) DK_TRY(di_options_copy(args->options, host, -1, &c.writing, err));
    if (!args->writing) c.own.writing = c.writing;
    DK_TRY(meet(&c, dk_rank(host) ? stand_by(&c, err) : open_call(&c, err), err));
    if (args->dry_run) rc = di_augment_estimate(&c.pipeline, c.runner.seeds, c.runner.samples, json, err);
    else rc = dk_ranks(host) == 1 ? run(&c, json, err) : run_together(&c, json, err);
out:
    close_call(&c);
    return rc;
}
