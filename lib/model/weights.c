#include "model/weights.h"

#include <fnmatch.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* ---- the table of parameters ---- */
static int64_t count_parameters(const dk_architecture *row, const dk_config *config)
{
    int64_t count = 0;
    for (int32_t i = 0; i < row->slots->count; i++) {
        const dk_slot *slot = &row->slots->at[i];
        for (int64_t layer = 0; layer < (slot->owner == DK_OF_MODEL ? 1 : config->layers); layer++)
            if (dk_slot_present(slot, config, layer)) count += dk_slot_items(slot, config);
    }
    return count;
}

dk_parameter **dk_model_slot(const dk_model *model, const dk_slot *slot, int64_t layer, int64_t item)
{
    char *owner = (char *)(uintptr_t)model;
    if (slot->owner != DK_OF_MODEL) owner = (char *)&model->layers[layer];
    if (slot->owner == DK_OF_EXPERT) owner = (char *)&model->layers[layer].experts[item];
    void *at = owner + slot->offset;
    return slot->owner == DK_OF_HEAD || slot->owner == DK_OF_KV_HEAD ? *(dk_parameter ***)at + item : at;
}

static int32_t is_item(const dk_slot *slot) { return slot->owner != DK_OF_MODEL && slot->owner != DK_OF_LAYER; }

static void plan_one(dk_model *model, const dk_slot *slot, int64_t layer, int64_t item)
{
    int64_t index = model->parameter_count++;
    dk_planned *plan = &dk_model_state_of(model)->plan[index];
    dk_slot_name(slot->name, layer, item, plan->name, sizeof plan->name);
    dk_slot_name(slot->gguf, layer, item, plan->gguf, sizeof plan->gguf);
    plan->slot = slot;
    plan->layer = layer;
    plan->item = item;
    plan->rank = slot->columns == DK_DIM_NONE ? 1 : 2;
    plan->shape[0] = dk_dim_size(slot->rows, &model->config);
    plan->shape[1] = dk_dim_size(slot->columns, &model->config);
    model->parameters[index].name = plan->name;
    model->parameters[index].frozen = !model->trainable;
    model->parameters[index].version = 1;
    *dk_model_slot(model, slot, layer, item) = &model->parameters[index];
}

/* Of a layer, or, below 0, of the model. Items of one kind follow each other. */
static void plan_slots(dk_model *model, const dk_architecture *row, int64_t layer)
{
    for (int32_t i = 0; i < row->slots->count; i++) {
        const dk_slot *slot = &row->slots->at[i];
        if ((slot->owner == DK_OF_MODEL) != (layer < 0) || !dk_slot_present(slot, &model->config, layer)) continue;
        for (int64_t n = 0; n < dk_slot_items(slot, &model->config); n++)
            plan_one(model, slot, layer, is_item(slot) ? n : -1);
    }
}

static int32_t new_head_norms(dk_model *model, dk_error *err)
{
    const dk_config *c = &model->config;
    int64_t each = c->heads + c->kv_heads;
    int32_t rc = DK_OK;
    if (c->qk_norm != DK_QK_NORM_EACH) return DK_OK;
    DK_TRY(dk_new(model->host, c->layers * each, &model->head_norms, err));
    for (int64_t i = 0; i < c->layers; i++) {
        model->layers[i].q_norms = model->head_norms + i * each;
        model->layers[i].k_norms = model->layers[i].q_norms + c->heads;
    }
out:
    return rc;
}

static int32_t new_layers(dk_model *model, dk_error *err)
{
    const dk_config *c = &model->config;
    int32_t rc;
    DK_TRY(dk_new(model->host, c->layers, &model->layers, err));
    DK_TRY(new_head_norms(model, err));
    if (!c->experts) goto out;
    DK_TRY(dk_new(model->host, c->layers * c->experts, &model->experts, err));
    for (int64_t i = 0; i < c->layers; i++)
        if (c->layer_experts[i]) model->layers[i].experts = model->experts + i * c->experts;
out:
    return rc;
}

int32_t dk_fail_experts(const dk_config *config, dk_error *err)
{
    return dk_fail(
        err, DK_E_UNSUPPORTED,
        "a %s model has experts: it is run as it is, and neither trained nor cut; train a model without them "
        "on what it says",
        config->architecture);
}

int32_t dk_model_new(dk_backend *backend, dk_config *config, int32_t trainable, dk_model **out, dk_error *err)
{
    int32_t rc;
    dk_model *model = NULL;
    dk_model_state *state = NULL;
    const dk_architecture *row = dk_architecture_find(config->architecture);
    int64_t count = count_parameters(row, config);
    if (trainable && config->experts) DK_TRY(dk_fail_experts(config, err));
    DK_TRY(dk_new(backend->host, 1, &model, err));
    model->host = dk_host_retain(backend->host);
    model->backend = backend;
    model->config = *config;
    memset(config, 0, sizeof *config);
    model->trainable = trainable;
    DK_TRY(dk_new(model->host, 1, &state, err));
    model->state = state;
    dk_arena_init(&state->values, backend);
    dk_arena_init(&state->gradients, backend);
    DK_TRY(dk_new(model->host, count, &state->plan, err));
    DK_TRY(dk_new(model->host, count, &model->parameters, err));
    DK_TRY(new_layers(model, err));
    plan_slots(model, row, -1);
    for (int64_t i = 0; i < model->config.layers; i++) plan_slots(model, row, i);
    if (model->config.tied) model->head = model->embedding;
    *out = model;
    model = NULL;
out:
    dk_model_free(model);
    return rc;
}

/* ---- memory ---- */
void dk_model_shape(const dk_model *model, int64_t parameter, int64_t shape[2])
{
    const dk_planned *plan = dk_model_plan(model, parameter);
    int32_t turned = dk_model_state_of(model)->turned && plan->slot->layout == DK_GGUF_TRANSPOSED;
    shape[0] = plan->shape[turned];
    shape[1] = plan->shape[!turned];
}

int32_t dk_model_place(dk_model *model, const dk_dtype *dtypes, dk_error *err)
{
    dk_model_state *state = dk_model_state_of(model);
    for (int32_t measured = 0; measured < 2; measured++) {
        for (int64_t i = 0; i < model->parameter_count; i++) {
            int64_t shape[2];
            if (!dtypes[i]) continue;
            dk_model_shape(model, i, shape);
            dk_view view = dk_arena_take(&state->values, dtypes[i], state->plan[i].rank, shape);
            if (measured) model->parameters[i].value = view;
        }
        if (measured) break;
        if (!state->values.used) return DK_OK;
        int32_t rc = dk_arena_commit(&state->values, err);
        if (rc) return rc;
    }
    return DK_OK;
}

int32_t dk_model_place_real(dk_model *model, dk_error *err)
{
    int32_t rc;
    dk_dtype *dtypes = NULL;
    DK_TRY(dk_new(model->host, model->parameter_count, &dtypes, err));
    for (int64_t i = 0; i < model->parameter_count; i++) dtypes[i] = model->backend->real;
    DK_TRY(dk_model_place(model, dtypes, err));
out:
    dk_free(model->host, dtypes);
    return rc;
}

static int32_t make_linear(const dk_model *model, dk_parameter *const *weights, dk_parameter *const *biases,
                           int32_t in_out, dk_linear **out, dk_error *err)
{
    dk_linear_spec spec = {.weights = weights, .in_out = in_out, .precisions = model->backend->precisions};
    spec.uses = DK_USE_FORWARD | (model->trainable ? DK_USE_BACKWARD_INPUT | DK_USE_BACKWARD_WEIGHT : 0);
    while (spec.count < 3 && weights[spec.count]) spec.count++;
    if (biases && biases[0]) spec.biases = biases;
    return model->backend->ops->linear_create(model->backend, &spec, out, err);
}

static int32_t link_experts(const dk_model *model, dk_layer *layer, dk_error *err)
{
    int32_t rc;
    dk_parameter *router[4] = {layer->router};
    DK_TRY(make_linear(model, router, NULL, 0, &layer->router_linear, err));
    for (int64_t e = 0; e < model->config.experts; e++) {
        dk_expert *expert = &layer->experts[e];
        dk_parameter *up[4] = {expert->up[0], expert->up[1]}, *down[4] = {expert->down};
        DK_TRY(make_linear(model, up, NULL, 0, &expert->up_linear, err));
        DK_TRY(make_linear(model, down, NULL, 0, &expert->down_linear, err));
    }
out:
    return rc;
}

static int32_t link_mlp(const dk_model *model, dk_layer *layer, int32_t in_out, dk_error *err)
{
    int32_t rc;
    dk_parameter *up[4] = {layer->up[0], layer->up[1]}, *down[4] = {layer->down}, *down_bias[4] = {layer->down_bias};
    DK_TRY(make_linear(model, up, layer->up_bias, in_out, &layer->up_linear, err));
    DK_TRY(make_linear(model, down, down_bias, in_out, &layer->down_linear, err));
out:
    return rc;
}

int32_t dk_model_link(dk_model *model, dk_error *err)
{
    int32_t rc, in_out = model->config.in_out && !dk_model_state_of(model)->turned;
    for (int64_t i = 0; i < model->config.layers; i++) {
        dk_layer *layer = &model->layers[i];
        dk_parameter *out[4] = {layer->out}, *out_bias[4] = {layer->out_bias};
        dk_parameter *qkv[4] = {layer->qkv[0], layer->qkv[1], layer->qkv[2]};
        DK_TRY(make_linear(model, qkv, layer->qkv_bias, in_out, &layer->qkv_linear, err));
        DK_TRY(make_linear(model, out, out_bias, in_out, &layer->out_linear, err));
        DK_TRY(layer->experts ? link_experts(model, layer, err) : link_mlp(model, layer, in_out, err));
    }
    dk_parameter *head[4] = {model->head}, *head_bias[4] = {model->head_bias};
    DK_TRY(make_linear(model, head, head_bias, 0, &model->head_linear, err));
out:
    return rc;
}

int32_t dk_model_add_gradients(dk_model *model, dk_error *err)
{
    dk_arena *arena = &dk_model_state_of(model)->gradients;
    if (!model->trainable)
        return dk_fail(err, DK_E_STAGE, "gradients: the model was opened frozen; open it as trainable");
    if (arena->buffer) return DK_OK;
    for (int32_t measured = 0; measured < 2; measured++) {
        for (int64_t i = 0; i < model->parameter_count; i++) {
            dk_parameter *parameter = &model->parameters[i];
            if (parameter->frozen) continue;
            dk_view view = dk_arena_take(arena, model->backend->real, parameter->value.rank, parameter->value.shape);
            if (measured) parameter->gradient = view;
        }
        if (measured || !arena->used) break;
        int32_t rc = dk_arena_commit(arena, err);
        if (rc) return rc;
    }
    return DK_OK;
}

/* All linear objects of a model by number; NULL = it was not made, or there is none. */
static int64_t linears_of_layer(const dk_model *model) { return 5 + 2 * model->config.experts; }

static int64_t count_linears(const dk_model *model)
{
    return model->layers ? model->config.layers * linears_of_layer(model) + 1 : 1;
}

static dk_linear *linear_at(const dk_model *model, int64_t index)
{
    int64_t each = linears_of_layer(model), at = index % each;
    if (index == count_linears(model) - 1) return model->head_linear;
    const dk_layer *layer = &model->layers[index / each];
    dk_linear *const of[5] = {layer->qkv_linear, layer->out_linear, layer->up_linear, layer->down_linear,
                              layer->router_linear};
    if (at < 5) return of[at];
    if (!layer->experts) return NULL;
    const dk_expert *expert = &layer->experts[(at - 5) / 2];
    return at % 2 ? expert->up_linear : expert->down_linear;
}

static void free_linears(dk_model *model)
{
    for (int64_t i = 0; i < count_linears(model); i++)
        if (linear_at(model, i)) model->backend->ops->linear_free(model->backend, linear_at(model, i));
}

/* Copies of all experts would be made for the few that a row goes to: theirs are not kept. */
static int32_t may_be_kept(const dk_model *model, int64_t index)
{
    int32_t of_expert = index < count_linears(model) - 1 && index % linears_of_layer(model) >= 5;
    return linear_at(model, index) && !of_expert;
}

int32_t dk_model_keep(const dk_model *model, dk_precision precision, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < count_linears(model) && rc == DK_OK; i++)
        if (may_be_kept(model, i))
            rc = model->backend->ops->linear_keep(model->backend, linear_at(model, i), precision, err);
    return rc;
}

int64_t dk_model_kept_bytes(const dk_model *model, dk_precision precision)
{
    int64_t bytes = 0;
    for (int64_t i = 0; i < count_linears(model); i++)
        if (may_be_kept(model, i))
            bytes += model->backend->ops->linear_kept_bytes(model->backend, linear_at(model, i), precision);
    return bytes;
}

static void free_state(dk_model *model)
{
    dk_model_state *state = dk_model_state_of(model);
    if (!state) return;
    for (int32_t i = 0; state->files && i < dk_checkpoint_files(state->checkpoint); i++)
        if (state->files[i]) model->backend->ops->buffer_free(model->backend, state->files[i]);
    dk_arena_free(&state->values);
    dk_arena_free(&state->gradients);
    dk_checkpoint_close(state->checkpoint);
    dk_free(model->host, state->files);
    dk_free(model->host, state->plan);
    dk_free(model->host, state->generation);
    dk_free(model->host, state);
}

void dk_model_free(dk_model *model)
{
    if (!model) return;
    dk_host *host = model->host;
    free_linears(model);
    free_state(model);
    dk_config_free(host, &model->config);
    dk_free(host, model->parameters);
    dk_free(host, model->layers);
    dk_free(host, model->experts);
    dk_free(host, model->head_norms);
    dk_free(host, model);
    dk_host_release(host);
}

/* ---- names ---- */
dk_parameter *dk_model_find(const dk_model *model, const char *name)
{
    for (int64_t i = 0; i < model->parameter_count; i++)
        if (!strcmp(model->parameters[i].name, name)) return &model->parameters[i];
    return NULL;
}

static int64_t count_matches(const dk_model *model, const char *pattern)
{
    int64_t matches = 0;
    for (int64_t i = 0; i < model->parameter_count; i++) matches += fnmatch(pattern, model->parameters[i].name, 0) == 0;
    return matches;
}

static int32_t fail_pattern(const dk_model *model, const char *pattern, dk_error *err)
{
    char names[256] = "";
    int64_t step = model->parameter_count / 4 > 0 ? model->parameter_count / 4 : 1;
    for (int64_t i = 0; i < model->parameter_count; i += step) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", model->parameters[i].name);
    }
    return dk_fail(err, DK_E_NOT_FOUND, "freeze: no parameter matches '%s'; there are %lld, for example %s", pattern,
                   (long long)model->parameter_count, names);
}

int32_t dk_model_freeze(dk_model *model, const char *const *patterns, int64_t count, int64_t *frozen, dk_error *err)
{
    int64_t total = 0;
    for (int64_t p = 0; p < count; p++)
        if (!count_matches(model, patterns[p])) return fail_pattern(model, patterns[p], err);
    for (int64_t i = 0; i < model->parameter_count; i++) {
        dk_parameter *parameter = &model->parameters[i];
        for (int64_t p = 0; p < count; p++)
            if (!fnmatch(patterns[p], parameter->name, 0)) parameter->frozen = 1;
        if (parameter->frozen) parameter->gradient = dk_view_none();
        total += parameter->frozen;
    }
    if (frozen) *frozen = total;
    return DK_OK;
}

/* ---- counts ---- */
int64_t dk_model_elements(const dk_model *model)
{
    int64_t total = 0;
    for (int64_t i = 0; i < model->parameter_count; i++) total += dk_view_count(&model->parameters[i].value);
    return total;
}

/* Keys that a token sees on average in a sequence of the given length. */
static double mean_keys(int64_t window, double length)
{
    double w = (double)window;
    if (length < 1) return 0;
    if (!window || w >= length) return (length + 1) / 2;
    return (w * (w + 1) / 2 + (length - w) * w) / length;
}

/* Of experts a row is multiplied by those alone that it goes to. */
static double product_flops(const dk_model *model)
{
    const dk_config *config = &model->config;
    double sum = 0;
    for (int64_t i = 0; i < model->parameter_count; i++) {
        const dk_parameter *parameter = &model->parameters[i];
        int32_t product =
            parameter->value.rank == 2 &&
            (parameter == model->head || (parameter != model->embedding && parameter != model->positions));
        int32_t of_experts = dk_model_plan(model, i)->slot->owner == DK_OF_EXPERT;
        double part = of_experts ? (double)config->experts_used / (double)config->experts : 1;
        if (product) sum += 2 * part * (double)dk_view_count(&parameter->value);
    }
    return sum;
}

/* A multiplication and an addition are two operations; backward takes twice what forward takes. Asked for every token
 * that is written, so that the sum over all parameters is kept. */
double dk_model_flops(const dk_model *model, int64_t tokens, int64_t mean_length, int32_t backward)
{
    const dk_config *config = &model->config;
    dk_model *kept = (dk_model *)model; /* whoever comes first: threads that share it write the same */
    double per_token = atomic_load_explicit(&kept->products, memory_order_relaxed);
    if (per_token == 0) atomic_store_explicit(&kept->products, per_token = product_flops(model), memory_order_relaxed);
    for (int64_t i = 0; i < config->layers; i++)
        per_token += 4 * (double)(config->heads * config->head_dim) * mean_keys(config->window[i], (double)mean_length);
    return per_token * (double)tokens * (backward ? 3 : 1);
}

double dk_head_flops(const dk_model *model, int64_t rows)
{
    return 2 * (double)dk_view_count(&model->head->value) * (double)rows;
}

/* Fresh tokens see what stands before them: stands - (rows - 1) / 2 keys on average, as those of a text that is twice
 * as long. */
double dk_fresh_flops(const dk_model *model, int64_t rows, int64_t stands)
{
    return dk_model_flops(model, rows, 2 * stands - rows, 0) - dk_head_flops(model, rows);
}
