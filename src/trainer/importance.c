/* importance.c - old texts weighed by how likely the student is to write them now (train.on_policy.replay.importance).
 *
 * A position hangs on the tokens before it, not on its own: its weight is multiplied by min(bound, product over the
 * text's tokens before it of q now / q then), so that, without the bound, old texts give on the mean what new ones
 * would. The divisor stays the number of positions. Weights are constants of the gradient. */
#include <math.h>
#include <string.h>

#include "trainer/trainer_state.h"

int32_t di_importance_open(di_trainer *t, di_registry *registry, dk_error *err)
{
    di_importance *w = &t->on_policy.importance;
    int32_t rc = DK_OK;
    if (t->on_policy.lambda == 0 || w->bound == 0) goto out;
    if (di_student_callbacks(t->student))
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "train.on_policy.replay.importance goes by the probabilities that a model writes with, and a "
                       "student of callbacks does not say them");
    if (t->on_policy.temperature != 1 || t->on_policy.top_p != 1)
        return dk_fail(err, DK_E_OPTION,
                       "train.on_policy.replay.importance goes by the student's own probabilities, and another "
                       "temperature or top_p draws by others: leave it, or them, out");
    DK_TRY(di_loss_create(registry, "cross_entropy", NULL, &w->loss, err));
out:
    return rc;
}

int32_t di_importance_plan(di_trainer *t, int64_t rows, dk_error *err)
{
    di_importance *w = &t->on_policy.importance;
    int32_t rc = DK_OK;
    if (!w->loss) goto out;
    const di_workspace_spec spec = {.memory = t->objective.memory,
                                    .limit = "train.loss_memory",
                                    .student_width = di_trainee_source(t->trainee)->width,
                                    .levels = 1,
                                    .max_rows = rows,
                                    .max_sequences = rows};
    DK_TRY(di_workspace_create(t->backend, w->loss, &spec, &w->workspace, err));
    DK_TRY(dk_new(t->host, rows, &w->values, err));
    DK_TRY(dk_new(t->host, rows, &w->weights, err));
out:
    return rc;
}

void di_importance_free(di_trainer *t)
{
    di_importance *w = &t->on_policy.importance;
    di_workspace_free(w->workspace);
    di_loss_release(w->loss);
    dk_free(t->host, w->values);
    dk_free(t->host, w->weights);
}

/* values: -log q now of each token. */
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
        sum -= w->values[r] + (double)texts->log_probs[text->first + text->prompt + token];
    }
}

int32_t di_importance_weigh(di_trainer *t, dk_error *err)
{
    di_importance *w = &t->on_policy.importance;
    di_loss_sums sums;
    int32_t rc = DK_OK;
    if (!w->loss || !t->on_policy.window.replayed || !t->window.micro.row_count) goto out;
    const di_loss_batch rows = {.student = di_trainee_source(t->trainee),
                                .rows = t->window.micro.row_count,
                                .labels = t->window.micro_labels,
                                .step = t->counters.step,
                                .row_values = w->values};
    memset(&sums, 0, sizeof sums);
    DK_TRY(di_loss_run(w->loss, w->workspace, &rows, NULL, &sums, err));
    weigh(t);
    t->window.micro_weights = w->weights;
out:
    return rc;
}
