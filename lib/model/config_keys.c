/* Which keys of config.json are read, which are refused and which do not matter. What is left is named. */
#include "model/architecture.h"

#include "base/notes.h"

#include <stdio.h>
#include <string.h>

typedef enum { /* which families read a key */
               BY_ALL = 0,
               BY_ROTARY,
               BY_BIAS_KEY,
               BY_MLP_BIAS_KEY,
               BY_WINDOWED,
               BY_UPPER_WINDOWED,
               BY_SWITCHED_WINDOW,
               BY_IN_OUT,
               BY_MULTIPLIERS,
               BY_UNROTATED,
               BY_SOFTCAPS,
               BY_LOCAL_ROPE,
               BY_PATTERN,
               BY_PARALLEL,
               BY_QK_LAYERNORM,
               BY_EXPERTS,
               BY_DENSE_LAYERS,
               BY_QKV_BIAS_KEY
} reader;
static const struct {
    const char *key;
    reader by;
} used[] = {
    {"model_type", BY_ALL},
    {"vocab_size", BY_ALL},
    {"tie_word_embeddings", BY_ALL},
    {"initializer_range", BY_ALL},
    {"bos_token_id", BY_ALL},
    {"eos_token_id", BY_ALL},
    {"pad_token_id", BY_ALL},
    {"dtype", BY_ALL},
    {"torch_dtype", BY_ALL},
    {"architectures", BY_ALL},
    {"num_key_value_heads", BY_ROTARY},
    {"head_dim", BY_ROTARY},
    {"rope_theta", BY_ROTARY},
    {"rope_scaling", BY_ROTARY},
    {"rope_parameters", BY_ROTARY},
    {"partial_rotary_factor", BY_ROTARY},
    {"original_max_position_embeddings", BY_ROTARY},
    {"attention_bias", BY_BIAS_KEY},
    {"mlp_bias", BY_MLP_BIAS_KEY},
    {"sliding_window", BY_WINDOWED},
    {"use_sliding_window", BY_SWITCHED_WINDOW},
    {"max_window_layers", BY_UPPER_WINDOWED},
    {"layer_types", BY_ALL},
    {"scale_attn_weights", BY_IN_OUT},
    {"scale_attn_by_inverse_layer_idx", BY_IN_OUT},
    {"embedding_multiplier", BY_MULTIPLIERS},
    {"residual_multiplier", BY_MULTIPLIERS},
    {"attention_multiplier", BY_MULTIPLIERS},
    {"logits_scaling", BY_MULTIPLIERS},
    {"no_rope_layers", BY_UNROTATED},
    {"no_rope_layer_interval", BY_UNROTATED},
    {"attn_logit_softcapping", BY_SOFTCAPS},
    {"final_logit_softcapping", BY_SOFTCAPS},
    {"query_pre_attn_scalar", BY_SOFTCAPS},
    {"rope_local_base_freq", BY_LOCAL_ROPE},
    {"use_parallel_residual", BY_PARALLEL},
    {"use_qkv_bias", BY_QKV_BIAS_KEY},
    {"qk_layernorm", BY_QK_LAYERNORM},
    {"num_experts", BY_EXPERTS},
    {"num_local_experts", BY_EXPERTS},
    {"num_experts_per_tok", BY_EXPERTS},
    {"moe_intermediate_size", BY_DENSE_LAYERS},
    {"norm_topk_prob", BY_DENSE_LAYERS},
    {"decoder_sparse_step", BY_DENSE_LAYERS},
    {"mlp_only_layers", BY_DENSE_LAYERS},
    {"sliding_window_pattern", BY_PATTERN},
    {"_sliding_window_pattern", BY_PATTERN},
};

/* Keys that some relative of these families computes with. A neutral value does no harm. */
static const struct {
    const char *key;
    double neutral;
    const char *why; /* NULL = it changes the arithmetic in a way that is not supported */
} refused[] = {
    {"add_cross_attention", 0, NULL},
    {"is_encoder_decoder", 0, NULL},
    {"attn_logit_softcapping", 0, NULL},
    {"final_logit_softcapping", 0, NULL},
    {"query_pre_attn_scalar", 0, NULL},
    {"embedding_multiplier", 1, NULL},
    {"residual_multiplier", 1, NULL},
    {"attention_multiplier", 1, NULL},
    {"logits_scaling", 1, NULL},
    {"logit_scale", 1, NULL},
    {"num_local_experts", 0, NULL},
    {"num_experts", 0, NULL},
    {"n_routed_experts", 0, NULL},
    {"n_shared_experts", 0, NULL},
    {"shared_expert_intermediate_size", 0, NULL},
    {"no_rope_layers", 0, NULL},
    {"attention_chunk_size", 0, NULL},
    {"kv_lora_rank", 0, NULL},
    {"use_parallel_residual", 0, NULL},
    {"use_qkv_bias", 0, NULL},
    {"parallel_attn", 0, NULL},
    {"alibi", 0, NULL},
    {"rope_local_base_freq", 0, NULL},
    {"rope_interleaved", 0, NULL},
    {"layernorm_1p", 0, NULL},
    {"multi_query", 0, NULL},
    {"use_qk_norm", 0, NULL},
    {"qk_layernorm", 0, NULL},
    {"pruned_heads", 0, NULL},
    {"per_layer_config", 0, NULL},
    {"use_logn_attn", 0, NULL},
    {"use_dynamic_ntk", 0, NULL},
    {"use_mrope", 0, NULL},
    {"use_bidirectional_attention", 0, NULL},
    {"use_moe", 0, NULL},
    {"scale_emb", 1, NULL},
    {"scale_depth", 0, NULL},
};

/* Notes of the program that saved the file, labels of classifiers, dropout and losses of routers (of training alone),
 * and defaults of generation. */
static const char *const irrelevant[] = {
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_commit_hash",
    "_name_or_path",
    "attention_dropout",
    "attn_implementation",
    "attn_pdrop",
    "bad_words_ids",
    "begin_suppress_tokens",
    "cache_implementation",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "embd_pdrop",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "hidden_dropout",
    "id2label",
    "is_decoder",
    "is_llama_config",
    "label2id",
    "length_penalty",
    "max_length",
    "min_length",
    "n_ctx",
    "name_or_path",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "output_scores",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "remove_invalid_values",
    "reorder_and_upcast_attn",
    "repetition_penalty",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "sep_token_id",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tie_last_hidden_states",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torchscript",
    "transformers_version",
    "typical_p",
    "unk_token_id",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
};

static int32_t reads(const dk_architecture *row, reader by)
{
    switch (by) {
    case BY_ALL:
        return 1;
    case BY_ROTARY:
        return !row->learned_positions;
    case BY_BIAS_KEY:
        return row->bias == DK_BIAS_KEY;
    case BY_MLP_BIAS_KEY:
        return row->mlp_bias_key;
    case BY_WINDOWED:
        return row->window != DK_WINDOW_NEVER;
    case BY_UPPER_WINDOWED:
        return row->window == DK_WINDOW_UPPER;
    case BY_SWITCHED_WINDOW:
        return row->window == DK_WINDOW_UPPER || row->window == DK_WINDOW_UNROTATED ||
               row->window == DK_WINDOW_SWITCHED;
    case BY_IN_OUT:
        return row->in_out;
    case BY_MULTIPLIERS:
        return (row->has & DK_HAS_MULTIPLIERS) != 0;
    case BY_UNROTATED:
        return (row->has & DK_HAS_UNROTATED) != 0;
    case BY_SOFTCAPS:
        return (row->has & DK_HAS_SOFTCAPS) != 0;
    case BY_LOCAL_ROPE:
        return (row->has & DK_HAS_LOCAL_ROPE) != 0;
    case BY_PARALLEL:
        return (row->has & DK_HAS_PARALLEL) != 0;
    case BY_QKV_BIAS_KEY:
        return row->bias == DK_BIAS_QKV_KEY;
    case BY_QK_LAYERNORM:
        return (row->has & DK_HAS_QK_LAYERNORM) != 0;
    case BY_EXPERTS:
        return (row->has & DK_HAS_EXPERTS) != 0;
    case BY_DENSE_LAYERS:
        return (row->has & DK_HAS_DENSE_LAYERS) != 0;
    case BY_PATTERN:
        return (row->has & DK_HAS_PATTERN) != 0;
    }
    return 0;
}

static int32_t is_size(const dk_config_keys *keys, const char *key)
{
    const char *const names[] = {keys->hidden[0],     keys->hidden[1],    keys->layers[0], keys->layers[1],
                                 keys->heads[0],      keys->heads[1],     keys->inner[0],  keys->inner[1],
                                 keys->positions[0],  keys->positions[1], keys->epsilon,   keys->activation[0],
                                 keys->activation[1], keys->theta,        keys->partial};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i] && !strcmp(names[i], key)) return 1;
    return 0;
}

static int32_t is_used(const dk_architecture *row, const char *key)
{
    for (size_t i = 0; i < sizeof used / sizeof *used; i++)
        if (!strcmp(used[i].key, key) && reads(row, used[i].by)) return 1;
    return is_size(row->keys, key);
}

static int32_t is_known(const dk_architecture *row, const char *key)
{
    if (is_used(row, key)) return 1;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (!strcmp(refused[i].key, key)) return 1;
    for (size_t i = 0; i < sizeof irrelevant / sizeof *irrelevant; i++)
        if (!strcmp(irrelevant[i], key)) return 1;
    return 0;
}

static int32_t is_neutral(const dk_node *node, double neutral)
{
    switch (node->type) {
    case DK_NODE_NULL:
        return 1;
    case DK_NODE_BOOL:
    case DK_NODE_INT:
        return (double)node->i64 == neutral;
    case DK_NODE_FLOAT:
        return node->f64 == neutral;
    case DK_NODE_LIST:
    case DK_NODE_MAP:
        return node->size == 0;
    case DK_NODE_TEXT:
        break;
    }
    return 0;
}

/* ---- what is refused ---- */
static int32_t refuse_quantised(const dk_document *doc, dk_error *err)
{
    static const char *const keys[] = {"quantization_config", "compression_config", "quantization"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const dk_node *node = dk_node_get(dk_document_root(doc), keys[i]);
        if (!node || is_neutral(node, 0)) continue;
        const dk_node *method = dk_node_get(node, "quant_method");
        return dk_fail(
            err, DK_E_UNSUPPORTED, "%s: the weights are quantised (%s, %s); supported are F32, F16 and BF16 weights",
            dk_document_name(doc), keys[i], method && method->type == DK_NODE_TEXT ? method->text : "unknown method");
    }
    return DK_OK;
}

/* Code beside the weights may compute anything. A tokenizer or a configuration of its own is another matter. */
static int32_t refuse_code(const dk_document *doc, const dk_architecture *row, dk_error *err)
{
    const dk_node *map = dk_node_get(dk_document_root(doc), "auto_map");
    for (size_t i = 0; map && map->type == DK_NODE_MAP && i < map->size; i++)
        if (!strncmp(map->items[i]->key, "AutoModel", 9))
            return dk_fail(err, DK_E_UNSUPPORTED,
                           "%s: auto_map names code for %s, which is not run; take auto_map out where the weights are "
                           "those of a plain %s model",
                           dk_document_name(doc), map->items[i]->key, row->name);
    return DK_OK;
}

static int32_t refuse_bias(const dk_document *doc, const dk_architecture *row, const char *key, int32_t unread,
                           dk_error *err)
{
    const dk_node *node = dk_node_get(dk_document_root(doc), key);
    if (!unread || !node || is_neutral(node, 0)) return DK_OK;
    return dk_fail(err, DK_E_UNSUPPORTED, "%s: %s is set, but a %s model has no such biases", dk_document_name(doc),
                   key, row->name);
}

static int32_t refuse(const dk_document *doc, const dk_architecture *row, dk_error *err)
{
    int32_t rc;
    DK_TRY(refuse_quantised(doc, err));
    DK_TRY(refuse_code(doc, row, err));
    DK_TRY(refuse_bias(doc, row, "attention_bias", row->bias == DK_BIAS_NEVER || row->bias == DK_BIAS_QKV_KEY, err));
    DK_TRY(refuse_bias(doc, row, "mlp_bias", row->gated && !row->mlp_bias_key, err));
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const dk_node *node = dk_node_get(dk_document_root(doc), refused[i].key);
        if (!node || is_used(row, refused[i].key) || is_neutral(node, refused[i].neutral)) continue;
        if (refused[i].why)
            return dk_fail(err, DK_E_UNSUPPORTED, "%s: %s of a %s model %s", dk_document_name(doc), refused[i].key,
                           row->name, refused[i].why);
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "%s: %s changes the arithmetic of a %s model in a way that is not supported; supported are "
                       "%s as published",
                       dk_document_name(doc), refused[i].key, row->name, dk_architectures());
    }
out:
    return rc;
}

/* ---- two sources of one fact ---- */
static int32_t same_value(const dk_node *a, const dk_node *b)
{
    return a->type == b->type && a->f64 == b->f64 && a->i64 == b->i64 && a->size == b->size &&
           (a->type != DK_NODE_TEXT || !memcmp(a->text, b->text, a->size));
}

static int32_t check_aliases(const dk_document *doc, const dk_config_keys *keys, dk_error *err)
{
    const char *const *pairs[] = {keys->hidden, keys->layers, keys->heads, keys->inner, keys->positions};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const dk_node *a = dk_node_get(dk_document_root(doc), pairs[i][0]);
        const dk_node *b = pairs[i][1] ? dk_node_get(dk_document_root(doc), pairs[i][1]) : NULL;
        if (a && b && a->type != DK_NODE_NULL && b->type != DK_NODE_NULL && !same_value(a, b))
            return dk_fail(err, DK_E_MISMATCH, "%s: %s and %s are the same fact with two values; leave one",
                           dk_document_name(doc), pairs[i][0], pairs[i][1]);
    }
    return DK_OK;
}

static void note_pairs(const dk_document *doc, const dk_architecture *row, dk_strbuf *notes)
{
    const dk_node *root = dk_document_root(doc), *classes = dk_node_get(root, "architectures");
    const dk_node *a = dk_node_get(root, "dtype"), *b = dk_node_get(root, "torch_dtype");
    int32_t named = !classes || classes->type != DK_NODE_LIST || !classes->size;
    if (a && b && a->type == DK_NODE_TEXT && b->type == DK_NODE_TEXT && !same_value(a, b))
        dk_note(notes, "%s: dtype is %.20s and torch_dtype is %.20s; the tensors' own type is used",
                dk_document_name(doc), a->text, b->text);
    for (size_t i = 0; !named && i < classes->size; i++) named = dk_node_is_text(classes->items[i], row->class_name);
    if (!named)
        dk_note(notes, "%s: architectures does not name %s; the model is read as model_type says, %s",
                dk_document_name(doc), row->class_name, row->name);
}

static void note_unknown(const dk_document *doc, const dk_architecture *row, dk_strbuf *notes)
{
    const dk_node *root = dk_document_root(doc);
    char names[512] = "";
    size_t used_size = 0;
    for (size_t i = 0; i < root->size; i++) {
        const dk_node *item = root->items[i];
        if (item->type == DK_NODE_NULL || is_known(row, item->key)) continue;
        size_t room = sizeof names - used_size;
        int length = snprintf(names + used_size, room, "%s%.60s", used_size ? ", " : "", item->key);
        if ((size_t)length >= room) break;
        used_size += (size_t)length;
    }
    if (used_size) dk_note(notes, "%s: not used, unknown for a %s model: %s", dk_document_name(doc), row->name, names);
}

int32_t dk_config_check_keys(const dk_document *doc, const dk_architecture *row, dk_strbuf *notes, dk_error *err)
{
    int32_t rc;
    DK_TRY(refuse(doc, row, err));
    DK_TRY(check_aliases(doc, row->keys, err));
    note_pairs(doc, row, notes);
    note_unknown(doc, row, notes);
out:
    return rc;
}
