/* reference_attention.inc.h - causal attention over ragged sequences, one query and one key at a time. */

typedef struct
    span { /* what one query row of a sequence sees: keys first..last, which begin at row `key` or lie in pages */
    int64_t first, last, key;
    const int32_t *pages;
} span;

static int64_t key_row(const span *seen, int64_t key)
{
    return seen->pages ? seen->pages[key / DK_PAGE] * DK_PAGE + key % DK_PAGE : seen->key + key;
}

static span visible(const dk_attention_args *args, int64_t s, int64_t row)
{
    int64_t begin = args->query_offsets[s], end = args->query_offsets[s + 1];
    int64_t key = args->key_first ? args->key_first[s] : begin,
            keys = args->key_count ? args->key_count[s] : end - begin;
    int64_t position = row - begin + keys - (end - begin);
    int64_t low = args->window > 0 && position >= args->window ? position - args->window + 1 : 0;
    return (span){low, position, key, args->key_pages ? args->key_pages[s] : NULL};
}

static REAL dot(const dk_view *a, int64_t row_a, const dk_view *b, int64_t row_b)
{
    REAL sum = 0;
    for (int64_t d = 0; d < width_of(a); d++) sum += get(a, row_a, d) * get(b, row_b, d);
    return sum;
}

static REAL score(const dk_attention_args *args, const dk_view *q, int64_t query, const dk_view *k, int64_t key)
{
    REAL s = (REAL)args->scale * dot(q, query, k, key), cap = (REAL)args->softcap;
    return cap > 0 ? cap * tanh(s / cap) : s;
}

/* query and key rows below count heads: row*heads + head. */
static void attend(const dk_attention_args *args, const dk_view *q, const dk_view *k, const dk_view *v,
                   const dk_view *y, const dk_view *lse, int64_t query, span seen, int64_t head)
{
    int64_t kv_heads = k->shape[1];
    REAL highest = -(REAL)INFINITY, sum = 0;
    for (int64_t j = seen.first; j <= seen.last; j++)
        highest = fmax(highest, score(args, q, query, k, key_row(&seen, j) * kv_heads + head));
    for (int64_t d = 0; d < width_of(y); d++) put(y, query, d, 0);
    for (int64_t j = seen.first; j <= seen.last; j++) {
        int64_t key = key_row(&seen, j) * kv_heads + head;
        REAL weight = exp(score(args, q, query, k, key) - highest);
        sum += weight;
        for (int64_t d = 0; d < width_of(y); d++) add_to(y, query, d, weight * get(v, key, d));
    }
    for (int64_t d = 0; d < width_of(y); d++) put(y, query, d, get(y, query, d) / sum);
    if (lse->buffer) put(lse, query / q->shape[1], query % q->shape[1], highest + log(sum));
}

static void op_attention(dk_queue *queue, const dk_attention_args *args, dk_view q, dk_view k, dk_view v, dk_view y,
                         dk_view lse)
{
    if (!dk_check_attention(queue, args, &q, &k, &v, &y, &lse)) return;
    int64_t heads = q.shape[1], group = heads / k.shape[1];
    for (int64_t s = 0; s < args->sequences; s++)
        for (int64_t row = args->query_offsets[s]; row < args->query_offsets[s + 1]; row++)
            for (int64_t h = 0; h < heads; h++)
                attend(args, &q, &k, &v, &y, &lse, row * heads + h, visible(args, s, row), h / group);
}

/* dS = P*(dP - dO.O) (Dao et al. 2022), through the soft-cap, then into q and k. */
static void attend_backward(const dk_attention_args *args, const dk_view *in, const dk_view *lse, const dk_view *dy,
                            const dk_view *out, int64_t query, span seen, int64_t head)
{
    const dk_view *q = &in[0], *k = &in[1], *v = &in[2], *y = &in[3];
    REAL partition = get(lse, query / q->shape[1], query % q->shape[1]), delta = dot(dy, query, y, query),
         cap = (REAL)args->softcap;
    for (int64_t j = seen.first; j <= seen.last; j++) {
        int64_t key = key_row(&seen, j) * k->shape[1] + head;
        REAL s = score(args, q, query, k, key), p = exp(s - partition);
        REAL ds = p * (dot(dy, query, v, key) - delta) * (cap > 0 ? 1 - s / cap * (s / cap) : 1) * (REAL)args->scale;
        for (int64_t d = 0; d < width_of(q); d++) {
            add_to(&out[0], query, d, ds * get(k, key, d));
            add_to(&out[1], key, d, ds * get(q, query, d));
            add_to(&out[2], key, d, p * get(dy, query, d));
        }
    }
}

static void op_attention_backward(dk_queue *queue, const dk_attention_args *args, dk_view q, dk_view k, dk_view v,
                                  dk_view y, dk_view lse, dk_view dy, dk_view dq, dk_view dk, dk_view dv)
{
    if (!dk_check_attention_backward(queue, args, &q, &k, &v, &y, &lse, &dy, &dq, &dk, &dv)) return;
    const dk_view in[4] = {q, k, v, y}, out[3] = {dq, dk, dv};
    int64_t heads = q.shape[1], group = heads / k.shape[1];
    for (int64_t s = 0; s < args->sequences; s++) {
        int64_t begin = args->query_offsets[s], end = args->query_offsets[s + 1];
        for (int32_t i = 0; i < 3; i++) op_fill(queue, dk_view_rows(out[i], begin, end - begin), 0);
        for (int64_t row = begin; row < end; row++)
            for (int64_t h = 0; h < heads; h++)
                attend_backward(args, in, &lse, &dy, out, row * heads + h, visible(args, s, row), h / group);
    }
}

static void fill_attention(dk_ops *ops)
{
    ops->attention = op_attention;
    ops->attention_backward = op_attention_backward;
}
