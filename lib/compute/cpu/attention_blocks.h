/* attention_blocks.h - what attention by blocks shares between forward and backward: small products of packed operands,
 * and memory cut out of a thread's scratch.
 *
 * Scores stand as S^T [keys, queries]: queries lie in the lanes, so maxima, sums, masks and gradients need no step
 * across them, and the weights of a block are the packed operand of the next product but for their dtype. */
#ifndef DK_COMPUTE_ATTENTION_BLOCKS_H
#define DK_COMPUTE_ATTENTION_BLOCKS_H

#include "compute/cpu/cpu.h"

#define DK_BLOCK_KEYS DK_PAGE

static inline int64_t dk_block_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* ---- operands, packed whole: A in panels of micro->rows lines, B in panels of micro->columns ---- */
static inline int64_t dk_block_a_bytes(const dk_micro *micro, int64_t lines, int64_t k)
{
    return dk_block_up(dk_block_up(lines, micro->rows) * dk_block_up(k, micro->group) * micro->k_bytes + DK_PACK_SLACK,
                       64);
}

static inline int64_t dk_block_panel_bytes(const dk_micro *micro, int64_t k) /* of B */
{
    return micro->columns * dk_block_up(k, micro->group) * micro->k_bytes;
}

static inline int64_t dk_block_b_bytes(const dk_micro *micro, int64_t lines, int64_t k)
{
    return dk_block_up(
        dk_block_up(lines, micro->columns) / micro->columns * dk_block_panel_bytes(micro, k) + DK_PACK_SLACK, 64);
}

/* Floats, `step` of them from one row of memory to the next. */
static inline dk_operand dk_block_operand(const float *x, int64_t step, int64_t lines, int32_t across)
{
    return (dk_operand){.data = (const uint8_t *)x, .dtype = DK_F32, .across = across, .lines = lines, .step = step};
}

void dk_block_pack_a(const dk_micro *micro, const dk_operand *from, int64_t k, uint8_t *to);
/* Zeros for lines that the operand lacks up to `lines`. */
void dk_block_pack_b(const dk_micro *micro, const dk_operand *from, int64_t lines, int64_t k, uint8_t *to);

/* C [m, panels * columns] (+)= A B^T over k numbers. C has rows up to a multiple of micro->rows. */
typedef struct dk_block_product {
    const dk_micro *micro;
    const uint8_t *a, *b;
    int64_t m, panels, k;
    int64_t b_step; /* bytes from one panel of B to the next */
    float *c;
    int64_t c_step;
    int32_t add;
} dk_block_product;
void dk_block_multiply(const dk_block_product *product);

/* ---- memory ---- */
typedef struct dk_block_memory {
    uint8_t *data; /* NULL: it only measures */
    int64_t used;
} dk_block_memory;

/* On whole cache lines. */
static inline void *dk_block_take(dk_block_memory *memory, int64_t bytes)
{
    uint8_t *from = memory->data ? memory->data + memory->used : NULL;
    memory->used += dk_block_up(bytes, 64);
    return from;
}

/* ---- one call ---- */
typedef struct dk_attention_work {
    dk_queue *queue;
    const dk_attention_args *args;
    const dk_view *q, *k, *v, *y, *lse, *dy, *dq, *dk, *dv;
    const dk_micro *micro;
    int64_t kv_heads, group, dim, block, scratch; /* block: queries; scratch: bytes */
    int64_t longest;                              /* blocks of the longest sequence: every sequence is given as many */
    int64_t pieces; /* of keys, each a task of its own: of the sequence with the most keys; 0 = tasks take all keys */
    float *parts;   /* [sequences, kv_heads, pieces, group, dim + 2] */
    _Atomic int32_t failed;
} dk_attention_work;

static inline float *dk_attention_at(const dk_view *view, int64_t row, int64_t head)
{
    return (float *)dk_buffer_map(*view) + row * view->stride[0] + head * view->stride[1];
}

#define DK_WINDOW_MAX (INT64_C(1) << 30)
static inline int64_t dk_window_of(const dk_attention_args *args)
{
    return args->window < DK_WINDOW_MAX ? args->window : 0; /* longer than any sequence: none */
}

/* Block `number` of the queries of a sequence, against the key head that a group of heads shares. */
int64_t dk_attention_rows(int64_t group);
int64_t dk_attention_scratch(const dk_attention_work *work);
void dk_attention_attend(const dk_attention_work *work, int64_t s, int64_t kv_head, int64_t number, uint8_t *scratch);

/* All queries of a sequence and a key head. */
int64_t dk_attention_gradient_scratch(const dk_attention_work *work);
void dk_attention_gradient(const dk_attention_work *work, int64_t s, int64_t kv_head, uint8_t *scratch);

#endif
