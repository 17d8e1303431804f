/* Copies of a part of another model: some of its blocks, heads, channels and ids. */
#include "model/weights.h"

#include <math.h>
#include <string.h>

/* ---- which rows and columns of a parameter ---- */
typedef struct kept {       /* numbers along one dimension */
    const int64_t *numbers; /* [count]; NULL = all */
    int64_t count;
} kept;

/* Each of the given heads as size channels, moved on by first; returns the count. */
static int64_t spread(const int64_t *heads, int64_t count, int64_t size, int64_t first, int64_t *out)
{
    for (int64_t i = 0; i < count; i++)
        for (int64_t k = 0; k < size; k++) out[i * size + k] = first + heads[i] * size + k;
    return count * size;
}

/* numbers: room for q + 2 kv channels, and for gate and up. layer: of the copy. */
static kept kept_along(dk_dim dim, const dk_keep *keep, const dk_config *c, int64_t layer, int64_t *numbers)
{
    const int64_t *groups = keep->groups ? keep->groups + layer * keep->kv_heads : NULL;
    const int64_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim, n = keep->kv_heads;
    kept out = {NULL, dk_dim_size(dim, c)};
    if (dim == DK_DIM_HIDDEN && keep->hidden) return (kept){keep->hidden, keep->hidden_size};
    if (dim == DK_DIM_VOCAB && keep->ids) return (kept){keep->ids, keep->vocab_size};
    if (dim == DK_DIM_INNER && keep->inner)
        return (kept){keep->inner + layer * keep->intermediate_size, keep->intermediate_size};
    if (dim == DK_DIM_GATE_UP && keep->inner) { /* gate above up */
        const int64_t *inner = keep->inner + layer * keep->intermediate_size, half = keep->intermediate_size;
        spread(inner, half, 1, 0, numbers);
        spread(inner, half, 1, c->intermediate_size, numbers + half);
        return (kept){numbers, 2 * half};
    }
    if (!groups || (dim != DK_DIM_Q && dim != DK_DIM_KV && dim != DK_DIM_QKV)) return out;
    out = (kept){numbers, 0};
    if (dim == DK_DIM_QKV && c->interleaved) return (kept){numbers, spread(groups, n, 3 * c->head_dim, 0, numbers)};
    if (dim != DK_DIM_KV) out.count = spread(groups, n, q / c->kv_heads, 0, numbers);
    if (dim == DK_DIM_KV) out.count = spread(groups, n, c->head_dim, 0, numbers);
    if (dim == DK_DIM_QKV) out.count += spread(groups, n, c->head_dim, q, numbers + out.count);
    if (dim == DK_DIM_QKV) out.count += spread(groups, n, c->head_dim, q + kv, numbers + out.count);
    return out;
}

/* ---- values ---- */
typedef struct mover { /* values on their way from one model to the other, through host memory */
    const dk_model *from;
    dk_model *to;
    const dk_keep *keep;
    dk_stage stage;
    dk_queue queue;
    dk_buffer *landing;
    char *piece, *gathered; /* DK_STAGE_BYTES each: rows as they were read, and what is kept of them */
    int64_t *numbers[2];    /* room for kept_along */
} mover;

static int32_t mover_open(mover *m, dk_error *err)
{
    int32_t rc;
    const dk_config *c = &m->from->config;
    const int64_t wide = (c->heads + 2 * c->kv_heads) * c->head_dim;
    const int64_t most = wide > 2 * c->intermediate_size ? wide : 2 * c->intermediate_size;
    DK_TRY(dk_queue_open(&m->queue, m->to->backend, err));
    DK_TRY(dk_stage_open(m->from->backend, &m->stage, err));
    DK_TRY(m->to->backend->ops->buffer_create(m->to->backend, DK_STAGE_BYTES, &m->landing, err));
    DK_TRY(dk_new(m->to->host, DK_STAGE_BYTES, &m->piece, err));
    DK_TRY(dk_new(m->to->host, DK_STAGE_BYTES, &m->gathered, err));
    for (int32_t i = 0; i < 2; i++) DK_TRY(dk_new(m->to->host, most, &m->numbers[i], err));
out:
    return rc;
}

static void mover_close(mover *m)
{
    if (m->landing) m->to->backend->ops->buffer_free(m->to->backend, m->landing);
    dk_stage_close(&m->stage);
    dk_queue_close(&m->queue);
    dk_free(m->to->host, m->piece);
    dk_free(m->to->host, m->gathered);
    for (int32_t i = 0; i < 2; i++) dk_free(m->to->host, m->numbers[i]);
}

/* What is kept of rows [first, first + count), each of `width` entries, from piece into gathered; *next is the number
 * of the kept row that comes next. Returns entries. */
static int64_t gather(const mover *m, const kept along[2], int64_t first, int64_t count, int64_t width, size_t size,
                      int64_t *next)
{
    int64_t done = 0;
    for (; *next < along[0].count; (*next)++) {
        const int64_t row = along[0].numbers ? along[0].numbers[*next] : *next;
        if (row >= first + count) break;
        const char *from = m->piece + (uint64_t)((row - first) * width) * size;
        if (!along[1].numbers) memcpy(m->gathered + (uint64_t)done * size, from, (uint64_t)width * size);
        for (int64_t i = 0; along[1].numbers && i < along[1].count; i++)
            memcpy(m->gathered + (uint64_t)(done + i) * size, from + (uint64_t)along[1].numbers[i] * size, size);
        done += along[1].count;
    }
    return done;
}

static int32_t land(mover *m, dk_view to, int64_t at, int64_t count, dk_dtype dtype, dk_error *err)
{
    const dk_ops *ops = m->queue.backend->ops;
    dk_view landing = dk_view_1d(m->landing, 0, dtype, count);
    if (!count) return DK_OK;
    ops->copy_in(&m->queue, landing, m->gathered);
    ops->convert(&m->queue, landing, dk_view_flat(to, at, count));
    return dk_queue_wait(&m->queue, err);
}

/* F32 is the widest type that a model's file has; F64 passes as it is. */
static int32_t move_kept(mover *m, dk_view from, const int64_t shape[2], const kept along[2], dk_view to, dk_error *err)
{
    int32_t rc = DK_OK;
    const dk_dtype dtype = from.dtype == DK_F64 ? DK_F64 : DK_F32;
    const size_t size = dk_dtype_size(dtype);
    const int64_t most = (int64_t)(DK_STAGE_BYTES / size) / shape[1];
    int64_t next = 0, at = 0;
    if (most < 1)
        return dk_fail(err, DK_E_UNSUPPORTED, "rows of %lld entries are longer than a copy can take (%lld)",
                       (long long)shape[1], (long long)(DK_STAGE_BYTES / size));
    for (int64_t first = 0; first < shape[0] && next < along[0].count; first += most) {
        const int64_t rows = shape[0] - first < most ? shape[0] - first : most;
        DK_TRY(dk_stage_read(&m->stage, from, first * shape[1], rows * shape[1], dtype, m->piece, err));
        const int64_t entries = gather(m, along, first, rows, shape[1], size, &next);
        DK_TRY(land(m, to, at, entries, dtype, err));
        at += entries;
    }
out:
    return rc;
}

/* The item of the source that a parameter is a copy of. */
static int64_t item_of(const mover *m, const dk_planned *plan)
{
    const int64_t *groups = m->keep->groups ? m->keep->groups + plan->layer * m->keep->kv_heads : NULL;
    const int64_t share = m->from->config.heads / m->from->config.kv_heads;
    if (!groups || plan->item < 0) return plan->item;
    if (plan->slot->owner == DK_OF_KV_HEAD) return groups[plan->item];
    return groups[plan->item / share] * share + plan->item % share; /* what has experts is not cut */
}

static int32_t move_parameter(mover *m, int64_t index, dk_error *err)
{
    const dk_planned *plan = dk_model_plan(m->to, index), *source_plan;
    const int64_t layer = plan->layer < 0 ? 0 : plan->layer;
    const dk_parameter *source =
        *dk_model_slot(m->from, plan->slot, plan->layer < 0 ? -1 : m->keep->layers[layer], item_of(m, plan));
    const dk_config *c = &m->from->config;
    dk_view value;
    int32_t rc;
    const kept along[2] = {kept_along(plan->slot->rows, m->keep, c, layer, m->numbers[0]),
                           kept_along(plan->slot->columns, m->keep, c, layer, m->numbers[1])};
    DK_TRY(dk_stage_value(&m->stage, m->from, source - m->from->parameters, &value, err));
    source_plan = dk_model_plan(m->from, source - m->from->parameters);
    if (along[0].numbers || along[1].numbers || m->from->backend != m->to->backend) {
        DK_TRY(move_kept(m, value, source_plan->shape, along, m->to->parameters[index].value, err));
    } else {
        m->to->backend->ops->convert(&m->queue, value, m->to->parameters[index].value);
        DK_TRY(dk_queue_wait(&m->queue, err));
    }
out:
    return rc;
}

static int32_t move_values(const dk_model *from, const dk_keep *keep, dk_model *to, dk_error *err)
{
    int32_t rc;
    mover m = {.from = from, .to = to, .keep = keep};
    DK_TRY(mover_open(&m, err));
    for (int64_t i = 0; i < to->parameter_count; i++) DK_TRY(move_parameter(&m, i, err));
out:
    mover_close(&m);
    return rc;
}

/* ---- checks ---- */
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

/* lists times count numbers, ascending in each list, below limit. */
static int32_t check_numbers(const char *what, const int64_t *numbers, int64_t lists, int64_t count, int64_t limit,
                             dk_error *err)
{
    if (!numbers) return DK_OK;
    if (count < 1 || count > limit)
        return dk_fail(err, DK_E_INVALID, "%s: %lld are asked for; the model has %lld", what, (long long)count,
                       (long long)limit);
    for (int64_t i = 0; i < lists * count; i++)
        if (numbers[i] < 0 || numbers[i] >= limit || (i % count && numbers[i] <= numbers[i - 1]))
            return dk_fail(err, DK_E_INVALID, "%s: %lld is not behind the one before it, or not in [0, %lld)", what,
                           (long long)numbers[i], (long long)limit);
    return DK_OK;
}

static int32_t check_keep(const dk_model *from, const dk_keep *keep, dk_error *err)
{
    const dk_config *c = &from->config;
    int32_t rc;
    DK_TRY(check_layers(from, keep->layers, keep->layer_count, err));
    DK_TRY(check_numbers("hidden", keep->hidden, 1, keep->hidden_size, c->hidden_size, err));
    DK_TRY(check_numbers("ids", keep->ids, 1, keep->vocab_size, c->vocab_size, err));
    DK_TRY(check_numbers("groups", keep->groups, keep->layer_count, keep->kv_heads, c->kv_heads, err));
    DK_TRY(check_numbers("inner", keep->inner, keep->layer_count, keep->intermediate_size, c->intermediate_size, err));
out:
    return rc;
}

/* What a family forms from its sizes must not change with them: the kept weights were made for it. */
static int32_t check_formed(const dk_config *old, const dk_config *new, dk_error *err)
{
    const struct {
        const char *name;
        double before, after;
    } formed[] = {{"head_dim", (double)old->head_dim, (double)new->head_dim},
                  {"rotated entries of a head", (double)old->rope.dims, (double)new->rope.dims},
                  {"scale of attention", old->attention_scale, new->attention_scale},
                  {"scale of embeddings", old->embedding_scale, new->embedding_scale},
                  {"scale of branches", old->residual_scale, new->residual_scale},
                  {"scale of logits", old->logit_scale, new->logit_scale}};
    for (size_t i = 0; i < sizeof formed / sizeof *formed; i++)
        if (fabs(formed[i].before - formed[i].after) > 1e-12 * fabs(formed[i].before))
            return dk_fail(err, DK_E_UNSUPPORTED,
                           "%s: its config forms the %s from hidden_size and heads, and would make %g of %g: keep "
                           "hidden_size / heads as it is",
                           old->architecture, formed[i].name, formed[i].after, formed[i].before);
    return DK_OK;
}

/* ---- making ---- */
static int32_t derive_config(dk_host *host, const dk_config *config, const dk_keep *keep, dk_config *out, dk_error *err)
{
    int32_t rc;
    char *text = NULL;
    dk_document *doc = NULL;
    DK_TRY(dk_config_derive_text(host, config, keep, &text, err));
    DK_TRY(dk_json_parse(host, text, strlen(text), "config.json", &doc, err));
    DK_TRY(dk_config_read(host, doc, out, err));
    DK_TRY(check_formed(config, out, err));
out:
    dk_document_free(doc);
    dk_free(host, text);
    return rc;
}

/* What ends a text, and generation_config.json. */
static int32_t take_ends(const dk_model *from, const dk_keep *keep, dk_model *model, dk_error *err)
{
    const char *generation = dk_model_state_of(from)->generation;
    int32_t rc = DK_OK;
    if (generation)
        DK_TRY(dk_config_renumber(model->host, generation, "generation_config.json", keep,
                                  &dk_model_state_of(model)->generation, err));
    for (int64_t i = 0; i < from->config.stop_count; i++) {
        const int64_t id = dk_keep_number(keep, from->config.stops[i]);
        if (id < 0)
            DK_TRY(dk_fail(err, DK_E_INVALID, "ids: token %d ends texts of the model and is not kept",
                           (int)from->config.stops[i]));
        DK_TRY(dk_model_add_stop(model, id, err));
    }
out:
    return rc;
}

/* keep->layers is given. */
static int32_t derive(const dk_model *from, dk_backend *backend, const dk_keep *keep, dk_model **out, dk_error *err)
{
    int32_t rc;
    dk_config config = {0};
    dk_model *model = NULL;
    if (from->config.experts) DK_TRY(dk_fail_experts(&from->config, err));
    DK_TRY(check_keep(from, keep, err));
    DK_TRY(derive_config(backend->host, &from->config, keep, &config, err));
    DK_TRY(dk_model_new(backend, &config, 1, &model, err));
    DK_TRY(dk_model_place_real(model, err));
    DK_TRY(move_values(from, keep, model, err));
    DK_TRY(dk_model_link(model, err));
    DK_TRY(take_ends(from, keep, model, err));
    model->file_bytes = 4 * (uint64_t)dk_model_elements(model);
    *out = model;
    model = NULL;
out:
    dk_model_free(model);
    dk_config_free(backend->host, &config);
    return rc;
}

int32_t dk_model_prune(const dk_model *from, dk_backend *backend, const dk_keep *keep, dk_model **out, dk_error *err)
{
    dk_keep whole = *keep;
    int64_t *all = NULL;
    int32_t rc = DK_OK;
    if (!keep->layers) {
        DK_TRY(dk_new(backend->host, from->config.layers, &all, err));
        for (int64_t i = 0; i < from->config.layers; i++) all[i] = i;
        whole.layers = all;
        whole.layer_count = from->config.layers;
    }
    DK_TRY(derive(from, backend, &whole, out, err));
out:
    dk_free(backend->host, all);
    return rc;
}

int32_t dk_model_derive(const dk_model *from, dk_backend *backend, const int64_t *layers, int64_t count, dk_model **out,
                        dk_error *err)
{
    return derive(from, backend, &(dk_keep){.layers = layers, .layer_count = count}, out, err);
}

/* ---- the same model of fewer ids ---- */
static int32_t has_ids(const dk_planned *plan) { return plan->slot->rows == DK_DIM_VOCAB; }

/* All but rows of tokens is from's own. */
static int32_t place_shared(const dk_model *from, dk_model *model, dk_error *err)
{
    dk_dtype *dtypes = NULL;
    int32_t rc;
    DK_TRY(dk_new(model->host, model->parameter_count, &dtypes, err));
    for (int64_t i = 0; i < model->parameter_count; i++) {
        const dk_dtype stored = from->parameters[i].value.dtype;
        if (has_ids(dk_model_plan(model, i))) dtypes[i] = dk_dtype_size(stored) ? stored : DK_F32;
        else model->parameters[i].value = from->parameters[i].value;
    }
    DK_TRY(dk_model_place(model, dtypes, err));
out:
    dk_free(model->host, dtypes);
    return rc;
}

static int32_t move_rows(const dk_model *from, const dk_keep *keep, dk_model *to, dk_error *err)
{
    int32_t rc;
    mover m = {.from = from, .to = to, .keep = keep};
    DK_TRY(mover_open(&m, err));
    for (int64_t i = 0; i < to->parameter_count; i++)
        if (has_ids(dk_model_plan(to, i))) DK_TRY(move_parameter(&m, i, err));
out:
    mover_close(&m);
    return rc;
}

int32_t dk_model_of_ids(const dk_model *from, const int64_t *ids, int64_t count, dk_model **out, dk_error *err)
{
    dk_keep keep = {.ids = ids, .vocab_size = count, .layer_count = from->config.layers};
    dk_config config = {0};
    dk_model *model = NULL;
    int64_t *all = NULL;
    int32_t rc;
    DK_TRY(dk_new(from->host, from->config.layers, &all, err));
    for (int64_t i = 0; i < from->config.layers; i++) all[i] = i;
    keep.layers = all;
    DK_TRY(check_keep(from, &keep, err));
    DK_TRY(derive_config(from->host, &from->config, &keep, &config, err));
    DK_TRY(dk_model_new(from->backend, &config, 0, &model, err));
    dk_model_state_of(model)->turned = dk_model_state_of(from)->turned;
    DK_TRY(place_shared(from, model, err));
    DK_TRY(move_rows(from, &keep, model, err));
    DK_TRY(dk_model_link(model, err));
    DK_TRY(take_ends(from, &keep, model, err));
    model->file_bytes = from->file_bytes;
    *out = model;
    model = NULL;
out:
    dk_model_free(model);
    dk_config_free(from->host, &config);
    dk_free(from->host, all);
    return rc;
}
