/* local.c - a teacher that is a model in this process. */
#include <string.h>

#include "target/host_rows.h"
#include "teacher/teacher_parts.h"

typedef struct local { /* a session's state */
    dk_pass *pass;
    dk_queue queue;
    dk_arena arena;
    dk_view places;        /* I32 [max_rows] */
    dk_view hidden;        /* [max_rows, width] rows that are asked for */
    int32_t *numbers;      /* [max_rows] */
    distill_target target; /* for pull mode */
    distill_tensor values, head, bias;
    int64_t value_shape[2], head_shape[2], bias_shape[1];
} local;

static void session_free(di_session *s)
{
    local *l = s->state;
    dk_pass_free(l->pass);
    dk_arena_free(&l->arena);
    dk_queue_close(&l->queue);
    dk_free(s->teacher->host, l->numbers);
    dk_free(s->teacher->host, l);
    s->state = NULL;
}

static int32_t rows(void *self, int64_t first, int64_t count, dk_view strip, const distill_target **target,
                    dk_error *err)
{
    di_session *s = self;
    local *l = s->state;
    if (target) *target = NULL;
    dk_head_forward(&l->queue, s->teacher->model, DK_PRECISION_FULL, dk_view_rows(l->hidden, first, count), strip);
    return dk_queue_wait(&l->queue, err);
}

static void plan(di_session *s, local *l)
{
    int64_t one[1] = {s->max_rows};
    l->places = dk_arena_take(&l->arena, DK_I32, 1, one);
    l->hidden = dk_arena_2d(&l->arena, s->teacher->backend->real, s->max_rows, s->teacher->model->config.hidden_size);
}

static int32_t session(di_session *s, dk_error *err)
{
    dk_model *model = s->teacher->model;
    dk_pass_spec spec = {.max_rows = s->max_tokens > 0 ? s->max_tokens : 1,
                         .max_sequences = s->max_sequences > 0 ? s->max_sequences : 1};
    local *l = NULL;
    int32_t rc;
    DK_TRY(dk_new(s->teacher->host, 1, &l, err));
    s->state = l;
    dk_arena_init(&l->arena, s->teacher->backend);
    DK_TRY(dk_queue_open(&l->queue, s->teacher->backend, err));
    DK_TRY(dk_new(s->teacher->host, s->max_rows, &l->numbers, err));
    DK_TRY(dk_pass_create(model, &spec, &l->pass, err));
    plan(s, l);
    DK_TRY(dk_arena_commit(&l->arena, err));
    plan(s, l);
    s->source = (di_source){.self = s,
                            .kind = DISTILL_DENSE,
                            .width = model->config.vocab_size,
                            .vocab_valid = model->config.vocab_size,
                            .temperature = 1,
                            .rows = rows};
out:
    return rc;
}

static int32_t forward(di_session *s, dk_error *err)
{
    local *l = s->state;
    const dk_ops *ops = s->teacher->backend->ops;
    dk_tokens tokens = {s->batch.ids, s->batch.offsets, s->batch.sequences};
    int32_t rc;
    DK_TRY(dk_pass_forward(l->pass, &tokens, err));
    if (!s->row_count) goto out;
    for (int64_t r = 0; r < s->row_count; r++) l->numbers[r] = (int32_t)s->places[r];
    ops->copy_in(&l->queue, dk_view_rows(l->places, 0, s->row_count), l->numbers);
    ops->gather_rows(&l->queue, dk_pass_hidden(l->pass), dk_view_rows(l->places, 0, s->row_count),
                     dk_view_rows(l->hidden, 0, s->row_count));
    DK_TRY(dk_queue_wait(&l->queue, err));
out:
    return rc;
}

/* A host's view of the hidden rows and of the head. */
static const distill_target *hidden(di_session *s)
{
    local *l = s->state;
    dk_view rows_view = dk_view_rows(l->hidden, 0, s->row_count > 0 ? s->row_count : 1);
    return di_hidden_target(s->teacher->model, rows_view, s->row_count, &l->target, &l->values, &l->head, &l->bias,
                            l->value_shape, l->head_shape, l->bias_shape);
}

const distill_target *di_hidden_target(const dk_model *model, dk_view rows_view, int64_t count, distill_target *target,
                                       distill_tensor *values, distill_tensor *head, distill_tensor *bias,
                                       int64_t value_shape[2], int64_t head_shape[2], int64_t bias_shape[1])
{
    const dk_backend *backend = model->backend;
    DISTILL_INIT(target);
    if (di_tensor_of_view(backend, rows_view, "hidden", value_shape, values, NULL) ||
        di_tensor_of_view(backend, model->head->value, "head", head_shape, head, NULL))
        return NULL;
    value_shape[0] = count;
    target->kind = DISTILL_HIDDEN;
    target->values = values;
    target->head = head;
    if (model->head_bias) {
        if (di_tensor_of_view(backend, model->head_bias->value, "bias", bias_shape, bias, NULL)) return NULL;
        target->bias = bias;
    }
    target->logit_scale = model->config.logit_scale;
    target->softcap = model->config.logit_softcap;
    target->temperature = 1;
    target->vocab_valid = model->config.vocab_size;
    return target;
}

/* ---- text ---- */

enum { CONTEXT = 4 };
typedef struct spoken {       /* of one sequence */
    dk_strbuf pending;        /* bytes of a character that is not complete yet */
    int32_t ids[CONTEXT + 1]; /* the last tokens: some decode differently at the beginning of a text */
    int64_t count;
} spoken;
typedef struct speaker { /* gives text out in whole characters */
    di_teacher *teacher;
    distill_token_fn fn;
    void *user;
    spoken *sequences;
    dk_strbuf scratch;
    int32_t rc;
} speaker;

/* Bytes at the end that begin a character of which more is to come. */
static size_t incomplete(const char *text, size_t size)
{
    for (size_t back = 1; back <= 3 && back <= size; back++) {
        unsigned char c = (unsigned char)text[size - back];
        if ((c & 0xc0) == 0x80) continue;
        size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
        return length > back ? back : 0;
    }
    return 0;
}

/* What a token adds to the text of those before it, appended to pending. */
static int32_t add_text(speaker *s, spoken *at, int32_t id)
{
    const dk_tokenizer *tokenizer = s->teacher->tokenizer;
    size_t before;
    int32_t rc;
    dk_strbuf_clear(&s->scratch);
    DK_TRY(dk_tokenizer_decode_to(tokenizer, at->ids, at->count, DK_DECODE_SKIP_SPECIAL, &s->scratch, NULL));
    before = s->scratch.size;
    dk_strbuf_clear(&s->scratch);
    at->ids[at->count] = id;
    DK_TRY(dk_tokenizer_decode_to(tokenizer, at->ids, at->count + 1, DK_DECODE_SKIP_SPECIAL, &s->scratch, NULL));
    if (s->scratch.size > before) dk_strbuf_append(&at->pending, s->scratch.data + before, s->scratch.size - before);
    DK_TRY(dk_strbuf_check(&at->pending, NULL));
    if (at->count < CONTEXT) at->count++;
    else memmove(at->ids, at->ids + 1, CONTEXT * sizeof *at->ids);
out:
    return rc;
}

static int32_t emit(void *user, int64_t sequence, int32_t id, double log_prob, int32_t finished)
{
    speaker *s = user;
    spoken *at = &s->sequences[sequence];
    dk_strbuf *text = &at->pending;
    int32_t rc;
    if (s->teacher->tokenizer && (s->rc = add_text(s, at, id)) != DK_OK) return DISTILL_CB_CANCEL;
    size_t held = finished || !text->size ? 0 : incomplete(text->data, text->size), size = text->size - held;
    rc = s->fn(s->user, sequence, id, log_prob, text->data ? text->data : "", size, finished);
    if (held) memmove(text->data, text->data + size, held);
    text->size = held;
    return rc;
}

/* A text goes on where its prompt ended. */
static int32_t open_speaker(speaker *s, const distill_batch *prompts, dk_error *err)
{
    int32_t rc = dk_new(s->teacher->host, prompts->sequences + 1, &s->sequences, err);
    dk_strbuf_init(&s->scratch, s->teacher->host);
    for (int64_t i = 0; rc == DK_OK && i < prompts->sequences; i++) {
        spoken *at = &s->sequences[i];
        const int64_t last = prompts->offsets[i + 1], length = last - prompts->offsets[i];
        dk_strbuf_init(&at->pending, s->teacher->host);
        at->count = length < CONTEXT ? length : CONTEXT;
        if (at->count) memcpy(at->ids, prompts->ids + last - at->count, (size_t)at->count * sizeof *at->ids);
        for (int64_t k = 0; s->teacher->tokenizer && k < at->count; k++) /* padding of the vocabulary has no text */
            if (at->ids[k] >= dk_tokenizer_vocab_size(s->teacher->tokenizer)) at->count = k;
    }
    return rc;
}

static void close_speaker(speaker *s, int64_t sequences)
{
    for (int64_t i = 0; s->sequences && i < sequences; i++) dk_strbuf_free(&s->sequences[i].pending);
    dk_free(s->teacher->host, s->sequences);
    dk_strbuf_free(&s->scratch);
}

static int32_t generate(di_teacher *t, const distill_batch *prompts, const di_options *options,
                        const distill_options *user_options, distill_token_fn fn, void *user, dk_error *err)
{
    dk_tokens tokens = {prompts->ids, prompts->offsets, prompts->sequences};
    speaker s = {.teacher = t, .fn = fn, .user = user};
    int32_t rc;
    (void)user_options;
    dk_generate_args args = {.max_tokens = di_options_i64(options, "generate.max_tokens"),
                             .temperature = di_options_f64(options, "generate.temperature"),
                             .top_p = di_options_f64(options, "generate.top_p"),
                             .top_k = di_options_i64(options, "generate.top_k"),
                             .seed = (uint64_t)di_options_i64(options, "generate.seed"),
                             .vocab_valid = t->tokenizer ? dk_tokenizer_vocab_size(t->tokenizer) : 0,
                             .stop = t->model->config.stops,
                             .stop_count = t->model->config.stop_count,
                             .emit = emit,
                             .user = &s};
    DK_TRY(open_speaker(&s, prompts, err));
    rc = dk_generate(t->model, &tokens, &args, err);
    if (s.rc) rc = dk_fail(err, s.rc, "token of the model could not be made text: %s", dk_status_text(s.rc));
out:
    close_speaker(&s, prompts->sequences);
    return rc;
}

const di_teacher_kind di_teacher_local = {session, session_free, forward, hidden, generate};
