/* GGUF metadata -> the config.json that says the same, read by dk_config_read like any other. */
#include "model/architecture.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SIZE_LIMIT = 1 << 30 };

typedef struct source {
    dk_host *host;
    const dk_checkpoint *file;
    const dk_architecture *row;
    dk_strbuf text;
} source;

static const char *key_of(const source *in, const char *suffix, char out[96])
{
    snprintf(out, 96, "%s.%s", in->row->gguf, suffix);
    return out;
}

/* ---- one key at a time ---- */
static int32_t get_size(const source *in, const char *suffix, int64_t fallback, int64_t *out, dk_error *err)
{
    char key[96];
    int32_t rc = dk_metadata_i64(in->file, key_of(in, suffix, key), 1, SIZE_LIMIT, fallback, out, err);
    if (rc || *out) return rc;
    return dk_fail(err, DK_E_FORMAT, "%s: has no metadata key '%s'", dk_checkpoint_path(in->file), key);
}

/* Files with a value for each layer are read when all are equal. */
static int32_t get_uniform(const source *in, const char *suffix, int64_t fallback, int64_t *out, dk_error *err)
{
    char key[96];
    const dk_metadata *found = dk_metadata_find(in->file, key_of(in, suffix, key));
    if (!found || found->type != DK_META_LIST) return get_size(in, suffix, fallback, out, err);
    if (!found->items || !found->count || found->item_type != DK_META_INT)
        return dk_fail(err, DK_E_FORMAT, "%s: metadata key '%s' is not a list of numbers", dk_checkpoint_path(in->file),
                       key);
    int64_t first = dk_metadata_item_i64(found, 0);
    for (int64_t i = 0; i < found->count; i++)
        if (dk_metadata_item_i64(found, i) != first || first < 1 || first > SIZE_LIMIT)
            return dk_fail(err, DK_E_UNSUPPORTED,
                           "%s: metadata key '%s' differs between layers; one value for all is supported",
                           dk_checkpoint_path(in->file), key);
    *out = first;
    return DK_OK;
}

static void put_i64(source *in, const char *key, int64_t value)
{
    dk_strbuf_printf(&in->text, ",\"%s\":%lld", key, (long long)value);
}

/* With a point: transformers wants floats to look like floats. */
static void put_f64(source *in, const char *key, double value)
{
    char text[32];
    size_t size = dk_format_f64(value, text);
    dk_strbuf_printf(&in->text, ",\"%s\":%s%s", key, text,
                     memchr(text, '.', size) || memchr(text, 'e', size) ? "" : ".0");
}

static void put_bool(source *in, const char *key, int32_t value)
{
    dk_strbuf_printf(&in->text, ",\"%s\":%s", key, value ? "true" : "false");
}

static const dk_tensor *find_tensor(const source *in, const char *name) { return dk_checkpoint_find(in->file, name); }

/* A float of GGUF has 32 bits: its shortest decimal text is what was meant (1e-05, not 9.999999747378752e-06). */
static double as_written(double value)
{
    char text[48];
    double back = value;
    if (!(fabs(value) <= 1e30) || (double)(float)value != value) return value;
    for (int digits = 6; digits <= 9; digits++) {
        double scale = 1;
        int64_t exponent = 0;
        double size = value < 0 ? -value : value;
        if (size == 0 || size > 1e30 || size < 1e-30) return value;
        while (size >= 10) size /= 10, exponent++;
        while (size < 1) size *= 10, exponent--;
        for (int i = 1; i < digits; i++) scale *= 10;
        int64_t mantissa = (int64_t)(size * scale + 0.5);
        int length = snprintf(text, sizeof text, "%s%llde%lld", value < 0 ? "-" : "", (long long)mantissa,
                              (long long)(exponent - digits + 1));
        if (dk_parse_f64(text, (size_t)length, &back) && (float)back == (float)value) return back;
    }
    return value;
}

static int32_t get_number(const source *in, const char *suffix, double fallback, double *out, dk_error *err)
{
    char key[96];
    double value = 0;
    int32_t rc = dk_metadata_f64(in->file, key_of(in, suffix, key), fallback, &value, err);
    if (!rc) *out = as_written(value);
    return rc;
}

/* ---- parts ---- */
static int32_t put_sizes(source *in, int64_t *head_dim, dk_error *err)
{
    int32_t rc;
    const dk_config_keys *keys = in->row->keys;
    int64_t hidden = 0, layers = 0, heads = 0, inner = 0, positions = 0, kv = 0, dim = 0, value_dim = 0, vocab = 0;
    const dk_tensor *embedding = find_tensor(in, "token_embd.weight");
    if (!embedding || embedding->rank != 2)
        DK_TRY(dk_fail(err, DK_E_FORMAT,
                       "%s: has no tensor 'token_embd.weight' of 2 dimensions; is it a vocabulary only?",
                       dk_checkpoint_path(in->file)));
    DK_TRY(get_size(in, "embedding_length", 0, &hidden, err));
    DK_TRY(get_size(in, "block_count", 0, &layers, err));
    DK_TRY(get_uniform(in, "attention.head_count", 0, &heads, err));
    DK_TRY(get_uniform(in, "feed_forward_length", 0, &inner, err));
    DK_TRY(get_size(in, "context_length", 0, &positions, err));
    DK_TRY(get_uniform(in, "attention.head_count_kv", heads, &kv, err));
    DK_TRY(get_size(in, "attention.key_length", hidden / heads ? hidden / heads : 1, &dim, err));
    DK_TRY(get_size(in, "attention.value_length", dim, &value_dim, err));
    if (dim != value_dim)
        DK_TRY(dk_fail(err, DK_E_UNSUPPORTED,
                       "%s: keys of %lld and values of %lld entries are not supported; they must be equal",
                       dk_checkpoint_path(in->file), (long long)dim, (long long)value_dim));
    DK_TRY(get_size(in, "vocab_size", embedding->shape[0], &vocab, err));
    if (vocab != embedding->shape[0])
        DK_TRY(dk_fail(err, DK_E_MISMATCH, "%s: metadata key '%s.vocab_size' is %lld, but the embedding has %lld rows",
                       dk_checkpoint_path(in->file), in->row->gguf, (long long)vocab, (long long)embedding->shape[0]));
    put_i64(in, "vocab_size", embedding->shape[0]);
    put_i64(in, keys->hidden[0], hidden);
    put_i64(in, keys->layers[0], layers);
    put_i64(in, keys->heads[0], heads);
    put_i64(in, keys->inner[0], inner);
    put_i64(in, keys->positions[0], positions);
    if (!in->row->heads_alone || kv != heads) put_i64(in, "num_key_value_heads", kv);
    if ((!in->row->heads_share && !in->row->heads_alone) || dim != hidden / heads) put_i64(in, "head_dim", dim);
    *head_dim = dim;
out:
    return rc;
}

static int32_t put_numbers(source *in, dk_error *err)
{
    int32_t rc;
    double epsilon = 0;
    const char *suffix =
        in->row->norm == DK_NORM_RMS ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon";
    DK_TRY(get_number(in, suffix, -1, &epsilon, err));
    if (epsilon < 0)
        DK_TRY(dk_fail(err, DK_E_FORMAT, "%s: has no metadata key '%s.%s'", dk_checkpoint_path(in->file), in->row->gguf,
                       suffix));
    put_f64(in, in->row->keys->epsilon, epsilon);
    dk_strbuf_printf(&in->text, ",\"%s\":\"%s\"", in->row->keys->activation[0], in->row->activation);
out:
    return rc;
}

/* A converter of a family whose head is always tied may have written it twice. */
static int32_t head_is_tied(const source *in)
{
    const dk_tensor *head = find_tensor(in, "output.weight"), *embedding = find_tensor(in, "token_embd.weight");
    if (!head) return 1;
    return in->row->tied_head_repeated && head->dtype == embedding->dtype && head->bytes == embedding->bytes &&
           !memcmp(head->data, embedding->data, (size_t)head->bytes);
}

/* The end of a text, of a turn and of a message all end what is generated. */
static int32_t put_ends(source *in, dk_error *err)
{
    int32_t rc;
    static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    int64_t ids[3], count = 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        DK_TRY(dk_metadata_i64(in->file, keys[i], 0, INT32_MAX, -1, &ids[count], err));
        int32_t seen = ids[count] < 0;
        for (int64_t before = 0; before < count; before++) seen |= ids[before] == ids[count];
        count += !seen;
    }
    dk_strbuf_puts(&in->text, ",\"eos_token_id\":");
    if (count != 1) dk_strbuf_puts(&in->text, count ? "[" : "null");
    for (int64_t i = 0; i < count; i++) dk_strbuf_printf(&in->text, "%s%lld", i ? "," : "", (long long)ids[i]);
    if (count > 1) dk_strbuf_puts(&in->text, "]");
out:
    return rc;
}

static int32_t put_multipliers(source *in, int64_t head_dim, dk_error *err)
{
    static const char *const keys[][2] = {{"embedding_scale", "embedding_multiplier"},
                                          {"residual_scale", "residual_multiplier"},
                                          {"attention.scale", "attention_multiplier"},
                                          {"logit_scale", "logits_scaling"}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        double value = 0, usual = strcmp(keys[i][0], "attention.scale") ? 1 : 1 / sqrt((double)head_dim);
        int32_t rc = get_number(in, keys[i][0], 0, &value, err);
        if (rc) return rc;
        put_f64(in, keys[i][1], value != 0 ? value : usual); /* 0 stands for none */
    }
    return DK_OK;
}

/* llama.cpp knows the largest models by their layers, and scales their scores by another width. */
static int32_t put_softcaps(source *in, int64_t head_dim, dk_error *err)
{
    static const char *const keys[] = {"attn_logit_softcapping", "final_logit_softcapping"};
    const double usual[] = {in->row->attention_softcap, in->row->logit_softcap};
    int64_t layers = 0, hidden = 0, heads = 1, pattern = in->row->pattern;
    int32_t rc;
    for (int i = 0; i < 2; i++) {
        double value = 0;
        DK_TRY(get_number(in, keys[i], usual[i], &value, err));
        if (value != 0) put_f64(in, keys[i], value);
        else dk_strbuf_printf(&in->text, ",\"%s\":null", keys[i]);
    }
    DK_TRY(get_size(in, "block_count", 0, &layers, err));
    DK_TRY(get_size(in, "embedding_length", 0, &hidden, err));
    DK_TRY(get_uniform(in, "attention.head_count", 0, &heads, err));
    put_i64(in, "query_pre_attn_scalar", layers == in->row->gguf_large ? hidden / heads : head_dim);
    if (in->row->has & DK_HAS_PATTERN) {
        DK_TRY(get_size(in, "attention.sliding_window_pattern", pattern, &pattern, err));
        put_i64(in, "sliding_window_pattern", pattern);
    }
out:
    return rc;
}

/* Chosen weights add up to 1, and every layer has experts: there are no keys for anything else. */
static int32_t put_experts(source *in, dk_error *err)
{
    int64_t experts = 0, used = 0, inner = 0;
    int32_t rc;
    DK_TRY(get_size(in, "expert_count", 0, &experts, err));
    DK_TRY(get_size(in, "expert_used_count", 0, &used, err));
    put_i64(in, in->row->has & DK_HAS_DENSE_LAYERS ? "num_experts" : "num_local_experts", experts);
    put_i64(in, "num_experts_per_tok", used);
    if (!(in->row->has & DK_HAS_DENSE_LAYERS)) goto out;
    DK_TRY(get_uniform(in, "feed_forward_length", 0, &inner, err));
    DK_TRY(get_uniform(in, "expert_feed_forward_length", inner / used ? inner / used : 1, &inner, err));
    put_i64(in, "moe_intermediate_size", inner);
    put_bool(in, "norm_topk_prob", 1);
    put_i64(in, "decoder_sparse_step", 1);
out:
    return rc;
}

/* Without the key, a second norm is what tells. */
static int32_t put_parallel(source *in, dk_error *err)
{
    char key[96];
    const dk_metadata *found = dk_metadata_find(in->file, key_of(in, "use_parallel_residual", key));
    if (found && found->type != DK_META_BOOL)
        return dk_fail(err, DK_E_FORMAT, "%s: metadata key '%s' is not true or false", dk_checkpoint_path(in->file),
                       key);
    int32_t usual = in->row->parallel || !find_tensor(in, "blk.0.ffn_norm.weight");
    put_bool(in, "use_parallel_residual", found ? found->i64 != 0 : usual);
    return DK_OK;
}

static int32_t put_features(source *in, int64_t head_dim, dk_error *err)
{
    int64_t window = 0, id = 0;
    char key[96];
    int32_t rc;
    static const char *const ids[][2] = {{"bos_token_id", "tokenizer.ggml.bos_token_id"},
                                         {"pad_token_id", "tokenizer.ggml.padding_token_id"}};
    put_bool(in, "tie_word_embeddings", head_is_tied(in));
    int32_t has_bias = find_tensor(in, "blk.0.attn_q.bias") || find_tensor(in, "blk.0.attn_qkv.bias");
    if (in->row->bias == DK_BIAS_KEY) put_bool(in, "attention_bias", has_bias);
    if (in->row->bias == DK_BIAS_QKV_KEY) put_bool(in, "use_qkv_bias", has_bias);
    if (in->row->has & DK_HAS_PARALLEL) DK_TRY(put_parallel(in, err));
    if (in->row->has & DK_HAS_QK_LAYERNORM)
        put_bool(in, "qk_layernorm", find_tensor(in, "blk.0.attn_q_norm.weight") != NULL);
    if (in->row->mlp_bias_key) put_bool(in, "mlp_bias", find_tensor(in, "blk.0.ffn_up.bias") != NULL);
    DK_TRY(dk_metadata_i64(in->file, key_of(in, "attention.sliding_window", key), 0, INT32_MAX, 0, &window, err));
    if ((in->row->window == DK_WINDOW_ALL || in->row->window == DK_WINDOW_PATTERN) && window)
        put_i64(in, "sliding_window", window);
    if (in->row->has & DK_HAS_EXPERTS) DK_TRY(put_experts(in, err));
    if (in->row->has & DK_HAS_MULTIPLIERS) DK_TRY(put_multipliers(in, head_dim, err));
    if (in->row->has & DK_HAS_SOFTCAPS) DK_TRY(put_softcaps(in, head_dim, err));
    if (in->row->window == DK_WINDOW_UPPER && window)
        DK_TRY(dk_fail(err, DK_E_UNSUPPORTED,
                       "%s: metadata key '%s' does not say which layers slide; use the HF folder of this model",
                       dk_checkpoint_path(in->file), key));
    if (in->row->window == DK_WINDOW_UPPER) put_bool(in, "use_sliding_window", 0);
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        DK_TRY(dk_metadata_i64(in->file, ids[i][1], 0, INT32_MAX, -1, &id, err));
        if (id >= 0) put_i64(in, ids[i][0], id);
        else dk_strbuf_printf(&in->text, ",\"%s\":null", ids[i][0]);
    }
    DK_TRY(put_ends(in, err));
out:
    return rc;
}

/* ---- rotary positions ---- */
static void put_llama3(source *in, const dk_llama3_factors *fit)
{
    dk_strbuf_puts(&in->text, ",\"rope_scaling\":{\"rope_type\":\"llama3\"");
    put_f64(in, "factor", fit->factor);
    put_f64(in, "low_freq_factor", fit->low_freq_factor);
    put_f64(in, "high_freq_factor", fit->high_freq_factor);
    put_i64(in, "original_max_position_embeddings", fit->original_positions);
    dk_strbuf_puts(&in->text, "}");
}

static int32_t put_divisors(source *in, const dk_tensor *tensor, double theta, int64_t head_dim, int64_t original,
                            dk_error *err)
{
    char shape[DK_SHAPE_TEXT];
    int32_t rc;
    float *values = NULL;
    dk_llama3_factors fit;
    const char *path = dk_checkpoint_path(in->file);
    if (tensor->dtype != DK_F32 || tensor->rank != 1 || tensor->shape[0] != head_dim / 2)
        return dk_fail(err, DK_E_MISMATCH, "%s: tensor 'rope_freqs.weight' is %s %s; F32 [%lld] is expected", path,
                       tensor->type_name, dk_shape_text(tensor->rank, tensor->shape, shape), (long long)(head_dim / 2));
    DK_TRY(dk_new(in->host, head_dim / 2, &values, err));
    memcpy(values, tensor->data, (size_t)tensor->bytes);
    if (!dk_llama3_fit(values, head_dim / 2, theta, original, &fit))
        DK_TRY(dk_fail(err, DK_E_UNSUPPORTED,
                       "%s: tensor 'rope_freqs.weight' does not follow llama3 scaling, the only one with such a tensor "
                       "that is supported",
                       path));
    put_llama3(in, &fit);
out:
    dk_free(in->host, values);
    return rc;
}

/* A multiplier of the logarithm says that both of YaRN's are given, the first being 1. */
static int32_t put_query_scale(source *in, dk_error *err)
{
    int32_t rc;
    double scale = 0, all_dims = 0, theta = 10000;
    DK_TRY(get_number(in, "attention.temperature_scale", 0, &scale, err));
    DK_TRY(get_number(in, "rope.scaling.yarn_log_multiplier", 0, &all_dims, err));
    DK_TRY(get_number(in, "rope.freq_base", 10000, &theta, err));
    put_f64(in, "rope_theta", theta);
    put_f64(in, "llama_4_scaling_beta", scale);
    if (all_dims != 0) put_f64(in, "mscale", 1);
    if (all_dims != 0) put_f64(in, "mscale_all_dim", all_dims);
out:
    return rc;
}

static int32_t put_factors(source *in, const dk_tensor *tensor, const char *key, int64_t pairs, dk_error *err)
{
    char shape[DK_SHAPE_TEXT];
    float value;
    if (tensor->dtype != DK_F32 || tensor->rank != 1 || tensor->shape[0] != pairs)
        return dk_fail(err, DK_E_MISMATCH, "%s: tensor '%s' is %s %s; F32 [%lld] is expected",
                       dk_checkpoint_path(in->file), tensor->name, tensor->type_name,
                       dk_shape_text(tensor->rank, tensor->shape, shape), (long long)pairs);
    dk_strbuf_printf(&in->text, ",\"%s\":[", key);
    for (int64_t i = 0; i < pairs; i++) {
        memcpy(&value, (const uint8_t *)tensor->data + 4 * i, sizeof value);
        if (i) dk_strbuf_puts(&in->text, ",");
        dk_strbuf_f64(&in->text, as_written((double)value));
    }
    dk_strbuf_puts(&in->text, "]");
    return DK_OK;
}

static int32_t put_long(source *in, int64_t pairs, int64_t positions, int64_t original, dk_error *err)
{
    int32_t rc;
    double attention = 0;
    const dk_tensor *near = find_tensor(in, "rope_factors_short.weight"),
                    *far = find_tensor(in, "rope_factors_long.weight");
    if (!near || !far)
        DK_TRY(dk_fail(err, DK_E_MISMATCH, "%s: has tensor '%s' without the other one of longrope",
                       dk_checkpoint_path(in->file), (near ? near : far)->name));
    DK_TRY(get_number(in, "rope.scaling.attn_factor", 0, &attention, err));
    dk_strbuf_puts(&in->text, ",\"rope_scaling\":{\"rope_type\":\"longrope\"");
    put_f64(in, "factor", (double)positions / (double)original);
    DK_TRY(put_factors(in, near, "short_factor", pairs, err));
    DK_TRY(put_factors(in, far, "long_factor", pairs, err));
    double factor = (double)positions / (double)original;
    double usual = factor <= 1 ? 1 : sqrt(1 + log(factor) / log((double)original));
    if (attention != 0 && fabs(attention - usual) > 1e-6) put_f64(in, "attention_factor", attention);
    dk_strbuf_puts(&in->text, "}");
    put_i64(in, "original_max_position_embeddings", original);
out:
    return rc;
}

static int32_t put_yarn(source *in, double factor, int64_t original, dk_error *err)
{
    int32_t rc;
    double attention = 1, fast = 32, slow = 1;
    DK_TRY(get_number(in, "rope.scaling.attn_factor", 1, &attention, err));
    DK_TRY(get_number(in, "rope.scaling.yarn_beta_fast", 32, &fast, err));
    DK_TRY(get_number(in, "rope.scaling.yarn_beta_slow", 1, &slow, err));
    if (attention != 1)
        DK_TRY(dk_fail(err, DK_E_UNSUPPORTED,
                       "%s: metadata key '%s.rope.scaling.attn_factor' other than 1 is not supported",
                       dk_checkpoint_path(in->file), in->row->gguf));
    dk_strbuf_puts(&in->text, ",\"rope_scaling\":{\"rope_type\":\"yarn\"");
    put_f64(in, "factor", factor);
    put_f64(in, "beta_fast", fast);
    put_f64(in, "beta_slow", slow);
    put_i64(in, "original_max_position_embeddings", original);
    if (in->row->has & DK_HAS_QUERY_SCALE) DK_TRY(put_query_scale(in, err));
    dk_strbuf_puts(&in->text, "}");
out:
    return rc;
}

static int32_t put_scaling(source *in, const char *type, int64_t original, dk_error *err)
{
    int32_t rc;
    char key[96];
    double factor = 1;
    DK_TRY(get_number(in, "rope.scale_linear", 1, &factor, err));
    DK_TRY(get_number(in, "rope.scaling.factor", factor, &factor, err));
    if (!strcmp(type, "none") || (factor == 1 && strcmp(type, "yarn"))) goto out;
    if (!strcmp(type, "linear")) {
        dk_strbuf_puts(&in->text, ",\"rope_scaling\":{\"rope_type\":\"linear\"");
        put_f64(in, "factor", factor);
        dk_strbuf_puts(&in->text, "}");
    } else if (!strcmp(type, "yarn")) {
        DK_TRY(put_yarn(in, factor, original, err));
    } else {
        DK_TRY(
            dk_fail(err, DK_E_UNSUPPORTED,
                    "%s: %s '%s' is not supported; supported are none, linear, yarn, and rope_freqs.weight of llama3",
                    dk_checkpoint_path(in->file), key_of(in, "rope.scaling.type", key), type));
    }
out:
    return rc;
}

/* The smallest factor that gives so many entries again. */
static void put_partial(source *in, int64_t dims, int64_t head_dim)
{
    double part = (double)dims / (double)head_dim;
    while ((int64_t)((double)head_dim * part) < dims) part = nextafter(part, 2);
    put_f64(in, in->row->keys->partial, part);
}

static int32_t put_rope(source *in, int64_t head_dim, dk_error *err)
{
    int32_t rc;
    char key[96], *type = NULL;
    double theta = 10000;
    int64_t dims = 0, original = 0, positions = 1;
    const dk_tensor *divisors = find_tensor(in, "rope_freqs.weight");
    int32_t is_long = find_tensor(in, "rope_factors_short.weight") || find_tensor(in, "rope_factors_long.weight");
    DK_TRY(get_number(in, "rope.freq_base", 10000, &theta, err));
    DK_TRY(get_size(in, "rope.dimension_count", head_dim, &dims, err));
    if (dims != head_dim && !(in->row->has & DK_HAS_PARTIAL))
        DK_TRY(dk_fail(err, DK_E_UNSUPPORTED, "%s: %lld of %lld entries of a head rotate; rotation of all is supported",
                       dk_checkpoint_path(in->file), (long long)dims, (long long)head_dim));
    DK_TRY(get_size(in, "context_length", 1, &positions, err));
    DK_TRY(get_size(in, "rope.scaling.original_context_length", positions, &original, err));
    put_f64(in, in->row->keys->theta, theta);
    if (in->row->has & DK_HAS_LOCAL_ROPE) {
        DK_TRY(get_number(in, "rope.freq_base_swa", 10000, &theta, err));
        put_f64(in, "rope_local_base_freq", theta);
    }
    if (in->row->has & DK_HAS_PARTIAL) put_partial(in, dims, head_dim);
    DK_TRY(dk_metadata_text(in->file, key_of(in, "rope.scaling.type", key), &type, err));
    if (divisors && type && strcmp(type, "none") != 0)
        DK_TRY(
            dk_fail(err, DK_E_UNSUPPORTED,
                    "%s: tensor 'rope_freqs.weight' and metadata key '%s' (%s) both scale positions; one is supported",
                    dk_checkpoint_path(in->file), key, type));
    if (is_long) DK_TRY(put_long(in, dims / 2, positions, original, err));
    else if (divisors) DK_TRY(put_divisors(in, divisors, theta, head_dim, original, err));
    else DK_TRY(put_scaling(in, type ? type : "linear", original, err));
out:
    dk_free(in->host, type);
    return rc;
}

/* ---- the whole ---- */
static int32_t find_row(dk_host *host, const dk_checkpoint *file, const dk_architecture **out, dk_error *err)
{
    char *name = NULL;
    int64_t window = 0, experts = 0;
    int32_t rc;
    DK_TRY(dk_metadata_text(file, "general.architecture", &name, err));
    if (!name)
        DK_TRY(dk_fail(err, DK_E_FORMAT, "%s: has no metadata key 'general.architecture'", dk_checkpoint_path(file)));
    *out = dk_architecture_find_gguf(name);
    if (!*out) DK_TRY(dk_fail_architecture(dk_checkpoint_path(file), "general.architecture", name, err));
    /* Mistral and Mixtral are called llama in GGUF; the window and the experts are what tells them apart. */
    if (!strcmp(name, "llama")) {
        DK_TRY(dk_metadata_i64(file, "llama.attention.sliding_window", 0, INT32_MAX, 0, &window, err));
        DK_TRY(dk_metadata_i64(file, "llama.expert_count", 0, INT32_MAX, 0, &experts, err));
    }
    if (window) *out = dk_architecture_find("mistral");
    if (experts) *out = dk_architecture_find("mixtral");
out:
    dk_free(host, name);
    return rc;
}

int32_t dk_config_from_gguf(dk_host *host, const dk_checkpoint *file, dk_config *out, dk_error *err)
{
    int32_t rc;
    int64_t head_dim = 0;
    dk_document *doc = NULL;
    source in = {.host = host, .file = file};
    dk_strbuf_init(&in.text, host);
    DK_TRY(find_row(host, file, &in.row, err));
    DK_TRY(dk_gguf_check_keys(file, in.row, err));
    dk_strbuf_printf(&in.text, "{\"architectures\":[\"%s\"],\"model_type\":\"%s\"", in.row->class_name, in.row->name);
    DK_TRY(put_sizes(&in, &head_dim, err));
    DK_TRY(put_numbers(&in, err));
    DK_TRY(put_features(&in, head_dim, err));
    if (!in.row->learned_positions) DK_TRY(put_rope(&in, head_dim, err));
    dk_strbuf_puts(&in.text, ",\"torch_dtype\":\"float32\"}");
    DK_TRY(dk_strbuf_check(&in.text, err));
    DK_TRY(dk_json_parse(host, in.text.data, in.text.size, dk_checkpoint_path(file), &doc, err));
    DK_TRY(dk_config_read(host, doc, out, err));
    dk_gguf_note_keys(file, in.row, &out->notes);
out:
    dk_document_free(doc);
    dk_strbuf_free(&in.text);
    return rc;
}
