#include "optim/gradient_exchange.h"

#include <string.h>

enum { SLOTS = 3 }; /* buckets under way: one that is sent, one that is summed, one that comes back */

typedef struct piece { /* elements [first, first + count) of every share of a parameter */
    int64_t parameter, first, count;
} piece;
typedef struct bucket {
    int64_t first, pieces;   /* of the exchange's pieces */
    int64_t elements, stage; /* of one share; the lowest of its parameters */
} bucket;
typedef struct slot {
    dk_view sent, received; /* [size * most] of bytes for real numbers */
    dk_view sum, scratch;   /* [most] real */
    int64_t ticket;
} slot;

struct dk_exchange {
    dk_backend *backend;
    dk_host *host;
    dk_parameter *parameters;
    int64_t count, size, rank;
    int64_t *stages, *order; /* [count] */
    dk_dtype wire;
    int32_t sharded;
    int64_t bucket_bytes, most; /* most: elements of one share of the largest bucket */
    piece *pieces;
    bucket *buckets;
    int64_t piece_count, bucket_count;
    slot slots[SLOTS];
    dk_arena arena;
    dk_queue queue;
    int64_t begun; /* buckets of this step */
    int64_t bytes;
    dk_error error; /* the first failure of this step */
};

/* ---- planning ---- */

static int32_t is_trained(const dk_parameter *parameter)
{
    return !parameter->frozen && dk_view_present(parameter->gradient);
}

/* Highest stages first; equal ones as backward comes to them: from the last to the first. */
static void sort(dk_exchange *x)
{
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = i;
        for (; at > 0 && x->stages[x->order[at - 1]] <= x->stages[i]; at--) x->order[at] = x->order[at - 1];
        x->order[at] = i;
    }
}

static int64_t share_of(const dk_exchange *x, int64_t parameter)
{
    return dk_share_each(dk_view_count(&x->parameters[parameter].value), x->size);
}

static int64_t elements_of_bucket(const dk_exchange *x)
{
    const int64_t elements = x->bucket_bytes / (int64_t)dk_dtype_size(x->backend->real) / x->size;
    return elements > 0 ? elements : 1;
}

/* The same walk counts (no arrays yet) and writes. */
static void cut(dk_exchange *x)
{
    const int64_t room = elements_of_bucket(x);
    bucket now = {0};
    x->piece_count = x->bucket_count = 0;
    for (int64_t i = 0; i < x->count; i++) {
        const int64_t p = x->order[i], each = share_of(x, p);
        if (!is_trained(&x->parameters[p])) continue;
        for (int64_t first = 0; first < each;) {
            if (now.elements == room) {
                if (x->buckets) x->buckets[x->bucket_count] = now;
                x->bucket_count++;
                now = (bucket){.first = x->piece_count};
            }
            const int64_t left = room - now.elements, count = each - first < left ? each - first : left;
            if (x->pieces) x->pieces[x->piece_count] = (piece){p, first, count};
            x->piece_count++;
            now.pieces++;
            now.elements += count;
            now.stage = x->stages[p]; /* they come in falling order */
            first += count;
            if (now.elements > x->most) x->most = now.elements;
        }
    }
    if (!now.pieces) return;
    if (x->buckets) x->buckets[x->bucket_count] = now;
    x->bucket_count++;
}

static void take(dk_exchange *x)
{
    const int64_t all = x->size * x->most;
    for (int i = 0; i < SLOTS; i++) {
        x->slots[i].sent = dk_arena_take(&x->arena, x->backend->real, 1, &all);
        x->slots[i].received = dk_arena_take(&x->arena, x->backend->real, 1, &all);
        x->slots[i].sum = dk_arena_take(&x->arena, x->backend->real, 1, &x->most);
        x->slots[i].scratch = dk_arena_take(&x->arena, x->backend->real, 1, &x->most);
    }
}

static int32_t plan(dk_exchange *x, const dk_exchange_spec *spec, dk_error *err)
{
    int32_t rc;
    DK_TRY(dk_new(x->host, x->count + 1, &x->stages, err));
    DK_TRY(dk_new(x->host, x->count + 1, &x->order, err));
    if (spec->stages) memcpy(x->stages, spec->stages, (size_t)x->count * sizeof *x->stages);
    sort(x);
    cut(x);
    DK_TRY(dk_new(x->host, x->piece_count + 1, &x->pieces, err));
    DK_TRY(dk_new(x->host, x->bucket_count + 1, &x->buckets, err));
    cut(x);
    if (x->most < 1) x->most = 1;
    take(x);
    DK_TRY(dk_arena_commit(&x->arena, err));
    take(x);
    if (!x->backend->ops->map(x->slots[0].sent))
        rc = dk_fail(err, DK_E_UNSUPPORTED, "gradients of this backend are not in the host's memory: one rank alone");
out:
    return rc;
}

int32_t dk_exchange_create(dk_backend *backend, const dk_exchange_spec *spec, dk_exchange **out, dk_error *err)
{
    dk_exchange *x = NULL;
    int32_t rc;
    *out = NULL;
    if (dk_ranks(backend->host) == 1) return DK_OK;
    DK_TRY(dk_new(backend->host, 1, &x, err));
    x->backend = backend;
    x->host = backend->host;
    x->parameters = spec->parameters;
    x->count = spec->count;
    x->size = dk_ranks(backend->host);
    x->rank = dk_rank(backend->host);
    x->wire = spec->wire;
    x->sharded = spec->sharded;
    x->bucket_bytes = spec->bucket_bytes > 0 ? spec->bucket_bytes : DK_BUCKET_BYTES;
    dk_arena_init(&x->arena, backend);
    DK_TRY(dk_queue_open(&x->queue, backend, err));
    DK_TRY(plan(x, spec, err));
    *out = x;
    x = NULL;
out:
    dk_exchange_free(x);
    return rc;
}

void dk_exchange_free(dk_exchange *x)
{
    if (!x) return;
    dk_arena_free(&x->arena);
    dk_queue_close(&x->queue);
    dk_free(x->host, x->stages);
    dk_free(x->host, x->order);
    dk_free(x->host, x->pieces);
    dk_free(x->host, x->buckets);
    dk_free(x->host, x);
}

int64_t dk_exchange_bytes(const dk_exchange *x) { return x ? x->bytes : 0; }

/* ---- one bucket ---- */

static dk_view as(dk_view memory, dk_dtype dtype, int64_t first, int64_t count)
{
    return dk_view_1d(memory.buffer, memory.offset + first * (int64_t)dk_dtype_size(dtype), dtype, count);
}

typedef enum { GRADIENTS, VALUES } what;

static dk_view of_parameter(const dk_exchange *x, const piece *p, what of, int64_t rank)
{
    const dk_parameter *parameter = &x->parameters[p->parameter];
    return dk_share_view(of == VALUES ? parameter->value : parameter->gradient, x->size, rank, p->first, p->count);
}

/* Share `rank` of the bucket into or out of `memory`, from element `at` on; what lies behind a parameter's end is
 * nothing. */
static void copy_share(dk_exchange *x, const bucket *b, what of, int64_t rank, dk_view memory, dk_dtype dtype,
                       int64_t at, int32_t out)
{
    const dk_ops *ops = x->backend->ops;
    for (int64_t i = 0; i < b->pieces; i++) {
        const piece *p = &x->pieces[b->first + i];
        const dk_view part = of_parameter(x, p, of, rank);
        const int64_t count = dk_view_count(&part);
        if (count && out) ops->convert(&x->queue, as(memory, dtype, at, count), part);
        else if (count) ops->convert(&x->queue, part, as(memory, dtype, at, count));
        if (!out && count < p->count) ops->fill(&x->queue, as(memory, dtype, at + count, p->count - count), 0);
        at += p->count;
    }
}

static void keep_error(dk_exchange *x, const dk_error *problem)
{
    if (problem->code && !x->error.code) x->error = *problem;
}

static void wait_queue(dk_exchange *x)
{
    dk_error problem = {0};
    dk_queue_wait(&x->queue, &problem);
    keep_error(x, &problem);
}

static void send(dk_exchange *x, const bucket *b, slot *s)
{
    const int64_t bytes = b->elements * (int64_t)dk_dtype_size(x->wire);
    dk_error problem = {0};
    for (int64_t i = 0; i < b->pieces; i++)
        x->backend->ops->settle(&x->queue, &x->parameters[x->pieces[b->first + i].parameter]);
    for (int64_t j = 0; j < x->size; j++) copy_share(x, b, GRADIENTS, j, s->sent, x->wire, j * b->elements, 0);
    wait_queue(x);
    dk_ranks_exchange(x->host, x->backend->ops->map(s->sent), x->backend->ops->map(s->received), bytes, &s->ticket,
                      &problem);
    keep_error(x, &problem);
    x->bytes += (x->size - 1) * bytes;
}

static void wait_ticket(dk_exchange *x, slot *s)
{
    dk_error problem = {0};
    dk_ranks_wait(x->host, s->ticket, &problem);
    keep_error(x, &problem);
}

/* In the order of ranks, whoever adds. */
static void add_up(dk_exchange *x, const bucket *b, slot *s)
{
    const dk_ops *ops = x->backend->ops;
    const dk_view sum = dk_view_rows(s->sum, 0, b->elements), scratch = dk_view_rows(s->scratch, 0, b->elements);
    for (int64_t j = 0; j < x->size; j++) {
        dk_view part = as(s->received, x->wire, j * b->elements, b->elements);
        if (j && x->wire != x->backend->real) {
            ops->convert(&x->queue, part, scratch);
            part = scratch;
        }
        if (j) ops->axpy(&x->queue, 1, part, sum);
        else ops->convert(&x->queue, part, sum);
    }
}

static void sum(dk_exchange *x, const bucket *b, slot *s)
{
    const int64_t bytes = b->elements * (int64_t)dk_dtype_size(x->wire);
    dk_error problem = {0};
    wait_ticket(x, s);
    add_up(x, b, s);
    if (x->sharded) {
        copy_share(x, b, GRADIENTS, x->rank, s->sum, x->backend->real, 0, 1);
        wait_queue(x);
        return;
    }
    x->backend->ops->convert(&x->queue, dk_view_rows(s->sum, 0, b->elements), as(s->sent, x->wire, 0, b->elements));
    wait_queue(x);
    dk_ranks_collect(x->host, x->backend->ops->map(s->sent), x->backend->ops->map(s->received), bytes, &s->ticket,
                     &problem);
    keep_error(x, &problem);
    x->bytes += (x->size - 1) * bytes;
}

static void receive(dk_exchange *x, const bucket *b, slot *s)
{
    if (x->sharded) return;
    wait_ticket(x, s);
    for (int64_t j = 0; j < x->size; j++) copy_share(x, b, GRADIENTS, j, s->received, x->wire, j * b->elements, 1);
    wait_queue(x);
}

/* ---- all of them: in a fixed order, whenever each becomes whole ---- */

static slot *slot_of(dk_exchange *x, int64_t k) { return &x->slots[k % SLOTS]; }

static void advance(dk_exchange *x, int64_t k)
{
    const int64_t summed = k - 1, back = k - 2;
    if (back >= 0 && back < x->bucket_count) receive(x, &x->buckets[back], slot_of(x, back));
    if (k < x->bucket_count) send(x, &x->buckets[k], slot_of(x, k));
    if (summed >= 0 && summed < x->bucket_count) sum(x, &x->buckets[summed], slot_of(x, summed));
}

void dk_exchange_reached(dk_exchange *x, dk_queue *queue, int64_t stage)
{
    dk_error problem = {0};
    if (!x || x->begun == x->bucket_count || x->buckets[x->begun].stage < stage) return;
    if (dk_queue_wait(queue, &problem) != DK_OK) dk_queue_fail(queue, problem.code, "%s", problem.message);
    while (x->begun < x->bucket_count && x->buckets[x->begun].stage >= stage) advance(x, x->begun++);
}

int32_t dk_exchange_finish(dk_exchange *x, dk_error *err)
{
    if (!x) return DK_OK;
    while (x->begun < x->bucket_count + 2) advance(x, x->begun++);
    x->begun = 0;
    const dk_error first = x->error;
    dk_error_clear(&x->error);
    if (first.code && err) *err = first;
    return first.code;
}

int32_t dk_exchange_values(dk_exchange *x, dk_error *err)
{
    const dk_dtype real = x ? x->backend->real : 0;
    slot *s = x ? &x->slots[0] : NULL;
    int32_t rc = DK_OK;
    if (!x) return DK_OK;
    for (int64_t k = 0; k < x->bucket_count; k++) {
        const bucket *b = &x->buckets[k];
        const int64_t bytes = b->elements * (int64_t)dk_dtype_size(real);
        copy_share(x, b, VALUES, x->rank, s->sent, real, 0, 0);
        DK_TRY(dk_queue_wait(&x->queue, err));
        DK_TRY(dk_ranks_gather(x->host, x->backend->ops->map(s->sent), x->backend->ops->map(s->received), bytes, err));
        x->bytes += (x->size - 1) * bytes;
        for (int64_t j = 0; j < x->size; j++)
            if (j != x->rank) copy_share(x, b, VALUES, j, s->received, real, j * b->elements, 1);
        DK_TRY(dk_queue_wait(&x->queue, err));
    }
    for (int64_t i = 0; i < x->count; i++)
        if (is_trained(&x->parameters[i])) x->backend->ops->refresh(&x->queue, &x->parameters[i]);
    rc = dk_queue_wait(&x->queue, err);
out:
    return rc;
}

int32_t dk_exchange_moment(dk_exchange *x, const dk_optimizer *optimizer, int64_t index, int32_t second, void *out,
                           dk_error *err)
{
    const dk_view *value = &x->parameters[index].value;
    const dk_view own = dk_optimizer_moment(optimizer, index, second);
    const int64_t all = dk_view_count(value), each = dk_share_each(all, x->size);
    const dk_dtype kept = dk_optimizer_kept(optimizer);
    const int64_t width = (int64_t)dk_dtype_size(kept), room = x->most * (int64_t)dk_dtype_size(x->backend->real);
    slot *s = &x->slots[0];
    char *sent = x->backend->ops->map(s->sent), *received = x->backend->ops->map(s->received), *to = out;
    int32_t rc = DK_OK;
    for (int64_t first = 0; first < each;) {
        const int64_t count = each - first < room / width ? each - first : room / width;
        const int64_t have = dk_view_count(&own) - first;
        memset(sent, 0, (size_t)(count * width));
        if (have > 0) x->backend->ops->copy_out(&x->queue, dk_view_rows(own, first, have < count ? have : count), sent);
        DK_TRY(dk_queue_wait(&x->queue, err));
        DK_TRY(dk_ranks_gather(x->host, sent, received, count * width, err));
        for (int64_t j = 0; to && j < x->size; j++) {
            const int64_t begin = j * each + first, left = all - begin;
            if (left > 0)
                memcpy(to + begin * width, received + j * count * width,
                       (size_t)((left < count ? left : count) * width));
        }
        first += count;
    }
out:
    return rc;
}
