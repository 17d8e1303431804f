/* Forward and backward of the trunk over a ragged batch, in memory planned once. */
#include "base/work.h"
#include "model/pass_parts.h"

#include <string.h>

struct dk_pass {
    const dk_model *model;
    dk_host *host;
    dk_pass_spec spec;
    dk_queue queue;
    dk_arena arena;
    dk_workset set;
    int64_t first;       /* lowest block that backward goes through; layers = none */
    int64_t max_length;  /* of a sequence */
    dk_view ids, stream; /* I32 [rows]; [rows, hidden]: the residual stream up to block first */
    dk_view *x;          /* [layers + 1] input of each block, then the last one's output; stream up to first */
    dk_block *blocks;    /* [0] is used by all that keep nothing, then one for each block from first on */
    dk_view hidden, final_stats;
    dk_tap_spec *taps;
    dk_view *tap, *tap_gradient;
    int32_t *numbers; /* [max_rows] positions on their way in */
    int64_t *offsets; /* [max_sequences + 1] of the batch that forward saw */
    dk_watch_fn watch;
    void *watcher;
    dk_whole_fn whole;
    void *whole_user;
    int32_t forwarded;
};

/* ---- what is trained ---- */
static int32_t is_trained(const dk_parameter *parameter) { return parameter && !parameter->frozen; }

typedef int32_t (*test_fn)(const dk_parameter *parameter, const dk_parameter *asked);

static int32_t any_of_block(const dk_config *c, const dk_layer *w, test_fn test, const dk_parameter *asked)
{
    const dk_parameter *all[] = {w->attention_norm,
                                 w->attention_norm_bias,
                                 w->qkv[0],
                                 w->qkv[1],
                                 w->qkv[2],
                                 w->qkv_bias[0],
                                 w->qkv_bias[1],
                                 w->qkv_bias[2],
                                 w->q_norm,
                                 w->k_norm,
                                 w->q_norm_bias,
                                 w->k_norm_bias,
                                 w->attention_post_norm,
                                 w->mlp_post_norm,
                                 w->out,
                                 w->out_bias,
                                 w->mlp_norm,
                                 w->mlp_norm_bias,
                                 w->up[0],
                                 w->up[1],
                                 w->up_bias[0],
                                 w->up_bias[1],
                                 w->down,
                                 w->down_bias};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (test(all[i], asked)) return 1;
    for (int64_t i = 0; w->q_norms && i < c->heads; i++)
        if (test(w->q_norms[i], asked)) return 1;
    for (int64_t i = 0; w->k_norms && i < c->kv_heads; i++)
        if (test(w->k_norms[i], asked)) return 1;
    return 0;
}

static int32_t trains(const dk_parameter *parameter, const dk_parameter *asked)
{
    (void)asked;
    return is_trained(parameter);
}

static int32_t is_asked(const dk_parameter *parameter, const dk_parameter *asked) { return parameter == asked; }

int64_t dk_model_whole_at(const dk_model *model, const dk_parameter *parameter)
{
    if (parameter == model->embedding || parameter == model->positions) return -1;
    for (int64_t l = 0; l < model->config.layers; l++)
        if (any_of_block(&model->config, &model->layers[l], is_asked, parameter)) return l;
    return model->config.layers;
}

static int32_t input_is_trained(const dk_model *model)
{
    return is_trained(model->embedding) || is_trained(model->positions);
}

int64_t dk_model_first_trained(const dk_model *model)
{
    int64_t l = 0;
    if (input_is_trained(model)) return 0;
    while (l < model->config.layers && !any_of_block(&model->config, &model->layers[l], trains, NULL)) l++;
    return l;
}

/* ---- planning: the same walk measures (arrays may be absent) and hands out ---- */
static int64_t tap_width(const dk_config *config, dk_tap_kind kind)
{
    if (kind == DK_TAP_Q) return config->heads * config->head_dim;
    return kind == DK_TAP_K || kind == DK_TAP_V ? config->kv_heads * config->head_dim : config->hidden_size;
}

static void plan_taps(dk_pass *pass, dk_arena *arena)
{
    for (int64_t i = 0; i < pass->spec.tap_count; i++) {
        int64_t width = tap_width(&pass->model->config, pass->spec.taps[i].kind);
        dk_view tap = dk_arena_2d(arena, arena->backend->real, pass->spec.max_rows, width), gradient = dk_view_none();
        if (pass->spec.backward) gradient = dk_arena_2d(arena, arena->backend->real, pass->spec.max_rows, width);
        if (!pass->tap) continue;
        pass->tap[i] = tap;
        pass->tap_gradient[i] = gradient;
    }
}

static void plan_blocks(dk_pass *pass, dk_arena *arena)
{
    int64_t layers = pass->model->config.layers, rows = pass->spec.max_rows;
    dk_block unused = {0};
    dk_block *blocks = pass->blocks;
    if (pass->spec.checkpointing || pass->first > 0)
        dk_block_plan(arena, pass->model, rows, pass->spec.checkpointing && pass->first < layers,
                      blocks ? blocks : &unused);
    for (int64_t l = pass->first; l < layers && !pass->spec.checkpointing; l++)
        dk_block_plan(arena, pass->model, rows, 1, blocks ? &blocks[1 + l - pass->first] : &unused);
}

static void plan(dk_pass *pass, dk_arena *arena)
{
    const dk_config *c = &pass->model->config;
    dk_dtype real = arena->backend->real;
    int64_t rows = pass->spec.max_rows;
    pass->ids = dk_arena_take(arena, DK_I32, 1, &rows);
    pass->set.positions = dk_arena_take(arena, DK_I32, 1, &rows);
    pass->stream = dk_arena_2d(arena, real, rows, c->hidden_size);
    for (int64_t l = 0; l <= c->layers; l++) {
        dk_view x = l <= pass->first ? pass->stream : dk_arena_2d(arena, real, rows, c->hidden_size);
        if (pass->x) pass->x[l] = x;
    }
    pass->hidden = dk_arena_2d(arena, real, rows, c->hidden_size);
    if (pass->spec.backward) pass->final_stats = dk_arena_2d(arena, real, rows, 2);
    plan_blocks(pass, arena);
    dk_workset_plan(arena, pass->model, rows, pass->first < c->layers, &pass->set);
    plan_taps(pass, arena);
}

static void begin(dk_pass *pass, const dk_model *model, const dk_pass_spec *spec)
{
    int64_t context = model->config.max_positions;
    pass->model = model;
    pass->host = model->host;
    pass->spec = *spec;
    pass->first = spec->backward ? dk_model_first_trained(model) : model->config.layers;
    pass->max_length = context < spec->max_rows ? context : spec->max_rows;
    pass->set.model = model;
    pass->set.queue = &pass->queue;
    pass->set.precision = spec->precision;
    dk_arena_init(&pass->arena, model->backend);
}

int32_t dk_pass_set_precision(dk_pass *pass, dk_precision precision, dk_error *err)
{
    int32_t rc = DK_OK;
    if (precision == pass->set.precision) return DK_OK;
    DK_TRY(dk_check_precision(pass->model->backend, precision, "pass", err));
    DK_TRY(dk_model_keep(pass->model, precision, err));
    pass->set.precision = precision;
out:
    return rc;
}

static int32_t allocate(dk_pass *pass, dk_error *err)
{
    int32_t rc;
    int64_t taps = pass->spec.tap_count, layers = pass->model->config.layers;
    DK_TRY(dk_new(pass->host, layers + 1, &pass->x, err));
    DK_TRY(dk_new(pass->host, 1 + layers - pass->first, &pass->blocks, err));
    DK_TRY(dk_new(pass->host, taps + 1, &pass->taps, err));
    DK_TRY(dk_new(pass->host, taps + 1, &pass->tap, err));
    DK_TRY(dk_new(pass->host, taps + 1, &pass->tap_gradient, err));
    DK_TRY(dk_new(pass->host, pass->spec.max_rows, &pass->numbers, err));
    DK_TRY(dk_routing_create(pass->model, pass->spec.max_rows, &pass->set.routing, err));
    DK_TRY(dk_new(pass->host, pass->spec.max_sequences + 1, &pass->offsets, err));
    if (taps) memcpy(pass->taps, pass->spec.taps, (size_t)taps * sizeof *pass->taps);
    pass->spec.taps = pass->taps;
    plan(pass, &pass->arena);
    DK_TRY(dk_arena_commit(&pass->arena, err));
    plan(pass, &pass->arena);
out:
    return rc;
}

static int32_t check_taps(const dk_model *model, const dk_pass_spec *spec, dk_error *err)
{
    for (int64_t i = 0; i < spec->tap_count; i++) {
        const dk_tap_spec *tap = &spec->taps[i];
        if (tap->kind < DK_TAP_BLOCK || tap->kind > DK_TAP_V)
            return dk_fail(err, DK_E_INVALID, "tap %lld: kind %d is unknown", (long long)i, (int)tap->kind);
        if (tap->kind != DK_TAP_FINAL && (tap->layer < 0 || tap->layer >= model->config.layers))
            return dk_fail(err, DK_E_INVALID, "tap %lld: layer %lld is not in [0, %lld)", (long long)i,
                           (long long)tap->layer, (long long)model->config.layers);
    }
    return DK_OK;
}

static int32_t check_spec(const dk_model *model, const dk_pass_spec *spec, dk_error *err)
{
    if (spec->max_rows < 1 || spec->max_rows > INT32_MAX || spec->max_sequences < 1 || spec->max_sequences > INT32_MAX)
        return dk_fail(err, DK_E_INVALID, "pass: %lld rows in %lld sequences; both must be in [1, %d]",
                       (long long)spec->max_rows, (long long)spec->max_sequences, INT32_MAX);
    int32_t rc = dk_check_precision(model->backend, spec->precision, "pass", err);
    if (rc) return rc;
    for (int64_t i = 0; spec->backward && i < model->parameter_count; i++)
        if (is_trained(&model->parameters[i]) && !dk_view_present(model->parameters[i].gradient))
            return dk_fail(err, DK_E_STAGE, "pass: backward needs a gradient for %s; add gradients to the model first",
                           model->parameters[i].name);
    return check_taps(model, spec, err);
}

int32_t dk_pass_create(dk_model *model, const dk_pass_spec *spec, dk_pass **out, dk_error *err)
{
    int32_t rc;
    dk_pass *pass = NULL;
    DK_TRY(check_spec(model, spec, err));
    DK_TRY(dk_new(model->host, 1, &pass, err));
    begin(pass, model, spec);
    DK_TRY(dk_queue_open(&pass->queue, model->backend, err));
    DK_TRY(dk_model_keep(model, spec->precision, err));
    DK_TRY(allocate(pass, err));
    DK_TRY(dk_rotation_create(model->backend, &model->config, pass->max_length, &pass->set.rotation, err));
    *out = pass;
    pass = NULL;
out:
    dk_pass_free(pass);
    return rc;
}

void dk_pass_free(dk_pass *pass)
{
    if (!pass) return;
    dk_rotation_free(pass->model->backend, &pass->set.rotation);
    dk_routing_free(pass->model, &pass->set.routing);
    dk_arena_free(&pass->arena);
    dk_queue_close(&pass->queue);
    dk_free(pass->host, pass->x);
    dk_free(pass->host, pass->blocks);
    dk_free(pass->host, pass->taps);
    dk_free(pass->host, pass->tap);
    dk_free(pass->host, pass->tap_gradient);
    dk_free(pass->host, pass->numbers);
    dk_free(pass->host, pass->offsets);
    dk_free(pass->host, pass);
}

int64_t dk_pass_bytes(const dk_pass_spec *spec, const dk_model *model)
{
    dk_pass pass = {0};
    begin(&pass, model, spec);
    plan(&pass, &pass.arena);
    int64_t bytes = pass.arena.used + spec->max_rows * (int64_t)sizeof *pass.numbers +
                    spec->max_sequences * (int64_t)sizeof *pass.offsets + dk_routing_bytes(model, spec->max_rows);
    return bytes + dk_rotation_bytes(model->backend, &model->config, pass.max_length);
}

/* ---- forward ---- */
static int32_t check_batch(const dk_pass *pass, const dk_tokens *tokens, dk_error *err)
{
    int64_t sequences = tokens->sequences,
            rows = sequences >= 0 && sequences <= pass->spec.max_sequences ? tokens->offsets[sequences] : -1;
    if (rows < 0)
        return dk_fail(err, DK_E_INVALID, "tokens: %lld sequences; the pass was made for %lld", (long long)sequences,
                       (long long)pass->spec.max_sequences);
    if (rows > pass->spec.max_rows)
        return dk_fail(err, DK_E_INVALID, "tokens: %lld rows; the pass was made for %lld", (long long)rows,
                       (long long)pass->spec.max_rows);
    for (int64_t s = 0; s < sequences; s++) {
        int64_t length = tokens->offsets[s + 1] - tokens->offsets[s];
        if (length > pass->max_length)
            return dk_fail(err, DK_E_INVALID,
                           "tokens: sequence %lld has %lld tokens, but the model's context ends at %lld; cut it",
                           (long long)s, (long long)length, (long long)pass->max_length);
    }
    return dk_check_tokens(&pass->model->config, tokens, err);
}

static void bring_in(dk_pass *pass, const dk_tokens *tokens)
{
    const dk_ops *ops = pass->model->backend->ops;
    pass->set.rows = tokens->offsets[tokens->sequences];
    for (int64_t s = 0; s < tokens->sequences; s++) {
        int64_t begin = tokens->offsets[s], end = tokens->offsets[s + 1];
        int64_t shift = dk_rope_shift(&pass->model->config.rope, end - begin);
        for (int64_t i = begin; i < end; i++) pass->numbers[i] = (int32_t)(shift + i - begin);
    }
    memcpy(pass->offsets, tokens->offsets, (size_t)(tokens->sequences + 1) * sizeof *pass->offsets);
    ops->copy_in(&pass->queue, dk_used_rows(&pass->set, pass->ids), tokens->ids);
    ops->copy_in(&pass->queue, dk_used_rows(&pass->set, pass->set.positions), pass->numbers);
    pass->set.attention = (dk_attention_args){.sequences = tokens->sequences, .query_offsets = pass->offsets};
}

static dk_block *block_of(const dk_pass *pass, int64_t layer)
{
    return pass->spec.checkpointing || layer < pass->first ? pass->blocks : &pass->blocks[1 + layer - pass->first];
}

static dk_view x_of(const dk_pass *pass, int64_t layer) { return dk_used_rows(&pass->set, pass->x[layer]); }

static void fill_taps(dk_pass *pass, int64_t layer)
{
    const dk_ops *ops = pass->model->backend->ops;
    dk_view qkv = dk_used_rows(&pass->set, block_of(pass, layer)->qkv);
    for (int64_t i = 0; i < pass->spec.tap_count; i++) {
        const dk_tap_spec *spec = &pass->taps[i];
        dk_view tap = dk_pass_tap(pass, i);
        if (spec->layer != layer || spec->kind == DK_TAP_FINAL) continue;
        if (spec->kind == DK_TAP_BLOCK) {
            ops->convert(&pass->queue, x_of(pass, layer + 1), tap);
        } else {
            dk_view part = dk_qkv_part(&pass->model->config, qkv, (int32_t)spec->kind - DK_TAP_Q);
            ops->convert(&pass->queue, part, dk_view_split(tap, part.shape[1]));
        }
    }
}

static void finish_taps(dk_pass *pass)
{
    const dk_ops *ops = pass->model->backend->ops;
    for (int64_t i = 0; i < pass->spec.tap_count; i++) {
        if (pass->taps[i].kind == DK_TAP_FINAL) ops->convert(&pass->queue, dk_pass_hidden(pass), dk_pass_tap(pass, i));
        if (pass->spec.backward) ops->fill(&pass->queue, dk_pass_tap_gradient(pass, i), 0);
    }
}

void dk_pass_watch(dk_pass *pass, dk_watch_fn fn, void *user)
{
    pass->watch = fn;
    pass->watcher = user;
}

void dk_pass_on_whole(dk_pass *pass, dk_whole_fn fn, void *user)
{
    pass->whole = fn;
    pass->whole_user = user;
}

static void tell_whole(dk_pass *pass, int64_t layer)
{
    if (pass->whole) pass->whole(pass->whole_user, &pass->queue, layer);
}

static void show(dk_pass *pass, dk_seen what, int64_t layer, dk_view value)
{
    if (pass->watch) pass->watch(pass->watcher, &pass->queue, what, layer, dk_used_rows(&pass->set, value));
}

/* The parts of dk_block_forward, one after the other. */
static void forward_watched(dk_pass *pass, const dk_block *block, int64_t l)
{
    const dk_layer *w = &pass->model->layers[l];
    dk_view x = x_of(pass, l);
    show(pass, DK_SEEN_INPUT, l, x);
    dk_block_project(&pass->set, block, l, x);
    show(pass, DK_SEEN_NORMED, l, w->attention_norm ? block->normed : x);
    dk_block_attend(&pass->set, block, l);
    show(pass, DK_SEEN_ATTENDED, l, block->attended);
    dk_block_expand(&pass->set, block, l, x);
    show(pass, DK_SEEN_MLP_NORMED, l, w->mlp_norm ? block->mlp_normed : block->residual);
    show(pass, DK_SEEN_ACTIVE, l, block->active);
    dk_block_finish(&pass->set, block, l, x_of(pass, l + 1));
    show(pass, DK_SEEN_OUTPUT, l, x_of(pass, l + 1));
}

/* The head's part is told by those who call it. */
static void tell_work(const dk_pass *pass, int64_t tokens, double times)
{
    const int64_t rows = pass->set.rows, mean = rows / pass->set.attention.sequences;
    const double trunk = dk_model_flops(pass->model, rows, mean, 0) - dk_head_flops(pass->model, rows);
    dk_host_add_work(pass->model->backend->host, tokens, times * trunk);
}

int32_t dk_pass_forward(dk_pass *pass, const dk_tokens *tokens, dk_error *err)
{
    int32_t rc;
    const dk_model *model = pass->model;
    int64_t layers = model->config.layers;
    dk_norm_args norm = dk_norm_of(&model->config, model->final_norm, model->final_norm_bias);
    DK_TRY(check_batch(pass, tokens, err));
    pass->forwarded = 0;
    bring_in(pass, tokens);
    dk_embed_rows(&pass->set, pass->ids, x_of(pass, 0));
    for (int64_t l = 0; l < layers; l++) {
        if (pass->watch) forward_watched(pass, block_of(pass, l), l);
        else dk_block_forward(&pass->set, block_of(pass, l), l, x_of(pass, l), x_of(pass, l + 1));
        fill_taps(pass, l);
    }
    model->backend->ops->norm(&pass->queue, &norm, x_of(pass, layers), dk_pass_hidden(pass),
                              dk_used_rows(&pass->set, pass->final_stats));
    show(pass, DK_SEEN_FINAL, layers, pass->hidden);
    finish_taps(pass);
    DK_TRY(dk_queue_wait(&pass->queue, err));
    tell_work(pass, pass->set.rows, 1);
    pass->forwarded = 1;
out:
    return rc;
}

dk_view dk_pass_hidden(const dk_pass *pass) { return dk_used_rows(&pass->set, pass->hidden); }

dk_view dk_pass_tap(const dk_pass *pass, int64_t tap) { return dk_used_rows(&pass->set, pass->tap[tap]); }

dk_view dk_pass_tap_gradient(const dk_pass *pass, int64_t tap)
{
    return dk_used_rows(&pass->set, pass->tap_gradient[tap]);
}

/* ---- backward ---- */
static void add_tap_gradients(dk_pass *pass, dk_tap_kind kind, int64_t layer, dk_view dx)
{
    for (int64_t i = 0; i < pass->spec.tap_count; i++)
        if (pass->taps[i].kind == kind && (kind == DK_TAP_FINAL || pass->taps[i].layer == layer))
            pass->model->backend->ops->axpy(&pass->queue, 1, dk_pass_tap_gradient(pass, i), dx);
}

/* The taps of q, k and v in a layer. The same one asked for twice: the first takes the sum. */
static void product_taps(dk_pass *pass, int64_t layer, dk_view out[3])
{
    for (int32_t part = 0; part < 3; part++) out[part] = dk_view_none();
    for (int64_t i = 0; i < pass->spec.tap_count; i++) {
        if (pass->taps[i].layer != layer || pass->taps[i].kind < DK_TAP_Q) continue;
        dk_view *to = &out[pass->taps[i].kind - DK_TAP_Q], gradient = dk_pass_tap_gradient(pass, i);
        if (dk_view_present(*to)) {
            pass->model->backend->ops->axpy(&pass->queue, 1, gradient, *to);
        } else {
            *to = gradient;
        }
    }
}

static void block_backward(dk_pass *pass, int64_t layer, dk_view dx)
{
    dk_view taps[3], x = x_of(pass, layer);
    dk_block *block = block_of(pass, layer);
    int32_t is_last = layer == pass->model->config.layers - 1; /* its activations are still there */
    if (pass->spec.checkpointing && !is_last) dk_block_recompute(&pass->set, block, layer, x);
    add_tap_gradients(pass, DK_TAP_BLOCK, layer, dx);
    product_taps(pass, layer, taps);
    dk_block_backward(&pass->set, block, layer, x, dx, taps, layer > pass->first || input_is_trained(pass->model));
}

static void input_backward(dk_pass *pass, dk_view dx)
{
    const dk_model *model = pass->model;
    const dk_ops *ops = model->backend->ops;
    if (model->embedding) ops->settle(&pass->queue, model->embedding); /* the head's weights, perhaps */
    dk_view table = dk_gradient_of(model->embedding), positions = dk_gradient_of(model->positions);
    if (dk_view_present(table))
        ops->embed_backward(&pass->queue, table, dk_used_rows(&pass->set, pass->ids), model->config.embedding_scale,
                            dx);
    if (dk_view_present(positions))
        ops->embed_backward(&pass->queue, positions, dk_used_rows(&pass->set, pass->set.positions), 1, dx);
}

int32_t dk_pass_backward(dk_pass *pass, dk_view dhidden, dk_error *err)
{
    const dk_model *model = pass->model;
    int64_t layers = model->config.layers;
    dk_norm_args norm = dk_norm_of(&model->config, model->final_norm, model->final_norm_bias);
    dk_view dx = dhidden; /* in place all the way down */
    if (!pass->spec.backward || !pass->forwarded)
        return dk_fail(err, DK_E_STAGE, "backward: %s",
                       pass->spec.backward ? "there is no forward to go back through"
                                           : "the pass was made for forward only");
    pass->forwarded = 0; /* tap gradients and shared activations are used up */
    add_tap_gradients(pass, DK_TAP_FINAL, 0, dhidden);
    model->backend->ops->norm_backward(&pass->queue, &norm, x_of(pass, layers),
                                       dk_used_rows(&pass->set, pass->final_stats), dhidden, dx, 0,
                                       dk_gradient_of(model->final_norm), dk_gradient_of(model->final_norm_bias));
    tell_whole(pass, layers);
    for (int64_t l = layers - 1; l >= pass->first; l--) {
        block_backward(pass, l, dx);
        tell_whole(pass, l);
    }
    if (input_is_trained(model)) input_backward(pass, dx);
    tell_work(pass, 0, pass->spec.checkpointing ? 3 : 2);
    return dk_queue_wait(&pass->queue, err);
}
