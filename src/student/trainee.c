/* trainee.c - a student at work, whatever its kind. */
#include <string.h>

#include "student/student_parts.h"

int32_t di_trainee_create(di_student *student, int64_t max_tokens, int64_t max_sequences, int64_t max_rows,
                          int32_t checkpointing, const di_asked *asked, di_trainee **out, dk_error *err)
{
    di_trainee *t = NULL;
    dk_tap_spec *taps = NULL;
    int32_t rc;
    DK_TRY(dk_new(student->host, 1, &t, err));
    t->student = di_student_retain(student);
    t->host = student->host;
    t->backend = student->backend;
    t->max_tokens = max_tokens > 0 ? max_tokens : 1;
    t->max_rows = max_rows > 0 ? max_rows : 1;
    t->asked.count = asked ? asked->count : 0;
    DK_TRY(dk_new(t->host, t->asked.count + 1, &taps, err));
    if (t->asked.count) memcpy(taps, asked->taps, (size_t)t->asked.count * sizeof *taps);
    t->asked.taps = taps;
    DK_TRY(student->kind->begin(t, max_sequences > 0 ? max_sequences : 1, checkpointing, err));
    *out = t;
    return DK_OK;
out:
    di_trainee_free(t);
    return rc;
}

void di_trainee_free(di_trainee *t)
{
    if (!t) return;
    di_student *student = t->student;
    if (t->state) student->kind->end(t);
    dk_free(t->host, (void *)(uintptr_t)t->asked.taps);
    dk_free(t->host, t);
    di_student_release(student);
}

void di_trainee_set_precision(di_trainee *t, dk_precision precision) { t->precision = precision; }

void di_trainee_on_whole(di_trainee *t, dk_whole_fn fn, void *user)
{
    t->whole = fn;
    t->whole_user = user;
}

int32_t di_trainee_forward(di_trainee *t, const distill_batch *batch, dk_error *err)
{
    t->batch = *batch;
    t->rows = di_batch_rows(batch);
    if (t->rows > t->max_rows || !batch->rows)
        return dk_fail(err, DK_E_INTERNAL, "%lld rows do not fit a trainee of %lld", (long long)t->rows,
                       (long long)t->max_rows);
    return t->student->kind->forward(t, err);
}

const di_source *di_trainee_source(const di_trainee *t) { return &t->source; }

const di_taps *di_trainee_taps(const di_trainee *t) { return &t->taps; }

const distill_target *di_trainee_hidden(di_trainee *t)
{
    return t->student->kind->hidden ? t->student->kind->hidden(t) : NULL;
}

int32_t di_trainee_backward(di_trainee *t, const distill_tensor *dhidden, dk_error *err)
{
    return t->student->kind->backward(t, dhidden, err);
}

int64_t di_trainee_bytes(const di_student *student, int64_t max_tokens, int64_t max_sequences, int64_t max_rows,
                         int32_t checkpointing, const di_asked *asked)
{
    dk_pass_spec spec = {
        .max_rows = max_tokens, .max_sequences = max_sequences, .backward = 1, .checkpointing = checkpointing};
    if (asked) spec.taps = asked->taps;
    if (asked) spec.tap_count = asked->count;
    return student->kind->bytes ? student->kind->bytes(student, &spec, max_rows) : 0;
}
