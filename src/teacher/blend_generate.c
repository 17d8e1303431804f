/* blend_generate.c - text by a blend: its models write together, and what they say of a token is blended as their
 * targets are. The blend is made once more of stand-ins for its models, whose rows are what each of them says just
 * now; so every mode is there that needs no token after the row. */
#include <string.h>

#include "teacher/cached.h"
#include "teacher/teacher_parts.h"

typedef struct stand_in { /* a teacher's state */
    dk_view logits;       /* [1, width] of the row under work */
    int64_t width, valid;
    distill_target form;
    distill_tensor values;
    int64_t shape[2];
} stand_in;

struct di_choir {
    dk_host *host;
    di_teacher *blend;
    di_session *session;
    int64_t count;
    dk_model **models;    /* [count] */
    stand_in **stand_ins; /* [count] */
    int32_t *ids;         /* [length] of the batch that draws are made for: the sequence's number, and its tokens */
    int64_t offsets[2], row[1];
    distill_batch batch;
    int64_t context; /* of what all of them read; 0 = not known */
    int32_t *stops;
    int64_t stop_count;
};

/* ---- stand-ins ---- */

static void free_state(di_teacher *t) { dk_free(t->host, t->state); }

static void describe(const di_teacher *t, di_facts *out)
{
    const stand_in *state = t->state;
    out->vocab_size = state->width;
    out->vocab_valid = state->valid;
}

static const distill_target *form_of(const di_teacher *t)
{
    const stand_in *state = t->state;
    return &state->form;
}

static int32_t rows(void *self, int64_t first, int64_t count, dk_view strip, const distill_target **target,
                    dk_error *err)
{
    const di_session *s = self;
    const stand_in *state = s->teacher->state;
    dk_queue *queue = s->state;
    (void)first, (void)count;
    if (target) *target = NULL;
    s->teacher->backend->ops->convert(queue, state->logits, strip);
    return dk_queue_wait(queue, err);
}

static int32_t open_session(di_session *s, dk_error *err)
{
    const stand_in *state = s->teacher->state;
    dk_queue *queue = NULL;
    int32_t rc;
    DK_TRY(dk_new(s->teacher->host, 1, &queue, err));
    s->state = queue;
    DK_TRY(dk_queue_open(queue, s->teacher->backend, err));
    s->source = (di_source){.self = s,
                            .kind = DISTILL_DENSE,
                            .width = state->width,
                            .vocab_valid = state->valid,
                            .temperature = 1,
                            .rows = rows};
out:
    return rc;
}

static void free_session(di_session *s)
{
    dk_queue_close(s->state);
    dk_free(s->teacher->host, s->state);
    s->state = NULL;
}

static int32_t forward(di_session *s, dk_error *err)
{
    (void)s, (void)err; /* the models have read what there is */
    return DK_OK;
}

static const di_teacher_kind stand_in_kind = {.name = "a model that writes",
                                              .no_place = "it writes, and is read by nobody",
                                              .type = "model",
                                              .free = free_state,
                                              .describe = describe,
                                              .form = form_of,
                                              .session = open_session,
                                              .session_free = free_session,
                                              .forward = forward};

static int32_t stand_in_for(di_choir *c, di_teacher *of, di_teacher **out, dk_error *err)
{
    di_teacher *t = NULL;
    stand_in *state = NULL;
    int32_t rc;
    DK_TRY(di_teacher_create(of->backend, &stand_in_kind, of->path, &t, err));
    DK_TRY(dk_new(t->host, 1, &state, err));
    t->state = state;
    if (of->tokenizer) t->tokenizer = dk_tokenizer_retain(of->tokenizer);
    state->width = state->shape[1] = di_teacher_vocab(of);
    state->valid = di_teacher_vocab_valid(of);
    state->values = di_tensor_of(NULL, DISTILL_FLOAT, 32, 2, state->shape);
    DISTILL_INIT(&state->form);
    state->form.kind = DISTILL_DENSE;
    state->form.values = &state->values;
    state->form.temperature = 1;
    c->models[c->count] = di_teacher_model(of);
    c->stand_ins[c->count++] = state;
    *out = t;
    return DK_OK;
out:
    di_teacher_release(t);
    return rc;
}

/* ---- the blend of them ---- */

static int32_t is_blend(const di_teacher *t) { return !strcmp(t->kind->type, "blend"); }

/* Who writes: of a cache the teacher that it is filled from. */
static di_teacher *writer_of(di_teacher *t)
{
    while (di_teacher_is_cached(t) && ((const di_cached *)t->state)->from) t = ((const di_cached *)t->state)->from;
    return t;
}

static int64_t count_models(di_teacher *t)
{
    const di_blend *blend = t->state;
    int64_t count = 0;
    if (!is_blend(t)) return 1;
    for (int64_t i = 0; i < blend->count; i++) count += count_models(writer_of(blend->members[i].teacher));
    return count;
}

static int32_t check_mode(const di_blend_settings *how, dk_error *err)
{
    const int32_t mixture = how->mode == DI_BLEND_LINEAR || how->mode == DI_BLEND_LOG_LINEAR;
    if (how->mode != DI_BLEND_MIN_CROSS_ENTROPY && !(mixture && how->weighting == DI_WEIGH_LABEL)) return DK_OK;
    return dk_fail(err, DK_E_UNSUPPORTED,
                   "a blend that goes by the true token (mode min_cross_entropy, weighting label) cannot generate: "
                   "there is none yet");
}

static int32_t stand_in_blend(di_choir *c, di_teacher *of, di_teacher **out, dk_error *err);

static int32_t stand_in_member(di_choir *c, const di_blended *member, di_blend_member *out, dk_error *err)
{
    di_teacher *writer = writer_of(member->teacher);
    *out = (di_blend_member){
        .name = member->name, .weight = di_blended_weight(member, 0), .temperature = member->temperature};
    if (out->weight <= 0) return DK_OK; /* its turn comes in a training */
    if (is_blend(writer)) return stand_in_blend(c, writer, &out->teacher, err);
    if (writer->kind->session == di_local_session) return stand_in_for(c, writer, &out->teacher, err);
    return dk_fail(err, DK_E_UNSUPPORTED,
                   "a blend generates where its members are models in this process, and teacher %s is %s: let one of "
                   "the members generate",
                   member->name, writer->kind->name);
}

static int32_t stand_in_blend(di_choir *c, di_teacher *of, di_teacher **out, dk_error *err)
{
    const di_blend *blend = of->state;
    di_blend_settings how = blend->settings;
    di_blend_member *members = NULL;
    int64_t count = 0;
    int32_t rc;
    how.given = 0;
    if (how.weighting == DI_WEIGH_LEARNED)
        how.weighting = DI_WEIGH_STATIC; /* in a training: here with the first ones */
    DK_TRY(check_mode(&how, err));
    DK_TRY(dk_new(of->host, blend->count, &members, err));
    for (int64_t i = 0; i < blend->count; i++) {
        DK_TRY(stand_in_member(c, &blend->members[i], &members[count], err));
        count += members[count].teacher != NULL;
    }
    DK_TRY(di_teacher_blend(of->backend, members, count, &how, out, err));
out:
    for (int64_t i = 0; i < count; i++) di_teacher_release(members[i].teacher);
    dk_free(of->host, members);
    return rc;
}

/* ---- one row ---- */

static int32_t alone(const di_choir *c, dk_view logits, dk_view out, dk_error *err)
{
    dk_queue queue;
    int32_t rc;
    DK_TRY(dk_queue_open(&queue, c->blend->backend, err));
    queue.backend->ops->log_softmax(&queue, dk_view_columns(logits, 0, out.shape[1]), out.shape[1], 1, out);
    rc = dk_queue_wait(&queue, err);
    dk_queue_close(&queue);
out:
    return rc;
}

int32_t di_choir_join(void *user, const dk_view *logits, int64_t sequence, int64_t written, dk_view out, dk_error *err)
{
    di_choir *c = user;
    const double temperature = 1;
    int32_t rc;
    for (int64_t i = 0; i < c->count; i++) c->stand_ins[i]->logits = logits[i];
    c->ids[0] = (int32_t)(sequence & INT32_MAX);
    c->row[0] = written;
    DK_TRY(di_session_forward(c->session, &c->batch, err));
    const di_source *source = di_session_source(c->session);
    if (source->rows_at) DK_TRY(source->rows_at(source->self, 0, 1, 1, &temperature, &out, err));
    else DK_TRY(alone(c, logits[0], out, err)); /* one model at its own temperature is left */
out:
    di_session_drop(c->session);
    return rc;
}

static int32_t gather_stops(di_choir *c, dk_host *host, dk_error *err)
{
    int64_t count = 0;
    int32_t rc;
    for (int64_t i = 0; i < c->count; i++) count += c->models[i]->config.stop_count;
    DK_TRY(dk_new(host, count + 1, &c->stops, err));
    for (int64_t i = 0; i < c->count; i++)
        for (int64_t j = 0; j < c->models[i]->config.stop_count; j++)
            c->stops[c->stop_count++] = c->models[i]->config.stops[j];
out:
    return rc;
}

static int64_t length_of(const di_choir *c, int64_t max_tokens)
{
    return (c->context > 0 && c->context < max_tokens ? c->context : max_tokens) + 2;
}

void di_choir_begin(di_choir *c, int64_t max_tokens) { c->offsets[1] = length_of(c, max_tokens); }

static int32_t open_choir(di_choir *c, di_teacher *t, int64_t max_tokens, dk_error *err)
{
    const int64_t models = count_models(t);
    int32_t rc;
    c->context = di_teacher_facts(t).context_length;
    const int64_t length = length_of(c, max_tokens);
    DK_TRY(dk_new(t->host, models, &c->models, err));
    DK_TRY(dk_new(t->host, models, &c->stand_ins, err));
    DK_TRY(stand_in_blend(c, t, &c->blend, err)); /* who cannot write is refused; the others have a context */
    DK_TRY(dk_new(t->host, length, &c->ids, err));
    DK_TRY(gather_stops(c, t->host, err));
    DK_TRY(di_session_create(c->blend, length, 1, 1, &c->session, err));
    DISTILL_INIT(&c->batch);
    c->batch.ids = c->ids;
    c->batch.offsets = c->offsets;
    c->batch.sequences = 1;
    c->batch.rows = c->row;
    c->batch.row_count = 1;
    di_choir_begin(c, max_tokens);
out:
    return rc;
}

int32_t di_choir_open(di_teacher *t, int64_t max_tokens, di_choir **out, dk_error *err)
{
    di_choir *c = NULL;
    int32_t rc;
    DK_TRY(dk_new(t->host, 1, &c, err));
    c->host = t->host;
    DK_TRY(open_choir(c, t, max_tokens, err));
    *out = c;
    return DK_OK;
out:
    di_choir_close(c);
    return rc;
}

void di_choir_close(di_choir *c)
{
    if (!c) return;
    dk_host *host = c->host;
    di_session_free(c->session);
    di_teacher_release(c->blend);
    dk_free(host, c->models);
    dk_free(host, c->stand_ins);
    dk_free(host, c->ids);
    dk_free(host, c->stops);
    dk_free(host, c);
}

int64_t di_choir_models(const di_choir *c, dk_model *const **models)
{
    *models = c->models;
    return c->count;
}

int64_t di_choir_stops(const di_choir *c, const int32_t **stops)
{
    *stops = c->stops;
    return c->stop_count;
}

int64_t di_choir_vocab(const di_choir *c) { return di_teacher_vocab_valid(c->blend); }

int32_t di_teacher_is_choir(const di_teacher *t) { return is_blend(t); }

di_teacher *di_teacher_choir(di_teacher *t)
{
    while (t->kind->from && t->kind->from(t)) t = t->kind->from(t);
    return is_blend(t) ? t : NULL;
}

int32_t di_blend_generate(di_teacher *t, const distill_batch *prompts, const di_options *options,
                          const distill_options *user_options, const di_reader *reader, dk_error *err)
{
    const dk_tokens tokens = {prompts->ids, prompts->offsets, prompts->sequences};
    di_speaker *speaker = NULL;
    di_writing writing = {.host = NULL};
    di_choir *c = NULL;
    int32_t rc;
    (void)user_options;
    DK_TRY(di_choir_open(t, di_options_i64(options, "generate.max_tokens"), &c, err));
    DK_TRY(di_writing_open(t, options, reader, c->stops, c->stop_count, di_choir_vocab(c), &writing, err));
    DK_TRY(di_speaker_create(t, prompts, &writing, reader, &speaker, err));
    writing.args.user = speaker;
    const dk_choir models = {.models = c->models, .count = c->count, .join = di_choir_join, .user = c};
    rc = dk_generate_together(&models, &tokens, &writing.args, err);
    if (di_speaker_status(speaker, NULL) != DK_OK) rc = di_speaker_status(speaker, err);
out:
    di_speaker_free(speaker);
    di_writing_close(&writing);
    di_choir_close(c);
    return rc;
}
