/* student_write.c - a host's student writes: what its generate hands over is looked at before it is believed. */
#include "student/student_parts.h"

typedef struct writer {
    const dk_generate_args *args;
    const int64_t *most;
    int64_t *written; /* [sequences]; -1 = ended */
    int64_t sequences;
    int32_t stopped; /* by args->emit */
    dk_error *err;   /* or NULL */
    int32_t rc;
} writer;

static int32_t refuse(writer *w, int64_t sequence, const char *what, int64_t value)
{
    w->rc = dk_fail(w->err, DK_E_CALLBACK, "the student's generate: text %lld of %lld: %s %lld", (long long)sequence,
                    (long long)w->sequences, what, (long long)value);
    return DISTILL_CB_CANCEL;
}

static int32_t take(void *user, int64_t sequence, int32_t id, double log_prob, const char *text, size_t size,
                    int32_t finished)
{
    writer *w = user;
    (void)text, (void)size;
    if (w->rc) return DISTILL_CB_CANCEL;
    if (sequence < 0 || sequence >= w->sequences) return refuse(w, sequence, "there is no such one; id", id);
    if (id < 0 || id >= w->args->vocab_valid) return refuse(w, sequence, "no id that both models know:", id);
    if (w->written[sequence] < 0) return refuse(w, sequence, "it had ended; id", id);
    if (w->written[sequence] == w->most[sequence])
        return refuse(w, sequence, "more tokens than it may have:", w->most[sequence]);
    if (finished < 0 || finished > 2) return refuse(w, sequence, "finished is none of 0, 1, 2:", finished);
    const int32_t rc = w->args->emit(w->args->user, sequence, id, log_prob, finished);
    w->written[sequence] = finished ? -1 : w->written[sequence] + 1;
    w->stopped = rc && rc != DK_TEXT_ENDS;
    return w->stopped ? DISTILL_CB_CANCEL : DISTILL_CB_OK;
}

static int32_t answered(writer *w, int32_t code)
{
    if (w->rc) return w->rc;
    if (w->stopped || code == DISTILL_CB_CANCEL)
        return dk_fail(w->err, DK_E_CANCELLED, "the student's generate was stopped");
    if (code != DISTILL_CB_OK) {
        dk_fail(w->err, DK_E_CALLBACK, "the student's generate returned %d", (int)code);
        if (w->err) w->err->user_code = code;
        return DK_E_CALLBACK;
    }
    for (int64_t s = 0; s < w->sequences; s++)
        if (w->written[s] >= 0 && w->written[s] < w->most[s]) {
            refuse(w, s, "it was left unfinished after so many tokens:", w->written[s]);
            return w->rc;
        }
    return DK_OK;
}

static void describe(const dk_generate_args *args, const int64_t *most, distill_writing *out)
{
    DISTILL_INIT(out);
    out->vocab = args->vocab_valid;
    out->temperature = args->temperature;
    out->top_p = args->top_p;
    out->seed = (int64_t)(args->seed >> 1);
    out->most = most;
}

int32_t di_hosted_write(dk_host *host, const distill_student_callbacks *table, const dk_tokens *prompts,
                        const dk_generate_args *args, const int64_t *most, dk_error *err)
{
    writer w = {.args = args, .most = most, .sequences = prompts->sequences, .err = err};
    distill_batch batch;
    distill_writing how;
    int32_t rc;
    describe(args, most, &how);
    DISTILL_INIT(&batch);
    batch.ids = prompts->ids;
    batch.offsets = prompts->offsets;
    batch.sequences = prompts->sequences;
    DK_TRY(dk_new(host, prompts->sequences, &w.written, err));
    rc = answered(&w, table->generate(table->user, &batch, &how, take, &w));
out:
    dk_free(host, w.written);
    return rc;
}
