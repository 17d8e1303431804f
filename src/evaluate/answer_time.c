#include "evaluate/answer_time.h"

#include <stdlib.h>

#include "base/clock.h"
#include "evaluate/evaluate.h"
#include "session/session.h"

enum { LEAST = 3, MOST = 40, WARM = 2 };
/* 1.5 seconds: energy counters have moved on by then */
const di_answer_effort di_answer_thorough = {DI_ANSWER_WRITTEN, MOST *DI_ANSWER_WRITTEN, 1.5, 0};

/* Of 256 gaps two are beyond the 99th hundredth. */
di_answer_effort di_answer_within(double seconds) { return (di_answer_effort){32, 256, seconds / 2, seconds}; }

typedef struct watch {
    di_teacher *model;
    di_stream *stream; /* NULL = the model is none that sessions have */
    int64_t length, written;
    double last;  /* without a session: when the answer began, or its last token came */
    double until; /* when what is under way is cut; 0 = never */
    double first[MOST], gaps[MOST * DI_ANSWER_WRITTEN];
    int64_t tries, gap_count, count;
} watch;

static void count_token(watch *w, double seconds)
{
    if (w->count++) w->gaps[w->gap_count++] = seconds;
    else w->first[w->tries] = seconds;
}

static int32_t too_late(const watch *w) { return w->until > 0 && w->count >= WARM && dk_seconds() > w->until; }

/* ---- by a session, as people meet the model ---- */

static int32_t open_session(watch *w, const di_options *options, dk_error *err)
{
    di_options *own = NULL;
    int32_t rc;
    DK_TRY(di_options_copy(options, di_teacher_host(w->model), 1 << DI_GENERATE, &own, err));
    DK_TRY(di_options_set_i64(own, "generate.max_tokens", w->written, err));
    DK_TRY(di_options_set_i64(own, "generate.samples", 1, err));
    DK_TRY(di_options_set_f64(own, "generate.temperature", 0, err));
    DK_TRY(di_options_set_i64(own, "session.context", w->length + w->written, err));
    rc = di_stream_create(w->model, NULL, own, &w->stream, err);
    if (rc == DK_E_UNSUPPORTED) {
        dk_error_clear(err);
        rc = DK_OK;
    }
out:
    di_options_free(own);
    return rc;
}

/* As many tokens as were asked for: a text that the model ends goes on. */
static int32_t by_session(watch *w, dk_error *err)
{
    int32_t ids[DI_ANSWER_PROMPT];
    const distill_token *token;
    int32_t rc;
    di_answer_ids(w->model, w->length, ids);
    DK_TRY(di_stream_truncate(w->stream, 0, err));
    DK_TRY(di_stream_append(w->stream, ids, w->length, err));
    while (w->count < w->written && !too_late(w)) {
        DK_TRY(di_stream_next(w->stream, &token, err));
        count_token(w, 1e-9 * (double)token->nanoseconds);
        if (token->finished) DK_TRY(di_stream_append(w->stream, NULL, 0, err));
    }
out:
    return rc;
}

/* ---- by what writes without one ---- */

static int32_t on_token(void *user, int64_t sequence, int32_t id, double log_prob, int32_t finished)
{
    watch *w = user;
    const double now = dk_seconds();
    (void)sequence, (void)id, (void)log_prob, (void)finished;
    count_token(w, now - w->last);
    w->last = now;
    return too_late(w) ? DK_TEXT_ENDS : 0;
}

static int32_t answer(watch *w, dk_error *err)
{
    w->count = 0;
    if (w->stream) return by_session(w, err);
    w->last = dk_seconds();
    return di_answer(w->model, w->length, w->written, on_token, w, err);
}

/* Is not counted. DK_E_UNSUPPORTED: a model that does not write. */
static int32_t warm(watch *w, dk_error *err)
{
    const int64_t written = w->written;
    w->written = written < WARM ? written : WARM;
    const int32_t rc = answer(w, err);
    w->written = written;
    w->gap_count = 0;
    return rc;
}

/* ---- what came of it ---- */

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* values are sorted */
static double quantile(const double *values, int64_t count, double share)
{
    if (!count) return -1;
    const int64_t at = (int64_t)(share * (double)count);
    return values[at < count ? at : count - 1];
}

static void sum_up(watch *w, di_answer_time *out)
{
    qsort(w->first, (size_t)w->tries, sizeof *w->first, ascending);
    qsort(w->gaps, (size_t)w->gap_count, sizeof *w->gaps, ascending);
    out->tries = w->tries;
    out->gaps = w->gap_count;
    out->first_token[0] = quantile(w->first, w->tries, 0.5);
    out->first_token[1] = quantile(w->first, w->tries, 0.95);
    out->token[0] = quantile(w->gaps, w->gap_count, 0.5);
    out->token[1] = quantile(w->gaps, w->gap_count, 0.95);
    out->token[2] = quantile(w->gaps, w->gap_count, 0.99);
    if (out->first_token[0] > 0) out->prompt_speed = (double)out->prompt_tokens / out->first_token[0];
    if (out->token[0] > 0) out->decode_speed = 1 / out->token[0];
}

static int32_t goes_on(const watch *w, const di_answer_effort *effort, double begin)
{
    const double now = dk_seconds();
    if (!w->tries) return 1;
    if (w->tries == MOST || (w->until > 0 && now > w->until)) return 0;
    return w->tries < LEAST || (w->gap_count < effort->gaps && now - begin < effort->seconds);
}

static int32_t try_answers(watch *w, dk_host *host, const di_answer_effort *effort, di_answer_time *out, dk_error *err)
{
    int32_t rc = DK_OK;
    const double begin = dk_seconds();
    while (goes_on(w, effort, begin)) {
        DK_TRY(answer(w, err));
        w->tries++;
        out->written_tokens += w->count;
        if (dk_host_cancelled(host)) DK_TRY(dk_fail(err, DK_E_CANCELLED, "the timing was cancelled"));
    }
    out->seconds = dk_seconds() - begin;
    sum_up(w, out);
out:
    return rc;
}

int32_t di_answer_time_measure(dk_host *host, di_teacher *model, const di_options *options,
                               const di_answer_effort *effort, di_answer_time *out, dk_error *err)
{
    const int64_t length = model ? di_answer_prompt(model, effort->written) : 0;
    watch *w = NULL;
    int32_t rc;
    *out = (di_answer_time){.prompt_tokens = length};
    if (length < 1) return DK_OK;
    DK_TRY(dk_new(host, 1, &w, err));
    w->model = model;
    w->length = length;
    w->written = length < effort->written ? length : effort->written;
    if (effort->most > 0) w->until = dk_seconds() + effort->most;
    DK_TRY(open_session(w, options, err));
    if ((rc = warm(w, err)) == DK_E_UNSUPPORTED) {
        dk_error_clear(err);
        rc = DK_OK;
        goto out;
    }
    DK_TRY(rc);
    DK_TRY(try_answers(w, host, effort, out, err));
out:
    if (w) di_stream_free(w->stream);
    dk_free(host, w);
    return rc;
}

/* ---- as JSON ---- */

static void number(dk_strbuf *out, const char *name, double value)
{
    dk_strbuf_printf(out, ",\"%s\":", name);
    dk_strbuf_f64(out, value);
}

void di_answer_time_json(const di_answer_time *l, dk_strbuf *out)
{
    if (!l->tries) return;
    number(out, "prompt_tokens", (double)l->prompt_tokens);
    if (l->first_token[0] > 0) number(out, "prompt_tokens_per_second", l->prompt_speed);
    if (l->gaps) number(out, "decode_tokens_per_second", l->decode_speed);
    number(out, "first_token_seconds", l->first_token[0]);
    number(out, "first_token_seconds_p95", l->first_token[1]);
    if (!l->gaps) return;
    number(out, "token_seconds_p50", l->token[0]);
    number(out, "token_seconds_p95", l->token[1]);
    number(out, "token_seconds_p99", l->token[2]);
    number(out, "timed_tokens", (double)l->gaps);
}
