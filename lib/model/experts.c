/* MLPs of experts (Shazeer et al. 2017): a router sends each row to some of them, each takes all its rows at once.
 *
 * What comes back is added in order of the experts, so that a row's sum depends on where it was sent and not on what
 * stands beside it. */
#include "model/pass_parts.h"

void dk_routing_plan(dk_arena *arena, const dk_model *model, int64_t rows, dk_routing *routing)
{
    const dk_config *c = &model->config;
    dk_dtype real = arena->backend->real;
    int64_t slots = rows * c->experts_used;
    const int64_t chosen[2] = {rows, c->experts_used};
    if (!c->experts) return;
    routing->logits = dk_arena_2d(arena, real, rows, c->experts);
    routing->weights = dk_arena_2d(arena, real, rows, c->experts_used);
    routing->chosen = dk_arena_take(arena, DK_I32, 2, chosen);
    routing->slots = dk_arena_take(arena, DK_I32, 1, &slots);
    routing->rows = dk_arena_take(arena, DK_I32, 1, &slots);
    routing->sorted = dk_arena_2d(arena, real, slots, 1);
    routing->input = dk_arena_2d(arena, real, rows, c->hidden_size);
    routing->up = dk_arena_2d(arena, real, rows, 2 * c->expert_size);
    routing->active = dk_arena_2d(arena, real, rows, c->expert_size);
    routing->output = dk_arena_2d(arena, real, rows, c->hidden_size);
}

int32_t dk_routing_create(const dk_model *model, int64_t rows, dk_routing *routing, dk_error *err)
{
    const dk_config *c = &model->config;
    int32_t rc = DK_OK;
    if (!c->experts) return DK_OK;
    if (rows > INT32_MAX / c->experts_used)
        return dk_fail(err, DK_E_INVALID, "%lld rows that go to %lld experts each are more than %d", (long long)rows,
                       (long long)c->experts_used, INT32_MAX);
    DK_TRY(dk_new(model->host, 3 * rows * c->experts_used, &routing->numbers, err));
    DK_TRY(dk_new(model->host, c->experts + 1, &routing->first, err));
out:
    return rc;
}

void dk_routing_free(const dk_model *model, dk_routing *routing)
{
    dk_free(model->host, routing->numbers);
    dk_free(model->host, routing->first);
}

int64_t dk_routing_bytes(const dk_model *model, int64_t rows)
{
    const dk_config *c = &model->config;
    if (!c->experts) return 0;
    return 3 * rows * c->experts_used * (int64_t)sizeof(int32_t) + (c->experts + 1) * (int64_t)sizeof(int64_t);
}

/* ---- which rows go where ---- */
/* The slots of each expert in order of the rows. */
static void sort_slots(const dk_config *c, const dk_routing *routing, int64_t count)
{
    const int32_t *chosen = routing->numbers;
    int32_t *slots = routing->numbers + count, *rows = slots + count;
    int64_t *first = routing->first, at = 0;
    for (int64_t e = 0; e <= c->experts; e++) first[e] = 0;
    for (int64_t s = 0; s < count; s++) first[chosen[s]]++;
    for (int64_t e = 0; e <= c->experts; e++) {
        int64_t of_expert = first[e];
        first[e] = at;
        at += of_expert;
    }
    for (int64_t s = 0; s < count; s++) {
        int64_t to = first[chosen[s]]++;
        slots[to] = (int32_t)s;
        rows[to] = (int32_t)(s / c->experts_used);
    }
    for (int64_t e = c->experts; e > 0; e--) first[e] = first[e - 1]; /* each moved to the next one's beginning */
    first[0] = 0;
}

/* 0 = an op before failed, and nothing is known. */
static int32_t route(const dk_workset *set, int64_t layer, dk_view x)
{
    const dk_config *c = &set->model->config;
    const dk_ops *ops = set->queue->backend->ops;
    const dk_routing *r = &set->routing;
    int64_t count = set->rows * c->experts_used;
    dk_view logits = dk_used_rows(set, r->logits), chosen = dk_used_rows(set, r->chosen),
            weights = dk_used_rows(set, r->weights);
    ops->linear_forward(set->queue, set->model->layers[layer].router_linear, DK_PRECISION_FULL, x, logits);
    ops->route(set->queue, logits, c->experts_alone, chosen, weights);
    ops->copy_out(set->queue, chosen, r->numbers);
    if (set->queue->error.code) return 0;
    sort_slots(c, r, count);
    ops->copy_in(set->queue, dk_view_rows(r->slots, 0, count), r->numbers + count);
    ops->copy_in(set->queue, dk_view_rows(r->rows, 0, count), r->numbers + 2 * count);
    const int64_t flat[2] = {count, 1};
    ops->gather_rows(set->queue, dk_view_reshape(weights, 2, flat), dk_view_rows(r->slots, 0, count),
                     dk_view_rows(r->sorted, 0, count));
    return 1;
}

/* ---- one of them ---- */
static void run_expert(const dk_workset *set, const dk_expert *expert, int64_t first, int64_t count, dk_view x,
                       dk_view y)
{
    const dk_config *c = &set->model->config;
    const dk_ops *ops = set->queue->backend->ops;
    const dk_routing *r = &set->routing;
    dk_view rows = dk_view_rows(r->rows, first, count), input = dk_view_rows(r->input, 0, count),
            up = dk_view_rows(r->up, 0, count), active = dk_view_rows(r->active, 0, count),
            output = dk_view_rows(r->output, 0, count);
    dk_view weights = dk_view_reshape(dk_view_rows(r->sorted, first, count), 1, &count);
    ops->gather_rows(set->queue, x, rows, input);
    const dk_linear_end end = {.activation = c->activation, .out = active};
    ops->linear_forward_then(set->queue, expert->up_linear, set->precision, input, up, &end);
    ops->linear_forward(set->queue, expert->down_linear, set->precision, active, output);
    ops->scatter_weighted(set->queue, output, rows, weights, y);
}

void dk_experts_forward(const dk_workset *set, int64_t layer, dk_view x, dk_view y)
{
    const int64_t *first = set->routing.first;
    if (!set->rows || !route(set, layer, x)) return;
    set->queue->backend->ops->fill(set->queue, y, 0);
    for (int64_t e = 0; e < set->model->config.experts; e++)
        if (first[e + 1] > first[e])
            run_expert(set, &set->model->layers[layer].experts[e], first[e], first[e + 1] - first[e], x, y);
}
