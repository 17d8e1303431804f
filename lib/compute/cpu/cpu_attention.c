#include "compute/cpu/cpu.h"

#define WINDOW_MAX (INT64_C(1) << 30)

/* Tasks of all sequences in one row: task t of sequence s is (key head, block of queries), blocks varying fastest. */
typedef struct attention_work {
    dk_queue *queue;
    const dk_attention_args *args;
    const dk_view *q, *k, *v, *y, *lse, *dy, *dq, *dk, *dv;
    int64_t kv_heads, group, dim, block, scratch; /* block: queries; scratch: bytes */
    int64_t longest;                              /* blocks of the longest sequence: every sequence is given as many */
    _Atomic int32_t failed;
} attention_work;

static float *at(const dk_view *view, int64_t row, int64_t head)
{
    return (float *)dk_buffer_map(*view) + row * view->stride[0] + head * view->stride[1];
}

static const float *keys_at(const dk_view *view, int64_t row, int64_t head) /* F32 or BF16 */
{
    int64_t element = row * view->stride[0] + head * view->stride[1];
    return (const float *)(const void *)((const uint8_t *)dk_buffer_map(*view) + dk_dtype_bytes(view->dtype, element));
}

static int64_t window_of(const dk_attention_args *args)
{
    return args->window < WINDOW_MAX ? args->window : 0; /* longer than any sequence: none */
}

static void attend(const attention_work *w, int64_t s, int64_t kv_head, int64_t number, float *scratch)
{
    const dk_attention_args *args = w->args;
    int64_t begin = args->query_offsets[s], rows = args->query_offsets[s + 1] - begin, first = number * w->block;
    if (first >= rows) return;
    int64_t key = args->key_pages   ? 0
                  : args->key_first ? args->key_first[s]
                                    : begin,
            keys = args->key_count ? args->key_count[s] : rows;
    int64_t row = begin + first, head = kv_head * w->group;
    dk_attention_block block = {
        .q = at(w->q, row, head),
        .q_row = w->q->stride[0],
        .q_head = w->q->stride[1],
        .k = keys_at(w->k, key, kv_head),
        .k_row = w->k->stride[0],
        .v = keys_at(w->v, key, kv_head),
        .v_row = w->v->stride[0],
        .pages = args->key_pages ? args->key_pages[s] : NULL,
        .halves = w->k->dtype == DK_BF16,
        .y = at(w->y, row, head),
        .y_row = w->y->stride[0],
        .y_head = w->y->stride[1],
        .lse = w->lse->buffer ? at(w->lse, row, head) : NULL,
        .lse_row = w->lse->stride[0],
        .lse_head = w->lse->stride[1],
        .group = w->group,
        .rows = rows - first < w->block ? rows - first : w->block,
        .dim = w->dim,
        .position = keys - rows + first,
        .window = window_of(args),
        .scale = (float)args->scale,
        .softcap = (float)args->softcap,
        .scratch = scratch,
    };
    dk_kernels_of(w->queue)->attention(&block);
}

static void attention_body(void *context, int64_t begin, int64_t end)
{
    attention_work *w = context;
    dk_scratch *workers = &dk_cpu_of(w->queue)->workers;
    float *scratch = dk_scratch_take(workers, w->scratch);
    for (int64_t t = begin; scratch && t < end; t++)
        attend(w, t / w->longest / w->kv_heads, t / w->longest % w->kv_heads, t % w->longest, scratch);
    if (!scratch) w->failed = 1;
    dk_scratch_give(workers, scratch);
}

static void attention_run(attention_work *w, const char *op, int64_t tasks, dk_body_fn body)
{
    dk_host *host = w->queue->backend->host;
    w->failed = !dk_scratch_prepare(&dk_cpu_of(w->queue)->workers, dk_host_threads(host), w->scratch);
    if (!w->failed) dk_parallel_for(host, tasks, 1, body, w);
    if (w->failed) dk_cpu_no_memory(w->queue, op, w->scratch);
}

static int64_t longest_of(const dk_attention_args *args)
{
    int64_t longest = 0;
    for (int64_t s = 0; s < args->sequences; s++) {
        int64_t rows = args->query_offsets[s + 1] - args->query_offsets[s];
        if (rows > longest) longest = rows;
    }
    return longest;
}

static void op_attention(dk_queue *queue, const dk_attention_args *args, dk_view q, dk_view k, dk_view v, dk_view y,
                         dk_view lse)
{
    if (!dk_check_attention(queue, args, &q, &k, &v, &y, &lse)) return;
    const dk_kernels *kernels = dk_kernels_of(queue);
    attention_work work = {.queue = queue,
                           .args = args,
                           .q = &q,
                           .k = &k,
                           .v = &v,
                           .y = &y,
                           .lse = &lse,
                           .kv_heads = k.shape[1],
                           .group = q.shape[1] / k.shape[1],
                           .dim = q.shape[2]};
    work.block = kernels->attention_rows(work.group);
    work.scratch = kernels->attention_scratch(work.group, work.dim) * (int64_t)sizeof(float);
    work.longest = (longest_of(args) + work.block - 1) / work.block;
    attention_run(&work, "attention", args->sequences * work.kv_heads * work.longest, attention_body);
}

static void attend_backward(const attention_work *w, int64_t s, int64_t kv_head, float *scratch)
{
    const dk_attention_args *args = w->args;
    int64_t row = args->query_offsets[s], head = kv_head * w->group;
    dk_attention_gradient work = {
        .q = at(w->q, row, head),
        .q_row = w->q->stride[0],
        .q_head = w->q->stride[1],
        .k = at(w->k, row, kv_head),
        .k_row = w->k->stride[0],
        .v = at(w->v, row, kv_head),
        .v_row = w->v->stride[0],
        .y = at(w->y, row, head),
        .y_row = w->y->stride[0],
        .y_head = w->y->stride[1],
        .lse = at(w->lse, row, head),
        .lse_row = w->lse->stride[0],
        .lse_head = w->lse->stride[1],
        .dy = at(w->dy, row, head),
        .dy_row = w->dy->stride[0],
        .dy_head = w->dy->stride[1],
        .dq = at(w->dq, row, head),
        .dq_row = w->dq->stride[0],
        .dq_head = w->dq->stride[1],
        .dk = at(w->dk, row, kv_head),
        .dk_row = w->dk->stride[0],
        .dv = at(w->dv, row, kv_head),
        .dv_row = w->dv->stride[0],
        .group = w->group,
        .rows = args->query_offsets[s + 1] - row,
        .dim = w->dim,
        .window = window_of(args),
        .scale = (float)args->scale,
        .softcap = (float)args->softcap,
        .scratch = scratch,
    };
    dk_kernels_of(w->queue)->attention_backward(&work);
}

static void attention_backward_body(void *context, int64_t begin, int64_t end)
{
    attention_work *w = context;
    dk_scratch *workers = &dk_cpu_of(w->queue)->workers;
    float *scratch = dk_scratch_take(workers, w->scratch);
    for (int64_t t = begin; scratch && t < end; t++) attend_backward(w, t / w->kv_heads, t % w->kv_heads, scratch);
    if (!scratch) w->failed = 1;
    dk_scratch_give(workers, scratch);
}

static void op_attention_backward(dk_queue *queue, const dk_attention_args *args, dk_view q, dk_view k, dk_view v,
                                  dk_view y, dk_view lse, dk_view dy, dk_view dq, dk_view dk, dk_view dv)
{
    if (!dk_check_attention_backward(queue, args, &q, &k, &v, &y, &lse, &dy, &dq, &dk, &dv)) return;
    attention_work work = {.queue = queue,
                           .args = args,
                           .q = &q,
                           .k = &k,
                           .v = &v,
                           .y = &y,
                           .lse = &lse,
                           .dy = &dy,
                           .dq = &dq,
                           .dk = &dk,
                           .dv = &dv,
                           .kv_heads = k.shape[1],
                           .group = q.shape[1] / k.shape[1],
                           .dim = q.shape[2]};
    work.scratch = dk_kernels_of(queue)->attention_backward_scratch(work.dim) * (int64_t)sizeof(float);
    attention_run(&work, "attention_backward", args->sequences * work.kv_heads, attention_backward_body);
}

void dk_cpu_fill_attention(dk_ops *ops)
{
    ops->attention = op_attention;
    ops->attention_backward = op_attention_backward;
}
