/* Which tensor of a file, or which rows of one, is which parameter. */
#include "model/weights.h"

#include <stdio.h>
#include <string.h>

typedef struct finder {
    const dk_model *model;
    const dk_checkpoint *file;
    const dk_architecture *row;
    const dk_planned *plan;
} finder;

static dk_source whole(const dk_tensor *tensor) { return (dk_source){.tensor = tensor}; }

/* name with the part of it that begins at `at` and has `size` characters replaced; NULL = too long. */
static const dk_tensor *find_replaced(const finder *in, const char *at, size_t size, const char *by)
{
    const char *name = in->plan->name;
    char text[128];
    int length = snprintf(text, sizeof text, "%.*s%s%s", (int)(at - name), name, by, at + size);
    return length < (int)sizeof text ? dk_checkpoint_find(in->file, text) : NULL;
}

/* ---- experts ---- */
enum { GATE, UP, DOWN };

static int32_t part_of(const dk_planned *plan)
{
    if (plan->slot->offset == offsetof(dk_expert, down)) return DOWN;
    return plan->slot->offset == offsetof(dk_expert, up[0]) ? GATE : UP;
}

/* Item by item, `each` rows of which the parameter's begin at `skip`. */
static dk_source slice(const finder *in, const dk_tensor *tensor, int64_t skip, int64_t each)
{
    return (dk_source){tensor, in->plan->item * each + skip, dk_slot_items(in->plan->slot, &in->model->config) * each};
}

/* Newer files have all experts of a layer in two tensors, gate above up in the first; the MLP is called mlp there. */
static dk_source find_fused(const finder *in)
{
    static const char *const parents[] = {"mlp", "block_sparse_moe"};
    const int32_t part = part_of(in->plan);
    const int64_t rows = in->plan->shape[0];
    char name[128];
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%slayers.%lld.%s.experts.%s", in->row->prefix, (long long)in->plan->layer,
                 parents[i], part == DOWN ? "down_proj" : "gate_up_proj");
        const dk_tensor *found = dk_checkpoint_find(in->file, name);
        if (!found) found = dk_checkpoint_find(in->file, name + strlen(in->row->prefix));
        if (found && part == DOWN) return slice(in, found, 0, rows);
        if (found) return slice(in, found, part == UP ? rows : 0, 2 * rows);
    }
    return whole(NULL);
}

/* Old files have a tensor for each expert. */
static dk_source find_in_gguf(const finder *in)
{
    static const char *const kinds[] = {"gate", "up", "down"};
    char name[64];
    const dk_tensor *found = dk_checkpoint_find(in->file, in->plan->gguf);
    if (found) return slice(in, found, 0, in->plan->shape[0]);
    snprintf(name, sizeof name, "blk.%lld.ffn_%s.%lld.weight", (long long)in->plan->layer, kinds[part_of(in->plan)],
             (long long)in->plan->item);
    return whole(dk_checkpoint_find(in->file, name));
}

/* ---- q, k and v in one tensor ---- */
/* Converters of some years, and llama.cpp's own where it is told to, have them together where the family has not. */
static dk_source find_joined(const finder *in)
{
    const dk_config *c = &in->model->config;
    const int64_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim, firsts[3] = {0, q, q + kv};
    char name[64];
    for (size_t part = 0; part < 3 && !c->fused_qkv; part++) {
        int32_t is_weight = in->plan->slot->offset == offsetof(dk_layer, qkv) + part * sizeof(dk_parameter *);
        int32_t is_bias = in->plan->slot->offset == offsetof(dk_layer, qkv_bias) + part * sizeof(dk_parameter *);
        if (in->plan->slot->owner != DK_OF_LAYER || (!is_weight && !is_bias)) continue;
        snprintf(name, sizeof name, "blk.%lld.attn_qkv.%s", (long long)in->plan->layer, is_weight ? "weight" : "bias");
        return (dk_source){dk_checkpoint_find(in->file, name), firsts[part], q + 2 * kv};
    }
    return whole(NULL);
}

/* ---- all others ---- */
static dk_source find_in_folder(const finder *in, int64_t parameter)
{
    const char *name = in->plan->name, *sparse = strstr(name, ".block_sparse_moe.gate.");
    size_t prefix = strlen(in->row->prefix);
    const dk_tensor *found = dk_checkpoint_find(in->file, name);
    if (!found && !strncmp(name, in->row->prefix, prefix)) found = dk_checkpoint_find(in->file, name + prefix);
    if (!found && sparse) found = find_replaced(in, sparse, strlen(".block_sparse_moe.gate."), ".mlp.gate.");
    /* Of two tied names some writers keep the head's. */
    int32_t embedding = &in->model->parameters[parameter] == in->model->embedding;
    if (!found && in->model->config.tied && embedding) found = dk_checkpoint_find(in->file, dk_head_name(in->row));
    return !found && in->plan->slot->owner == DK_OF_EXPERT ? find_fused(in) : whole(found);
}

dk_source dk_find_source(const dk_model *model, const dk_checkpoint *checkpoint, int64_t parameter)
{
    const finder in = {model, checkpoint, dk_architecture_find(model->config.architecture),
                       dk_model_plan(model, parameter)};
    if (!dk_checkpoint_is_gguf(checkpoint)) return find_in_folder(&in, parameter);
    if (in.plan->slot->owner == DK_OF_EXPERT) return find_in_gguf(&in);
    const dk_tensor *found = dk_checkpoint_find(checkpoint, in.plan->gguf);
    if (found && in.plan->item >= 0) return slice(&in, found, 0, in.plan->shape[0]);
    return found ? whole(found) : find_joined(&in);
}
