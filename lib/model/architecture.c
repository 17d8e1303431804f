#include "model/architecture.h"

#include <stdio.h>
#include <string.h>

/* One line for each tensor: HF name, GGUF name, owner, when, shape, fresh value, GGUF layout. */
#define MATRIX(name, gguf, owner, field, when, rows, columns, layout)                                           \
    {                                                                                                           \
        name, gguf, offsetof(owner, field), PER_LAYER_##owner, DK_WHEN_##when, DK_DIM_##rows, DK_DIM_##columns, \
            DK_INIT_NORMAL, DK_GGUF_##layout                                                                    \
    }
#define VECTOR(name, gguf, owner, field, when, rows, init, layout)                                         \
    {                                                                                                      \
        name, gguf, offsetof(owner, field), PER_LAYER_##owner, DK_WHEN_##when, DK_DIM_##rows, DK_DIM_NONE, \
            DK_INIT_##init, DK_GGUF_##layout                                                               \
    }
#define PER_LAYER_dk_model 0
#define PER_LAYER_dk_layer 1
#define LLAMA(part) "model.layers.%d." part
#define GPT2(part) "transformer.h.%d." part
#define BLK(part) "blk.%d." part

static const dk_slot llama_slots[] = {
    MATRIX("model.embed_tokens.weight", "token_embd.weight", dk_model, embedding, ALWAYS, VOCAB, HIDDEN, SAME),
    VECTOR("model.norm.weight", "output_norm.weight", dk_model, final_norm, ALWAYS, HIDDEN, ONE, SAME),
    MATRIX("lm_head.weight", "output.weight", dk_model, head, UNTIED, VOCAB, HIDDEN, SAME),
    VECTOR(LLAMA("input_layernorm.weight"), BLK("attn_norm.weight"), dk_layer, attention_norm, ALWAYS, HIDDEN, ONE,
           SAME),
    MATRIX(LLAMA("self_attn.q_proj.weight"), BLK("attn_q.weight"), dk_layer, qkv[0], ALWAYS, Q, HIDDEN, ROTATED),
    MATRIX(LLAMA("self_attn.k_proj.weight"), BLK("attn_k.weight"), dk_layer, qkv[1], ALWAYS, KV, HIDDEN, ROTATED),
    MATRIX(LLAMA("self_attn.v_proj.weight"), BLK("attn_v.weight"), dk_layer, qkv[2], ALWAYS, KV, HIDDEN, SAME),
    VECTOR(LLAMA("self_attn.q_proj.bias"), BLK("attn_q.bias"), dk_layer, qkv_bias[0], QKV_BIAS, Q, ZERO, ROTATED),
    VECTOR(LLAMA("self_attn.k_proj.bias"), BLK("attn_k.bias"), dk_layer, qkv_bias[1], QKV_BIAS, KV, ZERO, ROTATED),
    VECTOR(LLAMA("self_attn.v_proj.bias"), BLK("attn_v.bias"), dk_layer, qkv_bias[2], QKV_BIAS, KV, ZERO, SAME),
    VECTOR(LLAMA("self_attn.q_norm.weight"), BLK("attn_q_norm.weight"), dk_layer, q_norm, QK_NORM, HEAD, ONE, SAME),
    VECTOR(LLAMA("self_attn.k_norm.weight"), BLK("attn_k_norm.weight"), dk_layer, k_norm, QK_NORM, HEAD, ONE, SAME),
    MATRIX(LLAMA("self_attn.o_proj.weight"), BLK("attn_output.weight"), dk_layer, out, ALWAYS, HIDDEN, Q, SAME),
    VECTOR(LLAMA("self_attn.o_proj.bias"), BLK("attn_output.bias"), dk_layer, out_bias, OUT_BIAS, HIDDEN, ZERO, SAME),
    VECTOR(LLAMA("post_attention_layernorm.weight"), BLK("ffn_norm.weight"), dk_layer, mlp_norm, ALWAYS, HIDDEN, ONE,
           SAME),
    MATRIX(LLAMA("mlp.gate_proj.weight"), BLK("ffn_gate.weight"), dk_layer, up[0], ALWAYS, INNER, HIDDEN, SAME),
    MATRIX(LLAMA("mlp.up_proj.weight"), BLK("ffn_up.weight"), dk_layer, up[1], ALWAYS, INNER, HIDDEN, SAME),
    MATRIX(LLAMA("mlp.down_proj.weight"), BLK("ffn_down.weight"), dk_layer, down, ALWAYS, HIDDEN, INNER, SAME),
    VECTOR(LLAMA("mlp.gate_proj.bias"), BLK("ffn_gate.bias"), dk_layer, up_bias[0], MLP_BIAS, INNER, ZERO, SAME),
    VECTOR(LLAMA("mlp.up_proj.bias"), BLK("ffn_up.bias"), dk_layer, up_bias[1], MLP_BIAS, INNER, ZERO, SAME),
    VECTOR(LLAMA("mlp.down_proj.bias"), BLK("ffn_down.bias"), dk_layer, down_bias, MLP_BIAS, HIDDEN, ZERO, SAME),
};
static const dk_slot gpt2_slots[] = {
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
#define SLOTS(table) .slots = table, .slot_count = (int32_t)(sizeof table / sizeof *table)

static const dk_config_keys llama_keys = {
    .hidden = {"hidden_size"},
    .layers = {"num_hidden_layers"},
    .heads = {"num_attention_heads"},
    .inner = {"intermediate_size"},
    .positions = {"max_position_embeddings"},
    .epsilon = "rms_norm_eps",
    .activation = "hidden_act",
};
static const dk_config_keys gpt2_keys = {
    .hidden = {"n_embd", "hidden_size"},
    .layers = {"n_layer", "num_hidden_layers"},
    .heads = {"n_head", "num_attention_heads"},
    .inner = {"n_inner"},
    .positions = {"n_positions", "max_position_embeddings"},
    .epsilon = "layer_norm_epsilon",
    .activation = "activation_function",
};

static const dk_architecture table[] = {
    {.name = "gpt2",
     .class_name = "GPT2LMHeadModel",
     .gguf = "gpt2",
     .prefix = "transformer.",
     .keys = &gpt2_keys,
     SLOTS(gpt2_slots),
     .norm = DK_NORM_LAYER,
     .fused = 1,
     .learned_positions = 1,
     .bias = DK_BIAS_ALL,
     .tied_head_repeated = 1,
     .vocab_size = 50257,
     .hidden_size = 768,
     .layers = 12,
     .heads = 12,
     .positions = 1024,
     .bos = 50256,
     .eos = 50256,
     .epsilon = 1e-5,
     .tied = 1,
     .activation = "gelu_new"},
    {.name = "llama",
     .class_name = "LlamaForCausalLM",
     .gguf = "llama",
     .prefix = "model.",
     .keys = &llama_keys,
     SLOTS(llama_slots),
     .norm = DK_NORM_RMS,
     .gated = 1,
     .bias = DK_BIAS_KEY,
     .mlp_bias_key = 1,
     .gguf_rotated = 1,
     .vocab_size = 32000,
     .hidden_size = 4096,
     .layers = 32,
     .heads = 32,
     .inner = 11008,
     .positions = 2048,
     .bos = 1,
     .eos = 2,
     .epsilon = 1e-6,
     .activation = "silu"},
    {.name = "mistral",
     .class_name = "MistralForCausalLM",
     .gguf = "llama",
     .prefix = "model.",
     .keys = &llama_keys,
     SLOTS(llama_slots),
     .norm = DK_NORM_RMS,
     .gated = 1,
     .window = DK_WINDOW_ALL,
     .gguf_rotated = 1,
     .vocab_size = 32000,
     .hidden_size = 4096,
     .layers = 32,
     .heads = 32,
     .kv_heads = 8,
     .inner = 14336,
     .positions = 131072,
     .sliding_window = 4096,
     .bos = 1,
     .eos = 2,
     .epsilon = 1e-6,
     .activation = "silu"},
    {.name = "qwen2",
     .class_name = "Qwen2ForCausalLM",
     .gguf = "qwen2",
     .prefix = "model.",
     .keys = &llama_keys,
     SLOTS(llama_slots),
     .norm = DK_NORM_RMS,
     .gated = 1,
     .bias = DK_BIAS_QKV,
     .window = DK_WINDOW_UPPER,
     .vocab_size = 151936,
     .hidden_size = 4096,
     .layers = 32,
     .heads = 32,
     .kv_heads = 32,
     .inner = 22016,
     .positions = 32768,
     .sliding_window = 4096,
     .max_window_layers = 28,
     .bos = -1,
     .eos = -1,
     .epsilon = 1e-6,
     .activation = "silu"},
    {.name = "qwen3",
     .class_name = "Qwen3ForCausalLM",
     .gguf = "qwen3",
     .prefix = "model.",
     .keys = &llama_keys,
     SLOTS(llama_slots),
     .norm = DK_NORM_RMS,
     .gated = 1,
     .bias = DK_BIAS_KEY,
     .qk_norm = 1,
     .window = DK_WINDOW_UPPER,
     .vocab_size = 151936,
     .hidden_size = 4096,
     .layers = 32,
     .heads = 32,
     .kv_heads = 32,
     .head_dim = 128,
     .inner = 22016,
     .positions = 32768,
     .sliding_window = 4096,
     .max_window_layers = 28,
     .bos = -1,
     .eos = -1,
     .epsilon = 1e-6,
     .activation = "silu"},
};

const char *dk_architectures(void) { return "gpt2, llama (SmolLM, TinyLlama, ... too), mistral, qwen2, qwen3"; }

const dk_architecture *dk_architecture_find(const char *model_type)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].name, model_type)) return &table[i];
    return NULL;
}

const dk_architecture *dk_architecture_find_gguf(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].gguf, name)) return &table[i];
    return NULL;
}

int32_t dk_fail_architecture(const char *file, const char *key, const char *name, dk_error *err)
{
    return dk_fail(err, DK_E_UNSUPPORTED, "%s: %s '%s' is not supported; supported are %s", file, key, name,
                   dk_architectures());
}

/* ---- tensors ---- */
int32_t dk_slot_present(const dk_slot *slot, const dk_config *config)
{
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
    case DK_WHEN_QK_NORM:
        return config->qk_norm;
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
    }
    return 0;
}

void dk_slot_name(const char *pattern, int64_t layer, char *out, size_t size)
{
    const char *place = strstr(pattern, "%d");
    if (place) snprintf(out, size, "%.*s%lld%s", (int)(place - pattern), pattern, (long long)layer, place + 2);
    else snprintf(out, size, "%s", pattern);
}
