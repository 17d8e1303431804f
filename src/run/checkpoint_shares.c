/* checkpoint_shares.c - moments that several ranks keep in shares, as a checkpoint has them: whole, and so for any
 * number of ranks. */
#include <string.h>

#include "run/checkpoint_parts.h"

static uint64_t bytes_of(const di_trainer *t, int64_t parameter)
{
    const dk_model *model = di_student_model(t->student);
    return (uint64_t)dk_view_count(&model->parameters[parameter].value) *
           dk_dtype_size(dk_optimizer_kept(t->update.optimizer));
}

void di_whole_moments_free(const di_trainer *t, void **whole)
{
    const dk_model *model = di_student_model(t->student);
    for (int64_t i = 0; whole && i < 2 * model->parameter_count; i++) dk_free(t->host, whole[i]);
    dk_free(t->host, whole);
}

static int32_t reserve(const di_trainer *t, void ***out, dk_error *err)
{
    const dk_model *model = di_student_model(t->student);
    int32_t rc = DK_OK;
    if (dk_rank(t->host)) return DK_OK;
    DK_TRY(dk_new(t->host, 2 * model->parameter_count + 1, out, err));
    for (int64_t i = 0; i < 2 * model->parameter_count; i++)
        if (!model->parameters[i / 2].frozen && !((*out)[i] = dk_alloc(t->host, bytes_of(t, i / 2), 1)))
            DK_TRY(dk_fail_nomem(err, bytes_of(t, i / 2)));
out:
    return rc;
}

int32_t di_whole_moments(di_trainer *t, void ***out, dk_error *err)
{
    const dk_model *model = di_student_model(t->student);
    int32_t rc = DK_OK;
    *out = NULL;
    if (!t->team.sharded) return DK_OK;
    DK_TRY(dk_ranks_agree(t->host, reserve(t, out, err), err));
    for (int64_t i = 0; i < 2 * model->parameter_count; i++)
        if (!model->parameters[i / 2].frozen)
            DK_TRY(dk_exchange_moment(t->team.gradients, t->update.optimizer, i / 2, (int32_t)(i % 2),
                                      *out ? (*out)[i] : NULL, err));
out:
    if (rc == DK_OK) return rc;
    di_whole_moments_free(t, *out);
    *out = NULL;
    return rc;
}

void di_take_moment(di_trainer *t, int64_t parameter, int32_t second, const void *whole)
{
    const dk_view to = dk_optimizer_moment(t->update.optimizer, parameter, second);
    const dk_view *value = &di_student_model(t->student)->parameters[parameter].value;
    const int64_t each = dk_share_each(dk_view_count(value), dk_ranks(t->host));
    const char *from = whole;
    if (!dk_view_present(to)) return;
    if (t->team.sharded) from += (uint64_t)(dk_rank(t->host) * each) * dk_dtype_size(to.dtype);
    t->backend->ops->copy_in(&t->queue, to, from);
}
