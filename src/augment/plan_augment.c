/* plan_augment.c - before a run: what would be asked first, and what it will take, from a few samples that go through;
 * nothing is written. */
#include <string.h>

#include "augment/plan_augment.h"

enum { TRIED = 8, MORE = 32, SHOWN = 3 };
static const double quick_seconds = 10; /* where the first take no longer, as many go as are answered side by side */

typedef struct trial {
    di_pipeline *pipeline;
    di_record **records; /* [count] that come out of the last step so far; of the flow, or the chunk's */
    int64_t count;
    di_flow flow;
    dk_strbuf aside, shown;
    int64_t prompts, last_prompt; /* that are shown, and may be */
} trial;
typedef struct estimate { /* of all samples of one kind, or of both */
    double written, tokens, seconds;
    int64_t tried;
} estimate;

static int32_t show(trial *t, const di_link *link, dk_error *err)
{
    dk_strbuf text;
    int32_t rc = DK_OK;
    dk_strbuf_init(&text, t->flow.host);
    for (int64_t i = 0; i < t->count && t->prompts < t->last_prompt; i++) {
        dk_strbuf_clear(&text);
        DK_TRY(link->functions->show(link->state, t->records[i], &text, err));
        if (!text.size) continue;
        dk_strbuf_puts(&t->shown, t->prompts++ ? "," : "");
        dk_strbuf_json(&t->shown, text.data, text.size);
    }
    rc = dk_strbuf_check(&text, err);
out:
    dk_strbuf_free(&text);
    return rc;
}

/* Steps that remember keep a file, which is not made here: everything passes them. *taken: the records are the flow's,
 * or were freed. */
static int32_t pass(trial *t, int64_t index, int32_t *taken, dk_error *err)
{
    di_link *link = &t->pipeline->links[index];
    int32_t rc = DK_OK;
    if (link->functions->show && t->prompts == t->last_prompt - SHOWN) DK_TRY(show(t, link, err));
    if (link->functions->save) return DK_OK;
    *taken = 1;
    DK_TRY(di_pipeline_pass(t->pipeline, index, index + 1, t->records, t->count, &t->flow, err));
    t->records = t->flow.records;
    t->count = t->flow.count;
    dk_strbuf_clear(&t->aside);
out:
    return rc;
}

/* The next `most` samples go through; *tried = 0: there are no more. */
static int32_t try_chunk(trial *t, di_seeds *seeds, int64_t most, int64_t *tried, double *seconds, dk_error *err)
{
    const double began = dk_seconds();
    int32_t rc, taken = 0;
    t->count = 0;
    DK_TRY(di_seeds_chunk(seeds, most, &t->records, &t->count, err));
    *tried = t->count;
    for (int64_t i = 0; t->count && i < di_pipeline_cut(t->pipeline, 0); i++) {
        if (t->pipeline->links[i].row && t->pipeline->links[i].row->needs & DI_IS_BARRIER) break;
        DK_TRY(pass(t, i, &taken, err));
    }
    *seconds = dk_seconds() - began;
out:
    for (int64_t i = 0; !taken && i < t->count; i++) di_record_free(t->records[i]);
    return rc;
}

/* From where the seeds stand, of `samples` samples of one kind. Time is that of the last chunk: few answers side by
 * side take longer each, and the first ones of all wait for what is made once. */
static int32_t try_out(trial *t, di_seeds *seeds, int64_t samples, estimate *all, dk_error *err)
{
    int64_t tried = 0, written = 0, chunk = 0;
    double seconds = 0;
    int32_t rc = DK_OK;
    t->flow.tokens = 0;
    t->last_prompt = t->prompts + SHOWN;
    for (int64_t most = TRIED; tried < samples; most = MORE) {
        if (tried && (tried >= TRIED + MORE || seconds > quick_seconds)) break;
        DK_TRY(try_chunk(t, seeds, most < samples - tried ? most : samples - tried, &chunk, &seconds, err));
        if (!chunk) break;
        tried += chunk;
        written += t->count;
        di_flow_clear(&t->flow);
        if (most == TRIED && samples - tried < MORE) break; /* a few more say nothing of many */
    }
    if (!tried) return DK_OK;
    all->tried += tried;
    all->written += (double)samples / (double)tried * (double)written;
    all->tokens += (double)samples / (double)tried * (double)t->flow.tokens;
    all->seconds += (double)samples / (double)chunk * seconds;
out:
    return rc;
}

/* Samples of the file, and those that are made of nothing: what one kind takes says nothing of the other. */
static int32_t try_both(trial *t, di_seeds *seeds, int64_t samples, estimate *all, dk_error *err)
{
    const int64_t made = di_seeds_makes(seeds);
    int32_t rc;
    DK_TRY(try_out(t, seeds, samples - made, all, err));
    if (!made) return DK_OK;
    DK_TRY(di_seeds_seek_made(seeds, err));
    rc = try_out(t, seeds, made, all, err);
out:
    return rc;
}

int32_t di_augment_estimate(di_pipeline *pipeline, di_seeds *seeds, int64_t samples, dk_strbuf *json, dk_error *err)
{
    trial t = {.pipeline = pipeline, .flow = {.host = pipeline->host}};
    estimate all = {.tried = 0};
    int32_t rc;
    dk_strbuf_init(&t.aside, pipeline->host);
    dk_strbuf_init(&t.shown, pipeline->host);
    t.flow.aside = &t.aside;
    DK_TRY(try_both(&t, seeds, samples, &all, err));
    dk_strbuf_printf(json, "{\"kind\":\"augmentation_plan\",\"samples\":%lld,\"tried\":%lld,\"written\":%.0f,",
                     (long long)samples, (long long)all.tried, all.written);
    dk_strbuf_printf(json, "\"tokens\":%.0f,\"seconds\":", all.tokens);
    dk_strbuf_f64(json, all.seconds);
    dk_strbuf_puts(json, ",\"prompts\":[");
    if (t.shown.size) dk_strbuf_append(json, t.shown.data, t.shown.size);
    dk_strbuf_puts(json, "]}");
    rc = dk_strbuf_check(json, err);
out:
    di_flow_clear(&t.flow);
    dk_free(pipeline->host, t.flow.records);
    dk_strbuf_free(&t.aside);
    dk_strbuf_free(&t.shown);
    return rc;
}
