/* cpu_attention.c - the attention ops: tasks of all sequences in one row. Task t of sequence s is (key head, block of
 * queries), blocks varying fastest; few queries against many keys are cut along the keys as well. In full precision,
 * and against pages, each block is the row kernel's, whose bits a query has alone as well (kernel_attention.c); in BF16
 * and backward it goes through the micro-kernels of products (attention_forward.c, attention_gradient.c). */
#include "compute/cpu/attention_blocks.h"

static const float *keys_at(const dk_view *view, int64_t row, int64_t head) /* F32 or BF16 */
{
    int64_t element = row * view->stride[0] + head * view->stride[1];
    return (const float *)(const void *)((const uint8_t *)dk_buffer_map(*view) + dk_dtype_bytes(view->dtype, element));
}

/* Of a sequence with rows from `first` on. */
static dk_attention_block block_of(const dk_attention_work *w, int64_t s, int64_t kv_head, int64_t first,
                                   uint8_t *scratch)
{
    const dk_attention_args *args = w->args;
    int64_t begin = args->query_offsets[s], rows = args->query_offsets[s + 1] - begin;
    int64_t key = args->key_pages   ? 0
                  : args->key_first ? args->key_first[s]
                                    : begin,
            keys = args->key_count ? args->key_count[s] : rows;
    int64_t row = begin + first, head = kv_head * w->group;
    return (dk_attention_block){
        .q = dk_attention_at(w->q, row, head),
        .q_row = w->q->stride[0],
        .q_head = w->q->stride[1],
        .k = keys_at(w->k, key, kv_head),
        .k_row = w->k->stride[0],
        .v = keys_at(w->v, key, kv_head),
        .v_row = w->v->stride[0],
        .pages = args->key_pages ? args->key_pages[s] : NULL,
        .halves = w->k->dtype == DK_BF16,
        .y = dk_attention_at(w->y, row, head),
        .y_row = w->y->stride[0],
        .y_head = w->y->stride[1],
        .lse = w->lse->buffer ? dk_attention_at(w->lse, row, head) : NULL,
        .lse_row = w->lse->stride[0],
        .lse_head = w->lse->stride[1],
        .group = w->group,
        .rows = rows - first < w->block ? rows - first : w->block,
        .dim = w->dim,
        .position = keys - rows + first,
        .window = dk_window_of(args),
        .scale = (float)args->scale,
        .softcap = (float)args->softcap,
        .scratch = (float *)(void *)scratch,
    };
}

static void attend_rows(const dk_attention_work *w, int64_t s, int64_t kv_head, int64_t number, uint8_t *scratch)
{
    const int64_t first = number * w->block;
    if (first >= w->args->query_offsets[s + 1] - w->args->query_offsets[s]) return;
    const dk_attention_block block = block_of(w, s, kv_head, first, scratch);
    dk_kernels_of(w->queue)->attention(&block);
}

static void attention_body(void *context, int64_t begin, int64_t end)
{
    dk_attention_work *w = context;
    dk_scratch *workers = &dk_cpu_of(w->queue)->workers;
    uint8_t *scratch = dk_scratch_take(workers, w->scratch);
    for (int64_t t = begin; scratch && t < end; t++)
        (w->micro ? dk_attention_attend : attend_rows)(w, t / w->longest / w->kv_heads, t / w->longest % w->kv_heads,
                                                       t % w->longest, scratch);
    if (!scratch) w->failed = 1;
    dk_scratch_give(workers, scratch);
}

/* ---- few queries against many keys: a task is (sequence, key head, piece of keys) ---- */
static float *parts_of(const dk_attention_work *w, int64_t head) /* s * kv_heads + kv_head */
{
    return w->parts + head * w->pieces * w->group * DK_ATTENTION_PART(w->dim);
}

static int64_t pieces_of(const dk_attention_work *w, int64_t s)
{
    return (w->args->key_count[s] + DK_KEYS_PIECE - 1) / DK_KEYS_PIECE;
}

static void pieces_body(void *context, int64_t begin, int64_t end)
{
    dk_attention_work *w = context;
    dk_scratch *workers = &dk_cpu_of(w->queue)->workers;
    uint8_t *scratch = dk_scratch_take(workers, w->scratch);
    for (int64_t t = begin; scratch && t < end; t++) {
        const int64_t head = t / w->pieces, s = head / w->kv_heads, piece = t % w->pieces;
        if (piece >= pieces_of(w, s)) continue;
        dk_attention_block block = block_of(w, s, head % w->kv_heads, 0, scratch);
        block.part = parts_of(w, head) + piece * w->group * DK_ATTENTION_PART(w->dim);
        block.piece = piece;
        dk_kernels_of(w->queue)->attention(&block);
    }
    if (!scratch) w->failed = 1;
    dk_scratch_give(workers, scratch);
}

static void join_body(void *context, int64_t begin, int64_t end)
{
    dk_attention_work *w = context;
    for (int64_t head = begin; head < end; head++) {
        dk_attention_block block = block_of(w, head / w->kv_heads, head % w->kv_heads, 0, NULL);
        block.part = parts_of(w, head);
        dk_kernels_of(w->queue)->attention_join(&block, pieces_of(w, head / w->kv_heads));
    }
}

/* Only where there would be too few tasks for all threads: it changes no bit. */
static int64_t count_pieces(const dk_attention_work *w)
{
    enum { TASKS = 4 }; /* for each thread: the last ones end at about the same time then */
    const dk_attention_args *args = w->args;
    int64_t most = 0;
    if (!args->key_count || args->sequences * w->kv_heads >= TASKS * dk_host_threads(w->queue->backend->host)) return 0;
    for (int64_t s = 0; s < args->sequences; s++) {
        const int64_t pieces = pieces_of(w, s);
        if (args->query_offsets[s + 1] - args->query_offsets[s] != 1) return 0;
        most = pieces > most ? pieces : most;
    }
    return most > 1 ? most : 0;
}

static void attend_pieces(dk_attention_work *w, const char *op)
{
    dk_host *host = w->queue->backend->host;
    dk_cpu *cpu = dk_cpu_of(w->queue);
    const int64_t heads = w->args->sequences * w->kv_heads,
                  bytes = heads * w->pieces * w->group * DK_ATTENTION_PART(w->dim) * (int64_t)sizeof(float);
    w->parts = dk_scratch_take(&cpu->callers, bytes);
    w->failed = !w->parts || !dk_scratch_prepare(&cpu->workers, dk_host_threads(host), w->scratch);
    if (!w->failed) dk_parallel_for(host, heads * w->pieces, 1, pieces_body, w);
    if (!w->failed) dk_parallel_for(host, heads, dk_cpu_grain(w->pieces * w->group * w->dim), join_body, w);
    if (w->failed) dk_cpu_no_memory(w->queue, op, w->parts ? w->scratch : bytes);
    dk_scratch_give(&cpu->callers, w->parts);
}

static void attention_run(dk_attention_work *w, const char *op, int64_t tasks, dk_body_fn body)
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

/* Of the products that the backend was told to take; beside CBLAS, of its row kernels' instructions. NULL = the queue
 * was told why not. */
static const dk_micro *micro_of(dk_queue *queue, dk_precision precision)
{
    const dk_cpu *cpu = dk_cpu_of(queue);
    const dk_product_set *set = cpu->products;
    int32_t isa = queue->backend->isa, rc = DK_OK;
    dk_error err;
    if (set) rc = dk_product_allowed(&set, cpu->by_name, isa, &err);
    if (rc) dk_queue_fail(queue, rc, "%s", err.message);
    if (!set) set = dk_product_beside(isa);
    return rc ? NULL : set->micro[precision];
}

static dk_attention_work work_of(dk_queue *queue, const dk_attention_args *args, const dk_view *q, const dk_view *k,
                                 const dk_view *v, const dk_view *y, const dk_view *lse)
{
    return (dk_attention_work){.queue = queue,
                               .args = args,
                               .q = q,
                               .k = k,
                               .v = v,
                               .y = y,
                               .lse = lse,
                               .kv_heads = k->shape[1],
                               .group = q->shape[1] / k->shape[1],
                               .dim = q->shape[2]};
}

static void op_attention(dk_queue *queue, const dk_attention_args *args, dk_view q, dk_view k, dk_view v, dk_view y,
                         dk_view lse)
{
    if (!dk_check_attention(queue, args, &q, &k, &v, &y, &lse)) return;
    const dk_kernels *kernels = dk_kernels_of(queue);
    dk_attention_work work = work_of(queue, args, &q, &k, &v, &y, &lse);
    if (args->precision == DK_PRECISION_BF16 && !args->key_pages) {
        work.micro = micro_of(queue, args->precision);
        if (!work.micro) return;
    }
    work.block = work.micro ? dk_attention_rows(work.group) : kernels->attention_rows(work.group);
    work.scratch = work.micro ? dk_attention_scratch(&work)
                              : kernels->attention_scratch(work.group, work.dim) * (int64_t)sizeof(float);
    work.longest = (longest_of(args) + work.block - 1) / work.block;
    work.pieces = work.micro ? 0 : count_pieces(&work);
    if (work.pieces) attend_pieces(&work, "attention");
    else attention_run(&work, "attention", args->sequences * work.kv_heads * work.longest, attention_body);
}

static void attention_backward_body(void *context, int64_t begin, int64_t end)
{
    dk_attention_work *w = context;
    dk_scratch *workers = &dk_cpu_of(w->queue)->workers;
    uint8_t *scratch = dk_scratch_take(workers, w->scratch);
    for (int64_t t = begin; scratch && t < end; t++)
        dk_attention_gradient(w, t / w->kv_heads, t % w->kv_heads, scratch);
    if (!scratch) w->failed = 1;
    dk_scratch_give(workers, scratch);
}

static void op_attention_backward(dk_queue *queue, const dk_attention_args *args, dk_view q, dk_view k, dk_view v,
                                  dk_view y, dk_view lse, dk_view dy, dk_view dq, dk_view dk, dk_view dv)
{
    if (!dk_check_attention_backward(queue, args, &q, &k, &v, &y, &lse, &dy, &dq, &dk, &dv)) return;
    dk_attention_work work = work_of(queue, args, &q, &k, &v, &y, &lse);
    work.dy = &dy;
    work.dq = &dq;
    work.dk = &dk;
    work.dv = &dv;
    work.micro = micro_of(queue, args->precision);
    if (!work.micro) return;
    work.longest = longest_of(args);
    work.scratch = dk_attention_gradient_scratch(&work);
    attention_run(&work, "attention_backward", args->sequences * work.kv_heads, attention_backward_body);
}

void dk_cpu_fill_attention(dk_ops *ops)
{
    ops->attention = op_attention;
    ops->attention_backward = op_attention_backward;
}
