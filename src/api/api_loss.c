#include "api/handles.h"

int32_t distill_loss_create(const distill_env *env, const char *name, const distill_options *options,
                            distill_loss **out, distill_error *error)
{
    dk_error *err = di_err(error);
    distill_loss *handle;
    di_loss *loss = NULL;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(env, "env", err));
    DK_TRY(di_check_pointer(out, "out", err));
    if (!name) DK_TRY(di_options_check(di_tree(options), 1 << DI_LOSS, err));
    DI_COMPUTE(di_loss_create(env->registry, name, di_tree(options), &loss, err));
    DK_TRY(di_loss_refuse_apart(loss, err));
    if (!(handle = di_computing_handle_create(env, sizeof *handle, err))) {
        di_loss_release(loss);
        return DK_E_NOMEM;
    }
    handle->loss = loss;
    *out = handle;
    return DK_OK;
out:
    di_loss_release(loss);
    return rc;
}

void distill_loss_free(distill_loss *loss)
{
    if (!loss) return;
    di_loss_release(loss->loss);
    di_handle_free(loss);
}

int32_t distill_loss_eval(const distill_loss *loss, distill_loss_args *args, distill_error *error)
{
    dk_error *err = di_err(error);
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(loss, "loss", err));
    DK_TRY(di_check_pointer(args, "args", err));
    DI_COMPUTE(di_loss_eval(loss->env->backend, loss->loss, args, err));
out:
    return rc;
}
