/* Fresh models. */
#include "model/weights.h"

#include "base/notes.h"
#include "base/random.h"

#include <string.h>

enum { PIECE = 1 << 16 }; /* entries drawn at a time */

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
    for (int64_t at = 0; at < total && !dk_host_cancelled(queue->backend->host); at += PIECE) {
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
    if (dk_host_cancelled(model->host)) DK_TRY(dk_fail(err, DK_E_CANCELLED, "cancelled while weights were drawn"));
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
