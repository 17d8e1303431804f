/* Gradients of attention by blocks through the micro-kernels of products (after Dao et al. 2022): weights come back
 * from the saved partition.
 *
 * Blocking. A task is one sequence and one key head; it goes head by head through the group. All q and dy of a head are
 * packed once, two ways each: as B for the scores (lines are queries) and as B for the gradients (k are queries). Then
 * keys come 64 at a time, with k and v packed as A, and against them blocks of 128 queries:
 *   S^T = k q^T, dP^T = v dy^T   [keys, queries]: they become P^T and dS^T without a step across lanes, and for AMX
 *                                the packed operands of what follows as well;
 *   dv += P^T dy, dk += dS^T q   [keys, dim]: these stay near until the block of keys is left;
 *   dq^T += k^T dS^T             [dim, queries]: they grow while the keys pass by, and are turned once at the end.
 * Queries that see none of a block's keys are passed over in steps of DK_STRIP. Several blocks of keys pass by the
 * queries side by side: what is packed of a long sequence's queries is more than L2 holds, and comes from behind it a
 * quarter as often.
 *
 * Bits. All sums run over blocks that begin at fixed rows of the sequence; dk and dv add up heads in their order. */
#include <math.h>
#include <string.h>

#include "compute/cpu/attention_blocks.h"

#define KEYS DK_BLOCK_KEYS
#define QUERIES 128
#define TOGETHER 4 /* blocks of keys */

typedef struct key_block {
    int64_t key, keys;
    int64_t first, end;        /* blocks of queries that see one of them */
    uint8_t *k, *v, *k_across; /* k_across: lines are dim */
    float *dk, *dv;            /* [KEYS, wide] */
} key_block;

typedef struct task {
    const dk_attention_work *work;
    const dk_micro *micro;
    const dk_kernels *kernels;
    int64_t row, rows, head, kv_head;              /* of the sequence, and the head that is at work */
    int64_t blocks;                                /* of queries */
    int64_t wide;                                  /* dim, in whole panels of B */
    int64_t lines_bytes, across_bytes, sum_floats; /* of one block of queries: packed either way, dq^T */
    uint8_t *q, *dy;                               /* [blocks]: lines are queries */
    uint8_t *q_across, *dy_across;                 /* [blocks]: k are queries */
    float *dq;                                     /* [blocks][dim, QUERIES] */
    float *lse, *delta;                            /* [blocks, QUERIES] */
    int32_t *positions;                            /* [blocks, QUERIES] */
    key_block side[TOGETHER];
    float *weights, *slopes;                  /* [KEYS, QUERIES]: S, then P; dP, then dS */
    uint8_t *weights_a, *slopes_a, *slopes_b; /* the same, as operands */
} task;

static void lay_out_keys(const task *t, key_block *of, dk_block_memory *at)
{
    const dk_micro *micro = t->micro;
    const int64_t dim = t->work->dim, sums = dk_block_up(KEYS, micro->rows) * t->wide * (int64_t)sizeof(float);
    of->k = dk_block_take(at, dk_block_a_bytes(micro, KEYS, dim));
    of->v = dk_block_take(at, dk_block_a_bytes(micro, KEYS, dim));
    of->k_across = dk_block_take(at, dk_block_a_bytes(micro, dim, KEYS));
    of->dk = dk_block_take(at, sums);
    of->dv = dk_block_take(at, sums);
}

static int64_t lay_out(task *t, int64_t rows, uint8_t *scratch)
{
    dk_block_memory at = {scratch, 0};
    const dk_micro *micro = t->micro;
    int64_t dim = t->work->dim, square = dk_block_up(KEYS, micro->rows) * QUERIES * (int64_t)sizeof(float);
    t->blocks = (rows + QUERIES - 1) / QUERIES;
    t->wide = dk_block_up(dim, micro->columns);
    t->lines_bytes = dk_block_b_bytes(micro, QUERIES, dim);
    t->across_bytes = dk_block_b_bytes(micro, dim, QUERIES);
    t->sum_floats = dk_block_up(dim, micro->rows) * QUERIES;
    t->q = dk_block_take(&at, t->blocks * t->lines_bytes);
    t->dy = dk_block_take(&at, t->blocks * t->lines_bytes);
    t->q_across = dk_block_take(&at, t->blocks * t->across_bytes);
    t->dy_across = dk_block_take(&at, t->blocks * t->across_bytes);
    t->dq = dk_block_take(&at, t->blocks * t->sum_floats * (int64_t)sizeof(float));
    t->lse = dk_block_take(&at, t->blocks * QUERIES * (int64_t)sizeof(float));
    t->delta = dk_block_take(&at, t->blocks * QUERIES * (int64_t)sizeof(float));
    t->positions = dk_block_take(&at, t->blocks * QUERIES * (int64_t)sizeof(int32_t));
    t->weights = dk_block_take(&at, square);
    t->slopes = dk_block_take(&at, square);
    t->weights_a = dk_block_take(&at, dk_block_a_bytes(micro, KEYS, QUERIES));
    t->slopes_a = dk_block_take(&at, dk_block_a_bytes(micro, KEYS, QUERIES));
    t->slopes_b = dk_block_take(&at, dk_block_b_bytes(micro, QUERIES, KEYS));
    for (int64_t i = 0; i < TOGETHER; i++) lay_out_keys(t, &t->side[i], &at);
    return at.used;
}

int64_t dk_attention_gradient_scratch(const dk_attention_work *work)
{
    task t = {.work = work, .micro = work->micro};
    return lay_out(&t, work->longest, NULL);
}

static int64_t queries_of(const task *t, int64_t block)
{
    int64_t left = t->rows - block * QUERIES;
    return left < QUERIES ? left : QUERIES;
}

static int64_t lanes_of(const task *t, int64_t block) { return dk_block_up(queries_of(t, block), DK_STRIP); }

static dk_operand part_of(const dk_view *view, int64_t row, int64_t head, int64_t lines, int32_t across)
{
    return dk_block_operand(dk_attention_at(view, row, head), view->stride[0], lines, across);
}

/* Lanes behind the last query have weights of 0. */
static void open_block(const task *t, int64_t block)
{
    const dk_attention_work *w = t->work;
    int64_t rows = queries_of(t, block), row = t->row + block * QUERIES, at = block * QUERIES;
    dk_operand q = part_of(w->q, row, t->head, rows, 0), dy = part_of(w->dy, row, t->head, rows, 0);
    dk_operand q_across = part_of(w->q, row, t->head, w->dim, 1), dy_across = part_of(w->dy, row, t->head, w->dim, 1);
    dk_block_pack_b(t->micro, &q, QUERIES, w->dim, t->q + block * t->lines_bytes);
    dk_block_pack_b(t->micro, &dy, QUERIES, w->dim, t->dy + block * t->lines_bytes);
    dk_block_pack_b(t->micro, &q_across, w->dim, rows, t->q_across + block * t->across_bytes);
    dk_block_pack_b(t->micro, &dy_across, w->dim, rows, t->dy_across + block * t->across_bytes);
    t->kernels->row_dots(dk_attention_at(w->dy, row, t->head), w->dy->stride[0], dk_attention_at(w->y, row, t->head),
                         w->y->stride[0], rows, w->dim, t->delta + at);
    for (int64_t r = 0; r < QUERIES; r++) {
        t->positions[at + r] = (int32_t)(at + r);
        t->lse[at + r] = r < rows ? *dk_attention_at(w->lse, row + r, t->head) : INFINITY;
        if (r >= rows) t->delta[at + r] = 0;
    }
}

static void open_keys(const task *t, key_block *of, int64_t key)
{
    const dk_attention_work *w = t->work;
    const int64_t window = dk_window_of(w->args), keys = t->rows - key < KEYS ? t->rows - key : KEYS,
                  end = window > 0 && window < t->rows - key - keys + 1 ? key + keys - 1 + window : t->rows;
    dk_operand k = part_of(w->k, t->row + key, t->kv_head, keys, 0),
               v = part_of(w->v, t->row + key, t->kv_head, keys, 0),
               k_across = part_of(w->k, t->row + key, t->kv_head, w->dim, 1);
    of->key = key;
    of->keys = keys;
    of->first = key / QUERIES;
    of->end = (end + QUERIES - 1) / QUERIES;
    dk_block_pack_a(t->micro, &k, w->dim, of->k);
    dk_block_pack_a(t->micro, &v, w->dim, of->v);
    dk_block_pack_a(t->micro, &k_across, keys, of->k_across);
}

static void pack_slopes(const task *t, int64_t block, int64_t skip, int64_t keys)
{
    int64_t lanes = lanes_of(t, block) - skip;
    dk_operand weights = dk_block_operand(t->weights + skip, QUERIES, keys, 0),
               slopes = dk_block_operand(t->slopes + skip, QUERIES, keys, 0),
               across = dk_block_operand(t->slopes + skip, QUERIES, lanes, 1);
    dk_block_pack_a(t->micro, &weights, queries_of(t, block) - skip, t->weights_a);
    dk_block_pack_a(t->micro, &slopes, queries_of(t, block) - skip, t->slopes_a);
    dk_block_pack_b(t->micro, &across, lanes, keys, t->slopes_b);
}

/* Queries of a block from lane `skip` on, against a block of keys: P^T and dS^T. */
static void find_slopes(const task *t, const key_block *side, int64_t block, int64_t skip)
{
    const int64_t key = side->key, keys = side->keys;
    const dk_attention_args *args = t->work->args;
    const dk_micro *micro = t->micro;
    int64_t dim = t->work->dim, panel = dk_block_panel_bytes(micro, dim), window = dk_window_of(args),
            first = block * QUERIES + skip, last = block * QUERIES + queries_of(t, block) - 1,
            lanes = lanes_of(t, block) - skip, skipped = skip / micro->columns * panel;
    dk_block_product scores = {.micro = micro,
                               .a = side->k,
                               .b = t->q + block * t->lines_bytes + skipped,
                               .m = keys,
                               .panels = lanes / micro->columns,
                               .k = dim,
                               .b_step = panel,
                               .c = t->weights + skip,
                               .c_step = QUERIES};
    dk_block_product slopes = scores;
    slopes.a = side->v;
    slopes.b = t->dy + block * t->lines_bytes + skipped;
    slopes.c = t->slopes + skip;
    dk_attention_strip of = {.scores = scores.c,
                             .step = QUERIES,
                             .keys = keys,
                             .lanes = lanes,
                             .key = key,
                             .window = window,
                             .positions = t->positions + first,
                             .masked = key + keys - 1 > first || (window > 0 && key <= last - window),
                             .scale = (float)args->scale,
                             .softcap = (float)args->softcap};
    if (micro->tiles) {
        of.pairs = (uint32_t *)(void *)t->slopes_b;
        of.tiles = (uint16_t *)(void *)t->slopes_a;
        of.weight_tiles = (uint16_t *)(void *)t->weights_a;
        of.k = dk_block_up(keys, micro->group);
        of.tile_rows = micro->rows;
        of.keys_up = keys / micro->rows * micro->rows;
        if (keys > of.keys_up) of.keys_up += micro->height(keys - of.keys_up);
    }
    dk_block_multiply(&scores);
    dk_block_multiply(&slopes);
    t->kernels->attention_slopes(&of, slopes.c, t->lse + first, t->delta + first);
    if (!micro->tiles) pack_slopes(t, block, skip, keys);
}

/* to [keys, dim] += x [keys, queries] y, where y's k are the queries of a block. */
static void add_to_keys(const task *t, const uint8_t *x, const uint8_t *y, int64_t skip, int64_t queries, int64_t keys,
                        float *to, int32_t add)
{
    const dk_micro *micro = t->micro;
    dk_block_product product = {.micro = micro,
                                .a = x,
                                .b = y + skip * micro->columns * micro->k_bytes,
                                .m = keys,
                                .panels = t->wide / micro->columns,
                                .k = queries - skip,
                                .b_step = dk_block_panel_bytes(micro, queries),
                                .c = to,
                                .c_step = t->wide,
                                .add = add};
    dk_block_multiply(&product);
}

static void add_to_queries(const task *t, const key_block *side, int64_t block, int64_t skip)
{
    const dk_micro *micro = t->micro;
    const int64_t keys = side->keys;
    dk_block_product product = {.micro = micro,
                                .a = side->k_across,
                                .b = t->slopes_b,
                                .m = t->work->dim,
                                .panels = (lanes_of(t, block) - skip) / micro->columns,
                                .k = keys,
                                .b_step = dk_block_panel_bytes(micro, keys),
                                .c = t->dq + block * t->sum_floats + skip,
                                .c_step = QUERIES,
                                .add = 1};
    dk_block_multiply(&product);
}

/* The first head of a group writes, the others add. */
static void close_keys(const task *t, const dk_view *to, const float *from, int64_t key, int64_t keys)
{
    for (int64_t r = 0; r < keys; r++) {
        float *row = dk_attention_at(to, t->row + key + r, t->kv_head);
        if (t->head % t->work->group == 0) memcpy(row, from + r * t->wide, (size_t)t->work->dim * sizeof *row);
        else t->kernels->add(row, from + r * t->wide, row, t->work->dim);
    }
}

static void cross_block(const task *t, const key_block *side, int64_t block)
{
    const int64_t skip = block == side->first ? side->key % QUERIES / DK_STRIP * DK_STRIP : 0,
                  queries = queries_of(t, block), across = block * t->across_bytes;
    const int32_t add = block > side->first;
    find_slopes(t, side, block, skip);
    add_to_keys(t, t->weights_a, t->dy_across + across, skip, queries, side->keys, side->dv, add);
    add_to_keys(t, t->slopes_a, t->q_across + across, skip, queries, side->keys, side->dk, add);
    add_to_queries(t, side, block, skip);
}

/* Blocks of keys from `key` on. Each of a query's sums adds them up in their order. */
static void cross_keys(task *t, int64_t key)
{
    int64_t count = 0, end = 0;
    for (; count < TOGETHER && key < t->rows; count++, key += KEYS) {
        open_keys(t, &t->side[count], key);
        end = t->side[count].end; /* later keys are seen no less far */
    }
    for (int64_t block = t->side[0].first; block < end; block++)
        for (int64_t i = 0; i < count; i++)
            if (block >= t->side[i].first && block < t->side[i].end) cross_block(t, &t->side[i], block);
    for (int64_t i = 0; i < count; i++) {
        close_keys(t, t->work->dk, t->side[i].dk, t->side[i].key, t->side[i].keys);
        close_keys(t, t->work->dv, t->side[i].dv, t->side[i].key, t->side[i].keys);
    }
}

static void run_head(task *t)
{
    const dk_view *dq = t->work->dq;
    for (int64_t block = 0; block < t->blocks; block++) open_block(t, block);
    memset(t->dq, 0, (size_t)(t->blocks * t->sum_floats) * sizeof *t->dq);
    for (int64_t key = 0; key < t->rows; key += KEYS * TOGETHER) cross_keys(t, key);
    for (int64_t block = 0; block < t->blocks; block++)
        t->kernels->turn(t->dq + block * t->sum_floats, QUERIES, t->work->dim, queries_of(t, block),
                         dk_attention_at(dq, t->row + block * QUERIES, t->head), dq->stride[0]);
}

void dk_attention_gradient(const dk_attention_work *work, int64_t s, int64_t kv_head, uint8_t *scratch)
{
    const int64_t *offsets = work->args->query_offsets;
    task t = {.work = work,
              .micro = work->micro,
              .kernels = dk_kernels_of(work->queue),
              .row = offsets[s],
              .rows = offsets[s + 1] - offsets[s],
              .kv_head = kv_head};
    if (!t.rows) return;
    (void)lay_out(&t, t.rows, scratch);
    if (t.micro->begin) t.micro->begin();
    for (int64_t h = 0; h < work->group; h++) {
        t.head = kv_head * work->group + h;
        run_head(&t);
    }
    if (t.micro->end) t.micro->end();
}
