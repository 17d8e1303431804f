#include "session/session_parts.h"

static int32_t check_places(const di_family *f, dk_error *err)
{
    if (f->places <= f->backend->invariant_rows) return DK_OK;
    return dk_fail(err, DK_E_UNSUPPORTED,
                   "session.places: %lld texts side by side, but products by %s are alike for %lld at most",
                   (long long)f->places, f->backend->products, (long long)f->backend->invariant_rows);
}

static int32_t read_context(di_family *f, const di_options *options, dk_error *err)
{
    const int64_t most = f->weights->config.max_positions, wanted = di_options_i64(options, "session.context");
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
                                .max_rows = DI_SESSION_PIECE + f->places,
                                .precision = f->precision,
                                .type =
                                    di_options_is(options, "session.cache_type", "bf16") ? DK_BF16 : f->backend->real};
    return dk_cache_create(f->weights, &spec, &f->cache, err);
}

static int32_t plan(di_family *f, dk_error *err)
{
    const int64_t rows = f->places;
    int32_t rc = DK_OK;
    dk_arena_init(&f->arena, f->backend);
    DK_TRY(dk_queue_open(&f->queue, f->backend, err));
    f->drawer =
        (dk_drawer){.queue = &f->queue, .rows = rows, .width = f->weights->config.vocab_size, .vocab = f->vocab};
    for (int32_t measured = 0; measured < 2; measured++) {
        f->logits = dk_arena_2d(&f->arena, f->backend->real, rows, f->drawer.width);
        dk_drawer_plan(&f->drawer, &f->arena, 0);
        if (!measured) DK_TRY(dk_arena_commit(&f->arena, err));
    }
    DK_TRY(dk_drawer_open(&f->drawer, f->host, 1, err));
    DK_TRY(dk_new(f->host, DI_SESSION_PIECE + rows, &f->ids, err));
    DK_TRY(dk_new(f->host, f->places + 1, &f->offsets, err));
    DK_TRY(dk_new(f->host, f->places, &f->which, err));
    DK_TRY(dk_new(f->host, f->places, &f->of, err));
    DK_TRY(dk_new(f->host, rows, &f->draws, err));
    DK_TRY(dk_new(f->host, f->places, &f->at, err));
out:
    return rc;
}

int32_t di_family_create(di_teacher *model, const di_options *options, const di_writing *writing, di_family **out,
                         dk_error *err)
{
    di_family *f = NULL;
    dk_host *host = di_teacher_host(model);
    int32_t rc;
    DK_TRY(dk_new(host, 1, &f, err));
    f->model = di_teacher_retain(model);
    f->host = host;
    f->weights = di_teacher_model(model);
    f->backend = f->weights->backend;
    f->version = di_teacher_version(model);
    f->places = di_options_i64(options, "session.places");
    f->vocab = di_teacher_vocab_valid(model);
    f->drops = di_options_is(options, "session.overflow", "oldest");
    f->precision = writing->args.precision;
    DK_TRY(check_places(f, err));
    DK_TRY(read_context(f, options, err));
    DK_TRY(dk_check_generate_args(f->weights, &writing->args, err));
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
    dk_cache_free(f->cache);
    dk_drawer_close(&f->drawer, host);
    dk_arena_free(&f->arena);
    dk_queue_close(&f->queue);
    di_meter_end(&f->meter);
    dk_free(host, f->ids);
    dk_free(host, f->offsets);
    dk_free(host, f->which);
    dk_free(host, f->of);
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
        dk_cache_reset(f->cache, i);
        return DK_OK;
    }
    return dk_fail(err, DK_E_BUSY,
                   "all %lld places of this session's family are taken: free a session, or create it "
                   "with more session.places",
                   (long long)f->places);
}

void di_family_check_version(di_family *f)
{
    const int64_t version = di_teacher_version(f->model);
    if (version == f->version) return;
    f->version = version;
    for (int64_t i = 0; i < f->places; i++) {
        dk_cache_reset(f->cache, i);
        if (f->at[i]) f->at[i]->whole = 0;
    }
}
