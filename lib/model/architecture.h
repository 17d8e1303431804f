/* architecture.h - the table of architectures, and what a description says about weights. For lib/model only. */
#ifndef DK_MODEL_ARCHITECTURE_H
#define DK_MODEL_ARCHITECTURE_H

#include "format/checkpoint.h"
#include "model/model.h"

/* ---- one tensor of a model, or of every block ---- */
typedef enum {                  /* what decides about a dimension */
               DK_DIM_NONE = 0, /* second dimension of a vector */
               DK_DIM_VOCAB,
               DK_DIM_POSITIONS,
               DK_DIM_HIDDEN,
               DK_DIM_Q,
               DK_DIM_KV,
               DK_DIM_QKV,
               DK_DIM_HEAD,
               DK_DIM_INNER,
               DK_DIM_GATE_UP,
               DK_DIM_EXPERTS,
               DK_DIM_EXPERT
} dk_dim;
typedef enum { /* when a tensor is there */
               DK_WHEN_ALWAYS = 0,
               DK_WHEN_UNTIED,
               DK_WHEN_QKV_BIAS,
               DK_WHEN_OUT_BIAS,
               DK_WHEN_MLP_BIAS,
               DK_WHEN_QK_NORM,
               DK_WHEN_DENSE,   /* the layer's MLP is one */
               DK_WHEN_EXPERTS, /* the layer's MLP is experts' */
               DK_WHEN_SEQUENTIAL
} dk_when;
typedef enum { DK_INIT_NORMAL = 0, DK_INIT_ONE, DK_INIT_ZERO } dk_init;
typedef enum { /* how GGUF differs from HF, whose layout is the one in memory */
               DK_GGUF_SAME = 0,
               DK_GGUF_TRANSPOSED,
               DK_GGUF_ROTATED, /* where the family says so: in a head's rows, (i, i + d/2) are neighbours */
               DK_GGUF_SHIFTED, /* norms: the family's offset is part of the weight */
               DK_GGUF_GROUPED  /* q, k and v of each head in turn; in GGUF all of q, all of k, all of v */
} dk_gguf_layout;
typedef struct dk_slot {
    const char *name, *gguf; /* in the files; %d stands for the block */
    size_t offset;           /* of its dk_parameter pointer in its owner */
    enum {
        DK_OF_MODEL = 0,
        DK_OF_LAYER,
        /* of which a layer has several: the second %d stands for one in HF's name; in GGUF they are one tensor */
        DK_OF_EXPERT,
        DK_OF_HEAD,
        DK_OF_KV_HEAD
    } owner;
    dk_when when;
    dk_dim rows, columns;
    dk_init init;
    dk_gguf_layout layout;
} dk_slot;
typedef struct dk_slots {
    const dk_slot *at;
    int32_t count;
} dk_slots;
extern const dk_slots dk_gemma2_slots, dk_gpt2_slots, dk_gpt_neox_slots, dk_llama_slots, dk_mixtral_slots,
    dk_olmo2_slots, dk_phi_slots, dk_phi3_slots, dk_qwen3_moe_slots, dk_stablelm_slots;

/* ---- one family: names of config keys, class defaults, tensors ---- */
typedef struct dk_config_keys { /* the second name is an alias; NULL = none */
    const char *hidden[2], *layers[2], *heads[2], *inner[2], *positions[2], *activation[2];
    const char *epsilon, *theta, *partial;
} dk_config_keys;
typedef enum {
    DK_BIAS_NEVER = 0,
    DK_BIAS_KEY,
    DK_BIAS_QKV,
    DK_BIAS_QKV_KEY,
    DK_BIAS_ALL
} dk_bias_rule; /* KEY: attention_bias gives q, k, v and out one; QKV_KEY: use_qkv_bias gives q, k and v one */
typedef enum {
    DK_WINDOW_NEVER = 0,
    DK_WINDOW_ALL,
    DK_WINDOW_UPPER,
    DK_WINDOW_UNROTATED,
    DK_WINDOW_PATTERN,
    DK_WINDOW_SWITCHED
} dk_window_rule; /* UPPER: layers from max_window_layers on; UNROTATED: those without rotary positions; PATTERN: all
                     but every n-th; SWITCHED: all, where use_sliding_window says so */
enum {            /* what some families alone have a key for */
       DK_HAS_MULTIPLIERS = 1,     /* embedding, attention, residual, logits */
       DK_HAS_UNROTATED = 2,       /* layers without rotary positions */
       DK_HAS_PARTIAL = 4,         /* heads that rotate in part */
       DK_HAS_QUERY_SCALE = 8,     /* queries far from the start are scaled */
       DK_HAS_LENGTH_BESIDE = 16,  /* original_max_position_embeddings beside rope_parameters comes first */
       DK_HAS_SOFTCAPS = 32,       /* of attention scores and logits, and the scale of the scores */
       DK_HAS_LOCAL_ROPE = 64,     /* rotary positions of their own for layers that slide */
       DK_HAS_PARALLEL = 256,      /* whether both branches start from one point is said by a key */
       DK_HAS_EXPERTS = 512,       /* MLPs of experts: how many, and how many a row goes to */
       DK_HAS_DENSE_LAYERS = 1024, /* which layers have none, their size, and whether chosen weights add up to 1 */
       DK_HAS_QK_LAYERNORM =
           2048,            /* whether the heads of q and k have norms, as qk_layernorm has them, is said by a key */
       DK_HAS_PATTERN = 128 /* a key for the n of DK_WINDOW_PATTERN */
};
enum {                           /* what llama.cpp asks of the files of a family, against what its models may be */
       DK_GGUF_ALL_BIASES = 1,   /* asks for a bias of every product */
       DK_GGUF_NO_OUT_BIAS = 2,  /* has no place for one behind attention */
       DK_GGUF_NO_MLP_BIAS = 4,  /* nor inside the MLP */
       DK_GGUF_HEAD = 8,         /* asks for a head, tied or not */
       DK_GGUF_NO_HEAD = 16,     /* has no place for one that is not tied */
       DK_GGUF_SHARED_OUT = 32,  /* heads share hidden_size out */
       DK_GGUF_DIVISORS = 64,    /* has a place for rope_freqs.weight */
       DK_GGUF_NO_QK_NORM = 256, /* has no place for norms of q and k */
       DK_GGUF_NO_WINDOW = 128   /* does not look at sliding windows */
};
typedef struct dk_architecture {
    const char *name, *class_name, *gguf;
    const char *prefix; /* of tensors inside the trunk; files saved from the bare trunk lack it */
    const dk_config_keys *keys;
    const dk_slots *slots;
    dk_norm_kind norm;
    int32_t gated, in_out, fused_qkv, fused_up, interleaved, parallel, learned_positions;
    int32_t heads_share; /* heads share hidden_size out: no key for their size */
    int32_t heads_alone; /* the same, and there are as many key heads as heads: no key for either */
    dk_qk_norm qk_norm, qk_layernorm;
    uint32_t has;           /* DK_HAS_ */
    double norm_offset;     /* 1 where norms multiply by 1 + weight */
    int32_t embedding_root; /* embeddings are multiplied by sqrt(hidden_size) */
    int32_t gelu_is_tanh;   /* files say gelu and mean the other one */
    dk_bias_rule bias;
    int32_t attention_bias; /* the default of its key */
    int32_t mlp_bias_key, mlp_bias;
    dk_window_rule window;
    int32_t gguf_rotated;
    uint32_t gguf_rules;        /* DK_GGUF_ */
    int64_t gguf_large;         /* layers of the model whose scores llama.cpp scales by hidden_size / heads */
    int32_t tied_head_repeated; /* converters to GGUF may write the tied head a second time */
    /* class defaults of absent keys; 0 = derived from others */
    int64_t vocab_size, hidden_size, layers, heads, kv_heads, head_dim, inner, positions;
    int64_t sliding_window, max_window_layers, bos, eos;
    int64_t experts, experts_used, expert_size;
    double epsilon, theta, partial;
    const char *rope; /* rope_parameters of a description without any, as JSON */
    double attention_softcap, logit_softcap;
    int64_t query_scalar, pattern;
    int64_t rope_original; /* original_max_position_embeddings; 0 = as many as there are positions */
    int32_t tied;
    const char *activation;
} dk_architecture;
const dk_architecture *dk_architecture_find(const char *model_type); /* NULL = unknown */
const dk_architecture *dk_architecture_find_gguf(const char *name);
int32_t dk_fail_architecture(const char *file, const char *key, const char *name,
                             dk_error *err); /* lists the known ones */

/* What the family calls its head. */
const char *dk_head_name(const dk_architecture *row);
/* layer: of the model's; any number for a slot of the model itself. */
int32_t dk_slot_present(const dk_slot *slot, const dk_config *config, int64_t layer);
int64_t dk_dim_size(dk_dim dim, const dk_config *config);
int64_t dk_slot_items(const dk_slot *slot, const dk_config *config); /* of a layer; 1 where it is no item */
/* Pattern with its first %d replaced by the layer, a second one by the item. */
void dk_slot_name(const char *pattern, int64_t layer, int64_t item, char *out, size_t size);

/* ---- parts of reading a description ---- */
int32_t dk_config_read_rope(dk_host *host, const dk_document *doc, const dk_architecture *row, dk_config *config,
                            dk_error *err);
int32_t dk_config_read_windows(dk_host *host, const dk_document *doc, const dk_architecture *row, dk_config *config,
                               dk_error *err);
int32_t dk_config_read_experts(dk_host *host, const dk_document *doc, const dk_architecture *row, dk_config *config,
                               dk_error *err);
/* Refuses what changes the arithmetic and is not built, and what is said twice; notes what is not used. */
int32_t dk_config_check_keys(const dk_document *doc, const dk_architecture *row, dk_strbuf *notes, dk_error *err);
/* Adds an id to those that end a text, once. */
int32_t dk_config_add_stop(dk_host *host, dk_config *config, int64_t id, dk_error *err);
/* Notes an id of a file that cannot be one. */
void dk_config_note_id(dk_config *config, const dk_document *doc, const char *key, const dk_node *node);
/* What the tensors of a folder say about its description: a head of its own where it is said to be tied. */
int32_t dk_config_meet_tensors(dk_host *host, const dk_checkpoint *file, dk_config *config, dk_error *err);
/* Description of a GGUF file, through the config.json that its metadata and tensors amount to. */
int32_t dk_config_from_gguf(dk_host *host, const dk_checkpoint *file, dk_config *out, dk_error *err);
/* rope_freqs.weight holds what llama3 scaling divides each frequency by: finds the numbers that give it. */
typedef struct dk_llama3_factors {
    double factor, low_freq_factor, high_freq_factor;
    int64_t original_positions;
} dk_llama3_factors;
int32_t dk_llama3_fit(const float *divisors, int64_t count, double theta, int64_t original_guess,
                      dk_llama3_factors *out); /* 0 = does not fit */

/* What llama3 scaling divides the frequency of a pair by, as rope_freqs.weight has it. */
double dk_llama3_divisor(const dk_rope_config *rope, int64_t pair);

/* ---- config.json as text ---- */
typedef struct dk_config_change {
    const char *key;
    const char *json; /* NULL = the key goes */
    int32_t append;   /* also when the key was not there */
} dk_config_change;
/* A copy with the changes made, one key in a line, in the old order. */
int32_t dk_config_rewrite(dk_host *host, const dk_node *root, const dk_config_change *changes, int64_t count,
                          char **out, dk_error *err);
/* The number of an id among those that are kept; -1 = it is not. */
int64_t dk_keep_number(const dk_keep *keep, int64_t id);
/* A copy of a JSON text in which ids ("bos_token_id": 1, "eos_token_id": [2, 3], ...) have the numbers that they have
 * among those that are kept. */
int32_t dk_config_renumber(dk_host *host, const char *text, const char *name, const dk_keep *keep, char **out,
                           dk_error *err);
/* The text for a model that keeps so much of config's; keep->layers is given. */
int32_t dk_config_derive_text(dk_host *host, const dk_config *config, const dk_keep *keep, char **out, dk_error *err);

#endif
