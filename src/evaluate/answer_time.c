#include "evaluate/answer_time.h"

#include <stdlib.h>

#include "base/clock.h"
#include "evaluate/evaluate.h"

enum { WRITTEN = 64, LEAST = 3, MOST = 40 };
static const double enough = 1.5; /* seconds of tries: energy counters have moved on by then */

typedef struct watch {
    double begin, last;
    double first[MOST], gaps[MOST * WRITTEN];
    int64_t tries, gap_count, count;
} watch;

static int32_t on_token(void *user, int64_t sequence, int32_t id, double log_prob, int32_t finished)
{
    watch *w = user;
    const double now = dk_seconds();
    (void)sequence, (void)id, (void)log_prob, (void)finished;
    if (w->count++) w->gaps[w->gap_count++] = now - w->last;
    else w->first[w->tries] = now - w->begin;
    w->last = now;
    return 0;
}

static int32_t answer(di_teacher *model, int64_t length, int64_t written, watch *w, dk_error *err)
{
    w->count = 0;
    w->begin = dk_seconds();
    return di_answer(model, length, written, on_token, w, err);
}

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
    out->first_token[0] = quantile(w->first, w->tries, 0.5);
    out->first_token[1] = quantile(w->first, w->tries, 0.95);
    out->token[0] = quantile(w->gaps, w->gap_count, 0.5);
    out->token[1] = quantile(w->gaps, w->gap_count, 0.95);
    out->token[2] = quantile(w->gaps, w->gap_count, 0.99);
    if (out->first_token[0] > 0) out->prompt_speed = (double)out->prompt_tokens / out->first_token[0];
    if (out->token[0] > 0) out->decode_speed = 1 / out->token[0];
}

int32_t di_answer_time_measure(dk_host *host, di_teacher *model, di_answer_time *out, dk_error *err)
{
    const int64_t length = di_answer_prompt(model, WRITTEN);
    const int64_t written = length < WRITTEN ? length : WRITTEN;
    watch *w = NULL;
    int32_t rc;
    *out = (di_answer_time){.prompt_tokens = length};
    if (length < 1) return DK_OK;
    DK_TRY(dk_new(host, 1, &w, err));
    if ((rc = answer(model, length, written, w, err)) == DK_E_UNSUPPORTED) {
        dk_error_clear(err);
        rc = DK_OK;
        goto out;
    }
    DK_TRY(rc);
    w->gap_count = 0;
    const double begin = dk_seconds();
    while (w->tries < MOST && (w->tries < LEAST || dk_seconds() - begin < enough)) {
        DK_TRY(answer(model, length, written, w, err));
        w->tries++;
        out->written_tokens += w->count;
        if (dk_host_cancelled(host)) DK_TRY(dk_fail(err, DK_E_CANCELLED, "the timing was cancelled"));
    }
    out->seconds = dk_seconds() - begin;
    sum_up(w, out);
out:
    dk_free(host, w);
    return rc;
}
