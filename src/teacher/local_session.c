/* local_session.c - a model that scores: one pass per batch, its head strip by strip. */
#include "target/host_rows.h"
#include "teacher/teacher_parts.h"

typedef struct work { /* a session's state */
    dk_pass *pass;
    dk_queue queue;
    dk_arena arena;
    dk_view places;        /* I32 [max_rows] */
    dk_view hidden;        /* [max_rows, width] rows that are asked for */
    int32_t *numbers;      /* [max_rows] */
    distill_target target; /* for pull mode */
    distill_tensor values, head, bias;
    int64_t value_shape[2], head_shape[2], bias_shape[1];
} work;

static dk_model *model_of(const di_session *s)
{
    const di_local *local = s->teacher->state;
    return local->model;
}

void di_local_session_free(di_session *s)
{
    work *w = s->state;
    dk_pass_free(w->pass);
    dk_arena_free(&w->arena);
    dk_queue_close(&w->queue);
    dk_free(s->teacher->host, w->numbers);
    dk_free(s->teacher->host, w);
    s->state = NULL;
}

static int32_t rows(void *self, int64_t first, int64_t count, dk_view strip, const distill_target **target,
                    dk_error *err)
{
    di_session *s = self;
    work *w = s->state;
    if (target) *target = NULL;
    dk_head_forward(&w->queue, model_of(s), s->precision, dk_view_rows(w->hidden, first, count), strip);
    return dk_queue_wait(&w->queue, err);
}

static int32_t tap_values(void *self, int64_t tap, dk_view *out, dk_error *err)
{
    const di_session *s = self;
    const work *w = s->state;
    (void)err;
    *out = dk_pass_tap(w->pass, tap);
    return DK_OK;
}

static void plan(di_session *s, work *w)
{
    int64_t one[1] = {s->max_rows};
    w->places = dk_arena_take(&w->arena, DK_I32, 1, one);
    w->hidden = dk_arena_2d(&w->arena, s->teacher->backend->real, s->max_rows, model_of(s)->config.hidden_size);
}

int32_t di_local_session(di_session *s, dk_error *err)
{
    dk_model *model = model_of(s);
    dk_pass_spec spec = {.max_rows = s->max_tokens > 0 ? s->max_tokens : 1,
                         .max_sequences = s->max_sequences > 0 ? s->max_sequences : 1,
                         .taps = s->asked,
                         .tap_count = s->asked_count};
    work *w = NULL;
    int32_t rc;
    DK_TRY(dk_new(s->teacher->host, 1, &w, err));
    s->state = w;
    dk_arena_init(&w->arena, s->teacher->backend);
    DK_TRY(dk_queue_open(&w->queue, s->teacher->backend, err));
    DK_TRY(dk_new(s->teacher->host, s->max_rows, &w->numbers, err));
    DK_TRY(dk_pass_create(model, &spec, &w->pass, err));
    plan(s, w);
    DK_TRY(dk_arena_commit(&w->arena, err));
    plan(s, w);
    s->source = (di_source){.self = s,
                            .kind = DISTILL_DENSE,
                            .width = model->config.vocab_size,
                            .vocab_valid = di_vocab_valid(model, s->teacher->tokenizer),
                            .temperature = 1,
                            .rows = rows};
    s->taps = (di_taps){.self = s, .values = tap_values};
out:
    return rc;
}

int32_t di_local_forward(di_session *s, dk_error *err)
{
    work *w = s->state;
    const dk_ops *ops = s->teacher->backend->ops;
    dk_tokens tokens = {s->batch.ids, s->batch.offsets, s->batch.sequences};
    int32_t rc;
    DK_TRY(dk_pass_set_precision(w->pass, s->precision, err));
    DK_TRY(dk_pass_forward(w->pass, &tokens, err));
    if (!s->row_count) goto out;
    for (int64_t r = 0; r < s->row_count; r++) w->numbers[r] = (int32_t)s->places[r];
    ops->copy_in(&w->queue, dk_view_rows(w->places, 0, s->row_count), w->numbers);
    ops->gather_rows(&w->queue, dk_pass_hidden(w->pass), dk_view_rows(w->places, 0, s->row_count),
                     dk_view_rows(w->hidden, 0, s->row_count));
    DK_TRY(dk_queue_wait(&w->queue, err));
out:
    return rc;
}

/* A host's view of the hidden rows and of the head. */
const distill_target *di_local_hidden(di_session *s)
{
    work *w = s->state;
    dk_view rows_view = dk_view_rows(w->hidden, 0, s->row_count > 0 ? s->row_count : 1);
    return di_hidden_target(model_of(s), s->source.vocab_valid, rows_view, s->row_count, &w->target, &w->values,
                            &w->head, &w->bias, w->value_shape, w->head_shape, w->bias_shape);
}

const distill_target *di_hidden_target(const dk_model *model, int64_t vocab_valid, dk_view rows_view, int64_t count,
                                       distill_target *target, distill_tensor *values, distill_tensor *head,
                                       distill_tensor *bias, int64_t value_shape[2], int64_t head_shape[2],
                                       int64_t bias_shape[1])
{
    const dk_backend *backend = model->backend;
    DISTILL_INIT(target);
    if (di_tensor_of_view(backend, rows_view, "hidden", value_shape, values, NULL) ||
        di_tensor_of_view(backend, model->head->value, "head", head_shape, head, NULL))
        return NULL;
    value_shape[0] = count;
    target->kind = DISTILL_HIDDEN;
    target->values = values;
    target->head = head;
    if (model->head_bias) {
        if (di_tensor_of_view(backend, model->head_bias->value, "bias", bias_shape, bias, NULL)) return NULL;
        target->bias = bias;
    }
    target->logit_scale = model->config.logit_scale;
    target->softcap = model->config.logit_softcap;
    target->temperature = 1;
    target->vocab_valid = vocab_valid;
    return target;
}
