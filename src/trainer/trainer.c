#include "trainer/trainer_state.h"

#include <stdlib.h>

/* Of a micro-batch of so many windows; one that the student writes may have more tokens than any of the data. */
static int64_t micro_tokens(const di_trainer *t, const di_batch *micro)
{
    return micro->max_windows * di_on_policy_length(t, micro->max_tokens / micro->max_windows);
}

/* Room for the largest micro-batch: that of a batch of micro_batch_size windows. */
static int32_t plan_window(di_trainer *t, int64_t *tokens, int64_t *sequences, dk_error *err)
{
    di_batch *micro = NULL;
    int32_t rc;
    DK_TRY(di_batch_create(t->data.train, t->data.micro_batch_size, &micro, err));
    *tokens = micro_tokens(t, micro);
    *sequences = micro->max_sequences;
    di_batch_free(micro);
    DK_TRY(di_batch_create(t->data.train, t->data.batch_size, &t->data.batch, err));
    DK_TRY(dk_new(t->host, *sequences + 1, &t->window.micro_offsets, err));
    DK_TRY(dk_new(t->host, *tokens, &t->window.micro_rows, err));
    DK_TRY(dk_new(t->host, *tokens, &t->window.micro_sequences, err));
out:
    return rc;
}

/* The largest share of a batch whose activations stay below this; a constant, so that results do not hang on the
 * machine. */
#define MICRO_BATCH_BYTES ((int64_t)1 << 30)

static int32_t choose_micro_batch(di_trainer *t, dk_error *err)
{
    int64_t micro = t->data.micro_batch_size;
    int32_t rc = DK_OK;
    if (micro > t->data.batch_size)
        return dk_fail(err, DK_E_OPTION, "train.micro_batch_size %lld is above train.batch_size %lld", (long long)micro,
                       (long long)t->data.batch_size);
    if (micro) return DK_OK;
    const int64_t ranks = dk_ranks(t->host);
    for (micro = (t->data.batch_size + ranks - 1) / ranks; micro > 1; micro = (micro + 1) / 2) {
        di_batch *trial = NULL;
        DK_TRY(di_batch_create(t->data.train, micro, &trial, err));
        const int64_t tokens = micro_tokens(t, trial);
        int64_t bytes = di_trainee_bytes(t->student, tokens, trial->max_sequences, tokens, t->activation_checkpointing,
                                         di_features_of_student(t->objective.features));
        di_batch_free(trial);
        if (bytes <= MICRO_BATCH_BYTES) break;
    }
    t->data.micro_batch_size = micro;
out:
    return rc;
}

/* What products take of the weights, made now and not within the first step. */
static int32_t keep_weights(di_trainer *t, dk_error *err)
{
    const dk_model *models[] = {di_student_model(t->student),
                                t->objective.uses_teacher ? di_teacher_model(t->teacher) : NULL};
    int32_t rc = DK_OK;
    for (int i = 0; i < 2; i++) {
        if (!models[i]) continue;
        DK_TRY(dk_model_keep(models[i], t->precision, err));
        t->kept_bytes += dk_model_kept_bytes(models[i], t->precision);
    }
out:
    return rc;
}

static void tell_strips(const di_trainer *t)
{
    const di_workspace *workspace = t->objective.workspace;
    const dk_view strips[] = {di_workspace_student_strip(workspace), di_workspace_teacher_strip(workspace),
                              di_workspace_gradient_strip(workspace)};
    int64_t bytes = 0;
    for (int i = 0; i < 3; i++) bytes += dk_view_count(&strips[i]) * (int64_t)dk_dtype_size(t->backend->real);
    if (!bytes)
        dk_log(t->host, DK_LOG_INFO, "trainer", "losses on features alone ask for no logits, and strips hold none");
    else
        dk_log(t->host, DK_LOG_INFO, "trainer", "logits go in strips of %lld rows, %.1f MiB",
               (long long)di_workspace_strip_rows(workspace), (double)bytes / 0x1p20);
}

static void tell_plan(const di_trainer *t)
{
    tell_strips(t);
    if (t->kept_bytes)
        dk_log(t->host, DK_LOG_INFO, "trainer", "weights are kept packed for products in %s, %.1f MiB",
               dk_precision_name(t->precision), (double)t->kept_bytes / 0x1p20);
}

static dk_dtype kept_moments(const di_trainer *t)
{
    if (!t->update.own_optimizer) return 0;
    return t->update.half_moments ? DK_BF16 : t->backend->real;
}

static int32_t plan(di_trainer *t, dk_error *err)
{
    dk_model *model = di_student_model(t->student);
    int64_t tokens = 0, sequences = 0;
    int32_t rc;
    DK_TRY(di_inside_bind(t, err));
    DK_TRY(choose_micro_batch(t, err));
    DK_TRY(plan_window(t, &tokens, &sequences, err));
    DK_TRY(di_trainee_create(t->student, tokens, sequences, tokens, t->activation_checkpointing,
                             di_features_of_student(t->objective.features), &t->trainee, err));
    di_trainee_set_precision(t->trainee, t->precision);
    DK_TRY(keep_weights(t, err));
    if (t->objective.uses_teacher)
        DK_TRY(di_session_create_tapped(t->teacher, tokens, sequences, tokens,
                                        di_features_of_teacher(t->objective.features), &t->session, err));
    if (t->session) di_session_set_precision(t->session, t->precision);
    if (t->objective.uses_teacher) t->members.count = di_teacher_member_count(t->teacher);
    DK_TRY(dk_new(t->host, t->members.count + 1, &t->members.window, err));
    DK_TRY(dk_new(t->host, t->members.count + 1, &t->members.total, err));
    if (t->session) DK_TRY(di_learned_plan(t, err));
    DK_TRY(di_ahead_plan(t, tokens, sequences, err));
    DK_TRY(di_on_policy_plan(t, tokens, sequences, err));
    t->objective.max_rows = tokens;
    t->objective.max_sequences = sequences;
    DK_TRY(di_objective_plan(t, t->objective.loss, &t->objective.workspace, err));
    DK_TRY(di_importance_plan(t, tokens, err));
    DK_TRY(di_inside_plan(t, tokens, sequences, err));
    DK_TRY(di_preference_plan(t, sequences, err));
    tell_plan(t);
    if (!model) goto out;
    DK_TRY(di_ranks_optimizer(t, model, kept_moments(t), err));
    DK_TRY(di_ranks_plan(t, err));
out:
    return rc;
}

int32_t di_trainer_create(const di_parts *parts, const di_options *options, di_trainer **out, dk_error *err)
{
    dk_host *host = parts->backend->host;
    di_trainer *t = NULL;
    int32_t rc;
    DK_TRY(dk_new(host, 1, &t, err));
    t->host = dk_host_retain(host);
    t->backend = parts->backend;
    di_shape_init(&t->shape, host);
    DK_TRY(dk_queue_open(&t->queue, t->backend, err));
    DK_TRY(di_options_copy(options, host, -1, &t->options, err));
    DK_TRY(di_options_check(t->options, 1 << DI_DATA | 1 << DI_LOSS | 1 << DI_TRAIN | 1 << DI_OUTPUT, err));
    if (di_options_map(t->options, "classifier"))
        DK_TRY(dk_fail(err, DK_E_OPTION,
                       "classifier is of a student that is no language model, which "
                       "distill_classifier_train (distill classify train) makes"));
    di_settings_read(t);
    DK_TRY(di_parts_open(t, parts, err));
    DK_TRY(di_loss_create(parts->registry, NULL, t->options, &t->objective.loss, err));
    DK_TRY(di_preset_refuse(t->objective.loss, err));
    DK_TRY(dk_new(t->host, 1, &t->objective.terms, err));
    DK_TRY(di_parts_check(t, err));
    DK_TRY(di_importance_check(t, err));
    DK_TRY(plan(t, err));
    *out = t;
    return DK_OK;
out:
    di_trainer_free(t);
    return rc;
}

void di_trainer_free(di_trainer *t)
{
    if (!t) return;
    dk_host *host = t->host;
    for (int i = 0; i < 2; i++) di_staging_free(host, &t->pull.copied[i]);
    dk_queue_close(&t->queue);
    dk_optimizer_free(t->update.optimizer);
    dk_optimizer_free(t->update.projections);
    di_features_free(t->objective.features);
    di_workspace_free(t->objective.workspace);
    di_trainee_free(t->trainee);
    di_session_free(t->session);
    di_ahead_free(t);
    di_on_policy_free(t);
    di_importance_free(t);
    di_preference_free(t);
    di_ranks_free(t);
    di_batch_free(t->data.batch);
    dk_free(host, t->window.micro_offsets);
    dk_free(host, t->window.micro_rows);
    dk_free(host, t->window.micro_sequences);
    dk_free(host, t->members.window);
    dk_free(host, t->members.total);
    dk_free(host, t->learned.weights);
    di_loss_release(t->objective.loss);
    dk_free(t->host, t->objective.terms);
    if (t->student) di_student_let_go(t->student);
    di_student_release(t->student);
    di_teacher_release(t->teacher);
    di_average_free(t);
    di_dataset_release(t->data.train);
    di_dataset_release(t->data.eval);
    if (t->progress.destroy) t->progress.destroy(t->progress.user);
    di_shape_free(&t->shape);
    di_options_free(t->options);
    dk_free(host, t);
    dk_host_release(host);
}

void di_trainer_on_progress(di_trainer *t, distill_progress_fn fn, void *user, distill_destroy_fn destroy)
{
    if (t->progress.destroy) t->progress.destroy(t->progress.user);
    t->progress.fn = fn;
    t->progress.user = user;
    t->progress.destroy = destroy;
}

void di_trainer_cancel(di_trainer *t, int32_t on) { t->cancel = on; }

di_student *di_trainer_student(di_trainer *t) { return t->student; }

atomic_int *di_trainer_guard(di_trainer *t) { return &t->in_call; }
