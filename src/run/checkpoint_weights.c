/* checkpoint_weights.c - weights of a checkpoint: do they fit a model, and into it. */
#include "run/checkpoint_parts.h"

int32_t di_check_weights(const dk_model *model, const dk_model *saved, const char *folder, dk_error *err)
{
    for (int64_t i = 0; i < model->parameter_count; i++) {
        const dk_parameter *want = &model->parameters[i], *have = dk_model_find(saved, want->name);
        if (!have)
            return dk_fail(err, DK_E_MISMATCH, "%s lacks the parameter %s: it is a checkpoint of another student",
                           folder, want->name);
        if (dk_view_count(&have->value) != dk_view_count(&want->value) || have->value.shape[0] != want->value.shape[0])
            return dk_fail(
                err, DK_E_MISMATCH,
                "%s: %s has %lld numbers in %lld rows, the student's has %lld in %lld: it is a checkpoint of "
                "another student",
                folder, want->name, (long long)dk_view_count(&have->value), (long long)have->value.shape[0],
                (long long)dk_view_count(&want->value), (long long)want->value.shape[0]);
    }
    if (saved->parameter_count > model->parameter_count)
        return dk_fail(err, DK_E_MISMATCH,
                       "%s has %lld parameters, the student %lld: it is a checkpoint of another student", folder,
                       (long long)saved->parameter_count, (long long)model->parameter_count);
    return DK_OK;
}

int32_t di_copy_weights(di_trainer *t, const dk_model *from, dk_model *model, dk_error *err)
{
    for (int64_t i = 0; i < model->parameter_count; i++) {
        t->backend->ops->convert(&t->queue, dk_model_find(from, model->parameters[i].name)->value,
                                 model->parameters[i].value);
        t->backend->ops->refresh(&t->queue, &model->parameters[i]);
    }
    return dk_queue_wait(&t->queue, err);
}
