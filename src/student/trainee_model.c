/* trainee_model.c - a model at work: forward, its head strip by strip with the gradient, backward. */
#include "student/student_parts.h"
#include "target/host_rows.h"

#define HALVES_MOST ((int64_t)64 << 20)

typedef struct work {
    dk_queue queue;
    di_staging copied; /* of gradients, where the host does not see them */
    dk_pass *pass;
    dk_arena arena;
    dk_view places;          /* I32 [max_rows] */
    dk_view hidden, dhidden; /* [max_rows, width] of the rows that are asked for */
    dk_view spread;          /* [max_tokens, width]: dhidden at its places, zero elsewhere */
    int32_t *numbers;        /* [max_rows] */
    dk_buffer *halves; /* BF16 [max_rows, vocab]: gradients of logits, until the head takes all at once; or NULL */
    int32_t owes;      /* that */
    distill_target target;
    distill_tensor values, head, bias;
    int64_t value_shape[2], head_shape[2], bias_shape[1];
    int32_t graded; /* rows gave their gradients since the last forward */
} work;

static dk_model *model_of(const di_trainee *t) { return t->student->state; }

static int32_t model_rows(void *self, int64_t first, int64_t count, dk_view strip, const distill_target **target,
                          dk_error *err)
{
    di_trainee *t = self;
    work *w = t->state;
    if (target) *target = NULL;
    dk_head_forward(&w->queue, model_of(t), t->precision, dk_view_rows(w->hidden, first, count), strip);
    return dk_queue_wait(&w->queue, err);
}

static int32_t tap_values(void *self, int64_t tap, dk_view *out, dk_error *err)
{
    const di_trainee *t = self;
    const work *w = t->state;
    (void)err;
    *out = dk_pass_tap(w->pass, tap);
    return DK_OK;
}

static int32_t tap_gradient(void *self, int64_t tap, dk_view *out, dk_error *err)
{
    const di_trainee *t = self;
    const work *w = t->state;
    (void)err;
    *out = dk_pass_tap_gradient(w->pass, tap);
    return DK_OK;
}

/* ---- gradients of logits that nothing but products reads ---- */
int64_t di_trained_halves_bytes(const dk_model *model, int64_t max_rows)
{
    const int64_t bytes = max_rows * model->config.vocab_size * (int64_t)sizeof(uint16_t);
    const int32_t native = model->backend->native >> DK_PRECISION_BF16 & 1;
    return native && dk_head_takes_halves(model) && bytes <= HALVES_MOST ? bytes : 0;
}

static int32_t reserve_halves(const di_trainee *t, work *w, dk_error *err)
{
    const int64_t bytes = di_trained_halves_bytes(model_of(t), t->max_rows);
    if (t->precision != DK_PRECISION_BF16 || w->halves || !bytes) return DK_OK;
    return t->backend->ops->buffer_create(t->backend, bytes, &w->halves, err);
}

/* Of all rows where these are kept, else of [first, first + count), in the places of the logits. */
static dk_view model_halves(void *self, int64_t first, int64_t count, dk_view strip)
{
    const di_trainee *t = self;
    const work *w = t->state;
    if (t->precision != DK_PRECISION_BF16 || !dk_head_takes_halves(model_of(t))) return dk_view_none();
    if (w->halves) return dk_view_rows(dk_view_2d(w->halves, 0, DK_BF16, t->max_rows, t->source.width), first, count);
    strip.dtype = DK_BF16;
    strip.stride[0] *= 2;
    return strip;
}

static int32_t model_gradient(void *self, int64_t first, int64_t count, dk_view logits, dk_view dlogits, dk_error *err)
{
    di_trainee *t = self;
    work *w = t->state;
    if (w->halves && dlogits.buffer == w->halves) w->owes = 1;
    else
        dk_head_backward(&w->queue, model_of(t), t->precision, dk_view_rows(w->hidden, first, count), logits, dlogits,
                         dk_view_rows(w->dhidden, first, count), 0);
    w->graded = 1;
    return dk_queue_wait(&w->queue, err);
}

static void plan(const di_trainee *t, work *w)
{
    int64_t one[1] = {t->max_rows}, width = model_of(t)->config.hidden_size;
    w->places = dk_arena_take(&w->arena, DK_I32, 1, one);
    w->hidden = dk_arena_2d(&w->arena, t->backend->real, t->max_rows, width);
    w->dhidden = dk_arena_2d(&w->arena, t->backend->real, t->max_rows, width);
    w->spread = dk_arena_2d(&w->arena, t->backend->real, t->max_tokens, width);
}

int32_t di_trained_begin(di_trainee *t, int64_t max_sequences, int32_t checkpointing, dk_error *err)
{
    dk_model *model = model_of(t);
    dk_pass_spec spec = {.max_rows = t->max_tokens,
                         .max_sequences = max_sequences,
                         .backward = 1,
                         .checkpointing = checkpointing,
                         .taps = t->asked.taps,
                         .tap_count = t->asked.count};
    work *w = NULL;
    int32_t rc;
    DK_TRY(dk_new(t->host, 1, &w, err));
    t->state = w;
    dk_arena_init(&w->arena, t->backend);
    DK_TRY(dk_queue_open(&w->queue, t->backend, err));
    DK_TRY(dk_new(t->host, t->max_rows, &w->numbers, err));
    DK_TRY(dk_pass_create(model, &spec, &w->pass, err));
    plan(t, w);
    DK_TRY(dk_arena_commit(&w->arena, err));
    plan(t, w);
    t->source = (di_source){.self = t,
                            .kind = DISTILL_DENSE,
                            .width = model->config.vocab_size,
                            .vocab_valid = di_vocab_valid(model, t->student->tokenizer),
                            .temperature = 1,
                            .needs_logits = model->config.logit_softcap != 0,
                            .rows = model_rows,
                            .gradient = model_gradient,
                            .halves = model_halves};
    t->taps = (di_taps){.self = t, .values = tap_values, .gradient = tap_gradient};
out:
    return rc;
}

void di_trained_end(di_trainee *t)
{
    work *w = t->state;
    dk_pass_free(w->pass);
    dk_arena_free(&w->arena);
    t->backend->ops->buffer_free(t->backend, w->halves);
    di_staging_free(t->host, &w->copied);
    dk_queue_close(&w->queue);
    dk_free(t->host, w->numbers);
    dk_free(t->host, w);
}

int32_t di_trained_forward(di_trainee *t, dk_error *err)
{
    work *w = t->state;
    const dk_ops *ops = t->backend->ops;
    dk_tokens tokens = {t->batch.ids, t->batch.offsets, t->batch.sequences};
    int32_t rc;
    w->graded = 0;
    w->owes = 0;
    DK_TRY(reserve_halves(t, w, err));
    DK_TRY(dk_pass_set_precision(w->pass, t->precision, err));
    DK_TRY(dk_pass_forward(w->pass, &tokens, err));
    if (!t->rows) goto out;
    for (int64_t r = 0; r < t->rows; r++) w->numbers[r] = (int32_t)t->batch.rows[r];
    ops->copy_in(&w->queue, dk_view_rows(w->places, 0, t->rows), w->numbers);
    ops->gather_rows(&w->queue, dk_pass_hidden(w->pass), dk_view_rows(w->places, 0, t->rows),
                     dk_view_rows(w->hidden, 0, t->rows));
    DK_TRY(dk_queue_wait(&w->queue, err));
out:
    return rc;
}

static int32_t take_gradient(di_trainee *t, const distill_tensor *given, dk_error *err)
{
    work *w = t->state;
    int64_t shape[2] = {t->rows, model_of(t)->config.hidden_size};
    int32_t rc;
    if (!given) return DK_OK;
    DK_TRY(di_check_tensor(given, "gradient", 2, shape, 0, err));
    dk_view dhidden = dk_view_rows(w->dhidden, 0, t->rows);
    di_host_rows to;
    if (t->backend->real != DK_F32)
        return dk_fail(err, DK_E_UNSUPPORTED, "this backend takes no gradient from the host");
    DK_TRY(di_host_place(&w->queue, &w->copied, dhidden, &to, err));
    di_tensor_read_rows(given, 0, t->rows, (float *)(void *)to.data);
    DK_TRY(di_host_write(&w->queue, dhidden, &to, err));
    w->graded = 1;
out:
    return rc;
}

int32_t di_trained_backward(di_trainee *t, const distill_tensor *given, dk_error *err)
{
    work *w = t->state;
    const dk_ops *ops = t->backend->ops;
    int64_t tokens = t->batch.offsets[t->batch.sequences];
    dk_view spread = dk_view_rows(w->spread, 0, tokens > 0 ? tokens : 1);
    int32_t rc;
    if (!t->rows) return DK_OK;
    DK_TRY(take_gradient(t, given, err));
    if (w->owes)
        dk_head_backward(&w->queue, model_of(t), t->precision, dk_view_rows(w->hidden, 0, t->rows), dk_view_none(),
                         model_halves(t, 0, t->rows, dk_view_none()), dk_view_rows(w->dhidden, 0, t->rows), 0);
    ops->fill(&w->queue, spread, 0);
    if (w->graded) /* a loss on features alone does not look at the rows */
        ops->scatter_rows(&w->queue, dk_view_rows(w->dhidden, 0, t->rows), dk_view_rows(w->places, 0, t->rows), spread,
                          0);
    DK_TRY(dk_queue_wait(&w->queue, err));
    dk_pass_on_whole(w->pass, t->whole, t->whole_user);
    DK_TRY(dk_pass_backward(w->pass, spread, err));
out:
    return rc;
}

const distill_target *di_trained_hidden(di_trainee *t)
{
    work *w = t->state;
    return di_hidden_target(model_of(t), t->source.vocab_valid, dk_view_rows(w->hidden, 0, t->rows > 0 ? t->rows : 1),
                            t->rows, &w->target, &w->values, &w->head, &w->bias, w->value_shape, w->head_shape,
                            w->bias_shape);
}
