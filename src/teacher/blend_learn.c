/* blend_learn.c - weights that are learned: the gradient of held-out text's likelihood under a blend with respect to
 * its weights, from its members alone, and a step of exponentiated gradient. */
#include <math.h>
#include <string.h>

#include "teacher/teacher_parts.h"

enum { HEIGHT = 64 };                 /* rows at once, of all members together */
static const double log_floor = -100; /* log p below it counts as it: a host may say -inf */

struct di_learner {
    di_teacher *teacher;
    dk_queue queue;
    di_session **sessions; /* [count] */
    dk_buffer *buffer;     /* [HEIGHT, widest] */
    float *rows;           /* the same on the host */
    float *log_p;          /* [count, HEIGHT, width] */
    double *mixed;         /* [width] */
    di_learned_sums sums;
};

static const di_blend *blend_of(const di_learner *l) { return l->teacher->state; }

void di_learner_free(di_learner *l)
{
    if (!l) return;
    dk_host *host = l->teacher->host;
    for (int64_t i = 0; l->sessions && i < blend_of(l)->count; i++) di_session_free(l->sessions[i]);
    if (l->buffer) l->teacher->backend->ops->buffer_free(l->teacher->backend, l->buffer);
    dk_queue_close(&l->queue);
    void *blocks[] = {l->sessions, l->rows, l->log_p, l->mixed, l->sums.gradient};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) dk_free(host, blocks[i]);
    dk_free(host, l);
}

int32_t di_learner_create(di_teacher *t, int64_t step, int64_t max_tokens, int64_t max_sequences, di_learner **out,
                          dk_error *err)
{
    const di_blend *blend = t->state;
    di_learner *l = NULL;
    int64_t widest = 0;
    int32_t rc;
    DK_TRY(dk_new(t->host, 1, &l, err));
    l->teacher = t;
    DK_TRY(dk_queue_open(&l->queue, t->backend, err));
    DK_TRY(dk_new(t->host, blend->count, &l->sessions, err));
    for (int64_t i = 0; i < blend->count; i++) {
        DK_TRY(
            di_session_create(blend->members[i].teacher, max_tokens, max_sequences, max_tokens, &l->sessions[i], err));
        di_session_set_evaluation(l->sessions[i], step);
        const int64_t width = di_session_source(l->sessions[i])->width;
        if (width > widest) widest = width;
    }
    DK_TRY(t->backend->ops->buffer_create(t->backend, HEIGHT * widest * (int64_t)sizeof(float), &l->buffer, err));
    DK_TRY(dk_new(t->host, HEIGHT * widest, &l->rows, err));
    DK_TRY(dk_new(t->host, blend->count * HEIGHT * blend->width, &l->log_p, err));
    DK_TRY(dk_new(t->host, blend->width, &l->mixed, err));
    DK_TRY(dk_new(t->host, blend->count, &l->sums.gradient, err));
    *out = l;
    return DK_OK;
out:
    di_learner_free(l);
    return rc;
}

/* log p of a member's rows at temperature 1 of the loss. */
static int32_t ask(di_learner *l, int64_t index, int64_t first, int64_t count, dk_error *err)
{
    const di_blend *blend = blend_of(l);
    const di_source *source = di_session_source(l->sessions[index]);
    const dk_view strip = dk_view_2d(l->buffer, 0, DK_F32, count, source->width);
    const double temperature = blend->members[index].temperature;
    const dk_ops *ops = l->queue.backend->ops;
    const distill_target *none = NULL;
    int32_t rc;
    if (source->rows_at) DK_TRY(source->rows_at(source->self, first, count, 1, &temperature, &strip, err));
    else DK_TRY(source->rows(source->self, first, count, strip, &none, err));
    ops->log_softmax(&l->queue, strip, blend->width, source->rows_at ? 1 : temperature / source->temperature, strip);
    ops->copy_out(&l->queue, strip, l->rows);
    DK_TRY(dk_queue_wait(&l->queue, err));
    for (int64_t r = 0; r < count; r++) {
        const float *row = l->rows + r * source->width;
        if (isnan(row[0]))
            return dk_fail(err, DK_E_NUMERIC, "a logit of teacher %.60s in held-out row %lld is nan",
                           blend->members[index].name, (long long)(first + r));
        memcpy(l->log_p + (index * HEIGHT + r) * blend->width, row, (size_t)blend->width * sizeof *row);
    }
out:
    return rc;
}

static double log_p_of(const di_learner *l, int64_t index, int64_t r, int64_t id)
{
    const double value = (double)l->log_p[(index * HEIGHT + r) * blend_of(l)->width + id];
    return value > log_floor ? value : log_floor;
}

/* -log sum w_i p_i(y); d/dw_i = -p_i(y) / sum */
static void add_linear(di_learner *l, int64_t r, int64_t label, const double *weights)
{
    const int64_t count = blend_of(l)->count;
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += weights[i] * exp(log_p_of(l, i, r, label));
    l->sums.nats -= log(sum);
    for (int64_t i = 0; i < count; i++) l->sums.gradient[i] -= exp(log_p_of(l, i, r, label)) / sum;
}

/* -sum w_i log p_i(y) + log Z; d/dw_i = -log p_i(y) + sum_v q(v) log p_i(v), q the blend */
static void add_log_linear(di_learner *l, int64_t r, int64_t label, const double *weights)
{
    const int64_t count = blend_of(l)->count, width = blend_of(l)->width;
    double top = -INFINITY, sum = 0;
    for (int64_t v = 0; v < width; v++) {
        l->mixed[v] = 0;
        for (int64_t i = 0; i < count; i++) l->mixed[v] += weights[i] * log_p_of(l, i, r, v);
        if (l->mixed[v] > top) top = l->mixed[v];
    }
    l->sums.nats -= l->mixed[label] - top;
    for (int64_t v = 0; v < width; v++) sum += l->mixed[v] = exp(l->mixed[v] - top);
    l->sums.nats += log(sum);
    for (int64_t i = 0; i < count; i++) {
        double mean = 0;
        for (int64_t v = 0; v < width; v++) mean += l->mixed[v] / sum * log_p_of(l, i, r, v);
        l->sums.gradient[i] += mean - log_p_of(l, i, r, label);
    }
}

int32_t di_learner_add(di_learner *l, const distill_batch *batch, const int32_t *labels, const double *weights,
                       dk_error *err)
{
    const di_blend *blend = blend_of(l);
    const int64_t rows = di_batch_rows(batch);
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < blend->count; i++) DK_TRY(di_session_forward(l->sessions[i], batch, err));
    for (int64_t first = 0; first < rows; first += HEIGHT) {
        const int64_t count = rows - first < HEIGHT ? rows - first : HEIGHT;
        for (int64_t i = 0; i < blend->count; i++) DK_TRY(ask(l, i, first, count, err));
        for (int64_t r = 0; r < count; r++) {
            const int64_t label = labels[first + r];
            if (label < 0 || label >= blend->width) continue;
            if (blend->settings.mode == DI_BLEND_LINEAR) add_linear(l, r, label, weights);
            else add_log_linear(l, r, label, weights);
            l->sums.tokens++;
        }
    }
out:
    for (int64_t i = 0; i < blend->count; i++) di_session_drop(l->sessions[i]);
    return rc;
}

const di_learned_sums *di_learner_sums(const di_learner *l) { return &l->sums; }

void di_learn_step(const di_learning *how, const di_learned_sums *sums, int64_t count, double *weights)
{
    double least = INFINITY, sum = 0;
    for (int64_t i = 0; i < count; i++) least = fmin(least, sums->gradient[i]);
    for (int64_t i = 0; i < count; i++)
        sum += weights[i] *= exp(-how->rate * (sums->gradient[i] - least) / (double)sums->tokens);
    for (int64_t i = 0; i < count; i++) weights[i] = how->floor + (1 - (double)count * how->floor) * (weights[i] / sum);
}

void di_teacher_first_weights(const di_teacher *t, double *out)
{
    const di_blend *blend = t->state;
    for (int64_t i = 0; i < blend->count; i++) out[i] = blend->members[i].weight;
}

const char *di_teacher_learned_name(const di_teacher *t, int64_t index)
{
    const di_blend *blend = t->state;
    return blend->members[index].name;
}
