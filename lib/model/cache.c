/* Decoding: keys and values of several sequences, in pages, and forward passes over what is new in them. */
#include "base/work.h"
#include "model/page_table.h"
#include "model/pass_parts.h"

#include <string.h>

struct dk_cache {
    const dk_model *model;
    dk_host *host;
    int64_t sequences, capacity, max_rows, lasts; /* lasts: rows of which a call gives the hidden state */
    dk_dtype type;
    dk_page_table pages;
    dk_queue queue;
    dk_arena arena;
    dk_workset set;
    dk_block block;
    dk_view ids, places;     /* I32 [max_rows]; places: where a row's key and value stand */
    dk_view last_rows;       /* I32 [lasts] */
    dk_view x, last, hidden; /* [max_rows, hidden], [lasts, hidden] twice */
    dk_view *keys, *values;  /* [layers] of [pages*DK_PAGE, kv_heads*head_dim] */
    dk_view narrow;   /* [max_rows, kv_heads*head_dim] on their way there; absent where they lie as they are kept */
    int64_t *planned; /* [sequences] tokens that each may get to */
    int64_t *offsets, *count; /* [sequences (+ 1)] of the call at work */
    const int32_t **of;       /* [sequences] pages of those of the call at work */
    int32_t *numbers;         /* [max of max_rows, lasts] on their way in */
};

/* ---- planning ---- */
static void plan(dk_cache *cache, dk_arena *arena)
{
    const dk_config *c = &cache->model->config;
    dk_dtype real = arena->backend->real;
    int64_t width = c->kv_heads * c->head_dim, places = cache->pages.pages * DK_PAGE;
    cache->ids = dk_arena_take(arena, DK_I32, 1, &cache->max_rows);
    cache->places = dk_arena_take(arena, DK_I32, 1, &cache->max_rows);
    cache->set.positions = dk_arena_take(arena, DK_I32, 1, &cache->max_rows);
    cache->last_rows = dk_arena_take(arena, DK_I32, 1, &cache->lasts);
    cache->x = dk_arena_2d(arena, real, cache->max_rows, c->hidden_size);
    cache->last = dk_arena_2d(arena, real, cache->lasts, c->hidden_size);
    cache->hidden = dk_arena_2d(arena, real, cache->lasts, c->hidden_size);
    dk_block_plan(arena, cache->model, cache->max_rows, 0, &cache->block);
    dk_workset_plan(arena, cache->model, cache->max_rows, 0, &cache->set);
    if (cache->type != real || c->interleaved) cache->narrow = dk_arena_2d(arena, cache->type, cache->max_rows, width);
    for (int64_t l = 0; l < c->layers; l++) {
        cache->keys[l] = dk_arena_2d(arena, cache->type, places, width);
        cache->values[l] = dk_arena_2d(arena, cache->type, places, width);
    }
}

static int32_t allocate(dk_cache *cache, dk_error *err)
{
    int32_t rc;
    int64_t n = cache->sequences, layers = cache->model->config.layers;
    DK_TRY(dk_new(cache->host, layers, &cache->keys, err));
    DK_TRY(dk_new(cache->host, layers, &cache->values, err));
    DK_TRY(dk_new(cache->host, n, &cache->planned, err));
    DK_TRY(dk_routing_create(cache->model, cache->max_rows, &cache->set.routing, err));
    DK_TRY(dk_new(cache->host, n + 1, &cache->offsets, err));
    DK_TRY(dk_new(cache->host, n, &cache->of, err));
    DK_TRY(dk_new(cache->host, n, &cache->count, err));
    DK_TRY(dk_new(cache->host, cache->max_rows > cache->lasts ? cache->max_rows : cache->lasts, &cache->numbers, err));
    plan(cache, &cache->arena);
    DK_TRY(dk_arena_commit(&cache->arena, err));
    plan(cache, &cache->arena);
out:
    return rc;
}

static int32_t check_spec(const dk_model *model, const dk_cache_spec *spec, dk_error *err)
{
    int64_t most = INT32_MAX / DK_PAGE;
    if (spec->sequences < 1 || spec->capacity < 1 || spec->max_rows < 1 || spec->max_rows > INT32_MAX ||
        spec->sequences > most || dk_pages_for(spec->capacity) > most / spec->sequences)
        return dk_fail(err, DK_E_INVALID,
                       "cache: %lld sequences of %lld tokens, %lld rows at once; each must be at least 1 and all "
                       "together at most %lld",
                       (long long)spec->sequences, (long long)spec->capacity, (long long)spec->max_rows,
                       (long long)(most * DK_PAGE));
    if (spec->capacity > model->config.max_positions)
        return dk_fail(err, DK_E_INVALID, "cache: %lld tokens for a sequence, but the model's context ends at %lld",
                       (long long)spec->capacity, (long long)model->config.max_positions);
    if (spec->tokens < 0 || spec->tokens > spec->sequences * spec->capacity)
        return dk_fail(err, DK_E_INVALID, "cache: room for %lld tokens, not in [0, %lld]; 0 = as many as may come",
                       (long long)spec->tokens, (long long)(spec->sequences * spec->capacity));
    if (spec->type && spec->type != model->backend->real && spec->type != DK_BF16)
        return dk_fail(err, DK_E_UNSUPPORTED, "cache: keys and values are kept in %s or bf16, not in %s",
                       dk_dtype_name(model->backend->real), dk_dtype_name(spec->type));
    return dk_check_precision(model->backend, spec->precision, "cache", err);
}

int32_t dk_cache_create(dk_model *model, const dk_cache_spec *spec, dk_cache **out, dk_error *err)
{
    int32_t rc;
    dk_cache *cache = NULL;
    DK_TRY(check_spec(model, spec, err));
    DK_TRY(dk_model_keep(model, spec->precision, err));
    DK_TRY(dk_new(model->host, 1, &cache, err));
    cache->model = model;
    cache->host = model->host;
    cache->sequences = spec->sequences;
    cache->capacity = spec->capacity;
    cache->max_rows = spec->max_rows;
    cache->lasts = spec->last_rows > spec->sequences ? spec->last_rows : spec->sequences;
    cache->type = spec->type ? spec->type : model->backend->real;
    dk_arena_init(&cache->arena, model->backend);
    cache->set.model = model;
    cache->set.queue = &cache->queue;
    cache->set.precision = spec->precision;
    DK_TRY(dk_page_table_init(
        &cache->pages, model->host, spec->sequences, spec->capacity,
        spec->tokens ? dk_pages_for(spec->tokens) : spec->sequences * dk_pages_for(spec->capacity), err));
    DK_TRY(dk_queue_open(&cache->queue, model->backend, err));
    DK_TRY(allocate(cache, err));
    for (int64_t s = 0; s < cache->sequences; s++) cache->planned[s] = cache->capacity;
    DK_TRY(dk_rotation_create(model->backend, &model->config, spec->capacity, &cache->set.rotation, err));
    *out = cache;
    cache = NULL;
out:
    dk_cache_free(cache);
    return rc;
}

void dk_cache_free(dk_cache *cache)
{
    if (!cache) return;
    dk_rotation_free(cache->model->backend, &cache->set.rotation);
    dk_routing_free(cache->model, &cache->set.routing);
    dk_arena_free(&cache->arena);
    dk_queue_close(&cache->queue);
    dk_free(cache->host, cache->keys);
    dk_free(cache->host, cache->values);
    dk_page_table_free(&cache->pages);
    dk_free(cache->host, cache->planned);
    dk_free(cache->host, cache->offsets);
    dk_free(cache->host, cache->of);
    dk_free(cache->host, cache->count);
    dk_free(cache->host, cache->numbers);
    dk_free(cache->host, cache);
}

/* ---- what sequences hold ---- */
/* The tokens of a text that is being written cannot know how long it gets: the room for it counts. */
static int64_t shift_of(const dk_cache *cache, int64_t sequence)
{
    return dk_rope_shift(&cache->model->config.rope, cache->planned[sequence]);
}

void dk_cache_reset(dk_cache *cache, int64_t sequence)
{
    dk_pages_cut(&cache->pages, sequence, 0);
    cache->planned[sequence] = cache->capacity;
}

void dk_cache_plan(dk_cache *cache, int64_t sequence, int64_t tokens)
{
    if (tokens < cache->capacity) cache->planned[sequence] = tokens;
}

int32_t dk_cache_replan(dk_cache *cache, int64_t sequence, int64_t tokens)
{
    const int64_t before = shift_of(cache, sequence);
    cache->planned[sequence] = tokens < cache->capacity ? tokens : cache->capacity;
    if (!dk_cache_length(cache, sequence) || shift_of(cache, sequence) == before) return 1;
    dk_pages_cut(&cache->pages, sequence, 0);
    return 0;
}

int32_t dk_cache_alike(const dk_cache *cache, int64_t a, int64_t b) { return shift_of(cache, a) == shift_of(cache, b); }

int64_t dk_cache_length(const dk_cache *cache, int64_t sequence) { return cache->pages.length[sequence]; }

int64_t dk_cache_room(const dk_cache *cache) { return cache->pages.free_count * DK_PAGE; }

int64_t dk_cache_bytes(const dk_cache *cache) { return cache->arena.size; }

static int32_t check_cut(const dk_cache *cache, int64_t sequence, int64_t tokens, dk_error *err)
{
    if (sequence < 0 || sequence >= cache->sequences)
        return dk_fail(err, DK_E_INVALID, "cache: sequence %lld is not in [0, %lld)", (long long)sequence,
                       (long long)cache->sequences);
    if (tokens < 0 || tokens > dk_cache_length(cache, sequence))
        return dk_fail(err, DK_E_INVALID, "cache: sequence %lld holds %lld tokens, of which the first %lld cannot stay",
                       (long long)sequence, (long long)dk_cache_length(cache, sequence), (long long)tokens);
    return DK_OK;
}

int32_t dk_cache_truncate(dk_cache *cache, int64_t sequence, int64_t tokens, dk_error *err)
{
    int32_t rc = check_cut(cache, sequence, tokens, err);
    if (rc == DK_OK) dk_pages_cut(&cache->pages, sequence, tokens);
    return rc;
}

int32_t dk_cache_share(dk_cache *cache, int64_t from, int64_t to, int64_t tokens, dk_error *err)
{
    int32_t rc;
    DK_TRY(check_cut(cache, from, tokens, err));
    DK_TRY(check_cut(cache, to, 0, err));
    if (from == to) return dk_fail(err, DK_E_INVALID, "cache: sequence %lld has its own tokens", (long long)to);
    if (!dk_cache_alike(cache, from, to))
        return dk_fail(err, DK_E_INVALID,
                       "cache: tokens of sequence %lld, of up to %lld, are rotated otherwise than those of sequence "
                       "%lld, of up to %lld",
                       (long long)from, (long long)cache->planned[from], (long long)to, (long long)cache->planned[to]);
    dk_pages_share(&cache->pages, from, to, tokens);
out:
    return rc;
}

/* ---- forward ---- */
static int32_t check_sequence(const dk_cache *cache, const dk_tokens *tokens, const int64_t *which, int64_t s,
                              dk_error *err)
{
    int64_t fresh = tokens->offsets[s + 1] - tokens->offsets[s];
    if (which[s] < 0 || which[s] >= cache->sequences)
        return dk_fail(err, DK_E_INVALID, "cache: sequence %lld is not in [0, %lld)", (long long)which[s],
                       (long long)cache->sequences);
    if (cache->numbers[which[s]]++)
        return dk_fail(err, DK_E_INVALID, "cache: sequence %lld is named twice in one call", (long long)which[s]);
    if (fresh < 1)
        return dk_fail(err, DK_E_INVALID, "cache: nothing new for sequence %lld; leave it out", (long long)which[s]);
    if (fresh > cache->capacity - dk_cache_length(cache, which[s]))
        return dk_fail(err, DK_E_INVALID,
                       "cache: sequence %lld holds %lld tokens and has no room for %lld more; it was made for %lld",
                       (long long)which[s], (long long)dk_cache_length(cache, which[s]), (long long)fresh,
                       (long long)cache->capacity);
    return DK_OK;
}

static int64_t last_of(const int64_t *last, int64_t sequence) { return last ? last[sequence] : 1; }

static int32_t check_last(const dk_cache *cache, const dk_tokens *tokens, const int64_t *last, dk_error *err)
{
    int64_t all = 0;
    for (int64_t s = 0; s < tokens->sequences; s++) {
        const int64_t rows = tokens->offsets[s + 1] - tokens->offsets[s], n = last_of(last, s);
        if (n < 1 || n > rows)
            return dk_fail(err, DK_E_INVALID, "cache: the last %lld of %lld rows of a sequence", (long long)n,
                           (long long)rows);
        all += n;
    }
    if (all > cache->lasts)
        return dk_fail(err, DK_E_INVALID, "cache: %lld last rows in a call; it was made for %lld", (long long)all,
                       (long long)cache->lasts);
    return DK_OK;
}

static int32_t check_batch(const dk_cache *cache, const dk_tokens *tokens, const int64_t *which, dk_error *err)
{
    int32_t rc;
    int64_t n = tokens->sequences;
    if (n < 1 || n > cache->sequences)
        return dk_fail(err, DK_E_INVALID, "cache: %lld sequences in a call, not in [1, %lld]", (long long)n,
                       (long long)cache->sequences);
    if (tokens->offsets[n] > cache->max_rows)
        return dk_fail(err, DK_E_INVALID, "cache: %lld rows in a call; it was made for %lld at once",
                       (long long)tokens->offsets[n], (long long)cache->max_rows);
    DK_TRY(dk_check_tokens(&cache->model->config, tokens, err));
    memset(cache->numbers, 0, (size_t)cache->sequences * sizeof *cache->numbers);
    for (int64_t s = 0; s < n; s++) DK_TRY(check_sequence(cache, tokens, which, s, err));
    int64_t wanted = dk_pages_wanted(&cache->pages, which, tokens->offsets, n);
    if (wanted > cache->pages.free_count)
        return dk_fail(err, DK_E_NOMEM,
                       "cache: %lld pages of %d tokens are needed, %lld of %lld are free; end or cut a sequence",
                       (long long)wanted, DK_PAGE, (long long)cache->pages.free_count, (long long)cache->pages.pages);
out:
    return rc;
}

/* A page of its own for each sequence to write in. */
static void take_pages(dk_cache *cache, int64_t sequence, int64_t fresh)
{
    const dk_ops *ops = cache->model->backend->ops;
    dk_page_copy copy = dk_pages_take(&cache->pages, sequence, fresh);
    for (int64_t i = 0; copy.from >= 0 && i < 2 * cache->model->config.layers; i++) {
        dk_view all = i % 2 ? cache->values[i / 2] : cache->keys[i / 2];
        ops->convert(&cache->queue, dk_view_rows(all, (int64_t)copy.from * DK_PAGE, copy.places),
                     dk_view_rows(all, (int64_t)copy.to * DK_PAGE, copy.places));
    }
}

/* Which rows the hidden states are of. Returns how many. */
static int64_t bring_last(dk_cache *cache, const dk_tokens *tokens, const int64_t *last)
{
    int64_t all = 0;
    for (int64_t s = 0; s < tokens->sequences; s++)
        for (int64_t i = last_of(last, s); i > 0; i--) cache->numbers[all++] = (int32_t)(tokens->offsets[s + 1] - i);
    cache->model->backend->ops->copy_in(&cache->queue, dk_view_rows(cache->last_rows, 0, all), cache->numbers);
    return all;
}

static void bring_in(dk_cache *cache, const dk_tokens *tokens, const int64_t *which)
{
    const dk_ops *ops = cache->model->backend->ops;
    int64_t n = tokens->sequences;
    int32_t *numbers = cache->numbers;
    cache->set.rows = tokens->offsets[n];
    memcpy(cache->offsets, tokens->offsets, (size_t)(n + 1) * sizeof *cache->offsets);
    ops->copy_in(&cache->queue, dk_used_rows(&cache->set, cache->ids), tokens->ids);
    for (int64_t s = 0; s < n; s++) {
        int64_t begin = tokens->offsets[s], end = tokens->offsets[s + 1], length = dk_cache_length(cache, which[s]),
                shift = shift_of(cache, which[s]);
        take_pages(cache, which[s], end - begin);
        cache->of[s] = dk_pages_of(&cache->pages, which[s]);
        cache->count[s] = length + end - begin;
        for (int64_t i = begin; i < end; i++) numbers[i] = (int32_t)(shift + length + i - begin);
    }
    ops->copy_in(&cache->queue, dk_used_rows(&cache->set, cache->set.positions), numbers);
    for (int64_t s = 0; s < n; s++)
        for (int64_t i = tokens->offsets[s]; i < tokens->offsets[s + 1]; i++) {
            int64_t at = numbers[i] - shift_of(cache, which[s]);
            numbers[i] = cache->of[s][at / DK_PAGE] * DK_PAGE + (int32_t)(at % DK_PAGE);
        }
    ops->copy_in(&cache->queue, dk_used_rows(&cache->set, cache->places), numbers);
    cache->set.attention = (dk_attention_args){
        .sequences = n, .query_offsets = cache->offsets, .key_count = cache->count, .key_pages = cache->of};
}

/* part [rows, kv_heads, head_dim]; its heads lie side by side, or go through `narrow`. */
static void put_away(dk_cache *cache, dk_view part, dk_view to)
{
    const dk_ops *ops = cache->model->backend->ops;
    dk_view rows = dk_used_rows(&cache->set, cache->narrow);
    if (dk_view_present(rows)) {
        ops->convert(&cache->queue, part, dk_view_split(rows, part.shape[1]));
    } else {
        rows = part;
        rows.rank = 2;
        rows.shape[1] = part.shape[1] * part.shape[2];
        rows.stride[1] = 1;
    }
    ops->scatter_rows(&cache->queue, rows, dk_used_rows(&cache->set, cache->places), to, 0);
}

static void attend(dk_cache *cache, int64_t layer)
{
    const dk_config *c = &cache->model->config;
    const dk_ops *ops = cache->model->backend->ops;
    dk_view qkv = dk_used_rows(&cache->set, cache->block.qkv);
    dk_view keys = dk_view_split(cache->keys[layer], c->kv_heads),
            values = dk_view_split(cache->values[layer], c->kv_heads);
    dk_view attended = dk_view_split(dk_used_rows(&cache->set, cache->block.attended), c->heads);
    dk_attention_args args = dk_attention_of(&cache->set, layer);
    put_away(cache, dk_qkv_part(c, qkv, 1), cache->keys[layer]);
    put_away(cache, dk_qkv_part(c, qkv, 2), cache->values[layer]);
    ops->attention(&cache->queue, &args, dk_qkv_part(c, qkv, 0), keys, values, attended, dk_view_none());
}

static void tell_work(const dk_cache *cache, const dk_tokens *tokens)
{
    double flops = 0;
    for (int64_t s = 0; s < tokens->sequences; s++)
        flops += dk_fresh_flops(cache->model, tokens->offsets[s + 1] - tokens->offsets[s], cache->count[s]);
    dk_host_add_work(cache->model->backend->host, cache->set.rows, flops);
}

int32_t dk_cache_forward(dk_cache *cache, const dk_tokens *tokens, const int64_t *which, dk_view *hidden, dk_error *err)
{
    return dk_cache_forward_last(cache, tokens, which, NULL, hidden, err);
}

int32_t dk_cache_forward_last(dk_cache *cache, const dk_tokens *tokens, const int64_t *which, const int64_t *last_rows,
                              dk_view *hidden, dk_error *err)
{
    int32_t rc;
    const dk_model *model = cache->model;
    const dk_ops *ops = model->backend->ops;
    int64_t n = tokens->sequences;
    dk_norm_args norm = dk_norm_of(&model->config, model->final_norm, model->final_norm_bias);
    DK_TRY(check_batch(cache, tokens, which, err));
    DK_TRY(check_last(cache, tokens, last_rows, err));
    bring_in(cache, tokens, which);
    const int64_t rows = bring_last(cache, tokens, last_rows);
    dk_view x = dk_used_rows(&cache->set, cache->x), last = dk_view_rows(cache->last, 0, rows),
            normed = dk_view_rows(cache->hidden, 0, rows);
    dk_embed_rows(&cache->set, cache->ids, x);
    for (int64_t l = 0; l < model->config.layers; l++) {
        dk_block_project(&cache->set, &cache->block, l, x);
        attend(cache, l);
        dk_block_expand(&cache->set, &cache->block, l, x);
        dk_block_finish(&cache->set, &cache->block, l, x);
    }
    ops->gather_rows(&cache->queue, x, dk_view_rows(cache->last_rows, 0, rows), last);
    ops->norm(&cache->queue, &norm, last, normed, dk_view_none());
    DK_TRY(dk_queue_wait(&cache->queue, err));
    for (int64_t s = 0; s < n; s++) cache->pages.length[which[s]] = cache->count[s];
    tell_work(cache, tokens);
    *hidden = normed;
out:
    return rc;
}
