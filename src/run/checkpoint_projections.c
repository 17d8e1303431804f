/* checkpoint_projections.c - projections of losses on features in a checkpoint, beside the student and no part of it:
 * projections/model.safetensors has each as "NAME", and its moments as "m.NAME" and "v.NAME", fp32. */
#include <string.h>

#include "base/file.h"
#include "format/checkpoint.h"
#include "run/checkpoint_parts.h"

static char *path_of(const di_trainer *t, const char *folder) { return dk_path_join(t->host, folder, "projections"); }

enum { PARTS = 3 }; /* of each: itself, m and v */

static dk_view part_of(const di_trainer *t, const dk_parameter *parameters, int64_t index)
{
    const int64_t part = index % PARTS;
    if (!part) return parameters[index / PARTS].value;
    return dk_optimizer_moment(t->update.projections, index / PARTS, part == 2);
}

static char *name_of(const di_trainer *t, const dk_parameter *parameters, int64_t index)
{
    const char *name = parameters[index / PARTS].name;
    return index % PARTS ? di_moment_name(t->host, name, index % PARTS == 2) : dk_strdup(t->host, name);
}

typedef struct source {
    const di_trainer *t;
    const dk_parameter *parameters;
} source;

static int32_t fill(void *user, int64_t index, uint64_t offset, void *out, uint64_t size, dk_error *err)
{
    const source *s = user;
    dk_view view = part_of(s->t, s->parameters, index);
    const int64_t count = dk_view_count(&view);
    dk_queue queue;
    int32_t rc;
    DK_TRY(dk_queue_open(&queue, s->t->backend, err));
    view = dk_view_rows(dk_view_reshape(view, 1, &count), (int64_t)(offset / sizeof(float)),
                        (int64_t)(size / sizeof(float)));
    s->t->backend->ops->copy_out(&queue, view, out);
    rc = dk_queue_wait(&queue, err);
    dk_queue_close(&queue);
out:
    return rc;
}

int32_t di_projections_save(const di_trainer *t, const char *folder, dk_error *err)
{
    source s = {t, NULL};
    dk_parameter *parameters = NULL;
    const int64_t count = PARTS * di_features_parameters(t->objective.features, &parameters);
    dk_tensor_spec *specs = NULL;
    char *path = NULL;
    int32_t rc = DK_OK;
    if (!count) return DK_OK;
    s.parameters = parameters;
    if (!(path = path_of(t, folder))) return dk_fail_nomem(err, strlen(folder));
    DK_TRY(dk_dir_create(t->host, path, err));
    DK_TRY(dk_new(t->host, count, &specs, err));
    for (int64_t i = 0; i < count; i++) {
        const dk_view view = part_of(t, parameters, i);
        specs[i] = (dk_tensor_spec){.dtype = DK_F32, .rank = view.rank, .name = name_of(t, parameters, i)};
        memcpy(specs[i].shape, view.shape, sizeof view.shape);
        DK_TRY(specs[i].name ? DK_OK : dk_fail_nomem(err, 64));
    }
    const dk_safetensors_args args = {specs, count, fill, &s, 0};
    DK_TRY(dk_safetensors_write(t->host, path, &args, NULL, err));
out:
    for (int64_t i = 0; specs && i < count; i++) dk_free(t->host, (void *)(uintptr_t)specs[i].name);
    dk_free(t->host, specs);
    dk_free(t->host, path);
    return rc;
}

static int32_t find(const di_trainer *t, const dk_checkpoint *file, const dk_parameter *parameters, int64_t index,
                    const dk_tensor **out, dk_error *err)
{
    const dk_view view = part_of(t, parameters, index);
    char *name = name_of(t, parameters, index);
    int32_t rc = DK_OK;
    if (!name) return dk_fail_nomem(err, 64);
    *out = dk_checkpoint_find(file, name);
    if (!*out || (*out)->dtype != DK_F32 || (*out)->bytes != (uint64_t)dk_view_count(&view) * sizeof(float))
        rc = dk_fail(err, DK_E_MISMATCH, "%s has no %s of %lld x %lld: it is a checkpoint of other losses on features",
                     dk_checkpoint_path(file), name, (long long)view.shape[0], (long long)view.shape[1]);
    dk_free(t->host, name);
    return rc;
}

int32_t di_projections_open(const di_trainer *t, const char *folder, dk_checkpoint **out, dk_error *err)
{
    dk_parameter *parameters = NULL;
    const int64_t count = PARTS * di_features_parameters(t->objective.features, &parameters);
    const dk_tensor *tensor;
    char *path = NULL;
    int32_t rc;
    if (!count) return DK_OK;
    if (!(path = path_of(t, folder))) return dk_fail_nomem(err, strlen(folder));
    DK_TRY(dk_path_exists(path)
               ? DK_OK
               : dk_fail(err, DK_E_MISMATCH, "%s has no projections: it was made without these losses on features",
                         folder));
    DK_TRY(dk_checkpoint_open(t->host, path, DK_OPEN_MMAP, out, err));
    for (int64_t i = 0; i < count; i++) DK_TRY(find(t, *out, parameters, i, &tensor, err));
out:
    dk_free(t->host, path);
    return rc;
}

int32_t di_projections_take(di_trainer *t, const dk_checkpoint *file, int64_t step, dk_error *err)
{
    dk_parameter *parameters = NULL;
    const int64_t count = PARTS * di_features_parameters(t->objective.features, &parameters);
    const dk_ops *ops = t->backend->ops;
    const dk_tensor *tensor = NULL;
    int32_t rc;
    if (!count) return DK_OK;
    for (int64_t i = 0; i < count; i++) {
        DK_TRY(find(t, file, parameters, i, &tensor, err));
        ops->copy_in(&t->queue, part_of(t, parameters, i), tensor->data);
        if (i % PARTS == 0) ops->refresh(&t->queue, &parameters[i / PARTS]);
    }
    dk_optimizer_set_step(t->update.projections, step);
    DK_TRY(dk_queue_wait(&t->queue, err));
out:
    return rc;
}
