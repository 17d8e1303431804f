/* classifier_step.c - one step. The loss sees the batch's logits as those of a caller (di_loss_eval); the table's
 * gradient has rows for the inputs alone that the batch has, so that nothing goes over the table. */
#include <math.h>
#include <string.h>

#include "base/work.h"
#include "classifier/classifier_parts.h"

/* ---- create ---- */

static int32_t wrap(di_fit *f, float *data, int64_t count, dk_buffer **out, dk_error *err)
{
    return f->backend->ops->buffer_wrap(f->backend, data, count * (int64_t)sizeof *data, out, err);
}

static int32_t add_dense(di_fit *f, const char *name, float *data, int32_t rank, int64_t rows, int64_t columns,
                         dk_error *err)
{
    const int64_t at = f->dense_count, count = rows * columns, shape[2] = {rank == 1 ? columns : rows, columns};
    int32_t rc;
    DK_TRY(dk_new(f->host, count, &f->gradients[at], err));
    DK_TRY(wrap(f, data, count, &f->buffers[2 * at], err));
    DK_TRY(wrap(f, f->gradients[at], count, &f->buffers[2 * at + 1], err));
    f->dense[at] = (dk_parameter){.name = name,
                                  .value = dk_view_make(f->buffers[2 * at], 0, DK_F32, rank, shape),
                                  .gradient = dk_view_make(f->buffers[2 * at + 1], 0, DK_F32, rank, shape)};
    f->dense_count++;
out:
    return rc;
}

static int32_t wrap_table(di_fit *f, dk_error *err)
{
    const di_classifier *c = f->classifier;
    const int64_t count = c->inputs * c->width;
    float *const data[3] = {c->table, f->first, f->second};
    dk_view *const views[3] = {&f->table.value, &f->table.first, &f->table.second};
    int32_t rc = DK_OK;
    for (int i = 0; i < 3; i++) {
        DK_TRY(wrap(f, data[i], count, &f->buffers[6 + i], err));
        *views[i] = dk_view_2d(f->buffers[6 + i], 0, DK_F32, c->inputs, c->width);
    }
out:
    return rc;
}

static int32_t make_batch(di_fit *f, dk_error *err)
{
    const di_classifier *c = f->classifier;
    const int64_t texts = f->batch_size;
    int32_t rc;
    DK_TRY(dk_new(f->host, texts, &f->features, err));
    for (int64_t i = 0; i < texts; i++) di_inputs_init(&f->features[i], f->host);
    DK_TRY(dk_new(f->host, texts * c->hidden + 1, &f->hidden, err));
    DK_TRY(dk_new(f->host, texts * c->hidden + 1, &f->dhidden, err));
    DK_TRY(dk_new(f->host, texts * c->classes, &f->logits, err));
    DK_TRY(dk_new(f->host, texts * c->classes, &f->dlogits, err));
    DK_TRY(dk_new(f->host, texts * c->classes, &f->log_p, err));
    DK_TRY(dk_new(f->host, texts, &f->labels, err));
    DK_TRY(dk_new(f->host, texts, &f->weights, err));
    DK_TRY(dk_new(f->host, texts, &f->errors, err));
    DK_TRY(dk_new(f->host, c->inputs, &f->slots, err));
    DK_TRY(dk_new(f->host, c->inputs * c->width, &f->first, err));
    DK_TRY(dk_new(f->host, c->inputs * c->width, &f->second, err));
out:
    return rc;
}

static dk_schedule_kind schedule_of(const di_options *options)
{
    static const char *const names[] = {"constant", "linear", "cosine", "wsd", "inverse_sqrt"};
    static const dk_schedule_kind kinds[] = {DK_SCHEDULE_CONSTANT, DK_SCHEDULE_LINEAR, DK_SCHEDULE_COSINE,
                                             DK_SCHEDULE_WSD, DK_SCHEDULE_INVERSE_SQRT};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (di_options_is(options, "train.schedule", names[i])) return kinds[i];
    return DK_SCHEDULE_COSINE;
}

static void read_update(di_fit *f, const di_options *o)
{
    f->update = (dk_update){.learning_rate = di_options_f64(o, "train.learning_rate"),
                            .beta1 = di_options_f64(o, "train.beta1"),
                            .beta2 = di_options_f64(o, "train.beta2"),
                            .epsilon = di_options_f64(o, "train.epsilon"),
                            .weight_decay = di_options_f64(o, "train.weight_decay"),
                            .clip_norm = di_options_f64(o, "train.clip_norm")};
    f->schedule = (dk_schedule){.kind = schedule_of(o),
                                .steps = di_options_i64(o, "train.steps"),
                                .warmup_steps = di_options_i64(o, "train.warmup_steps"),
                                .decay_steps = di_options_i64(o, "train.decay_steps"),
                                .min_ratio = di_options_f64(o, "train.min_learning_rate_ratio")};
}

int32_t di_fit_create(di_classifier *c, const di_labelled *texts, di_loss *loss, const di_options *options,
                      di_fit **out, dk_error *err)
{
    di_fit *f = NULL;
    int32_t rc;
    DK_TRY(dk_new(c->host, 1, &f, err));
    f->host = c->host;
    f->backend = c->backend;
    f->classifier = c;
    f->texts = texts;
    f->loss = di_loss_retain(loss);
    f->batch_size = di_options_i64(options, "train.batch_size");
    read_update(f, options);
    DK_TRY(dk_update_check(&f->update, err));
    DK_TRY(dk_queue_open(&f->queue, f->backend, err));
    DK_TRY(make_batch(f, err));
    DK_TRY(add_dense(f, "features.bias", c->bias, 1, 1, c->width, err));
    if (c->hidden) DK_TRY(add_dense(f, "head.weight", c->head, 2, c->hidden, c->classes, err));
    if (c->hidden) DK_TRY(add_dense(f, "head.bias", c->head_bias, 1, 1, c->classes, err));
    DK_TRY(wrap_table(f, err));
    DK_TRY(dk_optimizer_create(f->backend, f->dense, f->dense_count, DK_F32, &f->optimizer, err));
out:
    if (rc) di_fit_free(f);
    else *out = f;
    return rc;
}

static void free_rows(di_fit *f)
{
    for (int i = 0; i < 5; i++)
        if (f->row_buffers[i]) f->backend->ops->buffer_free(f->backend, f->row_buffers[i]);
    memset(f->row_buffers, 0, sizeof f->row_buffers);
    dk_free(f->host, f->touched);
    dk_free(f->host, f->gradient);
    for (int i = 0; i < 3; i++) dk_free(f->host, f->scratch[i]);
    f->touched = NULL;
    f->gradient = NULL;
    memset(f->scratch, 0, sizeof f->scratch);
}

void di_fit_free(di_fit *f)
{
    if (!f) return;
    dk_host *host = f->host;
    dk_optimizer_free(f->optimizer);
    free_rows(f);
    for (int i = 0; i < 9; i++)
        if (f->buffers[i]) f->backend->ops->buffer_free(f->backend, f->buffers[i]);
    dk_queue_close(&f->queue);
    for (int64_t i = 0; f->features && i < f->batch_size; i++) di_inputs_free(&f->features[i]);
    for (int i = 0; i < 3; i++) dk_free(host, f->gradients[i]);
    dk_free(host, f->features);
    dk_free(host, f->hidden);
    dk_free(host, f->dhidden);
    dk_free(host, f->logits);
    dk_free(host, f->dlogits);
    dk_free(host, f->log_p);
    dk_free(host, f->labels);
    dk_free(host, f->weights);
    dk_free(host, f->errors);
    dk_free(host, f->slots);
    dk_free(host, f->first);
    dk_free(host, f->second);
    dk_free(host, f->vectors);
    di_loss_release(f->loss);
    dk_free(host, f);
}

/* ---- forward ---- */

typedef struct batch {
    di_fit *fit;
    const int64_t *indices;
} batch;

/* Inputs of a text of an embedding were made before; they are in vectors. */
static int32_t take_vector(di_fit *f, int64_t index, di_inputs *out, dk_error *err)
{
    const int64_t inputs = f->classifier->inputs;
    const int32_t rc = di_inputs_room(out, inputs, err);
    if (rc) return rc;
    out->count = inputs;
    memcpy(out->values, f->vectors + index * inputs, sizeof *out->values * (size_t)inputs);
    for (int64_t i = 0; i < inputs; i++) out->ids[i] = (int32_t)i;
    return DK_OK;
}

static void forward_some(void *context, int64_t begin, int64_t end)
{
    const batch *b = context;
    di_fit *f = b->fit;
    const di_classifier *c = f->classifier;
    const di_labelled *texts = f->texts;
    for (int64_t i = begin; i < end; i++) {
        const int64_t index = b->indices[i];
        const int32_t rc = f->vectors ? take_vector(f, index, &f->features[i], &f->errors[i])
                                      : di_classifier_inputs(c, texts->texts[index], texts->sizes[index],
                                                             &f->features[i], NULL, &f->errors[i]);
        if (rc) continue;
        di_classifier_logits(c, &f->features[i], f->hidden + i * c->hidden, f->logits + i * c->classes);
        di_labelled_log_p(texts, index, f->log_p + i * c->classes);
        f->labels[i] = texts->labels[index];
        f->weights[i] = texts->weights[index];
    }
}

static int32_t forward(di_fit *f, const int64_t *indices, int64_t count, dk_error *err)
{
    batch b = {f, indices};
    int32_t rc;
    memset(f->errors, 0, sizeof *f->errors * (size_t)count);
    dk_parallel_for(f->host, count, 1, forward_some, &b);
    DK_TRY(dk_parallel_check(f->host, err));
    for (int64_t i = 0; i < count; i++)
        if (f->errors[i].code) {
            if (err) *err = f->errors[i];
            return f->errors[i].code;
        }
out:
    return rc;
}

/* Of a step: the gradient of the table is one product more, that of the head two. */
static void tell_work(const di_fit *f, int64_t count)
{
    int64_t inputs = 0;
    for (int64_t i = 0; i < count; i++) inputs += f->features[i].count;
    dk_host_add_work(f->host, 0,
                     2 * di_classifier_flops(f->classifier, 0, inputs) +
                         3 * di_classifier_flops(f->classifier, count, 0));
}

static int32_t lose(di_fit *f, int64_t count, double *weight_sum, dk_error *err)
{
    const int64_t shape[2] = {count, f->classifier->classes};
    const distill_tensor logits = di_tensor_of(f->logits, DISTILL_FLOAT, 32, 2, shape),
                         log_p = di_tensor_of(f->log_p, DISTILL_FLOAT, 32, 2, shape),
                         dlogits = di_tensor_of(f->dlogits, DISTILL_FLOAT, 32, 2, shape),
                         labels = di_tensor_of(f->labels, DISTILL_INT, 32, 1, shape),
                         weights = di_tensor_of(f->weights, DISTILL_FLOAT, 32, 1, shape);
    distill_target student, teacher;
    distill_loss_args args;
    int32_t rc;
    DISTILL_INIT(&student);
    DISTILL_INIT(&teacher);
    DISTILL_INIT(&args);
    student.kind = teacher.kind = DISTILL_DENSE;
    student.values = &logits;
    teacher.values = &log_p;
    args.student = &student;
    args.teacher = &teacher;
    args.labels = &labels;
    args.weights = &weights;
    args.grad_values = &dlogits;
    args.grad_scale = 1;
    args.step = f->step;
    DK_TRY(di_loss_eval(f->backend, f->loss, &args, err));
    *weight_sum = args.weight_sum;
    f->floored += args.floored;
    f->last_loss = args.sum / args.weight_sum;
out:
    return rc;
}

/* ---- backward ---- */

static int32_t make_rows(di_fit *f, int64_t count, dk_error *err)
{
    const int64_t width = f->classifier->width, room = count + count / 2 + 64;
    int32_t rc;
    if (count <= f->room) return DK_OK;
    free_rows(f);
    f->room = 0;
    DK_TRY(dk_new(f->host, room, &f->touched, err));
    DK_TRY(dk_new(f->host, room * width, &f->gradient, err));
    for (int i = 0; i < 3; i++) DK_TRY(dk_new(f->host, room * width, &f->scratch[i], err));
    for (int i = 0; i < 3; i++) DK_TRY(wrap(f, f->scratch[i], room * width, &f->row_buffers[i], err));
    DK_TRY(wrap(f, f->gradient, room * width, &f->row_buffers[3], err));
    DK_TRY(f->backend->ops->buffer_wrap(f->backend, f->touched, room * (int64_t)sizeof *f->touched, &f->row_buffers[4],
                                        err));
    f->room = room;
out:
    return rc;
}

/* A slot for each input that the batch has, in order of appearance. */
static int32_t find_rows(di_fit *f, int64_t count, dk_error *err)
{
    int64_t most = 0;
    int32_t rc;
    for (int64_t i = 0; i < count; i++) most += f->features[i].count;
    if (most > f->classifier->inputs) most = f->classifier->inputs;
    DK_TRY(make_rows(f, most, err));
    f->touched_count = 0;
    for (int64_t i = 0; i < count; i++)
        for (int64_t k = 0; k < f->features[i].count; k++) {
            const int32_t id = f->features[i].ids[k];
            if (f->slots[id]) continue;
            f->touched[f->touched_count++] = id;
            f->slots[id] = (int32_t)f->touched_count;
        }
    memset(f->gradient, 0, sizeof *f->gradient * (size_t)(f->touched_count * f->classifier->width));
out:
    return rc;
}

static void forget_rows(di_fit *f)
{
    for (int64_t i = 0; i < f->touched_count; i++) f->slots[f->touched[i]] = 0;
}

static void add_bias(const float *gradient, int64_t rows, int64_t width, float *out)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < width; j++) out[j] += gradient[r * width + j];
}

/* Through the head to what lies before the tanh. */
static void backward_head(di_fit *f, int64_t count)
{
    const di_classifier *c = f->classifier;
    for (int64_t r = 0; r < count; r++) {
        const float *dz = f->dlogits + r * c->classes, *h = f->hidden + r * c->hidden;
        for (int64_t i = 0; i < c->hidden; i++) {
            const float *row = c->head + i * c->classes;
            float *gradient = f->gradients[1] + i * c->classes, sum = 0;
            for (int64_t j = 0; j < c->classes; j++) {
                sum += dz[j] * row[j];
                gradient[j] += h[i] * dz[j];
            }
            f->dhidden[r * c->hidden + i] = sum * (1 - h[i] * h[i]);
        }
    }
    add_bias(f->dlogits, count, c->classes, f->gradients[2]);
}

static void backward(di_fit *f, int64_t count)
{
    const di_classifier *c = f->classifier;
    const float *first = c->hidden ? f->dhidden : f->dlogits;
    for (int64_t i = 0; i < f->dense_count; i++)
        memset(f->gradients[i], 0, sizeof(float) * (size_t)dk_view_count(&f->dense[i].value));
    if (c->hidden) backward_head(f, count);
    add_bias(first, count, c->width, f->gradients[0]);
    for (int64_t r = 0; r < count; r++)
        for (int64_t k = 0; k < f->features[r].count; k++) {
            const float value = f->features[r].values[k], *dy = first + r * c->width;
            float *row = f->gradient + (int64_t)(f->slots[f->features[r].ids[k]] - 1) * c->width;
            for (int64_t j = 0; j < c->width; j++) row[j] += value * dy[j];
        }
}

int32_t di_fit_gradients(di_fit *f, const int64_t *indices, int64_t count, double *weight_sum, dk_error *err)
{
    int32_t rc;
    DK_TRY(forward(f, indices, count, err));
    DK_TRY(lose(f, count, weight_sum, err));
    DK_TRY(find_rows(f, count, err));
    backward(f, count);
    tell_work(f, count);
    forget_rows(f);
out:
    return rc;
}

/* ---- update ---- */

static double squares_of(const float *x, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)x[i] * (double)x[i];
    return sum;
}

static void count_used(di_fit *f)
{
    const int64_t width = f->classifier->width;
    for (int64_t i = 0; i < f->touched_count; i++) {
        const float *second = f->second + (int64_t)f->touched[i] * width;
        int32_t used = 0;
        for (int64_t j = 0; j < width && !used; j++) used = second[j] > 0;
        f->used_rows += !used;
    }
}

int32_t di_fit_step(di_fit *f, const int64_t *indices, int64_t count, dk_error *err)
{
    const int64_t width = f->classifier->width;
    dk_update update = f->update;
    int32_t rc;
    DK_TRY(di_fit_gradients(f, indices, count, &update.divisor, err));
    update.learning_rate *= dk_schedule_at(&f->schedule, f->step);
    update.squares_beside = squares_of(f->gradient, f->touched_count * width);
    DK_TRY(dk_optimizer_norm(f->optimizer, &f->queue, &update, &f->grad_norm, err));
    count_used(f);
    const int64_t n = f->touched_count;
    const dk_table scratch = {dk_view_2d(f->row_buffers[0], 0, DK_F32, n, width),
                              dk_view_2d(f->row_buffers[1], 0, DK_F32, n, width),
                              dk_view_2d(f->row_buffers[2], 0, DK_F32, n, width)};
    const dk_adamw_args args = {update.learning_rate, update.beta1,        update.beta2,
                                update.epsilon,       update.weight_decay, f->step + 1};
    if (n)
        dk_rows_adamw(&f->queue, &args, dk_optimizer_factor(f->optimizer), &f->table,
                      dk_view_1d(f->row_buffers[4], 0, DK_I32, n), dk_view_2d(f->row_buffers[3], 0, DK_F32, n, width),
                      &scratch);
    DK_TRY(dk_optimizer_apply(f->optimizer, &f->queue, &update, err));
    DK_TRY(dk_queue_wait(&f->queue, err));
    f->step++;
out:
    return rc;
}
