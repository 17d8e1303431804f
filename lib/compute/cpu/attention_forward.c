/* Attention forward by blocks through the micro-kernels of products (after Milakov & Gimelshein 2018; Dao et al. 2022).
 *
 * Blocking. A task is a block of queries, for all heads of a group: their rows lie in strips of DK_STRIP lanes, one
 * head each. Keys come 64 at a time. k and v of a block are packed once, as A, for all strips; then each strip goes
 * alone, since its scores (8 KiB) and its sums fit L1:
 *   S^T [keys, lanes] = k q^T, q packed as B once for the task;
 *   weights from the scores, with the running maximum and partition of each lane;
 *   Y^T [dim, lanes] = Y^T * fade + v^T weights, the weights packed as B, where B is pairs of BF16 as they are made.
 * Blocks of keys that a strip does not see, because of order or window, are passed over.
 *
 * Values that are no numbers reach the queries that see them alone (seen_values.h).
 *
 * Precision. Products are those of the micro-kernel; scores, weights, partitions and sums are floats.
 *
 * Bits. A lane's sums run over keys in blocks that begin at multiples of 64, in the micro-kernel's order inside: they
 * hang on nothing but its query and the keys that it sees. */
#include <math.h>
#include <string.h>

#include "compute/cpu/attention_blocks.h"

#define KEYS DK_BLOCK_KEYS
#define LANES_MOST 1024 /* of a task: the more, the less often keys are packed */
#define ROWS_MOST 512   /* queries of a task: the fewer, the more tasks */
#define LOWEST -1e30f   /* the running maximum before the first key: finite, so that -inf - it is no NaN */

int64_t dk_attention_rows(int64_t group)
{
    int64_t rows = LANES_MOST / group / DK_STRIP * DK_STRIP;
    return rows > ROWS_MOST ? ROWS_MOST : rows > DK_STRIP ? rows : DK_STRIP;
}

typedef struct task {
    const dk_attention_work *work;
    const dk_micro *micro;
    const dk_kernels *kernels;
    int64_t row, head, rows;           /* its first query and head; queries */
    int64_t position;                  /* of the first query, counted in keys */
    int64_t kv_head, key;              /* row of the sequence's first key */
    int64_t strips, of_head;           /* all, and those of one head */
    int64_t q_bytes, sum_floats;       /* of one strip */
    uint8_t *q;                        /* [strips] packed */
    uint8_t *k, *v;                    /* of a block of keys, packed */
    float *clean;                      /* [keys, dim] v, where something in it is no number */
    const float *odd;                  /* v itself then, or NULL */
    float *scores;                     /* [keys, DK_STRIP] */
    uint8_t *weights;                  /* the same, packed */
    float *sums;                       /* [strips][dim, DK_STRIP] */
    float *highest, *partition, *fade; /* [strips, DK_STRIP] */
    int32_t *positions;                /* [strips, DK_STRIP] */
} task;

static int64_t lay_out(task *t, int64_t strips, uint8_t *scratch)
{
    dk_block_memory at = {scratch, 0};
    const dk_micro *micro = t->micro;
    int64_t dim = t->work->dim, lanes = strips * DK_STRIP * (int64_t)sizeof(float);
    t->q_bytes = dk_block_b_bytes(micro, DK_STRIP, dim);
    t->sum_floats = dk_block_up(dim, micro->rows) * DK_STRIP;
    t->q = dk_block_take(&at, strips * t->q_bytes);
    t->k = dk_block_take(&at, dk_block_a_bytes(micro, KEYS, dim));
    t->v = dk_block_take(&at, dk_block_a_bytes(micro, dim, KEYS));
    t->clean = dk_block_take(&at, KEYS * dim * (int64_t)sizeof(float));
    t->scores = dk_block_take(&at, dk_block_up(KEYS, micro->rows) * DK_STRIP * (int64_t)sizeof(float));
    t->weights = dk_block_take(&at, dk_block_b_bytes(micro, DK_STRIP, KEYS));
    t->sums = dk_block_take(&at, strips * t->sum_floats * (int64_t)sizeof(float));
    t->highest = dk_block_take(&at, lanes);
    t->partition = dk_block_take(&at, lanes);
    t->fade = dk_block_take(&at, lanes);
    t->positions = dk_block_take(&at, lanes);
    return at.used;
}

int64_t dk_attention_scratch(const dk_attention_work *work)
{
    task t = {.work = work, .micro = work->micro};
    return lay_out(&t, work->group * (work->block / DK_STRIP), NULL);
}

static int64_t head_of(const task *t, int64_t strip) { return t->head + strip / t->of_head; }
static int64_t first_of(const task *t, int64_t strip) { return strip % t->of_head * DK_STRIP; }
static int64_t rows_of(const task *t, int64_t strip)
{
    int64_t left = t->rows - first_of(t, strip);
    return left < DK_STRIP ? left : DK_STRIP;
}

static void begin(const task *t)
{
    const dk_view *q = t->work->q;
    for (int64_t s = 0; s < t->strips; s++) {
        int64_t first = first_of(t, s), rows = rows_of(t, s);
        dk_operand lines = dk_block_operand(dk_attention_at(q, t->row + first, head_of(t, s)), q->stride[0], rows, 0);
        dk_block_pack_b(t->micro, &lines, DK_STRIP, t->work->dim, t->q + s * t->q_bytes);
        for (int64_t i = s * DK_STRIP, r = 0; r < DK_STRIP; i++, r++) {
            t->positions[i] = (int32_t)(t->position + first + (r < rows ? r : rows - 1));
            t->highest[i] = LOWEST;
            t->partition[i] = 0;
        }
    }
    memset(t->sums, 0, (size_t)(t->strips * t->sum_floats) * sizeof *t->sums);
}

static void add_keys(const task *t, int64_t strip, int64_t key, int64_t keys)
{
    const dk_attention_args *args = t->work->args;
    int64_t window = dk_window_of(args), first = t->position + first_of(t, strip), last = first + rows_of(t, strip) - 1,
            lanes = strip * DK_STRIP, panels = DK_STRIP / t->micro->columns;
    if (key > last || (window > 0 && key + keys <= first - window + 1)) return;
    dk_block_product scores = {.micro = t->micro,
                               .a = t->k,
                               .b = t->q + strip * t->q_bytes,
                               .m = keys,
                               .panels = panels,
                               .k = t->work->dim,
                               .b_step = dk_block_panel_bytes(t->micro, t->work->dim),
                               .c = t->scores,
                               .c_step = DK_STRIP};
    dk_attention_strip of = {.scores = t->scores,
                             .step = DK_STRIP,
                             .keys = keys,
                             .lanes = DK_STRIP,
                             .key = key,
                             .window = window,
                             .positions = t->positions + lanes,
                             .masked = key + keys - 1 > first || (window > 0 && key <= last - window),
                             .scale = (float)args->scale,
                             .softcap = (float)args->softcap,
                             .pairs = t->micro->pairs ? (uint32_t *)(void *)t->weights : NULL,
                             .k = dk_block_up(keys, t->micro->group)};
    dk_operand weights = dk_block_operand(t->scores, DK_STRIP, DK_STRIP, 1);
    dk_block_product values = {.micro = t->micro,
                               .a = t->v,
                               .b = t->weights,
                               .m = t->work->dim,
                               .panels = panels,
                               .k = keys,
                               .b_step = dk_block_panel_bytes(t->micro, keys),
                               .c = t->sums + strip * t->sum_floats,
                               .c_step = DK_STRIP,
                               .add = 1};
    dk_block_multiply(&scores);
    if (t->kernels->attention_weigh(&of, t->highest + lanes, t->partition + lanes, t->fade + lanes))
        t->kernels->attention_fade(values.c, t->work->dim, t->fade + lanes);
    if (!of.pairs) dk_block_pack_b(t->micro, &weights, DK_STRIP, keys, t->weights);
    dk_block_multiply(&values);
    if (t->odd) t->kernels->attention_odd(&of, t->odd, t->work->v->stride[0], t->work->dim, values.c);
}

/* A query of the task does not see all of them. */
static int32_t hides(const task *t, int64_t key, int64_t keys)
{
    const int64_t window = dk_window_of(t->work->args), last = t->position + t->rows - 1;
    return key + keys - 1 > t->position || (window > 0 && key <= last - window);
}

static void pack_keys(task *t, int64_t key, int64_t keys)
{
    const dk_view *k = t->work->k, *v = t->work->v;
    const float *values = dk_attention_at(v, t->key + key, t->kv_head);
    dk_operand k_lines = dk_block_operand(dk_attention_at(k, t->key + key, t->kv_head), k->stride[0], keys, 0),
               v_lines = dk_block_operand(values, v->stride[0], t->work->dim, 1);
    t->odd = NULL;
    if (hides(t, key, keys) && t->kernels->attention_clean(values, v->stride[0], keys, t->work->dim, t->clean)) {
        t->odd = values;
        v_lines = dk_block_operand(t->clean, t->work->dim, t->work->dim, 1);
    }
    dk_block_pack_a(t->micro, &k_lines, t->work->dim, t->k);
    dk_block_pack_a(t->micro, &v_lines, keys, t->v);
}

static void finish(const task *t)
{
    const dk_view *y = t->work->y, *lse = t->work->lse;
    for (int64_t s = 0; s < t->strips; s++) {
        int64_t row = t->row + first_of(t, s), head = head_of(t, s), lanes = s * DK_STRIP, rows = rows_of(t, s);
        float *sums = t->sums + s * t->sum_floats;
        for (int64_t r = 0; r < DK_STRIP; r++) t->fade[lanes + r] = r < rows ? 1 / t->partition[lanes + r] : 0;
        t->kernels->attention_fade(sums, t->work->dim, t->fade + lanes);
        t->kernels->turn(sums, DK_STRIP, t->work->dim, rows, dk_attention_at(y, row, head), y->stride[0]);
        for (int64_t r = 0; lse->buffer && r < rows; r++)
            *dk_attention_at(lse, row + r, head) = t->highest[lanes + r] + logf(t->partition[lanes + r]);
    }
}

void dk_attention_attend(const dk_attention_work *work, int64_t s, int64_t kv_head, int64_t number, uint8_t *scratch)
{
    const dk_attention_args *args = work->args;
    int64_t start = args->query_offsets[s], rows = args->query_offsets[s + 1] - start, first = number * work->block;
    if (first >= rows) return;
    int64_t keys = args->key_count ? args->key_count[s] : rows, window = dk_window_of(args);
    task t = {.work = work,
              .micro = work->micro,
              .kernels = dk_kernels_of(work->queue),
              .row = start + first,
              .head = kv_head * work->group,
              .rows = rows - first < work->block ? rows - first : work->block,
              .position = keys - rows + first,
              .kv_head = kv_head,
              .key = args->key_first ? args->key_first[s] : start};
    t.of_head = (t.rows + DK_STRIP - 1) / DK_STRIP;
    t.strips = work->group * t.of_head;
    (void)lay_out(&t, t.strips, scratch);
    if (t.micro->begin) t.micro->begin();
    begin(&t);
    int64_t last = t.position + t.rows - 1, key = window > 0 && t.position >= window ? t.position - window + 1 : 0;
    for (key -= key % KEYS; key <= last; key += KEYS) {
        int64_t count = last - key + 1 < KEYS ? last - key + 1 : KEYS;
        pack_keys(&t, key, count);
        for (int64_t strip = 0; strip < t.strips; strip++) add_keys(&t, strip, key, count);
    }
    finish(&t);
    if (t.micro->end) t.micro->end();
}
