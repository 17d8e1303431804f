/* Which tensors the families have, and what GGUF calls them. */
#include "model/architecture.h"

#include <stdio.h>
#include <string.h>

/* One line for each tensor: HF name, GGUF name, owner, when, shape, fresh value, GGUF layout. */
#define MATRIX(name, gguf, owner, field, when, rows, columns, layout)                                       \
    {                                                                                                       \
        name, gguf, offsetof(owner, field), OWNER_##owner, DK_WHEN_##when, DK_DIM_##rows, DK_DIM_##columns, \
            DK_INIT_NORMAL, DK_GGUF_##layout                                                                \
    }
#define VECTOR(name, gguf, owner, field, when, rows, init, layout)                                                     \
    {                                                                                                                  \
        name, gguf, offsetof(owner, field), OWNER_##owner, DK_WHEN_##when, DK_DIM_##rows, DK_DIM_NONE, DK_INIT_##init, \
            DK_GGUF_##layout                                                                                           \
    }
#define NORM(name, gguf, owner, field, when, rows) VECTOR(name, gguf, owner, field, when, rows, ONE, SHIFTED)
#define OWNER_dk_model DK_OF_MODEL
#define OWNER_dk_layer DK_OF_LAYER
#define OWNER_dk_expert DK_OF_EXPERT
#define LLAMA(part) "model.layers.%d." part
#define GPT2(part) "transformer.h.%d." part
#define BLK(part) "blk.%d." part
#define TABLE(name) const dk_slots name = {name##_at, (int32_t)(sizeof name##_at / sizeof *name##_at)}

/* ---- parts that families share ---- */
#define LLAMA_TRUNK                                                                                             \
    MATRIX("model.embed_tokens.weight", "token_embd.weight", dk_model, embedding, ALWAYS, VOCAB, HIDDEN, SAME), \
        NORM("model.norm.weight", "output_norm.weight", dk_model, final_norm, ALWAYS, HIDDEN),                  \
        MATRIX("lm_head.weight", "output.weight", dk_model, head, UNTIED, VOCAB, HIDDEN, SAME)
#define LLAMA_INPUT_NORM \
    NORM(LLAMA("input_layernorm.weight"), BLK("attn_norm.weight"), dk_layer, attention_norm, ALWAYS, HIDDEN)
#define LLAMA_MLP_NORM \
    NORM(LLAMA("post_attention_layernorm.weight"), BLK("ffn_norm.weight"), dk_layer, mlp_norm, ALWAYS, HIDDEN)
#define LLAMA_PROJECTIONS                                                                                              \
    MATRIX(LLAMA("self_attn.q_proj.weight"), BLK("attn_q.weight"), dk_layer, qkv[0], ALWAYS, Q, HIDDEN, ROTATED),      \
        MATRIX(LLAMA("self_attn.k_proj.weight"), BLK("attn_k.weight"), dk_layer, qkv[1], ALWAYS, KV, HIDDEN, ROTATED), \
        MATRIX(LLAMA("self_attn.v_proj.weight"), BLK("attn_v.weight"), dk_layer, qkv[2], ALWAYS, KV, HIDDEN, SAME),    \
        VECTOR(LLAMA("self_attn.q_proj.bias"), BLK("attn_q.bias"), dk_layer, qkv_bias[0], QKV_BIAS, Q, ZERO, ROTATED), \
        VECTOR(LLAMA("self_attn.k_proj.bias"), BLK("attn_k.bias"), dk_layer, qkv_bias[1], QKV_BIAS, KV, ZERO,          \
               ROTATED),                                                                                               \
        VECTOR(LLAMA("self_attn.v_proj.bias"), BLK("attn_v.bias"), dk_layer, qkv_bias[2], QKV_BIAS, KV, ZERO, SAME)
#define LLAMA_OUT                                                                                                   \
    MATRIX(LLAMA("self_attn.o_proj.weight"), BLK("attn_output.weight"), dk_layer, out, ALWAYS, HIDDEN, Q, SAME),    \
        VECTOR(LLAMA("self_attn.o_proj.bias"), BLK("attn_output.bias"), dk_layer, out_bias, OUT_BIAS, HIDDEN, ZERO, \
               SAME)
#define LLAMA_HEAD_NORMS(dim_q, dim_k)                                                                   \
    NORM(LLAMA("self_attn.q_norm.weight"), BLK("attn_q_norm.weight"), dk_layer, q_norm, QK_NORM, dim_q), \
        NORM(LLAMA("self_attn.k_norm.weight"), BLK("attn_k_norm.weight"), dk_layer, k_norm, QK_NORM, dim_k)
#define LLAMA_GATE_UP                                                                                           \
    MATRIX(LLAMA("mlp.gate_proj.weight"), BLK("ffn_gate.weight"), dk_layer, up[0], DENSE, INNER, HIDDEN, SAME), \
        MATRIX(LLAMA("mlp.up_proj.weight"), BLK("ffn_up.weight"), dk_layer, up[1], DENSE, INNER, HIDDEN, SAME)
#define LLAMA_DOWN \
    MATRIX(LLAMA("mlp.down_proj.weight"), BLK("ffn_down.weight"), dk_layer, down, DENSE, HIDDEN, INNER, SAME)
#define LLAMA_MLP_BIAS                                                                                            \
    VECTOR(LLAMA("mlp.gate_proj.bias"), BLK("ffn_gate.bias"), dk_layer, up_bias[0], MLP_BIAS, INNER, ZERO, SAME), \
        VECTOR(LLAMA("mlp.up_proj.bias"), BLK("ffn_up.bias"), dk_layer, up_bias[1], MLP_BIAS, INNER, ZERO, SAME), \
        VECTOR(LLAMA("mlp.down_proj.bias"), BLK("ffn_down.bias"), dk_layer, down_bias, MLP_BIAS, HIDDEN, ZERO, SAME)

#define EXPERTS(gate, up_name, down_name)                                                                   \
    MATRIX(LLAMA(gate), BLK("ffn_gate_exps.weight"), dk_expert, up[0], EXPERTS, EXPERT, HIDDEN, SAME),      \
        MATRIX(LLAMA(up_name), BLK("ffn_up_exps.weight"), dk_expert, up[1], EXPERTS, EXPERT, HIDDEN, SAME), \
        MATRIX(LLAMA(down_name), BLK("ffn_down_exps.weight"), dk_expert, down, EXPERTS, HIDDEN, EXPERT, SAME)
#define ROUTER(name) MATRIX(LLAMA(name), BLK("ffn_gate_inp.weight"), dk_layer, router, EXPERTS, EXPERTS, HIDDEN, SAME)

/* ---- the families ---- */
static const dk_slot dk_llama_slots_at[] = {
    LLAMA_TRUNK,   LLAMA_INPUT_NORM, LLAMA_PROJECTIONS, LLAMA_HEAD_NORMS(HEAD, HEAD), LLAMA_OUT, LLAMA_MLP_NORM,
    LLAMA_GATE_UP, LLAMA_DOWN,       LLAMA_MLP_BIAS,
};
TABLE(dk_llama_slots);

static const dk_slot dk_mixtral_slots_at[] = {
    LLAMA_TRUNK,
    LLAMA_INPUT_NORM,
    LLAMA_PROJECTIONS,
    LLAMA_OUT,
    LLAMA_MLP_NORM,
    ROUTER("block_sparse_moe.gate.weight"),
    EXPERTS("block_sparse_moe.experts.%d.w1.weight", "block_sparse_moe.experts.%d.w3.weight",
            "block_sparse_moe.experts.%d.w2.weight"),
};
TABLE(dk_mixtral_slots);

static const dk_slot dk_qwen3_moe_slots_at[] = {
    LLAMA_TRUNK,
    LLAMA_INPUT_NORM,
    LLAMA_PROJECTIONS,
    LLAMA_HEAD_NORMS(HEAD, HEAD),
    LLAMA_OUT,
    LLAMA_MLP_NORM,
    LLAMA_GATE_UP,
    LLAMA_DOWN,
    ROUTER("mlp.gate.weight"),
    EXPERTS("mlp.experts.%d.gate_proj.weight", "mlp.experts.%d.up_proj.weight", "mlp.experts.%d.down_proj.weight"),
};
TABLE(dk_qwen3_moe_slots);

/* Norms stand behind the branches, none before them. */
static const dk_slot dk_olmo2_slots_at[] = {
    LLAMA_TRUNK,
    LLAMA_PROJECTIONS,
    LLAMA_HEAD_NORMS(Q, KV),
    LLAMA_OUT,
    NORM(LLAMA("post_attention_layernorm.weight"), BLK("post_attention_norm.weight"), dk_layer, attention_post_norm,
         ALWAYS, HIDDEN),
    LLAMA_GATE_UP,
    LLAMA_DOWN,
    NORM(LLAMA("post_feedforward_layernorm.weight"), BLK("post_ffw_norm.weight"), dk_layer, mlp_post_norm, ALWAYS,
         HIDDEN),
};
TABLE(dk_olmo2_slots);

/* Norms stand before and behind the branches. */
static const dk_slot dk_gemma2_slots_at[] = {
    LLAMA_TRUNK,
    LLAMA_INPUT_NORM,
    LLAMA_PROJECTIONS,
    LLAMA_HEAD_NORMS(HEAD, HEAD),
    LLAMA_OUT,
    NORM(LLAMA("post_attention_layernorm.weight"), BLK("post_attention_norm.weight"), dk_layer, attention_post_norm,
         ALWAYS, HIDDEN),
    NORM(LLAMA("pre_feedforward_layernorm.weight"), BLK("ffn_norm.weight"), dk_layer, mlp_norm, ALWAYS, HIDDEN),
    LLAMA_GATE_UP,
    LLAMA_DOWN,
    NORM(LLAMA("post_feedforward_layernorm.weight"), BLK("post_ffw_norm.weight"), dk_layer, mlp_post_norm, ALWAYS,
         HIDDEN),
};
TABLE(dk_gemma2_slots);

static const dk_slot dk_phi3_slots_at[] = {
    LLAMA_TRUNK,
    LLAMA_INPUT_NORM,
    MATRIX(LLAMA("self_attn.qkv_proj.weight"), BLK("attn_qkv.weight"), dk_layer, qkv[0], ALWAYS, QKV, HIDDEN, SAME),
    LLAMA_OUT,
    LLAMA_MLP_NORM,
    MATRIX(LLAMA("mlp.gate_up_proj.weight"), BLK("ffn_up.weight"), dk_layer, up[0], ALWAYS, GATE_UP, HIDDEN, SAME),
    LLAMA_DOWN,
};
TABLE(dk_phi3_slots);

/* ---- families with LayerNorm ---- */
#define LAYER_NORM(name, gguf, owner, field, when)                                 \
    VECTOR(name ".weight", gguf ".weight", owner, field, when, HIDDEN, ONE, SAME), \
        VECTOR(name ".bias", gguf ".bias", owner, field##_bias, when, HIDDEN, ZERO, SAME)
#define HEAD_LAYER_NORM(name, gguf, field)                                             \
    VECTOR(name ".weight", gguf ".weight", dk_layer, field, QK_NORM, HEAD, ONE, SAME), \
        VECTOR(name ".bias", gguf ".bias", dk_layer, field##_bias, QK_NORM, HEAD, ZERO, SAME)
#define NORMS_OF_HEADS(name, gguf, field, of)                                                              \
    {                                                                                                      \
        name, gguf, offsetof(dk_layer, field), of, DK_WHEN_QK_NORM, DK_DIM_HEAD, DK_DIM_NONE, DK_INIT_ONE, \
            DK_GGUF_SAME                                                                                   \
    }
#define NEOX(part) "gpt_neox.layers.%d." part

static const dk_slot dk_stablelm_slots_at[] = {
    MATRIX("model.embed_tokens.weight", "token_embd.weight", dk_model, embedding, ALWAYS, VOCAB, HIDDEN, SAME),
    LAYER_NORM("model.norm", "output_norm", dk_model, final_norm, ALWAYS),
    MATRIX("lm_head.weight", "output.weight", dk_model, head, UNTIED, VOCAB, HIDDEN, SAME),
    LAYER_NORM(LLAMA("input_layernorm"), BLK("attn_norm"), dk_layer, attention_norm, ALWAYS),
    LLAMA_PROJECTIONS,
    NORMS_OF_HEADS(LLAMA("self_attn.q_layernorm.norms.%d.weight"), BLK("attn_q_norm.weight"), q_norms, DK_OF_HEAD),
    NORMS_OF_HEADS(LLAMA("self_attn.k_layernorm.norms.%d.weight"), BLK("attn_k_norm.weight"), k_norms, DK_OF_KV_HEAD),
    LLAMA_OUT,
    LAYER_NORM(LLAMA("post_attention_layernorm"), BLK("ffn_norm"), dk_layer, mlp_norm, SEQUENTIAL),
    LLAMA_GATE_UP,
    LLAMA_DOWN,
};
TABLE(dk_stablelm_slots);

/* One norm for both branches. */
static const dk_slot dk_phi_slots_at[] = {
    MATRIX("model.embed_tokens.weight", "token_embd.weight", dk_model, embedding, ALWAYS, VOCAB, HIDDEN, SAME),
    LAYER_NORM("model.final_layernorm", "output_norm", dk_model, final_norm, ALWAYS),
    MATRIX("lm_head.weight", "output.weight", dk_model, head, UNTIED, VOCAB, HIDDEN, SAME),
    VECTOR("lm_head.bias", "output.bias", dk_model, head_bias, ALWAYS, VOCAB, ZERO, SAME),
    LAYER_NORM(LLAMA("input_layernorm"), BLK("attn_norm"), dk_layer, attention_norm, ALWAYS),
    LLAMA_PROJECTIONS,
    HEAD_LAYER_NORM(LLAMA("self_attn.q_layernorm"), BLK("attn_q_norm"), q_norm),
    HEAD_LAYER_NORM(LLAMA("self_attn.k_layernorm"), BLK("attn_k_norm"), k_norm),
    MATRIX(LLAMA("self_attn.dense.weight"), BLK("attn_output.weight"), dk_layer, out, ALWAYS, HIDDEN, Q, SAME),
    VECTOR(LLAMA("self_attn.dense.bias"), BLK("attn_output.bias"), dk_layer, out_bias, ALWAYS, HIDDEN, ZERO, SAME),
    MATRIX(LLAMA("mlp.fc1.weight"), BLK("ffn_up.weight"), dk_layer, up[0], ALWAYS, INNER, HIDDEN, SAME),
    VECTOR(LLAMA("mlp.fc1.bias"), BLK("ffn_up.bias"), dk_layer, up_bias[0], ALWAYS, INNER, ZERO, SAME),
    MATRIX(LLAMA("mlp.fc2.weight"), BLK("ffn_down.weight"), dk_layer, down, ALWAYS, HIDDEN, INNER, SAME),
    VECTOR(LLAMA("mlp.fc2.bias"), BLK("ffn_down.bias"), dk_layer, down_bias, ALWAYS, HIDDEN, ZERO, SAME),
};
TABLE(dk_phi_slots);

static const dk_slot dk_gpt_neox_slots_at[] = {
    MATRIX("gpt_neox.embed_in.weight", "token_embd.weight", dk_model, embedding, ALWAYS, VOCAB, HIDDEN, SAME),
    LAYER_NORM("gpt_neox.final_layer_norm", "output_norm", dk_model, final_norm, ALWAYS),
    MATRIX("embed_out.weight", "output.weight", dk_model, head, UNTIED, VOCAB, HIDDEN, SAME),
    LAYER_NORM(NEOX("input_layernorm"), BLK("attn_norm"), dk_layer, attention_norm, ALWAYS),
    MATRIX(NEOX("attention.query_key_value.weight"), BLK("attn_qkv.weight"), dk_layer, qkv[0], ALWAYS, QKV, HIDDEN,
           GROUPED),
    VECTOR(NEOX("attention.query_key_value.bias"), BLK("attn_qkv.bias"), dk_layer, qkv_bias[0], QKV_BIAS, QKV, ZERO,
           GROUPED),
    MATRIX(NEOX("attention.dense.weight"), BLK("attn_output.weight"), dk_layer, out, ALWAYS, HIDDEN, Q, SAME),
    VECTOR(NEOX("attention.dense.bias"), BLK("attn_output.bias"), dk_layer, out_bias, OUT_BIAS, HIDDEN, ZERO, SAME),
    LAYER_NORM(NEOX("post_attention_layernorm"), BLK("ffn_norm"), dk_layer, mlp_norm, ALWAYS),
    MATRIX(NEOX("mlp.dense_h_to_4h.weight"), BLK("ffn_up.weight"), dk_layer, up[0], ALWAYS, INNER, HIDDEN, SAME),
    VECTOR(NEOX("mlp.dense_h_to_4h.bias"), BLK("ffn_up.bias"), dk_layer, up_bias[0], ALWAYS, INNER, ZERO, SAME),
    MATRIX(NEOX("mlp.dense_4h_to_h.weight"), BLK("ffn_down.weight"), dk_layer, down, ALWAYS, HIDDEN, INNER, SAME),
    VECTOR(NEOX("mlp.dense_4h_to_h.bias"), BLK("ffn_down.bias"), dk_layer, down_bias, ALWAYS, HIDDEN, ZERO, SAME),
};
TABLE(dk_gpt_neox_slots);

static const dk_slot dk_gpt2_slots_at[] = {
    MATRIX("transformer.wte.weight", "token_embd.weight", dk_model, embedding, ALWAYS, VOCAB, HIDDEN, SAME),
    MATRIX("transformer.wpe.weight", "position_embd.weight", dk_model, positions, ALWAYS, POSITIONS, HIDDEN, SAME),
    VECTOR("transformer.ln_f.weight", "output_norm.weight", dk_model, final_norm, ALWAYS, HIDDEN, ONE, SAME),
    VECTOR("transformer.ln_f.bias", "output_norm.bias", dk_model, final_norm_bias, ALWAYS, HIDDEN, ZERO, SAME),
    MATRIX("lm_head.weight", "output.weight", dk_model, head, UNTIED, VOCAB, HIDDEN, SAME),
    VECTOR(GPT2("ln_1.weight"), BLK("attn_norm.weight"), dk_layer, attention_norm, ALWAYS, HIDDEN, ONE, SAME),
    VECTOR(GPT2("ln_1.bias"), BLK("attn_norm.bias"), dk_layer, attention_norm_bias, ALWAYS, HIDDEN, ZERO, SAME),
    MATRIX(GPT2("attn.c_attn.weight"), BLK("attn_qkv.weight"), dk_layer, qkv[0], ALWAYS, HIDDEN, QKV, TRANSPOSED),
    VECTOR(GPT2("attn.c_attn.bias"), BLK("attn_qkv.bias"), dk_layer, qkv_bias[0], ALWAYS, QKV, ZERO, SAME),
    MATRIX(GPT2("attn.c_proj.weight"), BLK("attn_output.weight"), dk_layer, out, ALWAYS, Q, HIDDEN, TRANSPOSED),
    VECTOR(GPT2("attn.c_proj.bias"), BLK("attn_output.bias"), dk_layer, out_bias, ALWAYS, HIDDEN, ZERO, SAME),
    VECTOR(GPT2("ln_2.weight"), BLK("ffn_norm.weight"), dk_layer, mlp_norm, ALWAYS, HIDDEN, ONE, SAME),
    VECTOR(GPT2("ln_2.bias"), BLK("ffn_norm.bias"), dk_layer, mlp_norm_bias, ALWAYS, HIDDEN, ZERO, SAME),
    MATRIX(GPT2("mlp.c_fc.weight"), BLK("ffn_up.weight"), dk_layer, up[0], ALWAYS, HIDDEN, INNER, TRANSPOSED),
    VECTOR(GPT2("mlp.c_fc.bias"), BLK("ffn_up.bias"), dk_layer, up_bias[0], ALWAYS, INNER, ZERO, SAME),
    MATRIX(GPT2("mlp.c_proj.weight"), BLK("ffn_down.weight"), dk_layer, down, ALWAYS, INNER, HIDDEN, TRANSPOSED),
    VECTOR(GPT2("mlp.c_proj.bias"), BLK("ffn_down.bias"), dk_layer, down_bias, ALWAYS, HIDDEN, ZERO, SAME),
};
TABLE(dk_gpt2_slots);

/* ---- tensors ---- */
int32_t dk_slot_present(const dk_slot *slot, const dk_config *config, int64_t layer)
{
    int32_t of_experts = config->layer_experts && layer >= 0 && config->layer_experts[layer];
    switch (slot->when) {
    case DK_WHEN_ALWAYS:
        return 1;
    case DK_WHEN_UNTIED:
        return !config->tied;
    case DK_WHEN_QKV_BIAS:
        return config->qkv_bias;
    case DK_WHEN_OUT_BIAS:
        return config->out_bias;
    case DK_WHEN_MLP_BIAS:
        return config->mlp_bias;
    case DK_WHEN_SEQUENTIAL:
        return !config->parallel;
    case DK_WHEN_DENSE:
        return !of_experts;
    case DK_WHEN_EXPERTS:
        return of_experts;
    case DK_WHEN_QK_NORM:
        return config->qk_norm != DK_QK_NORM_NONE;
    }
    return 0;
}

int64_t dk_dim_size(dk_dim dim, const dk_config *config)
{
    int64_t q = config->heads * config->head_dim, kv = config->kv_heads * config->head_dim;
    switch (dim) {
    case DK_DIM_NONE:
        return 1;
    case DK_DIM_VOCAB:
        return config->vocab_size;
    case DK_DIM_POSITIONS:
        return config->max_positions;
    case DK_DIM_HIDDEN:
        return config->hidden_size;
    case DK_DIM_Q:
        return q;
    case DK_DIM_KV:
        return kv;
    case DK_DIM_QKV:
        return q + 2 * kv;
    case DK_DIM_HEAD:
        return config->head_dim;
    case DK_DIM_INNER:
        return config->intermediate_size;
    case DK_DIM_GATE_UP:
        return 2 * config->intermediate_size;
    case DK_DIM_EXPERTS:
        return config->experts;
    case DK_DIM_EXPERT:
        return config->expert_size;
    }
    return 0;
}

const char *dk_head_name(const dk_architecture *row)
{
    for (int32_t i = 0; i < row->slots->count; i++)
        if (row->slots->at[i].owner == DK_OF_MODEL && row->slots->at[i].offset == offsetof(dk_model, head))
            return row->slots->at[i].name;
    return "lm_head.weight";
}

int64_t dk_slot_items(const dk_slot *slot, const dk_config *config)
{
    if (slot->owner == DK_OF_EXPERT) return config->experts;
    if (slot->owner == DK_OF_HEAD) return config->heads;
    return slot->owner == DK_OF_KV_HEAD ? config->kv_heads : 1;
}

void dk_slot_name(const char *pattern, int64_t layer, int64_t item, char *out, size_t size)
{
    const int64_t numbers[2] = {layer, item};
    size_t used = 0;
    for (int i = 0; i < 2; i++) {
        const char *place = strstr(pattern, "%d");
        if (!place) break;
        used += (size_t)snprintf(out + used, size - used, "%.*s%lld", (int)(place - pattern), pattern,
                                 (long long)numbers[i]);
        pattern = place + 2;
        if (used >= size) return;
    }
    snprintf(out + used, size - used, "%s", pattern);
}
