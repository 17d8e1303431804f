#include "evaluate/draft_trial.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "session/session.h"

enum { PROMPTS = 8, PROMPT = 64 };

typedef struct trial {
    const di_draft_trial_args *args;
    di_options *options;
    di_batch *batch;
    di_stream *streams[2]; /* without and with */
    int64_t prompt, each;  /* tokens of a prompt, and written behind it, at most */
} trial;

/* ---- how it writes ---- */

static int32_t fit(trial *t)
{
    const int64_t context = di_teacher_facts(t->args->teacher).context_length;
    t->each = (t->args->tokens + PROMPTS - 1) / PROMPTS + 1; /* the first one is not timed */
    t->prompt = PROMPT;
    if (context > 0 && t->prompt > context / 2) t->prompt = context / 2;
    if (context > 0 && t->each > context - t->prompt) t->each = context - t->prompt;
    return t->prompt > 0 && t->each > 1;
}

/* What greedy texts would refuse, and drawn ones have by default: all tokens, one answer. */
static int32_t set_options(trial *t, dk_error *err)
{
    static const char *const plain[] = {"generate.top_k",   "generate.top_p", "generate.min_p",
                                        "generate.samples", "generate.seed",  "session.tokens"};
    int32_t rc;
    if (t->args->options)
        DK_TRY(di_options_copy(t->args->options, t->args->host, 1 << DI_GENERATE | 1 << DI_SESSION | 1 << DI_COST,
                               &t->options, err));
    else DK_TRY(di_options_create(t->args->host, &t->options, err));
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) DK_TRY(di_options_set(t->options, plain[i], NULL, err));
    DK_TRY(di_options_set_i64(t->options, "generate.max_tokens", t->each, err));
    DK_TRY(di_options_set_i64(t->options, "session.places", 1, err));
    DK_TRY(di_options_set_i64(t->options, "session.context", t->prompt + t->each, err));
out:
    return rc;
}

static int32_t open_streams(trial *t, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_stream_create(t->args->teacher, NULL, t->options, &t->streams[0], err));
    DK_TRY(di_stream_create(t->args->teacher, t->args->draft, t->options, &t->streams[1], err));
out:
    return rc;
}

static int32_t configure(trial *t, int32_t drawn, int64_t seed, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_options_set_f64(t->options, "generate.temperature", drawn, err));
    DK_TRY(drawn ? di_options_set_i64(t->options, "generate.seed", seed, err)
                 : di_options_set(t->options, "generate.seed", NULL, err));
    for (int i = 0; i < 2; i++) DK_TRY(di_stream_configure(t->streams[i], t->options, err));
out:
    return rc;
}

/* ---- a text ---- */

typedef struct pass { /* what came since the last token that was not drafted */
    int64_t seen, run;
} pass;

/* A pass ends with a token of the teacher's own; an answer's end leaves what is behind it unlooked at. */
static void count_token(const di_stream *s, const distill_token *token, pass *r, di_drafting *out)
{
    r->run += token->from_draft;
    if (token->from_draft && !token->finished) return;
    const int64_t drafted = di_stream_drafted(s) - r->seen,
                  looked = !token->from_draft && r->run < drafted ? r->run + 1 : r->run;
    out->rounds++;
    out->drafted += drafted;
    out->looked += looked;
    out->accepted += r->run;
    r->seen += drafted;
    r->run = 0;
}

static int32_t write_text(di_stream *s, const int32_t *ids, int64_t count, int32_t with, di_drafting *out,
                          dk_error *err)
{
    const distill_token *token = NULL;
    pass r = {0, 0};
    double first = 0;
    int64_t written = 0;
    int32_t rc;
    DK_TRY(di_stream_truncate(s, 0, err));
    DK_TRY(di_stream_append(s, ids, count, err));
    do {
        DK_TRY(di_stream_next(s, &token, err));
        if (!written++) first = dk_seconds();
        else if (with) count_token(s, token, &r, out);
    } while (!token->finished);
    out->seconds[with] += dk_seconds() - first;
    out->tokens[with] += written - 1;
out:
    return rc;
}

/* Turn by turn, so that what else the machine does goes over all; out NULL: memory is touched, and nothing counted. */
static int32_t write_pair(trial *t, int64_t number, const int32_t *ids, int64_t count, di_drafting *out, dk_error *err)
{
    di_drafting aside = {.rounds = 0};
    int32_t rc = DK_OK;
    for (int32_t drawn = 0; drawn < 2; drawn++) {
        DK_TRY(configure(t, drawn, number + 1, err));
        for (int32_t i = 0; i < 2; i++)
            DK_TRY(write_text(t->streams[i], ids, count, i, out ? &out[drawn] : &aside, err));
    }
out:
    return rc;
}

/* ---- prompts, all over the data ---- */

static int32_t write_from(trial *t, int64_t window, di_draft_trial *out, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_dataset_windows(t->args->data, window, 1, t->batch, err));
    const int64_t *at = t->batch->offsets;
    const int64_t half = t->batch->sequences ? (at[1] - at[0] + 1) / 2 : 0, count = half < t->prompt ? half : t->prompt;
    if (!count) return DK_OK;
    if (!out->prompts) DK_TRY(write_pair(t, out->prompts, t->batch->ids, count, NULL, err));
    DK_TRY(write_pair(t, out->prompts, t->batch->ids, count, out->ways, err));
    out->prompts++;
out:
    return rc;
}

static int32_t write_all(trial *t, di_draft_trial *out, dk_error *err)
{
    int64_t windows = 0;
    int32_t rc;
    DK_TRY(di_dataset_get_i64(t->args->data, "windows", &windows, err));
    DK_TRY(di_batch_create(t->args->data, 1, &t->batch, err));
    const int64_t prompts = windows < PROMPTS ? windows : PROMPTS;
    for (int64_t i = 0; i < prompts; i++) DK_TRY(write_from(t, i * windows / prompts, out, err));
    if (!out->prompts) dk_fail(&out->why, DK_E_INVALID, "the data has no text that could be continued");
out:
    return rc;
}

static int32_t is_answer(int32_t rc) { return rc == DK_E_UNSUPPORTED || rc == DK_E_MISMATCH; }

int32_t di_draft_trial_measure(const di_draft_trial_args *args, di_draft_trial *out, dk_error *err)
{
    trial t = {.args = args};
    int32_t rc = DK_OK;
    *out = (di_draft_trial){.proposals = di_options_i64(args->options, "session.draft_tokens"),
                            .adaptive = di_options_flag(args->options, "session.draft_adaptive")};
    if (!fit(&t)) {
        dk_fail(&out->why, DK_E_INVALID, "the teacher's context has no room for a prompt and an answer");
        return DK_OK;
    }
    DK_TRY(set_options(&t, err));
    if (is_answer(rc = open_streams(&t, &out->why))) {
        rc = DK_OK;
        goto out;
    }
    if (rc != DK_OK && err) *err = out->why;
    DK_TRY(rc);
    DK_TRY(write_all(&t, out, err));
out:
    for (int i = 0; i < 2; i++) di_stream_free(t.streams[i]);
    di_batch_free(t.batch);
    di_options_free(t.options);
    return rc;
}

/* ---- as JSON ---- */

static void ratio(dk_strbuf *out, const char *name, double value, double over)
{
    dk_strbuf_printf(out, ",\"%s\":", name);
    if (over > 0 && isfinite(value / over)) dk_strbuf_f64(out, value / over);
    else dk_strbuf_puts(out, "null");
}

static void way_json(const char *name, const di_drafting *d, dk_strbuf *out)
{
    const double bare = (double)d->tokens[0], with = (double)d->tokens[1];
    dk_strbuf_printf(out, ",\"%s\":{\"tokens\":%lld,\"drafted\":%lld,\"accepted\":%lld", name, (long long)d->tokens[1],
                     (long long)d->drafted, (long long)d->accepted);
    ratio(out, "acceptance", (double)d->accepted, (double)d->looked);
    ratio(out, "tokens_per_pass", with, (double)d->rounds);
    ratio(out, "teacher_tokens_per_second", bare, d->seconds[0]);
    ratio(out, "drafted_tokens_per_second", with, d->seconds[1]);
    ratio(out, "speedup", d->seconds[0] * with, d->seconds[1] * bare);
    dk_strbuf_puts(out, "}");
}

void di_draft_trial_json(const di_draft_trial *t, dk_strbuf *out)
{
    dk_strbuf_puts(out, ",\"draft\":{");
    if (t->why.code != DK_OK) {
        dk_strbuf_puts(out, "\"left_out\":");
        dk_strbuf_json(out, t->why.message, strlen(t->why.message));
    } else {
        dk_strbuf_printf(out, "\"prompts\":%lld,\"draft_tokens\":%lld,\"adaptive\":%s", (long long)t->prompts,
                         (long long)t->proposals, t->adaptive ? "true" : "false");
        way_json("greedy", &t->ways[0], out);
        way_json("sampled", &t->ways[1], out);
    }
    dk_strbuf_puts(out, "}");
}
