#include "compute/check.h"

#include <math.h>

#include "compute/buffer.h"

int32_t dk_check_pair(dk_queue *queue, const char *op, const dk_view *x, const dk_view *y)
{
    dk_check c = dk_check_begin(queue, op);
    dk_check_view(&c, "x", x, dk_check_real(&c), 1, 3);
    dk_check_view(&c, "y", y, dk_check_real(&c), 1, 3);
    dk_check_shape(&c, "y", y, x);
    return c.ok;
}

/* The dtype of blocks, which may be copied, else nothing. */
static uint64_t same_blocks(const dk_view *x)
{
    const dk_dtype_info *type = dk_dtype_find(x->dtype);
    return type && type->block > 1 ? DK_TYPE(x->dtype) : 0;
}

int32_t dk_check_convert(dk_queue *queue, const dk_view *x, const dk_view *y)
{
    dk_check c = dk_check_begin(queue, "convert");
    dk_check_view(&c, "x", x, dk_check_stored(&c) | DK_STRIDED, 1, 3);
    dk_check_view(&c, "y", y, DK_TYPES_FLOAT | same_blocks(x) | DK_STRIDED, 1, 3);
    dk_check_shape(&c, "y", y, x);
    dk_check_that(&c, !same_blocks(x) || y->shape[y->rank - 1] < 2 || y->stride[y->rank - 1] == 1,
                  "blocks become rows without gaps");
    return c.ok;
}

int32_t dk_check_fill(dk_queue *queue, const dk_view *y)
{
    dk_check c = dk_check_begin(queue, "fill");
    dk_check_view(&c, "y", y, DK_TYPES_FLOAT, 1, 3);
    return c.ok;
}

int32_t dk_check_scale(dk_queue *queue, const dk_view *y)
{
    dk_check c = dk_check_begin(queue, "scale");
    dk_check_view(&c, "y", y, dk_check_real(&c), 1, 3);
    return c.ok;
}

int32_t dk_check_add(dk_queue *queue, const dk_view *a, const dk_view *b, const dk_view *y)
{
    dk_check c = dk_check_begin(queue, "add");
    dk_check_view(&c, "a", a, dk_check_real(&c), 1, 3);
    dk_check_view(&c, "b", b, dk_check_real(&c), 1, 3);
    dk_check_view(&c, "y", y, dk_check_real(&c), 1, 3);
    dk_check_shape(&c, "b", b, a);
    dk_check_shape(&c, "y", y, a);
    return c.ok;
}

/* Entries of an I32 view are in [0, bound); the message names the first that is not. */
static void check_ids(dk_check *c, const char *name, const dk_view *ids, int64_t bound)
{
    if (!c->ok) return;
    const int32_t *id = dk_buffer_map(*ids);
    for (int64_t i = 0; i < ids->shape[0]; i++) {
        int64_t value = id[i * ids->stride[0]];
        if (value >= 0 && value < bound) continue;
        dk_queue_fail(c->queue, DK_E_INVALID, "%s: %s[%lld] is %lld, not in [0, %lld)", c->op, name, (long long)i,
                      (long long)value, (long long)bound);
        c->ok = 0;
        return;
    }
}

static void check_index(dk_check *c, const char *name, const dk_view *ids, int64_t count, int64_t bound)
{
    dk_check_view(c, name, ids, DK_TYPE(DK_I32) | DK_STRIDED, 1, 1);
    dk_check_dim(c, name, ids, 0, count);
    check_ids(c, name, ids, bound);
}

int32_t dk_check_embed(dk_queue *queue, const dk_view *table, const dk_view *ids, const dk_view *y)
{
    dk_check c = dk_check_begin(queue, "embed");
    dk_check_view(&c, "table", table, dk_check_stored(&c), 2, 2);
    dk_check_view(&c, "y", y, dk_check_real(&c), 2, 2);
    dk_check_dim(&c, "y", y, 1, table->shape[1]);
    check_index(&c, "ids", ids, y->shape[0], table->shape[0]);
    return c.ok;
}

int32_t dk_check_embed_backward(dk_queue *queue, const dk_view *gradient, const dk_view *ids, const dk_view *dy)
{
    dk_check c = dk_check_begin(queue, "embed_backward");
    dk_check_view(&c, "gradient", gradient, dk_check_real(&c), 2, 2);
    dk_check_view(&c, "dy", dy, dk_check_real(&c), 2, 2);
    dk_check_dim(&c, "dy", dy, 1, gradient->shape[1]);
    check_index(&c, "ids", ids, dy->shape[0], gradient->shape[0]);
    return c.ok;
}

int32_t dk_check_move_rows(dk_queue *queue, const char *op, const dk_view *x, const dk_view *rows, const dk_view *y,
                           int32_t scatter, int32_t add)
{
    dk_check c = dk_check_begin(queue, op);
    uint64_t types = add ? dk_check_real(&c) : DK_TYPES_ANY;
    const dk_view *listed = scatter ? x : y, *whole = scatter ? y : x;
    dk_check_view(&c, "x", x, types, 2, 2);
    dk_check_view(&c, "y", y, types, 2, 2);
    dk_check_that(&c, x->dtype == y->dtype, "x and y have different dtypes");
    dk_check_dim(&c, "y", y, 1, x->shape[1]);
    check_index(&c, "rows", rows, listed->shape[0], whole->shape[0]);
    return c.ok;
}

int32_t dk_check_route(dk_queue *queue, const dk_view *logits, const dk_view *chosen, const dk_view *weights)
{
    dk_check c = dk_check_begin(queue, "route");
    dk_check_view(&c, "logits", logits, dk_check_real(&c), 2, 2);
    dk_check_view(&c, "weights", weights, dk_check_real(&c), 2, 2);
    dk_check_view(&c, "chosen", chosen, DK_TYPE(DK_I32), 2, 2);
    dk_check_shape(&c, "chosen", chosen, weights);
    dk_check_dim(&c, "weights", weights, 0, logits->shape[0]);
    dk_check_that(&c, weights->shape[1] >= 1 && weights->shape[1] <= logits->shape[1],
                  "none or more are chosen than there are");
    dk_check_that(&c, logits->shape[1] <= INT32_MAX, "more columns than an id can name");
    return c.ok;
}

int32_t dk_check_scatter_weighted(dk_queue *queue, const dk_view *x, const dk_view *rows, const dk_view *weights,
                                  const dk_view *y)
{
    dk_check c = dk_check_begin(queue, "scatter_weighted");
    dk_check_view(&c, "x", x, dk_check_real(&c), 2, 2);
    dk_check_view(&c, "y", y, dk_check_real(&c), 2, 2);
    dk_check_view(&c, "weights", weights, dk_check_real(&c), 1, 1);
    dk_check_dim(&c, "weights", weights, 0, x->shape[0]);
    dk_check_dim(&c, "y", y, 1, x->shape[1]);
    check_index(&c, "rows", rows, x->shape[0], y->shape[0]);
    return c.ok;
}

static int64_t row_count(const dk_view *view)
{
    return view->rank == 1 ? 1 : view->rank == 2 ? view->shape[0] : view->shape[0] * view->shape[1];
}

static void check_norm_args(dk_check *c, const dk_norm_args *args, const dk_view *x, const dk_view *stats,
                            uint64_t optional)
{
    dk_check_view(c, "x", x, dk_check_real(c), 1, 3);
    dk_check_that(c, args->kind == DK_NORM_RMS || args->kind == DK_NORM_LAYER, "unknown kind of norm");
    dk_check_view(c, "weight", &args->weight, dk_check_stored(c) | DK_OPTIONAL, 1, 1);
    dk_check_view(c, "bias", &args->bias, dk_check_stored(c) | DK_OPTIONAL, 1, 1);
    dk_check_view(c, "stats", stats, dk_check_real(c) | optional, 2, 2);
    if (!c->ok) return;
    dk_check_that(c, x->shape[x->rank - 1] > 0, "rows are empty");
    dk_check_dim(c, "weight", &args->weight, 0, x->shape[x->rank - 1]);
    dk_check_dim(c, "bias", &args->bias, 0, x->shape[x->rank - 1]);
    dk_check_dim(c, "stats", stats, 0, row_count(x));
    dk_check_dim(c, "stats", stats, 1, 2);
}

int32_t dk_check_norm(dk_queue *queue, const dk_norm_args *args, const dk_view *x, const dk_view *y,
                      const dk_view *stats)
{
    dk_check c = dk_check_begin(queue, "norm");
    check_norm_args(&c, args, x, stats, DK_OPTIONAL);
    dk_check_view(&c, "y", y, dk_check_real(&c), 1, 3);
    dk_check_shape(&c, "y", y, x);
    return c.ok;
}

int32_t dk_check_norm_backward(dk_queue *queue, const dk_norm_args *args, const dk_view *x, const dk_view *stats,
                               const dk_view *dy, const dk_view *dx, const dk_view *dweight, const dk_view *dbias)
{
    dk_check c = dk_check_begin(queue, "norm_backward");
    check_norm_args(&c, args, x, stats, 0);
    dk_check_view(&c, "dy", dy, dk_check_real(&c), 1, 3);
    dk_check_view(&c, "dx", dx, dk_check_real(&c) | DK_OPTIONAL, 1, 3);
    dk_check_view(&c, "dweight", dweight, dk_check_real(&c) | DK_OPTIONAL, 1, 1);
    dk_check_view(&c, "dbias", dbias, dk_check_real(&c) | DK_OPTIONAL, 1, 1);
    dk_check_shape(&c, "dy", dy, x);
    dk_check_shape(&c, "dx", dx, x);
    dk_check_dim(&c, "dweight", dweight, 0, x->shape[x->rank - 1]);
    dk_check_dim(&c, "dbias", dbias, 0, x->shape[x->rank - 1]);
    return c.ok;
}

int32_t dk_check_rope(dk_queue *queue, const dk_view *x, const dk_view *table, const dk_view *positions)
{
    dk_check c = dk_check_begin(queue, "rope");
    dk_check_view(&c, "x", x, dk_check_real(&c), 3, 3);
    dk_check_view(&c, "table", table, dk_check_real(&c) | DK_TYPE(DK_F32), 3, 3);
    dk_check_dim(&c, "table", table, 2, 2);
    if (!c.ok) return 0;
    dk_check_that(&c, table->stride[1] == 2 || table->shape[1] < 2, "pairs of the table do not lie side by side");
    dk_check_that(&c, 2 * table->shape[1] <= x->shape[2], "the table rotates more entries than a head has");
    check_index(&c, "positions", positions, x->shape[0], table->shape[0]);
    return c.ok;
}

static void check_activation(dk_check *c, dk_activation kind)
{
    dk_check_that(c, kind >= DK_ACT_SILU && kind <= DK_ACT_RELU, "unknown activation");
}

int32_t dk_check_glu(dk_queue *queue, dk_activation kind, const dk_view *gate, const dk_view *up, const dk_view *y)
{
    dk_check c = dk_check_begin(queue, "glu");
    check_activation(&c, kind);
    dk_check_view(&c, "gate", gate, dk_check_real(&c), 1, 3);
    dk_check_view(&c, "up", up, dk_check_real(&c) | DK_OPTIONAL, 1, 3);
    dk_check_view(&c, "y", y, dk_check_real(&c), 1, 3);
    dk_check_shape(&c, "up", up, gate);
    dk_check_shape(&c, "y", y, gate);
    return c.ok;
}

int32_t dk_check_glu_backward(dk_queue *queue, dk_activation kind, const dk_view *gate, const dk_view *up,
                              const dk_view *dy, const dk_view *dgate, const dk_view *dup)
{
    dk_check c = dk_check_begin(queue, "glu_backward");
    check_activation(&c, kind);
    dk_check_view(&c, "gate", gate, dk_check_real(&c), 1, 3);
    dk_check_view(&c, "up", up, dk_check_real(&c) | DK_OPTIONAL, 1, 3);
    dk_check_view(&c, "dy", dy, dk_check_real(&c), 1, 3);
    dk_check_view(&c, "dgate", dgate, dk_check_real(&c), 1, 3);
    dk_check_view(&c, "dup", dup, dk_check_real(&c) | (up->buffer ? 0 : DK_OPTIONAL), 1, 3);
    dk_check_shape(&c, "up", up, gate);
    dk_check_shape(&c, "dy", dy, gate);
    dk_check_shape(&c, "dgate", dgate, gate);
    dk_check_shape(&c, "dup", dup, gate);
    return c.ok;
}

/* The ragged layout: query ranges rise inside the rows of q, key ranges lie inside the rows of k. */
static void check_sequences(dk_check *c, const dk_attention_args *args, int64_t rows, int64_t key_rows)
{
    if (!c->ok) return;
    dk_check_that(c, args->sequences >= 0 && args->query_offsets, "no sequences");
    dk_check_that(c, args->window >= 0, "the window is negative");
    dk_check_that(c, !args->key_count == !(args->key_first || args->key_pages) && !(args->key_first && args->key_pages),
                  "key_count belongs to key_first or to key_pages");
    for (int64_t s = 0; c->ok && s < args->sequences; s++) {
        int64_t first = args->query_offsets[s], last = args->query_offsets[s + 1];
        int64_t key = args->key_first   ? args->key_first[s]
                      : args->key_pages ? 0
                                        : first,
                keys = args->key_count ? args->key_count[s] : last - first;
        dk_check_that(c, first >= 0 && first <= last && last <= rows, "a sequence lies outside the query rows");
        dk_check_that(c,
                      key >= 0 && keys >= last - first && (args->key_pages || keys <= key_rows) &&
                          (args->key_pages || key <= key_rows - keys),
                      "a sequence lies outside the key rows");
        for (int64_t p = 0; c->ok && args->key_pages && p * DK_PAGE < keys; p++)
            dk_check_that(c, args->key_pages[s][p] >= 0 && args->key_pages[s][p] < key_rows / DK_PAGE,
                          "a page lies outside the key rows");
    }
}

static void check_heads(dk_check *c, const dk_attention_args *args, const dk_view *q, const dk_view *k,
                        const dk_view *v, const dk_view *y, const dk_view *lse, uint64_t optional)
{
    uint64_t real = dk_check_real(c), stored = args->key_pages ? real | DK_TYPE(DK_BF16) : real;
    dk_check_view(c, "q", q, real, 3, 3);
    dk_check_view(c, "k", k, stored, 3, 3);
    dk_check_view(c, "v", v, stored, 3, 3);
    dk_check_view(c, "y", y, real, 3, 3);
    dk_check_view(c, "lse", lse, real | optional, 2, 2);
    dk_check_shape(c, "y", y, q);
    dk_check_shape(c, "v", v, k);
    if (c->ok) dk_check_that(c, k->dtype == v->dtype, "keys and values are of two dtypes");
    dk_check_dim(c, "k", k, 2, q->shape[2]);
    dk_check_dim(c, "lse", lse, 0, q->shape[0]);
    dk_check_dim(c, "lse", lse, 1, q->shape[1]);
    if (!c->ok) return;
    dk_check_that(c, k->shape[1] > 0 && q->shape[1] % k->shape[1] == 0,
                  "the heads are not a multiple of the key heads");
    check_sequences(c, args, q->shape[0], k->shape[0]);
    dk_check_that(c, (uint32_t)args->precision < 32 && c->queue->backend->precisions >> args->precision & 1,
                  "the backend has no products in this precision");
}

int32_t dk_check_attention(dk_queue *queue, const dk_attention_args *args, const dk_view *q, const dk_view *k,
                           const dk_view *v, const dk_view *y, const dk_view *lse)
{
    dk_check c = dk_check_begin(queue, "attention");
    check_heads(&c, args, q, k, v, y, lse, DK_OPTIONAL);
    return c.ok;
}

int32_t dk_check_attention_backward(dk_queue *queue, const dk_attention_args *args, const dk_view *q, const dk_view *k,
                                    const dk_view *v, const dk_view *y, const dk_view *lse, const dk_view *dy,
                                    const dk_view *dq, const dk_view *dk, const dk_view *dv)
{
    dk_check c = dk_check_begin(queue, "attention_backward");
    check_heads(&c, args, q, k, v, y, lse, 0);
    dk_check_that(&c, !args->key_count, "there is no backward through a cache");
    dk_check_view(&c, "dy", dy, dk_check_real(&c), 3, 3);
    dk_check_view(&c, "dq", dq, dk_check_real(&c), 3, 3);
    dk_check_view(&c, "dk", dk, dk_check_real(&c), 3, 3);
    dk_check_view(&c, "dv", dv, dk_check_real(&c), 3, 3);
    dk_check_shape(&c, "dy", dy, q);
    dk_check_shape(&c, "dq", dq, q);
    dk_check_shape(&c, "dk", dk, k);
    dk_check_shape(&c, "dv", dv, k);
    return c.ok;
}

int32_t dk_check_softcap(dk_queue *queue, const char *op, const dk_view *z, const dk_view *dz)
{
    dk_check c = dk_check_begin(queue, op);
    dk_check_view(&c, "z", z, dk_check_real(&c), 1, 3);
    if (!dz) return c.ok;
    dk_check_view(&c, "dz", dz, dk_check_real(&c), 1, 3);
    dk_check_shape(&c, "dz", dz, z);
    return c.ok;
}

static void check_temperature(dk_check *c, double temperature)
{
    if (!c->ok || (temperature >= DK_TEMPERATURE_MIN && temperature <= DK_TEMPERATURE_MAX)) return;
    dk_queue_fail(c->queue, DK_E_INVALID, "%s: the temperature is %g, not in [%g, %g]", c->op, temperature,
                  DK_TEMPERATURE_MIN, DK_TEMPERATURE_MAX);
    c->ok = 0;
}

static void check_strip(dk_check *c, int64_t vocab, const dk_view *z)
{
    dk_check_view(c, "z", z, dk_check_real(c), 1, 2);
    if (c->ok) dk_check_that(c, vocab >= 1 && vocab <= z->shape[z->rank - 1], "vocab is not in [1, columns]");
}

int32_t dk_check_log_softmax(dk_queue *queue, const dk_view *z, int64_t vocab, double temperature, const dk_view *y)
{
    dk_check c = dk_check_begin(queue, "log_softmax");
    check_strip(&c, vocab, z);
    check_temperature(&c, temperature);
    dk_check_view(&c, "y", y, dk_check_real(&c), 1, 2);
    dk_check_shape(&c, "y", y, z);
    return c.ok;
}

int32_t dk_check_log_softmax_backward(dk_queue *queue, const dk_view *log_q, int64_t vocab, double temperature,
                                      const dk_view *weights, const dk_view *h)
{
    dk_check c = dk_check_begin(queue, "log_softmax_backward");
    check_strip(&c, vocab, log_q);
    check_temperature(&c, temperature);
    dk_check_view(&c, "h", h, dk_check_real(&c), 1, 2);
    dk_check_shape(&c, "h", h, log_q);
    dk_check_view(&c, "weights", weights, dk_check_real(&c) | DK_OPTIONAL, 1, 1);
    if (c.ok) dk_check_dim(&c, "weights", weights, 0, row_count(log_q));
    return c.ok;
}

int32_t dk_check_adjust(dk_queue *queue, const dk_adjust_args *args, const dk_view *logits, int64_t vocab)
{
    dk_check c = dk_check_begin(queue, "adjust");
    check_strip(&c, vocab, logits);
    dk_check_that(&c, args->repetition > 0 && args->repetition < INFINITY && isfinite(args->presence),
                  "repetition or presence out of bounds");
    for (int64_t i = 0; c.ok && i < args->bias_count; i++)
        dk_check_that(&c, args->bias_ids[i] >= 0 && !isnan(args->bias[i]), "a bias of no id, or that is no number");
    for (int64_t r = 0; c.ok && args->ids && r < row_count(logits); r++)
        for (int64_t i = 0; c.ok && i < args->count[r]; i++) dk_check_that(&c, args->ids[r][i] >= 0, "a negative id");
    return c.ok;
}

int32_t dk_check_sample(dk_queue *queue, const dk_sample_args *args, const dk_view *logits, int64_t vocab,
                        const dk_view *ids)
{
    dk_check c = dk_check_begin(queue, "sample");
    check_strip(&c, vocab, logits);
    dk_check_view(&c, "ids", ids, DK_TYPE(DK_I32) | DK_STRIDED, 1, 1);
    if (c.ok) dk_check_dim(&c, "ids", ids, 0, row_count(logits));
    dk_check_that(&c,
                  args->temperature >= 0 && args->temperature < INFINITY && args->top_k >= 0 && args->top_p > 0 &&
                      args->min_p >= 0 && args->min_p <= 1,
                  "temperature, top_k, top_p or min_p out of bounds");
    dk_check_that(&c, args->temperature < DK_TEMPERATURE_MIN || args->counters, "no counters");
    dk_check_that(&c, vocab <= INT32_MAX, "more columns than an id can name");
    return c.ok;
}

int32_t dk_check_scalar(dk_queue *queue, const char *op, const dk_view *x, const dk_view *sum)
{
    dk_check c = dk_check_begin(queue, op);
    dk_check_view(&c, "x", x, dk_check_real(&c), 1, 3);
    dk_check_view(&c, "sum", sum, DK_TYPE(DK_F64), 1, 1);
    dk_check_dim(&c, "sum", sum, 0, 1);
    return c.ok;
}

int32_t dk_check_clip_factor(dk_queue *queue, const dk_view *sum, const dk_view *factor, const dk_view *norm)
{
    dk_check c = dk_check_begin(queue, "clip_factor");
    dk_check_view(&c, "sum", sum, DK_TYPE(DK_F64), 1, 1);
    dk_check_view(&c, "factor", factor, DK_TYPE(DK_F64), 1, 1);
    dk_check_view(&c, "norm", norm, DK_TYPE(DK_F64), 1, 1);
    dk_check_dim(&c, "sum", sum, 0, 1);
    dk_check_dim(&c, "factor", factor, 0, 1);
    dk_check_dim(&c, "norm", norm, 0, 1);
    return c.ok;
}

int32_t dk_check_adamw(dk_queue *queue, const dk_adamw_args *args, const dk_view *factor, const dk_view *p,
                       const dk_view *g, const dk_view *m, const dk_view *v)
{
    dk_check c = dk_check_begin(queue, "adamw");
    dk_check_that(&c, args->step >= 1, "the step is below 1");
    dk_check_view(&c, "factor", factor, DK_TYPE(DK_F64) | DK_OPTIONAL, 1, 1);
    dk_check_dim(&c, "factor", factor, 0, 1);
    dk_check_view(&c, "p", p, dk_check_real(&c), 1, 3);
    dk_check_view(&c, "g", g, dk_check_real(&c), 1, 3);
    dk_check_view(&c, "m", m, dk_check_real(&c) | DK_TYPE(DK_BF16), 1, 3);
    dk_check_view(&c, "v", v, dk_check_real(&c) | DK_TYPE(DK_BF16), 1, 3);
    dk_check_that(&c, m->dtype == v->dtype, "m and v are of two types");
    dk_check_shape(&c, "g", g, p);
    dk_check_shape(&c, "m", m, p);
    dk_check_shape(&c, "v", v, p);
    return c.ok;
}
