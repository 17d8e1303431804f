/* A description in GGUF's keys: the way back of config_gguf.c. */
#include "model/export_gguf.h"

#include "base/notes.h"
#include "model/architecture.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct writer {
    dk_gguf_keys *keys;
    const dk_architecture *row;
} writer;

static const char *key_of(const writer *out, const char *suffix, char key[96])
{
    snprintf(key, 96, "%s.%s", out->row->gguf, suffix);
    return key;
}

static void put_u32(const writer *out, const char *suffix, int64_t value)
{
    char key[96];
    dk_gguf_put_u32(out->keys, key_of(out, suffix, key), (uint32_t)value);
}

static void put_f32(const writer *out, const char *suffix, double value)
{
    char key[96];
    dk_gguf_put_f32(out->keys, key_of(out, suffix, key), (float)value);
}

/* ---- what there are no keys for ---- */
static int32_t has_window(const dk_config *config, int64_t *window)
{
    int64_t windows = 0;
    for (int64_t i = 0; i < config->layers; i++) {
        windows += config->window[i] > 0;
        if (config->window[i]) *window = config->window[i];
    }
    return windows == 0 ? 0 : windows == config->layers ? 1 : -1;
}

static const char *unsaid(const dk_config *c, const dk_architecture *row)
{
    int64_t window = 0;
    int32_t plain_rope = 1;
    dk_activation usual = !strcmp(row->activation, "silu") ? DK_ACT_SILU : DK_ACT_GELU_TANH;
    for (int64_t i = 0; i < c->layers; i++) plain_rope &= c->layer_rope[i] || row->learned_positions;
    if (c->activation != usual) return "another activation than its family's";
    if (c->scale_by_layer) return "attention scores divided by the layer's number";
    if (fabs(c->attention_scale * sqrt((double)c->head_dim) - 1) > 1e-6)
        return "a scale of attention scores of its own";
    if (c->embedding_scale != 1 || c->residual_scale != 1 || c->logit_scale != 1) return "scaled activations";
    if (c->logit_softcap != 0 || c->attention_softcap != 0) return "soft caps";
    if (!plain_rope) return "layers without rotary positions";
    if (c->rope.kind != DK_ROPE_NONE && c->rope.dims != c->head_dim) return "heads that rotate in part";
    if (row->window == DK_WINDOW_UPPER && has_window(c, &window)) return "sliding windows of some layers";
    if (has_window(c, &window) < 0) return "sliding windows of some layers";
    if (c->rope.kind == DK_ROPE_YARN && (c->rope.mscale > 0 || c->rope.attention_factor > 0 || !c->rope.truncate))
        return "YaRN with a scale of its own";
    return NULL;
}

/* ---- positions ---- */
static void put_rope(const writer *out, const dk_config *config)
{
    const dk_rope_config *rope = &config->rope;
    char key[96];
    put_u32(out, "rope.dimension_count", rope->dims);
    put_f32(out, "rope.freq_base", rope->theta);
    if (rope->kind == DK_ROPE_LLAMA3) put_u32(out, "rope.scaling.original_context_length", rope->original_positions);
    if (rope->kind != DK_ROPE_LINEAR && rope->kind != DK_ROPE_YARN) return;
    dk_gguf_put_text(out->keys, key_of(out, "rope.scaling.type", key), rope->kind == DK_ROPE_YARN ? "yarn" : "linear");
    put_f32(out, "rope.scaling.factor", rope->factor);
    if (rope->kind == DK_ROPE_LINEAR) return;
    put_u32(out, "rope.scaling.original_context_length", rope->original_positions);
    put_f32(out, "rope.scaling.yarn_beta_fast", rope->beta_fast);
    put_f32(out, "rope.scaling.yarn_beta_slow", rope->beta_slow);
}

int32_t dk_gguf_put_config(dk_gguf_keys *keys, const dk_config *config, int64_t vocab_size, dk_error *err)
{
    const writer out = {keys, dk_architecture_find(config->architecture)};
    const char *why = unsaid(config, out.row);
    int64_t window = 0;
    if (why)
        return dk_fail(err, DK_E_UNSUPPORTED, "GGUF has no key for what this %s model has: %s; save a folder",
                       out.row->name, why);
    dk_gguf_put_text(keys, "general.architecture", out.row->gguf);
    put_u32(&out, "vocab_size", vocab_size);
    put_u32(&out, "context_length", config->max_positions);
    put_u32(&out, "embedding_length", config->hidden_size);
    put_u32(&out, "block_count", config->layers);
    put_u32(&out, "feed_forward_length", config->intermediate_size);
    put_u32(&out, "attention.head_count", config->heads);
    put_u32(&out, "attention.head_count_kv", config->kv_heads);
    put_u32(&out, "attention.key_length", config->head_dim);
    put_u32(&out, "attention.value_length", config->head_dim);
    put_f32(&out, config->norm == DK_NORM_RMS ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon",
            config->norm_epsilon);
    if (has_window(config, &window)) put_u32(&out, "attention.sliding_window", window);
    if (!out.row->learned_positions) put_rope(&out, config);
    return DK_OK;
}

/* Files name three: the end of a text, of a turn, of a message. */
void dk_gguf_put_ends(dk_gguf_keys *keys, const dk_config *config, int64_t eos, dk_strbuf *notes)
{
    static const char *const names[] = {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
    int32_t put = 0;
    for (int64_t i = 0; i < config->stop_count; i++) {
        if (config->stops[i] == eos) continue;
        if (put < 2) dk_gguf_put_u32(keys, names[put++], (uint32_t)config->stops[i]);
        else dk_note(notes, "token %d ends texts of the model, which GGUF has no key for", (int)config->stops[i]);
    }
}
