#include "session/session_parts.h"

#include <string.h>

enum { LAG = 16 };                    /* tokens that the draft may read together with its first proposal */
#define PROPOSALS ((uint64_t)1 << 62) /* their draws are others than those of tokens */

/* ---- how one comes to be ---- */

static int32_t check_draft(const di_family *f, const di_teacher *draft, dk_error *err)
{
    const int64_t own = di_teacher_vocab_valid(draft);
    int32_t rc;
    if (di_teacher_model(draft)->backend != f->backend)
        return dk_fail(err, DK_E_MISMATCH, "the draft is of another env than the model");
    DK_TRY(di_check_same_tokenizers("the model", f->model, "the draft", draft, err));
    if (own != f->vocab)
        return dk_fail(err, DK_E_MISMATCH, "the draft has %lld ids, the model %lld: a draft has the model's tokenizer",
                       (long long)own, (long long)f->vocab);
out:
    return rc;
}

static int32_t plan(di_family *f, di_drafter *d, dk_arena *arena, dk_error *err)
{
    const int64_t width = d->weights->config.vocab_size;
    int32_t rc;
    d->drawer = (dk_drawer){.queue = &f->queue, .rows = 1, .width = width, .vocab = f->vocab};
    for (int32_t measured = 0; measured < 2; measured++) {
        d->logits = dk_arena_2d(arena, f->backend->real, f->places, width);
        d->shaped = dk_arena_2d(arena, f->backend->real, f->places * d->most, width);
        dk_drawer_plan(&d->drawer, arena, 0);
        if (!measured) DK_TRY(dk_arena_commit(arena, err));
    }
    DK_TRY(dk_drawer_open(&d->drawer, f->host, 1, err));
    DK_TRY(dk_new(f->host, DI_SESSION_PIECE + f->places * LAG, &d->ids, err));
    DK_TRY(dk_new(f->host, f->places + 1, &d->offsets, err));
    DK_TRY(dk_new(f->host, f->places, &d->which, err));
    DK_TRY(dk_new(f->host, f->places, &d->of, err));
out:
    return rc;
}

static int32_t make_cache(di_family *f, di_drafter *d, const di_options *options, dk_error *err)
{
    const dk_cache_spec spec = {.sequences = f->places,
                                .capacity = d->context,
                                .max_rows = DI_SESSION_PIECE + f->places * LAG,
                                .precision = d->precision,
                                .type =
                                    di_options_is(options, "session.cache_type", "bf16") ? DK_BF16 : f->backend->real};
    return dk_cache_create(d->weights, &spec, &d->cache, err);
}

/* The model's, but for a draft whose weights are quantised: beside a model in bf16 they would be widened, and reading
 * them is most of what a proposal costs. What a draft rounds changes what it proposes, never what is written. */
static dk_precision choose_precision(const di_family *f, const dk_model *draft, const di_options *options)
{
    const int32_t int8 = f->backend->precisions >> DK_PRECISION_INT8 & 1;
    if (f->precision != DK_PRECISION_BF16 || !int8 || di_options_is(options, "generate.quantized", "exact"))
        return f->precision;
    for (int64_t i = 0; i < draft->parameter_count; i++) {
        if (dk_is_int8_weight(draft->parameters[i].value.dtype)) return DK_PRECISION_INT8;
    }
    return f->precision;
}

/* What is read for a token: files, or parameters in bf16 where products are; nothing where neither is known. */
static double read_bytes(const di_teacher *model, dk_precision precision, int32_t files)
{
    const di_facts facts = di_teacher_facts(model);
    if (precision == DK_PRECISION_BF16) return 2 * (double)facts.parameters;
    return files ? (double)facts.bytes : 4 * (double)facts.parameters;
}

static double reckon_cost(const di_family *f, const di_drafter *d)
{
    const int32_t files = di_teacher_facts(f->model).bytes > 0 && di_teacher_facts(d->model).bytes > 0;
    const double large = read_bytes(f->model, f->precision, files), small = read_bytes(d->model, d->precision, files);
    return large > 0 && small > 0 ? small / large : 0;
}

int32_t di_drafter_create(di_family *f, di_teacher *draft, const di_options *options, dk_error *err)
{
    const int64_t few = f->backend->invariant_rows - 1; /* proposals that are verified bit for bit */
    di_drafter *d = NULL;
    int32_t rc;
    DK_TRY(check_draft(f, draft, err));
    DK_TRY(dk_new(f->host, 1, &d, err));
    f->draft = d;
    dk_arena_init(&d->arena, f->backend);
    d->model = di_teacher_retain(draft);
    d->weights = di_teacher_model(draft);
    d->version = di_teacher_version(draft);
    d->context = d->weights->config.max_positions < f->context ? d->weights->config.max_positions : f->context;
    d->adaptive = di_options_flag(options, "session.draft_adaptive");
    d->precision = choose_precision(f, d->weights, options);
    d->cost = reckon_cost(f, d);
    d->row_cost = f->precision == DK_PRECISION_BF16 ? 0.1 : 0.25;
    d->tokens = di_options_i64(options, "session.draft_tokens");
    d->most = d->adaptive ? 2 * d->tokens : d->tokens;
    if (d->most > few) d->most = few;
    if (d->tokens > d->most) d->tokens = d->most;
    DK_TRY(plan(f, d, &d->arena, err));
    DK_TRY(make_cache(f, d, options, err));
out:
    return rc;
}

void di_drafter_free(di_family *f)
{
    di_drafter *d = f->draft;
    if (!d) return;
    dk_cache_free(d->cache);
    dk_drawer_close(&d->drawer, f->host);
    dk_arena_free(&d->arena);
    dk_free(f->host, d->ids);
    dk_free(f->host, d->offsets);
    dk_free(f->host, d->which);
    dk_free(f->host, d->of);
    di_teacher_release(d->model);
    dk_free(f->host, d);
    f->draft = NULL;
}

/* ---- how many: session.draft_adaptive ---- */

enum { FIRST_PAUSE = 64, LONGEST_PAUSE = 4096, SLOWEST = 8, KNOWN = 2 };
static const double usual = 0.7, /* acceptance, before anything is known, worth as much as KNOWN proposals */
    worth = 1.05;                /* a gain for which one begins */

/* The number that makes most of (1 - a^(g + 1)) / ((1 - a)(g c + v)) (Leviathan et al. 2023); 0 = none makes more than
 * least. Costs are reckoned, not timed: what is drawn for a seed may not hang on how busy the machine is. */
static int64_t best_number(const di_drafter *d, double acceptance, double least)
{
    double best = least, tokens = 1, power = 1;
    int64_t number = 0;
    for (int64_t g = 1; g <= d->most; g++) {
        power *= acceptance;
        tokens += power;
        const double gain = tokens / (1 + (double)g * (d->cost + d->row_cost));
        if (gain > best) best = gain, number = g;
    }
    return number;
}

void di_draft_begin(di_stream *s)
{
    const di_drafter *d = s->family->draft;
    s->taken = usual;
    s->known = KNOWN;
    s->pause = FIRST_PAUSE;
    s->waited = 0;
    s->proposals = d->tokens;
    if (d->adaptive && best_number(d, usual, worth) < s->proposals) s->proposals = best_number(d, usual, worth);
}

/* Nothing was proposed: now and then another look, where a draft that is always right would pay. */
static void wait_or_look(di_stream *s)
{
    if (s->proposals || ++s->waited < s->pause || !best_number(s->family->draft, 1, worth)) return;
    s->proposals = 1;
}

/* The mean of what was seen, until that is as much as the last SLOWEST proposals. */
static void learn(di_stream *s, int64_t accepted)
{
    for (int64_t i = 0; i <= accepted && i < s->proposed; i++) {
        s->known += s->known < SLOWEST;
        s->taken += ((i < accepted) - s->taken) / (double)s->known;
    }
}

void di_draft_learn(di_stream *s, int64_t accepted)
{
    const di_drafter *d = s->family->draft;
    if (!d->adaptive) return;
    if (!s->proposed) {
        wait_or_look(s);
        return;
    }
    learn(s, accepted);
    s->proposals = best_number(d, s->taken, 1);
    if (s->proposals) {
        s->pause = FIRST_PAUSE;
    } else if (accepted == s->proposed) {
        s->proposals = 1; /* it is right again */
    } else {
        if (s->waited && s->pause < LONGEST_PAUSE) s->pause *= 2;
        s->waited = 0;
    }
}

/* ---- a pass of the draft ---- */

static int64_t read_so_far(const di_stream *s) { return dk_cache_length(s->family->draft->cache, s->place); }

static void add(di_drafter *d, di_stream *s, int64_t begin, int64_t rows)
{
    const int64_t at = d->offsets[d->count];
    memcpy(d->ids + at, s->ids + begin, (size_t)rows * sizeof *d->ids);
    d->which[d->count] = s->place;
    d->of[d->count++] = s;
    d->offsets[d->count] = at + rows;
}

static int32_t forward(di_drafter *d, dk_view *hidden, dk_error *err)
{
    const dk_tokens tokens = {.ids = d->ids, .offsets = d->offsets, .sequences = d->count};
    const int32_t rc = dk_cache_forward(d->cache, &tokens, d->which, hidden, err);
    for (int64_t i = 0; i < d->count && rc == DK_OK; i++)
        di_cost_pass(d->of[i], d->weights, d->offsets[i + 1] - d->offsets[i], read_so_far(d->of[i]));
    return rc;
}

/* Nothing is proposed where it does not pay, where the host looks at every token, behind the draft's context, and at
 * the end of an answer. */
static int32_t has_use(const di_stream *s)
{
    return !s->logits && s->proposals > 0 && s->count <= s->family->draft->context;
}

static int32_t catch_up(di_family *f, di_stream *const *streams, int64_t count, dk_error *err)
{
    di_drafter *d = f->draft;
    int64_t left = DI_SESSION_PIECE;
    dk_view hidden;
    d->count = 0;
    for (int64_t i = 0; i < count && left > 0; i++) {
        di_stream *s = streams[i];
        const int64_t begin = read_so_far(s), lacks = s->count - 1 - begin, n = lacks < left ? lacks : left;
        if (!has_use(s) || lacks < LAG) continue;
        add(d, s, begin, n);
        left -= n;
    }
    return d->count ? forward(d, &hidden, err) : DK_OK;
}

static int64_t wanted(const di_stream *s)
{
    const int64_t room = s->room - s->written - 1, context = s->family->draft->context - s->count + 1;
    int64_t n = s->proposals < room ? s->proposals : room;
    if (!has_use(s) || !di_stream_writes(s) || s->count - read_so_far(s) > LAG) return 0;
    n = n < context ? n : context;
    return n > 0 ? n : 0;
}

static int32_t propose(di_stream *s, int64_t row, int64_t step, dk_error *err)
{
    di_drafter *d = s->family->draft;
    dk_view logits = dk_view_rows(d->logits, row, 1), shaped = dk_view_rows(d->shaped, s->place * d->most + step, 1);
    dk_draw draw = di_stream_draw(s, step);
    int32_t rc;
    if (s->writing.args.temperature < DK_TEMPERATURE_MIN) {
        DK_TRY(dk_drawer_draw(&d->drawer, logits, &draw, 1, err));
    } else {
        DK_TRY(dk_drawer_shape(&d->drawer, logits, &draw, 1, shaped, err));
        DK_TRY(dk_drawer_pick(&d->drawer, shaped, s->writing.args.seed, PROPOSALS + draw.counter, &draw.id, err));
    }
    s->ids[s->count + step] = draw.id;
    s->proposed++;
out:
    return rc;
}

/* Another token of each that wants one: those that stand and were not read, and the proposal before it. */
static int32_t propose_step(di_family *f, di_stream *const *streams, int64_t count, int64_t step, dk_error *err)
{
    di_drafter *d = f->draft;
    dk_view hidden;
    int32_t rc;
    d->count = 0;
    for (int64_t i = 0; i < count; i++) {
        di_stream *s = streams[i];
        const int32_t ends = step && dk_is_stop(&s->writing.args, s->ids[s->count + step - 1]);
        if (s->proposed == step && wanted(s) > step && !ends)
            add(d, s, read_so_far(s), s->count + step - read_so_far(s));
    }
    if (!d->count) return DK_E_END;
    DK_TRY(forward(d, &hidden, err));
    dk_head_forward(&f->queue, d->weights, d->precision, hidden, dk_view_rows(d->logits, 0, d->count));
    for (int64_t i = 0; i < d->count; i++) di_cost_head(d->of[i], d->weights, 1);
    for (int64_t i = 0; i < d->count; i++) DK_TRY(propose(d->of[i], i, step, err));
out:
    return rc;
}

int32_t di_draft_propose(di_family *f, di_stream *const *streams, int64_t count, dk_error *err)
{
    int32_t rc;
    for (int64_t i = 0; i < count; i++) streams[i]->proposed = 0;
    DK_TRY(catch_up(f, streams, count, err));
    for (int64_t step = 0; rc == DK_OK; step++) rc = propose_step(f, streams, count, step, err);
    if (rc == DK_E_END) rc = DK_OK;
out:
    return rc;
}
