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

static void put_bool(const writer *out, const char *suffix, int32_t value)
{
    char key[96];
    dk_gguf_put_bool(out->keys, key_of(out, suffix, key), value);
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

static int32_t has_pattern(const dk_config *c, int64_t pattern)
{
    for (int64_t i = 0; i < c->layers; i++)
        if ((c->window[i] == 0) != ((i + 1) % pattern == 0)) return 0;
    return 1;
}

/* Every how many layers one is full, 0 = no such number. */
static int64_t pattern_of(const dk_config *c, const dk_architecture *row)
{
    if (has_pattern(c, row->pattern)) return row->pattern;
    for (int64_t n = 2; row->has & DK_HAS_PATTERN && n <= c->layers + 1; n++)
        if (has_pattern(c, n)) return n;
    return 0;
}

/* The activation is what llama.cpp computes with for the family, whatever a file says. */
static dk_activation usual_activation(const dk_architecture *row)
{
    if (!strcmp(row->activation, "silu")) return DK_ACT_SILU;
    return !strcmp(row->activation, "gelu") ? DK_ACT_GELU_ERF : DK_ACT_GELU_TANH;
}

static int32_t is_close(double a, double b) { return fabs(a - b) <= 1e-6 * fabs(b); }

static const char *unsaid_scales(const dk_config *c, const dk_architecture *row)
{
    double root = row->embedding_root ? sqrt((double)c->hidden_size) : 1;
    int64_t width = row->gguf_large && c->layers == row->gguf_large ? c->hidden_size / c->heads : c->head_dim;
    if (row->has & DK_HAS_MULTIPLIERS) return NULL;
    if (!is_close(c->attention_scale, 1 / sqrt((double)width))) return "a scale of attention scores of its own";
    if (!is_close(c->embedding_scale, root) || c->residual_scale != 1 || c->logit_scale != 1)
        return "scaled activations";
    /* Of logits it has one unless the file says how large; a file cannot say none. */
    int32_t usual = (c->attention_softcap != 0) == (row->attention_softcap != 0) &&
                    (c->logit_softcap != 0 || row->logit_softcap == 0);
    if (row->has & DK_HAS_SOFTCAPS && usual) return NULL;
    if (c->logit_softcap != 0 || c->attention_softcap != 0 || row->has & DK_HAS_SOFTCAPS)
        return "soft caps, or none, against its family's custom";
    return NULL;
}

/* llama.cpp leaves out every fourth layer's rotation, and of one family alone. */
static int32_t rotates_as_usual(const dk_config *c, const dk_architecture *row)
{
    for (int64_t i = 0; i < c->layers; i++) {
        int32_t usual = row->has & DK_HAS_UNROTATED ? (i + 1) % 4 != 0 : 1;
        if (!row->learned_positions && (c->layer_rope[i] != 0) != usual) return 0;
    }
    return 1;
}

static const char *unsaid_rope(const dk_config *c, const dk_architecture *row)
{
    const dk_rope_config *rope = &c->rope;
    int32_t queries = (row->has & DK_HAS_QUERY_SCALE) != 0;
    if (!rotates_as_usual(c, row)) return "layers without rotary positions";
    if (rope->kind == DK_ROPE_NONE) return NULL;
    if (rope->dims != c->head_dim && !(row->has & DK_HAS_PARTIAL)) return "heads that rotate in part";
    if (queries && rope->query_scale != 0 && rope->kind != DK_ROPE_YARN) return "scaled queries without YaRN";
    if (rope->kind == DK_ROPE_LLAMA3 && !(row->gguf_rules & DK_GGUF_DIVISORS)) return "llama3 scaling of positions";
    if (rope->kind == DK_ROPE_LONG && !(row->has & DK_HAS_LENGTH_BESIDE)) return "longrope";
    if (rope->kind != DK_ROPE_YARN) return NULL;
    int32_t both = rope->mscale == 1 && rope->mscale_all_dim > 0 && queries;
    if (rope->attention_factor > 0 || !rope->truncate || (rope->mscale > 0 && !both))
        return "YaRN with a scale of its own";
    return NULL;
}

static const char *unsaid_experts(const dk_config *c, const dk_architecture *row)
{
    int64_t count = 0, window = 0;
    for (int64_t i = 0; c->layer_experts && i < c->layers; i++) count += c->layer_experts[i];
    if (row->has & DK_HAS_EXPERTS && count != c->layers) return "layers without experts";
    if (row->has & DK_HAS_EXPERTS && !c->experts_alone) return "weights of experts that do not add up to 1";
    return row->window == DK_WINDOW_SWITCHED && has_window(c, &window) ? "sliding windows" : NULL;
}

static const char *unsaid(const dk_config *c, const dk_architecture *row)
{
    int64_t window = 0;
    const char *why = NULL;
    if (c->activation != usual_activation(row)) return "another activation than its family's";
    if (c->scale_by_layer) return "attention scores divided by the layer's number";
    if ((why = unsaid_scales(c, row)) || (why = unsaid_rope(c, row)) || (why = unsaid_experts(c, row))) return why;
    if (c->local_rope.kind == DK_ROPE_LINEAR) return "scaled positions of layers that slide";
    if (row->window == DK_WINDOW_PATTERN) return pattern_of(c, row) ? NULL : "sliding windows without a pattern";
    if ((row->window == DK_WINDOW_UPPER || row->window == DK_WINDOW_UNROTATED) && has_window(c, &window))
        return "sliding windows of some layers";
    if (has_window(c, &window) < 0) return "sliding windows of some layers";
    return NULL;
}

/* Tensors that llama.cpp would miss, or would not know. */
static const char *unloadable(const dk_config *c, const dk_architecture *row)
{
    uint32_t rules = row->gguf_rules;
    if (rules & DK_GGUF_ALL_BIASES && !(c->qkv_bias && c->out_bias && c->mlp_bias)) return "products without biases";
    if (rules & DK_GGUF_NO_OUT_BIAS && c->out_bias) return "a bias behind attention";
    if (rules & DK_GGUF_NO_MLP_BIAS && c->mlp_bias) return "biases inside the MLP";
    if (rules & DK_GGUF_NO_QK_NORM && c->qk_norm) return "norms of q and k";
    if (rules & DK_GGUF_NO_HEAD && !c->tied) return "a head that is not tied";
    if (rules & DK_GGUF_SHARED_OUT && c->heads * c->head_dim != c->hidden_size)
        return "heads that are together wider or narrower than hidden_size";
    return NULL;
}

void dk_gguf_note_windows(const dk_config *config, dk_strbuf *notes)
{
    const dk_architecture *row = dk_architecture_find(config->architecture);
    int64_t window = 0;
    if (!(row->gguf_rules & DK_GGUF_NO_WINDOW) || !has_window(config, &window) || window >= config->max_positions)
        return;
    dk_note(notes,
            "llama.cpp does not look at the sliding window of a %s model: texts of more than %lld tokens are "
            "read otherwise there",
            row->name, (long long)window);
}

/* ---- positions ---- */
static void put_yarn(const writer *out, const dk_rope_config *rope)
{
    put_u32(out, "rope.scaling.original_context_length", rope->original_positions);
    put_f32(out, "rope.scaling.yarn_beta_fast", rope->beta_fast);
    put_f32(out, "rope.scaling.yarn_beta_slow", rope->beta_slow);
    if (rope->query_scale != 0) put_f32(out, "attention.temperature_scale", rope->query_scale);
    if (rope->mscale > 0) put_f32(out, "rope.scaling.yarn_log_multiplier", rope->mscale_all_dim);
}

static void put_long(const writer *out, const dk_rope_config *rope)
{
    double usual = rope->factor <= 1 ? 1 : sqrt(1 + log(rope->factor) / log((double)rope->original_positions));
    put_u32(out, "rope.scaling.original_context_length", rope->original_positions);
    put_f32(out, "rope.scaling.attn_factor", rope->attention_factor > 0 ? rope->attention_factor : usual);
}

static void put_rope(const writer *out, const dk_config *config)
{
    const dk_rope_config *rope = &config->rope;
    char key[96];
    put_u32(out, "rope.dimension_count", rope->dims);
    put_f32(out, "rope.freq_base", rope->theta);
    if (rope->kind == DK_ROPE_LLAMA3) put_u32(out, "rope.scaling.original_context_length", rope->original_positions);
    if (rope->kind == DK_ROPE_LONG) put_long(out, rope);
    if (rope->kind != DK_ROPE_LINEAR && rope->kind != DK_ROPE_YARN) return;
    dk_gguf_put_text(out->keys, key_of(out, "rope.scaling.type", key), rope->kind == DK_ROPE_YARN ? "yarn" : "linear");
    put_f32(out, "rope.scaling.factor", rope->factor);
    if (rope->kind == DK_ROPE_YARN) put_yarn(out, rope);
}

static void put_multipliers(const writer *out, const dk_config *config)
{
    put_f32(out, "embedding_scale", config->embedding_scale);
    put_f32(out, "residual_scale", config->residual_scale);
    put_f32(out, "attention.scale", config->attention_scale);
    put_f32(out, "logit_scale", 1 / config->logit_scale);
}

static void put_softcaps(const writer *out, const dk_config *config)
{
    int64_t pattern = pattern_of(config, out->row);
    if (config->attention_softcap != 0) put_f32(out, "attn_logit_softcapping", config->attention_softcap);
    if (config->logit_softcap != 0) put_f32(out, "final_logit_softcapping", config->logit_softcap);
    if (pattern != out->row->pattern) put_u32(out, "attention.sliding_window_pattern", pattern);
    if (out->row->has & DK_HAS_LOCAL_ROPE && config->local_rope.theta != 10000)
        put_f32(out, "rope.freq_base_swa", config->local_rope.theta);
}

int32_t dk_gguf_put_config(dk_gguf_keys *keys, const dk_config *config, int64_t vocab_size, dk_error *err)
{
    const writer out = {keys, dk_architecture_find(config->architecture)};
    const char *why = unsaid(config, out.row);
    int64_t window = 0;
    if (why)
        return dk_fail(err, DK_E_UNSUPPORTED, "GGUF has no key for what this %s model has: %s; save a folder",
                       out.row->name, why);
    why = unloadable(config, out.row);
    if (why)
        return dk_fail(err, DK_E_UNSUPPORTED, "llama.cpp does not load a %s model with %s; save a folder",
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
    if (has_window(config, &window) != 0) put_u32(&out, "attention.sliding_window", window);
    if (!out.row->learned_positions) put_rope(&out, config);
    if (out.row->has & DK_HAS_PARALLEL) put_bool(&out, "use_parallel_residual", config->parallel);
    if (out.row->has & DK_HAS_MULTIPLIERS) put_multipliers(&out, config);
    if (out.row->has & DK_HAS_SOFTCAPS) put_softcaps(&out, config);
    if (out.row->has & DK_HAS_EXPERTS) put_u32(&out, "expert_count", config->experts);
    if (out.row->has & DK_HAS_EXPERTS) put_u32(&out, "expert_used_count", config->experts_used);
    if (out.row->has & DK_HAS_DENSE_LAYERS) put_u32(&out, "expert_feed_forward_length", config->expert_size);
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
