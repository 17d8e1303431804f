/* feature_pair.h - a student, its teacher and a loss on what is inside both, for tests: values and gradients. */
#ifndef TESTS_FEATURES_FEATURE_PAIR_H
#define TESTS_FEATURES_FEATURE_PAIR_H

#include "features/features.h"
#include "test_model.h"

typedef struct side {
    dk_model *model;
    dk_pass *pass;
    di_taps taps;
    int64_t max_tokens, max_sequences;
} side;
typedef struct pair_text { /* that both read, and which tokens of it are positions of the loss */
    const int32_t *ids, *labels;
    const int64_t *offsets, *places, *sequence;
    const float *weights;
    int64_t tokens, sequences, rows;
} pair_text;
typedef struct pair { /* a student, its teacher and a loss on both */
    const pair_text *text;
    fixture f;
    side student, teacher;
    di_registry *registry;
    di_options *options;
    di_loss *loss;
    di_features *features;
    dk_view dhidden;
    dk_arena arena;
    int64_t step;
    di_loss_sums sums;
} pair;

static inline int32_t values(void *self, int64_t tap, dk_view *out, dk_error *err)
{
    (void)err;
    *out = dk_pass_tap(((side *)self)->pass, tap);
    return DK_OK;
}

static inline int32_t gradient(void *self, int64_t tap, dk_view *out, dk_error *err)
{
    (void)err;
    *out = dk_pass_tap_gradient(((side *)self)->pass, tap);
    return DK_OK;
}

static inline int32_t place(const void *model, const dk_tap_spec *tap, di_place *out, dk_error *err)
{
    return di_place_of_model(model, tap, "the model", out, err);
}

static inline int32_t open_pass(side *s, const di_asked *asked, int32_t backward, int32_t checkpointing, dk_error *err)
{
    const dk_pass_spec spec = {.max_rows = s->max_tokens,
                               .max_sequences = s->max_sequences,
                               .backward = backward,
                               .checkpointing = checkpointing,
                               .taps = asked->taps,
                               .tap_count = asked->count};
    s->taps = (di_taps){.self = s, .values = values, .gradient = backward ? gradient : NULL};
    return dk_pass_create(s->model, &spec, &s->pass, err);
}

static inline int32_t bind(pair *p, const char *yaml, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_options_set(p->options, "loss", yaml, err));
    DK_TRY(di_loss_create(p->registry, NULL, p->options, &p->loss, err));
    const di_features_spec spec = {.backend = p->f.backend,
                                   .loss = p->loss,
                                   .options = p->options,
                                   .student = {p->student.model, p->student.model->config.layers, place},
                                   .teacher = {p->teacher.model, p->teacher.model->config.layers, place},
                                   .seed = 3};
    DK_TRY(di_features_bind(&spec, &p->features, err));
out:
    return rc;
}

/* The student is there, as f.model, and the teacher. */
static inline int prepare(pair *p, const pair_text *text)
{
    dk_error err = {0};
    p->text = text;
    p->student.model = p->f.model;
    p->student.max_tokens = p->teacher.max_tokens = text->tokens;
    p->student.max_sequences = p->teacher.max_sequences = text->sequences;
    int32_t rc = dk_model_add_gradients(p->student.model, &err);
    if (!rc) rc = di_registry_create(p->f.host, &p->registry, &err);
    if (!rc) rc = di_options_create(p->f.host, &p->options, &err);
    if (rc) FAIL("%s", err.message);
    dk_arena_init(&p->arena, p->f.backend);
    return rc == 0;
}

static inline int make_ready(pair *p, const char *yaml, int32_t checkpointing)
{
    dk_error err = {0};
    int32_t rc = bind(p, yaml, &err);
    if (!rc)
        rc = di_features_plan(p->features, p->text->tokens, p->text->sequences, p->text->rows, p->text->tokens, &err);
    if (!rc) rc = open_pass(&p->student, di_features_of_student(p->features), 1, checkpointing, &err);
    if (!rc) rc = open_pass(&p->teacher, di_features_of_teacher(p->features), 0, 0, &err);
    for (int measured = 0; !rc && measured < 2; measured++) {
        p->dhidden = dk_arena_2d(&p->arena, p->f.backend->real, p->text->tokens, p->student.model->config.hidden_size);
        if (!measured) rc = dk_arena_commit(&p->arena, &err);
    }
    if (rc) FAIL("%s: %s", yaml, err.message);
    return rc == 0;
}

static inline void unbind(pair *p)
{
    dk_pass_free(p->student.pass);
    dk_pass_free(p->teacher.pass);
    p->student.pass = p->teacher.pass = NULL;
    di_features_free(p->features);
    p->features = NULL;
    di_loss_release(p->loss);
    p->loss = NULL;
    dk_arena_free(&p->arena);
    dk_arena_init(&p->arena, p->f.backend);
}

static inline void end(pair *p)
{
    unbind(p);
    dk_model_free(p->teacher.model);
    di_options_free(p->options);
    di_registry_free(p->registry);
    fixture_end(&p->f);
}

static inline double loss_of(pair *p)
{
    const dk_tokens tokens = {p->text->ids, p->text->offsets, p->text->sequences};
    const di_features_batch micro = {.student = &p->student.taps,
                                     .teacher = &p->teacher.taps,
                                     .offsets = p->text->offsets,
                                     .sequences = p->text->sequences,
                                     .places = p->text->places,
                                     .labels = p->text->labels,
                                     .weights = p->text->weights,
                                     .sequence = p->text->sequence,
                                     .rows = p->text->rows,
                                     .step = p->step};
    dk_error err = {0};
    memset(&p->sums, 0, sizeof p->sums);
    CHECK_OK(dk_pass_forward(p->teacher.pass, &tokens, &err));
    CHECK_OK(dk_pass_forward(p->student.pass, &tokens, &err));
    CHECK_OK(di_features_run(p->features, p->loss, &micro, NULL, &p->sums, &err));
    return p->sums.sum;
}

static inline double gradients_of(pair *p)
{
    dk_error err = {0};
    dk_queue queue;
    dk_parameter *projections = NULL;
    const int64_t count = di_features_parameters(p->features, &projections);
    zero_gradients(&p->f);
    CHECK_OK(dk_queue_open(&queue, p->f.backend, &err));
    for (int64_t i = 0; i < count; i++) p->f.backend->ops->fill(&queue, projections[i].gradient, 0);
    p->f.backend->ops->fill(&queue, p->dhidden, 0);
    CHECK_OK(dk_queue_wait(&queue, &err));
    dk_queue_close(&queue);
    const double sum = loss_of(p);
    CHECK_OK(dk_pass_backward(p->student.pass, p->dhidden, &err));
    return sum;
}

#endif
