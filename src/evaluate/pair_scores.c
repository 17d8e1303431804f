#include "evaluate/pair_scores.h"

#include <math.h>

#include "loss/measure.h"
#include "teacher/score.h"

enum { WINDOWS = 8 }; /* per forward */

typedef struct scoring {
    const di_pair_score_args *args;
    const di_batch *batch;
    int64_t vocab, first;
    di_measure strip;
    double nats[DI_STRIP_ROWS];
    double *out;
} scoring;

static void measure_rows(void *context, int64_t begin, int64_t end)
{
    scoring *s = context;
    for (int64_t r = begin; r < end; r++) {
        di_measured row;
        di_measure_row(&s->strip, r, &row);
        s->nats[r] = row.nats;
    }
}

/* Row after row, so that the sums' bits are those of any threads. */
static int32_t on_strip(void *user, const di_session *session, int64_t first, int64_t count, const float *rows,
                        dk_error *err)
{
    scoring *s = user;
    const di_batch *batch = s->batch;
    s->strip = (di_measure){.isa = s->args->backend->isa,
                            .vocab = s->vocab,
                            .student = rows,
                            .student_stride = di_session_source(session)->width,
                            .temperature = 1,
                            .labels = batch->labels + first};
    dk_parallel_for(s->args->backend->host, count, 16, measure_rows, s);
    int32_t rc = dk_parallel_check(s->args->backend->host, err);
    for (int64_t r = 0; r < count && rc == DK_OK; r++) {
        const int64_t sequence = batch->row_sequence[first + r];
        if (batch->sides[sequence]) s->out[batch->origins[sequence].number] -= s->nats[r];
    }
    return rc;
}

static int32_t check_finite(const scoring *s, dk_error *err)
{
    for (int64_t i = 0; i < s->batch->sequences; i++) {
        if (isfinite(s->out[s->batch->origins[i].number])) continue;
        dk_fail(err, DK_E_NUMERIC, "the %s side of the pair has the log-probability %s",
                s->batch->sides[i] == DISTILL_CHOSEN ? "chosen" : "rejected",
                s->out[s->batch->origins[i].number] < 0 ? "-inf" : "nan");
        di_batch_name_sample(s->batch, i, err);
        return DK_E_NUMERIC;
    }
    return DK_OK;
}

static int32_t score_batch(scoring *s, di_scorer *scorer, dk_error *err)
{
    distill_batch view;
    int32_t rc;
    if (!s->batch->pairs) return DK_OK;
    di_batch_view(s->batch, &view);
    rc = di_scorer_run(scorer, &view, 0, on_strip, s, err);
    if (rc && di_names_sequence(err, view.sequences)) di_batch_name_sample(s->batch, err->position, err);
    return rc ? rc : check_finite(s, err);
}

static int32_t check_cancel(const scoring *s, int64_t done, int64_t total, dk_error *err)
{
    const di_pair_score_args *args = s->args;
    if (!(args->cancel && *args->cancel) && !dk_host_cancelled(args->backend->host) &&
        !(args->progress && args->progress(args->user, done, total)))
        return DK_OK;
    return dk_fail(err, DK_E_CANCELLED, "cancelled while pairs were scored, after %lld of %lld windows",
                   (long long)done, (long long)total);
}

int32_t di_pair_scores(const di_pair_score_args *args, double *out, dk_error *err)
{
    scoring s = {.args = args, .vocab = di_teacher_vocab_valid(args->model), .out = out};
    di_scorer *scorer = NULL;
    di_batch *batch = NULL;
    int64_t windows = 0;
    int32_t rc;
    if (args->vocab && args->vocab < s.vocab) s.vocab = args->vocab;
    DK_TRY(di_dataset_get_i64(args->data, "windows", &windows, err));
    DK_TRY(di_batch_create(args->data, WINDOWS, &batch, err));
    s.batch = batch;
    DK_TRY(di_scorer_create(args->model, batch->max_tokens, batch->max_sequences, batch->max_tokens, &scorer, err));
    di_session_set_precision(di_scorer_session(scorer), args->precision);
    for (int64_t i = 0; i < di_dataset_sequence_count(args->data); i++) out[i] = 0;
    for (int64_t done = 0; done < windows; done += WINDOWS) {
        DK_TRY(check_cancel(&s, done, windows, err));
        DK_TRY(di_dataset_windows(args->data, done, windows - done < WINDOWS ? windows - done : WINDOWS, batch, err));
        DK_TRY(score_batch(&s, scorer, err));
    }
out:
    di_scorer_free(scorer);
    di_batch_free(batch);
    return rc;
}

void di_pair_tally_count(di_pair_tally *tally, const double nats[2], const double *teacher_nats,
                         const double *reference, double beta)
{
    const double margin = nats[1] - nats[0];
    tally->count++;
    tally->right += margin > 0;
    tally->margin += margin;
    if (teacher_nats) {
        tally->has_teacher = 1;
        tally->teacher_right += teacher_nats[1] > teacher_nats[0];
        tally->teacher_margin += teacher_nats[1] - teacher_nats[0];
    }
    if (reference) {
        const double reward = beta * (margin - (reference[0] - reference[1]));
        tally->has_reference = 1;
        tally->reward_right += reward > 0;
        tally->reward_margin += reward;
        tally->reward_loss += reward > 0 ? log1p(exp(-reward)) : log1p(exp(reward)) - reward;
    }
}

void di_pair_tally_add(di_pair_tally *to, const di_pair_tally *from)
{
    to->count += from->count;
    to->right += from->right;
    to->teacher_right += from->teacher_right;
    to->reward_right += from->reward_right;
    to->margin += from->margin;
    to->teacher_margin += from->teacher_margin;
    to->reward_margin += from->reward_margin;
    to->reward_loss += from->reward_loss;
    to->has_teacher |= from->has_teacher;
    to->has_reference |= from->has_reference;
}

static void mean(dk_strbuf *out, const char *name, double sum, int64_t count)
{
    dk_strbuf_printf(out, ",\"%s\":", name);
    if (isfinite(sum)) dk_strbuf_f64(out, sum / (double)count);
    else dk_strbuf_puts(out, "null");
}

void di_pair_tally_json(const di_pair_tally *t, dk_strbuf *out)
{
    if (!t->count) return;
    dk_strbuf_printf(out, ",\"pairs\":{\"count\":%lld", (long long)t->count);
    mean(out, "accuracy", (double)t->right, t->count);
    mean(out, "margin", t->margin, t->count);
    if (t->has_teacher) mean(out, "teacher_accuracy", (double)t->teacher_right, t->count);
    if (t->has_teacher) mean(out, "teacher_margin", t->teacher_margin, t->count);
    if (t->has_reference) mean(out, "reward_accuracy", (double)t->reward_right, t->count);
    if (t->has_reference) mean(out, "reward_margin", t->reward_margin, t->count);
    if (t->has_reference) mean(out, "reward_loss", t->reward_loss, t->count);
    dk_strbuf_puts(out, "}");
}
