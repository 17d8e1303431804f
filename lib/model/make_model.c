/* Models that no file holds: fresh ones, and copies of some blocks of another model. */
#include "model/weights.h"

#include "base/notes.h"
#include "base/random.h"

#include <string.h>

enum { PIECE = 1 << 16 }; /* entries drawn at a time */

/* ---- fresh ---- */
typedef struct draw {
    uint64_t seed, counter;
    double std;
    dk_dtype dtype;
    void *out;
} draw;

static void draw_range(void *context, int64_t begin, int64_t end)
{
    const draw *in = context;
    for (int64_t i = begin; i < end; i++) {
        double value = in->std * dk_random_normal(in->seed, DK_STREAM_INIT, in->counter + (uint64_t)i);
        if (in->dtype == DK_F64) ((double *)in->out)[i] = (double)(float)value; /* the same numbers on every backend */
        else ((float *)in->out)[i] = (float)value;
    }
}

static void fill_normal(dk_queue *queue, dk_view value, draw *in)
{
    int64_t total = dk_view_count(&value);
    for (int64_t at = 0; at < total; at += PIECE) {
        int64_t count = total - at < PIECE ? total - at : PIECE;
        dk_parallel_for(queue->backend->host, count, 4096, draw_range, in);
        queue->backend->ops->copy_in(queue, dk_view_flat(value, at, count), in->out);
        in->counter += (uint64_t)count;
    }
}

static int32_t fill_fresh(dk_model *model, double std, uint64_t seed, dk_error *err)
{
    int32_t rc;
    dk_queue queue = {0};
    const dk_ops *ops = model->backend->ops;
    draw in = {.seed = seed, .std = std > 0 ? std : model->config.initializer_range, .dtype = model->backend->real};
    DK_TRY(dk_queue_open(&queue, model->backend, err));
    in.out = dk_alloc(model->host, PIECE, dk_dtype_size(in.dtype));
    if (!in.out) DK_TRY(dk_fail_nomem(err, PIECE * dk_dtype_size(in.dtype)));
    for (int64_t i = 0; i < model->parameter_count; i++) {
        dk_view value = model->parameters[i].value;
        switch (dk_model_plan(model, i)->slot->init) {
        case DK_INIT_NORMAL:
            fill_normal(&queue, value, &in);
            break;
        case DK_INIT_ONE:
            ops->fill(&queue, value, 1 - model->config.norm_offset);
            break;
        case DK_INIT_ZERO:
            ops->fill(&queue, value, 0);
            break;
        }
    }
    DK_TRY(dk_queue_wait(&queue, err));
out:
    dk_queue_close(&queue);
    dk_free(model->host, in.out);
    return rc;
}

int32_t dk_model_create(dk_backend *backend, const dk_document *config_json, double std, uint64_t seed, dk_model **out,
                        dk_error *err)
{
    int32_t rc;
    dk_config config = {0};
    dk_model *model = NULL;
    DK_TRY(dk_config_read(backend->host, config_json, &config, err));
    DK_TRY(dk_model_new(backend, &config, 1, &model, err));
    DK_TRY(dk_model_place_real(model, err));
    DK_TRY(fill_fresh(model, std, seed, err));
    DK_TRY(dk_model_link(model, err));
    model->file_bytes = 4 * (uint64_t)dk_model_elements(model);
    dk_notes_log(&model->config.notes, backend->host, "model");
    *out = model;
    model = NULL;
out:
    dk_model_free(model);
    dk_config_free(backend->host, &config);
    return rc;
}

/* ---- derived ---- */
/* Between backends values pass through host memory as F32, the widest type that a model's file has, or F64 as it is. */
static int32_t copy_across(dk_stage *stage, dk_view from, dk_queue *queue, dk_view to, void *piece, dk_error *err)
{
    int32_t rc = DK_OK;
    dk_buffer *wrapped = NULL;
    const dk_ops *ops = queue->backend->ops;
    dk_dtype dtype = from.dtype == DK_F64 ? DK_F64 : DK_F32;
    int64_t total = dk_view_count(&from), most = (int64_t)(DK_STAGE_BYTES / dk_dtype_size(dtype));
    DK_TRY(ops->buffer_create(queue->backend, DK_STAGE_BYTES, &wrapped, err));
    for (int64_t at = 0; at < total; at += most) {
        int64_t count = total - at < most ? total - at : most;
        dk_view landing = dk_view_1d(wrapped, 0, dtype, count);
        DK_TRY(dk_stage_read(stage, from, at, count, dtype, piece, err));
        ops->copy_in(queue, landing, piece);
        ops->convert(queue, landing, dk_view_flat(to, at, count));
        DK_TRY(dk_queue_wait(queue, err));
    }
out:
    if (wrapped) ops->buffer_free(queue->backend, wrapped);
    return rc;
}

static int32_t copy_values(const dk_model *from, const int64_t *layers, dk_model *to, dk_error *err)
{
    int32_t rc;
    dk_queue queue = {0};
    dk_stage stage = {0};
    void *piece = dk_alloc(to->host, DK_STAGE_BYTES, 1);
    DK_TRY(dk_queue_open(&queue, to->backend, err));
    if (!piece) DK_TRY(dk_fail_nomem(err, DK_STAGE_BYTES));
    DK_TRY(dk_stage_open(from->backend, &stage, err));
    for (int64_t i = 0; i < to->parameter_count; i++) {
        const dk_planned *plan = dk_model_plan(to, i);
        const dk_parameter *source = *dk_model_slot(from, plan->slot, plan->layer < 0 ? -1 : layers[plan->layer]);
        dk_view value;
        DK_TRY(dk_stage_value(&stage, from, source - from->parameters, &value, err));
        if (from->backend != to->backend)
            DK_TRY(copy_across(&stage, value, &queue, to->parameters[i].value, piece, err));
        else to->backend->ops->convert(&queue, value, to->parameters[i].value);
        DK_TRY(dk_queue_wait(&queue, err));
    }
out:
    dk_stage_close(&stage);
    dk_queue_close(&queue);
    dk_free(to->host, piece);
    return rc;
}

static int32_t check_layers(const dk_model *from, const int64_t *layers, int64_t count, dk_error *err)
{
    if (count < 1 || count > from->config.layers)
        return dk_fail(err, DK_E_INVALID, "layers: %lld blocks are asked for; the model has %lld", (long long)count,
                       (long long)from->config.layers);
    for (int64_t i = 0; i < count; i++)
        if (layers[i] < 0 || layers[i] >= from->config.layers)
            return dk_fail(err, DK_E_INVALID, "layers: block %lld does not exist; the model has blocks 0 to %lld",
                           (long long)layers[i], (long long)from->config.layers - 1);
    return DK_OK;
}

static int32_t derive_config(dk_host *host, const dk_config *config, const int64_t *layers, int64_t count,
                             dk_config *out, dk_error *err)
{
    int32_t rc;
    char *text = NULL;
    dk_document *doc = NULL;
    DK_TRY(dk_config_derive_text(host, config, layers, count, &text, err));
    DK_TRY(dk_json_parse(host, text, strlen(text), "config.json", &doc, err));
    DK_TRY(dk_config_read(host, doc, out, err));
out:
    dk_document_free(doc);
    dk_free(host, text);
    return rc;
}

int32_t dk_model_derive(const dk_model *from, dk_backend *backend, const int64_t *layers, int64_t count, dk_model **out,
                        dk_error *err)
{
    int32_t rc;
    dk_config config = {0};
    dk_model *model = NULL;
    const char *generation = dk_model_state_of(from)->generation;
    DK_TRY(check_layers(from, layers, count, err));
    DK_TRY(derive_config(backend->host, &from->config, layers, count, &config, err));
    DK_TRY(dk_model_new(backend, &config, 1, &model, err));
    DK_TRY(dk_model_place_real(model, err));
    DK_TRY(copy_values(from, layers, model, err));
    DK_TRY(dk_model_link(model, err));
    if (generation) dk_model_state_of(model)->generation = dk_strdup(model->host, generation);
    if (generation && !dk_model_state_of(model)->generation) DK_TRY(dk_fail_nomem(err, strlen(generation) + 1));
    for (int64_t i = 0; i < from->config.stop_count; i++) DK_TRY(dk_model_add_stop(model, from->config.stops[i], err));
    model->file_bytes = 4 * (uint64_t)dk_model_elements(model);
    *out = model;
    model = NULL;
out:
    dk_model_free(model);
    dk_config_free(backend->host, &config);
    return rc;
}
