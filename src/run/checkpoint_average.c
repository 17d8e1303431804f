/* checkpoint_average.c - the moving average of the student's weights, in a checkpoint: average/, a folder of a model
 * like student/, which anybody can open. */
#include <string.h>

#include "base/file.h"
#include "run/checkpoint_parts.h"

int32_t di_average_save(const di_trainer *t, const char *folder, dk_error *err)
{
    char *path = NULL;
    int32_t rc = DK_OK;
    if (!t->average.teacher) goto out;
    if (!(path = dk_path_join(t->host, folder, "average"))) return dk_fail_nomem(err, strlen(folder));
    DK_TRY(dk_dir_create(t->host, path, err));
    DK_TRY(dk_model_save(t->average.model, path, DK_F32, err));
    if (di_student_tokenizer(t->student)) DK_TRY(dk_tokenizer_save(di_student_tokenizer(t->student), path, err));
out:
    dk_free(t->host, path);
    return rc;
}

int32_t di_average_load(const di_trainer *t, const char *folder, dk_model **out, dk_error *err)
{
    const dk_model_options options = {.use_mmap = 1};
    char *path = NULL;
    int32_t rc = DK_OK;
    if (!t->average.teacher) goto out;
    if (!(path = dk_path_join(t->host, folder, "average"))) return dk_fail_nomem(err, strlen(folder));
    if (!dk_path_exists(path))
        DK_TRY(dk_fail(err, DK_E_MISMATCH,
                       "%s has no average of the student's weights: it was made without a teacher self: average; begin "
                       "a new run with student.path at the checkpoint's student",
                       folder));
    DK_TRY(dk_model_open(t->backend, path, &options, out, err));
    DK_TRY(di_check_weights(t->average.model, *out, path, err));
out:
    dk_free(t->host, path);
    return rc;
}
