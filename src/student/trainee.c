/* trainee.c - a student at work: forward, the head strip by strip with its gradient, backward. */
#include <string.h>

#include "student/student_parts.h"
#include "target/host_rows.h"

struct di_trainee {
    di_student *student; /* a reference */
    dk_host *host;
    dk_backend *backend;
    dk_queue queue;
    di_staging copied; /* of gradients, where the host does not see them */
    di_source source;
    distill_batch batch;
    int64_t rows, max_rows;

    /* a model */
    dk_pass *pass;
    dk_arena arena;
    dk_view places;          /* I32 [max_rows] */
    dk_view hidden, dhidden; /* [max_rows, width] of the rows that are asked for */
    dk_view spread;          /* [max_tokens, width]: dhidden at its places, zero elsewhere */
    int32_t *numbers;
    int64_t max_tokens;
    distill_target target;
    distill_tensor values, head, bias;
    int64_t value_shape[2], head_shape[2], bias_shape[1];

    /* callbacks */
    di_session *session;
    distill_tensor gradient;
    int64_t gradient_shape[2], gradient_strides[2];
};

/* ---- a model ---- */

static int32_t model_rows(void *self, int64_t first, int64_t count, dk_view strip, const distill_target **target,
                          dk_error *err)
{
    di_trainee *t = self;
    if (target) *target = NULL;
    dk_head_forward(&t->queue, t->student->model, DK_PRECISION_FULL, dk_view_rows(t->hidden, first, count), strip);
    return dk_queue_wait(&t->queue, err);
}

static int32_t model_gradient(void *self, int64_t first, int64_t count, dk_view logits, dk_view dlogits, dk_error *err)
{
    di_trainee *t = self;
    dk_head_backward(&t->queue, t->student->model, DK_PRECISION_FULL, dk_view_rows(t->hidden, first, count), logits,
                     dlogits, dk_view_rows(t->dhidden, first, count), 0);
    return dk_queue_wait(&t->queue, err);
}

static void plan(di_trainee *t)
{
    int64_t one[1] = {t->max_rows}, width = t->student->model->config.hidden_size;
    t->places = dk_arena_take(&t->arena, DK_I32, 1, one);
    t->hidden = dk_arena_2d(&t->arena, t->backend->real, t->max_rows, width);
    t->dhidden = dk_arena_2d(&t->arena, t->backend->real, t->max_rows, width);
    t->spread = dk_arena_2d(&t->arena, t->backend->real, t->max_tokens, width);
}

static int32_t create_model(di_trainee *t, int64_t max_sequences, int32_t checkpointing, dk_error *err)
{
    dk_model *model = t->student->model;
    dk_pass_spec spec = {
        .max_rows = t->max_tokens, .max_sequences = max_sequences, .backward = 1, .checkpointing = checkpointing};
    int32_t rc;
    DK_TRY(dk_new(t->host, t->max_rows, &t->numbers, err));
    DK_TRY(dk_pass_create(model, &spec, &t->pass, err));
    plan(t);
    DK_TRY(dk_arena_commit(&t->arena, err));
    plan(t);
    t->source = (di_source){.self = t,
                            .kind = DISTILL_DENSE,
                            .width = model->config.vocab_size,
                            .vocab_valid = model->config.vocab_size,
                            .temperature = 1,
                            .needs_logits = model->config.logit_softcap != 0,
                            .rows = model_rows,
                            .gradient = model_gradient};
out:
    return rc;
}

static int32_t forward_model(di_trainee *t, dk_error *err)
{
    const dk_ops *ops = t->backend->ops;
    dk_tokens tokens = {t->batch.ids, t->batch.offsets, t->batch.sequences};
    int32_t rc;
    DK_TRY(dk_pass_forward(t->pass, &tokens, err));
    if (!t->rows) goto out;
    for (int64_t r = 0; r < t->rows; r++) t->numbers[r] = (int32_t)t->batch.rows[r];
    ops->copy_in(&t->queue, dk_view_rows(t->places, 0, t->rows), t->numbers);
    ops->gather_rows(&t->queue, dk_pass_hidden(t->pass), dk_view_rows(t->places, 0, t->rows),
                     dk_view_rows(t->hidden, 0, t->rows));
    DK_TRY(dk_queue_wait(&t->queue, err));
out:
    return rc;
}

static int32_t take_gradient(di_trainee *t, const distill_tensor *given, dk_error *err)
{
    int64_t shape[2] = {t->rows, t->student->model->config.hidden_size};
    int32_t rc;
    if (!given) return DK_OK;
    DK_TRY(di_check_tensor(given, "gradient", 2, shape, 0, err));
    dk_view dhidden = dk_view_rows(t->dhidden, 0, t->rows);
    di_host_rows to;
    if (t->backend->real != DK_F32)
        return dk_fail(err, DK_E_UNSUPPORTED, "this backend takes no gradient from the host");
    DK_TRY(di_host_place(&t->queue, &t->copied, dhidden, &to, err));
    di_tensor_read_rows(given, 0, t->rows, (float *)(void *)to.data);
    DK_TRY(di_host_write(&t->queue, dhidden, &to, err));
out:
    return rc;
}

static int32_t backward_model(di_trainee *t, const distill_tensor *given, dk_error *err)
{
    const dk_ops *ops = t->backend->ops;
    int64_t tokens = t->batch.offsets[t->batch.sequences];
    dk_view spread = dk_view_rows(t->spread, 0, tokens > 0 ? tokens : 1);
    int32_t rc;
    if (!t->rows) return DK_OK;
    DK_TRY(take_gradient(t, given, err));
    ops->fill(&t->queue, spread, 0);
    ops->scatter_rows(&t->queue, dk_view_rows(t->dhidden, 0, t->rows), dk_view_rows(t->places, 0, t->rows), spread, 0);
    DK_TRY(dk_queue_wait(&t->queue, err));
    DK_TRY(dk_pass_backward(t->pass, spread, err));
out:
    return rc;
}

/* ---- callbacks ---- */

static int32_t hosted_rows(void *self, int64_t first, int64_t count, dk_view strip, const distill_target **target,
                           dk_error *err)
{
    di_trainee *t = self;
    const di_source *source = di_session_source(t->session);
    return source->rows(source->self, first, count, strip, target, err);
}

static int32_t backward_hosted(di_trainee *t, int64_t first, int64_t count, float *data, int64_t width, int64_t stride,
                               dk_error *err)
{
    const distill_student_callbacks *table = di_student_callbacks(t->student);
    t->gradient_shape[0] = count;
    t->gradient_shape[1] = width;
    t->gradient_strides[0] = stride;
    t->gradient_strides[1] = 1;
    t->gradient = di_tensor_of(data, DISTILL_FLOAT, 32, 2, t->gradient_shape);
    t->gradient.strides = t->gradient_strides;
    int32_t code = table->backward(table->user, first, count, &t->gradient);
    if (code == DISTILL_CB_OK) return DK_OK;
    if (code == DISTILL_CB_CANCEL)
        return dk_fail(err, DK_E_CANCELLED, "the student's backward stopped at row %lld", (long long)first);
    dk_fail(err, DK_E_CALLBACK, "the student's backward returned %d for rows %lld to %lld", (int)code, (long long)first,
            (long long)(first + count));
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}

static int32_t hosted_gradient(void *self, int64_t first, int64_t count, dk_view logits, dk_view dlogits, dk_error *err)
{
    di_trainee *t = self;
    const distill_target *form = di_student_callbacks(t->student)->form;
    float *hidden = NULL;
    int32_t rc;
    if (form->kind == DISTILL_DENSE) {
        di_host_rows rows;
        rc = di_host_read(&t->queue, &t->copied, dlogits, &rows, err);
        return rc ? rc
                  : backward_hosted(t, first, count, (float *)(void *)rows.data, t->source.width, rows.stride, err);
    }
    const int64_t width = form->head->shape[1];
    rc = di_session_gradient(t->session, first, count, logits, dlogits, &hidden, err);
    return rc == DK_OK ? backward_hosted(t, first, count, hidden, width, width, err) : rc;
}

static int32_t create_hosted(di_trainee *t, int64_t max_sequences, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_session_create_trained(t->student->form, t->max_tokens, max_sequences, t->max_rows, &t->session, err));
    t->source = *di_session_source(t->session);
    t->source.self = t;
    t->source.rows = hosted_rows;
    t->source.gradient = hosted_gradient;
out:
    return rc;
}

/* ---- both ---- */

int32_t di_trainee_create(di_student *student, int64_t max_tokens, int64_t max_sequences, int64_t max_rows,
                          int32_t checkpointing, di_trainee **out, dk_error *err)
{
    di_trainee *t = NULL;
    int32_t rc;
    DK_TRY(dk_new(student->host, 1, &t, err));
    t->student = di_student_retain(student);
    t->host = student->host;
    t->backend = student->backend;
    t->max_tokens = max_tokens > 0 ? max_tokens : 1;
    t->max_rows = max_rows > 0 ? max_rows : 1;
    dk_arena_init(&t->arena, t->backend);
    DK_TRY(dk_queue_open(&t->queue, t->backend, err));
    if (student->model) DK_TRY(create_model(t, max_sequences > 0 ? max_sequences : 1, checkpointing, err));
    else DK_TRY(create_hosted(t, max_sequences, err));
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
    dk_pass_free(t->pass);
    di_session_free(t->session);
    dk_arena_free(&t->arena);
    di_staging_free(t->host, &t->copied);
    dk_queue_close(&t->queue);
    dk_free(t->host, t->numbers);
    dk_free(t->host, t);
    di_student_release(student);
}

int32_t di_trainee_forward(di_trainee *t, const distill_batch *batch, dk_error *err)
{
    t->batch = *batch;
    t->rows = di_batch_rows(batch);
    if (t->rows > t->max_rows || !batch->rows)
        return dk_fail(err, DK_E_INTERNAL, "%lld rows do not fit a trainee of %lld", (long long)t->rows,
                       (long long)t->max_rows);
    return t->student->model ? forward_model(t, err) : di_session_forward(t->session, batch, err);
}

const di_source *di_trainee_source(const di_trainee *t) { return &t->source; }

const distill_target *di_trainee_hidden(di_trainee *t)
{
    if (!t->student->model) return NULL;
    return di_hidden_target(t->student->model, dk_view_rows(t->hidden, 0, t->rows > 0 ? t->rows : 1), t->rows,
                            &t->target, &t->values, &t->head, &t->bias, t->value_shape, t->head_shape, t->bias_shape);
}

int32_t di_trainee_backward(di_trainee *t, const distill_tensor *dhidden, dk_error *err)
{
    if (t->student->model) return backward_model(t, dhidden, err);
    if (dhidden)
        return dk_fail(err, DK_E_UNSUPPORTED, "a student of callbacks takes gradients of its rows, through next_rows");
    return DK_OK;
}

int64_t di_trainee_bytes(const di_student *student, int64_t max_tokens, int64_t max_sequences, int64_t max_rows,
                         int32_t checkpointing)
{
    dk_pass_spec spec = {
        .max_rows = max_tokens, .max_sequences = max_sequences, .backward = 1, .checkpointing = checkpointing};
    if (!student->model) return 0;
    return dk_pass_bytes(&spec, student->model) + (2 * max_rows + max_tokens) * student->model->config.hidden_size *
                                                      (int64_t)dk_dtype_size(student->backend->real);
}
