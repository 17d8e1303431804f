/* config.json -> dk_config, old style and new, with the defaults of the transformers class that model_type names. */
#include "model/architecture.h"

#include "base/notes.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    WIDTH_LIMIT = 1 << 22,
    LAYER_LIMIT = 4096,
    HEAD_LIMIT = 1 << 16
}; /* keep every product of sizes inside 63 bits */

typedef struct activation_name {
    const char *name;
    dk_activation kind;
} activation_name;
static const activation_name activations[] = {
    {"silu", DK_ACT_SILU},          {"swish", DK_ACT_SILU},
    {"gelu", DK_ACT_GELU_ERF},      {"gelu_python", DK_ACT_GELU_ERF},
    {"gelu_new", DK_ACT_GELU_TANH}, {"gelu_fast", DK_ACT_GELU_TANH},
    {"relu", DK_ACT_RELU},          {"gelu_pytorch_tanh", DK_ACT_GELU_TANH},
};

typedef struct reader {
    const dk_document *doc;
    const dk_node *root;
    const dk_architecture *row;
    dk_config *config;
} reader;

/* ---- numbers ---- */
static int32_t read_size(const reader *in, const char *const keys[2], int64_t high, int64_t fallback, int64_t *out,
                         dk_error *err)
{
    const char *key = keys[0];
    if (!dk_node_get(in->root, key) && keys[1] && dk_node_get(in->root, keys[1])) key = keys[1];
    return dk_node_i64(in->doc, in->root, key, 1, high, fallback, out, err);
}

/* What a family has no key for may be said all the same, as it is. */
static int32_t check_formed(const reader *in, const char *key, int64_t value, dk_error *err)
{
    int64_t said = 0;
    int32_t rc = dk_node_i64(in->doc, in->root, key, 1, HEAD_LIMIT, value, &said, err);
    if (rc || said == value) return rc;
    return dk_fail(
        err, DK_E_MISMATCH, "%s: %s is %lld, but a %s model has no such key: %s %lld and %s %lld make it %lld",
        dk_document_name(in->doc), key, (long long)said, in->row->name, in->row->keys->hidden[0],
        (long long)in->config->hidden_size, in->row->keys->heads[0], (long long)in->config->heads, (long long)value);
}

static int32_t read_head_sizes(const reader *in, dk_error *err)
{
    int32_t rc = DK_OK;
    dk_config *config = in->config;
    const char *name = dk_document_name(in->doc);
    const dk_node *kv = dk_node_get(in->root, "num_key_value_heads");
    int64_t kv_default = in->row->kv_heads && !(kv && kv->type == DK_NODE_NULL) ? in->row->kv_heads : config->heads;
    config->kv_heads = config->heads;
    config->head_dim = in->row->head_dim ? in->row->head_dim : config->hidden_size / config->heads;
    int32_t shared = in->row->heads_share || in->row->heads_alone;
    if (in->row->heads_alone) DK_TRY(check_formed(in, "num_key_value_heads", config->heads, err));
    else
        DK_TRY(
            dk_node_i64(in->doc, in->root, "num_key_value_heads", 1, HEAD_LIMIT, kv_default, &config->kv_heads, err));
    if (!shared)
        DK_TRY(dk_node_i64(in->doc, in->root, "head_dim", 1, HEAD_LIMIT, config->head_dim, &config->head_dim, err));
    if (config->heads % config->kv_heads)
        DK_TRY(dk_fail(err, DK_E_FORMAT, "%s: num_attention_heads %lld is not a multiple of num_key_value_heads %lld",
                       name, (long long)config->heads, (long long)config->kv_heads));
    if (shared && config->hidden_size % config->heads)
        DK_TRY(dk_fail(err, DK_E_FORMAT, "%s: %s %lld is not a multiple of %s %lld", name, in->row->keys->hidden[0],
                       (long long)config->hidden_size, in->row->keys->heads[0], (long long)config->heads));
    if (config->head_dim < 1 || config->heads * config->head_dim > WIDTH_LIMIT)
        DK_TRY(dk_fail(err, DK_E_FORMAT, "%s: %lld heads of %lld entries are not possible at hidden_size %lld", name,
                       (long long)config->heads, (long long)config->head_dim, (long long)config->hidden_size));
    if (shared && config->head_dim > 0) DK_TRY(check_formed(in, "head_dim", config->head_dim, err));
    if (config->head_dim % 2 && !in->row->learned_positions)
        DK_TRY(dk_fail(
            err, DK_E_FORMAT,
            "%s: head_dim %lld is odd; rotary positions need pairs (where it is not said, it is %s %lld / %s %lld)",
            name, (long long)config->head_dim, in->row->keys->hidden[0], (long long)config->hidden_size,
            in->row->keys->heads[0], (long long)config->heads));
out:
    return rc;
}

static int32_t read_sizes(const reader *in, dk_error *err)
{
    int32_t rc;
    const dk_architecture *row = in->row;
    const dk_config_keys *keys = row->keys;
    dk_config *config = in->config;
    static const char *const vocab[2] = {"vocab_size", NULL};
    DK_TRY(read_size(in, vocab, INT32_MAX, row->vocab_size, &config->vocab_size, err));
    DK_TRY(read_size(in, keys->hidden, WIDTH_LIMIT, row->hidden_size, &config->hidden_size, err));
    DK_TRY(read_size(in, keys->layers, LAYER_LIMIT, row->layers, &config->layers, err));
    DK_TRY(read_size(in, keys->heads, HEAD_LIMIT, row->heads, &config->heads, err));
    DK_TRY(read_size(in, keys->inner, WIDTH_LIMIT, row->inner ? row->inner : 4 * config->hidden_size,
                     &config->intermediate_size, err));
    DK_TRY(read_size(in, keys->positions, INT32_MAX, row->positions, &config->max_positions, err));
    DK_TRY(read_head_sizes(in, err));
out:
    return rc;
}

static int32_t read_positive(const reader *in, const char *key, double fallback, int32_t zero, double *out,
                             dk_error *err)
{
    double value = 0;
    int32_t rc = dk_node_f64(in->doc, in->root, key, fallback, &value, err);
    if (rc) return rc;
    if (!(value >= 0 && value <= 1e12) || (value == 0 && !zero)) {
        char text[32];
        dk_format_f64(value, text);
        return dk_fail(err, DK_E_FORMAT, "%s: %s is %s; a number above 0 and up to 1e12 is expected",
                       dk_document_name(in->doc), key, text);
    }
    *out = value;
    return DK_OK;
}

/* ---- what the arithmetic is ---- */
static int32_t find_activation(const reader *in, const char *key, const char *fallback, dk_activation *out,
                               dk_error *err)
{
    const char *name = NULL;
    int32_t rc = dk_node_text(in->doc, in->root, key, fallback, &name, err);
    if (rc) return rc;
    for (size_t i = 0; i < sizeof activations / sizeof *activations; i++)
        if (!strcmp(activations[i].name, name)) {
            *out = activations[i].kind;
            if (in->row->gelu_is_tanh && *out == DK_ACT_GELU_ERF) *out = DK_ACT_GELU_TANH;
            return DK_OK;
        }
    return dk_fail(err, DK_E_UNSUPPORTED,
                   "%s: %s '%s' is not supported; supported are silu, swish, gelu, gelu_python, gelu_new, gelu_fast, "
                   "gelu_pytorch_tanh, relu",
                   dk_document_name(in->doc), key, name);
}

/* The second name is an older or newer one that nothing reads: it may say the same. */
static int32_t read_activation(const reader *in, dk_error *err)
{
    const char *const *keys = in->row->keys->activation;
    const dk_node *other = keys[1] ? dk_node_get(in->root, keys[1]) : NULL;
    dk_activation also = DK_ACT_SILU;
    int32_t rc = find_activation(in, keys[0], in->row->activation, &in->config->activation, err);
    if (rc || !other || other->type == DK_NODE_NULL) return rc;
    rc = find_activation(in, keys[1], NULL, &also, err);
    if (rc || also == in->config->activation) return rc;
    return dk_fail(err, DK_E_MISMATCH, "%s: %s and %s are two activations (without %s it is %s); leave one",
                   dk_document_name(in->doc), keys[0], keys[1], keys[0], in->row->activation);
}

static int32_t read_flags(const reader *in, dk_error *err)
{
    const dk_architecture *row = in->row;
    int32_t rc, key = 0, qkv = 0, mlp = row->mlp_bias, head_norms = 0;
    dk_config *config = in->config;
    if (row->bias == DK_BIAS_KEY)
        DK_TRY(dk_node_bool(in->doc, in->root, "attention_bias", row->attention_bias, &key, err));
    if (row->bias == DK_BIAS_QKV_KEY) DK_TRY(dk_node_bool(in->doc, in->root, "use_qkv_bias", 0, &qkv, err));
    if (row->mlp_bias_key) DK_TRY(dk_node_bool(in->doc, in->root, "mlp_bias", 0, &mlp, err));
    DK_TRY(dk_node_bool(in->doc, in->root, "tie_word_embeddings", row->tied, &config->tied, err));
    config->norm = row->norm;
    config->gated = row->gated;
    config->in_out = row->in_out;
    config->fused_qkv = row->fused_qkv;
    config->fused_up = row->fused_up;
    config->interleaved = row->interleaved;
    config->parallel = row->parallel;
    if (row->has & DK_HAS_PARALLEL)
        DK_TRY(dk_node_bool(in->doc, in->root, "use_parallel_residual", row->parallel, &config->parallel, err));
    config->learned_positions = row->learned_positions;
    config->qk_norm = row->qk_norm;
    if (row->has & DK_HAS_QK_LAYERNORM) {
        DK_TRY(dk_node_bool(in->doc, in->root, "qk_layernorm", 0, &head_norms, err));
        if (head_norms) config->qk_norm = row->qk_layernorm;
    }
    config->norm_offset = row->norm_offset;
    config->norm_bias = row->norm == DK_NORM_LAYER;
    config->qkv_bias = key || qkv || row->bias == DK_BIAS_QKV || row->bias == DK_BIAS_ALL;
    config->out_bias = key || row->bias == DK_BIAS_ALL;
    config->mlp_bias = mlp || row->bias == DK_BIAS_ALL;
    DK_TRY(read_activation(in, err));
out:
    return rc;
}

static int32_t read_multipliers(const reader *in, dk_error *err)
{
    int32_t rc;
    double divisor = 1;
    dk_config *config = in->config;
    DK_TRY(read_positive(in, "embedding_multiplier", 1, 0, &config->embedding_scale, err));
    DK_TRY(read_positive(in, "residual_multiplier", 1, 0, &config->residual_scale, err));
    DK_TRY(read_positive(in, "attention_multiplier", 1, 0, &config->attention_scale, err));
    DK_TRY(read_positive(in, "logits_scaling", 1, 0, &divisor, err));
    config->logit_scale = 1 / divisor;
out:
    return rc;
}

/* null turns a cap off. */
static int32_t read_softcap(const reader *in, const char *key, double fallback, double *out, dk_error *err)
{
    const dk_node *node = dk_node_get(in->root, key);
    if (node && node->type == DK_NODE_NULL) return DK_OK;
    return read_positive(in, key, fallback, 1, out, err);
}

static int32_t read_softcaps(const reader *in, dk_error *err)
{
    int32_t rc;
    double scalar = 1;
    dk_config *config = in->config;
    DK_TRY(read_softcap(in, "attn_logit_softcapping", in->row->attention_softcap, &config->attention_softcap, err));
    DK_TRY(read_softcap(in, "final_logit_softcapping", in->row->logit_softcap, &config->logit_softcap, err));
    DK_TRY(read_positive(in, "query_pre_attn_scalar", (double)in->row->query_scalar, 0, &scalar, err));
    config->attention_scale = 1 / sqrt(scalar);
out:
    return rc;
}

static int32_t read_scales(const reader *in, dk_error *err)
{
    int32_t rc, scaled = 1;
    dk_config *config = in->config;
    config->embedding_scale = config->residual_scale = config->logit_scale = 1;
    DK_TRY(read_positive(in, in->row->keys->epsilon, in->row->epsilon, 1, &config->norm_epsilon, err));
    DK_TRY(read_positive(in, "initializer_range", 0.02, 1, &config->initializer_range, err));
    if (in->row->in_out) {
        DK_TRY(dk_node_bool(in->doc, in->root, "scale_attn_weights", 1, &scaled, err));
        DK_TRY(dk_node_bool(in->doc, in->root, "scale_attn_by_inverse_layer_idx", 0, &config->scale_by_layer, err));
    }
    config->attention_scale = scaled ? 1 / sqrt((double)config->head_dim) : 1;
    if (in->row->embedding_root) config->embedding_scale = sqrt((double)config->hidden_size);
    if (in->row->has & DK_HAS_MULTIPLIERS) DK_TRY(read_multipliers(in, err));
    if (in->row->has & DK_HAS_SOFTCAPS) DK_TRY(read_softcaps(in, err));
out:
    return rc;
}

/* ---- ids ---- */
void dk_config_note_id(dk_config *config, const dk_document *doc, const char *key, const dk_node *node)
{
    dk_strbuf value;
    dk_strbuf_init(&value, config->notes.host);
    if (node->type == DK_NODE_LIST || node->type == DK_NODE_MAP)
        dk_strbuf_printf(&value, "(a %s of %zu)", node->type == DK_NODE_LIST ? "list" : "map", node->size);
    else if (node->type == DK_NODE_TEXT) dk_strbuf_json(&value, node->text, node->size < 40 ? node->size : 40);
    else dk_node_write_json(node, &value);
    dk_note(&config->notes, "%s: %s %.40s is not an id below vocab_size %lld; it is not used", dk_document_name(doc),
            key, value.data ? value.data : "", (long long)config->vocab_size);
    dk_strbuf_free(&value);
}

static int64_t check_id(const reader *in, const char *key, const dk_node *node)
{
    if (node->type == DK_NODE_INT && node->i64 >= 0 && node->i64 < in->config->vocab_size) return node->i64;
    if (node->type == DK_NODE_NULL || (node->type == DK_NODE_INT && node->i64 == -1)) return -1;
    dk_config_note_id(in->config, in->doc, key, node);
    return -1;
}

static int64_t read_id(const reader *in, const char *key, int64_t fallback)
{
    const dk_node *node = dk_node_get(in->root, key);
    if (!node) return fallback < in->config->vocab_size ? fallback : -1;
    return check_id(in, key, node);
}

/* One id, or a list of them (Llama 3 has several ends). */
static int32_t read_stops(dk_host *host, const reader *in, dk_error *err)
{
    int32_t rc = DK_OK;
    const dk_node *node = dk_node_get(in->root, "eos_token_id");
    dk_config *config = in->config;
    config->eos = -1;
    if (!node || node->type != DK_NODE_LIST) {
        DK_TRY(dk_config_add_stop(host, config, read_id(in, "eos_token_id", in->row->eos), err));
    } else {
        for (size_t i = 0; i < node->size; i++)
            DK_TRY(dk_config_add_stop(host, config, check_id(in, "eos_token_id", node->items[i]), err));
    }
    if (config->stop_count) config->eos = config->stops[0];
out:
    return rc;
}

int32_t dk_config_add_stop(dk_host *host, dk_config *config, int64_t id, dk_error *err)
{
    if (id < 0 || id >= config->vocab_size) return DK_OK;
    for (int64_t i = 0; i < config->stop_count; i++)
        if (config->stops[i] == id) return DK_OK;
    int32_t *grown = dk_realloc(host, config->stops, (uint64_t)config->stop_count + 1, sizeof *grown);
    if (!grown) return dk_fail_nomem(err, (uint64_t)(config->stop_count + 1) * sizeof *grown);
    grown[config->stop_count++] = (int32_t)id;
    config->stops = grown;
    return DK_OK;
}

/* ---- the whole file ---- */
static int32_t find_row(const dk_document *doc, const dk_architecture **out, dk_error *err)
{
    const char *type = NULL;
    const dk_node *root = dk_document_root(doc);
    if (!root || root->type != DK_NODE_MAP)
        return dk_fail(err, DK_E_FORMAT, "%s: is not a JSON object", dk_document_name(doc));
    int32_t rc = dk_node_text(doc, root, "model_type", NULL, &type, err);
    if (rc) return rc;
    if (!type)
        return dk_fail(err, DK_E_FORMAT, "%s: has no model_type; supported are %s", dk_document_name(doc),
                       dk_architectures());
    *out = dk_architecture_find(type);
    return *out ? DK_OK : dk_fail_architecture(dk_document_name(doc), "model_type", type, err);
}

static int32_t read_all(dk_host *host, const reader *in, dk_error *err)
{
    int32_t rc;
    snprintf(in->config->architecture, sizeof in->config->architecture, "%s", in->row->name);
    DK_TRY(dk_config_check_keys(in->doc, in->row, &in->config->notes, err));
    DK_TRY(read_sizes(in, err));
    DK_TRY(read_flags(in, err));
    DK_TRY(read_scales(in, err));
    if (!in->row->learned_positions) DK_TRY(dk_config_read_rope(host, in->doc, in->row, in->config, err));
    DK_TRY(dk_config_read_windows(host, in->doc, in->row, in->config, err));
    if (in->row->has & DK_HAS_EXPERTS) DK_TRY(dk_config_read_experts(host, in->doc, in->row, in->config, err));
    in->config->bos = read_id(in, "bos_token_id", in->row->bos);
    in->config->pad = read_id(in, "pad_token_id", -1);
    DK_TRY(read_stops(host, in, err));
    DK_TRY(dk_config_rewrite(host, in->root, NULL, 0, &in->config->json, err));
    DK_TRY(dk_strbuf_check(&in->config->notes, err));
out:
    return rc;
}

int32_t dk_config_read(dk_host *host, const dk_document *config_json, dk_config *out, dk_error *err)
{
    int32_t rc;
    dk_config config = {0};
    reader in = {.doc = config_json, .root = dk_document_root(config_json), .config = &config};
    dk_strbuf_init(&config.notes, host);
    DK_TRY(find_row(config_json, &in.row, err));
    DK_TRY(read_all(host, &in, err));
    *out = config;
    config = (dk_config){0};
out:
    dk_config_free(host, &config);
    return rc;
}

void dk_config_free(dk_host *host, dk_config *config)
{
    const dk_rope_config *ropes[] = {&config->rope, &config->local_rope};
    for (int i = 0; i < 2; i++) {
        dk_free(host, ropes[i]->short_factors);
        dk_free(host, ropes[i]->long_factors);
    }
    dk_free(host, config->window);
    dk_free(host, config->layer_rope);
    dk_free(host, config->layer_experts);
    dk_free(host, config->json);
    dk_free(host, config->stops);
    dk_strbuf_free(&config->notes);
    memset(config, 0, sizeof *config);
}
