/* One block: x + attention(norm(x)), then the same with the MLP. Forward order in the file; backward mirrors it. */
#include "model/pass_parts.h"

/* ---- views ---- */
dk_view dk_gradient_of(const dk_parameter *parameter)
{
    return parameter && !parameter->frozen ? parameter->gradient : dk_view_none();
}

dk_view dk_qkv_part(const dk_config *config, dk_view qkv, int32_t part)
{
    int64_t dim = config->head_dim, q = config->heads * dim, kv = config->kv_heads * dim;
    if (config->interleaved) return dk_view_columns(dk_view_split(qkv, config->heads), part * dim, dim);
    if (part == 0) return dk_view_split(dk_view_columns(qkv, 0, q), config->heads);
    return dk_view_split(dk_view_columns(qkv, part == 1 ? q : q + kv, kv), config->kv_heads);
}

/* One of the norms of q or k: rows of what it goes over, the place of its statistics, its weights. */
typedef struct qk_norm {
    int32_t part;   /* 0 q, 1 k */
    int64_t number; /* the head, where each has its own; else 0 */
} qk_norm;

static int64_t heads_of(const dk_config *config, int32_t part) { return part ? config->kv_heads : config->heads; }

static int64_t norms_of(const dk_config *config, int32_t part)
{
    return config->qk_norm == DK_QK_NORM_EACH ? heads_of(config, part) : 1;
}

static dk_view normed_part(const dk_config *config, dk_view qkv, qk_norm norm)
{
    int64_t dim = config->head_dim, first = norm.part ? config->heads * dim : 0;
    if (config->qk_norm == DK_QK_NORM_HEAD) return dk_qkv_part(config, qkv, norm.part);
    if (config->qk_norm == DK_QK_NORM_EACH) return dk_view_columns(qkv, first + norm.number * dim, dim);
    return dk_view_columns(qkv, first, heads_of(config, norm.part) * dim);
}

static int64_t norms_in_row(const dk_config *config, int32_t part)
{
    return config->qk_norm == DK_QK_NORM_WIDTH ? 1 : heads_of(config, part);
}

static dk_view head_stats(const dk_workset *set, const dk_block *block, qk_norm norm)
{
    dk_view stats = norm.part ? block->k_stats : block->q_stats;
    const dk_config *c = &set->model->config;
    int64_t rows = set->rows * norms_in_row(c, norm.part) / norms_of(c, norm.part);
    return dk_view_present(stats) ? dk_view_rows(stats, norm.number * rows, rows) : stats;
}

static const dk_parameter *qk_norm_weight(const dk_layer *w, qk_norm norm)
{
    if (w->q_norms) return (norm.part ? w->k_norms : w->q_norms)[norm.number];
    return norm.part ? w->k_norm : w->q_norm;
}

static const dk_parameter *qk_norm_bias(const dk_layer *w, qk_norm norm)
{
    return norm.part ? w->k_norm_bias : w->q_norm_bias;
}

static dk_view gate_of(const dk_config *config, dk_view up)
{
    return config->gated ? dk_view_columns(up, 0, config->intermediate_size) : up;
}

static dk_view up_of(const dk_config *config, dk_view up)
{
    return config->gated ? dk_view_columns(up, config->intermediate_size, config->intermediate_size) : dk_view_none();
}

/* ---- planning ---- */
static int32_t has_post_norms(const dk_model *model) { return model->layers[0].attention_post_norm != NULL; }

static void plan_post_norms(dk_arena *arena, const dk_model *model, int64_t rows, int32_t backward, dk_block *block)
{
    dk_dtype real = arena->backend->real;
    if (!has_post_norms(model)) return;
    block->attention_out = dk_arena_2d(arena, real, rows, model->config.hidden_size);
    block->mlp_out = backward ? dk_arena_2d(arena, real, rows, model->config.hidden_size) : block->attention_out;
    if (!backward) return;
    block->attention_out_stats = dk_arena_2d(arena, real, rows, 2);
    block->mlp_out_stats = dk_arena_2d(arena, real, rows, 2);
}

static int32_t has_dense_layers(const dk_config *c)
{
    int64_t sparse = 0;
    for (int64_t i = 0; c->layer_experts && i < c->layers; i++) sparse += c->layer_experts[i];
    return sparse < c->layers;
}

void dk_block_plan(dk_arena *arena, const dk_model *model, int64_t rows, int32_t backward, dk_block *block)
{
    const dk_config *c = &model->config;
    dk_dtype real = arena->backend->real;
    int64_t q = c->heads * c->head_dim, wide = q + 2 * c->kv_heads * c->head_dim;
    block->normed = dk_arena_2d(arena, real, rows, c->hidden_size);
    block->qkv = dk_arena_2d(arena, real, rows, wide);
    if (c->qk_norm) block->pre_norm = dk_arena_2d(arena, real, rows, wide);
    block->attended = dk_arena_2d(arena, real, rows, q);
    block->residual = dk_arena_2d(arena, real, rows, c->hidden_size);
    if (has_dense_layers(c)) {
        block->up = dk_arena_2d(arena, real, rows, (c->gated ? 2 : 1) * c->intermediate_size);
        block->active = dk_arena_2d(arena, real, rows, c->intermediate_size);
    }
    block->mlp_normed = block->normed;
    plan_post_norms(arena, model, rows, backward, block);
    if (!backward) return;
    block->mlp_normed = dk_arena_2d(arena, real, rows, c->hidden_size);
    block->norm_stats = dk_arena_2d(arena, real, rows, 2);
    block->mlp_stats = dk_arena_2d(arena, real, rows, 2);
    block->lse = dk_arena_2d(arena, real, rows, c->heads);
    if (!c->qk_norm) return;
    block->q_stats = dk_arena_2d(arena, real, rows * norms_in_row(c, 0), 2);
    block->k_stats = dk_arena_2d(arena, real, rows * norms_in_row(c, 1), 2);
}

void dk_workset_plan(dk_arena *arena, const dk_model *model, int64_t rows, int32_t backward, dk_workset *set)
{
    const dk_config *c = &model->config;
    dk_dtype real = arena->backend->real;
    int64_t q = c->heads * c->head_dim;
    set->branch = dk_arena_2d(arena, real, rows, c->hidden_size);
    dk_routing_plan(arena, model, rows, &set->routing);
    if (!backward) return;
    set->dqkv = dk_arena_2d(arena, real, rows, q + 2 * c->kv_heads * c->head_dim);
    set->dattended = dk_arena_2d(arena, real, rows, q);
    set->dup = dk_arena_2d(arena, real, rows, (c->gated ? 2 : 1) * c->intermediate_size);
    set->dactive = dk_arena_2d(arena, real, rows, c->intermediate_size);
    if (has_post_norms(model)) set->dout = dk_arena_2d(arena, real, rows, c->hidden_size);
}

/* ---- arguments ---- */
dk_norm_args dk_norm_of(const dk_config *config, const dk_parameter *weight, const dk_parameter *bias)
{
    return (dk_norm_args){.kind = config->norm,
                          .epsilon = config->norm_epsilon,
                          .weight_offset = config->norm_offset,
                          .weight = weight->value,
                          .bias = bias ? bias->value : dk_view_none()};
}

dk_attention_args dk_attention_of(const dk_workset *set, int64_t layer)
{
    const dk_config *c = &set->model->config;
    dk_attention_args args = set->attention;
    args.window = c->window[layer];
    args.scale = c->scale_by_layer ? c->attention_scale / (double)(layer + 1) : c->attention_scale;
    args.softcap = c->attention_softcap;
    args.precision = set->precision;
    return args;
}

static dk_view table_of(const dk_workset *set, int64_t layer, int32_t part)
{
    if (set->model->config.layer_rope[layer] == 2) return set->rotation.local;
    return part ? set->rotation.keys : set->rotation.queries;
}

static void rotate(const dk_workset *set, int64_t layer, dk_view qkv, int32_t inverse)
{
    const dk_config *c = &set->model->config;
    if (!dk_view_present(set->rotation.keys) || !c->layer_rope[layer]) return;
    for (int32_t part = 0; part < 2; part++)
        set->queue->backend->ops->rope(set->queue, dk_qkv_part(c, qkv, part), table_of(set, layer, part),
                                       dk_used_rows(set, set->positions), inverse);
}

/* ---- forward ---- */
static void norm_heads(const dk_workset *set, const dk_block *block, const dk_layer *weights)
{
    const dk_config *c = &set->model->config;
    const dk_ops *ops = set->queue->backend->ops;
    dk_view pre_norm = dk_used_rows(set, block->pre_norm), qkv = dk_used_rows(set, block->qkv);
    for (qk_norm norm = {0}; norm.part < 2; norm.part++)
        for (norm.number = 0; norm.number < norms_of(c, norm.part); norm.number++) {
            dk_norm_args args = dk_norm_of(c, qk_norm_weight(weights, norm), qk_norm_bias(weights, norm));
            ops->norm(set->queue, &args, normed_part(c, pre_norm, norm), normed_part(c, qkv, norm),
                      head_stats(set, block, norm));
        }
    ops->convert(set->queue, dk_qkv_part(c, pre_norm, 2), dk_qkv_part(c, qkv, 2));
}

/* What the projection reads: x behind its norm, or x itself where there is none. */
static dk_view projected(const dk_workset *set, const dk_block *block, const dk_layer *w, dk_view x)
{
    return w->attention_norm ? dk_used_rows(set, block->normed) : x;
}

/* The same for the MLP. */
static dk_view expanded(const dk_workset *set, const dk_block *block, const dk_layer *w)
{
    if (!w->mlp_norm && set->model->config.parallel) return dk_used_rows(set, block->normed);
    return dk_used_rows(set, w->mlp_norm ? block->mlp_normed : block->residual);
}

void dk_block_project(const dk_workset *set, const dk_block *block, int64_t layer, dk_view x)
{
    const dk_ops *ops = set->queue->backend->ops;
    const dk_config *c = &set->model->config;
    const dk_layer *w = &set->model->layers[layer];
    dk_view qkv = dk_used_rows(set, block->qkv);
    if (w->attention_norm) {
        dk_norm_args norm = dk_norm_of(c, w->attention_norm, w->attention_norm_bias);
        ops->norm(set->queue, &norm, x, dk_used_rows(set, block->normed), dk_used_rows(set, block->norm_stats));
    }
    ops->linear_forward(set->queue, w->qkv_linear, set->precision, projected(set, block, w, x),
                        c->qk_norm ? dk_used_rows(set, block->pre_norm) : qkv);
    if (c->qk_norm) norm_heads(set, block, w);
    rotate(set, layer, qkv, 0);
}

void dk_block_attend(const dk_workset *set, const dk_block *block, int64_t layer)
{
    const dk_config *c = &set->model->config;
    dk_view qkv = dk_used_rows(set, block->qkv), attended = dk_view_split(dk_used_rows(set, block->attended), c->heads);
    dk_attention_args args = dk_attention_of(set, layer);
    set->queue->backend->ops->attention(set->queue, &args, dk_qkv_part(c, qkv, 0), dk_qkv_part(c, qkv, 1),
                                        dk_qkv_part(c, qkv, 2), attended, dk_used_rows(set, block->lse));
}

/* y = x + residual_scale*branch */
static void add_branch(const dk_workset *set, dk_view x, dk_view branch, dk_view y)
{
    const dk_ops *ops = set->queue->backend->ops;
    double scale = set->model->config.residual_scale;
    if (scale != 1) ops->scale(set->queue, branch, scale);
    ops->add(set->queue, x, branch, y);
}

/* y = residual + linear(x) at once, where nothing stands between the two. */
static void join_branch(const dk_workset *set, const dk_linear *linear, dk_view x, dk_view residual, dk_view y)
{
    const dk_linear_end end = {.onto = residual, .out = y};
    set->queue->backend->ops->linear_forward_then(set->queue, linear, set->precision, x, dk_used_rows(set, set->branch),
                                                  &end);
}

static int32_t is_joined(const dk_workset *set, const dk_parameter *post_norm)
{
    return !post_norm && set->model->config.residual_scale == 1;
}

/* branch = linear(x), behind the branch's own norm where there is one. */
static void run_branch(const dk_workset *set, const dk_linear *linear, dk_view x, const dk_parameter *post_norm,
                       dk_view before, dk_view stats)
{
    const dk_ops *ops = set->queue->backend->ops;
    dk_view branch = dk_used_rows(set, set->branch), out = post_norm ? dk_used_rows(set, before) : branch;
    ops->linear_forward(set->queue, linear, set->precision, x, out);
    if (!post_norm) return;
    dk_norm_args norm = dk_norm_of(&set->model->config, post_norm, NULL);
    ops->norm(set->queue, &norm, out, branch, dk_used_rows(set, stats));
}

static void leave_attention(const dk_workset *set, const dk_block *block, const dk_layer *w, dk_view x)
{
    dk_view attended = dk_used_rows(set, block->attended), residual = dk_used_rows(set, block->residual);
    if (is_joined(set, w->attention_post_norm)) {
        join_branch(set, w->out_linear, attended, x, residual);
        return;
    }
    run_branch(set, w->out_linear, attended, w->attention_post_norm, block->attention_out, block->attention_out_stats);
    add_branch(set, x, dk_used_rows(set, set->branch), residual);
}

static void activate(const dk_workset *set, const dk_block *block, const dk_layer *w)
{
    const dk_config *c = &set->model->config;
    const dk_ops *ops = set->queue->backend->ops;
    dk_view up = dk_used_rows(set, block->up), active = dk_used_rows(set, block->active);
    if (c->gated) { /* gate and up are only read again by backward */
        const dk_linear_end end = {
            .activation = c->activation, .out = active, .keep = dk_view_present(block->mlp_stats)};
        ops->linear_forward_then(set->queue, w->up_linear, set->precision, expanded(set, block, w), up, &end);
        return;
    }
    ops->linear_forward(set->queue, w->up_linear, set->precision, expanded(set, block, w), up);
    ops->glu(set->queue, c->activation, gate_of(c, up), up_of(c, up), active);
}

void dk_block_expand(const dk_workset *set, const dk_block *block, int64_t layer, dk_view x)
{
    const dk_config *c = &set->model->config;
    const dk_ops *ops = set->queue->backend->ops;
    const dk_layer *w = &set->model->layers[layer];
    dk_view residual = dk_used_rows(set, block->residual);
    leave_attention(set, block, w, x);
    if (w->mlp_norm) {
        dk_norm_args norm = dk_norm_of(c, w->mlp_norm, w->mlp_norm_bias);
        ops->norm(set->queue, &norm, c->parallel ? x : residual, dk_used_rows(set, block->mlp_normed),
                  dk_used_rows(set, block->mlp_stats));
    }
    if (!w->experts) activate(set, block, w); /* what is inside experts is theirs */
}

static void contract(const dk_workset *set, const dk_block *block, int64_t layer)
{
    const dk_layer *w = &set->model->layers[layer];
    if (w->experts) {
        dk_experts_forward(set, layer, expanded(set, block, w), dk_used_rows(set, set->branch));
        return;
    }
    run_branch(set, w->down_linear, dk_used_rows(set, block->active), w->mlp_post_norm, block->mlp_out,
               block->mlp_out_stats);
}

void dk_block_finish(const dk_workset *set, const dk_block *block, int64_t layer, dk_view y)
{
    const dk_layer *w = &set->model->layers[layer];
    dk_view residual = dk_used_rows(set, block->residual);
    if (!w->experts && is_joined(set, w->mlp_post_norm)) {
        join_branch(set, w->down_linear, dk_used_rows(set, block->active), residual, y);
        return;
    }
    contract(set, block, layer);
    add_branch(set, residual, dk_used_rows(set, set->branch), y);
}

static void run_inside(const dk_workset *set, const dk_block *block, int64_t layer, dk_view x)
{
    dk_block_project(set, block, layer, x);
    dk_block_attend(set, block, layer);
    dk_block_expand(set, block, layer, x);
}

void dk_block_recompute(const dk_workset *set, const dk_block *block, int64_t layer, dk_view x)
{
    run_inside(set, block, layer, x);
    if (set->model->layers[layer].mlp_post_norm) contract(set, block, layer);
}

void dk_block_forward(const dk_workset *set, const dk_block *block, int64_t layer, dk_view x, dk_view y)
{
    run_inside(set, block, layer, x);
    dk_block_finish(set, block, layer, y);
}

/* ---- backward ---- */
/* The gradient that enters a branch: dx itself, or a scaled copy where the residual is scaled. */
static dk_view branch_gradient(const dk_workset *set, dk_view dx)
{
    const dk_ops *ops = set->queue->backend->ops;
    double scale = set->model->config.residual_scale;
    dk_view branch = dk_used_rows(set, set->branch);
    if (scale == 1) return dx;
    ops->convert(set->queue, dx, branch);
    ops->scale(set->queue, branch, scale);
    return branch;
}

/* From behind a branch's own norm to before it; dx itself is not touched. */
static dk_view post_norm_backward(const dk_workset *set, const dk_parameter *post_norm, dk_view before, dk_view stats,
                                  dk_view dbranch)
{
    dk_view dout = dk_used_rows(set, set->dout);
    if (!post_norm) return dbranch;
    dk_norm_args norm = dk_norm_of(&set->model->config, post_norm, NULL);
    set->queue->backend->ops->norm_backward(set->queue, &norm, dk_used_rows(set, before), dk_used_rows(set, stats),
                                            dbranch, dout, 0, dk_gradient_of(post_norm), dk_view_none());
    return dout;
}

/* With one norm for both branches its gradient is left in set->branch for input_norm_backward. */
static void mlp_backward(const dk_workset *set, const dk_block *block, int64_t layer, dk_view x, dk_view dx)
{
    const dk_config *c = &set->model->config;
    const dk_ops *ops = set->queue->backend->ops;
    const dk_layer *w = &set->model->layers[layer];
    dk_view up = dk_used_rows(set, block->up), dup = dk_used_rows(set, set->dup),
            dactive = dk_used_rows(set, set->dactive);
    dk_view dout =
        post_norm_backward(set, w->mlp_post_norm, block->mlp_out, block->mlp_out_stats, branch_gradient(set, dx));
    int32_t in_place = !w->mlp_norm && !c->parallel; /* the MLP reads the residual stream itself */
    dk_view dinput = in_place ? dx : dk_used_rows(set, set->branch);
    ops->linear_backward_weight(set->queue, w->down_linear, set->precision, dk_used_rows(set, block->active), dout);
    ops->linear_backward_input(set->queue, w->down_linear, set->precision, dout, dactive, 0);
    ops->glu_backward(set->queue, c->activation, gate_of(c, up), up_of(c, up), dactive, gate_of(c, dup), up_of(c, dup));
    ops->linear_backward_weight(set->queue, w->up_linear, set->precision, expanded(set, block, w), dup);
    ops->linear_backward_input(set->queue, w->up_linear, set->precision, dup, dinput, in_place);
    if (!w->mlp_norm) return;
    dk_norm_args norm = dk_norm_of(c, w->mlp_norm, w->mlp_norm_bias);
    ops->norm_backward(set->queue, &norm, c->parallel ? x : dk_used_rows(set, block->residual),
                       dk_used_rows(set, block->mlp_stats), dinput, dx, 1, dk_gradient_of(w->mlp_norm),
                       dk_gradient_of(w->mlp_norm_bias));
}

/* In place: reads pre_norm, and puts its gradient where that of q or k was. */
static void head_norm_backward(const dk_workset *set, const dk_block *block, const dk_layer *w, qk_norm norm)
{
    const dk_config *c = &set->model->config;
    const dk_parameter *weight = qk_norm_weight(w, norm), *bias = qk_norm_bias(w, norm);
    dk_view d = normed_part(c, dk_used_rows(set, set->dqkv), norm),
            pre_norm = normed_part(c, dk_used_rows(set, block->pre_norm), norm);
    dk_norm_args args = dk_norm_of(c, weight, bias);
    set->queue->backend->ops->norm_backward(set->queue, &args, pre_norm, head_stats(set, block, norm), d, d, 0,
                                            dk_gradient_of(weight), dk_gradient_of(bias));
}

static void head_norms_backward(const dk_workset *set, const dk_block *block, const dk_layer *w)
{
    for (qk_norm norm = {0}; norm.part < 2; norm.part++)
        for (norm.number = 0; norm.number < norms_of(&set->model->config, norm.part); norm.number++)
            head_norm_backward(set, block, w, norm);
}

/* From the gradient of attention's branch to that of what the projection gave. */
static void attention_backward(const dk_workset *set, const dk_block *block, int64_t layer, dk_view dx,
                               const dk_view taps[3])
{
    const dk_config *c = &set->model->config;
    const dk_ops *ops = set->queue->backend->ops;
    const dk_layer *w = &set->model->layers[layer];
    dk_view attended = dk_used_rows(set, block->attended), dattended = dk_used_rows(set, set->dattended), in[3], out[3];
    dk_attention_args args = dk_attention_of(set, layer);
    dk_view dout = post_norm_backward(set, w->attention_post_norm, block->attention_out, block->attention_out_stats,
                                      branch_gradient(set, dx));
    for (int32_t part = 0; part < 3; part++) {
        in[part] = dk_qkv_part(c, dk_used_rows(set, block->qkv), part);
        out[part] = dk_qkv_part(c, dk_used_rows(set, set->dqkv), part);
    }
    ops->linear_backward_weight(set->queue, w->out_linear, set->precision, attended, dout);
    ops->linear_backward_input(set->queue, w->out_linear, set->precision, dout, dattended, 0);
    ops->attention_backward(set->queue, &args, in[0], in[1], in[2], dk_view_split(attended, c->heads),
                            dk_used_rows(set, block->lse), dk_view_split(dattended, c->heads), out[0], out[1], out[2]);
    for (int32_t part = 0; part < 3; part++)
        if (dk_view_present(taps[part]))
            ops->axpy(set->queue, 1, dk_view_split(dk_used_rows(set, taps[part]), out[part].shape[1]), out[part]);
    rotate(set, layer, dk_used_rows(set, set->dqkv), 1);
    if (c->qk_norm) head_norms_backward(set, block, w);
}

static void input_norm_backward(const dk_workset *set, const dk_block *block, const dk_layer *w, dk_view x, dk_view dx,
                                int32_t want_input)
{
    const dk_ops *ops = set->queue->backend->ops;
    dk_view dqkv = dk_used_rows(set, set->dqkv), dnormed = dk_used_rows(set, set->branch);
    dk_view dweight = dk_gradient_of(w->attention_norm), dbias = dk_gradient_of(w->attention_norm_bias);
    dk_norm_args norm = dk_norm_of(&set->model->config, w->attention_norm, w->attention_norm_bias);
    if (!want_input && !dk_view_present(dweight) && !dk_view_present(dbias)) return;
    ops->linear_backward_input(set->queue, w->qkv_linear, set->precision, dqkv, dnormed,
                               set->model->config.parallel && !w->mlp_norm);
    ops->norm_backward(set->queue, &norm, x, dk_used_rows(set, block->norm_stats), dnormed,
                       want_input ? dx : dk_view_none(), 1, dweight, dbias);
}

void dk_block_backward(const dk_workset *set, const dk_block *block, int64_t layer, dk_view x, dk_view dx,
                       const dk_view taps[3], int32_t want_input)
{
    const dk_ops *ops = set->queue->backend->ops;
    const dk_layer *w = &set->model->layers[layer];
    dk_view dqkv = dk_used_rows(set, set->dqkv);
    /* dx is the gradient of both branches where they are parallel: attention reads it before the MLP adds to it. */
    if (set->model->config.parallel) attention_backward(set, block, layer, dx, taps);
    mlp_backward(set, block, layer, x, dx);
    if (!set->model->config.parallel) attention_backward(set, block, layer, dx, taps);
    ops->linear_backward_weight(set->queue, w->qkv_linear, set->precision, projected(set, block, w, x), dqkv);
    if (w->attention_norm) input_norm_backward(set, block, w, x, dx, want_input);
    else if (want_input) ops->linear_backward_input(set->queue, w->qkv_linear, set->precision, dqkv, dx, 1);
}
