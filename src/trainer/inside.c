/* inside.c - losses on features in a trainer: which places of student and teacher are read, the projections' updates,
 * and a micro-batch through those terms. */
#include "loss/builtin.h"
#include "trainer/trainer_state.h"

static int32_t student_place(const void *model, const dk_tap_spec *tap, di_place *out, dk_error *err)
{
    return di_student_place(model, tap, out, err);
}

static int32_t teacher_place(const void *model, const dk_tap_spec *tap, di_place *out, dk_error *err)
{
    return di_teacher_place(model, tap, out, err);
}

int32_t di_inside_bind(di_trainer *t, dk_error *err)
{
    di_features_spec spec = {.backend = t->backend,
                             .loss = t->objective.loss,
                             .options = t->options,
                             .seed = t->data.seed,
                             .student = {t->student, di_student_facts(t->student).layers, student_place}};
    di_feature_term term;
    int32_t rc = DK_OK;
    if (di_loss_feature(spec.loss, 0, &term) && (rc = di_teacher_has_places(t->teacher, err)) != DK_OK) {
        dk_error_context(err, "loss %s", term.builtin->name);
        return rc;
    }
    if (t->objective.uses_teacher)
        spec.teacher = (di_side){t->teacher, di_teacher_facts(t->teacher).layers, teacher_place};
    DK_TRY(di_features_bind(&spec, &t->objective.features, err));
    if (!di_features_parameters(t->objective.features, &(dk_parameter *){NULL}))
        DK_TRY(di_options_refuse(t->options, "train.projection_rate",
                                 "is of projections of losses on features, and this loss has none", err));
out:
    return rc;
}

int32_t di_inside_plan(di_trainer *t, int64_t tokens, int64_t sequences, dk_error *err)
{
    di_features *features = t->objective.features;
    dk_parameter *parameters = NULL;
    const int64_t count = di_features_parameters(features, &parameters);
    int64_t length = 0;
    int32_t rc = DK_OK;
    if (!features) return DK_OK;
    DK_TRY(di_dataset_get_i64(t->data.train, "max_length", &length, err));
    length = di_on_policy_length(t, length);
    DK_TRY(di_features_plan(features, tokens, sequences, tokens, length > 0 ? length : tokens, err));
    if (count)
        DK_TRY(dk_optimizer_create(t->backend, parameters, count, t->backend->real, &t->update.projections, err));
    dk_log(t->host, DK_LOG_INFO, "trainer",
           "losses on features read %lld places of the student and %lld of the teacher; projections: %lld; %.1f MiB",
           (long long)di_features_of_student(features)->count, (long long)di_features_of_teacher(features)->count,
           (long long)count, (double)di_features_bytes(features) / 0x1p20);
out:
    return rc;
}

int32_t di_inside_run(di_trainer *t, dk_error *err)
{
    const distill_batch *micro = &t->window.micro;
    di_features_batch batch = {.student = di_trainee_taps(t->trainee),
                               .offsets = micro->offsets,
                               .sequences = micro->sequences,
                               .places = micro->rows,
                               .labels = t->window.micro_labels,
                               .weights = t->window.micro_weights,
                               .sequence = t->window.micro_sequences,
                               .rows = micro->row_count,
                               .step = t->counters.step,
                               .of = di_on_policy_of(t),
                               .precision = t->precision};
    if (!t->objective.features || !t->window.with_teacher) return DK_OK;
    batch.teacher = di_session_taps(t->session);
    return di_features_run(t->objective.features, t->objective.loss, &batch, NULL, &t->objective.sums, err);
}

static dk_update update_of(const di_trainer *t, double learning_rate)
{
    dk_update update = t->update.adamw;
    update.learning_rate = learning_rate * t->update.projection_rate;
    update.divisor = t->data.batch->weight_sum;
    return update;
}

int32_t di_inside_norm(di_trainer *t, double learning_rate, dk_error *err)
{
    const dk_update update = update_of(t, learning_rate);
    if (!t->update.projections) return DK_OK;
    int32_t rc = dk_optimizer_norm(t->update.projections, &t->queue, &update, &t->update.projection_norm, err);
    if (rc == DK_E_NUMERIC) dk_error_context(err, "step %lld, nothing was changed", (long long)t->counters.step + 1);
    return rc;
}

int32_t di_inside_apply(di_trainer *t, double learning_rate, dk_error *err)
{
    const dk_update update = update_of(t, learning_rate);
    return t->update.projections ? dk_optimizer_apply(t->update.projections, &t->queue, &update, err) : DK_OK;
}
