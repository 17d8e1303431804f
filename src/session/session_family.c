#include "session/session_parts.h"

static int32_t check_places(const di_family *f, dk_error *err)
{
    if (f->places <= f->backend->invariant_rows) return DK_OK;
    return dk_fail(err, DK_E_UNSUPPORTED,
                   "session.places: %lld texts side by side, but products by %s are alike for %lld at most; ask for as "
                   "many, or for other products (compute.products)",
                   (long long)f->places, f->backend->products, (long long)f->backend->invariant_rows);
}

static int32_t read_context(di_family *f, const di_options *options, dk_error *err)
{
    const int64_t most = f->voices->context, wanted = di_options_i64(options, "session.context");
    if (wanted > most)
        return dk_fail(err, DK_E_OPTION, "session.context: %lld tokens, but the model's context ends at %lld",
                       (long long)wanted, (long long)most);
    f->context = wanted ? wanted : most < DI_SESSION_CONTEXT ? most : DI_SESSION_CONTEXT;
    return DK_OK;
}

static int32_t make_cache(di_family *f, const di_options *options, dk_error *err)
{
    const int64_t tokens = di_options_i64(options, "session.tokens"), all = f->places * f->context;
    const dk_cache_spec spec = {.sequences = f->places,
                                .capacity = f->context,
                                .tokens = tokens < all ? tokens : all,
                                .max_rows = DI_SESSION_PIECE + f->places * (1 + di_draft_most(f)),
                                .last_rows = f->places * (1 + di_draft_most(f)),
                                .precision = f->precision,
                                .type =
                                    di_options_is(options, "session.cache_type", "bf16") ? DK_BF16 : f->backend->real};
    return di_voices_make_caches(f->voices, &spec, err);
}

static int32_t plan(di_family *f, dk_error *err)
{
    const int64_t rows = f->places * (1 + di_draft_most(f)), width = f->voices->models[0]->config.vocab_size;
    int32_t rc = DK_OK;
    f->drawer = (dk_drawer){.queue = &f->queue, .rows = 1 + di_draft_most(f), .width = width, .vocab = f->vocab};
    for (int32_t measured = 0; measured < 2; measured++) {
        f->logits = dk_arena_2d(&f->arena, f->backend->real, rows, width);
        f->log_probs = dk_arena_2d(&f->arena, f->backend->real, rows, width);
        di_voices_plan(f->voices, &f->arena, f->backend->real, rows);
        if (f->draft) f->shaped = dk_arena_2d(&f->arena, f->backend->real, f->drawer.rows, width);
        dk_drawer_plan(&f->drawer, &f->arena, 0);
        if (!measured) DK_TRY(dk_arena_commit(&f->arena, err));
    }
    DK_TRY(dk_drawer_open(&f->drawer, f->host, 1, err));
    DK_TRY(dk_new(f->host, DI_SESSION_PIECE + rows, &f->ids, err));
    DK_TRY(dk_new(f->host, f->places + 1, &f->offsets, err));
    DK_TRY(dk_new(f->host, f->places, &f->which, err));
    DK_TRY(dk_new(f->host, f->places, &f->last, err));
    DK_TRY(dk_new(f->host, f->places, &f->of, err));
    DK_TRY(dk_new(f->host, f->places, &f->active, err));
    DK_TRY(dk_new(f->host, f->drawer.rows, &f->draws, err));
    DK_TRY(dk_new(f->host, f->places, &f->at, err));
out:
    return rc;
}

static void begin(di_family *f, di_teacher *model, di_voices *voices, const di_options *options,
                  const di_writing *writing)
{
    f->host = di_teacher_host(model);
    f->model = di_teacher_retain(model);
    f->voices = voices;
    f->backend = voices->models[0]->backend;
    f->version = di_teacher_version(model);
    f->places = di_options_i64(options, "session.places");
    f->vocab = voices->vocab;
    f->drops = di_options_is(options, "session.overflow", "oldest");
    f->precision = writing->args.precision;
    dk_arena_init(&f->arena, f->backend);
}

int32_t di_family_create(di_teacher *model, di_voices *voices, di_teacher *draft, const di_options *options,
                         const di_writing *writing, di_family **out, dk_error *err)
{
    di_family *f = NULL;
    int32_t rc = dk_new(di_teacher_host(model), 1, &f, err);
    if (rc) {
        di_voices_close(voices);
        return rc;
    }
    begin(f, model, voices, options, writing);
    DK_TRY(check_places(f, err));
    DK_TRY(read_context(f, options, err));
    DK_TRY(dk_queue_open(&f->queue, f->backend, err));
    if (draft) DK_TRY(di_drafter_create(f, draft, options, err));
    DK_TRY(plan(f, err));
    DK_TRY(make_cache(f, options, err));
    DK_TRY(di_meter_start(f->host, options, 0, &f->meter, err));
    *out = f;
    return DK_OK;
out:
    di_family_release(f);
    return rc;
}

void di_family_release(di_family *f)
{
    if (!f || f->streams) return;
    dk_host *host = f->host;
    di_drafter_free(f);
    di_voices_close(f->voices);
    dk_drawer_close(&f->drawer, host);
    dk_arena_free(&f->arena);
    dk_queue_close(&f->queue);
    di_meter_end(&f->meter);
    dk_free(host, f->ids);
    dk_free(host, f->offsets);
    dk_free(host, f->which);
    dk_free(host, f->last);
    dk_free(host, f->of);
    dk_free(host, f->active);
    dk_free(host, f->draws);
    dk_free(host, f->at);
    di_teacher_release(f->model);
    dk_free(host, f);
}

int32_t di_family_take_place(di_family *f, di_stream *s, dk_error *err)
{
    for (int64_t i = 0; i < f->places; i++) {
        if (f->at[i]) continue;
        f->at[i] = s;
        f->streams++;
        s->place = i;
        s->family = f;
        di_voices_reset(f->voices, i);
        if (f->draft) dk_cache_reset(f->draft->cache, i);
        if (f->draft) di_draft_begin(s);
        return DK_OK;
    }
    return dk_fail(err, DK_E_BUSY,
                   "all %lld places of this session's family are taken: free a session, or create it "
                   "with more session.places",
                   (long long)f->places);
}

void di_family_cut(di_family *f, int64_t place, int64_t tokens)
{
    if (f->voices->caches[0]) di_voices_cut(f->voices, place, tokens);
    if (f->draft && dk_cache_length(f->draft->cache, place) > tokens)
        (void)dk_cache_truncate(f->draft->cache, place, tokens, NULL);
}

void di_family_check_version(di_family *f)
{
    const int64_t version = di_teacher_version(f->model), draft = f->draft ? di_teacher_version(f->draft->model) : 0;
    if (version == f->version && (!f->draft || draft == f->draft->version)) return;
    f->version = version;
    if (f->draft) f->draft->version = draft;
    for (int64_t i = 0; i < f->places; i++) {
        di_family_cut(f, i, 0);
        if (f->at[i]) f->at[i]->whole = 0;
    }
}
