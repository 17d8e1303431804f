/* plan_run.c - what a few steps and a small evaluation say of the whole run. A cache of targets saves the teacher's
 * part of every step but the first reading of each row, which filling it takes. */
#include "report/run_plan.h"

#include <math.h>
#include <string.h>

#include "base/ranks.h"
#include "fill/fill.h"
#include "report/report.h"
#include "run/run_trial.h"

typedef struct cache_plan { /* what di_cache_plan found */
    int32_t known, named;   /* named: the recipe has it */
    double rows, missing, bytes, there, seconds;
    dk_error problem; /* why it is not known */
} cache_plan;

typedef struct planning {
    const di_plan_args *args;
    di_run_trial trial;
    cache_plan cache;
    di_meter meter;
    double step_teacher;      /* seconds of a step that are the teacher's */
    di_pace evaluations, all; /* of the run */
    double first, again;      /* seconds with a cache: one that is filled by this run, one that is full */
} planning;

/* ---- on the way ---- */

static int32_t tell(void *user, int64_t done, int64_t total, dk_error *err)
{
    const planning *p = user;
    distill_progress now;
    if (dk_host_cancelled(p->args->backend->host))
        return dk_fail(err, DK_E_CANCELLED, "planning was cancelled: nothing was written");
    if (!p->args->fn) return DK_OK;
    DISTILL_INIT(&now);
    now.phase = DISTILL_PHASE_LOADING;
    now.done = done < total ? done : total;
    now.total = total;
    now.seconds_left = -1;
    const int32_t code = p->args->fn(p->args->user, &now);
    if (code == DISTILL_CB_OK) return DK_OK;
    if (code == DISTILL_CB_CANCEL)
        return dk_fail(err, DK_E_CANCELLED, "planning was stopped by the progress callback: nothing was written");
    dk_fail(err, DK_E_CALLBACK, "the progress callback returned %d", (int)code);
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}

/* ---- the cache ---- */

static double number_at(const di_report *report, const char *key)
{
    double value = 0;
    dk_error problem;
    return di_report_get_f64(report, key, &value, &problem) == DK_OK ? value : 0;
}

static int32_t read_cache_plan(dk_host *host, const dk_strbuf *json, cache_plan *out, dk_error *err)
{
    di_report *report = NULL;
    int32_t rc;
    DK_TRY(di_report_create(host, json->data, json->size, &report, err));
    out->rows = number_at(report, "rows");
    out->missing = number_at(report, "missing");
    out->bytes = number_at(report, "bytes");
    out->there = number_at(report, "there");
    out->seconds = number_at(report, "seconds");
    out->known = 1;
out:
    di_report_free(report);
    return rc;
}

/* Without one in the recipe: as if there were one, beside its output, of the tier that is the default. */
static int32_t plan_cache(planning *p, dk_error *err)
{
    const di_options *o = p->args->options;
    dk_host *host = p->args->backend->host;
    cache_plan *cache = &p->cache;
    const char *output = di_options_text(o, "output.path");
    dk_strbuf json;
    int32_t rc = DK_OK;
    dk_strbuf_init(&json, host);
    cache->named = di_options_text(o, "teacher.cache.path") != NULL;
    char *path = dk_path_join(host, output ? output : ".", "targets-that-are-planned");
    if (!path) DK_TRY(dk_fail_nomem(err, 64));
    const di_fill_args fill = {.backend = p->args->backend, .path = cache->named ? NULL : path, .options = o};
    rc = di_cache_plan(&fill, &json, &cache->problem);
    if (rc == DK_OK) rc = read_cache_plan(host, &json, cache, err);
    else if (rc == DK_E_NOMEM || rc == DK_E_CANCELLED) {
        if (err) *err = cache->problem;
    } else rc = DK_OK; /* its reason is shown */
out:
    dk_free(host, path);
    dk_strbuf_free(&json);
    return rc;
}

/* ---- the trial ---- */

/* A cache that lacks rows would be filled: the teacher is asked without it. */
static int32_t open_parts(planning *p, di_options **bare, di_parts *parts, dk_error *err)
{
    const int32_t full = p->cache.named && p->cache.known && p->cache.missing == 0;
    const di_options *o = p->args->options;
    int32_t rc;
    DK_TRY(di_options_copy(o, p->args->backend->host, -1, bare, err));
    DK_TRY(di_options_set(*bare, "teacher.cache", NULL, err));
    DK_TRY(di_teacher_look(p->args->backend, full ? o : *bare, &parts->teacher, err));
out:
    return rc;
}

/* What the run would refuse of a cache that is still to be filled. */
static int32_t check_cached(planning *p, const di_options *bare, dk_error *err)
{
    di_parts parts = {.backend = p->args->backend, .registry = p->args->registry};
    di_run *run = NULL;
    int32_t rc;
    if (!p->cache.named || !p->cache.known || p->cache.missing == 0) return DK_OK;
    DK_TRY(di_teacher_look(p->args->backend, p->args->options, &parts.teacher, err));
    DK_TRY(di_run_create(&parts, bare, &run, err));
out:
    di_run_free(run);
    di_teacher_release(parts.teacher);
    return rc;
}

static int32_t try_run(planning *p, dk_error *err)
{
    di_parts parts = {.backend = p->args->backend, .registry = p->args->registry};
    di_options *bare = NULL;
    int32_t rc;
    DK_TRY(open_parts(p, &bare, &parts, err));
    DK_TRY(check_cached(p, bare, err));
    DK_TRY(di_run_try(&parts, bare, tell, p, &p->trial, err));
out:
    di_teacher_release(parts.teacher);
    di_options_free(bare);
    return rc;
}

/* ---- the sums ---- */

static void sum_evaluations(planning *p)
{
    const di_run_trial *t = &p->trial;
    const double during = (double)(t->evaluations * t->eval_tokens), final = (double)(t->finals * t->final_tokens);
    const double first = fmin(during + final, (double)(t->evaluations ? t->eval_tokens : t->final_tokens));
    const double kept = t->evaluations ? fmax(during + final - first, 0) : 0, asked = during + final - kept;
    const double each = (double)t->final_tokens + (t->teachers_always ? during : 0);
    p->evaluations.wall = asked * t->eval_first.wall + kept * t->eval_again.wall + each * t->eval_teachers.wall;
    p->evaluations.cpu = asked * t->eval_first.cpu + kept * t->eval_again.cpu + each * t->eval_teachers.cpu;
}

/* Several ranks share it, and fill a cache before the run, with all of the data. */
static double filling_of(const planning *p, double asked)
{
    const double ranks = (double)dk_ranks(p->args->backend->host), all = p->cache.seconds / ranks;
    return ranks > 1 ? all : fmin(all, asked);
}

static void sum_up(planning *p)
{
    const di_run_trial *t = &p->trial;
    const double steps = (double)t->steps, ranks = (double)dk_ranks(p->args->backend->host);
    sum_evaluations(p);
    p->all.wall = t->setup.wall + steps * t->step.wall + p->evaluations.wall + t->timing.wall;
    p->all.cpu = t->setup.cpu + steps * t->step.cpu + p->evaluations.cpu + t->timing.cpu;
    p->first = p->again = -1;
    if (!p->cache.known || t->data_tokens <= 0 || p->cache.rows <= 0) return;
    const cache_plan *c = &p->cache;
    const double per_token = c->missing > 0 ? c->seconds / ((double)t->data_tokens * c->missing / c->rows) : 0;
    p->step_teacher = fmin(per_token * (double)t->step_tokens / ranks, t->step.wall);
    /* a run of less than an epoch asks for what it reads alone */
    const double filling = filling_of(p, steps * p->step_teacher), rest = steps * (t->step.wall - p->step_teacher);
    const double around = t->setup.wall + p->evaluations.wall + t->timing.wall;
    p->first = around + rest + filling;
    p->again = around + rest;
    if (!c->named || c->missing == 0) return;
    p->all.cpu *= p->first / p->all.wall;
    p->all.wall = p->first;
}

/* ---- as JSON ---- */

static void number(dk_strbuf *out, const char *name, double value)
{
    dk_strbuf_printf(out, ",\"%s\":", name);
    if (isfinite(value)) dk_strbuf_f64(out, value);
    else dk_strbuf_puts(out, "null");
}

static void begin(dk_strbuf *out, const char *name, const char *key, double value)
{
    dk_strbuf_printf(out, ",\"%s\":{\"%s\":", name, key);
    dk_strbuf_f64(out, value);
}

static void sizes_json(const planning *p, dk_strbuf *out)
{
    const di_run_trial *t = &p->trial;
    const double saved = (double)t->student_bytes, checkpoints = (double)t->checkpoint_bytes * (double)t->checkpoints;
    const double cache = p->cache.named && p->cache.known ? p->cache.bytes : 0;
    if (t->parameters >= 0) number(out, "parameters", (double)t->parameters);
    if (t->trainable >= 0) number(out, "trainable_parameters", (double)t->trainable);
    if (t->teacher_parameters >= 0) number(out, "teacher_parameters", (double)t->teacher_parameters);
    if (t->resident >= 0) {
        /* what was saved is read back at the end, when what the teacher says of all held-out data is kept */
        begin(out, "memory", "peak_bytes", (double)t->resident + saved + (double)t->kept_more);
        number(out, "tried_bytes", (double)t->resident);
        number(out, "evaluation_bytes", (double)t->kept_bytes);
        dk_strbuf_puts(out, "}");
    }
    begin(out, "disk", "student_bytes", saved);
    number(out, "checkpoint_bytes", (double)t->checkpoint_bytes);
    number(out, "checkpoints", (double)t->checkpoints);
    number(out, "cache_bytes", cache);
    number(out, "bytes", saved + checkpoints + cache);
    dk_strbuf_puts(out, "}");
}

static void time_json(const planning *p, dk_strbuf *out)
{
    const di_run_trial *t = &p->trial;
    begin(out, "time", "seconds", p->all.wall);
    number(out, "cpu_seconds", p->all.cpu);
    number(out, "setup_seconds", t->setup.wall);
    number(out, "step_seconds", t->step.wall);
    number(out, "step_cpu_seconds", t->step.cpu);
    number(out, "steps_tried", (double)t->tried);
    number(out, "evaluations", (double)(t->evaluations + t->finals));
    number(out, "evaluation_seconds", p->evaluations.wall);
    number(out, "timing_seconds", t->timing.wall);
    dk_strbuf_puts(out, "}");
}

static void cost_json(planning *p, dk_strbuf *out)
{
    static const char *const names[] = {"none", "measured", "estimated"};
    const di_run_trial *t = &p->trial;
    di_cost tried = di_meter_read(&p->meter);
    const double tokens = (double)t->steps * t->step_model_tokens, share = tried.cpu > 0 ? p->all.cpu / tried.cpu : 0;
    begin(out, "cost", "model_tokens", tokens);
    number(out, "flops", (double)t->steps * t->step_flops);
    dk_strbuf_printf(out, ",\"energy\":\"%s\"", names[tried.energy]);
    if (tried.joules >= 0) number(out, "joules", tried.joules * share);
    if (tried.eur >= 0) number(out, "eur", tried.eur * share);
    const double usd = di_meter_price(&p->meter, (int64_t)tokens);
    if (usd >= 0) number(out, "usd", usd);
    dk_strbuf_puts(out, "}");
}

static void cache_json(const planning *p, dk_strbuf *out)
{
    const cache_plan *c = &p->cache;
    if (!p->trial.asks_teacher) return;
    dk_strbuf_printf(out, ",\"cache\":{\"in_recipe\":%s", c->named ? "true" : "false");
    if (!c->known) {
        dk_strbuf_puts(out, ",\"problem\":");
        dk_strbuf_json(out, c->problem.message, strlen(c->problem.message));
    } else {
        number(out, "bytes", c->bytes);
        number(out, "there", c->there);
        number(out, "missing_rows", c->missing);
        number(out, "fill_seconds", c->seconds);
        if (p->first >= 0) {
            number(out, "without_seconds",
                   p->again + (double)p->trial.steps * p->step_teacher); /* the teacher in every step */
            number(out, "first_seconds", p->first);
            number(out, "again_seconds", p->again);
        }
    }
    dk_strbuf_puts(out, "}");
}

static void not_planned(const planning *p, dk_strbuf *out)
{
    const di_options *o = p->args->options;
    dk_strbuf_puts(out, ",\"not_planned\":[\"writing of files, checkpoints and the report\"");
    if (di_options_i64(o, "train.early_stop_patience"))
        dk_strbuf_puts(out, ",\"train.early_stop_patience: all steps are counted\"");
    if (di_options_is_set(o, "train.on_policy.adaptive.rise"))
        dk_strbuf_puts(out, ",\"train.on_policy.adaptive: the share of the first steps is counted throughout\"");
    if (p->cache.named && p->trial.writes_text)
        dk_strbuf_puts(out, ",\"teacher.cache: what the student writes is not in it\"");
    if (dk_ranks(p->args->backend->host) > 1 && !p->cache.named && p->trial.asks_teacher)
        dk_strbuf_puts(out, ",\"a cache of targets: its plan is made in one process\"");
    dk_strbuf_puts(out, "]");
}

static void whole_json(planning *p, dk_strbuf *json)
{
    const di_run_trial *t = &p->trial;
    dk_strbuf_printf(json, "{\"kind\":\"plan\",\"steps\":%lld,\"tokens\":%lld", (long long)t->steps,
                     (long long)(t->steps * t->step_tokens));
    if (dk_ranks(p->args->backend->host) > 1) number(json, "ranks", (double)dk_ranks(p->args->backend->host));
    number(json, "tokens_per_second", t->step.wall > 0 ? (double)t->step_tokens / t->step.wall : 0);
    sizes_json(p, json);
    time_json(p, json);
    cost_json(p, json);
    cache_json(p, json);
    not_planned(p, json);
    dk_strbuf_puts(json, "}");
}

int32_t di_plan(const di_plan_args *args, dk_strbuf *json, dk_error *err)
{
    planning *p = NULL;
    dk_host *host = args->backend->host;
    int32_t rc;
    if (di_options_list_size(args->options, "stages"))
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "stages: a plan is of one run, and a later stage begins with what an earlier one leaves: plan a "
                       "stage as a recipe of its own");
    DK_TRY(di_run_same_options(host, args->options, err));
    DK_TRY(dk_new(host, 1, &p, err));
    p->args = args;
    DK_TRY(di_meter_start(host, args->options, 0, &p->meter, err));
    if (di_options_text(args->options, "teacher.cache.path")) DK_TRY(dk_ranks_agree(host, plan_cache(p, err), err));
    DK_TRY(dk_ranks_agree(host, try_run(p, err), err));
    if (!p->cache.named && p->trial.asks_teacher && !p->trial.writes_text && dk_ranks(host) == 1)
        DK_TRY(plan_cache(p, err));
    if (p->trial.asks_teacher && !p->cache.known && dk_ranks(host) > 1)
        dk_fail(&p->cache.problem, DK_E_UNSUPPORTED, "its plan is made in one process");
    if (p->trial.writes_text && !p->cache.known)
        dk_fail(&p->cache.problem, DK_E_UNSUPPORTED, "what the student writes is in no cache");
    sum_up(p);
    whole_json(p, json);
    DK_TRY(dk_ranks_agree(host, dk_strbuf_check(json, err), err));
    rc = dk_ranks_text(host, json, err);
out:
    if (p) di_meter_end(&p->meter);
    dk_free(host, p);
    return rc;
}
