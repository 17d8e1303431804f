/* importance.c - old texts weighed by how likely the student is to write them now (train.on_policy.replay.importance).
 *
 * A position hangs on the tokens before it, not on its own: its weight is multiplied by min(bound, product over the
 * text's tokens before it of q now / q then), so that, without the bound, old texts give on the mean what new ones
 * would. The divisor stays the number of positions. Weights are constants of the gradient. */
#include <math.h>
#include <string.h>

#include "trainer/trainer_state.h"

int32_t di_importance_check(const di_trainer *t, dk_error *err)
{
    if (t->on_policy.lambda == 0 || t->on_policy.importance.bound == 0) return DK_OK;
    if (di_student_callbacks(t->student))
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "train.on_policy.replay.importance goes by the probabilities that a model writes with, and a "
                       "student of callbacks does not say them");
    if (t->on_policy.temperature != 1 || t->on_policy.top_p != 1)
        return dk_fail(err, DK_E_OPTION,
                       "train.on_policy.replay.importance goes by the student's own probabilities, and another "
                       "temperature or top_p draws by others: leave it, or them, out");
    return DK_OK;
}

int32_t di_importance_plan(di_trainer *t, int64_t rows, dk_error *err)
{
    di_importance *w = &t->on_policy.importance;
    int32_t rc = DK_OK;
    if (t->on_policy.lambda == 0 || w->bound == 0) goto out;
    DK_TRY(dk_new(t->host, rows, &w->values, err));
    DK_TRY(dk_new(t->host, rows, &w->weights, err));
out:
    return rc;
}

void di_importance_free(di_trainer *t)
{
    dk_free(t->host, t->on_policy.importance.values);
    dk_free(t->host, t->on_policy.importance.weights);
}

/* log q of the labels [count] of the strip's rows, among the ids that are drawn. */
static int32_t read_labels(di_trainer *t, dk_view strip, const int32_t *labels, int64_t count, double *out,
                           dk_error *err)
{
    const dk_ops *ops = t->backend->ops;
    const int64_t valid = t->objective.vocab_valid;
    const dk_view ids = dk_view_columns(strip, 0, valid);
    union {
        float f32;
        double f64;
    } value;
    int32_t rc = DK_OK;
    ops->log_softmax(&t->queue, ids, valid, 1, ids);
    for (int64_t r = 0; r < count; r++) {
        ops->copy_out(&t->queue, dk_view_columns(dk_view_rows(ids, r, 1), labels[r], 1), &value);
        DK_TRY(dk_queue_wait(&t->queue, err));
        out[r] = t->backend->real == DK_F32 ? (double)value.f32 : value.f64;
    }
out:
    return rc;
}

/* Through the strip of the loss, which is not at work yet. */
static int32_t ask_student(di_trainer *t, dk_error *err)
{
    const di_source *source = di_trainee_source(t->trainee);
    const int64_t rows = t->window.micro.row_count, height = di_workspace_strip_rows(t->objective.workspace);
    int32_t rc = di_workspace_open_strips(t->objective.workspace, err);
    const dk_view strip = di_workspace_student_strip(t->objective.workspace);
    if (rc) return rc;
    for (int64_t first = 0; first < rows; first += height) {
        const int64_t count = first + height < rows ? height : rows - first;
        DK_TRY(source->rows(source->self, first, count, dk_view_rows(strip, 0, count), NULL, err));
        DK_TRY(read_labels(t, dk_view_rows(strip, 0, count), t->window.micro_labels + first, count,
                           t->on_policy.importance.values + first, err));
    }
out:
    return rc;
}

/* values: log q now of each token. */
static void weigh(di_trainer *t)
{
    di_importance *w = &t->on_policy.importance;
    const di_texts *texts = &t->on_policy.texts;
    const di_batch *batch = t->data.batch;
    const int64_t first = batch->window_first[t->window.micro_index * t->data.micro_batch_size];
    double sum = 0;
    for (int64_t r = 0, token = 0; r < t->window.micro.row_count; r++, token++) {
        const int64_t sequence = t->window.micro_sequences[r];
        const di_text *text = &texts->items[first + sequence];
        if (!r || t->window.micro_sequences[r - 1] != sequence) token = 0, sum = 0;
        w->weights[r] = (float)((double)t->window.micro_weights[r] * fmin(exp(sum), w->bound));
        sum += w->values[r] - (double)texts->log_probs[text->first + text->prompt + token];
    }
}

int32_t di_importance_weigh(di_trainer *t, dk_error *err)
{
    const di_importance *w = &t->on_policy.importance;
    int32_t rc = DK_OK;
    if (!w->values || !t->on_policy.window.replayed || !t->window.micro.row_count) goto out;
    DK_TRY(ask_student(t, err));
    weigh(t);
    t->window.micro_weights = w->weights;
out:
    return rc;
}
