/* segment.c - the steps up to the next barrier: they read what the steps before them wrote, chunk by chunk. Every half
 * a second what was written is made safe: the files first, then OUT.state, which says how long they are. */
#include <stdio.h>
#include <string.h>

#include "augment/chunk_size.h"
#include "augment/grown_file.h"
#include "augment/paths.h"
#include "augment/runner.h"
#include "augment/targets.h"

static const double commit_seconds = 0.5;

typedef struct segment {
    di_runner *runner;
    int64_t first, last;  /* steps */
    char *reads, *writes; /* paths; reads NULL = the seeds */
    int32_t ends;         /* what it writes is the result */
    di_seeds *in;
    int64_t samples; /* that it reads; 0 = not known */
    di_grown *out, *aside;
    di_targets *targets; /* of the last segment, where a step keeps some; else NULL */
    dk_strbuf lines, aside_lines;
    di_flow flow;
    double committed;
    int64_t begun; /* samples that earlier runs read */
    int64_t whole; /* that went through */
} segment;

static int32_t open_targets(segment *s, dk_error *err)
{
    di_runner *r = s->runner;
    char *path = NULL;
    int32_t rc;
    DK_TRY(di_path_beside(r->host, r->out, "targets", &path, err));
    rc = di_targets_open(r->host, path, r->pipeline->teacher, &r->pipeline->encoder, r->options, r->pipeline->keep,
                         &s->targets, err);
out:
    dk_free(r->host, path);
    return rc;
}

static int32_t open_paths(segment *s, dk_error *err)
{
    di_runner *r = s->runner;
    int32_t rc = DK_OK;
    if (s->first) {
        DK_TRY(di_path_before(r->host, r->out, s->first + 1, &s->reads, err));
        DK_TRY(di_seeds_open(r->host, s->reads, 0, NULL, &s->in, err));
        di_seeds_set_generation(s->in, di_seeds_generation(r->seeds));
    } else {
        s->in = r->seeds;
        s->samples = r->samples;
    }
    if (s->ends) DK_TRY(di_path_beside(r->host, r->out, "partial", &s->writes, err));
    else DK_TRY(di_path_before(r->host, r->out, s->last + 1, &s->writes, err));
    DK_TRY(di_grown_open(r->host, s->writes, r->saved.bytes, &s->out, err));
    DK_TRY(di_grown_open(r->host, r->aside, r->saved.aside, &s->aside, err));
    if (s->ends && r->pipeline->keep) rc = open_targets(s, err);
out:
    return rc;
}

/* A barrier sees everything before its first record passes. */
static int32_t gather(segment *s, dk_error *err)
{
    di_link *link = &s->runner->pipeline->links[s->first];
    int32_t rc;
    if (!link->row || !(link->row->needs & DI_IS_BARRIER)) return DK_OK;
    for (;;) {
        di_record *record = NULL;
        if ((rc = di_seeds_next(s->in, &record, err)) == DK_E_END) break;
        DK_TRY(rc);
        s->samples += s->first != 0;
        rc = link->functions->gather(link->state, record, err);
        di_record_free(record);
        DK_TRY(rc);
        if (dk_host_cancelled(s->runner->host))
            DK_TRY(dk_fail(err, DK_E_CANCELLED, "%s: cancelled before step %lld", s->runner->out,
                           (long long)link->step.number));
    }
    rc = link->functions->settle(link->state, err);
out:
    return rc;
}

static int32_t open_segment(segment *s, dk_error *err)
{
    di_runner *r = s->runner;
    int32_t rc;
    dk_strbuf_init(&s->lines, r->host);
    dk_strbuf_init(&s->aside_lines, r->host);
    s->flow = (di_flow){.host = r->host, .aside = &s->aside_lines};
    s->committed = dk_seconds();
    DK_TRY(open_paths(s, err));
    DK_TRY(gather(s, err));
    s->begun = s->whole = r->saved.place.given;
    DK_TRY(di_seeds_seek(s->in, &r->saved.place, err));
out:
    return rc;
}

static void close_segment(segment *s)
{
    dk_host *host = s->runner->host;
    di_flow_clear(&s->flow);
    dk_free(host, s->flow.records);
    dk_strbuf_free(&s->lines);
    dk_strbuf_free(&s->aside_lines);
    di_grown_close(s->out);
    di_grown_close(s->aside);
    di_targets_close(s->targets);
    if (s->in != s->runner->seeds) di_seeds_close(s->in);
    dk_free(host, s->reads);
    dk_free(host, s->writes);
}

/* ---- commits ---- */

static int32_t commit(segment *s, dk_error *err)
{
    di_runner *r = s->runner;
    int32_t rc;
    DK_TRY(di_grown_sync(s->out, err));
    DK_TRY(di_grown_sync(s->aside, err));
    if (s->targets) DK_TRY(di_targets_flush(s->targets, err));
    r->saved.bytes = di_grown_length(s->out);
    r->saved.aside = di_grown_length(s->aside);
    r->saved.place = di_seeds_tell(s->in);
    r->saved.seconds = di_runner_seconds(r);
    DK_TRY(di_saved_write(&r->saved, r->pipeline, r->state, err));
    s->committed = dk_seconds();
out:
    return rc;
}

/* ---- how far, and whether to go on ---- */

static int32_t tell(segment *s, int64_t tokens_at_work, dk_error *err)
{
    const di_runner *r = s->runner;
    const double seconds = dk_seconds() - r->began;
    const int64_t done = s->whole, tokens = r->saved.tokens + tokens_at_work - r->tokens_before;
    distill_progress now;
    di_meter_poll(&s->runner->meter);
    if (!r->fn) return DK_OK;
    DISTILL_INIT(&now);
    now.phase = DISTILL_PHASE_AUGMENTING;
    now.done = done;
    now.total = s->samples;
    now.tokens = r->saved.tokens + tokens_at_work;
    now.tokens_per_second = seconds > 0 ? (double)tokens / seconds : 0;
    now.seconds_left =
        done > s->begun && s->samples >= done ? seconds * (double)(s->samples - done) / (double)(done - s->begun) : -1;
    const int32_t code = r->fn(r->user, &now);
    if (code == DISTILL_CB_OK) return DK_OK;
    if (code == DISTILL_CB_CANCEL) return dk_fail(err, DK_E_CANCELLED, "cancelled by the progress function");
    dk_fail(err, DK_E_CALLBACK, "the progress function returned %d", (int)code);
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}

static int32_t tell_at_work(void *user, int64_t tokens, dk_error *err) { return tell(user, tokens, err); }

/* Tokens behind a whole chunk alone: where budgets of time cut it is not the same twice. */
static const char *budget_end(const segment *s)
{
    const di_runner *r = s->runner;
    if (r->budget_tokens && r->saved.tokens >= r->budget_tokens && s->whole >= r->saved.chunk_end) return "tokens";
    if (r->budget_seconds > 0 && di_runner_seconds(r) >= r->budget_seconds) return "minutes";
    return NULL;
}

/* ---- chunks ---- */

static int32_t write_out(segment *s, dk_error *err)
{
    int32_t rc;
    dk_strbuf_clear(&s->lines);
    for (int64_t i = 0; i < s->flow.count; i++) di_record_write(s->flow.records[i], !s->ends, &s->lines);
    DK_TRY(dk_strbuf_check(&s->lines, err));
    for (int64_t i = 0; s->targets && i < s->flow.count; i++)
        DK_TRY(di_targets_add(s->targets, s->flow.records[i], err));
    DK_TRY(di_grown_append(s->out, s->lines.data, s->lines.size, err));
    DK_TRY(di_grown_append(s->aside, s->aside_lines.data, s->aside_lines.size, err));
    dk_strbuf_clear(&s->aside_lines);
    s->runner->saved.written += s->flow.count;
    s->runner->saved.tokens += s->flow.tokens;
    s->flow.tokens = 0;
    di_flow_clear(&s->flow);
out:
    return rc;
}

/* The chunk at work goes on where it was cut; a run that was stopped has its end in OUT.state. */
static int64_t next_size(segment *s)
{
    di_runner *r = s->runner;
    const double seconds = di_runner_seconds(r);
    const di_chunk_facts facts = {
        .samples = s->whole,
        .tokens = r->saved.tokens - r->saved.tokens_before,
        .seconds = seconds - r->saved.seconds_before,
        .tokens_left = r->budget_tokens ? r->budget_tokens - r->saved.tokens : 0,
        .seconds_left = r->budget_seconds > 0 ? r->budget_seconds - seconds : 0,
    };
    if (s->whole >= r->saved.chunk_end) r->saved.chunk_end = s->whole + di_chunk_size(&facts);
    return di_chunk_in_time(r->saved.chunk_end - s->whole, &facts);
}

/* *count 0 = there are no more. */
static int32_t pass_chunk(segment *s, int64_t *count, dk_error *err)
{
    di_pulse *pulse = &s->runner->pipeline->pulse;
    di_record **records;
    int32_t rc;
    DK_TRY(di_seeds_chunk(s->in, next_size(s), &records, count, err));
    if (!*count) return DK_OK;
    *pulse = (di_pulse){.fn = tell_at_work, .user = s, .last = dk_seconds()};
    DK_TRY(di_pipeline_pass(s->runner->pipeline, s->first, s->last, records, *count, &s->flow, err));
    DK_TRY(write_out(s, err));
    s->whole = di_seeds_tell(s->in).given;
out:
    pulse->fn = NULL;
    return rc;
}

/* whole: between two chunks; what a chunk at work was about to give is made again. */
static int32_t stop_cancelled(segment *s, int32_t whole, dk_error *err)
{
    int32_t rc = whole ? commit(s, err) : DK_OK;
    if (rc) return rc;
    return dk_fail(err, DK_E_CANCELLED, "%s: stopped behind sample %lld; the same recipe goes on from there",
                   s->runner->out, (long long)s->runner->saved.place.given);
}

static int32_t run_chunks(segment *s, dk_error *err)
{
    di_runner *r = s->runner;
    const char *end = NULL;
    int64_t count;
    int32_t rc;
    for (;;) {
        if ((end = budget_end(s))) break;
        if (dk_host_cancelled(r->host)) return stop_cancelled(s, 1, err);
        if ((rc = pass_chunk(s, &count, err)) == DK_E_CANCELLED) return stop_cancelled(s, 0, err);
        DK_TRY(rc);
        if (!count) break;
        if ((rc = tell(s, 0, err)) == DK_E_CANCELLED) return stop_cancelled(s, 1, err);
        DK_TRY(rc);
        if (dk_seconds() - s->committed >= commit_seconds) DK_TRY(commit(s, err));
    }
    if (end || s->ends) snprintf(r->saved.ended, sizeof r->saved.ended, "%s", end ? end : "whole");
    rc = commit(s, err);
out:
    return rc;
}

int32_t di_segment_run(di_runner *runner, int64_t last, dk_error *err)
{
    segment s = {.runner = runner, .first = runner->saved.first, .last = last, .ends = last == runner->pipeline->count};
    int32_t rc;
    DK_TRY(open_segment(&s, err));
    rc = run_chunks(&s, err);
out:
    close_segment(&s);
    return rc;
}
