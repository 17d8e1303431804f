/* GGUF metadata -> the config.json that says the same, read by dk_config_read like any other. */
#include "model/gguf_source.h"

#include "base/notes.h"

#include <math.h>
#include <string.h>

/* ---- parts ---- */
static int32_t get_embedding(dk_gguf_source *in, int64_t *hidden, dk_error *err)
{
    int32_t rc;
    int64_t rows = 0;
    const char *path = dk_checkpoint_path(in->file);
    const dk_tensor *embedding = dk_checkpoint_find(in->file, "token_embd.weight");
    if (!embedding || embedding->rank != 2)
        DK_TRY(dk_fail(err, DK_E_FORMAT,
                       "%s: has no tensor 'token_embd.weight' of 2 dimensions; is it a vocabulary only?", path));
    in->vocab_size = embedding->shape[0];
    DK_TRY(dk_gguf_get_size(in, "embedding_length", 0, hidden, err));
    if (*hidden != embedding->shape[1])
        DK_TRY(dk_fail(err, DK_E_MISMATCH,
                       "%s: metadata key '%s.embedding_length' is %lld, but the embedding has rows of %lld entries",
                       path, in->row->gguf, (long long)*hidden, (long long)embedding->shape[1]));
    DK_TRY(dk_gguf_get_size(in, "vocab_size", in->vocab_size, &rows, err));
    if (rows != in->vocab_size)
        DK_TRY(dk_fail(err, DK_E_MISMATCH, "%s: metadata key '%s.vocab_size' is %lld, but the embedding has %lld rows",
                       path, in->row->gguf, (long long)rows, (long long)in->vocab_size));
out:
    return rc;
}

/* Ids behind the last token have no text; tokens behind the last row no vector. */
static int32_t meet_tokens(dk_gguf_source *in, dk_error *err)
{
    const dk_metadata *tokens = dk_metadata_find(in->file, "tokenizer.ggml.tokens");
    if (!tokens || tokens->type != DK_META_LIST || tokens->count == in->vocab_size) return DK_OK;
    if (tokens->count > in->vocab_size)
        return dk_fail(err, DK_E_MISMATCH,
                       "%s: tokenizer.ggml.tokens has %lld entries, but the embedding has %lld rows",
                       dk_checkpoint_path(in->file), (long long)tokens->count, (long long)in->vocab_size);
    dk_note(&in->notes, "%s: the embedding has %lld rows, tokenizer.ggml.tokens %lld entries: the others have no text",
            dk_checkpoint_path(in->file), (long long)in->vocab_size, (long long)tokens->count);
    return DK_OK;
}

static int32_t get_heads(dk_gguf_source *in, int64_t hidden, int64_t *heads, int64_t *kv, int64_t *dim, dk_error *err)
{
    int32_t rc;
    int64_t value_dim = 0;
    const char *path = dk_checkpoint_path(in->file), *arch = in->row->gguf;
    DK_TRY(dk_gguf_get_uniform(in, "attention.head_count", 0, heads, err));
    DK_TRY(dk_gguf_get_uniform(in, "attention.head_count_kv", *heads, kv, err));
    if (*heads % *kv)
        DK_TRY(dk_fail(err, DK_E_FORMAT,
                       "%s: metadata key '%s.attention.head_count_kv' is %lld, no divisor of %lld heads", path, arch,
                       (long long)*kv, (long long)*heads));
    if (hidden % *heads && !dk_gguf_has(in, "attention.key_length"))
        DK_TRY(dk_fail(err, DK_E_FORMAT,
                       "%s: metadata key '%s.attention.head_count' is %lld, no divisor of embedding_length %lld, and "
                       "there is no attention.key_length",
                       path, arch, (long long)*heads, (long long)hidden));
    DK_TRY(dk_gguf_get_size(in, "attention.key_length", hidden / *heads, dim, err));
    DK_TRY(dk_gguf_get_size(in, "attention.value_length", *dim, &value_dim, err));
    if (*dim != value_dim)
        DK_TRY(dk_fail(err, DK_E_UNSUPPORTED,
                       "%s: keys of %lld and values of %lld entries are not supported; they must be equal", path,
                       (long long)*dim, (long long)value_dim));
out:
    return rc;
}

static int32_t put_sizes(dk_gguf_source *in, int64_t *head_dim, dk_error *err)
{
    int32_t rc;
    const dk_config_keys *keys = in->row->keys;
    int64_t hidden = 0, layers = 0, heads = 0, inner = 0, positions = 0, kv = 0;
    DK_TRY(get_embedding(in, &hidden, err));
    DK_TRY(meet_tokens(in, err));
    DK_TRY(dk_gguf_get_size(in, "block_count", 0, &layers, err));
    DK_TRY(get_heads(in, hidden, &heads, &kv, head_dim, err));
    DK_TRY(dk_gguf_get_uniform(in, "feed_forward_length", 0, &inner, err));
    DK_TRY(dk_gguf_get_size(in, "context_length", 0, &positions, err));
    dk_gguf_say_i64(in, "vocab_size", in->vocab_size);
    dk_gguf_say_i64(in, keys->hidden[0], hidden);
    dk_gguf_say_i64(in, keys->layers[0], layers);
    dk_gguf_say_i64(in, keys->heads[0], heads);
    dk_gguf_say_i64(in, keys->inner[0], inner);
    dk_gguf_say_i64(in, keys->positions[0], positions);
    if (!in->row->heads_alone || kv != heads) dk_gguf_say_i64(in, "num_key_value_heads", kv);
    if ((!in->row->heads_share && !in->row->heads_alone) || *head_dim != hidden / heads)
        dk_gguf_say_i64(in, "head_dim", *head_dim);
out:
    return rc;
}

static int32_t put_numbers(dk_gguf_source *in, dk_error *err)
{
    int32_t rc;
    double epsilon = 0;
    const char *suffix =
        in->row->norm == DK_NORM_RMS ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon";
    if (!dk_gguf_has(in, suffix))
        DK_TRY(dk_fail(err, DK_E_FORMAT, "%s: has no metadata key '%s.%s'", dk_checkpoint_path(in->file), in->row->gguf,
                       suffix));
    DK_TRY(dk_gguf_get_number(in, suffix, 0, &epsilon, err));
    if (epsilon < 0)
        DK_TRY(dk_fail(err, DK_E_FORMAT, "%s: metadata key '%s.%s' is below 0", dk_checkpoint_path(in->file),
                       in->row->gguf, suffix));
    dk_gguf_say_f64(in, in->row->keys->epsilon, epsilon);
    dk_strbuf_printf(&in->text, ",\"%s\":\"%s\"", in->row->keys->activation[0], in->row->activation);
out:
    return rc;
}

/* A converter of a family whose head is always tied may have written it twice. */
static int32_t head_is_tied(const dk_gguf_source *in)
{
    const dk_tensor *head = dk_checkpoint_find(in->file, "output.weight"),
                    *embedding = dk_checkpoint_find(in->file, "token_embd.weight");
    if (!head) return 1;
    return in->row->tied_head_repeated && head->dtype == embedding->dtype && head->bytes == embedding->bytes &&
           !memcmp(head->data, embedding->data, (size_t)head->bytes);
}

/* -1: there is none. */
static int32_t get_id(dk_gguf_source *in, const char *key, int64_t *out, dk_error *err)
{
    int32_t rc = dk_metadata_i64(in->file, key, INT64_MIN, INT64_MAX, -1, out, err);
    if (rc || *out == -1 || (*out >= 0 && *out < in->vocab_size)) return rc;
    dk_note(&in->notes, "%s: metadata key '%s' is %lld, no id below the embedding's %lld rows; it is not used",
            dk_checkpoint_path(in->file), key, (long long)*out, (long long)in->vocab_size);
    *out = -1;
    return DK_OK;
}

/* The end of a text, of a turn and of a message all end what is generated. */
static int32_t put_ends(dk_gguf_source *in, dk_error *err)
{
    int32_t rc;
    static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    int64_t ids[3], count = 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        DK_TRY(get_id(in, keys[i], &ids[count], err));
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

static int32_t put_multipliers(dk_gguf_source *in, int64_t head_dim, dk_error *err)
{
    static const char *const keys[][2] = {{"embedding_scale", "embedding_multiplier"},
                                          {"residual_scale", "residual_multiplier"},
                                          {"attention.scale", "attention_multiplier"},
                                          {"logit_scale", "logits_scaling"}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        double value = 0, usual = strcmp(keys[i][0], "attention.scale") ? 1 : 1 / sqrt((double)head_dim);
        int32_t rc = dk_gguf_get_number(in, keys[i][0], 0, &value, err);
        if (rc) return rc;
        dk_gguf_say_f64(in, keys[i][1], value != 0 ? value : usual); /* 0 stands for none */
    }
    return DK_OK;
}

/* llama.cpp knows the largest models by their layers, and scales their scores by another width. */
static int32_t put_softcaps(dk_gguf_source *in, int64_t head_dim, dk_error *err)
{
    static const char *const keys[] = {"attn_logit_softcapping", "final_logit_softcapping"};
    const double usual[] = {in->row->attention_softcap, in->row->logit_softcap};
    int64_t layers = 0, hidden = 0, heads = 1, pattern = in->row->pattern;
    int32_t rc;
    for (int i = 0; i < 2; i++) {
        double value = 0;
        DK_TRY(dk_gguf_get_number(in, keys[i], usual[i], &value, err));
        if (value != 0) dk_gguf_say_f64(in, keys[i], value);
        else dk_strbuf_printf(&in->text, ",\"%s\":null", keys[i]);
    }
    DK_TRY(dk_gguf_get_size(in, "block_count", 0, &layers, err));
    DK_TRY(dk_gguf_get_size(in, "embedding_length", 0, &hidden, err));
    DK_TRY(dk_gguf_get_uniform(in, "attention.head_count", 0, &heads, err));
    dk_gguf_say_i64(in, "query_pre_attn_scalar", layers == in->row->gguf_large ? hidden / heads : head_dim);
    if (in->row->has & DK_HAS_PATTERN) {
        DK_TRY(dk_gguf_get_size(in, "attention.sliding_window_pattern", pattern, &pattern, err));
        dk_gguf_say_i64(in, "sliding_window_pattern", pattern);
    }
out:
    return rc;
}

/* Chosen weights add up to 1, and every layer has experts: there are no keys for anything else. */
static int32_t put_experts(dk_gguf_source *in, dk_error *err)
{
    int64_t experts = 0, used = 0, inner = 0;
    int32_t rc;
    DK_TRY(dk_gguf_get_size(in, "expert_count", 0, &experts, err));
    DK_TRY(dk_gguf_get_size(in, "expert_used_count", 0, &used, err));
    dk_gguf_say_i64(in, in->row->has & DK_HAS_DENSE_LAYERS ? "num_experts" : "num_local_experts", experts);
    dk_gguf_say_i64(in, "num_experts_per_tok", used);
    if (!(in->row->has & DK_HAS_DENSE_LAYERS)) goto out;
    DK_TRY(dk_gguf_get_uniform(in, "feed_forward_length", 0, &inner, err));
    DK_TRY(dk_gguf_get_uniform(in, "expert_feed_forward_length", inner / used ? inner / used : 1, &inner, err));
    dk_gguf_say_i64(in, "moe_intermediate_size", inner);
    dk_gguf_say_bool(in, "norm_topk_prob", 1);
    dk_gguf_say_i64(in, "decoder_sparse_step", 1);
out:
    return rc;
}

/* Without the key, a second norm is what tells. */
static int32_t put_parallel(dk_gguf_source *in, dk_error *err)
{
    char key[96];
    int32_t parallel = in->row->parallel || !dk_checkpoint_find(in->file, "blk.0.ffn_norm.weight"), rc = DK_OK;
    if (dk_gguf_has(in, "use_parallel_residual"))
        rc = dk_metadata_bool(in->file, dk_gguf_key(in, "use_parallel_residual", key), parallel, &parallel, err);
    dk_gguf_say_bool(in, "use_parallel_residual", parallel);
    return rc;
}

static int32_t put_window(dk_gguf_source *in, dk_error *err)
{
    char key[96];
    int64_t window = 0;
    int32_t upper = in->row->window == DK_WINDOW_UPPER, rc = DK_OK;
    if (upper) dk_gguf_say_bool(in, "use_sliding_window", 0);
    if (!upper && in->row->window != DK_WINDOW_ALL && in->row->window != DK_WINDOW_PATTERN) goto out;
    if (!dk_gguf_has(in, "attention.sliding_window")) goto out;
    DK_TRY(dk_metadata_i64(in->file, dk_gguf_key(in, "attention.sliding_window", key), 0, INT32_MAX, 0, &window, err));
    if (upper && window)
        DK_TRY(dk_fail(err, DK_E_UNSUPPORTED,
                       "%s: metadata key '%s' does not say which layers slide; use the HF folder of this model",
                       dk_checkpoint_path(in->file), key));
    if (window) dk_gguf_say_i64(in, "sliding_window", window);
    else dk_strbuf_puts(&in->text, ",\"sliding_window\":null");
out:
    return rc;
}

static int32_t put_features(dk_gguf_source *in, int64_t head_dim, dk_error *err)
{
    int64_t id = 0;
    int32_t rc;
    static const char *const ids[][2] = {{"bos_token_id", "tokenizer.ggml.bos_token_id"},
                                         {"pad_token_id", "tokenizer.ggml.padding_token_id"}};
    dk_gguf_say_bool(in, "tie_word_embeddings", head_is_tied(in));
    int32_t has_bias =
        dk_checkpoint_find(in->file, "blk.0.attn_q.bias") || dk_checkpoint_find(in->file, "blk.0.attn_qkv.bias");
    if (in->row->bias == DK_BIAS_KEY) dk_gguf_say_bool(in, "attention_bias", has_bias);
    if (in->row->bias == DK_BIAS_QKV_KEY) dk_gguf_say_bool(in, "use_qkv_bias", has_bias);
    if (in->row->has & DK_HAS_PARALLEL) DK_TRY(put_parallel(in, err));
    if (in->row->has & DK_HAS_QK_LAYERNORM)
        dk_gguf_say_bool(in, "qk_layernorm", dk_checkpoint_find(in->file, "blk.0.attn_q_norm.weight") != NULL);
    if (in->row->mlp_bias_key)
        dk_gguf_say_bool(in, "mlp_bias", dk_checkpoint_find(in->file, "blk.0.ffn_up.bias") != NULL);
    DK_TRY(put_window(in, err));
    if (in->row->has & DK_HAS_EXPERTS) DK_TRY(put_experts(in, err));
    if (in->row->has & DK_HAS_MULTIPLIERS) DK_TRY(put_multipliers(in, head_dim, err));
    if (in->row->has & DK_HAS_SOFTCAPS) DK_TRY(put_softcaps(in, head_dim, err));
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        DK_TRY(get_id(in, ids[i][1], &id, err));
        if (id >= 0) dk_gguf_say_i64(in, ids[i][0], id);
        else dk_strbuf_printf(&in->text, ",\"%s\":null", ids[i][0]);
    }
    DK_TRY(put_ends(in, err));
out:
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
    dk_gguf_source in = {.host = host, .file = file};
    dk_strbuf_init(&in.text, host);
    dk_strbuf_init(&in.notes, host);
    DK_TRY(dk_new(host, dk_metadata_count(file) + 1, &in.asked, err));
    DK_TRY(find_row(host, file, &in.row, err));
    DK_TRY(dk_gguf_check_keys(file, in.row, err));
    dk_strbuf_printf(&in.text, "{\"architectures\":[\"%s\"],\"model_type\":\"%s\"", in.row->class_name, in.row->name);
    DK_TRY(put_sizes(&in, &head_dim, err));
    DK_TRY(put_numbers(&in, err));
    DK_TRY(put_features(&in, head_dim, err));
    if (!in.row->learned_positions) DK_TRY(dk_gguf_say_rope(&in, head_dim, err));
    dk_strbuf_puts(&in.text, ",\"torch_dtype\":\"float32\"}");
    DK_TRY(dk_strbuf_check(&in.text, err));
    DK_TRY(dk_json_parse(host, in.text.data, in.text.size, dk_checkpoint_path(file), &doc, err));
    DK_TRY(dk_config_read(host, doc, out, err));
    DK_TRY(dk_gguf_note_keys(&in, &in.notes, err));
    dk_strbuf_append(&out->notes, in.notes.data, in.notes.size);
out:
    dk_document_free(doc);
    dk_free(host, in.asked);
    dk_strbuf_free(&in.notes);
    dk_strbuf_free(&in.text);
    return rc;
}
