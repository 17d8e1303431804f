/* pass_parts.h - what passes and caches share: the activations of a block, its forward and backward. For lib/model
 * only. */
#ifndef DK_MODEL_PASS_PARTS_H
#define DK_MODEL_PASS_PARTS_H

#include "model/model.h"

/* cos and sin for positions 0..positions-1: [positions, dims/2, 2], longrope's for longer texts behind those for short
 * ones. The buffer is the caller's, also on failure. of_queries: with their own scale. */
int32_t dk_rope_table(dk_backend *backend, const dk_rope_config *rope, int64_t positions, int32_t of_queries,
                      dk_buffer **buffer, dk_view *out, dk_error *err);
int64_t dk_rope_table_bytes(const dk_backend *backend, const dk_rope_config *rope, int64_t positions);
/* Row of the table that position 0 of a text of this length has; the table was made for at least as many positions. */
int64_t dk_rope_shift(const dk_rope_config *rope, int64_t length);

typedef struct dk_rotation { /* the tables that the layers of a model rotate by; absent without rope */
    dk_buffer *buffers[3];
    dk_view queries, keys, local;
} dk_rotation;
/* What was made before a failure is the caller's to free. */
int32_t dk_rotation_create(dk_backend *backend, const dk_config *config, int64_t positions, dk_rotation *out,
                           dk_error *err);
int64_t dk_rotation_bytes(const dk_backend *backend, const dk_config *config, int64_t positions);
void dk_rotation_free(dk_backend *backend, dk_rotation *rotation);

/* Activations of one block; views of max_rows rows. What only backward needs is absent in a forward pass. */
typedef struct dk_block {
    dk_view normed, norm_stats;    /* [r, hidden], [r, 2] */
    dk_view qkv;                   /* [r, (heads + 2*kv_heads)*head_dim], after the norms per head and rope */
    dk_view pre_norm;              /* the same before the norms per head; absent without them */
    dk_view q_stats, k_stats;      /* [r*heads, 2], [r*kv_heads, 2]; [r, 2] where the norm is over the width */
    dk_view attended, lse;         /* attention's output [r, heads*head_dim], log partitions [r, heads] */
    dk_view residual;              /* [r, hidden]: the residual stream between attention and MLP */
    dk_view mlp_normed, mlp_stats; /* [r, hidden], [r, 2] */
    dk_view up;                    /* [r, gate|up] */
    dk_view active;                /* [r, intermediate] */
    /* what the branches gave before their norms, and [r, 2]; absent without them */
    dk_view attention_out, attention_out_stats, mlp_out, mlp_out_stats;
} dk_block;

/* Scratch of layers with experts, and which rows go to which: slot r*used + i is the i-th choice of row r. */
typedef struct dk_routing {
    dk_view logits, chosen, weights;   /* [r, experts], I32 [r, used], [r, used] */
    dk_view slots, rows, sorted;       /* expert by expert: I32 [r*used] twice, their weights [r*used, 1] */
    dk_view input, up, active, output; /* of one expert: [r, hidden], [r, gate|up], [r, expert_size], [r, hidden] */
    int32_t *numbers;                  /* [3, r*used]: chosen, slots and rows on their way out and in */
    int64_t *first;                    /* [experts + 1]: where an expert's slots begin */
} dk_routing;
/* The views, and the host's part; nothing where no layer has experts. */
void dk_routing_plan(dk_arena *arena, const dk_model *model, int64_t rows, dk_routing *routing);
int32_t dk_routing_create(const dk_model *model, int64_t rows, dk_routing *routing, dk_error *err);
void dk_routing_free(const dk_model *model, dk_routing *routing);
int64_t dk_routing_bytes(const dk_model *model, int64_t rows); /* of the host's part */

typedef struct dk_workset { /* what the forward and backward of any block work with */
    const dk_model *model;
    dk_queue *queue;
    dk_precision precision; /* of products */
    int64_t rows;           /* in use */
    dk_view positions;      /* I32 [rows]: of learned positions, or rows of the rotary table */
    dk_rotation rotation;
    dk_attention_args attention;           /* sequences and offsets */
    dk_view branch;                        /* [r, hidden] scratch: a branch's output, or a gradient inside it */
    dk_view dqkv, dup, dattended, dactive; /* scratch of backward */
    dk_view dout;                          /* [r, hidden] the same, behind the branches' norms; absent without them */
    dk_routing routing;
} dk_workset;

/* Views from an arena (twice: to measure, to have). */
void dk_block_plan(dk_arena *arena, const dk_model *model, int64_t rows, int32_t backward, dk_block *block);
void dk_workset_plan(dk_arena *arena, const dk_model *model, int64_t rows, int32_t backward, dk_workset *set);

/* ---- forward, in three parts so that a cache may put its own attention in the middle ---- */
void dk_block_project(const dk_workset *set, const dk_block *block, int64_t layer, dk_view x); /* up to q, k, v */
/* from attention's output to the MLP's inside */
void dk_block_expand(const dk_workset *set, const dk_block *block, int64_t layer, dk_view x);
/* to the block's output; y may be x */
void dk_block_finish(const dk_workset *set, const dk_block *block, int64_t layer, dk_view y);
void dk_block_attend(const dk_workset *set, const dk_block *block, int64_t layer);
void dk_block_forward(const dk_workset *set, const dk_block *block, int64_t layer, dk_view x, dk_view y);
/* Everything that backward needs, from the block's input alone. */
void dk_block_recompute(const dk_workset *set, const dk_block *block, int64_t layer, dk_view x);

/* dx: gradient of the block's output on entry, of its input on return (only if want_input). taps: extra gradients of q,
 * k and v; absent views where there are none. */
void dk_block_backward(const dk_workset *set, const dk_block *block, int64_t layer, dk_view x, dk_view dx,
                       const dk_view taps[3], int32_t want_input);

/* The MLP of a layer with experts: [r, hidden] -> [r, hidden]. */
void dk_experts_forward(const dk_workset *set, int64_t layer, dk_view x, dk_view y);

dk_view dk_qkv_part(const dk_config *config, dk_view qkv, int32_t part); /* 0 q, 1 k, 2 v as [rows, heads, head_dim] */
dk_view dk_used_rows(const dk_workset *set, dk_view view);               /* the rows in use; absent stays absent */
dk_norm_args dk_norm_of(const dk_config *config, const dk_parameter *weight, const dk_parameter *bias);
dk_view dk_gradient_of(const dk_parameter *parameter); /* absent where frozen or NULL */
/* set->attention with window and scale of a layer */
dk_attention_args dk_attention_of(const dk_workset *set, int64_t layer);

/* ids [rows] plus, where the model has them, learned positions. */
void dk_embed_rows(const dk_workset *set, dk_view ids, dk_view x);
/* Offsets rise from 0 and ids are in the vocabulary; sequences and rows were compared with what there is room for. */
int32_t dk_check_tokens(const dk_config *config, const dk_tokens *tokens, dk_error *err);

#endif
