/* session_fixture.h - sessions on the tiny model, and what the model itself writes behind the same ids. */
#ifndef TESTS_SESSION_SESSION_FIXTURE_H
#define TESTS_SESSION_SESSION_FIXTURE_H

#include "../teacher/model_fixture.h"
#include "session/session.h"

enum { MOST = 70 };

typedef struct heard {
    int32_t ids[MOST], finished;
    int64_t count;
    double log_probs[MOST];
    char text[512];
    size_t size;
} heard;

typedef struct scene {
    fixture f;
    dk_model *model;
    dk_tokenizer *tokenizer;
    di_teacher *teacher;
} scene;

/* As the fixture's config.json has it. */
static inline void open_models(scene *s)
{
    dk_error err;
    s->model = fresh_model(&s->f);
    if (tiny_tokenizer(&s->f, &s->tokenizer, &err) ||
        di_teacher_from_model(s->f.backend, s->model, s->tokenizer, NULL, NULL, NULL, &s->teacher, &err))
        exit(3);
}

static inline void open_scene(scene *s, const char *name)
{
    memset(s, 0, sizeof *s);
    open_fixture(&s->f, name);
    open_models(s);
}

static inline void close_scene(scene *s)
{
    di_teacher_release(s->teacher);
    dk_tokenizer_release(s->tokenizer);
    dk_model_free(s->model);
    close_fixture(&s->f);
}

/* 1 = products of any number of rows are alike, which CBLAS does not promise: what was read for a prompt stands then.
 * Else whole pieces of prompts stand, and texts of tests are shorter. */
static inline int32_t rows_are_alike(const scene *s) { return s->f.backend->invariant_rows == INT64_MAX; }

static inline di_options *options_of(scene *s, const char *yaml)
{
    di_options *options = NULL;
    dk_error err;
    if (di_options_create(s->f.host, &options, &err) ||
        di_options_parse(options, yaml, strlen(yaml), "test", NULL, &err)) {
        fprintf(stderr, "%s\n", err.message);
        exit(3);
    }
    return options;
}

static inline void hear_token(heard *h, int32_t id, double log_prob, const char *text, size_t size, int32_t finished)
{
    h->ids[h->count] = id;
    h->log_probs[h->count++] = log_prob;
    memcpy(h->text + h->size, text, size);
    h->size += size;
    h->finished = finished;
}

static inline int32_t hear_generated(void *user, int64_t sequence, int32_t id, double log_prob, const char *text,
                                     size_t size, int32_t finished)
{
    (void)sequence;
    hear_token(user, id, log_prob, text, size, finished);
    return DISTILL_CB_OK;
}

/* distill_teacher_generate behind ids. */
static inline heard generated(scene *s, const int32_t *ids, int64_t count, const char *yaml)
{
    di_options *options = options_of(s, yaml);
    const int64_t offsets[2] = {0, count};
    distill_batch batch;
    dk_error err = {0};
    heard h;
    memset(&h, 0, sizeof h);
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = 1;
    CHECK_OK(di_teacher_generate(s->teacher, &batch, options, NULL, hear_generated, &h, &err));
    di_options_free(options);
    return h;
}

static inline di_stream *open_stream(scene *s, const char *yaml)
{
    di_options *options = options_of(s, yaml);
    di_stream *stream = NULL;
    dk_error err = {0};
    CHECK_OK(di_stream_create(s->teacher, NULL, options, &stream, &err));
    di_options_free(options);
    if (!stream) exit(3);
    return stream;
}

static inline heard answer(di_stream *stream)
{
    const distill_token *token = NULL;
    dk_error err = {0};
    heard h;
    memset(&h, 0, sizeof h);
    while (!h.finished) {
        const int32_t rc = di_stream_next(stream, &token, &err);
        CHECK_OK(rc);
        if (rc) break;
        hear_token(&h, token->id, token->log_prob, token->text, (size_t)token->size, (int32_t)token->finished);
    }
    return h;
}

static inline void same(const heard *a, const heard *b)
{
    CHECK_INT(a->count, b->count);
    CHECK_INT(a->finished, b->finished);
    CHECK(a->size == b->size && !memcmp(a->text, b->text, a->size));
    CHECK(!memcmp(a->ids, b->ids, (size_t)b->count * sizeof *a->ids));
    CHECK(!memcmp(a->log_probs, b->log_probs, (size_t)b->count * sizeof *a->log_probs));
}

static inline distill_session_stats stats_of(const di_stream *stream)
{
    distill_session_stats stats;
    DISTILL_INIT(&stats);
    di_stream_stats(stream, &stats);
    return stats;
}

#endif
