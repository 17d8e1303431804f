/* hosted_session.c - a host's callbacks at work: rows as they ask for them, into the library's tensors. */
#include <string.h>

#include "target/host_rows.h"
#include "target/host_taps.h"
#include "teacher/teacher_parts.h"

typedef struct work { /* a session's state: room for what score fills, and the target that points to it */
    dk_queue queue;   /* DENSE: with a copy of the strip where the host does not see it */
    di_staging copied;
    float *values, *beside; /* DENSE: strips are filled in place; else [max_rows, width], [max_rows] */
    int32_t *ids;
    distill_tensor value_tensor, id_tensor, beside_tensor;
    int64_t shape[2], row_shape[1], strides[2];
    distill_target out;   /* given to score */
    distill_target given; /* what came back, checked */
    di_wrapped *wrapped;  /* HIDDEN: makes logits of the values */
    distill_target hidden;
    distill_tensor hidden_values;
    int64_t hidden_shape[2];
    int64_t *identity; /* [max_rows] */
    float *gradients;  /* HIDDEN of a student: dL/d values, [max_rows, width] */
    distill_tensor gradient;
    di_host_taps *taps;
} work;

static const di_hosted *hosted_of(const di_session *s) { return s->teacher->state; }

void di_hosted_session_free(di_session *s)
{
    work *h = s->state;
    di_wrapped_free(h->wrapped);
    di_host_taps_free(h->taps);
    di_staging_free(s->teacher->host, &h->copied);
    dk_queue_close(&h->queue);
    dk_free(s->teacher->host, h->values);
    dk_free(s->teacher->host, h->beside);
    dk_free(s->teacher->host, h->ids);
    dk_free(s->teacher->host, h->identity);
    dk_free(s->teacher->host, h->gradients);
    dk_free(s->teacher->host, h);
    s->state = NULL;
}

static int32_t call(di_session *s, int64_t first, int64_t count, dk_error *err)
{
    di_hosted *hosted = s->teacher->state;
    const distill_teacher_callbacks *table = &hosted->callbacks;
    work *h = s->state;
    if (!table->score) return dk_fail(err, DK_E_UNSUPPORTED, "this teacher only generates: its table has no score");
    if (!(table->flags & DISTILL_CB_MT) && atomic_exchange(&hosted->busy, 1))
        return dk_fail(err, DK_E_BUSY,
                       "the teacher's score runs in another thread, and its table has no DISTILL_CB_MT");
    h->given = h->out;
    int32_t code = table->score(table->user, &s->batch, first, count, &h->given);
    atomic_store(&hosted->busy, 0);
    if (code == DISTILL_CB_OK) return DK_OK;
    if (code == DISTILL_CB_CANCEL)
        return dk_fail(err, DK_E_CANCELLED, "the teacher's score stopped at row %lld", (long long)first);
    dk_fail(err, DK_E_CALLBACK, "the teacher's score returned %d for rows %lld to %lld", (int)code, (long long)first,
            (long long)(first + count));
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}

static int32_t dense_rows(void *self, int64_t first, int64_t count, dk_view strip, const distill_target **target,
                          dk_error *err)
{
    di_session *s = self;
    work *h = s->state;
    di_host_rows rows;
    int32_t rc;
    if (target) *target = NULL;
    DK_TRY(di_host_place(&h->queue, &h->copied, strip, &rows, err));
    h->shape[0] = count;
    h->shape[1] = s->source.width;
    h->strides[0] = rows.stride;
    h->strides[1] = 1;
    h->value_tensor = di_tensor_of(rows.data, DISTILL_FLOAT, 32, 2, h->shape);
    h->value_tensor.strides = h->strides;
    DK_TRY(call(s, first, count, err));
    DK_TRY(di_host_write(&h->queue, strip, &rows, err));
out:
    return rc;
}

static int32_t hidden_rows(void *self, int64_t first, int64_t count, dk_view strip, const distill_target **target,
                           dk_error *err)
{
    di_session *s = self;
    work *h = s->state;
    const di_source *source = di_wrapped_source(h->wrapped);
    int32_t rc;
    h->shape[0] = count;
    h->shape[1] = hosted_of(s)->value_shape[1];
    h->value_tensor = di_tensor_of(h->values + first * h->shape[1], DISTILL_FLOAT, 32, 2, h->shape);
    DK_TRY(call(s, first, count, err));
    DK_TRY(source->rows(source->self, first, count, strip, target, err));
out:
    return rc;
}

static int32_t sparse_rows(void *self, int64_t first, int64_t count, dk_view strip, const distill_target **target,
                           dk_error *err)
{
    di_session *s = self;
    work *h = s->state;
    int32_t one_hot = hosted_of(s)->form.kind == DISTILL_ONE_HOT, rc;
    (void)strip;
    h->shape[0] = h->row_shape[0] = count;
    h->shape[1] = hosted_of(s)->value_shape[1];
    h->value_tensor = di_tensor_of(h->values, DISTILL_FLOAT, 32, 2, h->shape);
    h->id_tensor = di_tensor_of(h->ids, DISTILL_INT, 32, one_hot ? 1 : 2, h->shape);
    h->beside_tensor = di_tensor_of(h->beside, DISTILL_FLOAT, 32, 1, h->row_shape);
    DK_TRY(call(s, first, count, err));
    DK_TRY(di_check_target(&h->given, "the teacher's target", count, err));
    if (hosted_of(s)->form.kind == DISTILL_SAMPLED && !h->given.entropy != !hosted_of(s)->form.entropy)
        DK_TRY(dk_fail(err, DK_E_MISMATCH, "the teacher's target has %s entropy, and its form %s",
                       h->given.entropy ? "an" : "no", h->given.entropy ? "none" : "one"));
    if (target) *target = &h->given;
out:
    return rc;
}

static int32_t plan_hidden(di_session *s, work *h, dk_error *err)
{
    di_wrapped_spec spec = {
        .target = &h->hidden, .name = "the teacher's target", .rows = s->max_rows, .max_count = s->max_rows};
    int32_t rc;
    DK_TRY(dk_new(s->teacher->host, s->max_rows, &h->identity, err));
    for (int64_t r = 0; r < s->max_rows; r++) h->identity[r] = r;
    h->hidden_shape[0] = s->max_rows;
    h->hidden_shape[1] = hosted_of(s)->value_shape[1];
    h->hidden_values = di_tensor_of(h->values, DISTILL_FLOAT, 32, 2, h->hidden_shape);
    h->hidden = hosted_of(s)->form;
    h->hidden.values = &h->hidden_values;
    spec.places = h->identity;
    if (s->with_gradient) {
        DK_TRY(dk_new(s->teacher->host, s->max_rows * h->hidden_shape[1], &h->gradients, err));
        h->gradient = di_tensor_of(h->gradients, DISTILL_FLOAT, 32, 2, h->hidden_shape);
        spec.grad_values = &h->gradient;
    }
    DK_TRY(di_check_target(&h->hidden, "form", s->max_rows, err));
    DK_TRY(di_wrapped_create(s->teacher->backend, &spec, &h->wrapped, err));
out:
    return rc;
}

static int32_t plan_taps(di_session *s, work *h, dk_error *err)
{
    di_hosted *hosted = s->teacher->state;
    const distill_teacher_callbacks *table = &hosted->callbacks;
    const di_asked asked = {s->asked, s->asked_count};
    const di_host_taps_spec spec = {.backend = s->teacher->backend,
                                    .taps = hosted->taps,
                                    .tap_count = table->tap_count,
                                    .asked = &asked,
                                    .max_tokens = s->max_tokens,
                                    .owner = "the teacher",
                                    .user = table->user,
                                    .busy = table->flags & DISTILL_CB_MT ? NULL : &hosted->busy,
                                    .read = table->read_tap};
    const int32_t rc = di_host_taps_create(&spec, &h->taps, err);
    if (rc == DK_OK) s->taps = *di_host_taps_of(h->taps);
    return rc;
}

int32_t di_hosted_session(di_session *s, dk_error *err)
{
    const distill_target *form = &hosted_of(s)->form;
    dk_host *host = s->teacher->host;
    int32_t kind = form->kind, rc;
    int64_t width = hosted_of(s)->value_shape[1];
    work *h = NULL;
    DK_TRY(dk_new(host, 1, &h, err));
    s->state = h;
    DK_TRY(dk_queue_open(&h->queue, s->teacher->backend, err));
    DK_TRY(plan_taps(s, h, err));
    h->out = *form;
    h->out.values = kind == DISTILL_ONE_HOT ? NULL : &h->value_tensor;
    if (kind == DISTILL_TOPK || kind == DISTILL_SAMPLED || kind == DISTILL_ONE_HOT) h->out.ids = &h->id_tensor;
    di_target_set_beside(&h->out, di_target_beside(form) ? &h->beside_tensor : NULL);
    if (kind != DISTILL_DENSE) {
        DK_TRY(dk_new(host, s->max_rows * width, &h->values, err));
        DK_TRY(dk_new(host, s->max_rows * width, &h->ids, err));
        DK_TRY(dk_new(host, s->max_rows, &h->beside, err));
    }
    s->source = (di_source){
        .self = s, .kind = kind, .temperature = form->temperature > 0 ? form->temperature : 1, .rows = sparse_rows};
    s->source.vocab_valid = di_teacher_vocab_valid(s->teacher);
    s->source.has_entropy = form->entropy != NULL;
    if (kind == DISTILL_DENSE) {
        s->source.width = width;
        s->source.rows = dense_rows;
    } else if (kind == DISTILL_HIDDEN) {
        DK_TRY(plan_hidden(s, h, err));
        s->source.kind = DISTILL_DENSE;
        s->source.width = hosted_of(s)->head_shape[0];
        s->source.rows = hidden_rows;
        s->source.needs_logits = di_wrapped_source(h->wrapped)->needs_logits;
    } else {
        s->source.width = 0;
    }
out:
    return rc;
}

int32_t di_session_gradient(di_session *s, int64_t first, int64_t count, dk_view logits, dk_view dlogits, float **out,
                            dk_error *err)
{
    work *h = s->state;
    const di_source *source = di_wrapped_source(h->wrapped);
    *out = h->gradients + first * h->hidden_shape[1];
    return source->gradient(source->self, first, count, logits, dlogits, err);
}

int32_t di_hosted_begin(di_session *s, dk_error *err)
{
    const distill_teacher_callbacks *table = &hosted_of(s)->callbacks;
    if (!table->begin) return DK_OK;
    const int32_t code = table->begin(table->user, &s->batch);
    if (code == DISTILL_CB_OK) return DK_OK;
    if (code == DISTILL_CB_CANCEL) return dk_fail(err, DK_E_CANCELLED, "the teacher's begin stopped");
    dk_fail(err, DK_E_CALLBACK, "the teacher's begin returned %d for a batch of %lld rows", (int)code,
            (long long)s->row_count);
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}

void di_hosted_end(di_session *s)
{
    const distill_teacher_callbacks *table = &hosted_of(s)->callbacks;
    if (table->begin && table->end) table->end(table->user, &s->batch);
}

int32_t di_hosted_forward(di_session *s, dk_error *err)
{
    work *h = s->state;
    (void)err; /* a host computes the batch when its first rows or places are asked for */
    di_host_taps_begin(h->taps, &s->batch);
    return DK_OK;
}
