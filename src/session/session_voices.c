/* The models that write a stream's text: one, or those of a blend, each with a cache of its own. All caches hold the
 * same tokens of a place at any time, so that the first one speaks for all where lengths are asked for. */
#include "session/session_parts.h"

static int32_t take_models(di_voices *v, di_teacher *model, dk_error *err)
{
    int32_t rc = DK_OK;
    if (di_teacher_is_choir(model)) {
        DK_TRY(di_choir_open(model, INT64_MAX - 2, &v->choir, err));
        v->count = di_choir_models(v->choir, &v->models);
        v->stop_count = di_choir_stops(v->choir, &v->stops);
        v->vocab = di_choir_vocab(v->choir);
    } else {
        v->alone = di_teacher_model(model);
        v->models = &v->alone;
        v->count = 1;
        v->stops = v->alone->config.stops;
        v->stop_count = v->alone->config.stop_count;
        v->vocab = di_teacher_vocab_valid(model);
    }
out:
    return rc;
}

int32_t di_voices_open(di_teacher *model, di_voices **out, dk_error *err)
{
    dk_host *host = di_teacher_host(model);
    di_voices *v = NULL;
    int32_t rc;
    DK_TRY(dk_new(host, 1, &v, err));
    v->host = host;
    DK_TRY(take_models(v, model, err));
    DK_TRY(dk_new(host, v->count, &v->caches, err));
    DK_TRY(dk_new(host, v->count, &v->logits, err));
    DK_TRY(dk_new(host, v->count, &v->row, err));
    DK_TRY(dk_new(host, v->count, &v->hidden, err));
    v->context = v->ids = INT64_MAX;
    for (int64_t i = 0; i < v->count; i++) {
        const dk_config *config = &v->models[i]->config;
        if (config->max_positions < v->context) v->context = config->max_positions;
        if (config->vocab_size < v->ids) v->ids = config->vocab_size;
    }
    *out = v;
    return DK_OK;
out:
    di_voices_close(v);
    return rc;
}

void di_voices_close(di_voices *v)
{
    if (!v) return;
    dk_host *host = v->host;
    for (int64_t i = 0; v->caches && i < v->count; i++) dk_cache_free(v->caches[i]);
    dk_free(host, v->caches);
    dk_free(host, v->logits);
    dk_free(host, v->row);
    dk_free(host, v->hidden);
    di_choir_close(v->choir);
    dk_free(host, v);
}

int32_t di_voices_check(const di_voices *v, const dk_generate_args *args, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < v->count && !rc; i++) rc = dk_check_generate_args(v->models[i], args, err);
    return rc;
}

int32_t di_voices_make_caches(di_voices *v, const dk_cache_spec *spec, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < v->count && !rc; i++) rc = dk_cache_create(v->models[i], spec, &v->caches[i], err);
    return rc;
}

/* One model's logits are those of the family. */
void di_voices_plan(di_voices *v, dk_arena *arena, dk_dtype real, int64_t rows)
{
    for (int64_t i = 0; v->choir && i < v->count; i++)
        v->logits[i] = dk_arena_2d(arena, real, rows, v->models[i]->config.vocab_size);
}

/* ---- places ---- */

int64_t di_voices_held(const di_voices *v, int64_t place) { return dk_cache_length(v->caches[0], place); }

void di_voices_reset(di_voices *v, int64_t place)
{
    for (int64_t i = 0; i < v->count; i++) dk_cache_reset(v->caches[i], place);
}

void di_voices_cut(di_voices *v, int64_t place, int64_t tokens)
{
    for (int64_t i = 0; i < v->count; i++)
        if (dk_cache_length(v->caches[i], place) > tokens) (void)dk_cache_truncate(v->caches[i], place, tokens, NULL);
}

/* One that had to forget makes the others forget. */
void di_voices_replan(di_voices *v, int64_t place, int64_t tokens)
{
    int32_t kept = 1;
    for (int64_t i = 0; i < v->count; i++) kept &= dk_cache_replan(v->caches[i], place, tokens);
    if (!kept) di_voices_cut(v, place, 0);
}

int32_t di_voices_alike(const di_voices *v, int64_t a, int64_t b)
{
    int32_t all = 1;
    for (int64_t i = 0; i < v->count; i++) all &= dk_cache_alike(v->caches[i], a, b);
    return all;
}

int32_t di_voices_share(di_voices *v, int64_t from, int64_t to, int64_t tokens, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < v->count && !rc; i++) rc = dk_cache_share(v->caches[i], from, to, tokens, err);
    if (rc) di_voices_cut(v, to, 0);
    return rc;
}

int32_t di_voices_share_all(di_voices *v, int64_t from, int64_t to, int64_t planned, dk_error *err)
{
    const int64_t held = di_voices_held(v, from);
    for (int64_t i = 0; planned && i < v->count; i++) dk_cache_plan(v->caches[i], to, planned);
    return held ? di_voices_share(v, from, to, held, err) : DK_OK;
}

/* ---- a pass ---- */

int32_t di_voices_read(di_voices *v, const dk_tokens *tokens, const int64_t *which, const int64_t *last, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < v->count && !rc; i++)
        rc = dk_cache_forward_last(v->caches[i], tokens, which, last, &v->hidden[i], err);
    return rc;
}

/* What a blend says of a row is log-probabilities, which are its logits, too. */
static int32_t join(di_family *f, dk_view logits, dk_view log_probs, dk_error *err)
{
    di_voices *v = f->voices;
    int64_t r = 0;
    int32_t rc;
    DK_TRY(dk_queue_wait(&f->queue, err));
    for (int64_t i = 0; i < f->drawn; i++) {
        const di_stream *s = f->of[i];
        di_choir_begin(v->choir, s->writing.args.max_tokens);
        for (int64_t k = 0; k < f->last[i]; k++, r++) {
            for (int64_t m = 0; m < v->count; m++) v->row[m] = dk_view_rows(v->logits[m], r, 1);
            DK_TRY(di_choir_join(v->choir, v->row, 0, s->written + k,
                                 dk_view_columns(dk_view_rows(log_probs, r, 1), 0, f->vocab), err));
        }
    }
    f->backend->ops->convert(&f->queue, dk_view_columns(log_probs, 0, f->vocab), dk_view_columns(logits, 0, f->vocab));
out:
    return rc;
}

int32_t di_voices_speak(di_family *f, int64_t rows, dk_view logits, dk_view log_probs, dk_error *err)
{
    di_voices *v = f->voices;
    for (int64_t i = 0; i < v->count; i++)
        dk_head_forward(&f->queue, v->models[i], f->precision, dk_view_rows(v->hidden[i], 0, rows),
                        v->choir ? dk_view_rows(v->logits[i], 0, rows) : logits);
    if (v->choir) return join(f, logits, log_probs, err);
    f->backend->ops->log_softmax(&f->queue, logits, f->vocab, 1, log_probs);
    return DK_OK;
}
