#include "model/weights.h"

#include <stdio.h>
#include <string.h>

/* ---- values on their way out ---- */
dk_view dk_view_flat(dk_view view, int64_t first, int64_t count)
{
    return dk_view_1d(view.buffer, view.offset + dk_dtype_bytes(view.dtype, first), view.dtype, count);
}

int32_t dk_stage_open(dk_backend *backend, dk_stage *out, dk_error *err)
{
    int32_t rc;
    DK_TRY(dk_queue_open(&out->queue, backend, err));
    DK_TRY(backend->ops->buffer_create(backend, DK_STAGE_BYTES, &out->buffer, err));
out:
    return rc;
}

static void free_buffer(dk_stage *stage, dk_buffer **buffer)
{
    if (*buffer) stage->queue.backend->ops->buffer_free(stage->queue.backend, *buffer);
    *buffer = NULL;
}

void dk_stage_close(dk_stage *stage)
{
    free_buffer(stage, &stage->buffer);
    free_buffer(stage, &stage->turned);
    dk_queue_close(&stage->queue);
}

dk_view dk_view_turned(dk_view matrix)
{
    dk_view out = matrix;
    for (int32_t d = 0; d < 2; d++) {
        out.shape[d] = matrix.shape[1 - d];
        out.stride[d] = matrix.stride[1 - d];
    }
    return out;
}

int32_t dk_stage_value(dk_stage *stage, const dk_model *model, int64_t parameter, dk_view *out, dk_error *err)
{
    int32_t rc = DK_OK;
    const dk_planned *plan = dk_model_plan(model, parameter);
    dk_view value = model->parameters[parameter].value;
    dk_backend *backend = stage->queue.backend;
    dk_buffer *wide = NULL;
    *out = value;
    if (!dk_model_state_of(model)->turned || plan->slot->layout != DK_GGUF_TRANSPOSED) return DK_OK;
    free_buffer(stage, &stage->turned);
    DK_TRY(backend->ops->buffer_create(backend, 4 * dk_view_count(&value), &wide, err));
    DK_TRY(backend->ops->buffer_create(backend, 4 * dk_view_count(&value), &stage->turned, err));
    dk_view floats = dk_view_make(wide, 0, DK_F32, 2, value.shape);
    *out = dk_view_make(stage->turned, 0, DK_F32, 2, plan->shape);
    backend->ops->convert(&stage->queue, value, floats);
    backend->ops->convert(&stage->queue, dk_view_turned(floats), *out);
    DK_TRY(dk_queue_wait(&stage->queue, err));
out:
    free_buffer(stage, &wide);
    return rc;
}

int32_t dk_stage_read(dk_stage *stage, dk_view value, int64_t first, int64_t count, dk_dtype dtype, void *out,
                      dk_error *err)
{
    const dk_ops *ops = stage->queue.backend->ops;
    dk_view landing = dk_view_1d(stage->buffer, 0, dtype, count);
    ops->convert(&stage->queue, dk_view_flat(value, first, count), landing);
    ops->copy_out(&stage->queue, landing, out);
    return dk_queue_wait(&stage->queue, err);
}

/* ---- tensors ---- */
typedef struct saver {
    const dk_model *model;
    dk_dtype dtype;
    dk_stage stage;
    dk_view value; /* of the tensor that is being written */
    dk_saved_fn saved;
    void *user;
    uint64_t done, total;
} saver;

static int32_t check_halves(const saver *in, int64_t index, const uint16_t *halves, uint64_t count, dk_error *err)
{
    const int32_t brain = in->dtype == DK_BF16;
    const uint16_t exponent = brain ? 0x7f80 : 0x7c00;
    for (uint64_t i = 0; i < count; i++)
        if ((halves[i] & exponent) == exponent)
            return dk_fail(err, DK_E_NUMERIC, "%s has weights beyond %s, which %s cannot hold: save as %s",
                           in->model->parameters[index].name, brain ? "3.39e38" : "65504", brain ? "bf16" : "f16",
                           brain ? "f32" : "bf16 or f32");
    return DK_OK;
}

static int32_t fill(void *user, int64_t index, uint64_t offset, void *out, uint64_t size, dk_error *err)
{
    saver *in = user;
    uint64_t each = dk_dtype_size(in->dtype);
    int32_t rc = offset ? DK_OK : dk_stage_value(&in->stage, in->model, index, &in->value, err);
    if (!rc)
        rc =
            dk_stage_read(&in->stage, in->value, (int64_t)(offset / each), (int64_t)(size / each), in->dtype, out, err);
    in->done += size;
    if (!rc && in->saved) in->saved(in->user, in->done, in->total);
    if (rc || each != sizeof(uint16_t)) return rc;
    return check_halves(in, index, out, size / each, err);
}

static int32_t save_tensors(saver *in, const char *folder, uint64_t shard_bytes, dk_error *err)
{
    int32_t rc;
    const dk_model *model = in->model;
    dk_tensor_spec *specs = NULL;
    in->total = (uint64_t)dk_model_elements(model) * dk_dtype_size(in->dtype);
    DK_TRY(dk_new(model->host, model->parameter_count, &specs, err));
    for (int64_t i = 0; i < model->parameter_count; i++) {
        const dk_planned *plan = dk_model_plan(model, i);
        specs[i] = (dk_tensor_spec){
            .name = plan->name, .dtype = in->dtype, .rank = plan->rank, .shape = {plan->shape[0], plan->shape[1]}};
    }
    DK_TRY(dk_stage_open(model->backend, &in->stage, err));
    const dk_safetensors_args args = {
        .tensors = specs, .count = model->parameter_count, .fill = fill, .user = in, .shard_bytes = shard_bytes};
    DK_TRY(dk_safetensors_write(model->host, folder, &args, NULL, err));
out:
    dk_stage_close(&in->stage);
    dk_free(model->host, specs);
    return rc;
}

/* ---- the JSON files ---- */
static int32_t replace(const dk_model *model, const char *folder, const char *name, const char *text, dk_error *err)
{
    char *path = dk_path_join(model->host, folder, name);
    if (!path) return dk_fail_nomem(err, strlen(folder) + strlen(name) + 2);
    int32_t rc = dk_file_replace(model->host, path, text, strlen(text), err);
    dk_free(model->host, path);
    return rc;
}

static int32_t save_config(const dk_model *model, const char *folder, dk_dtype dtype, dk_error *err)
{
    int32_t rc;
    char *text = NULL, classes[64];
    dk_document *doc = NULL;
    const char *type = dtype == DK_F32   ? "\"float32\""
                       : dtype == DK_F16 ? "\"float16\""
                                         : "\"bfloat16\"",
               *json = model->config.json;
    snprintf(classes, sizeof classes, "[\"%s\"]", dk_architecture_find(model->config.architecture)->class_name);
    DK_TRY(dk_json_parse(model->host, json, strlen(json), "config.json", &doc, err));
    int32_t new_style = dk_node_get(dk_document_root(doc), "dtype") != NULL;
    int32_t has_classes = dk_node_get(dk_document_root(doc), "architectures") != NULL;
    const dk_config_change changes[] = {
        {"dtype", type, 0}, {"torch_dtype", type, !new_style}, {"architectures", classes, 1}};
    DK_TRY(dk_config_rewrite(model->host, dk_document_root(doc), changes, has_classes ? 2 : 3, &text, err));
    DK_TRY(replace(model, folder, "config.json", text, err));
out:
    dk_free(model->host, text);
    dk_document_free(doc);
    return rc;
}

int32_t dk_model_save_sharded(const dk_model *model, const char *folder, dk_dtype dtype, uint64_t shard_bytes,
                              dk_saved_fn saved, void *user, dk_error *err)
{
    int32_t rc;
    saver in = {.model = model, .dtype = dtype, .saved = saved, .user = user};
    if (dtype != DK_F32 && dtype != DK_BF16 && dtype != DK_F16)
        return dk_fail(err, DK_E_INVALID, "save: type %s is not supported; f32, bf16 and f16 are",
                       dk_dtype_name(dtype));
    if (dk_path_exists(folder) != 2)
        return dk_fail(err, DK_E_NOT_FOUND, "%s: there is no such folder to save into", folder);
    DK_TRY(save_tensors(&in, folder, shard_bytes, err));
    DK_TRY(dk_generation_save(model, folder, err));
    DK_TRY(save_config(model, folder, dtype, err)); /* last: a folder without it is no model */
out:
    return rc;
}

int32_t dk_model_save(const dk_model *model, const char *folder, dk_dtype dtype, dk_error *err)
{
    return dk_model_save_sharded(model, folder, dtype, 0, NULL, NULL, err);
}
