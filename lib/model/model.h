/* model.h - the decoder: one transformer driven by a table of architectures.
 *
 * Here live the description of an architecture (dk_config), weights by name (dk_model), passes over ragged batches
 * (dk_pass: forward, backward, taps), the key-value cache (dk_cache) and generation (dk_generate). What the model is
 * trained for does not live here: a pass gives hidden states and takes their gradient, the head is called on strips of
 * rows.
 *
 * A new family is a row in architecture.c and, at most, one new feature in dk_config. Nothing is guessed: an unknown
 * model_type, or a config key that changes the arithmetic and is not known, is an error that lists what is
 * supported. */
#ifndef DK_MODEL_MODEL_H
#define DK_MODEL_MODEL_H

#include "base/strbuf.h"
#include "compute/compute.h"
#include "conf/document.h"

/* ---- description ---- */
typedef enum {
    DK_ROPE_NONE = 0,
    DK_ROPE_PLAIN = 1,
    DK_ROPE_LINEAR = 2,
    DK_ROPE_LLAMA3 = 3,
    DK_ROPE_YARN = 4,
    DK_ROPE_LONG = 5,
    DK_ROPE_DYNAMIC = 6 /* stretches behind max_positions only, where contexts end here: plain before */
} dk_rope_kind;
typedef struct dk_rope_config {
    dk_rope_kind kind;
    double theta, factor;
    double low_freq_factor, high_freq_factor;        /* llama3 */
    double beta_fast, beta_slow;                     /* yarn */
    double attention_factor, mscale, mscale_all_dim; /* yarn; 0 = absent */
    int32_t truncate;                                /* yarn: correction range is rounded outwards (default 1) */
    int64_t original_positions;                      /* llama3, yarn, longrope, query_scale */
    int64_t dims;                                    /* rotated entries of a head (head_dim unless partial) */
    /* longrope: [dims/2] that frequencies are divided by, of texts up to original_positions and of longer ones */
    double *short_factors, *long_factors;
    double query_scale; /* queries times 1 + this * log(1 + floor(position / original_positions)); 0 = none */
} dk_rope_config;

typedef enum { /* norms of q and k before rope, of the model's kind */
               DK_QK_NORM_NONE = 0,
               DK_QK_NORM_HEAD,  /* of each head, one weight for all */
               DK_QK_NORM_WIDTH, /* of all heads together */
               DK_QK_NORM_EACH   /* of each head, with a weight of its own */
} dk_qk_norm;

typedef struct dk_config {
    char architecture[24]; /* model_type: "llama", "gpt2", ... */
    int64_t vocab_size, hidden_size, layers, heads, kv_heads, head_dim, intermediate_size, max_positions;
    dk_norm_kind norm;
    double norm_epsilon, norm_offset;
    dk_activation activation;
    int32_t gated;       /* MLP: act(gate)*up, else act(up) */
    int32_t in_out;      /* products stored [in, out] (GPT-2) */
    int32_t fused_qkv;   /* q|k|v are one parameter */
    int32_t fused_up;    /* gate|up are */
    int32_t interleaved; /* fused_qkv: head by head, q, k and v of each in turn */
    int32_t parallel;    /* attention and MLP start from the same point of the residual stream */
    int32_t qkv_bias, out_bias, mlp_bias;
    int32_t norm_bias;
    dk_qk_norm qk_norm;
    int32_t learned_positions; /* GPT-2's wpe */
    int32_t tied;              /* head = embedding */
    /* Layers whose MLP is experts': each row goes through the experts_used that its router gives the highest logits */
    int64_t experts, experts_used, expert_size; /* 0 = there is no such layer; expert_size: their intermediate_size */
    int32_t experts_alone;                      /* their weights are a softmax over these alone */
    uint8_t *layer_experts;                     /* [layers]: 1 = this one is; NULL = none */
    dk_rope_config rope, local_rope;
    double attention_scale; /* of q.k */
    /* 1, 1, 1, 0, 0 where unused */
    double embedding_scale, residual_scale, logit_scale, logit_softcap, attention_softcap;
    int64_t *window;       /* [layers]: sliding window of each layer, 0 = full */
    uint8_t *layer_rope;   /* [layers]: 1 = rope in this layer, 2 = local_rope */
    int64_t bos, eos, pad; /* -1 = none; eos is the first of stops */
    int32_t *stops;        /* [stop_count]: ids that end a text, of every file that names some */
    int64_t stop_count;
    double initializer_range;
    char *json; /* config.json text to save from: what was read (HF), or made (GGUF, fresh) */
    /* attention_scale is divided by (layer + 1) in each layer (GPT-2's scale_attn_by_inverse_layer_idx) */
    int32_t scale_by_layer;
    dk_strbuf notes; /* what was read and is not used (base/notes.h) */
} dk_config;
/* From config.json (old and new style), with the class defaults of each architecture filled in. What is not used is
 * noted, not logged. */
int32_t dk_config_read(dk_host *host, const dk_document *config_json, dk_config *out, dk_error *err);
void dk_config_free(dk_host *host, dk_config *config);
const char *dk_architectures(void); /* "gpt2, llama, ..." for messages */

/* ---- weights ---- */
typedef struct dk_expert {
    dk_parameter *up[2], *down;
    dk_linear *up_linear, *down_linear;
} dk_expert;
typedef struct dk_layer { /* parameters of one block; NULL = absent. Fused ones stand in the first slot */
    dk_parameter *attention_norm, *attention_norm_bias;
    dk_parameter *attention_post_norm, *mlp_post_norm; /* of what a branch adds to the residual stream */
    dk_parameter *qkv[3], *qkv_bias[3];                /* fused_qkv: [0] only */
    dk_parameter *q_norm, *k_norm, *q_norm_bias, *k_norm_bias;
    dk_parameter **q_norms, **k_norms; /* [heads], [kv_heads], where each head has its own */
    dk_parameter *out, *out_bias;
    dk_parameter *mlp_norm, *mlp_norm_bias;
    dk_parameter *up[2], *up_bias[2]; /* gated: gate, up; fused_up or not gated: [0] only */
    dk_parameter *down, *down_bias;
    dk_linear *qkv_linear, *out_linear, *up_linear, *down_linear;
    dk_parameter *router; /* [experts, hidden]; where it is there is no up and down, but */
    dk_linear *router_linear;
    dk_expert *experts; /* [config.experts] */
} dk_layer;

typedef struct dk_model {
    dk_host *host;       /* a reference */
    dk_backend *backend; /* borrowed */
    dk_config config;
    int64_t parameter_count; /* entries of parameters (a tied one counts once) */
    dk_parameter *parameters;
    /* head == embedding when tied */
    dk_parameter *embedding, *positions, *final_norm, *final_norm_bias, *head, *head_bias;
    dk_linear *head_linear;
    dk_layer *layers;
    dk_expert *experts;        /* [layers * experts]: those of layers that have some */
    dk_parameter **head_norms; /* [layers * (heads + kv_heads)] */
    int32_t trainable;         /* gradients exist */
    uint64_t file_bytes;       /* size of the tensors as opened; of made ones, as F32 */
    _Atomic double products;   /* operations of a token in its products; 0 = nobody asked yet */
    void *state;               /* mappings and buffers: weights.c */
} dk_model;

typedef struct dk_model_options {
    int32_t use_mmap;  /* frozen weights stay mapped in their file dtype */
    int32_t trainable; /* fp32 masters (real of the backend); gradients come with dk_model_add_gradients */
} dk_model_options;
/* A model with experts is run and saved alone: what is trainable, and copies of parts of it, are refused. */
/* path: HF folder or GGUF file. Config and weights must agree, tensor by tensor; extra or missing ones are named. */
int32_t dk_model_open(dk_backend *backend, const char *path, const dk_model_options *options, dk_model **out,
                      dk_error *err);
/* Fresh weights: normal with std (0 = the config's initializer_range), norms 1, biases 0; a pure function of (config,
 * seed). */
int32_t dk_model_create(dk_backend *backend, const dk_document *config_json, double std, uint64_t seed, dk_model **out,
                        dk_error *err);
/* What a copy keeps of a model: numbers of blocks, channels, ... there. NULL = all. Those of layers need not ascend,
 * all others do. */
typedef struct dk_keep {
    const int64_t *layers, *hidden, *ids; /* blocks; channels of the residual stream; tokens */
    int64_t layer_count, hidden_size, vocab_size;
    const int64_t *groups; /* [layer_count, kv_heads]: a key-value head and the query heads that share it */
    const int64_t *inner;  /* [layer_count, intermediate_size]: channels inside the MLP */
    int64_t kv_heads, intermediate_size;
} dk_keep;
/* A trainable copy of that. Ids that the description names (bos, eos, stops, ...) become theirs in the copy; one that
 * is not kept is refused. */
int32_t dk_model_prune(const dk_model *from, dk_backend *backend, const dk_keep *keep, dk_model **out, dk_error *err);
/* A frozen model that shares all of from but its embedding and its head, of which it has the rows ids[count] alone
 * (ascending): its logits are from's at these ids. from must live longer, and its weights stay as they are. */
int32_t dk_model_of_ids(const dk_model *from, const int64_t *ids, int64_t count, dk_model **out, dk_error *err);
/* A trainable copy that keeps the blocks in layers[count] (ascending not required, each in range); everything else is
 * copied. */
int32_t dk_model_derive(const dk_model *from, dk_backend *backend, const int64_t *layers, int64_t count, dk_model **out,
                        dk_error *err);
/* Freezes parameters whose name matches one of the glob patterns (fnmatch rules). A pattern that matches none is an
 * error that lists some names. */
int32_t dk_model_freeze(dk_model *model, const char *const *patterns, int64_t count, int64_t *frozen, dk_error *err);
/* The lowest block that a gradient goes down to: 0 where the embedding is trained, layers where the head or the last
 * norm alone is. */
int64_t dk_model_first_trained(const dk_model *model);
int32_t dk_model_add_gradients(dk_model *model, dk_error *err); /* for the unfrozen ones; idempotent */
/* Writes config.json, generation_config.json and model.safetensors (sharded above 4 GiB) into an existing folder. dtype
 * F32 or BF16. */
int32_t dk_model_save(const dk_model *model, const char *folder, dk_dtype dtype, dk_error *err);
typedef void (*dk_saved_fn)(void *user, uint64_t done, uint64_t total); /* bytes of tensors */
/* The same with another limit to the size of a shard, 0 = 4 GiB; saved, or NULL, is told how far it is. */
int32_t dk_model_save_sharded(const dk_model *model, const char *folder, dk_dtype dtype, uint64_t shard_bytes,
                              dk_saved_fn saved, void *user, dk_error *err);
/* An id that ends a text, as a tokenizer beside the model says; before the model is shared. Saved with the model. */
int32_t dk_model_add_stop(dk_model *model, int64_t id, dk_error *err);
void dk_model_free(dk_model *model); /* NULL is fine */
dk_parameter *dk_model_find(const dk_model *model, const char *name);
int64_t dk_model_elements(const dk_model *model); /* sum of elements of all parameters */
/* SHA-256 in hex over everything that the arithmetic depends on: description, names, and values as F32. Equal for a
 * file that is mapped, trained on or saved again in the same precision. */
int32_t dk_model_hash(const dk_model *model, char hex[65], dk_error *err);
/* Keeps the weights packed for products of a precision, where that saves time; threads that share the model may ask at
 * once. Passes and caches do, as they are told their precision. */
int32_t dk_model_keep(const dk_model *model, dk_precision precision, dk_error *err);
int64_t dk_model_kept_bytes(const dk_model *model, dk_precision precision); /* what that takes */
/* products and attention of a pass, head included */
double dk_model_flops(const dk_model *model, int64_t tokens, int64_t mean_length, int32_t backward);
double dk_head_flops(const dk_model *model, int64_t rows); /* of these, the head's in a forward pass */
/* of a cache's pass without the head: rows tokens of a sequence, in which `stands` stand behind it */
double dk_fresh_flops(const dk_model *model, int64_t rows, int64_t stands);

/* ---- passes ---- */
typedef struct dk_tokens { /* ragged: sequence s is ids[offsets[s] .. offsets[s+1]) */
    const int32_t *ids;
    const int64_t *offsets; /* [sequences + 1], offsets[0] = 0 */
    int64_t sequences;
} dk_tokens;

typedef enum { DK_TAP_BLOCK = 1, DK_TAP_FINAL = 2, DK_TAP_Q = 3, DK_TAP_K = 4, DK_TAP_V = 5 } dk_tap_kind;
typedef struct dk_tap_spec {
    int64_t layer;
    dk_tap_kind kind;
} dk_tap_spec;

typedef struct dk_pass dk_pass;
typedef struct dk_pass_spec {
    int64_t max_rows, max_sequences;
    dk_precision precision;  /* of this pass's products: one model may train in bf16 and be evaluated in full */
    int32_t backward;        /* keep what backward needs */
    int32_t checkpointing;   /* keep block inputs only and recompute */
    const dk_tap_spec *taps; /* what may be asked for; costs nothing when absent */
    int64_t tap_count;
} dk_pass_spec;
int32_t dk_pass_create(dk_model *model, const dk_pass_spec *spec, dk_pass **out, dk_error *err);
void dk_pass_free(dk_pass *pass);
int64_t dk_pass_bytes(const dk_pass_spec *spec, const dk_model *model); /* what create would take, without taking it */
/* From the next forward on. Refuses what the backend does not compute in. */
int32_t dk_pass_set_precision(dk_pass *pass, dk_precision precision, dk_error *err);
/* Ids are checked against vocab_size, lengths against max_positions. Allocates nothing. */
int32_t dk_pass_forward(dk_pass *pass, const dk_tokens *tokens, dk_error *err);
dk_view dk_pass_hidden(const dk_pass *pass); /* [rows, hidden_size] after the final norm, until the next forward */
dk_view dk_pass_tap(const dk_pass *pass, int64_t tap); /* what forward left there */
/* zeroed by forward; what is written here is added in backward */
dk_view dk_pass_tap_gradient(const dk_pass *pass, int64_t tap);
/* What forward computes on its way, as it comes: views that last until fn returns, of rows in use. */
typedef enum {
    DK_SEEN_INPUT = 1,  /* of a block: [rows, hidden_size] */
    DK_SEEN_NORMED,     /* what its attention reads: [rows, hidden_size] */
    DK_SEEN_ATTENDED,   /* what its heads give, before they are joined: [rows, heads * head_dim] */
    DK_SEEN_MLP_NORMED, /* what its MLP reads: [rows, hidden_size] */
    DK_SEEN_ACTIVE,     /* inside the MLP, before the last product: [rows, intermediate_size] */
    DK_SEEN_OUTPUT,     /* of a block: [rows, hidden_size] */
    DK_SEEN_FINAL       /* after the last norm: [rows, hidden_size]; layer is the number of blocks */
} dk_seen;
typedef void (*dk_watch_fn)(void *user, dk_queue *queue, dk_seen what, int64_t layer, dk_view value);
void dk_pass_watch(dk_pass *pass, dk_watch_fn fn, void *user); /* fn NULL = nobody */
/* Told within backward: the gradients of this layer and of all behind it are what they will be, once the queue has run;
 * layers = those behind the last one. Which layer a parameter is whole at; -1 = when backward is over. */
typedef void (*dk_whole_fn)(void *user, dk_queue *queue, int64_t layer);
void dk_pass_on_whole(dk_pass *pass, dk_whole_fn fn, void *user); /* fn NULL = nobody */
int64_t dk_model_whole_at(const dk_model *model, const dk_parameter *parameter);
/* dhidden [rows, hidden_size] = dL/d hidden, destroyed. Adds into the parameters' gradients. */
int32_t dk_pass_backward(dk_pass *pass, dk_view dhidden, dk_error *err);

/* ---- head, on strips of rows: z = softcap(logit_scale * (W h + b)) ---- */
/* [r, hidden] -> [r, vocab_size] */
void dk_head_forward(dk_queue *queue, const dk_model *model, dk_precision precision, dk_view hidden, dk_view logits);
/* logits as they left dk_head_forward (read only where a soft-cap is on); dlogits is destroyed; dhidden may be absent
 * (frozen trunk); adds to the head's gradient. */
void dk_head_backward(dk_queue *queue, const dk_model *model, dk_precision precision, dk_view hidden, dk_view logits,
                      dk_view dlogits, dk_view dhidden, int32_t add);
/* Whether the head is no more than a product: then dlogits may be BF16 in precision bf16, as linear_backward_input has
 * it. */
int32_t dk_head_takes_halves(const dk_model *model);

/* ---- decoding ---- */
/* Keys and values of several sequences, and the scratch of a decode step. They lie in pages of DK_PAGE tokens, which
 * sequences may share: what one of them appends, or cuts off, changes nothing for another. */
typedef struct dk_cache dk_cache;
typedef struct dk_cache_spec {
    int64_t sequences, capacity; /* capacity: most tokens of one sequence */
    int64_t tokens;              /* room for all together, in whole pages; 0 = sequences * capacity */
    int64_t max_rows;            /* fresh tokens of one call */
    int64_t last_rows;           /* of which it gives the hidden states, at most; 0 = sequences */
    dk_precision precision;
    dk_dtype type; /* of keys and values: the backend's real, also by 0, or DK_BF16 */
} dk_cache_spec;
int32_t dk_cache_create(dk_model *model, const dk_cache_spec *spec, dk_cache **out, dk_error *err);
void dk_cache_free(dk_cache *cache);
void dk_cache_reset(dk_cache *cache, int64_t sequence);
/* An empty sequence will get to so many tokens, instead of the cache's capacity: rotations that hang on the length of a
 * text (longrope) are its own then, whatever stands beside it. */
void dk_cache_plan(dk_cache *cache, int64_t sequence, int64_t tokens);
/* The same of one that holds tokens; 0 = these are rotated otherwise then, and were forgotten. */
int32_t dk_cache_replan(dk_cache *cache, int64_t sequence, int64_t tokens);
int32_t dk_cache_alike(const dk_cache *cache, int64_t a, int64_t b); /* may one share the other's tokens? */
int64_t dk_cache_length(const dk_cache *cache, int64_t sequence);
int64_t dk_cache_room(const dk_cache *cache);  /* tokens of the pages that nobody holds */
int64_t dk_cache_bytes(const dk_cache *cache); /* keys, values and scratch */
/* Forgets all but the first tokens of a sequence. */
int32_t dk_cache_truncate(dk_cache *cache, int64_t sequence, int64_t tokens, dk_error *err);
/* `to` begins again with the first tokens of `from`, in the same memory. */
int32_t dk_cache_share(dk_cache *cache, int64_t from, int64_t to, int64_t tokens, dk_error *err);
/* Appends tokens of the sequences named in which[tokens->sequences] and gives the hidden state of each one's last row:
 * [sequences, hidden_size]. */
int32_t dk_cache_forward(dk_cache *cache, const dk_tokens *tokens, const int64_t *which, dk_view *hidden,
                         dk_error *err);

/* The same of the last_rows[s] last rows of each, sequence after sequence: [sum of last_rows, hidden_size]. */
int32_t dk_cache_forward_last(dk_cache *cache, const dk_tokens *tokens, const int64_t *which, const int64_t *last_rows,
                              dk_view *hidden, dk_error *err);

#define DK_TEXT_ENDS INT32_MIN
typedef struct dk_generate_args {
    int64_t max_tokens;
    dk_precision precision;
    dk_dtype cache_type;       /* of keys and values, as dk_cache_spec has it; 0 = as the backend computes */
    double temperature, top_p; /* greedy below DK_TEMPERATURE_MIN */
    int64_t top_k;
    double min_p;                                /* 0 = off: ids below this share of the likeliest one's probability */
    double repetition_penalty, presence_penalty; /* 0 or 1, and 0 = off (dk_adjust_args) */
    const int32_t *bias_ids;                     /* added to their logits */
    const double *bias;
    int64_t bias_count;
    int64_t samples; /* texts of each prompt, numbers prompt * samples + 0, 1, ...; 0 = 1 */
    uint64_t seed;
    const uint64_t *draws; /* [texts] number of the first draw of each text, one for a token; NULL = text << 32 */
    int64_t vocab_valid;   /* ids from here on are never drawn; 0 = vocab_size */
    const int32_t *stop;   /* token ids that end a sequence (they are emitted, finished = 1) */
    int64_t stop_count;
    /* Called for each token in order; finished: 0 going on, 1 stop token, 2 max_tokens or context full. Returns 0, or
       DK_TEXT_ENDS, after which the others go on; anything else ends everything with E_CALLBACK or, for 2,
       E_CANCELLED. */
    int32_t (*emit)(void *user, int64_t sequence, int32_t id, double log_prob, int32_t finished);
    /* Or NULL: logits [vocab_valid] of what comes behind ids [count], as biases and penalties left them, to be changed
       in place. Called by the thread that generates. 0, or 2 and others as emit has them. */
    int32_t (*logits)(void *user, int64_t sequence, const int32_t *ids, int64_t count, float *logits, int64_t vocab);
    /* Right before emit, where top_count > 0: the likeliest ids by the model's own log-probabilities, descending */
    void (*top)(void *user, const int32_t *ids, const float *log_probs, int64_t count);
    int64_t top_count;
    void *user;
} dk_generate_args;
/* Text depends on (weights, prompt, seed, number or draws) and not on how many run together. */
int32_t dk_generate(dk_model *model, const dk_tokens *prompts, const dk_generate_args *args, dk_error *err);

/* Several models that write one text: each reads all of it, with a cache of its own. What they say of a token together
 * is drawn from as a model's own distribution is. */
typedef struct dk_choir {
    dk_model *const *models; /* [count] of one backend */
    int64_t count;
    /* logits[i] [1, vocab_size of model i] of token number `written` of a sequence become log-probabilities out
       [1, args.vocab_valid] */
    int32_t (*join)(void *user, const dk_view *logits, int64_t sequence, int64_t written, dk_view out, dk_error *err);
    void *user;
} dk_choir;
int32_t dk_generate_together(const dk_choir *choir, const dk_tokens *prompts, const dk_generate_args *args,
                             dk_error *err);

#endif
